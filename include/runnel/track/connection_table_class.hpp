// SPDX-License-Identifier: MIT
// The connection table: IPv4 and IPv6 connections in memory that the user gives, found from both directions, which
// expire by themselves. Include connection_table.hpp, which has the longer members.
//
// Theory of operation. Four arrays, and one for IPv6:
//
//     index     lines of three places, 27 for 32 connections: key -> number            54 bytes a connection
//     records   two lines each: counters, deadline; TCP windows                       128 bytes
//     wheel     chunks of 14 numbers by the time when somebody has to look at them      4.6 bytes
//     free      numbers that were given back                                            4 bytes
//     tuples    of IPv6 connections: both, 80 bytes each, for the index has a digest only
//
// A packet's tuple leads to a place in the index, mostly by one cache line, and that to the record. A connection that
// is not translated has one place for both directions, so that most places stay free; translated, it has two.
// An IPv4 tuple is nowhere but in the index. A refreshed connection only gets another deadline; the wheel looks at it
// when the old one has come. A connection whose deadline has passed is gone for every packet, whether or not the wheel
// was there already.
//
// A connection is made by the first packet that `track()` sees, and is *unconfirmed* until `confirm()` says that this
// packet got through. When it did not, the connection goes as soon as another packet of it comes, its room is wanted,
// or it would expire. What follows it in the same burst is tracked as if it had got through, and `confirm()` drops it
// when it has not.
//
// A number is not given again while packets of the burst have it: a connection that they belong to is not given up for
// another, and if it ends, its number is held until the next burst. Beyond its burst a packet's number means nothing.
//
// When all records are taken, a new connection takes the place of an unconfirmed one, or of one that is not `assured`
// in the eight lines of the index that it might lie in itself (the kernel's early_drop), or else of a TCP connection
// there that is closing (its gc_worker_can_early_drop). Assured ones that are not closing are never given up.
#ifndef RUNNEL_TRACK_CONNECTION_TABLE_CLASS_HPP
#define RUNNEL_TRACK_CONNECTION_TABLE_CLASS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t, uintptr_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/track/connection.hpp>
#include <runnel/track/connection_index.hpp>
#include <runnel/track/connection_tuple.hpp>
#include <runnel/track/deadline_wheel.hpp>
#include <runnel/track/expectation.hpp>
#include <runnel/track/tcp_tracker.hpp>
#include <runnel/track/tracking_options.hpp>

namespace runnel {

/// The tracked connections of one thread. Never grows, never allocates. All times that it is given come from one clock,
/// which does not go back; they begin at any instant from 0 on.
///
/// Costs 191 bytes for each connection, in tables of less than a thousand 250, for the wheel may need a chunk for each;
/// 80 more for each that may be IPv6, 4 for each that may be unconfirmed, and 104 for each expectation.
class connection_table {
 public:
  /// Gets told what happens to connections; may look at them and change marks, `table[table.number_of(c)].mark(v)`, and
  /// must neither make nor end any.
  using event_function = void (*)(void* context, connection_event what, const connection& c);
  /// How memory must be aligned, at least; 128 is better where processors fetch two cache lines at once.
  static constexpr std::size_t alignment = 64;
  /// The number of no connection.
  static constexpr std::uint32_t none = 0xffff'ffff;

  /// How much memory a table needs, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const connection_config& c) noexcept {
    return (expectations_begin(c) + byte_count::of<detail::expectation>(c.expectations)).value();
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned and have `bytes_needed(c)`
  /// bytes, for at least one connection and at most 2^28 - 2 (asserted). Sets to zero where the index lies; the
  /// rest is first touched when it is first used.
  connection_table(mutable_bytes memory, const connection_config& c, const tracking_options& options = {}) noexcept
      : index_(object_at<detail::index_line>(memory, 0), lines_for(c), c.seed),
        wheel_(object_at<detail::wheel_chunk>(memory, chunks_begin(c).value())),
        records_(object_at<connection>(memory, records_begin(c).value())),
        tuples_(object_at<tuple_pair>(memory, tuples_begin(c).value())),
        free_(object_at<std::uint32_t>(memory, free_begin(c).value())),
        ring_(free_ + c.connections),
        expectations_(object_at<detail::expectation>(memory, expectations_begin(c).value()), c.expectations, c.seed),
        capacity_(c.connections),
        ipv6_capacity_(ipv6_of(c)),
        ring_size_(c.unconfirmed) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(c) && c.connections >= 1 && c.connections < (1u << 28) - 1);
    RUNNEL_ASSERT(c.unconfirmed >= 1 && reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    for (std::uint32_t i = 0; i < ring_size_; ++i) ring_[i] = none;
    this->options(options);
  }
  connection_table(const connection_table&) = delete;
  connection_table& operator=(const connection_table&) = delete;

  // ---- connections

  /// Which connection packets with this tuple belong to, and which way they go: the state is `none`, what they are to
  /// it is not said. Nothing is changed; a connection whose time has run out is not found.
  [[nodiscard]] connection_word find(const connection_tuple& t, instant now) const noexcept {
    const detail::tuple_key k = t.key(index_.seed());
    return word_of(find_place(k, index_.home(k), t), k.turned, detail::ticks_at(now));
  }
  /// The same for `n` tuples at once, which lets memory work on all of them: `words[i]` for `tuples[i]`.
  void find(const connection_tuple* tuples, std::size_t n, connection_word* words, instant now) const noexcept;
  /// The same without a look at the connections: also those are found whose time has run out. One cache line for each.
  void find_numbers(const connection_tuple* tuples, std::size_t n, connection_word* words) const noexcept;
  /// The connection with a number below `capacity()`; it may be free: see `is_alive`.
  [[nodiscard]] connection& operator[](std::uint32_t number) noexcept { return records_[number]; }
  /// The same to read.
  [[nodiscard]] const connection& operator[](std::uint32_t number) const noexcept { return records_[number]; }
  /// The number of a connection of this table.
  [[nodiscard]] std::uint32_t number_of(const connection& c) const noexcept {
    return static_cast<std::uint32_t>(&c - records_);
  }
  /// The tuple of its packets in the original direction, as they come; of its replies, as they come. @{
  [[nodiscard]] connection_tuple original(const connection& c) const noexcept { return tuple_of(c, false); }
  [[nodiscard]] connection_tuple reply(const connection& c) const noexcept { return tuple_of(c, true); }
  /// @}
  /// The tuple of its packets that go one way when they leave, translated: that of the other way turned round.
  [[nodiscard]] RUNNEL_INLINE connection_tuple leaving(const connection& c, connection_direction d) const noexcept {
    return tuple_of(c, d == connection_direction::original, true);
  }
  /// How long it lives without another packet; negative when its time has run out.
  [[nodiscard]] duration remaining(const connection& c, instant now) const noexcept {
    const std::int64_t ticks =
        static_cast<std::int32_t>(c.deadline_ - static_cast<std::uint32_t>(detail::ticks_at(now)));
    return {ticks * (std::int64_t{1} << detail::tick_shift)};
  }

  /// Makes an unconfirmed connection of the packets with this tuple, which belong to none yet. `none` when there is no
  /// room for it: counted.
  [[nodiscard]] std::uint32_t insert(const connection_tuple& t, instant now) noexcept {
    const detail::tuple_key k = t.key(index_.seed());
    const detail::index_home home = index_.home(k);
    const std::uint64_t ticks = detail::ticks_at(now);
    const bool there = find_living(k, home, t, ticks) != detail::connection_index::none;
    RUNNEL_ASSERT(!there);  // these packets have a connection
    return there ? none : insert_ticks(t, k, home, ticks);
  }
  /// Which connections packets with these `n` tuples belong to, as `find` says, and makes those that they begin, as
  /// `insert` does: their state is `new_`. No connection: there was no room. Lets memory work on all of them at once.
  /// As one after the other: in a full table, one that was found may have gone, and its number be that of another.
  void find_or_insert(const connection_tuple* tuples, std::size_t n, connection_word* words, instant now) noexcept;
  /// Asks for the memory that `find` or `insert` will want for this tuple a little later.
  void prefetch(const connection_tuple& t) const noexcept {
    const detail::tuple_key k = t.key(index_.seed());
    index_.prefetch(index_.home(k).line());
  }
  /// Says that its first packet got through. False, and it is gone, when another connection has its reply tuple.
  /// Nothing happens to one that is confirmed.
  [[nodiscard]] bool confirm(connection& c, instant now) noexcept;
  /// Says what its replies look like: for NAT, before it is confirmed. False, and nothing changed, when these packets
  /// belong to another connection.
  [[nodiscard]] bool set_reply(connection& c, const connection_tuple& t) noexcept;
  /// Makes it live for `d` from now on, at least.
  void refresh(connection& c, duration d, instant now) noexcept {
    refresh_ticks(c, detail::ticks_in(d), detail::ticks_at(now));
  }
  /// Announces a connection, as a helper does that has read of it: the next one that goes from the source address of
  /// `t` to its destination address and port, with its protocol and zone, is `related` to `master`, and gets its mark.
  /// With `any_source` it may come from everywhere. Holds for `d`, as long as `master` is there; where there is no
  /// room, an older one goes. A `master` that is not confirmed yet has to be at the same `now`: what did not get
  /// through announces nothing.
  void expect(const connection& master, const connection_tuple& t, bool any_source, duration d, instant now) noexcept {
    const auto ticks = static_cast<std::uint32_t>(detail::ticks_at(now));
    expect_ticks({.tuple = t, .any_source = any_source}, master, detail::ticks_in(d), ticks);
  }
  /// The same, in the place of what `master` announced so before and nobody has met: for protocols in which one at a
  /// time is waited for, as in FTP. A helper that lets others announce as many as they like has them fill the table.
  void expect_only(const connection& master, const connection_tuple& t, bool any_source, duration d,
                   instant now) noexcept {
    const auto ticks = static_cast<std::uint32_t>(detail::ticks_at(now));
    expect_ticks({.tuple = t, .any_source = any_source, .only = true}, master, detail::ticks_in(d), ticks);
  }
  /// How many announced connections are waited for, those included whose time is over or whose master is gone.
  [[nodiscard]] std::uint32_t expected() const noexcept { return expectations_.size(); }
  /// Sets bits of its status.
  void add_status(connection& c, std::uint16_t bits) noexcept;
  /// Ends a connection now.
  void erase(connection& c) noexcept;
  /// Ends all connections, without a word to those who asked for events.
  void clear() noexcept;
  /// Ends those whose time has run out by `now`, having looked at `limit` of them at most, and says how many it looked
  /// at.
  std::size_t expire(instant now, std::size_t limit = 4096) noexcept;
  /// The time before which `expire` has nothing to do; `never` when there are no connections.
  [[nodiscard]] instant next_due() noexcept;
  /// Calls `f(connection&)` for each that is confirmed, in the order of their numbers. It may erase that one.
  template <class F>
  void for_each(F f) {
    for (std::uint32_t i = 0; i < fresh_; ++i)
      if (records_[i].has_status(connection_status::confirmed)) f(records_[i]);
  }

  // ---- the table

  /// How many connections there are, unconfirmed ones included.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// How many there can be.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  /// What was counted.
  [[nodiscard]] connection_statistics& statistics() noexcept { return statistics_; }
  /// How packets are judged. @{
  [[nodiscard]] const tracking_options& options() const noexcept { return options_; }
  void options(const tracking_options& o) noexcept;
  /// @}
  /// Has `f(context, what, connection)` called at each event; null for nobody.
  void on_event(event_function f, void* context = nullptr) noexcept {
    event_ = f;
    event_context_ = context;
  }
  /// Whether everything in it fits together: for tests. O(capacity).
  [[nodiscard]] bool check() const noexcept;

 private:
  friend class flowtable;
  friend struct detail::fast_follow;
  friend struct detail::fast_tracker;
  friend struct detail::tracker;
  friend struct detail::transfer;
  friend struct detail::translated;
  struct tuple_pair {
    connection_tuple way[2];  // of a free pair, the first has the number of the next one for its addresses
  };

  // What lies so far behind the beginning, which is where it is aligned.
  template <class T>
  [[nodiscard]] static T* object_at(mutable_bytes memory, std::size_t offset) noexcept {
    return static_cast<T*>(static_cast<void*>(memory.data() + offset));
  }
  [[nodiscard]] static constexpr std::uint32_t ipv6_of(const connection_config& c) noexcept {
    return c.ipv6_connections < c.connections ? c.ipv6_connections : c.connections;
  }
  // 81 places for 32 connections, which have two each at most: a fifth stays free.
  [[nodiscard]] static constexpr std::uint32_t lines_for(const connection_config& c) noexcept {
    return (c.connections - static_cast<std::uint32_t>(std::uint64_t{c.connections} * 5 / 32) + 1) / 2 * 2;
  }
  [[nodiscard]] static constexpr byte_count records_begin(const connection_config& c) noexcept {
    return byte_count::of<detail::index_line>(lines_for(c));
  }
  [[nodiscard]] static constexpr byte_count chunks_begin(const connection_config& c) noexcept {
    return records_begin(c) + byte_count::of<connection>(c.connections);
  }
  [[nodiscard]] static constexpr byte_count free_begin(const connection_config& c) noexcept {
    return chunks_begin(c) + byte_count::of<detail::wheel_chunk>(detail::deadline_wheel::chunks_for(c.connections));
  }
  [[nodiscard]] static constexpr byte_count tuples_begin(const connection_config& c) noexcept {
    return free_begin(c) +
           byte_count::of<std::uint32_t>(std::uint64_t{c.connections} + c.unconfirmed).aligned(alignment);
  }

  [[nodiscard]] static constexpr byte_count expectations_begin(const connection_config& c) noexcept {
    return tuples_begin(c) + byte_count::of<tuple_pair>(ipv6_of(c));
  }

  [[nodiscard]] bool is_confirmed(const connection& c) const noexcept {
    return (c.bits() & connection_status::confirmed) != 0;
  }
  [[nodiscard]] bool is_over(const connection& c, std::uint64_t now) const noexcept {
    return static_cast<std::int32_t>(c.deadline_ - static_cast<std::uint32_t>(now)) <= 0;
  }
  // Begun by a packet of an earlier burst, which did not get through.
  [[nodiscard]] bool is_abandoned(const connection& c) const noexcept {
    return !is_confirmed(c) && c.created_ != burst_;
  }
  // What packets do not meet any more, though it is still there.
  [[nodiscard]] bool is_gone(const connection& c, std::uint64_t now) const noexcept {
    return is_over(c, now) || is_abandoned(c);
  }
  [[gnu::noinline]] void erase_gone(connection& c) noexcept {
    if (is_confirmed(c)) ++statistics_.expired;
    erase(c);
  }
  // The place of packets with this tuple, or `none`.
  [[nodiscard]] RUNNEL_INLINE std::uint32_t find_place(const detail::tuple_key& k, detail::index_home home,
                                                       const connection_tuple& t) const noexcept {
    if (!t.is_ipv6()) [[likely]]
      return index_.find(k, home, [](std::uint32_t) { return true; });
    return find_place6(k, home, t);
  }
  [[nodiscard, gnu::noinline]] std::uint32_t find_place6(const detail::tuple_key& k, detail::index_home home,
                                                         const connection_tuple& t) const noexcept {
    return index_.find(k, home, [&](std::uint32_t n) {
      const connection& c = records_[n];
      if ((c.bits() & connection::is_ipv6) == 0) return false;
      const tuple_pair& both = tuples_[c.tuples6_];
      return both.way[0] == t || both.way[1] == t;
    });
  }
  // The same, but one whose time has run out, or that was abandoned, makes room, and is not found.
  [[nodiscard]] std::uint32_t find_living(const detail::tuple_key& k, detail::index_home home,
                                          const connection_tuple& t, std::uint64_t now) noexcept {
    const std::uint32_t place = find_place(k, home, t);
    if (place == detail::connection_index::none) return place;
    connection& c = records_[index_.at(place).number()];
    if (!is_gone(c, now)) return place;
    erase_gone(c);
    return detail::connection_index::none;
  }
  struct sought {
    detail::tuple_key key;
    detail::index_home home;
    std::uint32_t place;
  };
  static constexpr std::size_t at_once = 32;
  void find_or_insert_some(const connection_tuple* tuples, std::size_t n, connection_word* words,
                           std::uint64_t ticks) noexcept;
  template <std::size_t Behind, class Found, class Done>
  void each_sought(const connection_tuple* tuples, std::size_t n, Found found, Done done) const noexcept;
  [[nodiscard]] connection_word word_of(std::uint32_t place, unsigned turned, std::uint64_t now) const noexcept {
    if (place == detail::connection_index::none) return {};
    const detail::place_reference r = index_.at(place);
    if (is_over(records_[r.number()], now)) return {};
    return {(r.value & ~15u) | r.direction(turned) << 3};
  }
  // Of one way, as its packets come, or turned round.
  [[nodiscard]] RUNNEL_INLINE connection_tuple tuple_of(const connection& c, bool reply,
                                                        bool turned_round = false) const noexcept {
    RUNNEL_ASSERT(c.is_alive());
    if ((c.bits() & connection::is_ipv6) != 0) [[unlikely]] {
      const connection_tuple& t = tuples_[c.tuples6_].way[reply ? 1 : 0];
      return turned_round ? t.inverted() : t;
    }
    return index_.tuple4_at(reply ? c.reply_ : c.original_, turned_round != (reply && c.reply_ == c.original_));
  }
  // One end of what `leaving` says, of an IPv4 connection with TCP or UDP.
  [[nodiscard]] RUNNEL_INLINE detail::tuple_end leaving4(const connection& c, connection_direction d,
                                                         bool source) const noexcept {
    const bool reply = d == connection_direction::original;
    return index_.end4_at(reply ? c.reply_ : c.original_, !(reply && c.reply_ == c.original_), source);
  }
  [[nodiscard]] auto timer_of() noexcept {
    return [this](std::uint32_t n) -> std::uint32_t& { return records_[n].timer_; };
  }
  void refresh_ticks(connection& c, std::uint32_t ticks, std::uint64_t now) noexcept {
    const std::uint32_t before = c.deadline_;
    c.deadline_ = static_cast<std::uint32_t>(now) + ticks;
    // The wheel will be there in time, unless the deadline has come nearer.
    if (static_cast<std::int32_t>(c.deadline_ - before) >= 0 || !is_confirmed(c)) [[likely]]
      return;
    if (!wheel_.in_time(c.timer_, now + ticks)) wheel_.move(number_of(c), now + ticks, timer_of());
  }
  void tell(connection_event what, const connection& c) const noexcept {
    if (event_ != nullptr) event_(event_context_, what, c);
  }
  [[nodiscard]] bool drop_early(detail::index_home home, bool wants_ipv6, std::uint64_t now) noexcept;
  // No place means packets with this tuple.
  [[nodiscard]] std::uint32_t insert_ticks(const connection_tuple& t, const detail::tuple_key& k,
                                           detail::index_home home, std::uint64_t ticks) noexcept;
  // The same where nothing has to make room, and the first line says that no place has the key: else `none`. Most are.
  [[nodiscard]] std::uint32_t insert_easily(const connection_tuple& t, const detail::tuple_key& k,
                                            detail::index_home home, std::uint64_t ticks) noexcept;
  [[nodiscard]] bool is_crowded() const noexcept {
    return (available_ == 0 && fresh_ == capacity_) || ring_[ring_next_] != none;
  }
  [[nodiscard]] std::uint32_t take_number() noexcept {
    if (available_ == 0) return fresh_++;
    const std::uint32_t n = free_[--available_];
    free_[available_] = free_[--free_count_];
    return n;
  }
  [[nodiscard]] connection& make_record(std::uint32_t n, const connection_tuple& t, std::uint16_t family,
                                        std::uint64_t ticks) noexcept;
  [[nodiscard]] bool is_alone(const connection_tuple& t, const detail::tuple_key& k, detail::index_home home,
                              std::uint64_t ticks) noexcept;
  [[nodiscard]] bool make_room(detail::index_home home, bool is_ipv6, std::uint64_t ticks) noexcept;
  void expect_ticks(detail::expectation e, const connection& master, std::uint32_t d, std::uint32_t now) noexcept {
    // One that is not confirmed yet will be in this tick, or it was not it.
    e.master = number_of(master), e.master_born = is_confirmed(master) ? master.created_ : now, e.deadline = now + d;
    expectations_.insert(e, now);
  }
  // What was announced is waited for no longer than who announced it is there.
  [[nodiscard]] auto whose_master_lives() const noexcept {
    return [this](const detail::expectation& e) {
      const connection& master = records_[e.master];
      return is_confirmed(master) && master.created_ == e.master_born;
    };
  }
  // A connection that has just begun, when it was announced.
  [[gnu::noinline]] void meet_expectation(connection& c, const connection_tuple& t, std::uint64_t now) noexcept {
    detail::expectation met;
    if (!expectations_.take(t, static_cast<std::uint32_t>(now), met, whose_master_lives())) return;
    c.bits() |= connection_status::expected;
    c.mark(records_[met.master].mark());
    if (met.translated) follow_master(c, t, met.reply);
  }
  // What was announced is translated as who announced it has to see it (the kernel's nf_nat_follow_master()).
  void follow_master(connection& c, const connection_tuple& t, connection_tuple reply) noexcept {
    using namespace connection_status;
    reply = reply.with_ports(reply.source_port(), t.source_port());
    if (!set_reply(c, reply)) return;
    const connection_tuple looks = reply.inverted();
    const bool same = looks.source6() == t.source6();
    c.bits() |= static_cast<std::uint16_t>(dst_nat | dst_nat_done | src_nat_done | (same ? 0 : src_nat));
  }
  [[nodiscard]] bool is_held(const connection& c) const noexcept {
    return c.touched_ == static_cast<std::uint16_t>(burst_);
  }
  void begin_burst() noexcept {
    if (ended_count_ != 0) [[unlikely]]
      erase_ended();
    ++burst_;
    available_ = free_count_;
  }
  // Over for all but the packet that ended it: what stands behind asks for its mark, and translates the packet. It goes
  // before the next burst; where more end in one, as one whose time is over.
  void end(connection& c, std::uint64_t now) noexcept {
    if (is_confirmed(c)) c.bits() |= connection_status::dying;
    refresh_ticks(c, 0, now);
    now_ = now;
    if (ended_count_ < at_once) ended_[ended_count_++] = number_of(c);
  }
  // Asks for the record of the connection that will be made after `ahead` others, and for where its key may have to go.
  // Which record that is.
  RUNNEL_INLINE const connection* prefetch_new(detail::index_home home, std::uint32_t ahead) const noexcept {
    const connection* const c =
        records_ + (ahead < available_ ? free_[available_ - 1 - ahead] : fresh_ + ahead - available_);
    prefetch_to_write(c);
    if (index_.is_full(home)) [[unlikely]]
      index_.prefetch_second(home);
    return c;
  }
  // Asks for the place of its replies, should its source become what that of the last one became.
  void prefetch_reply(const connection_tuple& t) const noexcept {
    // The key is the same both ways.
    const std::uint64_t leaving = std::uint64_t{replies_to_.value()} << 32 | t.destination4().value();
    const detail::index_home home = index_.home(detail::key_of(leaving, t.rest()));
    index_.prefetch(home.line());
    index_.prefetch_second(home);
  }
  // The number of the oldest unconfirmed connection, or `none`.
  [[nodiscard]] std::uint32_t oldest_unconfirmed() noexcept {
    if (unconfirmed_ == 0) return none;
    while (ring_[ring_oldest_] == none) ring_oldest_ = after(ring_oldest_);
    return ring_[ring_oldest_];
  }
  [[nodiscard]] std::uint32_t after(std::uint32_t in_ring) const noexcept {
    return in_ring + 1 == ring_size_ ? 0 : in_ring + 1;
  }
  void erase_ended() noexcept;
  void forget(connection& c) noexcept;
  void release(connection& c) noexcept;

  detail::connection_index index_;
  detail::deadline_wheel wheel_;
  connection* records_;
  tuple_pair* tuples_;
  std::uint32_t* free_;  // numbers that were given back: first those that can be given again, the last on top
  std::uint32_t* ring_;  // numbers of unconfirmed connections, from `ring_next_` on the oldest first; else `none`
  detail::expectation_set expectations_;
  std::uint32_t capacity_;
  std::uint32_t ipv6_capacity_;
  std::uint32_t ring_size_;
  std::uint32_t ring_next_ = 0;    // where the next one goes
  std::uint32_t ring_oldest_ = 0;  // from `ring_next_` to here there is none
  std::uint32_t unconfirmed_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t fresh_ = 0;  // records from here on were never used
  std::uint32_t free_count_ = 0;
  std::uint32_t available_ = 0;  // how many of them can be given again; packets of this burst have the others
  std::uint32_t fresh6_ = 0;     // the same for pairs of tuples
  std::uint32_t free6_ = none;
  ipv4_address replies_to_;        // the source that the last connection got whose source was translated
  std::uint64_t now_ = 0;          // in ticks: when something was last inserted, ended or expired
  std::uint32_t burst_ = 0;        // counts the bursts that were tracked
  std::uint32_t undecided_ = 0;    // the last burst in which packets followed one that had not been confirmed yet
  std::uint32_t ended_count_ = 0;  // of `ended_`
  std::uint32_t era_ = 0;          // counts clear() and imports: numbers and times of before mean nothing
  std::uint32_t went_ = 0;         // counts those that ended, or got other replies: what was found before may be wrong
  std::uint32_t ticks_[detail::timeout_count] = {};
  event_function event_ = nullptr;
  void* event_context_ = nullptr;
  void (*unmap_)(void* context, const connection& c) = nullptr;  // of NAT: a connection that has mappings goes
  void* unmap_context_ = nullptr;
  std::uint32_t (*unadjust_)(void* context, const connection& c, unsigned side, std::uint32_t ack) = nullptr;
  connection_statistics statistics_{};
  tracking_options options_{};
  std::uint32_t ended_[at_once] = {};  // numbers of connections that ended in this burst
};

}  // namespace runnel

#endif
