// SPDX-License-Identifier: MIT
// A NAT box between two networks, for tests: 10.0.0.0/8 and fd00::/8 are inside (interface 1), everything else is
// outside (interface 2), 192.0.2.254 and 2001:db8::254 are its own addresses there. A packet goes in, and what comes
// out is read back as text, with every checksum computed anew.
#ifndef RUNNEL_TESTS_TRACK_NAT_RIG_HPP
#define RUNNEL_TESTS_TRACK_NAT_RIG_HPP

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "conversation.hpp"

#include <runnel/hook.hpp>
#include <runnel/track.hpp>
#include <runnel/wire.hpp>

namespace runnel::test {

/// Two hosts inside, three outside, and what they see of one another.
namespace nat_hosts {
inline constexpr ipv4_address in1{10, 0, 0, 1}, in2{10, 0, 0, 2}, out1{198, 51, 100, 1}, out2{198, 51, 100, 2},
    out3{203, 0, 113, 3}, box{192, 0, 2, 254};
inline constexpr ipv6_address in6{0xfd00'0000'0000'0000, 1}, out6{0x2001'0db8'0001'0000, 1},
    box6{0x2001'0db8'0000'0000, 0x254};
}  // namespace nat_hosts

/// What a packet says, and whether all its checksums are right: `udp 10.0.0.1:1000 > 192.0.2.1:53`.
class nat_reading {
 public:
  static std::string of(bytes ip) { return nat_reading{}.read(ip, false); }

 private:
  std::string read(bytes b, bool quoted) {
    REQUIRE(b.size() >= 20);
    const bool v6 = load_u8(b.data()) >> 4 == 6;
    text<64> from, to;
    std::uint8_t protocol = 0;
    std::size_t header = 40, size = 0;
    std::uint64_t pseudo = 0;
    bool later = false, more = false;
    if (v6) {
      print(from, ipv6_address::load(b.data() + 8)), print(to, ipv6_address::load(b.data() + 24));
      protocol = load_u8(b.data() + 6);
      size = load_be16(b.data() + 4);
      pseudo = add_checksum({b.data() + 8, 32});
      if (protocol == 44) {
        later = (load_be16(b.data() + 42) & 0xfff8u) != 0;
        more = (load_be16(b.data() + 42) & 1u) != 0;
        protocol = load_u8(b.data() + 40);
        header += 8, size -= 8;
      }
    } else {
      print(from, ipv4_address::load(b.data() + 12)), print(to, ipv4_address::load(b.data() + 16));
      protocol = load_u8(b.data() + 9);
      header = (load_u8(b.data()) & 15u) * std::size_t{4};
      size = load_be16(b.data() + 2) - header;
      CHECK_MESSAGE(fold_checksum(add_checksum({b.data(), header})) == 0xffff, "checksum of the IP header");
      pseudo = add_checksum({b.data() + 12, 8});
      later = (load_be16(b.data() + 6) & 0x1fffu) != 0;
      more = (load_be16(b.data() + 6) & 0x2000u) != 0;
    }
    pseudo += size + protocol;
    const bool whole = header + size <= b.size() && !later && !more;
    const bytes payload = b.from(header).first(whole ? size : b.size() - header);
    if (later) return std::string("fragment ") + from.c_str() + " > " + to.c_str();
    const auto ports = [&](const char* word) {
      const auto end = [&](const char* address, std::size_t at) {
        const std::string a = v6 ? '[' + std::string(address) + ']' : std::string(address);
        return a + ':' + std::to_string(load_be16(payload.data() + at));
      };
      return std::string(word) + ' ' + end(from.c_str(), 0) + " > " + end(to.c_str(), 2);
    };
    if (protocol == 17) {
      if (whole && load_be16(payload.data() + 6) != 0)
        CHECK_MESSAGE(fold_checksum(add_checksum(payload, pseudo)) == 0xffff, "checksum of UDP");
      return ports("udp");
    }
    if (protocol == 6) {
      if (whole) CHECK_MESSAGE(fold_checksum(add_checksum(payload, pseudo)) == 0xffff, "checksum of TCP");
      return ports("tcp");
    }
    const std::string ends = std::string(from.c_str()) + " > " + to.c_str();
    if (protocol != 1 && protocol != 58) return "protocol " + std::to_string(protocol) + ' ' + ends;
    if (whole)
      CHECK_MESSAGE(fold_checksum(add_checksum(payload, protocol == 1 ? 0 : pseudo)) == 0xffff, "checksum of ICMP");
    const unsigned type = load_u8(payload.data());
    std::string said = "icmp " + ends + " type " + std::to_string(type);
    const bool error = v6 ? type < 128 : type == 3 || type == 5 || type == 11 || type == 12;
    if (error && !quoted) return said + " [" + read(payload.from(8), true) + ']';
    return said + " id " + std::to_string(load_be16(payload.data() + 4));
  }
};

/// Rules that a test writes as functions; what a rule table of run time offers to NAT.
struct nat_test_rules {
  struct one {
    hook_point at;
    std::function<bool(const packet&)> holds;
    nat_target to;
  };
  std::vector<one> all;
  unsigned asked = 0;
  std::function<verdict(hook_point, packet&, context&, const layers*, const nat_target*&)> elsewhere;  // if there is
  verdict translation(hook_point at, packet& p, context& c, const layers* found, const nat_target*& to) {
    ++asked;
    if (elsewhere) return elsewhere(at, p, c, found, to);
    for (const one& r : all)
      if (r.at == at && r.holds(p)) {
        to = &r.to;
        break;
      }
    return pass;
  }
};

struct nat_setup {
  nat_config sizes{.mappings = 64, .subscribers = 8, .permissions = 64, .seed = 5};
  nat_options options{};
  tracking_options tracking{};
  connection_config connections{.connections = 256, .ipv6_connections = 64, .unconfirmed = 16, .seed = 7};
};
/// Endpoint-independent mappings, and who may send to them.
inline nat_setup nat_eim(nat_filtering f = nat_filtering::endpoint_independent) {
  nat_setup s;
  s.options.mapping = nat_mapping::endpoint_independent;
  s.options.filtering = f;
  s.tracking.timeouts = nat_timeouts;
  return s;
}

class nat_rig {
 public:
  explicit nat_rig(const nat_setup& s = {})
      : table(s.connections, s.tracking),
        memory_(nat_table::bytes_needed(s.sizes) + nat_table::alignment),
        device_(pool_) {
    std::byte* at = memory_.data();
    while (reinterpret_cast<std::uintptr_t>(at) % nat_table::alignment != 0) ++at;
    nat = std::make_unique<nat_table>(*table, mutable_bytes{at, nat_table::bytes_needed(s.sizes)}, s.sizes, s.options);
  }
  ~nat_rig() {
    table->clear();
    CHECK(nat->mappings() == 0);
    CHECK(nat->subscribers() == 0);
  }
  nat_rig(const nat_rig&) = delete;
  nat_rig& operator=(const nat_rig&) = delete;

  /// Adds a rule. `outbound`, `inbound`: by the interface that the packet leaves or has come by. @{
  template <bool Source>
  void rule(hook_point at, const nat_statement<Source>& to, std::function<bool(const packet&)> holds) {
    rules.all.push_back({at, std::move(holds), to.target()});
  }
  template <bool Source>
  void outbound(const nat_statement<Source>& to) {
    rule(postrouting, to, [](const packet& p) { return p.iif() == 1 && p.scratch() >> 16 == 2; });
  }
  template <bool Source>
  void inbound(const nat_statement<Source>& to, std::uint16_t port) {
    rule(prerouting, to, [port](const packet& p) {
      const header_map m{p};
      return p.iif() == 2 && ((m.has<runnel::tcp>() && m.get<runnel::tcp>().destination_port() == port) ||
                              (m.has<runnel::udp>() && m.get<runnel::udp>().destination_port() == port));
    });
  }
  /// @}

  /// Sends a packet, and says what comes out: as it reads, or "dropped: reason".
  template <class... Headers>
  std::string send(std::size_t payload, const Headers&... headers) {
    clock_.set(now);
    table->expire(now);
    nat->expire(now);
    device_.put(1, payload, now, eth, headers...);
    return run();
  }
  std::string send_bytes(const std::vector<std::byte>& ip, std::uint16_t type = 0x0800) {
    clock_.set(now);
    device_.put_bytes(ip, type, now);
    return run();
  }

  /// UDP and TCP between any two. @{
  std::string udp(ipv4_address from, std::uint16_t sport, ipv4_address to, std::uint16_t dport) {
    return send(18, ipv4_header{.source = from, .destination = to},
                udp_header{.source_port = sport, .destination_port = dport});
  }
  std::string tcp_flags_of(std::uint8_t flags, ipv4_address from, std::uint16_t sport, ipv4_address to,
                           std::uint16_t dport, std::uint32_t seq = 100, std::uint32_t ack = 0) {
    tcp_header t;
    t.source_port = sport, t.destination_port = dport, t.flags = flags;
    t.sequence_number = seq, t.acknowledgment_number = ack, t.window_size = 1000;
    return send(0, ipv4_header{.source = from, .destination = to}, t);
  }
  std::string syn(ipv4_address from, std::uint16_t sport, ipv4_address to, std::uint16_t dport) {
    return tcp_flags_of(tcp_flags::syn, from, sport, to, dport);
  }
  std::string udp6(const ipv6_address& from, std::uint16_t sport, const ipv6_address& to, std::uint16_t dport) {
    return send(18, ipv6_header{.source = from, .destination = to},
                udp_header{.source_port = sport, .destination_port = dport});
  }
  std::string ping(ipv4_address from, ipv4_address to, std::uint16_t id, bool reply = false) {
    return send(8, ipv4_header{.source = from, .destination = to},
                icmp_header{.kind = reply ? icmp::echo_reply : icmp::echo_request, .identifier = id});
  }
  /// @}
  /// Which port a text has that came out: `port_of("udp 192.0.2.254:1000 > ...")` is 1000.
  static std::uint16_t port_of(const std::string& out) {
    const std::size_t bracket = out.find("]:"), at = bracket != std::string::npos ? bracket + 1 : out.find(':');
    REQUIRE_MESSAGE(at != std::string::npos, out);
    return static_cast<std::uint16_t>(std::stoul(out.substr(at + 1)));
  }

  counted_table table;
  std::unique_ptr<nat_table> nat;
  nat_test_rules rules;
  instant now{};
  std::vector<std::byte> sent;                             ///< the IP packet that came out last
  std::function<void(packet&)> meddle;                     ///< changes packets before they are tracked
  std::function<bool(const packet&)> refuse;               ///< a policy between the two stages
  std::function<bool(const packet&, bool source)> inside;  ///< whether a packet comes from or goes inside
  ipv4_address own4 = nat_hosts::box;
  ipv6_address own6 = nat_hosts::box6;
  connection_word word;  ///< of the packet that came out last

 private:
  struct wire : test_device {
    using test_device::test_device;
    void put_bytes(const std::vector<std::byte>& ip, std::uint16_t type, instant when) {
      // As many bytes as headers; then they are written over.
      ethernet_header e = eth;
      e.type = type;
      test_device::put(1, ip.size(), when, e);
      raw = ip;
    }
    std::vector<std::byte> raw;
  };

  std::string run() {
    std::string said = "nothing";
    const auto own = [this](const packet&, const ipv6_address& peer) { return is_mapped(peer) ? mapped(own4) : own6; };
    auto path =
        [this](packet& p) {
          if (device_.raw.empty()) return;
          copy_bytes(p.writable().data() + 14, device_.raw.data(), device_.raw.size());
          device_.raw.clear();
        } |
        parse() |
        [this](packet& p) {
          if (meddle) meddle(p);
          p.iif(is_inside(p, true) ? 1 : 2);
        } |
        track(*table) | runnel::rules(when(ct::state == invalid) >> drop(drop_reason::no_match)) |
        runnel::nat<prerouting>(*nat, rules, own) |
        [this](packet& p) {
          p.scratch(is_inside(p, false) ? 1u << 16 : 2u << 16);
          return refuse && refuse(p) ? drop : pass;
        } |
        runnel::nat<postrouting>(*nat, rules, own) | confirm(*table) | deliver([&](packet p) {
          word.value = p.connection();
          const bytes ip = p.contents().from(14);
          sent.assign(ip.begin(), ip.end());
          if (p.checksum() != checksum_status::partial) said = nat_reading::of(ip);
          else said = "partial";
        });
    runnel::run(clock_, attach(device_, path));
    const stage_counters counted[] = {counters_of<1>(path), counters_of<3>(path), counters_of<4>(path),
                                      counters_of<5>(path), counters_of<6>(path), counters_of<7>(path),
                                      counters_of<8>(path)};
    for (const stage_counters& c : counted)
      for (std::size_t r = 0; r < drop_reason_count; ++r)
        if (c.dropped(static_cast<drop_reason>(r)) != 0)
          said = std::string("dropped: ") + name(static_cast<drop_reason>(r));
    CHECK(table->check());
    return said;
  }
  bool is_inside(const packet& p, bool source) const {
    if (inside) return inside(p, source);
    const header_map m{p};
    if (m.has<ipv4>()) return (source ? m.get<ipv4>().source() : m.get<ipv4>().destination()).value() >> 24 == 10;
    if (m.has<ipv6>()) return (source ? m.get<ipv6>().source() : m.get<ipv6>().destination()).high() >> 56 == 0xfd;
    return false;
  }

  std::vector<std::byte> memory_;
  counted_pool pool_{{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 64}};
  wire device_;
  manual_clock clock_;
};

}  // namespace runnel::test

#endif
