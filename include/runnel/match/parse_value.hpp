// SPDX-License-Identifier: MIT
// Reads the values that an operand is compared with: in the forms that rules are printed in, and by name.
#ifndef RUNNEL_MATCH_PARSE_VALUE_HPP
#define RUNNEL_MATCH_PARSE_VALUE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint8_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/names.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::match::detail {

// Reads an address; `read` is a member of address_reader. What follows is no part of it; a colon only `before_port`.
template <class Address>
Address parse_address(text_cursor& in, Address (runnel::detail::address_reader::*read)() noexcept, const char* what,
                      bool before_port = false) {
  in.skip_gap();
  runnel::detail::address_reader reader{in.rest()};
  const Address a = (reader.*read)();
  const address_error e = reader.error();
  if (!reader.good()) {
    if (e.position == 0) {
      in.expected(what);
    } else {
      text<128> why;
      why << what << ": " << e.reason;
      in.fail_at(in.at() + e.position, why.c_str());
    }
    return {};
  }
  in.go_to(in.at() + e.position);
  if (text_cursor::goes_on(in.ahead()) || in.ahead() == '.' || (in.ahead() == ':' && !before_port)) in.expected(what);
  return a;
}
inline ipv4_address parse_address4(text_cursor& in, bool before_port = false) noexcept {
  return parse_address(in, &runnel::detail::address_reader::ipv4, "an IPv4 address", before_port);
}
inline ipv6_address parse_address6(text_cursor& in) noexcept {
  return parse_address(in, &runnel::detail::address_reader::ipv6, "an IPv6 address");
}
inline mac_address parse_address_mac(text_cursor& in) noexcept {
  return parse_address(in, &runnel::detail::address_reader::mac, "a link-layer address");
}

// The longest of the names that stands next.
inline bool parse_name(text_cursor& in, const name_list& names, std::uint64_t& to) noexcept {
  in.skip_gap();
  std::size_t best = 0;
  for (std::size_t i = 0; i < names.size; ++i) {
    const char* const word = names.begin[i].word;
    std::size_t n = 0;
    while (word[n] != '\0' && in.ahead(n) == word[n]) ++n;
    if (word[n] != '\0' || n <= best || text_cursor::goes_on(in.ahead(n))) continue;
    best = n;
    to = names.begin[i].value;
  }
  in.go_to(in.at() + best);
  return best != 0;
}
inline std::uint64_t parse_number(text_cursor& in, const operand_description& d) noexcept {
  in.skip_gap();
  const std::size_t before = in.at();
  const name_list names = names_of(d);
  std::uint64_t k = 0;
  if (!parse_name(in, names, k) && !in.number(k)) {
    in.expected(names.size != 0 ? "a name or a number" : "a number");
    return 0;
  }
  if (k <= ~std::uint64_t{0} >> (64 - d.bits)) return k;
  text<64> why;
  why << "a number that does not fit into " << d.bits << (d.bits == 1 ? " bit" : " bits");
  in.fail_at(before, why.c_str());
  return 0;
}
// `syn | ack`, or as tcpdump calls them: `tcp-syn | tcp-ack`. `snat | dnat`.
inline std::uint64_t parse_flag_names(text_cursor& in, const operand_description& d, bool commas = true) noexcept {
  std::uint64_t all = 0;
  do {
    in.skip_gap();
    if (in.ahead() == 't' && in.ahead(1) == 'c' && in.ahead(2) == 'p' && in.ahead(3) == '-') in.go_to(in.at() + 4);
    all |= parse_number(in, d);
  } while (in.accept("|") || (commas && in.accept(",")));
  return all;
}
// `0:a`, as tc(8) writes a class, or `none`; a number alone is taken for the part behind the colon.
inline std::uint64_t parse_handle(text_cursor& in, const operand_description& d) noexcept {
  if (in.accept("none")) return 0;
  in.skip_gap();
  if (in.ahead() != '0' || in.ahead(1) != ':') return parse_number(in, d);
  in.go_to(in.at() + 2);
  std::uint64_t k = 0;
  std::size_t n = 0;
  for (; hex_digit(in.ahead(n)) >= 0 && n < 3; ++n) k = k * 16 + static_cast<unsigned>(hex_digit(in.ahead(n)));
  if (n == 0 || k > 0xff || text_cursor::goes_on(in.ahead(n))) in.expected("a hexadecimal number up to ff");
  else in.go_to(in.at() + n);
  return k;
}
// `-1.500000000`: seconds.
inline std::uint64_t parse_seconds(text_cursor& in) noexcept {
  const bool negative = in.accept("-");
  std::uint64_t seconds = 0, ns = 0;
  const std::size_t before = in.at();
  if (!is_digit(in.ahead()) && negative) in.expected("a number of seconds");
  in.skip_gap();
  std::size_t n = 0;
  for (; is_digit(in.ahead(n)) && n < 12; ++n) seconds = seconds * 10 + static_cast<unsigned>(in.ahead(n) - '0');
  if (n == 0) in.expected("a number of seconds");
  if (in.ahead(n) == '.') {
    ++n;
    for (unsigned digits = 0; digits < 9; ++digits) {
      const bool more = is_digit(in.ahead(n));
      ns = ns * 10 + (more ? static_cast<unsigned>(in.ahead(n) - '0') : 0u);
      n += more ? 1u : 0u;
    }
  }
  const std::uint64_t last = (std::uint64_t{1} << 63) - (negative ? 0u : 1u);
  if (seconds > last / 1'000'000'000 || seconds * 1'000'000'000 + ns > last || text_cursor::goes_on(in.ahead(n)))
    in.fail_at(before, "a time that does not fit, in seconds");
  if (!in.good()) return 0;
  in.go_to(in.at() + n);
  const std::uint64_t all = seconds * 1'000'000'000 + ns;
  return (negative ? 0 - all : all) ^ std::uint64_t{1} << 63;
}

// `(tcp-syn|tcp-ack)` as one value.
inline std::uint64_t parse_flag_value(text_cursor& in, const operand_description& d) noexcept {
  const bool brackets = in.accept("(");
  const std::uint64_t all = parse_flag_names(in, d, false);
  if (brackets && !in.accept(")")) in.expected("\")\"");
  return all;
}

// Whether values may have a length: nft writes ranges of marks so, `meta mark 0x100/24`, as those of addresses.
[[nodiscard]] constexpr bool may_have_length(const operand_description& d) noexcept {
  const bool mark = d.is_meta && (d.which == meta_key::mark || d.which == meta_key::ct_mark);
  return mark || d.value == value_kind::ipv4 || d.value == value_kind::ipv6;
}
// What is wrong with a length that the value has bits behind.
[[nodiscard]] constexpr const char* cuts_off_bits(const operand_description& d) noexcept {
  return d.value == value_kind::number ? "a length that cuts off bits of the mark"
                                       : "a length that cuts off bits of the address";
}
// Whether an address stands here as a number: in hexadecimal, or, where nft takes it for one, as it lists that.
[[nodiscard]] inline bool is_address_as_number(const text_cursor& in, const operand_description& d) noexcept {
  std::size_t n = 0;
  while (is_digit(in.ahead(n))) ++n;
  if (n == 1 && in.ahead() == '0' && in.ahead(1) == 'x') return true;
  return n != 0 && in.ahead(n) != '.' && manner_of(d) == manner::bare_address;
}

// One value of an operand. Nothing of use after a failure.
inline void parse_key(text_cursor& in, const operand_description& d, std::uint64_t& to) noexcept {
  in.skip_gap();
  switch (d.value) {
    case value_kind::ipv4: to = is_address_as_number(in, d) ? parse_number(in, d) : to_key(parse_address4(in)); return;
    case value_kind::mac: to = to_key(parse_address_mac(in)); return;
    case value_kind::time: to = parse_seconds(in); return;
    case value_kind::number:
    case value_kind::ipv6: break;
  }
  const manner how = manner_of(d);
  if (are_flags(how)) to = parse_flag_value(in, d);
  else if (how == manner::tc_handle) to = parse_handle(in, d);
  else to = parse_number(in, d);
}
inline void parse_key(text_cursor& in, const operand_description&, ipv6_address& to) noexcept {
  to = parse_address6(in);
}
// What a mask is: a value, or some in brackets joined by `|`.
template <class Key>
void parse_mask(text_cursor& in, const operand_description& d, Key& to) noexcept {
  const bool brackets = in.accept("(");
  const std::size_t from = in.at();
  parse_key(in, d, to);
  if (!brackets && in.good()) {
    // `&` binds tighter than `|` for nft, tcpdump and C: there `tcp flags & syn | ack == ack` is about syn alone.
    const std::size_t size = in.at() - from;
    in.go_to(from);
    for (std::size_t n = 0; n < size; ++n)
      if (in.ahead(n) == '|') return in.fail("a mask of several bits needs brackets: & (syn | ack)");
    in.go_to(from + size);
  }
  if constexpr (sizeof(Key) == sizeof(std::uint64_t)) {
    while (brackets && in.accept("|")) {
      Key more{};
      parse_key(in, d, more);
      to |= more;
    }
  }
  if (brackets && !in.accept(")")) in.expected("\")\"");
}

}  // namespace runnel::match::detail

#endif
