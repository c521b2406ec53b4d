// SPDX-License-Identifier: MIT
// Brings memory near before it is needed: hints to the processor that a compiler may not throw away.
#ifndef RUNNEL_BASE_PREFETCH_HPP
#define RUNNEL_BASE_PREFETCH_HPP

#include <runnel/config.hpp>

namespace runnel {

namespace detail {
// Without it GCC takes a function that does nothing but `__builtin_prefetch` for one without any effect, and leaves out
// calls of it.
RUNNEL_INLINE void keep_what_follows() noexcept { asm volatile(""); }
}  // namespace detail

/// Begins to load the cache line at `at`, which may be any address, also one that cannot be read. For the `prefetch`
/// of a stage. Costs an instruction, and one of the few loads that a processor has under way at once (10 to 48).
RUNNEL_INLINE void prefetch_to_read(const void* at) noexcept {
  detail::keep_what_follows();
  __builtin_prefetch(at, 0);
}
/// The same for a line that will be written to.
RUNNEL_INLINE void prefetch_to_write(const void* at) noexcept {
  detail::keep_what_follows();
  __builtin_prefetch(at, 1);
}

}  // namespace runnel

#endif
