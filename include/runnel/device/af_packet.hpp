// SPDX-License-Identifier: MIT
// A network interface by a packet socket: all that it receives, beside the kernel's own stack, and what is sent goes
// straight to its driver. Works on every interface, and needs no support by the driver. packet(7).
//
//     auto eth = device::af_packet::open("eth0", {.promiscuous = true});
//     if (!eth) return fail(eth.error());   // af_packet: open eth0: Operation not permitted: run as root, or ...
//     loop work{time, attach(*eth, parse() | ... | transmit(*eth))};
//
// Theory of operation. One socket receives by a ring of blocks (TPACKET_V3) that the kernel fills and hands over
// when they are full or `block_timeout` is over; frames show the packets where they lie, and blocks go back as a whole
// when nothing of them is out (packet_ring.hpp). Packets are sent a burst in a system call, by a ring of slots that
// each is copied into (packet_transmit_ring.hpp); those that do not fit a slot go one by one (packet_sender.hpp). With
// all of them go virtio net headers, so that partial checksums and packets of up to 64 KiB that stand for many
// segments, as the kernel's own TCP makes them on veth, arrive as such (`packet::checksum()`, `segment_size()`) and can
// be sent on.
//
// The kernel's stack sees the same packets. A program that answers in its place gives the interface no addresses, or
// drops what comes there by nft.
#ifndef RUNNEL_DEVICE_AF_PACKET_HPP
#define RUNNEL_DEVICE_AF_PACKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/endian.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/packet_ring.hpp>
#include <runnel/device/packet_sender.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

#include <linux/filter.h>     // sock_fprog
#include <linux/if_packet.h>  // sockaddr_ll, tpacket_req3

namespace runnel::device {

/// How several devices on one interface, one for each thread, share what it receives. PACKET_FANOUT in packet(7).
enum class fanout_mode : std::uint8_t {
  none,      ///< each device gets every packet
  hash,      ///< by a hash of addresses and ports; both directions of a flow go to the same device
  lb,        ///< in turn
  cpu,       ///< by the processor on which the packet came
  rollover,  ///< to the first device as long as its ring has room, then to the next one
};

/// How an interface is opened.
struct af_packet_options {
  bool promiscuous = false;                ///< take frames to other stations too, for as long as the device is open
  fanout_mode fanout = fanout_mode::none;  ///< share what is received with other devices
  std::uint16_t fanout_group = 0;          ///< with which ones; 0: those of this process on this interface
  bool defragment = false;              ///< with fanout: IPv4 fragments are put together before, so flows stay together
  bool bypass_qdisc = false;            ///< send without traffic control, and unseen by tcpdump (PACKET_QDISC_BYPASS)
  std::uint32_t blocks = 64;            ///< of the receive ring; 0: the device only sends
  std::uint32_t block_size = 1u << 18;  ///< bytes; a power of two, at least a page, and as long as the longest packet
  duration block_timeout = milliseconds(1);  ///< how long a packet may wait for others; whole milliseconds, at least 1
  std::uint16_t headroom = 64;               ///< bytes before a received packet at least, for headers still to come
  std::uint32_t transmit_slots = 512;        ///< packets that the interface may have taken and not sent yet
  pool* memory = nullptr;        ///< for descriptors, and for packets that are kept; null: a pool of its own
  std::uint32_t packets = 2048;  ///< of its own pool: how many slots, and descriptors of received packets
};

/// What a device has done, since it was opened.
struct af_packet_statistics {
  std::uint64_t arrived = 0;       ///< packets that the kernel had for the device, those that it dropped included
  std::uint64_t received = 0;      ///< packets handed out
  std::uint64_t dropped = 0;       ///< received and lost: the ring was full (drop_reason::queue_full)
  std::uint64_t ring_full = 0;     ///< how often it became full
  std::uint64_t outgoing = 0;      ///< packets passed over because this machine sent them
  std::uint64_t cut = 0;           ///< handed out shorter than they were: longer than a block
  std::uint64_t malformed = 0;     ///< received and lost: the kernel's header cannot be right
  std::uint64_t transmitted = 0;   ///< packets that the kernel took
  std::uint64_t refused = 0;       ///< packets left with the caller, because the interface had no room
  std::uint64_t while_down = 0;    ///< transmitted and lost: the interface was down, or gone
  std::uint64_t invalid = 0;       ///< transmitted and lost: too long or too short for the interface
  std::uint64_t times_down = 0;    ///< how often the interface was found to have gone down
  std::uint64_t system_calls = 0;  ///< for all that; receiving takes none
};

/// One line: `arrived 12, received 12; transmitted 12, 3 system calls; dropped 3`. Counters of what went wrong only
/// where they are not 0.
inline void print(text_writer& out, const af_packet_statistics& s) noexcept {
  out << "arrived " << s.arrived << ", received " << s.received << "; transmitted " << s.transmitted << ", "
      << s.system_calls << " system calls";
  const auto also = [&](const char* what, std::uint64_t n) {
    if (n != 0) out << "; " << what << ' ' << n;
  };
  also("dropped", s.dropped);
  also("ring_full", s.ring_full);
  also("outgoing", s.outgoing);
  also("cut", s.cut);
  also("malformed", s.malformed);
  also("refused", s.refused);
  also("while_down", s.while_down);
  also("invalid", s.invalid);
  also("times_down", s.times_down);
}

/// An interface. Move-only. All packets of its pool must have come home when it is destroyed (RUNNEL_ASSERT).
///
/// An interface may go down and come up again: the device goes on. When it is deleted, `failure()` says so, and the
/// device is `done()`. What a program is too slow for is lost in the kernel, and counted (`statistics().dropped`).
class af_packet {
 public:
  /// Opens an interface of the thread's network namespace. Needs CAP_NET_RAW. Fails when there is no such interface,
  /// when its link is one that the library cannot read, and when the ring cannot be had.
  [[nodiscard]] static result<af_packet, error> open(const char* name, const af_packet_options& options = {}) noexcept {
    auto settings = network_interface::open_for("af_packet", name);
    if (!settings) return settings.error();
    const auto status = settings->status();
    if (!status) return status.error();
    const link_type link = link_of(status->hardware);
    if (link == link_type::unknown) return strange_link(name, status->hardware);
    const std::size_t longest = std::size_t{status->mtu} + 18 + detail::packet_block::front + options.headroom + 48;
    if (options.blocks != 0 && longest > options.block_size) return too_long(name, status->mtu, options);
    auto memory = detail::device_memory::open(
        options.memory, {.packets = options.packets, .bare = options.packets > 1024 ? options.packets : 1024u});
    if (!memory) return memory.error();
    lender lends(memory->get());
    if (lends.number() == 0)
      return error("af_packet", "open", name, "too many devices lend to packets of one pool already",
                   "give this device a pool of its own");
    auto sender = open_sender(name, *status, link, options);
    if (!sender) return sender.error();
    af_packet made(static_cast<network_interface&&>(*settings), static_cast<detail::device_memory&&>(*memory),
                   static_cast<lender&&>(lends), static_cast<detail::packet_sender&&>(*sender), link);
    if (options.blocks != 0) {
      if (auto opened = made.open_ring(options); !opened) return opened.error();
    }
    return made;
  }
  af_packet(af_packet&&) noexcept = default;
  af_packet& operator=(af_packet&&) = delete;

  /// The name of the interface, as it was opened.
  [[nodiscard]] const char* name() const noexcept { return settings_.name(); }
  /// The interface: its MTU, its address, up and down. It may be changed at any time.
  [[nodiscard]] network_interface& settings() noexcept { return settings_; }

  /// The pool of the descriptors that show what lies in the ring, and of the slots for what is kept.
  [[nodiscard]] pool& memory() noexcept { return memory_.get(); }
  /// See `receiving_device`. No system call, no copy. The timestamp of a frame is when the kernel saw the packet, in
  /// nanoseconds since 1970.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    pool& memory = memory_.get();
    if (memory.lent(lender_.number()) != 0 || room == 0) [[unlikely]]
      return 0;
    ring_.give_back();
    const std::size_t n = ring_.receive(room, like_, seen_, take);
    if (n == 0) {
      nothing_came(now);
      return 0;
    }
    memory.lend(lender_.number(), static_cast<std::uint32_t>(n));
    received_ += n;
    times_empty_ = 0;
    return n;
  }
  /// Whether nothing will ever come again: the interface was deleted.
  [[nodiscard]] bool done() const noexcept { return failed_; }
  /// Why nothing will come again: the interface was deleted. Null while all is well.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }
  /// The file descriptor to wait on until there is something to receive; -1 when nothing ever will be.
  [[nodiscard]] int wait_handle() const noexcept { return failed_ ? -1 : receiver_.get(); }
  /// When to look again without having been waked: while the interface is down, nobody says that it was deleted.
  [[nodiscard]] instant next_due() const noexcept { return down_ && !failed_ ? next_look_ : never; }

  /// Sends packets, of any pool and of up to 128 fragments, all in one system call. What the kernel has no room for
  /// stays with the caller, that packet and all behind it. A packet is taken and lost (`lost()`) while the interface is
  /// down, and when it is too long or too short for the interface. Partial checksums and packets that stand for several
  /// segments are the kernel's or the interface's to complete and cut; with `bypass_qdisc` only the interface's, and
  /// lost where it cannot do that.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant) noexcept {
    const std::size_t done = sender_.send(packets, n);
    pool::release(packets, done);
    if (sender_.gone()) [[unlikely]]
      fail();
    return done;
  }
  /// The same for frames that came from this device or are from its pool.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant) noexcept {
    const std::size_t done = sender_.send(frames, n);
    memory().release(frames, done);
    if (sender_.gone()) [[unlikely]]
      fail();
    return done;
  }

  /// The file descriptor that can be written to when there is room again for what was refused; -1 when nobody tells.
  [[nodiscard]] int transmit_handle() const noexcept { return sender_.handle(); }
  /// Packets that were taken by `transmit` and lost.
  [[nodiscard]] std::uint64_t lost() const noexcept {
    return sender_.counters().while_down + sender_.counters().invalid;
  }
  /// What it has done. Asks the kernel for what it dropped.
  [[nodiscard]] af_packet_statistics statistics() noexcept {
    ask_for_drops();
    const detail::packet_sender_counters& sent = sender_.counters();
    af_packet_statistics s;
    s.arrived = arrived_;
    s.received = received_;
    s.dropped = dropped_;
    s.ring_full = ring_full_;
    s.outgoing = seen_.outgoing;
    s.cut = seen_.cut;
    s.malformed = seen_.malformed;
    s.transmitted = sent.transmitted;
    s.refused = sent.refused;
    s.while_down = sent.while_down;
    s.invalid = sent.invalid;
    s.times_down = times_down_;
    s.system_calls = sent.calls + calls_;
    return s;
  }

 private:
  // Numbers of <linux/if_arp.h>, which includes too much.
  static constexpr std::uint16_t hardware_ethernet = 1, hardware_rawip = 519, hardware_tunnel = 768,
                                 hardware_loopback = 772, hardware_sit = 776, hardware_none = 0xfffe;
  static constexpr int packet_ignore_outgoing = 23;
  static constexpr std::uint16_t all_protocols = 3;  // ETH_P_ALL

  // A number from the pool, given back at the end.
  class lender {
   public:
    explicit lender(pool& memory) noexcept : memory_(&memory), number_(memory.add_lender()) {}
    lender(lender&& other) noexcept : memory_(other.memory_), number_(other.number_) { other.number_ = 0; }
    lender& operator=(lender&&) = delete;
    ~lender() {
      if (number_ == 0) return;
      RUNNEL_ASSERT(memory_->lent(number_) == 0 && "packets of a device must be gone before the device is");
      memory_->remove_lender(number_);
    }
    [[nodiscard]] std::uint8_t number() const noexcept { return number_; }

   private:
    pool* memory_;
    std::uint8_t number_;
  };

  af_packet(network_interface&& settings, detail::device_memory&& memory, lender&& lends,
            detail::packet_sender&& sender, link_type link) noexcept
      : settings_(static_cast<network_interface&&>(settings)),
        memory_(static_cast<detail::device_memory&&>(memory)),
        lender_(static_cast<lender&&>(lends)),
        sender_(static_cast<detail::packet_sender&&>(sender)) {
    like_.link = link;
    like_.lender = lender_.number();
  }

  static link_type link_of(std::uint16_t hardware) noexcept {
    switch (hardware) {
      case hardware_ethernet:
      case hardware_loopback: return link_type::ethernet;
      case hardware_none:
      case hardware_rawip:
      case hardware_tunnel:
      case hardware_sit: return link_type::raw_ip;
      default: return link_type::unknown;
    }
  }
  static error strange_link(const char* name, std::uint16_t hardware) noexcept {
    text<64> why;
    why << "its link is of a kind that is not known here (ARPHRD " << hardware << ')';
    return {"af_packet", "open", name, why.c_str(), "open one with Ethernet or IP packets"};
  }
  static error too_long(const char* name, std::uint32_t mtu, const af_packet_options& options) noexcept {
    text<96> why, advice;
    why << "a packet of its MTU, " << mtu << ", does not fit a block of " << options.block_size << " bytes";
    advice << "a smaller MTU, or a larger block_size";
    return {"af_packet", "open", name, why.c_str(), advice.c_str(), EMSGSIZE};
  }
  static error problem(const char* what, const char* on, int number, const char* advice = "") noexcept {
    if (number == EPERM || number == EACCES) advice = "run as root, or give the program CAP_NET_RAW";
    if (number == ENODEV || number == ENXIO) advice = "the interface was deleted just now";
    return {"af_packet", what, on, ::strerror(number), advice, number};
  }
  static bool set(int fd, int option, int value) noexcept {
    return detail::sys::setsockopt(fd, detail::sys::sol_packet, option, &value, sizeof value) == 0;
  }
  // Without a protocol, so that nothing comes before it is bound.
  static detail::file_handle open_socket() noexcept {
    using namespace detail;
    return {sys::socket(sys::af_packet, sys::sock_raw | sys::sock_nonblock | sys::sock_cloexec, 0), true};
  }
  static bool bind_to(int fd, int index, std::uint16_t protocol) noexcept {
    ::sockaddr_ll address{};
    address.sll_family = detail::sys::af_packet;
    store_be16(static_cast<std::byte*>(static_cast<void*>(&address.sll_protocol)), protocol);
    address.sll_ifindex = index;
    return detail::sys::bind(fd, &address, sizeof address) == 0;
  }

  static result<bool, error> prepare_to_send(const detail::file_handle& socket, const char* name,
                                             const af_packet_options& options, std::uint64_t bytes_waiting) noexcept {
    using namespace detail;
    const int fd = socket.get();
    if (fd < 0) return problem("open", name, errno, errno == EAFNOSUPPORT ? "load the module af_packet" : "");
    if (!set(fd, PACKET_VNET_HDR, 1)) return problem("set the header of", name, errno);
    if (options.bypass_qdisc && !set(fd, PACKET_QDISC_BYPASS, 1)) return problem("bypass the qdisc of", name, errno);
    // Beyond the system's limit (net.core.wmem_max) with CAP_NET_ADMIN, else up to it.
    const auto size = static_cast<int>(bytes_waiting < (1u << 30) ? bytes_waiting : 1u << 30);
    if (sys::setsockopt(fd, sys::sol_socket, sys::so_sndbufforce, &size, sizeof size) != 0)
      (void)sys::setsockopt(fd, sys::sol_socket, sys::so_sndbuf, &size, sizeof size);
    return true;
  }
  static result<detail::packet_sender, error> open_sender(const char* name, const interface_status& status,
                                                          link_type link, const af_packet_options& options) noexcept {
    using namespace detail;
    // Longer ones go one by one.
    constexpr std::uint32_t longest_in_slot = 9216;
    const std::size_t link_header = link == link_type::ethernet ? 14 : 0;
    const std::size_t slot =
        packet_transmit_ring::slot_size((status.mtu < longest_in_slot ? status.mtu : longest_in_slot) + link_header);
    // So many slots are whole pages, whatever odd number of lines they have.
    const auto in_block = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE) / 64);
    const std::uint64_t blocks = (std::uint64_t{options.transmit_slots} + in_block - 1) / in_block;
    const std::uint64_t slots = (blocks != 0 ? blocks : 1) * in_block;
    file_handle by_ring = open_socket(), one_by_one = open_socket();
    if (auto done = prepare_to_send(by_ring, name, options, slots * (slot + 1024)); !done) return done.error();
    if (auto done = prepare_to_send(one_by_one, name, options, 4u << 20); !done) return done.error();
    ::tpacket_req ask{};
    ask.tp_block_size = static_cast<unsigned>(slot * in_block);
    ask.tp_block_nr = static_cast<unsigned>(slots / in_block);
    ask.tp_frame_size = static_cast<unsigned>(slot);
    ask.tp_frame_nr = static_cast<unsigned>(slots);
    mapping memory;
    int number = ENOMEM;
    if (slots <= (1u << 30) / slot) {
      if (set(by_ring.get(), PACKET_VERSION, TPACKET_V2) &&
          sys::setsockopt(by_ring.get(), sys::sol_packet, PACKET_TX_RING, &ask, sizeof ask) == 0)
        memory = mapping::of(by_ring.get(), static_cast<std::size_t>(slots) * slot);
      number = errno;
    }
    if (memory.data() == nullptr) {
      text<96> what;
      what << "a ring of " << slots << " slots of " << std::uint64_t{slot} << " bytes on " << name;
      return problem("make", what.c_str(), number, "choose fewer transmit_slots");
    }
    if (!bind_to(by_ring.get(), status.index, 0) || !bind_to(one_by_one.get(), status.index, 0))
      return problem("bind to", name, errno);
    const packet_transmit_ring ring(memory.data(), slot, static_cast<std::uint32_t>(slots));
    return packet_sender(static_cast<file_handle&&>(by_ring), static_cast<mapping&&>(memory), ring,
                         static_cast<file_handle&&>(one_by_one), status.mtu + link_header, link, options.bypass_qdisc);
  }

  result<bool, error> open_ring(const af_packet_options& options) noexcept {
    using namespace detail;
    receiver_ = open_socket();
    const int fd = receiver_.get();
    if (fd < 0) return problem("open", name(), errno);
    if (!set(fd, PACKET_VERSION, TPACKET_V3) || !set(fd, PACKET_VNET_HDR, 1))
      return problem("receive from", name(), errno, "it takes Linux 3.2");
    (void)set(fd, packet_ignore_outgoing, 1);  // Linux 4.20. What comes all the same is passed over.
    const int reserve = options.headroom > packet_block::front ? options.headroom - int{packet_block::front} : 0;
    if (!set(fd, PACKET_RESERVE, reserve)) return problem("reserve headroom on", name(), errno);
    if (auto made = map_ring(options); !made) return made.error();
    if (options.promiscuous) {
      ::packet_mreq all{};
      all.mr_ifindex = settings_.index();
      all.mr_type = PACKET_MR_PROMISC;
      if (sys::setsockopt(fd, sys::sol_packet, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0)
        return problem("receive all from", name(), errno);
    }
    return options.fanout == fanout_mode::none ? bind_receiver() : join(options);
  }
  result<bool, error> map_ring(const af_packet_options& options) noexcept {
    using namespace detail;
    const long page = ::sysconf(_SC_PAGESIZE);
    const std::uint32_t size = options.block_size;
    if (size < static_cast<std::uint32_t>(page) || (size & (size - 1)) != 0 || size > (1u << 30))
      return error("af_packet", "open", name(), "block_size is not a power of two between a page and 1 GiB",
                   "262144 is a good one", EINVAL);
    const std::int64_t timeout = (options.block_timeout.ns + 999'999) / 1'000'000;
    ::tpacket_req3 ask{};
    ask.tp_block_size = size;
    ask.tp_block_nr = options.blocks;
    ask.tp_frame_size = size;  // of no meaning to this kind of ring, but checked
    ask.tp_frame_nr = options.blocks;
    ask.tp_retire_blk_tov = static_cast<unsigned>(timeout < 1 ? 1 : timeout < 1000 ? timeout : 1000);
    const std::uint64_t whole = std::uint64_t{size} * options.blocks;
    if (whole <= SIZE_MAX / 2 &&
        sys::setsockopt(receiver_.get(), sys::sol_packet, PACKET_RX_RING, &ask, sizeof ask) == 0) {
      memory_of_ring_ = mapping::of(receiver_.get(), static_cast<std::size_t>(whole));
      if (memory_of_ring_.data() != nullptr) {
        ring_ = packet_ring(memory_of_ring_.data(), size, options.blocks);
        return true;
      }
    }
    const int number = whole <= SIZE_MAX / 2 ? errno : ENOMEM;
    text<96> what;
    what << "a ring of " << options.blocks << " blocks of " << size << " bytes on " << name();
    return problem("make", what.c_str(), number, "choose fewer or smaller blocks");
  }
  result<bool, error> bind_receiver() noexcept {
    if (!bind_to(receiver_.get(), settings_.index(), all_protocols)) return problem("bind to", name(), errno);
    return true;
  }
  // A socket must be bound before it can join, and would get packets meanwhile that the group gets too: a filter keeps
  // them out.
  result<bool, error> join(const af_packet_options& options) noexcept {
    using namespace detail;
    ::sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}};
    const ::sock_fprog filter{1, nothing};
    const int fd = receiver_.get();
    if (sys::setsockopt(fd, sys::sol_socket, sys::so_attach_filter, &filter, sizeof filter) != 0)
      return problem("join a fanout group on", name(), errno);
    if (auto bound = bind_receiver(); !bound) return bound.error();
    const std::uint32_t own =
        static_cast<std::uint32_t>(::getpid()) * 31 + static_cast<std::uint32_t>(settings_.index());
    const std::uint32_t group = options.fanout_group != 0 ? options.fanout_group : (own & 0xffffu);
    constexpr std::uint32_t kernel_modes[] = {0, PACKET_FANOUT_HASH, PACKET_FANOUT_LB, PACKET_FANOUT_CPU,
                                              PACKET_FANOUT_ROLLOVER};
    const std::uint32_t mode =
        kernel_modes[static_cast<unsigned>(options.fanout)] | (options.defragment ? PACKET_FANOUT_FLAG_DEFRAG : 0u);
    const auto ask = [&](std::uint32_t flags) { return set(fd, PACKET_FANOUT, static_cast<int>(group | flags << 16)); };
    // The group has its own word on outgoing packets. A kernel that does not know it is asked without.
    constexpr std::uint32_t ignore_outgoing = 0x4000;
    if (!ask(mode | ignore_outgoing) && (errno != EINVAL || !ask(mode))) {
      const int number = errno;
      text<64> what;
      what << "fanout group " << group << " on " << name();
      return problem("join", what.c_str(), number,
                     number == EINVAL   ? "it is of another mode, or on another interface: choose another fanout_group"
                     : number == ENOSPC ? "it has as many members as there can be: choose another fanout_group"
                                        : "");
    }
    int unused = 0;
    if (sys::setsockopt(fd, sys::sol_socket, sys::so_detach_filter, &unused, sizeof unused) != 0)
      return problem("join a fanout group on", name(), errno);
    return true;
  }

  // A socket whose interface went down has an error to tell, and wakes who waits for it until it was asked: now and
  // then when nothing comes.
  void nothing_came(instant now) noexcept {
    if (down_ ? now < next_look_ : ++times_empty_ < 64) return;
    times_empty_ = 0;
    look_at_interface(now);
  }
  [[gnu::noinline]] void look_at_interface(instant now) noexcept {
    using namespace detail;
    if (failed_ || receiver_.get() < 0) return;
    int number = 0;
    std::uint32_t size = sizeof number;
    ++calls_;
    (void)sys::getsockopt(receiver_.get(), sys::sol_socket, sys::so_error, &number, size);
    if (number == ENETDOWN) {
      times_down_ += down_ ? 0u : 1u;
      down_ = true;
    }
    if (!down_) return;
    next_look_ = now + milliseconds(100);
    ::sockaddr_ll bound{};
    size = sizeof bound;
    ++calls_;
    // The kernel forgets the number of an interface that was deleted.
    if (sys::getsockname(receiver_.get(), &bound, size) == 0 && bound.sll_ifindex != settings_.index()) return fail();
    calls_ += 5;
    if (const auto status = settings_.status(); status && status->up) down_ = false;
  }
  void fail() noexcept {
    if (failed_) return;
    failed_ = true;
    failure_ =
        error("af_packet", "use", name(), "the interface was deleted", "open it again when it is there again", ENODEV);
  }
  void ask_for_drops() noexcept {
    if (receiver_.get() < 0) return;
    ::tpacket_stats_v3 s{};
    std::uint32_t size = sizeof s;
    ++calls_;
    // The kernel begins at 0 again each time.
    if (detail::sys::getsockopt(receiver_.get(), detail::sys::sol_packet, PACKET_STATISTICS, &s, size) != 0) return;
    arrived_ += s.tp_packets;
    dropped_ += s.tp_drops;
    ring_full_ += s.tp_freeze_q_cnt;
  }

  network_interface settings_;
  detail::device_memory memory_;
  lender lender_;
  detail::file_handle receiver_;
  detail::mapping memory_of_ring_;
  detail::packet_ring ring_;
  frame like_;  // what all frames of the ring have in common
  detail::packet_block_counters seen_;
  std::uint64_t received_ = 0;
  std::uint32_t times_empty_ = 0;
  bool down_ = false;
  bool failed_ = false;
  instant next_look_{};
  detail::packet_sender sender_;
  std::uint64_t arrived_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t ring_full_ = 0;
  std::uint64_t times_down_ = 0;
  std::uint64_t calls_ = 0;
  error failure_{"af_packet", "receive", "", ""};
};
static_assert(receiving_device<af_packet> && transmitting_device<af_packet> && frame_transmitting_device<af_packet>);

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif
