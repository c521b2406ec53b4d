// SPDX-License-Identifier: MIT
#include <runnel/runnel.hpp>

unsigned checksum_elsewhere(runnel::bytes data);
runnel::packet copied_elsewhere(const runnel::packet& p);

unsigned checksum_elsewhere(runnel::bytes data) { return runnel::checksum(data); }
runnel::packet copied_elsewhere(const runnel::packet& p) { return p.copy(); }
