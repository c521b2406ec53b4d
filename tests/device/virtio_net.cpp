// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <vector>

#include <packet/counted_pool.hpp>

#include <runnel/base/endian.hpp>
#include <runnel/device/virtio_net.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>

using namespace runnel;
using namespace runnel::detail;
using runnel::test::counted_pool;

namespace {

constexpr ethernet_header eth{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
constexpr ipv4_header v4{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}};
constexpr ipv6_header v6{.source = {0x2001'0db8'0000'0000, 1}, .destination = {0x2001'0db8'0000'0000, 2}};
constexpr tcp_header a_segment{.source_port = 1000, .destination_port = 80};
constexpr udp_header datagram{.source_port = 1000, .destination_port = 7};

template <class... Headers>
std::vector<std::byte> packet_of(std::size_t payload, const Headers&... headers) {
  std::vector<std::byte> all(size_of_headers(headers...) + payload, std::byte{0x5a});
  REQUIRE(write_headers({all.data(), all.size()}, headers...));
  return all;
}

frame frame_of(std::vector<std::byte>& bytes, link_type link = link_type::ethernet) {
  frame f;
  f.data = bytes.data();
  f.length = static_cast<std::uint32_t>(bytes.size());
  f.link = link;
  return f;
}

// Leaves the folded sum of the pseudo-header in the field, as a kernel does; the right checksum is returned.
std::uint16_t make_partial(std::vector<std::byte>& p, std::size_t start, std::size_t field) {
  const std::uint16_t right = load_be16(p.data() + start + field);
  const auto sum = running_checksum{add_checksum(bytes{p.data() + start, p.size() - start})}.sum();
  // The whole, checksum included, sums up to what is missing to 0xffff: the complement of the pseudo-header.
  store_be16(p.data() + start + field, static_cast<std::uint16_t>(~sum));
  return right;
}

}  // namespace

TEST_CASE("a header of zeros says nothing, and DATA_VALID that the checksum is right") {
  std::vector<std::byte> p = packet_of(100, eth, v4, a_segment);
  frame f = frame_of(p);
  f.checksum = checksum_status::partial;
  f.segment_size = 7;
  CHECK(read_virtio_net_header({}, f));
  CHECK(f.checksum == checksum_status::unknown);
  CHECK(f.segment_size == 0);
  CHECK(read_virtio_net_header({.flags = virtio_data_valid}, f));
  CHECK(f.checksum == checksum_status::verified);
}

TEST_CASE("a partial checksum where dissect finds it stays partial, and goes out as it came") {
  struct {
    std::vector<std::byte> bytes;
    link_type link;
    std::uint16_t start, offset;
  } cases[] = {
      {packet_of(100, eth, v4, a_segment), link_type::ethernet, 34, 16},
      {packet_of(101, eth, v4, datagram), link_type::ethernet, 34, 6},
      {packet_of(100, eth, v6, a_segment), link_type::ethernet, 54, 16},
      {packet_of(100, eth, vlan_header{.id = 5}, v6, datagram), link_type::ethernet, 58, 6},
      {packet_of(100, v4, a_segment), link_type::raw_ip, 20, 16},
  };
  for (auto& c : cases) {
    CAPTURE(c.start);
    CAPTURE(c.offset);
    const std::uint16_t right = make_partial(c.bytes, c.start, c.offset);
    const std::uint16_t partial = load_be16(c.bytes.data() + c.start + c.offset);
    frame f = frame_of(c.bytes, c.link);
    REQUIRE(read_virtio_net_header(
        {.flags = virtio_needs_checksum, .checksum_start = c.start, .checksum_offset = c.offset}, f));
    CHECK(f.checksum == checksum_status::partial);
    CHECK(load_be16(c.bytes.data() + c.start + c.offset) == partial);
    const virtio_net_header h = make_virtio_net_header(f);
    CHECK(h.flags == virtio_needs_checksum);
    CHECK(h.gso_type == virtio_gso_none);
    CHECK(h.checksum_start == c.start);
    CHECK(h.checksum_offset == c.offset);
    CHECK(h.segment_size == 0);
    complete_transport_checksum(f.contents(), f.link);
    CHECK(load_be16(c.bytes.data() + c.start + c.offset) == right);
  }
}

TEST_CASE("a partial checksum at another place is completed at once") {
  // The payload is taken for something with a checksum in its third and fourth byte.
  std::vector<std::byte> p = packet_of(20, eth, v4, datagram);
  const std::vector<std::byte> before = p;
  frame f = frame_of(p);
  REQUIRE(read_virtio_net_header({.flags = virtio_needs_checksum, .checksum_start = 42, .checksum_offset = 2}, f));
  CHECK(f.checksum == checksum_status::verified);
  CHECK(load_be16(p.data() + 44) == checksum(bytes{before.data() + 42, 20}));
  p[44] = p[45] = std::byte{0x5a};
  CHECK(p == before);
}

TEST_CASE("segments come and go with their size, their kind and the ECN bit") {
  struct {
    std::vector<std::byte> bytes;
    std::uint8_t kind;
    std::uint16_t start, offset, headers;
  } cases[] = {
      {packet_of(4000, eth, v4, a_segment), virtio_gso_tcpv4, 34, 16, 54},
      {packet_of(4000, eth, v6, a_segment), virtio_gso_tcpv6, 54, 16, 74},
      {packet_of(4000, eth, v4, tcp_header{.source_port = 1, .destination_port = 2, .flags = tcp_flags::cwr}),
       virtio_gso_tcpv4 | virtio_gso_ecn, 34, 16, 54},
      {packet_of(4000, eth, v6, datagram), virtio_gso_udp, 54, 6, 62},
  };
  for (auto& c : cases) {
    CAPTURE(int{c.kind});
    frame f = frame_of(c.bytes);
    const virtio_net_header in{.flags = virtio_needs_checksum,
                               .gso_type = c.kind,
                               .header_length = 9999,  // a hint that nobody believes
                               .segment_size = 1448,
                               .checksum_start = c.start,
                               .checksum_offset = c.offset};
    REQUIRE(read_virtio_net_header(in, f));
    CHECK(f.segment_size == 1448);
    CHECK(f.checksum == checksum_status::partial);
    const virtio_net_header out = make_virtio_net_header(f);
    CHECK(out.flags == virtio_needs_checksum);
    CHECK(out.gso_type == c.kind);
    CHECK(out.segment_size == 1448);
    CHECK(out.header_length == c.headers);
    CHECK(out.checksum_start == c.start);
    CHECK(out.checksum_offset == c.offset);
  }
}

TEST_CASE("a header that cannot be right is refused") {
  std::vector<std::byte> p = packet_of(400, eth, v4, a_segment);
  const auto size = static_cast<std::uint16_t>(p.size());
  const std::vector<std::byte> before = p;
  const auto refused = [&](virtio_net_header h) {
    frame f = frame_of(p);
    return !read_virtio_net_header(h, f) && p == before;
  };
  constexpr std::uint8_t partial = virtio_needs_checksum;
  CHECK(refused({.flags = partial, .checksum_start = size, .checksum_offset = 0}));
  CHECK(refused({.flags = partial, .checksum_start = 65535, .checksum_offset = 65535}));
  CHECK(refused({.flags = partial, .checksum_start = static_cast<std::uint16_t>(size - 1), .checksum_offset = 0}));
  CHECK(refused({.flags = partial, .checksum_start = static_cast<std::uint16_t>(size - 2), .checksum_offset = 1}));
  CHECK(refused({.flags = partial, .checksum_start = 34, .checksum_offset = static_cast<std::uint16_t>(size - 35)}));
  // Segments of no size, of another protocol, of a kind that nobody asked for (UFO is 3), with another checksum.
  CHECK(refused({.gso_type = virtio_gso_tcpv4, .segment_size = 0}));
  CHECK(refused({.gso_type = virtio_gso_tcpv6, .segment_size = 100}));
  CHECK(refused({.gso_type = virtio_gso_udp, .segment_size = 100}));
  CHECK(refused({.gso_type = 3, .segment_size = 100}));
  CHECK(refused({.gso_type = 0x7f, .segment_size = 100}));
  CHECK(refused({.gso_type = virtio_gso_ecn, .segment_size = 100}));
  CHECK(refused({.flags = partial, .gso_type = virtio_gso_tcpv4, .segment_size = 100, .checksum_start = 20}));
  std::vector<std::byte> icmp = packet_of(400, eth, v4, icmp_header{});
  frame f = frame_of(icmp);
  CHECK_FALSE(read_virtio_net_header({.gso_type = virtio_gso_tcpv4, .segment_size = 100}, f));
  std::vector<std::byte> nothing;
  f = frame_of(nothing);
  CHECK_FALSE(read_virtio_net_header({.flags = partial}, f));
  CHECK_FALSE(read_virtio_net_header({.gso_type = virtio_gso_tcpv4, .segment_size = 1}, f));
}

TEST_CASE("of a frame that was cut off nothing is completed or cut into segments") {
  std::vector<std::byte> p = packet_of(400, eth, v4, a_segment);
  frame f = frame_of(p);
  f.length = 60;
  f.missing = static_cast<std::uint16_t>(p.size() - 60);
  CHECK(read_virtio_net_header({.flags = virtio_needs_checksum,
                                .gso_type = virtio_gso_tcpv4,
                                .segment_size = 100,
                                .checksum_start = 34,
                                .checksum_offset = 16},
                               f));
  CHECK(f.checksum == checksum_status::partial);
  CHECK(f.segment_size == 0);
}

TEST_CASE("a frame keeps its segment size as a packet, in copies, and back; missing bytes come before it") {
  counted_pool memory;
  frame f = memory->allocate_frame();
  REQUIRE(f.put(100) != nullptr);
  f.segment_size = 77;
  frame again;
  into_array taker(&again);
  taker(f);
  CHECK(again.segment_size == 77);
  packet p = memory->attach(again);
  CHECK(p.segment_size() == 77);
  CHECK(p.missing() == 0);
  CHECK(p.copy().segment_size() == 77);
  f = p.detach();
  CHECK(f.segment_size == 77);
  CHECK(f.missing == 0);
  f.missing = 5;
  p = memory->attach(f);
  CHECK(p.segment_size() == 0);
  CHECK(p.missing() == 5);
}

TEST_CASE("the checksum of a chained packet is completed over all fragments, of odd lengths too, and not the padding") {
  counted_pool memory;
  std::vector<std::byte> whole = packet_of(201, eth, v4, a_segment);
  const std::uint16_t right = make_partial(whole, 34, 16);
  whole.resize(whole.size() + 3, std::byte{0xff});  // padding
  for (std::size_t cut : {std::size_t{54}, std::size_t{55}, std::size_t{200}, std::size_t{254}, std::size_t{256}}) {
    CAPTURE(cut);
    packet p = memory->allocate();
    REQUIRE(p.append(bytes{whole.data(), cut}));
    packet rest = memory->allocate();
    REQUIRE(rest.append(bytes{whole.data() + cut, whole.size() - cut}));
    REQUIRE(p.append(std::move(rest)));
    CHECK(complete_transport_checksum(p, link_type::ethernet));  // not partial: nothing to do
    CHECK(load_be16(p.data() + 50) != right);
    p.checksum(checksum_status::partial);
    packet shared = p.clone();
    REQUIRE(shared);
    CHECK(complete_transport_checksum(p, link_type::ethernet));
    CHECK(load_be16(p.data() + 50) == right);
    CHECK(p.checksum() == checksum_status::verified);
    // A clone's bytes are another's too.
    CHECK(load_be16(shared.data() + 50) != right);
    CHECK(shared.checksum() == checksum_status::partial);
  }
}

TEST_CASE("what has no transport checksum is left as it is") {
  counted_pool memory;
  std::vector<std::byte> ping = packet_of(56, eth, v4, icmp_header{});
  packet p = memory->allocate();
  REQUIRE(p.append(bytes{ping.data(), ping.size()}));
  p.checksum(checksum_status::partial);
  CHECK(make_virtio_net_header(p).flags == 0);
  CHECK(complete_transport_checksum(p, link_type::ethernet));
  CHECK(std::vector<std::byte>(p.data(), p.data() + p.length()) == ping);
}
