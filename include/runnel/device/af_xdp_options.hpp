// SPDX-License-Identifier: MIT
// What an AF_XDP device can be told, and what it reports: options, mode, statistics, where its frames are.
#ifndef RUNNEL_DEVICE_AF_XDP_OPTIONS_HPP
#define RUNNEL_DEVICE_AF_XDP_OPTIONS_HPP

#include <cstdint>           // uint32_t, uint64_t
#include <initializer_list>  // initializer_list

#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/device/counted.hpp>
#include <runnel/device/xdp_link.hpp>
#include <runnel/match/condition.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

namespace runnel::device {

class af_xdp;

/// Which receive queues of an interface: `queue_set::all()`, or `{0, 2}`. At most the first 64.
class queue_set {
 public:
  /// All that the interface has.
  [[nodiscard]] static constexpr queue_set all() noexcept { return queue_set(~std::uint64_t{0}); }
  /// These ones. A number beyond 63 is a programming error (RUNNEL_ASSERT).
  constexpr queue_set(std::initializer_list<unsigned> numbers) noexcept {
    for (const unsigned n : numbers) {
      RUNNEL_ASSERT(n < 64);
      bits_ |= std::uint64_t{1} << (n & 63u);
    }
  }
  /// Those whose bits are set.
  [[nodiscard]] static constexpr queue_set of_bits(std::uint64_t bits) noexcept { return queue_set(bits); }
  /// Bit n: whether queue n is among them.
  [[nodiscard]] constexpr std::uint64_t bits() const noexcept { return bits_; }
  /// Whether it was not said which.
  [[nodiscard]] constexpr bool is_all() const noexcept { return bits_ == ~std::uint64_t{0}; }

 private:
  constexpr explicit queue_set(std::uint64_t bits) noexcept : bits_(bits) {}
  std::uint64_t bits_ = 0;
};

/// Who moves the bytes between the wire and the pool.
enum class copy_mode : std::uint8_t {
  automatic,  ///< to ask for: zero_copy where driver and memory can, else copy
  copy,       ///< the kernel copies each packet; works on every interface
  zero_copy,  ///< the driver's hardware reads and writes the pool; needs a pool on huge pages
};

/// How a device came to work: what to look at when it is slower than hoped.
struct af_xdp_mode {
  bpf::xdp_mode attached = bpf::xdp_mode::automatic;  ///< where its program runs: native or generic
  bool zero_copy = false;                             ///< whether the bytes are not copied by the kernel
  /// Equal when both are.
  friend constexpr bool operator==(const af_xdp_mode&, const af_xdp_mode&) noexcept = default;
};

/// "native, zero-copy", "native, copy" or "generic, copy": from the fastest to the slowest.
[[nodiscard]] constexpr const char* name(const af_xdp_mode& mode) noexcept {
  if (mode.attached == bpf::xdp_mode::generic) return mode.zero_copy ? "generic, zero-copy" : "generic, copy";
  return mode.zero_copy ? "native, zero-copy" : "native, copy";
}

/// Busy polling: the driver's receive work is done in our calls, on our core, instead of in interrupts.
/// Documentation/networking/af_xdp.rst, napi.rst. Interrupt deferral is a setting of the interface: it is put back when
/// the device is closed, but not when the process is killed. On veth of Linux 6.18 no call polls: the kernel does not
/// tell a socket which NAPI it is to poll (SO_INCOMING_NAPI_ID stays 0), and only the deferral is left.
struct busy_polling {
  std::uint32_t microseconds = 0;             ///< how long one call may poll (SO_BUSY_POLL); 0 is no busy polling
  std::uint32_t budget = 64;                  ///< packets that one call may process (SO_BUSY_POLL_BUDGET)
  std::uint32_t defer_hard_irqs = 2;          ///< polls that may find nothing before interrupts are on again
  std::uint32_t gro_flush_timeout = 200'000;  ///< nanoseconds after which the kernel polls when we do not
};

/// How an AF_XDP device is opened.
struct af_xdp_options {
  /// Which packets come to us, as a program in the kernel's XDP hook finds out; all others stay with the kernel. Sets
  /// in it are copied when the device is opened.
  condition take{};
  /// Which queues; packets of the others stay with the kernel.
  queue_set queues = queue_set::all();
  copy_mode mode = copy_mode::automatic;            ///< who moves the bytes
  bpf::xdp_mode attach = bpf::xdp_mode::automatic;  ///< where the program runs
  bool replace = false;                             ///< detach an XDP program that is on the interface already
  busy_polling busy_poll{};                         ///< off unless it has microseconds
  /// Of each queue, for packets to come; at most half of what is free, at least one for each piece of a jumbo frame.
  std::uint32_t receive_slots = 1024;
  /// Of each queue, packets at most that were not sent yet; one with more than a page counts once for each page.
  std::uint32_t transmit_slots = 2048;
  std::uint32_t packets = 4096;  ///< slots for each queue, of a pool of its own
  /// The caller's pool, which must outlive the device. Where it lies is not known here: without `copy_mode::zero_copy`
  /// the kernel copies.
  pool* memory = nullptr;
  af_xdp* share = nullptr;  ///< use the pool and the UMEM of this device, which must outlive it
};

/// What came to pass on a device since it was opened. What the kernel counts is of all its queues together.
struct af_xdp_statistics {
  std::uint64_t received = 0;        ///< packets handed out
  std::uint64_t received_bytes = 0;  ///< their bytes
  std::uint64_t gathered = 0;        ///< of these, jumbo frames that were copied to one slot
  std::uint64_t too_long = 0;        ///< packets that came and were longer than a slot: dropped
  /// Packets put on transmit rings. What the driver drops behind them the interface counts (`ip -s link`, TX dropped):
  /// a veth does when the other end is too slow, and has an XDP program.
  std::uint64_t transmitted = 0;
  std::uint64_t transmitted_bytes = 0;  ///< their bytes
  std::uint64_t copied = 0;             ///< of these, packets that had to be copied to a slot first
  std::uint64_t lost = 0;               ///< packets taken and not sent: too long, too short, to be cut, or the NIC gone
  std::uint64_t refused = 0;            ///< packets not taken because a transmit ring was full: the caller's
  std::uint64_t no_slot = 0;            ///< times when a packet could not be copied because the pool was empty
  std::uint64_t system_calls = 0;       ///< made on the data path
  std::uint64_t kernel_dropped = 0;     ///< dropped by the kernel: too long, or too few free slots for its pieces
  std::uint64_t kernel_ring_full = 0;   ///< dropped because the receive ring was full
  std::uint64_t kernel_no_slot = 0;     ///< dropped because the fill ring was empty: we are too slow, or hold all slots
  std::uint64_t kernel_invalid = 0;     ///< descriptors that the kernel refused; not 0 is a bug
  /// Queues that the interface has now and had not when it was opened: their packets stay with the kernel.
  std::uint64_t new_queues = 0;
};

/// One line: "received 10 (640 bytes), transmitted 2 (128 bytes), 3 lost, 5 system calls". Counters of trouble only
/// when not 0.
inline void print(text_writer& out, const af_xdp_statistics& s) noexcept {
  out << "received " << s.received << " (" << s.received_bytes << " bytes), transmitted " << s.transmitted << " ("
      << s.transmitted_bytes << " bytes)";
  detail::print_counted(
      out, {{s.gathered, "gathered from pieces"},
            {s.too_long, "longer than a slot"},
            {s.copied, "copied"},
            {s.lost, "lost"},
            {s.refused, "refused by a full ring"},
            {s.no_slot, "without a slot to copy to"},
            {s.kernel_dropped, "dropped by the kernel (too long for a slot, or fewer slots free than pieces)"},
            {s.kernel_ring_full, "dropped by a full receive ring"},
            {s.kernel_no_slot, "dropped without a free slot"},
            {s.kernel_invalid, "invalid descriptors"},
            {s.new_queues, "new queues not served: open it again"}});
  out << ", " << s.system_calls << " system calls";
}

/// Where the slots of a device's pool are. All together are `total`; none is ever lost.
struct af_xdp_frames {
  std::uint32_t total = 0;         ///< slots of the pool
  std::uint32_t free = 0;          ///< free in the pool
  std::uint32_t receiving = 0;     ///< with the kernel, empty or filled
  std::uint32_t transmitting = 0;  ///< with the kernel, to be sent, or sent and not taken back yet
  std::uint32_t out = 0;           ///< with the user, or with another device of the same pool
};

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif
