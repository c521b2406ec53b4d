// SPDX-License-Identifier: MIT
// What of an AF_XDP device needs privileges: its sockets, its program, and the link that holds the program on the
// interface. A privileged process opens them, another one adopts them.
//
//     // with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON:
//     auto handles = device::af_xdp_handles::open("eth0");
//     const device::af_xdp_handles::numbers n = handles->release();   // file descriptors, to be sent by SCM_RIGHTS
//     // in a process that has them now, under numbers of its own, without privileges:
//     auto nic = device::af_xdp::adopt(device::af_xdp_handles(n));
//
// The program is attached from the beginning; what it takes is dropped until a device was made of the handles.
//
// An interface has one program at a time, so a second device cannot be opened on it, not even on other queues. For
// several threads it is opened once, and each of them adopts a queue:
//
//     auto eth0 = device::af_xdp_handles::open("eth0", {.queues = {0, 1}});
//     auto first = eth0->split(0), second = eth0->split(1);
//     // on the first thread:
//     auto nic = device::af_xdp::adopt(std::move(*first), {.memory = &self.memory()});
#ifndef RUNNEL_DEVICE_AF_XDP_HANDLES_HPP
#define RUNNEL_DEVICE_AF_XDP_HANDLES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t, uint8_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/device/af_xdp_options.hpp>
#include <runnel/device/bpf.hpp>
#include <runnel/device/bpf_set.hpp>
#include <runnel/device/interrupt_deferral.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/xdp_link.hpp>
#include <runnel/device/xsk_socket.hpp>
#include <runnel/device/xsk_umem.hpp>
#include <runnel/xdp/lower.hpp>

#if defined(__linux__)

#include <fcntl.h>  // fcntl

namespace runnel::device {

/// The privileged half of an AF_XDP device. Move-only; owns its file descriptors. Destroying it detaches the program.
class af_xdp_handles {
 public:
  /// How many queues there may be.
  static constexpr std::size_t max_queues = 64;

  /// What it is made of, to be carried to another process: plain file descriptors and numbers.
  struct numbers {
    char name[detail::interface_name_size] = {};     ///< of the interface
    int index = 0;                                   ///< of the interface
    bpf::xdp_mode attached = bpf::xdp_mode::native;  ///< where the program runs
    int link = -1;                                   ///< holds the program on the interface
    std::uint32_t count = 0;                         ///< of queues
    int sockets[max_queues] = {};                    ///< of each chosen queue, the one that receives
    int senders[max_queues] = {};                    ///< the one that sends
    std::uint8_t queues[max_queues] = {};            ///< which queue that is
    bool busy_polling = false;                       ///< whether the sockets were set to poll
  };

  /// Opens two sockets for each chosen queue, loads the program and attaches it. Of the options those of the interface
  /// count: `take`, `queues`, `attach`, `replace`, `busy_poll`. The program is one for the interface's MTU now; one
  /// beyond 3822 fails before Linux 6.6. A condition that the kernel cannot decide about is an error that says which
  /// part and why.
  [[nodiscard]] static result<af_xdp_handles, error> open(const char* name,
                                                          const af_xdp_options& options = {}) noexcept {
    auto made = prepare(name, options);
    if (!made) return made.error();
    if (const auto attached = made->attach(); !attached) return attached.error();
    return static_cast<af_xdp_handles&&>(*made);
  }
  /// Takes over what `release` gave. Descriptors that came by SCM_RIGHTS have other numbers, to be set before.
  explicit af_xdp_handles(const numbers& from) noexcept : n_(from) {}
  af_xdp_handles(af_xdp_handles&& other) noexcept
      : n_(other.n_),
        program_(static_cast<bpf::loaded_program&&>(other.program_)),
        replace_(other.replace_),
        wanted_(other.wanted_),
        deferral_(static_cast<detail::interrupt_deferral&&>(other.deferral_)) {
    other.n_.count = 0;
    other.n_.link = -1;
  }
  af_xdp_handles& operator=(af_xdp_handles&&) = delete;
  ~af_xdp_handles() { close(); }

  /// Detaches the program and closes the sockets, before the destructor does.
  void close() noexcept {
    if (n_.link >= 0) (void)::close(n_.link);  // first, so that nothing is sent to a socket that is gone
    for (std::size_t i = 0; i < n_.count; ++i) {
      if (n_.senders[i] >= 0) (void)::close(n_.senders[i]);
      if (n_.sockets[i] >= 0) (void)::close(n_.sockets[i]);
    }
    n_.link = -1;
    n_.count = 0;
  }
  /// Gives up ownership. The descriptors are closed on exec (FD_CLOEXEC). Settings of interrupt deferral stay as they
  /// are, for nobody is left to put them back.
  [[nodiscard]] numbers release() noexcept {
    const numbers given = n_;
    n_.count = 0;
    n_.link = -1;
    deferral_.forget();
    return given;
  }
  /// Queue `i < get().count` by itself, for a device of another thread: each thread may split off its own, and adopts
  /// it. Once for each queue (RUNNEL_ASSERT). The program stays on the interface until the last part is closed, and a
  /// setting of interrupt deferral is put back when this one is.
  [[nodiscard]] result<af_xdp_handles, error> split(std::size_t i) noexcept {
    RUNNEL_ASSERT(i < n_.count && n_.sockets[i] >= 0);
    // Not a copy of all, which other threads may be writing to.
    numbers one;
    ::memcpy(one.name, n_.name, sizeof one.name);
    one.index = n_.index;
    one.attached = n_.attached;
    one.busy_polling = n_.busy_polling;
    one.link = ::fcntl(n_.link, F_DUPFD_CLOEXEC, 0);
    if (one.link < 0) {
      const int number = errno;
      return error("af_xdp", "split", n_.name, ::strerror(number), detail::opening_advice(number, ""), number);
    }
    one.count = 1;
    one.sockets[0] = n_.sockets[i];
    one.senders[0] = n_.senders[i];
    one.queues[0] = n_.queues[i];
    n_.sockets[i] = n_.senders[i] = -1;
    return af_xdp_handles(one);
  }
  /// What it is made of; stays owned.
  [[nodiscard]] const numbers& get() const noexcept { return n_; }

 private:
  friend class af_xdp;
  af_xdp_handles() noexcept = default;

  // Everything but the program's way onto the interface.
  [[nodiscard]] static result<af_xdp_handles, error> prepare(const char* name, const af_xdp_options& options) noexcept {
    auto found = network_interface::open_for("af_xdp", name);
    if (!found) return found.error();
    const auto status = found->status();
    if (!status) return status.error();
    af_xdp_handles made;
    ::memcpy(made.n_.name, found->name(), ::strlen(found->name()) + 1);
    made.n_.index = status->index;
    made.wanted_ = options.attach;
    made.replace_ = options.replace;
    if (const auto done = made.choose_queues(options.queues, status->queues); !done) return done.error();
    if (const auto done = made.open_sockets(options.busy_poll); !done) return done.error();
    const bool has_frags = status->mtu > most_without_frags && made.may_have_frags();
    if (!has_frags && detail::xsk_needs_pieces(status->mtu)) return detail::xsk_lacks_pieces(made.n_.name, status->mtu);
    if (const auto done = made.load(options.take, has_frags); !done) return done.error();
    return made;
  }

  // A driver puts what is longer than a buffer of its own in several, and takes no program then that cannot tell. Of
  // those that can do so i40e and ice have the shortest, of 3072 bytes; veth's have room for an MTU of about 3500.
  static constexpr std::uint32_t most_without_frags = 3046;
  // Whether such packets come to sockets at all: Linux 5.18 to 6.5 knows such programs, and drops what they redirect.
  [[nodiscard]] bool may_have_frags() const noexcept {
    return detail::xsk_socket(detail::file_handle(n_.sockets[0], false)).knows_pieces();
  }

  [[nodiscard]] result<bool, error> choose_queues(const queue_set& wanted, std::uint32_t there_are) noexcept {
    text<96> why;
    why << "the interface has " << there_are << (there_are == 1 ? " queue" : " queues");
    const std::uint64_t existing = there_are >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << there_are) - 1;
    if (wanted.is_all() && there_are > max_queues)
      return error("af_xdp", "open", n_.name, why.c_str(), "choose up to 64 of them: .queues = {0, 1}", E2BIG);
    if (!wanted.is_all() && (wanted.bits() & ~existing) != 0)
      return error("af_xdp", "open", n_.name, why.c_str(), "choose among these, numbered from 0", EINVAL);
    if (wanted.bits() == 0) return error("af_xdp", "open", n_.name, "no queue was chosen", ".queues = {0}", EINVAL);
    for (unsigned q = 0; q < 64; ++q)
      if ((wanted.bits() & existing) >> q & 1u) n_.queues[n_.count++] = static_cast<std::uint8_t>(q);
    for (int& s : n_.sockets) s = -1;
    for (int& s : n_.senders) s = -1;
    return true;
  }

  [[nodiscard]] result<bool, error> open_socket(int& to) const noexcept {
    to = detail::sys::socket(detail::sys::af_xdp, detail::sys::sock_raw | detail::sys::sock_cloexec, 0);
    if (to >= 0) return true;
    const int number = errno;
    return error("af_xdp", "open a socket for", n_.name, ::strerror(number),
                 number == EPERM          ? "run as root, or with CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON"
                 : number == EAFNOSUPPORT ? "this kernel was built without CONFIG_XDP_SOCKETS"
                                          : detail::opening_advice(number, ""),
                 number);
  }
  [[nodiscard]] result<bool, error> set_busy_polling(int s, const busy_polling& poll) const noexcept {
    using namespace detail::sys;
    const int prefer = 1, time = static_cast<int>(poll.microseconds), budget = static_cast<int>(poll.budget);
    if (setsockopt(s, sol_socket, so_prefer_busy_poll, &prefer, sizeof prefer) == 0 &&
        setsockopt(s, sol_socket, so_busy_poll, &time, sizeof time) == 0 &&
        setsockopt(s, sol_socket, so_busy_poll_budget, &budget, sizeof budget) == 0)
      return true;
    return error("af_xdp", "set busy polling of", n_.name, ::strerror(errno), "needs CAP_NET_ADMIN, and Linux 5.11",
                 errno);
  }
  [[nodiscard]] result<bool, error> open_sockets(const busy_polling& poll) noexcept {
    for (std::size_t i = 0; i < n_.count; ++i) {
      for (int* const s : {&n_.sockets[i], &n_.senders[i]}) {
        if (const auto done = open_socket(*s); !done) return done.error();
        if (poll.microseconds == 0) continue;
        if (const auto done = set_busy_polling(*s, poll); !done) return done.error();
      }
    }
    if (poll.microseconds == 0) return true;
    n_.busy_polling = true;
    const int number = deferral_.set(n_.name, poll.defer_hard_irqs, poll.gro_flush_timeout);
    if (number == 0) return true;
    return error("af_xdp", "defer interrupts of", n_.name, ::strerror(number),
                 number == ENOENT ? "/sys must be that of this network namespace: use ip netns exec"
                                  : detail::opening_advice(number, "needs root"),
                 number);
  }

  [[nodiscard]] result<bool, error> load(const condition& take, bool has_frags) noexcept {
    const match::condition_view view = take;
    for (std::size_t i = 0; i < view.size; ++i) {
      const match::condition_node& n = view.nodes[i];
      if (n.has_operand() && n.operand.is_meta && n.operand.which == match::meta_key::iif)
        return error("af_xdp", "take by meta iif from", n_.name, "all packets of a device come by its one interface",
                     "leave it out", EINVAL);
    }
    auto lowered = bpf::lower(take, bpf::to_socket, bpf::action{}, {.counters = false, .has_frags = has_frags});
    if (!lowered) return lowered.error();
    const auto maps = bpf::program_maps::create(*lowered);
    if (!maps) return maps.error();
    const std::size_t sockets = lowered->find(bpf::map_use::sockets);
    for (std::uint32_t i = 0; i < n_.count; ++i) {
      const std::uint32_t queue = n_.queues[i];
      const int number = (*maps)[sockets].update(&queue, &n_.sockets[i]);
      if (number != 0) return error("af_xdp", "put a socket in the map of", n_.name, ::strerror(number), "", number);
    }
    auto loaded = bpf::loaded_program::load(*lowered, *maps, {.name = "runnel_af_xdp"});
    if (!loaded) return loaded.error();
    program_ = static_cast<bpf::loaded_program&&>(*loaded);
    return true;
  }

  // Whether the kernel says that the program is no longer on an interface. Some do not tell who has no privileges.
  [[nodiscard]] bool detached() const noexcept {
    std::uint32_t on = 1;
    return n_.link >= 0 && detail::interface_of_link(n_.link, on) == 0 && on == 0;
  }

  // Lets the program run; does nothing when it does already.
  [[nodiscard]] result<bool, error> attach() noexcept {
    if (n_.link >= 0) return true;
    auto link = bpf::xdp_link::attach(program_, n_.name, {.mode = wanted_, .replace = replace_});
    if (!link) return link.error();
    n_.attached = link->mode();
    n_.link = link->release();
    program_ = {};
    return true;
  }

  numbers n_{};
  bpf::loaded_program program_;
  bool replace_ = false;
  bpf::xdp_mode wanted_ = bpf::xdp_mode::automatic;
  detail::interrupt_deferral deferral_;
};

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif
