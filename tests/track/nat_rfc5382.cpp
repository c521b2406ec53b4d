// SPDX-License-Identifier: MIT
// RFC 5382, "NAT Behavioral Requirements for TCP", requirement by requirement.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

namespace {

constexpr std::uint8_t nat_syn = tcp_flags::syn, nat_ack = tcp_flags::ack, nat_fin = tcp_flags::fin,
                       nat_rst = tcp_flags::rst;

// A connection from 10.0.0.1:5000 to 198.51.100.1:80; says which port it has outside.
std::uint16_t nat_handshake(nat_rig& t) {
  const std::uint16_t port = nat_rig::port_of(t.tcp_flags_of(nat_syn, in1, 5000, out1, 80, 100));
  CHECK(t.tcp_flags_of(nat_syn | nat_ack, out1, 80, box, port, 900, 101) == "tcp 198.51.100.1:80 > 10.0.0.1:5000");
  CHECK(nat_rig::port_of(t.tcp_flags_of(nat_ack, in1, 5000, out1, 80, 101, 901)) == port);
  return port;
}

}  // namespace

TEST_CASE("RFC 5382 REQ-1: a TCP mapping is the same whatever it connects to") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.syn(in1, 5000, out1, 80));
  for (const ipv4_address to : {out1, out2, out3})
    for (const std::uint16_t dport : {std::uint16_t{80}, std::uint16_t{81}})
      CHECK(nat_rig::port_of(t.syn(in1, 5000, to, dport)) == port);
  CHECK(nat_rig::port_of(t.udp(in1, 5000, out1, 80)) != port);  // UDP has mappings of its own
}

TEST_CASE("RFC 5382 REQ-2: handshakes from both sides, simultaneous open, and all ways to end") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  const std::uint16_t port = nat_handshake(t);
  CHECK(port == 5000);
  // From outside, to the same mapping.
  CHECK(t.tcp_flags_of(nat_syn, out2, 7000, box, port, 50) == "tcp 198.51.100.2:7000 > 10.0.0.1:5000");
  CHECK(t.tcp_flags_of(nat_syn | nat_ack, in1, 5000, out2, 7000, 60, 51) == "tcp 192.0.2.254:5000 > 198.51.100.2:7000");
  CHECK(t.tcp_flags_of(nat_ack, out2, 7000, box, port, 51, 61) == "tcp 198.51.100.2:7000 > 10.0.0.1:5000");
  // Both sides send a SYN before they have seen the other's.
  CHECK(t.tcp_flags_of(nat_syn, in1, 5000, out3, 9000, 200) == "tcp 192.0.2.254:5000 > 203.0.113.3:9000");
  CHECK(t.tcp_flags_of(nat_syn, out3, 9000, box, port, 300) == "tcp 203.0.113.3:9000 > 10.0.0.1:5000");
  CHECK(t.tcp_flags_of(nat_syn | nat_ack, in1, 5000, out3, 9000, 200, 301) ==
        "tcp 192.0.2.254:5000 > 203.0.113.3:9000");
  CHECK(t.tcp_flags_of(nat_syn | nat_ack, out3, 9000, box, port, 300, 201) == "tcp 203.0.113.3:9000 > 10.0.0.1:5000");
  // A FIN from each side; a reset.
  CHECK(t.tcp_flags_of(nat_fin | nat_ack, in1, 5000, out1, 80, 101, 901).substr(0, 15) == "tcp 192.0.2.254");
  CHECK(t.tcp_flags_of(nat_fin | nat_ack, out1, 80, box, port, 901, 102) == "tcp 198.51.100.1:80 > 10.0.0.1:5000");
  CHECK(t.tcp_flags_of(nat_ack, in1, 5000, out1, 80, 102, 902).substr(0, 15) == "tcp 192.0.2.254");
  CHECK(t.tcp_flags_of(nat_rst | nat_ack, out2, 7000, box, port, 51, 61) == "tcp 198.51.100.2:7000 > 10.0.0.1:5000");
}

TEST_CASE("RFC 5382 REQ-3: filtering is the administrator's choice") {
  for (const nat_filtering f : {nat_filtering::endpoint_independent, nat_filtering::address_dependent,
                                nat_filtering::address_and_port_dependent}) {
    nat_rig t(nat_eim(f));
    t.outbound(masquerade());
    CHECK(nat_handshake(t) == 5000);
    const bool known = f != nat_filtering::address_and_port_dependent, all = f == nat_filtering::endpoint_independent;
    CHECK(t.syn(out1, 81, box, 5000) == (known ? "tcp 198.51.100.1:81 > 10.0.0.1:5000" : "dropped: nat_filtered"));
    CHECK(t.syn(out2, 80, box, 5000) == (all ? "tcp 198.51.100.2:80 > 10.0.0.1:5000" : "dropped: nat_filtered"));
  }
}

// Silently dropped for good: REQ-4a leaves that to the policy of the NAT. So nothing has to be kept for six seconds.
TEST_CASE("RFC 5382 REQ-4: an unsolicited SYN is dropped silently, and does not disturb the SYN that goes out") {
  nat_rig t(nat_eim(nat_filtering::address_and_port_dependent));
  t.outbound(masquerade());
  CHECK(nat_handshake(t) == 5000);
  CHECK(t.tcp_flags_of(nat_syn, out2, 80, box, 5000, 300) == "dropped: nat_filtered");
  CHECK(t.tcp_flags_of(nat_syn, in1, 5000, out2, 80, 200) == "tcp 192.0.2.254:5000 > 198.51.100.2:80");
  CHECK(t.tcp_flags_of(nat_syn, out2, 80, box, 5000, 300) == "tcp 198.51.100.2:80 > 10.0.0.1:5000");
  CHECK(t.nat->statistics().filtered == 1);
}

TEST_CASE("RFC 5382 REQ-5: established connections live 2 hours and 4 minutes, others 4 minutes") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(nat_handshake(t) == 5000);
  t.now = t.now + seconds(2 * 3600 + 4 * 60 - 1);
  CHECK(t.tcp_flags_of(nat_ack, out1, 80, box, 5000, 901, 101) == "tcp 198.51.100.1:80 > 10.0.0.1:5000");
  CHECK(t.syn(in1, 5001, out1, 80) == "tcp 192.0.2.254:5001 > 198.51.100.1:80");
  t.now = t.now + seconds(239);
  CHECK(t.tcp_flags_of(nat_syn | nat_ack, out1, 80, box, 5001, 900, 101) == "tcp 198.51.100.1:80 > 10.0.0.1:5001");
  t.now = t.now + seconds(239);
  CHECK(t.tcp_flags_of(nat_ack, in1, 5001, out1, 80, 101, 901) == "tcp 192.0.2.254:5001 > 198.51.100.1:80");
  // RFC 7857 §2.1: a reset is translated, and the connection stays for 4 minutes more.
  CHECK(t.tcp_flags_of(nat_rst | nat_ack, in1, 5001, out1, 80, 101, 901) == "tcp 192.0.2.254:5001 > 198.51.100.1:80");
  t.now = t.now + seconds(239);
  t.table->expire(t.now);
  CHECK(t.nat->mappings() == 2);
  t.now = t.now + seconds(2);
  t.table->expire(t.now);
  CHECK(t.nat->mappings() == 1);
}

TEST_CASE("RFC 5382 REQ-6: nothing looks into payloads unless a helper is in the path") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.syn(in1, 5000, out1, 21) == "tcp 192.0.2.254:5000 > 198.51.100.1:21");
  CHECK(t.tcp_flags_of(nat_syn | nat_ack, out1, 21, box, 5000, 900, 101) == "tcp 198.51.100.1:21 > 10.0.0.1:5000");
  const char said[] = "PORT 10,0,0,1,4,1\r\n";
  std::vector<std::byte> packet(20 + 20 + sizeof said - 1);
  tcp_header h;
  h.source_port = 5000, h.destination_port = 21, h.flags = nat_ack | tcp_flags::psh;
  h.sequence_number = 101, h.acknowledgment_number = 901, h.window_size = 1000;
  for (std::size_t i = 0; i < sizeof said - 1; ++i) packet[40 + i] = static_cast<std::byte>(said[i]);
  REQUIRE(write_headers({packet.data(), packet.size()}, ipv4_header{.source = in1, .destination = out1}, h));
  CHECK(t.send_bytes(packet) == "tcp 192.0.2.254:5000 > 198.51.100.1:21");
  CHECK(t.sent.size() == packet.size());
  CHECK(std::equal(packet.begin() + 40, packet.end(), t.sent.begin() + 40));
  CHECK(t.table->expected() == 0);
}

TEST_CASE("RFC 5382 REQ-7: no two hosts share a TCP port") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.syn(in1, 5000, out1, 80) == "tcp 192.0.2.254:5000 > 198.51.100.1:80");
  CHECK(nat_rig::port_of(t.syn(in2, 5000, out2, 81)) != 5000);
}

TEST_CASE("RFC 5382 REQ-8: hairpins, with the external source") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.syn(in1, 5000, out1, 80) == "tcp 192.0.2.254:5000 > 198.51.100.1:80");
  CHECK(t.tcp_flags_of(nat_syn, in2, 6000, box, 5000, 100) == "tcp 192.0.2.254:6000 > 10.0.0.1:5000");
  CHECK(t.tcp_flags_of(nat_syn | nat_ack, in1, 5000, box, 6000, 900, 101) == "tcp 192.0.2.254:5000 > 10.0.0.2:6000");
  CHECK(t.tcp_flags_of(nat_ack, in2, 6000, box, 5000, 101, 901) == "tcp 192.0.2.254:6000 > 10.0.0.1:5000");
}

TEST_CASE("RFC 5382 REQ-9: unreachables about TCP are translated") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_handshake(t);
  CHECK(t.send(0, ipv4_header{.source = out3, .destination = box}, icmp_header{.kind = {3, 4}},
               ipv4_header{.source = box, .destination = out1},
               tcp_header{.source_port = port, .destination_port = 80, .sequence_number = 101}) ==
        "icmp 203.0.113.3 > 10.0.0.1 type 3 [tcp 10.0.0.1:5000 > 198.51.100.1:80]");
  CHECK(load_u8(t.sent.data() + 21) == 4);
}

TEST_CASE("RFC 5382 REQ-10: no ICMP message ends a mapping or its connection") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  const std::uint16_t port = nat_handshake(t);
  for (std::uint8_t code = 0; code < 16; ++code)
    CHECK(t.send(0, ipv4_header{.source = out1, .destination = box}, icmp_header{.kind = {3, code}},
                 ipv4_header{.source = box, .destination = out1},
                 tcp_header{.source_port = port, .destination_port = 80, .sequence_number = 101}) ==
          "icmp 198.51.100.1 > 10.0.0.1 type 3 [tcp 10.0.0.1:5000 > 198.51.100.1:80]");
  CHECK(t.tcp_flags_of(nat_ack, out1, 80, box, port, 901, 101) == "tcp 198.51.100.1:80 > 10.0.0.1:5000");
}
