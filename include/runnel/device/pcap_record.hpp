// SPDX-License-Identifier: MIT
// Puts pcap and pcapng records together in a block of memory: the part of a capture writer that needs no file.
// draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng
#ifndef RUNNEL_DEVICE_PCAP_RECORD_HPP
#define RUNNEL_DEVICE_PCAP_RECORD_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/device/interface_descriptions.hpp>
#include <runnel/device/pcap_format.hpp>
#include <runnel/device/pcapng_format.hpp>

namespace runnel {

/// Which file format a capture is written in.
enum class capture_format : std::uint8_t {
  pcapng,  ///< several interfaces and link types in one file
  pcap,    ///< one link type; what the oldest tools read
};

/// Which way a packet went, as seen from the device. A pcapng file says so (epb_flags), a classic capture cannot.
enum class packet_direction : std::uint8_t {
  unknown,   ///< not said
  inbound,   ///< received
  outbound,  ///< transmitted
};

/// How a capture is written.
struct pcap_writer_options {
  /// Which file format.
  capture_format format = capture_format::pcapng;
  link_type link = link_type::ethernet;             ///< of literal bytes; in a classic capture of every packet
  std::uint32_t snap_length = max_captured_length;  ///< longer packets are cut to this many bytes; at most the default
  bool nanoseconds = true;                          ///< resolution of timestamps, else microseconds
  std::size_t block = std::size_t{256} << 10;  ///< bytes that are written at once; at least one record, at most 1 GiB
};

/// What is known of a packet that is to be written.
struct capture_record {
  /// When it was received.
  instant timestamp{};
  std::size_t length = 0;       ///< bytes that are there
  std::size_t wire_length = 0;  ///< bytes that there were
  /// By which interface it came.
  std::uint16_t iif = 0;
  /// What its first header is.
  link_type link = link_type::ethernet;
  /// Which way it went.
  packet_direction direction = packet_direction::unknown;
};

/// A block of records in the making. The memory is the caller's and must outlive it.
///
/// In a pcapng file every pair of link type and interface number gets an interface description, before its first
/// packet; after `max_interfaces` of them a further interface is written as the first one of its link type, under that
/// one's name. It says what `describe_as` was told; where that changes, a further description follows. Timestamps
/// before 1970 become 1970, in a classic capture those after 2106 become 2106.
class capture_block {
 public:
  /// How many pairs of link type and interface number a pcapng file can have.
  static constexpr std::size_t max_interfaces = 64;
  /// The most that a record takes beside the packet's bytes: file header, interface description, packet header.
  static constexpr std::size_t overhead = 512;

  /// How much memory a block takes, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const pcap_writer_options& o) noexcept {
    const std::size_t least = overhead + snap(o);
    const std::size_t most = std::size_t{1} << 30;
    return o.block < least ? least : o.block > most ? most : o.block;
  }
  /// `memory` is at least `bytes_needed(options)` bytes long.
  capture_block(mutable_bytes memory, const pcap_writer_options& options) noexcept
      : memory_(memory), options_(options) {
    options_.snap_length = snap(options);
  }
  /// What it was made with.
  [[nodiscard]] const pcap_writer_options& options() const noexcept { return options_; }
  /// The bytes so far.
  [[nodiscard]] const std::byte* data() const noexcept { return memory_.data(); }
  /// How many bytes so far.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Packets in the block.
  [[nodiscard]] std::size_t packets() const noexcept { return packets_; }
  /// Empties the block when it was written. Headers are not made again.
  void clear() noexcept {
    size_ = packets_ = 0;
    headed_ = false;
  }

  /// Says of all interfaces what `descriptions` says, from their next packets on, also when that changes; a classic
  /// capture has no place for it. `descriptions` must outlive the block.
  void describe_as(const interface_descriptions& descriptions) noexcept {
    descriptions_ = &descriptions;
    learn();
  }

  /// How many bytes of a packet are kept.
  [[nodiscard]] std::size_t captured(const capture_record& r) const noexcept {
    return r.length < options_.snap_length ? r.length : options_.snap_length;
  }
  /// Whether the format can hold the packet at all: a classic capture has one link type, and a pcapng section no more
  /// than `max_interfaces` interfaces.
  [[nodiscard]] bool accepts(const capture_record& r) const noexcept {
    if (options_.format == capture_format::pcap) return r.link == options_.link;
    return interfaces_ < max_interfaces || find_interface(r) < max_interfaces;
  }
  /// Makes everything of a record but the packet's bytes, `captured(r)` of which go to where the result points, before
  /// `finish`. Null, and nothing changed but headers, when the block is too full or `accepts` says no.
  [[nodiscard]] std::byte* begin(const capture_record& r) noexcept {
    if (descriptions_ != nullptr && descriptions_->changes() != learnt_) [[unlikely]]
      learn();
    if (memory_.size() - size_ < overhead + captured(r) || !accepts(r)) return nullptr;
    if (!started_) start();
    return options_.format == capture_format::pcap ? begin_pcap(r) : begin_pcapng(r);
  }
  /// Ends the record that `begin` began.
  void finish(const capture_record& r) noexcept {
    const std::size_t n = captured(r);
    std::byte* end = memory_.data() + size_;
    if (options_.format == capture_format::pcap) {
      size_ += pcap_record_header_size + n;
    } else {
      const std::size_t total = packet_block_size(r);
      zero_bytes(end + 28 + n, pcapng::padded(n) - n);
      if (r.direction != packet_direction::unknown) {
        std::byte* options = end + 28 + pcapng::padded(n);
        detail::store(options, pcapng::epb_flags);
        detail::store(options + 2, std::uint16_t{4});
        detail::store(options + 4, static_cast<std::uint32_t>(r.direction));
        detail::store(options + 8, std::uint32_t{pcapng::option_end});
      }
      detail::store(end + total - 4, static_cast<std::uint32_t>(total));
      size_ += total;
    }
    ++packets_;
  }
  /// Makes the header of the file, unless it was made. What interfaces there are, packets tell.
  void open() noexcept {
    if (!started_) start();
  }
  /// Makes the headers of a file without packets, unless there were some.
  void open_empty() noexcept {
    open();
    if (options_.format == capture_format::pcapng && interfaces_ == 0) (void)add_interface({.link = options_.link});
  }

  /// A part of the block, in whole records.
  struct whole {
    /// In bytes.
    std::size_t size;
    /// In packets.
    std::size_t packets;
  };
  /// How many bytes and packets of the block are whole records when only the first `n` bytes were written.
  [[nodiscard]] whole whole_records(std::size_t n) const noexcept {
    whole w{0, 0};
    if (options_.format == capture_format::pcap && headed_) {
      if (n < pcap_file_header::size) return w;
      w.size = pcap_file_header::size;
    }
    for (;;) {
      const std::byte* p = memory_.data() + w.size;
      const std::size_t left = n - w.size;
      if (left < pcap_record_header_size) return w;
      const bool classic = options_.format == capture_format::pcap;
      const std::size_t total =
          classic ? pcap_record_header_size + detail::load<std::uint32_t>(p + 8) : detail::load<std::uint32_t>(p + 4);
      if (total > left) return w;
      w.size += total;
      if (classic || detail::load<std::uint32_t>(p) == pcapng::enhanced_packet) ++w.packets;
    }
  }

 private:
  std::size_t packet_block_size(const capture_record& r) const noexcept {
    return 32 + pcapng::padded(captured(r)) + (r.direction != packet_direction::unknown ? 12 : 0);
  }
  static constexpr std::uint32_t snap(const pcap_writer_options& o) noexcept {
    return o.snap_length == 0 || o.snap_length > max_captured_length ? max_captured_length : o.snap_length;
  }
  void put32(std::uint32_t v) noexcept {
    detail::store(memory_.data() + size_, v);
    size_ += 4;
  }
  void put16(std::uint16_t v) noexcept {
    detail::store(memory_.data() + size_, v);
    size_ += 2;
  }

  void start() noexcept {
    started_ = true;
    headed_ = true;
    if (options_.format == capture_format::pcap) {
      pcap_file_header header;
      header.nanoseconds = options_.nanoseconds;
      header.snap_length = options_.snap_length;
      header.linktype = linktype_of(options_.link);
      header.write(memory_.data() + size_);
      size_ += pcap_file_header::size;
      return;
    }
    constexpr char application[] = "runnel\0";  // six letters and the padding
    constexpr std::uint32_t total = 28 + 4 + 8 + 4;
    put32(pcapng::section_header);
    put32(total);
    put32(pcapng::byte_order_magic);
    put16(1);
    put16(0);
    put32(0xffff'ffff);  // section length: not said
    put32(0xffff'ffff);
    put16(pcapng::shb_userappl);
    put16(6);
    for (std::size_t i = 0; i < 8; ++i) store_u8(memory_.data() + size_++, static_cast<std::uint8_t>(application[i]));
    put32(pcapng::option_end);
    put32(total);
  }
  // The number of the interface in the section; `max_interfaces` when there is none.
  [[nodiscard]] std::size_t find_interface(const capture_record& r) const noexcept {
    std::size_t same_link = max_interfaces;
    for (std::size_t i = 0; i < interfaces_; ++i) {
      if (interface_[i].link != r.link) continue;
      if (interface_[i].number == r.iif && !interface_[i].outdated) return i;
      if (same_link == max_interfaces && interfaces_ == max_interfaces &&
          interface_[i].linktype == linktype_of_record(r, description_of(r.iif)))
        same_link = i;
    }
    return same_link;
  }
  std::size_t add_interface(const capture_record& r) noexcept {
    const description said = description_of(r.iif);
    const std::uint16_t linktype = linktype_of_record(r, said);
    const auto total = static_cast<std::uint32_t>(20 + option_size(said.name) + option_size(said.text) + 8 + 4);
    put32(pcapng::interface_description);
    put32(total);
    put16(linktype);
    put16(0);
    put32(options_.snap_length);
    put_option(pcapng::if_name, said.name);
    put_option(pcapng::if_description, said.text);
    put16(pcapng::if_tsresol);
    put16(1);
    store_u8(memory_.data() + size_, options_.nanoseconds ? 9 : 6);
    zero_bytes(memory_.data() + size_ + 1, 3);
    size_ += 4;
    put32(pcapng::option_end);
    put32(total);
    interface_[interfaces_] = {r.iif, linktype, r.link, false, digest_of(said)};
    return interfaces_++;
  }
  static bytes text_bytes(const char* text) noexcept {
    return {reinterpret_cast<const std::byte*>(text), __builtin_strlen(text)};
  }
  // An empty option is none.
  static std::size_t option_size(bytes value) noexcept { return value.empty() ? 0 : 4 + pcapng::padded(value.size()); }
  void put_option(std::uint16_t code, bytes value) noexcept {
    if (value.empty()) return;
    put16(code);
    put16(static_cast<std::uint16_t>(value.size()));
    std::byte* const to = memory_.data() + size_;
    copy_bytes(to, value.data(), value.size());
    zero_bytes(to + value.size(), pcapng::padded(value.size()) - value.size());
    size_ += pcapng::padded(value.size());
  }
  // What is to be said of an interface. A link type only where the library has no name for it.
  struct description {
    bytes name;
    bytes text;
    std::uint16_t foreign_linktype = interface_descriptions::no_linktype;
  };
  [[nodiscard]] static std::uint16_t linktype_of_record(const capture_record& r, const description& said) noexcept {
    const bool foreign = r.link == link_type::unknown && said.foreign_linktype != interface_descriptions::no_linktype;
    return foreign ? said.foreign_linktype : linktype_of(r.link);
  }
  [[nodiscard]] description description_of(std::uint16_t iif) const noexcept {
    description d;
    if (descriptions_ == nullptr) return d;
    d.name = text_bytes(descriptions_->name_of(iif));
    d.text = text_bytes(descriptions_->description_of(iif));
    const std::uint16_t linktype = descriptions_->linktype_of(iif);
    if (link_from_linktype(linktype) == link_type::unknown) d.foreign_linktype = linktype;
    return d;
  }
  // FNV-1a: two descriptions that differ have two of these, but for one chance in 2^64.
  [[nodiscard]] static std::uint64_t digest_of(const description& d) noexcept {
    std::uint64_t h = 0xcbf2'9ce4'8422'2325;
    const auto add = [&h](std::uint64_t v) { h = (h ^ v) * 0x100'0000'01b3; };
    for (std::byte b : d.name) add(static_cast<std::uint64_t>(b));
    add(256);  // no byte
    for (std::byte b : d.text) add(static_cast<std::uint64_t>(b));
    add(d.foreign_linktype);
    return h;
  }
  // Packets to come of interfaces that are described otherwise now get another description.
  void learn() noexcept {
    learnt_ = descriptions_->changes();
    for (std::size_t i = 0; i < interfaces_; ++i)
      interface_[i].outdated = interface_[i].digest != digest_of(description_of(interface_[i].number));
    last_interface_ = max_interfaces;
  }
  [[nodiscard]] std::byte* begin_pcapng(const capture_record& r) noexcept {
    std::size_t iif = last_interface_;
    if (iif >= interfaces_ || interface_[iif].number != r.iif || interface_[iif].link != r.link) {
      iif = find_interface(r);
      if (iif == max_interfaces) iif = add_interface(r);
      last_interface_ = iif;
    }
    const std::size_t n = captured(r);
    std::byte* p = memory_.data() + size_;
    const std::int64_t since = r.timestamp.ns < 0 ? 0 : r.timestamp.ns;
    const auto ticks = static_cast<std::uint64_t>(options_.nanoseconds ? since : since / 1000);
    detail::store(p, pcapng::enhanced_packet);
    detail::store(p + 4, static_cast<std::uint32_t>(packet_block_size(r)));
    detail::store(p + 8, static_cast<std::uint32_t>(iif));
    detail::store(p + 12, static_cast<std::uint32_t>(ticks >> 32));
    detail::store(p + 16, static_cast<std::uint32_t>(ticks));
    detail::store(p + 20, static_cast<std::uint32_t>(n));
    detail::store(p + 24, wire_length(r));
    return p + 28;
  }
  [[nodiscard]] std::byte* begin_pcap(const capture_record& r) noexcept {
    std::byte* p = memory_.data() + size_;
    const std::int64_t since = r.timestamp.ns < 0 ? 0 : r.timestamp.ns;
    const std::int64_t seconds = since / 1'000'000'000;
    const auto fraction = static_cast<std::uint32_t>(since % 1'000'000'000);
    detail::store(p, seconds > 0xffff'ffff ? std::uint32_t{0xffff'ffff} : static_cast<std::uint32_t>(seconds));
    detail::store(p + 4, options_.nanoseconds ? fraction : fraction / 1000);
    detail::store(p + 8, static_cast<std::uint32_t>(captured(r)));
    detail::store(p + 12, wire_length(r));
    return p + pcap_record_header_size;
  }
  static std::uint32_t wire_length(const capture_record& r) noexcept {
    return r.wire_length < 0xffff'ffff ? static_cast<std::uint32_t>(r.wire_length) : 0xffff'ffffu;
  }

  struct described {
    std::uint16_t number;
    std::uint16_t linktype;  // as the file has it
    link_type link;
    bool outdated;         // something else is said of that number now
    std::uint64_t digest;  // of what it says
  };
  mutable_bytes memory_;
  pcap_writer_options options_;
  std::size_t size_ = 0;
  std::size_t packets_ = 0;
  bool started_ = false;  // the file header was made
  bool headed_ = false;   // and is in this block
  std::size_t interfaces_ = 0;
  std::size_t last_interface_ = 0;
  described interface_[max_interfaces] = {};
  const interface_descriptions* descriptions_ = nullptr;
  std::uint32_t learnt_ = 0;
};

}  // namespace runnel

#endif
