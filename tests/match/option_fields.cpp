// SPDX-License-Identifier: MIT
// Fields of what may or may not be there: options, extension headers, LLC and SNAP, what is inside tunnels.
#include <doctest/doctest.h>

#include <iterator>
#include <string>
#include <vector>

#include <runnel/wire/arp.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/ndp.hpp>
#include <runnel/wire/tunnel.hpp>
#include <runnel/wire/vxlan.hpp>

#include "../wire/wire_bytes.hpp"
#include "literal_packets.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

namespace {

using frame_bytes = std::vector<std::byte>;

bool holds(bytes frame, const auto& expression, link_type link = link_type::ethernet) {
  const exact copy(frame);
  const bytes b{copy.data(), copy.size()};
  return expression(subject{b, dissect(b, link)});
}
bool holds(const literal_packet& p, const auto& expression) { return holds(p.contents(), expression); }

const char* const ethernet_ip = "020000000002 020000000001 0800 ";

// The options are a multiple of 4 bytes, as are those below. `payload` bytes of text follow.
frame_bytes segment(const char* options, const char* payload = "") {
  frame_bytes b = hex(ethernet_ip);
  const frame_bytes header =
      hex("4500 0000 0001 4000 40 06 0000 0a010203 c0000201"
          "9c40 0016 00000001 00000001 50 02 ffff 0000 0000");
  const frame_bytes o = hex(options);
  const frame_bytes behind = hex(payload);
  b.insert(b.end(), header.begin(), header.end());
  b.insert(b.end(), o.begin(), o.end());
  b.insert(b.end(), behind.begin(), behind.end());
  store_be16(b.data() + 16, static_cast<std::uint16_t>(b.size() - 14));
  store_u8(b.data() + 46, static_cast<std::uint8_t>((5 + o.size() / 4) << 4));
  return b;
}
frame_bytes datagram(const char* options) {
  frame_bytes b = hex(ethernet_ip);
  const frame_bytes header = hex("4000 0000 0001 0000 40 11 0000 0a010203 c0000201");
  const frame_bytes o = hex(options);
  const frame_bytes behind = hex("0001 0002 0008 0000");
  b.insert(b.end(), header.begin(), header.end());
  b.insert(b.end(), o.begin(), o.end());
  b.insert(b.end(), behind.begin(), behind.end());
  store_be16(b.data() + 16, static_cast<std::uint16_t>(b.size() - 14));
  store_u8(b.data() + 14, static_cast<std::uint8_t>(0x45 + o.size() / 4));
  return b;
}
frame_bytes six(const char* next, const char* payload) {
  frame_bytes b = hex("020000000002 020000000001 86dd 60000000 0000");
  const frame_bytes rest = hex(next);
  const frame_bytes addresses = hex("ff fe800000000000000000000000000001 ff020000000000000000000000000001");
  const frame_bytes behind = hex(payload);
  b.insert(b.end(), rest.begin(), rest.end());
  b.insert(b.end(), addresses.begin(), addresses.end());
  b.insert(b.end(), behind.begin(), behind.end());
  store_be16(b.data() + 18, static_cast<std::uint16_t>(behind.size()));
  return b;
}
constexpr ipv6_address db8(std::uint64_t low) { return {0x2001'0db8'0000'0000, low}; }

}  // namespace

TEST_CASE("TCP options are matched by nft's names") {
  // What Linux sends: mss 1460, sackOK, TS val 100 ecr 200, nop, wscale 7.
  const frame_bytes syn = segment("020405b4 0402 080a 00000064 000000c8 01 030307");
  CHECK(holds(syn, tcp::option::maxseg::size == 1460 && tcp::option::maxseg::length == 4));
  CHECK(holds(syn, tcp::option::maxseg::size.in(range(1000, 1460)) && (tcp::option::maxseg::size & 0xff) == 0xb4));
  CHECK(holds(syn, tcp::option::window::count == 7));
  CHECK(holds(syn, has<tcp::option::sack_perm> && tcp::option::sack_perm::length == 2));
  CHECK(holds(syn, tcp::option::timestamp::tsval == 100 && tcp::option::timestamp::tsecr == 200));
  CHECK(holds(syn, has<tcp::option::number<1>>));
  CHECK_FALSE(holds(syn, has<tcp::option::number<0>> || has<tcp::option::sack> || has<tcp::option::number<254>>));
  CHECK_FALSE(holds(syn, tcp::option::sack::left != 1 || tcp::option::mptcp::subtype != 9));
  CHECK(holds(syn, !(tcp::option::sack::left == 1)));

  const frame_bytes ack = segment("0101 0512 00000001 00000005 00000009 0000000a");
  CHECK(holds(ack, tcp::option::sack::left == 1 && tcp::option::sack::right == 5 && tcp::option::sack::length == 18));
  const frame_bytes others = segment("1e04 1005 2202 0101 1312 000102030405060708090a0b0c0d0e0f 0101");
  CHECK(holds(others, tcp::option::mptcp::subtype == 1 && has<tcp::option::fastopen> && has<tcp::option::md5sig>));
  CHECK_FALSE(holds(segment(""), has<tcp::option::maxseg> || tcp::option::maxseg::size >= 0));
  CHECK_FALSE(holds(datagram(""), has<tcp::option::maxseg> || tcp::option::maxseg::size >= 0));
}

TEST_CASE("of several options of a kind the first counts, and the list ends where it says") {
  CHECK(holds(segment("02040001 02040002"), tcp::option::maxseg::size == 1));
  CHECK_FALSE(holds(segment("01010100 02040002"), has<tcp::option::maxseg>));
}

TEST_CASE("behind an impossible length there are no options, and before it there are") {
  for (const char* options : {"01 03 03 07  fd 00 0204 0002 0101",  // length 0
                              "01 03 03 07  fd 01 0204 0002 0101",  // length 1
                              "01 03 03 07  fd 09 0204 0002 0101",  // one byte longer than the header
                              "01 03 03 07  fd ff 0204 0002 0101"}) {
    const frame_bytes b = segment(options, "0204 0003");
    CHECK(holds(b, tcp::option::window::count == 7));
    CHECK_FALSE(holds(b, has<tcp::option::maxseg> || has<tcp::option::number<253>>));
  }
  // A kind in the last byte; an option whose data would lie in the payload; one too short for its field.
  CHECK_FALSE(holds(segment("01010102", "04050505"), has<tcp::option::maxseg> || tcp::option::maxseg::size >= 0));
  CHECK_FALSE(holds(segment("01010204", "05b40101"), has<tcp::option::maxseg> || tcp::option::maxseg::size >= 0));
  CHECK_FALSE(holds(segment("01020305"), tcp::option::maxseg::size >= 0));
  CHECK(holds(segment("01020305"), has<tcp::option::maxseg> && tcp::option::maxseg::length == 3));
}

TEST_CASE("IPv4 options are matched by nft's names") {
  const frame_bytes recorded = datagram("0707040a00000100 94040000");
  CHECK(holds(recorded, has<ip::option::rr> && ip::option::rr::ptr == 4 && ip::option::rr::length == 7));
  CHECK(holds(recorded, ip::option::rr::addr == ipv4_address{10, 0, 0, 1}));
  CHECK_FALSE(holds(recorded, has<ip::option::ra>));  // the list ended
  const frame_bytes loose = datagram("83070450000001 01 94040000");
  CHECK(holds(loose, ip::option::lsrr::addr == ipv4_address{80, 0, 0, 1} && ip::option::ra::value == 0));
  CHECK_FALSE(holds(loose, has<ip::option::ssrr> || has<ip::option::rr> || ip::option::ssrr::ptr >= 0));
  CHECK(holds(loose, has<ip::option::number<131>> && has<ip::option::number<1>>));
  CHECK(holds(datagram("890704 0a000001 00"), ip::option::ssrr::ptr == 4 && ip::version == 4));
  for (const char* options : {"0700 0404", "0701 0404", "0705 0404", "01 01 01 07"})
    CHECK_FALSE(holds(datagram(options), has<ip::option::rr> || ip::option::rr::ptr >= 0));
  CHECK_FALSE(holds(datagram("0703 04 00"), ip::option::rr::addr >= ipv4_address{}));
}

TEST_CASE("IPv6 extension headers are matched by nft's names") {
  // Hop-by-hop, destination options of 16 bytes, routing of type 4, then UDP.
  const frame_bytes b = six("00",
                            "3c00 0502 0000 0000  2b01 010c 000000000000 0000 00000000"
                            "1100 0402 00000000  0001 0002 0008 0000");
  REQUIRE(holds(b, has<udp>));
  CHECK(holds(b, has<ip6::exthdr::hbh> && ip6::exthdr::hbh::nexthdr == 60 && ip6::exthdr::hbh::hdrlength == 0));
  CHECK(holds(b, ip6::exthdr::dst::nexthdr == 43 && ip6::exthdr::dst::hdrlength == 1));
  CHECK(holds(b, ip6::exthdr::rt::type == 4 && ip6::exthdr::rt::seg_left == 2 && ip6::exthdr::rt::nexthdr == 17));
  CHECK_FALSE(holds(b, has<ip6::exthdr::mh> || has<ipv6_fragment> || has<ip6::exthdr::number<51>>));
  CHECK_FALSE(holds(datagram(""), has<ip6::exthdr::hbh> || ip6::exthdr::rt::type >= 0));

  const frame_bytes moving = six("87", "3b00 0500 abcd 0000");
  CHECK(holds(moving, has<ip6::exthdr::mh> && ip6::exthdr::mh::type == 5 && ip6::exthdr::mh::checksum == 0xabcd));
  CHECK_FALSE(holds(six("87", "3b01 0500 abcd 0000"), has<ip6::exthdr::mh>));  // says 16 bytes, has 8
  frame_bytes padded = six("87", "3b00 05");                                   // what follows is of the link
  padded.resize(padded.size() + 20);
  CHECK_FALSE(holds(padded, has<ip6::exthdr::mh> || ip6::exthdr::mh::type >= 0));

  // In a later fragment there is nothing behind the fragment header.
  const frame_bytes later = six("00", "2c00 0502 0000 0000  3c00 0008 00000001  2b00 0104 00000000");
  CHECK(holds(later, has<ipv6_fragment> && has<ip6::exthdr::hbh>));
  CHECK_FALSE(holds(later, has<ip6::exthdr::dst>));
}

TEST_CASE("a chain of extension headers that is cut off has none, for dissect refuses it") {
  for (const char* chain : {"3c00 0502 0000 0000  2b01 010c 000000000000 0000",  // 16 bytes said, 12 there
                            "3cff 0502 0000 0000", "3c00 0502 0000"}) {
    const frame_bytes b = six("00", chain);
    CHECK_FALSE(holds(b, has<ip6::exthdr::hbh> || has<ip6::exthdr::dst> || ip6::exthdr::rt::type >= 0));
  }
}

TEST_CASE("neighbour discovery messages are matched, each by its own fields") {
  const frame_bytes question = six("3a", "8700 0000 00000000 20010db8000000000000000000000007  0101 020000000001");
  CHECK(holds(question, icmpv6::taddr == db8(7) && icmpv6::option::slla::address == mac_address{{2, 0, 0, 0, 0, 1}}));
  CHECK(holds(question, icmpv6::taddr.in(net("2001:db8::/32"))));
  CHECK_FALSE(holds(question, has<icmpv6::option::tlla> || has<icmpv6::ra> || icmpv6::daddr == db8(7)));
  CHECK_FALSE(holds(question, has<icmpv6::na> || icmpv6::na::router >= 0 || icmpv6::ra::managed >= 0));

  const frame_bytes answer = six("3a", "8800 0000 60000000 20010db8000000000000000000000007  0201 020000000009");
  CHECK(holds(answer, icmpv6::na::solicited == 1 && icmpv6::na::overrides == 1 && icmpv6::na::router == 0));
  CHECK(holds(answer, icmpv6::option::tlla::address == mac_address{{2, 0, 0, 0, 0, 9}}));

  const frame_bytes advertisement = six("3a",
                                        "8600 0000 40 80 0708 00000001 00000002  0501 0000 000005dc"
                                        "0304 40c0 00278d00 00093a80 00000000 20010db8000000000000000000000000"
                                        "1801 0000 00000708  1903 0000 00000e10 20010db8000000000000000000000035");
  CHECK(holds(advertisement, has<icmpv6::ra> && icmpv6::ra::cur_hop_limit == 64 && icmpv6::ra::managed == 1 &&
                                 icmpv6::ra::other == 0 && icmpv6::ra::router_lifetime == 1800 &&
                                 icmpv6::ra::reachable_time == 1 && icmpv6::ra::retrans_timer == 2));
  CHECK(holds(advertisement, icmpv6::option::mtu::value == 1500 && icmpv6::option::prefix::prefix_length == 64 &&
                                 icmpv6::option::prefix::on_link == 1 && icmpv6::option::prefix::autonomous == 1));
  CHECK(holds(advertisement, icmpv6::option::prefix::valid_lifetime == 2'592'000 &&
                                 icmpv6::option::prefix::preferred_lifetime == 604'800 &&
                                 icmpv6::option::prefix::address == db8(0)));
  CHECK(holds(advertisement, icmpv6::option::route::lifetime == 1800 && icmpv6::option::rdnss::lifetime == 3600 &&
                                 icmpv6::option::rdnss::address == db8(0x35) && icmpv6::option::rdnss::length == 3));
  CHECK_FALSE(holds(advertisement, icmpv6::taddr >= ipv6_address{}));

  const frame_bytes better_hop = six("3a",
                                     "8900 0000 00000000 fe800000000000000000000000000002"
                                     "20010db8000000000000000000000063  0201 020000000003");
  CHECK(holds(better_hop, icmpv6::taddr == ipv6_address{0xfe80'0000'0000'0000, 2} && icmpv6::daddr == db8(0x63)));
  CHECK(holds(better_hop, has<icmpv6::option::number<2>>));

  const frame_bytes listener = six("3a", "8300 0000 00000000 ff020000000000000000000000000099");
  CHECK(holds(listener, icmpv6::taddr == ipv6_address{0xff02'0000'0000'0000, 0x99} && !has<icmpv6::option::slla>));

  // An echo request has no options, whatever its payload looks like.
  CHECK_FALSE(holds(six("3a", "8000 0000 00000000 0101 020000000001"),
                    has<icmpv6::option::slla> || icmpv6::taddr >= ipv6_address{}));
}

TEST_CASE("neighbour discovery options of impossible lengths, and messages that are cut off") {
  const char* const start = "8700 0000 00000000 20010db8000000000000000000000007 ";
  for (const char* options : {"0100 020000000001  0101 020000000002",  // length 0
                              "0103 020000000001  0101 020000000002",  // beyond the message
                              "0101 0200"}) {
    std::string all = start;
    all += options;
    CHECK_FALSE(holds(six("3a", all.c_str()), has<icmpv6::option::slla>));
  }
  // The target would lie in the padding of the link.
  frame_bytes padded = six("3a", "8700 0000 00000000 20010db8");
  padded.resize(padded.size() + 40);
  CHECK_FALSE(holds(padded, icmpv6::taddr >= ipv6_address{} || has<icmpv6::option::slla>));
}

TEST_CASE("what only some ICMP messages have is matched in those only, as by nft") {
  constexpr literal_packet ping =
      make(0, eth, from_10_1_2_3, icmp_header{.kind = icmp::echo_request, .identifier = 7, .sequence_number = 9});
  CHECK(holds(ping, icmp::id == 7 && icmp::sequence == 9));
  CHECK_FALSE(holds(ping, icmp::mtu == 9 || icmp::gateway >= ipv4_address{}));
  const frame_bytes too_big = six("3a", "0200 0000 00000578");
  CHECK(holds(too_big, icmpv6::mtu == 1400));
  CHECK_FALSE(holds(too_big, icmpv6::id >= 0 || icmpv6::param_problem >= 0 || icmpv6::max_delay >= 0));
  CHECK(holds(six("3a", "0400 0000 00000028"), icmpv6::param_problem == 40));
  CHECK(holds(six("3a", "8100 0000 0007 0009"), icmpv6::id == 7 && icmpv6::sequence == 9));
  CHECK(holds(six("3a", "8200 0000 2710 0000 00000000000000000000000000000000"),
              icmpv6::max_delay == 10'000 && icmpv6::taddr == ipv6_address{}));

  frame_bytes redirect_to = hex(ethernet_ip);
  const frame_bytes rest = hex("4500 001c 0001 0000 40 01 0000 0a010203 c0000201  0501 0000 0a000009");
  redirect_to.insert(redirect_to.end(), rest.begin(), rest.end());
  CHECK(holds(redirect_to, icmp::gateway == ipv4_address{10, 0, 0, 9}));
  CHECK_FALSE(holds(redirect_to, icmp::id >= 0 || icmp::mtu >= 0));
  redirect_to[34] = std::byte{3};
  CHECK(holds(redirect_to, icmp::mtu == 9));
}

TEST_CASE("LLC and SNAP") {
  constexpr literal_packet spanning_tree = make(35, eth, llc_header{.destination_sap = 0x42, .source_sap = 0x43});
  CHECK(holds(spanning_tree, has<llc> && llc::dsap == 0x42 && llc::ssap == 0x43 && llc::ctrl == 3));
  CHECK_FALSE(holds(spanning_tree, has<snap> || snap::type >= 0));
  constexpr literal_packet arp_in_snap = make(0, eth, snap_header{.organisation = 0}, arp_header{});
  CHECK(
      holds(arp_in_snap, has<arp> && has<snap> && snap::oui == 0 && snap::type == ethertype::arp && llc::dsap == 0xaa));
  constexpr literal_packet tagged =
      make(9, eth, vlan_header{.id = 5}, snap_header{.organisation = 0xc, .protocol = 0x200b});
  CHECK(holds(tagged, snap::oui == 0xc && snap::type == 0x200b && vlan::id == 5));
  CHECK_FALSE(holds(make(0, eth, from_10_1_2_3, tcp_to(22)), has<llc> || llc::dsap >= 0 || snap::oui >= 0));
  // A length that is a lie; a SNAP header that is cut off.
  CHECK_FALSE(holds(hex("020000000002 020000000001 0005 424203"), has<llc> || llc::dsap >= 0));
  CHECK_FALSE(holds(hex("020000000002 020000000001 0007 aaaa0300000008"), has<snap> || snap::oui >= 0));
  CHECK(holds(hex("0000 0001 0006 020000000001 0000 0004 4242 03 00"), llc::ssap == 0x42, link_type::linux_sll));
  CHECK_FALSE(holds(hex("0000 0338 0006 020000000001 0000 0004 4242 03 00"), has<llc>, link_type::linux_sll));
  CHECK(holds(hex("0004 0000 00000001 0001 00 06 0200000000010000 4242 03 00"), llc::ssap == 0x42,
              link_type::linux_sll2));
}

TEST_CASE("a view of LLC ends where the length says, not where the padding does") {
  frame_bytes b = hex("020000000002 020000000001 0005 4242 03 0102");
  b.resize(60);
  const header_map map(b, 0, dissect(b));
  REQUIRE(map.has<llc>());
  CHECK(map.get<llc>().payload().size() == 2);
}

TEST_CASE("the words of a GRE header are found wherever its flags put them") {
  constexpr gre_header all{.checksum = true, .has_key = true, .key = 7, .has_sequence = true, .sequence = 9};
  constexpr literal_packet three = make(0, eth, from_10_1_2_3, all, from_10_1_2_3, tcp_to(22));
  CHECK(holds(three, gre::option::key::value == 7 && gre::option::sequence::value == 9 && has<gre::option::checksum>));
  constexpr gre_header numbered{.has_sequence = true, .sequence = 9};
  constexpr literal_packet one = make(0, eth, from_10_1_2_3, numbered, from_10_1_2_3, tcp_to(22));
  CHECK(holds(one, gre::option::sequence::value == 9));
  CHECK_FALSE(holds(one, has<gre::option::key> || gre::option::key::value >= 0 || gre::option::checksum::value >= 0));
}

TEST_CASE("fields inside tunnels") {
  constexpr ipv4_header inner{.source = {172, 16, 0, 1}, .destination = {172, 16, 0, 2}};
  constexpr ethernet_header inner_eth{.source = {{2, 0, 0, 0, 0, 3}}, .destination = {{2, 0, 0, 0, 0, 4}}};

  constexpr literal_packet overlay =
      make(0, eth, from_10_1_2_3, udp_to(0), vxlan_header{.vni = 5}, inner_eth, inner, tcp_to(443, tcp_flags::syn));
  CHECK(holds(overlay, vxlan::vni == 5 && vxlan::inner(ip::saddr) == ipv4_address{172, 16, 0, 1}));
  CHECK(holds(overlay, vxlan::inner(ether::saddr) == mac_address{{2, 0, 0, 0, 0, 3}}));
  CHECK(holds(overlay, vxlan::inner(tcp::dport) == 443 && vxlan::inner(th::dport).in(range(440, 450))));
  CHECK(holds(overlay, (vxlan::inner(tcp::flags) & tcp_flags::syn) == tcp_flags::syn));
  CHECK(holds(overlay, vxlan::inner(ip::saddr).in(net("172.16.0.0/12")) && ip::saddr.not_in(net("172.16.0.0/12"))));
  CHECK_FALSE(holds(overlay, vxlan::inner(udp::dport) >= 0 || vxlan::inner(ip6::hoplimit) >= 0 || has<tcp>));
  CHECK_FALSE(holds(overlay, gre::inner(ip::ttl) >= 0 || gretap::inner(ip::ttl) >= 0 || ipip::inner(ip::ttl) >= 0));

  constexpr literal_packet routed = make(0, eth, from_10_1_2_3, gre_header{.has_key = true}, inner, udp_to(53));
  CHECK(holds(routed, gre::inner(udp::dport) == 53 && gre::inner(ip::daddr) == ipv4_address{172, 16, 0, 2}));
  CHECK_FALSE(holds(routed, gretap::inner(udp::dport) >= 0 || gre::inner(ether::type) >= 0));
  constexpr literal_packet bridged = make(0, eth, from_10_1_2_3, gre_header{}, inner_eth, inner, udp_to(53));
  CHECK(holds(bridged, gretap::inner(udp::dport) == 53 && gretap::inner(ether::daddr) == inner_eth.destination));
  CHECK_FALSE(holds(bridged, gre::inner(udp::dport) >= 0));

  constexpr literal_packet nested = make(0, eth, from_10_1_2_3, inner, tcp_to(22));
  CHECK(holds(nested, ipip::inner(ip::saddr) == ipv4_address{172, 16, 0, 1} && ipip::inner(tcp::dport) == 22));
  constexpr literal_packet six_in_four = make(0, eth, from_10_1_2_3, from_db8_1, tcp_to(22));
  CHECK(holds(six_in_four, ipip::inner(ip6::saddr) == db8(1) && ipip::inner(tcp::dport) == 22));
  constexpr literal_packet four_in_six = make(0, eth, from_db8_1, inner, tcp_to(22));
  CHECK(holds(four_in_six, ipip::inner(ip::ttl) == 64 && ipip::inner(tcp::dport) == 22));
  CHECK_FALSE(holds(four_in_six, ipip::inner(tcp::option::maxseg::size) != 1));
  constexpr literal_packet plain = make(0, eth, from_10_1_2_3, tcp_to(22));
  CHECK_FALSE(holds(plain, ipip::inner(ip::ttl) >= 0 || vxlan::inner(ip::ttl) >= 0 || gre::inner(ip::ttl) >= 0));
}

TEST_CASE("what lies inside a tunnel is checked like any packet, and a cut packet around is no fault of it") {
  constexpr ipv4_header inner{.source = {172, 16, 0, 1}, .destination = {172, 16, 0, 2}};
  const literal_packet whole = make(0, eth, from_10_1_2_3, inner, tcp_to(22));
  REQUIRE(holds(whole, ipip::inner(tcp::dport) == 22));

  literal_packet lies = whole;
  store_be16(lies.storage + 36, 41);  // one byte more than there is
  CHECK_FALSE(holds(lies, ipip::inner(tcp::dport) == 22 || ipip::inner(ip::ttl) == 64));
  store_be16(lies.storage + 20, 0x2000);  // but this is a first fragment: more will come
  CHECK(holds(lies, ipip::inner(tcp::dport) == 22));
  store_be16(lies.storage + 20, 0x2001);  // a later one: those are no headers
  CHECK_FALSE(holds(lies, ipip::inner(tcp::dport) == 22 || ipip::inner(ip::ttl) == 64));

  literal_packet other = whole;
  store_u8(other.storage + 34, 0x65);  // version 6 where protocol 4 said IPv4
  CHECK_FALSE(holds(other, ipip::inner(ip6::hoplimit) >= 0 || ipip::inner(ip::ttl) >= 0));

  // The last byte was not captured: of the payload that is no harm, of the header it is.
  constexpr literal_packet longer = make(5, eth, from_10_1_2_3, inner, tcp_to(22));
  const bytes cut = longer.contents().first(longer.size - 1);
  CHECK((ipip::inner(tcp::dport) == 22)(subject{cut, dissect(cut, link_type::ethernet, {.missing = 1})}));
  const bytes shorter = longer.contents().first(longer.size - 6);
  CHECK_FALSE((ipip::inner(tcp::dport) >= 0)(subject{shorter, dissect(shorter, link_type::ethernet, {.missing = 6})}));
}

TEST_CASE("no such expression reads outside the packet, however it is cut") {
  const auto everything =
      tcp::option::maxseg::size == 1 || tcp::option::timestamp::tsecr == 1 || tcp::option::mptcp::subtype == 15 ||
      has<tcp::option::number<252>> || ip::option::rr::addr == ipv4_address{} || ip::option::ra::value == 1 ||
      ip6::exthdr::rt::seg_left == 77 || ip6::exthdr::mh::checksum == 1 || icmpv6::daddr == ipv6_address{1, 1} ||
      icmpv6::option::prefix::address == ipv6_address{1, 1} || icmpv6::option::slla::address == mac_address{} ||
      icmpv6::ra::retrans_timer == 77 || gre::option::sequence::value == 77 || llc::ctrl == 77 || snap::type == 77 ||
      vxlan::inner(tcp::urgptr) == 77 || gre::inner(ip::ttl) == 77 || gretap::inner(ether::type) == 77 ||
      ipip::inner(tcp::option::maxseg::size) == 77 || vxlan::inner(snap::type) == 77;
  const frame_bytes packets[] = {
      segment("02040002 0402 080a 00000064 000000c8 01 030307"), datagram("0707040a00000100 94040000"),
      six("00", "3c00 0502 0000 0000  2b01 010c 000000000000 0000 00000000 8700 0402 00000000 3b00 0000 0000 0000"),
      six("3a", "8600 0000 40 80 0708 00000001 00000002  0501 0000 000005dc 0101 020000000001")};
  constexpr literal_packet tunnels[] = {
      make(3, eth, from_10_1_2_3, udp_to(0), vxlan_header{}, eth, snap_header{}, from_10_1_2_3, tcp_to(1)),
      make(3, eth, from_10_1_2_3, gre_header{.checksum = true, .has_key = true}, eth, from_10_1_2_3, tcp_to(1)),
      make(3, eth, from_10_1_2_3, from_db8_1, tcp_to(1)), make(3, eth, llc_header{})};
  std::vector<bytes> all(std::begin(packets), std::end(packets));
  for (const literal_packet& p : tunnels) all.push_back(p.contents());
  for (bytes whole : all) {
    const layers found = dissect(whole);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
      const exact cut(whole.first(size));
      const bytes b{cut.data(), cut.size()};
      CHECK_FALSE(everything(subject{b, dissect(b)}));
      CHECK_FALSE(everything(subject{b, found}));
      for (unsigned bit = 3; bit < 16; ++bit) {
        layers wrong = found;
        wrong.protocols = static_cast<std::uint16_t>(wrong.protocols ^ 1u << bit);
        (void)everything(subject{b, wrong});
      }
      for (unsigned kind = 0; kind < 6; ++kind) (void)everything(subject{b, dissect(b, static_cast<link_type>(kind))});
    }
  }
}
