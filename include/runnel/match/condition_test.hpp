// SPDX-License-Identifier: MIT
// Asks a packet what the nodes of a condition ask: fields are found by what their description says, not by their type.
#ifndef RUNNEL_MATCH_CONDITION_TEST_HPP
#define RUNNEL_MATCH_CONDITION_TEST_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint64_t
#include <type_traits>  // is_same_v

#include <runnel/base/endian.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/load.hpp>
#include <runnel/match/locate.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/header_map.hpp>

namespace runnel::match::detail {

// A template each, if only for `auto&`: so only a program that asks conditions compiles the ways to all headers.

template <header H>
[[nodiscard]] constexpr const std::byte* locate_one(const header_map& m, std::size_t need) noexcept {
  const std::byte* p = locate<H, fixed_size(H)>(m);
  return p == nullptr || m.size_from(p) < need ? nullptr : p;
}
// `locate` of an option or the like that is known at run time.
template <class = void>
[[nodiscard, gnu::noinline]] constexpr const std::byte* locate_one_of_many(const header_map& m, header h,
                                                                           std::size_t need) noexcept {
  const std::uint8_t number = number_of(h);
  switch (family_of(h)) {
    case header_family::single: break;
    case header_family::ipv4_option:
      return m.has<ipv4>() ? find_option(ipv4_options(m.get<ipv4>().options()), number, need) : nullptr;
    case header_family::tcp_option:
      return m.has<tcp>() ? find_option(tcp_options(m.get<tcp>().options()), number, need) : nullptr;
    case header_family::ipv6_extension: return m.has<ipv6>() ? find_extension(m.get<ipv6>(), number, need) : nullptr;
    case header_family::icmp_message: return find_message(whole<icmp>(m), number, number, need);
    case header_family::icmpv6_message: return find_message(whole<icmpv6>(m), number, number, need);
    case header_family::nd_option: return find_nd_option(whole<icmpv6>(m), number, need);
    case header_family::gre_word: return find_gre_word(whole<gre>(m), number);
  }
  return nullptr;
}
// `locate` of a header that is known at run time.
[[nodiscard]] constexpr const std::byte* locate_any(const auto& m, header h, std::size_t need) noexcept {
  switch (h) {
    case header::ethernet: return locate_one<header::ethernet>(m, need);
    case header::vlan: return locate_one<header::vlan>(m, need);
    case header::cvlan: return locate_one<header::cvlan>(m, need);
    case header::mpls: return locate_one<header::mpls>(m, need);
    case header::arp: return locate_one<header::arp>(m, need);
    case header::ipv4: return locate_one<header::ipv4>(m, need);
    case header::ipv6: return locate_one<header::ipv6>(m, need);
    case header::ipv6_fragment: return locate_one<header::ipv6_fragment>(m, need);
    case header::icmp: return locate_one<header::icmp>(m, need);
    case header::icmpv6: return locate_one<header::icmpv6>(m, need);
    case header::tcp: return locate_one<header::tcp>(m, need);
    case header::udp: return locate_one<header::udp>(m, need);
    case header::th: return locate_one<header::th>(m, need);
    case header::gre: return locate_one<header::gre>(m, need);
    case header::vxlan: return locate_one<header::vxlan>(m, need);
    case header::llc: return locate_one<header::llc>(m, need);
    case header::snap: return locate_one<header::snap>(m, need);
    case header::icmp_echo: return find_echo(whole<icmp>(m), need);
    case header::icmpv6_echo: return find_message(whole<icmpv6>(m), 128, 129, need);
    case header::icmpv6_target: return find_target(whole<icmpv6>(m), need);
  }
  return locate_one_of_many(m, h, need);
}

[[nodiscard]] constexpr header_map inside_any(const auto& m, tunnel around) noexcept {
  switch (around) {
    case tunnel::vxlan: return inside_of<tunnel::vxlan>(m);
    case tunnel::gre: return inside_of<tunnel::gre>(m);
    case tunnel::gretap: return inside_of<tunnel::gretap>(m);
    case tunnel::ipip: break;
  }
  return inside_of<tunnel::ipip>(m);
}

[[nodiscard]] constexpr bool load_meta(const auto& s, meta_key which, std::uint64_t& to) noexcept {
  switch (which) {
    case meta_key::length: return meta::length.load(s, to);
    case meta_key::iif: return meta::iif.load(s, to);
    case meta_key::oif: return meta::oif.load(s, to);
    case meta_key::mark: return meta::mark.load(s, to);
    case meta_key::priority: return meta::priority.load(s, to);
    case meta_key::protocol: return meta::protocol.load(s, to);
    case meta_key::nfproto: return meta::nfproto.load(s, to);
    case meta_key::l4proto: return meta::l4proto.load(s, to);
    case meta_key::time: return meta::time.load(s, to);
    case meta_key::hash: return meta::hash.load(s, to);
    case meta_key::queue: return meta::queue.load(s, to);
    case meta_key::ct_state: return ct::state.load(s, to);
    case meta_key::ct_direction: return ct::direction.load(s, to);
    case meta_key::ct_mark: return ct::mark.load(s, to);
    case meta_key::ct_status: return ct::status.load(s, to);
    case meta_key::ct_zone: return ct::zone.load(s, to);
  }
  return false;
}

// Where the field lies; null when the packet has none.
[[nodiscard]] constexpr const std::byte* find_field(const auto& s, const operand_description& o) noexcept {
  const std::size_t needed = (std::size_t{o.offset} + o.bits + 7) / 8;
  const std::size_t fixed = fixed_size(o.in_header);
  const std::size_t need = needed > fixed ? needed : fixed;
  const std::byte* p = o.is_inner ? locate_any(inside_any(s.headers, o.around), o.in_header, need)
                                  : locate_any(s.headers, o.in_header, need);
  return p == nullptr ? nullptr : p + o.offset / 8;
}
[[nodiscard]] constexpr bool load_key(const auto& s, const operand_description& o, ipv6_address& to) noexcept {
  const std::byte* p = find_field(s, o);
  if (p == nullptr) return false;
  to = ipv6_address::load(p);
  return true;
}
[[nodiscard]] constexpr bool load_key(const auto& s, const operand_description& o, std::uint64_t& to) noexcept {
  if (o.is_meta) return load_meta(s, o.which, to);
  const std::byte* p = find_field(s, o);
  if (p == nullptr) return false;
  const unsigned first = o.offset % 8u, size = (first + o.bits + 7) / 8;
  std::uint64_t k = 0;
  switch (size) {
    case 1: k = load_u8(p); break;
    case 2: k = load_be16(p); break;
    case 4: k = load_be32(p); break;
    default:
      for (unsigned i = 0; i < size; ++i) k = k << 8 | load_u8(p + i);
  }
  to = k >> (size * 8 - first - o.bits) & ~std::uint64_t{0} >> (64 - o.bits);
  return true;
}

[[nodiscard]] constexpr std::uint64_t prefix_mask_of(const condition_node& n, std::uint64_t) noexcept {
  return n.length == 0 ? 0 : ~std::uint64_t{0} << (n.operand.bits - n.length);
}
[[nodiscard]] constexpr ipv6_address prefix_mask_of(const condition_node& n, const ipv6_address&) noexcept {
  return prefix_mask<ipv6_address, 128>(n.length);
}
template <class Key>
[[nodiscard]] constexpr bool compare(relation how, const Key& a, const Key& b) noexcept {
  switch (how) {
    case relation::equal: return a == b;
    case relation::not_equal: return !(a == b);
    case relation::less: return key_less(a, b);
    case relation::less_equal: return !key_less(b, a);
    case relation::greater: return key_less(b, a);
    case relation::greater_equal: break;
  }
  return !key_less(a, b);
}
// Whether a key is among the values of a node, which rise.
template <class Key>
[[nodiscard]] constexpr bool is_constant(const condition_view& c, const condition_node& n, const Key& k) noexcept {
  std::size_t begin = 0, end = n.values;
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    if (key_less(c.value<Key>(n, middle), k)) begin = middle + 1;
    else end = middle;
  }
  return begin < n.values && c.value<Key>(n, begin) == k;
}
[[nodiscard]] constexpr bool is_in_set(const set_reference& r, std::uint64_t k) noexcept {
  return r.functions->contains(r.set, k);
}
[[nodiscard]] constexpr bool is_in_set(const set_reference& r, const ipv6_address& k) noexcept {
  return r.functions->contains_ipv6(r.set, k);
}

template <class Key>
[[nodiscard]] constexpr bool test_operand(const condition_view& c, const condition_node& n, const auto& s) noexcept {
  Key k{};
  if (!load_key(s, n.operand, k)) return false;
  if (n.operand.is_masked) k = key_and(k, c.mask<Key>(n));
  switch (n.kind) {
    case node_kind::comparison: return compare(n.how, k, c.value<Key>(n, 0));
    case node_kind::in_range: return (!key_less(k, c.value<Key>(n, 0)) && !key_less(c.value<Key>(n, 1), k)) == n.inside;
    case node_kind::in_prefix: return (key_and(k, prefix_mask_of(n, k)) == c.value<Key>(n, 0)) == n.inside;
    case node_kind::in_constants: return is_constant(c, n, k) == n.inside;
    case node_kind::in_set: return is_in_set(n.set, k) == n.inside;
    default: return false;
  }
}
// Whether a node without children holds.
[[nodiscard]] constexpr bool test_node(const condition_view& c, const condition_node& n, const auto& s) noexcept {
  if (n.kind == node_kind::always) return true;
  if (n.kind == node_kind::has)
    return locate_any(s.headers, n.operand.in_header, fixed_size(n.operand.in_header)) != nullptr;
  return n.operand.value == value_kind::ipv6 ? test_operand<ipv6_address>(c, n, s)
                                             : test_operand<std::uint64_t>(c, n, s);
}
// Whether the condition holds. The first node has no children, and all jumps go forward to others without. A template
// that asks with a parameter of its own, `holds<Later>`, has it compiled where it is used, not where it is only read.
template <class = void>
[[nodiscard]] constexpr bool holds(const condition_view& c, const auto& s) noexcept {
  std::size_t at = 0;
  while (at < c.size) at = test_node(c, c.nodes[at], s) ? c.nodes[at].yes : c.nodes[at].no;
  return at == condition_node::holds;
}

}  // namespace runnel::match::detail

#endif
