// SPDX-License-Identifier: MIT
// Loads of 16 addresses by one instruction, counts of their bits, and comparisons, on x86-64 with AVX-512, whatever the
// compiler was told. For the tables that look up many addresses; each has a plain loop as well, for all other
// processors.
#ifndef RUNNEL_IP_GATHERS_HPP
#define RUNNEL_IP_GATHERS_HPP

#include <cstdint>  // int16_t, uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/config.hpp>

// What is for these processors is written between #if RUNNEL_HAS_GATHERS and #endif.
#if defined(__x86_64__) && defined(__LP64__) && defined(__gnu_linux__)
#define RUNNEL_HAS_GATHERS 1
#else
#define RUNNEL_HAS_GATHERS 0
#endif

namespace runnel::detail {

// Of a test, which calls both ways of a table to look up many: they have to agree.
struct lookup_ways;

#if RUNNEL_HAS_GATHERS
// A function that uses what is below has [[gnu::target(RUNNEL_GATHERS_TARGET)]].
#define RUNNEL_GATHERS_TARGET "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt,bmi,bmi2"

// Whether the processor has them, and the operating system keeps their registers: what is asked here looks at both.
inline bool gathers_work() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vpopcntdq") &&
         __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
// Whether they are worth it: on processors that know BF16. Intel's before them have been slowed down by the correction
// of a security fault. Sanitizers see single loads only.
inline bool gathers_fast() noexcept {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
  return false;
#endif
#endif
  return gathers_work() && __builtin_cpu_supports("avx512bf16");
}

using sixteen [[gnu::vector_size(64)]] = std::uint32_t;
using eight_wide [[gnu::vector_size(64)]] = std::uint64_t;
using sixteen_halves [[gnu::vector_size(32)]] = std::uint16_t;

// Bit i: whether lane i has any of the bits.
[[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE std::uint16_t lanes_with(const sixteen& v,
                                                                              const sixteen& bits) noexcept {
  std::uint16_t lanes;
  asm("vptestmd {%[bits], %[v], %[lanes]|%[lanes], %[v], %[bits]}"
      : [lanes] "=Yk"(lanes)
      : [v] "v"(v), [bits] "v"(bits));
  return lanes;
}
[[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE std::uint8_t lanes_with(const eight_wide& v,
                                                                             const eight_wide& bits) noexcept {
  std::uint8_t lanes;
  asm("vptestmq {%[bits], %[v], %[lanes]|%[lanes], %[v], %[bits]}"
      : [lanes] "=Yk"(lanes)
      : [v] "v"(v), [bits] "v"(bits));
  return lanes;
}
// Loads the 32 bits at `base + at * Scale` into each of the lanes; others keep what they have. `at` is below 2^31.
template <int Scale>
[[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE void gather(sixteen& found, const void* base, const sixteen& at,
                                                                 std::uint16_t lanes) noexcept {
  asm("vpgatherdd {(%[base],%[at],%c[scale]), %[found]%{%[lanes]%}|%[found]%{%[lanes]%}, [%[base]+%[at]*%c[scale]]}"
      : [found] "+&v"(found), [lanes] "+Yk"(lanes)
      : [base] "r"(base), [at] "v"(at), [scale] "i"(Scale)
      : "memory");
}
// The same for the 64 bits at `base + at * 8`.
[[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE void gather(eight_wide& found, const void* base,
                                                                 const eight_wide& at, std::uint8_t lanes) noexcept {
  asm("vpgatherqq {(%[base],%[at],8), %[found]%{%[lanes]%}|%[found]%{%[lanes]%}, [%[base]+%[at]*8]}"
      : [found] "+&v"(found), [lanes] "+Yk"(lanes)
      : [base] "r"(base), [at] "v"(at)
      : "memory");
}
// How many bits of each lane are set.
[[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE void count_bits(sixteen& v) noexcept {
  asm("vpopcntd {%[v], %[v]|%[v], %[v]}" : [v] "+v"(v));
}
// How many of 16 signed numbers are above one.
[[gnu::target(RUNNEL_GATHERS_TARGET)]] RUNNEL_INLINE unsigned count_above(const std::int16_t* numbers,
                                                                          std::int16_t one) noexcept {
  using sixteen_signed [[gnu::vector_size(32)]] = std::int16_t;
  sixteen_signed all;
  __builtin_memcpy(&all, numbers, sizeof all);
  std::uint16_t above;
  asm("vpcmpgtw {%[one], %[all], %[above]|%[above], %[all], %[one]}"
      : [above] "=Yk"(above)
      : [all] "v"(all), [one] "v"(sixteen_signed{} + one));
  return static_cast<unsigned>(__builtin_popcount(above));
}
#else
inline bool gathers_work() noexcept { return false; }
inline bool gathers_fast() noexcept { return false; }
#endif

}  // namespace runnel::detail

#endif
