// SPDX-License-Identifier: MIT
// How an interface is opened by a packet socket, and what such a device has done.
#ifndef RUNNEL_DEVICE_AF_PACKET_OPTIONS_HPP
#define RUNNEL_DEVICE_AF_PACKET_OPTIONS_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/device/counted.hpp>
#include <runnel/fwd.hpp>

namespace runnel::device {

/// How several devices on one interface, one for each thread, share what it receives. PACKET_FANOUT in packet(7).
enum class fanout_mode : std::uint8_t {
  none,  ///< each device gets every packet
  /// By a hash of addresses and ports: both directions of a flow go to the same device. Where one comes by another
  /// interface, it goes to the device that was opened there in the same place: first, second and so on.
  hash,
  lb,        ///< in turn
  cpu,       ///< by the processor on which the packet came
  rollover,  ///< to the first device as long as its ring has room, then to the next one
};

/// How an interface is opened.
struct af_packet_options {
  bool promiscuous = false;                ///< take frames to other stations too, for as long as the device is open
  fanout_mode fanout = fanout_mode::none;  ///< share what is received with other devices
  std::uint16_t fanout_group = 0;          ///< with which ones; 0: those of this process on this interface
  bool defragment = false;    ///< with fanout: IPv4 fragments are put together before, so flows stay together
  bool bypass_qdisc = false;  ///< send without traffic control, and unseen by tcpdump (PACKET_QDISC_BYPASS)
  /// Blocks of the receive ring, at most 3/4 of all memory; 0: the device only sends. The kernel goes round through all
  /// of them. A ring that stays in its processor's cache, 4 blocks of the usual size, takes up to a fifth more long
  /// packets, and holds a sixteenth of those that come while nobody looks.
  std::uint32_t blocks = 64;
  std::uint32_t block_size = 1u << 18;  ///< bytes; a power of two, at least a page, and as long as the longest packet
  duration block_timeout = milliseconds(1);  ///< how long a packet may wait for others; whole milliseconds, at least 1
  std::uint16_t headroom = 64;               ///< bytes before a received packet at least, for headers; at most 65000
  std::uint32_t transmit_slots = 512;        ///< packets that the interface may have taken and not sent yet
  pool* memory = nullptr;        ///< for descriptors, and for packets that are kept; null: a pool of its own
  std::uint32_t packets = 2048;  ///< of its own pool: how many slots, and descriptors of received packets
};

/// What a device has done, since it was opened.
struct af_packet_statistics {
  std::uint64_t arrived = 0;      ///< packets that the kernel had for the device, those that it dropped included
  std::uint64_t received = 0;     ///< packets handed out
  std::uint64_t dropped = 0;      ///< received and lost: the ring was full (drop_reason::queue_full)
  std::uint64_t ring_full = 0;    ///< how often it became full
  std::uint64_t outgoing = 0;     ///< packets passed over because this machine sent them
  std::uint64_t cut = 0;          ///< handed out shorter than they were: longer than a block
  std::uint64_t malformed = 0;    ///< received and lost: the kernel's header cannot be right
  std::uint64_t in_tunnel = 0;    ///< received and lost: segments of TCP put together inside of a tunnel; af_packet.hpp
  std::uint64_t transmitted = 0;  ///< packets that the kernel took
  std::uint64_t refused = 0;      ///< packets left with the caller, because the interface had no room
  std::uint64_t while_down = 0;   ///< transmitted and lost: the interface was down, or gone
  std::uint64_t invalid = 0;      ///< transmitted and lost: too long or too short, or refused for a second
  std::uint64_t times_down = 0;   ///< how often the interface was found to have gone down
  std::uint64_t system_calls = 0;  ///< for all that; receiving takes one in ten seconds
};

/// One line: "arrived 12, received 12, transmitted 12, 3 dropped by a full receive ring, 5 system calls". Counters of
/// trouble only when not 0.
inline void print(text_writer& out, const af_packet_statistics& s) noexcept {
  out << "arrived " << s.arrived << ", received " << s.received << ", transmitted " << s.transmitted;
  detail::print_counted(out, {{s.dropped, "dropped by a full receive ring"},
                              {s.ring_full, "times that it became full"},
                              {s.outgoing, "of our own passed over"},
                              {s.cut, "cut short"},
                              {s.malformed, "lost as malformed"},
                              {s.in_tunnel, "lost as segments in a tunnel"},
                              {s.refused, "refused by a full interface"},
                              {s.while_down, "lost while it was down"},
                              {s.invalid, "lost as too long or too short"},
                              {s.times_down, "times down"}});
  out << ", " << s.system_calls << " system calls";
}

/// Where the places of a device's rings are. None is ever lost: when no packet is under way, no place is held.
struct af_packet_rings {
  std::uint32_t blocks = 0;       ///< of the receive ring
  std::uint32_t held_blocks = 0;  ///< filled by the kernel, and not given back yet
  std::uint32_t slots = 0;        ///< of the transmit ring, at least those that were asked for
  std::uint32_t held_slots = 0;   ///< with packets that the interface has not sent yet
};

}  // namespace runnel::device

#endif
