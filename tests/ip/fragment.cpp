// SPDX-License-Identifier: MIT
// Fragmentation, back again through reassembly, and MSS clamping.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/cut.hpp>
#include <packet/counted_pool.hpp>

#include <runnel/base.hpp>
#include <runnel/flow.hpp>
#include <runnel/ip/clamp_mss.hpp>
#include <runnel/ip/fragment.hpp>
#include <runnel/ip/fragment_table.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

constexpr pool_config slots{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 8};

struct outcome {
  std::vector<octets> pieces;
  drop_reason why = drop_reason::none;
};
template <class F>
outcome pieces_of(packet& p, F cut_it, std::size_t room = 40) {
  std::vector<packet> made(room);
  const auto n = cut_it(p, made.data(), room);
  outcome o;
  if (!n) {
    o.why = n.error();
    CHECK(static_cast<bool>(p));
    for (const packet& piece : made) CHECK_FALSE(piece);
    return o;
  }
  CHECK_FALSE(p);
  for (std::size_t i = 0; i < room; ++i) {
    CHECK(static_cast<bool>(made[i]) == (i < *n));
    if (i >= *n) continue;
    o.pieces.push_back(bytes_of(made[i]));
    const octets& b = o.pieces.back();
    CHECK(made[i].layers() ==
          dissect(bytes{b.data(), b.size()}, link_type::ethernet, {.head_offset = made[i].headroom()}));
  }
  return o;
}
outcome fragments_of(packet& p, std::size_t mtu, std::size_t room = 40) {
  return pieces_of(p, [mtu](packet& q, packet* to, std::size_t n) { return fragment(q, mtu, to, n); }, room);
}
outcome source_fragments_of(packet& p, std::size_t mtu, std::uint32_t id) {
  return pieces_of(p, [=](packet& q, packet* to, std::size_t n) { return fragment_at_source(q, mtu, id, to, n); });
}

}  // namespace

TEST_CASE("RFC 1812 4.2.2.7: an IPv4 packet goes on in the fewest pieces, in order") {
  counted_pool memory{slots};
  const octets frame = udp4(1480, 77);  // 1500 with its header
  packet p = received(memory, frame);
  p.mark(5);
  SUBCASE("into an MTU of 600: 576 bytes of payload, the largest multiple of 8 in 580") {
    const outcome o = fragments_of(p, 600);
    CHECK(o.pieces == cut(frame, {576, 1152}, 77));
  }
  SUBCASE("a last piece need not be a multiple of 8") {
    const outcome o = fragments_of(p, 1499);
    CHECK(o.pieces == cut(frame, {1472}, 77));
  }
  SUBCASE("a short one stays as it is") {
    const std::byte* const place = p.data();
    packet out[1];
    const auto n = fragment(p, 1500, out, 1);
    REQUIRE(n);
    CHECK(*n == 1);
    CHECK(out[0].data() == place);
    CHECK(bytes_of(out[0]) == frame);
  }
  SUBCASE("what is known of it goes along") {
    packet out[3];
    p.scratch(9), p.connection(17), p.priority(3), p.iif(2);
    REQUIRE(fragment(p, 600, out, 3));
    for (const packet& piece : out) {
      CHECK(piece.mark() == 5);
      CHECK(piece.scratch() == 9);
      CHECK(piece.connection() == 17);
      CHECK(piece.priority() == 3);
      CHECK(piece.iif() == 2);
    }
  }
}

TEST_CASE("a fragment is cut into further ones of the same datagram") {
  counted_pool memory{slots};
  const octets frame = udp4(1480, 77);
  packet middle = received(memory, piece(frame, 200, 1000, true)),
         last = received(memory, piece(frame, 1000, 1480, false));
  CHECK(fragments_of(middle, 420).pieces == std::vector{piece(frame, 200, 600, true), piece(frame, 600, 1000, true)});
  CHECK(fragments_of(last, 420).pieces == std::vector{piece(frame, 1000, 1400, true), piece(frame, 1400, 1480, false)});
}

TEST_CASE("RFC 791: options are in all pieces if they say so, else in the first") {
  counted_pool memory{slots};
  // Router alert (copied), record route (not copied), no operation (not copied).
  const std::byte options[12] = {std::byte{0x94}, std::byte{4}, std::byte{0}, std::byte{0}, std::byte{7}, std::byte{7},
                                 std::byte{4},    std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}};
  const octets frame = frame_of(
      392, link_header,
      ipv4_header{
          .source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .dont_fragment = false, .options = {options, 12}},
      udp_header{});
  packet p = received(memory, frame);
  const outcome o = fragments_of(p, 232);
  REQUIRE(o.pieces.size() == 2);
  const auto header = [&](std::size_t i) {
    return ipv4::parse(bytes{o.pieces[i].data() + 14, o.pieces[i].size() - 14});
  };
  REQUIRE(header(0));
  REQUIRE(header(1));
  CHECK(header(0)->header_size() == 32);
  CHECK(header(0)->total_length() == 232);
  CHECK(header(1)->header_size() == 24);
  CHECK(header(1)->fragment_offset() == 200);
  CHECK(equal(header(0)->options(), bytes{options}));
  CHECK(equal(header(1)->options(), bytes{options, 4}));
  CHECK(header(0)->checksum_ok());
  CHECK(header(1)->checksum_ok());
}

TEST_CASE("what must not be cut is refused, and is still there to be quoted") {
  counted_pool memory{slots};
  octets dont = udp4(200);
  store_u8(dont.data() + 20, 0x40);
  packet df = received(memory, dont), v6 = received(memory, udp6(1400)), ok = received(memory, udp4(1000)),
         arp = received(memory, frame_of(0, link_header, arp_header{}));
  CHECK(fragments_of(df, 219).why == drop_reason::too_big);
  CHECK(bytes_of(df) == dont);
  CHECK(fragments_of(v6, 1280).why == drop_reason::too_big);
  CHECK(fragments_of(arp, 20).why == drop_reason::not_ip);
  CHECK(fragments_of(ok, 27).why == drop_reason::too_big);
  CHECK(fragments_of(ok, 100, 3).why == drop_reason::fragments_full);
  CHECK(source_fragments_of(ok, 100, 1).why == drop_reason::not_ip);
  packet fitting = received(memory, udp6(1240));
  CHECK(fragments_of(fitting, 1280).pieces.size() == 1);
}

TEST_CASE("without slots for all pieces there is none") {
  counted_pool memory{slots};
  packet p = received(memory, udp4(1480));
  std::vector<packet> all;
  while (memory->available() > 2) all.push_back(memory->allocate());
  CHECK(fragments_of(p, 600).why == drop_reason::no_packet);
  CHECK(memory->available() == 2);
  CHECK(fragments_of(p, 1000).pieces.size() == 2);
}

TEST_CASE("RFC 8200 4.5: the source of an IPv6 packet cuts it behind the headers that are for every hop") {
  counted_pool memory{slots};
  const octets frame = udp6(1400);
  packet p = received(memory, frame);
  CHECK(source_fragments_of(p, 1280, 0xabcdef).pieces == cut(frame, {1232}, 0xabcdef));
  packet again = received(memory, piece(frame, 0, 1400, false));
  CHECK(source_fragments_of(again, 1280, 1).why == drop_reason::ip_fragment);
  // Hop-by-hop options before it are in each piece, destination options behind it in the first.
  octets extended = frame;
  const std::byte both[16] = {std::byte{60}, std::byte{0}, std::byte{1},  std::byte{4}, std::byte{0}, std::byte{0},
                              std::byte{0},  std::byte{0}, std::byte{17}, std::byte{0}, std::byte{1}, std::byte{4}};
  extended.insert(extended.begin() + 54, both, both + 16);
  store_u8(extended.data() + 20, 0);
  store_be16(extended.data() + 18, 1416);
  packet q = received(memory, extended);
  const outcome o = source_fragments_of(q, 1280, 7);
  REQUIRE(o.pieces.size() == 2);
  for (const octets& f : o.pieces) {
    CHECK(load_u8(f.data() + 20) == 0);
    CHECK(load_u8(f.data() + 54) == 44);
    CHECK(load_u8(f.data() + 62) == 60);
    CHECK(f.size() - 14 == load_be16(f.data() + 18) + 40u);
  }
  CHECK(load_be16(o.pieces[0].data() + 64) == 1);
  CHECK(load_be16(o.pieces[1].data() + 64) == 1224);
  CHECK(load_u8(o.pieces[0].data() + 70) == 17);
  CHECK(o.pieces[0].size() == 14 + 40 + 8 + 8 + 1224);
}

TEST_CASE("a checksum that was left to the device is completed before") {
  counted_pool memory{slots};
  for (const octets& frame : {udp4(1001), udp6(1401)}) {
    packet p = received(memory, frame);
    const std::size_t at = header_bytes(frame) + 6;
    const std::uint16_t right = load_be16(frame.data() + at);
    // In two buffers, the first of an odd length, and with padding of the link.
    REQUIRE(p.trim(101));
    packet rest = memory->allocate();
    REQUIRE(rest.append(bytes{frame.data() + 101, frame.size() - 101}));
    const std::byte padding[3] = {std::byte{9}, std::byte{9}, std::byte{9}};
    REQUIRE(rest.append(bytes{padding}));
    REQUIRE(p.append(static_cast<packet&&>(rest)));
    const header_map map{static_cast<const packet&>(p)};
    const std::uint64_t pseudo =
        (is_ipv6(frame) ? map.get<ipv6>().pseudo_header_sum() : map.get<ipv4>().pseudo_header_sum()) + 17u +
        (is_ipv6(frame) ? 1401u : 1001u);
    store_be16(p.writable().data() + at, fold_checksum(pseudo));
    p.checksum(checksum_status::partial);
    packet out[8];
    const auto n = is_ipv6(frame) ? fragment_at_source(p, 1280, 1, out, 8) : fragment(p, 600, out, 8);
    REQUIRE(n);
    CHECK(*n == 2);
    CHECK(out[0].checksum() == checksum_status::unknown);
    CHECK(load_be16(out[0].data() + at + (is_ipv6(frame) ? 8 : 0)) == right);
  }
}

TEST_CASE("what was cut becomes whole again, for any length, MTU and cut") {
  counted_pool memory{slots};
  static_fragment_table<fragment_config{.fragments = 64, .datagrams = 4, .seed = 1}> fragments;
  random_generator random(7);
  const auto below = [&random](std::size_t n) { return static_cast<std::size_t>(random.below(n)); };
  for (std::uint32_t round = 0; round < 400; ++round) {
    const bool v6 = random.chance(500'000);
    const octets frame = v6 ? udp6(1300 + below(600)) : udp4(100 + below(1800), static_cast<std::uint16_t>(round));
    packet p = received(memory, frame);
    packet out[40];
    const std::size_t mtu = v6 ? 1280 : 68 + below(1500);
    const auto n = v6 ? fragment_at_source(p, mtu, round, out, 40) : fragment(p, mtu, out, 40);
    REQUIRE(n);
    verdict v = stolen;
    for (std::size_t i = *n; i-- != 0;) {
      CHECK(out[i].length() - 14 <= mtu);
      if (i + 1 != *n && *n > 1) CHECK(out[i].length() - 14 > mtu - 8);
      v = fragments->reassemble(out[i], {});
    }
    REQUIRE(v == pass);
    CHECK(bytes_of(out[0]) == frame);
    out[0].reset();
    memory.check_all_home();
  }
}

TEST_CASE("TCP SYNs offer no more than the MTU leaves") {
  counted_pool memory{pool_config{.packets = 16, .bytes = 256, .headroom = 64, .bare = 4}};
  test_device wire{memory};
  const auto syn = [](std::uint16_t mss, std::uint8_t flags = tcp_flags::syn) {
    tcp_header h{.source_port = 1000, .destination_port = 80};
    h.flags = flags;
    h.options.maximum_segment_size = mss;
    return h;
  };
  const ipv4_header v4{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}};
  const ipv6_header v6{.source = {0x2001'0db8'0000'0000, 1}, .destination = {0x2001'0db8'0000'0000, 2}};
  wire.put(1, 2, {}, eth, v4, syn(1460));
  wire.put(2, 2, {}, eth, v6, syn(1440, tcp_flags::syn | tcp_flags::ack));
  wire.put(3, 2, {}, eth, v4, syn(1000));
  wire.put(4, 2, {}, eth, v4, tcp_header{.source_port = 1000, .destination_port = 80, .flags = tcp_flags::syn});
  std::vector<unsigned> said;
  const auto look = [&](packet& p, tcp t) {
    said.push_back(0);
    for (tcp_options o(t.options()); o; o.next())
      if (o.kind() == tcp_option::maximum_segment_size) said.back() = o.maximum_segment_size();
    const header_map map{static_cast<const packet&>(p)};
    const std::uint32_t sum =
        map.has<ipv6>() ? map.get<ipv6>().pseudo_header_sum() : map.get<ipv4>().pseudo_header_sum();
    CHECK(t.checksum_ok(sum));
  };
  auto path = parse() | clamp_mss(1400) | look | discard;
  manual_clock clock;
  run(clock, attach(wire, path));
  CHECK(said == std::vector<unsigned>{1360, 1340, 1000, 0});
}

TEST_CASE("an MSS at an odd place, and one of a segment whose checksum is left to the device") {
  counted_pool memory{pool_config{.packets = 4, .bytes = 256, .headroom = 64, .bare = 4}};
  const octets frame =
      frame_of(4, link_header, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .protocol = 6},
               udp_header{.source_port = 1000, .destination_port = 80});  // room for a TCP header written by hand
  octets segment(frame.begin(), frame.begin() + 34);
  const std::byte header[28] = {
      std::byte{3}, std::byte{0xe8}, std::byte{0}, std::byte{80},   std::byte{0}, std::byte{0},    std::byte{0},
      std::byte{1}, std::byte{0},    std::byte{0}, std::byte{0},    std::byte{0}, std::byte{0x70}, std::byte{2},
      std::byte{1}, std::byte{0},    std::byte{0}, std::byte{0},    std::byte{0}, std::byte{0},    std::byte{1},
      std::byte{2}, std::byte{4},    std::byte{5}, std::byte{0xb4}, std::byte{1}, std::byte{1},    std::byte{0}};
  segment.insert(segment.end(), header, header + 28);
  store_be16(segment.data() + 16, 48);
  const mut<ipv4> outer = mut<ipv4>::unchecked({segment.data() + 14, 48});
  outer.update_checksum();
  const std::uint32_t pseudo = outer.pseudo_header_sum();
  store_be16(segment.data() + 34 + 16, checksum(bytes{segment.data() + 34, 28}, pseudo + std::uint64_t{6 + 28}));
  auto stage = clamp_mss(1400);
  context c;
  packet p = received(memory, segment);
  REQUIRE(p.layers().has(protocol::tcp));
  CHECK(stage(p, c) == pass);
  const tcp t = header_map{static_cast<const packet&>(p)}.get<tcp>();
  CHECK(load_be16(p.data() + 34 + 23) == 1360);
  CHECK(t.checksum_ok(pseudo));
  packet q = received(memory, segment);
  q.checksum(checksum_status::partial);
  CHECK(stage(q, c) == pass);
  CHECK(load_be16(q.data() + 34 + 23) == 1360);
  CHECK(load_be16(q.data() + 34 + 16) == load_be16(segment.data() + 34 + 16));
}
