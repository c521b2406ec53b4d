// SPDX-License-Identifier: MIT
// Reassembly: IPv4 and IPv6 datagrams from their fragments, in memory that the user gives, within limits of memory,
// number and time. RFC 791, RFC 815, RFC 1858, RFC 3128, RFC 5722, RFC 6946, RFC 7112, RFC 8200 §4.5.
//
// Theory of operation. A *fragment* is held as the packet that it came in, without its headers but for fragment 0, in
// a list by its place in the datagram, the highest first; most come in order, or in reverse, and both find their place
// at once. When the last gap is closed the packets are chained from the highest to the lowest, and the headers of
// fragment 0 are rewritten. No byte of the payload is copied, unless it was lent, or is in a slot of another pool.
//
//     buckets -> datagram -> fragment -> fragment -> fragment 0
//                datagram (refused: nothing is held, later pieces are dropped until its time is over)
//
// A datagram is *refused* when two fragments overlap, when one ends behind the last one, when there are two last ones,
// when their ECN bits do not go together, or when there are too many: then nothing of it goes on, whatever comes later
// (RFC 5722; IPv4 alike). An exact duplicate is ignored. At the limit of memory the oldest datagram that is not whole
// yet is given up. A timeout counts from the fragment that came first and is the same for all datagrams of a family, so
// that two lists by age take the place of timers.
//
// What it does not do: answer. Who wants to send time exceeded sets `on_timeout`; the parameter problems of RFC 8200
// §4.5 for lengths that cannot be are not sent.
#ifndef RUNNEL_IP_FRAGMENT_TABLE_HPP
#define RUNNEL_IP_FRAGMENT_TABLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/base/slab.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/fragment_config.hpp>
#include <runnel/ip/fragment_place.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// The incomplete datagrams of one thread. Never grows, never allocates. All times that it is given come from one
/// clock, which does not go back. The pools of the packets that it holds must outlive it, or `clear()` comes before.
///
/// Costs 80 bytes for each datagram and 4 to 8 for finding it, and 24 bytes for each fragment, beside its packet.
class fragment_table {
 public:
  /// Gets fragment 0 of a datagram that did not become whole in time, as it came: for an ICMP time exceeded, code 1
  /// (RFC 1122 §3.3.2, RFC 8200 §4.5). Called only where fragment 0 had come. Must leave the table alone.
  using timeout_function = void (*)(void* context, packet&& first, instant now);
  /// How memory must be aligned.
  static constexpr std::size_t alignment = 8;

  /// How much memory a table needs, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const fragment_config& c) noexcept {
    return fragments_offset(c) + slab<fragment>::bytes_needed(c.fragments);
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned and have `bytes_needed(c)`
  /// bytes, for at least one datagram of one fragment and at most 2^30 of each (asserted).
  fragment_table(mutable_bytes memory, const fragment_config& c) noexcept
      : buckets_(static_cast<std::uint32_t*>(static_cast<void*>(memory.data()))),
        datagrams_({memory.data() + datagrams_offset(c), slab<datagram>::bytes_needed(c.datagrams)}, c.datagrams),
        fragments_({memory.data() + fragments_offset(c), slab<fragment>::bytes_needed(c.fragments)}, c.fragments),
        config_(c) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(c) && reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    RUNNEL_ASSERT(c.fragments >= 1 && c.datagrams >= 1 && c.fragments <= 1u << 30 && c.datagrams <= 1u << 30);
    for (std::uint32_t i = 0; i < buckets_of(c); ++i) buckets_[i] = none;
  }
  fragment_table(const fragment_table&) = delete;
  fragment_table& operator=(const fragment_table&) = delete;

  /// Takes a parsed packet. `pass`: it is no fragment, or `p` is now the whole datagram, with its headers and layers
  /// rewritten, and everything else that is known of fragment 0. `stolen`: the fragment is held. A drop: it goes no
  /// further, and `p` is still the caller's.
  [[nodiscard]] RUNNEL_INLINE verdict reassemble(packet& p, instant now) noexcept {
    if (!p.layers().has(protocol::fragment)) [[likely]]
      return pass;
    return take(p, now);
  }
  /// Gives up the datagrams whose time has run out by `now`, at most `limit`, and says how many. `reassemble` does so
  /// too, for some.
  std::size_t expire(instant now, std::size_t limit = ~std::size_t{0}) noexcept {
    std::size_t n = 0;
    for (ages& family : ages_)
      for (; n < limit && family.oldest != none && due(datagrams_[family.oldest]) <= now; ++n)
        time_out(family.oldest, now);
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
  /// Has `f(context, packet, now)` called for datagrams that time out; null for nobody.
  void on_timeout(timeout_function f, void* context = nullptr) noexcept {
    timeout_ = f;
    timeout_context_ = context;
  }

  /// Datagrams that are not whole yet, refused ones included.
  [[nodiscard]] std::uint32_t size() const noexcept { return datagrams_.size(); }
  /// Fragments that are held: as many slots.
  [[nodiscard]] std::uint32_t fragments() const noexcept { return held_; }
  /// How large it is, and how long it waits.
  [[nodiscard]] const fragment_config& config() const noexcept { return config_; }
  /// What was counted.
  [[nodiscard]] fragment_statistics& statistics() noexcept { return statistics_; }
  /// Whether everything in it fits together: for tests. O(fragments).
  [[nodiscard]] bool check() noexcept;

 private:
  static constexpr std::uint32_t none = 0xffff'ffff;
  static constexpr std::uint32_t unknown = 0xffff'ffff;
  static constexpr std::size_t expired_at_once = 8;

  struct fragment {
    packet held;
    std::uint32_t lower, higher;
    std::uint16_t begin, end;
  };
  struct datagram {
    detail::fragment_key key;
    instant since;
    std::uint32_t in_bucket = none;  // the next one
    std::uint32_t older = none, newer = none;
    std::uint32_t highest = none, lowest = none;
    std::uint32_t total = unknown;  // bytes of the payload, once the last fragment has come
    std::uint32_t got = 0;
    std::uint16_t buffers = 0;
    std::uint8_t ecn = 0;  // a bit for each value that was seen
    bool refused = false;
  };
  static_assert(sizeof(datagram) == 80);
  struct ages {
    std::uint32_t oldest = none, newest = none;
  };
  // Where a fragment belongs among those that are there.
  struct neighbours {
    std::uint32_t lower = none, higher = none;
  };

  [[nodiscard]] static constexpr std::uint32_t buckets_of(const fragment_config& c) noexcept {
    return static_cast<std::uint32_t>(ceil_power_of_two(c.datagrams));
  }
  [[nodiscard]] static constexpr std::size_t datagrams_offset(const fragment_config& c) noexcept {
    return align_up(buckets_of(c) * sizeof(std::uint32_t), alignment);
  }
  [[nodiscard]] static constexpr std::size_t fragments_offset(const fragment_config& c) noexcept {
    return align_up(datagrams_offset(c) + slab<datagram>::bytes_needed(c.datagrams), alignment);
  }

  [[gnu::noinline]] verdict take(packet& p, instant now) noexcept {
    if (!p.layers().has(protocol::parsed)) return pass;
    ++statistics_.fragments;
    detail::fragment_place f;
    drop_reason why = detail::read_fragment(p, config_.by_interface, f);
    if (why != drop_reason::none) {
      ++statistics_.malformed;
      return drop(why);
    }
    if (f.begin == 0 && !f.more) return finish(p, f.end, false);
    expire(now, expired_at_once);
    std::uint32_t d = find(f.key);
    if (d != none && due(datagrams_[d]) <= now) {
      time_out(d, now);
      d = none;
    }
    if (d == none) d = add(f.key, now);
    datagram& g = datagrams_[d];
    const instant came = p.timestamp();
    why = hold(d, f, p);
    if (why != drop_reason::none) {
      if (g.highest == none && !g.refused) erase(d);
      return drop(why);
    }
    if (g.got != g.total) return stolen;
    const std::uint32_t total = g.total;
    const bool congested = detail::ecn_congested(g.ecn);
    p = join(d);
    p.timestamp(came);
    return finish(p, total, congested);
  }
  // A packet with all of its datagram, whose headers speak of a fragment.
  verdict finish(packet& p, std::uint32_t payload, bool congested) noexcept {
    drop_reason why = drop_reason::no_packet;
    if (!p.is_shared() || p.unshare()) why = detail::make_whole(p, payload, congested);
    if (why == drop_reason::none) {
      ++statistics_.reassembled;
      return pass;
    }
    ++(why == drop_reason::no_packet ? statistics_.no_packet : statistics_.malformed);
    return drop(why);
  }

  // Takes the packet over when it fits in.
  drop_reason hold(std::uint32_t d, const detail::fragment_place& f, packet& p) noexcept {
    datagram& g = datagrams_[d];
    if (g.refused) {
      ++statistics_.late;
      return drop_reason::ip_fragment;
    }
    const neighbours at = neighbours_of(g, f.begin, f.end);
    if (at.higher != none && fragments_[at.higher].begin == f.begin && fragments_[at.higher].end == f.end &&
        f.more == (f.end != g.total)) {
      ++statistics_.duplicates;
      return drop_reason::fragment_duplicate;
    }
    const bool overlaps = (at.lower != none && fragments_[at.lower].end > f.begin) ||
                          (at.higher != none && fragments_[at.higher].begin < f.end);
    const bool contradicts = f.more ? f.end >= g.total : g.total != unknown || at.higher != none;
    const unsigned ecn = g.ecn | 1u << f.ecn;
    if (overlaps || contradicts || !detail::ecn_fits(ecn)) return refuse(d, drop_reason::ip_fragment);

    const std::uint32_t buffers = buffers_of(p), limit = config_.fragments_per_datagram;
    const std::uint32_t wanted = g.buffers + buffers;
    if (wanted > (limit < config_.fragments ? limit : config_.fragments)) return refuse(d, drop_reason::fragments_full);
    if (!own(g, f, p)) {
      ++statistics_.no_packet;
      return drop_reason::no_packet;
    }
    // The others have what is too much, for this datagram alone has not.
    while (held_ + buffers > config_.fragments) give_up(oldest_but(d));
    link(g, f, at, p);
    g.ecn = static_cast<std::uint8_t>(ecn);
    g.buffers = static_cast<std::uint16_t>(wanted);
    held_ += buffers;
    return drop_reason::none;
  }
  // The fragments around the place; one that begins there is `higher`.
  [[nodiscard]] neighbours neighbours_of(const datagram& g, std::uint32_t begin, std::uint32_t end) noexcept {
    if (g.lowest != none && fragments_[g.lowest].begin >= end) return {none, g.lowest};
    neighbours at{g.highest, none};
    while (at.lower != none && fragments_[at.lower].begin >= begin) at = {fragments_[at.lower].lower, at.lower};
    return at;
  }
  // Makes the bytes ones that may be kept, and of fragment 0 written to, in the pool of the others.
  [[nodiscard]] bool own(const datagram& g, const detail::fragment_place& f, packet& p) noexcept {
    if (!p.keep()) return false;
    if (g.highest != none && &fragments_[g.highest].held.home() != &p.home()) {
      packet copied = p.copy(fragments_[g.highest].held.home());
      if (!copied) return false;
      p = static_cast<packet&&>(copied);
    }
    if (f.begin == 0) return (!p.is_shared() || p.unshare()) && p.trim(f.header + f.end);
    return p.trim(f.header + f.end - f.begin) && p.pull(f.header);
  }
  void link(datagram& g, const detail::fragment_place& f, const neighbours& at, packet& p) noexcept {
    const std::uint32_t n = fragments_.emplace(static_cast<packet&&>(p), at.lower, at.higher,
                                               static_cast<std::uint16_t>(f.begin), static_cast<std::uint16_t>(f.end));
    RUNNEL_ASSERT(n != none);
    (at.lower != none ? fragments_[at.lower].higher : g.lowest) = n;
    (at.higher != none ? fragments_[at.higher].lower : g.highest) = n;
    g.got += f.end - f.begin;
    if (!f.more) g.total = f.end;
  }
  [[nodiscard]] static std::uint32_t buffers_of(const packet& p) noexcept {
    std::uint32_t n = 0;
    p.for_each_fragment([&n](bytes) { ++n; });
    return n;
  }
  // All of a datagram as one packet; the datagram is gone.
  [[nodiscard]] packet join(std::uint32_t d) noexcept {
    packet whole;
    // From the end: what a packet is chained to need not be walked over again.
    for (std::uint32_t n = datagrams_[d].highest; n != none; n = fragments_[n].lower) {
      packet& p = fragments_[n].held;
      [[maybe_unused]] const bool joined = !whole || p.append(static_cast<packet&&>(whole));
      RUNNEL_ASSERT(joined);
      whole = static_cast<packet&&>(p);
    }
    erase(d);
    return whole;
  }
  drop_reason refuse(std::uint32_t d, drop_reason why) noexcept {
    ++statistics_.refused;
    release(datagrams_[d]);
    datagrams_[d].refused = true;
    return why;
  }
  void give_up(std::uint32_t d) noexcept {
    if (!datagrams_[d].refused) ++statistics_.given_up;
    erase(d);
  }
  void time_out(std::uint32_t d, instant now) noexcept {
    const datagram& g = datagrams_[d];
    packet first;
    if (!g.refused) {
      ++statistics_.timed_out;
      if (timeout_ != nullptr && g.lowest != none && fragments_[g.lowest].begin == 0)
        first = static_cast<packet&&>(fragments_[g.lowest].held);
    }
    erase(d);
    if (first) timeout_(timeout_context_, static_cast<packet&&>(first), now);
  }

  [[nodiscard]] instant due(const datagram& g) const noexcept {
    return g.since + (g.key.is_ipv6() ? config_.ipv6_timeout : config_.ipv4_timeout);
  }
  [[nodiscard]] ages& ages_of(const datagram& g) noexcept { return ages_[g.key.is_ipv6() ? 1 : 0]; }
  [[nodiscard]] std::uint32_t& bucket_of(const detail::fragment_key& k) noexcept {
    return buckets_[k.hash(config_.seed) & (buckets_of(config_) - 1)];
  }
  [[nodiscard]] std::uint32_t find(const detail::fragment_key& k) noexcept {
    std::uint32_t d = bucket_of(k);
    while (d != none && !(datagrams_[d].key == k)) d = datagrams_[d].in_bucket;
    return d;
  }
  [[nodiscard]] std::uint32_t oldest_but(std::uint32_t d) noexcept {
    std::uint32_t found = none;
    for (const ages& family : ages_) {
      const std::uint32_t n = family.oldest != d || d == none ? family.oldest : datagrams_[d].newer;
      if (n != none && (found == none || datagrams_[n].since < datagrams_[found].since)) found = n;
    }
    return found;
  }
  [[nodiscard]] std::uint32_t add(const detail::fragment_key& k, instant now) noexcept {
    if (datagrams_.full()) give_up(oldest_but(none));
    std::uint32_t& bucket = bucket_of(k);
    const std::uint32_t d = datagrams_.emplace(k, now, bucket);
    bucket = d;
    ages& family = ages_of(datagrams_[d]);
    datagrams_[d].older = family.newest;
    (family.newest != none ? datagrams_[family.newest].newer : family.oldest) = d;
    family.newest = d;
    return d;
  }
  // Gives back all that it holds.
  void release(datagram& g) noexcept {
    for (std::uint32_t n = g.highest; n != none;) {
      const std::uint32_t lower = fragments_[n].lower;
      fragments_.erase(n);
      n = lower;
    }
    held_ -= g.buffers;
    g.buffers = 0;
    g.highest = g.lowest = none;
  }
  void erase(std::uint32_t d) noexcept {
    datagram& g = datagrams_[d];
    release(g);
    std::uint32_t* at = &bucket_of(g.key);
    while (*at != d) at = &datagrams_[*at].in_bucket;
    *at = g.in_bucket;
    ages& family = ages_of(g);
    (g.older != none ? datagrams_[g.older].newer : family.oldest) = g.newer;
    (g.newer != none ? datagrams_[g.newer].older : family.newest) = g.older;
    datagrams_.erase(d);
  }

  std::uint32_t* buckets_;
  slab<datagram> datagrams_;
  slab<fragment> fragments_;
  fragment_config config_;
  ages ages_[2];  // IPv4, IPv6
  std::uint32_t held_ = 0;
  timeout_function timeout_ = nullptr;
  void* timeout_context_ = nullptr;
  fragment_statistics statistics_;
};

inline bool fragment_table::check() noexcept {
  std::uint32_t datagrams = 0, fragments = 0, held = 0;
  for (const ages& family : ages_) {
    std::uint32_t older = none;
    for (std::uint32_t d = family.oldest; d != none; older = d, d = datagrams_[d].newer) {
      const datagram& g = datagrams_[d];
      if (++datagrams > datagrams_.size() || g.older != older || &ages_of(g) != &family || find(g.key) != d)
        return false;
      if (older != none && datagrams_[older].since > g.since) return false;
      if (g.refused ? g.highest != none : g.highest == none || g.got >= g.total) return false;
      std::uint32_t above = none, got = 0, buffers = 0;
      for (std::uint32_t n = g.highest; n != none; above = n, n = fragments_[n].lower) {
        const fragment& f = fragments_[n];
        const std::uint32_t size = std::uint32_t{f.end} - f.begin;
        if (++fragments > fragments_.size() || f.higher != above || f.begin >= f.end || f.end > g.total) return false;
        if (above != none && fragments_[above].begin < f.end) return false;
        if (f.begin == 0 ? f.held.total_length() <= size : f.held.total_length() != size) return false;
        got += size;
        buffers += buffers_of(f.held);
      }
      if (g.lowest != above || g.buffers != buffers || (!g.refused && g.got != got)) return false;
      held += buffers;
    }
    if (family.newest != older) return false;
  }
  return datagrams == datagrams_.size() && fragments == fragments_.size() && held == held_ && held <= config_.fragments;
}

/// A table in memory of its own, of a size known at compile time: for microcontrollers, and for static storage.
///
///     static static_fragment_table<fragment_config{.fragments = 256, .datagrams = 64}> fragments{seed};
template <fragment_config Config>
class static_fragment_table {
 public:
  /// An empty table; `seed` from a random source.
  explicit static_fragment_table(std::uint64_t seed = Config.seed) noexcept
      : table_({memory_, sizeof memory_}, seeded(seed)) {}
  /// The table. @{
  operator fragment_table&() noexcept { return table_; }
  [[nodiscard]] fragment_table& get() noexcept { return table_; }
  [[nodiscard]] fragment_table* operator->() noexcept { return &table_; }
  /// @}

 private:
  static constexpr fragment_config seeded(std::uint64_t seed) noexcept {
    fragment_config c = Config;
    c.seed = seed;
    return c;
  }
  static_assert(Config.fragments >= 1 && Config.datagrams >= 1, "runnel: a fragment table has room for one fragment");
  alignas(fragment_table::alignment) std::byte memory_[fragment_table::bytes_needed(Config)];
  fragment_table table_;
};

}  // namespace runnel

#endif
