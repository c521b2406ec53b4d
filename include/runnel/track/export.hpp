// SPDX-License-Identifier: MIT
// Connections as bytes, so that a restart or a standby does not lose them: export here, import there.
//
// Theory of operation. A header, one record for each confirmed connection, and a checksum over both. All numbers are
// big-endian, so that the two machines need not be alike. Times are what is left, not when. What does not belong to a
// connection, such as its number and its place in the table, is not in it: an import makes new ones.
//
//     header     "RNLCT" 0, version (2 bytes), how many records (4), bytes of a record (4)
//     record     flags, protocol, TCP state, whether it came to a mapping; status (2), zone (2); mark, labels,
//                milliseconds left, milliseconds of age (4 each); packets and octets of both directions (8 each); two
//                tuples (36 each: two addresses of 16 bytes, ports); the TCP windows (56)
//     trailer    a hash of all before (8): against damage, not against forgery
//
// Version 1 had 0 for the mapping, and is read too. An import is checked whole before the first connection is made: it
// is all or nothing.
#ifndef RUNNEL_TRACK_EXPORT_HPP
#define RUNNEL_TRACK_EXPORT_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/time.hpp>
#include <runnel/track/connection_table.hpp>

namespace runnel {

namespace detail {

inline constexpr std::size_t export_header = 16, export_trailer = 8, export_record = 24 + 32 + 72 + 56;
inline constexpr std::uint16_t export_version = 2;
inline constexpr std::uint8_t export_magic[6] = {'R', 'N', 'L', 'C', 'T', 0};

// Words one after the other, written or read.
class byte_sink {
 public:
  explicit constexpr byte_sink(std::byte* p) noexcept : p_(p) {}
  constexpr void u8(std::uint8_t v) noexcept { store_u8(p_, v), ++p_; }
  constexpr void u16(std::uint16_t v) noexcept { store_be16(p_, v), p_ += 2; }
  constexpr void u32(std::uint32_t v) noexcept { store_be32(p_, v), p_ += 4; }
  constexpr void u64(std::uint64_t v) noexcept { store_be64(p_, v), p_ += 8; }

 private:
  std::byte* p_;
};
class byte_source {
 public:
  explicit constexpr byte_source(const std::byte* p) noexcept : p_(p) {}
  constexpr std::uint8_t u8() noexcept { return load_u8((p_ += 1) - 1); }
  constexpr std::uint16_t u16() noexcept { return load_be16((p_ += 2) - 2); }
  constexpr std::uint32_t u32() noexcept { return load_be32((p_ += 4) - 4); }
  constexpr std::uint64_t u64() noexcept { return load_be64((p_ += 8) - 8); }

 private:
  const std::byte* p_;
};

// The same for all hosts.
[[nodiscard]] constexpr std::uint64_t export_sum(bytes all) noexcept {
  std::uint64_t sum = hash_a;
  std::size_t i = 0;
  for (; i + 8 <= all.size(); i += 8) sum = mix(sum ^ load_be64(all.data() + i));
  for (; i < all.size(); ++i) sum = mix(sum ^ load_u8(all.data() + i));
  return sum;
}
// TCP windows in the order of their members.
template <class Word32, class Word16, class Word8>
constexpr void each_of_window(tcp_window& w, Word32 word, Word16 half, Word8 octet) noexcept {
  for (tcp_side& s : w.side) word(s.end), word(s.max_end), word(s.max_window), word(s.max_ack);
  for (std::uint8_t& v : w.scale) octet(v);
  for (std::uint8_t& v : w.flags) octet(v);
  word(w.last_sequence), word(w.last_ack), word(w.last_end);
  half(w.last_window);
  octet(w.last_index), octet(w.last_direction), octet(w.last_scale), octet(w.last_flags), octet(w.retransmits);
}

// One connection and its record.
struct transfer {
  [[nodiscard]] static constexpr std::uint32_t milliseconds_in(std::int64_t ns) noexcept {
    const std::int64_t ms = ns / 1'000'000;
    return ms < 0 ? 0 : ms > 0xffff'ffff ? 0xffff'ffffu : static_cast<std::uint32_t>(ms);
  }
  static void end_orphans(connection_table& table) noexcept {
    table.expectations_.end_orphans(table.whose_master_lives());
  }
  static void store(const connection_table& table, connection& c, std::byte* p, instant now) noexcept {
    byte_sink to{p};
    const connection_tuple ways[] = {table.original(c), table.reply(c)};
    to.u8(ways[0].is_ipv6() ? 1 : 0), to.u8(c.protocol_), to.u8(static_cast<std::uint8_t>(c.tcp_state()));
    const bool had = (c.tcp_state_ & connection::had_mapping) != 0;  // imported, and not restored yet
    to.u8(had || (c.bits() & connection::maps_destination) != 0 ? 1 : 0);
    to.u16(c.status()), to.u16(c.zone());
    to.u32(c.mark()), to.u32(c.labels());
    to.u32(milliseconds_in(table.remaining(c, now).ns));
    const std::uint32_t age = static_cast<std::uint32_t>(ticks_at(now)) - c.created_;
    to.u32(milliseconds_in(static_cast<std::int64_t>(std::uint64_t{age} << tick_shift)));
    for (const std::uint64_t v : c.packets_) to.u64(v);
    for (const std::uint64_t v : c.octets_) to.u64(v);
    for (const connection_tuple& t : ways) {
      const ipv6_address from = t.source6(), whom = t.destination6();
      to.u64(from.high()), to.u64(from.low()), to.u64(whom.high()), to.u64(whom.low());
      to.u16(t.source_port()), to.u16(t.destination_port());
    }
    tcp_window window;
    if (c.protocol_ == 6 && c.tcp_state() != tcp_connection_state::none) window = c.tcp_;
    each_of_window(
        window, [&](std::uint32_t v) { to.u32(v); }, [&](std::uint16_t v) { to.u16(v); },
        [&](std::uint8_t v) { to.u8(v); });
    to.u8(0);
  }

  struct record {
    std::uint8_t flags = 0, protocol = 0, state = 0, mapped = 0, zero = 0;
    std::uint16_t status = 0, zone = 0;
    std::uint32_t mark = 0, labels = 0, left = 0, age = 0;
    std::uint64_t packets[2] = {}, octets[2] = {};
    std::uint64_t address[2][4] = {};
    std::uint16_t port[2][2] = {};
    tcp_window window;

    explicit record(const std::byte* p) noexcept {
      byte_source from{p};
      flags = from.u8(), protocol = from.u8(), state = from.u8(), mapped = from.u8();
      status = from.u16(), zone = from.u16();
      mark = from.u32(), labels = from.u32(), left = from.u32(), age = from.u32();
      for (std::uint64_t& v : packets) v = from.u64();
      for (std::uint64_t& v : octets) v = from.u64();
      for (unsigned way = 0; way < 2; ++way) {
        for (std::uint64_t& v : address[way]) v = from.u64();
        for (std::uint16_t& v : port[way]) v = from.u16();
      }
      each_of_window(
          window, [&](std::uint32_t& v) { v = from.u32(); }, [&](std::uint16_t& v) { v = from.u16(); },
          [&](std::uint8_t& v) { v = from.u8(); });
      zero = from.u8();
    }
    [[nodiscard]] connection_tuple tuple(unsigned way) const noexcept {
      const std::uint64_t* const a = address[way];
      const std::uint16_t* const ports = port[way];
      if (flags == 0)
        return {ipv4_address{static_cast<std::uint32_t>(a[1])},
                ipv4_address{static_cast<std::uint32_t>(a[3])},
                ports[0],
                ports[1],
                protocol,
                zone};
      return {ipv6_address{a[0], a[1]}, ipv6_address{a[2], a[3]}, ports[0], ports[1], protocol, zone};
    }
    [[nodiscard]] bool is_sound() const noexcept {
      using namespace connection_status;
      constexpr unsigned known =
          expected | seen_reply | assured | confirmed | src_nat | dst_nat | src_nat_done | dst_nat_done;
      if (flags > 1 || zero != 0 || (status & ~known) != 0 || (status & confirmed) == 0 || left == 0) return false;
      if (mapped > 1 || (mapped != 0 && (status & dst_nat) == 0)) return false;
      if (state > (protocol == 6 ? 9 : 0)) return false;  // 0: no segment of it was seen yet
      for (unsigned way = 0; way < 2; ++way) {
        const std::uint64_t* const a = address[way];
        if (flags == 0 && ((a[0] | a[2]) != 0 || (a[1] | a[3]) > 0xffff'ffff)) return false;
        if (window.scale[way] > 14) return false;
      }
      return window.last_index <= 5 && window.last_direction <= 1 && window.last_scale <= 14;
    }
  };
  [[nodiscard]] static bool is_sound(const std::byte* p) noexcept { return record{p}.is_sound(); }

  [[nodiscard]] static bool restore(connection_table& table, const std::byte* p, instant now) noexcept {
    const record r{p};
    const connection_tuple original = r.tuple(0), reply = r.tuple(1);
    const bool full = table.size_ == table.capacity_ ||
                      (r.flags != 0 && table.free6_ == connection_table::none && table.fresh6_ == table.ipv6_capacity_);
    if (full || table.find(original, now).has_connection() || table.find(reply, now).has_connection()) return false;
    table.available_ = table.free_count_;  // no burst is on its way
    ++table.era_;                          // it was born when another one may have had its number
    const std::uint32_t n = table.insert(original, now);
    if (n == connection_table::none) return false;
    connection& c = table[n];
    if (!(reply == original.inverted()) && !table.set_reply(c, reply)) return table.erase(c), false;
    c.bits() |= static_cast<std::uint16_t>(r.status & ~connection_status::confirmed);
    c.mark(r.mark);
    c.labels(r.labels);
    c.tcp_state_ = static_cast<std::uint8_t>(r.state | (r.mapped != 0 ? connection::had_mapping : 0u));
    ::new (static_cast<void*>(&c.tcp_)) tcp_window(r.window);
    for (unsigned way = 0; way < 2; ++way) c.packets_[way] = r.packets[way], c.octets_[way] = r.octets[way];
    const auto ticks = static_cast<std::uint32_t>(ticks_at(now));
    c.deadline_ = ticks + ticks_in(milliseconds(r.left));
    if (!table.confirm(c, now)) return false;
    c.created_ = ticks - ticks_in(milliseconds(r.age));
    return true;
  }
};

}  // namespace detail

/// How many bytes `export_connections` writes at most for a table.
[[nodiscard]] inline std::size_t export_size(const connection_table& table) noexcept {
  return detail::export_header + table.size() * detail::export_record + detail::export_trailer;
}

/// Writes all confirmed connections whose time has not run out to `to`, and says how many bytes that took; 0 when they
/// do not fit: see `export_size`. 184 bytes a connection. Those whose sequence numbers are changed (`nat_ftp`) are left
/// out, for nobody else could go on with them.
[[nodiscard]] inline std::size_t export_connections(connection_table& table, mutable_bytes to, instant now) noexcept {
  std::size_t used = detail::export_header;
  std::uint32_t count = 0;
  bool fits = to.size() >= detail::export_header + detail::export_trailer;
  table.for_each([&](connection& c) {
    if (table.remaining(c, now).ns <= 0 || c.has_status(connection_status::seq_adjust)) return;
    fits = fits && to.size() - used >= detail::export_record + detail::export_trailer;
    if (!fits) return;
    detail::transfer::store(table, c, to.data() + used, now);
    used += detail::export_record;
    ++count;
  });
  if (!fits) return 0;
  detail::byte_sink head{to.data()};
  for (const std::uint8_t b : detail::export_magic) head.u8(b);
  head.u16(detail::export_version);
  head.u32(count);
  head.u32(detail::export_record);
  store_be64(to.data() + used, detail::export_sum(to.first(used)));
  return used + detail::export_trailer;
}

/// What an import did.
struct import_result {
  std::uint32_t imported = 0;  ///< connections that are there now
  std::uint32_t refused = 0;   ///< for which there was no room, or whose packets belong to another one already
};

/// Makes the connections that `export_connections` has written, as of `now`; those that are in the table stay. Input
/// that is cut, damaged or not of a known version is refused whole: nothing is changed then. `nat_table::restore` makes
/// mappings again after it. Which addresses are still this host's nobody asks here: `nat_table::forget` ends those that
/// were translated to one that is not, as examples/gateway/state.hpp does.
[[nodiscard]] inline result<import_result, error> import_connections(connection_table& table, bytes from,
                                                                     instant now) noexcept {
  const auto refuse = [](const char* why, const char* advice) {
    return error("connections", "import", "", why, advice);
  };
  constexpr std::size_t around = detail::export_header + detail::export_trailer;
  if (from.size() < around) return refuse("too short for a header", "give all that was exported");
  detail::byte_source head{from.data()};
  for (const std::uint8_t b : detail::export_magic)
    if (head.u8() != b) return refuse("not an export of connections", "give what export_connections() has written");
  if (const std::uint16_t version = head.u16(); version == 0 || version > detail::export_version)
    return refuse("of another version", "export it again, by the version that imports it");
  const std::uint32_t count = head.u32();
  if (head.u32() != detail::export_record || (from.size() - around) / detail::export_record != count ||
      (from.size() - around) % detail::export_record != 0)
    return refuse("its length is not what its header says", "give all that was exported");
  const bytes summed = from.first(from.size() - detail::export_trailer);
  if (load_be64(from.data() + summed.size()) != detail::export_sum(summed))
    return refuse("damaged: its checksum is wrong", "export it again");
  const std::byte* const first = from.data() + detail::export_header;
  for (std::uint32_t i = 0; i < count; ++i)
    if (!detail::transfer::is_sound(first + i * detail::export_record))
      return refuse("a connection in it cannot be", "give what export_connections() has written");
  import_result done;
  detail::transfer::end_orphans(table);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (detail::transfer::restore(table, first + i * detail::export_record, now)) ++done.imported;
    else ++done.refused;
  }
  return done;
}

}  // namespace runnel

#endif
