// SPDX-License-Identifier: MIT
// Hands packets to the other file: what is a packet here is one there.
#include <runnel/runnel.hpp>

unsigned checksum_elsewhere(runnel::bytes data);
runnel::packet copied_elsewhere(const runnel::packet& p);

int main() {
  static runnel::static_pool<runnel::pool_config{.packets = 2, .bytes = 256}> memory;
  const std::byte data[] = {std::byte{0x12}, std::byte{0x34}};
  runnel::packet p = memory->allocate();
  if (!p || !p.append(data)) return 1;
  const runnel::packet copy = copied_elsewhere(p);
  return copy && checksum_elsewhere(copy.contents()) == runnel::checksum(data) ? 0 : 1;
}
