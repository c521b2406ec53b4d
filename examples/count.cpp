// SPDX-License-Identifier: MIT
// The smallest pipeline: counts the TCP and UDP packets of a capture, without making a single packet.
//
//     capture -> xdp(count) -> discard
#include <runnel/runnel.hpp>

#include <cstdio>

using namespace runnel;

int main(int argc, char** argv) {
  auto memory = mapped_pool::open({.packets = 64});
  if (!memory) return std::fprintf(stderr, "%s\n", memory.error().message()), 2;
  auto in = pcap_reader::open(argc > 1 ? argv[1] : "examples/capture.pcap", *memory);
  if (!in) return std::fprintf(stderr, "%s\n", in.error().message()), 2;

  unsigned tcp_packets = 0, udp_packets = 0;
  run(attach(*in, xdp([&](tcp) { ++tcp_packets; }) | xdp([&](udp) { ++udp_packets; }) | discard));

  std::printf("tcp %u\nudp %u\n", tcp_packets, udp_packets);
  if (in->failure()) return std::fprintf(stderr, "%s\n", in->failure()->message()), 2;
}
