// SPDX-License-Identifier: MIT
// Memory on pages of a known size, so that both sides of a comparison pay the same for page walks.
//
// The environment says which: BENCH_PAGES=4k takes ordinary pages and nothing else, BENCH_PAGES=2M huge pages that the
// administrator set aside; without it the system merges ordinary pages into huge ones where it likes to.
#ifndef BENCH_SUPPORT_MEMORY_HPP
#define BENCH_SUPPORT_MEMORY_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uintptr_t
#include <cstdio>       // fputs
#include <cstdlib>      // abort, getenv
#include <cstring>      // memset
#include <string_view>  // string_view

#include <sys/mman.h>

#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

namespace bench {

enum class page_size { any, ordinary, huge };

inline page_size wanted_pages() {
  const char* said = std::getenv("BENCH_PAGES");
  if (said == nullptr) return page_size::any;
  if (std::string_view{said} == "4k") return page_size::ordinary;
  if (std::string_view{said} == "2M") return page_size::huge;
  std::fputs("BENCH_PAGES is 4k or 2M\n", stderr);
  std::abort();
}

// Zeroed memory, every page of it touched, aligned to a huge page.
class paged_memory {
 public:
  explicit paged_memory(std::size_t n) : size_((n + huge - 1) / huge * huge + huge) {
    const page_size pages = wanted_pages();
    constexpr int kind = MAP_PRIVATE | MAP_ANONYMOUS;
    const int flags = pages == page_size::huge ? kind | MAP_HUGETLB | MAP_POPULATE : kind;
    memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory_ == MAP_FAILED) {
      std::fputs("the system has no such memory\n", stderr);
      std::abort();
    }
    const auto address = reinterpret_cast<std::uintptr_t>(memory_);
    first_ = reinterpret_cast<std::byte*>((address + huge - 1) / huge * huge);
    if (pages != page_size::huge)
      ::madvise(first_, size_ - huge, pages == page_size::any ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    std::memset(first_, 0, n);
  }
  paged_memory(const paged_memory&) = delete;
  paged_memory& operator=(const paged_memory&) = delete;
  ~paged_memory() { ::munmap(memory_, size_); }
  std::byte* data() const noexcept { return first_; }

 private:
  static constexpr std::size_t huge = std::size_t{2} << 20;
  void* memory_;
  std::byte* first_;
  std::size_t size_;
};

// The same as `n` objects of a type whose zero bytes are a value.
template <class T>
class big_array {
 public:
  explicit big_array(std::size_t n) : memory_(n * sizeof(T)), first_(reinterpret_cast<T*>(memory_.data())) {}
  T* data() const noexcept { return first_; }
  T& operator[](std::size_t i) const noexcept { return first_[i]; }

 private:
  paged_memory memory_;
  T* first_;
};

// A pool of packets in such memory.
class paged_pool {
 public:
  explicit paged_pool(const runnel::pool_config& config)
      : memory_(runnel::pool::bytes_needed(config)),
        pool_(runnel::pool::create({memory_.data(), runnel::pool::bytes_needed(config)}, config)) {
    if (pool_ == nullptr) std::abort();
  }
  operator runnel::pool&() noexcept { return *pool_; }
  runnel::pool* operator->() noexcept { return pool_; }

 private:
  paged_memory memory_;
  runnel::pool* pool_;
};

}  // namespace bench

#endif
