// SPDX-License-Identifier: MIT
// Path MTUs: how long packets to a destination may be, as routers on the way have said. RFC 1191, RFC 8201, RFC 5927.
//
// Groups of four entries, found by the hash of the destination. Where a group is full the entry that ends first makes
// room: whoever forges errors about many destinations costs others the knowledge of theirs, which the next packet that
// is too long brings back, and never memory.
#ifndef RUNNEL_IP_PATH_MTU_HPP
#define RUNNEL_IP_PATH_MTU_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/base/hash.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// What is believed about path MTUs, and for how long.
struct path_mtu_config {
  duration lifetime = seconds(600);  ///< after this longer packets are tried again (net.ipv4.route.mtu_expires)
  std::uint16_t ipv4_least = 552;    ///< what says less counts as this (net.ipv4.route.min_pmtu); 68 is RFC 1191's
  std::uint64_t seed = 0;            ///< of the hash: from a random source, or others can choose what collides
};

/// The path MTUs that are known, in entries that the caller owns (`path_mtu_cache_of` has its own). For one thread.
/// Never allocates, never grows; a question is one cache line or two.
class path_mtu_cache {
 public:
  /// One destination; free when its time is over. 32 bytes.
  struct entry {
    ipv6_address destination{};  ///< an IPv4 address in its IPv4-mapped form
    instant until{INT64_MIN};    ///< until when it holds
    std::uint16_t mtu = 0;       ///< bytes of the longest IP packet
  };
  /// Entries that stand together.
  static constexpr std::size_t group_size = 4;
  /// No IPv4 network takes less (RFC 791 §3.2).
  static constexpr std::uint16_t least4 = 68;
  /// No IPv6 network takes less (RFC 8200 §5).
  static constexpr std::uint16_t least6 = 1280;

  /// An empty cache in `n` entries, a power of two, at least `group_size` of them (asserted), which must outlive it.
  constexpr path_mtu_cache(entry* entries, std::size_t n, const path_mtu_config& c) noexcept
      : entries_(entries), groups_(n / group_size), config_(c) {
    RUNNEL_ASSERT(n >= group_size && (n & (n - 1)) == 0);
  }
  path_mtu_cache(const path_mtu_cache&) = delete;
  path_mtu_cache& operator=(const path_mtu_cache&) = delete;

  /// The path MTU to a destination in bytes; 0 when none is known, and the link's MTU holds. @{
  [[nodiscard]] constexpr std::uint16_t lookup(ipv4_address destination, instant now) const noexcept {
    return lookup(mapped(destination), now);
  }
  [[nodiscard]] constexpr std::uint16_t lookup(const ipv6_address& destination, instant now) const noexcept {
    const entry* const group = group_of(destination);
    for (std::size_t i = 0; i < group_size; ++i)
      if (group[i].destination == destination && group[i].until > now) return group[i].mtu;
    return 0;
  }
  /// @}
  /// A router says that a packet of `sent` bytes was too long for a link of `mtu`. False, and nothing changed, when
  /// that cannot be, or is nothing new: the MTU is not below what was sent, nor below what is known (a path never grows
  /// by an error, RFC 1191 §6.3), or lower than any network's (RFC 8201 §4). Of an old router that says 0 the next
  /// lower MTU that links are known to have is taken (RFC 1191 §7). Who calls it has made sure that the packet was
  /// sent: see `learn_path_mtu`. @{
  constexpr bool learn(ipv4_address destination, std::uint16_t mtu, std::size_t sent, instant now) noexcept {
    if (mtu == 0) mtu = plateau_below(sent);
    if (mtu < least4 || mtu >= sent) return false;
    return lower(mapped(destination), mtu < config_.ipv4_least ? config_.ipv4_least : mtu, now);
  }
  constexpr bool learn(const ipv6_address& destination, std::uint32_t mtu, std::size_t sent, instant now) noexcept {
    if (mtu < least6 || mtu >= sent || mtu > 0xffff) return false;
    return lower(destination, static_cast<std::uint16_t>(mtu), now);
  }
  /// @}
  /// Forgets everything.
  constexpr void clear() noexcept {
    for (std::size_t i = 0; i < groups_ * group_size; ++i) entries_[i] = entry{};
  }
  /// How many destinations are known. O(entries).
  [[nodiscard]] constexpr std::size_t size(instant now) const noexcept {
    std::size_t n = 0;
    for (std::size_t i = 0; i < groups_ * group_size; ++i) n += entries_[i].until > now ? 1u : 0u;
    return n;
  }

 private:
  [[nodiscard]] static constexpr ipv6_address mapped(ipv4_address a) noexcept {
    return {0, std::uint64_t{0xffff} << 32 | a.value()};
  }
  // RFC 1191 §7.1, table 7-1.
  [[nodiscard]] static constexpr std::uint16_t plateau_below(std::size_t sent) noexcept {
    constexpr std::uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
    for (const std::uint16_t p : plateaus)
      if (p < sent) return p;
    return 0;
  }
  [[nodiscard]] constexpr entry* group_of(const ipv6_address& a) const noexcept {
    return entries_ + (hash_words(a.high(), a.low(), config_.seed) & (groups_ - 1)) * group_size;
  }
  constexpr bool lower(const ipv6_address& destination, std::uint16_t mtu, instant now) noexcept {
    entry* const group = group_of(destination);
    entry* place = group;
    for (std::size_t i = 0; i < group_size; ++i) {
      entry& e = group[i];
      if (e.destination == destination && e.until > now) {
        if (mtu >= e.mtu) return false;
        place = &e;
        break;
      }
      if (e.until < place->until) place = &e;
    }
    *place = {destination, now + config_.lifetime, mtu};
    return true;
  }

  entry* entries_;
  std::size_t groups_;
  path_mtu_config config_;
};

/// The same with room of its own for `N` destinations, a power of two: 32 bytes each.
template <std::size_t N>
class path_mtu_cache_of : public path_mtu_cache {
 public:
  static_assert(N >= group_size && (N & (N - 1)) == 0,
                "runnel: a path MTU cache has room for 4, 8, 16 ... destinations");
  /// An empty cache; `seed` from a random source.
  constexpr explicit path_mtu_cache_of(const path_mtu_config& c) noexcept : path_mtu_cache(room_, N, c) {}

 private:
  entry room_[N]{};
};

}  // namespace runnel

#endif
