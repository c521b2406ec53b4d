// SPDX-License-Identifier: MIT
// Transport checksums that a device left partial (`checksum_status::partial`), while headers are written.
//
// The field holds the sum of the pseudo-header, and nothing of the bytes behind it. The setters of the views know
// nothing of that: they take the difference that they make for one of a whole checksum. So whoever lets others write
// through views sets the field right afterwards; what it is follows from the headers alone.
#ifndef RUNNEL_WIRE_KEEP_PARTIAL_HPP
#define RUNNEL_WIRE_KEEP_PARTIAL_HPP

#include <concepts>     // same_as
#include <cstddef>      // byte, size_t
#include <cstdint>      // uint16_t, uint64_t
#include <type_traits>  // remove_cvref_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/complete_checksum.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

namespace runnel::detail {

/// Where the checksum of TCP or UDP lies, and the sum of the pseudo-header as the IP header has it.
struct partial_place {
  std::size_t field = 0;  // 0: there is none
  std::uint16_t pseudo_header = 0;
};
/// `l` is what lies in `b`, which begins `head` bytes behind where its offsets count from.
[[nodiscard, gnu::noinline, gnu::cold]] inline partial_place place_of_partial(bytes b, std::size_t head,
                                                                              const layers& l) noexcept {
  const bool tcp = l.has(protocol::tcp), ipv4 = l.has(protocol::ipv4);
  if ((!tcp && !l.has(protocol::udp)) || l.network < head || l.transport < l.network + (ipv4 ? 20u : 40u) ||
      l.transport - head + (tcp ? 20u : 8u) > b.size())
    return {};
  const std::byte* const ip = b.data() + (l.network - head);
  const std::size_t length = load_be16(ip + (ipv4 ? 2 : 4)) + (ipv4 ? 0u : 40u) - (l.transport - l.network);
  const std::uint64_t sum = add_checksum(ipv4 ? bytes{ip + 12, 8} : bytes{ip + 8, 32});
  return {l.transport - head + (tcp ? 16u : 6u), fold_checksum(sum + (tcp ? 6u : 17u) + length)};
}

/// Whether handlers with these parameters may write to what such a checksum covers.
template <class... A>
inline constexpr bool writes_transport = ((std::same_as<std::remove_cvref_t<A>, basic_tcp<std::byte>> ||
                                           std::same_as<std::remove_cvref_t<A>, basic_udp<std::byte>>) ||
                                          ...);

/// While it lives, headers of a packet or a frame may be written: a checksum that was partial is right behind it. By
/// the difference, since not all that was summed up need stand in the IP header: a routing header has the last
/// destination (RFC 8200 §8.1). Not where the packet is gone, was moved or cut, or nobody says any longer that it is
/// partial: then it is the writer's.
template <class Holder>
class partial_keeper {
 public:
  RUNNEL_INLINE explicit partial_keeper(Holder& h, const layers* found = nullptr) noexcept : holder_(h), found_(found) {
    if (is_partial()) [[unlikely]]
      begin();
  }
  partial_keeper(const partial_keeper&) = delete;
  partial_keeper& operator=(const partial_keeper&) = delete;
  RUNNEL_INLINE ~partial_keeper() {
    if (before_.data() != nullptr) [[unlikely]]
      keep();
  }

 private:
  static constexpr bool is_packet = std::same_as<Holder, packet>;
  [[nodiscard]] RUNNEL_INLINE bool is_partial() const noexcept {
    if constexpr (is_packet) return holder_.checksum() == checksum_status::partial;
    else return holder_.checksum == checksum_status::partial;
  }
  [[nodiscard]] RUNNEL_INLINE bytes contents() const noexcept { return holder_.contents(); }
  [[nodiscard]] partial_place place() const noexcept {
    if constexpr (is_packet) return place_of_partial(contents(), holder_.headroom(), holder_.layers());
    else return place_of_partial(contents(), holder_.headroom, *found_);
  }
  [[gnu::noinline, gnu::cold]] void begin() noexcept {
    place_ = place();
    if (place_.field == 0) return;
    before_ = contents();
    sum_ = load_be16(before_.data() + place_.field);
  }
  [[gnu::noinline, gnu::cold]] void keep() const noexcept {
    if constexpr (is_packet)
      if (!holder_) return;
    if (!is_partial() || contents().data() != before_.data() || contents().size() != before_.size()) return;
    const partial_place now = place();
    if (now.field != place_.field) return;
    const bool same = now.pseudo_header == place_.pseudo_header;
    // A clone that the handler has made has these bytes too, and needs the same.
    store_be16(const_cast<std::byte*>(before_.data()) + now.field,
               same ? sum_ : fold_checksum(std::uint64_t{sum_} + (0xffffu - place_.pseudo_header) + now.pseudo_header));
  }

  Holder& holder_;
  const layers* found_;
  bytes before_{};
  partial_place place_{};
  std::uint16_t sum_ = 0;
};

/// What keeps the checksum of a packet or frame while a handler with these parameters is called.
struct nothing_to_keep {};
template <class... A, class Source>
[[nodiscard]] RUNNEL_INLINE auto keep_partial(const Source& source) noexcept {
  if constexpr (!writes_transport<A...>) return nothing_to_keep{};
  else if constexpr (requires { source.p; }) return partial_keeper<packet>{source.p};
  else return partial_keeper<frame>{source.f, &source.found};
}

/// `p` has headers at other places than its layers say: it was moved or cut, and `now` is what lies there. What was
/// partial is completed where it is no longer the transport that a device would look for; it is forgotten where that
/// header was taken off; and it is that of the headers before it where these were replaced. False when that needs a
/// copy that cannot be had.
[[nodiscard, gnu::noinline, gnu::cold]] inline bool move_partial_checksum(packet& p, const layers& now) noexcept {
  const layers before = p.layers();
  if (!before.has(protocol::parsed) || (!before.has(protocol::tcp) && !before.has(protocol::udp))) return true;
  if (before.transport < p.headroom()) return p.checksum(checksum_status::unknown), true;
  const bool inside = before.network >= p.headroom();
  if (now.transport != before.transport) return !inside || complete_checksum(p);
  if (before.network == now.network || p.is_shared()) return true;
  if (const partial_place at = place_of_partial(p.contents(), p.headroom(), now); at.field != 0)
    store_be16(p.writable().data() + at.field, at.pseudo_header);
  return true;
}

}  // namespace runnel::detail

#endif
