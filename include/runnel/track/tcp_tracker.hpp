// SPDX-License-Identifier: MIT
// How a TCP connection looks from its middle: the state that a segment leads to, and whether it lies in the window.
// The rules are those of Linux 6.x, net/netfilter/nf_conntrack_proto_tcp.c. Nothing here is for users.
//
// Theory of operation. A table says for each state, direction and kind of segment which state follows; `ignore` lets a
// segment pass that may be right although this table says otherwise (the two ends know better), `invalid` does not.
// What passes the table has to lie in the windows, of which each side's are kept as seen from here:
//
//     sequence number    at most what the peer has allowed            (max_end)
//     its end            not older than one window of the receiver    (end - peer's max_window)
//     acknowledgement    nothing that was not sent yet, nothing older than one window
//
// Selective acknowledgements count as acknowledgements. A connection that is picked up in its middle (`tcp_loose`) is
// judged liberally for ever, as its window scale is not known. Resets have to fit the last acknowledgement, as
// RFC 5961 §3.2 says; one that only lies in the window leaves the state as it is, for the challenge that follows.
#ifndef RUNNEL_TRACK_TCP_TRACKER_HPP
#define RUNNEL_TRACK_TCP_TRACKER_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t
#include <new>      // placement new

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/track/connection.hpp>
#include <runnel/track/tracking_options.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/tcp_options.hpp>

namespace runnel::detail {

// What of a segment counts.
struct tcp_segment {
  std::uint32_t sequence = 0;
  std::uint32_t ack = 0;
  std::uint32_t end = 0;  // behind its last octet; SYN and FIN count for one each
  std::uint16_t window = 0;
  std::uint8_t flags = 0;
  bytes options{};
};

enum tcp_kind : std::uint8_t { kind_syn, kind_synack, kind_fin, kind_ack, kind_rst, kind_none };
[[nodiscard]] constexpr tcp_kind kind_of(std::uint8_t flags) noexcept {
  if ((flags & tcp_flags::rst) != 0) return kind_rst;
  if ((flags & tcp_flags::syn) != 0) return (flags & tcp_flags::ack) != 0 ? kind_synack : kind_syn;
  if ((flags & tcp_flags::fin) != 0) return kind_fin;
  return (flags & tcp_flags::ack) != 0 ? kind_ack : kind_none;
}
// PSH, ECE and CWR may stand beside all others.
[[nodiscard]] constexpr bool is_sane(std::uint8_t flags) noexcept {
  using f = tcp_flags;
  switch (flags & (f::fin | f::syn | f::rst | f::ack | f::urg)) {
    case f::syn:
    case f::syn | f::urg:
    case f::syn | f::ack:
    case f::rst:
    case f::rst | f::ack:
    case f::fin | f::ack:
    case f::fin | f::ack | f::urg:
    case f::ack:
    case f::ack | f::urg: return true;
    default: return false;
  }
}

// Bits of tcp_window::flags and tcp_window::last_flags: IP_CT_TCP_FLAG_*.
inline constexpr std::uint8_t has_scale = 1, has_sack = 2, close_begun = 4, liberal_side = 8, unacknowledged = 16,
                              has_max_ack = 32, challenge_expected = 64, opened_by_both = 128;
// Of one side, for helpers that read text: what it said last did not end a line; its last segment began just where it
// had ended before.
inline constexpr std::uint8_t mid_line = 64, continues = 128;

// What the table says beside the states of tcp_connection_state.
inline constexpr std::uint8_t state_ignore = 10, state_invalid = 11;

struct tcp_transitions {
  static constexpr std::uint8_t sent = 1, recv = 2, est = 3, finw = 4, clow = 5, last = 6, timw = 7, clos = 8, snt2 = 9,
                                ign = state_ignore, inv = state_invalid;
  static constexpr std::uint8_t next[2][6][10] = {
      {
          // none, syn_sent, syn_recv, established, fin_wait, close_wait, last_ack, time_wait, close, syn_sent2
          {sent, sent, ign, ign, ign, ign, ign, sent, sent, snt2},    // SYN: begins; repeated; reopens what is closed
          {inv, inv, recv, inv, inv, inv, inv, inv, inv, recv},       // SYN/ACK: of a simultaneous open
          {inv, inv, finw, finw, last, last, last, timw, clos, inv},  // FIN: closing begins; from both sides
          {est, inv, est, est, clow, clow, timw, timw, clos, inv},    // ACK: picked up; opened; the last one
          {inv, clos, clos, clos, clos, clos, clos, clos, clos, clos},
          {inv, inv, inv, inv, inv, inv, inv, inv, inv, inv},
      },
      {
          {inv, snt2, inv, inv, inv, inv, inv, sent, inv, snt2},  // SYN: simultaneous open; roles turned round
          {inv, recv, ign, ign, ign, ign, ign, ign, ign, recv},   // SYN/ACK: opens; perhaps of a SYN that was ignored
          {inv, inv, finw, finw, last, last, last, timw, clos, inv},
          {inv, ign, recv, est, clow, clow, timw, timw, clos, ign},  // ACK: of a half-open connection
          {inv, clos, clos, clos, clos, clos, clos, clos, clos, clos},
          {inv, inv, inv, inv, inv, inv, inv, inv, inv, inv},
      }};
};

[[nodiscard]] constexpr bool is_before(std::uint32_t a, std::uint32_t b) noexcept {
  return static_cast<std::int32_t>(a - b) < 0;
}
[[nodiscard]] constexpr bool is_after(std::uint32_t a, std::uint32_t b) noexcept { return is_before(b, a); }

enum class tcp_outcome : std::uint8_t {
  accept,   // it counts; refresh
  pass,     // of the connection, but nothing changes
  invalid,  // no packet of the connection
  again,    // the connection is over, and this packet begins another
  end,      // it counts, and ends the connection
};
struct tcp_verdict {
  tcp_outcome outcome = tcp_outcome::accept;
  std::uint8_t timeout = 0;       // of detail::timeout
  bool assured = false;           // from now on
  bool changed = false;           // the state is another
  bool lower_to_unacked = false;  // of an invalid one: the connection should not live longer than that
};

// Numbers of timeouts behind those of the states.
enum timeout : std::uint8_t {
  timeout_retrans = 10,
  timeout_unacked,
  timeout_udp,
  timeout_udp_stream,
  timeout_icmp,
  timeout_icmpv6,
  timeout_gre,
  timeout_gre_stream,
  timeout_generic,
  timeout_count
};

inline void read_options(const tcp_segment& s, std::uint8_t& scale, std::uint8_t& flags) noexcept {
  scale = 0;
  flags &= liberal_side;
  for (tcp_options o(s.options); o; o.next()) {
    if (o.is_sack_permitted()) flags |= has_sack;
    if (o.window_scale() == tcp_options::no_window_scale) continue;
    scale = o.window_scale();
    flags |= has_scale;
  }
}
// The highest sequence number that is acknowledged, selectively or not.
[[nodiscard]] inline std::uint32_t highest_sack(const tcp_segment& s) noexcept {
  std::uint32_t highest = s.ack;
  if (s.options.size() == 12 && load_be32(s.options.data()) == 0x0101'080a) return highest;
  for (tcp_options o(s.options); o; o.next())
    for (std::size_t i = 0; i < o.sack_count(); ++i)
      if (is_after(o.sack_block(i).right, highest)) highest = o.sack_block(i).right;
  return highest;
}

// The first packet of a connection. False when it cannot be one.
[[nodiscard]] inline bool tcp_begin(tcp_window& w, const tcp_segment& s, const tracking_options& options) noexcept {
  const std::uint8_t next = tcp_transitions::next[0][kind_of(s.flags)][0];
  if (next >= state_ignore) return false;
  ::new (static_cast<void*>(&w)) tcp_window;
  tcp_side& sender = w.side[0];
  sender.end = s.end;
  sender.max_window = s.window == 0 ? 1 : s.window;
  if (next == tcp_transitions::sent) {
    sender.max_end = s.end;
    read_options(s, w.scale[0], w.flags[0]);
  } else {
    if (!options.tcp_loose) return false;
    // Its window scale is not known: what its sides offer is taken to be more.
    sender.max_end = s.end + sender.max_window;
    w.flags[0] = w.flags[1] = has_sack | liberal_side;
  }
  w.last_index = kind_none;
  return true;
}

enum class tcp_fit : std::uint8_t { inside, ignored, outside };

// What is learned from a segment that lies in the window; `sack` is the highest number that it acknowledges.
RUNNEL_INLINE void tcp_learn(tcp_window& w, unsigned direction, tcp_kind kind, const tcp_segment& s,
                             std::uint32_t sequence, std::uint32_t end, std::uint32_t ack,
                             std::uint32_t sack) noexcept {
  tcp_side& sender = w.side[direction];
  tcp_side& receiver = w.side[direction ^ 1u];
  std::uint8_t &sender_flags = w.flags[direction], &receiver_flags = w.flags[direction ^ 1u];
  std::uint32_t window = s.window;
  if ((s.flags & tcp_flags::syn) == 0) window <<= w.scale[direction];
  const std::uint32_t offered = window + (sack - ack);
  if (sender.max_window < offered) sender.max_window = offered;
  if (is_after(end, sender.end)) {
    sender.end = end;
    sender_flags |= unacknowledged;
  }
  if ((s.flags & tcp_flags::ack) != 0 && ((sender_flags & has_max_ack) == 0 || is_after(ack, sender.max_ack))) {
    sender.max_ack = ack;
    sender_flags |= has_max_ack;
  }
  if (receiver.max_window != 0 && is_after(end, sender.max_end)) receiver.max_window += end - sender.max_end;
  if (is_after(sack + window, receiver.max_end - 1)) receiver.max_end = sack + window + (window == 0 ? 1 : 0);
  if (ack == receiver.end) receiver_flags &= static_cast<std::uint8_t>(~unsigned{unacknowledged});
  if (kind == kind_ack) {
    if (w.last_direction == direction && w.last_sequence == sequence && w.last_ack == ack && w.last_end == end &&
        w.last_window == s.window) {
      if (w.retransmits != 255) ++w.retransmits;
    } else {
      w.last_direction = static_cast<std::uint8_t>(direction);
      w.last_sequence = sequence;
      w.last_ack = ack;
      w.last_end = end;
      w.last_window = s.window;
      w.retransmits = 0;
    }
  }
}

// Where a segment lies, and what is learned from one that lies in the window.
[[nodiscard]] inline tcp_fit tcp_in_window(tcp_window& w, std::uint8_t state, unsigned direction, tcp_kind kind,
                                           const tcp_segment& s, const tracking_options& options) noexcept {
  tcp_side& sender = w.side[direction];
  tcp_side& receiver = w.side[direction ^ 1u];
  std::uint8_t &sender_flags = w.flags[direction], &receiver_flags = w.flags[direction ^ 1u];
  const bool has_ack = (s.flags & tcp_flags::ack) != 0, has_syn = (s.flags & tcp_flags::syn) != 0,
             has_rst = (s.flags & tcp_flags::rst) != 0;
  std::uint32_t sequence = s.sequence, end = s.end, ack = s.ack, window = s.window;
  std::uint32_t sack = (receiver_flags & has_sack) != 0 ? highest_sack(s) : ack;

  const auto begin_sender = [&] {
    sender.end = sender.max_end = end;
    sender.max_window = window == 0 ? 1 : window;
    read_options(s, w.scale[direction], sender_flags);
    // RFC 7323 §2.2: both sides have to send it.
    if (direction == 1 && (sender_flags & receiver_flags & has_scale) == 0) w.scale[0] = w.scale[1] = 0;
  };
  if (sender.max_window == 0) {
    if (has_syn) {
      begin_sender();
      if (!has_ack) return tcp_fit::inside;  // simultaneous open
    } else {
      sender.end = end;
      const std::uint32_t scaled = window << w.scale[direction];
      sender.max_window = scaled == 0 ? 1 : scaled;
      sender.max_end = end + sender.max_window;
      if (receiver.max_window == 0) receiver.end = receiver.max_end = sack;
      else if (sack == receiver.end + 1) ++receiver.end;  // the answer to a keep-alive
    }
  } else if (has_syn && is_after(end, sender.end) &&
             (state == tcp_transitions::sent || state == tcp_transitions::recv)) {
    begin_sender();  // another attempt, with other numbers
    if (direction == 1 && !has_ack) return tcp_fit::inside;
  }
  // Some set ACK in a reset without saying what for.
  if (!has_ack || (has_rst && ack == 0)) ack = sack = receiver.end;
  if (has_rst && sequence == 0 && state == tcp_transitions::sent) sequence = end = sender.end;

  const auto unless_liberal = [&](tcp_fit otherwise) {
    return (sender_flags & liberal_side) != 0 || options.tcp_be_liberal ? tcp_fit::inside : otherwise;
  };
  const std::uint32_t ack_window = sender.max_window > 66000 ? sender.max_window : 66000;
  const bool ack_known = is_before(sack, receiver.end + 1);
  const bool ack_recent = is_after(sack, receiver.end - ack_window - 1);
  const bool in_receive_window = receiver.max_window == 0 || is_after(end, sender.end - receiver.max_window - 1);
  sender_flags = static_cast<std::uint8_t>((sender_flags & ~unsigned{continues}) |
                                           (sequence == sender.end ? unsigned{continues} : 0u));
  if (!is_before(sequence, sender.max_end + 1)) {
    const std::uint32_t overshot = end - sender.max_end + 1;
    if (receiver.max_window != 0 && in_receive_window && ack_recent && overshot <= receiver.max_window && ack_known) {
      // More than the peer allowed, by a little: some do that. What it sends has to be known when it is acknowledged.
      sender.end = end;
      sender_flags |= unacknowledged;
      return unless_liberal(tcp_fit::ignored);
    }
    return unless_liberal(tcp_fit::outside);
  }
  if (!ack_known) return unless_liberal(tcp_fit::outside);
  if (!in_receive_window || !ack_recent) return unless_liberal(tcp_fit::ignored);

  tcp_learn(w, direction, kind, s, sequence, end, ack, sack);
  return tcp_fit::inside;
}

[[nodiscard]] constexpr bool is_closing(std::uint8_t state) noexcept {
  return state >= tcp_transitions::finw && state <= tcp_transitions::clos;
}

// Which timeout holds behind a segment that led to state `next`.
[[nodiscard]] RUNNEL_INLINE std::uint8_t tcp_timeout(const tcp_window& w, tcp_kind kind, std::uint8_t next,
                                                     const tracking_options& options,
                                                     const std::uint32_t* ticks) noexcept {
  const auto longer_than = [&](timeout limit) { return ticks[next] > ticks[limit]; };
  const bool waits = ((w.flags[0] | w.flags[1]) & unacknowledged) != 0;
  if (w.retransmits >= options.tcp_max_retrans && longer_than(timeout_retrans)) return timeout_retrans;
  if (kind == kind_rst) return tcp_transitions::clos;
  if (waits && longer_than(timeout_unacked)) return timeout_unacked;
  if (w.last_window == 0 && longer_than(timeout_retrans)) return timeout_retrans;
  return next;
}

// One segment of a connection, which may have just begun. `ticks` are the timeouts, as `timeout` numbers them.
[[nodiscard]] inline tcp_verdict tcp_follow(tcp_window& w, std::uint8_t& state, std::uint16_t status,
                                            unsigned direction, const tcp_segment& s, const tracking_options& options,
                                            const std::uint32_t* ticks) noexcept {
  using t = tcp_transitions;
  const tcp_kind kind = kind_of(s.flags);
  const bool assured = (status & connection_status::assured) != 0;
  const bool seen_reply = (status & connection_status::seen_reply) != 0;
  std::uint8_t old = state, next = t::next[direction][kind][old];
  if (next >= state_invalid) return {.outcome = tcp_outcome::invalid};

  bool reopened = false;
  if (next == t::sent && old >= t::timw) {
    // RFC 9293 §3.6.1: a new SYN may reopen what is in TIME-WAIT; and what was reset, its sender may begin again.
    if (((w.flags[0] | w.flags[1]) & close_begun) != 0 || (w.last_direction == direction && w.last_index == kind_rst))
      return {.outcome = tcp_outcome::again};
    next = state_ignore;
  }
  if (next == state_ignore) {
    if (kind == kind_synack && w.last_index == kind_syn && w.last_direction != direction && s.ack == w.last_end) {
      // It answers a SYN that was ignored: the two ends are in step, and from here on we are as well.
      tcp_side& asked = w.side[w.last_direction];
      asked.end = asked.max_end = w.last_end;
      asked.max_window = w.last_window == 0 ? 1 : w.last_window;
      w.scale[w.last_direction] = w.last_scale;
      w.last_flags &= static_cast<std::uint8_t>(~unsigned{challenge_expected});
      w.flags[w.last_direction] = w.last_flags;
      w.side[direction] = {};
      w.scale[direction] = 0;
      w.flags[direction] &= liberal_side;
      old = t::sent;
      next = t::recv;
      reopened = true;
    } else {
      w.last_index = kind;
      w.last_direction = static_cast<std::uint8_t>(direction);
      w.last_sequence = s.sequence;
      w.last_end = s.end;
      w.last_window = s.window;
      if (kind == kind_syn && direction == 0) {
        w.last_flags = 0;
        read_options(s, w.last_scale, w.last_flags);
        // The answer may be a challenge (RFC 5961 §4), which is no acknowledgement of the last FIN.
        if (old == t::last) w.last_flags |= challenge_expected;
      }
      if (old == t::sent && kind == kind_ack && direction == 1) w.last_ack = s.ack;
      return {.outcome = tcp_outcome::pass};
    }
  }
  bool judged = false;  // it belongs here whatever the windows say
  if (next == t::timw && old == t::last && kind == kind_ack && w.last_direction != direction &&
      w.last_index == kind_syn && (w.last_flags & challenge_expected) != 0) {
    w.last_flags &= static_cast<std::uint8_t>(~unsigned{challenge_expected});
    return {.outcome = tcp_outcome::pass};
  }
  if (next == t::snt2) w.last_flags |= opened_by_both;
  if (next == t::recv && !reopened && direction == 1 && kind == kind_ack && (w.last_flags & opened_by_both) != 0)
    next = t::est;
  if (next == t::clos && kind == kind_rst) {
    const tcp_side& peer = w.side[direction ^ 1u];
    const bool settled = old == t::est && assured;
    bool checked = false;
    if (is_closing(old)) {
      judged = true;  // what is known of it may be out of date
      checked = true;
    } else if ((w.flags[direction ^ 1u] & has_max_ack) != 0 && w.last_index != kind_syn) {
      if (s.sequence == 0 && !settled) {
        checked = true;
      } else if (is_before(s.sequence, peer.max_ack) && !options.tcp_ignore_invalid_rst) {
        return {.outcome = tcp_outcome::invalid};
      } else if (!settled || s.sequence == peer.max_ack ||
                 (w.last_index == kind_ack && w.last_direction == direction && s.sequence == w.last_end)) {
        checked = true;
      } else {
        next = old;  // not exact: a challenge follows, and decides (RFC 5961 §3.2)
      }
    }
    if (!checked) {
      // The answer to a SYN, or to an ACK of a half-open connection, that was let through unjudged.
      const bool of_syn = seen_reply && w.last_index == kind_syn && w.last_direction != direction;
      if ((of_syn || (!assured && w.last_index == kind_ack)) && s.ack == w.last_end) judged = true;
      else if (old == t::sent && w.last_index == kind_ack && w.last_direction == 1 && s.sequence == w.last_ack)
        judged = true;
    }
  }
  if (!judged) {
    switch (tcp_in_window(w, state, direction, kind, s, options)) {
      case tcp_fit::inside: break;
      case tcp_fit::ignored: return {.outcome = tcp_outcome::pass};
      case tcp_fit::outside: {
        tcp_verdict v{.outcome = tcp_outcome::invalid};
        // A connection that both sides try to end should not live for days because we are out of step.
        if (assured && (kind == kind_rst || kind == kind_fin)) {
          if (w.last_direction != direction && (w.last_index == kind_fin || w.last_index == kind_rst)) {
            v.lower_to_unacked = true;
          } else {
            w.last_index = kind;
            w.last_direction = static_cast<std::uint8_t>(direction);
          }
        }
        return v;
      }
    }
  }
  w.last_index = kind;
  w.last_direction = static_cast<std::uint8_t>(direction);
  tcp_verdict v;
  v.changed = state != next;
  state = next;
  if (old != next && next == t::finw) w.flags[direction] |= close_begun;

  v.timeout = tcp_timeout(w, kind, next, options, ticks);

  if (!seen_reply) {
    if (kind == kind_rst) v.outcome = tcp_outcome::end;
    // A repeated SYN does not keep a connection alive that nobody answers.
    else if (kind == kind_syn && old == t::sent) v.outcome = tcp_outcome::pass;
    else if (next == t::est && ticks[v.timeout] > ticks[timeout_unacked]) v.timeout = timeout_unacked;
  } else if (!assured && next == t::est && (old == t::recv || old == t::est)) {
    v.assured = true;
  }
  return v;
}

}  // namespace runnel::detail

#endif
