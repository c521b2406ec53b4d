// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/wire/arp.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/mpls.hpp>

using namespace runnel;

template <class View>
static bool prints(const View& v, const char* expected) {
  text<> line;
  print(line, v);
  return same_text(line.c_str(), expected);
}

TEST_CASE("an ARP request that is written is read back") {
  std::byte b[14 + 28]{};
  REQUIRE(write_headers(b, ethernet_header{.source = mac("02:00:00:00:00:01"), .destination = mac_broadcast},
                        arp_header{.sender_hardware = mac("02:00:00:00:00:01"),
                                   .sender_protocol = addr4("10.0.0.1"),
                                   .target_protocol = addr4("10.0.0.2")}));
  CHECK(dissect(b).has(protocol::arp));
  const auto v = mut<arp>::parse(mutable_bytes{b}.from(14));
  REQUIRE(v);
  CHECK(v->hardware_type() == 1);
  CHECK(v->protocol_type() == ethertype::ipv4);
  CHECK(v->is_request());
  CHECK(v->sender_hardware() == mac("02:00:00:00:00:01"));
  CHECK(v->sender_protocol() == addr4("10.0.0.1"));
  CHECK(v->target_hardware() == mac_address{});
  CHECK(v->target_protocol() == addr4("10.0.0.2"));
  CHECK(prints(*v, "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"));

  SUBCASE("and becomes a reply in place") {
    v->operation_code(arp_operation::reply);
    v->target_hardware(v->sender_hardware());
    v->sender_hardware(mac("02:00:00:00:00:02"));
    v->target_protocol(addr4("10.0.0.1"));
    v->sender_protocol(addr4("10.0.0.2"));
    CHECK(v->is_reply());
    CHECK(prints(*v, "ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:02, length 28"));
  }
  SUBCASE("and with an unspecified sender is a probe") {
    v->sender_protocol({});
    CHECK(v->is_probe());
    CHECK_FALSE(v->is_announcement());
    CHECK(prints(*v, "ARP, Probe 10.0.0.2, length 28"));
  }
  SUBCASE("and for the sender's own address is an announcement") {
    v->sender_protocol(addr4("10.0.0.2"));
    CHECK(v->is_announcement());
    CHECK(prints(*v, "ARP, Announcement 10.0.0.2, length 28"));
    v->operation_code(arp_operation::reply);
    CHECK(v->is_announcement());
  }
  SUBCASE("and is refused when it is cut off or of another kind") {
    CHECK(arp::parse(bytes{b}.from(15)).error() == drop_reason::arp_malformed);
    for (std::size_t at = 14; at < 20; ++at) {
      const std::byte before = b[at];
      b[at] = std::byte{9};
      CHECK(arp::parse(bytes{b}.from(14)).error() == drop_reason::arp_malformed);
      b[at] = before;
    }
    CHECK(arp::parse(bytes{b}.from(14)));
  }
}

TEST_CASE("of a stack of MPLS labels only the last one has the bottom bit") {
  std::byte b[14 + 12 + 20]{};
  REQUIRE(write_headers(b, ethernet_header{}, mpls_header{.label = 0xfffff, .traffic_class = 7, .ttl = 255},
                        mpls_header{.label = 100}, mpls_header{.label = 17, .ttl = 1}, ipv4_header{}));
  CHECK(dissect(b).has(protocol::mpls));
  CHECK(dissect(b).network == 26);
  unsigned seen = 0;
  mpls_stack s{bytes{b}.from(14)};
  for (; s; s.next()) {
    constexpr std::uint32_t labels[] = {0xfffff, 100, 17};
    CHECK(s.entry().label_value() == labels[seen]);
    CHECK(s.entry().bottom_of_stack() == (seen == 2));
    ++seen;
  }
  CHECK(seen == 3);
  CHECK_FALSE(s.malformed());
  CHECK(ipv4::parse(s.payload()));
  CHECK(prints(mpls::unchecked(bytes{b}.from(14)), "MPLS (label 1048575, tc 7, ttl 255)"));
  CHECK(prints(mpls::unchecked(bytes{b}.from(22)), "MPLS (label 17, tc 0, [S], ttl 1)"));

  SUBCASE("and each setter leaves the other fields alone") {
    const auto v = mut<mpls>::parse(mutable_bytes{b}.from(14));
    REQUIRE(v);
    v->label_value(5);
    CHECK(prints(*v, "MPLS (label 5, tc 7, ttl 255)"));
    v->traffic_class(2);
    v->time_to_live(3);
    CHECK(prints(*v, "MPLS (label 5, tc 2, ttl 3)"));
  }
}

TEST_CASE("the walk down a label stack ends without a bottom too") {
  std::byte b[4 * 40]{};
  const auto walk = [&](std::size_t size) {
    unsigned entries = 0;
    mpls_stack s{bytes{b, size}};
    for (; s; s.next()) ++entries;
    CHECK(s.malformed());
    return entries;
  };
  CHECK(walk(0) == 0);
  CHECK(walk(3) == 0);
  CHECK(walk(4) == 1);
  CHECK(walk(11) == 2);
  CHECK(walk(sizeof b) == max_mpls_labels);
  CHECK(mpls::parse(bytes{b, 3}).error() == drop_reason::mpls_malformed);
}

TEST_CASE("LLC with SNAP carries an EtherType in an 802.3 frame, and padding stays outside") {
  std::byte b[60]{};
  REQUIRE(write_headers(mutable_bytes{b, 14 + 8 + 20}, ethernet_header{}, snap_header{}, ipv4_header{}));
  const auto e = ethernet::parse(b);
  REQUIRE(e);
  CHECK(e->is_802_3());
  CHECK(e->ethertype() == 28);
  const auto v = llc::parse(e->payload());
  REQUIRE(v);
  CHECK(v->is_snap());
  CHECK(v->header_size() == 8);
  CHECK(v->organisation() == 0);
  CHECK(v->protocol_identifier() == ethertype::ipv4);
  CHECK(v->payload().size() == 20);
  CHECK(prints(*v, "SNAP, oui 0x000000, ethertype IPv4 (0x0800), length 20"));
  CHECK(dissect(b).has(protocol::ipv4));
}

TEST_CASE("plain LLC frames are read, and cut off ones refused") {
  std::byte b[14 + 3 + 35]{};
  REQUIRE(write_headers(b, ethernet_header{}, llc_header{.destination_sap = 0x42, .source_sap = 0x42}));
  const auto v = llc::parse(ethernet::parse(b)->payload());
  REQUIRE(v);
  CHECK_FALSE(v->is_snap());
  CHECK(v->protocol_identifier() == 0);
  CHECK(prints(*v, "LLC, dsap 0x42, ssap 0x42, ctrl 0x03, length 35"));

  const std::byte numbered[] = {std::byte{0xe0}, std::byte{0xe0}, std::byte{0}, std::byte{0}};
  CHECK(llc::parse(numbered)->header_size() == 4);
  CHECK(llc::parse(bytes{numbered, 3}).error() == drop_reason::llc_malformed);
  CHECK(llc::parse(bytes{numbered, 2}).error() == drop_reason::llc_malformed);
  const std::byte snap[] = {std::byte{0xaa}, std::byte{0xaa}, std::byte{3}, std::byte{0},
                            std::byte{0},    std::byte{0},    std::byte{8}, std::byte{0}};
  CHECK(llc::parse(snap));
  CHECK(llc::parse(bytes{snap, 7}).error() == drop_reason::llc_malformed);
  CHECK(llc::unchecked(bytes{snap, 7}).payload().empty());
  CHECK(llc::unchecked(bytes{snap, 7}).protocol_identifier() == 0);
}

TEST_CASE("link headers are written and read in constant evaluation") {
  static_assert([] {
    std::byte b[14 + 28]{};
    return write_headers(b, ethernet_header{}, arp_header{.target_protocol = addr4("10.0.0.2")}) &&
           arp::parse(bytes{b}.from(14))->is_probe();
  }());
  static_assert([] {
    std::byte b[8]{};
    return write_headers(b, mpls_header{.label = 1}, mpls_header{.label = 2}) &&
           mpls::parse(mpls::parse(b)->payload())->bottom_of_stack();
  }());
}
