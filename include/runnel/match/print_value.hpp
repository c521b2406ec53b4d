// SPDX-License-Identifier: MIT
// The small words of printed expressions: operands and values as nft spells them.
#ifndef RUNNEL_MATCH_PRINT_VALUE_HPP
#define RUNNEL_MATCH_PRINT_VALUE_HPP

#include <cstdint>      // uint64_t
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
enum class manner { decimal, hex, ethertype, ip_protocol, tcp_flags, family, tc_handle };

template <class Operand>
struct manner_of {
  static constexpr manner value = manner::decimal;
};
template <header H, unsigned Offset, unsigned Bits, class V>
struct manner_of<field<H, Offset, Bits, V>> {
  static constexpr bool is(header h, unsigned offset) noexcept { return H == h && Offset == offset; }
  static constexpr manner value = is(header::tcp, 104) ? manner::tcp_flags
                                  : is(header::ethernet, 96) || is(header::vlan, 16) || is(header::cvlan, 16) ||
                                          is(header::gre, 16) || is(header::arp, 16)
                                      ? manner::ethertype
                                  : is(header::ipv4, 72) || is(header::ipv6, 48) || is(header::ipv6_fragment, 0)
                                      ? manner::ip_protocol
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
template <class Operand>
struct manner_of<masked<Operand>> {
  static constexpr manner value = manner_of<Operand>::value == manner::tcp_flags ? manner::tcp_flags : manner::hex;
};

// Whether the bare `tcp flags syn` would mean something else: "has one of these bits".
template <class Operand>
inline constexpr bool needs_equals_sign = manner_of<Operand>::value == manner::tcp_flags;
template <class Operand>
inline constexpr bool needs_equals_sign<masked<Operand>> = true;

template <class Operand>
inline constexpr bool is_about_th = false;
template <unsigned Offset, unsigned Bits, class V>
inline constexpr bool is_about_th<field<header::th, Offset, Bits, V>> = true;
template <class Operand>
inline constexpr bool is_about_th<masked<Operand>> = is_about_th<Operand>;

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
    case manner::hex: break;
  }
  if (word != nullptr) out << word;
  if (how == manner::hex || (how == manner::ethertype && word == nullptr)) out << "0x";
  if (how == manner::hex || how == manner::tc_handle || (how == manner::ethertype && word == nullptr)) out.hex(k);
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
  else if constexpr (std::is_same_v<value, ipv4_address> || std::is_same_v<value, ipv6_address> ||
                     std::is_same_v<value, mac_address>)
    print(out, from_key<value>(k));
  else if constexpr (std::is_same_v<value, instant>) print_seconds(out, from_key<value>(k));
  else print_number(out, manner_of<Operand>::value, k);
}

template <header H, unsigned Offset, unsigned Bits, class V>
constexpr void print_operand(text_writer& out, const field<H, Offset, Bits, V>& f) noexcept {
  out << f.name;
}
template <meta_key Key, unsigned Bits, class V>
constexpr void print_operand(text_writer& out, const meta_field<Key, Bits, V>&) noexcept {
  out << name(Key);
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
