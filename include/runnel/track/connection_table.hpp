// SPDX-License-Identifier: MIT
// The connection table, whose class and theory of operation are in connection_table_class.hpp: how connections come,
// change and go.
#ifndef RUNNEL_TRACK_CONNECTION_TABLE_HPP
#define RUNNEL_TRACK_CONNECTION_TABLE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/prefetch.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/track/connection_table_class.hpp>

namespace runnel {

inline void connection_table::options(const tracking_options& o) noexcept {
  options_ = o;
  const connection_timeouts& t = o.timeouts;
  // In the order of tcp_connection_state, then that of detail::timeout.
  const duration all[] = {t.tcp_syn_sent,
                          t.tcp_syn_sent,
                          t.tcp_syn_recv,
                          t.tcp_established,
                          t.tcp_fin_wait,
                          t.tcp_close_wait,
                          t.tcp_last_ack,
                          t.tcp_time_wait,
                          t.tcp_close,
                          t.tcp_syn_sent,
                          t.tcp_max_retrans,
                          t.tcp_unacknowledged,
                          t.udp,
                          t.udp_stream,
                          t.icmp,
                          t.icmpv6,
                          t.gre,
                          t.gre_stream,
                          t.generic};
  static_assert(sizeof all / sizeof *all == detail::timeout_count);
  for (std::size_t i = 0; i < detail::timeout_count; ++i) ticks_[i] = detail::ticks_in(all[i]);
}

template <std::size_t Behind, class Found, class Done>
RUNNEL_INLINE void connection_table::each_sought(const connection_tuple* tuples, std::size_t n, Found found,
                                                 Done done) const noexcept {
  constexpr std::size_t room = 32, ahead = 16;
  static_assert(ahead + Behind < room);
  sought all[room];
  for (std::size_t i = 0; i < n + ahead + Behind; ++i) {
    if (i < n) {
      sought& s = all[i % room];
      tuples[i].key(index_.seed(), s.key);
      s.home = index_.home(s.key);
      index_.prefetch(s.home.line());
    }
    if (const std::size_t j = i - ahead; j < n) {
      sought& s = all[j % room];
      s.place = find_place(s.key, s.home, tuples[j]);
      found(s);
    }
    if (const std::size_t j = i - ahead - Behind; j < n) done(j, all[j % room]);
  }
}

inline void connection_table::find_numbers(const connection_tuple* tuples, std::size_t n,
                                           connection_word* words) const noexcept {
  each_sought<0>(
      tuples, n, [](const sought&) {},
      [&](std::size_t i, const sought& s) {
        const detail::place_reference r =
            s.place == detail::connection_index::none ? detail::place_reference{} : index_.at(s.place);
        words[i] = {r.value == 0 ? 0 : (r.value & ~15u) | r.direction(s.key.turned) << 3};
      });
}

inline void connection_table::find(const connection_tuple* tuples, std::size_t n, connection_word* words,
                                   instant now) const noexcept {
  const std::uint64_t ticks = detail::ticks_at(now);
  each_sought<8>(
      tuples, n,
      [&](const sought& s) {
        if (s.place != detail::connection_index::none) prefetch_to_read(records_ + index_.at(s.place).number());
      },
      [&](std::size_t i, const sought& s) { words[i] = word_of(s.place, s.key.turned, ticks); });
}

inline void connection_table::find_or_insert(const connection_tuple* tuples, std::size_t n, connection_word* words,
                                             instant now) noexcept {
  const std::uint64_t ticks = detail::ticks_at(now);
  for (std::size_t from = 0; from < n; from += at_once)
    find_or_insert_some(tuples + from, n - from < at_once ? n - from : at_once, words + from, ticks);
}

// Three rounds: what the first asks for has come when the second needs it, and so on.
inline void connection_table::find_or_insert_some(const connection_tuple* tuples, std::size_t n, connection_word* words,
                                                  std::uint64_t ticks) noexcept {
  sought all[at_once];
  for (std::size_t i = 0; i < n; ++i) {
    sought& s = all[i];
    tuples[i].key(index_.seed(), s.key);
    s.home = index_.home(s.key);
    index_.prefetch(s.home.line());
  }
  std::uint32_t missing = 0;
  for (std::size_t i = 0; i < n; ++i) {
    sought& s = all[i];
    s.place = find_place(s.key, s.home, tuples[i]);
    if (s.place != none) prefetch_to_write(records_ + index_.at(s.place).number());
    else prefetch_new(s.home, missing++);
  }
  const std::uint32_t went = went_;
  for (std::size_t i = 0; i < n; ++i) {
    const sought& s = all[i];
    std::uint32_t made = s.place == none ? insert_easily(tuples[i], s.key, s.home, ticks) : none;
    if (made == none) [[unlikely]] {
      // One before this one may have begun or ended its connection.
      const std::uint32_t place = s.place == none || went_ != went ? find_place(s.key, s.home, tuples[i]) : s.place;
      if (place != none) {
        connection& c = records_[index_.at(place).number()];
        if (!is_gone(c, ticks)) [[likely]] {
          words[i] = word_of(place, s.key.turned, ticks);
          continue;
        }
        erase_gone(c);
      }
      made = insert_ticks(tuples[i], s.key, s.home, ticks);
    }
    words[i] = made == none ? connection_word{}
                            : connection_word::of(connection_state::new_, connection_direction::original, made);
  }
}

// Whether no connection that lives has the tuple of the replies to `t`.
[[gnu::noinline]] inline bool connection_table::is_alone(const connection_tuple& t, const detail::tuple_key& k,
                                                         detail::index_home home, std::uint64_t ticks) noexcept {
  return index_.is_absent(k, home) ||
         find_living({k.a, k.b, k.turned ^ 1u}, home, t.inverted(), ticks) == detail::connection_index::none;
}

// Takes its record, and its place among the unconfirmed ones; `family`: `connection::is_ipv6`, or 0.
RUNNEL_INLINE connection& connection_table::make_record(std::uint32_t n, const connection_tuple& t,
                                                        std::uint16_t family, std::uint64_t ticks) noexcept {
  connection& c = *::new (static_cast<void*>(&records_[n])) connection;
  c.bits() = static_cast<std::uint16_t>(connection::alive | family);
  c.connection_facts::zone = t.zone();
  c.protocol_ = t.protocol_number();
  c.created_ = burst_;
  c.touched_ = static_cast<std::uint16_t>(burst_ - 1);
  c.tcp_state_ = 0;
  c.packets_[0] = c.packets_[1] = c.octets_[0] = c.octets_[1] = 0;
  c.deadline_ = static_cast<std::uint32_t>(ticks) + ticks_[0];
  const std::uint32_t at = ring_next_, next = after(at);
  ring_[at] = n;
  c.timer_ = at;
  if (ring_oldest_ == at) ring_oldest_ = next;
  ring_next_ = next;
  ++unconfirmed_;
  ++size_;
  now_ = ticks;
  return c;
}

RUNNEL_INLINE std::uint32_t connection_table::insert_easily(const connection_tuple& t, const detail::tuple_key& k,
                                                            detail::index_home home, std::uint64_t ticks) noexcept {
  const std::uint32_t room = index_.room_at(home);
  if (room == 0 || t.is_ipv6() || is_crowded()) [[unlikely]]
    return none;
  const std::uint32_t n = take_number();
  connection& c = make_record(n, t, 0, ticks);
  const auto to = detail::place_reference::to(n, k.turned, false, detail::place_reference::both_ways);
  c.original_ = c.reply_ = index_.insert_at(room, k, home, to);
  if (replies_to_.value() != 0) prefetch_reply(t);
  return n;
}

[[gnu::noinline]] inline std::uint32_t connection_table::insert_ticks(const connection_tuple& t,
                                                                      const detail::tuple_key& k,
                                                                      detail::index_home home,
                                                                      std::uint64_t ticks) noexcept {
  const bool is_ipv6 = t.is_ipv6();
  if ((is_crowded() || is_ipv6) && !make_room(home, is_ipv6, ticks)) {
    ++statistics_.drop;
    return none;
  }
  const std::uint32_t n = take_number();
  connection& c = make_record(n, t, is_ipv6 ? connection::is_ipv6 : std::uint16_t{0}, ticks);
  if (is_ipv6) {
    std::uint32_t pair = free6_;
    if (pair != none) free6_ = static_cast<std::uint32_t>(tuples_[pair].way[0].addresses4());
    else pair = fresh6_++;
    ::new (static_cast<void*>(&tuples_[pair])) tuple_pair{{t, t.inverted()}};
    c.tuples6_ = pair;
  }
  // Another connection may have the tuple of our replies: then ours is found by its own direction only.
  const bool alone = index_.room_at(home) != 0 || is_alone(t, k, home, ticks);
  const std::uint32_t ways = alone ? detail::place_reference::both_ways : 1u << k.turned;
  c.original_ = c.reply_ = index_.insert(k, home, detail::place_reference::to(n, k.turned, false, ways));
  if (!alone) c.bits() |= connection::one_way;
  if (replies_to_.value() != 0 && !is_ipv6) prefetch_reply(t);
  return n;
}

inline bool connection_table::confirm(connection& c, instant now) noexcept {
  if (is_confirmed(c)) [[likely]]
    return true;
  if ((c.bits() & connection::one_way) != 0 && !set_reply(c, tuple_of(c, false).inverted())) {
    ++statistics_.insert_failed;
    forget(c);
    return false;
  }
  ring_[c.timer_] = none;
  --unconfirmed_;
  const std::uint64_t ticks = detail::ticks_at(now);
  c.created_ = static_cast<std::uint32_t>(ticks);
  c.bits() |= connection_status::confirmed;
  const std::uint64_t left = c.deadline_ - static_cast<std::uint32_t>(ticks);
  wheel_.insert(number_of(c), ticks, ticks + (left < 0x8000'0000u ? left : 0),
                [&c](std::uint32_t) -> std::uint32_t& { return c.timer_; });
  ++statistics_.insert;
  tell(connection_event::created, c);
  return true;
}

inline bool connection_table::set_reply(connection& c, const connection_tuple& t) noexcept {
  RUNNEL_ASSERT(c.is_alive() && t.is_ipv6() == ((c.bits() & connection::is_ipv6) != 0));
  const detail::tuple_key k = t.key(index_.seed());
  const detail::index_home home = index_.home(k);
  if (const std::uint32_t found = find_place(k, home, t); found != detail::connection_index::none) {
    connection& other = records_[index_.at(found).number()];
    if (&other != &c) {
      if (!is_gone(other, now_)) return false;
      erase_gone(other);
    }
  }
  if (c.reply_ != c.original_) index_.erase(c.reply_);
  c.bits() &= static_cast<std::uint16_t>(~unsigned{connection::one_way});
  detail::place_reference& first = index_.at(c.original_);
  // Both directions have one key; so have a connection and its replies that a host sends to itself by way of here.
  const bool same = index_.has_key(c.original_, k) && t == tuple_of(c, false).inverted();
  if (same) {
    first.value |= detail::place_reference::both_ways;
    c.reply_ = c.original_;
  } else {
    if (!t.is_ipv6() && t.destination4().value() != index_.end4_at(c.original_, false, true).address)
      replies_to_ = t.destination4();
    first.value = (first.value & ~detail::place_reference::both_ways) | 1u << first.turned();
    c.reply_ = index_.insert(k, home, detail::place_reference::to(first.number(), k.turned, true, 1u << k.turned));
  }
  if (t.is_ipv6()) [[unlikely]]
    tuples_[c.tuples6_].way[1] = t;
  ++went_;
  return true;
}

inline void connection_table::add_status(connection& c, std::uint16_t bits) noexcept {
  if ((c.bits() & bits) == bits) return;
  c.bits() |= bits;
  if (is_confirmed(c)) tell(connection_event::updated, c);
}

inline void connection_table::erase(connection& c) noexcept {
  RUNNEL_ASSERT(c.is_alive());
  if (is_confirmed(c)) {
    c.bits() |= connection_status::dying;
    tell(connection_event::destroyed, c);
  }
  forget(c);
}

[[gnu::noinline]] inline void connection_table::erase_ended() noexcept {
  while (ended_count_ != 0) {
    // It may have gone since, for another one even.
    connection& c = records_[ended_[--ended_count_]];
    if (c.is_alive() && is_over(c, now_)) erase(c);
  }
}

// Takes it out of everything.
inline void connection_table::forget(connection& c) noexcept {
  if (is_confirmed(c)) {
    wheel_.erase(number_of(c), timer_of());
  } else {
    ring_[c.timer_] = none;
    --unconfirmed_;
    ++statistics_.unconfirmed;
  }
  release(c);
}

// Takes it out of the index, and gives its number back.
inline void connection_table::release(connection& c) noexcept {
  const std::uint32_t n = number_of(c);
  if ((c.bits() & (connection::has_mapping | connection_status::seq_adjust)) != 0 && unmap_ != nullptr) [[unlikely]]
    unmap_(unmap_context_, c);
  if (c.reply_ != c.original_) index_.erase(c.reply_);
  index_.erase(c.original_);
  if ((c.bits() & connection::is_ipv6) != 0) {
    const std::uint32_t pair = c.tuples6_;
    tuples_[pair].way[0] = connection_tuple::from4(free6_, 0);
    free6_ = pair;
  }
  c.bits() = 0;
  free_[free_count_++] = n;
  if (!is_held(c)) {
    free_[free_count_ - 1] = free_[available_];
    free_[available_++] = n;
  }
  --size_;
  ++went_;
}

inline void connection_table::clear() noexcept {
  for (std::uint32_t i = 0; i < fresh_; ++i)
    if (records_[i].is_alive()) forget(records_[i]);
  expectations_.end_orphans(whose_master_lives());
  available_ = free_count_;
  ++era_;
}

// Whether there is room for a new connection: in the table, and among those that are unconfirmed, where the oldest one
// goes for it.
[[gnu::noinline]] inline bool connection_table::make_room(detail::index_home home, bool is_ipv6,
                                                          std::uint64_t ticks) noexcept {
  const bool full =
      (available_ == 0 && fresh_ == capacity_) || (is_ipv6 && free6_ == none && fresh6_ == ipv6_capacity_);
  if (full && !drop_early(home, is_ipv6, ticks)) return false;
  const std::uint32_t oldest = ring_[ring_next_];
  if (oldest == none) return true;
  if (is_held(records_[oldest])) return false;
  forget(records_[oldest]);
  return true;
}

// Gives up one connection for a new one; an IPv6 one where that is what helps.
inline bool connection_table::drop_early(detail::index_home home, bool wants_ipv6, std::uint64_t now) noexcept {
  const bool only_ipv6 = wants_ipv6 && free6_ == none && fresh6_ == ipv6_capacity_;
  const auto helps = [only_ipv6](const connection& c) { return !only_ipv6 || (c.bits() & connection::is_ipv6) != 0; };
  if (const std::uint32_t n = oldest_unconfirmed(); n != none) {
    connection& oldest = records_[n];
    // What is held gives its number to nobody yet: true of one that was begun 65536 bursts ago, too.
    if (oldest.created_ != burst_ && !is_held(oldest) && helps(oldest)) return forget(oldest), true;
  }
  connection* given_up = nullptr;
  constexpr std::uint32_t range = 8;  // NF_CT_EVICTION_RANGE
  bool made = false;
  index_.along(home, range < index_.lines() ? range : index_.lines(), [&](const detail::index_line& line) {
    for (const detail::place_reference to : line.to) {
      if (to.value == 0) continue;
      connection& c = records_[to.number()];
      if (!is_confirmed(c) || is_held(c) || !helps(c)) continue;
      const bool over = is_over(c, now);
      if (over || (c.bits() & connection_status::assured) == 0) {
        ++(over ? statistics_.expired : statistics_.early_drop);
        erase(c);
        return made = true;
      }
      if (given_up == nullptr && detail::is_closing(static_cast<std::uint8_t>(c.tcp_state()))) given_up = &c;
    }
    return false;
  });
  if (made) return true;
  if (given_up == nullptr) return false;
  ++statistics_.early_drop;
  erase(*given_up);
  return true;
}

inline std::size_t connection_table::expire(instant now, std::size_t limit) noexcept {
  const std::uint64_t ticks = detail::ticks_at(now);
  now_ = ticks;
  erase_ended();
  expectations_.expire_one(static_cast<std::uint32_t>(ticks));
  for (std::uint32_t n; (n = oldest_unconfirmed()) != none && is_over(records_[n], ticks);) forget(records_[n]);
  return wheel_.advance(
      ticks, limit, timer_of(),
      [this, ticks](std::uint32_t n) {
        const auto left = static_cast<std::int32_t>(records_[n].deadline_ - static_cast<std::uint32_t>(ticks));
        return left <= 0 ? ticks : ticks + static_cast<std::uint32_t>(left);
      },
      [this](std::uint32_t n) {
        const connection& c = records_[n];
        index_.prefetch_place(c.original_);
        if (c.reply_ != c.original_) index_.prefetch_place(c.reply_);
      },
      [this](std::uint32_t n) {
        connection& c = records_[n];
        ++statistics_.expired;
        c.bits() |= connection_status::dying;
        tell(connection_event::destroyed, c);
        release(c);
      });
}

inline instant connection_table::next_due() noexcept {
  std::uint64_t due = wheel_.next_due();
  if (const std::uint32_t n = oldest_unconfirmed(); n != none) {
    const std::uint32_t first = records_[n].deadline_;
    const std::uint64_t of_first =
        now_ +
        static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(first - static_cast<std::uint32_t>(now_))});
    if (of_first < due) due = of_first;
  }
  constexpr std::uint64_t most = static_cast<std::uint64_t>(INT64_MAX) >> detail::tick_shift;
  return due > most ? never : instant{static_cast<std::int64_t>(due << detail::tick_shift)};
}

// Each connection is where its own members say, and nothing else is anywhere.
inline bool connection_table::check() const noexcept {
  std::uint32_t alive = 0, confirmed = 0, places = 0, unconfirmed = 0, used = 0;
  for (std::uint32_t n = 0; n < fresh_; ++n) {
    const connection& c = records_[n];
    if (!c.is_alive()) continue;
    ++alive;
    if (is_confirmed(c)) ++confirmed;
    else if (c.timer_ >= ring_size_ || ring_[c.timer_] != n) return false;
    const connection_tuple tuples[] = {tuple_of(c, false), tuple_of(c, true)};
    for (unsigned way = 0; way < 2; ++way) {
      const detail::tuple_key k = tuples[way].key(index_.seed());
      const std::uint32_t at = find_place(k, index_.home(k), tuples[way]);
      const bool one_way = !is_confirmed(c) && (c.bits() & connection::one_way) != 0;
      if (at == detail::connection_index::none) {
        if (way == 1 && one_way) continue;  // who had its reply tuple has gone
        return false;
      }
      const bool other = index_.at(at).number() != n;
      if (other && (way == 0 || !one_way)) return false;
      if (!other && at != (way == 0 ? c.original_ : c.reply_) && c.original_ == c.reply_) return false;
    }
    places += c.reply_ != c.original_ ? 2 : 1;
  }
  for (std::uint32_t line = 0; line < index_.lines(); ++line)
    for (const detail::place_reference to : index_.line(line).to) used += to.value != 0 ? 1u : 0u;
  for (std::uint32_t i = 0; i < ring_size_; ++i) unconfirmed += ring_[i] != none ? 1u : 0u;
  return alive == size_ && alive == confirmed + unconfirmed && unconfirmed == unconfirmed_ && places == used &&
         wheel_.size() == confirmed && wheel_.check([this](std::uint32_t n, std::uint32_t place) {
           return n < fresh_ && is_confirmed(records_[n]) && records_[n].timer_ == place;
         });
}

}  // namespace runnel

#endif
