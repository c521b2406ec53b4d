// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>

#include <runnel/packet/pool.hpp>
#include <runnel/wire/print_packet.hpp>

#include "wire_bytes.hpp"

using namespace runnel;
using runnel_test::exact;
using runnel_test::hex;

// An Ethernet frame, and how it is printed.
struct sample {
  const char* frame;
  const char* line;
};
static void check(const sample& s) {
  const exact b{hex(s.frame)};
  text<1024> line;
  print_packet(line, header_map(b, 0, dissect(b)));
  // Of a map, nothing is shown behind the link header of a malformed packet; of a frame, what is right of it.
  frame f;
  f.data = b.data();
  f.length = static_cast<std::uint32_t>(b.size());
  text<1024> from_frame;
  print_packet(from_frame, f);
  CHECK(std::string(from_frame.c_str()) == s.line);
  if (dissect(b).fault == drop_reason::none) CHECK(std::string(line.c_str()) == s.line);
}

TEST_CASE("TCP and UDP have their ports beside the addresses") {
  const sample samples[] = {
      {"020000000002 020000000001 0800 4500003c 60074000 4006ee7d c0000201 c6336402 83db0035 de5cdc84"
       " 00000000 a002fc94 0db40000 020404c4 0402080a 92ea8090 00000000 0103030a",
       "IP 192.0.2.1.33755 > 198.51.100.2.53: Flags [S], seq 3730627716, win 64660, options [mss "
       "1220,sackOK,TS val 2464841872 ecr 0,nop,wscale 10], length 0"},
      {"020000000002 020000000001 86dd 600617e5 007e0640 20010db8 00010000 000000ff fe000001 20010db8"
       " 00020000 00000000 00000002 83fc1f90 7acdf0a6 7f7f01c8 80180040 95df0000 0101080a 2a8e06d8 e11d199d"
       " 47455420 2f696e64 65782e68 746d6c20 48545450 2f312e31 0d0a486f 73743a20 7777772e 6578616d 706c652e"
       " 636f6d3a 38303830 0d0a5573 65722d41 67656e74 3a206375 726c2f37 2e38382e 310d0a41 63636570 743a202a"
       " 2f2a0d0a 0d0a",
       "IP6 2001:db8:1::ff:fe00:1.33788 > 2001:db8:2::2.8080: Flags [P.], seq 2060316838:2060316932, ack "
       "2139029960, win 64, options [nop,nop,TS val 713950936 ecr 3776780701], length 94"},
      {"020000000002 020000000001 0800 45000020 690f4000 4011e586 c0000201 c6336402 d8261451 000cb6b8"
       " 39383736",
       "IP 192.0.2.1.55334 > 198.51.100.2.5201: UDP, length 4"},
  };
  for (const sample& s : samples) check(s);
}

TEST_CASE("control messages, neighbour discovery and extension headers are named") {
  const sample samples[] = {
      {"020000000002 020000000001 0800 45000054 293d4000 40012535 c0000201 c6336402 08002bdb 31990001"
       " 5de6006b 00000000 71660c00 00000000 10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b"
       " 2c2d2e2f 30313233 34353637",
       "IP 192.0.2.1 > 198.51.100.2: ICMP echo request, id 12697, seq 1, length 64"},
      {"333300000002 020000000001 86dd 60000000 00103aff fe800000 00000000 000000ff fe000001 ff020000"
       " 00000000 00000000 00000002 85007b2c 00000000 01010200 00000001",
       "IP6 fe80::ff:fe00:1 > ff02::2: ICMP6, router solicitation, slla 02:00:00:00:00:01, length 16"},
      {"333300000016 020000000001 86dd 60000000 00240001 00000000 00000000 00000000 00000000 ff020000"
       " 00000000 00000000 00000016 3a000502 00000100 8f006f89 00000001 04000000 ff020000 00000000 00000001"
       " ff000001",
       "IP6 :: > ff02::16: HBH ICMP6, multicast listener report v2, length 28"},
      {"020000000001 020000000002 86dd 60000000 00203aff 20010db8 00010000 00000000 000000fe 20010db8"
       " 00010000 00000000 00000001 88000876 e0000000 20010db8 00010000 00000000 000000fe 02010200 00000002",
       "IP6 2001:db8:1::fe > 2001:db8:1::1: ICMP6, neighbor advertisement, tgt is 2001:db8:1::fe, router, "
       "solicited, override, tlla 02:00:00:00:00:02, length 32"},
  };
  for (const sample& s : samples) check(s);
}

TEST_CASE("an ICMP error is followed by the datagram that it is about") {
  const sample samples[] = {
      {"020000000001 020000000002 0800 45c00047 63ee0000 3f012ad1 c6336402 c0000201 0303e95c 00000000"
       " 4500002b b80f4000 3f11977b c0000201 c6336402 92340009 0017d53a 6e6f626f 6479206c 69737465 6e730a",
       "IP 198.51.100.2 > 192.0.2.1: ICMP port unreachable, length 51: IP 192.0.2.1.37428 > 198.51.100.2.9: "
       "UDP, length 15"},
      {"020000000001 020000000002 86dd 600bc87e 00703a40 20010db8 00010000 00000000 000000fe 20010db8"
       " 00010000 000000ff fe000001 0300b328 00000000 600b53e7 00403a01 20010db8 00010000 000000ff fe000001"
       " 20010db8 00020000 00000000 00000002 80004eb4 31ea0001 5fe6006b 00000000 82490300 00000000 10111213"
       " 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637",
       "IP6 2001:db8:1::fe > 2001:db8:1::ff:fe00:1: ICMP6, time exceeded in-transit, length 112: IP6 "
       "2001:db8:1::ff:fe00:1 > 2001:db8:2::2: ICMP6, echo request, id 12778, seq 1, length 64"},
  };
  for (const sample& s : samples) check(s);
}

TEST_CASE("ARP is printed as by its view") {
  const sample samples[] = {
      {"ffffffffffff 020000000001 8100 00050806 00010800 06040001 02000000 0001cb00 71010000 00000000"
       " cb007102",
       "vlan 5, p 0, ARP, Request who-has 203.0.113.2 tell 203.0.113.1, length 28"},
      {"020000000001 020000000002 0806 00010800 06040002 02000000 0002c000 02fe0200 00000001 c0000201",
       "ARP, Reply 192.0.2.254 is-at 02:00:00:00:00:02, length 28"},
  };
  for (const sample& s : samples) check(s);
}

TEST_CASE("tags stand in front") {
  const sample samples[] = {
      {"333300000002 020000000001 88a8 00648100 000586dd 60000000 00103aff fe800000 00000000 000000ff"
       " fe000001 ff020000 00000000 00000000 00000002 85007b2c 00000000 01010200 00000001",
       "vlan 100, p 0, vlan 5, p 0, IP6 fe80::ff:fe00:1 > ff02::2: ICMP6, router solicitation, slla "
       "02:00:00:00:00:01, length 16"},
  };
  for (const sample& s : samples) check(s);
}

TEST_CASE("tunnels go on with the packet inside") {
  const sample samples[] = {
      {"020000000002 020000000001 8847 03e81040 05dc5140 45000054 c05e4000 40010216 cb007119 cb00711a"
       " 08003591 33a10001 6de6006b 00000000 56a80b00 00000000 10111213 14151617 18191a1b 1c1d1e1f 20212223"
       " 24252627 28292a2b 2c2d2e2f 30313233 34353637",
       "MPLS (label 16001, tc 0, ttl 64) (label 24005, tc 0, [S], ttl 64) IP 203.0.113.25 > 203.0.113.26: "
       "ICMP echo request, id 13217, seq 1, length 64"},
      {"020000000002 020000000001 0800 4500006c 5bb44000 402f59af c0000201 c00002fe 00000800 45000054"
       " ac2a4000 4001166a cb007109 cb00710a 0800018e 32e80001 6ae6006b 00000000 90640900 00000000 10111213"
       " 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637",
       "IP 192.0.2.1 > 192.0.2.254: GREv0, proto IPv4 (0x0800), length 88: IP 203.0.113.9 > 203.0.113.10: "
       "ICMP echo request, id 13032, seq 1, length 64"},
      {"020000000002 020000000001 0800 4500004e 13530000 4011e24c c0000201 c00002fe 833e12b5 003a1e4b"
       " 08000000 00002a00 ffffffff ffff0200 00000101 08060001 08000604 00010200 00000101 cb007115 00000000"
       " 0000cb00 7116",
       "IP 192.0.2.1.33598 > 192.0.2.254.4789: VXLAN, flags [I] (0x08), vni 42: ARP, Request who-has "
       "203.0.113.22 tell 203.0.113.21, length 28"},
      {"020000000001 020000000002 0800 45000068 a34a4000 40041248 c00002fe c0000201 45000054 feae0000"
       " 400103de cb00710e cb00710d 00003009 330f0001 6be6006b 00000000 71c20000 00000000 10111213 14151617"
       " 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637",
       "IP 192.0.2.254 > 192.0.2.1: IP 203.0.113.14 > 203.0.113.13: ICMP echo reply, id 13071, seq 1, "
       "length 64"},
  };
  for (const sample& s : samples) check(s);
}

TEST_CASE("frames without an EtherType, and with an unknown one") {
  const sample samples[] = {
      {"0180c2000000 020000000001 0026 42420300 00000000 00000200 00000001 00000000 00000200 00000001"
       " 80010100 14000200 0f00",
       "LLC, dsap 0x42, ssap 0x42, ctrl 0x03, length 35"},
      {"020000000002 020000000001 88b5 74686973 20706163 6b657420 6973206e 6f742072 69676874",
       "ethertype Unknown (0x88b5), length 24"},
  };
  for (const sample& s : samples) check(s);
}

TEST_CASE("the fault of a malformed packet stands at the end, and what was found before it") {
  const sample samples[] = {
      {"020000000002 020000000001 0800 45000034 b0010000 4011de80",
       "ethertype IPv4 (0x0800), length 12 [ip_too_short]"},
      {"020000000002 020000000001 0800 4800003c b0020000 4011db77 c0000201 c6336402 9c400009 0008",
       "ethertype IPv4 (0x0800), length 26 [ip_header_length]"},
      {"020000000002 020000000001 0800 45000578 b0030000 4011d93a c0000201 c6336402 9c400009 00200000"
       " 74686973 20706163 6b657420 6973206e 6f742072 69676874",
       "ethertype IPv4 (0x0800), length 52 [ip_total_length]"},
      {"020000000002 020000000001 0800 55000034 b0080000 4011ce79 c0000201 c6336402 9c400009 00204c54"
       " 74686973 20706163 6b657420 6973206e 6f742072 69676874",
       "ethertype IPv4 (0x0800), length 52 [ip_version]"},
      {"020000000002 020000000001 0800 45000028 b00b0000 4006de8d c0000201 c6336402 9c410050 00000000"
       " 00000000 40022000 171a0000",
       "IP 192.0.2.1 > 198.51.100.2: ip-proto-6, length 20 [tcp_data_offset]"},
      {"020000000002 020000000001 0800 4500001e b00d0000 4006de95 c0000201 c6336402 9c430050 00000000 0000",
       "IP 192.0.2.1 > 198.51.100.2: ip-proto-6, length 10 [tcp_too_short]"},
      {"020000000002 020000000001 0800 45000034 b0110000 4011de70 c0000201 c6336402 9c400009 038448f0"
       " 74686973 20706163 6b657420 6973206e 6f742072 69676874",
       "IP 192.0.2.1 > 198.51.100.2: ip-proto-17, length 32 [udp_length]"},
      {"020000000002 020000000001 0800 45000018 b0130000 4011de8a c0000201 c6336402 9c400009",
       "IP 192.0.2.1 > 198.51.100.2: ip-proto-17, length 4 [udp_too_short]"},
      {"020000000002 020000000001 0800 45000016 b0150000 4001de9a c0000201 c6336402 0800",
       "IP 192.0.2.1 > 198.51.100.2: ip-proto-1, length 2 [icmp_too_short]"},
      {"020000000002 020000000001 0806 00010800 06040001 02000000",
       "ethertype ARP (0x0806), length 12 [arp_malformed]"},
      {"020000000002 020000000001 8100 0009", "ethertype 802.1Q (0x8100), length 2 [vlan_malformed]"},
      {"020000000002 020000000001 8847 03e81040 03e81040 03e81040",
       "MPLS (label 16001, tc 0, ttl 64) (label 16001, tc 0, ttl 64) (label 16001, tc 0, ttl 64) length 0 "
       "[mpls_malformed]"},
  };
  for (const sample& s : samples) check(s);
}

static constexpr ethernet_header link_header{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};
static constexpr ipv4_header ip_header{.source = {192, 0, 2, 1}, .destination = {192, 0, 2, 2}};

static constexpr bool prints_in_constant_evaluation() {
  std::byte b[14 + 20 + 20]{};
  if (!write_headers(b, link_header, ip_header,
                     tcp_header{.source_port = 40000,
                                .destination_port = 80,
                                .sequence_number = 0xffff'ffff,
                                .flags = tcp_flags::syn,
                                .window_size = 64240}))
    return false;
  text<> line;
  print_packet(line, header_map(b, 0, dissect(b)));
  return same_text(line.c_str(), "IP 192.0.2.1.40000 > 192.0.2.2.80: Flags [S], seq 4294967295, win 64240, length 0");
}
static_assert(prints_in_constant_evaluation());

TEST_CASE("the link header is printed on demand, and what it names is not named twice") {
  const print_options with_link{.link_header = true};
  std::byte b[14 + 4 + 20 + 8]{};
  text<> line;
  SUBCASE("IPv4 behind a tag") {
    REQUIRE(write_headers(b, link_header, vlan_header{.id = 5, .pcp = 3}, ip_header, udp_header{}));
    print_packet(line, header_map(b, 0, dissect(b)), with_link);
    CHECK(same_text(line.c_str(),
                    "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype 802.1Q (0x8100), length 46: vlan 5, p 3, "
                    "ethertype IPv4 (0x0800), 192.0.2.1.0 > 192.0.2.2.0: UDP, length 0"));
  }
  SUBCASE("ARP") {
    REQUIRE(write_headers(b, link_header,
                          arp_header{.sender_protocol = {192, 0, 2, 1}, .target_protocol = {192, 0, 2, 2}}));
    print_packet(line, header_map(b, 0, dissect(b)), with_link);
    CHECK(same_text(line.c_str(),
                    "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype ARP (0x0806), length 46: Request "
                    "who-has 192.0.2.2 tell 192.0.2.1, length 28"));
  }
}

TEST_CASE("fragments say where they belong; only the first has ports") {
  std::byte b[14 + 20 + 16]{};
  text<> line;
  ipv4_header ip = ip_header;
  ip.id = 0x1234;
  ip.protocol = 17;
  SUBCASE("the first") {
    ip.more_fragments = true;
    store_be16(b + 34, 5000);
    store_be16(b + 36, 53);
    store_be16(b + 38, 2000);
    REQUIRE(write_headers(b, link_header, ip));
    print_packet(line, header_map(b, 0, dissect(b)));
    CHECK(same_text(line.c_str(), "IP 192.0.2.1.5000 > 192.0.2.2.53: frag (0x1234:0|16)+ UDP, length 8, no checksum"));
  }
  SUBCASE("the last") {
    ip.fragment_offset = 1480;
    REQUIRE(write_headers(b, link_header, ip));
    print_packet(line, header_map(b, 0, dissect(b)));
    CHECK(same_text(line.c_str(), "IP 192.0.2.1 > 192.0.2.2: frag (0x1234:1480|16) ip-proto-17, length 16"));
  }
  SUBCASE("of IPv6") {
    std::byte six[14 + 40 + 8 + 16]{};
    REQUIRE(write_headers(six, link_header, ipv6_header{},
                          ipv6_fragment_header{.fragment_offset = 1448, .identification = 7, .next_header = 58}));
    print_packet(line, header_map(six, 0, dissect(six)));
    CHECK(same_text(line.c_str(), "IP6 :: > ::: frag (0x00000007:1448|16) ip-proto-58, length 16"));
  }
}

TEST_CASE("a fragment cuts the packet inside its tunnel, and that is no fault") {
  std::byte b[14 + 20 + 4 + 20 + 8 + 8]{};
  ipv4_header outer = ip_header;
  REQUIRE(write_headers(b, link_header, outer, gre_header{}, ip_header,
                        udp_header{.source_port = 1, .destination_port = 2}));
  // The inner datagram said to be 100 bytes longer than this fragment.
  store_be16(b + 38 + 2, 36 + 100);
  store_be16(b + 58 + 4, 16 + 100);
  outer.more_fragments = true;
  outer.protocol = 47;
  REQUIRE(write_headers(mutable_bytes{b}, link_header, outer));
  text<> line;
  print_packet(line, header_map(b, 0, dissect(b)));
  CHECK(same_text(line.c_str(),
                  "IP 192.0.2.1 > 192.0.2.2: frag (0x0000:0|40)+ GREv0, proto IPv4 (0x0800), length 40: "
                  "IP 192.0.2.1.1 > 192.0.2.2.2: UDP, length 8"));
}

TEST_CASE("tunnels are followed as deep as one says") {
  const auto line = [](unsigned tunnels) {
    std::byte b[20 * 7 + 8]{};
    REQUIRE(
        write_headers(b, ip_header, ip_header, ip_header, ip_header, ip_header, ip_header, ip_header, udp_header{}));
    text<512> out;
    print_packet(out, header_map(b, 0, dissect(b, link_type::raw_ip)), {.tunnels = tunnels});
    return std::string(out.c_str());
  };
  const std::string ip = "IP 192.0.2.1 > 192.0.2.2: ";
  CHECK(line(0) == ip + "..., length 128");
  CHECK(line(2) == ip + ip + ip + "..., length 88");
  CHECK(line(print_options{}.tunnels) == ip + ip + ip + ip + ip + "..., length 48");
  CHECK(line(100) == ip + ip + ip + ip + ip + ip + "IP 192.0.2.1.0 > 192.0.2.2.0: UDP, length 0");
}

TEST_CASE("a packet is printed whether it was dissected or not, and still when headers were pulled off it") {
  const pool_config config{.packets = 2, .bytes = 256, .headroom = 64, .bare = 0};
  alignas(64) static std::byte memory[4096];
  REQUIRE(pool::bytes_needed(config) <= sizeof memory);
  pool* const source = pool::create(memory, config);
  REQUIRE(source != nullptr);
  packet p = source->allocate();
  std::byte* b = p.put(14 + 20 + 8);
  REQUIRE(b != nullptr);
  REQUIRE(write_headers({b, 42}, link_header, ip_header, udp_header{.source_port = 1, .destination_port = 2}));
  const auto line = [&] {
    text<> out;
    print_packet(out, p);
    return std::string(out.c_str());
  };
  CHECK(line() == "IP 192.0.2.1.1 > 192.0.2.2.2: UDP, length 0");
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  CHECK(line() == "IP 192.0.2.1.1 > 192.0.2.2.2: UDP, length 0");
  REQUIRE(p.pull(34));
  CHECK(line() == "IP 192.0.2.1.1 > 192.0.2.2.2: UDP, length 0");
}

TEST_CASE("a map that was not dissected is dissected where it is an Ethernet frame") {
  std::byte b[14 + 20 + 8]{};
  REQUIRE(write_headers(b, link_header, ip_header, udp_header{}));
  text<> line;
  print_packet(line, header_map(b, 0, {}));
  CHECK(same_text(line.c_str(), "IP 192.0.2.1.0 > 192.0.2.2.0: UDP, length 0"));
  line.clear();
  print_packet(line, header_map(b, 0, {.protocols = static_cast<std::uint16_t>(link_type::linux_sll)}));
  CHECK(same_text(line.c_str(), "unknown link payload"));
}

TEST_CASE("a frame that ends within its link header is printed without reading behind it") {
  for (std::size_t n = 0; n < 14; ++n) {
    const std::byte zeros[14]{};
    const exact content{bytes{zeros, n}};
    frame f;
    f.data = content.data();
    f.length = static_cast<std::uint32_t>(n);
    text<400> out;
    print_packet(out, f);
    CHECK(out.size() != 0);
  }
}
