// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device.hpp>
#include <runnel/packet.hpp>

#if defined(__unix__)

#include <optional>
#include <string>

#include <base/last_words.hpp>

using namespace runnel;

namespace {

// A table or queue that is destroyed behind the pool, as a static one is behind that of a device in main(). Whether
// there was a packet.
bool hold_a_packet_for_too_long() {
  std::optional<packet> held;
  {
    auto memory = mapped_pool::open({.packets = 4});
    if (!memory) return false;
    held.emplace(memory->get().allocate());
  }
  const bool there = static_cast<bool>(*held);
  held.reset();
  return there;
}

}  // namespace

#if defined(NDEBUG)
TEST_CASE("a packet that comes home when its pool is gone finds the memory still there") {
  CHECK(hold_a_packet_for_too_long());  // else it ends here
}
#else
TEST_CASE("a pool that goes before one of its packets says who may hold it") {
  int signal = 0;
  const std::string said = runnel::test::last_words(hold_a_packet_for_too_long, signal);
  CHECK(signal != 0);
#if defined(__GLIBC__)
  CHECK(said.find("tables and queues hold some") != std::string::npos);
#endif
}
#endif

#endif
