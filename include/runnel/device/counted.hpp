// SPDX-License-Identifier: MIT
// How all devices print their counters: what a device has done, then what went wrong, in words, where it did. Nothing
// here is for users.
#ifndef RUNNEL_DEVICE_COUNTED_HPP
#define RUNNEL_DEVICE_COUNTED_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/base/text.hpp>

namespace runnel::detail {

/// A counter, and what it counts in words.
struct counted {
  std::uint64_t count;
  const char* what;
};

/// Adds ", 3 refused by a full ring" for each that is not 0.
template <std::size_t N>
void print_counted(text_writer& out, const counted (&all)[N]) noexcept {
  for (const counted& c : all)
    if (c.count != 0) out << ", " << c.count << ' ' << c.what;
}

}  // namespace runnel::detail

#endif
