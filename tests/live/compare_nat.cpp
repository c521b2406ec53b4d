// SPDX-License-Identifier: MIT
// The same packets through the kernel's address translation and through nat<...>: what comes out has to be the same,
// byte for byte but for the TTL, which only the kernel lowers here. Start it with the script compare_nat, which has the
// same rules for nft as stand below.
//
//     compare_nat IN OUT PACKETS SEED
#include <ctime>
#include <map>
#include <memory>
#include <new>

#include <runnel/flow.hpp>
#include <runnel/hook.hpp>
#include <runnel/match.hpp>
#include <runnel/track.hpp>
#include <runnel/wire.hpp>

#include "one_frame.hpp"
#include "tcp_conversation.hpp"

namespace {

using namespace kernel_path;
using namespace runnel;

constexpr std::uint32_t was_forwarded = 1u << 31;

// ---- ours

// 10.1.N.0/24 and fd00:0:0:1::N:0/112 are inside, and rule N is for them.
constexpr auto destinations =
    rules(when(ip::daddr == addr4("198.18.1.1") && tcp::dport == 80) >> dnat(addr4("10.2.0.9")).port(8080),
          when(ip::daddr == addr4("198.18.1.1") && udp::dport == 80) >> dnat(addr4("10.2.0.9")).port(5353),
          when(ip::daddr == addr4("198.18.1.2")) >> dnat(addr4("10.2.0.10")),
          when(ip::daddr.in(net("198.18.2.0/24"))) >> dnat(net("10.2.7.0/24")),
          when(ip6::daddr == addr6("fd01::80") && tcp::dport == 80) >> dnat(addr6("fd00:0:0:2::9")).port(8080),
          when(ip6::daddr == addr6("fd01::81")) >> dnat(addr6("fd00:0:0:2::a")));
constexpr auto sources =
    rules(when(ip::saddr.in(net("10.1.1.0/24"))) >> snat(addr4("198.18.0.1")),
          when(ip::saddr.in(net("10.1.2.0/24")) && tcp::dport >= 0) >> snat(addr4("198.18.0.2")).port(5000),
          when(ip::saddr.in(net("10.1.2.0/24")) && udp::dport >= 0) >> snat(addr4("198.18.0.2")).port(5001),
          when(ip::saddr.in(net("10.1.3.0/24"))) >> masquerade(),
          when(ip::saddr.in(net("10.1.4.0/24")) && tcp::dport >= 0) >> masquerade().port(6000),
          when(ip::saddr.in(net("10.1.5.0/24"))) >> snat(net("198.18.5.0/24")),
          when(ip6::saddr.in(net("fd00:0:0:1::1:0/112"))) >> snat(addr6("fd01::1")),
          when(ip6::saddr.in(net("fd00:0:0:1::2:0/112")) && tcp::dport >= 0) >> snat(addr6("fd01::2")).port(5000),
          when(ip6::saddr.in(net("fd00:0:0:1::3:0/112"))) >> masquerade(),
          when(ip6::saddr.in(net("fd00:0:0:1::5:0/112"))) >> snat(net("fd01:0:0:5::/64")));
constexpr unsigned source_rules = 6;  // 0: none

static_pool<pool_config{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 64}> memory;
static_connection_table<connection_config{
    .connections = 60000, .ipv6_connections = 30000, .unconfirmed = 64, .seed = 7}>
    connections{7, {.checksum = true}};
nat_table translations{connections, 7};

// The IP packet that comes out; empty: it is dropped.
frame_bytes our_answer(const frame_bytes& f) {
  static one_frame device{memory};
  static manual_clock clock;
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  clock.set(instant{} + seconds(t.tv_sec) + nanoseconds(t.tv_nsec));
  connections->expire(clock.now());
  const auto own_address = [](const packet&, const ipv6_address& peer) {
    return is_mapped(peer) ? mapped(addr4("169.254.1.1")) : addr6("fc00::1");
  };
  frame_bytes out;
  constexpr auto policy = rules(when(ct::state == invalid) >> drop, when(ip::daddr == addr4("169.254.1.1")) >> drop,
                                when(ip6::daddr == addr6("fc00::1")) >> drop);
  auto path = parse() | track(connections) | nat<prerouting>(translations, destinations) | policy |
              nat<postrouting>(translations, sources, own_address) | confirm(connections) |
              [&out](packet& p) {
                const bytes b = p.contents();
                const auto* const first = reinterpret_cast<const std::uint8_t*>(b.data());
                out.assign(first + 14, first + b.size());
                return pass;
              } |
              discard;
  device.put(f);
  run(clock, attach(device, path));
  return out;
}

// ---- packets as text and as they are compared

std::string text_of(const frame_bytes& p) {
  if (p.empty()) return "dropped";
  const bool v6 = p[0] >> 4 == 6;
  const auto* const b = reinterpret_cast<const std::byte*>(p.data());
  const std::size_t header = v6 ? 40 : (p[0] & 15u) * 4u;
  runnel::text<200> t;
  const auto side = [&](bool destination) {
    if (v6) print(t, ipv6_address::load(b + (destination ? 24 : 8)));
    else print(t, ipv4_address::load(b + (destination ? 16 : 12)));
    const std::uint8_t protocol = p[v6 ? 6 : 9];
    if ((protocol == 6 || protocol == 17) && p.size() >= header + 4)
      t << ':' << unsigned{load_be16(b + header + (destination ? 2 : 0))};
    else if (!destination && p.size() >= header + 8)
      t << " type " << unsigned{p[header]} << " id " << unsigned{load_be16(b + header + 4)};
  };
  t << (p[v6 ? 6 : 9] == 6 ? "tcp " : p[v6 ? 6 : 9] == 17 ? "udp " : "icmp ");
  side(false), t << " > ", side(true);
  return t.c_str();
}
// With the TTL of before, and an IPv4 header checksum that is right when it was right.
frame_bytes with_ttl(frame_bytes p, std::uint8_t ttl) {
  if (p.empty()) return p;
  if (p[0] >> 4 == 6) return p[7] = ttl, p;
  const frame_bytes before(p.begin(), p.begin() + (p[0] & 15) * 4);
  const bool right = internet_checksum(before) == 0;
  p[8] = ttl;
  set16(p, 10, 0);
  set16(p, 10, internet_checksum({p.begin(), p.begin() + (p[0] & 15) * 4}) ^ (right ? 0u : 0xffffu));
  return p;
}

// ---- one conversation through the NAT

class flow {
 public:
  flow(numbers& random, std::uint16_t number)
      : random_(random),
        tcp_(random,
             static_cast<std::uint16_t>(random.chance(30) ? 1 + random.below(1100) : 1024 + random.below(60000)), 80,
             8) {
    const bool v6 = random_.chance(40);
    inside_.is_ipv6 = v6;
    const unsigned rule = random_.below(source_rules);
    inside_.client = static_cast<std::uint16_t>(rule << 8 | (1 + number % 250));
    inside_.server = static_cast<std::uint16_t>(0x100 + number / 4);
    protocol_ =
        random_.one_of({std::uint8_t{6}, std::uint8_t{6}, std::uint8_t{17}, v6 ? std::uint8_t{58} : std::uint8_t{1}});
    if (protocol_ == 6 && (rule == 2 || rule == 4)) {
      // Two connections to one server want the same port; else each has a server of its own.
      shares_port_ = random_.chance(20);
      if (!shares_port_) inside_.server = static_cast<std::uint16_t>(0x8000 + number);
    } else if (random_.chance(35)) {
      visible_server();
    }
    ports_[0] = static_cast<std::uint16_t>(1000 + random_.below(3000)), ports_[1] = 80;
    outside_ = inside_;
    outside_ports_[0] = ports_[0], outside_ports_[1] = ports_[1];
  }

  frame_bytes next() {
    is_error_ = !seen_.empty() && random_.chance(20);
    if (is_error_) return error();
    if (protocol_ == 6) {
      segment s = tcp_.next();
      while (s.by_server && !known_) s = tcp_.next();
      by_server_ = s.by_server;
      const hosts& view = by_server_ ? outside_ : inside_;
      const std::uint16_t(&ports)[2] = by_server_ ? outside_ports_ : ports_;
      s.source = ports[by_server_], s.destination = ports[!by_server_];
      return view.ip(by_server_, 6, s.bytes(view));
    }
    by_server_ = known_ && random_.chance(45);
    const hosts& view = by_server_ ? outside_ : inside_;
    const std::uint16_t(&ports)[2] = by_server_ ? outside_ports_ : ports_;
    frame_bytes b;
    if (protocol_ == 17) {
      const unsigned size = random_.below(50);
      const auto header = [&](const std::uint16_t(&p)[2]) { set16(b, 0, p[by_server_]), set16(b, 2, p[!by_server_]); };
      put32(b, 0), put16(b, 8 + size), put16(b, 0);
      for (unsigned i = 0; i < size; ++i) put8(b, random_.chance(50) ? 0 : random_.next());
      if (known_ && size >= 2 && random_.chance(20)) {
        // What comes out has the sum 0, which has to be written as 0xffff.
        header(by_server_ ? ports_ : outside_ports_);
        set16(b, 8, 0);
        set16(b, 8, internet_checksum(b, (by_server_ ? inside_ : outside_).pseudo(17, b.size())));
      }
      header(ports);
      const std::uint16_t sum = internet_checksum(b, view.pseudo(17, b.size()));
      if (view.is_ipv6 || random_.chance(85)) set16(b, 6, sum == 0 ? 0xffff : sum);
    } else {
      put8(b, protocol_ == 1 ? (by_server_ ? 0 : 8) : (by_server_ ? 129 : 128)), put8(b, 0), put16(b, 0);
      put16(b, ports[0]), put16(b, random_.next()), put32(b, random_.next());
      set16(b, 2, internet_checksum(b, protocol_ == 58 ? view.pseudo(58, b.size()) : 0));
    }
    return view.ip(by_server_, protocol_, b);
  }
  // What the kernel made of it.
  void forwarded(const frame_bytes& p) {
    if (is_error_ || p.empty()) return;
    seen_.push_back(p);
    if (by_server_) return;
    known_ = true;
    const std::size_t at = inside_.is_ipv6 ? 8 : 12, size = inside_.is_ipv6 ? 16 : 4,
                      header = inside_.is_ipv6 ? 40 : 20;
    const auto part = [&](std::size_t from) {
      return frame_bytes(p.begin() + static_cast<std::ptrdiff_t>(from),
                         p.begin() + static_cast<std::ptrdiff_t>(from + size));
    };
    outside_.given[0] = part(at), outside_.given[1] = part(at + size);
    const bool query = protocol_ != 6 && protocol_ != 17;
    outside_ports_[0] = static_cast<std::uint16_t>(get16(p, header + (query ? 4 : 0)));
    outside_ports_[1] = static_cast<std::uint16_t>(get16(p, header + 2));
  }
  bool is_error() const { return is_error_; }
  bool shares_port() const { return shares_port_; }
  std::string note() const { return is_error_ ? note_ : std::string(); }

 private:
  // An address that a rule for destinations knows.
  void visible_server() {
    frame_bytes& a = inside_.given[1];
    if (inside_.is_ipv6) put32(a, 0xfd01'0000), put32(a, 0), put32(a, 0), put32(a, random_.chance(70) ? 0x80 : 0x81);
    else put16(a, 198 * 256 + 18), put16(a, random_.one_of({0x0101u, 0x0101u, 0x0102u, 0x0200u + random_.below(256)}));
  }
  // About something that came through, from who got it or a router before, as well quoted as it pleases.
  frame_bytes error() {
    const bool v6 = inside_.is_ipv6;
    frame_bytes quoted = seen_[seen_.size() - 1 - random_.below(std::min<std::size_t>(seen_.size(), 4))];
    const std::size_t at = v6 ? 8 : 12, size = v6 ? 16 : 4, header = v6 ? 40 : 20;
    hosts way;
    way.is_ipv6 = v6;
    const auto part = [&](std::size_t from) {
      return frame_bytes(quoted.begin() + static_cast<std::ptrdiff_t>(from),
                         quoted.begin() + static_cast<std::ptrdiff_t>(from + size));
    };
    way.given[1] = part(at), way.given[0] = part(at + size);
    if (random_.chance(40)) way.given[0].back() ^= 0x40;  // a router
    note_ = " quotes";
    if (random_.chance(40)) quoted.resize(std::min(quoted.size(), header + 8 + random_.below(12)));
    if (random_.chance(6)) quoted.resize(random_.below(quoted.size()));
    note_ += " " + std::to_string(quoted.size()) + " bytes";
    if (random_.chance(6) && quoted.size() > 12) {
      const unsigned wrong = random_.below(quoted.size());
      quoted[wrong] ^= 0x10, note_ += ", byte " + std::to_string(wrong) + " is wrong";
    }
    constexpr std::uint8_t types4[] = {3, 3, 11, 12, 4, 5}, types6[] = {1, 2, 3, 4};
    frame_bytes b;
    put8(b, v6 ? random_.one_of(types6) : random_.one_of(types4)), put8(b, random_.below(4)), put16(b, 0);
    put32(b, random_.chance(50) ? 1400 : 0), put(b, quoted);
    const bool bad = random_.chance(3);
    if (bad) note_ += ", bad checksum";
    set16(b, 2, internet_checksum(b, v6 ? way.pseudo(58, b.size()) : 0) ^ (bad ? 1u : 0u));
    return way.ip(false, v6 ? 58 : 1, b);
  }

  numbers& random_;
  tcp_conversation tcp_;
  hosts inside_, outside_;
  std::uint8_t protocol_ = 17;
  std::uint16_t ports_[2] = {}, outside_ports_[2] = {};
  bool known_ = false, by_server_ = false, is_error_ = false, shares_port_ = false;
  std::string note_;
  std::vector<frame_bytes> seen_;  // what both ends got
};

// Whether the transport checksum is right.
bool sum_is_right(const frame_bytes& p) {
  hosts between;
  between.is_ipv6 = p[0] >> 4 == 6;
  const std::ptrdiff_t at = between.is_ipv6 ? 8 : 12, size = between.is_ipv6 ? 16 : 4;
  between.given[0].assign(p.begin() + at, p.begin() + at + size);
  between.given[1].assign(p.begin() + at + size, p.begin() + at + 2 * size);
  const frame_bytes transport(p.begin() + at + 2 * size, p.end());
  const std::uint8_t protocol = p[between.is_ipv6 ? 6 : 9];
  if (protocol == 17 && get16(transport, 6) == 0) return !between.is_ipv6;
  return internet_checksum(transport, protocol == 1 ? 0 : between.pseudo(protocol, transport.size())) == 0;
}
// Whether they differ in the source port alone, or the identifier, as they may where that is chosen at random.
bool another_port(const frame_bytes& a, const frame_bytes& b) {
  if (a.size() != b.size() || a.empty() || !sum_is_right(b)) return false;
  const bool v6 = a[0] >> 4 == 6;
  const std::size_t header = v6 ? 40 : 20;
  const std::uint8_t protocol = a[v6 ? 6 : 9];
  const std::size_t port = header + (protocol == 6 || protocol == 17 ? 0 : 4), sum = header + (protocol == 6    ? 16
                                                                                               : protocol == 17 ? 6
                                                                                                                : 2);
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i] && i != port && i != port + 1 && i != sum && i != sum + 1) return false;
  return true;
}

// Which kind of packet it is, of those that differences are listed by.
std::string kind_of(const frame_bytes& p, bool is_error) {
  if (!is_error) return text_of(p).substr(0, 4);
  const bool v6 = p[0] >> 4 == 6;
  const std::size_t header = v6 ? 40 : 20, quoted = header + 8;
  if (p.size() < quoted + header) return "an error that quotes no whole header";
  const frame_bytes inner(p.begin() + static_cast<std::ptrdiff_t>(quoted),
                          p.begin() + static_cast<std::ptrdiff_t>(quoted + header));
  if (inner[0] >> 4 != p[0] >> 4) return "an error that quotes another version";
  if (!v6 && internet_checksum(inner) != 0) return "an error whose quoted header has a wrong checksum";
  const std::size_t transport = p.size() - quoted - header;
  if (transport < 8) return "an error that quotes less than 8 bytes of a transport header";
  if (inner[v6 ? 6 : 9] == 6 && (transport == 18 || transport == 19))
    return "an error that quotes TCP up to its checksum";
  return "an error";
}
std::string differing(const frame_bytes& kernel, const frame_bytes& ours) {
  std::string all;
  char line[80];
  for (std::size_t i = 0; i < kernel.size() && i < ours.size(); ++i) {
    if (kernel[i] == ours[i]) continue;
    std::snprintf(line, sizeof line, "    byte %zu: %02x and %02x\n", i, kernel[i], ours[i]);
    all += line;
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "compare_nat IN OUT PACKETS SEED\n"), 2;
  tap_end in(argv[1]), out(argv[2]);
  const auto packets = static_cast<unsigned>(std::atoi(argv[3]));
  numbers random(static_cast<std::uint64_t>(std::atoll(argv[4])));
  wait_for_carrier(in, out, was_forwarded);

  struct running {
    flow it;
    unsigned left;
    std::string story{};
  };
  std::vector<std::unique_ptr<running>> open;
  std::map<std::string, unsigned> found;
  std::map<std::string, std::string> stories;
  std::uint16_t number = 0;
  unsigned translated = 0, errors = 0, dropped = 0, random_ports = 0;
  for (unsigned n = 0; n < packets; ++n) {
    while (open.size() < 8) open.emplace_back(new running{{random, ++number}, 3 + random.below(30)});
    const std::size_t at = random.below(open.size());
    running& one = *open[at];
    const frame_bytes packet = one.it.next();
    const frame_bytes f = frame_with(in, packet);
    in.send(f);
    (void)in.left(~0u);
    const std::vector<seen_frame> left = out.left(was_forwarded);
    const frame_bytes kernel =
        left.empty() ? frame_bytes{} : with_ttl({left[0].bytes.begin() + 14, left[0].bytes.end()}, 64);
    const frame_bytes ours = with_ttl(our_answer(f), 64);
    one.it.forwarded(kernel);
    one.story += "    " + text_of(packet) + one.it.note() + "  ->  " + text_of(kernel) +
                 (ours == kernel ? "\n" : " | " + text_of(ours) + "\n");
    if (kernel.empty()) ++dropped;
    else if (kernel != packet) ++translated, errors += one.it.is_error();
    const bool same = kernel == ours;
    if (!same && another_port(kernel, ours)) {
      ++random_ports;
    } else if (!same) {
      const std::string what = one.it.shares_port()
                                   ? "TCP that shares its one port"
                                   : kind_of(packet, one.it.is_error()) + (kernel.empty() ? ", which the kernel drops"
                                                                           : ours.empty() ? ", which we drop"
                                                                                          : "");
      if (++found[what] <= 3) stories[what] += one.story + differing(kernel, ours) + "\n";
    }
    if (!same || --one.left == 0) open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
  }
  std::printf("%u packets: %u translated, %u of them errors, %u dropped by the kernel, %u given a random port\n",
              packets, translated, errors, dropped, random_ports);
  // Ports stay when they can: few connections wish for one that is taken.
  if (random_ports > packets / 1000) ++found["a port that should have stayed"];
  for (const auto& [what, times] : found)
    std::printf("difference %s: %u times\n%s", what.c_str(), times, stories[what].c_str());
  return 0;
}
