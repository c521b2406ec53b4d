// SPDX-License-Identifier: MIT
// The fast path: packets of known flows are tracked, rewritten and sent in one step, past all other stages.
//
//     static static_flowtable<flowtable_config{.flows = 65536}> flows{connections};
//
//     auto slow = as_pipeline(track(connections) | policy | nat<prerouting>(translations)
//               | route(routes).on<forward>(forwarding(routes).on<forwarded>(
//                     nat<postrouting>(translations, rules(when(meta::oif == wan) >> masquerade()),
//                     leaving(interfaces)) | confirm(connections) | resolve(neighbours, routes) | flow_add(flows) |
//                     transmit(wan)) ...));
//     const auto from_lan = [](packet& p) { p.iif(lan_number); };  // devices number their own interfaces only
//     auto path = parse() | from_lan | fast_path(flows).on<offloaded>(transmit(wan)).on<other>(shared(slow));
//
// `flow_add` stands where packets leave, and remembers how each flow's packets look there. `fast_path` gives the
// packets that come after it the same look: addresses and ports, TTL or hop limit one less, checksums kept right,
// Ethernet addresses, scratch word (and with it `oif_of`). Their connections count them, live on and
// follow their windows as if `track` had seen them. All other packets it leaves wholly untouched, for the slow way.
//
// Which packets go the fast way: TCP and UDP over IPv4 without options or IPv6 without extension headers, in Ethernet
// without tags, no fragments, whose flow came the same way: by the same interface (`packet::iif`; of packets whose
// interface is 0, which is what devices say of themselves, `flow_add` remembers nothing), and without other headers
// before, such as tags that somebody took off; of confirmed connections that were seen in both
// directions, and that no helper reads (`connection::helper`); of TCP established and assured ones, and only segments
// with ACK, perhaps PSH, without options but a timestamp, in their window. A TTL above 1, a right IPv4 header checksum,
// and no longer than the longest packet that this flow has brought to `flow_add`: MTUs are looked at on the slow way.
// Where `tracking_options::checksum` is on, only those whose transport checksum the device has vouched for.
//
// What is not done for packets on the fast way, as in the kernel: rules are not asked, so their counters, limits and
// logs see the other packets only; nor are routes and neighbours. A decision holds for `flowtable_options::lifetime`,
// or until `flows.clear()`. What else stages in between did to packets, marks, priorities, DSCP or TTL set by a rule
// among it, is not done again; where they changed addresses or ports other than NAT does, `flow_add` adds nothing.
//
// The order of packets is kept within a connection: a packet of it that goes the slow way takes those of its burst with
// it that come after it, and packets on the fast way leave first. Fragments without ports, and what waits in a queue or
// for a neighbour on the slow way, may be overtaken.
#ifndef RUNNEL_TRACK_FAST_PATH_HPP
#define RUNNEL_TRACK_FAST_PATH_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/endian.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/branch.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/track/flowtable.hpp>
#include <runnel/track/nat_rewrite.hpp>
#include <runnel/track/tcp_tracker.hpp>
#include <runnel/track/track.hpp>
#include <runnel/track/tracker.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/dissect.hpp>

namespace runnel {

/// The way of packets that are ready to be sent.
struct offloaded {
  static constexpr const char* name = "offloaded";  ///< in drawings
};

namespace detail {

struct fast_tracker {
  enum class look : std::uint8_t { plain4, plain6, unknown6, strange };  // unknown6: IPv6 of no connection
  // What is known of a packet on its way through a burst.
  struct slot {
    std::uint64_t addresses;  // as in flow_entry
    std::uint64_t ports;
    flow_entry* entry;    // null: there is none
    connection* its;      // whose number the entry has
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
        s.entry = nullptr, s.kind = kind == look::plain6 ? look::unknown6 : look::strange;
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

  RUNNEL_INLINE static void search(const facts& f, slot& s) noexcept {
    if (s.kind > look::plain6) [[unlikely]]
      return;
    flow_entry* e = f.entries + (s.hash & f.mask);
    if (!is_of(*e, s.addresses, s.ports, s.state)) [[unlikely]]
      e = search_beside(f, s);
    s.entry = e;
    if (e == nullptr) return;
    s.its = f.records + (e->flow >> 1);
    prefetch_to_write(s.its);
    prefetch_to_write(reinterpret_cast<const std::byte*>(s.its) + std::size_t{64} * s.is_tcp);
  }

  // ---- go, or not

  // Whether the packet went the fast way: it is ready then. Else nothing was changed but counters.
  template <bool Tcp>
  RUNNEL_INLINE static bool go(facts& f, packet& p, const slot& s) noexcept {
    const flow_entry* const e = s.entry;
    if (e == nullptr) [[unlikely]]
      return stay(f, p, s, s.kind == look::strange ? f.flows.statistics_.other : f.flows.statistics_.misses);
    connection& c = *s.its;
    if (((e->state ^ s.state) | (e->born ^ c.created_)) != 0 ||
        !(e->until - static_cast<std::uint32_t>(f.now) - 1 < f.lifetime)) [[unlikely]]
      return stay(f, p, s, f.flows.statistics_.stale);
    if (f.behind != 0 && (f.behind >> (e->flow >> 1 & 63u) & 1u) != 0) [[unlikely]]
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
    ++(again ? flows.statistics_.renewed : flows.statistics_.added);
    // A short packet says nothing about long ones: their entry grows no older by it than it would have.
    if (again && size < e->longest && e->scratch == p.scratch() && is_link_of(*e, p.data())) return;
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
  [[gnu::noinline]] static flow_entry* search_beside(const facts& f, const slot& s) noexcept {
    for (std::uint32_t beside = 1; beside < 4; ++beside)
      if (flow_entry& e = f.entries[(s.hash & f.mask) ^ beside]; is_of(e, s.addresses, s.ports, s.state)) return &e;
    return nullptr;
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
    const unsigned state = is_tcp ? tcp_transitions::est : 0u;
    const unsigned number = is_tcp ? 6u : 17u;
    return (((c.bits() & (wanted | seq_adjust)) ^ wanted) | (c.tcp_state_ ^ state) | (c.protocol_ ^ number)) == 0;
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
    if (s.kind <= look::plain6) p.note_look(digest_of(s.hash, s.state));
    if (const std::uint32_t flow = flow_of(f, p); flow != no_flow) f.behind |= std::uint64_t{1} << (flow >> 1 & 63u);
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
    else if (Tcp) change(transport_sum, e.sum_change);
    else if (load<std::uint16_t>(transport_sum) != 0) change_udp(transport_sum, e.sum_change);
    write4(to, e);
    return true;
  }
  RUNNEL_INLINE static void write4(std::byte* to, const flow_entry& e) noexcept {
    store(to + 22, static_cast<std::uint8_t>(load_u8(to + 22) - 1));
    change(to + 24, e.network_change);
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
  // A checksum whose sum gains something. Never 0 but where it was: as if the changes were made one by one.
  RUNNEL_INLINE static void change(std::byte* at, std::uint16_t gain) noexcept {
    const auto old = static_cast<std::uint16_t>(~load<std::uint16_t>(at));
    std::uint16_t sum = 0;
    const bool carry = __builtin_add_overflow(old, gain, &sum);
    store(at, static_cast<std::uint16_t>(~(sum + unsigned{carry})));
  }
  RUNNEL_INLINE static void change_udp(std::byte* at, std::uint16_t gain) noexcept {
    change(at, gain);
    if (load<std::uint16_t>(at) == 0) store(at, std::uint16_t{0xffff});
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
  // What sums gain by the addresses and ports of IPv4 packets that NAT changes: the same as in rewrite_headers4().
  struct gain {
    std::uint64_t addresses = 0;
    std::uint64_t ports = 0;
  };
  [[gnu::noinline]] static gain gain_of(const flow_entry& e, std::uint16_t status) noexcept {
    using namespace connection_status;
    const bool reply = (e.flow & 1u) != 0;
    const bool changed[] = {(status & (reply ? dst_nat : src_nat)) != 0, (status & (reply ? src_nat : dst_nat)) != 0};
    std::byte addresses[8], ports[4];
    store(addresses, e.addresses), store(ports, static_cast<std::uint32_t>(e.ports));
    gain g;
    for (std::size_t i = 0; i < 2; ++i) {
      if (!changed[i]) continue;
      const auto is = load<std::uint32_t>(addresses + 4 * i), will = load<std::uint32_t>(e.new_addresses + 4 * i);
      const auto was = load<std::uint16_t>(ports + 2 * i), then = load<std::uint16_t>(e.new_ports + 2 * i);
      g.addresses += std::uint64_t{~is} + will;
      g.ports += std::uint64_t{static_cast<std::uint16_t>(~was)} + then;
    }
    return g;
  }
  static void note_changes(flow_entry& e, const std::byte* network, std::uint16_t status) noexcept {
    copy_bytes(e.new_addresses, network + 12, 8);
    copy_bytes(e.new_ports, network + 20, 4);
    constexpr std::uint16_t one_less = 0xfeff;  // what the word of TTL and protocol gains
    const gain g = gain_of(e, status);
    e.sum_change = fold_checksum(g.addresses + g.ports);
    e.network_change = fold_checksum(g.addresses + to_big(one_less));
  }
};

struct fast_path_decision {
  using ways = ports<offloaded, other>;
  static constexpr const char* name = "fast path";
  static constexpr bool needs_parsed = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = false;

  flowtable* flows;
  track_options options;

  ways operator()(packet&) const noexcept { return other{}; }  // not asked: see decide_all
  bool decide_all(packet* packets, verdict* to, std::size_t n, context& c) const noexcept {
    fast_tracker::facts f = fast_tracker::facts_of(*flows, options.zone, c.now);
    std::size_t went = 0;
    for (std::size_t from = 0; from < n; from += at_once)
      went += some(f, packets + from, to + from, n - from < at_once ? n - from : at_once);
    flows->statistics().hits += went;
    return went == 0 || went == n;
  }

 private:
  static constexpr std::size_t at_once = 32;
  std::size_t some(fast_tracker::facts& f, packet* packets, verdict* to, std::size_t n) const noexcept {
    raw_array<fast_tracker::slot, at_once> slots;
    raw_array<std::uint8_t, at_once> tcp, others;
    for (std::size_t i = 0; i < n; ++i) fast_tracker::read(f, packets[i], slots[i]);
    // First all of TCP, then all others: no branch asks which one it is. No connection has both.
    std::size_t of_tcp = 0;
    for (std::size_t i = 0; i < n; ++i) {
      fast_tracker::search(f, slots[i]);
      tcp[of_tcp] = others[i - of_tcp] = static_cast<std::uint8_t>(i);
      of_tcp += slots[i].is_tcp ? 1u : 0u;
    }
    std::size_t went = 0;
    const auto take = [&](std::size_t i, bool goes) {
      went += goes ? 1u : 0u;
      detail::store(to[i], verdict{verdict_code::pass, drop_reason::none, static_cast<std::uint16_t>(goes ? 0 : 1)});
    };
    for (std::size_t i = 0; i < of_tcp; ++i) take(tcp[i], fast_tracker::go<true>(f, packets[tcp[i]], slots[tcp[i]]));
    for (std::size_t i = 0; i < n - of_tcp; ++i)
      take(others[i], fast_tracker::go<false>(f, packets[others[i]], slots[others[i]]));
    return went;
  }
};

struct flow_add_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool resizes = false;
  static constexpr const char* name = "flow add";

  constexpr explicit flow_add_stage(flowtable& f) noexcept : flows(&f) {}
  verdict operator()(packet& p, context& c) const noexcept {
    fast_tracker::add(*flows, p, c);
    return pass;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  flowtable* flows;
};

}  // namespace detail

/// A branch with the ways `offloaded`, of packets whose flow the table knows, ready to be sent, and `other`, of those
/// that go the slow way, untouched; see the beginning of this file. `options` are those of the `track` there. Needs
/// `parse()` before it. Packets on the way `offloaded` have the state `established` and no connection. Refers to the
/// table, which must outlive the pipeline.
[[nodiscard]] constexpr auto fast_path(flowtable& flows, track_options options = {}) noexcept {
  return branch(detail::fast_path_decision{&flows, options});
}
/// Remembers the flow of each packet that comes here by way of `fast_path`, if that can do exactly what was done to it:
/// right before `transmit`, behind `confirm`, in the burst that `track` saw: not behind a queue. Packets need an `iif`.
/// Changes and drops nothing. For
/// paths that forward, and lower the TTL. Refers to the table, which must outlive the pipeline.
[[nodiscard]] constexpr detail::flow_add_stage flow_add(flowtable& flows) noexcept {
  return detail::flow_add_stage{flows};
}

}  // namespace runnel

#endif
