// SPDX-License-Identifier: MIT
// A pool of packets in memory of its own from the system, on huge pages where there are some.
#ifndef RUNNEL_DEVICE_MAPPED_POOL_HPP
#define RUNNEL_DEVICE_MAPPED_POOL_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uintptr_t

#include <runnel/base/byte_count.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/config.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__unix__) || defined(__APPLE__)

namespace runnel {

/// What a mapped pool's memory is made of.
enum class page_kind : std::uint8_t {
  huge,      ///< huge pages set aside by the administrator (MAP_HUGETLB)
  advised,   ///< ordinary pages that the system was asked to merge into huge ones (MADV_HUGEPAGE)
  ordinary,  ///< ordinary pages
};

[[nodiscard]] constexpr const char* name(page_kind kind) noexcept {
  return kind == page_kind::huge ? "huge" : kind == page_kind::advised ? "advised" : "ordinary";
}

/// Owns a pool and its memory. Every page is touched at `open`, so that the data path meets no page fault and a lack of
/// memory shows there. Move-only; moving it does not move the pool. Every packet must have come home when it is
/// destroyed (RUNNEL_ASSERT): tables and queues that may hold some go before it. Where assertions are off, the memory
/// stays as long as the process does if one has not, so that it still can.
///
///     auto memory = mapped_pool::open({.packets = 8192});
///     if (!memory) return fail(memory.error());
///     auto in = pcap_reader::open("in.pcap", *memory);
class mapped_pool {
 public:
  /// Tries huge pages first, then ordinary ones aligned for the system to merge. Fails when a size in the configuration
  /// is beyond its limit, or the system has no such memory.
  [[nodiscard]] static result<mapped_pool, error> open(const pool_config& config = {}) noexcept {
    if (config.packets == 0) return error("pool", "configure", "packets", "0 is too few", "give it at least one");
    if (config.bytes > 0xffff || config.headroom > 0xffff)
      return error("pool", "configure", "bytes and headroom", "more than 65535", "chain packets for longer ones");
    const std::size_t size = pool::bytes_needed(config);
    if (std::uint64_t{config.packets} + config.bare > no_slot - 1 || size > SIZE_MAX - 2 * huge_page)
      return error("pool", "configure", "packets and bare", "too many for this machine", "give it fewer");
    page_kind kind = page_kind::huge;
    detail::mapping memory = map_huge(size);
    std::byte* start = memory.data();
    if (start == nullptr) {
      // Aligned to a huge page, which mmap does not promise, so that whole ones fit.
      memory = detail::mapping(size + huge_page);
      if (memory.data() == nullptr) {
        const int number = errno;
        text<32> amount;
        amount << std::uint64_t{size} << " bytes";
        return error("pool", "map", amount.c_str(), ::strerror(number),
                     detail::mapping_advice(number, "configure fewer or smaller packets"), number);
      }
      const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
      start = memory.data() + (huge_page - address % huge_page) % huge_page;
      kind = advise_huge(start, size) ? page_kind::advised : page_kind::ordinary;
      for (std::size_t i = 0; i < size; i += 4096) start[i] = std::byte{0};
    }
    pool* made = pool::create({start, size}, config);
    RUNNEL_ASSERT(made != nullptr);
    return mapped_pool(static_cast<detail::mapping&&>(memory), made, kind);
  }
  mapped_pool(mapped_pool&& other) noexcept
      : memory_(static_cast<detail::mapping&&>(other.memory_)), pool_(other.pool_), pages_(other.pages_) {
    other.pool_ = nullptr;
  }
  mapped_pool& operator=(mapped_pool&&) = delete;
  ~mapped_pool() {
    if (pool_ == nullptr) return;
    pool_->reclaim();
    const bool all_home = pool_->available() == pool_->capacity() && pool_->bare_available() == pool_->bare_capacity();
    RUNNEL_ASSERT(all_home && "packets of a pool must be gone before the pool is: tables and queues hold some");
    if (!all_home) memory_.keep();
  }

  operator pool&() & noexcept { return *pool_; }
  [[nodiscard]] pool& get() noexcept { return *pool_; }
  [[nodiscard]] pool* operator->() noexcept { return pool_; }
  /// What its memory is made of.
  [[nodiscard]] page_kind pages() const noexcept { return pages_; }

 private:
  static constexpr std::size_t huge_page = std::size_t{2} << 20;

  mapped_pool(detail::mapping&& memory, pool* made, page_kind kind) noexcept
      : memory_(static_cast<detail::mapping&&>(memory)), pool_(made), pages_(kind) {}

  static detail::mapping map_huge(std::size_t size) noexcept {
#if defined(__linux__) && defined(MAP_HUGETLB)
    detail::mapping m(byte_count{size}.aligned(huge_page).value(), MAP_HUGETLB);
    // A container may own fewer huge pages than mmap promises, and touching one too many is a SIGBUS: let the system
    // touch them, which reports it instead (MADV_POPULATE_WRITE, Linux 5.14). An older system is not trusted.
    constexpr int populate_write = 23;
    if (m.data() != nullptr && ::madvise(m.data(), m.size(), populate_write) == 0) return m;
#else
    (void)size;
#endif
    return {};
  }
  static bool advise_huge([[maybe_unused]] void* start, [[maybe_unused]] std::size_t size) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    return ::madvise(start, size, MADV_HUGEPAGE) == 0;
#else
    return false;
#endif
  }

  detail::mapping memory_;
  pool* pool_;
  page_kind pages_;
};

}  // namespace runnel

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
