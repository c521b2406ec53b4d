// SPDX-License-Identifier: MIT
// No heap while packets flow: a pipeline with one of everything runs, and nothing is allocated.
#include <cstdlib>  // malloc, free
#include <new>      // operator new

#include <flow/test_device.hpp>

#include <runnel/match.hpp>
#include <runnel/xdp.hpp>

namespace {
std::size_t allocations = 0;  // since the program began

void* counted_allocate(std::size_t size, std::size_t alignment) {
  ++allocations;
  void* p = alignment == 0 ? std::malloc(size == 0 ? 1 : size)
                           : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr) std::abort();
  return p;
}
}  // namespace

// Every other form calls one of these.
void* operator new(std::size_t size) { return counted_allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t a) { return counted_allocate(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

using namespace runnel;
using namespace runnel::test;

namespace {

// A device that allocates nothing itself: the same frames again and again, every third one malformed or without IP.
struct generator {
  pool* memory_;
  unsigned left;
  std::byte frames_[3][80];
  std::uint64_t transmitted = 0;

  generator(pool& memory, unsigned n) : memory_(&memory), left(n) {
    for (auto& f : frames_) zero_bytes(f, 80);
    const ipv4_header ip{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}};
    REQUIRE(write_headers({frames_[0], 80}, eth, ip, udp_header{.source_port = 1, .destination_port = 53}));
    REQUIRE(write_headers({frames_[1], 80}, eth, ip, tcp_header{.source_port = 1, .destination_port = 443}));
    REQUIRE(write_headers({frames_[2], 80}, eth, ipv6_header{}, udp_header{.source_port = 1, .destination_port = 80}));
  }
  pool& memory() { return *memory_; }
  bool done() const { return left == 0; }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) {
    std::size_t n = 0;
    for (; n < room && left != 0; ++n, --left) {
      frame f = memory_->allocate_frame();
      if (f.slot == no_slot) break;
      copy_bytes(f.put(80), frames_[left % 3], 80);
      if (left % 17 == 0) f.data[14] = std::byte{0};  // no IP version is 0
      take(f);
    }
    return n;
  }
  std::size_t transmit(packet* packets, std::size_t n, instant) {
    for (std::size_t i = 0; i < n; ++i) packets[i].reset();
    transmitted += n;
    return n;
  }
};

}  // namespace

TEST_CASE("operator new is counted") {
  const std::size_t before = allocations;
  void* p = ::operator new(1);  // as a call: a compiler may leave out a new-expression
  asm volatile("" : "+r"(p));   // and may not put two and two together
  ::operator delete(p);
  CHECK(allocations == before + 1);
}

TEST_CASE("nothing is allocated on the heap while packets flow") {
  counted_pool memory{pool_config{.packets = 512, .bytes = 128, .headroom = 64, .bare = 256}};
  generator wire{memory, 10'000};
  struct dns {};
  struct web {};
  static queue<drop_head, 128> held;
  constexpr auto policy =
      rules(when(ip::saddr == addr4("10.9.9.9")) >> drop(drop_reason::blocklist), otherwise >> accept);
  struct {
    std::uint64_t bytes = 0;
    void write(const packet& p) { bytes += p.length(); }
  } writer;
  std::uint64_t delivered = 0;
  auto egress = [](mut<ipv4> ip) { ip.time_to_live(63); } | transmit(wire);
  auto replaced = parse() | [](ipv4) {} | transmit(wire);
  any_pipeline slot{replaced};
  auto path = xdp([n = 0](ethernet) mutable { return ++n % 50 == 0 ? tx
                                                     : n % 50 == 1 ? drop
                                                                   : pass; }) | parse() |
              policy | tap(writer) | tee([](udp) {} | discard) | unshare() | [](burst&) {} |
              branch([](udp u) -> ports<dns, web, other> {
                if (u.destination_port() == 53) return dns{};
                return web{};
              })
                  .on<dns>(enqueue(held))
                  .on<web>(shared(egress))
                  .on<other>(branch([n = 0](packet&) mutable -> ports<web, other> {
                               if (++n % 2 == 0) return web{};
                               return other{};
                             })
                                 .on<web>(replaceable(slot))
                                 .on<other>(deliver([&](packet) { ++delivered; })));

  const std::size_t before = allocations;
  run(attach(wire, path), attach(held, parse() | unshare() | [](udp) {} | shared(egress)));
  const std::size_t after = allocations;
  CHECK(after - before == 0);
  // It did run, and every stage had something to do.
  CHECK(wire.left == 0);
  CHECK(wire.transmitted > 5'000);
  CHECK(delivered > 1'000);
  CHECK(writer.bytes > 100'000);
  CHECK(counters_of<0>(replaced).packets > 1'000);
  CHECK(counters_of<1>(path).dropped(drop_reason::ip_version) > 100);
}
