// SPDX-License-Identifier: MIT
// A stateful gateway from memory: parsing, connection tracking, the hooks, routing, forwarding, source NAT, neighbours.
// IMIX headers (frames of 64, 570 and 1518 bytes at 7:4:1, of which nobody touches more than the headers), half of it
// TCP, one way, each packet of a round of another connection: the connections that peers/ovs.cpp gives to Open vSwitch.
// Then first packets of connections only, which begin, live, and expire. Transport checksums are not verified
// (tracking_options::checksum is off, as by default; the kernel's default is on), but kept right by what NAT changes.
#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t
#include <cstdlib>  // abort
#include <memory>   // unique_ptr

#include <benchmark/benchmark.h>

#include <runnel/runnel.hpp>

#include "support/arrivals.hpp"
#include "support/connections.hpp"
#include "support/memory.hpp"
#include "support/ports.hpp"

namespace {

using namespace bench;

// Hands out a memory_port's frames with the headers of the next arrival.
class arriving_port {
 public:
  arriving_port(pool& memory, const arrivals& all) : port_(memory, 256, traffic::udp64), all_(&all) {}
  pool& memory() noexcept { return port_.memory(); }
  bool done() const noexcept { return false; }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    const arrival* next = all_->data() + next_;
    const arrival* const end = all_->data() + all_->size();
    const std::size_t n = port_.receive(room, now, [&](frame f) noexcept {
      __builtin_memcpy(f.data, next->bytes, sizeof next->bytes);
      f.length = next->length;
      f.iif = 1;
      prefetch_to_read(next + 64);
      if (++next == end) next = all_->data();
      take(f);
    });
    next_ = static_cast<std::size_t>(next - all_->data());
    return n;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    sent_ += n;
    return port_.transmit(packets, n, now);
  }
  std::size_t sent() const noexcept { return sent_; }

 private:
  memory_port port_;
  const arrivals* all_;
  std::size_t next_ = 0, sent_ = 0;
};

constexpr std::uint16_t wan = 2;
// Room for connections: as one would give it, for twice as many as are there, and crowded, for hardly more than that.
constexpr std::uint32_t usual = connection_config{}.connections, roomy = 1 << 21, crowded = 1 << 20;

struct fixture {
  connection_config config;
  paged_memory connection_memory{connection_table::bytes_needed(config)};
  connection_table connections{{connection_memory.data(), connection_table::bytes_needed(config)}, config};
  nat_table translations{connections, 1234};
  flowtable_config flow_config;
  paged_memory flow_memory{flowtable::bytes_needed(flow_config)};
  flowtable flows{connections, {flow_memory.data(), flowtable::bytes_needed(flow_config)}, flow_config};
  paged_pool memory{{.packets = 256, .bytes = 1664, .bare = 8}};
  arriving_port port;

  ip_interface interfaces[3] = {
      {},
      {.mac = {{2, 0, 0, 0, 0, 2}}, .addresses = {{ipv4_address{10, 0, 0, 1}, 8}}},
      {.mac = {{2, 0, 0, 0, 0, 3}}, .addresses = {{ipv4_address{203, 0, 113, 1}, 24}}},
  };
  next_hop_table_of<16> hops;
  sorted_routes_of<ipv4_address, 100> v4;
  sorted_routes_of<ipv6_address, 100> v6;
  route_table<sorted_routes_of<ipv4_address, 100>, sorted_routes_of<ipv6_address, 100>> routes{hops, v4, v6};
  static_pool<pool_config{.packets = 16}> messages;
  static_neighbour_table<neighbour_config{.entries = 64}> neighbours{messages, interfaces[wan], 1234};

  fixture(const arrivals& all, std::uint32_t room, std::uint32_t flow_room = 1)
      : config{.connections = room, .ipv6_connections = 0, .unconfirmed = 256},
        flow_config{.flows = flow_room},
        port(memory, all) {
    const ipv4_address gateway{203, 0, 113, 254};
    if (!routes.insert(net("10.0.0.0/8"), next_hop::on_link(1)) ||
        !routes.insert(net("203.0.113.0/24"), next_hop::on_link(wan)) ||
        !routes.insert(net("0.0.0.0/0"), next_hop::via(gateway, wan)) ||
        !neighbours->set_permanent(mapped(gateway), {{2, 0, 0, 0, 0, 9}}, {}))
      std::abort();
  }

  // Who may begin a connection, and what becomes of its source.
  static constexpr auto policy() {
    return rules(when(ct::state == established || ct::state == related) >> accept,
                 when(ct::state == new_ && meta::iif == 1) >> accept);
  }
  static constexpr auto sources() { return rules(when(meta::oif == wan) >> masquerade()); }

  // The whole way of a packet behind parse(); `translate` stands where packets leave, `leave` at its end.
  template <class Translate, class Leave>
  auto path(const Translate& translate, const Leave& leave) {
    return track(connections) |
           route(routes)
               .template on<forward>(
                   chain<hook_point::forward>(policy(), drop) |
                   forwarding(routes, {.interfaces = interfaces})
                       .template on<forwarded>(translate | confirm(connections) | resolve(neighbours, routes) | leave)
                       .template on<oversized>(discard)
                       .template on<refused>(discard))
               .template on<local>(discard)
               .template on<no_route>(discard);
  }
  template <class Translate>
  auto path(const Translate& translate) {
    return parse() | path(translate, transmit(port));
  }
  auto snat() { return nat<hook_point::postrouting>(translations, sources(), leaving(interfaces)); }
};

// The answers to all connections of a table, as they come from outside.
class answers_to {
 public:
  answers_to(pool& memory, connection_table& table) : memory_(&memory), table_(&table) {}
  pool& memory() noexcept { return *memory_; }
  bool done() const noexcept { return next_ == table_->size(); }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) noexcept {
    std::size_t n = 0;
    for (; n < room && !done(); ++n, ++next_) {
      frame f = memory_->allocate_frame();
      const connection_tuple t = table_->reply((*table_)[next_]);
      const ethernet_header link{.source = {{2, 0, 0, 0, 0, 9}}, .destination = {{2, 0, 0, 0, 0, 3}}};
      const ipv4_header ip{.source = t.source4(), .destination = t.destination4()};
      f.length = 60, f.iif = 2;
      zero_bytes(f.data, f.length);
      const tcp_header tcp{.source_port = t.source_port(),
                           .destination_port = t.destination_port(),
                           .sequence_number = 1,
                           .flags = tcp_flags::ack,
                           .window_size = 8192};
      const udp_header udp{.source_port = t.source_port(), .destination_port = t.destination_port()};
      if (f.slot == no_slot || !(t.protocol_number() == 6 ? write_headers({f.data, 54}, link, ip, tcp)
                                                          : write_headers({f.data, 60}, link, ip, udp)))
        std::abort();
      take(f);
    }
    return n;
  }

 private:
  pool* memory_;
  connection_table* table_;
  std::uint32_t next_ = 0;
};

struct leave_alone {
  verdict operator()(packet&) const noexcept { return pass; }
};

// Packets of connections that exist.
template <std::size_t Flows, std::uint32_t Room, bool Translate>
void forward_known(benchmark::State& state) {
  const arrivals all(Flows, begins::no);
  const auto f = std::make_unique<fixture>(all, Room);
  const auto measure = [&](auto&& path) {
    auto attached = attach(f->port, path, {.budget = default_burst});
    manual_clock time;
    for (std::size_t n = 0; n < Flows;) n += attached.poll(time);
    if (f->connections.size() != Flows) state.SkipWithError("not all connections are there");
    std::size_t packets = 0;
    const std::size_t before = f->port.sent();
    for (auto _ : state) packets += attached.poll(time);
    if (f->port.sent() - before != packets || f->connections.size() != Flows)
      state.SkipWithError("packets or connections were lost");
    if (Translate != (f->translations.statistics().translated == Flows)) state.SkipWithError("translated wrongly");
    state.SetItemsProcessed(static_cast<std::int64_t>(packets));
  };
  if constexpr (Translate) measure(f->path(nat<hook_point::prerouting>(f->translations) | f->snat()));
  else measure(f->path(leave_alone{}));
}

// An answer to each connection, which then is established; nobody has to get it.
void answer_all(fixture& f, manual_clock& time) {
  paged_pool memory{{.packets = 64, .bytes = 256, .bare = 8}};
  answers_to answers{memory, f.connections};
  auto path = parse() | track(f.connections) | discard;
  run(time, attach(answers, path));
}

// Packets of connections that exist, were answered, and whose flows go the fast way. The clock goes on as it would.
template <std::size_t Flows, std::uint32_t Room>
void forward_offloaded(benchmark::State& state) {
  const arrivals all(Flows, begins::no);
  const auto f = std::make_unique<fixture>(all, Room, 2 * Room);
  auto slow = f->path(nat<hook_point::prerouting>(f->translations) | f->snat(), flow_add(f->flows) | transmit(f->port));
  auto path = parse() | fast_path(f->flows).on<offloaded>(transmit(f->port)).on<other>(shared(slow));
  auto attached = attach(f->port, path, {.budget = default_burst});
  manual_clock time;
  const auto round = [&] {
    for (std::size_t n = 0; n < Flows;) {
      time.advance(nanoseconds(1800));
      n += attached.poll(time);
    }
  };
  round();
  answer_all(*f, time);
  time.advance(seconds(3));
  round();  // streams now
  round();
  if (f->connections.size() != Flows) state.SkipWithError("not all connections are there");
  std::size_t packets = 0;
  const std::size_t before = f->port.sent(), fast = f->flows.statistics().hits;
  for (auto _ : state) {
    time.advance(nanoseconds(1800));
    packets += attached.poll(time);
  }
  if (f->port.sent() - before != packets || f->connections.size() != Flows)
    state.SkipWithError("packets or connections were lost");
  if (f->flows.statistics().hits - fast < packets / 2) state.SkipWithError("not the fast way");
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

// First packets only, UDP and TCP: at 12,000 a second, whose connections live for 30 or 120 seconds, 900,000 are there
// at a time, and as many expire as begin.
const arrivals& first_packets() {
  static const arrivals made(1 << 21, begins::yes);
  return made;
}
template <std::uint32_t Room, bool Translate>
void begin(benchmark::State& state) {
  const arrivals& all = first_packets();
  const auto f = std::make_unique<fixture>(all, Room);
  const auto measure = [&](auto&& path) {
    auto attached = attach(f->port, path, {.budget = default_burst});
    manual_clock time;
    const auto burst = [&] {
      time.advance(microseconds(5333));
      const std::size_t n = attached.poll(time);
      f->connections.expire(time.now(), 256);
      return n;
    };
    while (f->port.sent() < all.size()) burst();
    const std::uint64_t before = f->connections.statistics().insert;
    std::size_t packets = 0;
    for (auto _ : state) packets += burst();
    if (f->connections.statistics().insert - before != packets) state.SkipWithError("not every packet began one");
    if (f->connections.size() < 800'000) state.SkipWithError("fewer connections than meant");
    state.SetItemsProcessed(static_cast<std::int64_t>(packets));
  };
  if constexpr (Translate) measure(f->path(f->snat()));
  else measure(f->path(leave_alone{}));
}

BENCHMARK((forward_known<4096, usual, false>))->Name("gateway/4096/track");
BENCHMARK((forward_known<4096, usual, true>))->Name("gateway/4096/snat");
BENCHMARK((forward_offloaded<4096, usual>))->Name("gateway/4096/fast");
BENCHMARK((forward_known<1'000'000, roomy, false>))->Name("gateway/1M/track");
BENCHMARK((forward_known<1'000'000, roomy, true>))->Name("gateway/1M/snat");
BENCHMARK((forward_offloaded<1'000'000, roomy>))->Name("gateway/1M/fast");
BENCHMARK((begin<roomy, false>))->Name("gateway/new/track");
BENCHMARK((begin<roomy, true>))->Name("gateway/new/snat");
BENCHMARK((forward_known<1'000'000, crowded, true>))->Name("gateway/1M_crowded/snat");
BENCHMARK((forward_offloaded<1'000'000, crowded>))->Name("gateway/1M_crowded/fast");
BENCHMARK((begin<crowded, false>))->Name("gateway/new_crowded/track");
BENCHMARK((begin<crowded, true>))->Name("gateway/new_crowded/snat");

}  // namespace
