// SPDX-License-Identifier: MIT
// A packet filter over a capture: early verdicts, rules, a branch by protocol, a tee; writes what it accepts.
//
//     capture -> spanning tree -> martians -> parse -> policy -> by protocol -+- tcp, udp: count flows -+-> output
//                                                                             `- icmp, other ----------'
//
//     filter [capture] [output]        "-" is standard input: tcpdump -U -w - | filter -    or output, with the report
//                                      on standard error: filter in.pcap - | tshark -r -
#include <runnel/runnel.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <vector>

#include <unistd.h>  // isatty

using namespace runnel;

namespace {

// ---- what the filter decides by

constexpr mac_address spanning_tree = mac("01:80:c2:00:00:00");

// clang-format off
constexpr auto martians = rules(
    when(ip::saddr.in(net("127.0.0.0/8")) || ip::saddr.in(net("224.0.0.0/4"))) >> drop(drop_reason::blocklist));

constexpr auto syn_fin = tcp_flags::syn | tcp_flags::fin;
constexpr auto policy = rules(
    when(has<arp>)                                >> accept,
    when(icmpv6::type.in(range(133, 137)))        >> accept,  // neighbour discovery
    when((tcp::flags & syn_fin) == syn_fin)       >> drop,
    when(th::dport == 23 || th::sport == 23)      >> drop(drop_reason::blocklist),
    when(udp::dport.in(constant_set{1900, 5201})) >> drop,    // SSDP, iperf over UDP
    when(ip::ttl == 0 || ip6::hoplimit == 0)      >> drop,
    otherwise                                     >> accept);
// clang-format on

// ---- the busiest flows: a table of fixed size, both directions of a flow in one entry

template <class Key>
class flow_table {
 public:
  struct entry {
    Key key;
    std::uint64_t packets = 0, bytes = 0;
  };
  flow_table() : entries_(4096) {}

  void add(const Key& either, std::uint64_t bytes) {
    const Key key = either.canonical();
    for (std::size_t i = key.hash(), tries = 0; tries < 16; ++i, ++tries) {
      entry& e = entries_[i % entries_.size()];
      if (e.packets != 0 && !(e.key == key)) continue;
      e = {key, e.packets + 1, e.bytes + bytes};
      return;
    }
    ++not_counted_;
  }
  void print_busiest(std::FILE* to, std::size_t n) {
    std::sort(entries_.begin(), entries_.end(), [](const entry& a, const entry& b) { return a.bytes > b.bytes; });
    for (std::size_t i = 0; i < n && entries_[i].packets != 0; ++i) {
      text<> line;
      print(line, entries_[i].key);
      line.pad_to(64).grouped(entries_[i].packets) << " packets, ";
      line.grouped(entries_[i].bytes) << " bytes";
      std::fprintf(to, "  %s\n", line.c_str());
    }
    if (not_counted_ != 0)
      std::fprintf(to, "  (%llu packets more, of flows that the table had no room for)\n", not_counted_);
  }

 private:
  std::vector<entry> entries_;
  unsigned long long not_counted_ = 0;
};

// ---- what a person sees while a long capture runs

class progress {
 public:
  explicit progress(std::uint64_t size) : size_(size), shown_(::isatty(2) == 1) {}
  void show(std::uint64_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - last_ < std::chrono::milliseconds(200)) return;
    last_ = now;
    if (size_ != 0) std::fprintf(stderr, "\r%3d %%", static_cast<int>(done * 100 / size_));
    else std::fprintf(stderr, "\r%llu MB", static_cast<unsigned long long>(done >> 20));
  }
  double finish() {
    if (shown_) std::fprintf(stderr, "\r        \r");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::uint64_t size_;
  bool shown_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), last_ = start_;
};

unsigned long long ull(std::uint64_t n) { return n; }
int fail(const error& e) { return std::fprintf(stderr, "filter: %s\n", e.message()), 2; }

}  // namespace

int main(int argc, char** argv) {
  const char* from = argc > 1 ? argv[1] : "examples/capture.pcap";
  const char* to = argc > 2 ? argv[2] : "accepted.pcapng";
  std::FILE* const report = same_text(to, "-") ? stderr : stdout;
  std::error_code none_there;
  if (std::filesystem::equivalent(from, to, none_there))
    return fail({"pcap", "create", to, "it is the capture that is read", "give another file"});
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error to be told, not the end
  // Ctrl-C reaches tcpdump and us: it ends, and we end behind its last packet. The second one ends us at once.
  if (same_text(from, "-")) std::signal(SIGINT, [](int) { std::signal(SIGINT, SIG_DFL); });

  auto memory = mapped_pool::open({.packets = 1024, .bare = 1024});
  if (!memory) return fail(memory.error());
  auto in = pcap_reader::open(from, *memory);
  if (!in) return fail(in.error());
  auto out = pcap_writer::open(to);
  if (!out) return fail(out.error());
  out->describe_as(in->descriptions());

  flow_table<flow_key4> flows4;
  flow_table<flow_key6> flows6;
  std::uint64_t small = 0, large = 0;

  // clang-format off
  auto accepted = tee(named("sizes", [&](packet& p) { ++(p.length() < 128 ? small : large); }) | discard)
                | transmit(*out);
  auto path =
      named("spanning tree", xdp([](ethernet e) { return e.destination() == spanning_tree ? drop : pass; }))
    | named("martians", xdp(martians))
    | parse()
    | named("policy", policy)
    | by_protocol()
        .on<tcp>   (named("IPv4 flows", [&](ipv4 ip, tcp t) { flows4.add(flow_key4::from(ip, t), ip.total_length()); })
                  | [&](ipv6 ip, tcp t) { flows6.add(flow_key6::from(ip, 6, t), ip.payload_length()); }
                  | shared(accepted))
        .on<udp>   (named("IPv4 flows", [&](ipv4 ip, udp u) { flows4.add(flow_key4::from(ip, u), ip.total_length()); })
                  | [&](ipv6 ip, udp u) { flows6.add(flow_key6::from(ip, 17, u), ip.payload_length()); }
                  | shared(accepted))
        .on<icmp>  (shared(accepted))
        .on<icmpv6>(shared(accepted))
        .on<other> (shared(accepted));
  // clang-format on

  real_clock time;
  loop work{time, attach(*in, path)};
  progress bar{in->size()};
  while (!work.done()) {
    if (work.poll() == 0) work.wait();
    bar.show(in->bytes_read());
  }
  const double seconds = bar.finish();

  char buffer[512];
  const auto show = [](void* f, const char* s, std::size_t n) { std::fwrite(s, 1, n, static_cast<std::FILE*>(f)); };
  text_writer screen{buffer, sizeof buffer, show, report};
  describe(screen, path);
  screen.flush();

  const stage_counters sum = totals(path);
  std::fprintf(report,
               "\n%llu packets came in, %llu were accepted (%llu shorter than 128 bytes), "
               "these were dropped:\n",
               ull(sum.packets), ull(small + large), ull(small));
  for (std::size_t i = 0; i < drop_reason_count; ++i) {
    const auto why = static_cast<drop_reason>(i);
    if (sum.dropped(why) != 0 && why != drop_reason::discarded)
      std::fprintf(report, "  %8llu %s\n", ull(sum.dropped(why)), name(why));
  }
  std::fprintf(report, "\nThe busiest flows:\n");
  flows4.print_busiest(report, 4);
  flows6.print_busiest(report, 4);
  std::fprintf(stderr, "\n%s -> %s: %.2f million packets per second\n", from, to,
               static_cast<double>(sum.packets) / seconds / 1e6);

  // What was accepted is on disk whatever happened; a capture that was cut off, or a full disk, is still a failure.
  const error* unwritten = out->close();
  if (in->failure() != nullptr) return fail(*in->failure());
  return unwritten != nullptr ? fail(*unwritten) : 0;
}
