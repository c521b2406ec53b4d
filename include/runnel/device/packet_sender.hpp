// SPDX-License-Identifier: MIT
// The sending side of packet sockets: most packets by a ring, a whole burst in one system call; packets that stand for
// many segments, or do not fit a slot, one by one from where they lie. In order. Nothing here is for users.
#ifndef RUNNEL_DEVICE_PACKET_SENDER_HPP
#define RUNNEL_DEVICE_PACKET_SENDER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/packet_transmit_ring.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/virtio_net.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/packet.hpp>

#if defined(__linux__)

#include <time.h>  // clock_gettime

namespace runnel::detail {

/// What became of packets that were to be sent.
struct packet_sender_counters {
  std::uint64_t transmitted = 0;  ///< the kernel took them
  std::uint64_t refused = 0;      ///< left with the caller: the kernel or the interface had no room
  std::uint64_t while_down = 0;   ///< lost: the interface was down, or gone
  std::uint64_t invalid = 0;      ///< lost: too long for the interface, too short, refused for a second
  std::uint64_t calls = 0;        ///< system calls for that
};

/// Sends packets by two sockets that are bound to the same interface and expect a virtio net header: one with a ring,
/// and one without. Move-only.
class packet_sender {
 public:
  /// `slots` is the ring of `by_ring`, in memory that lives there. `longest` is that of a packet with its link header,
  /// which the kernel checks itself for the other socket only.
  packet_sender(file_handle&& by_ring, mapping&& memory, packet_transmit_ring slots, file_handle&& one_by_one,
                std::size_t longest, link_type link, bool bypasses_qdisc) noexcept
      : by_ring_(static_cast<file_handle&&>(by_ring)),
        memory_(static_cast<mapping&&>(memory)),
        ring_(slots),
        one_by_one_(static_cast<file_handle&&>(one_by_one)),
        longest_(longest < slots.longest() ? longest : slots.longest()),
        link_(link),
        bypasses_qdisc_(bypasses_qdisc) {}

  /// Whether the interface was deleted.
  [[nodiscard]] bool gone() const noexcept { return gone_; }
  /// What can be written to when there is room again; -1 when only the interface knows when that is.
  [[nodiscard]] int handle() const noexcept { return gone_ ? -1 : waits_at_; }
  [[nodiscard]] const packet_sender_counters& counters() const noexcept { return count_; }
  [[nodiscard]] const packet_transmit_ring& ring() const noexcept { return ring_; }

  /// Sends packets or frames, in order from the first. Says how many are done with: sent, or lost and counted. The
  /// kernel holds none of them, and they are still the caller's to release.
  template <class Packet>
  [[nodiscard]] std::size_t send(const Packet* packets, std::size_t n) noexcept {
    std::size_t done = 0;
    told_down_ = false;
    dropped_ = false;
    while (done < n) {
      if (gone_) [[unlikely]] {
        count_.while_down += n - done;
        return n;
      }
      step s = step::sent;
      std::size_t put = 0;
      while (done + put < n && put_on_ring(packets[done + put], s)) ++put;
      if (put != 0) [[likely]] {
        const bool was_called = call();
        const int number = was_called ? 0 : errno;
        const packet_transmit_ring::outcome o = ring_.settle();
        count_.transmitted += o.done;
        done += o.done;
        if (o.done == put) [[likely]]
          continue;
        // A call that says it went well and did nothing would do so again.
        s = o.wrong ? step::invalid : after_error(was_called && o.done == 0 ? EAGAIN : number, by_ring_.get());
        if (s == step::refused && has_no_way(packets[done], number)) s = step::invalid;
      } else if (s == step::full) {  // of what the driver has not sent yet; the socket could be written to all the time
        s = refuse(-1);
      } else {
        s = send_alone(packets[done]);
      }
      switch (s) {
        case step::sent:
          ++count_.transmitted;
          ++done;
          break;
        case step::invalid:
          ++count_.invalid;
          ++done;
          break;
        case step::refused:
          if (dropped_ && done == 0 && never_goes()) {
            ++count_.invalid;
            ++done;
            break;
          }
          if (done != 0) refused_since_ = never;
          count_.refused += n - done;
          return done;
        case step::down: count_.while_down += n - done; return n;
        case step::full:
        case step::again: break;
      }
    }
    refused_since_ = never;
    return done;
  }

 private:
  // How long the first packet may be refused again and again while no other goes.
  static constexpr duration patience = seconds(1);
  // What became of a packet, or why it is not on the ring.
  enum class step : std::uint8_t { sent, invalid, refused, down, again, full };

  static constexpr unsigned max_parts = 128;

  static std::size_t length_of(const packet& p) noexcept { return p.total_length(); }
  static std::size_t length_of(const frame& f) noexcept { return f.length; }
  static std::uint16_t segment_size(const packet& p) noexcept { return p.segment_size(); }
  static std::uint16_t segment_size(const frame& f) noexcept { return f.segment_size; }
  static bool is_partial(const packet& p) noexcept { return p.checksum() == checksum_status::partial; }
  static bool is_partial(const frame& f) noexcept { return f.checksum == checksum_status::partial; }
  [[nodiscard]] virtio_net_header header_of(const packet& p) const noexcept {
    return make_virtio_net_header(p.contents(), link_, p.total_length() - p.length(), p.checksum(), p.segment_size());
  }
  [[nodiscard]] virtio_net_header header_of(const frame& f) const noexcept {
    return make_virtio_net_header(f.contents(), link_, 0, f.checksum, f.segment_size);
  }

  template <class Packet>
  RUNNEL_INLINE bool put_on_ring(const Packet& p, step& why_not) noexcept {
    const std::size_t length = length_of(p);
    if (length > longest_ || segment_size(p) != 0) [[unlikely]]
      if (segment_size(p) != 0 || !fits_by_its_tag(p, length)) return false;
    virtio_net_header todo;
    if (is_partial(p)) [[unlikely]]
      todo = header_of(p);
    if (ring_.put(p, length, todo)) [[likely]]
      return true;
    why_not = step::full;
    return false;
  }
  // As the kernel has it: a packet with a VLAN tag may be longer by that.
  template <class Packet>
  [[nodiscard]] bool fits_by_its_tag(const Packet& p, std::size_t length) const noexcept {
    const bytes head = p.contents();
    return link_ == link_type::ethernet && length <= longest_ + 4 && length <= ring_.longest() && head.size() >= 14 &&
           load_be16(head.data() + 12) == 0x8100;
  }
  bool call() noexcept {
    ++count_.calls;
    return sys::sendto(by_ring_.get(), nullptr, 0, sys::msg_dontwait) >= 0;
  }
  step refuse(int handle) noexcept {
    waits_at_ = handle;
    return step::refused;
  }
  step after_error(int number, int socket) noexcept {
    switch (number) {
      case 0:
      case EINTR: return step::again;
      case EAGAIN: return refuse(socket);
      case ENOBUFS: dropped_ = true; [[fallthrough]];
      case ENOMEM: return refuse(-1);
      case ENETDOWN: {
        // A socket remembers that its interface was down, and says so once more when it is up again.
        const bool told = told_down_;
        told_down_ = true;
        return told ? step::down : step::again;
      }
      case ENXIO:
      case ENODEV: gone_ = true; return step::again;
      default: return step::invalid;
    }
  }
  // A driver that drops what it can never send, as veth does with what is longer than the MTU at its other end, says
  // the same as a full qdisc, which gets on at some time: by the time of the kernel, for a capture's clock runs ahead
  // while nothing goes.
  bool never_goes() noexcept {
    ::timespec t{};
    (void)::clock_gettime(CLOCK_MONOTONIC, &t);
    const instant now{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
    const bool begins = refused_since_ == never || now < refused_last_ || now - refused_last_ > patience / 4;
    refused_last_ = now;
    if (begins) refused_since_ = now;
    return now - refused_since_ >= patience;
  }
  // Without a qdisc, nobody does for an interface what it cannot do itself: such a packet would never go.
  template <class Packet>
  bool has_no_way(const Packet& p, int number) const noexcept {
    return bypasses_qdisc_ && number == ENOBUFS && (is_partial(p) || segment_size(p) != 0);
  }

  template <class F>
  static void for_each_part(const packet& p, F f) noexcept {
    p.for_each_fragment(f);
  }
  template <class F>
  static void for_each_part(const frame& f, F g) noexcept {
    g(bytes{f.data, f.length});
  }
  template <class Packet>
  [[gnu::noinline]] step send_alone(const Packet& p) noexcept {
    virtio_net_header header = header_of(p);
    ::iovec parts[1 + max_parts];
    parts[0] = {&header, sizeof header};
    unsigned used = 1;
    for_each_part(p, [&](bytes part) {
      if (used <= max_parts) parts[used] = {const_cast<std::byte*>(part.data()), part.size()};
      ++used;
    });
    if (used > 1 + max_parts) return step::invalid;
    sys::message m;
    m.parts = parts;
    m.part_count = used;
    ++count_.calls;
    if (sys::sendmsg(one_by_one_.get(), m, sys::msg_dontwait) >= 0) return step::sent;
    const int number = errno;
    const step s = after_error(number, one_by_one_.get());
    return s == step::refused && has_no_way(p, number) ? step::invalid : s;
  }

  file_handle by_ring_;
  mapping memory_;
  packet_transmit_ring ring_;
  file_handle one_by_one_;
  std::size_t longest_;
  link_type link_;
  bool bypasses_qdisc_;
  bool told_down_ = false;
  bool dropped_ = false;           // the kernel said ENOBUFS, in this call
  instant refused_since_ = never;  // since when nothing goes; `never` while something does
  instant refused_last_{};
  bool gone_ = false;
  int waits_at_ = -1;
  packet_sender_counters count_;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
