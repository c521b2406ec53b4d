// SPDX-License-Identifier: MIT
// FTP through NAT: addresses and ports in its commands and replies become those outside. RFC 959, RFC 2428; the
// kernel's nf_nat_ftp.c.
//
//     parse() | track(connections) | nat_ftp(translations) | nat<prerouting>(...) | route(...) ...
//     nat<postrouting>(...)
//
// Theory of operation. A client behind NAT says "PORT 10,0,0,1,4,1", and the server would connect to an address that it
// cannot reach. So the text becomes that of the client's address outside and a port there, and the connection that the
// server will make is announced: it is `related`, and led to the client. The same holds for a server behind a port
// forward that answers PASV or EPSV. Where both ends know each other by the same addresses, nothing is changed.
//
// Text of another length shifts all sequence numbers behind it: from then on each segment of the connection has its
// numbers changed here, those that it sends by what was added before them, those that it acknowledges (SACK too) by the
// opposite. `track` takes that into account. A command that is sent again is changed as it was the first time. An
// announcement counts only as `ftp_helper` says: in one segment, the latest, with its sender's own address.
//
// Not done: segments of offloads (`segment_size`) and chained packets keep their text, and so do those whose checksum
// is wrong. The stage sees all packets of the connections, both ways, or none.
#ifndef RUNNEL_TRACK_NAT_FTP_HPP
#define RUNNEL_TRACK_NAT_FTP_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/endian.hpp>
#include <runnel/base/text.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/track/helpers.hpp>
#include <runnel/track/nat.hpp>
#include <runnel/track/nat_sequences.hpp>
#include <runnel/track/nat_table.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/tcp_options.hpp>

namespace runnel {
namespace detail {

[[nodiscard]] inline std::uint64_t tcp_pseudo_header(const nat_headers& h, std::size_t segment) noexcept {
  return (h.is_ipv6 ? add_checksum({h.network + 8, 32}) : add_checksum({h.network + 12, 8})) + 6 + segment;
}

struct nat_ftp_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool needs_tracked = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = true;
  static constexpr const char* name = "nat ftp";

  constexpr nat_ftp_stage(nat_table& t, std::uint16_t p) noexcept : table(&t), port(p) {}
  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* = nullptr) noexcept {
    const connection_word word{p.connection()};
    connection_table& all = table->connections();
    if (!word.has_connection() || !p.layers().has(protocol::tcp) || c.connections != tracker::records(all)) return pass;
    connection& k = all[word.number()];
    if (!k.is_alive()) return pass;
    return look(p, k, word.direction() == connection_direction::reply, c.now);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  nat_table* table;
  std::uint16_t port;

 private:
  [[gnu::noinline]] verdict look(packet& p, connection& k, bool reply, instant now) const noexcept {
    nat_headers h;
    if (!nat_headers_of(p, 6, h) || h.transport == nullptr || h.held < 20) return pass;
    const std::uint32_t sequence = load_be32(h.transport + 4);
    verdict v = pass;
    const bool to_port = load_be16(h.transport + (reply ? 0 : 2)) == port;
    if (to_port) k.helper(true);
    if (to_port && p.segment_size() == 0 && !p.is_chained()) v = announce(p, k, h, reply, now);
    if (v == pass && k.has_status(connection_status::seq_adjust)) {
      if (const sequence_entry* const e = table->sequences().find(table->connections().number_of(k)))
        adjust(h, e->side[reply ? 1 : 0], e->side[reply ? 0 : 1], sequence);
    }
    return v;
  }
  // Has the connection expected that a segment announces, and changes what it says about it.
  verdict announce(packet& p, connection& k, nat_headers& h, bool reply, instant now) const noexcept {
    connection_table& all = table->connections();
    const header_map m{static_cast<const packet&>(p)};
    if (!m.has<tcp>()) return pass;
    const tcp segment = m.get<tcp>();
    const ftp_place place = read_announcement(all, k, segment, reply);
    if (!place.found) return pass;
    const connection_tuple way = reply ? all.reply(k) : all.original(k), back = reply ? all.original(k) : all.reply(k);
    const std::uint16_t own = place.to.destination_port();
    const ipv6_address here = nat_address(way, true), there = nat_address(back, false);
    if (here == there) {  // the other side knows it by the same address; that one's own may be another here
      if (!place.is_new) return pass;
      const bool follows = k.has_status(connection_status::src_nat) || k.has_status(connection_status::dst_nat);
      if (follows) table->expect_translated(k, beside(back, own, 6), way.with_ports(own, 0), now);
      else all.expect_only(k, beside(back, own, 6), false, seconds(300), now);
      return pass;
    }
    const unsigned side = reply ? 1 : 0;
    const std::uint32_t at = segment.sequence_number();
    sequence_entry* e = table->sequences().find(all.number_of(k));
    const bool again = e != nullptr && e->announced[side] == own && e->said_at[side] == at;
    if (!place.is_new && !again) return pass;
    if (e == nullptr) e = table->sequences().find_or_insert(all.number_of(k));
    if (e == nullptr) return lose(k, reply, at, place.is_new, drop_reason::nat_exhausted);
    table->translate_sequences(k);
    const std::uint16_t given = again ? e->given[side] : table->free_announcement(k, back, own, now);
    if (given == 0) return lose(k, reply, at, place.is_new, drop_reason::nat_exhausted);
    text<64> said;
    write(said, place, there, given);
    const std::size_t before = place.size, after = said.size();
    const std::size_t start = segment.header_size() + place.at;
    if (!replace(p, h, start, before, {reinterpret_cast<const std::byte*>(said.c_str()), after}))
      return lose(k, reply, at, place.is_new, drop_reason::nat_untranslatable);
    e->said_at[side] = at, e->announced[side] = own, e->given[side] = given;
    e->side[side].note(at, static_cast<std::uint32_t>(after) - static_cast<std::uint32_t>(before));
    table->expect_translated(k, beside(back, given, 6), way.with_ports(own, 0), now);
    return pass;
  }
  // An announcement is dropped. One that nobody has heard is as new when it is sent again; of one that was heard, its
  // first copy may be acknowledged yet.
  verdict lose(connection& k, bool reply, std::uint32_t at, bool is_new, drop_reason why) const noexcept {
    if (is_new) tracker::unsay(k, reply, at);
    return table->lose(why);
  }
  static void write(text_writer& out, const ftp_place& place, const ipv6_address& a, std::uint16_t given) noexcept {
    if (!place.extended) {
      const std::uint32_t v = unmapped(a).value();
      out << (v >> 24) << ',' << (v >> 16 & 255u) << ',' << (v >> 8 & 255u) << ',' << (v & 255u) << ','
          << std::uint32_t{given} / 256 << ',' << std::uint32_t{given} % 256;
    } else if (place.has_address) {
      out << (is_mapped(a) ? '1' : '2') << place.mark;
      if (is_mapped(a)) print(out, unmapped(a));
      else print(out, a);
      out << place.mark << std::uint32_t{given};
    } else {
      out << std::uint32_t{given};
    }
  }
  // Puts `text` in the place of `size` bytes, `at` bytes behind the beginning of the TCP header. False, and nothing
  // changed, when there is no room, or when the segment is not right as it is.
  static bool replace(packet& p, nat_headers& h, std::size_t at, std::size_t size, bytes with) noexcept {
    const std::size_t before = static_cast<std::size_t>(h.transport - h.network);
    const std::size_t total = h.is_ipv6 ? load_be16(h.network + 4) + std::size_t{40} : load_be16(h.network + 2);
    if (total < before) return false;
    const std::size_t segment = total - before;
    if (segment > h.held || at + size > segment) return false;
    const std::size_t offset = static_cast<std::size_t>(h.transport - p.data()), now = segment - size + with.size();
    if (!h.partial && fold_checksum(add_checksum({h.transport, segment}, tcp_pseudo_header(h, segment))) != 0xffff)
      return false;
    if (before + now > 65535 || !p.trim(offset + segment)) return false;  // what follows is padding of the link
    if (now > segment && p.tailroom() < now - segment) {  // a device that lends its bytes lends no room behind them
      if (!p.keep()) return false;
      h.transport = p.writable().data() + offset;
      h.network = h.transport - before;
    }
    if (now > segment && p.put(now - segment) == nullptr) return false;
    std::byte* const text = h.transport + at;
    __builtin_memmove(text + with.size(), text + size, segment - at - size);
    copy_bytes(text, with.data(), with.size());
    if (now < segment && !p.trim(offset + now)) return false;
    h.held = now;
    if (h.is_ipv6) {
      store_be16(h.network + 4, static_cast<std::uint16_t>(before + now - 40));
    } else {
      sum_change change;
      change.add16(load_be16(h.network + 2), static_cast<std::uint16_t>(before + now));
      store_be16(h.network + 2, static_cast<std::uint16_t>(before + now));
      change.apply(h.network + 10);
    }
    const std::uint64_t pseudo = tcp_pseudo_header(h, now);
    std::byte* const field = h.transport + 16;
    store_be16(field, 0);
    store_be16(field, h.partial ? fold_checksum(pseudo) : checksum({h.transport, now}, pseudo));
    return true;
  }
  // Changes the numbers of a segment that one side sends, and with which it acknowledges the other one.
  static void adjust(const nat_headers& h, const sequence_side& own, const sequence_side& other,
                     std::uint32_t sequence) noexcept {
    sum_change change;
    const auto number = [&](std::byte* at, std::uint32_t v) {
      change.add32(load_be32(at), v);
      store_be32(at, v);
    };
    number(h.transport + 4, sequence + own.of_sequence(sequence));
    if ((load_u8(h.transport + 13) & tcp_flags::ack) != 0) {
      const std::uint32_t ack = load_be32(h.transport + 8);
      number(h.transport + 8, ack - other.of_ack(ack));
    }
    std::size_t end = (load_u8(h.transport + 12) >> 4) * std::size_t{4};
    if (end > h.held) end = h.held;
    for (std::size_t at = 20; at < end;) {
      const std::uint8_t option = load_u8(h.transport + at);
      if (option == 0) break;
      if (option == 1) {
        ++at;
        continue;
      }
      const std::size_t size = at + 1 < end ? load_u8(h.transport + at + 1) : 0;
      if (size < 2 || at + size > end) break;
      // Edges of blocks, which may lie at any address.
      for (std::size_t edge = at + 2; option == 5 && edge + 4 <= at + size; edge += 4) {
        const std::uint32_t v = load_be32(h.transport + edge);
        const std::uint32_t to = v - other.of_ack(v);
        for (std::size_t i = 0; i < 4; ++i) {
          const auto is = static_cast<std::uint16_t>(load_u8(h.transport + edge + i) << ((edge + i) % 2 == 0 ? 8 : 0));
          const auto will = static_cast<std::uint8_t>(to >> (24 - 8 * i));
          change.add16(is, static_cast<std::uint16_t>(will << ((edge + i) % 2 == 0 ? 8 : 0)));
          h.transport[edge + i] = static_cast<std::byte>(will);
        }
      }
      at += size;
    }
    if (!h.partial) change.apply(h.transport + 16);
  }
};

}  // namespace detail

/// In the place of `ftp_helper` where addresses are translated: reads what FTP says on TCP port `port`, has the
/// connections for data expected for five minutes, and changes what it says about them to the addresses outside. Stands
/// behind `track` in the same pipeline, and in front of a port forward (`port` is the one that packets have there). The
/// table has room for `nat_config::sequences` such connections at once; where that is full, and where nothing can be
/// put into a packet, the announcement is dropped, each time that it is sent. Refers to the table, which must outlive
/// the pipeline.
[[nodiscard]] constexpr detail::nat_ftp_stage nat_ftp(nat_table& translations, std::uint16_t port = 21) noexcept {
  return {translations, port};
}

}  // namespace runnel

#endif
