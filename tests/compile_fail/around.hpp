// SPDX-License-Identifier: MIT
// What the examples of compile errors have in common: devices that are only declared.
#ifndef RUNNEL_TESTS_COMPILE_FAIL_AROUND_HPP
#define RUNNEL_TESTS_COMPILE_FAIL_AROUND_HPP

#include <runnel/flow.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/xdp.hpp>

struct card {
  runnel::pool& memory();
  template <class Take>
  std::size_t receive(std::size_t, runnel::instant, Take&&) {
    return 0;
  }
  bool done();
  std::size_t transmit(runnel::packet*, std::size_t, runnel::instant);
};

#endif
