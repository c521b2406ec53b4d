// SPDX-License-Identifier: MIT
// Early verdicts: programs that look at a frame before there is a packet. The idea is XDP's.
#ifndef RUNNEL_XDP_EARLY_HPP
#define RUNNEL_XDP_EARLY_HPP

#include <cstddef>      // size_t
#include <type_traits>  // is_same_v
#include <utility>      // move

#include <runnel/flow/frame_engine.hpp>

namespace runnel {

namespace detail {

// Hands out a handler's arguments from a frame. The counterpart of packet_source.
struct frame_source {
  frame& f;
  const layers& found;
  context& c;

  [[nodiscard]] RUNNEL_INLINE mutable_header_map map() const noexcept {
    return mutable_header_map{f.contents(), f.headroom, found, true};
  }
  template <class A>
  [[nodiscard]] RUNNEL_INLINE decltype(auto) give() const noexcept {
    if constexpr (is_view<A>) return map().template get<std::remove_cvref_t<A>>();
    else if constexpr (is_frame<A>) return (f);
    else if constexpr (is_time<A>) return instant{c.now};
    else return subject{static_cast<const frame&>(f), header_map{f.contents(), f.headroom, found, true}};
  }
};

// The devices that a program redirects to. `send` says what became of the packet: `redirect`, or a drop with its cause.
template <class... Devices>
struct target_list {
  std::size_t send(unsigned, packet*, std::size_t, drop_reason&, context&) const noexcept { return 0; }
};
template <class First, class... Rest>
struct target_list<First, Rest...> {
  First* first;
  target_list<Rest...> rest;
  std::size_t send(unsigned target, packet* packets, std::size_t n, drop_reason& why, context& c) const noexcept {
    if (target != 0) return rest.send(target - 1, packets, n, why, c);
    why = drop_reason::transmit_full;
    return first->transmit(packets, n, c.now);
  }
};

constexpr target_list<> make_targets() noexcept { return {}; }
template <class First, class... Rest>
constexpr target_list<First, Rest...> make_targets(First& first, Rest&... rest) noexcept {
  return {&first, make_targets(rest...)};
}

// What a program's parameters are; rules see a subject.
template <class F>
struct early_arguments {
  using type = type_list<const subject&>;
};
template <has_signature F>
struct early_arguments<F> {
  using type = typename signature<F>::arguments;
};

template <class F>
inline constexpr bool early_rules = !has_signature<F> && rules_function<F>;

template <class F, class Targets>
struct early_stage : stage_defaults {
  using arguments = typename early_arguments<F>::type;
  using needs = demands<arguments>;
  static constexpr stage_kind kind = stage_kind::early;
  static constexpr bool wants_packet = false;
  static constexpr bool wants_layers = needs::views || needs::parsed;
  static constexpr bool asks_for_frame = needs::frames;
  static constexpr bool asks_for_time = needs::time;

  constexpr early_stage(F f, Targets t) noexcept : function(std::move(f)), targets(t) {}
  // With `Look`, `found` is what is in the frame, and stays that.
  template <bool Look>
  RUNNEL_INLINE verdict look_at(frame& f, found_layers& found, context& c) noexcept {
    const verdict v = call_handler<verdict>(function, frame_source{f, found.parts, c}, pass, arguments{});
    // A program that has the frame may have changed its headers or its beginning.
    if constexpr (needs::frames && Look) found = dissect(f);
    return v;
  }
  std::size_t send(unsigned target, packet* packets, std::size_t n, drop_reason& why, context& c) noexcept {
    return targets.send(target, packets, n, why, c);
  }
  constexpr void print_name(text_writer& out) const noexcept {
    out << "xdp(";
    if constexpr (requires { out << F::name; }) out << F::name;
    else if constexpr (early_rules<F>) runnel::detail::print_name(out, function, "rules");
    else print_arguments(out, arguments{});
    out << ')';
  }
  [[no_unique_address]] F function;
  [[no_unique_address]] Targets targets;
};

// What stands in for something that is no early verdict, so that one error does not bring more.
struct not_early {
  void operator()(const frame&) const noexcept {}
};
template <class F>
concept early_function =
    early_rules<F> || (handler_function<F> && !demands<typename signature<F>::arguments>::packets &&
                       !demands<typename signature<F>::arguments>::connections);

template <class F>
constexpr void check_early() noexcept {
  if constexpr (has_signature<F>) {
    using needs = demands<typename signature<F>::arguments>;
    static_assert(!needs::packets,
                  "runnel: an early verdict asks for a packet, but there are only frames before the first stage that "
                  "wants one: ask for frame&, or move the handler out of xdp(...)");
    static_assert(!needs::connections,
                  "runnel: an early verdict asks for a connection, but connections are known only behind track(): move "
                  "the handler out of xdp(...), behind it");
    static_assert(needs::packets || needs::connections || handler_function<F>,
                  "runnel: xdp() needs a handler whose parameters are header views such as ipv4 or mut<udp>, frame&, "
                  "instant or const subject&, and which returns a verdict or nothing; or rules");
  } else {
    static_assert(!for_chains_only<F>,
                  "runnel: rules that do more than decide stand in a chain, and there is none before the first packet: "
                  "put chain<hook_point::prerouting>(rules(...)) behind parse()");
    static_assert(rules_function<F> || for_chains_only<F>,
                  "runnel: xdp() needs a handler whose parameters are header views such as ipv4 or mut<udp>, frame&, "
                  "instant or const subject&, and which returns a verdict or nothing; or rules");
  }
}

}  // namespace detail

/// An early verdict: a handler or rules that see each frame of a burst before there is a packet. `drop` gives the slot
/// straight back, `tx` sends the frame out by its own device, `redirect(i)` by the device at place `i` of `targets` (at
/// most 255), `pass` goes on. Any header may be asked for: frames are dissected where one is. Frames that lack a header
/// asked for pass. Stands at the beginning of a pipeline. Refers to the targets, which must outlive it.
///
/// A program may run while its device still hands out the burst, so it receives nothing from that device, and asks for
/// the time as `instant`: a clock that goes by the packets is told of a burst only when all of it is there.
template <class F, transmitting_device... Targets>
[[nodiscard]] RUNNEL_INLINE constexpr auto xdp(F program, Targets&... targets) noexcept {
  static_assert(sizeof...(Targets) <= 255, "runnel: an early verdict redirects to at most 255 devices");
  detail::check_early<F>();
  using list = detail::target_list<Targets...>;
  if constexpr (detail::early_function<F>)
    return detail::early_stage<F, list>{std::move(program), detail::make_targets(targets...)};
  else return detail::early_stage<detail::not_early, list>{{}, detail::make_targets(targets...)};
}

}  // namespace runnel

#endif
