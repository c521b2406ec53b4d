// SPDX-License-Identifier: MIT
// The small words of printed expressions: operands and values as nft spells them.
#ifndef RUNNEL_MATCH_PRINT_VALUE_HPP
#define RUNNEL_MATCH_PRINT_VALUE_HPP

#include <cstdint>      // uint8_t, uint64_t
#include <type_traits>  // is_same_v

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/ethernet.hpp>

namespace runnel::match::detail {

// How a number is written.
enum class manner { decimal, hex, bare_address, ethertype, ip_protocol, tcp_flags, family, tc_handle };

template <class Operand>
struct manner_of {
  static constexpr manner value = manner::decimal;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct manner_of<field<H, Offset, Bits, V>> {
  static constexpr bool is(header h, unsigned offset) noexcept { return H == h && Offset == offset; }
  static constexpr manner value = is(header::tcp, 104) ? manner::tcp_flags
                                  : is(header::ethernet, 96) || is(header::vlan, 16) || is(header::cvlan, 16) ||
                                          is(header::gre, 16) || is(header::arp, 16) || is(header::snap, 48)
                                      ? manner::ethertype
                                  : is(header::ipv4, 72) || is(header::ipv6, 48) || is(header::ipv6_fragment, 0) ||
                                          (family_of(H) == header_family::ipv6_extension && Offset == 0)
                                      ? manner::ip_protocol
                                  : H == header::llc || H == header::snap ? manner::hex
                                  // Here nft takes an address for a number.
                                  : std::is_same_v<V, ipv4_address> && family_of(H) != header_family::single
                                      ? manner::bare_address
                                      : manner::decimal;
};
template <meta_key Key, unsigned Bits, class V>
struct manner_of<meta_field<Key, Bits, V>> {
  static constexpr manner value = Key == meta_key::protocol                        ? manner::ethertype
                                  : Key == meta_key::l4proto                       ? manner::ip_protocol
                                  : Key == meta_key::nfproto                       ? manner::family
                                  : Key == meta_key::priority                      ? manner::tc_handle
                                  : Key == meta_key::mark || Key == meta_key::hash ? manner::hex
                                                                                   : manner::decimal;
};
template <tunnel Around, class Field>
struct manner_of<inner_field<Around, Field>> : manner_of<Field> {};
template <class Operand>
struct manner_of<masked<Operand>> {
  static constexpr manner whole = manner_of<Operand>::value;
  static constexpr manner value = whole == manner::tcp_flags || whole == manner::bare_address ? whole : manner::hex;
};

// Whether the bare `tcp flags syn` would mean something else: "has one of these bits".
template <class Operand>
inline constexpr bool needs_equals_sign = manner_of<Operand>::value == manner::tcp_flags;
template <class Operand>
inline constexpr bool needs_equals_sign<masked<Operand>> = true;

// Whether nft wants to be told of the header before it takes the operand, and of which one.
template <class Operand>
struct told_before {
  static constexpr bool needed = false;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct told_before<field<H, Offset, Bits, V>> {
  static constexpr bool needed = H == header::th || H == header::vxlan;
  static constexpr header what = H;
};
template <tunnel Around, class Field>
struct told_before<inner_field<Around, Field>> {
  static constexpr bool needed = Around == tunnel::vxlan;
  static constexpr header what = header::vxlan;
};
template <class Operand>
struct told_before<masked<Operand>> : told_before<Operand> {};

constexpr void print_tcp_flags(text_writer& out, std::uint64_t k) noexcept {
  constexpr const char* names[] = {"fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"};
  if (k == 0) out << "0x0";
  for (unsigned i = 0, shown = 0; i < 8; ++i)
    if ((k >> i & 1u) != 0) out << (shown++ != 0 ? " | " : "") << names[i];
}
constexpr void print_number(text_writer& out, manner how, std::uint64_t k) noexcept {
  const char* word = nullptr;
  switch (how) {
    case manner::ip_protocol:
      word = k == 1 ? "icmp" : k == 6 ? "tcp" : k == 17 ? "udp" : k == 47 ? "gre" : k == 58 ? "ipv6-icmp" : nullptr;
      break;
    case manner::ethertype:
      word = k == ethertype::ipv4   ? "ip"
             : k == ethertype::ipv6 ? "ip6"
             : k == ethertype::arp  ? "arp"
             : k == ethertype::vlan ? "8021q"
             : k == ethertype::qinq ? "8021ad"
                                    : nullptr;
      break;
    case manner::family: word = k == nfproto::ipv4 ? "ipv4" : k == nfproto::ipv6 ? "ipv6" : nullptr; break;
    case manner::tcp_flags: return print_tcp_flags(out, k);
    case manner::tc_handle: word = "0:"; break;
    case manner::decimal:
    case manner::hex:
    case manner::bare_address: break;
  }
  if (word != nullptr) out << word;
  const bool hex = how == manner::hex || how == manner::bare_address || (how == manner::ethertype && word == nullptr);
  if (hex) out << "0x";
  if (hex || how == manner::tc_handle) out.hex(k);
  else if (word == nullptr) out << k;
}
constexpr void print_seconds(text_writer& out, instant t) noexcept {
  const std::uint64_t ns = t.ns < 0 ? 0 - static_cast<std::uint64_t>(t.ns) : static_cast<std::uint64_t>(t.ns);
  out << (t.ns < 0 ? "-" : "") << ns / 1'000'000'000;
  if (ns % 1'000'000'000 == 0) return;
  out << '.';
  for (std::uint64_t digit = 100'000'000; digit != 0; digit /= 10) out << ns / digit % 10;
}
template <class Operand, class Key>
constexpr void print_value(text_writer& out, const Operand& o, const Key& k) noexcept {
  using value = typename Operand::value_type;
  if constexpr (requires { o.print_value(out, k); }) o.print_value(out, k);
  else if constexpr (manner_of<Operand>::value == manner::bare_address) print_number(out, manner::bare_address, k);
  else if constexpr (std::is_same_v<value, ipv4_address> || std::is_same_v<value, ipv6_address> ||
                     std::is_same_v<value, mac_address>)
    print(out, from_key<value>(k));
  else if constexpr (std::is_same_v<value, instant>) print_seconds(out, from_key<value>(k));
  else print_number(out, manner_of<Operand>::value, k);
}

// One of a family as nft calls it: `tcp option maxseg`, by its number where nft has no name. Before the name of a field
// nft leaves away `exthdr`.
constexpr void print_numbered(text_writer& out, header h, bool before_field) noexcept {
  const std::uint8_t number = number_of(h);
  const char* family = "";
  const char* word = nullptr;
  switch (family_of(h)) {
    case header_family::ipv4_option:
      family = "ip option ";
      word = number == 7 ? "rr" : number == 131 ? "lsrr" : number == 137 ? "ssrr" : number == 148 ? "ra" : nullptr;
      break;
    case header_family::tcp_option:
      family = "tcp option ";
      word = number == 2    ? "maxseg"
             : number == 3  ? "window"
             : number == 4  ? "sack-perm"
             : number == 5  ? "sack"
             : number == 8  ? "timestamp"
             : number == 19 ? "md5sig"
             : number == 30 ? "mptcp"
             : number == 34 ? "fastopen"
                            : nullptr;
      break;
    case header_family::ipv6_extension:
      family = "exthdr ";
      word = number == 0     ? "hbh"
             : number == 43  ? "rt"
             : number == 44  ? "frag"
             : number == 60  ? "dst"
             : number == 135 ? "mh"
                             : nullptr;
      if (before_field && word != nullptr) family = "";
      break;
    case header_family::nd_option:
      family = "icmpv6 option ";
      word = number == 1    ? "slla"
             : number == 2  ? "tlla"
             : number == 3  ? "prefix"
             : number == 5  ? "mtu"
             : number == 24 ? "route"
             : number == 25 ? "rdnss"
                            : nullptr;
      break;
    case header_family::gre_word:
      family = "gre ";
      word = number == 0x80 ? "checksum" : number == 0x20 ? "key" : "sequence";
      break;
    case header_family::icmp_message:
    case header_family::icmpv6_message:
    case header_family::single: break;
  }
  out << family;
  if (word != nullptr) out << word;
  else out << number;
}
template <header H, unsigned Offset, unsigned Bits, class V>
constexpr void print_operand(text_writer& out, const field<H, Offset, Bits, V>& f) noexcept {
  if constexpr (family_of(H) == header_family::gre_word) {
    print_numbered(out, H, true);  // which is all of it
  } else {
    if constexpr (family_of(H) != header_family::single && family_of(H) != header_family::icmp_message &&
                  family_of(H) != header_family::icmpv6_message) {
      print_numbered(out, H, true);
      out << ' ';
    }
    out << f.name;
  }
}
template <meta_key Key, unsigned Bits, class V>
constexpr void print_operand(text_writer& out, const meta_field<Key, Bits, V>&) noexcept {
  out << name(Key);
}
template <tunnel Around, class Field>
constexpr void print_operand(text_writer& out, const inner_field<Around, Field>& f) noexcept {
  out << (Around == tunnel::vxlan    ? "vxlan "
          : Around == tunnel::gre    ? "gre "
          : Around == tunnel::gretap ? "gretap "
                                     : "ipip ");
  print_operand(out, f.inside);
}
// An operand from elsewhere says its name itself.
template <class Operand>
constexpr void print_operand(text_writer& out, const Operand& o) noexcept {
  o.print(out);
}
template <class Operand>
constexpr void print_operand(text_writer& out, const masked<Operand>& m) noexcept {
  print_operand(out, m.whole);
  out << " & ";
  bool several = false;
  if constexpr (manner_of<Operand>::value == manner::tcp_flags) several = (m.mask & (m.mask - 1)) != 0;
  if (several) out << '(';
  print_value(out, m, m.mask);
  if (several) out << ')';
}

}  // namespace runnel::match::detail

#endif
