// SPDX-License-Identifier: MIT
// The sending side of a packet socket: up to 64 packets in one sendmmsg(2), right from where they lie. packet(7).
// Nothing here is for users.
//
// Theory of operation. The kernel copies each packet into a buffer of its own during the call, so nothing is out when
// it returns. A transmit ring (PACKET_TX_RING) would save that copy and cost one into the ring before: it was measured,
// on a veth pair, and is slower at 60 and at 1514 bytes. Before each packet lies a virtio net header (PACKET_VNET_HDR),
// which says what is left to do for it: in the packet's headroom when that is its own, so that it is one piece.
#ifndef RUNNEL_DEVICE_PACKET_SENDER_HPP
#define RUNNEL_DEVICE_PACKET_SENDER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint64_t
#include <new>      // placement new

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/virtio_net.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

namespace runnel::detail {

/// What became of packets that were to be sent.
struct packet_sender_counters {
  std::uint64_t transmitted = 0;  ///< the kernel took them
  std::uint64_t refused = 0;      ///< left with the caller: the kernel or the interface had no room
  std::uint64_t while_down = 0;   ///< lost: the interface was down, or gone
  std::uint64_t invalid = 0;      ///< lost: too long for the interface, too short, in too many pieces
  std::uint64_t calls = 0;        ///< system calls for that
};

/// Sends packets by a socket. Move-only.
class packet_sender {
 public:
  /// Sends nothing.
  packet_sender() noexcept = default;
  /// By a socket that is bound to an interface and expects a virtio net header. Check `ready()`: there may be no
  /// memory.
  packet_sender(file_handle&& socket, link_type link, bool bypasses_qdisc) noexcept
      : socket_(static_cast<file_handle&&>(socket)),
        storage_(sizeof(batch)),
        link_(link),
        bypasses_qdisc_(bypasses_qdisc) {
    if (!ready()) return;
    ::new (static_cast<void*>(storage_.data())) batch;
  }
  [[nodiscard]] bool ready() const noexcept { return storage_.data() != nullptr; }
  /// Whether the interface was deleted.
  [[nodiscard]] bool gone() const noexcept { return gone_; }
  /// What can be written to when there is room again; -1 when only the interface knows when that is.
  [[nodiscard]] int handle() const noexcept { return waits_for_buffer_ && !gone_ ? socket_.get() : -1; }
  [[nodiscard]] const packet_sender_counters& counters() const noexcept { return count_; }

  /// Sends packets or frames, in order from the first. Says how many are done with: sent, or lost and counted. The
  /// kernel holds none of them, and they are still the caller's to release.
  template <class Packet>
  [[nodiscard]] std::size_t send(Packet* packets, std::size_t n) noexcept {
    std::size_t done = 0;
    bool tried_again = false;
    while (done < n) {
      if (gone_) [[unlikely]] {
        count_.while_down += n - done;
        return n;
      }
      const unsigned filled = fill(packets + done, n - done);
      if (filled == 0) [[unlikely]] {
        ++count_.invalid;
        ++done;
        continue;
      }
      ++count_.calls;
      const int sent = sys::sendmmsg(socket_.get(), in().messages, filled, sys::msg_dontwait);
      if (sent > 0) [[likely]] {
        count_.transmitted += static_cast<unsigned>(sent);
        done += static_cast<unsigned>(sent);
        continue;
      }
      // The error is that of the first one.
      switch (errno) {
        case EINTR: break;
        case EAGAIN:
        case ENOBUFS:
        case ENOMEM:
          waits_for_buffer_ = errno == EAGAIN;
          // Without a qdisc, nobody does for an interface what it cannot do itself: that packet would never go.
          if (bypasses_qdisc_ && errno == ENOBUFS && has_work_left(packets[done])) {
            ++count_.invalid;
            ++done;
            break;
          }
          count_.refused += n - done;
          return done;
        case ENETDOWN:
          // A socket remembers that its interface was down, and says so once more when it is up again.
          if (tried_again) {
            count_.while_down += n - done;
            return n;
          }
          tried_again = true;
          break;
        case ENXIO:
        case ENODEV: gone_ = true; break;
        default:
          ++count_.invalid;
          ++done;
          break;
      }
    }
    return done;
  }

 private:
  static constexpr unsigned max_messages = 64, max_parts = 256, max_parts_of_one = 128;

  // In memory of its own, because the kernel is given addresses inside of it.
  struct batch {
    sys::counted_message messages[max_messages];
    ::iovec parts[max_parts];
    virtio_net_header headers[max_messages];
  };
  [[nodiscard]] batch& in() const noexcept { return *static_cast<batch*>(static_cast<void*>(storage_.data())); }

  static bool has_work_left(const packet& p) noexcept {
    return p.checksum() == checksum_status::partial || p.segment_size() != 0;
  }
  static bool has_work_left(const frame& f) noexcept {
    return f.checksum == checksum_status::partial || f.segment_size != 0;
  }
  // How many messages it made; 0 when the first packet cannot be one.
  template <class Packet>
  RUNNEL_INLINE unsigned fill(Packet* packets, std::size_t n) noexcept {
    batch& b = in();
    const unsigned most = n < max_messages ? static_cast<unsigned>(n) : max_messages;
    unsigned parts = 0, i = 0;
    for (; i < most; ++i) {
      const unsigned used = describe(packets[i], b.headers[i], b.parts + parts, max_parts - parts);
      if (used == 0) [[unlikely]]
        break;
      b.messages[i].header.parts = b.parts + parts;
      b.messages[i].header.part_count = used;
      parts += used;
    }
    return i;
  }
  // How many parts it is; 0 when that is more than there is room for.
  RUNNEL_INLINE unsigned describe(packet& p, virtio_net_header& apart, ::iovec* to, unsigned room) noexcept {
    if (has_work_left(p) || p.is_chained()) [[unlikely]]
      return describe_slow(p, apart, to, room);
    const std::size_t length = p.length();
    if (std::byte* const header = p.push(sizeof apart); header != nullptr) [[likely]] {
      (void)p.pull(sizeof apart);
      return describe_one(header, {}, length, to, room);
    }
    return describe_two(apart, {}, const_cast<std::byte*>(p.data()), length, to, room);
  }
  RUNNEL_INLINE unsigned describe(const frame& f, virtio_net_header& apart, ::iovec* to, unsigned room) noexcept {
    virtio_net_header header;
    if (has_work_left(f)) [[unlikely]]
      header = make_virtio_net_header(f.contents(), link_, 0, f.checksum, f.segment_size);
    if (f.headroom >= sizeof header) [[likely]]
      return describe_one(f.data - sizeof header, header, f.length, to, room);
    return describe_two(apart, header, f.data, f.length, to, room);
  }
  [[gnu::noinline]] unsigned describe_slow(packet& p, virtio_net_header& apart, ::iovec* to, unsigned room) noexcept {
    const virtio_net_header header =
        make_virtio_net_header(p.contents(), link_, p.total_length() - p.length(), p.checksum(), p.segment_size());
    unsigned used = 1;
    const auto collect = [&](bytes part) {
      if (used < max_parts_of_one && used < room) to[used] = {const_cast<std::byte*>(part.data()), part.size()};
      ++used;
    };
    p.for_each_fragment(collect);
    if (used > max_parts_of_one && p.linearize()) {
      used = 1;
      p.for_each_fragment(collect);
    }
    if (used > max_parts_of_one || used > room) return 0;
    apart = header;
    to[0] = {&apart, sizeof apart};
    return used;
  }
  RUNNEL_INLINE static unsigned describe_one(std::byte* at, const virtio_net_header& header, std::size_t length,
                                             ::iovec* to, unsigned room) noexcept {
    if (room < 1) [[unlikely]]
      return 0;
    __builtin_memcpy(at, &header, sizeof header);
    *to = {at, sizeof header + length};
    return 1;
  }
  static unsigned describe_two(virtio_net_header& apart, const virtio_net_header& header, std::byte* data,
                               std::size_t length, ::iovec* to, unsigned room) noexcept {
    if (room < 2) return 0;
    apart = header;
    to[0] = {&apart, sizeof apart};
    to[1] = {data, length};
    return 2;
  }

  file_handle socket_;
  mapping storage_;
  link_type link_ = link_type::ethernet;
  bool bypasses_qdisc_ = false;
  bool waits_for_buffer_ = false;
  bool gone_ = false;
  packet_sender_counters count_;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
