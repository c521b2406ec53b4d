// SPDX-License-Identifier: MIT
// Connections as text, line for line as `conntrack -L` of conntrack-tools writes them.
#ifndef RUNNEL_TRACK_LIST_HPP
#define RUNNEL_TRACK_LIST_HPP

#include <cstdint>  // int64_t, uint8_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/track/connection.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/connection_tuple.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

namespace detail {

constexpr void print_protocol_column(text_writer& out, std::uint8_t protocol) noexcept {
  const char* name = "unknown";
  switch (protocol) {
    case 1: name = "icmp"; break;
    case 6: name = "tcp"; break;
    case 17: name = "udp"; break;
    case 47: name = "gre"; break;
    case 58: name = "icmpv6"; break;
    default: break;
  }
  text<16> column;
  column << name;
  column.pad_to(8);
  out << column.c_str() << ' ' << protocol << ' ';
}

}  // namespace detail

/// One direction as `conntrack -L` writes it: `src=10.0.0.1 dst=192.0.2.1 sport=40000 dport=80`.
constexpr void print(text_writer& out, const connection_tuple& t) noexcept {
  out << "src=";
  if (t.is_ipv6()) print(out, t.source6());
  else print(out, t.source4());
  out << " dst=";
  if (t.is_ipv6()) print(out, t.destination6());
  else print(out, t.destination4());
  switch (t.protocol_number()) {
    case 6:
    case 17: out << " sport=" << t.source_port() << " dport=" << t.destination_port(); break;
    case 1:
    case 58: out << " type=" << t.icmp_type() << " code=" << t.icmp_code() << " id=" << t.icmp_identifier(); break;
    case 47:
      out << " srckey=0x";
      out.hex(t.source_port());
      out << " dstkey=0x";
      out.hex(t.destination_port());
      break;
    default: break;
  }
}

/// One line of `conntrack -L` without its end:
///
///     tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=192.0.2.1 sport=40000 dport=80 packets=5 bytes=260 src=192.0.2.1
///     dst=10.0.0.1 sport=80 dport=40000 packets=3 bytes=156 [ASSURED] mark=0 use=1
///
/// `now` is what the remaining time counts from, in seconds rounded down. `use` is the kernel's count of references, of
/// which there are none here: always 1.
inline void print(text_writer& out, const connection_table& table, const connection& c, instant now) noexcept {
  detail::print_protocol_column(out, c.protocol_number());
  const std::int64_t left = table.remaining(c, now).ns;
  out << (left < 0 ? 0 : left / 1'000'000'000) << ' ';
  if (c.protocol_number() == 6) out << name(c.tcp_state()) << ' ';
  const auto way = [&](const connection_tuple& t, connection_direction d) {
    print(out, t);
    out << " packets=" << c.packets(d) << " bytes=" << c.octets(d) << ' ';
  };
  way(table.original(c), connection_direction::original);
  if (!c.has_status(connection_status::seen_reply)) out << "[UNREPLIED] ";
  way(table.reply(c), connection_direction::reply);
  if (c.has_status(connection_status::assured)) out << "[ASSURED] ";
  out << "mark=" << c.mark() << ' ';
  if (c.zone() != 0) out << "zone=" << c.zone() << ' ';
  out << "use=1";
}

/// All confirmed connections, a line each: `conntrack -L`. Longer than most buffers: give it a writer that flushes.
inline void print(text_writer& out, connection_table& table, instant now) noexcept {
  table.for_each([&](const connection& c) {
    print(out, table, c, now);
    out << '\n';
  });
}

}  // namespace runnel

#endif
