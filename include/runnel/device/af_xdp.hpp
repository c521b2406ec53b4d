// SPDX-License-Identifier: MIT
// An interface of this machine through AF_XDP: packets are received into, and sent from, slots of a pool that is shared
// with the kernel. Documentation/networking/af_xdp.rst. Needs Linux 5.11, for jumbo frames 6.6, and root, or what
// af_xdp_handles.hpp does.
//
//     auto nic = device::af_xdp::open("eth0");
//     if (!nic) return fail(nic.error());
//     std::printf("%s: %s\n", nic->name(), name(nic->mode()));     // "eth0: native, copy"
//     run(time, attach(*nic, parse() | ... | transmit(*nic)));
//
// Theory of operation. The pool's slots are the UMEM; slot i is a chunk of it, at an odd number of cache lines
// (unaligned chunks), so that headers of packets do not fall into the same cache sets. A slot is in one of these
// places:
//
//     free in the pool > fill ring > kernel > receive ring > frame or packet, the user's > free in the pool
//                                                              |
//                                       completion ring < kernel < transmit ring < transmit()
//
// `receive` takes what is in the receive rings, puts free slots on the fill rings, and takes sent slots back;
// `transmit` takes sent slots back, too. Which slots are with the kernel is noted, one byte each: nothing is lost when
// the device is closed, or when the interface is deleted while it runs.
//
// Jumbo frames: slots are as long as the MTU needs, but the kernel knows of a page of each only, and hands over what is
// longer (3840 bytes) in several slots. `receive` copies all but the first piece behind that one, and hands out one
// plain frame in one slot: of 9000 bytes it copies about 5200 (`statistics().gathered`). What is sent is not copied for
// that. Slots need none of it up to an MTU of 3822; but before Linux 6.6 drivers whose own buffers are shorter, as
// those of veth (about 3500), refuse the program from there on: `generic`.
//
// Two sockets serve each queue, one for each direction; `receive` takes from one queue after the other. A packet is
// sent by the queue with the number that it was received by, so that packets of one flow keep their order.
//
// A veth interface hands over what its peer's own stack sends with TCP and UDP checksums that are not complete, and
// nothing says so: `ethtool -K PEER tx off` there. VLAN tags that a card has taken out of packets do not come here, and
// packets of all VLANs look alike: `ethtool -K eth0 rxvlan off`; on veth, `ethtool -K PEER txvlan off`.
#ifndef RUNNEL_DEVICE_AF_XDP_HPP
#define RUNNEL_DEVICE_AF_XDP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/error.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/af_xdp_handles.hpp>
#include <runnel/device/af_xdp_options.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/partial_checksum.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/xsk_queue.hpp>
#include <runnel/device/xsk_umem.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__linux__)

#include <sys/epoll.h>     // epoll_create1
#include <sys/resource.h>  // getrlimit
#include <time.h>          // nanosleep

namespace runnel::device {

/// An interface through AF_XDP. Move-only; closing it detaches its program and puts back what was set. One thread uses
/// it. When it is destroyed every packet of a pool of its own must have come home (RUNNEL_ASSERT).
class af_xdp {
 public:
  /// Opens an interface, with its privileges: CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON. Memory is taken here
  /// only. Fails where there is no such interface, queue or privilege, where an XDP program or another socket is
  /// already, and where the MTU is larger than a slot of `memory` or `share`, than 65261, or, before Linux 6.6, than
  /// 3822.
  [[nodiscard]] static result<af_xdp, error> open(const char* name, const af_xdp_options& options = {}) noexcept {
    auto handles = af_xdp_handles::prepare(name, options);
    if (!handles) return handles.error();
    return adopt(static_cast<af_xdp_handles&&>(*handles), options);
  }
  /// Makes a device of what a privileged process has opened; needs none itself, but enough locked memory (ulimit -l).
  /// Of the options those of memory and rings count, and `mode`.
  [[nodiscard]] static result<af_xdp, error> adopt(af_xdp_handles&& handles,
                                                   const af_xdp_options& options = {}) noexcept {
    const auto& n = handles.get();
    auto found = network_interface::open_for("af_xdp", n.name, n.index);
    if (!found) return found.error();
    const auto status = found->status();
    if (!status) return status.error();
    const std::uint32_t mtu = status->mtu;
    auto memory = choose_memory(options, n.count, mtu, n.name);
    if (!memory) return memory.error();
    af_xdp made(static_cast<network_interface&&>(*found), static_cast<af_xdp_handles&&>(handles),
                static_cast<detail::device_memory&&>(*memory));
    made.queues_there_were_ = status->queues;
    if (const auto done = made.start(options, mtu); !done) return done.error();
    return made;
  }
  af_xdp(af_xdp&& other) noexcept
      : interface_(static_cast<network_interface&&>(other.interface_)),
        handles_(static_cast<af_xdp_handles&&>(other.handles_)),
        memory_(static_cast<detail::device_memory&&>(other.memory_)),
        state_(static_cast<detail::mapping&&>(other.state_)),
        epoll_(static_cast<detail::file_handle&&>(other.epoll_)),
        umem_(other.umem_),
        queues_(other.queues_),
        count_(other.count_),
        next_(other.next_),
        sent_by_(other.sent_by_),
        queues_there_were_(other.queues_there_were_),
        mode_(other.mode_),
        check_due_(other.check_due_),
        counts_(other.counts_),
        failed_(other.failed_),
        failure_(other.failure_) {
    other.count_ = 0;
    other.umem_.custody = nullptr;
  }
  af_xdp& operator=(af_xdp&&) = delete;
  ~af_xdp() { shut_down(); }

  /// The interface's name.
  [[nodiscard]] const char* name() const noexcept { return handles_.get().name; }
  /// How it came to work. Not the fastest? The driver knows no XDP (generic), or no zero-copy, or the pool does not lie
  /// on huge pages.
  [[nodiscard]] af_xdp_mode mode() const noexcept { return mode_; }
  /// How many queues it serves.
  [[nodiscard]] std::size_t queue_count() const noexcept { return count_; }
  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return memory_.get(); }

  /// Hands out up to `room` frames, of one queue after the other, lets the kernel have free slots for more, and takes
  /// back those that were sent: whoever only sends calls it with room for none when the pool is empty. Their
  /// timestamp is `now`, their queue that of the interface. Their headroom is 256 bytes. A jumbo frame is copied
  /// together (see above); one that is longer than a slot, or than the pages that the MTU needed when it was opened, is
  /// dropped and counted.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& taken_by) noexcept {
    std::size_t n = 0;
    {
      detail::local_taker take(taken_by);
      for (std::size_t tried = 0; tried < count_ && n < room; ++tried) {
        detail::xsk_queue& q = queues_[next_];
        if (++next_ == count_) next_ = 0;
        n += q.receive(umem_, room - n, now, take, counts_);
      }
    }
    if (n == 0) [[unlikely]]
      look_after(now);
    return n;
  }
  /// Whether nothing will ever come again: the interface was deleted, or the program detached. `failure()` says so.
  [[nodiscard]] bool done() const noexcept { return failed_; }
  /// What ended it; null while it works.
  [[nodiscard]] const error* failure() const noexcept { return failed_ ? &failure_ : nullptr; }
  /// When it wants to be asked for packets, also when none come: at once while packets wait for a driver that was busy,
  /// otherwise four times a second, to see whether the interface is there still, which the kernel tells nobody who
  /// waits.
  [[nodiscard]] instant next_due() const noexcept {
    if (failed_) return never;
    for (std::size_t i = 0; i < count_; ++i)
      if (queues_[i].waits_for_driver()) return instant{INT64_MIN};
    return check_due_;
  }
  /// A file descriptor to wait on for packets (POLLIN).
  [[nodiscard]] int wait_handle() const noexcept { return count_ == 1 ? handles_.get().sockets[0] : epoll_.get(); }
  /// Whether the kernel lacks slots to receive into and the pool is empty.
  [[nodiscard]] bool lacks_memory() const noexcept {
    if (count_ == 0 || memory_.get().available() != 0) return false;
    for (std::size_t i = 0; i < count_; ++i)
      if (queues_[i].lacks_slots()) return true;
    return false;
  }

  /// A file descriptor that can be written to when the transmit ring has room again; -1 where nobody tells: with
  /// several queues, and while the driver is busy or the interface down.
  [[nodiscard]] int transmit_handle() const noexcept {
    return count_ == 1 && !queues_[0].waits_to_be_asked() ? handles_.get().senders[0] : -1;
  }

  /// Sends packets, in order, until a transmit ring is full; the rest stays the caller's. One that lies alone on a slot
  /// of this device's pool goes as it is; others are copied to one. Partial checksums are completed. Packets that
  /// cannot be sent, because they are longer than a slot, or than the pages that the MTU needed when it was opened, or
  /// shorter than an Ethernet header, or stand for several segments, and all when the interface is gone, are taken and
  /// lost: see `lost()`. One that is longer than the MTU and not than these pages the kernel gives to the driver.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    if (count_ != 0) [[likely]]
      return send(packets, n, now, [](const packet& p) { return p.queue(); });
    pool::release(packets, n);
    counts_.lost += n;
    return n;
  }
  /// The same for frames that came from this device, or from its pool.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept {
    if (count_ != 0) [[likely]]
      return send(frames, n, now, [](const frame& f) { return f.queue; });
    memory().release(frames, n);
    counts_.lost += n;
    return n;
  }
  /// Packets that were taken and not sent.
  [[nodiscard]] std::uint64_t lost() const noexcept { return counts_.lost; }

  /// What came to pass so far. Two system calls a queue, and six.
  [[nodiscard]] af_xdp_statistics statistics() const noexcept {
    af_xdp_statistics s = counts_;
    for (std::size_t i = 0; i < count_; ++i) add_kernel_counts(s, queues_[i]);
    if (const auto now = interface_.status(); now && now->queues > queues_there_were_)
      s.new_queues = now->queues - queues_there_were_;
    return s;
  }
  /// Where the slots are. Counts them one by one: not for the data path.
  [[nodiscard]] af_xdp_frames frames() const noexcept {
    af_xdp_frames f;
    f.total = memory_.get().capacity();
    f.free = memory_.get().available();
    for (std::uint32_t i = 0; umem_.custody != nullptr && i < f.total; ++i) {
      f.receiving += umem_.custody[i] == detail::xsk_custody::receive;
      f.transmitting += umem_.custody[i] >= detail::xsk_custody::transmit;
    }
    f.out = f.total - f.free - f.receiving - f.transmitting;
    return f;
  }

 private:
  // How often a device that receives nothing asks whether its interface is there still.
  static constexpr duration check_interval = milliseconds(250);

  af_xdp(network_interface&& settings, af_xdp_handles&& handles, detail::device_memory&& memory) noexcept
      : interface_(static_cast<network_interface&&>(settings)),
        handles_(static_cast<af_xdp_handles&&>(handles)),
        memory_(static_cast<detail::device_memory&&>(memory)) {}

  [[nodiscard]] static result<detail::device_memory, error> choose_memory(const af_xdp_options& options,
                                                                          std::uint32_t queues, std::uint32_t mtu,
                                                                          const char* on) noexcept {
    if (options.share != nullptr && options.share->count_ == 0)
      return error("af_xdp", "share memory for", on, "the other device has failed", "open that one again first",
                   ENODEV);
    pool* const given = options.share != nullptr ? &options.share->memory() : options.memory;
    if (options.share != nullptr && detail::xsk_needs_pieces(mtu) && options.share->umem_.may_have_pieces() &&
        !options.share->umem_.has_pieces)
      return error("af_xdp", "share memory for", on, "the other device's driver has no jumbo frames without copying",
                   "open that one with .mode = copy", EOPNOTSUPP);
    return detail::choose_xsk_memory(given, {.packets = options.packets * queues}, mtu, on);
  }

  [[nodiscard]] result<bool, error> start(const af_xdp_options& options, std::uint32_t mtu) noexcept {
    pool& memory = memory_.get();
    const std::uint32_t queues = handles_.get().count;
    umem_ = detail::xsk_umem::of(memory, detail::page_size());
    // Also where the MTU needs none: another device that shares this memory may, and has them only if this one has.
    if (options.share != nullptr ? options.share->umem_.has_pieces : umem_.may_have_pieces()) umem_.allow_pieces();
    umem_.limit_pieces(mtu);
    // The kernel hands over a whole frame or nothing.
    const std::uint32_t least =
        umem_.pieces_to_receive(static_cast<std::uint32_t>(detail::xsk_slot_bytes(mtu) - detail::xdp_headroom));
    const std::uint32_t most = memory.available() / (2 * queues);
    const std::uint32_t wanted = options.receive_slots < least ? least : options.receive_slots;
    const std::uint32_t level = wanted < most ? wanted : most;
    if (level < least || options.receive_slots == 0 || options.transmit_slots == 0) {
      text<48> advice;
      advice << std::uint64_t{2} * least << " for each queue, and more";
      return error("af_xdp", "open", name(), "the pool has too few slots", advice.c_str(), ENOBUFS);
    }
    const std::size_t queue_bytes = sizeof(detail::xsk_queue) * queues;
    state_ = detail::mapping(queue_bytes + memory.capacity());
    if (state_.data() == nullptr) return failed("take memory for", errno, detail::mapping_advice(errno, ""));
    queues_ = static_cast<detail::xsk_queue*>(static_cast<void*>(state_.data()));
    umem_.custody = static_cast<detail::xsk_custody*>(static_cast<void*>(state_.data() + queue_bytes));  // ours: 0
    for (std::uint32_t i = 0; i < queues; ++i)
      if (const auto done = open_queue(i, level, options, mtu); !done) return done.error();
    for (std::uint32_t number = 0; number < 256; ++number)
      sent_by_.place[number] = static_cast<std::uint8_t>(number % queues);
    for (std::uint32_t i = 0; i < queues; ++i) sent_by_.place[handles_.get().queues[i]] = static_cast<std::uint8_t>(i);
    mode_.zero_copy = queues_[0].receiver().zero_copy();
    if (mode_.zero_copy) set_aside_crossing_slots();
    for (std::size_t i = 0; i < count_; ++i) queues_[i].refill(umem_);
    if (count_ > 1)
      if (const auto done = open_epoll(); !done) return done.error();
    if (const auto done = handles_.attach(); !done) return done.error();
    mode_.attached = handles_.get().attached;
    return true;
  }

  [[nodiscard]] result<bool, error> open_queue(std::uint32_t i, std::uint32_t level, const af_xdp_options& options,
                                               std::uint32_t mtu) noexcept {
    const auto& n = handles_.get();
    text<48> which;
    which << n.name << " queue " << n.queues[i];
    detail::xsk_socket receiver(detail::file_handle(n.sockets[i], false));
    detail::xsk_socket sender(detail::file_handle(n.senders[i], false));
    detail::xsk_binding to{.interface_index = static_cast<std::uint32_t>(n.index), .queue = n.queues[i]};
    if (options.share != nullptr) to.shares_memory_of = options.share->handles_.get().sockets[0];
    else if (i != 0) to.shares_memory_of = n.sockets[0];
    int number = to.shares_memory_of < 0 ? receiver.register_memory(umem_.whole(), umem_.chunk) : 0;
    if (number != 0) return cannot_share(number);
    const auto ring = [](std::uint32_t entries) {
      return static_cast<std::uint32_t>(floor_power_of_two(entries) == entries ? entries
                                                                               : floor_power_of_two(entries) * 2);
    };
    const std::uint32_t pieces = umem_.pieces_to_send(umem_.room);
    const std::uint32_t transmit_size = ring(options.transmit_slots < pieces ? pieces : options.transmit_slots);
    number = receiver.make_receive_rings(ring(level), transmit_size);
    if (number == 0) number = sender.make_transmit_ring(transmit_size);
    if (number != 0)
      return failed("make rings for", number, detail::mapping_advice(number, "Linux 5.11 is needed, or fewer slots"));
    // Neither has to work: what a sender may have under way is limited by the ring already, and one call sends fewer.
    const std::uint32_t budget = transmit_size;
    const std::uint32_t buffer = 1u << 30;
    (void)sender.option(detail::sys::so_sndbufforce, &buffer, sizeof buffer, detail::sys::sol_socket);
    (void)sender.option(detail::sys::xdp_max_tx_skb_budget, &budget, sizeof budget);
    // With neither flag the kernel tries without copying first.
    const bool copy =
        options.mode == copy_mode::copy || (options.mode == copy_mode::automatic && memory_.pages() != page_kind::huge);
    const bool zero_copy = options.mode == copy_mode::zero_copy;
    to.flags = static_cast<std::uint16_t>(XDP_USE_NEED_WAKEUP | (copy ? XDP_COPY : 0) | (zero_copy ? XDP_ZEROCOPY : 0) |
                                          (umem_.has_pieces ? detail::sys::xdp_use_sg : 0));
    number = bind(receiver, to);
    // Linux before 6.6; or a driver that cannot without copying.
    if ((number == EINVAL || number == EOPNOTSUPP) && to.shares_memory_of < 0 && umem_.has_pieces) {
      if (!detail::xsk_needs_pieces(mtu)) {
        umem_.forbid_pieces();
        to.flags = static_cast<std::uint16_t>(to.flags & ~detail::sys::xdp_use_sg);
        number = bind(receiver, to);
      } else if (!receiver.knows_pieces()) {
        return detail::xsk_lacks_pieces(n.name, mtu);
      }
    }
    // On the same queue, that also means: with its fill and completion rings.
    to.shares_memory_of = n.sockets[i];
    if (number == 0) number = sender.bind(to);
    if (number != 0)
      return error("af_xdp", "bind", which.c_str(), ::strerror(number), bind_advice(number, zero_copy), number);
    ::new (static_cast<void*>(queues_ + i))
        detail::xsk_queue(static_cast<detail::xsk_socket&&>(receiver), static_cast<detail::xsk_socket&&>(sender),
                          n.queues[i], level, n.busy_polling);
    ++count_;
    return true;
  }

  // The kernel takes closed sockets down in the background, behind whatever else changes interfaces, and the queue is
  // busy until then: waits for up to three seconds.
  [[nodiscard]] static int bind(const detail::xsk_socket& s, const detail::xsk_binding& to) noexcept {
    int number = s.bind(to);
    for (int tries = 0; number == EBUSY && tries < 600; ++tries) {
      const ::timespec five_milliseconds{0, 5'000'000};
      (void)::nanosleep(&five_milliseconds, nullptr);
      number = s.bind(to);
    }
    return number;
  }

  [[nodiscard]] result<bool, error> open_epoll() noexcept {
    epoll_ = detail::file_handle(::epoll_create1(EPOLL_CLOEXEC), true);
    if (epoll_.get() < 0) return failed("wait for", errno, "raise the limit of open files (ulimit -n)");
    for (std::size_t i = 0; i < count_; ++i) {
      ::epoll_event e{};
      e.events = EPOLLIN;
      if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, queues_[i].receiver().fd(), &e) != 0)
        return failed("wait for", errno, "");
    }
    return true;
  }

  // A driver that reads and writes the pool itself takes no slot that is in two places of the memory.
  void set_aside_crossing_slots() noexcept {
    pool& memory = memory_.get();
    (void)memory.allocate_frames(memory.available(), frame{}, [&](const frame& f) noexcept {
      if (umem_.crosses_huge_page(f.slot)) umem_.custody[f.slot] = detail::xsk_custody::unused;
      else memory.release(&f, 1);
    });
  }

  // By which queue those are sent that came by queue `number`: by that one, or one that is always the same.
  [[nodiscard]] detail::xsk_queue& queue_for(std::uint8_t number) noexcept { return queues_[sent_by_.place[number]]; }

  // `queue_of` says by which queue one was received.
  template <class Item, class QueueOf>
  RUNNEL_INLINE std::size_t send(Item* items, std::size_t n, instant now, QueueOf queue_of) noexcept {
    std::size_t sent = 0;
    while (sent < n) {
      detail::xsk_queue& q = queue_for(queue_of(items[sent]));
      std::size_t end = count_ == 1 ? n : sent + 1;
      while (end < n && &queue_for(queue_of(items[end])) == &q) ++end;
      sent += q.transmit(umem_, items + sent, end - sent, counts_);
      if (sent == end) continue;
      counts_.refused += n - sent;
      check(now);  // who only sends finds out here that it is gone
      break;
    }
    return sent;
  }
  [[gnu::noinline]] void look_after(instant now) noexcept {
    for (std::size_t i = 0; i < count_; ++i) queues_[i].look_after(umem_, counts_);
    check(now);
  }
  [[gnu::noinline]] void check(instant now) noexcept {
    if (count_ == 0 || (check_due_ > now && check_due_ - now <= check_interval)) return;
    check_due_ = now + check_interval;
    int number = 0;
    for (std::size_t i = 0; i < count_ && number == 0; ++i) number = queues_[i].receiver().take_error();
    counts_.system_calls += count_ + 1;
    if (number != 0)
      failure_ = error("af_xdp", "receive from", name(), ::strerror(number),
                       "the interface was deleted: open it again when it is back", number);
    else if (handles_.detached() && interface_.status())  // it goes before an interface that is being deleted
      failure_ = error("af_xdp", "receive from", name(), "another program has detached ours, or replaced it",
                       "end that one, and open this again");
    else return;
    failed_ = true;
    shut_down();
  }

  // Closes the sockets and takes back every slot that the kernel had.
  void shut_down() noexcept {
    for (std::size_t i = 0; i < count_; ++i) add_kernel_counts(counts_, queues_[i]);
    handles_.close();
    for (std::size_t i = 0; i < count_; ++i) queues_[i].~xsk_queue();
    count_ = 0;
    epoll_ = {};
    if (umem_.custody == nullptr) return;
    for (std::uint32_t i = 0; i < memory_.get().capacity(); ++i) {
      if (umem_.custody[i] == detail::xsk_custody::ours) continue;
      memory_.get().release_slots(&i, 1);
      umem_.custody[i] = detail::xsk_custody::ours;
    }
  }

  static void add_kernel_counts(af_xdp_statistics& to, const detail::xsk_queue& of) noexcept {
    const auto k = of.receiver().statistics();
    // What found no slot is among the dropped ones, too.
    to.kernel_dropped += k.rx_dropped > k.rx_fill_ring_empty_descs ? k.rx_dropped - k.rx_fill_ring_empty_descs : 0;
    to.kernel_ring_full += k.rx_ring_full;
    to.kernel_no_slot += k.rx_fill_ring_empty_descs;
    to.kernel_invalid += k.rx_invalid_descs + of.sender().statistics().tx_invalid_descs;
  }
  [[nodiscard]] static const char* bind_advice(int number, bool zero_copy) noexcept {
    switch (number) {
      case EBUSY: return "another socket owns this queue: end that program, or choose other queues";
      case EOPNOTSUPP:
      case EINVAL: return zero_copy ? "the driver or its settings have no zero-copy: .mode = copy" : "";
      case ENETDOWN: return "set the interface up first: ip link set dev X up";
      default: return "";
    }
  }
  [[nodiscard]] error cannot_share(int number) const noexcept {
    constexpr const char* what = "share memory with the kernel for";
    if (number == EINVAL) return failed(what, number, "Linux 5.11 is needed");
    ::rlimit limit{};
    // xdp_umem_account_pages() in net/xdp/xdp_umem.c: without CAP_IPC_LOCK, what all programs of a user share counts.
    if (number != ENOBUFS || ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
      return failed(what, number, number == ENOMEM ? "free memory, or ask for fewer packets" : "");
    text<96> why;
    why << "its " << std::uint64_t{umem_.whole().size()} / 1024 << " KiB exceed the limit of locked memory, "
        << std::uint64_t{limit.rlim_cur} / 1024 << " KiB";
    return {"af_xdp", what, name(), why.c_str(), "raise it (ulimit -l), give CAP_IPC_LOCK, or ask for fewer packets",
            number};
  }
  [[nodiscard]] error failed(const char* what, int number, const char* advice) const noexcept {
    return {"af_xdp", what, name(), ::strerror(number), advice, number};
  }

  network_interface interface_;
  af_xdp_handles handles_;
  detail::device_memory memory_;
  detail::mapping state_;  // the queues, then the custody of each slot
  detail::file_handle epoll_;
  detail::xsk_umem umem_{};
  detail::xsk_queue* queues_ = nullptr;
  std::size_t count_ = 0;
  std::size_t next_ = 0;  // the queue to receive from next
  struct {
    std::uint8_t place[256] = {};  // in queues_
  } sent_by_;
  std::uint32_t queues_there_were_ = 0;
  af_xdp_mode mode_{};
  instant check_due_{INT64_MIN};
  af_xdp_statistics counts_{};
  bool failed_ = false;
  error failure_{"af_xdp", "", "", ""};
};
static_assert(receiving_device<af_xdp> && transmitting_device<af_xdp> && frame_transmitting_device<af_xdp>);

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif
