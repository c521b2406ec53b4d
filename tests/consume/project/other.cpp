// SPDX-License-Identifier: MIT
#include <runnel/runnel.hpp>

unsigned checksum_elsewhere(runnel::bytes data);
unsigned checksum_elsewhere(runnel::bytes data) { return runnel::checksum(data); }
