// SPDX-License-Identifier: MIT
// Pipelines: stages joined with `|`, kept as one type, and checked before anything runs.
#ifndef RUNNEL_FLOW_PIPELINE_HPP
#define RUNNEL_FLOW_PIPELINE_HPP

#include <cstddef>      // size_t
#include <type_traits>  // decay_t, remove_cvref_t, false_type
#include <utility>      // move, forward

#include <runnel/flow/counters.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/flow/wait.hpp>

namespace runnel {

namespace detail {

// The stages of a pipeline, each with its counters, as a recursive struct: cheaper to compile than a tuple, and
// every stage sees the rest of the path as one type.
template <class Counters, class... Stages>
struct stage_list {
  static constexpr std::size_t size = 0;
};
template <class Counters, class First, class... Rest>
struct stage_list<Counters, First, Rest...> {
  static constexpr std::size_t size = 1 + sizeof...(Rest);
  using first_stage = First;
  using rest_list = stage_list<Counters, Rest...>;

  [[no_unique_address]] First stage;
  [[no_unique_address]] Counters counters{};
  [[no_unique_address]] rest_list rest{};
};

template <class Counters, class Last>
constexpr stage_list<Counters, Last> append(stage_list<Counters>&&, Last&& last) noexcept {
  return {std::forward<Last>(last)};
}
template <class Counters, class First, class... Rest, class Last>
constexpr stage_list<Counters, First, Rest..., Last> append(stage_list<Counters, First, Rest...>&& list,
                                                            Last&& last) noexcept {
  return {std::move(list.stage), std::move(list.counters), append(std::move(list.rest), std::forward<Last>(last))};
}

template <class... Stages>
inline constexpr bool ends = false;
template <class Only>
inline constexpr bool ends<Only> = Only::kind == stage_kind::end || Only::kind == stage_kind::branch;
template <class First, class... Rest>
  requires(sizeof...(Rest) > 0)
inline constexpr bool ends<First, Rest...> = ends<Rest...>;

// ---- the promised errors, each in a template that carries the culprit's type in its name

template <class Stage, class After>
struct stage_after_an_end {
  static_assert(After::kind != stage_kind::end,
                "runnel: this stage stands after an end: transmit, deliver, enqueue, discard and shared take ownership "
                "of what arrives, nothing comes out of them; put the stage before the end, or use tee() to do both");
  static_assert(After::kind != stage_kind::branch,
                "runnel: this stage stands after a branch: continue on its ways, .on<way>(... | ...); to join ways "
                "again, give several of them the same shared(pipeline)");
};

// Checks one stage at one place.
template <class Stage, place At>
struct check_stage {
  static_assert(!(Stage::kind == stage_kind::early && At.packets),
                "runnel: an early verdict, xdp(...), must stand at the beginning of the pipeline, before the first "
                "stage that wants a packet");
  static_assert(Stage::kind == stage_kind::early || !Stage::asks_for_frame,
                "runnel: a handler asks for a frame, but there are only packets at this place: ask for packet&, or "
                "move it into xdp(...) at the beginning");
  static_assert(Stage::kind == stage_kind::early || !Stage::needs_parsed || At.parsed,
                "runnel: a stage asks for network or transport headers, but the packet has not been parsed at this "
                "place: put parse() before it, or move it into xdp(...) at the beginning");
  static_assert(!Stage::needs_tracked || At.tracked,
                "runnel: a handler asks for a connection, but none has been looked up at this place: put track() "
                "before it");
  static_assert(!Stage::writes || !At.shared,
                "runnel: a stage writes to the packet's bytes, but they may be shared with a clone at this place: put "
                "unshare() before it");
};

// What is known behind a stage.
template <class Stage>
constexpr place after(place at) noexcept {
  if (Stage::kind != stage_kind::early && Stage::wants_packet) at.packets = true;
  if (Stage::resizes || Stage::makes_own || Stage::moves) at.dissected = false;
  if (Stage::gives_parsed) at.parsed = at.dissected = true;
  if (Stage::gives_tracked) at.tracked = true;
  if (Stage::makes_shared) at.shared = true;
  if (Stage::makes_own) at.shared = false;
  if (Stage::traces) at.traced = true;
  return at;
}

// The checks are made by instantiating them (`decltype` of what returns `auto`, `sizeof`), never by evaluating: an
// error would be followed by others, that its place is no constant.
template <place At>
constexpr auto check_stages(type_list<>) noexcept {}
template <place At, class First, class... Rest>
constexpr auto check_stages(type_list<First, Rest...>) noexcept {
  (void)sizeof(check_stage<First, At>);
  // Branches and tees check the pipelines that hang on them.
  if constexpr (requires { First::template check_inside<At>(); }) {
    using inside [[maybe_unused]] = decltype(First::template check_inside<At>());
  }
  using rest [[maybe_unused]] = decltype(check_stages<after<First>(At)>(type_list<Rest...>{}));
}

}  // namespace detail

/// Stages joined with `|`. A value: it owns its stages and their counters, and is moved into a branch, a tee or
/// `attach`, or kept by the user and passed on by reference.
template <class Counters, class... Stages>
class pipeline {
 public:
  /// The types of its parts. @{
  using list_type = detail::stage_list<Counters, Stages...>;
  using counters_type = Counters;
  /// @}
  /// Whether it ends in something that takes ownership, so that it can be run.
  static constexpr bool complete = detail::ends<Stages...>;
  /// Checks that each stage can do what it wants at its place, when the pipeline begins at `At`: by naming its type.
  template <place At>
  static constexpr auto check_places() noexcept {
    using checked [[maybe_unused]] = decltype(detail::check_stages<At>(detail::type_list<Stages...>{}));
  }
  /// Checks that, and that the pipeline ends.
  template <place At>
  static constexpr auto check() noexcept {
    static_assert(complete,
                  "runnel: this pipeline has no end: let it end in transmit(device), deliver(handler), enqueue(queue), "
                  "discard, shared(pipeline) or a branch");
    using checked [[maybe_unused]] = decltype(check_places<At>());
  }

  /// Use `|`.
  constexpr explicit pipeline(list_type stages) noexcept : stages_(std::move(stages)) {}

  /// Its stages, for the functions of this library. @{
  [[nodiscard]] constexpr list_type& stages() & noexcept { return stages_; }
  [[nodiscard]] constexpr const list_type& stages() const& noexcept { return stages_; }
  [[nodiscard]] constexpr list_type&& stages() && noexcept { return std::move(stages_); }
  /// @}

 private:
  list_type stages_;
};

/// Put in front of the first stage, it leaves out all counting in that pipeline, on the ways of its branches and the
/// paths of its tees too: `uncounted | parse() | ...`. A pipeline that it only refers to, by `shared` or `replaceable`,
/// keeps its own counters.
struct uncounted_t {};
/// Begins a pipeline without counters: `uncounted | parse() | ...`.
inline constexpr uncounted_t uncounted{};

namespace detail {

template <class T>
inline constexpr bool is_pipeline = false;
template <class Counters, class... Stages>
inline constexpr bool is_pipeline<pipeline<Counters, Stages...>> = true;

template <class T>
concept pipeline_type = is_pipeline<std::remove_cvref_t<T>>;

template <class First, class... Rest>
struct last_of {
  using type = typename last_of<Rest...>::type;
};
template <class Only>
struct last_of<Only> {
  using type = Only;
};

// What stands in for an end that is missing, so that one error does not bring more.
struct no_end : stage_defaults {
  static constexpr stage_kind kind = stage_kind::end;
  template <place, class Counters>
  void take(packet*, std::size_t, std::uint64_t, Counters&, context&) noexcept {}
};

// Rules, those of a list that is known at run time only too.
template <class T>
concept rules_type = requires { T::is_rules; } || requires(const T& all, const subject& s, std::size_t& which) {
  { all.decide(s, which) } -> std::same_as<verdict>;
};

// What a user may write on either side of a bar.
template <class T>
concept joinable = pipeline_type<T> || native_stage<std::remove_cvref_t<T>> || rules_type<std::remove_cvref_t<T>> ||
                   std::same_as<std::remove_cvref_t<T>, uncounted_t>;

}  // namespace detail

/// A stage as a pipeline: for a path of one stage that is to be kept by name, and between two functions of one's own,
/// for which C++ knows no bar: `as_pipeline([](ipv4) {...}) | [](udp) {...}`. A pipeline stays as it is.
template <class T>
[[nodiscard]] constexpr auto as_pipeline(T&& left) noexcept {
  using type = std::decay_t<T>;  // of a function its address
  if constexpr (detail::pipeline_type<T>) {
    return type{std::forward<T>(left)};
  } else if constexpr (std::same_as<type, uncounted_t>) {
    return pipeline<no_counters>{detail::stage_list<no_counters>{}};
  } else {
    using stage_type = detail::stage_of<type>;
    return pipeline<stage_counters, stage_type>{
        detail::append(detail::stage_list<stage_counters>{}, detail::as_stage(type{std::forward<T>(left)}))};
  }
}

namespace detail {

// A stage as it stands in a pipeline with such counters: what hangs on it is not counted where the pipeline is not.
template <class Counters, class Stage>
constexpr auto fit(Stage&& stage) noexcept {
  if constexpr (std::same_as<Counters, no_counters> && requires { std::forward<Stage>(stage).without_counters(); })
    return std::forward<Stage>(stage).without_counters();
  else return std::remove_cvref_t<Stage>{std::forward<Stage>(stage)};
}

template <class Counters, class Last>
RUNNEL_INLINE constexpr auto join(pipeline<Counters>&& left, Last last) noexcept {
  using stage = decltype(fit<Counters>(std::move(last)));
  return pipeline<Counters, stage>{append(std::move(left).stages(), fit<Counters>(std::move(last)))};
}
template <class Counters, class First, class... Stages, class Last>
RUNNEL_INLINE constexpr auto join(pipeline<Counters, First, Stages...>&& left, Last last) noexcept {
  (void)sizeof(stage_after_an_end<Last, typename last_of<First, Stages...>::type>);
  if constexpr (ends<First, Stages...>) {
    return std::move(left);
  } else {
    using stage = decltype(fit<Counters>(std::move(last)));
    return pipeline<Counters, First, Stages..., stage>{
        append(std::move(left).stages(), fit<Counters>(std::move(last)))};
  }
}
template <class Left, class Counters>
constexpr Left join_list(Left&& left, stage_list<Counters>&&) noexcept {
  return std::forward<Left>(left);
}
template <class Left, class Counters, class First, class... Rest>
constexpr auto join_list(Left&& left, stage_list<Counters, First, Rest...>&& right) noexcept {
  return join_list(join(std::forward<Left>(left), std::move(right.stage)), std::move(right.rest));
}
template <class Pipeline>
constexpr auto strip_counters(Pipeline&& path) noexcept {
  return join_list(pipeline<no_counters>{stage_list<no_counters>{}}, std::forward<Pipeline>(path).stages());
}

// Calls `visit(list)` for every stage of a list and of all that hangs on it, with the stage and its counters in front,
// in the order in which they are drawn.
template <class List, class Visitor>
constexpr void for_each_stage(List& list, Visitor& visit) noexcept {
  if constexpr (List::size != 0) {
    visit(list);
    if constexpr (requires { list.stage.target->stages(); }) for_each_stage(list.stage.target->stages(), visit);
    if constexpr (requires { list.stage.connections(); })
      list.stage.connections().visit([&](const auto& way) { for_each_stage(way.path.stages(), visit); });
    if constexpr (requires { list.stage.path.stages(); }) for_each_stage(list.stage.path.stages(), visit);
    for_each_stage(list.rest, visit);
  }
}

// How many packets a pipeline can take: what is left in the fullest queue that holds its sources back. The clock is
// read when there is such a one.
template <class List, class Clock>
[[nodiscard]] std::size_t room_in(const List& list, Clock& time) noexcept {
  std::size_t least = max_burst;
  auto look = [&least, &time](const auto& part) {
    if constexpr (requires { part.stage.room(instant{}); })
      if (const std::size_t room = part.stage.room(time.now()); room < least) least = room;
  };
  for_each_stage(list, look);
  return least;
}
// What has to happen before there is room again, as far as the ends know.
template <class List>
void wait_for_room(const List& list, wait_list& waits) noexcept {
  auto look = [&waits](const auto& part) {
    if constexpr (requires { part.stage.wait_for_room(waits); }) part.stage.wait_for_room(waits);
  };
  for_each_stage(list, look);
}
// Whether its ends still hold packets that they could not send.
template <class List>
[[nodiscard]] bool holds_packets(const List& list) noexcept {
  bool some = false;
  auto look = [&some](const auto& part) {
    if constexpr (requires { part.stage.holds_packets(); }) some = some || part.stage.holds_packets();
  };
  for_each_stage(list, look);
  return some;
}

}  // namespace detail

/// Puts a stage, or the stages of another pipeline, behind a pipeline. Moves temporaries and copies what has a name:
/// the copy counts for itself, and a stage with a state has its own from then on (to look at that state later, let a
/// handler capture it by reference). Counts begin at zero for stages that come from the right.
template <class Left, class Right>
  requires detail::joinable<Left> || detail::joinable<Right>
[[nodiscard]] constexpr auto operator|(Left&& left, Right&& right) noexcept {
  using right_type = std::decay_t<Right>;
  if constexpr (detail::pipeline_type<Right>) {
    return detail::join_list(runnel::as_pipeline(std::forward<Left>(left)),
                             std::move(right_type{std::forward<Right>(right)}).stages());
  } else {
    return detail::join(runnel::as_pipeline(std::forward<Left>(left)),
                        detail::as_stage(right_type{std::forward<Right>(right)}));
  }
}

}  // namespace runnel

#endif
