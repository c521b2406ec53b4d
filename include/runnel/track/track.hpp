// SPDX-License-Identifier: MIT
// The stages of connection tracking: `track` finds each packet's connection, `confirm` says that it got through.
//
//     static static_connection_table<connection_config{.connections = 100'000}> connections{seed};
//
//     constexpr auto policy = rules(
//         when(ct::state == established || ct::state == related) >> accept,
//         when(ct::state == new_ && tcp::dport == 443)           >> accept,
//         otherwise                                              >> drop);
//
//     auto path = parse() | track(connections) | policy | confirm(connections) | transmit(wan);
//     run(time, attach(lan, path), attach(connections));       // the latter lets connections expire
//
// A connection begins with the first packet, and counts when that is confirmed: put `confirm` behind all that may drop,
// and before a queue. Packets that are dropped before leave nothing behind. Without `confirm` no connection outlives
// its burst. Packets of the same burst that follow the first one are tracked before it is known whether that gets
// through; when it did not, `confirm` drops them: let all packets of connections come there.
//
// Later fragments of a datagram have no ports, and are `invalid`: put `defragment` before, which makes datagrams of
// them, or `virtual_defragment`, which tells their connection: they are `established` as others, or `related` where
// nothing came back yet, and never begin one. An ICMP error whose first fragment ends before the ports of what it
// quotes is `invalid` too, also when the rest is there: nobody sends such. A packet that has been tracked before, or
// that `notrack` has marked, keeps its state; of an earlier burst or another table, it has no connection any more.
#ifndef RUNNEL_TRACK_TRACK_HPP
#define RUNNEL_TRACK_TRACK_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint64_t

#include <runnel/flow/engine.hpp>
#include <runnel/flow/loop.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/flow/timed_attachment.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/tracker.hpp>

namespace runnel {

/// How a `track` stage tracks.
struct track_options {
  std::uint16_t zone = 0;  ///< keeps connections apart that have the same addresses on different networks
};

namespace detail {

struct track_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::burst;
  static constexpr bool needs_parsed = true;
  static constexpr bool gives_tracked = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "track";

  constexpr track_stage(connection_table& t, track_options o) noexcept : table(&t), options(o) {}
  void operator()(burst& b, context& c) noexcept { of_bursts<max_burst>(b, c); }
  // What is known of packets that are looked up together lies on the stack: no more of it than of a burst.
  template <std::uint16_t Burst>
  void of_bursts(burst& b, context& c) noexcept {
    constexpr std::size_t at_once = Burst < 32 ? Burst : 32;
    const bool again = c.connections == tracker::records(*table);
    if (!again) tracker::begin_burst(*table);
    c.connections = tracker::records(*table);
    const std::uint64_t now = ticks_at(c.now);
    for (std::size_t from = 0; from < b.size(); from += at_once)
      some<at_once>(b, from, b.size() - from < at_once ? b.size() - from : at_once, now, again);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  connection_table* table;
  track_options options;

 private:
  template <std::size_t AtOnce>
  void some(burst& b, std::size_t from, std::size_t n, std::uint64_t now, bool again) const noexcept {
    raw_array<tracker::slot, AtOnce> slots;
    for (std::size_t i = 0; i < n; ++i) {
      packet& p = b[from + i];
      if (p.connection() == 0) {
        tracker::read(*table, p, options.zone, slots[i]);
      } else if (later_fragment::is_word(p.connection())) {
        tracker::read_later(*table, p, options.zone, slots[i]);
        p.connection(0);
        p.scratch(0);
      } else {
        // Its number is of this table and this burst only if the table was asked before in it, perhaps about others.
        p.connection(tracker::known_word(*table, p, options.zone, again));
        slots[i].found.kind = tuple_kind::none;
        slots[i].home = {};
        if (p.connection() == 0) tracker::read(*table, p, options.zone, slots[i]);
      }
    }
    std::uint32_t missing = 0;
    for (std::size_t i = 0; i < n; ++i) {
      tracker::search(*table, slots[i]);
      if (slots[i].place == tracker::none && tracker::has_tuple(slots[i]))
        tracker::prefetch_new(*table, slots[i], missing++);
    }
    const std::uint32_t went = tracker::went(*table);
    for (std::size_t i = 0; i < n; ++i) {
      packet& p = b[from + i];
      if (p.connection() != 0) continue;
      // A packet before this one may have begun or ended its connection.
      if (slots[i].place == tracker::none ? !tracker::is_still_missing(*table, slots[i])
                                          : tracker::went(*table) != went)
        tracker::search(*table, slots[i]);
      connection_word word;
      b.verdict_on(from + i) = tracker::judge(*table, p, slots[i], now, word);
      p.connection(word.value);
    }
  }
};

struct confirm_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool resizes = false;
  static constexpr const char* name = "confirm";

  constexpr explicit confirm_stage(connection_table& t) noexcept : table(&t) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c) const noexcept {
    const connection_word word{p.connection()};
    if (word.state() != connection_state::new_ && word.state() != connection_state::related &&
        !tracker::has_undecided(*table)) [[likely]]
      return pass;
    if (tracker::is_settled(*table, word)) return pass;
    return tracker::confirm(*table, p, c.connections == tracker::records(*table), c.now);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  connection_table* table;
};

struct notrack_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool resizes = false;
  static constexpr const char* name = "notrack";
  RUNNEL_INLINE verdict operator()(packet& p, context&) noexcept {
    if (later_fragment::is_word(p.connection())) p.connection(0), p.scratch(0);  // its ports are for `track`
    // One that is invalid has none either, and is so no longer, as in the kernel.
    if (!connection_word{p.connection()}.has_connection())
      p.connection(connection_word::of(connection_state::untracked).value);
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }
};

}  // namespace detail

/// Finds or makes the connection of each packet, and has its protocol look at the packet; see the beginning of this
/// file. Behind it `ct::` fields have values, and handlers may ask for `connection&`, which run for the packets that
/// have one. Packets are dropped for one reason only: the table has no room for a new connection
/// (drop_reason::connections_full). Refers to the table, which must outlive the pipeline; several paths may share one.
[[nodiscard]] constexpr detail::track_stage track(connection_table& connections, track_options options = {}) noexcept {
  return {connections, options};
}
/// Confirms the connections that began with the packets which come here. Drops a packet whose connection would answer
/// to the same packets as another one (drop_reason::connection_clash), and one that follows a packet of the same burst
/// which began their connection and did not come here before it (drop_reason::connection_undone).
[[nodiscard]] constexpr detail::confirm_stage confirm(connection_table& connections) noexcept {
  return detail::confirm_stage{connections};
}
/// Packets that come here are left alone by `track()` behind it: their state is `untracked`. Where one stands before,
/// packets that have a connection keep it.
[[nodiscard]] constexpr detail::notrack_stage notrack() noexcept { return {}; }

/// Lets the connections of a table expire: `run(clock, attach(lan, path), attach(connections))`. At most 256 in a
/// round. Refers to the table, which must outlive it.
[[nodiscard]] constexpr auto attach(connection_table& connections) noexcept {
  return timed_attachment<connection_table>{connections};
}

/// A table in memory of its own, of a size known at compile time: for microcontrollers, and for static storage.
template <connection_config Config>
class static_connection_table {
 public:
  /// An empty table; `seed` from a random source.
  explicit static_connection_table(std::uint64_t seed = Config.seed, const tracking_options& options = {}) noexcept
      : table_({memory_, sizeof memory_}, seeded(seed), options) {}
  /// The table. @{
  constexpr operator connection_table&() & noexcept { return table_; }
  [[nodiscard]] constexpr connection_table& get() noexcept { return table_; }
  [[nodiscard]] constexpr connection_table* operator->() noexcept { return &table_; }
  /// @}

 private:
  static constexpr connection_config seeded(std::uint64_t seed) noexcept {
    connection_config c = Config;
    c.seed = seed;
    return c;
  }
  static_assert(Config.connections >= 1 && Config.connections < (1u << 28) - 1 && Config.unconfirmed >= 1,
                "runnel: a connection table has room for 1 to 2^28 - 2 connections, and for an unconfirmed one");
  alignas(connection_table::alignment) std::byte memory_[connection_table::bytes_needed(Config)];
  connection_table table_;
};

}  // namespace runnel

#endif
