// SPDX-License-Identifier: MIT
// The sets of a rule table: values, ranges and prefixes in rising order, asked by binary search.
#ifndef RUNNEL_HOOK_TABLE_SET_HPP
#define RUNNEL_HOOK_TABLE_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t, uint64_t

#include <runnel/match/condition_node.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

inline constexpr std::size_t name_room = 32;

// From the first to the last value. Numbers are in the lower half, as in match::set_element.
struct table_range {
  ipv6_address first{};
  ipv6_address last{};
};

struct table_set {
  char name[name_room] = {};
  std::uint8_t table = 0;
  std::uint8_t type = 0;  // its place in set_types
  bool intervals = false;
  std::uint32_t element = 0;  // where its elements begin in `ranges`
  std::uint32_t elements = 0;
  const table_range* ranges = nullptr;

  [[nodiscard]] bool contains(const ipv6_address& k) const noexcept {
    const table_range* const all = ranges + element;
    std::size_t begin = 0, end = elements;
    while (begin < end) {
      const std::size_t middle = begin + (end - begin) / 2;
      if (match::key_less(all[middle].last, k)) begin = middle + 1;
      else end = middle;
    }
    return begin < elements && !match::key_less(k, all[begin].first);
  }
};

// A type of elements as nft calls it.
struct set_type {
  const char* name;
  match::value_kind value;
  std::uint8_t bits;
};
inline constexpr set_type set_types[] = {
    {"ipv4_addr", match::value_kind::ipv4, 32},   {"ipv6_addr", match::value_kind::ipv6, 128},
    {"ether_addr", match::value_kind::mac, 48},   {"inet_service", match::value_kind::number, 16},
    {"inet_proto", match::value_kind::number, 8}, {"mark", match::value_kind::number, 32}};

struct table_set_access {
  static const table_set& of(const void* set) noexcept { return *static_cast<const table_set*>(set); }
  static bool contains(const void* set, std::uint64_t k) noexcept { return of(set).contains({0, k}); }
  static bool contains_ipv6(const void* set, const ipv6_address& k) noexcept { return of(set).contains(k); }
  static const char* name(const void* set) noexcept { return of(set).name; }
  static std::size_t capacity(const void* set) noexcept { return of(set).elements; }
};
template <std::size_t Type>
inline constexpr match::set_functions functions_of_type{
    match::set_kind::other,
    set_types[Type].value,
    set_types[Type].bits,
    set_types[Type].value == match::value_kind::ipv6 ? nullptr : &table_set_access::contains,
    set_types[Type].value == match::value_kind::ipv6 ? &table_set_access::contains_ipv6 : nullptr,
    &table_set_access::name,
    &table_set_access::capacity,
    nullptr};
inline constexpr const match::set_functions* set_functions_of_types[] = {&functions_of_type<0>, &functions_of_type<1>,
                                                                         &functions_of_type<2>, &functions_of_type<3>,
                                                                         &functions_of_type<4>, &functions_of_type<5>};

// Sorts by the first value, in place: a heap.
inline void sort_ranges(table_range* all, std::size_t n) noexcept {
  const auto sink = [all](std::size_t at, std::size_t size) {
    const table_range r = all[at];
    for (std::size_t below = 2 * at + 1; below < size; below = 2 * at + 1) {
      if (below + 1 < size && match::key_less(all[below].first, all[below + 1].first)) ++below;
      if (!match::key_less(r.first, all[below].first)) break;
      all[at] = all[below];
      at = below;
    }
    all[at] = r;
  };
  for (std::size_t i = n / 2; i-- != 0;) sink(i, n);
  for (std::size_t end = n; end > 1;) {
    --end;
    const table_range top = all[0];
    all[0] = all[end];
    all[end] = top;
    sink(0, end);
  }
}

}  // namespace runnel::detail

#endif
