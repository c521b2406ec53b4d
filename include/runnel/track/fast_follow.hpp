// SPDX-License-Identifier: MIT
// What `tracker::follow` does of packets that change no state of their connection: counters, timeouts, windows of TCP.
// Nothing here is for users.
#ifndef RUNNEL_TRACK_FAST_FOLLOW_HPP
#define RUNNEL_TRACK_FAST_FOLLOW_HPP

#include <cstddef>  // byte
#include <cstdint>  // int32_t, uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/tcp_tracker.hpp>
#include <runnel/track/tracker.hpp>
#include <runnel/wire/tcp.hpp>

namespace runnel::detail {

// `Facts` has the `table`, and in ticks `now`: those of fast_tracker, one argument in a register. False, and nothing is
// changed: the packet is for the tracker itself.
struct fast_follow {
  template <class Facts>
  RUNNEL_INLINE static void refresh(Facts& f, connection& c, unsigned direction, std::uint32_t size,
                                    std::uint32_t ticks) noexcept {
    ++c.packets_[direction];
    c.octets_[direction] += size;
    const std::uint32_t deadline = static_cast<std::uint32_t>(f.now) + ticks;
    if (static_cast<std::int32_t>(deadline - c.deadline_) >= 0) [[likely]]
      c.deadline_ = deadline;
    else f.table.refresh_ticks(c, ticks, f.now);
  }
  // Of what the headers behind byte `at` say, `payload` bytes with these. @{
  template <class Facts>
  RUNNEL_INLINE static bool follow(Facts& f, connection& c, bool is_tcp, unsigned direction, const packet& p,
                                   std::uint32_t at, std::uint32_t payload) noexcept {
    return is_tcp ? follow_tcp(f, c, direction, p, at, payload) : follow_udp(f, c, direction, at, payload);
  }
  template <class Facts>
  RUNNEL_INLINE static bool follow_udp(Facts& f, connection& c, unsigned direction, std::uint32_t at,
                                       std::uint32_t payload) noexcept {
    const bool stream = (c.bits() & connection_status::assured) != 0;
    // It becomes a stream: that is an event.
    if (payload - 8 > 0xffff || (!stream && tracker::is_old_enough(c, f.now))) [[unlikely]]
      return false;
    refresh(f, c, direction, payload + at - 14, f.table.ticks_[stream ? timeout_udp_stream : timeout_udp]);
    return true;
  }
  // A call: all of it in registers is worth more.
  template <class Facts>
  [[gnu::noinline]] static bool follow_tcp(Facts& f, connection& c, unsigned direction, const packet& p,
                                           std::uint32_t at, std::uint32_t payload) noexcept {
    using flag = tcp_flags;
    constexpr unsigned judged = 0xf000u | flag::fin | flag::syn | flag::rst | flag::urg | flag::ack;
    const std::byte* const transport = p.data() + at;
    const std::uint32_t held = p.length() - at;
    if (held < 20) return false;
    const unsigned head = load<std::uint16_t>(transport + 12) & to_big(std::uint16_t{judged});
    std::uint32_t header = 20;
    if (head != to_big(std::uint16_t{0x5000u | flag::ack})) {
      header = 32;
      if (head != to_big(std::uint16_t{0x8000u | flag::ack}) || held < 32 || load_be32(transport + 20) != 0x0101'080a)
        return false;
    }
    if (payload - header > 0xffff) return false;
    tcp_segment g;
    g.flags = flag::ack;
    g.window = load_be16(transport + 14);
    const std::uint64_t numbers = load_be64(transport + 4);
    g.sequence = static_cast<std::uint32_t>(numbers >> 32);
    g.ack = static_cast<std::uint32_t>(numbers);
    g.end = g.sequence + (payload - header);
    tcp_window& w = c.tcp_;
    const tcp_side &sender = w.side[direction], &receiver = w.side[direction ^ 1u];
    // As tcp_in_window() has it: none of these is negative.
    const std::uint32_t ack_window = sender.max_window > 66000 ? sender.max_window : 66000;
    const std::uint32_t allowed = sender.max_end - g.sequence, known = receiver.end - g.ack,
                        new_enough = g.end - sender.end + receiver.max_window, recent = ack_window - known;
    if (sender.max_window == 0 || static_cast<std::int32_t>(allowed | known | new_enough | recent) < 0) return false;
    std::uint8_t& flags = w.flags[direction];
    flags = static_cast<std::uint8_t>((flags & ~unsigned{continues}) |
                                      (g.sequence == sender.end ? unsigned{continues} : 0u));
    tcp_learn(w, direction, kind_ack, g, g.sequence, g.end, g.ack, g.ack);
    w.last_index = kind_ack;
    w.last_direction = static_cast<std::uint8_t>(direction);
    const std::uint8_t timeout = tcp_timeout(w, kind_ack, tcp_transitions::est, f.table.options_, f.table.ticks_);
    refresh(f, c, direction, payload + at - 14, f.table.ticks_[timeout]);
    return true;
  }
};

}  // namespace runnel::detail

#endif
