// SPDX-License-Identifier: MIT
// The interfaces of this host as the network layer sees them: link-layer address, addresses, MTU; by number.
#ifndef RUNNEL_IP_INTERFACES_HPP
#define RUNNEL_IP_INTERFACES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t

#include <runnel/ip/own_addresses.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// One interface: `{.mac = status->mac, .addresses = {{addr4("192.0.2.1"), 24}, {addr6("2001:db8::1"), 64}}}`, with
/// `auto status = eth0->settings().status();` of its device. All that ask what this host is on a link refer to the one
/// description of it: the neighbour table, which also changes it, and the interfaces below.
struct ip_interface {
  mac_address mac{};          ///< of this host on the link
  std::uint16_t mtu = 1500;   ///< bytes of the longest IP packet
  own_addresses addresses{};  ///< of this host on the link
};

/// A window over the interfaces of this host; their numbers are those of `packet::iif()` and `next_hop::oif`. Further
/// addresses of the host stand behind the last interface, at numbers that no packet has. Does not own: the array must
/// outlive it. A question about an address costs a look at each interface, and a comparison for each of its addresses
/// where the address may be among them.
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
  /// Whether an address is this host's own, on any interface. @{
  [[nodiscard]] constexpr bool is_own(const ipv6_address& a) const noexcept {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < n_; ++i) bits |= first_[i].addresses.bits_;
    return (bits & own_addresses::bit_of(a)) != 0 && is_surely_own(a);
  }
  [[nodiscard]] constexpr bool is_own(ipv4_address a) const noexcept { return is_own(mapped(a)); }
  /// @}
  /// Whether an address means all hosts of a subnet that an interface is on.
  [[nodiscard]] constexpr bool is_directed_broadcast(ipv4_address a) const noexcept {
    for (std::size_t i = 0; i < n_; ++i)
      if (first_[i].addresses.may_be_last(a, true)) return is_surely_directed_broadcast(a);
    return false;
  }
  /// From which address `target` is sent to by the interface of this number: one of its own, but of another interface
  /// where it has none that means anything beyond its link. Unspecified when there is none. @{
  [[nodiscard]] constexpr ipv6_address source_for(std::uint16_t number, const ipv6_address& target) const noexcept {
    const ipv6_address here = (*this)[number].addresses.source_for(target);
    if (is_mapped(target) || target.is_link_local() || (!here.is_unspecified() && !here.is_link_local())) return here;
    for (std::size_t i = 0; i < n_; ++i)
      if (const ipv6_address a = first_[i].addresses.source_for(target); !a.is_unspecified() && !a.is_link_local())
        return a;
    return here;
  }
  [[nodiscard]] constexpr ipv4_address source_for(std::uint16_t number, ipv4_address target) const noexcept {
    return unmapped(source_for(number, mapped(target)));
  }
  /// @}

 private:
  static constexpr ip_interface nothing{};

  [[nodiscard, gnu::noinline]] constexpr bool is_surely_own(ipv6_address a) const noexcept {
    for (std::size_t i = 0; i < n_; ++i)
      if (first_[i].addresses.contains(a)) return true;
    return false;
  }
  [[nodiscard, gnu::noinline]] constexpr bool is_surely_directed_broadcast(ipv4_address a) const noexcept {
    for (std::size_t i = 0; i < n_; ++i)
      if (first_[i].addresses.is_directed_broadcast(a)) return true;
    return false;
  }

  const ip_interface* first_ = nullptr;
  std::size_t n_ = 0;
};

}  // namespace runnel

#endif
