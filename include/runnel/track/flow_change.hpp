// SPDX-License-Identifier: MIT
// What an entry of the flow table changes in the headers of IPv4 packets, and in their checksums (RFC 1624). Nothing
// here is for users.
#ifndef RUNNEL_TRACK_FLOW_CHANGE_HPP
#define RUNNEL_TRACK_FLOW_CHANGE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/track/flowtable.hpp>
#include <runnel/wire/checksum.hpp>

namespace runnel::detail {

// Whether a sum of 64-bit words, each carry added, is that of a header with a right checksum: it folds to 0xffff when
// it is a multiple of that and not 0, which no sum of an IP header is. The factor is the inverse of 0xffff in 64 bits,
// by which all multiples, and nothing else, become small.
[[nodiscard]] constexpr bool is_right_sum(std::uint64_t sum) noexcept {
  return sum * 0xfffe'fffe'fffe'ffff <= 0xffff'ffff'ffff'ffff / 0xffff;
}
// A checksum whose sum gains something: it loses that, as the two are complements. Never 0 but where it was: as if the
// changes were made one by one.
[[nodiscard]] constexpr std::uint16_t changed_sum(std::uint16_t sum, std::uint16_t gain) noexcept {
  std::uint16_t less = 0;
  const bool borrow = __builtin_sub_overflow(sum, gain, &less);
  return static_cast<std::uint16_t>(less - unsigned{borrow});
}
RUNNEL_INLINE void change_sum(std::byte* at, std::uint16_t gain) noexcept {
  store(at, changed_sum(load<std::uint16_t>(at), gain));
}
RUNNEL_INLINE void change_udp_sum(std::byte* at, std::uint16_t gain) noexcept {
  const std::uint16_t sum = changed_sum(load<std::uint16_t>(at), gain);
  store(at, sum != 0 ? sum : std::uint16_t{0xffff});
}

// What sums gain by the addresses and ports of IPv4 packets that NAT changes: the same as in rewrite_headers4().
struct header_gain {
  std::uint64_t addresses = 0;
  std::uint64_t ports = 0;
};
[[gnu::noinline]] inline header_gain gain_of(const flow_entry& e, std::uint16_t status) noexcept {
  using namespace connection_status;
  const bool reply = (e.flow & 1u) != 0;
  const bool changed[] = {(status & (reply ? dst_nat : src_nat)) != 0, (status & (reply ? src_nat : dst_nat)) != 0};
  std::byte addresses[8], ports[4];
  store(addresses, e.addresses), store(ports, static_cast<std::uint32_t>(e.ports));
  header_gain g;
  for (std::size_t i = 0; i < 2; ++i) {
    if (!changed[i]) continue;
    const auto is = load<std::uint32_t>(addresses + 4 * i), will = load<std::uint32_t>(e.new_addresses + 4 * i);
    const auto was = load<std::uint16_t>(ports + 2 * i), then = load<std::uint16_t>(e.new_ports + 2 * i);
    g.addresses += std::uint64_t{~is} + will;
    g.ports += std::uint64_t{static_cast<std::uint16_t>(~was)} + then;
  }
  return g;
}
inline void note_changes(flow_entry& e, const std::byte* network, std::uint16_t status) noexcept {
  copy_bytes(e.new_addresses, network + 12, 8);
  copy_bytes(e.new_ports, network + 20, 4);
  constexpr std::uint16_t one_less = 0xfeff;  // what the word of TTL and protocol gains
  const header_gain g = gain_of(e, status);
  e.sum_change = fold_checksum(g.addresses + g.ports);
  e.network_change = fold_checksum(g.addresses + to_big(one_less));
}

}  // namespace runnel::detail

#endif
