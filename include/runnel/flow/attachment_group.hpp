// SPDX-License-Identifier: MIT
// Attachments as many as a program finds when it runs, such as one for each device that it was told of.
#ifndef RUNNEL_FLOW_ATTACHMENT_GROUP_HPP
#define RUNNEL_FLOW_ATTACHMENT_GROUP_HPP

#include <cstddef>  // size_t

#include <runnel/base/sleeper.hpp>
#include <runnel/flow/wait.hpp>

namespace runnel {

/// Attachments of one type, which stand in a loop as one: each has its turn in every round. Made by `attach_all`.
template <class Attachment>
class attachment_group {
 public:
  /// How many file descriptors a loop waits on for all of them. Where there are more, it looks for the others again
  /// after `wait_list::retry`.
  static constexpr std::size_t max_handles = 64;

  /// Use `attach_all`.
  constexpr attachment_group(Attachment* first, std::size_t n) noexcept : first_(first), end_(first + n) {}

  /// What the loop asks of an attachment. @{
  template <class Clock>
  std::size_t poll(Clock& clock) noexcept {
    std::size_t n = 0;
    for (Attachment* a = first_; a != end_; ++a) n += a->poll(clock);
    return n;
  }
  [[nodiscard]] bool done() noexcept { return first_left() == end_; }
  template <class Clock>
  void prepare_to_wait(wait_list& waits, Clock& clock, const sleeper* by) noexcept {
    for (Attachment* a = first_; a != end_; ++a) a->prepare_to_wait(waits, clock, by);
  }
  [[nodiscard]] std::size_t left() noexcept {
    std::size_t n = 0;
    for (Attachment* a = first_; a != end_; ++a) n += a->done() ? 0u : 1u;
    return n;
  }
  static constexpr bool waits_by_itself = Attachment::waits_by_itself;
  void wait_by_itself() noexcept {
    if (Attachment* a = first_left(); a != end_) a->wait_by_itself();
  }
  /// @}

 private:
  Attachment* first_left() noexcept {
    Attachment* a = first_;
    while (a != end_ && a->done()) ++a;
    return a;
  }

  Attachment* first_;
  Attachment* end_;
};

/// Joins attachments of one type to a loop, as many as are known when the program runs: anything with `data()` and
/// `size()`, which must outlive the loop and stay where it is.
///
///     std::vector<decltype(attach(devices[0], path(0)))> inputs;
///     for (unsigned i = 0; i < devices.size(); ++i) inputs.push_back(attach(devices[i], path(i)));
///     loop work{time, attach_all(inputs), attach(timers)};
template <class Attachments>
[[nodiscard]] constexpr auto attach_all(Attachments& attachments) noexcept {
  return attachment_group{attachments.data(), attachments.size()};
}

namespace detail {
// How many file descriptors and sources an attachment stands for.
template <class Attachment>
inline constexpr std::size_t handles_of = 1;
template <class Attachment>
inline constexpr std::size_t handles_of<attachment_group<Attachment>> = attachment_group<Attachment>::max_handles;
template <class Attachment>
[[nodiscard]] std::size_t left_in(Attachment& a) noexcept {
  if constexpr (requires { a.left(); }) return a.left();
  else return a.done() ? 0u : 1u;
}
// Whether an attachment that is not done can wait by itself. One that does not say is asked to.
template <class Attachment>
inline constexpr bool waits_by_itself = true;
template <class Attachment>
  requires requires { Attachment::waits_by_itself; }
inline constexpr bool waits_by_itself<Attachment> = Attachment::waits_by_itself;
}  // namespace detail

}  // namespace runnel

#endif
