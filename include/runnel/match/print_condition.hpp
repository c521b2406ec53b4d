// SPDX-License-Identifier: MIT
// Single conditions as nft writes them: that a header is there or not, that an operand has a value.
#ifndef RUNNEL_MATCH_PRINT_CONDITION_HPP
#define RUNNEL_MATCH_PRINT_CONDITION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t

#include <runnel/base/text.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/expression.hpp>
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

// Headers of which nft says `missing`: where what is around them is there, and they are not.
[[nodiscard]] constexpr header around_missing(header h) noexcept {
  return h == header::ipv6_fragment ? header::ipv6 : around(h);
}
[[nodiscard]] constexpr bool can_be_missing(header h) noexcept {
  return around_missing(h) != h && (h == header::ipv6_fragment || prefix_of(family_of(h)) != nullptr);
}
constexpr void print_missing(text_writer& out, header h) noexcept {
  if (h == header::ipv6_fragment) out << "exthdr frag";
  else print_numbered(out, h, false);
  out << " missing";
}

// `tcp option maxseg missing`: there is a TCP header, and not this in it. The node at `i` is "both" of these.
[[nodiscard]] constexpr bool is_missing(const printed_tree& t, std::size_t i) noexcept {
  if (i < 3 || t[i].kind != node_kind::both || t[i].left != i - 3 || t[i - 1].kind != node_kind::negation) return false;
  if (t[i - 2].kind != node_kind::has || t[i - 3].kind != node_kind::has) return false;
  const header inner = t[i - 2].operand.in_header;
  return can_be_missing(inner) && t[i - 3].operand.in_header == around_missing(inner);
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

// Whether nft wants to be told of a header before it takes the operand; that it is there is no condition of its own.
[[nodiscard]] constexpr bool is_told_before(const operand_description& d) noexcept {
  if (d.is_meta || d.is_custom) return false;
  return d.is_inner ? d.around == tunnel::vxlan : d.in_header == header::th || d.in_header == header::vxlan;
}
[[nodiscard]] constexpr header told_before(const operand_description& d) noexcept {
  return d.is_inner ? header::vxlan : d.in_header;
}

// When an operand has no value: how many lines say so, and what they say. -1 when nft has no words for it.
[[nodiscard]] constexpr int lines_without_value(const operand_description& d) noexcept {
  if (d.is_custom || d.is_inner) return -1;
  if (d.is_meta) return d.which == meta_key::l4proto ? 1 : 0;
  return static_cast<int>(lines_without(d.in_header));
}
constexpr void print_without_value(line& l, const operand_description& d, std::size_t which) noexcept {
  if (d.is_meta) l.next() << "meta protocol != { ip, ip6 }";
  else print_without(l, d.in_header, which);
}

// A condition on an operand, or its opposite for those packets that have it.
constexpr void print_leaf(line& l, const printed_tree& t, const condition_node& n, bool positive) noexcept {
  if (is_told_before(n.operand)) print_with(l, told_before(n.operand));
  text_writer& out = l.next();
  print_operand(out, t, n);
  if (n.kind == node_kind::comparison) {
    const relation shown = positive ? n.how : opposite(n.how);
    out << (shown == relation::equal && !needs_equals_sign(n.operand) ? " " : symbol(shown));
  } else {
    out << (n.inside == positive ? " " : " != ");
  }
  switch (n.kind) {
    case node_kind::in_constants:
      out << '{';
      for (std::size_t i = 0; i < n.values; ++i) {
        out << (i == 0 ? " " : ", ");
        print_value(out, t, n, i);
      }
      out << " }";
      return;
    case node_kind::in_set: out << '@' << n.set.name(); return;
    default: break;
  }
  print_value(out, t, n, 0);
  if (n.kind == node_kind::in_prefix) out << '/' << n.length;
  if (n.kind == node_kind::in_range) {
    out << '-';
    print_value(out, t, n, 1);
  }
}

// `tcp dport { 80-90, 22 }`, as the parser reads it: one of ranges and prefixes, the last of which may be a set of
// single values. The node at `i` is "either" of these.
[[nodiscard]] constexpr bool is_in_braces(const printed_tree& t, std::size_t i) noexcept {
  const operand_description& d = t[i - 1].operand;
  const auto may_be = [&](const condition_node& n, bool last) {
    const bool fits =
        n.kind == node_kind::in_range || n.kind == node_kind::in_prefix || (last && n.kind == node_kind::in_constants);
    const operand_description& o = n.operand;
    return fits && n.inside && !o.is_masked && !o.is_custom && o.is_meta == d.is_meta && o.which == d.which &&
           o.in_header == d.in_header && o.offset == d.offset && o.bits == d.bits && o.name == d.name &&
           o.is_inner == d.is_inner && o.around == d.around;
  };
  for (std::size_t at = i;; at -= 2) {
    if (!may_be(t[at - 1], at == i) || std::size_t{t[at].left} + 2 != at) return false;
    if (t[at - 2].kind != node_kind::either) return may_be(t[at - 2], false);
  }
}
constexpr void print_elements(text_writer& out, const printed_tree& t, std::size_t i) noexcept {
  const condition_node& n = t[i];
  if (n.kind == node_kind::either) {
    print_elements(out, t, n.left);
    out << ", ";
    return print_elements(out, t, i - 1);
  }
  for (std::size_t k = 0; k < n.values; ++k) {
    if (k != 0) out << (n.kind == node_kind::in_range ? "-" : ", ");
    print_value(out, t, n, k);
  }
  if (n.kind == node_kind::in_prefix) out << '/' << n.length;
}
constexpr void print_in_braces(line& l, const printed_tree& t, std::size_t i) noexcept {
  const condition_node& n = t[i - 1];
  if (is_told_before(n.operand)) print_with(l, told_before(n.operand));
  print_operand(l.next(), t, n);
  print_elements(l.out << " { ", t, i);
  l.out << " }";
}

}  // namespace runnel::match::detail

#endif
