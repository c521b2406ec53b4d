// SPDX-License-Identifier: MIT
// Where packets come from: a fixed number of slots and descriptors in memory that the user gives.
//
// Theory of operation. One region holds everything, in this order:
//
//     +------+--------------+-------------+------------+------+--------------------------------+
//     | pool | descriptors  | bare ones   | free lists | refs | slots of headroom + bytes      |
//     |      | 0 .. packets | .. + bare   |            |      | each `stride()` bytes apart    |
//     +------+--------------+-------------+------------+------+--------------------------------+
//
// Descriptor i describes slot i for ever, so a device may hand out slot i as a frame, and the frame becomes a packet
// by writing one cache line. A *bare* descriptor has no slot: it describes bytes lent by a device, or a clone, which
// shares another descriptor's slot. `refs[i]` counts who uses slot i; it is looked at only for packets that were
// shared once. Free slots and free bare descriptors are stacks: the last one freed, still in cache, is the next one
// used. One thread allocates; other threads give packets back on a lock-free list, which the owner takes over when
// its own is empty.
#ifndef RUNNEL_PACKET_POOL_HPP
#define RUNNEL_PACKET_POOL_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/descriptor.hpp>
#include <runnel/packet/frame.hpp>

namespace runnel {

class packet;

/// How large a pool is. All memory is taken at construction: see `pool::bytes_needed`.
struct pool_config {
  std::uint32_t packets = 4096;  ///< slots: how many packets with bytes of their own exist at once
  std::uint32_t bytes = 1984;    ///< of each slot, behind the headroom; at most 65535
  std::uint32_t headroom = 128;  ///< before the bytes of a new packet, for headers still to come; at most 65535
  std::uint32_t bare = 1024;     ///< descriptors without a slot: for clones and for frames that a device lends
};

/// A pool of packets. Not thread-safe, but for packets that come home from other threads. Never copied or moved:
/// packets find it by its address. Must outlive its packets.
class alignas(64) pool {
 public:
  /// How many devices may lend bytes to packets of one pool.
  static constexpr std::uint8_t max_lenders = 16;

  /// The bytes between the beginnings of two slots: whole cache lines, an odd number of them. A power of two would
  /// put the headers of all packets into the same few cache sets.
  [[nodiscard]] static constexpr std::size_t stride(const pool_config& c) noexcept {
    return ((std::size_t{c.bytes} + c.headroom + 63) / 64 | 1) * 64;
  }
  /// How much memory `create` needs for a configuration.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const pool_config& c) noexcept {
    return (slots_begin(c) + byte_count{stride(c)} * c.packets).value();
  }
  /// Makes a pool in `memory`, which must be aligned to 64 bytes, stays the caller's, and must outlive the pool.
  /// Null when the memory is too small or not aligned, or a size in the configuration is beyond its limit.
  [[nodiscard]] static pool* create(mutable_bytes memory, const pool_config& c) noexcept {
    if (c.bytes > 0xffff || c.headroom > 0xffff || c.packets == 0) return nullptr;
    if (std::uint64_t{c.packets} + c.bare > no_slot - 1) return nullptr;
    if (memory.size() < bytes_needed(c) || reinterpret_cast<std::uintptr_t>(memory.data()) % 64 != 0) return nullptr;
    return ::new (static_cast<void*>(memory.data())) pool(memory.data(), c);
  }
  pool(const pool&) = delete;
  pool& operator=(const pool&) = delete;

  /// An empty packet with the configured headroom; an empty handle, counted in `exhausted()`, when there is none.
  [[nodiscard]] packet allocate() noexcept;
  /// A packet that takes over the frame's slot or lent bytes, and what is known about it. An empty handle when no
  /// descriptor is left for lent bytes (counted in `exhausted()`); the frame is then still the caller's.
  [[nodiscard]] packet attach(const frame& f) noexcept;
  /// The same with what was found in it: its layers, or nothing but the kind of its first header.
  [[nodiscard]] packet attach(const frame& f, const layers& found) noexcept;
  /// A free slot as an empty frame, for a device to receive into. `slot` is `no_slot` when there is none (counted).
  [[nodiscard]] frame allocate_frame() noexcept {
    const std::uint32_t i = take_slot();
    if (i == no_slot) return {};
    frame f;
    f.data = slots_ + i * stride_ + headroom_;
    f.slot = i;
    f.headroom = static_cast<std::uint16_t>(headroom_);
    f.tailroom = static_cast<std::uint16_t>(bytes_);
    return f;
  }
  /// Calls `take(frame)` for up to `n` free slots, and says for how many: for a device that receives in bursts. Fewer
  /// than `n` when there are no more (counted once). Everything but `data` and `slot` is as in `like`; its headroom
  /// decides where in the slot the data begin, and headroom, length and tailroom together must be at most what a slot
  /// holds. Meanwhile `take` may give back to this pool what it was given, and nothing else (RUNNEL_ASSERT).
  template <class Take>
  [[nodiscard]] RUNNEL_INLINE std::size_t allocate_frames(std::size_t n, const frame& like, Take&& taken_by) noexcept {
    RUNNEL_ASSERT(std::size_t{like.headroom} + like.length + like.tailroom <= std::size_t{headroom_} + bytes_);
    if (free_count_ < n) [[unlikely]] {
      reclaim();
      if (free_count_ < n) {
        ++exhausted_;
        n = free_count_;
      }
    }
    detail::local_taker take(taken_by);
    frame f = like;
    free_count_ -= static_cast<std::uint32_t>(n);
    // Upwards: what is given back meanwhile comes to lie where it was read already.
    const std::uint32_t* const free = free_slots_ + free_count_;
    std::byte* const base = slots_ + like.headroom;
    const std::size_t stride = stride_;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t slot = free[i];
      if (slot == no_slot) __builtin_unreachable();
      f.data = base + slot * stride;
      f.slot = slot;
      take(f);
      RUNNEL_ASSERT(free_slots_ + free_count_ <= free + i + 1 && "take gave back what it was not given here");
    }
    return n;
  }
  /// Gives frames back that never became packets.
  void release(const frame* frames, std::size_t n) noexcept {
    // The counts are kept in registers: through memory, each frame would wait for the one before.
    std::uint32_t* const list = free_slots_;
    std::uint32_t count = free_count_;
    for (std::size_t i = 0; i < n;) {
      if (frames[i].slot != no_slot) {
        list[count++] = frames[i++].slot;
        continue;
      }
      const std::size_t first = i;
      const unsigned lender = frames[first].lender;
      // Four at a time, for all of a burst are lent by one, or none is.
      while (n - i >= 4) {
        std::uint32_t slots = no_slot;
        unsigned others = 0;
        for (std::size_t k = i; k < i + 4; ++k) {
          slots &= frames[k].slot;
          others |= frames[k].lender ^ lender;
        }
        if (slots != no_slot || others != 0) break;
        i += 4;
      }
      while (i < n && frames[i].slot == no_slot && frames[i].lender == lender) ++i;
      lent_[lender] -= static_cast<std::uint32_t>(i - first);
    }
    free_count_ = count;
  }

  /// The same for slots of which only the numbers are known, as when a device's ring says which ones it has sent.
  void release_slots(const std::uint32_t* slots, std::size_t n) noexcept {
    for (std::size_t i = 0; i < n; ++i) free_slots_[free_count_ + i] = slots[i];
    free_count_ += static_cast<std::uint32_t>(n);
  }

  /// Releases packets in bulk; whose pool they are from does not matter. The handles are empty afterwards.
  static void release(packet* packets, std::size_t n) noexcept;

  /// A number for a device that hands out its own memory. 0 when there are `max_lenders` already.
  [[nodiscard]] std::uint8_t add_lender() noexcept {
    for (std::uint8_t id = 1; id <= max_lenders; ++id) {
      if ((lenders_ >> id & 1u) != 0) continue;
      lenders_ |= std::uint32_t{1} << id;
      return id;
    }
    return 0;
  }
  /// Gives the number back to be given to another device; kept for ever when frames of it are still out.
  void remove_lender(std::uint8_t id) noexcept {
    if (lent_[id] == 0) lenders_ &= ~(std::uint32_t{1} << id);
  }
  /// Says that `n` frames of lender `id` are out. They come back one by one as frames or packets are released.
  void lend(std::uint8_t id, std::uint32_t n) noexcept { lent_[id] += n; }
  /// How many frames and packets still show bytes of lender `id`.
  [[nodiscard]] std::uint32_t lent(std::uint8_t id) const noexcept { return lent_[id]; }

  /// Where the slots lie, for devices that share them with the kernel or with hardware: the first byte of slot 0. Slot
  /// i begins `i * slot_stride()` bytes behind it, with the headroom.
  [[nodiscard]] std::byte* slots() const noexcept { return slots_; }
  /// The bytes from one slot to the next: an odd number of cache lines.
  [[nodiscard]] std::size_t slot_stride() const noexcept { return stride_; }
  /// How many slots there are.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return packets_; }
  /// Slots that are free. Packets that came home from other threads count once the owner has taken them over.
  [[nodiscard]] std::uint32_t available() const noexcept { return free_count_; }
  /// Bare descriptors that are free.
  [[nodiscard]] std::uint32_t bare_available() const noexcept { return free_bare_count_; }
  /// How many bare descriptors there are.
  [[nodiscard]] std::uint32_t bare_capacity() const noexcept { return bare_; }
  /// How often a packet, slot or descriptor was asked for and none was left.
  [[nodiscard]] std::uint64_t exhausted() const noexcept { return exhausted_; }
  /// Bytes that a new packet can hold behind its headroom.
  [[nodiscard]] std::uint32_t packet_bytes() const noexcept { return bytes_; }
  /// Bytes before those of a new packet.
  [[nodiscard]] std::uint32_t headroom() const noexcept { return headroom_; }
  /// Takes over what other threads have given back. `allocate` does so by itself when it runs out.
  [[gnu::noinline]] void reclaim() noexcept {
    std::uint32_t i = __atomic_exchange_n(&home_coming_, no_slot, __ATOMIC_ACQUIRE);
    while (i != no_slot) {
      detail::descriptor* d = descriptors() + i;
      i = d->next;
      release_special(d);
    }
  }

 private:
  friend class packet;

  [[nodiscard]] static constexpr byte_count lists_begin(const pool_config& c) noexcept;
  [[nodiscard]] static constexpr byte_count slots_begin(const pool_config& c) noexcept;

  pool(std::byte* memory, const pool_config& c) noexcept;

  [[nodiscard]] detail::descriptor* descriptors() noexcept { return reinterpret_cast<detail::descriptor*>(this + 1); }
  [[nodiscard]] static pool& of(detail::descriptor* d) noexcept { return *(reinterpret_cast<pool*>(d - d->index) - 1); }
  [[nodiscard]] std::uint32_t slot_of(const std::byte* p) const noexcept {
    return static_cast<std::uint32_t>(static_cast<std::size_t>(p - slots_) / stride_);
  }
  [[nodiscard]] std::uint32_t take_slot() noexcept {
    if (free_count_ == 0) [[unlikely]] {
      reclaim();
      if (free_count_ == 0) {
        ++exhausted_;
        return no_slot;
      }
    }
    return free_slots_[--free_count_];
  }
  [[nodiscard]] detail::descriptor* take_bare() noexcept {
    if (free_bare_count_ == 0) [[unlikely]] {
      reclaim();
      if (free_bare_count_ == 0) {
        ++exhausted_;
        return nullptr;
      }
    }
    return descriptors() + free_bare_list_[--free_bare_count_];
  }
  RUNNEL_INLINE static void release_chain(detail::descriptor* d) noexcept {
    if (d->special != 0) [[unlikely]]
      return release_special(d);
    pool& home = of(d);
    home.free_slots_[home.free_count_++] = d->index;
  }
  // The same for any packet.
  [[gnu::noinline]] static void release_special(detail::descriptor* d) noexcept {
    pool& home = of(d);
    for (;;) {
      const bool more = (d->special & detail::is_chained) != 0;
      const std::uint32_t next = d->next;
      home.release_one(d);
      if (!more) return;
      d = home.descriptors() + next;
    }
  }
  // Gives back one descriptor and its hold on its bytes; not what is chained to it.
  RUNNEL_INLINE void release_one(detail::descriptor* d) noexcept {
    const std::uint8_t special = d->special;
    d->special = special & (detail::is_lent | detail::is_clone | detail::maybe_shared);
    if ((special & detail::is_away) != 0) {
      std::uint32_t head = __atomic_load_n(&home_coming_, __ATOMIC_RELAXED);
      do d->next = head;
      while (!__atomic_compare_exchange_n(&home_coming_, &head, d->index, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
      return;
    }
    d->special = 0;
    if (d->index < packets_) return release_slot_reference(d->index);
    if ((special & detail::is_lent) != 0) --lent_[d->lender_or_queue];
    else release_slot_reference(slot_of(d->data - d->headroom));
    free_bare_list_[free_bare_count_++] = d->index;
  }
  // Gives back a descriptor whose hold on its slot is the only one, and keeps the slot.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t release_but_slot(detail::descriptor* d) noexcept {
    if ((d->special & detail::is_clone) == 0) [[likely]]
      return d->index;
    free_bare_list_[free_bare_count_++] = d->index;
    return slot_of(d->data - d->headroom);
  }
  void release_slot_reference(std::uint32_t slot) noexcept {
    if (--refs_[slot] == 0) {
      refs_[slot] = 1;
      free_slots_[free_count_++] = slot;
    }
  }

  std::byte* slots_;
  std::size_t stride_;
  std::uint32_t* free_slots_;
  std::uint32_t* free_bare_list_;
  std::uint32_t* refs_;
  std::uint32_t free_count_;
  std::uint32_t free_bare_count_;
  std::uint32_t packets_;
  std::uint32_t bare_;
  std::uint32_t bytes_;
  std::uint32_t headroom_;
  std::uint64_t exhausted_ = 0;
  std::uint32_t lent_[max_lenders + 1] = {};  // the numbers begin at 1
  std::uint32_t lenders_ = 0;                 // bit n: number n is given out
  // Written by other threads: a line of its own. Heads a list through descriptor::next; no_slot when empty.
  alignas(64) std::uint32_t home_coming_ = no_slot;
};

constexpr byte_count pool::lists_begin(const pool_config& c) noexcept {
  return byte_count{sizeof(pool)} + byte_count::of<detail::descriptor>(std::uint64_t{c.packets} + c.bare);
}
constexpr byte_count pool::slots_begin(const pool_config& c) noexcept {
  return lists_begin(c) + byte_count::of<std::uint32_t>(std::uint64_t{c.packets} * 2 + c.bare).aligned(64);
}

inline pool::pool(std::byte* memory, const pool_config& c) noexcept
    : slots_(memory + slots_begin(c).value()),
      stride_(stride(c)),
      free_slots_(static_cast<std::uint32_t*>(static_cast<void*>(memory + lists_begin(c).value()))),
      free_bare_list_(free_slots_ + c.packets),
      refs_(free_bare_list_ + c.bare),
      free_count_(c.packets),
      free_bare_count_(c.bare),
      packets_(c.packets),
      bare_(c.bare),
      bytes_(c.bytes),
      headroom_(c.headroom) {
  for (std::uint32_t i = 0; i < packets_ + bare_; ++i) {
    ::new (static_cast<void*>(descriptors() + i)) detail::descriptor{};
    descriptors()[i].index = i;
  }
  // The lowest numbers lie on top of the stacks.
  for (std::uint32_t i = 0; i < packets_; ++i) {
    free_slots_[i] = packets_ - 1 - i;
    refs_[i] = 1;
  }
  for (std::uint32_t i = 0; i < bare_; ++i) free_bare_list_[i] = packets_ + bare_ - 1 - i;
}

/// A pool in memory of its own, of a size known at compile time: for microcontrollers, and for static storage.
///
///     static static_pool<pool_config{.packets = 32, .bytes = 512, .bare = 8}> memory;
///
/// Every packet must have come home when it is destroyed (RUNNEL_ASSERT): tables and queues that may hold some go
/// before it.
template <pool_config Config>
class static_pool {
 public:
  static_pool() noexcept : pool_(pool::create({memory_, sizeof memory_}, Config)) {}
  static_pool(const static_pool&) = delete;
  static_pool& operator=(const static_pool&) = delete;
  ~static_pool() {
    pool_->reclaim();
    const bool all_home = pool_->available() == pool_->capacity() && pool_->bare_available() == pool_->bare_capacity();
    RUNNEL_ASSERT(all_home && "packets of a pool must be gone before the pool is: tables and queues hold some");
    (void)all_home;
  }
  /// The pool. @{
  operator pool&() & noexcept { return *pool_; }
  [[nodiscard]] pool& get() noexcept { return *pool_; }
  [[nodiscard]] pool* operator->() noexcept { return pool_; }
  /// @}

 private:
  static_assert(Config.packets > 0, "runnel: a pool needs at least one packet");
  static_assert(Config.bytes <= 0xffff && Config.headroom <= 0xffff,
                "runnel: bytes and headroom of a pool are at most 65535; chain packets for more");
  alignas(64) std::byte memory_[pool::bytes_needed(Config)];
  pool* pool_;
};

}  // namespace runnel

#endif
