// SPDX-License-Identifier: MIT
// The sets and maps of a rule table. What has single values is a hash table, to which packets may add; what has ranges
// and prefixes lies in rising order, with an index of where to begin.
//
// Both cost the same however many elements there are: the index has more places than there are elements, so that one
// or two are left to look at when they are spread over the addresses. Where very many lie side by side and others far
// away, what is left is searched by halves.
//
// Times are counted from the first packet that the table has seen.
#ifndef RUNNEL_HOOK_TABLE_SET_HPP
#define RUNNEL_HOOK_TABLE_SET_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint8_t, uint32_t, uint64_t

#include <runnel/config.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/hash_set.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

inline constexpr std::size_t name_room = 32;

// The packet that is looked at: when it came, and its length.
struct table_clock {
  std::int64_t now = 0;  // nanoseconds after the first packet
  std::uint64_t length = 0;
};

// From the first to the last value; of a single one both are the same. Numbers are in the lower half, as in
// match::set_element.
struct table_element {
  ipv6_address first{};
  ipv6_address last{};
};
// Connections that are counted together, by their places among all that are: see table_counts.hpp.
struct counted_list {
  std::uint32_t first = 0, last = 0, count = 0;
  std::uint32_t looked_at = 0;  // the last time when they were as many as may be
};
// What an element has beside its values.
struct element_state {
  static constexpr std::int64_t forever = INT64_MAX, nobody = INT64_MIN;
  std::int64_t expires = forever;  // `nobody` of one that is free
  std::int64_t timeout = 0;        // nanoseconds; 0: none
  rule_counter hits{};
  std::int64_t full_at = 0;  // of a limit: when the bucket is full again
  counted_list connections{};
};
// All of an element: what a set has in three arrays, so that what is asked most lies close together.
struct whole_element {
  table_element values{};
  element_state state{};
  statement then{};
};
// A place in the hash table: of which element, plus one. The tag is the value where it has 32 bits or less, else a part
// of its hash. In an index only the element counts.
struct table_slot {
  std::uint32_t tag = 0;
  std::uint32_t element = 0;
};

// What the elements of a map lead to.
enum class map_data : std::uint8_t { none, verdict, mark, address4, address6, address4_and_port, address6_and_port };
[[nodiscard]] constexpr bool is_translation(map_data d) noexcept { return d >= map_data::address4; }
[[nodiscard]] constexpr bool has_port(map_data d) noexcept { return d >= map_data::address4_and_port; }
[[nodiscard]] constexpr bool is_v6(map_data d) noexcept {
  return d == map_data::address6 || d == map_data::address6_and_port;
}
[[nodiscard]] constexpr const char* name(map_data d) noexcept {
  switch (d) {
    case map_data::none: break;
    case map_data::verdict: return "verdict";
    case map_data::mark: return "mark";
    case map_data::address4: return "ipv4_addr";
    case map_data::address6: return "ipv6_addr";
    case map_data::address4_and_port: return "ipv4_addr . inet_service";
    case map_data::address6_and_port: return "ipv6_addr . inet_service";
  }
  return "nothing";
}

struct table_set {
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  char name[name_room] = {};  // empty: it stands in a rule
  std::uint8_t table = 0;
  std::uint8_t type = 0;  // its place in set_types; nothing without a name
  map_data data = map_data::none;
  bool intervals = false;
  bool dynamic = false;                              // rules add to it
  bool timed = false;                                // elements may end
  bool counted = false;                              // elements count
  bool counts_connections = false, deletes = false;  // the second: rules delete elements
  match::operand_description operand{};              // how its values are written
  std::int64_t timeout = 0;                          // of elements that do not say
  std::uint32_t size = 0;                            // how many it may have at most; 0: as many as it has
  std::uint32_t elements = 0;                        // how many were ever used
  std::uint32_t free = none;                         // those of them that are free again; each knows the next one
  std::uint32_t hand = 0;                            // where to look for elements that are over
  std::uint32_t mask = 0;                            // slots, less one
  unsigned shift = 0;                                // of the index: how many values share a place
  std::uint64_t seed = 0;
  table_element* element = nullptr;
  element_state* state = nullptr;
  statement* then = nullptr;  // what the elements of a map lead to
  table_slot* slot = nullptr;
  const table_clock* clock = nullptr;

  [[nodiscard]] whole_element get(std::size_t at) const noexcept { return {element[at], state[at], then[at]}; }
  void put(std::size_t at, const whole_element& e) const noexcept {
    element[at] = e.values;
    state[at] = e.state;
    then[at] = e.then;
  }
  // How many slots `n` elements need: a third of them is used at most, so that nearly all are found in the first one.
  // The index has one more.
  [[nodiscard]] static constexpr std::size_t slots_for(std::size_t n) noexcept {
    return hash_set<std::uint32_t>::slots_for(2 * n);
  }
  [[nodiscard]] bool is_over(std::uint32_t at) const noexcept { return state[at].expires <= clock->now; }

  // The element with this key, or `none`.
  template <class Key>
  [[nodiscard]] RUNNEL_INLINE std::uint32_t find(const Key& k) const noexcept {
    const std::uint32_t at = intervals ? find_interval(match::detail::wide(k)) : find_exact(k);
    return at != none && timed && is_over(at) ? none : at;
  }
  // The same, and it is counted.
  template <class Key>
  [[nodiscard]] RUNNEL_INLINE std::uint32_t hit(const Key& k) const noexcept {
    const std::uint32_t at = find(k);
    if (counted && at != none) count(at);
    return at;
  }
  void count(std::uint32_t at) const noexcept {
    ++state[at].hits.packets;
    state[at].hits.bytes += clock->length;
  }

  template <class Key>
  [[nodiscard]] RUNNEL_INLINE std::uint32_t find_exact(const Key& k) const noexcept {
    const std::uint64_t hash = match::detail::hash_key(k, seed);
    const std::uint32_t tag = tag_of(k, hash);
    if (operand.bits <= 32 && match::detail::wide(k).low() >> 32 != 0) return none;  // asked with a longer field
    for (std::size_t i = home(hash);; i = (i + 1) & mask) {
      const table_slot s = slot[i];
      if (s.element == 0) return none;
      if (s.tag == tag && (operand.bits <= 32 || element[s.element - 1].first == match::detail::wide(k)))
        return s.element - 1;
    }
  }
  [[nodiscard]] std::uint32_t find_interval(const ipv6_address& k) const noexcept {
    if (elements == 0 || match::key_less(k, element[0].first)) return none;
    const ipv6_address place = place_of(k);
    if (place.high() != 0 || place.low() > mask) return none;
    // The one that is wanted, if there is one, is the first one whose last value is not below `k`.
    const auto at = static_cast<std::uint32_t>(place.low());
    std::uint32_t begin = slot[at].element, end = slot[at + 1].element + 1;
    while (begin < end) {
      const std::uint32_t middle = begin + (end - begin) / 2;
      if (match::key_less(element[middle].last, k)) begin = middle + 1;
      else end = middle;
    }
    return begin < elements && !match::key_less(k, element[begin].first) ? begin : none;
  }

  // Makes the index of elements that rise and do not overlap, of `slots` places and one.
  void make_index(std::size_t slots) noexcept {
    mask = static_cast<std::uint32_t>(slots - 1);
    shift = 0;
    if (elements == 0) return;
    while (place_of(element[elements - 1].last).high() != 0 || place_of(element[elements - 1].last).low() > mask)
      ++shift;
    std::uint32_t at = 0;
    for (std::size_t i = 0; i <= slots; ++i) {
      while (at + 1 < elements && place_of(element[at].last).low() < i) ++at;
      slot[i].element = at;
    }
  }
  // An empty hash table.
  void make_table(std::size_t slots) noexcept {
    mask = static_cast<std::uint32_t>(slots - 1);
    for (std::size_t i = 0; i < slots; ++i) slot[i] = {};
  }
  // Puts an element, whose key is not there yet, into the table.
  void link(std::uint32_t at) noexcept {
    const ipv6_address k = element[at].first;
    const std::uint64_t hash = hash_of(k);
    std::size_t i = home(hash);
    while (slot[i].element != 0) i = (i + 1) & mask;
    slot[i] = {tag_of(k, hash), at + 1};
  }

  // The element with this key, whether it is over or not; for values.
  [[nodiscard]] std::uint32_t find_any(const ipv6_address& k) const noexcept {
    return is_wide() ? find_exact(k) : find_exact(k.low());
  }

  // ---- what packets change

  // The element with this key; a new one where there is none yet. `none` when the set is full. `is_new` says that it
  // begins with nothing.
  std::uint32_t find_or_add(const ipv6_address& k, bool& is_new) noexcept {
    std::uint32_t at = find_any(k);
    is_new = at == none || (timed && is_over(at));
    if (at == none) {
      if (timed) sweep([this](std::uint32_t one) { return is_over(one); });
      if (free != none) {
        at = free;
        free = static_cast<std::uint32_t>(element[at].last.low());
      } else if (elements < size) {
        at = elements++;
      } else {
        return none;
      }
      element[at] = {k, k};
      link(at);
    }
    if (is_new) state[at] = {};
    return at;
  }
  void erase(const ipv6_address& k) noexcept {
    const std::uint32_t at = find_any(k);
    if (at != none) unlink(at);
  }
  // Frees elements of which `ended(element)` holds: a few at a time, as often as one is added.
  template <class Ended>
  void sweep(Ended ended) noexcept {
    for (unsigned i = 0; i < 8 && i < elements; ++i) {
      hand = hand + 1 < elements ? hand + 1 : 0;
      if (state[hand].expires != element_state::nobody && ended(hand)) unlink(hand);
    }
  }

 private:
  [[nodiscard]] std::size_t home(std::uint64_t hash) const noexcept { return static_cast<std::size_t>(hash) & mask; }
  [[nodiscard]] bool is_wide() const noexcept { return operand.value == match::value_kind::ipv6; }
  [[nodiscard]] std::uint64_t hash_of(const ipv6_address& k) const noexcept {
    return is_wide() ? match::detail::hash_key(k, seed) : match::detail::hash_key(k.low(), seed);
  }
  [[nodiscard]] std::uint32_t tag_of(std::uint64_t k, std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>(operand.bits <= 32 ? k : hash >> 32);
  }
  [[nodiscard]] std::uint32_t tag_of(const ipv6_address& k, std::uint64_t hash) const noexcept {
    return tag_of(k.low(), hash);
  }
  // How far a key is from the first one, in places of the index.
  [[nodiscard]] ipv6_address place_of(const ipv6_address& k) const noexcept {
    const ipv6_address& base = element[0].first;
    const std::uint64_t low = k.low() - base.low();
    const std::uint64_t high = k.high() - base.high() - (k.low() < base.low() ? 1u : 0u);
    if (shift == 0) return {high, low};
    if (shift >= 64) return {0, shift == 128 ? 0 : high >> (shift - 64)};
    return {high >> shift, low >> shift | high << (64 - shift)};
  }
  void unlink(std::uint32_t at) noexcept {
    std::size_t hole = home(hash_of(element[at].first));
    while (slot[hole].element != at + 1) hole = (hole + 1) & mask;
    for (std::size_t i = (hole + 1) & mask; slot[i].element != 0; i = (i + 1) & mask) {
      const std::size_t own = home(hash_of(element[slot[i].element - 1].first));
      // One may move back to the hole unless its own place lies behind the hole.
      if (((i - own) & mask) < ((i - hole) & mask)) continue;
      slot[hole] = slot[i];
      hole = i;
    }
    slot[hole] = {};
    state[at].expires = element_state::nobody;
    element[at].last = {0, free};
    free = at;
  }
};

// A type of elements as nft calls it.
struct set_type {
  const char* name;
  match::value_kind value;
  std::uint8_t bits;
};
inline constexpr set_type set_types[] = {
    {"ipv4_addr", match::value_kind::ipv4, 32},    {"ipv6_addr", match::value_kind::ipv6, 128},
    {"ether_addr", match::value_kind::mac, 48},    {"inet_service", match::value_kind::number, 16},
    {"inet_proto", match::value_kind::number, 8},  {"mark", match::value_kind::number, 32},
    {"ct_state", match::value_kind::number, 3},    {"icmp_type", match::value_kind::number, 8},
    {"icmpv6_type", match::value_kind::number, 8}, {"dscp", match::value_kind::number, 6},
    {"ether_type", match::value_kind::number, 16}};

struct table_set_access {
  static const table_set& of(const void* set) noexcept { return *static_cast<const table_set*>(set); }
  static bool contains(const void* set, std::uint64_t k) noexcept { return of(set).hit(k) != table_set::none; }
  static bool contains_ipv6(const void* set, const ipv6_address& k) noexcept {
    return of(set).hit(k) != table_set::none;
  }
  // The same for `!=`: the rule goes on with what is not there, so nothing has met an element.
  static bool finds(const void* set, std::uint64_t k) noexcept { return of(set).find(k) != table_set::none; }
  static bool finds_ipv6(const void* set, const ipv6_address& k) noexcept { return of(set).find(k) != table_set::none; }
  static const char* name(const void* set) noexcept { return of(set).name; }
  static std::size_t capacity(const void* set) noexcept { return of(set).elements; }
};
// What conditions ask such a set with. One for each kind of value: the bits of numbers are not asked for.
template <match::value_kind Value, bool Counts>
inline constexpr match::set_functions table_set_functions{match::set_kind::other,
                                                          Value,
                                                          Value == match::value_kind::ipv6 ? 128 : 64,
                                                          Value == match::value_kind::ipv6 ? nullptr
                                                          : Counts                         ? &table_set_access::contains
                                                                                           : &table_set_access::finds,
                                                          Value != match::value_kind::ipv6 ? nullptr
                                                          : Counts ? &table_set_access::contains_ipv6
                                                                   : &table_set_access::finds_ipv6,
                                                          &table_set_access::name,
                                                          &table_set_access::capacity,
                                                          nullptr};
template <bool Counts = true>
[[nodiscard]] constexpr const match::set_functions* functions_of(match::value_kind v) noexcept {
  switch (v) {
    case match::value_kind::ipv4: return &table_set_functions<match::value_kind::ipv4, Counts>;
    case match::value_kind::ipv6: return &table_set_functions<match::value_kind::ipv6, Counts>;
    case match::value_kind::mac: return &table_set_functions<match::value_kind::mac, Counts>;
    case match::value_kind::time: return &table_set_functions<match::value_kind::time, Counts>;
    case match::value_kind::number: break;
  }
  return &table_set_functions<match::value_kind::number, Counts>;
}

}  // namespace runnel::detail

#endif
