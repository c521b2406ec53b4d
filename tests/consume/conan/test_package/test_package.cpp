// SPDX-License-Identifier: MIT
#include <runnel/runnel.hpp>

int main() {
  const std::byte data[] = {std::byte{0x12}, std::byte{0x34}};
  return runnel::checksum(data) == 0xedcb ? 0 : 1;
}
