// SPDX-License-Identifier: MIT
// The same packets through the kernel's connection tracking and through track(): what each says about every packet.
// One line for each kind of difference, with the conversation that shows it. Start it with the script compare_tracking,
// which makes the interfaces and the nft rules that tell what the kernel thinks.
//
//     compare_tracking IN OUT CAPTURE PACKETS SEED [tcp_loose] [tcp_be_liberal] [tcp_ignore_invalid_rst]
//
// The last ones are settings that are not at their defaults.
#include <ctime>
#include <map>
#include <memory>
#include <new>

#include <runnel/flow.hpp>
#include <runnel/ip.hpp>
#include <runnel/track.hpp>
#include <runnel/wire.hpp>

#include "ftp_conversation.hpp"
#include "one_frame.hpp"
#include "other_conversations.hpp"

namespace {

using namespace kernel_path;
using namespace runnel;

// ---- what is said about a packet; the bits are those of the marks that the script sets

enum : std::uint32_t {
  is_new = 1,
  is_established = 2,
  is_related = 4,
  is_invalid = 8,
  is_untracked = 16,
  is_reply = 32,
  is_assured = 64,
  is_confirmed = 128,
  was_forwarded = 1u << 31
};
constexpr unsigned timeout_shift = 12;
constexpr std::uint32_t forwarded_only = was_forwarded;

// Timeouts tell the TCP state: each is another number of thousands of seconds, 1 to 17. The order is that of the
// kernel's defaults, as decisions depend on which is longer.
constexpr const char* timeout_names[] = {"",           "close",    "last_ack", "close_wait", "syn_recv",    "time_wait",
                                         "fin_wait",   "syn_sent", "retrans",  "unacked",    "established", "udp",
                                         "udp_stream", "icmp",     "icmpv6",   "gre",        "gre_stream",  "generic"};
connection_timeouts timeouts() {
  connection_timeouts t;
  t.tcp_close = seconds(1000), t.tcp_last_ack = seconds(2000), t.tcp_close_wait = seconds(3000);
  t.tcp_syn_recv = seconds(4000), t.tcp_time_wait = seconds(5000), t.tcp_fin_wait = seconds(6000);
  t.tcp_syn_sent = seconds(7000), t.tcp_max_retrans = seconds(8000), t.tcp_unacknowledged = seconds(9000);
  t.tcp_established = seconds(10000), t.udp = seconds(11000), t.udp_stream = seconds(12000), t.icmp = seconds(13000);
  t.icmpv6 = seconds(14000), t.gre = seconds(15000), t.gre_stream = seconds(16000), t.generic = seconds(17000);
  return t;
}

std::string text(std::uint32_t said) {
  if (said == 0) return "not forwarded";
  std::string t;
  if ((said & is_new) != 0) t += "new";
  if ((said & is_established) != 0) t += "established";
  if ((said & is_related) != 0) t += "related";
  if ((said & is_invalid) != 0) t += "invalid";
  if ((said & is_untracked) != 0) t += "untracked";
  if ((said & is_reply) != 0) t += " reply";
  if ((said & is_confirmed) == 0) return t;
  const std::uint32_t timeout = said >> timeout_shift & 31;
  t += std::string(" [") + (timeout < 18 ? timeout_names[timeout] : "?") + "]";
  if ((said & is_assured) != 0) t += " assured";
  return t;
}

// ---- ours

static_pool<pool_config{.packets = 4096, .bytes = 2048, .headroom = 64, .bare = 64}> memory;
static_connection_table<connection_config{
    .connections = 200000, .ipv6_connections = 100000, .unconfirmed = 64, .expectations = 4096, .seed = 7}>
    connections{7, {.timeouts = timeouts(), .checksum = true}};
static_fragment_table<fragment_config{.fragments = 3000, .datagrams = 1500}> fragments{7};

class our_path {
 public:
  // What is said about the packet that this frame completes; 0 when there is none. What the kernel has not forwarded
  // ends between track() and confirm() here as well.
  std::uint32_t operator()(const frame_bytes& f, bool goes_on) {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    clock_.set(instant{} + seconds(t.tv_sec) + nanoseconds(t.tv_nsec));
    connections->expire(clock_.now());
    std::uint32_t said = 0;
    auto path = parse() | defragment(fragments) | track(connections) | ftp_helper(connections) |
                tftp_helper(connections) |
                [&](packet& p) {
                  said = about(p);
                  return goes_on ? pass : drop;
                } |
                confirm(connections) | discard;
    device_.put(f);
    run(clock_, attach(device_, path), attach(fragments.get()));
    return said;
  }
  instant now() const { return clock_.now(); }

 private:
  std::uint32_t about(const packet& p) {
    const connection_word w{p.connection()};
    std::uint32_t said = was_forwarded;
    switch (w.state()) {
      case new_: said |= is_new; break;
      case established: said |= is_established; break;
      case related: said |= is_related; break;
      case invalid: said |= is_invalid; break;
      case untracked: said |= is_untracked; break;
      default: break;
    }
    if (w.state() != invalid && w.state() != untracked && w.direction() == connection_direction::reply)
      said |= is_reply;
    if (!w.has_connection()) return said;
    const connection& c = connections.get()[w.number()];
    if (!c.has_status(connection_status::confirmed) || c.has_status(connection_status::dying)) return said;
    said |= is_confirmed;
    if (c.has_status(connection_status::assured)) said |= is_assured;
    const std::int64_t left = connections->remaining(c, clock_.now()).ns;
    return said | static_cast<std::uint32_t>((left + 500'000'000'000) / 1'000'000'000'000) << timeout_shift;
  }

  one_frame device_{memory};
  manual_clock clock_;
};

// ---- both, and what is different

class comparison {
 public:
  comparison(const char* in, const char* out) : in_(in), out_(out) {
    spoiled.push_back({.client = 0xfffe, .server = 0xfffe});
    wait_for_carrier(in_, out_, forwarded_only);
  }

  // Sends one packet both ways: true when both say the same. `what` is told when they do not.
  bool same(const frame_bytes& packet) {
    const frame_bytes f = frame_with(in_, packet);
    in_.send(f);
    (void)in_.left(~0u);
    const std::vector<seen_frame> left = out_.left(forwarded_only);
    kernel = left.empty() ? 0 : left.front().mark;
    ours = ours_(f, !left.empty());
    if (ours == 0 && kernel != 0)
      fault = std::string(
          name(dissect({reinterpret_cast<const std::byte*>(f.data()), f.size()}, link_type::ethernet, {}).fault));
    ++packets;
    if (kernel == 0) ++not_forwarded;
    return kernel == ours;
  }
  void differs(const std::string& what, const hosts* between, const std::string& story) {
    if (between != nullptr) spoiled.push_back(*between);
    const std::string key = (ours == 0 && kernel != 0 ? "dropped by parse(), " + fault
                             : kernel == 0            ? what + ", which the kernel drops"
                                                      : what) +
                            ": the kernel says " + text(kernel) + ", we say " + text(ours);
    if (++found[key] == 1) stories[key] = story;
  }
  int report() {
    std::printf("%u packets, %u of them not forwarded, %zu kinds of difference\n", packets, not_forwarded,
                found.size());
    for (const auto& [key, n] : found)
      std::printf("difference %s (%u times)\n%s", key.c_str(), n, stories.at(key).c_str());
    // Connections that need not be the same any more.
    for (const hosts& h : spoiled) {
      runnel::text<64> line;
      if (h.is_ipv6) print(line, ipv6_address{0xfd00'0000'0000'0001, h.client});
      else
        print(line, ipv4_address{10, 1, static_cast<std::uint8_t>(h.client >> 8), static_cast<std::uint8_t>(h.client)});
      std::printf("spoiled %s\n", line.c_str());
    }
    connections->for_each([&](const connection& k) {
      runnel::text<512> line;
      print(line, *connections.operator->(), k, ours_.now());
      std::printf("%s\n", line.c_str());
    });
    return 0;
  }

  std::uint32_t kernel = 0, ours = 0;
  std::string fault{};  // of a packet that the kernel forwarded, and we did not
  unsigned packets = 0, not_forwarded = 0;

 private:
  tap_end in_, out_;
  our_path ours_;
  std::map<std::string, unsigned> found;
  std::map<std::string, std::string> stories;
  std::vector<hosts> spoiled;
};

// ---- the sources

// Runs conversations, a few at a time, until so many packets went by. One that shows a difference ends.
template <class Conversation, class Make>
void random_conversations(comparison& c, numbers& random, unsigned packets, Make make) {
  struct running {
    Conversation it;
    unsigned left;
    std::string story{};
  };
  std::vector<std::unique_ptr<running>> open;
  for (unsigned n = 0; n < packets; ++n) {
    while (open.size() < 6) open.emplace_back(new running{make(), 4 + random.below(40)});
    const std::size_t at = random.below(open.size());
    running& one = *open[at];
    const step s = one.it.next();
    const bool same = c.same(s.packet);
    one.story += "    " + s.text + "  -> " + text(c.kernel) + (same ? "\n" : " | " + text(c.ours) + "\n");
    if (!same) c.differs(s.what, &one.it.between(), one.story);
    if (!same || --one.left == 0) open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

class tcp_between_hosts {
 public:
  tcp_between_hosts(numbers& random, const hosts& h)
      : hosts_(h), tcp_(random, static_cast<std::uint16_t>(1024 + random.below(60000)), 80, hostile(random)) {}
  step next() {
    const segment s = tcp_.next();
    return {hosts_.ip(s.by_server, 6, s.bytes(hosts_)), "TCP " + names_of(s.flags), tcp_.text(s)};
  }
  const hosts& between() const { return hosts_; }

 private:
  static unsigned hostile(numbers& random) { return random.one_of({0u, 10u, 30u, 60u}); }
  hosts hosts_;
  tcp_conversation tcp_;
};

// Both ways, and still alive two seconds later.
void udp_streams(comparison& c, numbers& random, std::uint16_t server) {
  const auto send = [&](std::uint16_t client, bool back) {
    const hosts h{client % 2 == 0, client, server};
    frame_bytes b;
    put16(b, back ? 53 : 1000), put16(b, back ? 1000 : 53), put16(b, 12), put16(b, 0), put32(b, client);
    set16(b, 6, internet_checksum(b, h.pseudo(17, b.size())));
    if (!c.same(h.ip(back, 17, b))) c.differs("UDP stream", &h, "    host " + std::to_string(client) + "\n");
  };
  for (const unsigned pause : {0u, 1'000'000u, 1'300'000u, 0u}) {
    ::usleep(pause);
    for (std::uint16_t client = 1; client < 40; ++client)
      for (unsigned n = random.below(3); n != 0; --n) send(client, random.chance(50));
  }
}

// Every packet of a file, from which the Ethernet headers are taken off; what the kernel does not forward (multicast,
// its own neighbours) is passed over.
void capture(comparison& c, const char* path) {
  std::FILE* const file = std::fopen(path, "rb");
  if (file == nullptr) fail(path);
  std::uint8_t header[24];
  std::uint32_t record[4];
  if (std::fread(header, sizeof header, 1, file) != 1) fail(path);
  for (unsigned n = 1; std::fread(record, sizeof record, 1, file) == 1; ++n) {
    frame_bytes f(record[2]);
    if (std::fread(f.data(), f.size(), 1, file) != 1) fail(path);
    const std::uint64_t type = f.size() > 14 ? get16(f, 12) : 0;
    if ((type != 0x0800 && type != 0x86dd) || f.size() > 1514) continue;
    const bool same = c.same({f.begin() + 14, f.end()});
    if (!same && c.kernel != 0) c.differs("capture", nullptr, "    packet " + std::to_string(n) + "\n");
  }
  std::fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return std::fprintf(stderr, "compare_tracking IN OUT CAPTURE PACKETS SEED [SETTING...]\n"), 2;
  const auto packets = static_cast<unsigned>(std::atoi(argv[4])), seed = static_cast<unsigned>(std::atoi(argv[5]));
  tracking_options options = connections->options();
  for (int i = 6; i < argc; ++i) {
    const std::string setting = argv[i];
    if (setting == "tcp_loose") options.tcp_loose = false;
    else if (setting == "tcp_be_liberal") options.tcp_be_liberal = true;
    else if (setting == "tcp_ignore_invalid_rst") options.tcp_ignore_invalid_rst = true;
    else fail(setting);
  }
  connections->options(options);
  comparison c(argv[1], argv[2]);
  capture(c, argv[3]);
  numbers random(seed);
  std::uint16_t host = 0;
  const auto new_hosts = [&] { return hosts{random.chance(30), ++host, static_cast<std::uint16_t>(seed)}; };
  random_conversations<tcp_between_hosts>(c, random, packets / 4 * 3,
                                          [&] { return tcp_between_hosts{random, new_hosts()}; });
  random_conversations<other_conversation>(c, random, packets / 4, [&] {
    return other_conversation{random, new_hosts(),
                              other_conversation::kind(random.below(unsigned(other_conversation::kind::count)))};
  });
  random_conversations<ftp_conversation>(c, random, packets / 4, [&] { return ftp_conversation{random, new_hosts()}; });
  random_conversations<tftp_conversation>(c, random, packets / 10,
                                          [&] { return tftp_conversation{random, new_hosts()}; });
  udp_streams(c, random, static_cast<std::uint16_t>(seed + 1));
  return c.report();
}
