// SPDX-License-Identifier: MIT
// The ends of a virtual wire that find each other by a name: the first that opens it makes the wire, the second has its
// other end. For programs that are configured at run time (`device::open("link:...")`).
#ifndef RUNNEL_DEVICE_NAMED_LINK_HPP
#define RUNNEL_DEVICE_NAMED_LINK_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t
#include <new>      // nothrow

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/device/link.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__unix__) || defined(__APPLE__)

namespace runnel::detail {

// A wire that has a name until one of its ends is closed.
struct named_wire {
  named_wire(device_memory&& m, const char* called, const link_options& options) noexcept
      : name(called), memory(static_cast<device_memory&&>(m)), link(memory.get(), options) {}
  short_name name;
  device_memory memory;
  virtual_link<1024> link;
  unsigned ends = 1;  // opened and not closed
  named_wire* next = nullptr;
};
inline named_wire* named_wires = nullptr;
inline bool named_wires_busy = false;

// Opening and closing may come from any thread.
class named_wires_lock {
 public:
  named_wires_lock() noexcept {
    while (__atomic_test_and_set(&named_wires_busy, __ATOMIC_ACQUIRE)) continue;
  }
  named_wires_lock(const named_wires_lock&) = delete;
  named_wires_lock& operator=(const named_wires_lock&) = delete;
  ~named_wires_lock() { __atomic_clear(&named_wires_busy, __ATOMIC_RELEASE); }
};

}  // namespace runnel::detail

namespace runnel::device {

/// One end of a wire with a name. Move-only. When one end is closed, what is on the way still arrives at the other one,
/// which is `done()` then; the name is free at once.
///
/// Both ends share one pool, so that slots are handed over as they are: they belong on one thread.
class named_link {
 public:
  /// The first to open a name makes the wire: what it loses and delays, in both directions, with room for 1024 packets
  /// on the way, and its pool: `memory`, or one of its own if that is null. The second gives neither. A third is an
  /// error. Names are those of this process, up to 95 characters long.
  [[nodiscard]] static result<named_link, error> open(const char* name, const link_options* options = nullptr,
                                                      pool* memory = nullptr) noexcept {
    if (__builtin_strlen(name) > 95) return problem(name, "the name is too long", "it has at most 95 characters");
    detail::named_wires_lock alone;
    detail::named_wire** at = &detail::named_wires;
    while (*at != nullptr && !same_text((*at)->name.c_str(), name)) at = &(*at)->next;
    if (detail::named_wire* wire = *at; wire != nullptr) {
      if (wire->ends == 2) return problem(name, "both of its ends are open", "take another name, or close one");
      if (options != nullptr || (memory != nullptr && memory != &wire->memory.get()))
        return problem(name, "the other end has made it", "give options and memory to the first that is opened");
      wire->ends = 2;
      return named_link(wire, wire->link.b());
    }
    auto slots = detail::device_memory::open(memory, {});
    if (!slots) return slots.error();
    auto* made = new (std::nothrow) detail::named_wire(static_cast<detail::device_memory&&>(*slots), name,
                                                       options != nullptr ? *options : link_options{});
    if (made == nullptr) return error("link", "open", name, "no memory", "", ENOMEM);
    *at = made;
    return named_link(made, made->link.a());
  }
  named_link(named_link&& other) noexcept : wire_(other.wire_), end_(other.end_) { other.wire_ = nullptr; }
  named_link& operator=(named_link&&) = delete;
  ~named_link() {
    if (wire_ == nullptr) return;
    detail::named_wires_lock alone;
    wire_->link.close();
    for (detail::named_wire** at = &detail::named_wires; *at != nullptr; at = &(*at)->next) {
      if (*at != wire_) continue;
      *at = wire_->next;
      break;
    }
    if (--wire_->ends == 0) delete wire_;
  }

  /// What `link_end` has. @{
  [[nodiscard]] pool& memory() noexcept { return end_->memory(); }
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    return end_->receive(room, now, take);
  }
  [[nodiscard]] bool done() const noexcept { return end_->done(); }
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    return end_->transmit(packets, n, now);
  }
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept {
    return end_->transmit(frames, n, now);
  }
  [[nodiscard]] instant next_due() const noexcept { return end_->next_due(); }
  [[nodiscard]] std::uint64_t dropped(drop_reason why) const noexcept { return end_->dropped(why); }
  /// @}
  /// Packets that were sent from this end, and lost for whatever reason.
  [[nodiscard]] std::uint64_t lost() const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < drop_reason_count; ++i) sum += dropped(static_cast<drop_reason>(i));
    return sum;
  }

 private:
  named_link(detail::named_wire* wire, link_end& end) noexcept : wire_(wire), end_(&end) {}
  static error problem(const char* name, const char* why, const char* advice) noexcept {
    return {"link", "open", detail::short_name(name).c_str(), why, advice};
  }

  detail::named_wire* wire_;  // null in one that was moved from
  link_end* end_;
};
static_assert(receiving_device<named_link> && transmitting_device<named_link> && frame_transmitting_device<named_link>);

}  // namespace runnel::device

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
