// SPDX-License-Identifier: MIT
// The four rings between an AF_XDP socket and the kernel, as they lie in shared memory. <linux/if_xdp.h>,
// Documentation/networking/af_xdp.rst. Nothing here is for users.
//
//     fill        we > kernel    addresses of slots to receive into
//     receive     kernel > we    what came: address and length
//     transmit    we > kernel    what to send: address and length
//     completion  kernel > we    addresses of slots that were sent
//
// Each ring is an array of a power of two of entries and two indices that run on for ever and wrap at 2^32. The side
// that produces writes entries and then its index; the other one reads the index and then entries. One thread uses our
// side of a ring.
#ifndef RUNNEL_DEVICE_XSK_RING_HPP
#define RUNNEL_DEVICE_XSK_RING_HPP

#include <cstdint>  // uint32_t, uint64_t

#include <runnel/config.hpp>

namespace runnel::detail {

/// Where a ring lies. `flags` is null where the kernel has none (before Linux 5.4).
struct xsk_ring_memory {
  std::uint32_t* producer = nullptr;
  std::uint32_t* consumer = nullptr;
  std::uint32_t* flags = nullptr;
  void* entries = nullptr;
  std::uint32_t size = 0;  // a power of two
};

/// struct xdp_desc.
struct xsk_descriptor {
  std::uint64_t address;
  std::uint32_t length;
  std::uint32_t options;
};
/// Of `options`: the packet goes on in the next descriptor (XDP_PKT_CONTD, Linux 6.6).
inline constexpr std::uint32_t xsk_goes_on = 1;

// Addresses are offsets into the shared memory. In the mode of unaligned chunks the lower 48 bits say where the chunk
// begins, and the upper 16 how far behind that the data do.
inline constexpr unsigned xsk_offset_shift = 48;
inline constexpr std::uint64_t xsk_chunk_mask = (std::uint64_t{1} << xsk_offset_shift) - 1;

/// Our side of a ring that we produce. Room is the caller's affair: nobody may have more entries under way than fit,
/// so that the kernel's index, which would be a cache miss, is not needed to find out.
template <class T>
class xsk_producer {
 public:
  xsk_producer() noexcept = default;
  explicit xsk_producer(const xsk_ring_memory& at) noexcept
      : at_(at), mask_(at.size - 1), next_(__atomic_load_n(at.producer, __ATOMIC_RELAXED)) {}

  [[nodiscard]] std::uint32_t size() const noexcept { return at_.size; }
  /// The entry `i` places behind what was submitted.
  [[nodiscard]] RUNNEL_INLINE T& operator[](std::uint32_t i) const noexcept {
    return static_cast<T*>(at_.entries)[(next_ + i) & mask_];
  }
  /// Hands the next `n` entries to the kernel.
  RUNNEL_INLINE void submit(std::uint32_t n) noexcept {
    next_ += n;
    __atomic_store_n(at_.producer, next_, __ATOMIC_RELEASE);
  }
  /// Entries that the kernel has not taken yet.
  [[nodiscard]] std::uint32_t waiting() const noexcept {
    return next_ - __atomic_load_n(at_.consumer, __ATOMIC_ACQUIRE);
  }
  /// Whether the kernel sleeps and has to be told of new entries (XDP_RING_NEED_WAKEUP).
  [[nodiscard]] bool needs_wakeup() const noexcept {
    return at_.flags == nullptr || (__atomic_load_n(at_.flags, __ATOMIC_RELAXED) & 1u) != 0;
  }

 private:
  xsk_ring_memory at_{};
  std::uint32_t mask_ = 0;
  std::uint32_t next_ = 0;
};

/// Our side of a ring that we consume.
template <class T>
class xsk_consumer {
 public:
  xsk_consumer() noexcept = default;
  explicit xsk_consumer(const xsk_ring_memory& at) noexcept
      : at_(at), mask_(at.size - 1), next_(__atomic_load_n(at.consumer, __ATOMIC_RELAXED)), filled_(next_) {}

  /// How many entries are there, up to `n`. The kernel's index is read again only when not enough are known of.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t available(std::uint32_t n) noexcept {
    if (filled_ - next_ < n) filled_ = __atomic_load_n(at_.producer, __ATOMIC_ACQUIRE);
    return filled_ - next_ < n ? filled_ - next_ : n;
  }
  /// The entry `i` places behind what was released; below what `available` said.
  [[nodiscard]] RUNNEL_INLINE const T& operator[](std::uint32_t i) const noexcept {
    return static_cast<const T*>(at_.entries)[(next_ + i) & mask_];
  }
  /// Gives the next `n` entries back to the kernel.
  RUNNEL_INLINE void release(std::uint32_t n) noexcept {
    next_ += n;
    __atomic_store_n(at_.consumer, next_, __ATOMIC_RELEASE);
  }
  /// Entries that the kernel has produced and that were not released.
  [[nodiscard]] std::uint32_t waiting() const noexcept {
    return __atomic_load_n(at_.producer, __ATOMIC_ACQUIRE) - next_;
  }

 private:
  xsk_ring_memory at_{};
  std::uint32_t mask_ = 0;
  std::uint32_t next_ = 0;
  std::uint32_t filled_ = 0;  // the kernel's index, when we last looked
};

}  // namespace runnel::detail

#endif
