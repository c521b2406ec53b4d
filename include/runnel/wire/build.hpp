// SPDX-License-Identifier: MIT
// Headers as plain values, and `write_headers`, which writes a stack of them in front of a payload: lengths, next
// protocols and checksums fill themselves in from their neighbours.
#ifndef RUNNEL_WIRE_BUILD_HPP
#define RUNNEL_WIRE_BUILD_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t
#include <cstdint>   // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/complete_checksum.hpp>

namespace runnel {

/// What a header being written knows of its neighbours. Filled in by `write_headers`.
struct neighbours_of_header {
  std::uint16_t ethertype = 0;    ///< of the header (or payload) inside this one; 0 when it has none
  std::uint8_t ip_protocol = 59;  ///< of the header inside this one; 59, "no next header", when it has none
  std::uint16_t udp_port = 0;     ///< where the header inside this one is expected (VXLAN); 0 when nowhere
  /// Unfolded sum over the pseudo-header of the IP header around this one, without protocol and length, which
  /// the transport adds; 0 when there is none.
  std::uint32_t pseudo_header = 0;
};

/// A header that `write_headers` can write: a plain struct with the fields that a person chooses, and
/// - `size()`: bytes of the header, options and padding included;
/// - `write(whole, around)`: writes it to the first `size()` bytes of `whole`, which ends where the packet ends
///   and already holds what is inside; computes lengths and checksums; `whole.size() >= size()` is promised.
/// It may tell the header around it what it is: static constants `ethertype`, `ip_protocol`, `udp_port`;
/// the first two may also be member functions, where the answer depends on the value. One that stands between an IP
/// header and its transport says `is_extension = true`: the pseudo-header is that of the IP header then.
template <class H>
concept header_value = requires(const H& h, mutable_bytes whole, const neighbours_of_header& around) {
  { h.size() } -> std::same_as<std::size_t>;
  h.write(whole, around);
};

namespace detail {

// What the header inside `outer` has around it; `around` is what `outer` itself has.
template <class Outer>
constexpr std::uint32_t pseudo_header_of(const Outer& outer, std::uint32_t around) noexcept {
  if constexpr (requires { outer.pseudo_header_sum(); }) return outer.pseudo_header_sum();
  else if constexpr (requires { requires Outer::is_extension; }) return around;
  else return 0;
}
template <class Inner>
constexpr void tell_of_inner(neighbours_of_header& around, const Inner& inner) noexcept {
  if constexpr (requires { inner.ethertype(); }) around.ethertype = inner.ethertype();
  else if constexpr (requires { Inner::ethertype; }) around.ethertype = Inner::ethertype;
  if constexpr (requires { inner.ip_protocol(); }) around.ip_protocol = inner.ip_protocol();
  else if constexpr (requires { Inner::ip_protocol; }) around.ip_protocol = Inner::ip_protocol;
  if constexpr (requires { Inner::udp_port; }) around.udp_port = Inner::udp_port;
}

// Writes the headers from the innermost outwards, for each checksum covers what is inside it.
constexpr void write_stack(mutable_bytes, std::uint32_t) noexcept {}
template <class First>
constexpr void write_stack(mutable_bytes whole, std::uint32_t pseudo_header, const First& first) noexcept {
  first.write(whole, neighbours_of_header{.pseudo_header = pseudo_header});
}
template <class First, class Second, class... More>
constexpr void write_stack(mutable_bytes whole, std::uint32_t pseudo_header, const First& first, const Second& second,
                           const More&... more) noexcept {
  write_stack(whole.from(first.size()), pseudo_header_of(first, pseudo_header), second, more...);
  neighbours_of_header around{.pseudo_header = pseudo_header};
  tell_of_inner(around, second);
  first.write(whole, around);
}

}  // namespace detail

/// How many bytes a stack of headers takes.
template <header_value... Headers>
[[nodiscard]] constexpr std::size_t size_of_headers(const Headers&... headers) noexcept {
  return (std::size_t{0} + ... + headers.size());
}

/// Makes a packet of a payload and a stack of headers, outermost first: copies the payload to the end of `p` and pushes
/// the headers in front of all that it holds then. False, and nothing changed, when headroom or tailroom are too small
/// or the bytes are shared. Where a packet that was parsed gets another IP header in front, a checksum that was left to
/// the device is completed.
template <header_value... Headers>
[[nodiscard]] bool build(packet& p, bytes payload, const Headers&... stack) noexcept {
  const std::size_t size = size_of_headers(stack...);
  if (p.headroom() < size || !p.append(payload)) return false;
  // In a tunnel no device finds what was left to it.
  if constexpr ((requires { stack.pseudo_header_sum(); } || ...)) (void)complete_checksum(p);
  std::byte* whole = p.push(size);
  RUNNEL_ASSERT(whole != nullptr);
  detail::write_stack({whole, p.length()}, 0, stack...);
  return true;
}

/// Writes a stack of headers, outermost first, to the beginning of `whole`, whose rest is the payload that is
/// already there. False, and nothing written, when `whole` is too short for the headers.
template <header_value... Headers>
[[nodiscard]] constexpr bool write_headers(mutable_bytes whole, const Headers&... headers) noexcept {
  if (whole.size() < size_of_headers(headers...)) return false;
  detail::write_stack(whole, 0, headers...);
  return true;
}

}  // namespace runnel

#endif
