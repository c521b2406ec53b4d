// SPDX-License-Identifier: MIT
// The ways out of a stage that decides between several: a list of tags that is also the type of the decision.
#ifndef RUNNEL_FLOW_PORTS_HPP
#define RUNNEL_FLOW_PORTS_HPP

#include <concepts>  // same_as
#include <cstddef>   // size_t
#include <cstdint>   // uint8_t

#include <runnel/config.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// The way that packets take which a branch did not look at, because they lack the headers that it asks for.
struct other {};

/// `ports<local, forward, no_route>` lists the ways out of a branch, and is what its decision returns: one of the
/// tags, or a verdict other than `pass` for a packet that goes no way at all.
///
///     struct by_port {
///       using ways = ports<dns, other>;
///       ways operator()(udp u) const { if (u.destination_port() == 53) return dns{}; return other{}; }
///     };
template <class... Ways>
class ports {
 public:
  /// How many ways.
  static constexpr std::size_t count = sizeof...(Ways);
  static_assert(count >= 1 && count <= 64, "runnel: a branch has 1 to 64 ways");

  /// Whether `W` is one of the ways.
  template <class W>
  static constexpr bool contains = (std::same_as<W, Ways> || ...);
  /// The place of `W` in the list.
  template <class W>
  static constexpr std::size_t index_of = [] {
    std::size_t i = 0;
    (void)((std::same_as<W, Ways> || (++i, false)) || ...);
    return i;
  }();

  /// The way that this tag names.
  template <class W>
    requires contains<W>
  constexpr ports(W) noexcept : ports(static_cast<std::uint16_t>(index_of<W>)) {}
  /// A verdict other than `pass`: the packet takes none of the ways. `pass` names no way (RUNNEL_ASSERT), and is a
  /// drop.
  constexpr ports(verdict v) noexcept : verdict_(v.code == verdict_code::pass ? drop : v) {
    RUNNEL_ASSERT(v.code != verdict_code::pass);
  }
  /// The way `W`, for tags that cannot be made, such as views: `ways::to<tcp>()`.
  template <class W>
    requires contains<W>
  [[nodiscard]] static constexpr ports to() noexcept {
    return ports(static_cast<std::uint16_t>(index_of<W>));
  }

  /// Calls `f.template operator()<Way>()` for each way in the list.
  template <class F>
  static constexpr void for_each(F&& f) {
    (f.template operator()<Ways>(), ...);
  }
  /// `pass` with the way's place in `port`, or the verdict.
  [[nodiscard]] constexpr verdict decision() const noexcept { return verdict_; }

 private:
  constexpr explicit ports(std::uint16_t index) noexcept : verdict_{verdict_code::pass, drop_reason::none, index} {}
  verdict verdict_;
};

}  // namespace runnel

#endif
