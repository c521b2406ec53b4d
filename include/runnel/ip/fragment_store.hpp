// SPDX-License-Identifier: MIT
// What reassembly and virtual reassembly have in common: which fragments of which datagrams have come, within limits of
// memory, number and time, and which do not go together. Nothing here is for users.
//
//     buckets -> datagram -> fragment -> fragment -> fragment 0       each with its packet, or without
//                datagram (refused: nothing is held, later pieces are dropped until its time is over)
//
// Fragments of a datagram are in a list by their place, the highest first; most come in order, or in reverse, and both
// find their place by what the datagram itself knows. A timeout counts from the fragment that came first and is the
// same for all datagrams of a family, so that two lists by age take the place of timers.
#ifndef RUNNEL_IP_FRAGMENT_STORE_HPP
#define RUNNEL_IP_FRAGMENT_STORE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/base/slab.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fragment_config.hpp>
#include <runnel/ip/fragment_place.hpp>
#include <runnel/packet/packet.hpp>

namespace runnel::detail {

class fragment_store {
 public:
  /// How memory must be aligned.
  static constexpr std::size_t alignment = 8;

  /// How much memory a table needs, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const fragment_config& c) noexcept {
    return (fragments_begin(c) + slab<fragment>::bytes_needed(c.fragments)).value();
  }
  fragment_store(mutable_bytes memory, const fragment_config& c) noexcept
      : buckets_(static_cast<std::uint32_t*>(static_cast<void*>(memory.data()))),
        mask_(buckets_of(c) - 1),
        datagrams_({memory.data() + datagrams_begin(c).value(), slab<datagram>::bytes_needed(c.datagrams)},
                   c.datagrams),
        fragments_({memory.data() + fragments_begin(c).value(), slab<fragment>::bytes_needed(c.fragments)},
                   c.fragments),
        config_(c) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(c) && reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    RUNNEL_ASSERT(c.fragments >= 1 && c.datagrams >= 1 && c.fragments <= 1u << 30 && c.datagrams <= 1u << 30);
    for (std::uint32_t i = 0; i <= mask_; ++i) buckets_[i] = none;
  }
  fragment_store(const fragment_store&) = delete;
  fragment_store& operator=(const fragment_store&) = delete;

  /// Gives up the datagrams whose time has run out by `now`, at most `limit`, and says how many. The table does so by
  /// itself too, for some.
  [[gnu::noinline]] std::size_t expire(instant now, std::size_t limit = ~std::size_t{0}) noexcept {
    std::size_t n = 0;
    for (ages& family : ages_)
      for (; n < limit && family.oldest != none && due(datagrams_[family.oldest]) <= now; ++n)
        time_out(family.oldest, now);
    soonest_ = next_due();
    return n;
  }
  /// The time before which `expire` has nothing to do; `never` when nothing is held.
  [[nodiscard]] instant next_due() noexcept {
    instant first = never;
    for (const ages& family : ages_)
      if (family.oldest != none && due(datagrams_[family.oldest]) < first) first = due(datagrams_[family.oldest]);
    return first;
  }
  /// Gives up all datagrams, without a word to anybody.
  void clear() noexcept {
    for (const ages& family : ages_)
      while (family.oldest != none) erase(family.oldest);
  }

  /// Datagrams that are not whole yet, refused ones included.
  [[nodiscard]] std::uint32_t size() const noexcept { return datagrams_.size(); }
  /// Fragments of these that have come, each buffer counted.
  [[nodiscard]] std::uint32_t fragments() const noexcept { return held_; }
  /// How large it is, and how long it waits.
  [[nodiscard]] const fragment_config& config() const noexcept { return config_; }
  /// What was counted.
  [[nodiscard]] fragment_statistics& statistics() noexcept { return statistics_; }
  /// Whether everything in it fits together: for tests. O(fragments).
  [[nodiscard]] bool check() noexcept;

 protected:
  static constexpr std::uint32_t none = 0xffff'ffff;
  using timeout_function = void (*)(void* context, packet&& first, instant now);

  struct fragment {
    packet held;  // empty where it went on at once
    std::uint32_t lower, higher;
    std::uint16_t begin, end;
  };
  struct datagram {
    fragment_key key;
    instant since;
    std::uint32_t hash = 0;
    std::uint32_t in_bucket = none;  // the next one
    std::uint32_t older = none, newer = none;
    std::uint32_t highest = none, lowest = none;
    std::uint16_t first_byte = 0, last_byte = 0;  // where the lowest begins and the highest ends
    std::uint16_t total = 0;                      // bytes of the payload, once the last fragment has come
    std::uint16_t got = 0;
    pool* home = nullptr;  // where the packets of all fragments are from
    std::uint16_t buffers = 0;
    std::uint8_t ecn : 4 = 0;  // a bit for each value that was seen
    std::uint8_t refused : 1 = 0;
    std::uint8_t passing : 1 = 0;  // the first fragment has gone on
    std::uint8_t away : 1 = 0;     // `home` is another thread's
    // What later fragments are told: how connection tracking finds them.
    std::uint8_t word = 0;
    std::uint32_t ports = 0;
  };
  static_assert(sizeof(datagram) <= 96);
  // Where a fragment belongs among those that are there; one that begins at the same place is `higher`.
  struct neighbours {
    std::uint32_t lower = none, higher = none;
  };

  [[nodiscard]] RUNNEL_INLINE std::uint32_t find(const fragment_key& k, std::uint32_t hash) const noexcept {
    std::uint32_t d = buckets_[hash & mask_];
    while (d != none && !(datagrams_[d].hash == hash && datagrams_[d].key == k)) d = datagrams_[d].in_bucket;
    return d;
  }
  [[nodiscard]] std::uint32_t find(const fragment_key& k) const noexcept {
    return find(k, static_cast<std::uint32_t>(k.hash(config_.seed)));
  }
  // The datagram of a fragment, a new one when there is none.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t datagram_of(const fragment_key& k, instant now) noexcept {
    if (soonest_ <= now) [[unlikely]]
      expire(now, expired_at_once);
    const auto hash = static_cast<std::uint32_t>(k.hash(config_.seed));
    std::uint32_t d = find(k, hash);
    if (d != none && due(datagrams_[d]) <= now) [[unlikely]] {
      time_out(d, now);
      d = none;
    }
    return d != none ? d : add(k, hash, now);
  }
  // Whether a fragment goes together with the others of its datagram, and where it belongs. The datagram is refused
  // when it does not.
  [[nodiscard]] RUNNEL_INLINE drop_reason find_place(std::uint32_t d, const fragment_place& f,
                                                     neighbours& at) noexcept {
    datagram& g = datagrams_[d];
    if (g.refused) [[unlikely]] {
      ++statistics_.late;
      return drop_reason::ip_fragment;
    }
    if (g.highest == none || f.begin >= g.last_byte) [[likely]] {
      at = {g.highest, none};
    } else if (f.end <= g.first_byte) {
      at = {none, g.lowest};
    } else {
      const found_place found = find_among(d, f.begin, f.end, f.more);
      if (found.why != drop_reason::none) return found.why;
      at = found.at;
    }
    const bool contradicts = f.more ? g.total != 0 && f.end >= g.total : g.total != 0 || at.higher != none;
    if (contradicts || !ecn_fits(g.ecn | 1u << f.ecn)) return refuse(d, drop_reason::ip_fragment);
    return drop_reason::none;
  }
  // Makes room for a fragment in so many buffers. The datagram is refused when that is too much for one; else others
  // have what is too much.
  [[nodiscard]] RUNNEL_INLINE drop_reason make_room(std::uint32_t d, std::uint32_t buffers) noexcept {
    const std::uint32_t limit = config_.fragments_per_datagram, wanted = datagrams_[d].buffers + buffers;
    if (wanted > (limit < config_.fragments ? limit : config_.fragments)) return refuse(d, drop_reason::fragments_full);
    if (held_ + buffers > config_.fragments) [[unlikely]]
      make_room_for(d, buffers);
    return drop_reason::none;
  }
  // Writes down that a fragment has come, of so many buffers, for which there is room; `p` is empty where it goes on.
  RUNNEL_INLINE void link(std::uint32_t d, const fragment_place& f, const neighbours& at, std::uint32_t buffers,
                          packet&& p) noexcept {
    datagram& g = datagrams_[d];
    const auto begin = static_cast<std::uint16_t>(f.begin), end = static_cast<std::uint16_t>(f.end);
    const std::uint32_t n = fragments_.emplace(static_cast<packet&&>(p), at.lower, at.higher, begin, end);
    RUNNEL_ASSERT(n != none);
    (at.lower != none ? fragments_[at.lower].higher : g.lowest) = n;
    (at.higher != none ? fragments_[at.higher].lower : g.highest) = n;
    if (at.lower == none) g.first_byte = begin;
    if (at.higher == none) g.last_byte = end;
    g.got = static_cast<std::uint16_t>(g.got + (end - begin));
    if (!f.more) g.total = end;
    g.ecn = static_cast<std::uint8_t>((g.ecn | 1u << f.ecn) & 15u);
    g.buffers = static_cast<std::uint16_t>(g.buffers + buffers);
    held_ += buffers;
  }
  [[nodiscard]] static std::uint32_t buffers_of(const packet& p) noexcept {
    if (!p.is_chained()) [[likely]]
      return 1;
    std::uint32_t n = 0;
    p.for_each_fragment([&n](bytes) { ++n; });
    return n;
  }
  [[gnu::noinline]] drop_reason refuse(std::uint32_t d, drop_reason why) noexcept {
    ++statistics_.refused;
    release(datagrams_[d]);
    datagrams_[d].refused = 1;
    return why;
  }
  // Forgets a datagram that came into being for a fragment which is lost.
  void forget_if_empty(std::uint32_t d) noexcept {
    if (datagrams_[d].highest == none && !datagrams_[d].refused) erase(d);
  }
  void erase(std::uint32_t d) noexcept {
    datagram& g = datagrams_[d];
    release(g);
    unlink(d);
  }
  // Forgets a datagram that holds nothing any more.
  void unlink(std::uint32_t d) noexcept {
    datagram& g = datagrams_[d];
    std::uint32_t* at = &buckets_[g.hash & mask_];
    while (*at != d) at = &datagrams_[*at].in_bucket;
    *at = g.in_bucket;
    ages& family = ages_of(g);
    (g.older != none ? datagrams_[g.older].newer : family.oldest) = g.newer;
    (g.newer != none ? datagrams_[g.newer].older : family.newest) = g.older;
    datagrams_.erase(d);
  }

  std::uint32_t* buckets_;
  std::uint32_t mask_;
  slab<datagram> datagrams_;
  slab<fragment> fragments_;
  fragment_config config_;
  fragment_statistics statistics_;
  timeout_function timeout_ = nullptr;
  void* timeout_context_ = nullptr;
  std::uint32_t held_ = 0;

 private:
  static constexpr std::size_t expired_at_once = 8;
  struct ages {
    std::uint32_t oldest = none, newest = none;
  };

  [[nodiscard]] static constexpr std::uint32_t buckets_of(const fragment_config& c) noexcept {
    return static_cast<std::uint32_t>(ceil_power_of_two(c.datagrams));
  }
  [[nodiscard]] static constexpr byte_count datagrams_begin(const fragment_config& c) noexcept {
    return byte_count::of<std::uint32_t>(ceil_power_of_two(c.datagrams)).aligned(alignment);
  }
  [[nodiscard]] static constexpr byte_count fragments_begin(const fragment_config& c) noexcept {
    return (datagrams_begin(c) + slab<datagram>::bytes_needed(c.datagrams)).aligned(alignment);
  }
  [[nodiscard]] instant due(const datagram& g) const noexcept {
    return g.since + (g.key.is_ipv6() ? config_.ipv6_timeout : config_.ipv4_timeout);
  }
  [[nodiscard]] ages& ages_of(const datagram& g) noexcept { return ages_[g.key.is_ipv6() ? 1 : 0]; }
  [[nodiscard]] std::uint32_t oldest_but(std::uint32_t d) noexcept {
    std::uint32_t found = none;
    for (const ages& family : ages_) {
      const std::uint32_t n = family.oldest != d || d == none ? family.oldest : datagrams_[d].newer;
      if (n != none && (found == none || datagrams_[n].since < datagrams_[found].since)) found = n;
    }
    return found;
  }
  struct found_place {
    neighbours at;
    drop_reason why;
  };
  // Among those that are there. By value, so that what is asked for stays in registers.
  [[nodiscard, gnu::noinline]] found_place find_among(std::uint32_t d, std::uint32_t begin, std::uint32_t end,
                                                      bool more) noexcept {
    const datagram& g = datagrams_[d];
    neighbours at{g.highest, none};
    while (at.lower != none && fragments_[at.lower].begin >= begin) at = {fragments_[at.lower].lower, at.lower};
    if (at.higher != none && fragments_[at.higher].begin == begin && fragments_[at.higher].end == end &&
        more == (end != g.total)) {
      ++statistics_.duplicates;
      return {at, drop_reason::fragment_duplicate};
    }
    const bool overlaps = (at.lower != none && fragments_[at.lower].end > begin) ||
                          (at.higher != none && fragments_[at.higher].begin < end);
    return {at, overlaps ? refuse(d, drop_reason::ip_fragment) : drop_reason::none};
  }
  [[gnu::noinline]] void make_room_for(std::uint32_t d, std::uint32_t buffers) noexcept {
    while (held_ + buffers > config_.fragments) give_up(oldest_but(d));
  }
  [[nodiscard]] RUNNEL_INLINE std::uint32_t add(const fragment_key& k, std::uint32_t hash, instant now) noexcept {
    if (datagrams_.full()) [[unlikely]]
      give_up(oldest_but(none));
    std::uint32_t& bucket = buckets_[hash & mask_];
    const std::uint32_t d = datagrams_.emplace(k, now, hash, bucket);
    bucket = d;
    datagram& g = datagrams_[d];
    ages& family = ages_of(g);
    g.older = family.newest;
    (family.newest != none ? datagrams_[family.newest].newer : family.oldest) = d;
    family.newest = d;
    if (due(g) < soonest_) soonest_ = due(g);
    return d;
  }
  // Gives back all that it holds.
  void release(datagram& g) noexcept {
    for (std::uint32_t n = g.highest; n != none;) {
      const std::uint32_t lower = fragments_[n].lower;
      if (fragments_[n].held) ++statistics_.lost;
      fragments_.erase(n);
      n = lower;
    }
    held_ -= g.buffers;
    g.buffers = 0;
    g.highest = g.lowest = none;
  }
  [[gnu::noinline]] void give_up(std::uint32_t d) noexcept {
    if (!datagrams_[d].refused) ++statistics_.given_up;
    erase(d);
  }
  [[gnu::noinline]] void time_out(std::uint32_t d, instant now) noexcept {
    const datagram& g = datagrams_[d];
    packet first;
    if (!g.refused) {
      ++statistics_.timed_out;
      if (timeout_ != nullptr && g.lowest != none && g.first_byte == 0)
        first = static_cast<packet&&>(fragments_[g.lowest].held);
    }
    erase(d);
    if (first) timeout_(timeout_context_, static_cast<packet&&>(first), now);
  }

  ages ages_[2];             // IPv4, IPv6
  instant soonest_ = never;  // nothing is due before
};

inline bool fragment_store::check() noexcept {
  std::uint32_t datagrams = 0, fragments = 0, held = 0;
  for (const ages& family : ages_) {
    std::uint32_t older = none;
    for (std::uint32_t d = family.oldest; d != none; older = d, d = datagrams_[d].newer) {
      const datagram& g = datagrams_[d];
      if (++datagrams > datagrams_.size() || g.older != older || &ages_of(g) != &family || due(g) < soonest_)
        return false;
      if (find(g.key) != d) return false;
      if (older != none && datagrams_[older].since > g.since) return false;
      if (g.refused != (g.highest == none)) return false;
      std::uint32_t above = none, got = 0, buffers = 0;
      bool waits = false;
      for (std::uint32_t n = g.highest; n != none; above = n, n = fragments_[n].lower) {
        const fragment& f = fragments_[n];
        const std::uint32_t size = std::uint32_t{f.end} - f.begin;
        if (++fragments > fragments_.size() || f.higher != above || f.begin >= f.end) return false;
        if (above != none ? fragments_[above].begin < f.end : g.last_byte != f.end) return false;
        if (g.total != 0 && f.end > g.total) return false;
        // Without its headers, when it waits for the others; with them, when it waits for the first one.
        if (f.held && f.held.total_length() < size) return false;
        if (!f.held && !g.passing) return false;
        waits = waits || f.held;
        got += size;
        buffers += f.held ? buffers_of(f.held) : 1;
      }
      if (g.lowest != above || g.buffers != buffers || (!g.refused && g.got != got)) return false;
      if (above != none && fragments_[above].begin != g.first_byte) return false;
      // What is whole is gone, unless there are still some to go on.
      if (above != none && g.got == g.total && !(g.passing && waits)) return false;
      held += buffers;
    }
    if (family.newest != older) return false;
  }
  return datagrams == datagrams_.size() && fragments == fragments_.size() && held == held_ && held <= config_.fragments;
}

// A table of either kind in memory of its own, of a size known at compile time.
template <class Table, fragment_config Config>
class static_fragments {
 public:
  // An empty table; `seed` from a random source.
  explicit static_fragments(std::uint64_t seed = Config.seed) noexcept
      : table_({memory_, sizeof memory_}, seeded(seed)) {}
  constexpr operator Table&() & noexcept { return table_; }
  [[nodiscard]] constexpr Table& get() noexcept { return table_; }
  [[nodiscard]] constexpr Table* operator->() noexcept { return &table_; }

 private:
  static constexpr fragment_config seeded(std::uint64_t seed) noexcept {
    fragment_config c = Config;
    c.seed = seed;
    return c;
  }
  static_assert(Config.fragments >= 1 && Config.datagrams >= 1, "runnel: a fragment table has room for one fragment");
  alignas(Table::alignment) std::byte memory_[Table::bytes_needed(Config)];
  Table table_;
};

}  // namespace runnel::detail

#endif
