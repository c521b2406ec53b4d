// SPDX-License-Identifier: MIT
// Drawings of the graph: as text, as Mermaid, as DOT, against what they are to look like.
#include <flow/test_device.hpp>

#include <runnel/xdp.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

struct even {};
struct odd {};

struct fixture {
  counted_pool memory{pool_config{.packets = 128, .bytes = 128, .headroom = 0, .bare = 128}};
  test_device wire{memory};
  numbers arrived;
  text<4000> out;
};

auto by_parity() {
  return branch([](packet& p) -> ports<even, odd> {
    if (number_of(p) % 2 == 0) return even{};
    return odd{};
  });
}

}  // namespace

TEST_CASE("as text, a pipeline is a list of stages with what came in and what was lost") {
  fixture t;
  t.wire.several(1, 40);
  auto path =
      xdp([](const frame& f) { return number_of(f) == 1 ? tx : pass; }) |
      named(
          "firewall",
          [](packet& p) {
            const unsigned n = number_of(p);
            return n < 10 ? drop : n < 15 ? drop(drop_reason::blocklist) : n == 15 ? drop(drop_reason::no_match) : pass;
          }) |
      parse() | [](ipv4, mut<udp>) {} | note(t.arrived);
  run(attach(t.wire, path));
  describe(t.out, path);
  CHECK(std::string(t.out.c_str()) ==
        "xdp(frame)                                  40 packets  tx 1\n"
        "firewall                                    39 packets  drop 14 (policy 8, blocklist 5, no_match 1)\n"
        "parse                                       25 packets\n"
        "handler(ipv4, mut<udp>)                     25 packets\n"
        "deliver                                     25 packets\n");
}

TEST_CASE("as text, ways and copies are drawn as a tree, and shared pipelines once") {
  fixture t;
  t.wire.several(1, 9);
  auto egress = parse() | transmit(t.wire);
  auto path =
      parse() | tee(discard) | by_parity().on<even>([](packet&, instant) {} | shared(egress)).on<odd>(shared(egress));
  run(attach(t.wire, path));
  describe(t.out, path);
  CHECK(std::string(t.out.c_str()) ==
        "parse                                       9 packets\n"
        "tee                                         9 packets\n"
        "|- copy\n"
        "|     discard                               9 packets  drop 9 (discarded 9)\n"
        "branch(packet)                              9 packets\n"
        "|- even\n"
        "|     handler(packet, instant)              4 packets\n"
        "|     shared                                4 packets #1\n"
        "|     parse                                 9 packets\n"
        "|     transmit                              9 packets\n"
        "`- odd\n"
        "      shared                                5 packets #1 (drawn above)\n");
}

TEST_CASE("without counters, only names are drawn; uncounted pipelines have none") {
  fixture t;
  queue<drop_tail, 8> q;
  auto path =
      parse() |
      by_protocol().on<tcp>(discard).on<udp>(enqueue(q)).on<icmp>(discard).on<icmpv6>(discard).on<other>(discard);
  describe(t.out, path, drawing::text, show::names);
  CHECK(std::string(t.out.c_str()) ==
        "parse\n"
        "by_protocol\n"
        "|- tcp\n"
        "|     discard\n"
        "|- udp\n"
        "|     enqueue\n"
        "|- icmp\n"
        "|     discard\n"
        "|- icmpv6\n"
        "|     discard\n"
        "`- other\n"
        "      discard\n");
  t.out.clear();
  describe(t.out, uncounted | parse() | unshare() | discard);
  CHECK(std::string(t.out.c_str()) == "parse\nunshare\ndiscard\n");
}

TEST_CASE("as Mermaid, with characters that mean something there written as entities") {
  fixture t;
  t.wire.several(1, 3);
  auto egress = parse() | transmit(t.wire);
  auto path = parse() | [](mut<ipv4>) {} | tee(discard) |
              named("\"odd\" or <even>", by_parity().on<even>(shared(egress)).on<odd>(shared(egress)));
  run(attach(t.wire, path));
  describe(t.out, path, drawing::mermaid);
  CHECK(std::string(t.out.c_str()) ==
        "flowchart TD\n"
        "  n1[\"parse<br/>3 packets\"]\n"
        "  n2[\"handler(mut#lt;ipv4#gt;)<br/>3 packets\"]\n"
        "  n1 --> n2\n"
        "  n3[\"tee<br/>3 packets\"]\n"
        "  n2 --> n3\n"
        "  n4[\"discard<br/>3 packets<br/>drop 3 (discarded 3)\"]\n"
        "  n3 -->|copy| n4\n"
        "  n5[\"#quot;odd#quot; or #lt;even#gt;<br/>3 packets\"]\n"
        "  n3 --> n5\n"
        "  n6[\"parse<br/>3 packets\"]\n"
        "  n5 -->|even| n6\n"
        "  n7[\"transmit<br/>3 packets\"]\n"
        "  n6 --> n7\n"
        "  n5 -->|odd| n6\n");
}

TEST_CASE("as DOT, with quotes escaped") {
  fixture t;
  t.wire.several(1, 3);
  auto path = parse() | named("a \"b\" \\", by_parity().on<even>(discard).on<odd>(discard));
  run(attach(t.wire, path));
  describe(t.out, path, drawing::dot);
  CHECK(std::string(t.out.c_str()) ==
        "digraph pipeline {\n"
        "  node [shape=box];\n"
        "  n1 [label=\"parse\\n3 packets\"];\n"
        "  n2 [label=\"a \\\"b\\\" \\\\\\n3 packets\"];\n"
        "  n1 -> n2;\n"
        "  n3 [label=\"discard\\n1 packets\\ndrop 1 (discarded 1)\"];\n"
        "  n2 -> n3 [label=\"even\"];\n"
        "  n4 [label=\"discard\\n2 packets\\ndrop 2 (discarded 2)\"];\n"
        "  n2 -> n4 [label=\"odd\"];\n"
        "}\n");
}

TEST_CASE("totals adds up what every stage counted, and a shared pipeline once") {
  fixture t;
  t.wire.several(1, 9);
  auto egress =
      parse() | [](packet& p) { return number_of(p) == 9 ? drop(drop_reason::blocklist) : pass; } | transmit(t.wire);
  auto path = parse() | tee(discard) | by_parity().on<even>(shared(egress)).on<odd>(shared(egress));
  run(attach(t.wire, path));
  const stage_counters sum = totals(path);
  CHECK(sum.packets == 9);
  CHECK(sum.bytes == 9 * 60);
  CHECK(sum.dropped(drop_reason::blocklist) == 1);
  CHECK(sum.dropped(drop_reason::discarded) == 9);
  CHECK(sum.count(verdict_code::drop) == 10);
}

TEST_CASE("the counters of a stage are found by the name that it is drawn with, wherever it hangs") {
  fixture t;
  t.wire.several(1, 9);
  auto egress = named("ttl", [](mut<ipv4> ip) { ip.time_to_live(1); }) | transmit(t.wire);
  auto silent = uncounted | named("silent", [](packet&) {}) | discard;
  const auto drop_some = [](packet& p) { return number_of(p) < 4 ? drop(drop_reason::blocklist) : pass; };
  auto path = parse() | named("policy", drop_some) |
              by_parity()
                  .on<even>(tee(named("beside", [](packet&) {}) | shared(silent)) | unshare() | shared(egress))
                  .on<odd>(named("policy", [](packet&) {}) | discard);
  const stage_counters* const policy = find_stage(path, "policy");
  REQUIRE(policy != nullptr);
  CHECK(policy->packets == 0);
  run(attach(t.wire, path));
  CHECK(policy->packets == 9);
  CHECK(policy->dropped(drop_reason::blocklist) == 3);
  CHECK(policy == &counters_of<1>(path));
  REQUIRE(find_stage(path, "ttl") != nullptr);
  CHECK(find_stage(path, "ttl") == find_stage(egress, "ttl"));
  CHECK(find_stage(path, "ttl")->packets == 3);
  REQUIRE(find_stage(path, "beside") != nullptr);
  CHECK(find_stage(path, "beside")->packets == 3);
  REQUIRE(find_stage(path, "branch(packet)") != nullptr);
  CHECK(find_stage(path, "branch(packet)")->passed() == 6);
  CHECK(find_stage(path, "silent") == nullptr);
  CHECK(find_stage(path, "polic") == nullptr);
  CHECK(find_stage(path, "") == nullptr);
}

TEST_CASE("each stage is told with its name and its counters, those of a shared pipeline once") {
  fixture t;
  t.wire.several(1, 9);
  auto egress = named("ttl", [](packet&) {}) | discard;
  auto silent = as_pipeline(uncounted | named("silent", [](packet&) {}) | discard);
  auto path = parse() | named("policy", [](packet& p) { return number_of(p) <= 3 ? drop : pass; }) |
              tee(named("beside", [](packet&) {}) | shared(silent)) |
              by_parity().on<even>(shared(egress)).on<odd>(shared(egress));
  run(attach(t.wire, path));
  std::string told;
  for_each_stage(path, [&](const char* name, const stage_counters& c) {
    told += name;
    told += ' ' + std::to_string(c.packets) + '\n';
  });
  CHECK(told ==
        "parse 9\n"
        "policy 9\n"
        "tee 6\n"
        "beside 6\n"
        "shared 6\n"
        "branch(packet) 6\n"
        "shared 3\n"
        "ttl 6\n"
        "discard 6\n"
        "shared 3\n");
}
