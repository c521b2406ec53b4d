// SPDX-License-Identifier: MIT
// Writes packets to a pcapng or pcap file: as the device at the end of a pipeline, or as a tap beside one.
//
//     auto out = pcap_writer::open("out.pcapng");
//     if (!out) return fail(out.error());
//     out->write(packet);
//     if (auto problem = out->close()) warn(*problem);   // or let the destructor close it
//
// Theory of operation. Records are put together in a block of memory and written when the next one might not fit,
// always whole records at once. Timestamps are a packet's own, so that what was captured keeps its time. When the
// system takes only a part (a full disk), the file is cut back to the last whole record, so that it stays readable.
#ifndef RUNNEL_DEVICE_PCAP_WRITER_HPP
#define RUNNEL_DEVICE_PCAP_WRITER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/time.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/heap_pages.hpp>
#include <runnel/device/large_file.hpp>
#include <runnel/device/partial_checksum.hpp>
#include <runnel/device/pcap_record.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/packet/packet.hpp>

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>   // errno, EINTR, EAGAIN, ENOENT
#include <fcntl.h>   // O_CREAT
#include <poll.h>    // poll
#include <unistd.h>  // write

namespace runnel {

/// A transmitting device that writes a capture. Move-only. Memory is taken at `open` only: one block.
///
/// After a failure (disk full, reader of the pipe gone) it goes on taking packets and releases them unwritten, counted
/// in `lost()`, so that whoever feeds it does not wait for ever; `failure()` says what happened. A program that writes
/// to a pipe ignores SIGPIPE, or is ended by it.
class pcap_writer {
 public:
  /// Creates the file at `path`, or empties it when it is there; "-" is standard output. The header is written at
  /// the first flush.
  [[nodiscard]] static result<pcap_writer, error> open(const char* path, pcap_writer_options options = {}) noexcept {
    if (detail::is_dash(path)) return start({1, false}, "standard output", options);
    const int fd = detail::open_large_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) {
      const int number = errno;
      const char* const advice = number == ENOENT && path[0] != '\0'
                                     ? "make the folder first"
                                     : "give a path that may be written, or - for standard output";
      return error("pcap", "create", detail::short_name(path).c_str(), ::strerror(number),
                   detail::opening_advice(number, advice), number);
    }
    return start({fd, true}, path, options);
  }
  /// The same over an open file descriptor, from where it stands; the writer closes it. `name` is for messages, and
  /// is copied.
  [[nodiscard]] static result<pcap_writer, error> adopt(int fd, const char* name,
                                                        pcap_writer_options options = {}) noexcept {
    return start({fd, true}, name, options);
  }
  pcap_writer(pcap_writer&&) noexcept = default;
  pcap_writer& operator=(pcap_writer&&) = delete;
  /// Flushes, and closes what `open` opened. Errors are lost here: call `close`.
  ~pcap_writer() { (void)close(); }

  /// Writes the packets with their timestamps, or `now` where a packet has none (0), and releases them. Takes all of
  /// them; what cannot be written is counted in `lost()`.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
      const instant when = packets[i].timestamp();
      (void)write(packets[i], when == instant{} ? now : when, packet_direction::unknown);
      packets[i].reset();
    }
    return n;
  }
  /// Writes a packet, all its fragments as one, at its own timestamp; it stays the caller's. False, and counted in
  /// `lost()`, when that is not possible: after a failure, or when a classic capture is of another link type.
  bool write(const packet& p) noexcept { return write(p, p.timestamp(), packet_direction::unknown); }
  /// The same for a frame.
  bool write(const frame& f) noexcept { return write(f, f.timestamp, packet_direction::unknown); }
  /// The same at another time, and with the way that the packet went. @{
  bool write(const packet& p, instant when, packet_direction direction) noexcept {
    const std::size_t length = p.total_length();
    const capture_record r{when, length, length + p.missing(), p.iif(), p.layers().link_kind(), direction};
    std::byte* to = begin(r);
    if (to == nullptr) return false;
    std::size_t at = 0;
    const std::size_t captured = block_.captured(r);
    p.for_each_fragment([&](bytes part) {
      part = part.first(captured - at);
      copy_bytes(to + at, part.data(), part.size());
      at += part.size();
    });
    return finish(to, r, p.checksum());
  }
  bool write(const frame& f, instant when, packet_direction direction) noexcept {
    const capture_record r{when, f.length, std::size_t{f.length} + f.missing, f.iif, f.link, direction};
    std::byte* to = begin(r);
    if (to == nullptr) return false;
    copy_bytes(to, f.data, block_.captured(r));
    return finish(to, r, f.checksum);
  }
  /// @}
  /// Writes literal bytes, of the link type in the options. `wire_length` is how long the packet was before it was
  /// cut; 0, or less than there is, means that all of it is there.
  bool write(bytes data, instant timestamp, std::size_t wire_length = 0, std::uint16_t iif = 0) noexcept {
    const std::size_t wire = wire_length > data.size() ? wire_length : data.size();
    const capture_record r{timestamp, data.size(), wire, iif, block_.options().link};
    std::byte* to = begin(r);
    if (to == nullptr) return false;
    copy_bytes(to, data.data(), block_.captured(r));
    return finish(to, r, checksum_status::unknown);
  }

  /// Says what the interface with the number `iif` is called, from its next packet on: `describe(0, nic->name())` for
  /// the packets of a device. The texts are copied, and cut to 127 bytes. False when there is no room for them. A
  /// classic capture has no place for them.
  bool describe(std::uint16_t iif, const char* name, const char* description = "") noexcept {
    if (storage_.data() == nullptr) return false;  // moved from
    const bool fits = descriptions_->set(iif, bytes_of(name), bytes_of(description));
    block_.describe_as(*descriptions_);
    of_others_ = false;
    return fits;
  }
  /// Says of all interfaces what `others` does, now and when that changes: `describe_as(in->descriptions())` for the
  /// packets of a capture, which keep the names and link types of up to 64 interfaces so. Not together with `describe`:
  /// what was called last holds. `others`, and so the reader, must stay where it is until the writer was given the last
  /// packet.
  void describe_as(const interface_descriptions& others) noexcept {
    block_.describe_as(others);
    of_others_ = true;
  }

  /// Hands everything to the system now. False when that failed, now or before.
  bool flush() noexcept {
    if (!file_open()) return false;
    if (of_others_) block_.open();  // their interfaces are those of the packets to come
    else block_.open_empty();
    return !failed_ && write_out();
  }
  /// Flushes and closes. Null when all that was accepted is written, else why not: the error of the first failure.
  /// Nothing can be written afterwards.
  [[nodiscard]] const error* close() noexcept {
    if (file_open()) {
      if (of_others_) block_.describe_as(*descriptions_);  // they may be gone
      block_.open_empty();
      (void)flush();
      if (const int number = file_.close(); number != 0 && !failed_) fail("close", number);
      closed_ = true;
    }
    return failure();
  }

  /// What went wrong; null while all is well.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }
  /// Packets in the file or on the way there.
  [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
  /// How many bytes the capture has so far, with those that are still in the block: for files of a limited size. A
  /// packet adds `capture_block::overhead` to its own bytes at most.
  [[nodiscard]] std::uint64_t size() const noexcept { return handed_over_ + block_.size(); }
  /// Packets that were given to the writer and are not in the file (drop_reason::transmit_error).
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  // In front of the block: what `describe` was told, which so stays where it is when the writer is moved.
  static constexpr std::size_t front = (sizeof(interface_descriptions) + 63) / 64 * 64;

  pcap_writer(detail::file_handle&& file, const char* name, pcap_writer_options options) noexcept
      : file_(static_cast<detail::file_handle&&>(file)),
        name_(name),
        storage_(front + capture_block::bytes_needed(options)),
        block_(
            storage_.data() == nullptr ? mutable_bytes{} : mutable_bytes{storage_.data(), storage_.size()}.from(front),
            options) {
    if (storage_.data() != nullptr) descriptions_ = new (storage_.data()) interface_descriptions;
  }
  static bytes bytes_of(const char* text) noexcept {
    return {reinterpret_cast<const std::byte*>(text), __builtin_strlen(text)};
  }

  static result<pcap_writer, error> start(detail::file_handle&& file, const char* path,
                                          pcap_writer_options options) noexcept {
    pcap_writer writer(static_cast<detail::file_handle&&>(file), path, options);
    const char* name = writer.name_.c_str();
    detail::file_status about;
    if (!detail::look_at(writer.file_.get(), about)) {
      const int number = errno;
      writer.closed_ = true;
      return error("pcap", "look at", name, ::strerror(number), "", number);
    }
    writer.regular_ = about.regular;
    if (writer.storage_.data() != nullptr) return writer;
    writer.closed_ = true;
    return error("pcap", "create", name, "no memory for a block", "choose a smaller one", ENOMEM);
  }

  // Where the bytes of the record go; null when it cannot be written.
  std::byte* begin(const capture_record& r) noexcept {
    if (file_open() && !failed_) {
      std::byte* to = block_.begin(r);
      if (to == nullptr && block_.accepts(r) && write_out()) to = block_.begin(r);
      if (to != nullptr) return to;
    }
    ++lost_;
    return nullptr;
  }
  bool finish(std::byte* data, const capture_record& r, checksum_status checksum) noexcept {
    // A capture shows what is on the wire, so what the packet's device was to fill in is filled in in the copy.
    if (checksum == checksum_status::partial && block_.captured(r) == r.wire_length)
      detail::complete_transport_checksum({data, r.wire_length}, r.link);
    block_.finish(r);
    ++written_;
    return true;
  }
  bool write_out() noexcept {
    std::size_t done = 0;
    while (done < block_.size()) {
      const ::ssize_t n = ::write(file_.get(), block_.data() + done, block_.size() - done);
      if (n > 0) {
        done += static_cast<std::size_t>(n);
        handed_over_ += static_cast<std::size_t>(n);
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        ::pollfd one{file_.get(), POLLOUT, 0};
        (void)::poll(&one, 1, -1);
        continue;
      }
      fail("write", n == 0 ? EIO : errno);
      cut_back(done);
      break;
    }
    block_.clear();
    return !failed_;
  }
  // Takes the part of a record away that the system took last. Pipes keep it.
  void cut_back(std::size_t done) noexcept {
    const capture_block::whole whole = block_.whole_records(done);
    const std::uint64_t gone = block_.packets() - whole.packets;
    written_ -= gone;
    lost_ += gone;
    if (!regular_ || whole.size == done) return;
    const std::int64_t end = detail::position_in(file_.get());
    if (end < 0 || !detail::cut_file(file_.get(), end - static_cast<std::int64_t>(done - whole.size))) return;
    handed_over_ -= done - whole.size;
  }
  void fail(const char* step, int number) noexcept {
    failed_ = true;
    failure_ = error("pcap", step, name_.c_str(), ::strerror(number), "what was written before is readable", number);
  }
  [[nodiscard]] bool file_open() const noexcept { return !closed_ && storage_.data() != nullptr; }

  detail::file_handle file_;
  detail::short_name name_;
  detail::heap_pages storage_;  // the descriptions and the block; null in a writer that was moved from
  interface_descriptions* descriptions_ = nullptr;
  capture_block block_;
  bool of_others_ = false;  // it is described as `describe_as` says
  bool regular_ = false;
  bool closed_ = false;
  bool failed_ = false;
  std::uint64_t written_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t handed_over_ = 0;  // bytes, to the system
  error failure_{"pcap", "write", "", ""};
};
static_assert(transmitting_device<pcap_writer>);

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
