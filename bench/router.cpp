// SPDX-License-Identifier: MIT
// A router in five stages: blocklist, parse, access list by five-tuple, route by longest prefix, time to live and MAC
// addresses. Four engines run the very same stages over the same packets and tables:
//
//     virtual per packet      each stage is an object with a virtual function that hands the packet to the next, as
//                             in Click
//     fused                   our pipeline, without prefetching: all stages in one loop
//     vector by vector        each stage is a loop over the burst, and looks tables up behind a prefetch, as in VPP
//     fused with prefetch     our pipeline as one writes it
//
// and the same by hand over plain buffers is the lower bound.
//
// Hot: 1,024 flows, whose entries stay in the second-level cache. Cold: two million flows over 512 MiB of access list
// and 64 MiB of routes, each packet of another flow than the packets near it. In both cases the port writes what is of
// the next flow into a buffer that is in cache, as a card does that writes to the cache.
#include <memory>  // unique_ptr
#include <vector>  // vector

#include <benchmark/benchmark.h>

#include "support/parse_c.hpp"
#include "support/ports.hpp"

namespace {

using namespace bench;

// ---- the tables

std::uint32_t hash_of(const flow_key4& key) noexcept { return static_cast<std::uint32_t>(key.hash()); }

struct access_entry {
  flow_key4 key;
  std::uint64_t bytes;
  std::uint32_t packets;
  std::uint16_t used, action;
};
// Buckets of two entries, each a cache line. A key is in the bucket that its hash names, or in one behind it when those
// before are full, which is rare: the table is at most a quarter full, so that one line answers nearly every question.
class access_table {
 public:
  explicit access_table(unsigned bits) : mask_((std::size_t{1} << bits) - 1), buckets_(mask_ + 1) {}
  void insert(const flow_key4& key, std::uint16_t action) {
    const std::size_t home = hash_of(key) & mask_;
    for (std::size_t i = 0;; ++i)
      for (access_entry& e : buckets_[home ^ i].entries)
        if (e.used == 0) {
          e.key = key;
          e.used = 1;
          e.action = action;
          return;
        }
  }
  access_entry* find(const flow_key4& key, std::uint32_t hash) const noexcept {
    const std::size_t home = hash & mask_;
    for (std::size_t i = 0;; ++i) {
      access_entry* const e = buckets_[home ^ i].entries;
      // Which of the two it is nobody can foresee: no branch asks for it.
      access_entry* const found = e + (e[1].key == key ? 1 : 0);
      if (found->key == key) [[likely]]
        return found;
      if (e[1].used == 0) return nullptr;
    }
  }
  void prefetch(std::uint32_t hash) const noexcept { prefetch_to_write(&buckets_[hash & mask_]); }

 private:
  struct alignas(64) bucket {
    access_entry entries[2];
  };
  std::size_t mask_;
  big_array<bucket> buckets_;
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

// The bytes of a packet that are of its flow, as they lie on the wire: the second half of the IPv4 header, from the
// time to live on, and the ports.
struct arrival {
  std::byte bytes[16];
  arrival(std::uint32_t ttl_protocol_and_checksum, const flow_key4& key) noexcept {
    store_be32(bytes, ttl_protocol_and_checksum);
    key.source().store(bytes + 4);
    key.destination().store(bytes + 8);
    store_be32(bytes + 12, std::uint32_t{key.source_port()} << 16 | key.destination_port());
  }
};
struct tables {
  access_table access;
  route_table routes;
  block_list blocked;
  std::vector<neighbour> neighbours{64};
  std::vector<arrival> arrivals;  // whose packets come, in order

  explicit tables(bool cold) : access(cold ? 23 : 11) {
    const std::size_t flows = std::size_t{1} << (cold ? 21 : 10);
    arrivals.reserve(flows);
    for (std::size_t i = 0; i < flows; ++i) {
      const std::uint64_t r = scramble(i), s = scramble(i + 1'000'000'007);
      // The hot ones go to 256 networks.
      const flow_key4 key{
          ipv4_address{0x0a00'0000u | static_cast<std::uint32_t>(r & 0xff'ffff)},
          ipv4_address{cold ? static_cast<std::uint32_t>(s) : 0xc612'0000u | static_cast<std::uint32_t>(s & 0xffff)},
          static_cast<std::uint16_t>(1024 + (r >> 24) % 60'000), 443, 17};
      arrivals.emplace_back(0x4011'0000u, key);
      access.insert(key, 1);
      routes.insert(key.destination(), static_cast<std::uint32_t>(s >> 40 & 63));
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
    if (ip.time_to_live() <= 1) return drop(drop_reason::policy);
    ip.decrement_time_to_live();
    const neighbour& n = neighbours[p.scratch()];
    e.source(n.source);
    e.destination(n.destination);
    return pass;
  }
};

// ---- the packets

// Hands out a memory_port's frames with the next flow's bytes written into them. Checksums are left alone, for these
// stages do not verify them.
class arriving_port {
 public:
  arriving_port(pool& memory, const tables& t) : port_(memory, 256, traffic::udp64), arrivals_(&t.arrivals) {}
  pool& memory() noexcept { return port_.memory(); }
  bool done() const noexcept { return false; }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    const arrival* next = arrivals_->data() + next_;
    const std::size_t n = port_.receive(
        room, now,
        [&take, &next, a = arrivals_->data(), end = arrivals_->data() + arrivals_->size()](const frame& f) noexcept {
          __builtin_memcpy(f.data + 22, next->bytes, sizeof next->bytes);
          prefetch_to_read(next + 128);
          if (++next == end) next = a;
          take(f);
        });
    next_ = static_cast<std::size_t>(next - arrivals_->data());
    return n;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept { return port_.transmit(packets, n, now); }

 private:
  memory_port port_;
  const std::vector<arrival>* arrivals_;
  std::size_t next_ = 0;
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
// The lower bound: what a C programmer writes by hand for these stages and these tables, over plain buffers, with one
// loop in which every packet is looked at `ahead` packets before the rest of the work is done on it. It has no packets,
// no counters and no device, and knows no drop but its list of freed buffers.
class router_c {
 public:
  explicit router_c(bool cold) : t_(tables::get(cold)), sent_(port_.buffers().size()), freed_(sent_.size()) {}
  // One burst. How many packets were sent.
  [[gnu::noinline]] std::size_t run() {
    const buffer_c* const received = port_.buffers().data() + at_;
    at_ = (at_ + default_burst) % port_.buffers().size();
    for (std::size_t i = 0; i < default_burst; ++i) {
      std::memcpy(received[i].data + 22, t_.arrivals[next_].bytes, sizeof(arrival));
      next_ = (next_ + 1) & (t_.arrivals.size() - 1);
    }
    std::size_t sent = 0, freed = 0;
    for (std::size_t i = 0; i < default_burst; ++i) {
      waiting& last = queue_[looked_at_ % ahead];
      if (looked_at_ >= ahead) {
        if (finish(last)) sent_[sent++] = last.buffer;
        else freed_[freed++] = last.buffer;
      }
      last.buffer = received[i];
      if (look(last)) ++looked_at_;
      else freed_[freed++] = received[i];
    }
    return sent;
  }

 private:
  static constexpr std::size_t ahead = 32;
  struct waiting {
    buffer_c buffer;
    flow_key4 key;
    std::uint32_t hash;
  };
  // Checks the headers and the blocklist, and fetches what the tables have.
  bool look(waiting& w) const {
    const std::uint8_t* const p = w.buffer.data;
    const std::uint32_t length = w.buffer.length;
    if (length < 34 || read16(p + 12) != 0x0800) return false;
    const std::uint8_t* const ip = p + 14;
    const std::uint32_t header = (ip[0] & 15u) * 4, total = read16(ip + 2);
    if (ip[0] >> 4 != 4 || header < 20 || total < header + 8 || 14 + total > length) return false;
    if ((read16(ip + 6) & 0x1fff) != 0 || ip[9] != 17) return false;
    const ipv4_address source{read32(ip + 12)}, destination{read32(ip + 16)};
    if (t_.blocked.contains(source)) return false;
    const std::uint32_t ports = read32(ip + header);
    w.key = {source, destination, static_cast<std::uint16_t>(ports >> 16), static_cast<std::uint16_t>(ports), 17};
    w.hash = hash_of(w.key);
    t_.access.prefetch(w.hash);
    t_.routes.prefetch(destination);
    return true;
  }
  bool finish(const waiting& w) const {
    access_entry* const e = t_.access.find(w.key, w.hash);
    if (e == nullptr || e->action == 0) return false;
    e->packets += 1;
    e->bytes += w.buffer.length;
    const std::uint32_t hop = t_.routes.find(w.key.destination());
    std::uint8_t* const p = w.buffer.data;
    if (hop == 0 || p[22] <= 1) return false;
    p[22] = static_cast<std::uint8_t>(p[22] - 1);
    std::uint32_t sum = read16(p + 24) + 0x100;  // RFC 1141
    sum += sum >> 16;
    p[24] = static_cast<std::uint8_t>(sum >> 8);
    p[25] = static_cast<std::uint8_t>(sum);
    const neighbour& n = t_.neighbours[hop - 1];
    std::memcpy(p, &n.destination, 6);
    std::memcpy(p + 6, &n.source, 6);
    return true;
  }
  static std::uint32_t read32(const std::uint8_t* p) { return read16(p) << 16 | read16(p + 2); }

  tables& t_;
  paged_pool memory_{{.packets = 256, .bytes = 256, .bare = 8}};
  memory_port port_{memory_, 256, traffic::udp64};
  std::vector<buffer_c> sent_, freed_;
  waiting queue_[ahead];
  std::size_t at_ = 0, next_ = 0, looked_at_ = 0;
};
template <bool Cold>
void by_hand(benchmark::State& state) {
  router_c router(Cold);
  std::size_t packets = 0;
  for (auto _ : state) {
    packets += router.run();
    benchmark::ClobberMemory();
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
BENCHMARK((by_hand<false>))->Name("router/hot/by_hand");
BENCHMARK((fused_with_prefetch<true>))->Name("router/cold/ours");
BENCHMARK((fused<true>))->Name("router/cold/fused");
BENCHMARK((vector_by_vector<true>))->Name("router/cold/vector");
BENCHMARK((virtual_per_packet<true>))->Name("router/cold/virtual");
BENCHMARK((by_hand<true>))->Name("router/cold/by_hand");
BENCHMARK(port_only)->Name("router/port_only");

}  // namespace
