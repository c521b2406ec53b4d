// SPDX-License-Identifier: MIT
// A match expression that is known at run time only: made from any other one, or read from text (parse_condition.hpp).
#ifndef RUNNEL_MATCH_CONDITION_HPP
#define RUNNEL_MATCH_CONDITION_HPP

#include <cstddef>      // size_t
#include <cstdint>      // uint16_t, uint64_t
#include <type_traits>  // is_same_v

#include <runnel/config.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/condition_form.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/condition_test.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/subject.hpp>

namespace runnel {

/// The run-time form of a match expression: what a filter option of a device takes, what a text becomes, what is
/// translated for the kernel. It is a match expression itself, and means the same as the one that it was made from.
///
///     condition take = udp::dport == 7 || has<icmp>;
///     if (take(packet)) ...
///     auto read = parse_condition("tcp dport 22 && ip saddr 10.0.0.0/8");   // result<condition, error>
///
/// Holds its values itself, and sets by pointer: they must outlive it. 8 KB, copied freely, no heap. Deciding takes
/// some 10 nanoseconds for each test that is needed, ten times what the expression takes that the compiler knows.
class condition : public match::expression_operators {
 public:
  /// What the library knows it by.
  static constexpr bool is_match_expression = true;
  /// The room that there is: a comparison, an "and", an "or" and a "not" take a node each; a value in a comparison or
  /// in a `constant_set` takes a word, an IPv6 address two. @{
  static constexpr std::size_t max_nodes = 128;
  static constexpr std::size_t max_words = 128;
  /// @}

  /// Holds for every packet.
  constexpr condition() noexcept { make_always(); }
  /// From another match expression. One that has too many parts is a compile error, or where some of them are
  /// conditions an assertion; that then holds for no packet.
  template <match::match_expression Expression>
    requires(!std::is_same_v<Expression, condition>)
  constexpr condition(const Expression& e) noexcept {
    using form = match::detail::run_time_form<Expression>;
    if constexpr (form::check()) {
      static_assert(form::nodes <= max_nodes && form::words <= max_words,
                    "runnel: this expression has too many parts for a condition (condition::max_nodes, max_words): put "
                    "values into a set");
      match::detail::condition_builder to{nodes_, max_nodes, words_, max_words};
      form::append(to, e);
      RUNNEL_ASSERT(!to.full() && "runnel: too many parts for a condition");
      take(to);
    }
  }

  /// Whether it holds for a packet.
  template <class Later = void>
  [[nodiscard]] constexpr bool operator()(const subject& s) const noexcept {
    return match::detail::holds<Later>({nodes_, size_, words_}, s);
  }
  /// Its nodes. Valid as long as the condition is neither changed nor gone.
  constexpr operator match::condition_view() const noexcept { return {nodes_, size_, words_}; }

  /// For whoever makes conditions from something else than expressions: `fill(builder)` appends nodes, and the last one
  /// becomes the root. False, and a condition that holds for no packet, when there was no room.
  template <class Fill>
  constexpr bool build(Fill fill) noexcept {
    match::detail::condition_builder to{nodes_, max_nodes, words_, max_words};
    fill(to);
    return take(to);
  }

 private:
  constexpr void make_always() noexcept {
    match::detail::condition_builder to{nodes_, max_nodes, words_, max_words};
    to.add({});
    take(to);
  }
  constexpr bool take(match::detail::condition_builder& to) noexcept {
    const bool good = !to.full();
    if (!good) to.make_never();
    to.link();
    size_ = to.size();
    return good;
  }

  match::condition_node nodes_[max_nodes];
  std::uint64_t words_[max_words]{};
  std::size_t size_ = 0;
};

}  // namespace runnel

#endif
