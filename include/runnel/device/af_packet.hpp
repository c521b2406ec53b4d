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
// when nothing of them is out (packet_receive_ring.hpp). Packets are sent a burst in a system call, by a ring of slots
// that each is copied into (packet_transmit_ring.hpp); those that do not fit a slot go one by one (packet_sender.hpp).
// With all of them go virtio net headers, so that partial checksums and packets of up to 64 KiB that stand for many
// segments, as the kernel's own TCP makes them on veth, arrive as such (`packet::checksum()`, `segment_size()`) and can
// be sent on.
//
// Of a packet that stands for segments of TCP inside of a tunnel over UDP (VXLAN, Geneve) that header does not tell the
// tunnel, and none can be sent that does: such packets are lost and counted, `statistics().in_tunnel`, and TCP through
// the tunnel stands nearly still. They come from an interface that puts together what is for a tunnel of this host:
// `ethtool -K eth0 gro off`; and from a veth whose other end's host has the tunnel: `ethtool -K PEER tx off` there.
//
// The kernel's stack sees the same packets. A program that answers in its place gives the interface no addresses, or
// drops what comes there by nft.
#ifndef RUNNEL_DEVICE_AF_PACKET_HPP
#define RUNNEL_DEVICE_AF_PACKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/af_packet_options.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/packet_receive_ring.hpp>
#include <runnel/device/packet_sender.hpp>
#include <runnel/device/packet_socket.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

#include <linux/if_packet.h>  // sockaddr_ll, tpacket_stats_v3

namespace runnel::device {

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
    const link_type link = detail::link_of_hardware(status->hardware);
    if (link == link_type::unknown) return strange_link(name, status->hardware);
    if (options.headroom > most_headroom)
      return error("af_packet", "open", name, "the headroom is more than 65000 bytes", "64 is a good one", EINVAL);
    const std::size_t longest = std::size_t{status->mtu} + 18 + detail::packet_block::front + options.headroom + 48;
    if (options.blocks != 0 && longest > options.block_size) return too_long(name, status->mtu, options);
    auto memory = detail::device_memory::open(
        options.memory, {.packets = options.packets, .bare = options.packets > 1024 ? options.packets : 1024u});
    if (!memory) return memory.error();
    lender lends(memory->get());
    if (lends.number() == 0)
      return error("af_packet", "open", name, "too many devices lend to packets of one pool already",
                   "give this device a pool of its own");
    auto sender = detail::open_packet_sender(name, *status, link, options);
    if (!sender) return sender.error();
    auto receiver = detail::open_packet_receiver(name, status->index, options);
    if (!receiver) return receiver.error();
    return af_packet(static_cast<network_interface&&>(*settings), static_cast<detail::device_memory&&>(*memory),
                     static_cast<lender&&>(lends), static_cast<detail::packet_receiver&&>(*receiver),
                     static_cast<detail::packet_sender&&>(*sender), link);
  }
  af_packet(af_packet&&) noexcept = default;
  af_packet& operator=(af_packet&&) = delete;

  /// The name of the interface, as it was opened.
  [[nodiscard]] const char* name() const noexcept { return settings_.name(); }
  /// The interface: its MTU, its address, up and down. It may be changed at any time.
  [[nodiscard]] network_interface& settings() noexcept { return settings_; }

  /// The pool of the descriptors that show what lies in the ring, and of the slots for what is kept.
  [[nodiscard]] pool& memory() noexcept { return memory_.get(); }
  /// See `receiving_device`. No copy, and one system call in ten seconds; where it finds nothing, one in 50 ms. The
  /// timestamp of a frame is when the kernel saw the packet, in nanoseconds since 1970.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    pool& memory = memory_.get();
    if (now >= ask_due_ || ask_due_ - now > ask_interval) [[unlikely]]
      keep_counting(now);
    if (memory.lent(lender_.number()) != 0 || room == 0) [[unlikely]]
      return 0;
    receiver_.ring.give_back();
    const std::size_t n = receiver_.ring.receive(room, like_, seen_, take);
    if (n == 0) {
      nothing_came(now);
      return 0;
    }
    memory.lend(lender_.number(), static_cast<std::uint32_t>(n));
    received_ += n;
    return n;
  }
  /// Whether nothing will ever come again: the interface was deleted.
  [[nodiscard]] bool done() const noexcept { return failed_; }
  /// Why nothing will come again: the interface was deleted. Null while all is well.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }
  /// The file descriptor to wait on until there is something to receive; -1 when nothing ever will be.
  [[nodiscard]] int wait_handle() const noexcept { return failed_ ? -1 : receiver_.socket.get(); }
  /// Whether it can hand out nothing before packets come home: some of those that it has lent are out.
  [[nodiscard]] bool lacks_memory() const noexcept { return memory_.get().lent(lender_.number()) != 0; }
  /// When to look again without having been waked: while the interface is down, nobody says that it was deleted.
  [[nodiscard]] instant next_due() const noexcept { return down_ && !failed_ ? next_look_ : never; }

  /// Sends packets, of any pool and of up to 128 fragments, all in one system call. What the kernel has no room for
  /// stays with the caller, that packet and all behind it. A packet is taken and lost (`lost()`) while the interface is
  /// down, when it is too long or too short for the interface, and when the kernel has refused it again and again for a
  /// second and no other went, as one that is too long for the other end of a veth. Partial checksums and packets that
  /// stand for several segments are the kernel's or the interface's to complete and cut; with `bypass_qdisc` only the
  /// interface's, and lost where it cannot do that.
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
    s.in_tunnel = seen_.in_tunnel;
    s.transmitted = sent.transmitted;
    s.refused = sent.refused;
    s.while_down = sent.while_down;
    s.invalid = sent.invalid;
    s.times_down = times_down_;
    s.system_calls = sent.calls + calls_;
    return s;
  }
  /// Where the places of its rings are. Counts them one by one: not for the data path.
  [[nodiscard]] af_packet_rings rings() const noexcept {
    return {receiver_.ring.count(), receiver_.ring.held(), sender_.ring().count(), sender_.ring().held()};
  }

 private:
  // The kernel drops every packet that would begin more than 65535 bytes behind its header.
  static constexpr std::uint16_t most_headroom = 65000;
  static constexpr duration ask_interval = seconds(10);
  // Between two looks at an interface to which nothing comes.
  static constexpr duration look_interval = milliseconds(50);

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
            detail::packet_receiver&& receiver, detail::packet_sender&& sender, link_type link) noexcept
      : settings_(static_cast<network_interface&&>(settings)),
        memory_(static_cast<detail::device_memory&&>(memory)),
        lender_(static_cast<lender&&>(lends)),
        receiver_(static_cast<detail::packet_receiver&&>(receiver)),
        sender_(static_cast<detail::packet_sender&&>(sender)) {
    like_.link = link;
    like_.lender = lender_.number();
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

  // A socket whose interface went down has an error to tell, and wakes who waits for it until it was asked: now and
  // then when nothing comes.
  void nothing_came(instant now) noexcept {
    if (now < next_look_ && next_look_ - now <= look_interval) return;
    look_at_interface(now);
  }
  [[gnu::noinline]] void look_at_interface(instant now) noexcept {
    using namespace detail;
    if (failed_ || receiver_.socket.get() < 0) return;
    int number = 0;
    std::uint32_t size = sizeof number;
    ++calls_;
    (void)sys::getsockopt(receiver_.socket.get(), sys::sol_socket, sys::so_error, &number, size);
    if (number == ENETDOWN) {
      times_down_ += down_ ? 0u : 1u;
      down_ = true;
    }
    next_look_ = now + look_interval;
    if (!down_) return;
    ::sockaddr_ll bound{};
    size = sizeof bound;
    ++calls_;
    // The kernel forgets the number of an interface that was deleted.
    if (sys::getsockname(receiver_.socket.get(), &bound, size) == 0 && bound.sll_ifindex != settings_.index())
      return fail();
    calls_ += 6;  // of status()
    if (const auto status = settings_.status(); status && status->up) down_ = false;
  }
  void fail() noexcept {
    if (failed_) return;
    failed_ = true;
    failure_ =
        error("af_packet", "use", name(), "the interface was deleted", "open it again when it is there again", ENODEV);
  }
  // The kernel counts in 32 bits, and at full speed begins again within minutes: nobody else may ask for so long.
  [[gnu::noinline]] void keep_counting(instant now) noexcept {
    if (ask_due_.ns != INT64_MIN) ask_for_drops();
    ask_due_ = now + ask_interval;
  }
  void ask_for_drops() noexcept {
    if (receiver_.socket.get() < 0) return;
    ::tpacket_stats_v3 s{};
    std::uint32_t size = sizeof s;
    ++calls_;
    // The kernel begins at 0 again each time.
    if (detail::sys::getsockopt(receiver_.socket.get(), detail::sys::sol_packet, PACKET_STATISTICS, &s, size) != 0)
      return;
    arrived_ += s.tp_packets;
    dropped_ += s.tp_drops;
    ring_full_ += s.tp_freeze_q_cnt;
  }

  network_interface settings_;
  detail::device_memory memory_;
  lender lender_;
  detail::packet_receiver receiver_;
  frame like_;  // what all frames of the ring have in common
  detail::packet_block_counters seen_;
  std::uint64_t received_ = 0;
  bool down_ = false;
  bool failed_ = false;
  instant next_look_{};
  instant ask_due_{INT64_MIN};  // for what the kernel counts
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
