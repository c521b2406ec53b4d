// SPDX-License-Identifier: MIT
// The same packets through the kernel's address translation and through nat<...>: what comes out has to be the same,
// byte for byte but for the TTL, which only the kernel lowers here. Start it with the script compare_nat, which has the
// same rules for nft as stand below.
//
//     compare_nat IN OUT PACKETS SEED
#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <memory>
#include <new>
#include <set>

#include <runnel/flow.hpp>
#include <runnel/hook.hpp>
#include <runnel/ip.hpp>
#include <runnel/match.hpp>
#include <runnel/track.hpp>
#include <runnel/wire.hpp>

#include "ftp_through_nat.hpp"
#include "nat_conversation.hpp"
#include "one_frame.hpp"

namespace {

using namespace kernel_path;
using namespace runnel;

constexpr std::uint32_t was_forwarded = 1u << 31;

// ---- ours

// 10.1.N.0/24 and fd00:0:0:1::N00/120 are inside, and rule N is for them.
constexpr auto destinations =
    rules(when(ip::daddr == addr4("198.18.1.1") && tcp::dport == 80) >> dnat(addr4("10.2.0.9")).port(8080),
          when(ip::daddr == addr4("198.18.1.1") && udp::dport == 80) >> dnat(addr4("10.2.0.9")).port(5353),
          when(ip::daddr == addr4("198.18.1.2")) >> dnat(addr4("10.2.0.10")),
          when(ip::daddr.in(net("198.18.2.0/24"))) >> dnat(net("10.2.7.0/24")),
          when(ip6::daddr == addr6("fd01::80") && tcp::dport == 80) >> dnat(addr6("fd00:0:0:2::9")).port(8080),
          when(ip6::daddr == addr6("fd01::81")) >> dnat(addr6("fd00:0:0:2::a")),
          when(ip::daddr == addr4("198.18.3.1") && th::dport == 80) >> redirect_here().port(8080),
          when(ip::daddr == addr4("198.18.3.2")) >> redirect_here(),
          when(ip6::daddr == addr6("fd01::90") && th::dport == 80) >> redirect_here().port(8080),
          when(ip6::daddr == addr6("fd01::91")) >> redirect_here());
constexpr auto sources =
    rules(when(ip::saddr.in(net("10.1.1.0/24"))) >> snat(addr4("198.18.0.1")),
          when(ip::saddr.in(net("10.1.2.0/24")) && tcp::dport >= 0) >> snat(addr4("198.18.0.2")).port(5000),
          when(ip::saddr.in(net("10.1.2.0/24")) && udp::dport >= 0) >> snat(addr4("198.18.0.2")).port(5001),
          when(ip::saddr.in(net("10.1.3.0/24"))) >> masquerade(),
          when(ip::saddr.in(net("10.1.4.0/24")) && tcp::dport >= 0) >> masquerade().port(6000),
          when(ip::saddr.in(net("10.1.5.0/24"))) >> snat(net("198.18.5.0/24")),
          when(ip6::saddr.in(net("fd00:0:0:1::100/120"))) >> snat(addr6("fd01::1")),
          when(ip6::saddr.in(net("fd00:0:0:1::200/120")) && tcp::dport >= 0) >> snat(addr6("fd01::2")).port(5000),
          when(ip6::saddr.in(net("fd00:0:0:1::300/120"))) >> masquerade(),
          when(ip6::saddr.in(net("fd00:0:0:1::500/120"))) >> snat(net("fd01:0:0:5::/64")));

static_pool<pool_config{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 64}> memory;
static_connection_table<connection_config{
    .connections = 60000, .ipv6_connections = 30000, .unconfirmed = 64, .expectations = 16384, .seed = 7}>
    connections{7, {.checksum = true}};
static_nat_table<nat_config{.sequences = 10000}> translations{connections, 7};
static_virtual_fragment_table<fragment_config{.fragments = 3000, .datagrams = 1500}> fragments{7};
constexpr ipv4_address router4 = addr4("169.254.1.1"), own4 = addr4("10.3.0.1");
constexpr ipv6_address router6 = addr6("fc00::1"), own6 = addr6("fd00:0:0:3::1");

struct for_us {};

// The IP packets that come out of one that came in, or of one that this host sends.
std::vector<frame_bytes> our_answer(const frame_bytes& f, bool from_here) {
  static one_frame device{memory};
  static manual_clock clock;
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  clock.set(instant{} + seconds(t.tv_sec) + nanoseconds(t.tv_nsec));
  connections->expire(clock.now());
  const auto leaving_address = [](const packet&, const ipv6_address& peer) {
    return is_mapped(peer) ? mapped(router4) : router6;
  };
  const auto arriving_address = [](const packet&, const ipv6_address& peer) {
    return is_mapped(peer) ? mapped(own4) : own6;
  };
  const auto destination = [](packet& p) -> ports<for_us, other> {
    const header_map found{static_cast<const packet&>(p)};
    const bool ours = found.has<ipv4>() ? found.get<ipv4>().destination() == own4
                                        : found.has<ipv6>() && found.get<ipv6>().destination() == own6;
    if (ours) return for_us{};
    return other{};
  };
  std::vector<frame_bytes> out;
  const auto seen = [&out](packet& p) {
    const bytes b = p.contents();
    const auto* const first = reinterpret_cast<const std::uint8_t*>(b.data());
    out.emplace_back(first + 14, first + b.size());
  };
  constexpr auto policy = rules(when(ct::state == invalid) >> drop, when(ip::daddr == router4) >> drop,
                                when(ip6::daddr == router6) >> drop);
  auto leave = nat<postrouting>(translations, sources, leaving_address) | tftp_helper(connections) |
               confirm(connections) | seen | discard;
  auto path = parse() | virtual_defragment(fragments) | track(connections) | nat_ftp(translations) |
              nat<prerouting>(translations, destinations, arriving_address) | policy |
              branch(destination)
                  .on<for_us>(nat<hook_point::input>(translations) | confirm(connections) | seen | discard)
                  .on<other>(shared(leave));
  auto path_from_here = parse() | track(connections) | nat<hook_point::output>(translations) |
                        rules(when(ct::state == invalid) >> drop) | shared(leave);
  device.put(f);
  if (from_here) run(clock, attach(device, path_from_here));
  else run(clock, attach(device, path), attach(fragments.get()));
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
// With another TTL, and an IPv4 header checksum that is right when it was right.
frame_bytes with_ttl(frame_bytes p, std::uint8_t ttl, bool dont_fragment) {
  if (p[0] >> 4 == 6) return p[7] = ttl, p;
  const auto header = [&] { return frame_bytes(p.begin(), p.begin() + (p[0] & 15) * 4); };
  const bool right = internet_checksum(header()) == 0;
  p[8] = ttl;
  if (dont_fragment) p[6] |= 0x40;
  set16(p, 10, 0);
  set16(p, 10, internet_checksum(header()) ^ (right ? 0u : 0xffffu));
  return p;
}

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

// From and to which port it goes; zeros if it has none.
std::array<std::uint64_t, 2> ports_of(const frame_bytes& p) {
  const ip_places in{p};
  const std::uint8_t protocol = p[in.protocol];
  if ((protocol != 6 && protocol != 17) || p.size() < in.header + 4) return {};
  return {get16(p, in.header), get16(p, in.header + 2)};
}

// Whether both announce another port than the one that is taken.
bool another_announcement(const frame_bytes& sent, const frame_bytes& kernel, const frame_bytes& ours) {
  const auto says = ftp_through_nat::announced_in;
  return says(kernel) != 0 && says(kernel) != says(sent) && says(ours) != 0 && says(ours) != says(sent) &&
         sum_is_right(ours);
}

// What differences are listed by: what the conversation says, or the protocol.
std::string kind_of(const nat_conversation& from, const frame_bytes& packet) {
  const std::string told = from.kind();
  return !told.empty() ? told : text_of(packet).substr(0, 4);
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

using packets_seen = std::vector<frame_bytes>;

// Fragments in order, with the TTL of before. The kernel gives fragments of IPv6 another identification when it makes
// them again, and does not let a copy of what is for itself be fragmented: neither counts.
packets_seen comparable(packets_seen all) {
  for (frame_bytes& p : all) {
    const ip_places in{p};
    if (in.is_ipv6 && in.is_fragment(p)) std::fill(p.begin() + 44, p.begin() + 48, std::uint8_t{0});
    p = with_ttl(p, 64, in.address(p, true) == own_address(false));
  }
  std::sort(all.begin(), all.end(),
            [](const frame_bytes& a, const frame_bytes& b) { return ip_places{a}.offset(a) < ip_places{b}.offset(b); });
  return all;
}

// What its fragments are of, but for the length in its header.
frame_bytes whole(const packets_seen& all) {
  if (all.size() <= 1) return all.empty() ? frame_bytes{} : all[0];
  const ip_places in{all[0]};
  const auto header = static_cast<std::ptrdiff_t>(in.header);
  frame_bytes datagram(all[0].begin(), all[0].begin() + header);
  if (in.is_ipv6) datagram[6] = all[0][40];
  else set16(datagram, 6, 0);
  for (const frame_bytes& p : all) datagram.insert(datagram.end(), p.begin() + header + (in.is_ipv6 ? 8 : 0), p.end());
  return datagram;
}

// Both ways for packets.
class both_ways {
 public:
  both_ways(const char* in, const char* out) : in_(in), out_(out) { wait_for_carrier(in_, out_, was_forwarded); }
  void operator()(const packets_seen& packets) {
    kernel.clear(), ours.clear();
    for (const frame_bytes& p : packets) {
      const ip_places in{p};
      const bool from_here = in.address(p, false) == own_address(in.is_ipv6);
      const frame_bytes f = frame_with(in_, p);
      if (from_here) here_.send(p);
      else in_.send(f);
      (void)in_.left(~0u);
      for (const seen_frame& s : out_.left(was_forwarded)) kernel.emplace_back(s.bytes.begin() + 14, s.bytes.end());
      for (const frame_bytes& o : our_answer(f, from_here)) ours.push_back(o);
    }
    kernel = comparable(kernel), ours = comparable(ours);
  }
  packets_seen kernel{}, ours{};

 private:
  tap_end in_, out_;
  own_sender here_{was_forwarded};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "compare_nat IN OUT PACKETS SEED\n"), 2;
  both_ways ways(argv[1], argv[2]);
  const auto packets = static_cast<unsigned>(std::atoi(argv[3]));
  numbers random(static_cast<std::uint64_t>(std::atoll(argv[4])));

  struct running {
    std::unique_ptr<nat_conversation> it;
    unsigned left;
    std::string story{};
  };
  std::vector<running> open;
  std::map<std::string, unsigned> found;
  std::map<std::string, std::string> stories;
  std::map<std::string, unsigned> met;
  std::uint16_t number = 0;
  unsigned random_ports = 0;
  std::set<std::uint64_t> chosen;  // ports that one of both has chosen at random
  for (unsigned n = 0; n < packets; ++n) {
    while (open.size() < 8) {
      ++number;
      if (random.chance(15)) open.push_back({std::make_unique<ftp_through_nat>(random, number), 10 + random.below(40)});
      else if (random.chance(6))
        open.push_back({std::make_unique<tftp_through_nat>(random, number), 3 + random.below(30)});
      else open.push_back({std::make_unique<flow_through_nat>(random, number), 3 + random.below(30)});
    }
    const std::size_t at = random.below(open.size());
    running& one = open[at];
    const packets_seen sent = one.it->next();
    ways(sent);
    const packets_seen &kernel = ways.kernel, &ours = ways.ours;
    const std::string kind = kind_of(*one.it, sent[0]);
    one.it->forwarded(kernel);
    const auto shown = [](const packets_seen& p) { return p.empty() ? "dropped" : text_of(p[0]); };
    const bool same = kernel == ours, translated = !kernel.empty() && kernel != comparable(sent);
    if (translated) ++met["translated"];
    if (translated && kind.starts_with("an error")) ++met["errors translated"];
    if (translated && sent.size() != 1) ++met["translated in fragments"];
    if (translated && kind.starts_with("FTP ")) ++met["of FTP data translated"];
    if (!kernel.empty() && ip_places{kernel[0]}.address(kernel[0], true) == own_address(kernel[0][0] >> 4 == 6))
      ++met["redirected"];
    if (kernel.empty()) ++met["dropped by the kernel"];
    one.story += "    " + text_of(sent[0]) + (sent.size() != 1 ? " fragments " + std::to_string(sent.size()) : "") +
                 one.it->note() + "  ->  " + shown(kernel) + (same ? "\n" : " | " + shown(ours) + "\n");
    const bool elsewhere = !same && kernel.size() == ours.size() && another_port(whole(kernel), whole(ours));
    const bool announced = !same && kernel.size() == 1 && ours.size() == 1 && kind.starts_with("FTP ") &&
                           another_announcement(sent[0], kernel[0], ours[0]);
    if (elsewhere || announced) {
      ++random_ports;
      for (const frame_bytes& p : {whole(kernel), whole(ours)})
        chosen.insert(announced ? ftp_through_nat::announced_in(p) : ports_of(p)[0]);
      chosen.erase(0);
    } else if (!same && std::any_of(ports_of(sent[0]).begin(), ports_of(sent[0]).end(),
                                    [&](std::uint64_t port) { return chosen.contains(port); })) {
      ++random_ports;
    } else if (!same) {
      const std::string what =
          kind + (kind.starts_with("TCP that shares") ? ""  // one of both drops one thing, and then the other another
                  : kernel.empty()                    ? ", which the kernel drops"
                  : ours.empty()                      ? ", which we drop"
                                                      : "");
      if (++found[what] <= 3) {
        std::string bytes;
        for (std::size_t i = 0; i < kernel.size() && i < ours.size(); ++i) bytes += differing(kernel[i], ours[i]);
        stories[what] += one.story + bytes + "\n";
      }
    }
    if (!same || --one.left == 0) open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    // From here on another one has the port for the kernel than for us.
    if (!same && kind.starts_with("TCP that shares"))
      std::erase_if(open, [](const running& r) { return r.it->shares(); });
  }
  std::printf("%u packets, %u given a random port", packets, random_ports);
  for (const auto& [what, times] : met) std::printf(", %u %s", times, what.c_str());
  std::printf("\n");
  // Ports stay when they can: few connections wish for one that is taken.
  if (random_ports > packets / 1000) ++found["a port that should have stayed"];
  for (const auto& [what, times] : found)
    std::printf("difference %s: %u times\n%s", what.c_str(), times, stories[what].c_str());
  return 0;
}
