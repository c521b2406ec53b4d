// SPDX-License-Identifier: MIT
// RFC 5508, "NAT Behavioral Requirements for ICMP", requirement by requirement; and errors that are not right.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

namespace {

// An error of a type from somebody to somebody, which quotes a UDP packet.
std::string nat_error(nat_rig& t, ipv4_address from, ipv4_address to, icmp_kind kind, ipv4_address quoted_from,
                      std::uint16_t sport, ipv4_address quoted_to, std::uint16_t dport) {
  return t.send(0, ipv4_header{.source = from, .destination = to}, icmp_header{.kind = kind},
                ipv4_header{.source = quoted_from, .destination = quoted_to},
                udp_header{.source_port = sport, .destination_port = dport});
}
std::uint16_t nat_id_of(const std::string& out) {
  return static_cast<std::uint16_t>(std::stoul(out.substr(out.find("id ") + 3)));
}

}  // namespace

TEST_CASE("RFC 5508 REQ-1: queries go out, their answers come in, and an identifier is the same for all hosts") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.ping(in1, out1, 7) == "icmp 192.0.2.254 > 198.51.100.1 type 8 id 7");
  CHECK(t.ping(out1, box, 7, true) == "icmp 198.51.100.1 > 10.0.0.1 type 0 id 7");
  const std::uint16_t id = nat_id_of(t.ping(in2, out2, 7));
  CHECK(id != 7);  // although it pings somebody else
  CHECK(nat_id_of(t.ping(in2, out3, 7)) == id);
  CHECK(nat_id_of(t.ping(in2, out1, 7)) == id);
  CHECK(t.ping(out3, box, id, true) == "icmp 203.0.113.3 > 10.0.0.2 type 0 id 7");
  CHECK(t.send(12, ipv4_header{.source = in1, .destination = out1},
               icmp_header{.kind = icmp::timestamp_request, .identifier = 9}) ==
        "icmp 192.0.2.254 > 198.51.100.1 type 13 id 9");
  CHECK(t.send(12, ipv4_header{.source = out1, .destination = box},
               icmp_header{.kind = icmp::timestamp_reply, .identifier = 9}) ==
        "icmp 198.51.100.1 > 10.0.0.1 type 14 id 9");
}

TEST_CASE("RFC 5508 REQ-2: a query lives 60 seconds") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.ping(in1, out1, 7) == "icmp 192.0.2.254 > 198.51.100.1 type 8 id 7");
  t.now = t.now + milliseconds(59'990);
  CHECK(t.ping(out1, box, 7, true) == "icmp 198.51.100.1 > 10.0.0.1 type 0 id 7");
  t.now = t.now + seconds(61);
  CHECK(t.ping(out1, box, 7, true) == "dropped: no_match");
}

TEST_CASE("RFC 5508 REQ-3: checksums of an error and of the quoted header are verified, that of its transport is not") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.udp(in1, 5000, out1, 53));
  const auto send = [&](std::size_t wrong) {
    t.meddle = [wrong](packet& p) {
      std::byte* const at = p.writable().data() + 14 + wrong;
      if (wrong != 0) store_be16(at, static_cast<std::uint16_t>(load_be16(at) ^ 0x5555u));
    };
    return nat_error(t, out1, box, icmp::unreachable::port, box, port, out1, 53);
  };
  CHECK(send(0) == "icmp 198.51.100.1 > 10.0.0.1 type 3 [udp 10.0.0.1:5000 > 198.51.100.1:53]");
  CHECK(send(22) == "dropped: nat_untranslatable");  // of ICMP
  const auto both = [&](std::size_t inner) {
    t.meddle = [inner](packet& p) {
      std::byte* const ip = p.writable().data() + 14;
      store_be16(ip + inner, static_cast<std::uint16_t>(load_be16(ip + inner) ^ 0x5555u));
      store_be16(ip + 22, 0);
      store_be16(ip + 22, checksum({ip + 20, load_be16(ip + 2) - std::size_t{20}}));
    };
    return nat_error(t, out1, box, icmp::unreachable::port, box, port, out1, 53);
  };
  CHECK(both(28 + 10) == "dropped: nat_untranslatable");  // of the quoted IP header
  CHECK(t.nat->statistics().untranslatable == 2);
  // Of the quoted datagram, which is only 8 of the bytes that its checksum is about.
  t.meddle = [](packet& p) {
    std::byte* const ip = p.writable().data() + 14;
    store_be16(ip + 28 + 2, 1000);  // quoted total length
    store_be16(ip + 28 + 10, 0);
    store_be16(ip + 28 + 10, checksum({ip + 28, 20}));
    store_be16(ip + 28 + 20 + 6, 0x1234);
    store_be16(ip + 22, 0);
    store_be16(ip + 22, checksum({ip + 20, load_be16(ip + 2) - std::size_t{20}}));
  };
  CHECK(nat_error(t, out1, box, icmp::unreachable::port, box, port, out1, 53) ==
        "icmp 198.51.100.1 > 10.0.0.1 type 3 [udp 10.0.0.1:5000 > 198.51.100.1:53]");
  const std::uint32_t before = 0xffffu & ~0x1234u, after = 0xffffu & ~std::uint32_t{load_be16(t.sent.data() + 54)};
  const std::uint32_t gained = fold_checksum(after + 0xffffu - before);  // what the addresses and ports lost
  const std::uint32_t lost =
      fold_checksum(std::uint64_t{box.value() >> 16} + (box.value() & 0xffffu) + port +
                    (~(in1.value() >> 16) & 0xffffu) + (~in1.value() & 0xffffu) + (0xffffu & ~5000u));
  CHECK(fold_checksum(gained + lost) == 0xffff);

  // Options of the quoted header are stepped over.
  std::vector<std::byte> with_options(20 + 8 + 24 + 8);
  ipv4_header outer{.source = out1, .destination = box, .protocol = 1};
  REQUIRE(
      write_headers({with_options.data(), with_options.size()}, outer, icmp_header{.kind = icmp::unreachable::port}));
  std::byte* const inner = with_options.data() + 28;
  REQUIRE(write_headers({inner, 28}, ipv4_header{.source = box, .destination = out1},
                        udp_header{.source_port = port, .destination_port = 53}));
  for (std::size_t i = 8; i-- > 0;) inner[24 + i] = inner[20 + i];
  store_be32(inner + 20, 0x01010100);
  inner[0] = std::byte{0x46};
  store_be16(inner + 2, 1000);
  store_be16(inner + 10, 0);
  store_be16(inner + 10, checksum({inner, 24}));
  store_be16(with_options.data() + 22, 0);
  store_be16(with_options.data() + 22, checksum({with_options.data() + 20, with_options.size() - 20}));
  t.meddle = nullptr;
  CHECK(t.send_bytes(with_options) == "icmp 198.51.100.1 > 10.0.0.1 type 3 [udp 10.0.0.1:5000 > 198.51.100.1:53]");
}

TEST_CASE(
    "RFC 5508 REQ-4: an error from outside: without a mapping it is dropped, else the quoted packet is restored") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.udp(in1, 5000, out1, 53));
  CHECK(nat_error(t, out1, box, icmp::unreachable::port, box, static_cast<std::uint16_t>(port ^ 1), out1, 53) ==
        "dropped: no_match");
  for (const icmp_kind kind :
       {icmp_kind{3, 1}, icmp_kind{3, 3}, icmp_kind{3, 13}, icmp_kind{11, 0}, icmp_kind{11, 1}, icmp_kind{12, 0}}) {
    CHECK(nat_error(t, out3, box, kind, box, port, out1, 53) ==
          "icmp 203.0.113.3 > 10.0.0.1 type " + std::to_string(kind.type) + " [udp 10.0.0.1:5000 > 198.51.100.1:53]");
    CHECK(load_u8(t.sent.data() + 21) == kind.code);
  }
  // About a query.
  const std::uint16_t id = nat_id_of(t.ping(in1, out1, 7));
  CHECK(t.send(0, ipv4_header{.source = out3, .destination = box}, icmp_header{.kind = {11, 0}},
               ipv4_header{.source = box, .destination = out1},
               icmp_header{.kind = icmp::echo_request, .identifier = id}) ==
        "icmp 203.0.113.3 > 10.0.0.1 type 11 [icmp 10.0.0.1 > 198.51.100.1 type 8 id 7]");
}

TEST_CASE("RFC 5508 REQ-5: an error from inside: the quoted packet is restored, the source is the address outside") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  CHECK(t.udp(out1, 53, box, 5000) == "udp 198.51.100.1:53 > 10.0.0.1:5000");
  // From the host itself, and from a router on the way to it: neither shall be seen outside.
  for (const ipv4_address from : {in1, ipv4_address{10, 9, 9, 9}})
    CHECK(nat_error(t, from, out1, icmp::unreachable::port, out1, 53, in1, 5000) ==
          "icmp 192.0.2.254 > 198.51.100.1 type 3 [udp 198.51.100.1:53 > 192.0.2.254:5000]");
  CHECK(nat_error(t, in1, out1, icmp::unreachable::port, out1, 53, in1, 5001) == "dropped: no_match");
}

TEST_CASE("RFC 5508 REQ-6: an error neither keeps alive nor ends what it is about") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.ping(in1, out1, 7) == "icmp 192.0.2.254 > 198.51.100.1 type 8 id 7");
  t.now = t.now + seconds(40);
  CHECK(t.send(0, ipv4_header{.source = out3, .destination = box}, icmp_header{.kind = {3, 1}},
               ipv4_header{.source = box, .destination = out1},
               icmp_header{.kind = icmp::echo_request, .identifier = 7}) ==
        "icmp 203.0.113.3 > 10.0.0.1 type 3 [icmp 10.0.0.1 > 198.51.100.1 type 8 id 7]");
  t.now = t.now + seconds(19);
  CHECK(t.table->size() == 1);
  t.table->expire(t.now);
  CHECK(t.table->size() == 1);
  t.now = t.now + seconds(2);
  t.table->expire(t.now);
  CHECK(t.table->size() == 0);
}

TEST_CASE("RFC 5508 REQ-7: errors go through hairpins") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in2, 6000, out1, 53) == "udp 192.0.2.254:6000 > 198.51.100.1:53");
  CHECK(t.udp(in1, 5000, box, 6000) == "udp 192.0.2.254:5000 > 10.0.0.2:6000");
  // What 10.0.0.2 got came from 192.0.2.254:5000; 10.0.0.1 shall see its own packet quoted.
  CHECK(nat_error(t, in2, box, icmp::unreachable::port, box, 5000, in2, 6000) ==
        "icmp 192.0.2.254 > 10.0.0.1 type 3 [udp 10.0.0.1:5000 > 192.0.2.254:6000]");
}

// The RFC says SHOULD about telling the sender, by an unreachable of code 13. The stage only drops: `reject` behind a
// branch of one's own can tell.
TEST_CASE("RFC 5508 REQ-8: what nothing is free for is dropped and counted") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().ports(7, 7));
  CHECK(t.ping(in1, out1, 5) == "icmp 192.0.2.254 > 198.51.100.1 type 8 id 7");
  CHECK(t.ping(in2, out1, 5) == "dropped: nat_exhausted");
  CHECK(t.nat->statistics().exhausted == 1);
}

TEST_CASE("RFC 5508 REQ-9: a policy may drop ICMP at any place") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  t.rule(prerouting, redirect_here(), [](const packet&) { return false; });
  t.refuse = [](const packet& p) { return p.iif() == 1 && p.layers().has(protocol::icmp); };
  CHECK(nat_error(t, in1, out1, icmp::unreachable::port, out1, 53, in1, 5000) == "dropped: policy");
  CHECK(nat_error(t, out1, box, icmp::unreachable::port, box, 5000, out1, 53) ==
        "icmp 198.51.100.1 > 10.0.0.1 type 3 [udp 10.0.0.1:5000 > 198.51.100.1:53]");
}

TEST_CASE("RFC 5508 REQ-10: unreachable, time exceeded and parameter problem pass; echo both ways") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  for (const std::uint8_t type : {std::uint8_t{3}, std::uint8_t{11}, std::uint8_t{12}})
    CHECK(nat_error(t, out1, box, {type, 0}, box, 5000, out1, 53).substr(0, 30) == "icmp 198.51.100.1 > 10.0.0.1 t");
  // A redirect would name a gateway that is not for the host inside (the kernel refuses it too).
  CHECK(nat_error(t, out1, box, {5, 1}, box, 5000, out1, 53) == "dropped: nat_untranslatable");
}

TEST_CASE("RFC 5508 REQ-11: other ICMP messages are left to the policy, which sees them as invalid or untranslated") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.send(8, ipv4_header{.source = in1, .destination = out1}, icmp_header{.kind = {40, 0}}) ==
        "dropped: no_match");
  CHECK(t.send(8, ipv4_header{.source = out1, .destination = box}, icmp_header{.kind = {9, 0}}) == "dropped: no_match");
}

TEST_CASE("errors about IPv6 connections are translated") {
  nat_rig t(nat_eim());
  t.outbound(masquerade().random());
  const std::uint16_t port = nat_rig::port_of(t.udp6(in6, 5000, out6, 53));
  CHECK(t.udp6(out6, 53, box6, port) == "udp [2001:db8:1::1]:53 > [fd00::1]:5000");
  const auto about = [&](const ipv6_address& from, const ipv6_address& to, const ipv6_address& qfrom,
                         std::uint16_t sport, const ipv6_address& qto, std::uint16_t dport) {
    return t.send(0, ipv6_header{.source = from, .destination = to}, icmpv6_header{.kind = icmpv6::unreachable::port},
                  ipv6_header{.source = qfrom, .destination = qto},
                  udp_header{.source_port = sport, .destination_port = dport});
  };
  CHECK(about(out6, box6, box6, port, out6, 53) ==
        "icmp 2001:db8:1::1 > fd00::1 type 1 [udp [fd00::1]:5000 > [2001:db8:1::1]:53]");
  CHECK(about(in6, out6, out6, 53, in6, 5000) ==
        "icmp 2001:db8::254 > 2001:db8:1::1 type 1 [udp [2001:db8:1::1]:53 > "
        "[2001:db8::254]:" +
            std::to_string(port) + "]");
  CHECK(t.send(8, ipv6_header{.source = in6, .destination = out6},
               icmpv6_header{.kind = icmpv6::echo_request, .identifier = 3})
            .substr(0, 45) == "icmp 2001:db8::254 > 2001:db8:1::1 type 128 i");
}

TEST_CASE("errors that are cut off are dropped, wherever they are cut") {
  nat_rig t(nat_eim());
  t.outbound(masquerade());
  CHECK(t.udp(in1, 5000, out1, 53) == "udp 192.0.2.254:5000 > 198.51.100.1:53");
  for (std::size_t n = 0; n < 28; ++n) {
    std::vector<std::byte> b(20 + 8 + 28);
    REQUIRE(write_headers({b.data(), b.size()}, ipv4_header{.source = out1, .destination = box},
                          icmp_header{.kind = icmp::unreachable::port}, ipv4_header{.source = box, .destination = out1},
                          udp_header{.source_port = 5000, .destination_port = 53}));
    b.resize(20 + 8 + n);
    store_be16(b.data() + 2, static_cast<std::uint16_t>(b.size()));
    store_be16(b.data() + 10, 0);
    store_be16(b.data() + 10, checksum({b.data(), 20}));
    store_be16(b.data() + 22, 0);
    store_be16(b.data() + 22, checksum({b.data() + 20, b.size() - 20}));
    const std::string out = t.send_bytes(b);
    // With four bytes of the quoted transport header there is all that is needed.
    if (n >= 24) CHECK(out == "icmp 198.51.100.1 > 10.0.0.1 type 3 [udp 10.0.0.1:5000 > 198.51.100.1:53]");
    else CHECK(out == "dropped: no_match");
  }
}
