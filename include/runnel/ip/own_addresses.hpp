// SPDX-License-Identifier: MIT
// The addresses that this host has on a link, and what follows from them: which hosts are neighbours, what the
// broadcast address is, and from which address one of them is asked.
#ifndef RUNNEL_IP_OWN_ADDRESSES_HPP
#define RUNNEL_IP_OWN_ADDRESSES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/time.hpp>
#include <runnel/ip/neighbour.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// Up to 16 addresses of both families, searched one by one. IPv4 addresses are given as they are, or `mapped`.
class own_addresses {
 public:
  /// How many there may be.
  static constexpr std::size_t most = 16;

  /// Adds an address in a prefix of this length. False when there are `most`, or it is there. @{
  [[nodiscard]] bool add(ipv4_address a, unsigned length) noexcept {
    return add_any(mapped(a), 96 + (length < 32 ? length : 32));
  }
  [[nodiscard]] bool add(const ipv6_address& a, unsigned length) noexcept {
    return add_any(a, length < 128 ? length : 128);
  }
  /// @}
  /// Takes an address away. False when it is not there. @{
  bool remove(const ipv6_address& a) noexcept {
    const std::size_t i = find(a);
    if (i == count_) return false;
    addresses_[i] = addresses_[--count_];
    return true;
  }
  bool remove(ipv4_address a) noexcept { return remove(mapped(a)); }
  /// @}
  /// Whether an address is one of them.
  [[nodiscard]] bool contains(const ipv6_address& a) const noexcept { return find(a) != count_; }
  /// Whether it lies in the prefix of one of them: a host of this link.
  [[nodiscard]] bool is_on_link(const ipv6_address& a) const noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (ipv6_prefix{addresses_[i].address, addresses_[i].length}.contains(a)) return true;
    return false;
  }
  /// Whether it is the broadcast address of the link: all ones, in the whole or behind the prefix of one of them, if
  /// that has at most 30 bits (RFC 3021).
  [[nodiscard]] bool is_broadcast(ipv4_address a) const noexcept {
    if (a.is_broadcast()) return true;
    for (std::size_t i = 0; i < count_; ++i) {
      const entry& e = addresses_[i];
      if (!is_mapped(e.address) || e.length > 96 + 30) continue;
      const auto host = static_cast<std::uint32_t>((std::uint64_t{1} << (128 - e.length)) - 1);
      if ((a.value() & host) == host && ipv6_prefix{e.address, e.length}.contains(mapped(a))) return true;
    }
    return false;
  }
  /// The one of the same family that has most of its first bits in common with `target`; unspecified when there is
  /// none.
  [[nodiscard]] ipv6_address source_for(const ipv6_address& target) const noexcept {
    ipv6_address best;
    unsigned most_common = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const ipv6_address& a = addresses_[i].address;
      if (is_mapped(a) != is_mapped(target)) continue;
      const std::uint64_t high = a.high() ^ target.high(), low = a.low() ^ target.low();
      const unsigned common = high != 0  ? static_cast<unsigned>(__builtin_clzll(high))
                              : low != 0 ? 64u + static_cast<unsigned>(__builtin_clzll(low))
                                         : 128u;
      if (!best.is_unspecified() && common <= most_common) continue;
      best = a;
      most_common = common;
    }
    return best;
  }
  /// Whether one of them is to be defended now: not when that was less than `interval` ago.
  [[nodiscard]] bool defends(const ipv6_address& a, duration interval, instant now) noexcept {
    const std::size_t i = find(a);
    if (i == count_ || (addresses_[i].defended && now - addresses_[i].defence < interval)) return false;
    addresses_[i].defended = true;
    addresses_[i].defence = now;
    return true;
  }

 private:
  struct entry {
    ipv6_address address{};
    unsigned length = 0;
    instant defence{};
    bool defended = false;
  };

  [[nodiscard]] std::size_t find(const ipv6_address& a) const noexcept {
    std::size_t i = 0;
    while (i < count_ && addresses_[i].address != a) ++i;
    return i;
  }
  [[nodiscard]] bool add_any(const ipv6_address& a, unsigned length) noexcept {
    if (count_ == most || contains(a)) return false;
    addresses_[count_] = {};
    addresses_[count_].address = a;
    addresses_[count_++].length = length;
    return true;
  }

  entry addresses_[most];
  std::size_t count_ = 0;
};

}  // namespace runnel

#endif
