// SPDX-License-Identifier: MIT
// A capture as a device: pcap and pcapng files and pipes, packet by packet, without copying one.
//
//     mapped_pool memory = ...;
//     auto in = pcap_reader::open("in.pcap", memory);
//     if (!in) return fail(in.error());
//     while (!in->done()) { n = in->receive(64, now, into_array(frames)); ... }
//     if (in->failure()) warn(*in->failure());
//
// Theory of operation. The file is read in large blocks into memory of the reader's own, and packets are lent from
// there, where they lie. When only a piece of a record is left in the block, it is moved to just before the place
// where the next block is read to, so that a read always fills whole pages:
//
//     |<------ front ----->|<-------------- block ---------------->|
//     |        | cut record|...of it | record | record | rec       |
//
// Because bytes are overwritten then, nothing is read while somebody still holds a packet of this reader.
#ifndef RUNNEL_DEVICE_PCAP_READER_HPP
#define RUNNEL_DEVICE_PCAP_READER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // int64_t, uint8_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/time.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/heap_pages.hpp>
#include <runnel/device/large_file.hpp>
#include <runnel/device/pcap_parser.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>   // errno, EINTR, EAGAIN
#include <fcntl.h>   // posix_fadvise
#include <poll.h>    // poll
#include <unistd.h>  // read

namespace runnel {

/// When the packets of a capture come.
enum class pace : std::uint8_t {
  unlimited,  ///< as fast as they are taken
  capture,    ///< as far apart as in the capture; the first one at once
};

/// How a capture is read.
struct pcap_reader_options {
  runnel::pace pace = pace::unlimited;
  std::size_t block = std::size_t{128} << 10;  ///< bytes that are read at once; at least 4096, at most 1 GiB
};

/// A receiving device over a capture. Move-only. Its packets are lent: they live until the next `receive`, which
/// hands out nothing as long as one of them is held (`keep()` what must stay). All must be gone when the reader is
/// destroyed (RUNNEL_ASSERT).
///
/// Memory is taken at `open`: the block and 64 KiB. It is taken anew, once for each record that is longer than all of
/// that, up to `pcap_parser::max_block` and the block. A reader of a pipe waits for nothing but its first header, at
/// `open`: with nothing to read, `receive` returns 0, and `wait_handle()` is what to wait on.
class pcap_reader {
 public:
  /// See `receiving_device`: the kernel has just copied them.
  static constexpr bool bytes_are_near = true;
  /// Opens the capture at `path`, "-" being standard input. Packets get their descriptors from `memory`, which must
  /// outlive the reader. Fails, with a sentence, when it cannot be read or does not begin like a capture.
  [[nodiscard]] static result<pcap_reader, error> open(const char* path, pool& memory,
                                                       pcap_reader_options options = {}) noexcept {
    if (detail::is_dash(path)) return start({0, false}, "standard input", memory, options);
    const int fd = detail::open_large_file(path, O_RDONLY);
    if (fd < 0) {
      const int number = errno;
      return error("pcap", "open", detail::short_name(path).c_str(), ::strerror(number),
                   detail::opening_advice(number, "give the path of a capture, or - for standard input"), number);
    }
    return start({fd, true}, path, memory, options);
  }
  /// The same over an open file descriptor, which the reader closes. `name` is for messages, and is copied.
  [[nodiscard]] static result<pcap_reader, error> adopt(int fd, const char* name, pool& memory,
                                                        pcap_reader_options options = {}) noexcept {
    return start({fd, true}, name, memory, options);
  }
  pcap_reader(pcap_reader&& other) noexcept
      : file_(static_cast<detail::file_handle&&>(other.file_)),
        name_(other.name_),
        memory_(other.memory_),
        options_(other.options_),
        parser_(other.parser_),
        storage_(static_cast<detail::heap_pages&&>(other.storage_)),
        begin_(other.begin_),
        end_(other.end_),
        held_(other.held_),
        holds_(other.holds_),
        shift_(other.shift_),
        shifted_(other.shifted_),
        regular_(other.regular_),
        finished_(other.finished_),
        failed_(other.failed_),
        size_(other.size_),
        failure_(other.failure_),
        lender_(other.lender_) {
    other.memory_ = nullptr;
    other.finished_ = true;
  }
  pcap_reader& operator=(pcap_reader&&) = delete;
  ~pcap_reader() {
    if (memory_ == nullptr) return;
    give_back_held();
    RUNNEL_ASSERT(memory_->lent(lender_) == 0 && "packets of a device must be gone before the device is");
    memory_->remove_lender(lender_);
  }

  [[nodiscard]] pool& memory() noexcept { return *memory_; }
  /// See `receiving_device`. Fewer frames than `room` does not mean that the end is near.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    if (memory_->lent(lender_) != (holds_ ? 1u : 0u) || room == 0) return 0;
    if (options_.pace == pace::capture) return receive_due(room, now, take);
    const std::size_t n = next(room, take);
    memory_->lend(lender_, static_cast<std::uint32_t>(n));
    return n;
  }
  /// Whether the capture is at its end, or no further packet can be read (`failure()`).
  [[nodiscard]] bool done() const noexcept { return finished_ && !holds_; }
  /// Why reading stopped before the end: a cut-off or damaged capture, or an error of the system. Null while all is
  /// well. Everything before the damage was handed out.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }

  /// How much of the capture was handed out or passed over, in bytes. In an early verdict its burst may not count yet.
  [[nodiscard]] std::uint64_t bytes_read() const noexcept { return parser_.position(); }
  /// How long the capture is in bytes; 0 when it is not a regular file.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// The link type of an interface of the current section, `unknown` when there is none (yet). A classic capture has
  /// interface 0 only.
  [[nodiscard]] link_type link_of(std::size_t iif) const noexcept {
    const capture_interface* i = parser_.interface_at(iif);
    return i != nullptr ? i->link : link_type::unknown;
  }
  /// What an interface of the current section is called there, "" when that is not known, as in a classic capture.
  /// Until the next `receive`. A packet is of the section that is current when it is handed out.
  [[nodiscard]] const char* name_of(std::size_t iif) const noexcept { return descriptions().name_of(iif); }
  /// All that the current section says of its interfaces, for a writer of their packets (`pcap_writer::describe_as`).
  [[nodiscard]] const interface_descriptions& descriptions() const noexcept { return parser_.descriptions(); }
  /// What is known of the format and its interfaces.
  [[nodiscard]] const pcap_parser& format() const noexcept { return parser_; }
  /// When the next `receive` may have something: a regular file at once (the earliest instant), with `pace::capture`
  /// when the packet that waits is due; `never` after the end, and for a pipe, where `wait_handle()` tells.
  [[nodiscard]] instant next_due() const noexcept {
    if (holds_) return held_due();
    return finished_ || !regular_ ? never : instant{INT64_MIN};
  }
  /// The file descriptor that becomes readable when there is more; -1 where nobody has to wait for that: of a regular
  /// file, at the end, while a packet waits until it is due.
  [[nodiscard]] int wait_handle() const noexcept { return regular_ || finished_ || holds_ ? -1 : file_.get(); }
  /// Sleeps until a pipe has more, or a signal comes, a second at most, for a loop may have been stopped meanwhile;
  /// returns at once where there is no handle.
  void wait() const noexcept {
    ::pollfd watched{wait_handle(), POLLIN, 0};
    if (watched.fd >= 0) (void)::poll(&watched, 1, 1000);
  }

 private:
  static constexpr std::size_t front = std::size_t{64} << 10;

  pcap_reader(detail::file_handle&& file, const char* name, pool& memory, pcap_reader_options options,
              std::uint8_t lender) noexcept
      : file_(static_cast<detail::file_handle&&>(file)),
        name_(name),
        memory_(&memory),
        options_(options),
        parser_(lender),
        storage_(front + options.block),
        begin_(front),
        end_(front),
        lender_(lender) {}

  static result<pcap_reader, error> start(detail::file_handle&& file, const char* path, pool& memory,
                                          pcap_reader_options options) noexcept {
    const detail::short_name name(path);
    detail::file_status about;
    if (!detail::look_at(file.get(), about)) {
      const int number = errno;
      return error("pcap", "look at", name.c_str(), ::strerror(number), "", number);
    }
    if (about.directory)
      return error("pcap", "open", name.c_str(), "it is a directory", "give the path of a capture", EISDIR);
    const std::uint8_t lender = memory.add_lender();
    if (lender == 0)
      return error("pcap", "open", name.c_str(), "too many devices lend to packets of one pool already",
                   "give this capture a pool of its own");
    constexpr std::size_t most = std::size_t{1} << 30;
    options.block = options.block < 4096 ? 4096 : options.block > most ? most : (options.block + 4095) / 4096 * 4096;
    pcap_reader reader(static_cast<detail::file_handle&&>(file), path, memory, options, lender);
    if (reader.storage_.data() == nullptr)
      return error("pcap", "open", name.c_str(), "no memory for a block", "choose a smaller one", ENOMEM);
    reader.regular_ = about.regular;
    reader.size_ = about.size;
#if defined(__linux__)
    if (reader.regular_) (void)::posix_fadvise(reader.file_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
    // The header decides whether this is a capture at all, so open() waits for it.
    while (!reader.parser_.started()) {
      reader.wait();
      (void)reader.next(0, into_array(nullptr));
      if (reader.failed_) return reader.failure_;
    }
    return reader;
  }

  // Parses what there is, and reads more when that gave nothing.
  template <class Take>
  std::size_t next(std::size_t room, Take&& take) noexcept {
    for (;;) {
      const bool started = parser_.started();
      const std::size_t n = parser_.parse({storage_.data() + begin_, end_ - begin_}, room, take);
      begin_ += parser_.consumed();
      if (n != 0) return n;
      if (parser_.fault() != pcap_fault::none) {
        fail(parser_.explain(name_.c_str()));
        return 0;
      }
      if (finished_ || (!started && parser_.started()) || !fill()) return 0;
    }
  }
  // Reads once, behind what is left. False when there is nothing now, or never again.
  bool fill() noexcept {
    if (!make_room()) return false;
    if (!regular_) {
      ::pollfd one{file_.get(), POLLIN, 0};
      if (::poll(&one, 1, 0) != 1) return false;  // a signal ends it too, and a read would wait
    }
    ::ssize_t n = 0;
    do n = ::read(file_.get(), storage_.data() + end_, storage_.size() - end_);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
      end_ += static_cast<std::size_t>(n);
      return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (n < 0) {
      const int number = errno;
      fail({"pcap", "read", name_.c_str(), ::strerror(number), "the packets before it were read", number});
      return false;
    }
    finished_ = true;
    parser_.end({storage_.data() + begin_, end_ - begin_});
    if (parser_.fault() != pcap_fault::none) fail(parser_.explain(name_.c_str()));
    else if (is_shorter_than_it_was())
      fail({"pcap", "read", name_.c_str(), "it has become shorter meanwhile", "the packets before it were read"});
    return false;
  }
  // Where a record ends nothing else tells that there were more. A capture that is adopted may begin in the middle of
  // its file.
  [[nodiscard]] bool is_shorter_than_it_was() const noexcept {
    const std::int64_t at = regular_ ? detail::position_in(file_.get()) : -1;
    return at >= 0 && static_cast<std::uint64_t>(at) < size_;
  }
  // Makes sure that the record which begins at begin_ fits behind it, and that a read of some size does.
  bool make_room() noexcept {
    const std::size_t left = end_ - begin_;
    const std::size_t need = parser_.wanted() > left ? parser_.wanted() : left + 1;
    // A pipe gives small pieces: go on behind the last one while there is room.
    if (need <= storage_.size() - begin_ && storage_.size() - end_ >= 4096 && left != 0) return true;
    std::size_t to = left <= front ? front - left : 0;
    if (need > storage_.size() - to) to = 0;
    if (need > storage_.size()) {
      detail::heap_pages larger(front +
                                (need > options_.block ? (need + options_.block) / 4096 * 4096 : options_.block));
      if (larger.data() == nullptr) {
        text<64> why;
        why << "no memory for a record of " << std::uint64_t{need} << " bytes";
        fail({"pcap", "read", name_.c_str(), why.c_str(), "the packets before it were read", ENOMEM});
        return false;
      }
      __builtin_memcpy(larger.data(), storage_.data() + begin_, left);
      storage_ = static_cast<detail::heap_pages&&>(larger);
    } else {
      __builtin_memmove(storage_.data() + to, storage_.data() + begin_, left);
    }
    begin_ = to;
    end_ = to + left;
    return true;
  }
  void fail(const error& why) noexcept {
    failure_ = why;
    failed_ = true;
    finished_ = true;
  }

  // One packet is looked at ahead; while it waits, its bytes count as lent.
  template <class Take>
  std::size_t receive_due(std::size_t room, instant now, Take& take) noexcept {
    std::size_t n = 0;
    while (n < room) {
      // Bytes of packets that were just handed out must stay, and the names of their interfaces, so only the first may
      // come from a new read or section.
      if (!holds_ && !look_ahead(n != 0)) break;
      if (!shifted_) {
        if (__builtin_sub_overflow(now.ns, held_.timestamp.ns, &shift_.ns))
          shift_.ns = held_.timestamp.ns < 0 ? INT64_MAX : INT64_MIN;
        shifted_ = true;
      }
      if (held_due() > now) break;
      holds_ = false;
      take(held_);
      ++n;
    }
    return n;
  }
  // A capture may claim times that lie too far apart for a number: what comes after the last one comes then, not now.
  [[nodiscard]] instant held_due() const noexcept {
    std::int64_t due = 0;
    if (__builtin_add_overflow(held_.timestamp.ns, shift_.ns, &due)) due = shift_.ns < 0 ? INT64_MIN : INT64_MAX;
    return {due < INT64_MAX ? due : INT64_MAX - 1};
  }
  bool look_ahead(bool without_reading) noexcept {
    if (without_reading) {
      const std::size_t n = parser_.parse({storage_.data() + begin_, end_ - begin_}, 1, into_array(&held_), true);
      begin_ += parser_.consumed();
      holds_ = n != 0;
    } else {
      holds_ = next(1, into_array(&held_)) != 0;
    }
    if (holds_) memory_->lend(lender_, 1);
    return holds_;
  }
  void give_back_held() noexcept {
    if (holds_) memory_->release(&held_, 1);
    holds_ = false;
  }

  detail::file_handle file_;
  detail::short_name name_;
  pool* memory_;
  pcap_reader_options options_;
  pcap_parser parser_;
  detail::heap_pages storage_;
  std::size_t begin_;  // of what is not parsed yet, in storage_
  std::size_t end_;
  frame held_{};
  bool holds_ = false;
  duration shift_{};  // from the capture's time to the caller's
  bool shifted_ = false;
  bool regular_ = false;
  bool finished_ = false;
  bool failed_ = false;
  std::uint64_t size_ = 0;
  error failure_{"pcap", "read", "", ""};
  std::uint8_t lender_;
};
static_assert(receiving_device<pcap_reader>);

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
