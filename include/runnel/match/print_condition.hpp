// SPDX-License-Identifier: MIT
// Single conditions as nft writes them: that a header is there or not, that an operand has a value.
#ifndef RUNNEL_MATCH_PRINT_CONDITION_HPP
#define RUNNEL_MATCH_PRINT_CONDITION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

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

// Whether the header is a message of ICMP or ICMPv6, of some types.
[[nodiscard]] constexpr bool is_message(header h) noexcept {
  return h == header::icmp_echo || h == header::icmpv6_echo || h == header::icmpv6_target ||
         family_of(h) == header_family::icmp_message || family_of(h) == header_family::icmpv6_message;
}
constexpr void print_message(text_writer& out, header h, bool present) noexcept {
  const bool four = h == header::icmp_echo || family_of(h) == header_family::icmp_message;
  out << (four ? "icmp type " : "icmpv6 type ") << (present ? "" : "!= ");
  switch (h) {
    case header::icmp_echo: out << "{ 0, 8 }"; return;
    case header::icmpv6_echo: out << "{ 128, 129 }"; return;
    case header::icmpv6_target: out << "{ 130, 131, 132, 135, 136, 137 }"; return;
    default: out << number_of(h);
  }
}
// The header without which there is no such header; itself where there is none.
[[nodiscard]] constexpr header around(header h) noexcept {
  switch (family_of(h)) {
    case header_family::ipv4_option: return header::ipv4;
    case header_family::tcp_option: return header::tcp;
    case header_family::ipv6_extension: return header::ipv6;
    case header_family::icmp_message: return header::icmp;
    case header_family::icmpv6_message:
    case header_family::nd_option: return header::icmpv6;
    case header_family::gre_word: return header::gre;
    case header_family::single: break;
  }
  switch (h) {
    case header::icmp_echo: return header::icmp;
    case header::icmpv6_echo:
    case header::icmpv6_target: return header::icmpv6;
    case header::vxlan: return header::udp;
    default: return h;
  }
}
// How many lines it takes to say that a header is missing.
[[nodiscard]] constexpr std::size_t lines_without(header h) noexcept {
  if (around(h) != h) return lines_without(around(h)) + 1;
  switch (h) {
    case header::ipv6_fragment:
    case header::icmp:
    case header::icmpv6:
    case header::tcp:
    case header::udp:
    case header::th:
    case header::gre: return 2;
    default: return 1;
  }
}
constexpr void print_with(line& l, header h) noexcept {
  switch (h) {
    case header::ethernet: l.next() << "meta iiftype ether"; return;
    case header::vlan: l.next() << "ether type { 8021q, 8021ad }"; return;
    case header::cvlan: l.next() << "cvlan exists"; return;
    case header::mpls: l.next() << "meta protocol 0x8847"; return;
    case header::arp: l.next() << "meta protocol arp"; return;
    case header::ipv4: l.next() << "meta protocol ip"; return;
    case header::ipv6: l.next() << "meta protocol ip6"; return;
    case header::ipv6_fragment: l.next() << "exthdr frag exists"; return;
    case header::icmp: l.next() << "meta l4proto icmp"; return;
    case header::icmpv6: l.next() << "meta l4proto ipv6-icmp"; return;
    case header::tcp: l.next() << "meta l4proto tcp"; return;
    case header::udp: l.next() << "meta l4proto udp"; return;
    case header::th: l.next() << "meta l4proto { tcp, udp }"; return;
    case header::gre: l.next() << "meta l4proto gre"; return;
    case header::vxlan: l.next() << "udp dport 4789"; return;
    case header::llc: l.next() << "llc exists"; return;
    case header::snap: l.next() << "snap exists"; return;
    case header::icmp_echo:
    case header::icmpv6_echo:
    case header::icmpv6_target: break;
  }
  if (is_message(h)) {
    print_message(l.next(), h, true);
  } else {
    print_numbered(l.next(), h, false);
    l.out << " exists";
  }
}
constexpr void print_without(line& l, header h, std::size_t which) noexcept {
  const std::size_t lines = lines_without(h);
  if (around(h) != h && which + 1 < lines) return print_without(l, around(h), which);
  if (around(h) == h && lines == 2 && which == 0) {
    l.next() << (h == header::ipv6_fragment ? "meta protocol != ip6" : "meta protocol != { ip, ip6 }");
    return;
  }
  switch (h) {
    case header::ethernet: l.next() << "meta iiftype != ether"; return;
    case header::vlan: l.next() << "ether type != { 8021q, 8021ad }"; return;
    case header::cvlan: l.next() << "cvlan missing"; return;
    case header::mpls: l.next() << "meta protocol != 0x8847"; return;
    case header::arp: l.next() << "meta protocol != arp"; return;
    case header::ipv4: l.next() << "meta protocol != ip"; return;
    case header::ipv6: l.next() << "meta protocol != ip6"; return;
    case header::ipv6_fragment: l.next() << "exthdr frag missing"; return;
    case header::icmp: l.next() << "meta l4proto != icmp"; return;
    case header::icmpv6: l.next() << "meta l4proto != ipv6-icmp"; return;
    case header::tcp: l.next() << "meta l4proto != tcp"; return;
    case header::udp: l.next() << "meta l4proto != udp"; return;
    case header::th: l.next() << "meta l4proto != { tcp, udp }"; return;
    case header::gre: l.next() << "meta l4proto != gre"; return;
    case header::vxlan: l.next() << "udp dport != 4789"; return;
    case header::llc: l.next() << "llc missing"; return;
    case header::snap: l.next() << "snap missing"; return;
    case header::icmp_echo:
    case header::icmpv6_echo:
    case header::icmpv6_target: break;
  }
  if (is_message(h)) {
    print_message(l.next(), h, false);
  } else {
    print_numbered(l.next(), h, false);
    l.out << " missing";
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
