// SPDX-License-Identifier: MIT
// A router in five stages: blocklist, parse, access list by five-tuple, route by longest prefix, time to live and MAC
// addresses. Four engines run the very same stages over the same packets and tables:
//
//     virtual per packet      each stage is an object with a virtual function that hands the packet to the next, as in
//     Click fused                   our pipeline, without prefetching: all stages in one loop vector by vector each
//     stage is a loop over the burst, and looks tables up behind a prefetch, as in VPP fused with prefetch     our
//     pipeline as one writes it
//
// Hot: 1,024 flows, whose entries stay in the second-level cache. Cold: two million flows over 256 MiB of access list
// and 64 MiB of routes, each packet of another flow than the packets near it. In both cases the port writes the
// addresses of the next flow into a buffer that is in cache, as a card does that writes to the cache.
#include <memory>  // unique_ptr
#include <vector>  // vector

#include <benchmark/benchmark.h>

#include "support/ports.hpp"

namespace {

using namespace bench;

// ---- the tables

struct alignas(64) access_entry {
  flow_key4 key;
  std::uint64_t packets, bytes;
  std::uint32_t used, action;
};
class access_table {
 public:
  explicit access_table(unsigned bits) : mask_((std::size_t{1} << bits) - 1), entries_(mask_ + 1) {}
  void insert(const flow_key4& key, std::uint32_t action) {
    std::size_t at = static_cast<std::uint32_t>(key.hash()) & mask_;
    while (entries_[at].used != 0) at = (at + 1) & mask_;
    entries_[at].key = key;
    entries_[at].used = 1;
    entries_[at].action = action;
  }
  access_entry* find(const flow_key4& key, std::uint32_t hash) const noexcept {
    for (std::size_t at = hash & mask_; entries_[at].used != 0; at = (at + 1) & mask_)
      if (entries_[at].key == key) return &entries_[at];
    return nullptr;
  }
  void prefetch(std::uint32_t hash) const noexcept { prefetch_to_write(&entries_[hash & mask_]); }

 private:
  std::size_t mask_;
  big_array<access_entry> entries_;
};
// One number for every /24: the first table of DIR-24-8.
class route_table {
 public:
  route_table() : hops_(std::size_t{1} << 24) {}
  void insert(ipv4_address a, std::uint32_t hop) { hops_[a.value() >> 8] = hop + 1; }
  std::uint32_t find(ipv4_address a) const noexcept { return hops_[a.value() >> 8]; }
  void prefetch(ipv4_address a) const noexcept { prefetch_to_read(&hops_[a.value() >> 8]); }

 private:
  big_array<std::uint32_t> hops_;
};
struct neighbour {
  mac_address source, destination;
};
// A small open hash set: it stays in the first-level cache.
class block_list {
 public:
  block_list() : slots_(1024) {
    for (std::uint32_t i = 0; i < 64; ++i) {
      const std::uint32_t address = 0xc000'0200u | i;
      std::size_t at = place(address);
      while (slots_[at] != 0) at = (at + 1) & 1023;
      slots_[at] = address;
    }
  }
  bool contains(ipv4_address a) const noexcept {
    for (std::size_t at = place(a.value()); slots_[at] != 0; at = (at + 1) & 1023)
      if (slots_[at] == a.value()) return true;
    return false;
  }

 private:
  static std::size_t place(std::uint32_t a) noexcept { return a * 2654435761u >> 22; }
  std::vector<std::uint32_t> slots_;
};

struct address_pair {
  ipv4_address source, destination;
  std::uint16_t source_port, destination_port;
};
struct tables {
  access_table access;
  route_table routes;
  block_list blocked;
  std::vector<neighbour> neighbours{64};
  std::vector<address_pair> arrivals;  // whose packets come, in order

  explicit tables(bool cold) : access(cold ? 22 : 12), arrivals(std::size_t{1} << (cold ? 21 : 10)) {
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      const std::uint64_t r = scramble(i), s = scramble(i + 1'000'000'007);
      address_pair& a = arrivals[i];
      // The hot ones go to 256 networks.
      a = {ipv4_address{0x0a00'0000u | static_cast<std::uint32_t>(r & 0xff'ffff)},
           ipv4_address{cold ? static_cast<std::uint32_t>(s) : 0xc612'0000u | static_cast<std::uint32_t>(s & 0xffff)},
           static_cast<std::uint16_t>(1024 + (r >> 24) % 60'000), 443};
      access.insert({a.source, a.destination, a.source_port, a.destination_port, 17}, 1);
      routes.insert(a.destination, static_cast<std::uint32_t>(s >> 40 & 63));
    }
    for (std::size_t i = 0; i < neighbours.size(); ++i) {
      neighbours[i] = {{{2, 0, 0, 0, 1, 0}}, {{2, 0, 0, 0, 2, static_cast<std::uint8_t>(i)}}};
    }
  }
  static tables& get(bool cold) {
    static std::unique_ptr<tables> made[2];
    if (!made[cold]) made[cold] = std::make_unique<tables>(cold);
    return *made[cold];
  }
};

// ---- the stages

struct drop_blocked {
  const block_list* blocked;
  verdict operator()(ipv4 ip) const noexcept {
    return blocked->contains(ip.source()) ? drop(drop_reason::blocklist) : pass;
  }
};

std::uint32_t hash_of(const flow_key4& key) noexcept { return static_cast<std::uint32_t>(key.hash()); }

struct check_access {
  access_table* table;
  verdict operator()(ipv4 ip, udp u, const packet& p) const noexcept {
    const flow_key4 key = flow_key4::from(ip, u);
    return check(key, hash_of(key), p);
  }
  verdict check(const flow_key4& key, std::uint32_t hash, const packet& p) const noexcept {
    access_entry* e = table->find(key, hash);
    if (e == nullptr || e->action == 0) return drop(drop_reason::policy);
    e->packets += 1;
    e->bytes += p.length();
    return pass;
  }
};
// The same with a prefetch, which leaves the hash with the packet.
struct check_access_ahead : check_access {
  verdict operator()(ipv4 ip, udp u, const packet& p) const noexcept {
    return check(flow_key4::from(ip, u), p.flow_hash(), p);
  }
  void prefetch(ipv4 ip, udp u, packet& p) const noexcept {
    const auto hash = hash_of(flow_key4::from(ip, u));
    p.flow_hash(hash);
    table->prefetch(hash);
  }
};
struct look_up_route {
  const route_table* table;
  verdict operator()(ipv4 ip, packet& p) const noexcept {
    const std::uint32_t hop = table->find(ip.destination());
    if (hop == 0) return drop(drop_reason::policy);
    p.scratch(hop - 1);
    return pass;
  }
};
struct look_up_route_ahead : look_up_route {
  verdict operator()(ipv4 ip, packet& p) const noexcept { return look_up_route::operator()(ip, p); }
  void prefetch(ipv4 ip) const noexcept { table->prefetch(ip.destination()); }
};
struct rewrite {
  const neighbour* neighbours;
  verdict operator()(mut<ethernet> e, mut<ipv4> ip, packet& p) const noexcept {
    const std::uint8_t ttl = ip.time_to_live();
    if (ttl <= 1) return drop(drop_reason::policy);
    ip.time_to_live(static_cast<std::uint8_t>(ttl - 1));
    const neighbour& n = neighbours[p.scratch()];
    e.source(n.source);
    e.destination(n.destination);
    return pass;
  }
};

// ---- the packets

// Hands out a memory_port's frames with the next flow's addresses written into them. Checksums of the transport are
// left alone, for no router looks at them.
class arriving_port {
 public:
  arriving_port(pool& memory, const tables& t) : port_(memory, 256, traffic::udp64), arrivals_(&t.arrivals) {
    for (const buffer_c& b : port_.buffers()) __builtin_memcpy(&ttl_and_checksum_, b.data + 22, 4);
  }
  pool& memory() noexcept { return port_.memory(); }
  bool done() const noexcept { return false; }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    std::size_t next = next_;
    const std::size_t last = arrivals_->size() - 1;
    const std::size_t n = port_.receive(
        room, now, [&take, &next, last, a = arrivals_->data(), rest = ttl_and_checksum_](const frame& f) noexcept {
          const address_pair& from = a[next];
          std::byte* p = f.data;
          __builtin_memcpy(p + 22, &rest, 4);
          from.source.store(p + 26);
          from.destination.store(p + 30);
          store_be32(p + 34, std::uint32_t{from.source_port} << 16 | from.destination_port);
          next = (next + 1) & last;
          take(f);
        });
    next_ = next;
    return n;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept { return port_.transmit(packets, n, now); }

 private:
  memory_port port_;
  const std::vector<address_pair>* arrivals_;
  std::size_t next_ = 0;
  std::uint32_t ttl_and_checksum_ = 0;
};

struct fixture {
  paged_pool memory{{.packets = 256, .bytes = 256, .bare = 8}};
  tables& t;
  arriving_port port{memory, t};
  explicit fixture(bool cold) : t(tables::get(cold)) {}
};

// ---- the engines

template <class Pipeline>
void run_pipeline(benchmark::State& state, fixture& f, Pipeline&& path) {
  auto attached = attach(f.port, path, {.budget = default_burst});
  manual_clock time;
  std::size_t packets = 0;
  for (auto _ : state) packets += attached.poll(time);
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}
template <bool Cold>
void fused_with_prefetch(benchmark::State& state) {
  fixture f(Cold);
  run_pipeline(state, f,
               xdp(drop_blocked{&f.t.blocked}) | parse() | check_access_ahead{{&f.t.access}} |
                   look_up_route_ahead{{&f.t.routes}} | rewrite{f.t.neighbours.data()} | transmit(f.port));
}
template <bool Cold>
void fused(benchmark::State& state) {
  fixture f(Cold);
  run_pipeline(state, f,
               xdp(drop_blocked{&f.t.blocked}) | parse() | check_access{&f.t.access} | look_up_route{&f.t.routes} |
                   rewrite{f.t.neighbours.data()} | transmit(f.port));
}

// A stage as the library would call it, for the two engines that are not the library's.
template <class F>
using stage_for = runnel::detail::stage_of<F>;

// parse() on its own.
struct parse_alone {
  verdict operator()(packet& p, context&) const noexcept {
    runnel::detail::known_layers unused;
    return parse().find(p, unused);
  }
};

// What a burst of frames needs to become packets, and what a burst of packets needs to be sent.
template <class Port>
std::size_t receive_packets(Port& port, packet* packets, std::size_t room) noexcept {
  frame frames[default_burst];
  const std::size_t n = port.receive(room, {}, into_array(frames));
  for (std::size_t i = 0; i < n; ++i) ::new (static_cast<void*>(packets + i)) packet{port.memory().attach(frames[i])};
  return n;
}
struct packet_array {
  packet_array() noexcept {}
  ~packet_array() {}
  union {
    packet p[default_burst];
  };
};

class element {
 public:
  virtual void push(packet& p, context& c) noexcept = 0;
  element* next = nullptr;

 protected:
  ~element() = default;
};
template <class Stage>
class element_of final : public element {
 public:
  explicit element_of(Stage s) : stage_(s) {}
  void push(packet& p, context& c) noexcept override {
    if (stage_(p, c).code == verdict_code::pass) [[likely]]
      next->push(p, c);
    else p.reset();
  }

 private:
  Stage stage_;
};
class collector final : public element {
 public:
  void push(packet& p, context&) noexcept override {
    ::new (static_cast<void*>(&out.p[n++])) packet{static_cast<packet&&>(p)};
  }
  packet_array out;
  std::size_t n = 0;
};
template <bool Cold>
void virtual_per_packet(benchmark::State& state) {
  fixture f(Cold);
  element_of parse_element{parse_alone{}};
  element_of blocked{stage_for<drop_blocked>{drop_blocked{&f.t.blocked}}};
  element_of access{stage_for<check_access>{check_access{&f.t.access}}};
  element_of route{stage_for<look_up_route>{look_up_route{&f.t.routes}}};
  element_of last{stage_for<rewrite>{rewrite{f.t.neighbours.data()}}};
  collector out;
  element* elements[] = {&parse_element, &blocked, &access, &route, &last, &out};
  for (std::size_t i = 0; i < 5; ++i) elements[i]->next = elements[i + 1];
  element* first = elements[0];
  benchmark::DoNotOptimize(first);
  benchmark::ClobberMemory();
  context c;
  std::size_t packets = 0;
  for (auto _ : state) {
    packet_array in;
    const std::size_t n = receive_packets(f.port, in.p, default_burst);
    for (std::size_t i = 0; i < n; ++i) first->push(in.p[i], c);
    (void)f.port.transmit(out.out.p, out.n, {});
    out.n = 0;
    packets += n;
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

// One node of a vector engine: a loop that keeps what passes, in a function of its own.
template <class Stage>
[[gnu::noinline]] std::size_t node(Stage& stage, packet* packets, std::size_t n, context& c) noexcept {
  if constexpr (requires { stage.prefetch(packets[0], c, nullptr); })
    for (std::size_t i = 0; i < n; ++i) stage.prefetch(packets[i], c, nullptr);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (stage(packets[i], c).code == verdict_code::pass) [[likely]] {
      if (kept != i) ::new (static_cast<void*>(packets + kept)) packet{static_cast<packet&&>(packets[i])};
      ++kept;
    } else {
      packets[i].reset();
    }
  }
  return kept;
}
template <bool Cold>
void vector_by_vector(benchmark::State& state) {
  fixture f(Cold);
  parse_alone parse_node;
  stage_for<drop_blocked> blocked{drop_blocked{&f.t.blocked}};
  stage_for<check_access_ahead> access{check_access_ahead{{&f.t.access}}};
  stage_for<look_up_route_ahead> route{look_up_route_ahead{{&f.t.routes}}};
  stage_for<rewrite> last{rewrite{f.t.neighbours.data()}};
  context c;
  std::size_t packets = 0;
  for (auto _ : state) {
    packet_array in;
    std::size_t n = receive_packets(f.port, in.p, default_burst);
    packets += n;
    n = node(parse_node, in.p, n, c);
    n = node(blocked, in.p, n, c);
    n = node(access, in.p, n, c);
    n = node(route, in.p, n, c);
    n = node(last, in.p, n, c);
    (void)f.port.transmit(in.p, n, {});
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}
// What all of them pay for receiving and sending.
void port_only(benchmark::State& state) {
  fixture f(false);
  std::size_t packets = 0;
  for (auto _ : state) {
    packet_array in;
    const std::size_t n = receive_packets(f.port, in.p, default_burst);
    packets += f.port.transmit(in.p, n, {});
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

BENCHMARK((fused_with_prefetch<false>))->Name("router/hot/ours");
BENCHMARK((fused<false>))->Name("router/hot/fused");
BENCHMARK((vector_by_vector<false>))->Name("router/hot/vector");
BENCHMARK((virtual_per_packet<false>))->Name("router/hot/virtual");
BENCHMARK((fused_with_prefetch<true>))->Name("router/cold/ours");
BENCHMARK((fused<true>))->Name("router/cold/fused");
BENCHMARK((vector_by_vector<true>))->Name("router/cold/vector");
BENCHMARK((virtual_per_packet<true>))->Name("router/cold/virtual");
BENCHMARK(port_only)->Name("router/port_only");

}  // namespace
