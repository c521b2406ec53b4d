// SPDX-License-Identifier: MIT
// The fields of the less usual headers.
#include <doctest/doctest.h>

#include <runnel/wire/arp.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/mpls.hpp>
#include <runnel/wire/vxlan.hpp>

#include "literal_packets.hpp"

using namespace runnel;

namespace {
template <class... Views>
constexpr bool sizes_agree = (true && ... && (match::fixed_size(Views::in_header) == Views::min_size));
}  // namespace

TEST_CASE("a header is there for an expression when it is there for a handler") {
  static_assert(
      sizes_agree<ethernet, vlan, mpls, arp, ipv4, ipv6, ipv6_fragment, icmp, icmpv6, tcp, udp, gre, vxlan, llc>);
}

TEST_CASE("fields of ARP, MPLS and VXLAN") {
  constexpr literal_packet question = make(0, eth, arp_header{});
  CHECK((has<arp> && arp::operation == 1 && meta::protocol == ethertype::arp &&
         meta::nfproto == nfproto::arp)(question.as_subject()));
  CHECK_FALSE((meta::l4proto >= 0)(question.as_subject()));
  CHECK((arp::daddr_ip == ipv4_address{} && !has<ipv4>)(question.as_subject()));

  constexpr literal_packet tunnel = make(14, eth, from_10_1_2_3, udp_to(4789), vxlan_header{.vni = 0x123456});
  CHECK((vxlan::vni == 0x123456 && has<vxlan>)(tunnel.as_subject()));
  constexpr literal_packet no_tunnel = make(20, eth, from_10_1_2_3, udp_to(4790));
  CHECK_FALSE((vxlan::vni >= 0 || has<vxlan>)(no_tunnel.as_subject()));

  constexpr literal_packet labelled = make(0, eth, mpls_header{.label = 77, .ttl = 9}, from_10_1_2_3, tcp_to(22));
  CHECK((mpls::label == 77 && mpls::ttl == 9 && tcp::dport == 22 &&
         meta::protocol == ethertype::mpls)(labelled.as_subject()));
  literal_packet upstream = labelled;
  store_be16(upstream.storage + 12, ethertype::mpls_upstream);
  CHECK((has<mpls> && meta::protocol == ethertype::mpls_upstream)(upstream.as_subject()));
  std::byte cooked[28]{};
  store_be16(cooked, ethertype::mpls_upstream);
  store_be32(cooked + 20, 0x100);
  CHECK((has<mpls> &&
         meta::protocol == ethertype::mpls_upstream)(subject{cooked, dissect(cooked, link_type::linux_sll2)}));
}
