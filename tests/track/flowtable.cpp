// SPDX-License-Identifier: MIT
// The fast path does what the slow way does: two gateways, one with and one without, get the same packets.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "conversation.hpp"

#include <runnel/hook.hpp>
#include <runnel/ip.hpp>
#include <runnel/track.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

using raw_bytes = std::vector<std::byte>;

constexpr std::uint16_t inner = 1, outer = 2;
constexpr mac_address inner_host{{2, 0, 0, 0, 1, 1}}, outer_host{{2, 0, 0, 0, 2, 1}};
constexpr ipv4_address gate4{192, 0, 2, 254}, box4{192, 0, 2, 1};
constexpr ipv6_address gate6{0x2001'0db8'0002'0000, 0xfe}, box6{0x2001'0db8'0002'0000, 1};

struct left_packet {
  std::string how;  // "sent" or "refused"
  raw_bytes bytes;
  std::uint32_t scratch;
  friend bool operator==(const left_packet&, const left_packet&) = default;
};

// Frames as somebody else made them, each with the interface that it comes by.
class given_frames {
 public:
  explicit given_frames(pool& memory) : memory_(&memory) {}
  void put(const raw_bytes& b, std::uint16_t iif) { waiting.push_back({b, iif}); }
  pool& memory() { return *memory_; }
  bool done() const { return waiting.empty(); }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) {
    std::size_t n = 0;
    for (; n < room && n < waiting.size(); ++n) {
      frame f = memory_->allocate_frame();
      REQUIRE(f.slot != no_slot);
      copy_bytes(f.data, waiting[n].bytes.data(), waiting[n].bytes.size());
      f.length = static_cast<std::uint32_t>(waiting[n].bytes.size());
      f.iif = waiting[n].iif;
      f.checksum = status;
      f.segment_size = segment_size;
      take(f);
    }
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(n));
    return n;
  }
  checksum_status status = checksum_status::unknown;
  std::uint16_t segment_size = 0;

 private:
  struct one {
    raw_bytes bytes;
    std::uint16_t iif;
  };
  pool* memory_;
  std::vector<one> waiting;
};

// A gateway between 10.0.0.0/8, fd00::/8 on the one side, where even hosts are translated, and all others.
struct gateway_box {
  explicit gateway_box(
      bool is_fast, const tracking_options& tracking = {}, std::uint32_t flow_room = 1024,
      const connection_config& room = {.connections = 128, .ipv6_connections = 64, .unconfirmed = 128, .seed = 7})
      : fast(is_fast), table(room, tracking), flow_memory(flow_room), device(memory) {
    flows = std::make_unique<flowtable>(*table, mutable_bytes{flow_memory.data()->bytes, flow_room * sizeof(line)},
                                        flowtable_config{.flows = flow_room});
    REQUIRE(routes.insert(net("10.0.0.0/8"), next_hop::on_link(inner)));
    REQUIRE(routes.insert(net("fd00::/8"), next_hop::on_link(inner)));
    REQUIRE(routes.insert(net("0.0.0.0/0"), next_hop::via(gate4, outer)));
    REQUIRE(routes.insert(net("::/0"), next_hop::via(gate6, outer)));
    know_neighbours(outer_host);
  }
  void know_neighbours(const mac_address& beyond) {
    for (unsigned i = 0; i < 16; ++i) {
      REQUIRE(inner_neighbours->set_permanent(mapped(ipv4_address{0x0a00'0000u + i}), inner_host, {}));
      REQUIRE(inner_neighbours->set_permanent(ipv6_address{0xfd00'0000'0000'0000, i}, inner_host, {}));
    }
    REQUIRE(outer_neighbours->set_permanent(mapped(gate4), beyond, {}));
    REQUIRE(outer_neighbours->set_permanent(gate6, beyond, {}));
  }
  // What leaves of those that wait.
  void run_all(instant now) {
    time.set(now);
    table->expire(now);
    const auto even = [](const packet& p) {
      const header_map m{p};
      return m.has<ipv4>() ? m.get<ipv4>().source().value() % 2 == 0 : m.get<ipv6>().source().low() % 2 == 0;
    };
    const nat_statement mask = masquerade();
    const nat_target to = mask.target();
    nat_rules sources{[&](const packet& p) { return oif_of(p) == outer && even(p) ? &to : nullptr; }};
    const auto own = leaving(interfaces);
    const auto keep = [this](const char* how) {
      return deliver([this, how](packet p) {
        const bytes b = p.contents();
        left.push_back({how, raw_bytes(b.begin(), b.end()), p.scratch()});
      });
    };
    auto onwards = nat<postrouting>(translations, sources, own) | confirm(*table) | resolve(links, 3, routes) |
                   flow_add(*flows) | keep("sent");
    auto slow =
        [this](packet& p) {
          if (unwrap && unwrap(p)) p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
        } |
        track(*table) | ftp_helper(*table, 54) | tftp_helper(*table, 69) |
        [this](packet& p) { return refuse && refuse(p) ? drop : pass; } | rules(when(ct::state == invalid) >> drop) |
        nat<prerouting>(translations) |
        [this](packet& p) {
          if (meddle) meddle(p);
        } |
        route(routes)
            .on<forward>(forwarding(routes, {.interfaces = interfaces})
                             .on<forwarded>(shared(onwards))
                             .on<oversized>(fragment(hops, {.interfaces = interfaces}) | shared(onwards))
                             .on<refused>(keep("refused")))
            .on<local>(discard)
            .on<no_route>(discard);
    if (fast) {
      auto path = parse() | fast_path(*flows).on<offloaded>(keep("sent")).on<other>(shared(slow));
      run(time, attach(device, path));
    } else {
      auto path = parse() | shared(slow);
      run(time, attach(device, path));
    }
    REQUIRE(table->check());
  }
  // All that is known of connections, whatever their numbers.
  std::vector<std::string> all_connections() {
    raw_bytes b(export_size(*table));
    const std::size_t n = export_connections(*table, {b.data(), b.size()}, time.now());
    REQUIRE(n != 0);
    std::vector<std::string> all;
    for (std::size_t at = detail::export_header; at + detail::export_trailer < n; at += detail::export_record) {
      const bytes one = bytes{b.data(), n}.from(at).first(detail::export_record);
      all.emplace_back(static_cast<const char*>(static_cast<const void*>(one.data())), one.size());
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  std::string listing() {
    text<8000> list;
    print(list, *table, time.now());
    return list.c_str();
  }

  struct nat_rules {
    std::function<const nat_target*(const packet&)> ask;
    verdict translation(hook_point at, packet& p, context&, const layers*, const nat_target*& to) {
      if (at == postrouting) to = ask(p);
      return pass;
    }
  };
  struct alignas(64) line {
    std::byte bytes[64];
  };

  bool fast;
  counted_table table;
  nat_table translations{*table, 3};
  std::vector<line> flow_memory;
  std::unique_ptr<flowtable> flows;
  ip_interface interfaces[3] = {
      {},
      {.mac = {{2, 0, 0, 0, 0, 1}}, .addresses = {{ipv4_address{10, 0, 0, 254}, 8}}},
      {.mac = {{2, 0, 0, 0, 0, 2}}, .addresses = {{box4, 24}, {box6, 64}}},
  };
  next_hop_table_of<8> hops;
  sorted_routes_of<ipv4_address, 8> v4;
  sorted_routes_of<ipv6_address, 8> v6;
  route_table<sorted_routes_of<ipv4_address, 8>, sorted_routes_of<ipv6_address, 8>> routes{hops, v4, v6};
  counted_pool memory{{.packets = 96, .bytes = 2048, .headroom = 64, .bare = 64}};
  static_neighbour_table<neighbour_config{.entries = 64}> inner_neighbours{memory, interfaces[inner], 1},
      outer_neighbours{memory, interfaces[outer], 2};
  neighbour_table* links[3] = {nullptr, &inner_neighbours.get(), &outer_neighbours.get()};
  std::function<bool(const packet&)> refuse;
  std::function<void(packet&)> meddle;
  std::function<bool(packet&)> unwrap;
  given_frames device;
  manual_clock time;
  std::vector<left_packet> left;
};

// What a packet says that is not in its flow.
struct said {
  std::uint32_t sequence = 0, ack = 0;
  std::uint16_t window = 1000;
  std::uint8_t flags = tcp_flags::ack;
  std::uint8_t ttl = 64, options = 0;  // 1: a timestamp, 2: SACK, 3: something else
  std::size_t payload = 20;
  std::uint16_t fragment = 0x4000;
  bool ip_options = false, tagged = false, wrong_sum = false, no_udp_sum = false, to_many = false;
  std::uint32_t number = 0;
};
// One direction of a conversation.
struct flow_ends {
  bool v6 = false, tcp = false;
  std::uint32_t from = 0, to = 0;  // host numbers: below 16 inside
  ipv4_address from4{}, to4{};
  ipv6_address from6{}, to6{};
  std::uint16_t sport = 0, dport = 0, iif = inner;

  [[nodiscard]] raw_bytes frame_of(const said& s) const {
    raw_bytes b(14);
    b[0] = s.to_many ? std::byte{3} : std::byte{2};
    b[5] = std::byte{0xee}, b[6] = std::byte{2};
    store_be16(b.data() + 12, v6 ? 0x86dd : 0x0800);
    if (s.tagged) {
      b.resize(18);
      store_be16(b.data() + 12, 0x8100);
      store_be16(b.data() + 16, v6 ? 0x86dd : 0x0800);
    }
    const std::size_t network = b.size(), header = v6 ? 40u : s.ip_options ? 24u : 20u;
    const std::size_t option_size = !tcp || s.options == 0 ? 0 : s.options == 3 ? 4 : 12;
    const std::size_t transport = network + header, size = (tcp ? 20u : 8u) + option_size + s.payload;
    b.resize(transport + size);
    std::byte* const ip = b.data() + network;
    if (v6) {
      ip[0] = std::byte{0x60};
      store_be16(ip + 4, static_cast<std::uint16_t>(size));
      ip[6] = static_cast<std::byte>(tcp ? 6 : 17), ip[7] = static_cast<std::byte>(s.ttl);
      from6.store(ip + 8), to6.store(ip + 24);
    } else {
      ip[0] = static_cast<std::byte>(0x40 + header / 4);
      store_be16(ip + 2, static_cast<std::uint16_t>(header + size));
      store_be16(ip + 4, static_cast<std::uint16_t>(s.number));
      store_be16(ip + 6, s.fragment);
      ip[8] = static_cast<std::byte>(s.ttl), ip[9] = static_cast<std::byte>(tcp ? 6 : 17);
      from4.store(ip + 12), to4.store(ip + 16);
      if (s.ip_options) store_be32(ip + 20, 0x0101'0100);
      store_be16(ip + 10, static_cast<std::uint16_t>(checksum({ip, header}) + (s.wrong_sum ? 1 : 0)));
    }
    std::byte* const th = b.data() + transport;
    store_be16(th, sport), store_be16(th + 2, dport);
    // Whatever checksum: nobody looks at it, and it may be one that never comes out of an addition.
    const std::uint16_t sums[] = {static_cast<std::uint16_t>(s.number * 40503u), 0xffff, 1, 0xfffe};
    const std::uint16_t any = sums[s.number % 4];
    if (tcp) {
      store_be32(th + 4, s.sequence), store_be32(th + 8, s.ack);
      th[12] = static_cast<std::byte>((20 + option_size) / 4 << 4), th[13] = static_cast<std::byte>(s.flags);
      store_be16(th + 14, s.window), store_be16(th + 16, any);
      if (s.options == 1) store_be32(th + 20, 0x0101'080a), store_be32(th + 24, s.number);
      if (s.options == 2)
        store_be32(th + 20, 0x0101'050a), store_be32(th + 24, s.ack + 10), store_be32(th + 28, s.ack + 20);
      if (s.options == 3) store_be32(th + 20, 0x0303'0700);
    } else {
      store_be16(th + 4, static_cast<std::uint16_t>(size)), store_be16(th + 6, s.no_udp_sum ? std::uint16_t{0} : any);
    }
    if (s.payload >= 4) store_be32(b.data() + b.size() - 4, s.number);
    return b;
  }
};

// A conversation: who began it, and how its answers come in.
struct talk {
  flow_ends out, in;
  std::uint32_t next[2] = {1000, 5000};  // sequence numbers
  bool begun = false;

  [[nodiscard]] connection_tuple original() const {
    const std::uint8_t protocol_number = out.tcp ? 6 : 17;
    return out.v6 ? connection_tuple{out.from6, out.to6, out.sport, out.dport, protocol_number}
                  : connection_tuple{out.from4, out.to4, out.sport, out.dport, protocol_number};
  }
  static talk of(unsigned i) {
    talk t;
    t.out.v6 = i % 3 == 2, t.out.tcp = i % 2 == 0;
    t.out.from4 = ipv4_address{0x0a00'0000u + 1 + i % 7}, t.out.to4 = ipv4_address{0xc633'6400u + 1 + i % 5};
    t.out.from6 = {0xfd00'0000'0000'0000, 1 + i % 7}, t.out.to6 = {0x2001'0db8'0009'0000, 1 + i % 5};
    t.out.sport = static_cast<std::uint16_t>(2000 + i), t.out.dport = 53;
    t.in = t.out;
    t.in.iif = outer;
    return t;
  }
};
// How the answers to a conversation look, as the box has translated it.
void set_answers(talk& t, gateway_box& box) {
  const connection_word w = box.table->find(t.original(), box.time.now());
  t.begun = w.has_connection();
  if (!t.begun) return;
  const connection_tuple r = box.table->reply((*box.table)[w.number()]);
  if (t.out.v6) t.in.from6 = r.source6(), t.in.to6 = r.destination6();
  else t.in.from4 = r.source4(), t.in.to4 = r.destination4();
  t.in.sport = r.source_port(), t.in.dport = r.destination_port();
}

// Two boxes that get the same.
struct both_boxes {
  gateway_box with, without;
  instant now{};

  explicit both_boxes(const tracking_options& o = {}, std::uint32_t flow_room = 1024)
      : with(true, o, flow_room), without(false, o) {}
  void put(const flow_ends& f, const said& s) {
    const raw_bytes b = f.frame_of(s);
    with.device.put(b, f.iif), without.device.put(b, f.iif);
  }
  // Runs what waits, and compares: what left, in the order of each flow, and the connections.
  void run_both() {
    with.left.clear(), without.left.clear();
    with.run_all(now), without.run_all(now);
    const auto by_flow = [](const std::vector<left_packet>& all) {
      std::map<std::string, std::vector<left_packet>> sorted;
      for (const left_packet& p : all) {
        const auto* const network = reinterpret_cast<const char*>(p.bytes.data()) + 14;
        const bool v6 = p.bytes[12] == std::byte{0x86};
        const std::size_t header = v6 ? 40 : (static_cast<std::size_t>(*network) & 15u) * 4;
        sorted[std::string(network + (v6 ? 8 : 12), v6 ? 32 : 8) + std::string(network + header, 4)].push_back(p);
      }
      return sorted;
    };
    REQUIRE(with.left.size() == without.left.size());
    REQUIRE(by_flow(with.left) == by_flow(without.left));
    INFO(with.listing(), "\n", without.listing());
    REQUIRE(with.all_connections() == without.all_connections());
    REQUIRE(with.table->statistics().invalid == without.table->statistics().invalid);
  }
  // One packet through both.
  void send(const flow_ends& f, const said& s) {
    put(f, s);
    run_both();
  }
  void later(duration d) { now = now + d; }
  [[nodiscard]] flowtable_statistics counts() { return with.flows->statistics(); }
};

// A conversation whose both flows are known.
talk established_talk(both_boxes& b, unsigned number) {
  talk t = talk::of(number);
  const bool tcp = t.out.tcp;
  b.send(t.out, {.sequence = 999, .flags = tcp_flags::syn, .payload = 0});
  set_answers(t, b.without);
  REQUIRE(t.begun);
  b.send(t.in, {.sequence = 4999, .ack = 1000, .flags = tcp_flags::syn | tcp_flags::ack, .payload = 0});
  b.later(seconds(3));
  b.send(t.out, {.sequence = 1000, .ack = 5000, .payload = tcp ? 0u : 20u});
  b.send(t.in, {.sequence = 5000, .ack = 1000, .payload = tcp ? 0u : 20u});
  const std::uint64_t before = b.counts().hits;
  b.send(t.out, {.sequence = 1000, .ack = 5000, .payload = tcp ? 0u : 20u});
  b.send(t.in, {.sequence = 5000, .ack = 1000, .payload = tcp ? 0u : 20u});
  REQUIRE(b.counts().hits == before + 2);
  return t;
}
constexpr unsigned tcp_talk = 10, udp_talk = 1, udp6_talk = 5, tcp6_talk = 8;  // all are translated

}  // namespace

TEST_CASE("random packets of many conversations: the same leaves, and the same is known afterwards") {
  for (unsigned run_number = 0; run_number < 4; ++run_number) {
    random_generator random(run_number + 1);
    tracking_options o;
    o.tcp_be_liberal = run_number == 1;
    both_boxes b(o, run_number == 2 ? 16 : 4096);
    b.with.device.status = b.without.device.status =
        run_number == 3 ? checksum_status::partial : checksum_status::unknown;
    b.with.refuse = b.without.refuse = [](const packet& p) { return p.iif() == 3; };
    std::vector<talk> talks;
    for (unsigned i = 0; i < 24; ++i) talks.push_back(talk::of(i));
    const auto one_in = [&](unsigned n) { return random.below(n) == 0; };
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random.below(n)); };
    std::uint32_t number = 0;
    for (unsigned round = 0; round < 400; ++round) {
      const std::size_t n = one_in(4) ? 1 + below(40) : 1 + below(6);
      for (std::size_t i = 0; i < n; ++i) {
        // A few speak most.
        talk& t = talks[one_in(2) ? below(4) : below(talks.size())];
        const unsigned side = t.begun ? static_cast<unsigned>(below(2)) : 0;
        said s;
        s.number = ++number;
        s.sequence = t.next[side], s.ack = t.next[1 - side];
        s.payload = one_in(3) ? 0 : below(300);
        if (!t.out.tcp && s.payload < 4) s.payload = 4;
        s.options = static_cast<std::uint8_t>(one_in(2) ? 1 : 0);
        if (one_in(4)) s.flags |= tcp_flags::psh;
        if (one_in(60)) s.sequence += static_cast<std::uint32_t>(below(4000)) - 2000;
        if (one_in(60)) s.ack += static_cast<std::uint32_t>(below(200'000)) - 100'000;
        if (one_in(50)) s.window = static_cast<std::uint16_t>(random.next());
        if (one_in(30)) s.options = static_cast<std::uint8_t>(below(4));
        if (one_in(200)) s.flags = static_cast<std::uint8_t>(random.next());
        if (!t.begun || one_in(200)) s.flags = side == 0 ? tcp_flags::syn : tcp_flags::syn | tcp_flags::ack;
        if (one_in(50)) s.ttl = static_cast<std::uint8_t>(below(3));
        if (one_in(80)) s.payload = 1400 + below(150);
        if (one_in(80)) s.fragment = static_cast<std::uint16_t>(one_in(2) ? 0x2000 : 0);
        s.ip_options = one_in(80), s.tagged = one_in(80), s.wrong_sum = one_in(80), s.to_many = one_in(80);
        s.no_udp_sum = one_in(8);
        flow_ends f = side == 0 ? t.out : t.in;
        if (one_in(80)) f.iif = static_cast<std::uint16_t>(1 + below(3));
        b.put(f, s);
        if (s.flags == (s.flags & (tcp_flags::ack | tcp_flags::psh)))
          t.next[side] = s.sequence + static_cast<std::uint32_t>(s.payload);
      }
      b.run_both();
      for (talk& t : talks) set_answers(t, b.without);
      b.later(one_in(50) ? seconds(static_cast<std::int64_t>(below(200)))
                         : milliseconds(static_cast<std::int64_t>(below(60))));
      if (one_in(100)) b.with.flows->clear();
      if (one_in(40)) {
        const talk& gone = talks[below(talks.size())];
        for (gateway_box* box : {&b.with, &b.without})
          if (const connection_word w = box->table->find(gone.original(), b.now); w.has_connection())
            box->table->erase((*box->table)[w.number()]);
        for (talk& t : talks) set_answers(t, b.without);
      }
    }
    const flowtable_statistics& counted = b.with.flows->statistics();
    text<200> line;
    print(line, counted);
    INFO(std::string(line.c_str()));
    CHECK(counted.hits > 400);
    CHECK(counted.misses > 100);
    CHECK(counted.stale > 10);
    CHECK(counted.exceptions > 100);
    CHECK(counted.renewed > 10);
    CHECK((counted.full != 0) == (run_number == 2));
  }
}

TEST_CASE("what was decided holds until the table is cleared, or its lifetime is over") {
  both_boxes b;
  const talk t = established_talk(b, tcp_talk);
  gateway_box& box = b.with;
  const said next{.sequence = 1000, .ack = 5000, .payload = 0};
  const auto sent = [&] {
    box.left.clear();
    box.device.put(t.out.frame_of(next), inner);
    box.run_all(b.now);
    return box.left.size();
  };
  box.refuse = [](const packet&) { return true; };
  CHECK(sent() == 1);
  box.flows->clear();
  CHECK(sent() == 0);
  CHECK(sent() == 0);
  box.refuse = {};
  CHECK(sent() == 1);
  box.refuse = [](const packet&) { return true; };
  CHECK(sent() == 1);
  b.later(milliseconds(998));
  CHECK(sent() == 1);
  b.later(milliseconds(4));
  CHECK(sent() == 0);
}

TEST_CASE("another address of the next hop is used as soon as the lifetime is over") {
  both_boxes b;
  const talk t = established_talk(b, tcp_talk);
  constexpr mac_address moved{{2, 0, 0, 0, 2, 77}};
  b.with.know_neighbours(moved), b.without.know_neighbours(moved);
  const raw_bytes frame = t.out.frame_of({.sequence = 1000, .ack = 5000, .payload = 0});
  const auto to = [&] {
    b.with.left.clear();
    b.with.device.put(frame, inner);
    b.with.run_all(b.now);
    REQUIRE(b.with.left.size() == 1);
    return mac_address::load(b.with.left[0].bytes.data());
  };
  CHECK(to() == outer_host);
  b.later(milliseconds(1001));
  CHECK(to() == moved);
  const std::uint64_t hits = b.counts().hits;
  CHECK(to() == moved);
  CHECK(b.counts().hits == hits + 1);
}

TEST_CASE("a connection that has ended takes its flows with it, whoever gets its number") {
  both_boxes b;
  const talk old = established_talk(b, tcp_talk);
  const connection_word w = b.with.table->find(old.original(), b.now);
  REQUIRE(w.number() == 0);
  for (gateway_box* box : {&b.with, &b.without}) box->table->erase((*box->table)[0]);
  const flowtable_statistics before = b.counts();
  const talk other = established_talk(b, udp_talk);
  CHECK(b.with.table->find(other.original(), b.now).number() == 0);
  b.send(old.out, {.sequence = 1000, .ack = 5000});  // picked up in its middle
  b.send(old.in, {.sequence = 5000, .ack = 1020});
  CHECK(b.counts().hits == before.hits + 2);
}

TEST_CASE("nothing is remembered in the tick in which a connection began: another one may yet get its number in it") {
  both_boxes b;
  talk t = talk::of(udp_talk);
  const auto both_ways = [&] { b.send(t.out, {}), set_answers(t, b.without), b.send(t.in, {}), b.send(t.out, {}); };
  both_ways();
  CHECK(b.counts().added == 0);
  b.later(milliseconds(2));
  both_ways();
  CHECK(b.counts().added == 2);
}

TEST_CASE("a flow whose packets somebody else changes as well is not remembered") {
  both_boxes b;
  const talk t = established_talk(b, udp_talk);
  for (gateway_box* box : {&b.with, &b.without}) {
    box->meddle = [](packet& p) { store_be16(p.writable().data() + 36, 99); };
    box->flows->clear();
  }
  const std::uint64_t hits = b.counts().hits;
  for (unsigned i = 0; i < 3; ++i) b.send(t.out, {});
  CHECK(b.counts().hits == hits);
}

TEST_CASE("a connection whose time is over begins anew") {
  both_boxes b;
  const talk t = established_talk(b, udp_talk);
  b.later(seconds(119));
  b.send(t.out, {});
  b.send(t.out, {});
  b.later(seconds(121));
  const std::uint64_t hits = b.counts().hits;
  b.send(t.out, {});
  CHECK(b.counts().hits == hits);
  CHECK(b.with.table->statistics().expired == 1);
}

TEST_CASE("where other flows have all places, packets go the slow way until those are over") {
  both_boxes b({}, 4);
  const talk first = established_talk(b, tcp_talk);
  talk second = established_talk(b, udp_talk);
  // The first one's are over; they ask again.
  b.send(first.out, {.sequence = 1000, .ack = 5000, .payload = 0});
  b.send(first.in, {.sequence = 5000, .ack = 1000, .payload = 0});
  talk third = talk::of(udp6_talk);
  b.send(third.out, {});
  set_answers(third, b.without);
  const auto both_ways = [&] { b.send(third.in, {}), b.send(third.out, {}); };
  b.later(milliseconds(5));
  const flowtable_statistics before = b.counts();
  both_ways();
  both_ways();
  CHECK(b.counts().full == before.full + 4);
  b.send(first.out, {.sequence = 1000, .ack = 5000, .payload = 0});
  b.send(second.out, {});
  CHECK(b.counts().hits == before.hits + 2);
  b.later(milliseconds(1100));
  both_ways();
  both_ways();
  CHECK(b.counts().full == before.full + 4);
  CHECK(b.counts().hits == before.hits + 4);
}

TEST_CASE("a table that was cleared as often as it can count has forgotten all") {
  both_boxes b;
  const talk t = established_talk(b, udp_talk);
  const std::uint64_t hits = b.counts().hits;
  for (unsigned i = 0; i < (1u << 14) - 1; ++i) b.with.flows->clear();
  b.send(t.out, {});
  CHECK(b.counts().hits == hits);
  b.send(t.out, {});
  CHECK(b.counts().hits == hits + 1);
}

TEST_CASE("packets of a connection keep their order, also when one in a burst goes the slow way") {
  both_boxes b;
  const talk t = established_talk(b, tcp_talk);
  const talk other = established_talk(b, udp_talk);
  const std::uint64_t hits = b.counts().hits;
  const auto data = [](std::uint32_t n, std::size_t size) {
    return said{.sequence = 1000 + 4 * n, .ack = 5000, .payload = size, .number = n};
  };
  b.put(t.out, data(0, 4));  // longer than any before
  b.put(other.in, {});
  b.put(t.out, data(1, 4));
  b.put(t.in, {.sequence = 5000, .ack = 1000, .payload = 0});
  b.put(t.out, data(2, 4));
  b.run_both();
  CHECK(b.counts().hits == hits + 1);
  REQUIRE(b.with.left.size() == 5);
  CHECK(b.with.left[0].bytes[23] == std::byte{17});  // who has to wait for nobody went first
  b.put(t.out, data(3, 4));
  b.put(t.in, {.sequence = 5000, .ack = 1012, .payload = 0});
  b.run_both();
  CHECK(b.counts().hits == hits + 3);
}

TEST_CASE("a packet that goes the slow way among strangers only is not overtaken by those far behind it") {
  both_boxes b;
  const talk t = established_talk(b, udp_talk);
  const std::uint64_t hits = b.counts().hits;
  const auto put_40 = [&](bool tagged) {
    for (unsigned i = 0; i < 40; ++i) {
      talk someone = talk::of(3);
      someone.out.sport = static_cast<std::uint16_t>(7000 + i);
      if (i == 4) b.put(t.out, {.tagged = tagged, .number = 1});
      else b.put(someone.out, {});
    }
    b.put(t.out, {.number = 2});
  };
  put_40(true);
  b.run_both();
  CHECK(b.counts().hits == hits);
  put_40(false);
  b.run_both();
  CHECK(b.counts().hits == hits + 2);
}

TEST_CASE("what is longer than all before it, and what must not be forwarded, is looked at on the slow way") {
  for (const unsigned number : {udp_talk, udp6_talk}) {
    both_boxes b;
    const talk t = established_talk(b, number);
    const auto goes_fast = [&](const said& s) {
      const std::uint64_t before = b.counts().hits;
      b.send(t.out, s);
      return b.counts().hits != before;
    };
    CHECK(goes_fast({}));
    CHECK_FALSE(goes_fast({.payload = 1000}));
    CHECK(goes_fast({.payload = 1000}));
    CHECK(goes_fast({.payload = 999}));
    for (unsigned i = 0; i < 2; ++i) {
      CHECK_FALSE(goes_fast({.payload = 1473}));
      REQUIRE(b.with.left.size() == 1);
      CHECK(b.with.left[0].how == "refused");
      CHECK_FALSE(goes_fast({.ttl = 1}));
      CHECK(b.with.left[0].how == "refused");
      CHECK_FALSE(goes_fast({.to_many = true}));
      CHECK(b.with.left.empty());
    }
    CHECK(goes_fast({.ttl = 2}));
    REQUIRE(b.with.left.size() == 1);
    CHECK(b.with.left[0].bytes[t.out.v6 ? 21 : 22] == std::byte{1});
  }
}

TEST_CASE("a packet that will be cut into segments is as long as one of them") {
  for (const unsigned number : {tcp_talk, tcp6_talk}) {
    both_boxes b;
    const talk t = established_talk(b, number);
    b.with.device.status = b.without.device.status = checksum_status::partial;
    const auto goes_fast = [&](std::size_t payload, std::uint16_t segment) {
      b.with.device.segment_size = b.without.device.segment_size = segment;
      const std::uint64_t before = b.counts().hits;
      b.send(t.out, {.sequence = 1000, .ack = 5000, .payload = payload});
      return b.counts().hits != before;
    };
    CHECK_FALSE(goes_fast(800, 400));
    CHECK(goes_fast(900, 400));
    CHECK(goes_fast(400, 0));
    CHECK_FALSE(goes_fast(900, 401));
    CHECK_FALSE(goes_fast(900, 0));
    CHECK(goes_fast(900, 1000));
  }
}

TEST_CASE("a packet that will be cut into segments, and may be cut once more, says nothing of what its way takes") {
  both_boxes b;
  const talk t = established_talk(b, tcp_talk);
  b.with.interfaces[outer].mtu = b.without.interfaces[outer].mtu = 600;
  const auto goes_fast = [&](std::size_t payload, std::uint16_t segment, std::uint16_t fragment) {
    const checksum_status status = segment != 0 ? checksum_status::partial : checksum_status::unknown;
    b.with.device.status = b.without.device.status = status;
    b.with.device.segment_size = b.without.device.segment_size = segment;
    const std::uint64_t before = b.counts().hits;
    b.send(t.out, {.sequence = 1000, .ack = 5000, .payload = payload, .fragment = fragment});
    return b.counts().hits != before;
  };
  CHECK_FALSE(goes_fast(1400, 700, 0));
  CHECK_FALSE(goes_fast(700, 0, 0));
  CHECK(b.with.left.size() == 2);  // cut
  CHECK_FALSE(goes_fast(1400, 700, 0));
  CHECK_FALSE(goes_fast(700, 0, 0x4000));
  REQUIRE(b.with.left.size() == 1);
  CHECK(b.with.left[0].how == "refused");
  CHECK_FALSE(goes_fast(500, 0, 0));
  CHECK(goes_fast(500, 0, 0));
  CHECK(goes_fast(900, 450, 0));
}

TEST_CASE("a TCP connection ends on the slow way") {
  for (const unsigned number : {tcp_talk, tcp6_talk}) {
    both_boxes b;
    const talk t = established_talk(b, number);
    const std::uint64_t hits = b.counts().hits;
    b.send(t.out, {.sequence = 1000, .ack = 5000, .flags = tcp_flags::fin | tcp_flags::ack, .payload = 0});
    b.send(t.in, {.sequence = 5000, .ack = 1001, .payload = 0});
    b.send(t.in, {.sequence = 5000, .ack = 1001, .flags = tcp_flags::fin | tcp_flags::ack, .payload = 0});
    b.send(t.out, {.sequence = 1001, .ack = 5001, .payload = 0});
    CHECK(b.counts().hits == hits);
    CHECK((*b.with.table)[0].tcp_state() == tcp_connection_state::time_wait);
  }
}

TEST_CASE("connections that a helper reads stay on the slow way") {
  both_boxes b;
  talk t = talk::of(tcp_talk);
  t.out.dport = 54;
  b.send(t.out, {.sequence = 999, .flags = tcp_flags::syn, .payload = 0});
  set_answers(t, b.without);
  b.send(t.in, {.sequence = 4999, .ack = 1000, .flags = tcp_flags::syn | tcp_flags::ack, .payload = 0});
  for (unsigned i = 0; i < 4; ++i) {
    b.later(milliseconds(5));
    b.send(t.out, {.sequence = 1000, .ack = 5000, .payload = 0});
    b.send(t.in, {.sequence = 5000, .ack = 1000, .payload = 0});
  }
  CHECK(b.counts().hits == 0);
  CHECK(b.counts().added == 0);
}

TEST_CASE("what a helper of UDP has to hear comes by the slow way") {
  both_boxes b;
  talk t = talk::of(udp_talk);
  t.out.dport = 69;
  b.send(t.out, {});
  set_answers(t, b.without);
  b.later(seconds(3));
  for (unsigned i = 0; i < 4; ++i) b.send(t.in, {}), b.send(t.out, {});
  CHECK(b.counts().hits == 0);
  raw_bytes request = t.out.frame_of({});
  store_be16(request.data() + 42, 1);
  b.with.device.put(request, inner);
  b.with.run_all(b.now);
  CHECK(b.with.table->expected() == 1);
}

TEST_CASE("a helper of one's own keeps a connection on the slow way, from the moment on that it says so") {
  for (const unsigned number : {tcp_talk, udp_talk}) {
    both_boxes b;
    const talk t = established_talk(b, number);
    for (gateway_box* box : {&b.with, &b.without}) {
      connection& c = (*box->table)[0];
      CHECK_FALSE(c.helper());
      c.helper(true);
      CHECK(c.helper());
    }
    const std::uint64_t hits = b.counts().hits;
    for (unsigned i = 0; i < 3; ++i) b.send(t.out, {.sequence = 1000, .ack = 5000, .payload = t.out.tcp ? 0u : 20u});
    CHECK(b.counts().hits == hits);
    const bool is_established = (*b.with.table)[0].tcp_state() == tcp_connection_state::established;
    CHECK(is_established == t.out.tcp);
    for (gateway_box* box : {&b.with, &b.without}) (*box->table)[0].helper(false);
    for (unsigned i = 0; i < 3; ++i) b.send(t.out, {.sequence = 1000, .ack = 5000, .payload = t.out.tcp ? 0u : 20u});
    CHECK(b.counts().hits >= hits + 2);
  }
}

TEST_CASE("where transport checksums are verified, only packets go the fast way whose checksum the device knows") {
  both_boxes b;
  const talk t = established_talk(b, udp_talk);
  tracking_options o;
  o.checksum = true;
  b.with.table->options(o), b.without.table->options(o);
  const std::uint64_t hits = b.counts().hits;
  b.send(t.out, {.no_udp_sum = true});
  CHECK(b.counts().hits == hits);
  b.with.device.status = b.without.device.status = checksum_status::verified;
  b.send(t.out, {});
  CHECK(b.counts().hits == hits + 1);
}

TEST_CASE("the drawing shows both ways, and the counters are a line") {
  gateway_box box(true);
  auto path = parse() | fast_path(*box.flows).on<offloaded>(discard).on<other>(track(*box.table) | discard);
  text<600> drawing;
  describe(drawing, path);
  const std::string shown = drawing.c_str();
  CHECK(shown.find("fast path") != std::string::npos);
  CHECK(shown.find("offloaded") != std::string::npos);
  text<200> line;
  print(line, flowtable_statistics{.hits = 3, .full = 1});
  CHECK(std::string(line.c_str()) == "hits=3 other=0 misses=0 stale=0 exceptions=0 added=0 renewed=0 full=1 no_iif=0");
}

TEST_CASE("a flow that comes in a VLAN opens no way for packets without its tag") {
  for (const unsigned number : {udp_talk, udp6_talk}) {
    both_boxes b;
    for (gateway_box* box : {&b.with, &b.without})
      box->refuse = [](const packet& p) { return p.iif() == inner && !p.layers().has(protocol::vlan); };
    talk t = talk::of(number);
    b.send(t.out, {.tagged = true});
    set_answers(t, b.without);
    b.later(seconds(3));
    for (unsigned i = 0; i < 4; ++i) b.send(t.in, {}), b.send(t.out, {.tagged = true});
    CHECK(b.counts().added == 1);  // the answers
    b.send(t.out, {});
    CHECK(b.with.left.empty());
  }
}

TEST_CASE("what was unwrapped behind the fast path is not taken for what comes without a wrapper") {
  both_boxes b;
  talk t = talk::of(udp_talk);
  const raw_bytes inside = t.out.frame_of({});
  flow_ends tunnel = t.out;
  tunnel.sport = 9, tunnel.dport = 4789;
  gateway_box& box = b.with;
  box.unwrap = [](packet& p) {
    const header_map m{p};
    if (m.has<udp>() && m.get<udp>().destination_port() == 4789) return p.pull(42);
    return false;
  };
  raw_bytes wrapped = tunnel.frame_of({.payload = inside.size()});
  copy_bytes(wrapped.data() + 42, inside.data(), inside.size());
  const auto send = [&](const raw_bytes& frame, std::uint16_t iif) { box.device.put(frame, iif), box.run_all(b.now); };
  send(wrapped, inner);
  set_answers(t, box);
  b.later(seconds(3));
  for (unsigned i = 0; i < 4; ++i) send(t.in.frame_of({}), outer), send(wrapped, inner);
  CHECK(b.counts().added == 1);
  box.refuse = [](const packet&) { return true; };
  box.left.clear();
  send(inside, inner);
  CHECK(box.left.empty());
}

TEST_CASE("of packets whose interface nobody has named, nothing is remembered") {
  both_boxes b;
  talk t = talk::of(udp_talk);
  t.out.iif = 0;
  b.send(t.out, {});
  set_answers(t, b.without);
  b.later(seconds(3));
  for (unsigned i = 0; i < 4; ++i) b.send(t.in, {}), b.send(t.out, {});
  CHECK(b.counts().added == 1);  // the answers, which come by an interface
  CHECK(b.counts().no_iif >= 4);
  CHECK(b.counts().hits == 3);
}

TEST_CASE(
    "an MTU that sank is heeded as soon as the lifetime is over, whatever short packets of the flow go the slow way") {
  both_boxes b;
  const talk t = established_talk(b, udp_talk);
  for (unsigned i = 0; i < 2; ++i) b.send(t.out, {.payload = 1472});
  for (gateway_box* box : {&b.with, &b.without}) box->interfaces[outer].mtu = 1400;
  unsigned too_long = 0;
  for (unsigned i = 0; i < 20; ++i) {
    b.later(milliseconds(501));
    b.with.device.put(t.out.frame_of({.payload = 1300, .ip_options = true}), inner);
    b.with.device.put(t.out.frame_of({}), inner);  // goes the slow way behind it
    b.with.run_all(b.now);
    b.with.left.clear();
    b.with.device.put(t.out.frame_of({.payload = 1472}), inner);
    b.with.run_all(b.now);
    for (const left_packet& p : b.with.left)
      if (p.how == "sent") ++too_long;
  }
  CHECK(too_long == 1);
}

TEST_CASE("a free place belongs to no flow, not even to that without addresses and ports") {
  gateway_box box(true);
  flow_ends f;
  f.iif = 0;
  box.device.put(f.frame_of({}), 0);
  box.run_all(instant{} + seconds(9));
  CHECK(box.flows->statistics().stale == 0);
  CHECK(box.flows->statistics().misses == 1);
}

TEST_CASE("after an import no flow is known: numbers and ages are those of other connections") {
  for (unsigned k = 0; k < 8; ++k) {
    both_boxes b;
    b.later(milliseconds(100 + 7 * k));
    talk first = talk::of(1), second = talk::of(3);
    for (talk* t : {&first, &second}) b.put(t->out, {});
    b.run_both();
    set_answers(first, b.without), set_answers(second, b.without);
    b.later(milliseconds(5));
    for (unsigned i = 0; i < 3; ++i)
      for (talk* t : {&first, &second}) b.send(t->out, {}), b.send(t->in, {});
    REQUIRE(b.counts().hits != 0);
    connection_table& table = *b.with.table;
    raw_bytes saved(export_size(table));
    const std::size_t size = export_connections(table, {saved.data(), saved.size()}, b.now);
    table.clear();
    REQUIRE(import_connections(table, bytes{saved.data(), size}, b.now));
    b.later(milliseconds(50));
    const auto count = [&](const talk& t) {
      return table[table.find(t.original(), b.now).number()].packets(connection_direction::original);
    };
    const std::uint64_t of_first = count(first), of_second = count(second);
    b.with.left.clear();
    b.with.device.put(second.out.frame_of({}), inner);
    b.with.run_all(b.now);
    REQUIRE(b.with.left.size() == 1);
    CHECK(ipv4_address::load(b.with.left[0].bytes.data() + 30) == second.out.to4);
    CHECK(count(second) == of_second + 1);
    CHECK(count(first) == of_first);
    b.with.refuse = [](const packet&) { return true; };
    table.erase(table[table.find(first.original(), b.now).number()]);
    b.with.left.clear();
    b.with.device.put(first.out.frame_of({}), inner);
    b.with.run_all(b.now);
    CHECK(b.with.left.empty());
  }
}
