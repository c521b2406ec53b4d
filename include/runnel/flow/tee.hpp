// SPDX-License-Identifier: MIT
// Stages that let everything go on, and do something beside: a second path, a writer.
#ifndef RUNNEL_FLOW_TEE_HPP
#define RUNNEL_FLOW_TEE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t
#include <new>      // placement new
#include <utility>  // move

#include <runnel/flow/branch.hpp>
#include <runnel/flow/engine.hpp>

namespace runnel {

namespace detail {

template <class Path>
struct tee_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::aside;
  static constexpr bool makes_shared = true;
  static constexpr const char* name = "tee";
  using path_type = Path;
  Path path;

  constexpr explicit tee_stage(Path p) noexcept : path(std::move(p)) {}
  // The same tee over a path that does not count.
  [[nodiscard]] constexpr auto without_counters() && noexcept {
    return tee_stage<decltype(strip_counters(std::move(path)))>{strip_counters(std::move(path))};
  }
  template <place At>
  static constexpr auto check_inside() noexcept {
    using checked [[maybe_unused]] = decltype(Path::template check_places<after<tee_stage>(At)>());
  }
  template <place At, class Counters>
  void beside(packet* packets, std::size_t n, std::uint64_t length, Counters& counters, context& c) noexcept {
    handle_array<At.burst> clones;
    std::size_t k = 0;
    for (std::size_t i = 0; i < n; ++i) {
      packet p = packets[i].clone();
      if (!p) [[unlikely]] {
        counters.add_aside(drop(packets[i].is_away() ? drop_reason::other_thread : drop_reason::no_packet));
        length -= packets[i].total_length();
        continue;
      }
      ::new (static_cast<void*>(&clones[k++])) packet{static_cast<packet&&>(p)};
    }
    if (k == 0) return;
    context there = c;  // a trace on that path is none of this one's
    run<after<tee_stage>(At)>(path.stages(), clones.data(), k, length, there);
  }
};

template <class Writer>
struct tap_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool resizes = false;
  static constexpr const char* name = "tap";
  Writer* writer;

  constexpr explicit tap_stage(Writer& w) noexcept : writer(&w) {}
  RUNNEL_INLINE verdict operator()(packet& p, context&) noexcept {
    writer->write(static_cast<const packet&>(p));
    return pass;
  }
};

}  // namespace detail

/// Sends a clone of each packet down a second path, and lets the packet itself go on. Clones share the bytes: behind a
/// tee, on both paths, stages that write need `unshare()` before them. A packet for which no descriptor is left is not
/// cloned (counted as drop_reason::no_packet at the tee), nor is one that another thread sent, for only that thread's
/// pool could describe its bytes (drop_reason::other_thread); both go on all the same.
template <class Path>
[[nodiscard]] RUNNEL_INLINE constexpr auto tee(Path path) noexcept {
  auto whole = detail::as_way(std::move(path));
  return detail::tee_stage<decltype(whole)>{std::move(whole)};
}

/// Writes each packet that passes to `writer`, anything with `write(const packet&)` such as a capture writer, and lets
/// it go on. Copies nothing else and needs no descriptor. Refers to the writer, which must outlive the pipeline.
template <class Writer>
[[nodiscard]] constexpr auto tap(Writer& writer) noexcept {
  static_assert(
      requires(const packet& p) { writer.write(p); },
      "runnel: tap() needs something with write(const packet&), such as a pcap_writer");
  return detail::tap_stage<Writer>{writer};
}

}  // namespace runnel

#endif
