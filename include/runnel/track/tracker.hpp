// SPDX-License-Identifier: MIT
// One packet and its connection: finds or makes it, has its protocol judge the packet, and says what the packet is to
// it. The order is that of the kernel's nf_conntrack_in(). Nothing here is for users.
#ifndef RUNNEL_TRACK_TRACKER_HPP
#define RUNNEL_TRACK_TRACKER_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/packet_tuple.hpp>
#include <runnel/track/tcp_tracker.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

namespace runnel::detail {

struct tracker {
  static constexpr std::uint32_t none = connection_index::none;

  // What is known of a packet on its way through a burst.
  struct slot {
    packet_tuple found;
    tuple_key key;
    index_home home;
    std::uint32_t place;  // in the index; none: of no connection, when it was looked for
  };

  RUNNEL_INLINE static bool has_tuple(const slot& s) noexcept {
    return s.found.kind == tuple_kind::whole || s.found.kind == tuple_kind::error || s.found.kind == tuple_kind::later;
  }
  static void begin_burst(connection_table& t) noexcept { t.begin_burst(); }
  // Whether packets of this burst follow one that was not confirmed when they came.
  static bool has_undecided(const connection_table& t) noexcept { return t.undecided_ == t.burst_; }
  static std::uint32_t went(const connection_table& t) noexcept { return t.went_; }
  static connection* records(connection_table& t) noexcept { return t.records_; }

  // Has a connection to `to` expected, which is led to where one goes whose replies look like `reply`.
  static void expect_translated(connection_table& t, const connection& master, const connection_tuple& to,
                                const connection_tuple& reply, duration d, instant now) noexcept {
    t.expect_ticks({.tuple = to, .translated = true, .reply = reply}, master, ticks_in(d),
                   static_cast<std::uint32_t>(ticks_at(now)));
  }

  // Whether nothing of a TCP connection's side was seen behind `end`, up to which it has sent.
  static bool is_latest(const connection& c, bool reply, std::uint32_t end) noexcept {
    return c.tcp_.side[reply ? 1 : 0].end == end;
  }

  // Whether a confirmed connection of UDP is a stream when packets go both ways.
  RUNNEL_INLINE static bool is_old_enough(const connection& c, std::uint64_t now) noexcept {
    constexpr std::uint32_t two_seconds = ticks_in(seconds(2));
    return static_cast<std::uint32_t>(now) - c.created_ > two_seconds;  // an age, which may be all that 32 bits count
  }

  // Whether what a side says now, and nobody has heard before, begins a line. Notes whether it ends one.
  static bool begins_line(connection& c, bool reply, bool ends) noexcept {
    std::uint8_t& flags = c.tcp_.flags[reply ? 1 : 0];
    const bool begins = (flags & (mid_line | continues)) == continues;
    flags = static_cast<std::uint8_t>(ends ? flags & ~unsigned{mid_line} : flags | unsigned{mid_line});
    return begins;
  }

  // What a side said from `sequence` on, from the beginning of a line, does not reach the other one.
  static void unsay(connection& c, bool reply, std::uint32_t sequence) noexcept {
    tcp_side& side = c.tcp_.side[reply ? 1 : 0];
    std::uint8_t& flags = c.tcp_.flags[reply ? 1 : 0];
    side.end = sequence;
    flags = static_cast<std::uint8_t>(flags & ~unsigned{mid_line});
  }

  // ---- three steps: read and hash, search, judge; each over many packets

  RUNNEL_INLINE static void read(const connection_table& t, const packet& p, std::uint16_t zone, slot& s) noexcept {
    std::uint64_t addresses = 0, rest = 0;
    if (!read_tuple4(p, zone, s.found, addresses, rest)) [[unlikely]] {
      read_other(t, p, zone, s);
      return;
    }
    const tuple_key k = key_of_ports(addresses, rest);
    s.key.a = k.a, s.key.b = k.b, s.key.turned = k.turned;
    s.home = t.index_.home(k);
    t.index_.prefetch(s.home.line());
  }
  // The same of a packet that is not IPv4 with TCP or UDP.
  [[gnu::noinline]] static void read_other(const connection_table& t, const packet& p, std::uint16_t zone,
                                           slot& s) noexcept {
    read_carefully(p, zone, s.found);
    // Errors quote what the connection sent: packets of the other direction are meant.
    if (s.found.kind == tuple_kind::error) s.found.tuple = s.found.tuple.inverted();
    hash(t, s);
  }
  // The same of a later fragment that `virtual_defragment` has marked.
  static void read_later(const connection_table& t, const packet& p, std::uint16_t zone, slot& s) noexcept {
    read_later_fragment(p, zone, s.found);
    hash(t, s);
  }
  static void hash(const connection_table& t, slot& s) noexcept {
    s.home = {};
    if (!has_tuple(s)) return;
    s.found.tuple.key(t.index_.seed(), s.key);
    s.home = t.index_.home(s.key);
    t.index_.prefetch(s.home.line());
  }
  RUNNEL_INLINE static void search(const connection_table& t, slot& s) noexcept {
    s.place = none;
    if (!has_tuple(s)) return;
    s.place = t.find_place(s.key, s.home, s.found.tuple);
    if (s.place == none) return;
    const connection* const c = &t.records_[t.index_.at(s.place).number()];
    prefetch_to_write(c);
    prefetch_window(c, s);
  }
  // Asks for the second line of the record, where TCP has its windows.
  RUNNEL_INLINE static void prefetch_window(const connection* c, const slot& s) noexcept {
    if (s.found.tuple.protocol_number() == 6) prefetch_to_write(reinterpret_cast<const std::byte*>(c) + 64);
  }
  // Whether a packet that was of no connection still is of none, as far as one look says.
  RUNNEL_INLINE static bool is_still_missing(const connection_table& t, const slot& s) noexcept {
    return t.index_.room_at(s.home) != 0;
  }
  // Asks for what the packet needs, should it begin a connection after `ahead` others.
  RUNNEL_INLINE static void prefetch_new(const connection_table& t, const slot& s, std::uint32_t ahead) noexcept {
    prefetch_window(t.prefetch_new(s.home, ahead), s);
  }
  // Whether packets of this burst have the connection of a word; one of a word from elsewhere perhaps by chance.
  static bool is_held(const connection_table& t, connection_word word) noexcept {
    return word.has_connection() && word.number() < t.fresh_ && t.is_held(t.records_[word.number()]);
  }
  // The word of a packet that has one already. Without a number where that may be another connection's by now; of an
  // error or reset of this host, whose connection is that of the packet that it is about, 0: it is looked for.
  [[nodiscard, gnu::noinline]] static std::uint32_t known_word(const connection_table& t, const packet& p,
                                                               std::uint16_t zone, bool current) noexcept {
    const connection_word word{p.connection()};
    const bool known = current && is_held(t, word);
    if (!answer_about::is_word(word.value)) return known ? word.value : word.value & 15u;
    if (!known || !t.records_[word.number()].is_alive()) return 0;
    if (p.layers().has(protocol::tcp)) {  // a reset ends its connection, where it looks like a packet of that
      slot s;
      read(t, p, zone, s);
      search(t, s);
      if (s.place != none) return 0;
    }
    return connection_word::of(connection_state::related, word.direction(), word.number()).value;
  }
  // Whether a packet may get through that comes out of a pipeline, as far as that is up to its connection; `current`
  // says that its number is of this burst. What began an unconfirmed connection confirms it.
  [[gnu::noinline]] static verdict confirm(connection_table& t, const packet& p, bool current, instant now) noexcept {
    const connection_word word{p.connection()};
    if (!word.has_connection() || word.number() >= t.fresh_ || answer_about::is_word(word.value)) return pass;
    connection& c = t.records_[word.number()];
    if (!c.is_alive() || t.is_confirmed(c)) return pass;
    const bool later = p.layers().has(protocol::fragment) && !p.layers().has(protocol::transport);
    const bool begins =
        word.state() == connection_state::new_ ||
        (!later && word.state() == connection_state::related && c.has_status(connection_status::expected));
    const bool known = current && c.created_ == t.burst_;
    if (!begins) return known ? drop(drop_reason::connection_undone) : pass;
    if (!known && !has_its_tuple(t, p, c)) return pass;
    return t.confirm(c, now) ? pass : drop(drop_reason::connection_clash);
  }

  // Whether there is nothing to confirm.
  RUNNEL_INLINE static bool is_settled(const connection_table& t, connection_word word) noexcept {
    return word.has_connection() && word.number() < t.fresh_ && t.is_confirmed(t.records_[word.number()]);
  }
  // What the packet is to its connection; a drop when there was no room for a new one.
  static verdict judge(connection_table& t, packet& p, slot& s, std::uint64_t now, connection_word& word) noexcept {
    switch (s.found.kind) {
      case tuple_kind::none: return pass;
      case tuple_kind::untracked:
        if (t.options_.checksum && !checksum_ok(p, s)) return count_invalid(t, word);
        return word = connection_word::of(connection_state::untracked), pass;
      case tuple_kind::invalid: return count_invalid(t, word);
      case tuple_kind::error: return judge_error(t, p, s, now, word);
      case tuple_kind::later: return judge_later(t, s, now, word);
      case tuple_kind::whole: break;
    }
    if (t.options_.checksum && !checksum_ok(p, s)) return count_invalid(t, word);
    for (;;) {
      bool fresh = false;
      tcp_window begun;
      if (s.place != none) {
        // What is over is gone, and so is what was begun by a packet that never got through.
        connection& c = t.records_[t.index_.at(s.place).number()];
        if (t.is_gone(c, now)) [[unlikely]]
          t.erase_gone(c), s.place = none;
      }
      if (s.place == none) [[unlikely]] {
        if (!may_begin(t, s, begun)) return count_invalid(t, word);
        std::uint32_t n = t.insert_easily(s.found.tuple, s.key, s.home, now);
        if (n == none) n = t.insert_ticks(s.found.tuple, s.key, s.home, now);
        if (n == none) return drop(drop_reason::connections_full);
        s.place = t.records_[n].original_;
        fresh = true;
        if (!t.expectations_.empty()) t.meet_expectation(t.records_[n], s.found.tuple, now);
      }
      const place_reference to = t.index_.at(s.place);
      connection& c = t.records_[to.number()];
      const unsigned direction = to.direction(s.key.turned);
      switch (follow(t, c, direction, fresh ? &begun : nullptr, s, now)) {
        case outcome::accept: break;
        case outcome::invalid:
          if (fresh) t.forget(c);
          return count_invalid(t, word);
        case outcome::again: t.erase(c), s.place = none; continue;
        case outcome::end: t.end(c, now); break;
      }
      word = word_for(c, direction, to.number());
      c.touched_ = static_cast<std::uint16_t>(t.burst_);
      // NAT will want to know what the other direction looks like.
      if (c.reply_ != c.original_) t.index_.prefetch_place(direction == 0 ? c.reply_ : c.original_);
      if (word.state() == connection_state::established && !t.is_confirmed(c)) [[unlikely]]
        t.undecided_ = t.burst_;
      if (direction == 1 && (c.bits() & connection_status::seen_reply) == 0)
        t.add_status(c, connection_status::seen_reply);
      return pass;
    }
  }

 private:
  // Whether a packet looks as those of a connection do that go its original way, before or after translation.
  static bool has_its_tuple(const connection_table& t, const packet& p, const connection& c) noexcept {
    packet_tuple found;
    read_tuple(p, c.zone(), found);
    return found.kind == tuple_kind::whole &&
           (found.tuple == t.tuple_of(c, false) || found.tuple == t.tuple_of(c, true).inverted());
  }

  enum class outcome : std::uint8_t { accept, invalid, again, end };

  static verdict count_invalid(connection_table& t, connection_word& word) noexcept {
    ++t.statistics_.invalid;
    word = connection_word::of(connection_state::invalid);
    return pass;
  }
  static connection_word word_for(const connection& c, unsigned direction, std::uint32_t number) noexcept {
    const connection_state state = direction == 1 || (c.bits() & connection_status::seen_reply) != 0
                                       ? connection_state::established
                                   : (c.bits() & connection_status::expected) != 0 ? connection_state::related
                                                                                   : connection_state::new_;
    return connection_word::of(state, static_cast<connection_direction>(direction), number);
  }
  static void account(connection& c, unsigned direction, const slot& s) noexcept {
    ++c.packets_[direction];
    c.octets_[direction] += s.found.size;
  }
  // Whether a packet that belongs to no connection begins one, as far as that is known without making it; of TCP, how.
  static bool may_begin(const connection_table& t, const slot& s, tcp_window& begun) noexcept {
    const connection_tuple& tuple = s.found.tuple;
    switch (tuple.protocol_number()) {
      case 6: {
        const tcp_segment segment = read_segment(s);
        return is_sane(segment.flags) && tcp_begin(begun, segment, t.options_);
      }
      case 1: {
        const std::uint8_t type = tuple.icmp_type();
        return type == 8 || type == 13 || type == 15 || type == 17;
      }
      case 58: return tuple.icmp_type() == 128 || tuple.icmp_type() == 139;
      default: return true;
    }
  }
  static tcp_segment read_segment(const slot& s) noexcept {
    const std::byte* const p = s.found.transport;
    const std::uint32_t header = (load_u8(p + 12) >> 4) * 4u;
    tcp_segment g;
    g.sequence = load_be32(p + 4);
    g.ack = load_be32(p + 8);
    g.flags = load_u8(p + 13);
    g.window = load_be16(p + 14);
    const std::uint32_t data = s.found.payload > header ? s.found.payload - header : 0;
    g.end = g.sequence + data + ((g.flags & tcp_flags::syn) != 0 ? 1 : 0) + ((g.flags & tcp_flags::fin) != 0 ? 1 : 0);
    if (header > 20 && header <= s.found.held) g.options = {p + 20, header - 20};
    return g;
  }

  // `begun`: of the first packet of a connection, what `may_begin` said.
  static outcome follow(connection_table& t, connection& c, unsigned direction, const tcp_window* begun, const slot& s,
                        std::uint64_t now) noexcept {
    const bool seen_reply = (c.bits() & connection_status::seen_reply) != 0;
    switch (s.found.tuple.protocol_number()) {
      case 6: return follow_tcp(t, c, direction, begun, s, now);
      case 17: {
        // Both ways for two seconds: a stream (RFC 4787 does not ask for that; it keeps a DNS query from staying).
        const bool was_stream = (c.bits() & connection_status::assured) != 0;
        const bool stream = was_stream || (seen_reply && t.is_confirmed(c) && is_old_enough(c, now));
        refresh(t, c, direction, s, t.ticks_[stream ? timeout_udp_stream : timeout_udp], now);
        if (stream && !was_stream) t.add_status(c, connection_status::assured);
        return outcome::accept;
      }
      case 1: return refresh(t, c, direction, s, t.ticks_[timeout_icmp], now);
      case 58: return refresh(t, c, direction, s, t.ticks_[timeout_icmpv6], now);
      case 47:
        refresh(t, c, direction, s, t.ticks_[seen_reply ? timeout_gre_stream : timeout_gre], now);
        if (seen_reply) t.add_status(c, connection_status::assured);
        return outcome::accept;
      default: return refresh(t, c, direction, s, t.ticks_[timeout_generic], now);
    }
  }
  static outcome refresh(connection_table& t, connection& c, unsigned direction, const slot& s, std::uint32_t ticks,
                         std::uint64_t now) noexcept {
    account(c, direction, s);
    t.refresh_ticks(c, ticks, now);
    return outcome::accept;
  }

  static outcome follow_tcp(connection_table& t, connection& c, unsigned direction, const tcp_window* begun,
                            const slot& s, std::uint64_t now) noexcept {
    tcp_segment segment = read_segment(s);
    if ((c.bits() & connection_status::seq_adjust) != 0 && t.unadjust_ != nullptr) [[unlikely]] {
      // What is acknowledged was longer, or shorter, when it was sent.
      segment.ack = t.unadjust_(t.unmap_context_, c, direction ^ 1u, segment.ack);
      if ((segment.flags & tcp_flags::syn) == 0) segment.options = {};
    }
    if (!is_sane(segment.flags)) return outcome::invalid;
    std::uint8_t state = c.tcp_state_ & connection::tcp_state_bits;
    if (begun != nullptr) ::new (static_cast<void*>(&c.tcp_)) tcp_window(*begun);
    // Who made it has seen no segment of it: this is the first one.
    else if (state == 0 && (direction != 0 || !tcp_begin(c.tcp_, segment, t.options_))) return outcome::invalid;
    const tcp_verdict v = tcp_follow(c.tcp_, state, c.bits(), direction, segment, t.options_, t.ticks_);
    c.tcp_state_ = static_cast<std::uint8_t>((c.tcp_state_ & ~unsigned{connection::tcp_state_bits}) | state);
    switch (v.outcome) {
      case tcp_outcome::accept: break;
      case tcp_outcome::pass: return outcome::accept;
      case tcp_outcome::again: return outcome::again;
      case tcp_outcome::invalid:
        if (v.lower_to_unacked && static_cast<std::int32_t>(c.deadline_ - static_cast<std::uint32_t>(now)) >
                                      static_cast<std::int32_t>(t.ticks_[timeout_unacked]))
          t.refresh_ticks(c, t.ticks_[timeout_unacked], now);
        return outcome::invalid;
      case tcp_outcome::end: account(c, direction, s); return outcome::end;
    }
    refresh(t, c, direction, s, t.ticks_[v.timeout], now);
    if (v.assured) t.add_status(c, connection_status::assured);
    else if (v.changed && t.is_confirmed(c)) t.tell(connection_event::updated, c);
    return outcome::accept;
  }

  // An error is related to the connection of the packet that it quotes, and goes to where that packet came from.
  static verdict judge_error(connection_table& t, const packet& p, const slot& s, std::uint64_t now,
                             connection_word& word) noexcept {
    if (s.place == none || (t.options_.checksum && !checksum_ok(p, s))) return count_invalid(t, word);
    const place_reference to = t.index_.at(s.place);
    connection& c = t.records_[to.number()];
    const bool expected = (c.bits() & connection_status::expected) != 0;
    if (t.is_over(c, now) || (!t.is_confirmed(c) && (c.created_ != t.burst_ || expected)))
      return count_invalid(t, word);
    const unsigned direction = to.direction(s.key.turned);
    const connection_tuple way = t.tuple_of(c, direction == 1);
    const bool right = way.is_ipv6() ? way.destination6() == s.found.outer6 : way.destination4() == s.found.outer4;
    if (!right) return count_invalid(t, word);
    word = connection_word::of(connection_state::related, static_cast<connection_direction>(direction), to.number());
    c.touched_ = static_cast<std::uint16_t>(t.burst_);
    return pass;
  }
  // A later fragment goes where the first one went. It begins no connection, and confirms none.
  [[gnu::noinline]] static verdict judge_later(connection_table& t, const slot& s, std::uint64_t now,
                                               connection_word& word) noexcept {
    if (s.place == none) return count_invalid(t, word);
    const place_reference to = t.index_.at(s.place);
    connection& c = t.records_[to.number()];
    if (t.is_over(c, now) || (!t.is_confirmed(c) && c.created_ != t.burst_)) return count_invalid(t, word);
    const unsigned direction = to.direction(s.key.turned);
    const bool answered = direction == 1 || (c.bits() & connection_status::seen_reply) != 0;
    word = connection_word::of(answered ? connection_state::established : connection_state::related,
                               static_cast<connection_direction>(direction), to.number());
    c.touched_ = static_cast<std::uint16_t>(t.burst_);
    if (!t.is_confirmed(c)) t.undecided_ = t.burst_;
    account(c, direction, s);
    if (s.found.tuple.protocol_number() == 6) {
      // What acknowledges the segment acknowledges this too.
      tcp_side& side = c.tcp_.side[direction];
      if (static_cast<std::int32_t>(side.max_end - (side.end + s.found.payload)) >= 0) side.end += s.found.payload;
    }
    return pass;
  }
  // Of what is all there in one piece; the rest is not looked at.
  [[gnu::noinline]] static bool checksum_ok(const packet& p, const slot& s) noexcept {
    if (p.checksum() != checksum_status::unknown || p.layers().has(protocol::fragment) ||
        s.found.transport + s.found.payload > p.contents().end())
      return true;
    const header_map map{p};
    const bytes whole{s.found.transport, s.found.payload};
    const layers& found = map.layers();
    if (found.has(protocol::icmp)) return fold_checksum(add_checksum(whole)) == 0xffff;
    const std::uint32_t pseudo =
        map.has<ipv4>() ? map.get<ipv4>().pseudo_header_sum() : map.get<ipv6>().pseudo_header_sum();
    if (found.has(protocol::tcp)) return tcp::unchecked(whole).checksum_ok(pseudo);
    if (found.has(protocol::udp)) return udp::unchecked(whole).checksum_ok(pseudo);
    if (found.has(protocol::icmpv6)) return icmpv6::unchecked(whole).checksum_ok(pseudo);
    return true;
  }
};

}  // namespace runnel::detail

#endif
