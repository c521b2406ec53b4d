// SPDX-License-Identifier: MIT
// A network interface whose other end is this program: TAP (Ethernet frames) and TUN (IP packets). What the kernel
// sends to the interface is received here, and what is transmitted here the kernel receives.
// Documentation/networking/tuntap.rst, drivers/net/tun.c in Linux.
//
//     auto tap = device::tap::open("tap0", {.mtu = 9000});
//     if (!tap) return fail(tap.error());   // tap: open /dev/net/tun: No such file or directory: load the module tun
//     loop work{time, attach(*tap, parse() | ... | transmit(*tap))};
//
// Theory of operation. One packet is one read(2) or write(2): the kernel offers nothing else, and it is the system call
// that costs. A read goes right into a slot of the pool, behind its headroom, and no byte is copied here. With
// `vnet_header` a header of ten bytes lies before each packet (virtio_net.hpp); a read puts it into the headroom, a
// write takes it from the stack.
//
//      slot   | headroom    |header| packet            | one byte more: filled, the packet was longer |
//             +-------------+------+-------------------+-----------------------------------------------+
//
// One device is one queue of the interface. For several threads each opens the same name with `multi_queue`; the kernel
// then keeps a flow on one of the queues, that on which this program last sent to it.
#ifndef RUNNEL_DEVICE_TAP_HPP
#define RUNNEL_DEVICE_TAP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/counted.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/network_namespace.hpp>
#include <runnel/device/partial_checksum.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/virtio_net.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>
#include <runnel/wire/address.hpp>

#if defined(__linux__)

#include <errno.h>         // errno
#include <fcntl.h>         // open
#include <linux/if_tun.h>  // TUNSETIFF
#include <sys/ioctl.h>     // ioctl
#include <sys/uio.h>       // writev
#include <unistd.h>        // read, write

namespace runnel::device {

/// What the kernel's side of the interface speaks.
enum class tap_mode : std::uint8_t {
  tap,  ///< Ethernet frames
  tun,  ///< IPv4 and IPv6 packets without a link header (link_type::raw_ip)
};

/// Whether the interface stays when the last device on it is closed.
enum class tap_persistence : std::uint8_t {
  unchanged,  ///< one that is made here goes; one that was made to stay, as by `ip tuntap add`, stays
  on,         ///< it stays
  off,        ///< it goes, also one that was made to stay
};

/// How an interface is opened. What is not given stays as the kernel has it.
struct tap_options {
  tap_mode mode = tap_mode::tap;
  bool create = true;        ///< make the interface when there is none; else that is an error
  bool multi_queue = false;  ///< the same name may be opened several times, once for each thread; all must say so
  /// Packets carry what is left to do for them: checksums may be partial, in both directions. All queues alike.
  bool vnet_header = false;
  /// The kernel hands over TCP and UDP in pieces of up to 64 KiB, to be cut to `segment_size` by whoever puts them on a
  /// wire, and takes such pieces. Implies `vnet_header`, and slots of 64 KiB.
  bool segmentation = false;
  bool up = true;                                        ///< set the interface up
  tap_persistence persist = tap_persistence::unchanged;  ///< whether it stays when the last device on it is closed
  std::uint32_t mtu = 0;  ///< longest packet in bytes, without the Ethernet header; 0: as it is
  mac_address mac{};      ///< of the kernel's side; zeros: as it is
  /// Where to open it: a name of `ip netns`, or a path, as /proc/PID/ns/net or, of an open descriptor,
  /// /proc/self/fd/N. Null: in the namespace of the thread, which stays there in any case.
  const char* network_namespace = nullptr;
  pool* memory = nullptr;  ///< whose slots to receive into; null: a pool of its own
  /// Of its own pool: how many slots; 0 is 4096, with `segmentation` 512.
  std::uint32_t packets = 0;
  /// Of its own pool: bytes of a slot, at most 65535; 0 is what the MTU needs, with `segmentation` 65535.
  std::uint32_t packet_bytes = 0;
};

/// What a device has done, since it was opened.
struct tap_statistics {
  std::uint64_t received = 0;           ///< packets handed out
  std::uint64_t received_bytes = 0;     ///< of these
  std::uint64_t reads = 0;              ///< system calls for that, those that found nothing included
  std::uint64_t dropped = 0;            ///< lost because the interface's queue was full; of all its queues together
  std::uint64_t too_long = 0;           ///< received and lost: longer than a slot (drop_reason::too_big)
  std::uint64_t malformed = 0;          ///< received and lost: the kernel's header cannot be right
  std::uint64_t transmitted = 0;        ///< packets that the kernel took
  std::uint64_t transmitted_bytes = 0;  ///< of these
  std::uint64_t writes = 0;             ///< system calls for that
  std::uint64_t refused = 0;            ///< packets left with the caller, because the kernel had no room
  std::uint64_t while_down = 0;         ///< transmitted and lost: the interface was down, or gone
  std::uint64_t invalid = 0;            ///< transmitted and lost: the kernel, or the lack of a header, did not allow it
};

/// One line: "received 12 (1176 bytes), transmitted 12 (1176 bytes), 3 lost as too long, 25 system calls". Counters of
/// trouble only when not 0.
inline void print(text_writer& out, const tap_statistics& s) noexcept {
  out << "received " << s.received << " (" << s.received_bytes << " bytes), transmitted " << s.transmitted << " ("
      << s.transmitted_bytes << " bytes)";
  detail::print_counted(out, {{s.dropped, "dropped by a full queue"},
                              {s.too_long, "lost as too long"},
                              {s.malformed, "lost as malformed"},
                              {s.refused, "refused by a full interface"},
                              {s.while_down, "lost while it was down"},
                              {s.invalid, "lost as not allowed"}});
  out << ", " << s.reads + s.writes << " system calls";
}

/// One queue of a TAP or TUN interface. Move-only; all its packets must have come home when it is destroyed, if it owns
/// the pool (RUNNEL_ASSERT). An interface that it made goes with the last queue, unless it is persistent.
///
/// What comes while nobody receives waits in the kernel, as many packets as the interface's queue is long (`ip link`
/// says `qlen`); more are lost, and counted (`statistics().dropped`).
class tap {
 public:
  /// Opens an interface, or makes it. `name` is its name, or one with a %d in it, which the kernel replaces by the
  /// first free number: `name()` says which it became. Needs CAP_NET_ADMIN, unless the interface was made for this
  /// user.
  [[nodiscard]] static result<tap, error> open(const char* name, const tap_options& options = {}) noexcept {
    if (__builtin_strlen(name) >= detail::interface_name_size)
      return error("tap", "open", detail::short_name(name).c_str(), "the name is too long",
                   "an interface's name has at most 15 characters");
    auto visit = detail::namespace_visit::enter("tap", options.network_namespace);
    if (!visit) return visit.error();
    if (!options.create) {
      if (auto there = network_interface::open_for("tap", name); !there) return there.error();
    }
    detail::file_handle file(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), true);
    if (file.get() < 0) return cannot_open_driver(errno);
    detail::sys::interface_request ask;
    __builtin_memcpy(ask.name, name, __builtin_strlen(name));
    const bool header = options.vnet_header || options.segmentation;
    ask.value.flags =
        static_cast<std::int16_t>(IFF_NO_PI | (options.mode == tap_mode::tap ? IFF_TAP : IFF_TUN) |
                                  (header ? IFF_VNET_HDR : 0) | (options.multi_queue ? IFF_MULTI_QUEUE : 0));
    if (::ioctl(file.get(), TUNSETIFF, &ask) != 0) return cannot_attach(name, options, errno);
    // The kernel gives the name back, with its number in the place of %d.
    if (auto set = set_offloads(file.get(), ask.name, options); !set) return set.error();
    auto settings = network_interface::open_for("tap", ask.name);
    if (!settings) return settings.error();
    if (auto set = set_interface(*settings, options); !set) return set.error();
    auto now = settings->status();
    if (!now) return now.error();
    auto made = finish(static_cast<detail::file_handle&&>(file), static_cast<network_interface&&>(*settings), now->mtu,
                       options);
    // At the end: nothing stays of what could not be opened, and nothing goes for it.
    if (made && options.persist != tap_persistence::unchanged) {
      if (auto set = made->set_persistent(options.persist == tap_persistence::on); !set) return set.error();
    }
    return made;
  }
  tap(tap&&) noexcept = default;
  tap& operator=(tap&&) = delete;

  /// The name of the interface, as it was opened.
  [[nodiscard]] const char* name() const noexcept { return interface_.name(); }
  /// The interface: its MTU, its address, up and down. It may be changed at any time.
  [[nodiscard]] network_interface& settings() noexcept { return interface_; }
  /// Sets whether the interface stays when the last device on it is closed. `on`, or why it cannot be set.
  result<bool, error> set_persistent(bool on) noexcept {
    if (::ioctl(file_.get(), TUNSETPERSIST, on ? 1ul : 0ul) != 0)
      return problem("set the persistence of", name(), errno, "");
    return on;
  }

  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return memory_.get(); }
  /// Reads up to `room` packets. A system call for each, and one more where it finds nothing. Their timestamp is `now`.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    std::size_t n = 0;
    for (std::size_t tries = 0; tries < room && !gone_; ++tries) {
      frame f = memory().allocate_frame();
      if (f.slot == no_slot) break;
      f.timestamp = now;
      f.link = link_;
      f.data = f.head() + headroom_;
      f.headroom = static_cast<std::uint16_t>(headroom_);
      const outcome got = read_into(f);
      if (got == outcome::packet) {
        ++n;
        take(f);
        continue;
      }
      memory().release(&f, 1);
      if (got == outcome::nothing) break;
    }
    return n;
  }
  /// Whether the interface was deleted: nothing will come any more.
  [[nodiscard]] bool done() const noexcept { return gone_; }
  /// Why nothing will come any more: the interface was deleted. Null while all is well.
  [[nodiscard]] const error* failure() const noexcept { return gone_ ? &failure_ : nullptr; }
  /// The file descriptor to wait on until there is something to receive; -1 when the interface was deleted.
  [[nodiscard]] int wait_handle() const noexcept { return gone_ ? -1 : file_.get(); }
  /// Whether it can hand out nothing before packets come home: its pool is empty.
  [[nodiscard]] bool lacks_memory() const noexcept { return memory_.get().available() == 0; }
  /// The file descriptor to wait on (POLLOUT) until the kernel has room again; -1 when the interface was deleted.
  [[nodiscard]] int transmit_handle() const noexcept { return wait_handle(); }

  /// Writes packets, fragments without copying them, a system call for each. What the kernel has no room for stays with
  /// the caller, that packet and all behind it. A packet is taken and lost (`lost()`) while the interface is down, and
  /// when it cannot be: longer than its segments without a `vnet_header` to say so, more than 64 fragments that do not
  /// fit one slot, not an IP packet (TUN). Completes partial checksums when there is no header.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    std::size_t i = 0;
    while (i < n && send(packets[i])) ++i;
    statistics_.refused += n - i;
    pool::release(packets, i);
    return i;
  }
  /// The same for frames that came from this device.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant) noexcept {
    std::size_t i = 0;
    while (i < n && send(frames[i])) ++i;
    statistics_.refused += n - i;
    memory().release(frames, i);
    return i;
  }

  /// Packets that were taken by `transmit` and lost.
  [[nodiscard]] std::uint64_t lost() const noexcept { return statistics_.while_down + statistics_.invalid; }
  /// What it has done. Asks the kernel for what it dropped, by two system calls; what it said last stays when the
  /// interface is gone, or was moved to another network namespace.
  [[nodiscard]] tap_statistics statistics() noexcept {
    const std::uint64_t drops = interface_.transmit_drops();
    if (drops > dropped_before_ + statistics_.dropped) statistics_.dropped = drops - dropped_before_;
    return statistics_;
  }

 private:
  static constexpr std::size_t header_bytes = sizeof(detail::virtio_net_header);
  static constexpr std::size_t max_parts = 64;

  enum class outcome : std::uint8_t { packet, lost, nothing };

  tap(detail::file_handle&& file, network_interface&& settings, detail::device_memory&& memory, std::size_t headroom,
      const tap_options& options) noexcept
      : file_(static_cast<detail::file_handle&&>(file)),
        interface_(static_cast<network_interface&&>(settings)),
        memory_(static_cast<detail::device_memory&&>(memory)),
        headroom_(headroom),
        room_(memory_.get().headroom() + memory_.get().packet_bytes() - headroom),
        link_(options.mode == tap_mode::tap ? link_type::ethernet : link_type::raw_ip),
        header_(options.vnet_header || options.segmentation),
        dropped_before_(interface_.transmit_drops()),
        failure_("tap", "use", interface_.name(), "the interface was deleted", "open it again", ENODEV) {}

  static error problem(const char* what, const char* on, int number, const char* advice) noexcept {
    return {"tap", what, on, ::strerror(number), advice, number};
  }
  static error cannot_open_driver(int number) noexcept {
    const bool absent = number == ENOENT || number == ENODEV || number == ENXIO;
    return problem("open", "/dev/net/tun", number,
                   absent                                ? "load the module tun; in a container: --device /dev/net/tun"
                   : number == EACCES || number == EPERM ? "run as root, or let this user read and write it"
                                                         : detail::opening_advice(number, ""));
  }
  static error cannot_attach(const char* name, const tap_options& options, int number) noexcept {
    const char* advice = "";
    switch (number) {
      case EPERM: advice = "run as root, with CAP_NET_ADMIN, or as the user that the interface was made for"; break;
      case EBUSY: advice = "another program has it open: end that, or let both open it with multi_queue"; break;
      case EINVAL:
        advice = options.multi_queue || !options.create
                     ? "give a legal name, and open an existing one in its own mode, multi_queue as it was made"
                     : "it is another kind of interface, was made with multi_queue, or the name is not legal";
        break;
      case E2BIG: advice = "it has as many queues as there can be"; break;
      default: break;
    }
    return problem("attach to", name, number, advice);
  }
  // The kernel remembers both from whoever had the interface before: they are set even when they are off.
  static result<bool, error> set_offloads(int fd, const char* name, const tap_options& options) noexcept {
    constexpr unsigned uso4 = 0x20, uso6 = 0x40;  // TUN_F_USO4 and TUN_F_USO6, Linux 6.2
    const bool header = options.vnet_header || options.segmentation;
    if (header) {
      int size = header_bytes;
      if (::ioctl(fd, TUNSETVNETHDRSZ, &size) != 0) return problem("set the header of", name, errno, "");
    }
    const unsigned checksum = header ? TUN_F_CSUM : 0u;
    const unsigned tcp = options.segmentation ? TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0u;
    const unsigned udp = options.segmentation ? uso4 | uso6 : 0u;
    if (::ioctl(fd, TUNSETOFFLOAD, static_cast<unsigned long>(checksum | tcp | udp)) == 0) return true;
    if (errno == EINVAL && ::ioctl(fd, TUNSETOFFLOAD, static_cast<unsigned long>(checksum | tcp)) == 0) return true;
    return problem("set the offloads of", name, errno, "");
  }
  static result<bool, error> set_interface(network_interface& settings, const tap_options& options) noexcept {
    if (!(options.mac == mac_address{})) {
      if (auto set = settings.set_mac(options.mac); !set) return set.error();
    }
    if (options.mtu != 0) {
      if (auto set = settings.set_mtu(options.mtu); !set) return set.error();
    }
    if (options.up) {
      if (auto set = settings.set_up(true); !set) return set.error();
    }
    return true;
  }
  static result<tap, error> finish(detail::file_handle&& file, network_interface&& settings, std::uint32_t mtu,
                                   const tap_options& options) noexcept {
    // Ethernet header, VLAN tag, and the byte that shows that a packet was longer.
    const std::size_t link = options.mode == tap_mode::tap ? 18 : 0;
    const std::size_t needed = (options.segmentation ? 65536 : mtu) + link + 1;
    pool_config config{.packets = options.packets != 0 ? options.packets : options.segmentation ? 512u : 4096u};
    const std::size_t bytes = needed < 65535 ? needed : 65535;
    if (bytes > config.bytes) config.bytes = static_cast<std::uint32_t>(bytes);
    if (options.packet_bytes != 0) config.bytes = options.packet_bytes;
    if (needed > bytes) config.headroom += 64;
    auto memory = detail::device_memory::open(options.memory, config);
    if (!memory) return memory.error();
    // Where the bytes behind the headroom do not do, a part of the headroom does.
    const pool& slots = memory->get();
    const std::size_t whole = std::size_t{slots.headroom()} + slots.packet_bytes();
    const std::size_t kept = whole > needed ? whole - needed : 0;
    const std::size_t headroom = kept < slots.headroom() ? kept : slots.headroom();
    if (whole < needed || ((options.vnet_header || options.segmentation) && headroom < header_bytes)) {
      text<96> why;
      why << "its packets have up to " << std::uint64_t{needed - 1} << " bytes, and a slot of the pool "
          << std::uint64_t{whole};
      return error("tap", "receive from", settings.name(), why.c_str(),
                   "a smaller MTU, or larger slots: packet_bytes, or pool_config::bytes");
    }
    return tap(static_cast<detail::file_handle&&>(file), static_cast<network_interface&&>(settings),
               static_cast<detail::device_memory&&>(*memory), headroom, options);
  }

  // Into a frame whose headroom is set.
  outcome read_into(frame& f) noexcept {
    const std::size_t before = header_ ? header_bytes : 0;
    ++statistics_.reads;
    const ::ssize_t got = detail::sys::read(file_.get(), f.data - before, before + room_);
    if (got < static_cast<::ssize_t>(before)) {
      gone_ = got < 0 && errno == EBADFD;
      return outcome::nothing;
    }
    const std::size_t length = static_cast<std::size_t>(got) - before;
    if (length >= room_) {
      ++statistics_.too_long;
      return outcome::lost;
    }
    f.length = static_cast<std::uint32_t>(length);
    const std::size_t tail = room_ - length;
    f.tailroom = static_cast<std::uint16_t>(tail < 0xffff ? tail : 0xffff);
    if (header_) {
      detail::virtio_net_header h;
      __builtin_memcpy(&h, f.data - before, sizeof h);
      if (!detail::read_virtio_net_header(h, f)) {
        ++statistics_.malformed;
        return outcome::lost;
      }
    }
    ++statistics_.received;
    statistics_.received_bytes += length;
    return outcome::packet;
  }

  // Whether it is no longer the caller's: it was sent, or lost.
  bool send(packet& p) noexcept {
    const std::size_t length = p.total_length();
    if (!header_) {
      if (p.segment_size() != 0 && !detail::is_one_segment(p.contents(), link_, length, p.segment_size()))
        return lose();
      if (p.checksum() == checksum_status::partial && !detail::complete_transport_checksum(p, link_)) return lose();
      if (!p.is_chained()) [[likely]]
        return count(detail::sys::write(file_.get(), p.data(), length), length);
    }
    ::iovec parts[1 + max_parts];
    std::size_t used = 1;
    const auto collect = [&](bytes part) {
      if (used <= max_parts) parts[used] = {const_cast<std::byte*>(part.data()), part.size()};
      ++used;
    };
    p.for_each_fragment(collect);
    if (used > 1 + max_parts) {
      if (!p.linearize()) return lose();
      used = 1;
      p.for_each_fragment(collect);
    }
    return write_parts(
        parts, used, length,
        detail::make_virtio_net_header(p.contents(), link_, length - p.length(), p.checksum(), p.segment_size()));
  }
  bool send(const frame& f) noexcept {
    if (!header_) {
      if (f.segment_size != 0 && !detail::is_one_segment(f.contents(), link_, f.length, f.segment_size)) return lose();
      if (f.checksum == checksum_status::partial) detail::complete_transport_checksum(f.contents(), link_);
      return count(detail::sys::write(file_.get(), f.data, f.length), f.length);
    }
    ::iovec parts[2] = {{}, {f.data, f.length}};
    return write_parts(parts, 2, f.length,
                       detail::make_virtio_net_header(f.contents(), link_, 0, f.checksum, f.segment_size));
  }
  // The first part is left free for the header.
  bool write_parts(::iovec* parts, std::size_t used, std::size_t length, detail::virtio_net_header h) noexcept {
    const std::size_t first = header_ ? 0 : 1;
    parts[0] = {&h, sizeof h};
    return count(::writev(file_.get(), parts + first, static_cast<int>(used - first)), length);
  }
  bool count(::ssize_t written, std::size_t length) noexcept {
    ++statistics_.writes;
    if (written >= 0) [[likely]] {
      ++statistics_.transmitted;
      statistics_.transmitted_bytes += length;
      return true;
    }
    switch (errno) {
      case EAGAIN:
      case ENOBUFS:
      case ENOMEM:
      case EINTR: return false;
      case EBADFD: gone_ = true; [[fallthrough]];
      case EIO: ++statistics_.while_down; return true;
      default: return lose();
    }
  }
  bool lose() noexcept {
    ++statistics_.invalid;
    return true;
  }

  detail::file_handle file_;
  network_interface interface_;
  detail::device_memory memory_;
  std::size_t headroom_;  // of a frame
  std::size_t room_;      // bytes of a slot behind it
  link_type link_;
  bool header_;
  bool gone_ = false;
  std::uint64_t dropped_before_;  // by the interface, before it was opened here
  tap_statistics statistics_;
  error failure_;  // when it is gone
};
static_assert(receiving_device<tap> && transmitting_device<tap> && frame_transmitting_device<tap>);

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif
