// SPDX-License-Identifier: MIT
// How a rule table stands in a pipeline, and is replaced while packets run.
#ifndef RUNNEL_HOOK_RULE_TABLE_SLOT_HPP
#define RUNNEL_HOOK_RULE_TABLE_SLOT_HPP

#include <runnel/config.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/rule_table.hpp>
#include <runnel/hook/ways.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>

namespace runnel {

/// Which table the stages of one thread ask. Another thread may offer it a new one at any time.
class rule_table_slot {
 public:
  /// Begins with a table, which must outlive the slot or be replaced and `taken()` before it ends.
  explicit rule_table_slot(rule_table& t) noexcept : offered_(&t), used_(&t) {}
  rule_table_slot(const rule_table_slot&) = delete;
  rule_table_slot& operator=(const rule_table_slot&) = delete;

  /// From its next packet on the pipeline uses `t`, which must not be changed any more. The table before it is free
  /// as soon as `taken()`; until then offer no other one (RUNNEL_ASSERT).
  void offer(rule_table& t) noexcept {
    RUNNEL_ASSERT(taken());
    __atomic_store_n(&offered_, &t, __ATOMIC_RELEASE);
  }
  /// Whether the pipeline uses what was offered last.
  [[nodiscard]] bool taken() const noexcept {
    return __atomic_load_n(&used_, __ATOMIC_ACQUIRE) == __atomic_load_n(&offered_, __ATOMIC_RELAXED);
  }
  /// The table to ask. For the thread of the pipeline; also what a loop calls that has no packets, so that a table is
  /// taken all the same.
  rule_table& current() noexcept {
    rule_table* const t = __atomic_load_n(&offered_, __ATOMIC_ACQUIRE);
    if (t != used_) __atomic_store_n(&used_, t, __ATOMIC_RELEASE);
    return *t;
  }
  /// As `rule_table::translation`: so that `nat<prerouting>(translations, live)` takes the slot.
  template <class = void>
  verdict translation(hook_point point, packet& p, context& c, const layers* found, const nat_target*& to) noexcept {
    return current().translation(point, p, c, found, to);
  }

 private:
  rule_table* offered_;
  rule_table* used_;
};

namespace detail {

template <hook_point Point, hook_part Part>
struct rule_table_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = false;
  rule_table_slot* slot;
  constexpr explicit rule_table_stage(rule_table_slot& s) noexcept : slot(&s) {}
  verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    return slot->current().run(Point, p, c, found, Part);
  }
  /// Connects one of its ways, and makes a branch of it: see ways.hpp.
  template <class Way, class Path>
  [[nodiscard]] constexpr auto on(Path path) && noexcept {
    return connect_hook<Way>(*this, std::move(path));
  }
  constexpr void print_name(text_writer& out) const noexcept {
    out << "hook " << runnel::name(Point) << (Part == hook_part::before_tracking ? " raw" : "") << " rule_table";
  }
};

}  // namespace detail

/// The base chains that a rule table has at a hook point, as a stage; with `.on<accepted>(...)`, `.on<refused>(...)`
/// and `.on<diverted>(...)` a branch, which is what `reject` and `tproxy` want: without, such packets are dropped. With
/// a part, which there is at prerouting and output, only those that stand before tracking, or behind:
/// `hook<prerouting, hook_part::before_tracking>(live) | track(connections) |
/// hook<prerouting, hook_part::behind_tracking>(live)`. A pipeline that has one part needs the other as well: its
/// chains run nowhere else. Refers to the slot, which must outlive the pipeline; the stages of one thread share one.
template <hook_point Point, hook_part Part = hook_part::all>
[[nodiscard]] constexpr detail::rule_table_stage<Point, Part> hook(rule_table_slot& slot) noexcept {
  static_assert(
      Part == hook_part::all || Point == hook_point::prerouting || Point == hook_point::output,
      "runnel: a part of a hook stands at prerouting or output, as tracking does: leave it out at the others");
  return detail::rule_table_stage<Point, Part>{slot};
}

}  // namespace runnel

#endif
