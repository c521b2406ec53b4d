// SPDX-License-Identifier: MIT
// A device whose kind is chosen at run time: it owns any device, and is one.
//
//     result<device::any_device, error> nic = device::open(argv[1]);      // open.hpp: by a string
//     auto same = device::any_device::make<device::tap>("tap0", std::move(*tap));
//
// Theory of operation. A pipeline is compiled for the type of its device; for this one it is compiled once, and each
// burst, never each packet, costs a virtual call. Frames come through an array, and go out as packets.
#ifndef RUNNEL_DEVICE_ANY_DEVICE_HPP
#define RUNNEL_DEVICE_ANY_DEVICE_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t
#include <cstdint>   // uint64_t
#include <new>       // nothrow
#include <utility>   // forward

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/counted.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/flow/engine.hpp>  // raw_array
#include <runnel/packet/burst.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__unix__) || defined(__APPLE__)

#include <poll.h>  // poll

namespace runnel {
class interface_descriptions;
}

namespace runnel::device {

/// What every kind of device can say about itself, since it was opened. What a kind does not count is 0.
struct any_statistics {
  std::uint64_t received = 0;  ///< packets handed out
  /// That came and were not handed out, as far as the device or its kernel counts them: of a TAP with several queues
  /// those of all of them.
  std::uint64_t dropped = 0;
  std::uint64_t transmitted = 0;  ///< packets taken
  std::uint64_t lost = 0;         ///< of these, not sent
  std::uint64_t refused = 0;      ///< packets not taken: the caller's
};

}  // namespace runnel::device

namespace runnel::detail {

// The device, its kind forgotten. Called once a burst, or more rarely.
class device_holder {
 public:
  device_holder() noexcept = default;
  device_holder(const device_holder&) = delete;
  device_holder& operator=(const device_holder&) = delete;
  virtual ~device_holder() = default;
  virtual pool& memory() noexcept = 0;
  virtual std::size_t receive(frame* to, std::size_t room, instant now) noexcept = 0;
  virtual std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept = 0;
  virtual bool done() noexcept = 0;
  virtual instant next_due() noexcept = 0;
  virtual int wait_handle() noexcept = 0;
  virtual void wait() noexcept = 0;
  virtual bool lacks_memory() noexcept = 0;
  virtual int transmit_handle() noexcept = 0;
  virtual const char* name() noexcept = 0;
  virtual const interface_descriptions* descriptions() noexcept = 0;
  virtual std::uint64_t dropped() noexcept = 0;
  virtual std::uint64_t lost() noexcept = 0;
  virtual const error* failure() noexcept = 0;
  virtual bool print(text_writer& out) noexcept = 0;  // false: it has nothing of its own to say
};

// What a device counts of packets that came in vain, by the names that devices have for it.
template <class Statistics>
[[nodiscard]] std::uint64_t sum_of_dropped(const Statistics& s) noexcept {
  std::uint64_t sum = 0;
  if constexpr (requires { s.dropped; }) sum += s.dropped;
  if constexpr (requires { s.too_long; }) sum += s.too_long;
  if constexpr (requires { s.malformed; }) sum += s.malformed;
  if constexpr (requires { s.in_tunnel; }) sum += s.in_tunnel;
  if constexpr (requires { s.kernel_dropped; }) sum += s.kernel_dropped;
  if constexpr (requires { s.kernel_ring_full; }) sum += s.kernel_ring_full;
  if constexpr (requires { s.kernel_no_slot; }) sum += s.kernel_no_slot;
  return sum;
}

// Where a member function called print hides the others.
template <class Statistics>
auto print_statistics(text_writer& out, const Statistics& s) noexcept -> decltype(print(out, s)) {
  print(out, s);
}

template <class Device>
class device_holder_of final : public device_holder {
 public:
  template <class... Arguments>
  device_holder_of(device_memory&& memory, const char* name, Arguments&&... arguments) noexcept
      : memory_(static_cast<device_memory&&>(memory)), name_(name), device_(std::forward<Arguments>(arguments)...) {}

  pool& memory() noexcept override {
    if constexpr (requires { device_.memory(); }) return device_.memory();
    else return memory_.get();
  }
  std::size_t receive(frame* to, std::size_t room, instant now) noexcept override {
    if constexpr (receiving_device<Device>) return device_.receive(room, now, into_array(to));
    else return (void)to, (void)room, (void)now, 0;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept override {
    if constexpr (transmitting_device<Device>) return device_.transmit(packets, n, now);
    else return (void)packets, (void)n, (void)now, 0;
  }
  bool done() noexcept override {
    if constexpr (receiving_device<Device>) return device_.done();
    else return true;
  }
  instant next_due() noexcept override {
    if constexpr (requires { device_.next_due(); }) return device_.next_due();
    else return never;
  }
  int wait_handle() noexcept override {
    if constexpr (requires { device_.wait_handle(); }) return device_.wait_handle();
    else return -1;
  }
  void wait() noexcept override {
    if constexpr (requires { device_.wait(); }) {
      device_.wait();
    } else if (const int handle = wait_handle(); handle >= 0) {
      ::pollfd watched{handle, POLLIN, 0};
      (void)::poll(&watched, 1, 1000);
    }
  }
  bool lacks_memory() noexcept override {
    if constexpr (requires { device_.lacks_memory(); }) return device_.lacks_memory();
    else return false;
  }
  int transmit_handle() noexcept override {
    if constexpr (requires { device_.transmit_handle(); }) return device_.transmit_handle();
    else return -1;
  }
  const char* name() noexcept override {
    if constexpr (requires { device_.name(); }) return device_.name();
    else return name_.c_str();
  }
  const interface_descriptions* descriptions() noexcept override {
    if constexpr (requires { &device_.descriptions(); }) return &device_.descriptions();
    else if constexpr (requires { device_.descriptions(); }) return device_.descriptions();  // around one of any kind
    else return nullptr;
  }
  std::uint64_t dropped() noexcept override {
    if constexpr (requires { device_.statistics(); }) return sum_of_dropped(device_.statistics());
    else return 0;
  }
  std::uint64_t lost() noexcept override {
    if constexpr (requires { device_.lost(); }) return device_.lost();
    else return 0;
  }
  const error* failure() noexcept override {
    if constexpr (requires { device_.failure(); }) return device_.failure();
    else return nullptr;
  }
  bool print(text_writer& out) noexcept override {
    if constexpr (requires { print_statistics(out, device_.statistics()); })
      return print_statistics(out, device_.statistics()), true;
    else return (void)out, false;
  }

 private:
  device_memory memory_;
  short_name name_;
  Device device_;
};

}  // namespace runnel::detail

namespace runnel::device {

/// Owns a device of any kind. Move-only; one allocation, when it is made. A kind that only receives takes nothing; one
/// that only takes is `done()`.
class any_device {
 public:
  /// Makes a device of the kind `Device`: from another one that is moved, or from what its constructor takes. `name` is
  /// what `name()` says when it has none itself. Fails when there is no memory.
  template <class Device, class... Arguments>
    requires receiving_device<Device> || transmitting_device<Device>
  [[nodiscard]] static result<any_device, error> make(const char* name, Arguments&&... arguments) noexcept {
    return make_with<Device>({}, name, std::forward<Arguments>(arguments)...);
  }
  /// The same, and keeps the memory that the device uses, for as long as it lives.
  template <class Device, class... Arguments>
  [[nodiscard]] static result<any_device, error> make_with(detail::device_memory&& memory, const char* name,
                                                           Arguments&&... arguments) noexcept {
    detail::device_holder* made = new (std::nothrow) detail::device_holder_of<Device>(
        static_cast<detail::device_memory&&>(memory), name, std::forward<Arguments>(arguments)...);
    if (made == nullptr) return error("any_device", "make", name, "no memory", "", 12);
    return any_device(made);
  }
  any_device(any_device&& other) noexcept : held_(other.held_), statistics_(other.statistics_) {
    other.held_ = nullptr;
  }
  /// Closes its own device, and takes the other one over.
  any_device& operator=(any_device&& other) noexcept {
    detail::device_holder* theirs = other.held_;
    other.held_ = nullptr;  // first, so that moving it onto itself changes nothing
    statistics_ = other.statistics_;
    delete held_;
    held_ = theirs;
    return *this;
  }
  ~any_device() { delete held_; }

  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return held_->memory(); }
  /// See `receiving_device`. At most 256 frames at once.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    detail::raw_array<frame, max_burst> frames;
    const std::size_t n = held_->receive(frames.data(), room < max_burst ? room : max_burst, now);
    for (std::size_t i = 0; i < n; ++i) take(frames[i]);
    statistics_.received += n;
    return n;
  }
  /// See `transmitting_device`.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    const std::size_t taken = held_->transmit(packets, n, now);
    statistics_.transmitted += taken;
    statistics_.refused += n - taken;
    return taken;
  }
  /// Whether nothing will ever come again.
  [[nodiscard]] bool done() noexcept { return held_->done(); }
  /// When it has something next, as far as it knows; else `never`.
  [[nodiscard]] instant next_due() noexcept { return held_->next_due(); }
  /// The file descriptor to wait on until there is something to receive; -1 when there is none.
  [[nodiscard]] int wait_handle() noexcept { return held_->wait_handle(); }
  /// Sleeps until there may be something to receive, or a signal comes, a second at most; returns at once where nobody
  /// knows. For loops that do not sleep by their clock.
  void wait() noexcept { held_->wait(); }
  /// Whether it needs packets to come home, for want of slots.
  [[nodiscard]] bool lacks_memory() noexcept { return held_->lacks_memory(); }
  /// The file descriptor to wait on (POLLOUT) until a full device has room again; -1 when there is none.
  [[nodiscard]] int transmit_handle() noexcept { return held_->transmit_handle(); }
  /// The name of its interface, or what it was opened by.
  [[nodiscard]] const char* name() noexcept { return held_->name(); }
  /// What the capture that is read says of its interfaces, see `pcap_reader`; null of another kind. Stays where it is
  /// when this one is moved.
  [[nodiscard]] const interface_descriptions* descriptions() noexcept { return held_->descriptions(); }
  /// Why it stopped before its end; null while all is well. A capture that is written is flushed by asking.
  [[nodiscard]] const error* failure() noexcept { return held_->failure(); }
  /// Packets that were taken by `transmit` and not sent.
  [[nodiscard]] std::uint64_t lost() noexcept { return held_->lost(); }
  /// What it has done, in the terms that all kinds have in common. May ask the kernel.
  [[nodiscard]] any_statistics statistics() noexcept {
    any_statistics s = statistics_;
    s.dropped = held_->dropped();
    s.lost = held_->lost();
    return s;
  }
  /// One line of what it has done, in its own terms where it has some.
  friend void print(text_writer& out, any_device& d) noexcept {
    if (d.held_->print(out)) return;
    const any_statistics s = d.statistics();
    out << "received " << s.received << ", transmitted " << s.transmitted;
    detail::print_counted(out, {{s.lost, "lost"}, {s.refused, "refused"}});
  }

 private:
  explicit any_device(detail::device_holder* made) noexcept : held_(made) {}

  detail::device_holder* held_;  // null in one that was moved from
  any_statistics statistics_;
};
static_assert(receiving_device<any_device> && transmitting_device<any_device>);

}  // namespace runnel::device

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
