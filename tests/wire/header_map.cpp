// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/arp.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/mpls.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>
#include <runnel/wire/vxlan.hpp>

#include "wire_bytes.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

// Made by `unchecked` alone, before anything else could have instantiated their constructors: Clang 14 is particular.
template <class... View>
static constexpr bool can_be_made(bytes b) {
  return (View::unchecked(b).header_size() + ... + 0) != 0;
}
static constexpr bool views_work_in_constant_evaluation() {
  std::byte b[60]{};
  if (arp::unchecked(b).operation_code() != 0 || ipv6_fragment::unchecked(b).next_header() != 0) return false;
  return can_be_made<ethernet, vlan, llc, mpls, ipv4, ipv6, tcp, udp, icmp, icmpv6, gre, vxlan>(b);
}
static_assert(views_work_in_constant_evaluation());

TEST_CASE("the label stack is found behind every link header that can carry one") {
  const char* labels = "03e81 040 05dc5 140";  // 16001, then 24005 at the bottom
  const char* inside = "4500 0014 0000 0000 40fd 0000 c0000201 c0000202";
  const struct {
    const char* name;
    link_type link;
    const char* header;
  } cases[] = {
      {"Ethernet", link_type::ethernet, "020000000002 020000000001 8847"},
      {"two VLAN tags", link_type::ethernet, "020000000002 020000000001 88a8 0064 8100 0005 8847"},
      {"SNAP", link_type::ethernet, "020000000002 020000000001 0024 aaaa03 000000 8847"},
      {"cooked", link_type::linux_sll, "0000 0001 0006 020000000001 0000 8847"},
      {"cooked, with a tag", link_type::linux_sll, "0000 0001 0006 020000000001 0000 8100 0005 8847"},
      {"cooked, version 2", link_type::linux_sll2, "8847 0000 00000002 0001 00 06 020000000001 0000"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.name);
    std::vector<std::byte> packet = hex(c.header);
    const std::size_t expected = packet.size();
    for (const char* part : {labels, inside})
      for (std::byte b : hex(part)) packet.push_back(b);
    const exact b{packet};
    const layers found = dissect(b, c.link);
    REQUIRE(found.has(protocol::mpls));
    REQUIRE(found.has(protocol::ipv4));
    const header_map map(b, 0, found);
    REQUIRE(map.at<header::mpls, 4>() == b.data() + expected);
    CHECK(load_be32(map.at<header::mpls, 4>()) == 0x03e8'1040);
  }
}
