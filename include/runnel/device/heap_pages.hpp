// SPDX-License-Identifier: MIT
// Memory for what is read from a file or written to one: from the heap, beginning at a page. Nothing here is for users.
//
// Not a mapping: that one is always of new pages, which the processor's cache does not have. Reading a capture of
// 100,000 short packets into one took 0.8 ns a packet longer than into memory that the reader before it has given back.
#ifndef RUNNEL_DEVICE_HEAP_PAGES_HPP
#define RUNNEL_DEVICE_HEAP_PAGES_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uintptr_t
#include <new>      // nothrow

namespace runnel::detail {

/// Move-only; given back at destruction. Its bytes have no value at first.
class heap_pages {
 public:
  static constexpr std::size_t page = 4096;

  /// None.
  heap_pages() noexcept = default;
  /// `data()` is null when there is no such memory.
  explicit heap_pages(std::size_t size) noexcept
      : memory_(size <= SIZE_MAX - page ? ::operator new(size + page, std::nothrow) : nullptr),
        size_(memory_ != nullptr ? size : 0) {}
  heap_pages(heap_pages&& other) noexcept : memory_(other.memory_), size_(other.size_) {
    other.memory_ = nullptr;
    other.size_ = 0;
  }
  heap_pages& operator=(heap_pages&& other) noexcept {
    if (this != &other) {
      ::operator delete(memory_);
      memory_ = other.memory_;
      size_ = other.size_;
      other.memory_ = nullptr;
      other.size_ = 0;
    }
    return *this;
  }
  ~heap_pages() { ::operator delete(memory_); }
  /// The first byte that begins a page.
  [[nodiscard]] std::byte* data() const noexcept {
    if (memory_ == nullptr) return nullptr;
    return static_cast<std::byte*>(memory_) + (page - reinterpret_cast<std::uintptr_t>(memory_) % page) % page;
  }
  /// Bytes from there on.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace runnel::detail

#endif
