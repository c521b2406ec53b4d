// SPDX-License-Identifier: MIT
// Says which packets of a capture each of some filters selects. The first lines of the output have a letter for each
// packet: `tags_of`, `kind_of`. Then, for each line of standard input, a line with a 1 for each packet that this filter
// selects and a 0 for each other; or "error:" and what is wrong with the filter.
//
//     select_packets CAPTURE < FILTERS
#include <cstdio>
#include <cstring>
#include <vector>

#include <runnel/device/mapped_pool.hpp>
#include <runnel/device/pcap_reader.hpp>
#include <runnel/match.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>

using namespace runnel;

namespace {

struct stored_packet {
  std::vector<std::byte> contents;
  layers found;

  [[nodiscard]] subject as_subject() const { return {bytes{contents.data(), contents.size()}, found}; }
};

// How many VLAN tags it has, as far as there are headers for them.
char tags_of(const stored_packet& p) {
  const subject s = p.as_subject();
  return match::has_header<header::cvlan>{}(s) ? '2' : has<vlan>(s) ? '1' : '0';
}
// Why tcpdump may see another packet than we: there is a fault in it, a label stack, a SNAP header, extension headers
// in front of its transport.
char kind_of(const stored_packet& p) {
  const subject s = p.as_subject();
  if (p.found.fault != drop_reason::none) return 'f';
  if (has<mpls>(s)) return 'm';
  if (has<snap>(s)) return 's';
  return (ip6::nexthdr.in(constant_set{0, 43, 44, 51, 60, 135}))(s) ? 'x' : '-';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: select_packets CAPTURE < FILTERS\n"), 2;
  auto memory = mapped_pool::open({.packets = 16});
  if (!memory) return std::fprintf(stderr, "%s\n", memory.error().message()), 1;
  auto in = pcap_reader::open(argv[1], *memory);
  if (!in) return std::fprintf(stderr, "%s\n", in.error().message()), 1;
  std::vector<stored_packet> all;
  frame frames[64];
  while (!in->done()) {
    const std::size_t n = in->receive(64, instant{}, into_array(frames));
    for (std::size_t i = 0; i < n; ++i) {
      const frame& f = frames[i];
      all.push_back({{f.data, f.data + f.length}, dissect({f.data, f.length}, f.link, {.missing = f.missing})});
    }
    in->memory().release(frames, n);
  }
  if (in->failure() != nullptr) return std::fprintf(stderr, "%s\n", in->failure()->message()), 1;

  for (const stored_packet& p : all) std::putchar(tags_of(p));
  std::putchar('\n');
  for (const stored_packet& p : all) std::putchar(kind_of(p));
  std::putchar('\n');
  char line[1024];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    line[std::strcspn(line, "\n")] = '\0';
    const auto filter = parse_condition(line);
    if (!filter) {
      std::printf("error: %s\n", filter.error().message());
      continue;
    }
    for (const stored_packet& p : all) std::putchar((*filter)(p.as_subject()) ? '1' : '0');
    std::putchar('\n');
  }
}
