// SPDX-License-Identifier: MIT
// Follows single packets through the stages, and says what each one did with them.
#ifndef RUNNEL_FLOW_TRACE_HPP
#define RUNNEL_FLOW_TRACE_HPP

#include <concepts>  // same_as
#include <utility>   // move

#include <runnel/base/text.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/match/subject.hpp>
#include <runnel/wire/print_packet.hpp>

namespace runnel {

namespace detail {

struct traced_before {};

template <class Condition>
struct trace_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool traces = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "trace";

  constexpr trace_stage(Condition when, text_writer& w) noexcept : condition(std::move(when)), out(&w) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c) noexcept {
    if (follows(static_cast<const packet&>(p))) [[unlikely]]
      begin(p, c);
    return pass;
  }
  [[nodiscard]] RUNNEL_INLINE bool follows(const packet& p) noexcept {
    if constexpr (std::same_as<Condition, traced_before>) return p.traced();
    else return static_cast<bool>(condition(subject{p}));
  }
  void begin(packet& p, context& c) noexcept {
    c.trace = out;
    p.traced(true);
    *out << "trace: ";
    print_packet(*out, static_cast<const packet&>(p));
    *out << '\n';
  }
  Condition condition;
  text_writer* out;
};

// The engine calls it after each stage behind a trace.
template <place At, class Stage>
void report(Stage& stage, packet& p, verdict v, context& c) noexcept {
  if (c.trace == nullptr || (p && !p.traced())) return;
  text_writer& out = *c.trace;
  out << "  ";
  print_name(out, stage, "stage");
  out << ": ";
  if constexpr (Stage::kind == stage_kind::branch) {
    if (v.code == verdict_code::pass) {
      std::size_t i = 0;
      Stage::ways::for_each([&]<class Way>() {
        if (i++ == v.port) out << "to " << way_name<Way>();
      });
      out << '\n';
      return;
    }
  }
  if constexpr (Stage::kind == stage_kind::end) out << "end";
  else out << runnel::name(v.code);
  if (v.code == verdict_code::drop) out << " (" << runnel::name(v.reason) << ')';
  if (p) {
    out << ", ";
    print_packet(out, static_cast<const packet&>(p));
  }
  out << '\n';
}

}  // namespace detail

/// Follows the packets for which `condition` holds, a match expression or anything else that is called with a `const
/// subject&` and returns a bool: prints them here and behind each later stage, with what that stage decided. Ends where
/// the pipeline ends, at a queue and at `replaceable` too: what is built without a trace pays nothing for it, so the
/// pipeline behind needs one that goes on, `trace(out)`. Refers to `out`, which must outlive the pipeline.
template <class Condition>
[[nodiscard]] RUNNEL_INLINE constexpr auto trace(Condition condition, text_writer& out) noexcept {
  static_assert(
      requires(const subject& s) { static_cast<bool>(condition(s)); },
      "runnel: trace() needs a match expression, such as ip::saddr == addr4(\"192.0.2.1\"), or a function of a "
      "const subject& that returns a bool");
  return detail::trace_stage<Condition>{std::move(condition), out};
}

/// Goes on following the packets, and their clones, that a trace followed before they came into this pipeline, by a
/// queue or by `replaceable`: `attach(later, parse() | trace(out) | ...)`. Refers to `out`, which must outlive the
/// pipeline.
[[nodiscard]] constexpr auto trace(text_writer& out) noexcept {
  return detail::trace_stage<detail::traced_before>{{}, out};
}

}  // namespace runnel

#endif
