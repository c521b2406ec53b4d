// SPDX-License-Identifier: MIT
// What a stage is, and how a plain function becomes one: by the types of its parameters.
#ifndef RUNNEL_FLOW_STAGE_HPP
#define RUNNEL_FLOW_STAGE_HPP

#include <concepts>     // same_as, invocable
#include <cstddef>      // size_t
#include <cstdint>      // uint16_t
#include <type_traits>  // remove_cvref_t, is_void_v
#include <utility>      // move, forward

#include <runnel/base/prefetch.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/flow/type_name.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/packet/burst.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/keep_partial.hpp>

namespace runnel {

/// A tracked connection: see track/connection.hpp. A handler may only ask for one behind `track()`, and runs for the
/// packets that belong to one.
class connection;

/// How the engine calls a stage.
enum class stage_kind : std::uint8_t {
  early,   ///< looks at frames, before there are packets: `xdp(...)`
  each,    ///< looks at one packet at a time, and is fused with its neighbours
  burst,   ///< looks at a whole burst
  many,    ///< looks at one packet at a time, and may make several of one, or keep one for later
  aside,   ///< does something with the burst beside the path, and lets all of it go on: `tee`
  branch,  ///< decides between ways
  end,     ///< takes ownership of what arrives
};

/// What is known at compile time of the packets at one place of a pipeline.
struct place {
  bool packets = false;                 ///< descriptors have been attached; before that there are only frames
  bool parsed = false;                  ///< `parse()` lies behind
  bool dissected = false;               ///< all packets were dissected, and none can have been cut or moved since
  bool tracked = false;                 ///< `track()` lies behind
  bool shared = false;                  ///< the bytes may belong to a clone as well
  bool traced = false;                  ///< a `trace` lies behind
  std::uint16_t burst = default_burst;  ///< how many packets travel together at most
};

namespace detail {

template <class... T>
struct type_list {};

template <class F>
struct signature_of_member;
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...)> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...) const> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...) noexcept> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class C, class... A>
struct signature_of_member<R (C::*)(A...) const noexcept> {
  using arguments = type_list<A...>;
  using result = R;
};

template <class F>
struct signature {};
template <class F>
  requires requires { &F::operator(); }
struct signature<F> : signature_of_member<decltype(&F::operator())> {};
template <class R, class... A>
struct signature<R (*)(A...)> {
  using arguments = type_list<A...>;
  using result = R;
};
template <class R, class... A>
struct signature<R (*)(A...) noexcept> {
  using arguments = type_list<A...>;
  using result = R;
};

// A function object with one operator(), or a function.
template <class F>
concept has_signature = requires { typename signature<F>::arguments; };

template <class A>
inline constexpr bool is_view = header_view<std::remove_cvref_t<A>>;
template <class A>
inline constexpr bool is_writing_view = false;
template <class A>
  requires is_view<A>
inline constexpr bool is_writing_view<A> =
    std::same_as<std::remove_cvref_t<A>, typename std::remove_cvref_t<A>::mutable_view>;
template <class A>
inline constexpr bool is_packet = std::same_as<std::remove_cvref_t<A>, packet>;
template <class A>
inline constexpr bool is_frame = std::same_as<std::remove_cvref_t<A>, frame>;
template <class A>
inline constexpr bool is_connection = std::same_as<std::remove_cvref_t<A>, connection>;
template <class A>
inline constexpr bool is_time = std::same_as<std::remove_cvref_t<A>, instant>;
template <class A>
inline constexpr bool is_subject = std::same_as<std::remove_cvref_t<A>, subject>;
// Views, the time and subjects are made for the call: `ipv4&` would refer to nothing.
template <class A>
inline constexpr bool is_made = (is_view<A> || is_time<A> || is_subject<A>) &&
                                (!std::is_lvalue_reference_v<A> || std::is_const_v<std::remove_reference_t<A>>);
template <class A>
inline constexpr bool is_argument = is_made<A> || is_packet<A> || is_frame<A> || is_connection<A>;

template <class A>
constexpr bool view_needs_parse() {
  if constexpr (is_view<A>) return std::remove_cvref_t<A>::in_header != header::ethernet;
  else return is_subject<A>;
}

// What the parameters of a handler say together.
template <class List>
struct demands;
template <class... A>
struct demands<type_list<A...>> {
  static constexpr bool known = (sizeof...(A) > 0) && (is_argument<A> && ...);
  static constexpr bool views = (is_view<A> || ...);
  static constexpr bool parsed = (view_needs_parse<A>() || ...);
  static constexpr bool only_headers = ((is_view<A> || is_time<A>) && ...);
  static constexpr bool writes = (is_writing_view<A> || ...);
  static constexpr bool packets = (is_packet<A> || ...);
  static constexpr bool whole_packets = (std::same_as<A, packet&> || ...);
  static constexpr bool packets_by_value = ((is_packet<A> && !std::is_lvalue_reference_v<A>) || ...);
  static constexpr bool frames = (is_frame<A> || ...), time = (is_time<A> || ...);
  static constexpr bool connections = (is_connection<A> || ...);
};

// What a handler may return. Nothing is `pass`.
template <class R>
inline constexpr bool is_verdict = std::is_void_v<R> || std::is_convertible_v<R, verdict>;

// What is sure to be in the packet that is on its way through a segment, in registers: stages that only look at headers
// need neither load it nor check it again. Valid from the beginning where the place says `dissected`, else when a stage
// has looked in this loop - what a packet brought with it may have been found before it was shortened - and until one
// has moved something.
struct known_layers {
  layers found;
  bool valid = false;
  [[nodiscard]] RUNNEL_INLINE const layers* get() const noexcept { return valid ? &found : nullptr; }
};

// Hands out arguments from a packet. `found` is what a stage before this one in the same loop has found in it; null
// when one has to look into the descriptor, and check again what may have changed. The frame's counterpart is in
// early.hpp.
struct packet_source {
  packet& p;
  context& c;
  const layers* found;

  [[nodiscard]] RUNNEL_INLINE header_map map() const noexcept {
    if (found != nullptr) return header_map{p.contents(), p.headroom(), *found, true};
    return header_map{static_cast<const packet&>(p)};
  }
  [[nodiscard]] RUNNEL_INLINE mutable_header_map writable_map() const noexcept {
    if (found != nullptr) return mutable_header_map{p.writable(), p.headroom(), *found, true};
    return mutable_header_map{p};
  }
  template <class A>
  [[nodiscard]] RUNNEL_INLINE decltype(auto) give() const noexcept {
    if constexpr (is_writing_view<A>) return writable_map().template get<std::remove_cvref_t<A>>();
    else if constexpr (is_view<A>) return map().template get<std::remove_cvref_t<A>>();
    else if constexpr (is_packet<A>) return (p);
    else if constexpr (is_time<A>) return instant{c.now};
    else if constexpr (is_connection<A>) return (*connection_at<std::remove_reference_t<A>>());
    else return subject{static_cast<const packet&>(p), map(), c.connections};
  }
  // The packet's connection, as `track()` has numbered it; null when it has none, or it is over. A template, for here
  // nothing is known of connections.
  template <class Connection>
  [[nodiscard]] RUNNEL_INLINE Connection* connection_at() const noexcept {
    const std::uint32_t number = p.connection() >> 4;
    if (number == 0 || c.connections == nullptr) return nullptr;
    Connection* const known = static_cast<Connection*>(c.connections) + (number - 1);
    return known->is_alive() ? known : nullptr;
  }
};

template <class A, class Source>
RUNNEL_INLINE bool has_connection(const Source& source) noexcept {
  if constexpr (is_connection<A> && requires { source.p; })
    return source.template connection_at<std::remove_reference_t<A>>() != nullptr;
  else return true;
}
template <class A, class Map>
RUNNEL_INLINE bool has_argument(const Map& map) noexcept {
  if constexpr (is_view<A>) return map.template has<std::remove_cvref_t<A>>();
  else return true;
}

// Calls a handler with what it asks for, or yields `missing` when the packet lacks one of the headers.
template <class Result, class F, class Source, class... A>
RUNNEL_INLINE Result call_handler(F& f, const Source& source, Result missing, type_list<A...>) noexcept {
  if constexpr (demands<type_list<A...>>::views) {
    const auto map = source.map();
    if (!(has_argument<A>(map) && ...)) return missing;
  }
  if constexpr (demands<type_list<A...>>::connections)
    if (!(has_connection<A>(source) && ...)) return missing;
  [[maybe_unused]] const auto kept = keep_partial<A...>(source);
  if constexpr (std::is_void_v<decltype(f(source.template give<A>()...))>) {
    f(source.template give<A>()...);
    return missing;
  } else {
    return Result{f(source.template give<A>()...)};
  }
}

// A type that is a stage as it stands: everything that this library offers for a pipeline.
template <class S>
concept native_stage = requires {
  { S::kind } -> std::convertible_to<stage_kind>;
};

template <class F>
concept handler_function =
    has_signature<F> && demands<typename signature<F>::arguments>::known && is_verdict<typename signature<F>::result>;
template <class F>
concept handler_by_value = handler_function<F> && demands<typename signature<F>::arguments>::packets_by_value;
template <class F>
concept burst_function =
    has_signature<F> && (std::same_as<typename signature<F>::arguments, type_list<burst&>> ||
                         std::same_as<typename signature<F>::arguments, type_list<burst&, instant>>);
template <class F>
concept rules_function = requires(const F& f, const subject& s) {
  { f(s) } -> std::convertible_to<verdict>;
};
template <class F>
concept prefetching = requires { &F::prefetch; };

template <class F>
struct prefetch_demands : demands<type_list<>> {};
template <prefetching F>
struct prefetch_demands<F> : demands<typename signature_of_member<decltype(&F::prefetch)>::arguments> {
  using arguments = typename signature_of_member<decltype(&F::prefetch)>::arguments;
};
// Calls the `prefetch` of a handler with what it asks for, unless the packet lacks one of the headers.
template <class F>
RUNNEL_INLINE void prefetch_for(F& function, packet& p, context& c, const layers* found) noexcept {
  using needs = prefetch_demands<F>;
  constexpr bool possible =
      needs::known && !needs::frames && !needs::connections && !needs::writes && !needs::packets_by_value;
  static_assert(possible,
                "runnel: prefetch() asks for something that it cannot have: its parameters are header views to read "
                "such as ipv4, packet&, instant or const subject&");
  if constexpr (possible) {
    const auto call = [&function](auto&&... a) noexcept {
      keep_what_follows();
      function.prefetch(static_cast<decltype(a)&&>(a)...);
    };
    call_handler<bool>(call, packet_source{p, c, found}, true, typename needs::arguments{});
  }
}

}  // namespace detail

/// Something that can stand in a pipeline:
/// - a handler, `[](ipv4 ip, udp u) {...}`, whose parameters are header views (`mut<ipv4>` to write), `packet&`,
///   `instant` (the time) or `const subject&`, and which returns a `verdict` or nothing. It runs for the packets
///   that have all these headers; the others pass it by;
/// - an object with one such `operator()`, and perhaps `void prefetch(...)` with parameters of the same kinds, which is
///   called for each packet some time before the object sees it, 16 packets of the burst before if there are as many:
///   the place for `prefetch_to_read`. It may mark the packet, as with a flow hash, and changes nothing else in it
///   (RUNNEL_ASSERT). One that asks for header views only may be called before a stage in front of it has decided, if
///   that writes to no packet. A stage that moves the packet out of the handle returns `stolen` (RUNNEL_ASSERT);
/// - an object with `void operator()(burst&)`, or `void operator()(burst&, instant)`;
/// - rules;
/// - what the functions of this library return: `parse()`, `xdp(...)`, `branch(...)`, `tee(...)`, `transmit(...)`, ...
template <class S>
concept stage =
    detail::native_stage<S> || detail::handler_function<S> || detail::burst_function<S> || detail::rules_function<S>;

namespace detail {

// Defaults of what the checks ask a stage for.
struct stage_defaults {
  static constexpr bool wants_packet = true;  // false: can look at frames as well
  static constexpr bool needs_parsed = false;
  static constexpr bool needs_tracked = false;
  static constexpr bool writes = false;  // changes the packet's bytes
  static constexpr bool resizes = true;  // may change a packet's length, or take it out
  static constexpr bool gives_parsed = false;
  static constexpr bool gives_tracked = false;
  static constexpr bool makes_shared = false;
  static constexpr bool makes_own = false;  // makes shared bytes the packet's own
  static constexpr bool moves = false;  // may move a packet's bytes elsewhere as they are, as where they were shared
  static constexpr bool traces = false;
  static constexpr bool asks_for_frame = false;
  static constexpr bool prefetches_by_headers = false;  // its prefetch() looks at nothing but headers
};

constexpr const char* header_name(header h) noexcept {
  switch (h) {
    case header::ethernet: return "ethernet";
    case header::vlan: return "vlan";
    case header::cvlan: return "cvlan";
    case header::mpls: return "mpls";
    case header::arp: return "arp";
    case header::ipv4: return "ipv4";
    case header::ipv6: return "ipv6";
    case header::ipv6_fragment: return "ipv6_fragment";
    case header::icmp: return "icmp";
    case header::icmpv6: return "icmpv6";
    case header::tcp: return "tcp";
    case header::udp: return "udp";
    case header::th: return "th";
    case header::gre: return "gre";
    case header::vxlan: return "vxlan";
    case header::llc: return "llc";
    default: break;
  }
  return "?";
}

// What a way is called: a view's name, the tag's own `name`, or its type.
template <class Way>
constexpr const char* way_name() noexcept {
  if constexpr (header_view<Way>) return header_name(Way::in_header);
  else if constexpr (requires { Way::name; }) return Way::name;
  else return type_name<Way>();
}

template <class A>
constexpr void print_argument(text_writer& out) noexcept {
  if constexpr (is_writing_view<A>) out << "mut<" << header_name(std::remove_cvref_t<A>::in_header) << '>';
  else if constexpr (is_view<A>) out << header_name(std::remove_cvref_t<A>::in_header);
  else if constexpr (is_packet<A>) out << "packet";
  else if constexpr (is_frame<A>) out << "frame";
  else if constexpr (is_time<A>) out << "instant";
  else out << "subject";
}
template <class... A>
constexpr void print_arguments(text_writer& out, type_list<A...>) noexcept {
  bool first = true;
  ((out << (first ? "" : ", "), first = false, print_argument<A>(out)), ...);
}

// Prints what a stage is called: its own `name`, else `fallback`.
template <class S>
constexpr void print_name(text_writer& out, const S& s, const char* fallback) noexcept {
  if constexpr (requires { s.print_name(out); }) s.print_name(out);
  else if constexpr (requires { out << S::name; }) out << S::name;
  else out << fallback;
}

// A handler as a stage.
template <class F>
struct handler_stage : stage_defaults {
  using arguments = typename signature<F>::arguments;
  using needs = demands<arguments>;
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = needs::parsed || prefetch_demands<F>::parsed;
  static constexpr bool needs_tracked = needs::connections;
  static constexpr bool writes = needs::writes;
  static constexpr bool resizes = needs::whole_packets;
  static constexpr bool asks_for_frame = needs::frames;
  static constexpr bool prefetches_by_headers = prefetching<F> && prefetch_demands<F>::only_headers;
  static_assert(
      prefetching<F> || !requires(F& f, packet& p) { f.prefetch(p); },
      "runnel: prefetch() is one function, neither overloaded nor a template: its parameters say what it needs");

  constexpr explicit handler_stage(F f) noexcept : function(std::move(f)) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    if constexpr (needs::frames) {
      return pass;  // an error that check_stage reports
    } else {
      const verdict v = call_handler<verdict>(function, packet_source{p, c, found}, pass, arguments{});
      // A handler that returns nothing cannot say that it has taken the packet.
      if constexpr (std::is_void_v<typename signature<F>::result> && needs::whole_packets)
        if (!p) [[unlikely]]
          return stolen;
      return v;
    }
  }
  RUNNEL_INLINE void prefetch(packet& p, context& c, const layers* found) noexcept
    requires prefetching<F>
  {
    prefetch_for(function, p, c, found);
  }
  constexpr void print_name(text_writer& out) const noexcept {
    if constexpr (requires { out << F::name; }) {
      out << F::name;
    } else {
      out << "handler(";
      print_arguments(out, arguments{});
      out << ')';
    }
  }
  F function;
};

// Rules as a stage.
template <class R>
struct rules_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  constexpr explicit rules_stage(R r) noexcept : rules(std::move(r)) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    return rules(subject{static_cast<const packet&>(p), packet_source{p, c, found}.map(), c.connections});
  }
  constexpr void print_name(text_writer& out) const noexcept { runnel::detail::print_name(out, rules, "rules"); }
  R rules;
};

// A function over a burst as a stage.
template <class F>
struct burst_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::burst;
  constexpr explicit burst_stage(F f) noexcept : function(std::move(f)) {}
  RUNNEL_INLINE void operator()(burst& b, context& c) noexcept {
    if constexpr (std::same_as<typename signature<F>::arguments, type_list<burst&>>) function(b);
    else function(b, c.now);
  }
  constexpr void print_name(text_writer& out) const noexcept { runnel::detail::print_name(out, function, "burst"); }
  F function;
};

// What only a chain runs: rules whose targets act, and such targets.
template <class S>
concept for_chains_only = requires { requires !S::is_rules; } || (requires { S::is_target; } && !native_stage<S>);

// What stands in for something that is no stage, so that one error does not bring a hundred.
struct not_a_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  verdict operator()(packet&, context&) noexcept { return pass; }
};

// Turns whatever a user writes between two bars into a stage that the engine can call.
template <class S>
RUNNEL_INLINE constexpr auto as_stage(S s) noexcept {
  static_assert(!for_chains_only<S>,
                "runnel: rules that do more than decide stand in a chain: chain<hook_point::forward>(rules(when(...) "
                ">> limit(bucket) >> accept)); snat, masquerade, dnat and redirect_here in the rules of "
                "nat<postrouting>(translations, rules(...))");
  static_assert(stage<S> || for_chains_only<S>,
                "runnel: this is not a stage. A stage is a handler whose parameters are header views such as ipv4 or "
                "mut<udp>, packet&, instant or const subject&, and which returns a verdict or nothing; an object with "
                "'verdict operator()(packet&)' or 'void operator()(burst&)'; rules; or what parse(), xdp(), branch(), "
                "tee(), transmit() and the like return");
  static_assert(
      !handler_by_value<S>,
      "runnel: a handler asks for a packet by value, but the packet goes on to the next stage: ask for packet&; "
      "to take ownership, end the pipeline in deliver([](packet p) {...}), or move the packet out of packet& "
      "and return stolen");
  if constexpr (native_stage<S>) return s;
  else if constexpr (burst_function<S>) return burst_stage<S>{std::move(s)};
  else if constexpr (handler_function<S> && !handler_by_value<S>) return handler_stage<S>{std::move(s)};
  else if constexpr (rules_function<S>) return rules_stage<S>{std::move(s)};
  else return not_a_stage{};
}

template <class S>
using stage_of = decltype(as_stage(std::declval<S>()));

}  // namespace detail

namespace detail {
template <class S>
struct named_stage : S {
  const char* label;
  constexpr void print_name(text_writer& out) const noexcept { out << label; }
  [[nodiscard]] constexpr auto without_counters() && noexcept
    requires requires(S s) { std::move(s).without_counters(); }
  {
    using bare = decltype(static_cast<S&&>(*this).without_counters());
    return named_stage<bare>{static_cast<S&&>(*this).without_counters(), label};
  }
};
}  // namespace detail

/// Gives a stage a name for the drawing of the graph and for traces. `label` must outlive the pipeline: a literal.
template <class S>
[[nodiscard]] RUNNEL_INLINE constexpr auto named(const char* label, S s) noexcept {
  return detail::named_stage<detail::stage_of<S>>{detail::as_stage(std::move(s)), label};
}

}  // namespace runnel

#endif
