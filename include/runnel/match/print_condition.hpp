// SPDX-License-Identifier: MIT
// Single conditions as nft writes them: that a header is there or not, that an operand has a value.
#ifndef RUNNEL_MATCH_PRINT_CONDITION_HPP
#define RUNNEL_MATCH_PRINT_CONDITION_HPP

#include <cstddef>  // size_t

#include <runnel/base/text.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/in.hpp>
#include <runnel/match/print_value.hpp>
#include <runnel/wire/field.hpp>

namespace runnel::match::detail {

// A line of words: puts the gaps between them.
struct line {
  text_writer& out;
  bool begun = false;

  constexpr text_writer& next() noexcept {
    if (begun) out << ' ';
    begun = true;
    return out;
  }
};

// How many lines it takes to say that a header is missing.
[[nodiscard]] constexpr std::size_t lines_without(header h) noexcept {
  switch (h) {
    case header::ipv6_fragment:
    case header::icmp:
    case header::icmpv6:
    case header::tcp:
    case header::udp:
    case header::th:
    case header::gre: return 2;
    case header::vxlan: return 3;
    default: return 1;
  }
}
constexpr void print_with(line& l, header h) noexcept {
  switch (h) {
    case header::ethernet: l.next() << "meta iiftype ether"; break;
    case header::vlan: l.next() << "ether type { 8021q, 8021ad }"; break;
    case header::cvlan: l.next() << "cvlan exists"; break;
    case header::mpls: l.next() << "meta protocol 0x8847"; break;
    case header::arp: l.next() << "meta protocol arp"; break;
    case header::ipv4: l.next() << "meta protocol ip"; break;
    case header::ipv6: l.next() << "meta protocol ip6"; break;
    case header::ipv6_fragment: l.next() << "exthdr frag exists"; break;
    case header::icmp: l.next() << "meta l4proto icmp"; break;
    case header::icmpv6: l.next() << "meta l4proto ipv6-icmp"; break;
    case header::tcp: l.next() << "meta l4proto tcp"; break;
    case header::udp: l.next() << "meta l4proto udp"; break;
    case header::th: l.next() << "meta l4proto { tcp, udp }"; break;
    case header::gre: l.next() << "meta l4proto gre"; break;
    case header::vxlan: l.next() << "udp dport 4789"; break;
  }
}
constexpr void print_without(line& l, header h, std::size_t which) noexcept {
  switch (h) {
    case header::ethernet: l.next() << "meta iiftype != ether"; return;
    case header::vlan: l.next() << "ether type != { 8021q, 8021ad }"; return;
    case header::cvlan: l.next() << "cvlan missing"; return;
    case header::mpls: l.next() << "meta protocol != 0x8847"; return;
    case header::arp: l.next() << "meta protocol != arp"; return;
    case header::ipv4: l.next() << "meta protocol != ip"; return;
    case header::ipv6: l.next() << "meta protocol != ip6"; return;
    case header::ipv6_fragment: l.next() << (which == 0 ? "meta protocol != ip6" : "exthdr frag missing"); return;
    default: break;
  }
  if (which == 0) {
    l.next() << "meta protocol != { ip, ip6 }";
    return;
  }
  if (which == 2) {
    l.next() << "udp dport != 4789";
    return;
  }
  switch (h) {
    case header::icmp: l.next() << "meta l4proto != icmp"; return;
    case header::icmpv6: l.next() << "meta l4proto != ipv6-icmp"; return;
    case header::tcp: l.next() << "meta l4proto != tcp"; return;
    case header::th: l.next() << "meta l4proto != { tcp, udp }"; return;
    case header::gre: l.next() << "meta l4proto != gre"; return;
    default: l.next() << "meta l4proto != udp"; return;
  }
}

constexpr const char* symbol(relation r) noexcept {
  switch (r) {
    case relation::equal: return " == ";
    case relation::not_equal: return " != ";
    case relation::less: return " < ";
    case relation::less_equal: return " <= ";
    case relation::greater: return " > ";
    case relation::greater_equal: return " >= ";
  }
  return " ? ";
}
template <bool Positive, class Operand, relation Relation>
constexpr void print_rest(text_writer& out, const comparison<Operand, Relation>& e) noexcept {
  constexpr relation shown = Positive ? Relation : opposite(Relation);
  out << (shown == relation::equal && !needs_equals_sign<Operand> ? " " : symbol(shown));
  print_value(out, e.left, e.right);
}
constexpr void print_inside(text_writer& out, bool inside) noexcept { out << (inside ? " " : " != "); }
template <bool Positive, class Operand, bool Inside>
constexpr void print_rest(text_writer& out, const in_range<Operand, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  print_value(out, e.left, e.first);
  out << '-';
  print_value(out, e.left, e.last);
}
template <bool Positive, class Operand, bool Inside>
constexpr void print_rest(text_writer& out, const in_prefix<Operand, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  print_value(out, e.left, e.address);
  out << '/' << e.length;
}
template <bool Positive, class Operand, class V, std::size_t N, bool Inside>
constexpr void print_rest(text_writer& out, const in_constants<Operand, V, N, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  out << '{';
  for (std::size_t i = 0; i < N; ++i) {
    if (i != 0 && e.set.keys()[i] == e.set.keys()[i - 1]) continue;
    out << (i == 0 ? " " : ", ");
    print_value(out, e.left, e.set.keys()[i]);
  }
  out << " }";
}
template <bool Positive, class Operand, class Set, bool Inside>
constexpr void print_rest(text_writer& out, const in_set<Operand, Set, Inside>& e) noexcept {
  print_inside(out, Inside == Positive);
  out << '@';
  if constexpr (requires { out << e.set->name(); }) out << e.set->name();
  else out << "set";
}

}  // namespace runnel::match::detail

#endif
