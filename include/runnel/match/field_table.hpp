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

// Fields that are found by `name` alone.
inline constexpr operand_description plain_fields[] = {describe(ether::daddr),
                                                       describe(ether::saddr),
                                                       describe(ether::type),
                                                       describe(vlan::pcp),
                                                       describe(vlan::dei),
                                                       describe(vlan::id),
                                                       describe(vlan::type),
                                                       describe(cvlan::pcp),
                                                       describe(cvlan::dei),
                                                       describe(cvlan::id),
                                                       describe(cvlan::type),
                                                       describe(mpls::label),
                                                       describe(mpls::tc),
                                                       describe(mpls::bos),
                                                       describe(mpls::ttl),
                                                       describe(arp::htype),
                                                       describe(arp::ptype),
                                                       describe(arp::hlen),
                                                       describe(arp::plen),
                                                       describe(arp::operation),
                                                       describe(arp::saddr_ether),
                                                       describe(arp::saddr_ip),
                                                       describe(arp::daddr_ether),
                                                       describe(arp::daddr_ip),
                                                       describe(ip::version),
                                                       describe(ip::hdrlength),
                                                       describe(ip::dscp),
                                                       describe(ip::ecn),
                                                       describe(ip::length),
                                                       describe(ip::id),
                                                       describe(ip::frag_off),
                                                       describe(ip::ttl),
                                                       describe(ip::protocol),
                                                       describe(ip::checksum),
                                                       describe(ip::saddr),
                                                       describe(ip::daddr),
                                                       describe(ip6::version),
                                                       describe(ip6::dscp),
                                                       describe(ip6::ecn),
                                                       describe(ip6::flowlabel),
                                                       describe(ip6::length),
                                                       describe(ip6::nexthdr),
                                                       describe(ip6::hoplimit),
                                                       describe(ip6::saddr),
                                                       describe(ip6::daddr),
                                                       describe(ipv6_fragment::nexthdr),
                                                       describe(ipv6_fragment::frag_off),
                                                       describe(ipv6_fragment::mf),
                                                       describe(ipv6_fragment::id),
                                                       describe(icmp::type),
                                                       describe(icmp::code),
                                                       describe(icmp::checksum),
                                                       describe(icmp::id),
                                                       describe(icmp::sequence),
                                                       describe(icmp::mtu),
                                                       describe(icmp::gateway),
                                                       describe(icmpv6::type),
                                                       describe(icmpv6::code),
                                                       describe(icmpv6::checksum),
                                                       describe(icmpv6::mtu),
                                                       describe(icmpv6::param_problem),
                                                       describe(icmpv6::id),
                                                       describe(icmpv6::sequence),
                                                       describe(icmpv6::max_delay),
                                                       describe(icmpv6::taddr),
                                                       describe(icmpv6::daddr),
                                                       describe(icmpv6::ra::cur_hop_limit),
                                                       describe(icmpv6::ra::managed),
                                                       describe(icmpv6::ra::other),
                                                       describe(icmpv6::ra::router_lifetime),
                                                       describe(icmpv6::ra::reachable_time),
                                                       describe(icmpv6::ra::retrans_timer),
                                                       describe(icmpv6::na::router),
                                                       describe(icmpv6::na::solicited),
                                                       describe(icmpv6::na::overrides),
                                                       describe(tcp::sport),
                                                       describe(tcp::dport),
                                                       describe(tcp::sequence),
                                                       describe(tcp::ackseq),
                                                       describe(tcp::doff),
                                                       describe(tcp::flags),
                                                       describe(tcp::window),
                                                       describe(tcp::checksum),
                                                       describe(tcp::urgptr),
                                                       describe(udp::sport),
                                                       describe(udp::dport),
                                                       describe(udp::length),
                                                       describe(udp::checksum),
                                                       describe(th::sport),
                                                       describe(th::dport),
                                                       describe(gre::flags),
                                                       describe(gre::version),
                                                       describe(gre::protocol),
                                                       describe(vxlan::flags),
                                                       describe(vxlan::vni),
                                                       describe(llc::dsap),
                                                       describe(llc::ssap),
                                                       describe(llc::ctrl),
                                                       describe(snap::oui),
                                                       describe(snap::type)};

// Fields of options and the like: `name` behind what the option is called.
inline constexpr operand_description option_fields[] = {describe(tcp::option::maxseg::size),
                                                        describe(tcp::option::window::count),
                                                        describe(tcp::option::sack::left),
                                                        describe(tcp::option::sack::right),
                                                        describe(tcp::option::timestamp::tsval),
                                                        describe(tcp::option::timestamp::tsecr),
                                                        describe(tcp::option::mptcp::subtype),
                                                        describe(ip::option::rr::ptr),
                                                        describe(ip::option::rr::addr),
                                                        describe(ip::option::lsrr::ptr),
                                                        describe(ip::option::lsrr::addr),
                                                        describe(ip::option::ssrr::ptr),
                                                        describe(ip::option::ssrr::addr),
                                                        describe(ip::option::ra::value),
                                                        describe(ip6::exthdr::rt::type),
                                                        describe(ip6::exthdr::rt::seg_left),
                                                        describe(ip6::exthdr::mh::type),
                                                        describe(ip6::exthdr::mh::checksum),
                                                        describe(icmpv6::option::slla::address),
                                                        describe(icmpv6::option::tlla::address),
                                                        describe(icmpv6::option::prefix::prefix_length),
                                                        describe(icmpv6::option::prefix::on_link),
                                                        describe(icmpv6::option::prefix::autonomous),
                                                        describe(icmpv6::option::prefix::valid_lifetime),
                                                        describe(icmpv6::option::prefix::preferred_lifetime),
                                                        describe(icmpv6::option::prefix::address),
                                                        describe(icmpv6::option::mtu::value),
                                                        describe(icmpv6::option::route::prefix_length),
                                                        describe(icmpv6::option::route::lifetime),
                                                        describe(icmpv6::option::rdnss::lifetime),
                                                        describe(icmpv6::option::rdnss::address)};
// Those that each of a family has, whatever its number.
inline constexpr operand_description fields_of_families[] = {
    describe(tcp::option::number<0>::length), describe(ip::option::number<0>::length),
    describe(ip6::exthdr::number<0>::nexthdr), describe(ip6::exthdr::number<0>::hdrlength),
    describe(icmpv6::option::number<0>::length)};
// The word of GRE is all of its header.
inline constexpr operand_description gre_words[] = {
    describe(gre::option::checksum::value), describe(gre::option::key::value), describe(gre::option::sequence::value)};
inline constexpr operand_description meta_fields[] = {
    describe(meta::length),   describe(meta::iif),     describe(meta::mark),    describe(meta::priority),
    describe(meta::protocol), describe(meta::nfproto), describe(meta::l4proto), describe(meta::time),
    describe(meta::hash),     describe(meta::queue),   describe(ct::state),     describe(ct::direction),
    describe(ct::mark),       describe(ct::status),    describe(ct::zone)};

}  // namespace runnel::match::detail

#endif
