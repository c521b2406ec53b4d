// SPDX-License-Identifier: MIT
// The interfaces of this host as the network layer sees them: addresses and MTU, by number.
#ifndef RUNNEL_IP_INTERFACES_HPP
#define RUNNEL_IP_INTERFACES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/wire/address.hpp>

namespace runnel {

/// One interface: an address of each family with the length of its subnet's prefix, and how long packets may be.
struct ip_interface {
  ipv4_address v4{};             ///< unspecified: none
  std::uint8_t v4_length = 32;   ///< of the subnet, bits
  ipv6_address v6{};             ///< unspecified: none
  std::uint8_t v6_length = 128;  ///< of the subnet, bits
  std::uint16_t mtu = 1500;      ///< bytes of the longest IP packet
};

/// A window over the interfaces of this host; their numbers are those of `packet::iif()` and `next_hop::oif`. Further
/// addresses of the host stand behind the last interface, at numbers that no packet has. Does not own: the array must
/// outlive it. A question about an address costs a comparison for each entry.
class ip_interfaces {
 public:
  /// No interface.
  constexpr ip_interfaces() noexcept = default;
  /// `n` of them.
  constexpr ip_interfaces(const ip_interface* first, std::size_t n) noexcept : first_(first), n_(n) {}
  /// All of an array.
  template <std::size_t N>
  constexpr ip_interfaces(const ip_interface (&all)[N]) noexcept : first_(all), n_(N) {}

  /// The interface of this number; one without addresses when there is none.
  [[nodiscard]] constexpr const ip_interface& operator[](std::uint16_t number) const noexcept {
    return number < n_ ? first_[number] : nothing;
  }
  /// Whether an address is this host's own. @{
  [[nodiscard]] constexpr bool is_own(ipv4_address a) const noexcept {
    for (std::size_t i = 0; i < n_; ++i)
      if (first_[i].v4 == a) return !a.is_unspecified();
    return false;
  }
  [[nodiscard]] constexpr bool is_own(const ipv6_address& a) const noexcept {
    for (std::size_t i = 0; i < n_; ++i)
      if (first_[i].v6 == a) return !a.is_unspecified();
    return false;
  }
  /// @}
  /// Whether an address means all hosts of a subnet that an interface is on: its last address, or the obsolete first
  /// one (RFC 1812 §4.2.3.1). Subnets of one or two addresses have none (RFC 3021).
  [[nodiscard]] constexpr bool is_directed_broadcast(ipv4_address a) const noexcept {
    for (std::size_t i = 0; i < n_; ++i) {
      const ip_interface& one = first_[i];
      if (one.v4.is_unspecified() || one.v4_length > 30) continue;
      const std::uint32_t hosts = 0xffff'ffffu >> one.v4_length;
      const std::uint32_t differs = a.value() ^ one.v4.value(), host = a.value() & hosts;
      if ((differs & ~hosts) == 0 && (host == hosts || host == 0)) return true;
    }
    return false;
  }

 private:
  static constexpr ip_interface nothing{};

  const ip_interface* first_ = nullptr;
  std::size_t n_ = 0;
};

}  // namespace runnel

#endif
