// SPDX-License-Identifier: MIT
// RFC 815: whatever the order in which fragments come, and whatever comes twice, the datagram is the same; and with one
// that overlaps there is none, whenever it comes (RFC 5722). Through reassembly, and through virtual reassembly to a
// receiver behind it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <ip/cut.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/base.hpp>
#include <runnel/ip/fragment_table.hpp>
#include <runnel/ip/virtual_fragment_table.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr fragment_config few{.fragments = 32, .datagrams = 4, .seed = 3};

struct both_ways {
  counted_pool memory{pool_config{.packets = 64, .bytes = 1984, .headroom = 64, .bare = 4}};
  static_fragment_table<few> direct{1}, receiver{2};
  static_virtual_fragment_table<few> seen{3};
  std::vector<octets> wholes, behind;

  void put(const octets& frame) {
    packet p = received(memory, frame);
    if (direct->reassemble(p, instant{}) == pass) wholes.push_back(bytes_of(p));
    p = received(memory, frame);
    const auto on = [&](packet&& q) {
      packet own = static_cast<packet&&>(q);
      if (receiver->reassemble(own, instant{}) == pass) behind.push_back(bytes_of(own));
    };
    if (seen->follow(p, instant{}, on) == pass) on(static_cast<packet&&>(p));
    REQUIRE(direct->check());
    REQUIRE(receiver->check());
    REQUIRE(seen->check());
  }
  void put_all(const std::vector<octets>& pieces, const std::vector<std::size_t>& order) {
    wholes.clear(), behind.clear();
    for (const std::size_t i : order) put(pieces[i]);
    direct->clear(), receiver->clear(), seen->clear();
  }
};

}  // namespace

TEST_CASE("RFC 815: all orders of fragments give the same datagram") {
  both_ways t;
  for (const octets& frame : {udp4(333), udp6(333)})
    for (const std::vector<std::size_t>& places :
         {std::vector<std::size_t>{8, 16, 24, 320}, std::vector<std::size_t>{64, 128, 192, 256, 264}}) {
      const std::vector<octets> pieces = cut(frame, places);
      std::vector<std::size_t> order;
      for (std::size_t i = 0; i < pieces.size(); ++i) order.push_back(i);
      do {
        t.put_all(pieces, order);
        REQUIRE(t.wholes.size() == 1);
        REQUIRE(t.wholes[0] == frame);
        REQUIRE(t.behind == t.wholes);
      } while (std::next_permutation(order.begin(), order.end()));
    }
}

TEST_CASE("each fragment once more, at any place: the same datagram, and none twice") {
  both_ways t;
  for (const octets& frame : {udp4(333), udp6(333)}) {
    const std::vector<octets> pieces = cut(frame, {64, 128, 256});
    std::vector<std::size_t> order{0, 1, 2, 3};
    do
      for (std::size_t twice = 0; twice < 4; ++twice)
        for (std::size_t at = 0; at <= 3; ++at) {
          std::vector<std::size_t> more = order;
          more.insert(more.begin() + static_cast<std::ptrdiff_t>(at), twice);
          t.put_all(pieces, more);
          REQUIRE(t.wholes.size() == 1);
          REQUIRE(t.wholes[0] == frame);
          REQUIRE(t.behind == t.wholes);
        }
    while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_CASE("RFC 5722: one that overlaps, at any place before the end: no datagram") {
  both_ways t;
  for (const octets& frame : {udp4(333), udp6(333)}) {
    std::vector<octets> pieces = cut(frame, {64, 128, 256});
    for (const octets& other : {piece(frame, 56, 72, true), piece(frame, 0, 72, true), piece(frame, 8, 16, true),
                                piece(frame, 248, 333, false), piece(frame, 64, 120, true),
                                piece(frame, 120, 320, true), piece(frame, 256, 320, false)}) {
      pieces.resize(4);
      pieces.push_back(other);
      std::vector<std::size_t> order{0, 1, 2, 3, 4};
      do {
        if (order.back() == 4) continue;  // by then the datagram is whole, and gone
        t.put_all(pieces, order);
        REQUIRE(t.wholes.empty());
        REQUIRE(t.behind.empty());
      } while (std::next_permutation(order.begin(), order.end()));
    }
  }
}
