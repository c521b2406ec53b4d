// SPDX-License-Identifier: MIT
// Reassembly: what becomes whole, what is refused, and the limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <ip/cut.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/base.hpp>
#include <runnel/ip/fragment_table.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr pool_config slots{.packets = 96, .bytes = 1984, .headroom = 64, .bare = 16};

struct fixture {
  explicit fixture(const fragment_config& c = {.fragments = 64, .datagrams = 16, .seed = 9})
      : size(fragment_table::bytes_needed(c)),
        room(new(std::align_val_t{8}) std::byte[size]),
        table(std::make_unique<fragment_table>(mutable_bytes{room, size}, c)) {}
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;
  ~fixture() {
    CHECK(table->check());
    table.reset();
    ::operator delete[](room, std::align_val_t{8});
  }

  // What happens to a fragment; the datagram that it makes whole is in `whole`.
  std::string put(packet p, std::int64_t ms = 0) {
    const bool was_fragment = p.layers().has(protocol::fragment);
    REQUIRE(p.layers().fault == drop_reason::none);
    const verdict v = table->reassemble(p, instant{} + milliseconds(ms));
    CHECK(table->check());
    if (v.code == verdict_code::drop) return name(v.reason);
    if (v.code == verdict_code::stolen) {
      CHECK_FALSE(p);
      return "held";
    }
    REQUIRE(v == pass);
    REQUIRE(static_cast<bool>(p));
    whole = static_cast<packet&&>(p);
    return was_fragment ? "whole" : "passed";
  }
  std::string put(const octets& frame, std::int64_t ms = 0) { return put(received(memory, frame, ms), ms); }

  counted_pool memory{slots};
  std::size_t size;
  std::byte* room;
  std::unique_ptr<fragment_table> table;
  packet whole;
};

// Whether the packet is the datagram again, and stages behind find its headers.
void check_same(const packet& p, const octets& frame) {
  CHECK(bytes_of(p) == frame);
  CHECK(p.layers() == dissect(bytes{frame.data(), frame.size()}, link_type::ethernet, {.head_offset = p.headroom()}));
  const header_map map{p};
  REQUIRE(map.has<udp>());
  CHECK(map.get<udp>().destination_port() == 53);
  CHECK_FALSE(p.layers().has(protocol::fragment));
}

// A packet over bytes that are not the pool's.
packet lent(pool& memory, octets& content, std::uint8_t lender) {
  frame f;
  f.data = content.data();
  f.length = static_cast<std::uint32_t>(content.size());
  f.lender = lender;
  packet p = memory.attach(f);
  REQUIRE(static_cast<bool>(p));
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  return p;
}

}  // namespace

TEST_CASE("a datagram becomes whole, whatever the order of its fragments (RFC 815)") {
  for (const octets& frame : {udp4(200), udp6(200)}) {
    fixture t;
    std::vector<octets> pieces = cut(frame, {64, 72, 128});
    std::vector<std::size_t> order{0, 1, 2, 3};
    std::int64_t ms = 0;
    do {
      for (std::size_t i = 0; i < 3; ++i) CHECK(t.put(pieces[order[i]], ++ms) == "held");
      CHECK(t.table->fragments() == 3);
      CHECK(t.put(pieces[order[3]], ++ms) == "whole");
      check_same(t.whole, frame);
      CHECK(t.whole.timestamp() == instant{} + milliseconds(ms));
      if (!is_ipv6(frame)) CHECK(header_map{static_cast<const packet&>(t.whole)}.get<ipv4>().checksum_ok());
      CHECK(t.table->size() == 0);
      CHECK(t.table->fragments() == 0);
    } while (std::next_permutation(order.begin(), order.end()));
    CHECK(t.table->statistics().fragments == 96);
    CHECK(t.table->statistics().reassembled == 24);
    CHECK(t.table->statistics().lost == 0);
  }
}

TEST_CASE("no payload is copied") {
  fixture t;
  const octets frame = udp4(200);
  const std::vector<octets> pieces = cut(frame, {64});
  packet first = received(t.memory, pieces[0]), last = received(t.memory, pieces[1]);
  const std::byte* const places[] = {first.data(), last.data() + 34};
  CHECK(t.put(static_cast<packet&&>(first)) == "held");
  CHECK(t.put(static_cast<packet&&>(last)) == "whole");
  std::size_t i = 0;
  t.whole.for_each_fragment([&](bytes b) { CHECK(b.data() == places[i++]); });
  CHECK(i == 2);
}

TEST_CASE("what is no fragment passes as it is") {
  fixture t;
  for (const octets& frame : {udp4(100), udp6(100)}) {
    packet p = received(t.memory, frame);
    const std::byte* const place = p.data();
    CHECK(t.put(static_cast<packet&&>(p)) == "passed");
    CHECK(t.whole.data() == place);
    CHECK(bytes_of(t.whole) == frame);
  }
  CHECK(t.table->statistics().fragments == 0);
}

TEST_CASE("an exact duplicate is ignored") {
  for (const octets& frame : {udp4(200), udp6(200)}) {
    fixture t;
    const std::vector<octets> pieces = cut(frame, {64, 128});
    CHECK(t.put(pieces[0]) == "held");
    CHECK(t.put(pieces[0]) == "fragment_duplicate");
    CHECK(t.put(pieces[2]) == "held");
    CHECK(t.put(pieces[2]) == "fragment_duplicate");
    CHECK(t.put(pieces[0]) == "fragment_duplicate");
    CHECK(t.put(pieces[1]) == "whole");
    check_same(t.whole, frame);
    CHECK(t.table->statistics().duplicates == 3);
  }
}

TEST_CASE("RFC 5722: what overlaps is refused with all of its datagram, for as long as that could last") {
  struct overlap {
    std::size_t begin, end;
    bool more;
  };
  for (const octets& frame : {udp4(200), udp6(200)}) {
    const std::int64_t timeout = is_ipv6(frame) ? 60'000 : 30'000;
    for (const overlap o :
         {overlap{56, 72, true}, overlap{64, 72, true}, overlap{72, 128, true}, overlap{64, 200, false},
          overlap{120, 200, false}, overlap{0, 8 * 9, true}, overlap{0, 200 - 8, true}}) {
      fixture t;
      CHECK(t.put(piece(frame, 64, 128, true)) == "held");
      CHECK(t.put(piece(frame, o.begin, o.end, o.more), 1) == "ip_fragment");
      CHECK(t.table->fragments() == 0);
      CHECK(t.table->statistics().refused == 1);
      // Later pieces of it, also those that would make it whole.
      for (const octets& p : cut(frame, {64, 128})) CHECK(t.put(p, timeout - 1) == "ip_fragment");
      CHECK(t.table->statistics().late == 3);
      CHECK(t.table->size() == 1);
      // Then the identification may be used again.
      CHECK(t.put(piece(frame, 0, 64, true), timeout) == "held");
      CHECK(t.put(piece(frame, 64, 200, false), timeout) == "whole");
      check_same(t.whole, frame);
    }
  }
}

TEST_CASE("fragments that contradict each other about the end are refused") {
  for (const octets& frame : {udp4(200), udp6(200)}) {
    {  // two last ones
      fixture t;
      CHECK(t.put(piece(frame, 64, 128, false)) == "held");
      CHECK(t.put(piece(frame, 128, 200, false)) == "ip_fragment");
    }
    {  // one behind the last, and one that goes on where the last ended
      fixture t;
      CHECK(t.put(piece(frame, 64, 128, false)) == "held");
      CHECK(t.put(piece(frame, 128, 136, true)) == "ip_fragment");
    }
    {  // the last before another
      fixture t;
      CHECK(t.put(piece(frame, 128, 200, true)) == "held");
      CHECK(t.put(piece(frame, 64, 72, false)) == "ip_fragment");
    }
    {  // the same place, once as the last one
      fixture t;
      CHECK(t.put(piece(frame, 64, 128, true)) == "held");
      CHECK(t.put(piece(frame, 64, 128, false)) == "ip_fragment");
      CHECK(t.put(piece(frame, 64, 128, true)) == "ip_fragment");
    }
  }
}

TEST_CASE("a fragment that cannot be right is dropped, and its datagram goes on") {
  for (const octets& frame : {udp4(200), udp6(200)}) {
    fixture t;
    CHECK(t.put(piece(frame, 0, 64, true)) == "held");
    CHECK(t.put(piece(frame, 64, 125, true)) == "ip_fragment");  // no multiple of 8, and not the last
    CHECK(t.put(piece(frame, 64, 64, true)) == "ip_fragment");   // empty
    CHECK(t.put(piece(frame, 64, 64, false)) == "ip_fragment");
    CHECK(t.table->statistics().malformed == 3);
    CHECK(t.put(piece(frame, 64, 200, false)) == "whole");
    check_same(t.whole, frame);
  }
}

TEST_CASE("RFC 1858, RFC 3128: TCP never goes on at byte 8") {
  fixture t;
  octets frame = udp4(200);
  store_u8(frame.data() + 23, 6);
  CHECK(t.put(piece(frame, 8, 64, true)) == "ip_fragment");
  octets frame6 = udp6(200);
  store_u8(frame6.data() + 20, 6);
  CHECK(t.put(piece(frame6, 8, 64, true)) == "ip_fragment");
  CHECK(t.table->size() == 0);
}

TEST_CASE("an IPv4 fragment whose header was hurt on the way is dropped") {
  fixture t;
  octets p = piece(udp4(200), 0, 64, true);
  store_be16(p.data() + 18, 77);  // the identification
  CHECK(t.put(p) == "ip_checksum");
  CHECK(t.table->size() == 0);
}

TEST_CASE("RFC 6946: an atomic fragment is a datagram by itself, beside others of the same identification") {
  fixture t;
  const octets frame = udp6(200);
  const octets small = udp6(32);
  CHECK(t.put(piece(frame, 64, 200, false)) == "held");
  CHECK(t.put(piece(small, 0, 32, false)) == "whole");
  check_same(t.whole, small);
  CHECK(t.put(piece(frame, 0, 64, true)) == "whole");
  check_same(t.whole, frame);
}

TEST_CASE("a datagram that does not become whole in time is given up, and its first fragment handed over") {
  struct timed_out {
    int calls = 0;
    octets first;
    static void take(void* self, packet&& p, instant) {
      auto& t = *static_cast<timed_out*>(self);
      ++t.calls;
      packet own = static_cast<packet&&>(p);
      t.first = bytes_of(own);
    }
  };
  for (const octets& frame : {udp4(200), udp6(200)}) {
    const std::int64_t timeout = is_ipv6(frame) ? 60'000 : 30'000;
    const std::vector<octets> pieces = cut(frame, {64, 128});
    for (const bool with_first : {true, false}) {
      fixture t;
      timed_out seen;
      t.table->on_timeout(timed_out::take, &seen);
      CHECK(t.table->next_due() == never);
      CHECK(t.put(pieces[1], 5) == "held");
      CHECK(t.put(pieces[with_first ? 0 : 2], 1000) == "held");
      CHECK(t.table->next_due() == instant{} + milliseconds(timeout + 5));
      CHECK(t.table->expire(instant{} + milliseconds(timeout + 4)) == 0);
      CHECK(t.table->expire(instant{} + milliseconds(timeout + 5)) == 1);
      CHECK(t.table->size() == 0);
      CHECK(t.table->statistics().timed_out == 1);
      CHECK(seen.calls == (with_first ? 1 : 0));
      CHECK(t.table->statistics().lost == (with_first ? 1 : 2));
      CHECK(seen.first == (with_first ? pieces[0] : octets{}));
    }
    // Also where nobody calls expire(): what comes too late begins anew.
    fixture t;
    CHECK(t.put(pieces[0], 0) == "held");
    CHECK(t.put(pieces[1], timeout) == "held");
    CHECK(t.table->statistics().timed_out == 1);
    CHECK(t.table->fragments() == 1);
    CHECK(t.put(pieces[2], timeout) == "held");
    CHECK(t.put(pieces[0], timeout + 1) == "whole");
  }
}

TEST_CASE("timeouts are options") {
  fixture t({.fragments = 8, .datagrams = 8, .ipv4_timeout = seconds(2), .ipv6_timeout = seconds(1), .seed = 1});
  CHECK(t.put(piece(udp4(200), 0, 64, true), 0) == "held");
  CHECK(t.put(piece(udp6(200), 0, 64, true), 500) == "held");
  CHECK(t.table->next_due() == instant{} + milliseconds(1500));
  CHECK(t.table->expire(instant{} + milliseconds(1500)) == 1);
  CHECK(t.table->next_due() == instant{} + milliseconds(2000));
  CHECK(t.table->expire(instant{} + milliseconds(9000)) == 1);
}

TEST_CASE("a datagram of too many fragments is refused") {
  fixture t({.fragments = 32, .datagrams = 8, .fragments_per_datagram = 4, .seed = 1});
  const octets frame = udp4(200);
  for (std::size_t i = 0; i < 4; ++i) CHECK(t.put(piece(frame, 16 * i, 16 * i + 16, true)) == "held");
  CHECK(t.put(piece(frame, 64, 80, true)) == "fragments_full");
  CHECK(t.table->fragments() == 0);
  CHECK(t.put(piece(frame, 80, 200, false)) == "ip_fragment");
  CHECK(t.table->statistics().refused == 1);
  CHECK(t.table->statistics().lost == 4);
}

TEST_CASE("when the memory is used up, the oldest datagram gives way, of either family") {
  fixture t({.fragments = 6, .datagrams = 8, .fragments_per_datagram = 64, .seed = 1});
  CHECK(t.put(piece(udp4(200, 1), 0, 64, true), 1) == "held");
  CHECK(t.put(piece(udp4(200, 1), 64, 128, true), 1) == "held");
  CHECK(t.put(piece(udp6(200), 0, 64, true), 2) == "held");
  CHECK(t.put(piece(udp4(200, 2), 0, 64, true), 3) == "held");
  CHECK(t.put(piece(udp4(200, 2), 64, 128, true), 4) == "held");
  CHECK(t.put(piece(udp4(200, 3), 0, 64, true), 4) == "held");
  CHECK(t.table->fragments() == 6);
  CHECK(t.put(piece(udp4(200, 4), 0, 64, true), 5) == "held");
  CHECK(t.table->fragments() == 5);
  CHECK(t.table->statistics().given_up == 1);
  CHECK(t.put(piece(udp4(200, 4), 64, 128, true), 5) == "held");
  CHECK(t.put(piece(udp4(200, 4), 128, 136, true), 5) == "held");  // that of IPv6 goes
  CHECK(t.table->statistics().given_up == 2);
  CHECK(t.put(piece(udp4(200, 2), 136, 200, false), 6) == "held");  // the third goes, for it cannot go itself
  CHECK(t.table->statistics().given_up == 3);
  CHECK(t.table->fragments() == 6);
  CHECK(t.put(piece(udp4(200, 2), 128, 136, true), 6) == "whole");
  CHECK(t.table->statistics().given_up == 4);
  CHECK(t.table->size() == 0);
  // One that would need all of it, and more.
  fixture few({.fragments = 2, .datagrams = 8, .seed = 1});
  CHECK(few.put(piece(udp4(200, 1), 0, 64, true)) == "held");
  CHECK(few.put(piece(udp4(200, 1), 64, 128, true)) == "held");
  CHECK(few.put(piece(udp4(200, 1), 128, 200, false)) == "fragments_full");
}

TEST_CASE("when there are too many datagrams, the oldest gives way") {
  fixture t({.fragments = 64, .datagrams = 3, .seed = 1});
  for (std::uint16_t id = 1; id <= 4; ++id) CHECK(t.put(piece(udp4(200, id), 0, 64, true), id) == "held");
  CHECK(t.table->size() == 3);
  CHECK(t.table->statistics().given_up == 1);
  CHECK(t.put(piece(udp4(200, 2), 64, 200, false), 5) == "whole");
  CHECK(t.put(piece(udp4(200, 1), 64, 200, false), 5) == "held");
}

TEST_CASE("fragments belong together by addresses, protocol and identification") {
  fixture t;
  const octets a = udp4(200);
  CHECK(t.put(piece(a, 0, 64, true)) == "held");
  CHECK(t.put(piece(udp4(200, 2), 64, 200, false)) == "held");
  CHECK(t.put(piece(udp4(200, 1, 2), 64, 200, false)) == "held");
  octets icmp_like = a;
  store_u8(icmp_like.data() + 23, 99);
  CHECK(t.put(piece(icmp_like, 64, 200, false)) == "held");
  octets elsewhere = a;
  store_u8(elsewhere.data() + 33, 9);
  CHECK(t.put(piece(elsewhere, 64, 200, false)) == "held");
  CHECK(t.table->size() == 5);
  CHECK(t.put(piece(a, 64, 200, false)) == "whole");

  const octets b = udp6(200);
  CHECK(t.put(piece(b, 0, 64, true, 0x10001)) == "held");
  CHECK(t.put(piece(b, 64, 200, false, 1)) == "held");
  octets other = b;
  store_u8(other.data() + 14 + 39, 9);
  CHECK(t.put(piece(other, 64, 200, false, 0x10001)) == "held");
  CHECK(t.put(piece(b, 64, 200, false, 0x10001)) == "whole");
}

TEST_CASE("fragments that come in by different interfaces belong together, unless said otherwise") {
  const octets frame = udp4(200);
  for (const bool by_interface : {false, true}) {
    fixture t({.fragments = 64, .datagrams = 3, .by_interface = by_interface, .seed = 1});
    CHECK(t.put(received(t.memory, piece(frame, 0, 64, true), 0, 1)) == "held");
    CHECK(t.put(received(t.memory, piece(frame, 64, 200, false), 0, 2)) == (by_interface ? "held" : "whole"));
  }
}

TEST_CASE("RFC 3168 5.3: congestion that one fragment saw, the datagram has seen") {
  for (const octets& frame : {udp4(200), udp6(200)}) {
    const auto with_ecn = [&](std::size_t begin, std::size_t end, bool more, std::uint8_t ecn) {
      octets marked = frame;
      if (is_ipv6(marked)) mut<ipv6>::unchecked({marked.data() + 14, 40}).ecn_bits(ecn);
      else mut<ipv4>::unchecked({marked.data() + 14, 20}).ecn_bits(ecn);
      return piece(marked, begin, end, more);
    };
    const auto ecn_of = [](const packet& p) {
      const header_map map{p};
      return map.has<ipv6>() ? map.get<ipv6>().ecn_bits() : map.get<ipv4>().ecn_bits();
    };
    fixture t;
    CHECK(t.put(with_ecn(0, 64, true, 2)) == "held");
    CHECK(t.put(with_ecn(64, 200, false, 3)) == "whole");
    CHECK(ecn_of(t.whole) == 3);
    if (!is_ipv6(frame)) CHECK(header_map{static_cast<const packet&>(t.whole)}.get<ipv4>().checksum_ok());
    CHECK(t.put(with_ecn(64, 200, false, 2)) == "held");
    CHECK(t.put(with_ecn(0, 64, true, 1)) == "whole");
    CHECK(ecn_of(t.whole) == 1);
    CHECK(t.put(with_ecn(64, 200, false, 3)) == "held");
    CHECK(t.put(with_ecn(0, 64, true, 0)) == "ip_fragment");
  }
}

TEST_CASE("a datagram of more than 65535 bytes with the headers of its first fragment is refused") {
  const std::byte nops[40] = {std::byte{1}, std::byte{1}, std::byte{1}, std::byte{1}};
  const octets options = frame_of(56, link_header,
                                  ipv4_header{.source = {10, 0, 0, 1},
                                              .destination = {192, 0, 2, 1},
                                              .id = 1,
                                              .dont_fragment = false,
                                              .options = {nops, 40}},
                                  udp_header{.source_port = 1000, .destination_port = 53});
  const octets plain = udp4(64);
  fixture t({.fragments = 80, .datagrams = 2, .seed = 1});
  // 60 bytes of header and 65512 of payload; each fragment ends before 65535.
  for (std::size_t at = 64; at < 65512; at += 1600)
    CHECK(t.put(piece(plain, at, at + 1600 < 65512 ? at + 1600 : 65512, at + 1600 < 65512)) == "held");
  CHECK(t.put(piece(options, 0, 64, true)) == "ip_fragment");
  CHECK(t.table->size() == 0);
  text<256> line;
  print(line, t.table->statistics());
  CHECK(std::string(line.c_str()) ==
        "fragments=42 reassembled=0 duplicates=0 malformed=1 refused=0 late=0 timed_out=0 given_up=0 no_packet=0 "
        "lost=0");
}

TEST_CASE("headers of the link, tags and IPv6 extension headers before the fragment header stay") {
  fixture t;
  // Hop-by-hop options with padding, then the fragment header.
  const octets frame = udp6(200);
  for (const bool tagged : {false, true}) {
    octets pieces[2], whole = frame;
    const auto extend = [tagged](octets& f, bool fragment) {
      const std::byte hop[8] = {std::byte{static_cast<std::uint8_t>(fragment ? 44 : 17)}, std::byte{0}, std::byte{1},
                                std::byte{4}};
      store_u8(f.data() + 20, 0);
      store_be16(f.data() + 18, static_cast<std::uint16_t>(load_be16(f.data() + 18) + 8));
      f.insert(f.begin() + 54, hop, hop + 8);
      const std::byte tag[4] = {std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{7}};
      if (tagged) f.insert(f.begin() + 12, tag, tag + 4);
    };
    pieces[0] = piece(frame, 0, 64, true), pieces[1] = piece(frame, 64, 200, false);
    extend(pieces[0], true), extend(pieces[1], true), extend(whole, false);
    CHECK(t.put(pieces[1]) == "held");
    CHECK(t.put(pieces[0]) == "whole");
    check_same(t.whole, whole);
    CHECK(t.whole.layers().has(protocol::vlan) == tagged);
  }
}

TEST_CASE("padding of the link is no payload") {
  fixture t;
  const octets frame = udp4(80);
  octets last = piece(frame, 64, 80, false), first = piece(frame, 0, 64, true);
  last.resize(60);
  first.resize(first.size() + 6);
  CHECK(t.put(last) == "held");
  CHECK(t.put(first) == "whole");
  check_same(t.whole, frame);
}

TEST_CASE("bytes that are not the packet's own: shared, lent, of another pool, in several buffers") {
  fixture t;
  const octets frame = udp4(200);
  const std::vector<octets> pieces = cut(frame, {64, 128});
  SUBCASE("a clone of each fragment stays as it is") {
    std::vector<packet> clones;
    std::string said;
    for (const octets& piece_of_it : pieces) {
      packet p = received(t.memory, piece_of_it);
      clones.push_back(p.clone());
      said = t.put(static_cast<packet&&>(p));
    }
    CHECK(said == "whole");
    check_same(t.whole, frame);
    for (std::size_t i = 0; i < 3; ++i) CHECK(bytes_of(clones[i]) == pieces[i]);
  }
  SUBCASE("lent bytes are copied") {
    const std::uint8_t lender = t.memory->add_lender();
    std::string said;
    for (octets piece_of_it : pieces) {
      t.memory->lend(lender, 1);
      said = t.put(lent(t.memory, piece_of_it, lender));
      std::fill(piece_of_it.begin(), piece_of_it.end(), std::byte{0xdd});
    }
    CHECK(said == "whole");
    check_same(t.whole, frame);
    t.whole.reset();
    CHECK(t.memory->lent(lender) == 0);
    t.memory->remove_lender(lender);
  }
  SUBCASE("lent bytes count as the slots that their copy takes") {
    fixture few({.fragments = 8, .datagrams = 4, .fragments_per_datagram = 3, .seed = 1});
    const std::uint8_t lender = few.memory->add_lender();
    octets large = piece(udp4(9000), 0, 4000, true), larger = piece(udp4(9000, 2), 0, 8000, true);
    few.memory->lend(lender, 2);
    CHECK(few.put(lent(few.memory, large, lender)) == "held");
    CHECK(few.table->fragments() == 3);
    CHECK(few.memory->available() == slots.packets - 3);
    CHECK(few.put(lent(few.memory, larger, lender)) == "fragments_full");
    CHECK(few.table->fragments() == 3);
    CHECK(few.put(piece(udp4(9000), 4000, 4800, true)) == "fragments_full");
    CHECK(few.table->fragments() == 0);
    CHECK(few.memory->lent(lender) == 0);
    few.memory->remove_lender(lender);
  }
  SUBCASE("fragments of another pool are copied to that of the first one") {
    counted_pool other{slots};
    CHECK(t.put(received(t.memory, pieces[2])) == "held");
    CHECK(t.put(received(other, pieces[0])) == "held");
    CHECK(t.put(received(other, pieces[1])) == "whole");
    check_same(t.whole, frame);
    CHECK(&t.whole.home() == &t.memory.get());
    other.check_all_home();
  }
  SUBCASE("those that came from another thread are joined, but nothing is copied into its pool") {
    counted_pool other{slots};
    const auto from_other = [&](const octets& piece_of_it) {
      packet p = received(other, piece_of_it);
      REQUIRE(p.send_away());
      return p;
    };
    CHECK(t.put(from_other(pieces[2])) == "held");
    const std::uint32_t left = other->available();
    CHECK(t.put(received(t.memory, pieces[0])) == "other_thread");
    CHECK(other->available() == left);
    CHECK(t.put(from_other(pieces[0])) == "held");
    CHECK(t.put(from_other(pieces[1])) == "whole");
    check_same(t.whole, frame);
    t.whole.reset();
    // The other way round it is this thread's pool.
    CHECK(t.put(received(t.memory, pieces[1])) == "held");
    CHECK(t.put(from_other(pieces[0])) == "held");
    CHECK(t.put(from_other(pieces[2])) == "whole");
    check_same(t.whole, frame);
    t.whole.reset();
    // And where the table has a pool of this thread.
    t.table->copies_to(t.memory);
    counted_pool third{slots};
    CHECK(t.put(from_other(pieces[2])) == "held");
    CHECK(t.put(received(third, pieces[0])) == "held");
    CHECK(t.put(from_other(pieces[1])) == "whole");
    check_same(t.whole, frame);
    CHECK(&t.whole.home() == &t.memory.get());
    other.check_all_home();
  }
  SUBCASE("a fragment in several buffers counts as many") {
    packet p = received(t.memory, pieces[1]);
    REQUIRE(p.trim(50));
    packet rest = t.memory->allocate();
    REQUIRE(rest.append(bytes{pieces[1].data() + 50, pieces[1].size() - 50}));
    REQUIRE(p.append(static_cast<packet&&>(rest)));
    CHECK(t.put(static_cast<packet&&>(p)) == "held");
    CHECK(t.table->fragments() == 2);
    CHECK(t.put(pieces[0]) == "held");
    CHECK(t.put(pieces[2]) == "whole");
    check_same(t.whole, frame);
  }
  SUBCASE("without a slot for a copy the fragment is lost, and nothing stays behind") {
    packet p = received(t.memory, pieces[0]), clone = p.clone();
    std::vector<packet> all;
    while (packet q = t.memory->allocate()) all.push_back(static_cast<packet&&>(q));
    CHECK(t.put(static_cast<packet&&>(p)) == "no_packet");
    CHECK(t.table->size() == 0);
    CHECK(t.table->statistics().no_packet == 1);
  }
}
