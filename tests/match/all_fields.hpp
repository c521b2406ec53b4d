// SPDX-License-Identifier: MIT
// Every field that match expressions know, and packets that have them: for tests about all of them.
#ifndef TESTS_MATCH_ALL_FIELDS_HPP
#define TESTS_MATCH_ALL_FIELDS_HPP

#include <functional>
#include <vector>

#include <runnel/match.hpp>
#include <runnel/wire/arp.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/mpls.hpp>
#include <runnel/wire/ndp.hpp>
#include <runnel/wire/tunnel.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>
#include <runnel/wire/vxlan.hpp>

#include "../wire/wire_bytes.hpp"

namespace runnel_test {

// Calls `f(field)` for each.
template <class F>
void for_all_fields(F f) {
  using namespace runnel;
  using topt = tcp::option;
  using iopt = ip::option;
  using nopt = icmpv6::option;
  using ext = ip6::exthdr;
  const auto each = [&](const auto&... o) { (f(o), ...); };
  each(ether::daddr, ether::saddr, ether::type, vlan::pcp, vlan::dei, vlan::id, vlan::type, cvlan::pcp, cvlan::dei,
       cvlan::id, cvlan::type, mpls::label, mpls::tc, mpls::bos, mpls::ttl);
  each(arp::htype, arp::ptype, arp::hlen, arp::plen, arp::operation, arp::saddr_ether, arp::saddr_ip, arp::daddr_ether,
       arp::daddr_ip);
  each(ip::version, ip::hdrlength, ip::dscp, ip::ecn, ip::length, ip::id, ip::frag_off, ip::ttl, ip::protocol,
       ip::checksum, ip::saddr, ip::daddr);
  each(ip6::version, ip6::dscp, ip6::ecn, ip6::flowlabel, ip6::length, ip6::nexthdr, ip6::hoplimit, ip6::saddr,
       ip6::daddr, ipv6_fragment::nexthdr, ipv6_fragment::frag_off, ipv6_fragment::mf, ipv6_fragment::id);
  each(icmp::type, icmp::code, icmp::checksum, icmp::id, icmp::sequence, icmp::mtu, icmp::gateway);
  each(icmpv6::type, icmpv6::code, icmpv6::checksum, icmpv6::mtu, icmpv6::param_problem, icmpv6::id, icmpv6::sequence,
       icmpv6::max_delay, icmpv6::taddr, icmpv6::daddr);
  each(icmpv6::ra::cur_hop_limit, icmpv6::ra::managed, icmpv6::ra::other, icmpv6::ra::router_lifetime,
       icmpv6::ra::reachable_time, icmpv6::ra::retrans_timer, icmpv6::na::router, icmpv6::na::solicited,
       icmpv6::na::overrides);
  each(tcp::sport, tcp::dport, tcp::sequence, tcp::ackseq, tcp::doff, tcp::flags, tcp::window, tcp::checksum,
       tcp::urgptr, udp::sport, udp::dport, udp::length, udp::checksum, th::sport, th::dport);
  each(topt::maxseg::size, topt::maxseg::length, topt::window::count, topt::window::length, topt::sack_perm::length,
       topt::sack::left, topt::sack::right, topt::timestamp::tsval, topt::timestamp::tsecr, topt::mptcp::subtype,
       topt::fastopen::length, topt::md5sig::length, topt::number<254>::length);
  each(iopt::rr::ptr, iopt::rr::addr, iopt::lsrr::addr, iopt::lsrr::length, iopt::ssrr::addr, iopt::ra::value,
       iopt::number<9>::length);
  each(ext::hbh::nexthdr, ext::hbh::hdrlength, ext::dst::nexthdr, ext::dst::hdrlength, ext::rt::type, ext::rt::nexthdr,
       ext::rt::seg_left, ext::mh::type, ext::mh::checksum, ext::number<51>::nexthdr, ext::number<51>::hdrlength,
       ext::number<44>::nexthdr);
  each(nopt::slla::address, nopt::tlla::address, nopt::tlla::length, nopt::prefix::prefix_length, nopt::prefix::on_link,
       nopt::prefix::autonomous, nopt::prefix::valid_lifetime, nopt::prefix::preferred_lifetime, nopt::prefix::address,
       nopt::mtu::value, nopt::route::prefix_length, nopt::route::lifetime, nopt::rdnss::lifetime, nopt::rdnss::address,
       nopt::number<14>::length);
  each(gre::flags, gre::version, gre::protocol, gre::option::checksum::value, gre::option::key::value,
       gre::option::sequence::value, vxlan::flags, vxlan::vni, llc::dsap, llc::ssap, llc::ctrl, snap::oui, snap::type);
  each(vxlan::inner(ether::saddr), vxlan::inner(ip::saddr), vxlan::inner(tcp::flags), vxlan::inner(th::dport),
       vxlan::inner(topt::maxseg::size), gre::inner(ip::ttl), gre::inner(ip6::daddr), gre::inner(udp::dport),
       gretap::inner(ether::type), gretap::inner(vlan::id), ipip::inner(ip::saddr), ipip::inner(ip6::hoplimit),
       ipip::inner(ext::rt::type));
  each(meta::length, meta::iif, meta::oif, meta::mark, meta::priority, meta::protocol, meta::nfproto, meta::l4proto,
       meta::time, meta::hash, meta::queue);
}
// Calls `f(has<header>)` for each.
template <class F>
void for_all_headers(F f) {
  using namespace runnel;
  using topt = tcp::option;
  const auto each = [&](const auto&... h) { (f(h), ...); };
  each(has<ethernet>, has<vlan>, match::has_header<header::cvlan>{}, has<mpls>, has<arp>, has<ipv4>, has<ipv6>,
       has<ipv6_fragment>, has<icmp>, has<icmpv6>, has<tcp>, has<udp>, has<th>, has<gre>, has<vxlan>, has<llc>,
       has<snap>);
  each(has<topt::maxseg>, has<topt::sack_perm>, has<topt::number<254>>, has<ip::option::rr>, has<ip::option::number<9>>,
       has<ip6::exthdr::hbh>, has<ip6::exthdr::rt>, has<ip6::exthdr::mh>, has<ip6::exthdr::number<51>>,
       has<ip6::exthdr::number<44>>, has<icmpv6::ra>, has<icmpv6::na>, has<icmpv6::option::slla>,
       has<icmpv6::option::number<14>>, has<gre::option::key>, has<gre::option::sequence>, has<gre::option::checksum>);
}

// Ethernet frames, at least one with each header.
inline std::vector<std::vector<std::byte>> frames_of_all_kinds() {
  std::vector<std::vector<std::byte>> all;
  for (const char* text : {
           // TCP with the options of a SYN; one with SACK; one with MPTCP, fast open, MD5.
           "020000000002020000000001 0800 4500003c0001400040060000 0a010203 c0000201"
           "9c400016 00000001 00000000 a002ffff 00000000 020405b4 0402 080a 00000064 000000c8 01 030307",
           "020000000002020000000001 0800 4500003c0001400040060000 0a010203 c0000201"
           "005001bb 00000001 00000001 a010ffff 00000000 0101 0512 00000001 00000005 00000009 0000000a",
           "020000000002020000000001 0800 450000440001400040060000 0a010203 c0000201"
           "005001bb 00000001 00000001 c018ffff 00000000 1e041005 2202 fe02 1312 000102030405060708090a0b0c0d0e0f 0101",
           // UDP behind IPv4 options; a later fragment; a first fragment; one with a VLAN tag, one with two.
           "020000000002020000000001 0800 470000240001000040110000 0a010203 c0000201 0707040a00000100 00010002 "
           "00080000",
           "020000000002020000000001 0800 470000240001000040110000 0a010203 c0000201 83070450000001 01 00350002 "
           "00080000",
           "020000000002020000000001 0800 4600002000010000 40110000 0a010203 c0000201 94040000 00010035 00080000",
           "020000000002020000000001 0800 4800002800010000 40110000 0a010203 c0000201 890704 0a000001 0903 00 00 00 "
           "00010035"
           "00080000",
           "020000000002020000000001 0800 4500001c 0001 0010 40110000 0a010203 c0000201 00010002 00080000",
           "020000000002020000000001 0800 4500001c 0001 2000 40110000 0a010203 c0000201 00010002 00080000",
           "020000000002020000000001 8100 6064 0800 4500001c 0001 0000 40110000 0a010203 c0000201 00010002 00080000",
           "020000000002020000000001 88a8 0005 8100 0007 0800 4500001c 0001 0000 40110000 0a010203 c0000201 00010002"
           "00080000",
           // MPLS, ARP, LLC, SNAP, another EtherType.
           "020000000002020000000001 8847 00064140 4500001c 0001 0000 40110000 0a010203 c0000201 00010002 00080000",
           "ffffffffffff020000000001 0806 0001 0800 06 04 0001 020000000001 0a010203 000000000000 c0000201",
           "0180c2000000020000000001 0007 424203 00000000",
           "020000000002020000000001 0024 aaaa03 000000 0800 4500001c 0001 0000 40110000 0a010203 c0000201 00010002"
           "00080000",
           "020000000002020000000001 88cc 0207040200000000010207",
           // ICMP: echo, too big, redirect. ICMPv6: echo, too big, parameter problem.
           "020000000002020000000001 0800 4500001c000100004001 0000 0a010203 c0000201 0800 0000 0007 0001",
           "020000000002020000000001 0800 4500001c000100004001 0000 0a010203 c0000201 0304 0000 0000 0400",
           "020000000002020000000001 0800 4500001c000100004001 0000 0a010203 c0000201 0501 0000 0a000001",
           "020000000002020000000001 86dd 60000000 0008 3a40 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 8000 0000 0007 0001",
           "020000000002020000000001 86dd 60000000 0008 3a40 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 0200 0000 00000500",
           "020000000002020000000001 86dd 60000000 0008 3a40 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 0401 0000 00000028",
           // A listener query, a router advertisement with options, a neighbour solicitation and answer, a redirect.
           "020000000002020000000001 86dd 60000000 0018 3a01 fe800000000000000000000000000001"
           "ff020000000000000000000000000001 8200 0000 2710 0000 ff020000000000000000000000000005",
           "020000000002020000000001 86dd 60000000 0078 3aff fe800000000000000000000000000001"
           "ff020000000000000000000000000001 8600 0000 40c0 0708 00000001 00000002 0101 020000000001"
           "0304 40c0 00015180 00003840 00000000 20010db8000000000000000000000000 0501 0000 000005dc"
           "1803 4000 00000e10 20010db8000000000000000000000000"
           "1903 0000 00000e10 20010db8000000000000000000000053 0e01 000000000000",
           "020000000002020000000001 86dd 60000000 0020 3aff fe800000000000000000000000000001"
           "ff020000000000000000000000000001 8700 0000 00000000 20010db8000000000000000000000001 0101 020000000001",
           "020000000002020000000001 86dd 60000000 0020 3aff fe800000000000000000000000000001"
           "ff020000000000000000000000000001 8800 0000 e0000000 20010db8000000000000000000000001 0201 020000000001",
           "020000000002020000000001 86dd 60000000 0028 3aff fe800000000000000000000000000001"
           "fe800000000000000000000000000002 8900 0000 00000000 fe800000000000000000000000000001"
           "20010db8000000000000000000000001",
           // Extension headers: hop by hop, destination, routing; fragments; authentication; mobility.
           "020000000002020000000001 86dd 60000000 0028 0040 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 3c00 0502 00000000 2b01 010c 000000000000 000000000000 1100 0402 00000000"
           "00010002 00080000",
           "020000000002020000000001 86dd 60000000 0010 2c40 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 1100 0001 00000007 00010002 00080000",
           "020000000002020000000001 86dd 60000000 0010 2c40 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 0600 0059 00000007 00010002 00080000",
           "020000000002020000000001 86dd 60000000 0024 3340 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 0602 0000 00000001 00000002 00000000"
           "00160017 00000001 00000001 5002ffff 00000000",
           "020000000002020000000001 86dd 60000000 0010 8740 20010db8000000000000000000000001"
           "20010db8000000000000000000000002 3b01 0500 abcd 0000 0000000000000000",
           // GRE with all its words around IPv4 and UDP; GRE around Ethernet; IP in IP; VXLAN.
           "020000000002020000000001 0800 450000400001000040 2f 0000 0a010203 c0000201 b0000800 00000000 00000007"
           "00000009 4500001c 0001 0000 05110000 0a000001 c0000202 00010035 00080000",
           "020000000002020000000001 0800 450000460001000040 2f 0000 0a010203 c0000201 00006558"
           "020000000004020000000003 8100 0009 0800 4500001c 0001 0000 05110000 0a000001 c0000202 00010035 00080000",
           "020000000002020000000001 0800 450000440001000040 29 0000 0a010203 c0000201 60000000 0008 1107"
           "20010db8000000000000000000000001 20010db8000000000000000000000002 00010035 00080000",
           "020000000002020000000001 0800 450000480001000040 2f 0000 0a010203 c0000201 000086dd 60000000 0008 1107"
           "20010db8000000000000000000000001 20010db8000000000000000000000002 00010035 00080000",
           "020000000002020000000001 0800 4500004c0001000040 29 0000 0a010203 c0000201 60000000 0010 2b07"
           "20010db8000000000000000000000001 20010db8000000000000000000000002 1100 0402 00000000 00010035 00080000",
           "020000000002020000000001 0800 450000300001000040 04 0000 0a010203 c0000201 4500001c 0001 0000 05110000"
           "0a000001 c0000202 00010035 00080000",
           "020000000002020000000001 0800 4500005e 0001 0000 40110000 0a010203 c0000201 12b512b5 004a0000"
           "08000000 00000700 020000000004020000000003 0800 4500002c 0001 0000 05060000 0a000001 c0000202"
           "04010035 00000001 00000001 6002ffff 00000000 02040578",
       })
    all.push_back(hex(text));
  return all;
}

// Calls `f(subject)` for the frames as they are, with some of their bytes changed, and cut.
inline void for_many_packets(std::size_t rounds, const std::function<void(const runnel::subject&)>& f) {
  xorshift random;
  const auto all = frames_of_all_kinds();
  for (std::size_t round = 0; round < rounds; ++round)
    for (const auto& frame : all) {
      std::vector<std::byte> bytes_of = frame;
      if (round != 0) {
        for (std::size_t n = random.below(4); n != 0; --n)
          bytes_of[random.below(bytes_of.size())] = random.below(2) == 0 ? static_cast<std::byte>(random.below(256))
                                                                         : bytes_of[random.below(bytes_of.size())];
        if (random.below(4) == 0) bytes_of.resize(random.below(bytes_of.size() + 1));
      }
      const exact copy({bytes_of.data(), bytes_of.size()});
      const runnel::bytes b{copy.data(), copy.size()};
      runnel::subject s{b, runnel::dissect(b)};
      s.mark = static_cast<std::uint32_t>(random.below(3));
      s.iif = static_cast<std::uint16_t>(random.below(3));
      s.queue = static_cast<std::uint8_t>(random.below(3));
      s.timestamp = runnel::instant{static_cast<std::int64_t>(random.below(3))};
      f(s);
    }
}

}  // namespace runnel_test

#endif
