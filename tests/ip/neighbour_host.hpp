// SPDX-License-Identifier: MIT
// A host on a link, for tests of neighbours, addresses and routers: what it hears at what time, and what it sends then,
// as text.
#ifndef RUNNEL_TESTS_IP_NEIGHBOUR_HOST_HPP
#define RUNNEL_TESTS_IP_NEIGHBOUR_HOST_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <runnel/ip.hpp>

#include <flow/test_device.hpp>

namespace runnel::test {

inline constexpr mac_address us{{2, 0, 0, 0, 0, 1}}, peer{{2, 0, 0, 0, 0, 2}}, other_peer{{2, 0, 0, 0, 0, 3}};
inline constexpr auto own4 = ipv4_address{192, 0, 2, 1}, peer4 = ipv4_address{192, 0, 2, 2};
inline constexpr auto own6 = ipv6_address{0x2001'0db8'0000'0000, 1}, peer6 = ipv6_address{0x2001'0db8'0000'0000, 2};
inline constexpr auto far6 = ipv6_address{0x2001'0db8'0000'ffff, 9};

/// A host on a link: what is sent to it, what is sent by it, at literal times.
class host {
 public:
  explicit host(const neighbour_options& o = {},
                const neighbour_config& c = {.entries = 32, .unresolved = 8, .packets = 16, .seed = 1})
      : space_(neighbour_table::bytes_needed(c) / 8 + 1),
        table(space_of(space_), c, memory, link, o),
        device_(memory) {}
  ~host() { CHECK(table.check()); }

  // Routes a packet with number `n` out at a time in milliseconds. What went out then, with what had waited.
  std::string send(std::int64_t ms, unsigned n, ipv4_address to) {
    return send_it(ms, n, ipv4_header{.source = {10, 0, 0, 1}, .destination = to});
  }
  std::string send(std::int64_t ms, unsigned n, const ipv6_address& to) {
    return send_it(ms, n, ipv6_header{.source = far6, .destination = to});
  }
  // A message of a neighbour, in a frame.
  template <class... Headers>
  std::string hear(std::int64_t ms, const Headers&... headers) {
    return hear_by(answer_neighbours(table), ms, headers...);
  }
  // The same by a stage.
  template <class Stage, class... Headers>
  std::string hear_by(const Stage& stage, std::int64_t ms, const Headers&... headers) {
    set(ms);
    device_.put(0, 0, clock_.now(), headers...);
    auto path = parse() | stage | [this](packet&) { said_ += "passed; "; } | discard;
    auto in = attach(device_, path);
    in.poll(clock_);
    const stage_counters sum = totals(path);
    faults.clear();
    for (std::size_t i = 1; i < drop_reason_count; ++i)
      if (sum.reasons[i] != 0 && static_cast<drop_reason>(i) != drop_reason::discarded)
        faults += name(static_cast<drop_reason>(i));
    return at(ms);
  }
  std::string hear_arp(std::int64_t ms, const mac_address& to, const arp_header& m) {
    return hear(ms, ethernet_header{.source = m.sender_hardware, .destination = to}, m);
  }
  // What the table sends by itself.
  std::string at(std::int64_t ms) {
    set(ms);
    auto out = attach(table, parse() | deliver([this](packet p) { saw(p); }));
    out.poll(clock_);
    CHECK(table.check());
    std::string s = said_;
    said_.clear();
    if (s.size() >= 2) s.resize(s.size() - 2);
    return s;
  }
  std::string line(const ipv6_address& a) {
    text<160> out;
    print(out, table.find(a, clock_.now()), "eth0");
    return out.c_str();
  }
  std::string line(ipv4_address a) { return line(mapped(a)); }
  [[nodiscard]] instant now() const { return clock_.now(); }

  std::string faults;

 private:
  static mutable_bytes space_of(std::vector<std::uint64_t>& m) {
    return {static_cast<std::byte*>(static_cast<void*>(m.data())), m.size() * 8};
  }
  void set(std::int64_t ms) { clock_.set(instant{} + milliseconds(ms)); }
  template <class Header>
  std::string send_it(std::int64_t ms, unsigned n, const Header& ip) {
    set(ms);
    device_.put(n, 18, clock_.now(), eth, ip, udp_header{.source_port = 1000, .destination_port = 7});
    auto path = parse() | resolve(table) | deliver([this](packet p) { saw(p); });
    auto in = attach(device_, path);
    in.poll(clock_);
    return at(ms);
  }
  // "to 02 #7" is packet 7 to 02:00:00:00:00:02, "to all" the broadcast address.
  void saw(packet& p) {
    const header_map found{static_cast<const packet&>(p)};
    const auto frame = found.get<ethernet>();
    CHECK(frame.source() == us);
    text<400> out;
    const mac_address to = frame.destination();
    if (to.is_broadcast()) out << "to all ";
    else if (to.is_multicast()) print(out << "to ", to), out << ' ';
    else (out << "to ").hex(to.octets[5], 2) << ' ';
    if (found.has<arp>()) {
      const auto m = found.get<arp>();
      CHECK(m.sender_hardware() == us);
      if (m.is_reply()) CHECK(m.target_hardware() == to);
      print(out << (m.is_probe()          ? "probes "
                    : m.is_announcement() ? "announces "
                    : m.is_request()      ? "who-has "
                                          : "tells "),
            m.is_request() ? m.target_protocol() : m.sender_protocol());
      if (m.is_reply()) print(out << " to ", m.target_protocol());
      else if (!m.is_announcement() && !m.is_probe()) print(out << " tell ", m.sender_protocol());
    } else if (found.has<icmpv6>()) {
      const auto m = found.get<icmpv6>();
      const auto around = found.get<ipv6>();
      CHECK(m.checksum_ok(around.pseudo_header_sum()));
      const bytes whole = p.contents().from(54);
      if (const auto asks = neighbour_solicitation::parse(whole, around)) {
        const bool from_nobody = around.source().is_unspecified();
        print(out << (from_nobody ? "probes " : "who-has "), asks->target());
        if (!from_nobody) {
          print(out << " tell ", around.source());
          CHECK(*asks->link_address(ndp_option::source_link_address) == us);
        }
        if (to.is_multicast()) CHECK(around.destination() == solicited_node_multicast(asks->target()));
      } else if (const auto says = neighbour_advertisement::parse(whole, around)) {
        print(out << "tells ", says->target());
        print(out << " to ", around.destination());
        out << (says->is_router() ? " R" : "") << (says->is_solicited() ? " S" : "")
            << (says->is_override() ? " O" : "");
        CHECK(*says->link_address(ndp_option::target_link_address) == us);
        if (says->is_override()) CHECK(around.source() == says->target());
        else print(out << " from ", around.source());
      } else if (const auto advertised = router_advertisement::parse(whole, around)) {
        print(out, *advertised);
        print(out << " from ", around.source());
        print(out << " to ", around.destination());
      } else if (const auto solicited = router_solicitation::parse(whole, around)) {
        print(out, *solicited);
        print(out << " from ", around.source());
        print(out << " to ", around.destination());
      } else {
        out << "nonsense";
      }
    } else {
      CHECK(frame.ethertype() == (found.has<ipv4>() ? ethertype::ipv4 : ethertype::ipv6));
      out << '#' << number_of(p);
    }
    said_ += out.c_str();
    said_ += "; ";
  }

  std::vector<std::uint64_t> space_;

 public:
  counted_pool memory{{.packets = 64, .bytes = 512, .headroom = 128, .bare = 64}};
  ip_interface link{.mac = us, .addresses = {{own4, 24}, {own6, 64}}};
  neighbour_table table;

 private:
  test_device device_;
  manual_clock clock_;
  std::string said_;
};

// What neighbours say.
[[nodiscard]] inline arp_header reply(ipv4_address from, const mac_address& mac) {
  return {.operation = arp_operation::reply,
          .sender_hardware = mac,
          .sender_protocol = from,
          .target_hardware = us,
          .target_protocol = own4};
}
[[nodiscard]] inline arp_header request(ipv4_address from, const mac_address& mac, ipv4_address whom) {
  return {.sender_hardware = mac, .sender_protocol = from, .target_protocol = whom};
}

}  // namespace runnel::test

#endif
