// SPDX-License-Identifier: MIT
// Classes of traffic: a branch of one's own, ways that are joined again, and queues, served in order of priority.
//
//     capture -> parse -> by class -+- interactive ------------------------> urgent (queue) -+-> count
//                                   +- bulk -> mark as bulk -+-> rest (queue) ---------------'
//                                   `- other ----------------'
#include <runnel/runnel.hpp>

#include <cstdio>

using namespace runnel;

namespace {

struct interactive {};
struct bulk {};

// A branch: the ways out, and a decision. The way `other` is for packets without TCP.
struct by_class {
  using ways = ports<interactive, bulk, other>;
  static constexpr const char* name = "by_class";

  ways operator()(ipv4 ip, tcp t) const {
    if (t.source_port() == 22 || t.destination_port() == 22 || ip.total_length() < 100) return interactive{};
    return bulk{};
  }
};

}  // namespace

int main(int argc, char** argv) {
  auto memory = mapped_pool::open({.packets = 4096});
  if (!memory) return std::fprintf(stderr, "%s\n", memory.error().message()), 2;
  auto in = pcap_reader::open(argc > 1 ? argv[1] : "examples/capture.pcap", *memory);
  if (!in) return std::fprintf(stderr, "%s\n", in.error().message()), 2;

  queue<hold, 256> urgent;     // when it is full, the capture is read no further
  queue<drop_tail, 128> rest;  // when it is full, newcomers are dropped, and counted

  auto to_rest = [](packet& p) { p.priority(1); } | enqueue(rest);
  // clang-format off
  auto classes = parse()
               | branch(by_class{})
                     .on<interactive>(enqueue(urgent))
                     .on<bulk>([](packet& p) { p.mark(1); } | shared(to_rest))
                     .on<other>(shared(to_rest));
  // clang-format on

  unsigned served[2] = {};
  auto serve = [&](packet& p) { ++served[p.priority()]; } | discard;

  // The first source is served first in each round; the budget of the second is what it may take before that.
  run(attach(*in, classes, {.budget = 64}), attach(urgent, serve), attach(rest, serve, {.budget = 16}));

  text<4096> drawing;
  describe(drawing, classes);
  std::printf("%s\nserved: %u interactive, %u of the rest\n", drawing.c_str(), served[0], served[1]);
  if (in->failure() != nullptr) return std::fprintf(stderr, "%s\n", in->failure()->message()), 2;
}
