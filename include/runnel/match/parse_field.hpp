// SPDX-License-Identifier: MIT
// Reads one condition in nft's way: `tcp dport { 22, 80-90 }`, `ip saddr != @blocklist`, `tcp option maxseg missing`.
#ifndef RUNNEL_MATCH_PARSE_FIELD_HPP
#define RUNNEL_MATCH_PARSE_FIELD_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/base/text.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/condition_test.hpp>
#include <runnel/match/field_table.hpp>
#include <runnel/match/names.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>
#include <runnel/match/print_condition.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/field.hpp>

namespace runnel::match::detail {

// ---- operands

// The longest name of the list that stands next.
template <std::size_t N>
bool parse_field_name(text_cursor& in, const operand_description (&all)[N], header only, bool any_header,
                      operand_description& to) noexcept {
  std::size_t best = 0;
  const operand_description* found = nullptr;
  for (const operand_description& d : all) {
    if (!any_header && d.in_header != only) continue;
    const char* const name = d.is_meta ? runnel::match::name(d.which) : d.name;
    std::size_t size = 0;
    while (name[size] != '\0') ++size;
    if (size <= best || !in.sees_words(name)) continue;
    best = size;
    found = &d;
  }
  if (found == nullptr) return false;
  in.accept_words(found->is_meta ? runnel::match::name(found->which) : found->name);
  to = *found;
  return true;
}
// `tcp option maxseg`, `exthdr 51`, `hbh`, `gre key`: what is one of a family.
inline bool parse_numbered(text_cursor& in, header& to, bool& bare) noexcept {
  in.skip_gap();
  const std::size_t before = in.at();
  for (const named_header& n : header_names) {
    const header_family f = family_of(n.in);
    text<32> name;
    name << prefix_of(f) << n.word;
    bare = f == header_family::ipv6_extension && in.accept_words(n.word);
    if (bare || in.accept_words(name.c_str())) return to = n.in, true;
  }
  constexpr struct {
    const char* words;
    header_family family;
  } families[] = {{"ip option", header_family::ipv4_option},
                  {"tcp option", header_family::tcp_option},
                  {"exthdr", header_family::ipv6_extension},
                  {"icmpv6 option", header_family::nd_option}};
  for (const auto& f : families) {
    if (!in.accept_words(f.words)) continue;
    const std::uint64_t number = in.number_up_to(255, "the name of an option, or its number");
    to = header_in(f.family, static_cast<std::uint8_t>(number));
    return in.good();
  }
  in.go_to(before);
  return false;
}

// ---- the right side

// Bytes of TCP or UDP by number: for tcpdump those of IPv4 packets only.
[[nodiscard]] constexpr bool is_raw_transport(const operand_description& d) noexcept {
  return d.name == nullptr && !d.is_meta && (d.in_header == header::tcp || d.in_header == header::udp);
}
// Whether a condition only tells what the operand behind it implies.
bool tells_before(const auto& p, const condition_node& n, const operand_description& d) noexcept {
  const condition_view v = p.to.view();
  if (d.is_meta) return false;
  if (is_raw_transport(d))
    return n.kind == node_kind::comparison && n.how == relation::equal && n.operand.is_meta && !n.operand.is_masked &&
           n.operand.which == meta_key::protocol && v.value<std::uint64_t>(n, 0) == ethertype::ipv4;
  if (!is_told_before(d)) return false;
  if (told_before(d) == header::th)
    return n.kind == node_kind::in_constants && n.inside && n.operand.is_meta && !n.operand.is_masked &&
           n.operand.which == meta_key::l4proto && n.values == 2 && v.value<std::uint64_t>(n, 0) == 6 &&
           v.value<std::uint64_t>(n, 1) == 17;
  return n.kind == node_kind::comparison && n.how == relation::equal && !n.operand.is_inner && !n.operand.is_meta &&
         !n.operand.is_masked && n.operand.in_header == header::udp && n.operand.offset == 16 && n.operand.bits == 16 &&
         v.value<std::uint64_t>(n, 0) == 4789;
}
void take_what_was_told(auto& p, const operand_description& d) noexcept {
  if (p.told == parser::none || !tells_before(p, p.to[p.told], d)) return;
  p.to.cut(p.told);
  p.told = parser::none;
  p.took_told = true;
}

struct parsed_relation {
  relation how = relation::equal;
  bool written = false;
};
inline parsed_relation parse_relation(text_cursor& in) noexcept {
  constexpr struct {
    const char* sign;
    relation how;
  } signs[] = {{"==", relation::equal},         {"!=", relation::not_equal}, {"<=", relation::less_equal},
               {">=", relation::greater_equal}, {"=", relation::equal},      {"<", relation::less},
               {">", relation::greater}};
  for (const auto& s : signs)
    if (in.accept(s.sign)) return {s.how, true};
  constexpr struct {
    const char* word;
    relation how;
  } words[] = {{"eq", relation::equal},      {"ne", relation::not_equal}, {"lt", relation::less},
               {"le", relation::less_equal}, {"gt", relation::greater},   {"ge", relation::greater_equal}};
  for (const auto& w : words)
    if (in.accept_words(w.word)) return {w.how, true};
  return {};
}

// The name of an interface: any word without gaps.
inline void parse_interface(auto& p, bool quoted, std::uint64_t& to) noexcept {
  const std::size_t before = p.in.at(), from = quoted ? 1 : 0;
  std::size_t n = 0;
  const auto goes_on = [&](char c) {
    return c > ' ' && c != '"' && (quoted || text_cursor::goes_on(c) || c == '-' || c == '.' || c == ':');
  };
  while (goes_on(p.in.ahead(from + n))) ++n;
  for (std::size_t i = 0; i < p.sets.interface_count; ++i) {
    const char* const name = p.sets.interfaces[i];
    std::size_t same = 0;
    while (name != nullptr && same < n && name[same] == p.in.ahead(from + same)) ++same;
    if (name == nullptr || same != n || name[n] != '\0' || n == 0) continue;
    if (quoted && p.in.ahead(1 + n) != '"') break;
    p.in.go_to(before + n + 2 * from);
    to = i + 1;
    return;
  }
  text<160> known;
  const char* between = "a number, or the name of an interface: ";
  for (std::size_t i = 0; i < p.sets.interface_count && i < 6; ++i) {
    if (p.sets.interfaces[i] == nullptr) continue;
    known << between << p.sets.interfaces[i];
    between = ", ";
  }
  p.in.expected(known.size() != 0 ? known.c_str()
                                  : "the number of an interface, for the program has given none a name");
}
// One value of an operand; of an interface its name too: `lan`, `"lan"`.
inline void parse_operand_value(auto& p, const operand_description& d, auto& to) noexcept {
  const bool has_name = d.is_meta && (d.which == meta_key::iif || d.which == meta_key::oif);
  p.in.skip_gap();
  if constexpr (sizeof to == sizeof(std::uint64_t)) {
    const bool quoted = has_name && p.in.ahead() == '"';
    if (quoted || (has_name && is_letter(p.in.ahead()))) return parse_interface(p, quoted, to);
  }
  parse_key(p.in, d, to);
}

// The part of an operand's condition that is the same for all its values.
template <class Key>
struct test {
  condition_node node;
  Key mask{};
};
template <class Key>
void write(auto& p, const test<Key>& t, node_kind kind, const Key* keys, std::size_t count) noexcept {
  condition_node n = t.node;
  n.kind = kind;
  if (kind != node_kind::comparison) n.how = relation::equal;
  n.values = static_cast<std::uint16_t>(count);
  p.to.leaf(n, t.mask, keys);
}
// What may follow a value: `-` and the last one of a range, `/` and the length of a prefix. False when nothing does.
template <class Key>
bool parse_range_or_prefix(auto& p, const test<Key>& t, const Key& first, std::size_t at) noexcept {
  const operand_description& d = t.node.operand;
  if (p.in.accept("-")) {
    Key last{};
    parse_operand_value(p, d, last);
    if (p.in.good() && key_less(last, first)) p.in.fail_at(at, "the first value of this range is above its last");
    const Key both[] = {first, last};
    write(p, t, node_kind::in_range, both, 2);
    return true;
  }
  if (!may_have_length(d) || !p.in.accept("/")) return false;
  const std::uint64_t length = p.in.number_up_to(d.bits, d.bits == 32 ? "a length up to 32" : "a length up to 128");
  if (!p.in.good()) return true;
  test<Key> with_length = t;
  with_length.node.length = static_cast<std::uint8_t>(length);
  condition_node whole = with_length.node;
  if (!(key_and(first, prefix_mask_of(whole, first)) == first)) p.in.fail_at(at, cuts_off_bits(d));
  if constexpr (sizeof(Key) == sizeof(std::uint64_t)) {
    if (d.value == value_kind::number) {
      const Key all = ~Key{0} >> (64 - d.bits), both[] = {first, first | (all & ~prefix_mask_of(whole, first))};
      return write(p, t, node_kind::in_range, both, 2), true;
    }
  }
  write(p, with_length, node_kind::in_prefix, &first, 1);
  return true;
}
// `{ 22, 80-90, 443 }`: the single values as one set, each range and prefix by itself.
template <class Key>
void parse_braces(auto& p, const test<Key>& t) noexcept {
  constexpr std::size_t room = 128;
  Key singles[room]{};
  std::size_t count = 0, parts = 0, all = parser::none;
  const node_kind joint = t.node.inside ? node_kind::either : node_kind::both;
  const auto join = [&] {
    if (parts++ != 0) p.to.join(joint, all);
    all = p.to.last();
  };
  do {
    p.in.skip_gap();
    const std::size_t at = p.in.at();
    Key k{};
    parse_operand_value(p, t.node.operand, k);
    if (!p.in.good()) return;
    if (parse_range_or_prefix(p, t, k, at)) {
      join();
      continue;
    }
    if (count == room) p.in.fail("too many values in one list: put them into a set with a name");
    std::size_t i = count;
    while (i != 0 && key_less(k, singles[i - 1])) --i;
    if (i != 0 && singles[i - 1] == k) continue;
    for (std::size_t j = count; p.in.good() && j > i; --j) singles[j] = singles[j - 1];
    if (p.in.good()) singles[i] = k, ++count;
  } while (p.in.good() && p.in.accept(","));
  if (!p.in.accept("}")) p.in.expected("\",\" or \"}\"");
  if (!p.in.good() || count == 0) return;
  write(p, t, node_kind::in_constants, singles, count);
  join();
}
// `@blocklist`
template <class Key>
void parse_set(auto& p, test<Key>& t) noexcept {
  const std::size_t at = p.in.at();
  for (std::size_t i = 0; i < p.own_sets.size + p.sets.size; ++i) {
    const set_reference& r = i < p.own_sets.size ? p.own_sets.begin[i] : p.sets.begin[i - p.own_sets.size];
    if (!p.in.accept_words(r.name())) continue;
    const operand_description& d = t.node.operand;
    if (r.functions->value != d.value) p.in.fail_at(at, "this set holds values of another kind");
    t.node.set = r;
    return write(p, t, node_kind::in_set, static_cast<const Key*>(nullptr), 0);
  }
  if (!p.in.good()) return;
  text<176> known;
  known << "one of the sets that the program named";
  for (std::size_t i = 0; i < p.sets.size && i < 6; ++i) known << (i == 0 ? ": @" : ", @") << p.sets.begin[i].name();
  if (p.sets.size == 0) known << ", and it named none";
  p.in.expected(known.c_str());
}
// `ct state established,related`: one of these, the first of which was read already.
void parse_states(auto& p, const test<std::uint64_t>& t, std::uint64_t first) noexcept {
  std::uint64_t named = std::uint64_t{1} << first, all[8] = {};
  while (p.in.good() && p.in.accept(",")) {
    std::uint64_t k = 0;
    parse_key(p.in, t.node.operand, k);
    named |= std::uint64_t{1} << k;
  }
  if (!p.in.good()) return;
  std::size_t count = 0;
  for (unsigned i = 0; i < 8; ++i)
    if ((named >> i & 1u) != 0) all[count++] = i;
  write(p, t, node_kind::in_constants, all, count);
}
// `tcp flags syn,ack` has one of these, `tcp flags ! syn,ack` none of them, `tcp flags == syn,ack` has both and no
// others; `tcp flags syn / syn,ack` has the first of the second. `ct status snat,dnat`.
void parse_flags(auto& p, test<std::uint64_t> t, parsed_relation r, bool none) noexcept {
  std::uint64_t wanted = parse_flag_names(p.in, t.node.operand);
  t.node.how = r.how;
  t.node.inside = true;
  if (!none && p.in.accept("/")) {
    t.node.operand.is_masked = true;
    t.mask = parse_flag_names(p.in, t.node.operand);
  } else if (none || !r.written) {
    t.node.operand.is_masked = true;
    t.node.how = none ? relation::equal : relation::not_equal;
    t.mask = wanted;
    wanted = 0;
  }
  write(p, t, node_kind::comparison, &wanted, 1);
}

// What stands behind an operand: a mask, a relation, values. `mask` is the one that was read already, or null.
template <class Key>
void parse_rest(auto& p, const operand_description& d, const Key* mask, bool must_compare = false) noexcept {
  test<Key> t;
  t.node.operand = d;
  if (mask != nullptr) {
    t.mask = *mask;
  } else if (p.in.accept("&")) {
    t.node.operand.is_masked = true;
    parse_mask(p.in, t.node.operand, t.mask);
  }
  const manner written_as = manner_of(d);
  parsed_relation r = parse_relation(p.in);
  if constexpr (sizeof(Key) == sizeof(std::uint64_t)) {
    const bool has_bits = are_flags(written_as) || written_as == manner::ct_state;
    if (has_bits && !r.written && !t.node.operand.is_masked && p.in.accept("!")) {
      if (written_as != manner::ct_state) return parse_flags(p, t, r, true);
      r = {relation::not_equal, true};
      if (p.in.sees("{") || p.in.sees("@")) return p.in.expected("a state, such as new");
    }
  }
  if (must_compare && !r.written) return p.in.expected("a comparison, such as = 5");
  t.node.how = r.how;
  t.node.inside = r.how != relation::not_equal;
  const bool in_or_not = r.how == relation::equal || r.how == relation::not_equal;
  if (in_or_not && p.in.accept("{")) return parse_braces(p, t);
  if (in_or_not && p.in.accept("@")) return parse_set(p, t);
  p.in.skip_gap();
  const std::size_t at = p.in.at();
  Key k{};
  parse_operand_value(p, t.node.operand, k);
  if (!p.in.good()) return;
  if constexpr (sizeof(Key) == sizeof(std::uint64_t)) {
    const bool flags = are_flags(written_as) && in_or_not && !t.node.operand.is_masked;
    if (flags && !p.in.sees("-") && (!r.written || p.in.sees(",") || p.in.sees("/"))) {
      p.in.go_to(at);
      return parse_flags(p, t, r, false);
    }
  }
  if constexpr (sizeof(Key) == sizeof(std::uint64_t)) {
    if (written_as == manner::ct_state && in_or_not && p.in.sees(",")) return parse_states(p, t, k);
  }
  if (in_or_not && parse_range_or_prefix(p, t, k, at)) return;
  t.node.inside = true;
  write(p, t, node_kind::comparison, &k, 1);
}
void parse_test(auto& p, const operand_description& d) noexcept {
  if (d.value == value_kind::ipv6) parse_rest<ipv6_address>(p, d, nullptr);
  else parse_rest<std::uint64_t>(p, d, nullptr);
}

// ---- whole conditions

void write_missing(auto& p, header h) noexcept {
  const header outer = around_missing(h);
  const bool alone = !can_be_missing(h);
  if (!alone) p.to.has(outer);
  const std::size_t left = p.to.last();
  p.to.has(h);
  p.to.negate();
  if (!alone) p.to.join(node_kind::both, left);
}
// `exists`, `missing`. False when neither stands here.
bool parse_presence(auto& p, header h) noexcept {
  if (p.in.accept_words("exists")) return p.to.has(h), true;
  if (p.in.accept_words("missing")) return write_missing(p, h), true;
  return false;
}
// A field of a header, without what may stand around it.
bool parse_header_field(auto& p, operand_description& to) noexcept {
  using owners = typename field_owners_of<decltype(p)>::type;
  if (parse_field_name(p.in, plain_fields<owners>, header::ethernet, true, to)) return true;
  header h{};
  bool bare = false;
  const std::size_t before = p.in.at();
  if (!parse_numbered(p.in, h, bare)) return false;
  if (family_of(h) == header_family::gre_word) {
    for (const operand_description& d : gre_words<owners>)
      if (d.in_header == h) to = d;
    return true;
  }
  if (parse_field_name(p.in, option_fields<owners>, h, false, to)) return true;
  if (parse_field_name(p.in, fields_of_families<owners>, header_in(family_of(h), 0), false, to)) {
    to.in_header = h;
    return true;
  }
  p.in.go_to(before);
  return false;
}
// Any operand in nft's way. False, and nothing read, when there is none.
bool parse_operand(auto& p, operand_description& to) noexcept {
  if (parse_field_name(p.in, meta_fields<typename field_owners_of<decltype(p)>::type>, header::ethernet, true, to))
    return true;
  if (parse_header_field(p, to)) return true;
  if (p.in.accept_words("len")) return to = describe(meta::length), true;
  const auto accept_any = [&p](const char* a, const char* b, const char* c) {
    return p.in.accept_words(a) || p.in.accept_words(b) || p.in.accept_words(c);
  };
  if (accept_any("iif", "iifname", "meta iifname")) return to = describe(meta::iif), true;
  if (accept_any("oif", "oifname", "meta oifname")) return to = describe(meta::oif), true;
  const std::size_t before = p.in.at();
  constexpr tunnel tunnels[] = {tunnel::vxlan, tunnel::gre, tunnel::gretap, tunnel::ipip};
  for (const tunnel t : tunnels) {
    if (!p.in.accept_words(name_of(t))) continue;
    if (parse_header_field(p, to)) {
      to.is_inner = true;
      to.around = t;
      return true;
    }
    p.in.go_to(before);
  }
  return false;
}
// A condition in nft's way. False, and nothing read, when there is none.
bool parse_field_condition(auto& p) noexcept {
  if (p.in.accept_words("meta iiftype")) {
    const parsed_relation r = parse_relation(p.in);
    if ((r.how != relation::equal && r.how != relation::not_equal) || !p.in.accept_words("ether"))
      p.in.expected("ether");
    p.to.has(header::ethernet);
    if (r.how == relation::not_equal) p.to.negate();
    return true;
  }
  constexpr struct {
    const char* word;
    header in;
  } single[] = {
      {"exthdr frag", header::ipv6_fragment}, {"cvlan", header::cvlan}, {"llc", header::llc}, {"snap", header::snap}};
  const std::size_t before = p.in.at();
  for (const auto& s : single) {
    if (p.in.accept_words(s.word) && parse_presence(p, s.in)) return true;
    p.in.go_to(before);
  }
  operand_description d;
  if (parse_operand(p, d)) {
    if (d.in_header != header::ethernet && family_of(d.in_header) == header_family::gre_word && !d.is_inner &&
        parse_presence(p, d.in_header))
      return true;
    take_what_was_told(p, d);
    parse_test(p, d);
    return true;
  }
  header h{};
  bool bare = false;
  if (!parse_numbered(p.in, h, bare)) {
    p.in.go_to(before);
    return false;
  }
  if (!bare && parse_presence(p, h)) return true;
  if (bare) {  // perhaps a word of tcpdump's: `dst host 10.0.0.1`
    p.in.go_to(before);
    return false;
  }
  p.in.expected("exists, missing, or a field of it");
  return true;
}

}  // namespace runnel::match::detail

#endif
