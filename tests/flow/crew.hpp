// SPDX-License-Identifier: MIT
// Several threads with rings between them, all played by one.
#ifndef RUNNEL_TESTS_FLOW_CREW_HPP
#define RUNNEL_TESTS_FLOW_CREW_HPP

#include <runnel/flow/handoff.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include <flow/test_device.hpp>

namespace runnel::test {

// Of a thread that never sleeps.
struct silent_clock : manual_clock, sleeper {
  silent_clock() : sleeper([](sleeper&) noexcept {}) {}
  void wait_until(instant, const wait_entry*, std::size_t) {}
};

// So many threads, with the rings between them.
struct crew {
  explicit crew(unsigned n, std::size_t capacity = 256)
      : clocks(n), memory(new(std::align_val_t{128}) std::byte[handoff_mesh::bytes_needed(n, capacity)]) {
    std::vector<sleeper*> who;
    for (silent_clock& c : clocks) who.push_back(&c);
    mesh = std::make_unique<handoff_mesh>(mutable_bytes{memory, handoff_mesh::bytes_needed(n, capacity)}, who.data(), n,
                                          capacity);
  }
  crew(const crew&) = delete;
  crew& operator=(const crew&) = delete;
  ~crew() {
    mesh.reset();
    ::operator delete[](memory, std::align_val_t{128});
  }
  handoff& operator[](unsigned i) { return (*mesh)[i]; }

  std::vector<silent_clock> clocks;
  std::byte* memory;
  std::unique_ptr<handoff_mesh> mesh;
};

}  // namespace runnel::test

#endif
