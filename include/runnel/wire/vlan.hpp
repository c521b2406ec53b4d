// SPDX-License-Identifier: MIT
// VLAN tag: a checked view over the four bytes behind a type field of 0x8100 or 0x88a8, and the builder.
// IEEE 802.1Q clause 9, 802.1ad.
#ifndef RUNNEL_WIRE_VLAN_HPP
#define RUNNEL_WIRE_VLAN_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t
#include <type_traits>  // is_const_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>

namespace runnel {

/// A view of a VLAN tag and what it carries. The tag is seen as a header between two others: the type field in
/// front of it (the TPID, 0x8100 or 0x88a8) belongs to the header before, and the tag ends with the type field of
/// what it carries. So the tag of an Ethernet frame begins at byte 14.
template <class Byte>
class basic_vlan {
 public:
  /// What the library asks of a header view; see `header_view`. @{
  using mutable_view = basic_vlan<std::byte>;
  static constexpr header in_header = header::vlan;
  static constexpr std::size_t min_size = 4;
  /// @}

  /// A field, for match expressions. @{
  static constexpr field<header::vlan, 0, 3, std::uint8_t> pcp{"vlan pcp"};
  static constexpr field<header::vlan, 3, 1, std::uint8_t> dei{"vlan dei"};
  static constexpr field<header::vlan, 4, 12, std::uint16_t> id{"vlan id"};
  static constexpr field<header::vlan, 16, 16, std::uint16_t> type{"vlan type"};
  /// @}

  /// Checks that the tag is there.
  [[nodiscard]] static constexpr result<basic_vlan, drop_reason> parse(byte_window<Byte> b) noexcept {
    if (b.size() < min_size) return drop_reason::vlan_malformed;
    return basic_vlan{b.data(), b.size()};
  }
  /// A view over bytes that were checked before: at least `min_size` of them. Checks nothing.
  [[nodiscard]] static constexpr basic_vlan unchecked(byte_window<Byte> b) noexcept { return {b.data(), b.size()}; }

  /// A view that may write can be read through as well.
  constexpr operator basic_vlan<const std::byte>() const noexcept
    requires(!std::is_const_v<Byte>)
  {
    return basic_vlan<const Byte>::unchecked({p_, n_});
  }

  /// What `build` asks of a header; see `header_value`.
  [[nodiscard]] static constexpr std::size_t header_size() noexcept { return min_size; }
  /// PCP, 0 to 7.
  [[nodiscard]] constexpr std::uint8_t priority_code() const noexcept {
    return static_cast<std::uint8_t>(load_u8(p_) >> 5);
  }
  /// DEI: may be dropped first. In 802.1Q before 2011 it was the CFI bit.
  [[nodiscard]] constexpr bool drop_eligible() const noexcept { return (load_u8(p_) & 0x10u) != 0; }
  /// VID, 0 to 4095; 0 means that the tag only carries a priority.
  [[nodiscard]] constexpr std::uint16_t vlan_id() const noexcept {
    return static_cast<std::uint16_t>(load_be16(p_) & 0x0fffu);
  }
  /// What the tag carries: an EtherType (perhaps of another tag), or a length below 0x0600.
  [[nodiscard]] constexpr std::uint16_t ethertype() const noexcept { return load_be16(p_ + 2); }
  /// What follows the header.
  [[nodiscard]] constexpr byte_window<Byte> payload() const noexcept { return {p_ + min_size, n_ - min_size}; }

  /// Writes the field. @{
  constexpr void priority_code(std::uint8_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, static_cast<std::uint8_t>((load_u8(p_) & 0x1fu) | (v & 7u) << 5));
  }
  constexpr void drop_eligible(bool v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_u8(p_, static_cast<std::uint8_t>((load_u8(p_) & 0xefu) | (v ? 0x10u : 0u)));
  }
  constexpr void vlan_id(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_, static_cast<std::uint16_t>((load_be16(p_) & 0xf000u) | (v & 0x0fffu)));
  }
  constexpr void ethertype(std::uint16_t v) const noexcept
    requires(!std::is_const_v<Byte>)
  {
    store_be16(p_ + 2, v);
  }
  /// @}

 private:
  constexpr basic_vlan(Byte* p, std::size_t n) noexcept : p_(p), n_(n) {}

  Byte* p_;
  std::size_t n_;
};

/// The view to read; `mut<>` of it also writes.
using vlan = basic_vlan<const std::byte>;

/// The fields of the second tag of a frame with two: `cvlan::id`, as the customer's tag in 802.1ad is called.
struct cvlan {
  /// A field, for match expressions. @{
  static constexpr field<header::cvlan, 0, 3, std::uint8_t> pcp{"cvlan pcp"};
  static constexpr field<header::cvlan, 3, 1, std::uint8_t> dei{"cvlan dei"};
  static constexpr field<header::cvlan, 4, 12, std::uint16_t> id{"cvlan id"};
  static constexpr field<header::cvlan, 16, 16, std::uint16_t> type{"cvlan type"};
  /// @}
};

/// A VLAN tag to be written: `write_headers(packet, ethernet_header{...}, vlan_header{.id = 5}, ipv4_header{...})`.
struct vlan_header {
  std::uint16_t id = 0;  ///< 0 to 4095
  std::uint8_t pcp = 0;  ///< 0 to 7
  /// A field of the header, in host byte order.
  bool drop_eligible = false;
  bool service = false;    ///< an 802.1ad service tag: the header in front of it says 0x88a8, not 0x8100
  std::uint16_t type = 0;  ///< 0: that of the header inside; when it has none, the length of the payload

  /// What the header in front of the tag says of it: the TPID.
  [[nodiscard]] constexpr std::uint16_t ethertype() const noexcept {
    return service ? runnel::ethertype::qinq : runnel::ethertype::vlan;
  }
  /// What `build` asks of a header; see `header_value`. @{
  [[nodiscard]] static constexpr std::size_t size() noexcept { return 4; }
  constexpr void write(mutable_bytes whole, const neighbours_of_header& around) const noexcept {
    RUNNEL_ASSERT(id <= 4095 && pcp <= 7);
    std::byte* p = whole.data();
    store_be16(p, static_cast<std::uint16_t>((pcp & 7u) << 13 | (drop_eligible ? 0x1000u : 0u) | (id & 0x0fffu)));
    store_be16(p + 2, detail::type_or_length(type != 0 ? type : around.ethertype, whole.size() - size()));
  }
  /// @}
};

/// One line in tcpdump's manner: `vlan 5, p 3, DEI, ethertype IPv4 (0x0800)`.
template <class Byte>
constexpr void print(text_writer& out, const basic_vlan<Byte>& v) noexcept {
  out << "vlan " << v.vlan_id() << ", p " << v.priority_code();
  if (v.drop_eligible()) out << ", DEI";
  if (v.ethertype() < ethertype::first) {
    out << ", length " << v.ethertype();
    return;
  }
  out << ", ethertype " << ethertype::name(v.ethertype()) << " (0x";
  out.hex(v.ethertype(), 4) << ')';
}

}  // namespace runnel

#endif
