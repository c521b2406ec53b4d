// SPDX-License-Identifier: MIT
// Branches: a decision between named ways, each of them connected to a pipeline of its own.
#ifndef RUNNEL_FLOW_BRANCH_HPP
#define RUNNEL_FLOW_BRANCH_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t
#include <utility>  // move

#include <runnel/flow/engine.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

namespace runnel {

namespace detail {

// The pipeline that hangs on one way.
template <class Way, class Pipeline>
struct connection_to {
  using way = Way;
  using pipeline_type = Pipeline;
  Pipeline path;
};

template <class Ways, class... Connections>
struct connection_list;
template <class Ways>
struct connection_list<Ways> {
  static constexpr std::size_t size = 0;
  template <place At>
  RUNNEL_INLINE void run(std::size_t, packet*, std::size_t, std::uint64_t, context&) noexcept {
    __builtin_unreachable();
  }
  template <class Visitor>
  constexpr void visit(Visitor&&) const noexcept {}
};
template <class Ways, class First, class... Rest>
struct connection_list<Ways, First, Rest...> {
  static constexpr std::size_t size = 1 + sizeof...(Rest);
  First first;
  connection_list<Ways, Rest...> rest;

  template <place At>
  RUNNEL_INLINE void run(std::size_t way, packet* packets, std::size_t n, std::uint64_t length, context& c) noexcept {
    if (sizeof...(Rest) == 0 || way == Ways::template index_of<typename First::way>)
      runnel::detail::run<At>(first.path.stages(), packets, n, length, c);
    else rest.template run<At>(way, packets, n, length, c);
  }
  template <class Visitor>
  constexpr void visit(Visitor&& visitor) const noexcept {
    visitor(first);
    rest.visit(visitor);
  }
};

template <class Ways, class Last>
constexpr connection_list<Ways, Last> connect(connection_list<Ways>&&, Last&& last) noexcept {
  return {std::forward<Last>(last), {}};
}
template <class Ways, class First, class... Rest, class Last>
constexpr connection_list<Ways, First, Rest..., Last> connect(connection_list<Ways, First, Rest...>&& list,
                                                              Last&& last) noexcept {
  return {std::move(list.first), connect(std::move(list.rest), std::forward<Last>(last))};
}

template <class Ways, class First, class... Rest>
constexpr connection_list<Ways, First, Rest...> prepend(First&& first, connection_list<Ways, Rest...>&& rest) noexcept {
  return {std::forward<First>(first), std::move(rest)};
}
template <class Ways>
constexpr connection_list<Ways> strip_counters(connection_list<Ways>&&) noexcept {
  return {};
}
template <class Ways, class Way, class Path, class... Rest>
constexpr auto strip_counters(connection_list<Ways, connection_to<Way, Path>, Rest...>&& list) noexcept {
  using first = connection_to<Way, decltype(strip_counters(std::move(list.first.path)))>;
  return prepend(first{strip_counters(std::move(list.first.path))}, strip_counters(std::move(list.rest)));
}

// ---- the promised errors

template <class Way, class... Connections>
inline constexpr bool is_connected = (std::same_as<Way, typename Connections::way> || ...);

template <class Ways, class Way, class... Connections>
struct check_connection {
  static_assert(Ways::template contains<Way>,
                "runnel: this branch has no such way: .on<way>() takes one of the tags in its list, 'using ways = "
                "ports<...>'");
  static_assert(!is_connected<Way, Connections...>,
                "runnel: this way is connected twice: each way has one .on<way>(), and tee() sends packets two ways");
};
template <class Branch, class Way, bool Connected>
struct way_must_be_connected {
  static_assert(Connected,
                "runnel: a way of this branch is not connected: add .on<way>(pipeline) for it, .on<way>(discard) to "
                "drop what goes there");
};
template <class Branch, class... Connections, class... Way>
constexpr auto check_all_connected(type_list<ports<Way...>>) noexcept {
  (void)(sizeof(way_must_be_connected<Branch, Way, is_connected<Way, Connections...>>) + ...);
}
template <class Pipeline>
struct way_must_end {
  static_assert(Pipeline::complete,
                "runnel: the pipeline on this way has no end: let it end in transmit(device), deliver(handler), "
                "enqueue(queue), discard, shared(pipeline) or a branch");
};
template <class Path>
RUNNEL_INLINE constexpr auto as_way(Path path) noexcept {
  auto whole = runnel::as_pipeline(std::move(path));
  (void)sizeof(way_must_end<decltype(whole)>);
  if constexpr (whole.complete) return whole;
  else return join(std::move(whole), no_end{});
}
// What stands in for a branch that is none.
struct no_branch : no_end {
  template <class Way, class Path>
  constexpr no_branch on(Path&&) const noexcept {
    return {};
  }
};

template <class T>
inline constexpr bool is_ports = false;
template <class... Ways>
inline constexpr bool is_ports<ports<Ways...>> = true;

template <class F, bool = has_signature<F>>
struct branch_signature {
  using arguments = type_list<packet&>;
  using ways = void;
};
template <class F>
  requires requires { typename F::ways; }
struct branch_signature<F, false> {
  using arguments = type_list<packet&>;
  using ways = typename F::ways;
};
template <class F>
struct branch_signature<F, true> {
  using arguments = typename signature<F>::arguments;
  using ways = std::remove_cvref_t<typename signature<F>::result>;
};

template <class F, class... Connections>
class branch_stage : public stage_defaults {
 public:
  using ways = typename branch_signature<F>::ways;
  using arguments = typename branch_signature<F>::arguments;
  using needs = demands<arguments>;
  static constexpr stage_kind kind = stage_kind::branch;
  static constexpr bool needs_parsed =
      needs::parsed || prefetch_demands<F>::parsed || requires { requires F::needs_parsed; };
  static constexpr bool needs_tracked = needs::connections || requires { requires F::needs_tracked; };
  static constexpr bool writes = needs::writes || requires { requires F::writes; };
  static constexpr bool resizes = [] {
    if constexpr (requires { F::resizes; }) return F::resizes;
    else return needs::whole_packets;
  }();
  static constexpr bool moves = requires { requires F::moves; };
  static constexpr bool asks_for_frame = needs::frames;
  static constexpr bool prefetches_by_headers = prefetching<F> && prefetch_demands<F>::only_headers;

  constexpr branch_stage(F f, connection_list<ways, Connections...> connections) noexcept
      : function_(std::move(f)), connections_(std::move(connections)) {}

  /// Connects the way `Way` to a pipeline, or to a single end such as `discard`. Ways are connected once each.
  template <class Way, class Path>
  [[nodiscard]] RUNNEL_INLINE constexpr auto on(Path path) && noexcept {
    (void)sizeof(check_connection<ways, Way, Connections...>);
    auto whole = as_way(std::move(path));
    using link = connection_to<Way, decltype(whole)>;
    return branch_stage<F, Connections..., link>{std::move(function_),
                                                 connect(std::move(connections_), link{std::move(whole)})};
  }

  // The same branch over the same ways, none of which counts.
  [[nodiscard]] constexpr auto without_counters() && noexcept {
    return make(std::move(function_), strip_counters(std::move(connections_)));
  }

  RUNNEL_INLINE verdict decide(packet& p, context& c, const layers* found) noexcept {
    if constexpr (requires { function_.decide(p, c, found); }) {
      return function_.decide(p, c, found).decision();
    } else if constexpr (needs::views && ways::template contains<other>) {
      return call_handler<ways>(function_, packet_source{p, c, found}, ways{other{}}, arguments{}).decision();
    } else {
      return call_handler<ways>(function_, packet_source{p, c, found}, ways{drop}, arguments{}).decision();
    }
  }
  // About all packets of a burst at once, for a decision that does so; whether all go the same way.
  RUNNEL_INLINE bool decide_all(packet* packets, verdict* to, std::size_t n, context& c) noexcept
    requires requires(F& f) { f.decide_all(packets, to, n, c); }
  {
    return function_.decide_all(packets, to, n, c);
  }
  RUNNEL_INLINE void prefetch(packet& p, context& c, const layers* found) noexcept
    requires prefetching<F>
  {
    prefetch_for(function_, p, c, found);
  }
  template <place At>
  RUNNEL_INLINE void run_way(std::size_t way, packet* packets, std::size_t n, std::uint64_t length,
                             context& c) noexcept {
    connections_.template run<At>(way, packets, n, length, c);
  }
  template <place At>
  static constexpr auto check_inside() noexcept {
    using connected [[maybe_unused]] = decltype(check_all_connected<F, Connections...>(type_list<ways>{}));
    using paths [[maybe_unused]] =
        type_list<decltype(Connections::pipeline_type::template check_places<after<branch_stage>(At)>())...>;
  }
  constexpr void print_name(text_writer& out) const noexcept {
    if constexpr (requires { function_.print_name(out); }) {
      function_.print_name(out);
    } else if constexpr (requires { out << F::name; }) {
      out << F::name;
    } else {
      out << "branch(";
      print_arguments(out, arguments{});
      out << ')';
    }
  }
  [[nodiscard]] constexpr const auto& connections() const noexcept { return connections_; }

 private:
  template <class... Others>
  static constexpr branch_stage<F, Others...> make(F&& f, connection_list<ways, Others...>&& connections) noexcept {
    return {std::move(f), std::move(connections)};
  }

  [[no_unique_address]] F function_;
  connection_list<ways, Connections...> connections_;
};

struct decide_by_protocol {
  using ways = ports<tcp, udp, icmp, icmpv6, other>;
  static constexpr const char* name = "by_protocol";
  static constexpr bool needs_parsed = true;
  ways operator()(const packet& p) const noexcept {
    const layers& l = p.layers();
    if (l.has(protocol::tcp)) return ways::to<tcp>();
    if (l.has(protocol::udp)) return ways::to<udp>();
    if (l.has(protocol::icmp)) return ways::to<icmp>();
    if (l.has(protocol::icmpv6)) return ways::to<icmpv6>();
    return other{};
  }
};

}  // namespace detail

/// Makes a branch of a decision: a handler that returns `ports<...>`, or an object with `using ways = ports<...>` and
/// `ways operator()(packet&)`. Connect each way with `.on<way>(pipeline)`.
///
///     branch([](udp u) -> ports<dns, other> { if (u.destination_port() == 53) return dns{}; return other{}; })
///         .on<dns>(transmit(resolver))
///         .on<other>(discard)
template <class F>
[[nodiscard]] RUNNEL_INLINE constexpr auto branch(F decision) noexcept {
  using from = detail::branch_signature<F>;
  static_assert(detail::is_ports<typename from::ways>,
                "runnel: branch() needs a handler that returns ports<...>: [](udp u) -> ports<dns, other> {...}, or an "
                "object with 'using ways = ports<...>' and 'ways operator()(packet&)'");
  static_assert(
      !detail::is_ports<typename from::ways> || detail::demands<typename from::arguments>::known,
      "runnel: branch() asks for something that it cannot have: its parameters are header views such as ipv4, "
      "packet&, instant or const subject&");
  if constexpr (detail::is_ports<typename from::ways> && detail::demands<typename from::arguments>::known) {
    static_assert(
        !detail::demands<typename from::arguments>::views || from::ways::template contains<other>,
        "runnel: a branch that asks for headers needs a way for the packets without them: add the tag 'other' "
        "to its ports<...>");
    return detail::branch_stage<F>{std::move(decision), detail::connection_list<typename from::ways>{}};
  } else {
    return detail::no_branch{};
  }
}

/// A branch by transport protocol, with the ways `tcp`, `udp`, `icmp`, `icmpv6` and `other`. Later fragments, which
/// have no transport header, and everything that is not IP go by `other`. Needs `parse()` before it.
[[nodiscard]] constexpr auto by_protocol() noexcept { return branch(detail::decide_by_protocol{}); }

}  // namespace runnel

#endif
