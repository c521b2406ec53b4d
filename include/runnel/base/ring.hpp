// SPDX-License-Identifier: MIT
// A bounded ring between one producer and one consumer, without locks: the only thing that crosses threads on the
// data path.
//
// Each side owns one index, on cache lines of its own, and remembers what it last read of the other's. It reads the
// other's index again only when the ring looks full (or empty) by what it remembers, so that in steady state the
// line moves between the cores once for many elements. Indices run on for ever; the slot is the index modulo the
// capacity, a power of two.
#ifndef RUNNEL_BASE_RING_HPP
#define RUNNEL_BASE_RING_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uintptr_t
#include <new>          // placement new
#include <type_traits>  // is_trivially_copyable_v

#include <runnel/base/bytes.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/config.hpp>

namespace runnel {

namespace detail {

// Two cache lines: processors fetch neighbouring lines in pairs.
inline constexpr std::size_t ring_line = 128;

// The slots of a ring: inside it, or, for capacity 0, where the user said.
template <class T, std::size_t Capacity>
class ring_slots {
 protected:
  static_assert(is_power_of_two(Capacity), "runnel: the capacity of a ring is a power of two");
  [[nodiscard]] static constexpr std::size_t mask() noexcept { return Capacity - 1; }
  [[nodiscard]] T* slots() noexcept { return reinterpret_cast<T*>(memory_); }

 private:
  alignas(ring_line) alignas(T) std::byte memory_[Capacity * sizeof(T)];
};
template <class T>
class ring_slots<T, 0> {
 protected:
  ring_slots(T* slots, std::size_t mask) noexcept : slots_(slots), mask_(mask) {}
  [[nodiscard]] std::size_t mask() const noexcept { return mask_; }
  [[nodiscard]] T* slots() noexcept { return slots_; }

 private:
  T* slots_;
  std::size_t mask_;
};

}  // namespace detail

/// A ring of `Capacity` elements (a power of two) with slots of its own, or, with `Capacity` 0, in memory given at
/// construction. One thread calls `push`, one (the same or another) calls `pop`; never two at once. `T` is moved in
/// and out and must not throw. Never blocks: a full ring takes less than it is offered, an empty one gives nothing.
/// What is in it when it is destroyed is destroyed.
template <class T, std::size_t Capacity = 0>
class spsc_ring : private detail::ring_slots<T, Capacity> {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                "runnel: elements of a ring are moved in and out, and must not throw meanwhile");
  using base = detail::ring_slots<T, Capacity>;

 public:
  spsc_ring() noexcept
    requires(Capacity != 0)
  = default;
  /// A ring in `memory`, which stays the caller's, must outlive it, and be aligned for `T` (asserted). It holds the
  /// largest power of two of elements that fits, at least one (asserted).
  explicit spsc_ring(mutable_bytes memory) noexcept
    requires(Capacity == 0)
      : base(static_cast<T*>(static_cast<void*>(memory.data())),
             static_cast<std::size_t>(floor_power_of_two(memory.size() / sizeof(T))) - 1) {
    RUNNEL_ASSERT(memory.size() >= sizeof(T) && reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(T) == 0);
  }
  spsc_ring(const spsc_ring&) = delete;
  spsc_ring& operator=(const spsc_ring&) = delete;
  ~spsc_ring() {
    for (std::size_t i = consumer_.index; i != producer_.index; ++i) slot(i).~T();
  }

  /// Moves the first `n` elements at `from` into the ring, or as many as have room, and says how many. Producer only.
  [[nodiscard]] std::size_t push(T* from, std::size_t n) noexcept {
    const std::size_t at = producer_.index;
    n = room_for(at, n);
    const std::size_t place = at & base::mask();
    const std::size_t to_the_end = capacity() - place;
    const std::size_t first = n < to_the_end ? n : to_the_end;
    move_in(base::slots() + place, from, first);
    if (first != n) move_in(base::slots(), from + first, n - first);
    __atomic_store_n(&producer_.index, at + n, __ATOMIC_RELEASE);
    return n;
  }
  /// Moves one element into the ring. False, and the element is still the caller's, when it is full. Producer only.
  [[nodiscard]] bool push(T&& element) noexcept {
    const std::size_t at = producer_.index;
    if (room_for(at, 1) == 0) return false;
    ::new (static_cast<void*>(&slot(at))) T(static_cast<T&&>(element));
    __atomic_store_n(&producer_.index, at + 1, __ATOMIC_RELEASE);
    return true;
  }
  /// Moves up to `n` of the oldest elements to `to`, and says how many. Consumer only.
  [[nodiscard]] std::size_t pop(T* to, std::size_t n) noexcept {
    const std::size_t at = consumer_.index;
    n = filled_of(at, n);
    const std::size_t place = at & base::mask();
    const std::size_t to_the_end = capacity() - place;
    const std::size_t first = n < to_the_end ? n : to_the_end;
    move_out(to, base::slots() + place, first);
    if (first != n) move_out(to + first, base::slots(), n - first);
    __atomic_store_n(&consumer_.index, at + n, __ATOMIC_RELEASE);
    return n;
  }
  /// Moves the oldest element to `to`. False, and nothing changed, when there is none. Consumer only.
  [[nodiscard]] bool pop(T& to) noexcept { return pop(&to, 1) == 1; }

  /// How many elements fit.
  [[nodiscard]] std::size_t capacity() const noexcept { return base::mask() + 1; }
  /// Elements in the ring: exact for the two sides' own thread when the other is at rest, a moment old otherwise.
  [[nodiscard]] std::size_t size() const noexcept {
    const std::size_t out = __atomic_load_n(&consumer_.index, __ATOMIC_ACQUIRE);
    const std::size_t n = __atomic_load_n(&producer_.index, __ATOMIC_ACQUIRE) - out;
    // For a third thread both sides may have gone on between the two looks.
    return n < capacity() ? n : capacity();
  }
  /// Whether there is none; as exact as `size()`.
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

 private:
  struct alignas(detail::ring_line) side {
    std::size_t index = 0;   // written by its owner only
    std::size_t others = 0;  // the other side's index, when its owner last looked
  };

  [[nodiscard]] T& slot(std::size_t i) noexcept { return base::slots()[i & base::mask()]; }
  [[nodiscard]] RUNNEL_INLINE std::size_t room_for(std::size_t at, std::size_t n) noexcept {
    std::size_t room = capacity() - (at - producer_.others);
    if (room < n) {
      producer_.others = __atomic_load_n(&consumer_.index, __ATOMIC_ACQUIRE);
      room = capacity() - (at - producer_.others);
    }
    return n < room ? n : room;
  }
  [[nodiscard]] RUNNEL_INLINE std::size_t filled_of(std::size_t at, std::size_t n) noexcept {
    std::size_t filled = consumer_.others - at;
    if (filled < n) {
      consumer_.others = __atomic_load_n(&producer_.index, __ATOMIC_ACQUIRE);
      filled = consumer_.others - at;
    }
    return n < filled ? n : filled;
  }
  // GCC would make `rep movs` of a copy whose length it can bound, and that takes longer to start than a burst takes
  // to copy: 70 ns for one pointer. So few are moved one by one, many by the library, and the bound is hidden.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstringop-overflow"  // at -O3 it takes the part behind the wrap for one of no bytes
#endif
  RUNNEL_INLINE static void copy(T* to, const T* from, std::size_t n) noexcept {
    if (n < 8) {
      for (std::size_t i = 0; i < n; ++i) {
        __builtin_memcpy(static_cast<void*>(to + i), static_cast<const void*>(from + i), sizeof(T));
        asm volatile("");
      }
      return;
    }
    asm("" : "+r"(n));
    __builtin_memcpy(static_cast<void*>(to), static_cast<const void*>(from), n * sizeof(T));
  }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
  RUNNEL_INLINE static void move_in(T* to, T* from, std::size_t n) noexcept {
    if constexpr (std::is_trivially_copyable_v<T>) {
      copy(to, from, n);
    } else {
      for (std::size_t i = 0; i < n; ++i) ::new (static_cast<void*>(to + i)) T(static_cast<T&&>(from[i]));
    }
  }
  RUNNEL_INLINE static void move_out(T* to, T* from, std::size_t n) noexcept {
    if constexpr (std::is_trivially_copyable_v<T>) {
      copy(to, from, n);
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        to[i] = static_cast<T&&>(from[i]);
        from[i].~T();
      }
    }
  }

  side producer_;
  side consumer_;
};

}  // namespace runnel

#endif
