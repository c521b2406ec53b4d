// SPDX-License-Identifier: MIT
// Traces: what is said of the packets that are followed, and that nothing is said of the others.
#include <flow/test_device.hpp>

#include <runnel/flow/trace.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct web {};

struct fixture {
  counted_pool memory;
  test_device wire{memory};
  numbers arrived;
  text<4000> out;

  // The lines, each as far as the packet's own description, which has tests of its own.
  [[nodiscard]] std::string said() const {
    std::string lines = out.c_str(), result;
    for (std::size_t at = 0; at < lines.size();) {
      const std::size_t end = lines.find('\n', at);
      std::string line = lines.substr(at, end - at);
      const std::size_t packet = line.find(", IP");
      if (packet != std::string::npos) line = line.substr(0, packet) + " P";
      if (line.rfind("trace: ", 0) == 0) line = "trace: P";
      result += line + "\n";
      at = end + 1;
    }
    return result;
  }
};

auto udp_to(std::uint16_t port) {
  return [port](const subject& s) { return s.headers.has<udp>() && s.headers.get<udp>().destination_port() == port; };
}

}  // namespace

TEST_CASE("a traced packet is reported at every later stage, with what that stage decided; others are not") {
  fixture t;
  t.wire.udp(1, 53);
  t.wire.udp(2, 80);
  t.wire.tcp(3, 80);
  auto path = parse() | trace(udp_to(80), t.out) | named("look", [](ipv4) {}) |
              branch([](udp u) -> ports<web, other> {
                if (u.destination_port() == 80) return web{};
                return other{};
              })
                  .on<web>(note(t.arrived))
                  .on<other>(discard);
  run(attach(t.wire, path));
  CHECK(t.arrived == "2");
  CHECK(t.said() == "trace: P\n  look: pass P\n  branch(udp): to web\n  deliver: end P\n");
}

TEST_CASE("a trace prints the packet itself") {
  fixture t;
  t.wire.udp(1, 80);
  run(attach(t.wire, parse() | trace(udp_to(80), t.out) | discard));
  CHECK(std::string(t.out.c_str()).find("10.0.0.1.1000 > 192.0.2.1.80") != std::string::npos);
}

TEST_CASE("a trace ends with the verdict that ended the packet") {
  fixture t;
  t.wire.udp(1, 80);
  t.wire.udp(2, 53);
  auto path = parse() | trace(udp_to(80), t.out) | named("block", [](ipv4) { return drop(drop_reason::blocklist); }) |
              named("never", [](ipv4) {}) | discard;
  run(attach(t.wire, path));
  CHECK(t.said() == "trace: P\n  block: drop (blocklist) P\n");
}

TEST_CASE("a packet that is taken is reported when it is traced, and only then") {
  fixture t;
  t.wire.udp(1, 80);
  t.wire.udp(2, 53);
  t.wire.udp(3, 80);
  packet kept;
  auto take = [&](unsigned n) {
    return [&, n](packet& p) -> verdict {
      if (number_of(p) != n) return pass;
      kept = static_cast<packet&&>(p);
      return stolen;
    };
  };
  auto path =
      parse() | trace(udp_to(80), t.out) | named("take 2", take(2)) | named("take 3", take(3)) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(
      t.said() ==
      "trace: P\n  take 2: pass P\n  take 3: pass P\ntrace: P\n  take 2: pass P\n  take 3: stolen\n  deliver: end P\n");
}

TEST_CASE("burst stages and ways behind a trace are reported too") {
  fixture t;
  t.wire.udp(1, 80);
  t.wire.udp(2, 80);
  auto path = parse() | trace(udp_to(80), t.out) | named("burst", [](burst& b) { b.verdict_on(1) = drop; }) |
              by_protocol()
                  .on<udp>(named("inner", [](udp) {}) | discard)
                  .on<tcp>(discard)
                  .on<icmp>(discard)
                  .on<icmpv6>(discard)
                  .on<other>(discard);
  run(attach(t.wire, path));
  CHECK(t.said() ==
        "trace: P\ntrace: P\n  burst: pass P\n  burst: drop (policy) P\n  by_protocol: to udp\n  inner: pass P\n"
        "  discard: end P\n");
}

TEST_CASE("a trace on the path of a tee does not take over the one before it") {
  fixture t;
  numbers copied;
  text<4000> beside;
  t.wire.udp(1, 80);
  auto path = parse() | trace(udp_to(80), t.out) | tee(trace(udp_to(80), beside) | note(copied)) |
              named("look", [](ipv4) {}) | note(t.arrived);
  run(attach(t.wire, path));
  CHECK(t.said() == "trace: P\n  look: pass P\n  deliver: end P\n");
  CHECK(std::string{beside.c_str()}.find("look") == std::string::npos);
}

TEST_CASE("behind a queue, a trace without a condition goes on with the packets that were followed before it") {
  fixture t;
  for (bool lent : {false, true}) {
    CAPTURE(lent);
    if (lent) t.wire.lend_bytes();
    t.out.clear();
    t.arrived.clear();
    queue<drop_tail, 8> later;
    t.wire.udp(1, 53);
    t.wire.udp(2, 80);
    t.wire.udp(3, 53);
    auto before = parse() | trace(udp_to(80), t.out) | enqueue(later);
    auto behind = parse() | trace(t.out) | named("look", [](ipv4) {}) | note(t.arrived);
    run(attach(t.wire, before), attach(later, behind));
    CHECK(t.arrived == "1 2 3");
    CHECK(t.said() == "trace: P\n  enqueue: end P\ntrace: P\n  look: pass P\n  deliver: end P\n");
  }
}

TEST_CASE("a replaced pipeline with a trace of its own goes on with the packets that were followed before it") {
  fixture t;
  auto silent = parse() | named("silent", [](ipv4) {}) | note(t.arrived);
  auto telling = parse() | trace(t.out) | named("look", [](ipv4) {}) | note(t.arrived);
  any_pipeline slot{silent};
  auto path = parse() | trace(udp_to(80), t.out) | replaceable(slot);
  manual_clock time;
  loop l{time, attach(t.wire, path)};
  t.wire.udp(1, 80);
  l.poll();
  slot.replace(telling);
  t.wire.udp(2, 80);
  t.wire.udp(3, 53);
  l.poll();
  CHECK(t.arrived == "1 2 3");
  CHECK(t.said() ==
        "trace: P\n  replaceable: end P\ntrace: P\n  replaceable: end P\ntrace: P\n  look: pass P\n  deliver: end P\n");
}

TEST_CASE("a slot that is used again is not followed any more") {
  fixture t;
  queue<drop_tail, 8> later;
  bool follow = true;
  auto before = parse() | trace([&](const subject&) { return follow; }, t.out) | enqueue(later);
  auto behind = parse() | trace(t.out) | note(t.arrived);
  t.wire.udp(1);
  run(attach(t.wire, before), attach(later, behind));
  CHECK(t.said() == "trace: P\n  enqueue: end P\ntrace: P\n  deliver: end P\n");
  t.out.clear();
  follow = false;
  t.wire.several(2, 70);
  run(attach(t.wire, before), attach(later, behind));
  CHECK(t.said().empty());
}
