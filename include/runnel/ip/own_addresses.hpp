// SPDX-License-Identifier: MIT
// The addresses that this host has on a link, and what follows from them: which hosts are neighbours, what the
// broadcast addresses are, and from which address somebody is sent to.
#ifndef RUNNEL_IP_OWN_ADDRESSES_HPP
#define RUNNEL_IP_OWN_ADDRESSES_HPP

#include <cstddef>           // size_t
#include <cstdint>           // uint8_t, uint32_t, uint64_t
#include <initializer_list>  // initializer_list

#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// What an address of this host is good for; the words of `ip address`.
enum class address_state : std::uint8_t {
  preferred,   ///< in use
  deprecated,  ///< in use, but not for what is new where there is another (RFC 4862 §5.5.4)
  tentative,   ///< this host asks whether another has it, and does not use it before
  duplicate,   ///< another host has it: not used (`dadfailed`)
  expired,     ///< its time is over; said of an address that is taken away
};
/// As `ip address` writes it; the usual state has no word.
[[nodiscard]] constexpr const char* name(address_state s) noexcept {
  constexpr const char* names[] = {"", "deprecated", "tentative", "dadfailed", "expired"};
  const auto i = static_cast<std::size_t>(s);
  return i < sizeof names / sizeof *names ? names[i] : "?";
}

/// An address of this host with the prefix of its subnet: `{addr4("192.0.2.1"), 24}`.
struct interface_address {
  ipv6_address address{};                          ///< an IPv4 one is `mapped`
  std::uint8_t length = 128;                       ///< of the prefix in bits; of an IPv4 one 96 more than in IPv4
  address_state state = address_state::preferred;  ///< what it is good for
  instant preferred_until = never;                 ///< it is deprecated from then on
  instant valid_until = never;                     ///< it is taken away then
  bool dynamic = false;                            ///< it was made of what a router says (RFC 4862 §5.5)

  /// What the neighbour table notes about it.
  struct {
    instant due = never;          ///< when the next message about it is to be sent
    instant defended{INT64_MIN};  ///< when it was, the last time (RFC 5227 §2.4)
    std::uint8_t sent = 0;        ///< probes, or announcements
  } noted{};

  /// None.
  constexpr interface_address() noexcept = default;
  /// An address in a prefix of this length, at most 32 or 128 bits (asserted). @{
  constexpr interface_address(ipv4_address a, unsigned prefix_length) noexcept
      : address(mapped(a)), length(static_cast<std::uint8_t>(96 + prefix_length)) {
    RUNNEL_ASSERT(prefix_length <= 32);
  }
  constexpr interface_address(const ipv6_address& a, unsigned prefix_length) noexcept
      : address(a), length(static_cast<std::uint8_t>(prefix_length)) {
    RUNNEL_ASSERT(prefix_length <= 128);
  }
  /// @}
  /// Whether this host uses it: it is neither asked for still, nor another's.
  [[nodiscard]] constexpr bool is_usable() const noexcept {
    return state == address_state::preferred || state == address_state::deprecated;
  }
  /// Whether nobody else shall use it: this host does, or is about to.
  [[nodiscard]] constexpr bool is_claimed() const noexcept { return is_usable() || state == address_state::tentative; }
  /// The block of addresses that it lies in.
  [[nodiscard]] constexpr ipv6_prefix subnet() const noexcept { return {address, length}; }
};
/// In the manner of `ip address`: `192.0.2.1/24`, `2001:db8::1/64 tentative`.
constexpr void print(text_writer& out, const interface_address& a) noexcept {
  if (is_mapped(a.address)) print(out, unmapped(a.address)), out << '/' << (std::uint32_t{a.length} - 96);
  else print(out, a.address), out << '/' << std::uint32_t{a.length};
  if (a.dynamic) out << " dynamic";
  if (a.state != address_state::preferred) out << ' ' << name(a.state);
}

/// Up to 16 addresses of both families, searched one by one, and up to 8 prefixes of the link in which this host has
/// none. Changed by one thread, while no other reads it.
class own_addresses {
 public:
  /// How many addresses there may be.
  static constexpr std::size_t most = 16;
  /// How many prefixes beside theirs.
  static constexpr std::size_t most_prefixes = 8;

  /// None.
  constexpr own_addresses() noexcept = default;
  /// These: at most `most`, each once (asserted).
  constexpr own_addresses(std::initializer_list<interface_address> all) noexcept {
    for (const interface_address& a : all) {
      const bool added = add(a);
      RUNNEL_ASSERT(added);
      (void)added;
    }
  }

  /// Adds an address. False when there are `most`, it is there, or it is unspecified. @{
  [[nodiscard]] constexpr bool add(const interface_address& a) noexcept {
    if (count_ == most || is_nobody(a.address) || find(a.address) != nullptr) return false;
    addresses_[count_++] = a;
    note(a);
    return true;
  }
  [[nodiscard]] constexpr bool add(ipv4_address a, unsigned length) noexcept { return add({a, length}); }
  [[nodiscard]] constexpr bool add(const ipv6_address& a, unsigned length) noexcept { return add({a, length}); }
  /// @}
  /// Takes an address away. False when it is not there. @{
  constexpr bool remove(const ipv6_address& a) noexcept {
    interface_address* e = find(a);
    if (e == nullptr) return false;
    for (; e + 1 < end(); ++e) *e = e[1];
    --count_;
    common_hosts_ = ~std::uint32_t{0};
    bits_ = 0;
    for (const interface_address& left : *this) note(left);
    return true;
  }
  constexpr bool remove(ipv4_address a) noexcept { return remove(mapped(a)); }
  /// @}
  /// Adds a prefix of the link in which this host has no address, or perhaps one with a longer prefix. False when
  /// there are `most_prefixes`; true when it is there.
  [[nodiscard]] constexpr bool add_prefix(const ipv6_prefix& p) noexcept {
    if (has_prefix(p)) return true;
    if (prefix_count_ == most_prefixes) return false;
    prefixes_[prefix_count_++] = p;
    return true;
  }
  /// Whether such a prefix is there.
  [[nodiscard]] constexpr bool has_prefix(const ipv6_prefix& p) const noexcept {
    for (std::size_t i = 0; i < prefix_count_; ++i)
      if (prefixes_[i] == p) return true;
    return false;
  }
  /// Takes such a prefix away. False when it is not there.
  constexpr bool remove_prefix(const ipv6_prefix& p) noexcept {
    for (std::size_t i = 0; i < prefix_count_; ++i) {
      if (prefixes_[i] != p) continue;
      prefixes_[i] = prefixes_[--prefix_count_];
      return true;
    }
    return false;
  }

  /// All addresses, in the order in which they came, in whatever state. States and times of one may be changed. @{
  [[nodiscard]] constexpr const interface_address* begin() const noexcept { return addresses_; }
  [[nodiscard]] constexpr const interface_address* end() const noexcept { return addresses_ + count_; }
  [[nodiscard]] constexpr interface_address* begin() noexcept { return addresses_; }
  [[nodiscard]] constexpr interface_address* end() noexcept { return addresses_ + count_; }
  /// @}
  /// How many there are.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }
  /// An address, in whatever state; null when it is not there. @{
  [[nodiscard]] constexpr const interface_address* find(const ipv6_address& a) const noexcept {
    for (const interface_address& e : *this)
      if (e.address == a) return &e;
    return nullptr;
  }
  [[nodiscard]] constexpr interface_address* find(const ipv6_address& a) noexcept {
    for (interface_address& e : *this)
      if (e.address == a) return &e;
    return nullptr;
  }
  /// @}
  /// Whether this host uses an address. @{
  [[nodiscard]] constexpr bool contains(const ipv6_address& a) const noexcept {
    if ((bits_ & bit_of(a)) == 0) return false;
    const interface_address* const e = find(a);
    return e != nullptr && e->is_usable();
  }
  [[nodiscard]] constexpr bool contains(ipv4_address a) const noexcept { return contains(mapped(a)); }
  /// @}
  /// Whether an address is that of a host of this link: in the prefix of an address that is used, in one of the
  /// prefixes beside, or link-local in IPv6.
  [[nodiscard]] constexpr bool is_on_link(const ipv6_address& a) const noexcept {
    if (a.is_link_local()) return true;
    // All of IPv4 is 96 bits long: shorter prefixes are of IPv6, whatever a router says.
    const unsigned least = is_mapped(a) ? 96 : 0;
    for (const interface_address& e : *this)
      if (e.is_usable() && e.length >= least && e.subnet().contains(a)) return true;
    for (std::size_t i = 0; i < prefix_count_; ++i)
      if (prefixes_[i].length() >= least && prefixes_[i].contains(a)) return true;
    return false;
  }
  /// Whether an address means all hosts of a subnet of the link: its last one, or the obsolete first one (RFC 1812
  /// §4.2.3.1). Subnets of one or two addresses have none (RFC 3021).
  [[nodiscard]] constexpr bool is_directed_broadcast(ipv4_address a) const noexcept { return is_last(a, true); }
  /// Whether a packet for this address is sent to all hosts of the link: 255.255.255.255, or the last one of a subnet.
  [[nodiscard]] constexpr bool is_broadcast(ipv4_address a) const noexcept {
    return a.is_broadcast() || is_last(a, false);
  }
  /// From which address `target` is sent to: of those that are used, of the same family, first one of the same scope,
  /// link-local or not; then one that is preferred; then the one that has most of its first bits in common with it
  /// (RFC 6724 §5, rules 2, 3 and 8). Unspecified when there is none.
  [[nodiscard]] constexpr ipv6_address source_for(const ipv6_address& target) const noexcept {
    ipv6_address best;
    unsigned most_points = 0;
    for (const interface_address& e : *this) {
      if (!e.is_usable() || is_mapped(e.address) != is_mapped(target)) continue;
      const std::uint64_t high = e.address.high() ^ target.high(), low = e.address.low() ^ target.low();
      const unsigned common = high != 0  ? static_cast<unsigned>(__builtin_clzll(high))
                              : low != 0 ? 64u + static_cast<unsigned>(__builtin_clzll(low))
                                         : 128u;
      const unsigned points = 1 + common + (e.state == address_state::preferred ? 200u : 0u) +
                              (e.address.is_link_local() == is_local(target) ? 400u : 0u);
      if (points <= most_points) continue;
      best = e.address;
      most_points = points;
    }
    return best;
  }

 private:
  friend class ip_interfaces;
  static constexpr bool is_nobody(const ipv6_address& a) noexcept {
    return a.is_unspecified() || a == mapped(ipv4_address{});
  }
  constexpr void note(const interface_address& e) noexcept {
    common_hosts_ &= hosts_of(e);
    bits_ |= bit_of(e.address);
  }
  // Of each packet it is asked whether its source is among these. One whose bit none of them has is not. The end of an
  // address is hashed, for it tells hosts apart.
  static constexpr std::uint32_t bit_of(const ipv6_address& a) noexcept {
    return std::uint32_t{1} << (static_cast<std::uint32_t>(a.low()) * 0x9e37'79b1u >> 27);
  }
  // The bits of an IPv4 address that tell the hosts of a subnet apart which has a broadcast address; else all.
  static constexpr std::uint32_t hosts_of(const interface_address& e) noexcept {
    if (!is_mapped(e.address) || e.length <= 96 || e.length > 96 + 30) return ~std::uint32_t{0};
    return ~std::uint32_t{0} >> (e.length - 96);
  }
  // The same for the last address of a subnet: only behind that comes a host 0, and a host 1 only behind the first.
  [[nodiscard]] constexpr bool may_be_last(ipv4_address a, bool or_first) const noexcept {
    return ((a.value() + 1) & common_hosts_) <= (or_first ? 1u : 0u);
  }
  [[nodiscard]] constexpr bool is_last(ipv4_address a, bool or_first) const noexcept {
    if (!may_be_last(a, or_first)) return false;
    for (const interface_address& e : *this) {
      if (!is_mapped(e.address) || e.length > 96 + 30) continue;
      const std::uint32_t hosts = hosts_of(e);
      const std::uint32_t differs = a.value() ^ unmapped(e.address).value(), host = a.value() & hosts;
      if ((differs & ~hosts) == 0 && (host == hosts || (or_first && host == 0))) return true;
    }
    return false;
  }
  // Scope of the link: a unicast address, or a group (RFC 4291 §2.7).
  static constexpr bool is_local(const ipv6_address& a) noexcept {
    return a.is_link_local() || (a.is_multicast() && (a.high() >> 48 & 0xf) == 2);
  }

  std::size_t count_ = 0, prefix_count_ = 0;
  std::uint32_t common_hosts_ = ~std::uint32_t{0};  // host bits that all subnets with a broadcast address have
  std::uint32_t bits_ = 0;                          // the bits of all addresses
  interface_address addresses_[most];
  ipv6_prefix prefixes_[most_prefixes];
};

}  // namespace runnel

#endif
