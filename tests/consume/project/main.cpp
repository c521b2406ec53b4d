// SPDX-License-Identifier: MIT
#include <runnel/runnel.hpp>

unsigned checksum_elsewhere(runnel::bytes data);

int main() {
  const std::byte data[] = {std::byte{0x12}, std::byte{0x34}};
  return checksum_elsewhere(data) == runnel::checksum(data) ? 0 : 1;
}
