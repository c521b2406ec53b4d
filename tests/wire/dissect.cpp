// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <initializer_list>
#include <vector>

#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>

using namespace runnel;

namespace {

using packet_bytes = std::vector<std::byte>;

// Octets in hexadecimal, spaces and `|` between headers ignored.
packet_bytes hex(const char* text) {
  packet_bytes out;
  int high = -1;
  for (; *text != '\0'; ++text) {
    const int digit = *text >= '0' && *text <= '9' ? *text - '0' : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10 : -1;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<std::byte>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}
packet_bytes operator+(packet_bytes a, const packet_bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
packet_bytes changed(packet_bytes p, std::size_t at, unsigned value) {
  p.at(at) = static_cast<std::byte>(value);
  return p;
}

layers carefully(const std::byte* p, std::size_t size, link_type link, const dissect_options& o) {
  return detail::unpack_layers(detail::dissection{p, size, o.head_offset, o.chained, o.missing}.run(link));
}

// Dissects a copy that ends exactly where its memory ends, so that a sanitizer sees every read behind it.
layers look(const packet_bytes& p, link_type link = link_type::ethernet, const dissect_options& options = {}) {
  std::byte* exact = new std::byte[p.size()];
  copy_bytes(exact, p.data(), p.size());
  const layers found = dissect(bytes{exact, p.size()}, link, options);
  // The short way is only a shorter way.
  CHECK(found == carefully(exact, p.size(), link, options));
  delete[] exact;
  return found;
}
drop_reason fault(const packet_bytes& p, link_type link = link_type::ethernet) {
  const layers found = look(p, link);
  CHECK(found.has(protocol::parsed) == (found.fault == drop_reason::none));
  return found.fault;
}
constexpr layers expect(std::initializer_list<protocol> bits, unsigned network, unsigned transport,
                        link_type link = link_type::ethernet) {
  layers l{
      .protocols = static_cast<std::uint16_t>(static_cast<unsigned>(link) | static_cast<unsigned>(protocol::parsed)),
      .network = static_cast<std::uint16_t>(network),
      .transport = static_cast<std::uint16_t>(transport),
      .link = static_cast<std::uint8_t>(network)};
  for (protocol p : bits) l.protocols = static_cast<std::uint16_t>(l.protocols | static_cast<unsigned>(p));
  if (transport != 0)
    l.protocols = static_cast<std::uint16_t>(l.protocols | static_cast<unsigned>(protocol::transport));
  return l;
}

packet_bytes in_ether(const char* type) { return hex("020000000002 020000000001") + hex(type); }
const packet_bytes udp_ = hex("1388 0035 000c 0000 61626364");
const packet_bytes tcp_ = hex("1388 0050 00000001 00000000 5002 ffff 0000 0000");
const packet_bytes icmp_ = hex("0800 0000 0001 0001");

packet_bytes in_ipv4(unsigned protocol_number, const packet_bytes& payload, unsigned fragment = 0,
                     const packet_bytes& options = {}) {
  packet_bytes h = hex("45000000 00010000 40000000 0a000001 0a000002") + options;
  h[0] = static_cast<std::byte>(0x40 | h.size() / 4);
  store_be16(&h[2], static_cast<std::uint16_t>(h.size() + payload.size()));
  store_be16(&h[6], static_cast<std::uint16_t>(fragment));
  h[9] = static_cast<std::byte>(protocol_number);
  return h + payload;
}
packet_bytes in_ipv6(unsigned next, const packet_bytes& payload) {
  packet_bytes h = hex("60000000 00000040 20010db8000000000000000000000001 20010db8000000000000000000000002");
  store_be16(&h[4], static_cast<std::uint16_t>(payload.size()));
  h[6] = static_cast<std::byte>(next);
  return h + payload;
}

}  // namespace

TEST_CASE("TCP and UDP over IPv4 and IPv6 in Ethernet are found, with or without padding") {
  for (const char* padding : {"", "00", "000000000000000000000000000000000000"}) {
    CHECK(look(in_ether("0800") + in_ipv4(17, udp_) + hex(padding)) == expect({protocol::ipv4, protocol::udp}, 14, 34));
    CHECK(look(in_ether("0800") + in_ipv4(6, tcp_) + hex(padding)) == expect({protocol::ipv4, protocol::tcp}, 14, 34));
    CHECK(look(in_ether("86dd") + in_ipv6(17, udp_) + hex(padding)) == expect({protocol::ipv6, protocol::udp}, 14, 54));
    CHECK(look(in_ether("86dd") + in_ipv6(6, tcp_) + hex(padding)) == expect({protocol::ipv6, protocol::tcp}, 14, 54));
    CHECK(look(in_ether("8100") + hex("0005 0800") + in_ipv4(17, udp_) + hex(padding)) ==
          expect({protocol::vlan, protocol::ipv4, protocol::udp}, 18, 38));
    CHECK(look(in_ether("8100") + hex("0005 86dd") + in_ipv6(6, tcp_) + hex(padding)) ==
          expect({protocol::vlan, protocol::ipv6, protocol::tcp}, 18, 58));
  }
}

TEST_CASE("a UDP datagram may be shorter than its IP payload, but not longer") {
  CHECK(fault(in_ether("0800") + in_ipv4(17, udp_ + hex("00"))) == drop_reason::none);
  CHECK(fault(in_ether("0800") + in_ipv4(17, changed(udp_, 5, 13))) == drop_reason::udp_length);
  CHECK(fault(in_ether("0800") + in_ipv4(17, changed(udp_, 5, 7))) == drop_reason::udp_length);
  CHECK(fault(in_ether("0800") + in_ipv4(17, hex("1388 0035 0007 00"))) == drop_reason::udp_too_short);
  CHECK(fault(in_ether("86dd") + in_ipv6(17, changed(udp_, 5, 13))) == drop_reason::udp_length);
  CHECK(fault(in_ether("86dd") + in_ipv6(17, {})) == drop_reason::udp_too_short);
}

TEST_CASE("a TCP header must hold its data offset and end within the segment") {
  const packet_bytes options = changed(tcp_, 12, 0x60) + hex("020405b4");
  CHECK(look(in_ether("0800") + in_ipv4(6, options)) == expect({protocol::ipv4, protocol::tcp}, 14, 34));
  CHECK(fault(in_ether("0800") + in_ipv4(6, changed(tcp_, 12, 0x60))) == drop_reason::tcp_data_offset);
  CHECK(fault(in_ether("0800") + in_ipv4(6, changed(tcp_, 12, 0x60)) + hex("00000000")) ==
        drop_reason::tcp_data_offset);
  CHECK(fault(in_ether("0800") + in_ipv4(6, changed(tcp_, 12, 0x4f))) == drop_reason::tcp_data_offset);
  packet_bytes cut = tcp_;
  cut.pop_back();
  CHECK(fault(in_ether("0800") + in_ipv4(6, cut)) == drop_reason::tcp_too_short);
  CHECK(fault(in_ether("86dd") + in_ipv6(6, cut)) == drop_reason::tcp_too_short);
  CHECK(fault(in_ether("0800") + in_ipv4(6, hex("0102030405060708"))) == drop_reason::tcp_too_short);
}

TEST_CASE("ICMP is ICMP over IPv4 only, and ICMPv6 over IPv6 only") {
  CHECK(look(in_ether("0800") + in_ipv4(1, icmp_)) == expect({protocol::ipv4, protocol::icmp}, 14, 34));
  CHECK(look(in_ether("86dd") + in_ipv6(58, icmp_)) == expect({protocol::ipv6, protocol::icmpv6}, 14, 54));
  CHECK(look(in_ether("0800") + in_ipv4(58, icmp_)) == expect({protocol::ipv4}, 14, 34));
  CHECK(look(in_ether("86dd") + in_ipv6(1, icmp_)) == expect({protocol::ipv6}, 14, 54));
  CHECK(fault(in_ether("0800") + in_ipv4(1, hex("08000000000100"))) == drop_reason::icmp_too_short);
  CHECK(fault(in_ether("86dd") + in_ipv6(58, hex("80000000000100"))) == drop_reason::icmp_too_short);
}

TEST_CASE("a payload that is no known transport still has its place") {
  CHECK(look(in_ether("0800") + in_ipv4(132, {})) == expect({protocol::ipv4}, 14, 34));
  CHECK(look(in_ether("86dd") + in_ipv6(59, {})) == expect({protocol::ipv6}, 14, 54));
  CHECK(look(in_ether("0800") + in_ipv4(4, in_ipv4(17, udp_))) == expect({protocol::ipv4}, 14, 34));
}

TEST_CASE("GRE is found with its optional fields; those of RFC 1701 and cut off ones are refused; PPTP passes by") {
  const auto gre = [](const char* text) { return in_ether("0800") + in_ipv4(47, hex(text)); };
  CHECK(look(gre("0000 0800")) == expect({protocol::ipv4, protocol::gre}, 14, 34));
  CHECK(look(gre("b000 0800 00000000 00000001 00000002")) == expect({protocol::ipv4, protocol::gre}, 14, 34));
  CHECK(fault(gre("b000 0800 00000000 00000001 000000")) == drop_reason::gre_malformed);
  CHECK(fault(gre("0000 08")) == drop_reason::gre_malformed);
  for (const char* routed : {"4000 0800 00000000", "0800 0800 00000000", "0400 0800 00000000"})
    CHECK(fault(gre(routed)) == drop_reason::gre_malformed);
  CHECK(look(gre("3001 880b 0000 0001 00000001")) == expect({protocol::ipv4}, 14, 34));
}

TEST_CASE("IPv4 options are stepped over") {
  CHECK(look(in_ether("0800") + in_ipv4(17, udp_, 0, hex("94040000"))) ==
        expect({protocol::ipv4, protocol::udp}, 14, 38));
  CHECK(look(in_ether("0800") + in_ipv4(6, tcp_, 0, packet_bytes(40, std::byte{1}))) ==
        expect({protocol::ipv4, protocol::tcp}, 14, 74));
}

TEST_CASE("a wrong IPv4 header has the fault that its view would tell") {
  const packet_bytes good = in_ipv4(17, udp_);
  std::vector<packet_bytes> wrong{
      {}, packet_bytes(good.begin(), good.begin() + 19), packet_bytes(good.begin(), good.begin() + 20)};
  for (unsigned value = 0; value < 256; ++value) wrong.push_back(changed(good, 0, value));
  for (unsigned value = 0; value < 256; ++value) wrong.push_back(changed(good, 3, value));
  wrong.push_back(changed(good, 2, 0xff));
  unsigned faults = 0;
  for (const packet_bytes& w : wrong) {
    const auto view = ipv4::parse(w);
    const layers found = look(in_ether("0800") + w);
    CHECK(found.network == 14);
    CHECK(found.has(protocol::ipv4) == view.has_value());
    if (view) continue;
    ++faults;
    CHECK(found.fault == view.error());
    CHECK(look(w, link_type::raw_ip).has(protocol::parsed) == false);
  }
  CHECK(faults > 400);
}

TEST_CASE("IPv4 fragments: the first has a transport header, the later ones have none") {
  const unsigned more = 0x2000;
  CHECK(look(in_ether("0800") + in_ipv4(17, changed(udp_, 4, 0x10), more)) ==
        expect({protocol::ipv4, protocol::udp, protocol::fragment}, 14, 34));
  CHECK(look(in_ether("0800") + in_ipv4(17, udp_, more | 1)) == expect({protocol::ipv4, protocol::fragment}, 14, 0));
  CHECK(look(in_ether("0800") + in_ipv4(17, hex("01"), 1)) == expect({protocol::ipv4, protocol::fragment}, 14, 0));
  CHECK(look(in_ether("0800") + in_ipv4(17, udp_, 0x4000)) == expect({protocol::ipv4, protocol::udp}, 14, 34));
  SUBCASE("a first one that ends within its transport header is refused") {
    CHECK(fault(in_ether("0800") + in_ipv4(6, packet_bytes(tcp_.begin(), tcp_.begin() + 16), more)) ==
          drop_reason::ip_fragment);
    CHECK(fault(in_ether("0800") + in_ipv4(6, changed(tcp_, 12, 0xf0), more)) == drop_reason::ip_fragment);
    CHECK(fault(in_ether("0800") + in_ipv4(17, hex("13880035"), more)) == drop_reason::ip_fragment);
    CHECK(fault(in_ether("0800") + in_ipv4(1, hex("08000000"), more)) == drop_reason::ip_fragment);
    CHECK(fault(in_ether("0800") + in_ipv4(17, changed(udp_, 5, 7), more)) == drop_reason::udp_length);
  }
  SUBCASE("one that would end behind byte 65535 is refused") {
    CHECK(fault(in_ether("0800") + in_ipv4(17, udp_, 0x1fff)) == drop_reason::ip_fragment);
    CHECK(fault(in_ether("0800") + in_ipv4(17, packet_bytes(11), 8188)) == drop_reason::none);
    CHECK(fault(in_ether("0800") + in_ipv4(17, packet_bytes(12), 8188)) == drop_reason::ip_fragment);
  }
}

TEST_CASE("IPv6 extension headers are stepped over") {
  const packet_bytes hop = hex("3c00 0104 00000000"), destination = hex("2b00 0104 00000000"),
                     routing = hex("3302 0400 00000000 0000000000000000 0000000000000000"),
                     authentication = hex("1104 0000 00000001 00000001 000000000000000000000000");
  CHECK(look(in_ether("86dd") + in_ipv6(0, hop + destination + routing + authentication + udp_)) ==
        expect({protocol::ipv6, protocol::udp}, 14, 14 + 40 + 8 + 8 + 24 + 24));
  CHECK(look(in_ether("86dd") + in_ipv6(0, hex("3a00 0502 0000 0100") + icmp_)) ==
        expect({protocol::ipv6, protocol::icmpv6}, 14, 62));
  CHECK(look(in_ether("86dd") + in_ipv6(60, hex("3b00 0104 00000000"))) == expect({protocol::ipv6}, 14, 62));

  SUBCASE("but not when they are cut off, or lie about their length") {
    CHECK(fault(in_ether("86dd") + in_ipv6(0, hex("3a00 0502 0000 01"))) == drop_reason::ipv6_extension);
    CHECK(fault(in_ether("86dd") + in_ipv6(43, hex("1101 0104 00000000 00000000000000"))) ==
          drop_reason::ipv6_extension);
    CHECK(fault(in_ether("86dd") + in_ipv6(60, hex("11ff 0104 00000000") + udp_)) == drop_reason::ipv6_extension);
    CHECK(fault(in_ether("86dd") + in_ipv6(51, hex("1100 0000 00000001") + udp_)) == drop_reason::ipv6_extension);
    CHECK(fault(in_ether("86dd") + in_ipv6(44, hex("1100 0000"))) == drop_reason::ipv6_extension);
  }
  SUBCASE("nor hop-by-hop options that do not come first, nor more than eight headers") {
    CHECK(fault(in_ether("86dd") + in_ipv6(60, hex("0000 0104 00000000 1100 0104 00000000") + udp_)) ==
          drop_reason::ipv6_extension);
    packet_bytes chain;
    for (int i = 0; i < 7; ++i) chain = chain + hex("3c00 0104 00000000");
    CHECK(fault(in_ether("86dd") + in_ipv6(60, chain + hex("1100 0104 00000000") + udp_)) == drop_reason::none);
    chain = chain + hex("3c00 0104 00000000");
    CHECK(fault(in_ether("86dd") + in_ipv6(60, chain + hex("1100 0104 00000000") + udp_)) ==
          drop_reason::ipv6_extension);
  }
}

TEST_CASE("IPv6 fragments: first, later, atomic, and those that cannot be") {
  CHECK(look(in_ether("86dd") + in_ipv6(44, hex("1100 0001 00000007") + udp_)) ==
        expect({protocol::ipv6, protocol::udp, protocol::fragment}, 14, 62));
  CHECK(look(in_ether("86dd") + in_ipv6(44, hex("1100 0000 00000007") + udp_)) ==
        expect({protocol::ipv6, protocol::udp, protocol::fragment}, 14, 62));
  CHECK(look(in_ether("86dd") + in_ipv6(44, hex("1100 0009 00000007") + udp_)) ==
        expect({protocol::ipv6, protocol::fragment}, 14, 0));
  CHECK(fault(in_ether("86dd") + in_ipv6(44, hex("1100 0001 00000007 1388"))) == drop_reason::ip_fragment);
  CHECK(fault(in_ether("86dd") + in_ipv6(44, hex("3c00 0001 00000007 1100"))) == drop_reason::ip_fragment);
  CHECK(fault(in_ether("86dd") + in_ipv6(44, hex("1100 fff8 00000007 0102030405060708"))) == drop_reason::ip_fragment);
  CHECK(fault(in_ether("86dd") + in_ipv6(44, hex("1100 fff8 00000007 01020304050607"))) == drop_reason::none);
  CHECK(fault(in_ether("86dd") + in_ipv6(44, hex("2c00 0001 00000007 1100 0001 00000007") + udp_)) ==
        drop_reason::ipv6_extension);
}

TEST_CASE("a wrong IPv6 header is refused with the cause") {
  const packet_bytes good = in_ipv6(17, udp_);
  CHECK(fault(in_ether("86dd") + packet_bytes(good.begin(), good.begin() + 39)) == drop_reason::ip_too_short);
  CHECK(fault(in_ether("86dd") + changed(good, 0, 0x45)) == drop_reason::ip_version);
  CHECK(fault(in_ether("86dd") + changed(good, 5, 13)) == drop_reason::ip_total_length);
  CHECK(fault(in_ether("86dd") + changed(good, 4, 0xff)) == drop_reason::ip_total_length);
  CHECK(fault(in_ether("86dd") + in_ipv6(0, {})) == drop_reason::ip_total_length);  // as jumbograms look
  CHECK(fault(in_ether("0800") + good) == drop_reason::ip_version);
  CHECK(fault(in_ether("86dd") + in_ipv4(17, udp_ + packet_bytes(20))) == drop_reason::ip_version);
}

TEST_CASE("up to eight VLAN tags are stepped over, and not one more") {
  packet_bytes tags = in_ether("88a8") + hex("0064");
  CHECK(look(tags + hex("0800") + in_ipv4(6, tcp_)) == expect({protocol::vlan, protocol::ipv4, protocol::tcp}, 18, 38));
  tags = tags + hex("8100 0005");
  CHECK(look(tags + hex("86dd") + in_ipv6(17, udp_)) ==
        expect({protocol::vlan, protocol::ipv6, protocol::udp}, 22, 62));
  for (int i = 2; i < 8; ++i) tags = tags + hex("8100 0006");
  CHECK(look(tags + hex("0806") + hex("0001 0800 0604 0001") + packet_bytes(20)) ==
        expect({protocol::vlan, protocol::arp}, 46, 0));
  CHECK(fault(tags + hex("8100 0007") + hex("0800") + in_ipv4(6, tcp_)) == drop_reason::vlan_malformed);
  CHECK(fault(in_ether("8100") + hex("0005 08")) == drop_reason::vlan_malformed);
  CHECK(fault(in_ether("8100") + hex("0005 0800")) == drop_reason::ip_too_short);
}

TEST_CASE("802.3 frames with SNAP carry the same protocols; other LLC payloads are left alone") {
  const auto framed = [](const packet_bytes& payload) {
    packet_bytes e = in_ether("0000");
    store_be16(&e[12], static_cast<std::uint16_t>(payload.size()));
    return e + payload;
  };
  const packet_bytes snap = hex("aaaa03 000000 0800") + in_ipv4(17, udp_);
  CHECK(look(framed(snap)) == expect({protocol::ipv4, protocol::udp}, 22, 42));
  CHECK(look(framed(snap) + hex("0000")) == expect({protocol::ipv4, protocol::udp}, 22, 42));
  CHECK(look(framed(hex("aaaa03 0000f8 86dd") + in_ipv6(6, tcp_))) == expect({protocol::ipv6, protocol::tcp}, 22, 62));
  CHECK(look(framed(hex("aaaa03 00000c 2000") + packet_bytes(20))) == expect({}, 14, 0));  // CDP
  CHECK(look(framed(hex("424203") + packet_bytes(35))) == expect({}, 14, 0));              // spanning tree
  CHECK(look(in_ether("8100") + hex("0005 0026 424203") + packet_bytes(35)) == expect({protocol::vlan}, 18, 0));
  SUBCASE("and lengths that cannot be are refused") {
    CHECK(fault(framed(hex("4242"))) == drop_reason::llc_malformed);
    CHECK(fault(framed(hex("424200"))) == drop_reason::llc_malformed);
    CHECK(fault(framed(hex("aaaa03 000000 08"))) == drop_reason::llc_malformed);
    CHECK(fault(changed(framed(snap), 13, static_cast<unsigned>(snap.size() + 1))) == drop_reason::llc_malformed);
    CHECK(fault(in_ether("05dd") + packet_bytes(1501)) == drop_reason::llc_malformed);
    CHECK(fault(changed(framed(snap), 13, static_cast<unsigned>(snap.size() - 1))) == drop_reason::ip_total_length);
  }
}

TEST_CASE("an MPLS stack ends at its bottom, and IP behind it is told by its version") {
  CHECK(look(in_ether("8847") + hex("00064040 00065140") + in_ipv4(17, udp_)) ==
        expect({protocol::mpls, protocol::ipv4, protocol::udp}, 22, 42));
  CHECK(look(in_ether("8848") + hex("00064140") + in_ipv6(17, udp_)) ==
        expect({protocol::mpls, protocol::ipv6, protocol::udp}, 18, 58));
  CHECK(look(in_ether("8847") + hex("00064140 00000000 02000000")) == expect({protocol::mpls}, 18, 0));
  CHECK(look(in_ether("8847") + hex("00064140")) == expect({protocol::mpls}, 18, 0));
  CHECK(fault(in_ether("8847") + hex("00064040")) == drop_reason::mpls_malformed);
  CHECK(fault(in_ether("8847") + hex("000640")) == drop_reason::mpls_malformed);
  CHECK(fault(in_ether("8847") + hex("00064140 45")) == drop_reason::ip_too_short);
  packet_bytes stack;
  for (int i = 0; i < 15; ++i) stack = stack + hex("00064040");
  CHECK(look(in_ether("8847") + stack + hex("00064140") + in_ipv4(6, tcp_)) ==
        expect({protocol::mpls, protocol::ipv4, protocol::tcp}, 14 + 64, 14 + 64 + 20));
  CHECK(fault(in_ether("8847") + stack + hex("00064040 00064140") + in_ipv4(6, tcp_)) == drop_reason::mpls_malformed);
}

TEST_CASE("ARP is found when it is for Ethernet and IPv4, and complete") {
  const packet_bytes arp = hex("0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002");
  CHECK(look(in_ether("0806") + arp) == expect({protocol::arp}, 14, 0));
  CHECK(look(in_ether("0806") + arp + packet_bytes(18)) == expect({protocol::arp}, 14, 0));
  for (std::size_t at : {0u, 1u, 2u, 3u, 4u, 5u})
    CHECK(fault(in_ether("0806") + changed(arp, at, 9)) == drop_reason::arp_malformed);
  CHECK(fault(in_ether("0806") + packet_bytes(arp.begin(), arp.end() - 1)) == drop_reason::arp_malformed);
}

TEST_CASE("frames of an unknown EtherType are left alone") {
  CHECK(look(in_ether("88cc")) == expect({}, 14, 0));
  CHECK(look(in_ether("88cc") + packet_bytes(46)) == expect({}, 14, 0));
  for (std::size_t n = 0; n < 14; ++n) CHECK(fault(packet_bytes(n)) == drop_reason::link_too_short);
}

TEST_CASE("raw IP is told by its version") {
  const auto link = link_type::raw_ip;
  CHECK(look(in_ipv4(17, udp_), link) == expect({protocol::ipv4, protocol::udp}, 0, 20, link));
  CHECK(look(in_ipv6(6, tcp_), link) == expect({protocol::ipv6, protocol::tcp}, 0, 40, link));
  CHECK(fault({}, link) == drop_reason::ip_too_short);
  CHECK(fault(hex("50"), link) == drop_reason::ip_version);
  CHECK(fault(hex("45"), link) == drop_reason::ip_too_short);
}

TEST_CASE("loopback headers of all systems are understood, in either byte order") {
  const auto link = link_type::null_loop;
  CHECK(look(hex("00000002") + in_ipv4(17, udp_), link) == expect({protocol::ipv4, protocol::udp}, 4, 24, link));
  CHECK(look(hex("02000000") + in_ipv4(17, udp_), link) == expect({protocol::ipv4, protocol::udp}, 4, 24, link));
  for (const char* family :
       {"0000000a", "0a000000", "00000018", "18000000", "0000001c", "1c000000", "0000001e", "1e000000"})
    CHECK(look(hex(family) + in_ipv6(6, tcp_), link) == expect({protocol::ipv6, protocol::tcp}, 4, 44, link));
  CHECK(look(hex("00000007 0102"), link) == expect({}, 4, 0, link));
  CHECK(fault(hex("000000"), link) == drop_reason::link_too_short);
  CHECK(fault(hex("00000002") + in_ipv6(6, tcp_), link) == drop_reason::ip_version);
}

TEST_CASE("Linux cooked captures of both versions are understood") {
  const auto one = link_type::linux_sll, two = link_type::linux_sll2;
  const packet_bytes sll = hex("0000 0001 0006 0200000000010000"),
                     sll2 = hex("0000 00000003 0001 00 06 0200000000010000");
  CHECK(look(sll + hex("0800") + in_ipv4(17, udp_), one) == expect({protocol::ipv4, protocol::udp}, 16, 36, one));
  CHECK(look(sll + hex("8100 0005 86dd") + in_ipv6(6, tcp_), one) ==
        expect({protocol::vlan, protocol::ipv6, protocol::tcp}, 20, 60, one));
  CHECK(look(hex("0800") + sll2 + in_ipv4(17, udp_), two) == expect({protocol::ipv4, protocol::udp}, 20, 40, two));
  CHECK(look(sll + hex("0004 424203"), one) == expect({}, 16, 0, one));
  CHECK(fault(sll + hex("0004 4242"), one) == drop_reason::llc_malformed);
  CHECK(look(sll + hex("0001 ffff"), one) == expect({}, 16, 0, one));
  CHECK(look(hex("0004 0338 0000 0000000000000000 0800"), one) == expect({}, 16, 0, one));  // netlink
  CHECK(fault(sll + hex("08"), one) == drop_reason::link_too_short);
  CHECK(fault(packet_bytes(19), two) == drop_reason::link_too_short);
  CHECK(look(hex("0102"), link_type::unknown) == expect({}, 0, 0, link_type::unknown));
}

TEST_CASE("a header that a capture cut off is the capture's fault, not the packet's") {
  const packet_bytes whole =
      in_ether("8100") + hex("0005 0800") + in_ipv4(6, changed(tcp_, 12, 0x60) + hex("020405b4"), 0, hex("94040000"));
  const std::size_t headers = whole.size();
  for (std::size_t kept = 0; kept < headers; ++kept) {
    const packet_bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(kept));
    const layers found = look(cut, link_type::ethernet, {.missing = headers - kept});
    CHECK(found.fault == drop_reason::truncated_capture);
    CHECK(look(cut, link_type::ethernet, {.chained = headers - kept}).fault != drop_reason::truncated_capture);
  }
  SUBCASE("and payload that was cut off is no fault at all") {
    const packet_bytes long_one = in_ether("0800") + in_ipv4(17, changed(udp_, 5, 108) + packet_bytes(96));
    const packet_bytes cut(long_one.begin(), long_one.begin() + 42);
    CHECK(look(cut, link_type::ethernet, {.missing = 100}) == expect({protocol::ipv4, protocol::udp}, 14, 34));
    CHECK(look(cut, link_type::ethernet, {.chained = 100}) == expect({protocol::ipv4, protocol::udp}, 14, 34));
    CHECK(look(cut, link_type::ethernet, {.missing = 99}).fault == drop_reason::ip_total_length);
  }
  SUBCASE("but a lie within it stays a lie") {
    const packet_bytes lie = in_ether("0800") + in_ipv4(6, hex("0102"));
    CHECK(look(lie, link_type::ethernet, {.missing = 40}).fault == drop_reason::tcp_too_short);
  }
}

TEST_CASE("offsets count from the head of the buffer, as far as 16 bits go") {
  const packet_bytes p = in_ether("0800") + in_ipv4(17, udp_);
  for (std::size_t head : {1u, 256u, 65535u - 54u, 65535u - 53u, 65535u - 34u}) {
    const layers found = look(p, link_type::ethernet, {.head_offset = head});
    CHECK(found.fault == drop_reason::none);
    CHECK(found.network == head + 14);
    CHECK(found.transport == head + 34);
    CHECK(found.link == 14);
  }
  CHECK(look(p, link_type::ethernet, {.head_offset = 65535 - 33}).fault == drop_reason::too_big);
  CHECK(look(p, link_type::ethernet, {.head_offset = 70000}).fault == drop_reason::too_big);
}

TEST_CASE("a packet is dissected in constant evaluation") {
  static_assert([] {
    std::byte b[60]{};
    return write_headers(b, ethernet_header{}, vlan_header{.id = 5}, ipv4_header{},
                         udp_header{.destination_port = 53}) &&
           dissect(b) == expect({protocol::vlan, protocol::ipv4, protocol::udp}, 18, 38);
  }());
}

TEST_CASE("whatever the bytes are, what is found lies inside, and views over it agree") {
  std::uint64_t state = 0x9e3779b97f4a7c15;
  const auto random = [&state] {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<std::size_t>(state);
  };
  const packet_bytes seeds[] = {
      in_ether("0800") + in_ipv4(17, udp_),
      in_ether("0800") + in_ipv4(6, tcp_, 0, hex("94040000")),
      in_ether("86dd") + in_ipv6(17, udp_),
      in_ether("86dd") + in_ipv6(0, hex("2b00 0104 00000000 2c00 0104 00000000 0600 0001 00000007") + tcp_),
      in_ether("8100") + hex("0005 88a8 0006 0800") + in_ipv4(47, hex("b000 0800 00000000 00000001 00000002")),
      in_ether("8100") + hex("0005 0800") + in_ipv4(6, tcp_),
      in_ether("8100") + hex("0005 86dd") + in_ipv6(17, udp_),
      in_ether("8847") + hex("00064040 00065140") + in_ipv4(17, udp_),
      in_ether("0020") + hex("aaaa03 000000 0800") + in_ipv4(17, udp_),
      in_ether("0806") + hex("0001 0800 0604 0001") + packet_bytes(20),
      hex("00000002") + in_ipv4(17, udp_),
      hex("0000 0001 0006 0200000000010000 0800") + in_ipv4(17, udp_),
      in_ipv6(58, icmp_),
      packet_bytes(64)};
  unsigned parsed = 0, refused = 0;
  for (int round = 0; round < 60'000; ++round) {
    packet_bytes p = seeds[random() % (sizeof seeds / sizeof *seeds)];
    for (std::size_t changes = random() % 6; changes != 0; --changes) {
      std::byte& b = p[random() % p.size()];
      b = random() % 2 == 0 ? static_cast<std::byte>(random()) : b ^ static_cast<std::byte>(1u << random() % 8);
    }
    if (random() % 4 == 0) p.resize(random() % (p.size() + 20));
    const auto link = static_cast<link_type>(random() % 3 != 0 ? 0 : random() % 6);
    const dissect_options options{.head_offset = random() % 512,
                                  .chained = random() % 4 == 0 ? random() % 100 : 0,
                                  .missing = random() % 4 == 0 ? random() % 100 : 0};
    std::byte* exact = new std::byte[p.size()];
    copy_bytes(exact, p.data(), p.size());
    const layers l = dissect(bytes{exact, p.size()}, link, options);
    const bool inside = l == carefully(exact, p.size(), link, options) && l.link_kind() == link &&
                        l.network >= options.head_offset && l.network - options.head_offset <= p.size() &&
                        l.link == l.network - options.head_offset &&
                        (!l.has(protocol::transport) ||
                         (l.transport >= l.network + 20 && l.transport - options.head_offset <= p.size())) &&
                        l.has(protocol::parsed) == (l.fault == drop_reason::none);
    REQUIRE(inside);
    if (l.has(protocol::ipv4) && options.chained + options.missing == 0) {
      const auto ip = ipv4::parse(bytes{exact, p.size()}.from(l.link));
      REQUIRE(ip);
      if (l.has(protocol::udp) && !l.has(protocol::fragment)) REQUIRE(udp::parse(ip->payload()));
      if (l.has(protocol::tcp)) REQUIRE(tcp::parse(ip->payload()));
    }
    if (l.has(protocol::ipv6) && options.chained + options.missing == 0) {
      const auto ip = ipv6::parse(bytes{exact, p.size()}.from(l.link));
      REQUIRE(ip);
      const bytes payload = ip->payload().from(l.transport - l.network - 40u);
      if (l.has(protocol::udp) && !l.has(protocol::fragment)) REQUIRE(udp::parse(payload));
      if (l.has(protocol::tcp)) REQUIRE(tcp::parse(payload));
    }
    ++(l.fault == drop_reason::none ? parsed : refused);
    delete[] exact;
  }
  CHECK(parsed > 10'000);
  CHECK(refused > 10'000);
}
