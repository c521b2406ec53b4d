// SPDX-License-Identifier: MIT
// All fields by their names: what the parser of rule texts looks them up in.
#ifndef RUNNEL_MATCH_FIELD_TABLE_HPP
#define RUNNEL_MATCH_FIELD_TABLE_HPP

#include <cstddef>  // size_t

#include <runnel/match/condition_form.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/wire/arp.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/mpls.hpp>
#include <runnel/wire/option_fields.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>
#include <runnel/wire/vxlan.hpp>

namespace runnel::match::detail {

template <class Operand>
[[nodiscard]] constexpr operand_description describe(const Operand& o) noexcept {
  return description_of<Operand>::make(o);
}

// Whose fields stand in the tables. These are templates over it, so that only a program that reads rules makes the
// fields of all protocols: GCC 12 takes 60 ms for that.
struct field_owners {
  using ether = runnel::ether;
  using vlan = runnel::vlan;
  using cvlan = runnel::cvlan;
  using mpls = runnel::mpls;
  using arp = runnel::arp;
  using ip = runnel::ip;
  using ip6 = runnel::ip6;
  using ipv6_fragment = runnel::ipv6_fragment;
  using icmp = runnel::icmp;
  using icmpv6 = runnel::icmpv6;
  using tcp = runnel::tcp;
  using udp = runnel::udp;
  using th = runnel::th;
  using gre = runnel::gre;
  using vxlan = runnel::vxlan;
  using llc = runnel::llc;
  using snap = runnel::snap;
};
// The same, for a function template that is perhaps never used: depends on its parameter, so that the tables below are
// not made where it is only read.
template <class>
struct field_owners_of {
  using type = field_owners;
};

// Fields that are found by `name` alone.
template <class V = field_owners>
inline constexpr operand_description plain_fields[] = {describe(V::ether::daddr),
                                                       describe(V::ether::saddr),
                                                       describe(V::ether::type),
                                                       describe(V::vlan::pcp),
                                                       describe(V::vlan::dei),
                                                       describe(V::vlan::id),
                                                       describe(V::vlan::type),
                                                       describe(V::cvlan::pcp),
                                                       describe(V::cvlan::dei),
                                                       describe(V::cvlan::id),
                                                       describe(V::cvlan::type),
                                                       describe(V::mpls::label),
                                                       describe(V::mpls::tc),
                                                       describe(V::mpls::bos),
                                                       describe(V::mpls::ttl),
                                                       describe(V::arp::htype),
                                                       describe(V::arp::ptype),
                                                       describe(V::arp::hlen),
                                                       describe(V::arp::plen),
                                                       describe(V::arp::operation),
                                                       describe(V::arp::saddr_ether),
                                                       describe(V::arp::saddr_ip),
                                                       describe(V::arp::daddr_ether),
                                                       describe(V::arp::daddr_ip),
                                                       describe(V::ip::version),
                                                       describe(V::ip::hdrlength),
                                                       describe(V::ip::dscp),
                                                       describe(V::ip::ecn),
                                                       describe(V::ip::length),
                                                       describe(V::ip::id),
                                                       describe(V::ip::frag_off),
                                                       describe(V::ip::ttl),
                                                       describe(V::ip::protocol),
                                                       describe(V::ip::checksum),
                                                       describe(V::ip::saddr),
                                                       describe(V::ip::daddr),
                                                       describe(V::ip6::version),
                                                       describe(V::ip6::dscp),
                                                       describe(V::ip6::ecn),
                                                       describe(V::ip6::flowlabel),
                                                       describe(V::ip6::length),
                                                       describe(V::ip6::nexthdr),
                                                       describe(V::ip6::hoplimit),
                                                       describe(V::ip6::saddr),
                                                       describe(V::ip6::daddr),
                                                       describe(V::ipv6_fragment::nexthdr),
                                                       describe(V::ipv6_fragment::frag_off),
                                                       describe(V::ipv6_fragment::mf),
                                                       describe(V::ipv6_fragment::id),
                                                       describe(V::icmp::type),
                                                       describe(V::icmp::code),
                                                       describe(V::icmp::checksum),
                                                       describe(V::icmp::id),
                                                       describe(V::icmp::sequence),
                                                       describe(V::icmp::mtu),
                                                       describe(V::icmp::gateway),
                                                       describe(V::icmpv6::type),
                                                       describe(V::icmpv6::code),
                                                       describe(V::icmpv6::checksum),
                                                       describe(V::icmpv6::mtu),
                                                       describe(V::icmpv6::param_problem),
                                                       describe(V::icmpv6::id),
                                                       describe(V::icmpv6::sequence),
                                                       describe(V::icmpv6::max_delay),
                                                       describe(V::icmpv6::taddr),
                                                       describe(V::icmpv6::daddr),
                                                       describe(V::icmpv6::ra::cur_hop_limit),
                                                       describe(V::icmpv6::ra::managed),
                                                       describe(V::icmpv6::ra::other),
                                                       describe(V::icmpv6::ra::router_lifetime),
                                                       describe(V::icmpv6::ra::reachable_time),
                                                       describe(V::icmpv6::ra::retrans_timer),
                                                       describe(V::icmpv6::na::router),
                                                       describe(V::icmpv6::na::solicited),
                                                       describe(V::icmpv6::na::overrides),
                                                       describe(V::tcp::sport),
                                                       describe(V::tcp::dport),
                                                       describe(V::tcp::sequence),
                                                       describe(V::tcp::ackseq),
                                                       describe(V::tcp::doff),
                                                       describe(V::tcp::flags),
                                                       describe(V::tcp::window),
                                                       describe(V::tcp::checksum),
                                                       describe(V::tcp::urgptr),
                                                       describe(V::udp::sport),
                                                       describe(V::udp::dport),
                                                       describe(V::udp::length),
                                                       describe(V::udp::checksum),
                                                       describe(V::th::sport),
                                                       describe(V::th::dport),
                                                       describe(V::gre::flags),
                                                       describe(V::gre::version),
                                                       describe(V::gre::protocol),
                                                       describe(V::vxlan::flags),
                                                       describe(V::vxlan::vni),
                                                       describe(V::llc::dsap),
                                                       describe(V::llc::ssap),
                                                       describe(V::llc::ctrl),
                                                       describe(V::snap::oui),
                                                       describe(V::snap::type)};

// Fields of options and the like: `name` behind what the option is called.
template <class V = field_owners>
inline constexpr operand_description option_fields[] = {describe(V::tcp::option::maxseg::size),
                                                        describe(V::tcp::option::window::count),
                                                        describe(V::tcp::option::sack::left),
                                                        describe(V::tcp::option::sack::right),
                                                        describe(V::tcp::option::timestamp::tsval),
                                                        describe(V::tcp::option::timestamp::tsecr),
                                                        describe(V::tcp::option::mptcp::subtype),
                                                        describe(V::ip::option::rr::ptr),
                                                        describe(V::ip::option::rr::addr),
                                                        describe(V::ip::option::lsrr::ptr),
                                                        describe(V::ip::option::lsrr::addr),
                                                        describe(V::ip::option::ssrr::ptr),
                                                        describe(V::ip::option::ssrr::addr),
                                                        describe(V::ip::option::ra::value),
                                                        describe(V::ip6::exthdr::rt::type),
                                                        describe(V::ip6::exthdr::rt::seg_left),
                                                        describe(V::ip6::exthdr::mh::type),
                                                        describe(V::ip6::exthdr::mh::checksum),
                                                        describe(V::icmpv6::option::slla::address),
                                                        describe(V::icmpv6::option::tlla::address),
                                                        describe(V::icmpv6::option::prefix::prefix_length),
                                                        describe(V::icmpv6::option::prefix::on_link),
                                                        describe(V::icmpv6::option::prefix::autonomous),
                                                        describe(V::icmpv6::option::prefix::valid_lifetime),
                                                        describe(V::icmpv6::option::prefix::preferred_lifetime),
                                                        describe(V::icmpv6::option::prefix::address),
                                                        describe(V::icmpv6::option::mtu::value),
                                                        describe(V::icmpv6::option::route::prefix_length),
                                                        describe(V::icmpv6::option::route::lifetime),
                                                        describe(V::icmpv6::option::rdnss::lifetime),
                                                        describe(V::icmpv6::option::rdnss::address)};
// Those that each of a family has, whatever its number.
template <class V = field_owners>
inline constexpr operand_description fields_of_families[] = {
    describe(V::tcp::option::template number<0>::length), describe(V::ip::option::template number<0>::length),
    describe(V::ip6::exthdr::template number<0>::nexthdr), describe(V::ip6::exthdr::template number<0>::hdrlength),
    describe(V::icmpv6::option::template number<0>::length)};
// The word of GRE is all of its header.
template <class V = field_owners>
inline constexpr operand_description gre_words[] = {describe(V::gre::option::checksum::value),
                                                    describe(V::gre::option::key::value),
                                                    describe(V::gre::option::sequence::value)};
template <class = field_owners>
inline constexpr operand_description meta_fields[] = {
    describe(meta::length),   describe(meta::iif),      describe(meta::oif),     describe(meta::mark),
    describe(meta::priority), describe(meta::protocol), describe(meta::nfproto), describe(meta::l4proto),
    describe(meta::time),     describe(meta::hash),     describe(meta::queue),   describe(ct::state),
    describe(ct::direction),  describe(ct::mark),       describe(ct::status),    describe(ct::zone)};

}  // namespace runnel::match::detail

#endif
