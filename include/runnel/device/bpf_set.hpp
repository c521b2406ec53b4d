// SPDX-License-Identifier: MIT
// Sets in the kernel: makes a BPF map hold what a `hash_set` or `prefix_set` holds, also while programs ask it.
//
// A map of a set knows only whether a key is there. Its values are for us: while a map is brought up to date, 0 marks
// the keys that were there before. So a key that stays is there all the time, and each change is atomic; between the
// first and the last one programs see some of them.
#ifndef RUNNEL_DEVICE_BPF_SET_HPP
#define RUNNEL_DEVICE_BPF_SET_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint8_t, uint32_t, uint64_t
#include <type_traits>  // is_integral_v, is_same_v

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/xdp/bpf_program.hpp>

#if defined(__linux__)

#include <cerrno>   // ENOENT, E2BIG, ENOSPC
#include <cstring>  // memcpy

namespace runnel::detail {

/// The key of an element of a set, as programs look it up: a number of 64 bits in the order of the host, an IPv6
/// address as it is, a prefix as a length of 32 bits and the address.
struct set_key {
  alignas(8) unsigned char bytes[20];

  set_key() noexcept : bytes{} {}
  set_key(const bpf::map_config& config, const match::set_element& e) noexcept : bytes{} {
    const bool is_trie = config.kind == bpf::map_kind::lpm_trie;
    const std::uint32_t length = e.length;
    if (is_trie) std::memcpy(bytes, &length, sizeof length);
    auto* const at = reinterpret_cast<std::byte*>(bytes) + (is_trie ? 4 : 0);
    const std::uint32_t size = config.key_bytes - (is_trie ? 4 : 0);
    const std::uint64_t low = e.first.low();
    if (size == 16) e.first.store(at);
    else if (is_trie) store_be32(at, static_cast<std::uint32_t>(low));
    else std::memcpy(at, &low, sizeof low);
  }
};

/// Calls `f(key)` for each key of a map; `f` may remove that key. Stops, and returns it, at an errno that `f` returns.
template <class Map, class F>
int for_each_key(const Map& m, F f) noexcept {
  set_key key, next;
  int number = m.next_key(nullptr, key.bytes);
  while (number == 0) {
    number = m.next_key(key.bytes, next.bytes);
    if (const int failed = f(key); failed != 0) return failed;
    key = next;
  }
  return number == ENOENT ? 0 : number;
}

/// Makes a map hold what its set holds. 0 or the errno. Three system calls for each element.
template <class Map>
int refresh_set(const Map& m, const bpf::map_description& what) noexcept {
  const std::uint8_t before = 0, now = 1;
  struct job {
    const Map& m;
    const bpf::map_description& what;
    int failed;
  };
  const auto add_all = [&] {
    job j{m, what, 0};
    what.set.functions->for_each(what.set.set, &j, [](void* context, const match::set_element& e) {
      job& to = *static_cast<job*>(context);
      const std::uint8_t value = 1;
      const set_key key(to.what.config, e);
      if (to.failed == 0) to.failed = to.m.update(key.bytes, &value);
    });
    return j.failed;
  };
  int failed = for_each_key(m, [&](const set_key& key) { return m.update(key.bytes, &before); });
  if (failed != 0) return failed;
  const int full = add_all();
  if (full != 0 && full != E2BIG && full != ENOSPC) return full;
  failed = for_each_key(m, [&](const set_key& key) {
    std::uint8_t value = now;
    const int number = m.look_up(key.bytes, &value);
    return number != 0 || value == now ? number : m.erase(key.bytes);
  });
  // Where there was no room, there is now.
  return failed != 0 || full == 0 ? failed : add_all();
}

/// Adds a key to a map, or removes it. 0 or the errno; to remove what is not there is no error. @{
template <class Map>
int insert_into_set(const Map& m, const bpf::map_description& what, const match::set_element& e) noexcept {
  const std::uint8_t value = 1;
  return m.update(set_key(what.config, e).bytes, &value);
}
template <class Map>
int erase_from_set(const Map& m, const bpf::map_description& what, const match::set_element& e) noexcept {
  const int number = m.erase(set_key(what.config, e).bytes);
  return number == ENOENT ? 0 : number;
}
/// @}

/// A number becomes one of the set's type, which has it (RUNNEL_ASSERT). Everything else is what it is.
template <class Set, class Value>
[[nodiscard]] constexpr auto value_for(const Value& v) noexcept {
  if constexpr (std::is_integral_v<Value>) {
    const auto same = static_cast<typename Set::value_type>(v);
    RUNNEL_ASSERT(match::to_key(same) == match::to_key(v));
    return same;
  } else {
    return v;
  }
}
/// What goes into a set, as an element of it: a value of its type, or a prefix of its family, which is the caller's
/// promise.
template <class Set, class Value>
[[nodiscard]] match::set_element element_of(const Value& v) noexcept {
  if constexpr (std::is_same_v<Value, prefix>) {
    return element_of<Set>(v.template as<typename Set::value_type>());
  } else if constexpr (requires { v.length(); }) {
    const ipv6_address key = match::detail::wide(match::to_key(v.address()));
    return {key, key, v.length()};
  } else {
    using stored = typename Set::value_type;
    const ipv6_address key = match::detail::wide(match::to_key(stored{value_for<Set>(v)}));
    return {key, key, match::detail::bits_of_value<stored>};
  }
}

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
