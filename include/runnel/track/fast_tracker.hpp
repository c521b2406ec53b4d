// SPDX-License-Identifier: MIT
// One packet and its entry in the flow table: finds it, does what it says, and makes it. Nothing here is for users;
// what the fast path does, and what not, is in fast_path.hpp.
#ifndef RUNNEL_TRACK_FAST_TRACKER_HPP
#define RUNNEL_TRACK_FAST_TRACKER_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/endian.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/context.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/track/flow_change.hpp>
#include <runnel/track/flowtable.hpp>
#include <runnel/track/nat_rewrite.hpp>
#include <runnel/track/tcp_tracker.hpp>
#include <runnel/track/tracker.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/dissect.hpp>

namespace runnel::detail {

struct fast_tracker {
  static constexpr std::size_t at_once = 32;
  enum class look : std::uint8_t { plain4, plain6, unknown6, strange };  // unknown6: IPv6 of no connection
  // What is known of a packet on its way through a burst.
  struct slot {
    std::uint64_t addresses;  // as in flow_entry
    std::uint64_t ports;
    flow_entry* entry;  // null: there is none
    union {
      connection* its;       // whose number the entry has
      std::uint64_t behind;  // without an entry: the bit of its connection in facts::behind, or 0
    };
    std::uint32_t hash;   // says where it should lie
    std::uint16_t state;  // as in flow_entry, of this time
    look kind;
    bool is_tcp;
  };
  // What is the same for all packets of a burst.
  struct facts {
    connection_table& table;
    flowtable& flows;
    connection* records;
    flow_entry* entries;
    std::uint32_t mask;
    std::uint32_t lifetime;
    std::uint64_t now;  // in ticks
    std::uint64_t zone;
    std::uint64_t seeds[2];
    std::uint32_t state;       // the bits of all entries of this time
    std::uint64_t behind = 0;  // connections, by the lower bits of their numbers, of which a packet went the slow way
    bool beside = false;       // not all packets have an entry in its own line
  };

  static facts facts_of(flowtable& f, std::uint16_t zone, instant now) noexcept {
    if (f.era_ != f.connections_.era_) [[unlikely]] {
      f.era_ = f.connections_.era_;
      f.clear();
    }
    return {f.connections_, f,    f.connections_.records_,         f.entries_,        f.mask_, f.lifetime_,
            ticks_at(now),  zone, {first_seed(f), second_seed(f)}, f.generation_ << 2};
  }

  // Headers at their usual places from the beginning of the packet on. Nobody can predict whether it is TCP: nothing
  // here asks that by a branch.
  RUNNEL_INLINE static look look_of(const packet& p, bool& is_tcp) noexcept {
    constexpr packed_layers tcp_bit = bit(protocol::tcp), udp_bit = bit(protocol::udp);
    constexpr unsigned parsed = unsigned{bit(protocol::parsed)} | bit(protocol::transport);
    constexpr packed_layers plain4 = pack_layers(parsed | bit(protocol::ipv4), 14, 34, 14, drop_reason::none);
    constexpr packed_layers plain6 = pack_layers(parsed | bit(protocol::ipv6), 14, 54, 14, drop_reason::none);
    const packed_layers placed =
        pack_layers(p.layers()) - (std::uint64_t{1} << 16 | std::uint64_t{1} << 32) * p.headroom();
    const packed_layers rest4 = placed ^ plain4, rest6 = placed ^ plain6;
    is_tcp = (placed & tcp_bit) != 0;
    const std::uint32_t least = 42 + 12 * std::uint32_t{is_tcp};
    if ((unsigned{rest4 == tcp_bit} | unsigned{rest4 == udp_bit}) != 0 && p.length() >= least) [[likely]]
      return look::plain4;
    return (rest6 == tcp_bit || rest6 == udp_bit) && p.length() >= least + 20 ? look::plain6 : look::strange;
  }

  // ---- three steps, each over many packets: read and hash

  RUNNEL_INLINE static void read(const facts& f, const packet& p, slot& s) noexcept {
    bool is_tcp = false;
    const look kind = look_of(p, is_tcp);
    s.kind = kind, s.is_tcp = is_tcp;
    std::uint64_t addresses = 0, ports = std::uint64_t{p.iif()} << 32 | f.zone << 48;
    if (kind == look::plain4) [[likely]] {
      addresses = load<std::uint64_t>(p.data() + 26);
      ports |= load<std::uint32_t>(p.data() + 34);
    } else {
      const std::uint32_t flow = kind == look::plain6 ? flow_of(f, p) : no_flow;
      if (flow == no_flow) {
        s.kind = kind == look::plain6 ? look::unknown6 : look::strange;
        return;
      }
      addresses = flow;
    }
    s.addresses = addresses, s.ports = ports;
    s.state = static_cast<std::uint16_t>(f.state | (kind == look::plain6 ? 2u : 0u) | unsigned{is_tcp});
    s.hash = hash_of(f.seeds[0], f.seeds[1], addresses, ports);
    prefetch_to_read(f.entries + (s.hash & f.mask));
  }

  // ---- search

  RUNNEL_INLINE static void search(facts& f, slot& s) noexcept {
    if (s.kind > look::plain6) [[unlikely]]
      return look_beside(f, s);
    flow_entry* const e = f.entries + (s.hash & f.mask);
    if (!is_of(*e, s.addresses, s.ports, s.state)) [[unlikely]]
      return look_beside(f, s);
    take_entry(f, s, e);
  }
  // Of `n` packets, how many have no entry, and which. Only where one was not found in its own line.
  [[nodiscard, gnu::noinline]] static std::size_t search_beside(facts& f, slot* slots, std::size_t n,
                                                                std::uint8_t* which) noexcept {
    std::size_t missing = 0;
    f.beside = false;
    for (std::size_t i = 0; i < n; ++i) {
      slot& s = slots[i];
      if (s.entry != nullptr) continue;
      s.behind = 0;
      if (s.kind <= look::plain6 && !is_free(f.entries[s.hash & f.mask]))
        for (std::uint32_t beside = 1; beside < 4 && s.entry == nullptr; ++beside)
          if (flow_entry& e = f.entries[(s.hash & f.mask) ^ beside]; is_of(e, s.addresses, s.ports, s.state))
            take_entry(f, s, &e);
      if (s.entry == nullptr) which[missing++] = static_cast<std::uint8_t>(i);
    }
    return missing;
  }
  // The bits of the connections of `n` packets, 32 at most: `to(i, bit)` for `at(i)`.
  template <class At, class To>
  static void each_connection(const facts& f, std::size_t n, At at, To to) noexcept {
    raw_array<tracker::slot, at_once> found;
    for (std::size_t i = 0; i < n; ++i) tracker::read(f.table, at(i), static_cast<std::uint16_t>(f.zone), found[i]);
    for (std::size_t i = 0; i < n; ++i) {
      tracker::search(f.table, found[i]);
      const bool has_one = found[i].place != tracker::none && found[i].found.kind == tuple_kind::whole;
      to(i, has_one ? bit_of(f.table.index_.at(found[i].place).number()) : 0);
    }
  }
  [[gnu::noinline]] static void find_connections(const facts& f, const packet* packets, slot* slots,
                                                 const std::uint8_t* which, std::size_t n) noexcept {
    each_connection(
        f, n, [&](std::size_t i) -> const packet& { return packets[which[i]]; },
        [&](std::size_t i, std::uint64_t bit) { slots[which[i]].behind = bit; });
  }
  // All of these packets have gone the slow way.
  [[gnu::noinline]] static void let_go_first(facts& f, const packet* packets, std::size_t n) noexcept {
    each_connection(
        f, n, [&](std::size_t i) -> const packet& { return packets[i]; },
        [&](std::size_t, std::uint64_t bit) { f.behind |= bit; });
  }

  // ---- go, or not

  // Whether the packet went the fast way: it is ready then. Else nothing was changed but counters.
  template <bool Tcp>
  RUNNEL_INLINE static bool go(facts& f, packet& p, const slot& s) noexcept {
    const flow_entry* const e = s.entry;
    if (e == nullptr) [[unlikely]]
      return miss(f, p, s);
    connection& c = *s.its;
    if (((e->state ^ s.state) | (e->born ^ c.created_)) != 0 ||
        !(e->until - static_cast<std::uint32_t>(f.now) - 1 < f.lifetime)) [[unlikely]]
      return stay(f, p, s, f.flows.statistics_.stale);
    if (f.behind != 0 && (f.behind & bit_of(e->flow >> 1)) != 0) [[unlikely]]
      return stay(f, p, s, f.flows.statistics_.exceptions);
    if (!(s.kind == look::plain4 ? go4<Tcp>(f, p, *e, c) : go6(f, p, Tcp, *e, c))) [[unlikely]]
      return stay(f, p, s, f.flows.statistics_.exceptions);
    p.connection(connection_word::of(connection_state::established).value | (e->flow & 1u) << 3);
    p.scratch(e->scratch);
    return true;
  }

  // Remembers how the packets of a flow look that leave like this one, if the fast way can do it exactly.
  static void add(flowtable& flows, const packet& p, const context& x) noexcept {
    const connection_word word{p.connection()};
    connection_table& t = flows.connections_;
    if (word.state() != connection_state::established || !word.has_connection() || x.connections != t.records_) return;
    const connection& c = t.records_[word.number()];
    const std::uint64_t now = ticks_at(x.now);
    bool is_tcp = false;
    const look kind = look_of(p, is_tcp);
    if (!has_good_status(c, is_tcp) || c.created_ == static_cast<std::uint32_t>(now) || kind == look::strange) return;
    const bool reply = word.direction() == connection_direction::reply;
    const connection_tuple from = t.tuple_of(c, reply), to = t.tuple_of(c, !reply, true);
    const std::byte* const network = p.data() + 14;
    const bool v6 = kind == look::plain6;
    if (v6 != to.is_ipv6() || !looks_like(network, v6, to)) return;
    const std::uint32_t flow = word.number() * 2 + (reply ? 1 : 0);
    const std::uint64_t addresses = v6 ? flow : to_big(from.addresses4());
    const std::uint64_t ports = (v6 ? 0 : to_big(std::uint32_t{from.source_port()} << 16 | from.destination_port())) |
                                std::uint64_t{p.iif()} << 32 | std::uint64_t{from.zone()} << 48;
    const auto state = static_cast<std::uint16_t>(flows.generation_ << 2 | (v6 ? 2u : 0u) | (is_tcp ? 1u : 0u));
    const std::uint32_t hash = hash_of(first_seed(flows), second_seed(flows), addresses, ports);
    // It came with other headers before these: what comes without them is another flow, whatever it claims.
    if (!p.looked(digest_of(hash, state))) return;
    if (p.iif() == 0) {
      ++flows.statistics_.no_iif;
      return;
    }
    flow_entry* const e = place_for(flows, addresses, ports, state, hash, now);
    if (e == nullptr) {
      ++flows.statistics_.full;
      return;
    }
    const std::uint32_t said = v6 ? load_be16(network + 4) + 40u : load_be16(network + 2);
    const std::uint32_t wire = on_wire(p, said, v6 ? 54 : 34, is_tcp);
    const auto size = static_cast<std::uint16_t>(wire < 0xffff ? wire : 0xffff);
    const bool again = is_of(*e, addresses, ports, state) && is_used(flows, *e, now) && e->flow == flow;
    // A short packet says nothing about long ones: it does not keep their entry alive.
    if (again && size < e->longest && e->scratch == p.scratch() && is_link_of(*e, p.data())) return;
    ++(again ? flows.statistics_.renewed : flows.statistics_.added);
    e->longest = size;
    e->addresses = addresses, e->ports = ports, e->state = state;
    e->until = static_cast<std::uint32_t>(now) + flows.lifetime_;
    e->flow = flow, e->born = c.created_;
    copy_bytes(e->link, p.data(), sizeof e->link);
    e->scratch = p.scratch();
    if (!v6) note_changes(*e, network, c.bits());
  }

 private:
  static constexpr std::uint32_t no_flow = 0xffff'ffff;

  // The seed is in both factors: whoever knew one of them could make it 0, and all products alike.
  [[nodiscard]] static std::uint64_t first_seed(const flowtable& f) noexcept { return f.seed_ ^ hash_a; }
  [[nodiscard]] static std::uint64_t second_seed(const flowtable& f) noexcept {
    return (f.seed_ << 32 | f.seed_ >> 32) ^ hash_b;
  }
  [[nodiscard]] RUNNEL_INLINE static std::uint32_t hash_of(std::uint64_t seed, std::uint64_t other,
                                                           std::uint64_t addresses, std::uint64_t ports) noexcept {
    return static_cast<std::uint32_t>(multiply_fold(addresses ^ seed, ports ^ other));
  }
  // How a packet looks when it comes: the same of two packets only if they are of one flow.
  [[nodiscard]] RUNNEL_INLINE static std::uint32_t digest_of(std::uint32_t hash, std::uint16_t state) noexcept {
    return hash ^ (state & 3u);
  }
  RUNNEL_INLINE static bool is_of(const flow_entry& e, std::uint64_t addresses, std::uint64_t ports,
                                  std::uint16_t state) noexcept {
    return ((e.addresses ^ addresses) | (e.ports ^ ports) | ((e.state ^ std::uint32_t{state}) & 3u)) == 0;
  }
  // Nobody has lain there since the beginning: nobody had to go beside.
  static bool is_free(const flow_entry& e) noexcept { return e.state >> 2 == 0; }
  [[gnu::noinline]] static void look_beside(facts& f, slot& s) noexcept {
    s.entry = nullptr;
    f.beside = true;
    if (s.kind > look::plain6 || is_free(f.entries[s.hash & f.mask])) return;
    for (std::uint32_t beside = 1; beside < 4; ++beside) prefetch_to_read(f.entries + ((s.hash & f.mask) ^ beside));
  }
  RUNNEL_INLINE static void take_entry(const facts& f, slot& s, flow_entry* e) noexcept {
    s.entry = e;
    s.its = f.records + (e->flow >> 1);
    prefetch_to_write(s.its);
    prefetch_to_write(reinterpret_cast<const std::byte*>(s.its) + (std::size_t{s.is_tcp} << 6));
  }
  RUNNEL_INLINE static std::uint64_t bit_of(std::uint32_t number) noexcept {
    return std::uint64_t{1} << (number & 63u);
  }
  static bool is_link_of(const flow_entry& e, const std::byte* link) noexcept {
    return load<std::uint64_t>(e.link) == load<std::uint64_t>(link) &&
           load<std::uint32_t>(e.link + 8) == load<std::uint32_t>(link + 8);
  }
  // Where a flow lies, or may; null where others are.
  static flow_entry* place_for(const flowtable& f, std::uint64_t addresses, std::uint64_t ports, std::uint16_t state,
                               std::uint32_t hash, std::uint64_t now) noexcept {
    flow_entry* free = nullptr;
    const std::uint32_t line = hash & f.mask_;
    for (std::uint32_t beside = 0; beside < 4; ++beside) {
      flow_entry& e = f.entries_[line ^ beside];
      if (is_of(e, addresses, ports, state)) return &e;
      if (free == nullptr && !is_used(f, e, now)) free = &e;
    }
    return free;
  }
  // Whether a connection still lives by an entry.
  static bool is_used(const flowtable& f, const flow_entry& e, std::uint64_t now) noexcept {
    // Between 1 and a lifetime: what has lain there for longer than 32 bits count is not taken for new.
    if (e.state >> 2 != f.generation_ || e.until - static_cast<std::uint32_t>(now) - 1 >= f.lifetime_) return false;
    const connection& c = f.connections_.records_[e.flow >> 1];
    return f.connections_.is_confirmed(c) && c.created_ == e.born;
  }
  RUNNEL_INLINE static bool has_good_status(const connection& c, bool is_tcp) noexcept {
    using namespace connection_status;
    const unsigned wanted = unsigned{confirmed} | seen_reply | (is_tcp ? unsigned{assured} : 0u);
    // One word for both.
    const unsigned is = c.protocol_ | unsigned{c.tcp_state_} << 8;
    const unsigned state = is_tcp ? 6u | unsigned{tcp_transitions::est} << 8 : 17u;
    return (((c.bits() & (wanted | seq_adjust)) ^ wanted) | (is ^ state)) == 0;
  }

  // The number of the connection that a packet of TCP or UDP belongs to, twice, plus its direction.
  [[gnu::noinline]] static std::uint32_t flow_of(const facts& f, const packet& p) noexcept {
    packet_tuple found;
    read_tuple(p, static_cast<std::uint16_t>(f.zone), found);
    const std::uint8_t protocol_number = found.tuple.protocol_number();
    if (found.kind != tuple_kind::whole || (protocol_number != 6 && protocol_number != 17)) return no_flow;
    const tuple_key k = found.tuple.key(f.table.index_.seed());
    const std::uint32_t place = f.table.find_place(k, f.table.index_.home(k), found.tuple);
    if (place == connection_index::none) return no_flow;
    const place_reference to = f.table.index_.at(place);
    return to.number() * 2 + to.direction(k.turned);
  }
  // The packet goes the slow way, and those behind it of the same connection as well.
  [[gnu::noinline]] static bool stay(facts& f, packet& p, const slot& s, std::uint64_t& why) noexcept {
    ++why;
    p.note_look(digest_of(s.hash, s.state));
    const flow_entry& e = *s.entry;
    const bool is_its = ((e.state ^ s.state) | (e.born ^ s.its->created_)) == 0 && f.table.is_confirmed(*s.its);
    if (const std::uint32_t flow = is_its ? e.flow : flow_of(f, p); flow != no_flow) f.behind |= bit_of(flow >> 1);
    return false;
  }
  // The same of a packet without an entry.
  [[gnu::noinline]] static bool miss(facts& f, packet& p, const slot& s) noexcept {
    ++(s.kind == look::strange ? f.flows.statistics_.other : f.flows.statistics_.misses);
    if (s.kind <= look::plain6) p.note_look(digest_of(s.hash, s.state));
    f.behind |= s.behind;
    return false;
  }

  // How long it is on the wire, from the IP header on: of a packet that will be cut into segments, one of them.
  RUNNEL_INLINE static std::uint32_t on_wire(const packet& p, std::uint32_t size, std::uint32_t transport,
                                             bool is_tcp) noexcept {
    if (p.segment_size() == 0) [[likely]]
      return size;
    const std::uint32_t header = is_tcp ? (load_u8(p.data() + transport + 12) >> 4) * 4u : 8u;
    const std::uint32_t segment = transport - 14 + header + p.segment_size();
    return segment < size ? segment : size;
  }
  // What has to be true of any packet whose flow is known.
  RUNNEL_INLINE static bool is_usual(const facts& f, const packet& p, const connection& c, bool is_tcp) noexcept {
    return has_good_status(c, is_tcp) && !f.table.is_over(c, f.now) && p.connection() == 0 &&
           (load_u8(p.data()) & 1u) == 0 && !p.is_shared() &&
           (!f.table.options_.checksum || p.checksum() != checksum_status::unknown);
  }
  template <bool Tcp>
  RUNNEL_INLINE static bool go4(facts& f, packet& p, const flow_entry& e, connection& c) noexcept {
    const std::byte* const link = p.data();
    const std::uint32_t size = load_be16(link + 16);
    // The header in three words, each addition with its carry.
    std::uint64_t sum = 0;
    bool carry = __builtin_add_overflow(load<std::uint64_t>(link + 14), load<std::uint64_t>(link + 22), &sum);
    carry = __builtin_add_overflow(sum, std::uint64_t{load<std::uint32_t>(link + 30)} + unsigned{carry}, &sum);
    sum += unsigned{carry};
    if (!is_usual(f, p, c, Tcp) || on_wire(p, size, 34, Tcp) > e.longest || size < 28u || load_u8(link + 22) <= 1 ||
        fold_checksum(sum) != 0xffff)
      return false;
    bool followed = false;
    if constexpr (Tcp) followed = follow_tcp(f, c, e.flow & 1u, link + 34, size - 20, p.length() - 34, size);
    else followed = follow_udp(f, c, e.flow & 1u, size);
    if (!followed) [[unlikely]]
      return false;
    std::byte* const to = p.writable().data();
    std::byte* const transport_sum = to + (Tcp ? 50 : 40);
    if (p.checksum() == checksum_status::partial) [[unlikely]]
      change_partial(transport_sum, e, c);
    else if (Tcp) change_sum(transport_sum, e.sum_change);
    else if (load<std::uint16_t>(transport_sum) != 0) change_udp_sum(transport_sum, e.sum_change);
    write4(to, e);
    return true;
  }
  RUNNEL_INLINE static void write4(std::byte* to, const flow_entry& e) noexcept {
    store(to + 22, static_cast<std::uint8_t>(load_u8(to + 22) - 1));
    change_sum(to + 24, e.network_change);
    copy_bytes(to + 26, e.new_addresses, 8);
    copy_bytes(to + 34, e.new_ports, 4);
    write_link(to, e);
  }
  // The sum of a pseudo-header.
  [[gnu::noinline]] static void change_partial(std::byte* at, const flow_entry& e, const connection& c) noexcept {
    store(at, fold_checksum(load<std::uint16_t>(at) + gain_of(e, c.bits()).addresses));
  }
  [[gnu::noinline]] static bool go6(facts& f, packet& p, bool is_tcp, const flow_entry& e, connection& c) noexcept {
    const std::byte* const link = p.data();
    const std::uint32_t size = load_be16(link + 18) + 40u;
    if (!is_usual(f, p, c, is_tcp) || on_wire(p, size, 54, is_tcp) > e.longest || size < 48u || load_u8(link + 21) <= 1)
      return false;
    if (!(is_tcp ? follow_tcp(f, c, e.flow & 1u, link + 54, size - 40, p.length() - 54, size)
                 : follow_udp(f, c, e.flow & 1u, size)))
      return false;
    std::byte* const to = p.writable().data();
    store(to + 21, static_cast<std::uint8_t>(load_u8(to + 21) - 1));
    const bool reply = (e.flow & 1u) != 0;
    using namespace connection_status;
    if ((c.bits() & (src_nat | dst_nat)) != 0) {
      const connection_tuple looks = f.table.tuple_of(c, !reply, true);
      nat_headers h;
      h.network = to + 14, h.transport = to + 54, h.held = p.length() - std::size_t{54};
      h.protocol = c.protocol_, h.is_ipv6 = true, h.partial = p.checksum() == checksum_status::partial;
      if ((c.bits() & (reply ? src_nat : dst_nat)) != 0) rewrite_headers(h, looks, false);
      if ((c.bits() & (reply ? dst_nat : src_nat)) != 0) rewrite_headers(h, looks, true);
    }
    write_link(to, e);
    return true;
  }
  RUNNEL_INLINE static void write_link(std::byte* to, const flow_entry& e) noexcept {
    copy_bytes(to, e.link, sizeof e.link);
  }
  // ---- what `tracker::follow` does of packets that change no state

  RUNNEL_INLINE static void refresh(facts& f, connection& c, unsigned direction, std::uint32_t size,
                                    std::uint32_t ticks) noexcept {
    ++c.packets_[direction];
    c.octets_[direction] += size;
    const std::uint32_t deadline = static_cast<std::uint32_t>(f.now) + ticks;
    if (static_cast<std::int32_t>(deadline - c.deadline_) >= 0) [[likely]]
      c.deadline_ = deadline;
    else f.table.refresh_ticks(c, ticks, f.now);
  }
  RUNNEL_INLINE static bool follow_udp(facts& f, connection& c, unsigned direction, std::uint32_t size) noexcept {
    const bool stream = (c.bits() & connection_status::assured) != 0;
    // It becomes a stream: that is an event.
    if (!stream && tracker::is_old_enough(c, f.now)) [[unlikely]]
      return false;
    refresh(f, c, direction, size, f.table.ticks_[stream ? timeout_udp_stream : timeout_udp]);
    return true;
  }
  RUNNEL_INLINE static bool follow_tcp(facts& f, connection& c, unsigned direction, const std::byte* transport,
                                       std::uint32_t payload, std::size_t held, std::uint32_t size) noexcept {
    using flag = tcp_flags;
    const std::uint32_t word = load_be32(transport + 12), header = word >> 28 << 2;
    tcp_segment g;
    g.flags = static_cast<std::uint8_t>(word >> 16);
    g.window = static_cast<std::uint16_t>(word);
    g.sequence = load_be32(transport + 4);
    g.ack = load_be32(transport + 8);
    g.end = g.sequence + (payload - header);
    if ((g.flags & (flag::fin | flag::syn | flag::rst | flag::urg | flag::ack)) != flag::ack || payload < header)
      return false;
    if (header != 20 && (header != 32 || held < 32 || load_be32(transport + 20) != 0x0101'080a)) return false;
    tcp_window& w = c.tcp_;
    const tcp_side &sender = w.side[direction], &receiver = w.side[direction ^ 1u];
    // As tcp_in_window() has it.
    const std::uint32_t ack_window = sender.max_window > 66000 ? sender.max_window : 66000;
    if (sender.max_window == 0 || !is_before(g.sequence, sender.max_end + 1) ||
        !is_after(g.end, sender.end - receiver.max_window - 1) || !is_before(g.ack, receiver.end + 1) ||
        !is_after(g.ack, receiver.end - ack_window - 1))
      return false;
    std::uint8_t& flags = w.flags[direction];
    flags = static_cast<std::uint8_t>((flags & ~unsigned{continues}) |
                                      (g.sequence == sender.end ? unsigned{continues} : 0u));
    tcp_learn(w, direction, kind_ack, g, g.sequence, g.end, g.ack, g.ack);
    w.last_index = kind_ack;
    w.last_direction = static_cast<std::uint8_t>(direction);
    const std::uint8_t timeout = tcp_timeout(w, kind_ack, tcp_transitions::est, f.table.options_, f.table.ticks_);
    refresh(f, c, direction, size, f.table.ticks_[timeout]);
    return true;
  }

  // ---- what an entry says

  static bool looks_like(const std::byte* network, bool v6, const connection_tuple& t) noexcept {
    const std::byte* const transport = network + (v6 ? 40 : 20);
    if (load_be16(transport) != t.source_port() || load_be16(transport + 2) != t.destination_port()) return false;
    if (!v6) return load_be64(network + 12) == t.addresses4();
    return ipv6_address::load(network + 8) == t.source6() && ipv6_address::load(network + 24) == t.destination6();
  }
};

}  // namespace runnel::detail

#endif
