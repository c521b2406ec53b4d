// SPDX-License-Identifier: MIT
// Puts another address and port into the headers of a packet, and keeps its checksums right by what changed (RFC 1624).
// Nothing here is for users.
#ifndef RUNNEL_TRACK_NAT_REWRITE_HPP
#define RUNNEL_TRACK_NAT_REWRITE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/track/connection_tuple.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/checksum.hpp>

namespace runnel::detail {

// Which protocols have a port, or an identifier that stands for one, that may be changed.
[[nodiscard]] constexpr bool nat_has_ports(std::uint8_t protocol) noexcept {
  return protocol == 6 || protocol == 17 || protocol == 1 || protocol == 58;
}

// Where the headers of a packet lie. `transport` is null when there is none: in later fragments.
struct nat_headers {
  std::byte* network = nullptr;
  std::byte* transport = nullptr;
  std::size_t held = 0;  // bytes from `transport` on
  std::uint8_t protocol = 0;
  bool is_ipv6 = false;
  bool partial = false;  // the transport checksum is the sum of the pseudo-header
};

// What a sum of 16-bit words gains when some of them change.
class sum_change {
 public:
  RUNNEL_INLINE constexpr void add32(std::uint32_t from, std::uint32_t to) noexcept {
    change_ += std::uint64_t{static_cast<std::uint32_t>(~from)} + to;
  }
  RUNNEL_INLINE constexpr void add16(std::uint16_t from, std::uint16_t to) noexcept {
    change_ += std::uint64_t{static_cast<std::uint16_t>(~from)} + to;
  }
  // Of a checksum, which is the complement of the sum.
  RUNNEL_INLINE void apply(std::byte* checksum) const noexcept {
    store_be16(checksum,
               static_cast<std::uint16_t>(~fold_checksum(static_cast<std::uint16_t>(~load_be16(checksum)) + change_)));
  }
  // Of a checksum for which 0 means that there is none.
  RUNNEL_INLINE void apply_to_udp(std::byte* checksum) const noexcept {
    if (load_be16(checksum) == 0) return;
    apply(checksum);
    if (load_be16(checksum) == 0) store_be16(checksum, 0xffff);
  }
  // Of a sum that is not complemented.
  RUNNEL_INLINE void apply_to_sum(std::byte* sum) const noexcept {
    store_be16(sum, fold_checksum(load_be16(sum) + change_));
  }

 private:
  std::uint64_t change_ = 0;
};

// Writes the address, and notes what changed.
RUNNEL_INLINE void rewrite_address(const nat_headers& h, const connection_tuple& to, bool source,
                                   sum_change& change) noexcept {
  if (!h.is_ipv6) [[likely]] {
    std::byte* const at = h.network + (source ? 12 : 16);
    const std::uint32_t from = load_be32(at), address = source ? to.source4().value() : to.destination4().value();
    change.add32(from, address);
    change.apply(h.network + 10);
    store_be32(at, address);
    return;
  }
  std::byte* const at = h.network + (source ? 8 : 24);
  const ipv6_address from = ipv6_address::load(at), address = source ? to.source6() : to.destination6();
  change.add32(static_cast<std::uint32_t>(from.high() >> 32), static_cast<std::uint32_t>(address.high() >> 32));
  change.add32(static_cast<std::uint32_t>(from.high()), static_cast<std::uint32_t>(address.high()));
  change.add32(static_cast<std::uint32_t>(from.low() >> 32), static_cast<std::uint32_t>(address.low() >> 32));
  change.add32(static_cast<std::uint32_t>(from.low()), static_cast<std::uint32_t>(address.low()));
  address.store(at);
}

// Makes the source or the destination of a packet what `to` says. Of a transport header that is cut off, as errors
// quote it, only what is there is changed.
RUNNEL_INLINE void rewrite_headers(const nat_headers& h, const connection_tuple& to, bool source) noexcept {
  sum_change change;
  rewrite_address(h, to, source, change);
  if (h.transport == nullptr) return;
  const auto port = [&](std::size_t offset, std::uint16_t v) {
    std::byte* const at = h.transport + offset;
    if (!h.partial) change.add16(load_be16(at), v);
    store_be16(at, v);
  };
  switch (h.protocol) {
    case 6:
    case 17: {
      if (h.held < 4) return;
      port(source ? 0 : 2, source ? to.source_port() : to.destination_port());
      const std::size_t field = h.protocol == 6 ? 16 : 6;
      if (h.held < field + 2) return;
      std::byte* const checksum = h.transport + field;
      if (h.partial) change.apply_to_sum(checksum);
      else if (h.protocol == 6) change.apply(checksum);
      else change.apply_to_udp(checksum);
      return;
    }
    case 1:
    case 58: {
      // The identifier, which is one and the same both ways. ICMP has no pseudo-header.
      if (h.held < 8) return;
      if (h.protocol == 1) change = {};
      port(4, to.icmp_identifier());
      if (h.partial && h.protocol == 58) change.apply_to_sum(h.transport + 2);
      else change.apply(h.transport + 2);
      return;
    }
    case 33:  // DCCP
      if (h.held >= 8) change.apply(h.transport + 6);
      return;
    case 136:  // UDP-Lite
      if (h.held >= 8) change.apply_to_udp(h.transport + 6);
      return;
    default: return;
  }
}

// The same for IPv4 with TCP (whose checksum is 16 bytes behind `transport`) or UDP (6), all of whose header is there,
// and whose checksum is not partial. Sums are taken in words of the host's order, which gives the same bytes.
RUNNEL_INLINE void rewrite_headers4(std::byte* network, std::byte* transport, bool is_tcp, std::uint32_t address,
                                    std::uint16_t port, bool source) noexcept {
  std::byte* const address_at = network + (source ? 12 : 16);
  std::byte* const port_at = transport + (source ? 0 : 2);
  std::byte* const sum_at = transport + (is_tcp ? 16 : 6);
  const std::uint32_t to = to_big(address), from = load<std::uint32_t>(address_at);
  const std::uint16_t to_port = to_big(port), from_port = load<std::uint16_t>(port_at);
  const std::uint16_t sum = load<std::uint16_t>(sum_at);
  std::uint64_t change = std::uint64_t{static_cast<std::uint32_t>(~from)} + to;
  const auto after = [&](std::uint16_t old) {
    return static_cast<std::uint16_t>(~fold_checksum(static_cast<std::uint16_t>(~old) + change));
  };
  store(network + 10, after(load<std::uint16_t>(network + 10)));
  store(address_at, to);
  store(port_at, to_port);
  change += std::uint64_t{static_cast<std::uint16_t>(~from_port)} + to_port;
  const std::uint16_t updated = after(sum);
  if (is_tcp) store(sum_at, updated);
  // 0: there is none.
  else if (sum != 0) store(sum_at, updated != 0 ? updated : std::uint16_t{0xffff});
}

}  // namespace runnel::detail

#endif
