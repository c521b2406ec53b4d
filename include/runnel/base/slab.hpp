// SPDX-License-Identifier: MIT
// A slab: a fixed number of places for objects of one type, each found by its number. What tables keep their entries
// in: a number takes four bytes where a pointer takes eight, and says where in the table the entry is.
#ifndef RUNNEL_BASE_SLAB_HPP
#define RUNNEL_BASE_SLAB_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t, uintptr_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>

namespace runnel {

/// Objects of type `T` in memory that the user gives. Making and erasing one is O(1); the place that was erased last
/// is used next. Objects never move. A word of bits for each 64 places says which are taken, so that a walk over
/// a slab that is almost empty is short, and destroying the slab destroys what is in it.
///
/// Costs `sizeof(T)` (at least four bytes) and one bit per place. Not thread-safe.
template <class T>
class slab {
 public:
  /// The number of an object.
  using index = std::uint32_t;
  /// The number of no place: what `emplace` returns when the slab is full.
  static constexpr index none = 0xffff'ffff;

  /// The memory that `capacity` objects need, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(std::uint32_t capacity) noexcept {
    return (places_begin(capacity) + byte_count::of<place>(capacity)).value();
  }
  /// How memory must be aligned.
  static constexpr std::size_t alignment = alignof(T) > alignof(std::uint64_t) ? alignof(T) : alignof(std::uint64_t);

  /// An empty slab of `capacity` places, at most `none` of them, in `memory`, which stays the caller's, must outlive
  /// it, be aligned to `alignment` and have `bytes_needed(capacity)` bytes (asserted). Touches one bit per place: a
  /// place is first written to when it is first used.
  slab(mutable_bytes memory, std::uint32_t capacity) noexcept
      : taken_(static_cast<std::uint64_t*>(static_cast<void*>(memory.data()))),
        places_(static_cast<place*>(static_cast<void*>(memory.data() + places_begin(capacity).value()))),
        capacity_(capacity) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(capacity));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    for (std::size_t i = 0; i < words(capacity); ++i) taken_[i] = 0;
  }
  slab(const slab&) = delete;
  slab& operator=(const slab&) = delete;
  ~slab() { clear(); }

  /// Makes an object from `arguments` in a free place and returns the place's number; `none` when there is no free
  /// place, and nothing happened.
  template <class... Arguments>
  [[nodiscard]] index emplace(Arguments&&... arguments) noexcept {
    index i = free_;
    if (i != none) free_ = places_[i].next_free;
    else if (fresh_ != capacity_) i = fresh_++;
    else return none;
    ::new (static_cast<void*>(&places_[i])) T{static_cast<Arguments&&>(arguments)...};
    taken_[i / 64] |= std::uint64_t{1} << i % 64;
    ++size_;
    return i;
  }
  /// Destroys the object at `i`, which is there (asserted).
  void erase(index i) noexcept {
    RUNNEL_ASSERT(contains(i));
    at(i).~T();
    taken_[i / 64] &= ~(std::uint64_t{1} << i % 64);
    ::new (static_cast<void*>(&places_[i])) index(free_);
    free_ = i;
    --size_;
  }
  /// Destroys all objects. O(capacity / 64 + size).
  void clear() noexcept {
    for_each([this](index i, T&) { erase(i); });
  }

  /// The object at `i`, which is there (asserted).
  [[nodiscard]] T& operator[](index i) noexcept {
    RUNNEL_ASSERT(contains(i));
    return at(i);
  }
  /// The same to read.
  [[nodiscard]] const T& operator[](index i) const noexcept {
    RUNNEL_ASSERT(contains(i));
    return const_cast<slab*>(this)->at(i);
  }
  /// Whether there is an object at `i`, for any number.
  [[nodiscard]] bool contains(index i) const noexcept { return i < capacity_ && (taken_[i / 64] >> i % 64 & 1u) != 0; }
  /// The number of an object of this slab.
  [[nodiscard]] index index_of(const T& object) const noexcept {
    return static_cast<index>(reinterpret_cast<const place*>(&object) - places_);
  }
  /// Starts fetching the place `i` into the cache. Any number below the capacity.
  void prefetch(index i) const noexcept { prefetch_to_read(&places_[i]); }

  /// Calls `f(index, object)` for each object in order of their numbers. `f` may erase the object that it is given.
  template <class F>
  void for_each(F f) {
    for (std::size_t word = 0; word < words(fresh_); ++word)
      for (std::uint64_t bits = taken_[word]; bits != 0; bits &= bits - 1) {
        const auto i = static_cast<index>(word * 64 + static_cast<unsigned>(__builtin_ctzll(bits)));
        f(i, at(i));
      }
  }

  /// How many objects there are.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// How many there can be.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  /// Whether there is none.
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// Whether no more fit.
  [[nodiscard]] bool full() const noexcept { return size_ == capacity_; }

 private:
  union place {
    place() = delete;
    ~place() = delete;
    T object;
    index next_free;
  };

  [[nodiscard]] static constexpr std::size_t words(std::uint32_t capacity) noexcept { return divide_up(capacity, 64); }
  [[nodiscard]] static constexpr byte_count places_begin(std::uint32_t capacity) noexcept {
    return byte_count::of<std::uint64_t>(words(capacity)).aligned(alignof(place));
  }
  [[nodiscard]] T& at(index i) noexcept { return places_[i].object; }

  std::uint64_t* taken_;
  place* places_;
  std::uint32_t capacity_;
  std::uint32_t size_ = 0;
  std::uint32_t fresh_ = 0;  // places from here on were never used
  index free_ = none;
};

}  // namespace runnel

#endif
