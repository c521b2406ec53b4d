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
#include <runnel/track/fast_follow.hpp>
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
    flow_entry* entry;        // where it should lie, and then where it does; null: there is none
    std::uint64_t ports;
    union {
      connection* its;       // whose number the entry has
      std::uint64_t behind;  // without an entry: the bit of its connection in facts::behind, or 0
    };
    packet* of;
    std::uint32_t hash;   // says where it should lie
    std::uint32_t state;  // as in flow_entry, of this time
    look kind;
    bool is_stale;  // without an entry: it had one before the table was cleared
  };
  // What is the same for all packets of a burst.
  struct facts {
    connection_table& table;
    flowtable& flows;
    connection* records;
    flow_entry* entries;
    std::uint32_t mask;
    std::uint32_t lifetime;
    std::uint64_t now;   // in ticks
    std::uint32_t next;  // behind that one
    std::uint64_t zone;  // where it is in flow_entry::ports
    std::uint64_t seeds[2];
    std::uint32_t state;        // the bits of all entries of this time
    std::uint32_t asked, said;  // what most packets say of their bytes and checksum: these bits, as in descriptor
    std::uint64_t behind = 0;   // connections, by the lower bits of their numbers, of which a packet went the slow way
    packet* packets;
    verdict* ways;  // one for each packet, at first `pass` by the first way
    std::size_t stayed = 0;
    bool beside = false;  // not all packets have an entry in its own line
  };

  static facts facts_of(flowtable& f, std::uint16_t zone, instant now, packet* packets, verdict* ways) noexcept {
    if (f.era_ != f.connections_.era_) [[unlikely]] {
      f.era_ = f.connections_.era_;
      f.clear();
    }
    constexpr auto partial = static_cast<std::uint8_t>(checksum_status::partial);
    constexpr auto verified = static_cast<std::uint8_t>(checksum_status::verified);
    const bool checks = f.connections_.options_.checksum;
    const auto asked = static_cast<std::uint8_t>(checks ? partial | verified : partial);
    return {.table = f.connections_,
            .flows = f,
            .records = f.connections_.records_,
            .entries = f.entries_,
            .mask = f.mask_,
            .lifetime = f.lifetime_,
            .now = ticks_at(now),
            .next = static_cast<std::uint32_t>(ticks_at(now)) + 1,
            .zone = std::uint64_t{zone} << 48,
            .seeds = {first_seed(f), second_seed(f)},
            .state = f.generation_ << 2,
            .asked = special_and_status(maybe_shared | is_clone, asked),
            .said = special_and_status(0, checks ? verified : std::uint8_t{0}),
            .packets = packets,
            .ways = ways};
  }

  // Headers at their usual places from the beginning of the packet on. Nobody can predict whether it is TCP: nothing
  // here asks that by a branch. Whether the header of TCP is whole is for `is_whole` to say.
  RUNNEL_INLINE static look look_of(const packet& p, std::size_t& is_tcp) noexcept {
    constexpr packed_layers tcp_bit = bit(protocol::tcp), udp_bit = bit(protocol::udp);
    constexpr unsigned parsed = unsigned{bit(protocol::parsed)} | bit(protocol::transport);
    constexpr packed_layers plain4 = pack_layers(parsed | bit(protocol::ipv4), 14, 34, 14, drop_reason::none);
    constexpr packed_layers plain6 = pack_layers(parsed | bit(protocol::ipv6), 14, 54, 14, drop_reason::none);
    const packed_layers placed =
        pack_layers(p.layers()) - (std::uint64_t{1} << 16 | std::uint64_t{1} << 32) * p.headroom();
    const packed_layers rest4 = placed ^ plain4, rest6 = placed ^ plain6;
    is_tcp = static_cast<std::size_t>(placed / tcp_bit & 1u);
    if ((unsigned{rest4 == tcp_bit} | unsigned{rest4 == udp_bit}) != 0 && p.length() >= 42) [[likely]]
      return look::plain4;
    return (rest6 == tcp_bit || rest6 == udp_bit) && p.length() >= 62 ? look::plain6 : look::strange;
  }
  RUNNEL_INLINE static bool is_whole(const packet& p, bool v6, bool is_tcp) noexcept {
    return p.length() >= (v6 ? 62u : 42u) + (is_tcp ? 12u : 0u);
  }

  // ---- three steps, each over many packets: read and hash

  // What is TCP comes behind the `tcp` others before it, all else before what is `to_come`, from the end on; no
  // connection has both.
  RUNNEL_INLINE static void read(const facts& f, packet& p, slot* slots, std::size_t& tcp,
                                 std::size_t to_come) noexcept {
    std::size_t is_tcp = 0;
    const look kind = look_of(p, is_tcp);
    slot& s = slots[tcp + (to_come & (is_tcp - 1))];
    tcp += is_tcp;
    s.of = &p;
    if (kind != look::plain4) [[unlikely]]
      return read_other(f, p, kind, is_tcp != 0, s);
    s.kind = look::plain4;
    s.state = f.state | static_cast<std::uint32_t>(is_tcp);
    place(f, s, load<std::uint64_t>(p.data() + 26),
          std::uint64_t{p.iif()} << 32 | f.zone | load<std::uint32_t>(p.data() + 34));
  }
  [[gnu::noinline]] static void read_other(const facts& f, const packet& p, look kind, bool is_tcp, slot& s) noexcept {
    const std::uint32_t flow = kind == look::plain6 ? flow_of(f, p) : no_flow;
    if (flow == no_flow) {
      s.kind = kind == look::plain6 ? look::unknown6 : look::strange;
      s.state = 1;  // no entry has that
      s.addresses = 0, s.ports = 0, s.hash = 0, s.entry = f.entries;
      return;
    }
    s.kind = kind;
    s.state = f.state | 2u | unsigned{is_tcp};
    place(f, s, flow, std::uint64_t{p.iif()} << 32 | f.zone);
  }
  RUNNEL_INLINE static void place(const facts& f, slot& s, std::uint64_t addresses, std::uint64_t ports) noexcept {
    s.addresses = addresses, s.ports = ports;
    s.hash = hash_of(f.seeds[0], f.seeds[1], addresses, ports);
    s.entry = f.entries + (s.hash & f.mask);
    prefetch_to_read(s.entry);
  }

  // ---- search

  template <bool Tcp>
  RUNNEL_INLINE static void search(facts& f, slot& s) noexcept {
    if (!is_now(*s.entry, s)) [[unlikely]]
      return look_beside(f, s);
    take_entry(f, s, s.entry);
    prefetch_to_write(s.its);
    if constexpr (Tcp) prefetch_to_write(reinterpret_cast<const std::byte*>(s.its) + 64);
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
      s.is_stale = false;
      if (s.kind <= look::plain6 && !is_free(f.entries[s.hash & f.mask]))
        for (std::uint32_t beside = 0; beside < 4 && s.entry == nullptr; ++beside) {
          flow_entry& e = f.entries[(s.hash & f.mask) ^ beside];
          if (is_now(e, s)) take_entry(f, s, &e);
          else s.is_stale |= is_of(e, s.addresses, s.ports, s.state);
        }
      if (s.entry == nullptr) which[missing++] = static_cast<std::uint8_t>(i);
    }
    return missing;
  }
  // The bits of the connections of `n` packets, 32 at most: `to(i, bit)` for `at(i)`.
  template <class At, class To>
  static void each_connection(const facts& f, std::size_t n, At at, To to) noexcept {
    raw_array<tracker::slot, at_once> found;
    for (std::size_t i = 0; i < n; ++i)
      tracker::read(f.table, at(i), static_cast<std::uint16_t>(f.zone >> 48), found[i]);
    for (std::size_t i = 0; i < n; ++i) {
      tracker::search(f.table, found[i]);
      const bool has_one = found[i].place != tracker::none && found[i].found.kind == tuple_kind::whole;
      to(i, has_one ? bit_of(f.table.index_.at(found[i].place).number()) : 0);
    }
  }
  [[gnu::noinline]] static void find_connections(const facts& f, slot* slots, const std::uint8_t* which,
                                                 std::size_t n) noexcept {
    each_connection(
        f, n, [&](std::size_t i) -> const packet& { return *slots[which[i]].of; },
        [&](std::size_t i, std::uint64_t bit) { slots[which[i]].behind = bit; });
  }
  // All of these packets have gone the slow way.
  [[gnu::noinline]] static void let_go_first(facts& f, const packet* packets, std::size_t n) noexcept {
    each_connection(
        f, n, [&](std::size_t i) -> const packet& { return packets[i]; },
        [&](std::size_t, std::uint64_t bit) { f.behind |= bit; });
  }

  // ---- go, or not

  // The packet is ready then, or goes the slow way, and nothing was changed but counters.
  template <bool Tcp>
  RUNNEL_INLINE static void go(facts& f, const slot& s) noexcept {
    const flow_entry* const e = s.entry;
    if (e == nullptr) [[unlikely]]
      return miss(f, s);
    connection& c = *s.its;
    if (e->born != c.created_ || !(e->until - f.next < f.lifetime)) [[unlikely]]
      return stay(f, s, f.flows.statistics_.stale);
    if (f.behind != 0 && (f.behind & bit_of(e->flow >> 1)) != 0) [[unlikely]]
      return stay(f, s, f.flows.statistics_.exceptions);
    packet& p = *s.of;
    if (!is_plain(f, p, s)) [[unlikely]]
      return go_carefully(f, s, Tcp);
    if (!go4<false>(f, p, Tcp, *e, c)) [[unlikely]]
      return stay(f, s, f.flows.statistics_.exceptions);
    leave(p, *e);
  }

  // The same of packets none of which has an entry.
  [[gnu::noinline]] static void miss_all(facts& f, const slot* slots, std::size_t n) noexcept {
    for (std::size_t i = 0; i < n; ++i) miss_one(f, slots[i]);
  }

  // Remembers how the packets of a flow look that leave like this one, if the fast way can do it exactly.
  static void add(flowtable& flows, const packet& p, const context& x) noexcept {
    const connection_word word{p.connection()};
    connection_table& t = flows.connections_;
    if (word.state() != connection_state::established || !word.has_connection() || x.connections != t.records_) return;
    const connection& c = t.records_[word.number()];
    const std::uint64_t now = ticks_at(x.now);
    std::size_t tcp = 0;
    const look kind = look_of(p, tcp);
    const bool is_tcp = tcp != 0;
    if (!has_good_status(c, is_tcp) || c.created_ == static_cast<std::uint32_t>(now) || kind == look::strange ||
        !is_whole(p, kind == look::plain6, is_tcp))
      return;
    const bool reply = word.direction() == connection_direction::reply;
    const connection_tuple from = t.tuple_of(c, reply), to = t.tuple_of(c, !reply, true);
    const std::byte* const network = p.data() + 14;
    const bool v6 = kind == look::plain6;
    if (v6 != to.is_ipv6() || !looks_like(network, v6, to)) return;
    // What stands for segments that may be cut has passed any MTU: `fragment` leaves it to the device.
    if (p.segment_size() != 0 && !v6 && (load_be16(network + 6) & 0x4000u) == 0) return;
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
  [[nodiscard]] RUNNEL_INLINE static std::uint32_t digest_of(std::uint32_t hash, std::uint32_t state) noexcept {
    return hash ^ (state & 3u);
  }
  RUNNEL_INLINE static bool is_of(const flow_entry& e, std::uint64_t addresses, std::uint64_t ports,
                                  std::uint32_t state) noexcept {
    return ((e.addresses ^ addresses) | (e.ports ^ ports) | ((e.state ^ state) & 3u)) == 0;
  }
  // The same with an entry that was made since the table was cleared.
  RUNNEL_INLINE static bool is_now(const flow_entry& e, const slot& s) noexcept {
    return ((e.addresses ^ s.addresses) | (e.ports ^ s.ports) | (e.state ^ s.state)) == 0;
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
    read_tuple(p, static_cast<std::uint16_t>(f.zone >> 48), found);
    const std::uint8_t protocol_number = found.tuple.protocol_number();
    if (found.kind != tuple_kind::whole || (protocol_number != 6 && protocol_number != 17)) return no_flow;
    const tuple_key k = found.tuple.key(f.table.index_.seed());
    const std::uint32_t place = f.table.find_place(k, f.table.index_.home(k), found.tuple);
    if (place == connection_index::none) return no_flow;
    const place_reference to = f.table.index_.at(place);
    return to.number() * 2 + to.direction(k.turned);
  }
  // The packet goes the slow way, and those behind it of the same connection as well.
  [[gnu::noinline]] static void stay(facts& f, const slot& s, std::uint64_t& why) noexcept {
    ++why;
    const flow_entry& e = *s.entry;
    const bool is_its = e.born == s.its->created_ && f.table.is_confirmed(*s.its);
    if (const std::uint32_t flow = is_its ? e.flow : flow_of(f, *s.of); flow != no_flow) f.behind |= bit_of(flow >> 1);
    go_slow(f, s);
  }
  // The same of a packet without an entry.
  [[gnu::noinline]] static void miss(facts& f, const slot& s) noexcept { miss_one(f, s); }
  RUNNEL_INLINE static void miss_one(facts& f, const slot& s) noexcept {
    flowtable_statistics& count = f.flows.statistics_;
    ++(s.kind == look::strange ? count.other : s.is_stale ? count.stale : count.misses);
    f.behind |= s.behind;
    go_slow(f, s);
  }
  RUNNEL_INLINE static void go_slow(facts& f, const slot& s) noexcept {
    if (s.kind <= look::plain6) s.of->note_look(digest_of(s.hash, s.state));
    store(f.ways[s.of - f.packets], verdict{verdict_code::pass, drop_reason::none, 1});
    ++f.stayed;
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
  // What is true of most packets. Of others it may still be that they can go: see `go_carefully`.
  RUNNEL_INLINE static bool is_plain(const facts& f, const packet& p, const slot& s) noexcept {
    const descriptor& d = *p.d_;
    const unsigned differs = (special_and_status(d) & f.asked) ^ f.said;
    return (differs | d.connection | d.segment_size | static_cast<unsigned>(s.kind)) == 0;
  }
  [[gnu::noinline]] static void go_carefully(facts& f, const slot& s, bool is_tcp) noexcept {
    packet& p = *s.of;
    const flow_entry& e = *s.entry;
    const bool may = p.connection() == 0 && !p.is_shared() &&
                     (!f.table.options_.checksum || p.checksum() != checksum_status::unknown);
    if (!may || !(s.kind == look::plain4 ? go4<true>(f, p, is_tcp, e, *s.its) : go6(f, p, is_tcp, e, *s.its)))
      return stay(f, s, f.flows.statistics_.exceptions);
    leave(p, e);
  }
  RUNNEL_INLINE static void leave(packet& p, const flow_entry& e) noexcept {
    p.connection(connection_word::of(connection_state::established).value | (e.flow & 1u) << 3);
    p.scratch(e.scratch);
  }
  // What has to be true of the connection of any packet.
  RUNNEL_INLINE static bool is_good(const facts& f, const connection& c, bool is_tcp) noexcept {
    return has_good_status(c, is_tcp) && !f.table.is_over(c, f.now);
  }
  template <bool Careful>
  RUNNEL_INLINE static bool go4(facts& f, packet& p, bool is_tcp, const flow_entry& e, connection& c) noexcept {
    std::byte* const link = p.writable().data();
    const std::uint32_t size = load_be16(link + 16);
    // The header in three words, each addition with its carry.
    std::uint64_t sum = 0;
    bool carry = __builtin_add_overflow(load<std::uint64_t>(link + 14), load<std::uint64_t>(link + 22), &sum);
    carry = __builtin_add_overflow(sum, std::uint64_t{load<std::uint32_t>(link + 30)} + unsigned{carry}, &sum);
    sum += unsigned{carry};
    const std::uint32_t wire = Careful ? on_wire(p, size, 34, is_tcp) : size;
    if (!is_good(f, c, is_tcp) || (load_u8(link) & 1u) != 0 || wire > e.longest || load_u8(link + 22) <= 1 ||
        !is_right_sum(sum))
      return false;
    if (!fast_follow::follow(f, c, is_tcp, e.flow & 1u, p, 34, size - 20)) [[unlikely]]
      return false;
    std::byte* const transport_sum = link + (is_tcp ? 50 : 40);
    if (Careful && p.checksum() == checksum_status::partial) change_partial(transport_sum, e, c);
    else if (is_tcp) change_sum(transport_sum, e.sum_change);
    else if (load<std::uint16_t>(transport_sum) != 0) change_udp_sum(transport_sum, e.sum_change);
    write4(link, e);
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
  RUNNEL_INLINE static bool go6(facts& f, packet& p, bool is_tcp, const flow_entry& e, connection& c) noexcept {
    const std::byte* const link = p.data();
    const std::uint32_t size = load_be16(link + 18) + 40u;
    if (!is_good(f, c, is_tcp) || (load_u8(link) & 1u) != 0 || on_wire(p, size, 54, is_tcp) > e.longest ||
        load_u8(link + 21) <= 1 || !fast_follow::follow(f, c, is_tcp, e.flow & 1u, p, 54, size - 40))
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
