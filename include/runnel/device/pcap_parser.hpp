// SPDX-License-Identifier: MIT
// Finds the packets in the bytes of a pcap or pcapng capture, in place: no file, no copy, no allocation.
// draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng
//
// Theory of operation. The parser is fed with a window onto the capture, and looks only at whole records. It says how
// much of the window it consumed, and how many bytes it wants to see, from there on, to get further; whoever feeds it
// brings those bytes together and calls again:
//
//     |<---------- consumed() --------->|<-- a record cut by the window's end -->|
//     +--------+--------+-----+---------+------------------------+
//     | record | record | ... | record  | rec                    |
//     +--------+--------+-----+---------+------------------------+
//                                       |<------ wanted() ----------------->|
//
// Blocks that it does not know, and what they say of their length, are skipped without being looked at, so they may be
// of any size. The header in front of a packet was read when the packet is handed out, so it serves as its headroom.
#ifndef RUNNEL_DEVICE_PCAP_PARSER_HPP
#define RUNNEL_DEVICE_PCAP_PARSER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/device/interface_descriptions.hpp>
#include <runnel/device/pcap_format.hpp>
#include <runnel/device/pcapng_format.hpp>
#include <runnel/packet/frame.hpp>

namespace runnel {

/// What is wrong with a capture.
enum class pcap_fault : std::uint8_t {
  none,
  empty,              ///< not a single byte
  not_a_capture,      ///< begins with no known magic number
  compressed,         ///< begins like a gzip, zstd, xz or lz4 file
  version,            ///< a version of the format that this library does not know
  cut_off,            ///< ends in the middle of a record or header
  packet_length,      ///< a packet longer than `max_captured_length`, or than the block around it
  block_length,       ///< a pcapng block of an impossible length, or whose two lengths differ
  block_too_big,      ///< a block that has to be looked at is longer than `pcap_parser::max_block`
  no_section,         ///< a section header without its byte-order magic
  no_interface,       ///< a packet of an interface that was not described before
  many_interfaces,    ///< more than `pcap_parser::max_interfaces` in a section
  interface_options,  ///< an interface description whose options do not fit it
};

/// The parser of both formats, which it tells apart by the first bytes. About 17 KiB. What a pcapng file says of single
/// packets beside their times and lengths, such as comments, is passed over: a frame has no place for it.
class pcap_parser {
 public:
  /// How many interfaces a section may have.
  static constexpr std::size_t max_interfaces = interface_descriptions::max_interfaces;
  /// The longest block that is looked at, and so the most that `wanted()` ever is.
  static constexpr std::size_t max_block = std::size_t{16} << 20;

  /// Every frame will say that its bytes are lent by `lender`.
  explicit pcap_parser(std::uint8_t lender = 0) noexcept : lender_(lender) {}

  /// Calls `take(frame)` for up to `room` packets in `input`, which begins where the last call stopped consuming, and
  /// says for how many. Fewer than `room`: everything whole was consumed, see `wanted()`; or the capture is damaged,
  /// see `fault()`, and from then on there is nothing more; or a new section begins behind them. The frames show bytes
  /// of `input`, and are of the section that `interfaces()`, `interface_at` and `descriptions()` speak of.
  ///
  /// `missing` is what the snap length cut off. `iif` counts from 0 in each section. The timestamp of a simple
  /// packet block, which has none, is 0. Tailroom is 0, headroom what the record's header takes.
  ///
  /// With `same_section` it stops before a new section also where no packet came before that, for who still has some.
  template <class Take>
  [[nodiscard]] std::size_t parse(mutable_bytes input, std::size_t room, Take&& take,
                                  bool same_section = false) noexcept {
    same_section_ = same_section;
    consumed_ = 0;
    wanted_ = 0;
    if (fault_ != pcap_fault::none) return 0;
    std::size_t n = 0;
    if (format_ == format::unknown && !start(input)) return 0;
    if (format_ == format::pcap) {
      n = swapped_ ? records<true>(input, room, take) : records<false>(input, room, take);
    } else {
      do {
        order_changed_ = false;
        n += swapped_ ? blocks<true>(input, room - n, take) : blocks<false>(input, room - n, take);
      } while (order_changed_);
    }
    position_ += consumed_;
    return n;
  }
  /// How many bytes of the last input are done with.
  [[nodiscard]] std::size_t consumed() const noexcept { return consumed_; }
  /// How many bytes there must be, from the consumed ones on, for the next record or header. 0: as many as can be.
  [[nodiscard]] std::size_t wanted() const noexcept { return wanted_; }
  /// Says that nothing follows the consumed bytes but `left`, which were not enough. Sets `fault()` when that is the
  /// middle of something.
  void end(bytes left) noexcept {
    if (fault_ != pcap_fault::none) return;
    if (position_ == 0 && left.empty()) fail(pcap_fault::empty, 0, 0);
    else if (position_ == 0 && left.size() < 4) fail(pcap_fault::not_a_capture, 0, 0);
    else if (skip_ != 0) fail(pcap_fault::cut_off, record_, skip_);
    else if (!left.empty()) fail(pcap_fault::cut_off, position_, wanted_ - left.size());
  }

  /// What was wrong, if anything was.
  [[nodiscard]] pcap_fault fault() const noexcept { return fault_; }
  /// The sentence that goes with `fault()`, about the capture called `name`.
  [[nodiscard]] error explain(const char* name) const noexcept;
  /// How many bytes of the capture were consumed in all.
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  /// Whether the file header was read: `linktype` speaks then.
  [[nodiscard]] bool started() const noexcept { return format_ != format::unknown; }
  /// Whether it is a pcapng file; otherwise it is a classic capture.
  [[nodiscard]] bool is_pcapng() const noexcept { return format_ == format::pcapng; }
  /// How many interfaces the current section described so far; 1 in a classic capture.
  [[nodiscard]] std::size_t interfaces() const noexcept { return interfaces_; }
  /// Interface `i` of the current section; null when there is none.
  [[nodiscard]] const capture_interface* interface_at(std::size_t i) const noexcept {
    return i < interfaces_ ? interface_ + i : nullptr;
  }
  /// What the current section says of its interfaces for people. A classic capture has no names.
  [[nodiscard]] const interface_descriptions& descriptions() const noexcept { return descriptions_; }

 private:
  enum class format : std::uint8_t { unknown, pcap, pcapng };

  void fail(pcap_fault fault, std::uint64_t where, std::uint64_t number) noexcept {
    fault_ = fault;
    record_ = where;
    number_ = number;
  }
  [[nodiscard]] bool start(bytes input) noexcept;
  template <bool Swapped, class Take>
  [[nodiscard]] std::size_t records(mutable_bytes input, std::size_t room, Take& take) noexcept;
  template <bool Swapped, class Take>
  [[nodiscard]] std::size_t blocks(mutable_bytes input, std::size_t room, Take& take) noexcept;
  template <bool Swapped>
  [[nodiscard]] bool packet_block(std::uint32_t type, std::byte* p, std::size_t total, frame& f) noexcept;
  [[nodiscard]] bool show(frame& f, std::byte* data, std::size_t headroom, std::size_t room, std::uint32_t captured,
                          std::uint32_t wire, std::uint32_t iif) noexcept;
  [[nodiscard]] bool section_block(const std::byte* p, std::size_t total) noexcept;
  template <bool Swapped>
  [[nodiscard]] bool interface_block(bytes body) noexcept;

  // Sets what is the same in many frames.
  RUNNEL_INLINE void blank(frame& f, std::size_t headroom, std::size_t iif, link_type link) const noexcept {
    f.slot = no_slot;
    f.headroom = static_cast<std::uint16_t>(headroom);
    f.tailroom = 0;
    f.iif = static_cast<std::uint16_t>(iif);
    f.link = link;
    f.lender = lender_;
    f.queue = 0;
    f.checksum = checksum_status::unknown;
  }
  static std::uint16_t missing(std::uint32_t wire, std::uint32_t captured) noexcept {
    if (wire == captured) [[likely]]
      return 0;
    const std::uint32_t cut = wire > captured ? wire - captured : 0;
    return cut < 0xffff ? static_cast<std::uint16_t>(cut) : std::uint16_t{0xffff};
  }

  std::uint8_t lender_;
  format format_ = format::unknown;
  bool swapped_ = false;
  bool order_changed_ = false;
  bool same_section_ = false;
  pcap_fault fault_ = pcap_fault::none;
  std::uint32_t fraction_ = 1;  // nanoseconds in the unit of a classic record's fraction
  std::size_t consumed_ = 0;
  std::size_t wanted_ = 0;
  std::uint64_t position_ = 0;  // in the capture, of the beginning of the current input
  std::uint64_t skip_ = 0;      // bytes still to be passed over
  std::uint64_t record_ = 0;    // where the faulty record, or the one being skipped, begins
  std::uint64_t number_ = 0;    // what goes with the fault
  std::size_t interfaces_ = 0;
  capture_interface interface_[max_interfaces];
  interface_descriptions descriptions_;
};

inline bool pcap_parser::start(bytes input) noexcept {
  wanted_ = 4;
  if (input.size() < 4) return false;
  if (pcap_file_header::recognise(input)) {
    wanted_ = pcap_file_header::size;
    if (input.size() < pcap_file_header::size) return false;
    pcap_file_header header;
    if (!header.read(input)) {
      fail(pcap_fault::version, 0, load_u8(input.data() + (header.swapped == little_endian_host ? 5 : 4)));
      return false;
    }
    format_ = format::pcap;
    swapped_ = header.swapped;
    fraction_ = header.nanoseconds ? 1 : 1000;
    interfaces_ = 1;
    interface_[0].clock = capture_ticks(header.nanoseconds ? 9 : 6, 0);
    interface_[0].snap_length = header.snap_length;
    interface_[0].linktype = static_cast<std::uint16_t>(header.linktype);
    interface_[0].link = link_from_linktype(header.linktype);
    (void)descriptions_.set(0, {}, {}, interface_[0].linktype);
    consumed_ = pcap_file_header::size;
    wanted_ = 0;
    return true;
  }
  const std::uint32_t magic = load_be32(input.data());
  if (magic == pcapng::section_header) {
    format_ = format::pcapng;
    wanted_ = 0;
    return true;
  }
  const bool packed = magic >> 16 == 0x1f8b || magic == 0x28b5'2ffd || magic == 0xfd37'7a58 || magic == 0x0422'4d18;
  fail(packed ? pcap_fault::compressed : pcap_fault::not_a_capture, 0, magic);
  return false;
}

template <bool Swapped, class Take>
std::size_t pcap_parser::records(mutable_bytes input, std::size_t room, Take& taken_by) noexcept {
  detail::local_taker take(taken_by);
  std::byte* p = input.data() + consumed_;
  // From `p` on: a header there, and what is left behind it.
  constexpr auto header = static_cast<std::int64_t>(pcap_record_header_size);
  auto left = static_cast<std::int64_t>(input.size() - consumed_) - header;
  const std::int64_t fraction = fraction_;
  frame f;
  blank(f, pcap_record_header_size, 0, interface_[0].link);
  std::size_t n = 0;
  while (n < room) {
    if (left < 0) {
      wanted_ = pcap_record_header_size;
      break;
    }
    const std::uint32_t captured = detail::file_u32<Swapped>(p + 8);
    if (captured > max_captured_length) [[unlikely]] {
      fail(pcap_fault::packet_length, position_ + static_cast<std::size_t>(p - input.data()), captured);
      break;
    }
    if (captured > left) {
      wanted_ = pcap_record_header_size + captured;
      break;
    }
    // Where the next record is stands in this one: its line must be near by then.
    prefetch_to_read(p + std::size_t{8} * 64);
    f.data = p + pcap_record_header_size;
    f.timestamp.ns = std::int64_t{detail::file_u32<Swapped>(p)} * 1'000'000'000 +
                     std::int64_t{detail::file_u32<Swapped>(p + 4)} * fraction;
    f.length = captured;
    f.missing = missing(detail::file_u32<Swapped>(p + 12), captured);
    take(f);
    ++n;
    p += pcap_record_header_size + captured;
    left -= header + captured;
  }
  consumed_ = static_cast<std::size_t>(p - input.data());
  return n;
}

template <bool Swapped, class Take>
std::size_t pcap_parser::blocks(mutable_bytes input, std::size_t room, Take& taken_by) noexcept {
  detail::local_taker take(taken_by);
  std::size_t at = consumed_;
  std::size_t n = 0;
  while (n < room) {
    const std::size_t left = input.size() - at;
    if (skip_ != 0) {
      const std::size_t step = skip_ < left ? static_cast<std::size_t>(skip_) : left;
      skip_ -= step;
      at += step;
      if (skip_ == 0) continue;
      wanted_ = 1;
      break;
    }
    if (left < 12) {
      wanted_ = 12;
      break;
    }
    std::byte* p = input.data() + at;
    const auto type = detail::file_u32<Swapped>(p);
    if (type == pcapng::enhanced_packet && left >= 32) [[likely]] {
      // The usual packet, all its bounds at once. What is wrong with another one is found below.
      const std::size_t total = detail::file_u32<Swapped>(p + 4);
      const std::size_t iif = detail::file_u32<Swapped>(p + 8);
      const std::uint32_t captured = detail::file_u32<Swapped>(p + 20);
      if (total >= 32 && total <= left && total <= max_block && total % 4 == 0 && captured <= total - 32 &&
          captured <= max_captured_length && iif < interfaces_ && detail::file_u32<Swapped>(p + total - 4) == total)
          [[likely]] {
        prefetch_to_read(p + std::size_t{8} * 64);  // as in records()
        frame f;
        const std::uint64_t high = detail::file_u32<Swapped>(p + 12);
        f.data = p + 28;
        f.timestamp = interface_[iif].clock.at(high << 32 | detail::file_u32<Swapped>(p + 16));
        f.length = captured;
        f.missing = missing(detail::file_u32<Swapped>(p + 24), captured);
        blank(f, 28, iif, interface_[iif].link);
        take(f);
        ++n;
        at += total;
        continue;
      }
    }
    const std::uint64_t where = position_ + at;
    if (type == pcapng::section_header) {
      if (n != 0 || same_section_) break;  // the packets before it are of the interfaces that are known now
      // Its length can be read only when its byte order is known, which the third word tells.
      const auto magic = detail::load<std::uint32_t>(p + 8);
      const bool swapped = magic != pcapng::byte_order_magic;
      if (swapped && magic != byte_swap(pcapng::byte_order_magic)) {
        fail(pcap_fault::no_section, where, 0);
        break;
      }
      if (swapped != Swapped) {
        swapped_ = swapped;
        order_changed_ = true;  // parse() calls the other instance
        break;
      }
    }
    const std::size_t total = detail::file_u32<Swapped>(p + 4);
    if (total < 12 || total % 4 != 0) {
      fail(pcap_fault::block_length, where, total);
      break;
    }
    const bool is_packet =
        type == pcapng::enhanced_packet || type == pcapng::simple_packet || type == pcapng::obsolete_packet;
    if (!is_packet && type != pcapng::section_header && type != pcapng::interface_description) {
      skip_ = total;
      record_ = where;
      continue;
    }
    if (total > max_block) {
      fail(pcap_fault::block_too_big, where, total);
      break;
    }
    if (total > left) {
      wanted_ = total;
      break;
    }
    if (detail::file_u32<Swapped>(p + total - 4) != total) {
      fail(pcap_fault::block_length, where, total);
      break;
    }
    record_ = where;
    if (is_packet) {
      frame f;
      if (!packet_block<Swapped>(type, p, total, f)) break;
      take(f);
      ++n;
    } else if (type == pcapng::section_header) {
      if (!section_block(p, total)) break;
    } else if (interfaces_ == max_interfaces) {
      fail(pcap_fault::many_interfaces, where, max_interfaces);
      break;
    } else if (!interface_block<Swapped>({p + 8, total - 12})) {
      fail(pcap_fault::interface_options, where, total);
      break;
    }
    at += total;
  }
  consumed_ = at;
  return n;
}

inline bool pcap_parser::section_block(const std::byte* p, std::size_t total) noexcept {
  if (total < 28) {
    fail(pcap_fault::block_length, record_, total);
    return false;
  }
  const auto version = swapped_ ? detail::file_u16<true>(p + 12) : detail::file_u16<false>(p + 12);
  if (version != 1) {
    fail(pcap_fault::version, record_, version);
    return false;
  }
  interfaces_ = 0;
  descriptions_.clear();
  return true;
}

template <bool Swapped>
bool pcap_parser::interface_block(bytes body) noexcept {
  capture_interface& its = interface_[interfaces_];
  interface_text said;
  if (!its.read<Swapped>(body, said)) return false;
  (void)descriptions_.set(interfaces_++, said.name, said.description, its.linktype);
  return true;
}

template <bool Swapped>
bool pcap_parser::packet_block(std::uint32_t type, std::byte* p, std::size_t total, frame& f) noexcept {
  const std::size_t before = type == pcapng::simple_packet ? 12 : 28;
  if (total < before + 4) {
    fail(pcap_fault::block_length, record_, total);
    return false;
  }
  const std::size_t room = total - before - 4;
  if (type == pcapng::simple_packet) {
    const auto wire = detail::file_u32<Swapped>(p + 8);
    const std::uint32_t snap = interfaces_ != 0 ? interface_[0].snap_length : 0;
    const std::uint32_t captured = snap != 0 && snap < wire ? snap : wire;
    f.timestamp = {};
    // Without a snap length in the interface, the block's own length says where the packet was cut.
    return show(f, p + before, before, room, captured <= room ? captured : static_cast<std::uint32_t>(room), wire, 0);
  }
  std::uint32_t iif = 0;
  if (type == pcapng::enhanced_packet) iif = detail::file_u32<Swapped>(p + 8);
  else iif = detail::file_u16<Swapped>(p + 8);
  const std::uint64_t high = detail::file_u32<Swapped>(p + 12);
  if (!show(f, p + before, before, room, detail::file_u32<Swapped>(p + 20), detail::file_u32<Swapped>(p + 24), iif))
    return false;
  f.timestamp = interface_[iif].clock.at(high << 32 | detail::file_u32<Swapped>(p + 16));
  return true;
}

inline bool pcap_parser::show(frame& f, std::byte* data, std::size_t headroom, std::size_t room, std::uint32_t captured,
                              std::uint32_t wire, std::uint32_t iif) noexcept {
  if (iif >= interfaces_) [[unlikely]] {
    fail(pcap_fault::no_interface, record_, iif);
    return false;
  }
  if (captured > room || captured > max_captured_length) [[unlikely]] {
    fail(pcap_fault::packet_length, record_, captured);
    return false;
  }
  f.data = data;
  f.length = captured;
  f.missing = missing(wire, captured);
  blank(f, headroom, iif, interface_[iif].link);
  return true;
}

inline error pcap_parser::explain(const char* name) const noexcept {
  text<160> why;
  const char* advice = "the packets before it were read";
  switch (fault_) {
    case pcap_fault::none: return {"pcap", "read", name, "nothing is wrong"};
    case pcap_fault::empty: return {"pcap", "read", name, "the file is empty", "a capture begins with a header"};
    case pcap_fault::not_a_capture:
      return {"pcap", "read", name, "it does not begin like a capture", "give a pcap or pcapng file"};
    case pcap_fault::compressed:
      return {"pcap", "read", name, "it is compressed", "unpack it and pipe it in: zcat file.pcap.gz | program -"};
    case pcap_fault::version:
      why << "the header at byte " << record_ << " says format version " << number_;
      advice = "this library knows pcap 2 and pcapng 1";
      break;
    case pcap_fault::cut_off:
      why << "it ends " << number_ << " bytes before the end of the record at byte " << record_;
      break;
    case pcap_fault::packet_length:
      why << "the record at byte " << record_ << " claims a packet of " << number_ << " bytes, which cannot be";
      break;
    case pcap_fault::block_length:
      why << "the block at byte " << record_ << " claims a length of " << number_
          << " bytes, which does not fit or is not repeated at its end";
      break;
    case pcap_fault::block_too_big:
      why << "the block at byte " << record_ << " is " << number_ << " bytes long, more than 16 MiB";
      break;
    case pcap_fault::no_section: why << "the section header at byte " << record_ << " has no byte-order magic"; break;
    case pcap_fault::no_interface:
      why << "the packet at byte " << record_ << " is of interface " << number_ << ", which was not described";
      break;
    case pcap_fault::many_interfaces:
      why << "more than " << number_ << " interfaces in the section before byte " << record_;
      break;
    case pcap_fault::interface_options:
      why << "the interface description at byte " << record_ << " is shorter than its options";
      break;
  }
  return {"pcap", "read", name, why.c_str(), advice};
}

}  // namespace runnel

#endif
