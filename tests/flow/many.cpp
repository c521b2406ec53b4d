// SPDX-License-Identifier: MIT
// Stages that make several packets of one, or keep one for later.
#include <string>

#include <flow/test_device.hpp>

#include <runnel/flow/trace.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// Gives each packet with an odd number as many times as its number says, at its place; keeps number 100 until another
// odd one comes, behind which it goes; drops number 9.
struct copier : detail::stage_defaults {
  static constexpr stage_kind kind = stage_kind::many;
  static constexpr const char* name = "copier";

  explicit copier(packet& p) : kept(&p) {}
  [[nodiscard]] bool leaves_alone(const packet& p) const noexcept {
    return number_of(p) % 2 == 0 && number_of(p) != 100;
  }
  template <class GoOn>
  verdict operator()(packet& p, context&, GoOn& go_on) noexcept {
    const unsigned n = number_of(p);
    if (n == 9) return drop(drop_reason::blocklist);
    if (n == 100) {
      *kept = static_cast<packet&&>(p);
      return stolen;
    }
    if (n == 1 && !*kept) return pass;
    for (unsigned i = 1; i < n; ++i) go_on(p.copy());
    go_on(static_cast<packet&&>(p));
    if (*kept) go_on(static_cast<packet&&>(*kept));
    return stolen;
  }
  constexpr void print_name(text_writer& out) const noexcept { out << name; }

  packet* kept;
};

struct many_fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
  packet kept;
};

}  // namespace

TEST_CASE("what a stage makes of a packet goes on at that packet's place, however much it is") {
  many_fixture t;
  for (const unsigned n : {2u, 3u, 4u, 1u, 5u, 9u, 7u, 6u}) t.wire.udp(n);
  std::size_t most = 0;
  auto path = parse() | copier{t.kept} | [&](burst& b) { most = b.size() > most ? b.size() : most; } | note(t.arrived);
  run(attach<4>(t.wire, path));
  CHECK(t.arrived == "2 3 3 3 4 1 5 5 5 5 5 7 7 7 7 7 7 7 6");
  CHECK(most == 4);
  const stage_counters& c = counters_of<1>(path);
  CHECK(c.packets == 8 + 15);  // those that were made here came in here
  CHECK(c.dropped(drop_reason::blocklist) == 1);
  CHECK(c.count(verdict_code::stolen) == 3);
  CHECK(c.passed() == t.arrived.count());
}

TEST_CASE("what it keeps goes on later") {
  many_fixture t;
  for (const unsigned n : {100u, 2u, 4u, 3u, 8u}) t.wire.udp(n);
  auto path = parse() | copier{t.kept} | note(t.arrived);
  run(attach<2>(t.wire, path));
  CHECK(t.arrived == "2 4 3 3 3 100 8");
  CHECK(counters_of<1>(path).passed() == t.arrived.count());
}

TEST_CASE("a burst that it leaves alone goes on as it is") {
  many_fixture t;
  t.wire.udp(2);
  t.wire.udp(4);
  t.wire.udp(6);
  auto path = parse() | copier{t.kept} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2 4 6");
  CHECK(counters_of<1>(path).packets == 3);
  CHECK(counters_of<1>(path).bytes == 180);
  CHECK(counters_of<1>(path).passed() == 3);
}

TEST_CASE("a trace follows what it leaves alone, what it drops and what it makes") {
  many_fixture t;
  for (const unsigned n : {2u, 9u, 3u}) t.wire.udp(n);
  text<2000> out;
  auto path = parse() | trace([](const subject&) { return true; }, out) | copier{t.kept} | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2 3 3 3");
  const std::string said = out.c_str();
  const auto count = [&](const char* what) {
    std::size_t n = 0;
    for (std::size_t at = said.find(what); at != std::string::npos; at = said.find(what, at + 1)) ++n;
    return n;
  };
  CHECK(count("trace: ") == 3);
  CHECK(count("copier: pass") == 1);
  CHECK(count("copier: drop") == 1);
  CHECK(count("deliver: end") == 4);
}
