// SPDX-License-Identifier: MIT
// The addresses of this host on its links: which are used, what follows from their prefixes, which one is sent from.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>

#include <runnel/base/random.hpp>

using namespace runnel;

namespace {

std::string line_of(const interface_address& a) {
  text<80> out;
  print(out, a);
  return out.c_str();
}

}  // namespace

TEST_CASE("an interface is described by one literal") {
  constexpr ip_interface lan{.mac = mac("02:00:00:00:00:01"),
                             .mtu = 9000,
                             .addresses = {{addr4("192.0.2.1"), 24}, {addr6("2001:db8::1"), 64}}};
  static_assert(lan.addresses.size() == 2 && lan.addresses.contains(addr4("192.0.2.1")));
  CHECK(line_of(*lan.addresses.begin()) == "192.0.2.1/24");
  CHECK(line_of(lan.addresses.begin()[1]) == "2001:db8::1/64");
  interface_address asked{addr6("fe80::1"), 64};
  asked.state = address_state::tentative;
  CHECK(line_of(asked) == "fe80::1/64 tentative");
}

TEST_CASE("addresses come and go, each once, up to sixteen, and keep their order") {
  own_addresses own;
  for (std::uint8_t i = 1; i <= 16; ++i) {
    CHECK(own.add(ipv4_address{192, 0, 2, i}, 24));
    CHECK_FALSE(own.add(ipv4_address{192, 0, 2, i}, 25));
  }
  CHECK_FALSE(own.add(addr4("198.51.100.1"), 24));
  CHECK(own.remove(addr4("192.0.2.1")));
  CHECK_FALSE(own.remove(addr4("192.0.2.1")));
  CHECK_FALSE(own.add(ipv4_address{}, 24));
  CHECK_FALSE(own.add(ipv6_address{}, 64));
  CHECK(own.begin()->address == mapped(addr4("192.0.2.2")));
  CHECK_FALSE(own.contains(addr4("192.0.2.1")));
}

TEST_CASE("what is an own address, also when some have gone, against a plain answer") {
  random_generator random{4};
  const auto any_address = [&random] {
    const auto host = static_cast<std::uint32_t>(random.below(64));
    return random.below(2) != 0 ? mapped(ipv4_address{0xc000'0200u | host})
                                : ipv6_address{0x2001'0db8'0000'0000u | random.below(2), host};
  };
  for (int round = 0; round < 200; ++round) {
    own_addresses own;
    ipv6_address all[own_addresses::most];
    std::size_t n = 0;
    for (int change = 0; change < 40; ++change) {
      const ipv6_address a = any_address();
      std::size_t at = 0;
      while (at < n && all[at] != a) ++at;
      if (at < n && random.below(2) != 0) {
        REQUIRE(own.remove(a));
        all[at] = all[--n];
      } else {
        REQUIRE(own.add({a, is_mapped(a) ? 120u : 64u}) == (at == n && n < own_addresses::most));
        if (at == n && n < own_addresses::most) all[n++] = a;
      }
    }
    for (std::uint32_t host = 0; host < 64; ++host)
      for (const ipv6_address& a :
           {mapped(ipv4_address{0xc000'0200u | host}), ipv6_address{0x2001'0db8'0000'0000u, host},
            ipv6_address{0x2001'0db8'0000'0001u, host}}) {
        bool there = false;
        for (std::size_t i = 0; i < n; ++i) there = there || all[i] == a;
        REQUIRE(own.contains(a) == there);
        REQUIRE((static_cast<const own_addresses&>(own).find(a) != nullptr) == there);
      }
  }
}

TEST_CASE("what is tentative or another's is not used") {
  own_addresses own{{addr6("2001:db8::1"), 64}};
  for (const address_state s : {address_state::tentative, address_state::duplicate}) {
    own.begin()->state = s;
    CHECK_FALSE(own.contains(addr6("2001:db8::1")));
    CHECK_FALSE(own.is_on_link(addr6("2001:db8::2")));
    CHECK(own.source_for(addr6("2001:db8::2")).is_unspecified());
    CHECK(own.find(addr6("2001:db8::1")) != nullptr);
  }
  own.begin()->state = address_state::deprecated;
  CHECK(own.contains(addr6("2001:db8::1")));
}

TEST_CASE("on the link are the prefixes of addresses, those given beside, and link-local addresses") {
  own_addresses own{{addr4("192.0.2.1"), 24}, {addr6("2001:db8::1"), 128}};
  CHECK(own.is_on_link(mapped(addr4("192.0.2.200"))));
  CHECK_FALSE(own.is_on_link(mapped(addr4("192.0.3.200"))));
  CHECK_FALSE(own.is_on_link(addr6("2001:db8::2")));
  CHECK(own.is_on_link(addr6("fe80::77")));
  const ipv6_prefix subnet{addr6("2001:db8::"), 64};
  CHECK(own.add_prefix(subnet));
  CHECK(own.add_prefix(subnet));
  CHECK(own.is_on_link(addr6("2001:db8::2")));
  CHECK(own.remove_prefix(subnet));
  CHECK_FALSE(own.remove_prefix(subnet));
  CHECK_FALSE(own.is_on_link(addr6("2001:db8::2")));
  // All of IPv6 is nothing of IPv4, but for a prefix that is.
  CHECK(own.add_prefix({}));
  CHECK(own.is_on_link(addr6("2001:db9::2")));
  CHECK_FALSE(own.is_on_link(mapped(addr4("203.0.113.9"))));
  CHECK(own.remove_prefix({}));
  CHECK(own.add_prefix({mapped(addr4("203.0.113.0")), 96 + 24}));
  CHECK(own.is_on_link(mapped(addr4("203.0.113.9"))));
  CHECK(own.remove_prefix({mapped(addr4("203.0.113.0")), 96 + 24}));
  for (std::uint64_t i = 0; i < 8; ++i) CHECK(own.add_prefix({ipv6_address{0x2001'0db8'0000'0000u + i, 0}, 64}));
  CHECK_FALSE(own.add_prefix({addr6("2001:db9::"), 64}));
}

TEST_CASE("broadcast addresses of subnets, by the length of their prefixes") {
  const own_addresses own{{addr4("192.0.2.1"), 24}, {addr4("198.51.100.1"), 31}, {addr4("203.0.113.1"), 32}};
  CHECK(own.is_broadcast(addr4("255.255.255.255")));
  CHECK(own.is_broadcast(addr4("192.0.2.255")));
  CHECK_FALSE(own.is_broadcast(addr4("192.0.2.0")));
  CHECK(own.is_directed_broadcast(addr4("192.0.2.0")));
  CHECK(own.is_directed_broadcast(addr4("192.0.2.255")));
  CHECK_FALSE(own.is_directed_broadcast(addr4("192.0.2.254")));
  CHECK_FALSE(own.is_directed_broadcast(addr4("255.255.255.255")));
  for (const auto a : {addr4("198.51.100.0"), addr4("198.51.100.1"), addr4("203.0.113.1")})
    CHECK_FALSE(own.is_directed_broadcast(a));
  const own_addresses all{{addr4("10.0.0.1"), 0}};
  CHECK(all.is_directed_broadcast(addr4("255.255.255.255")));
}

TEST_CASE("broadcast addresses of several subnets, also when some have gone, against a plain answer") {
  random_generator random{9};
  for (int round = 0; round < 50; ++round) {
    own_addresses own;
    interface_address all[6];
    std::size_t n = 0;
    for (auto& one : all) {
      one = {ipv4_address{0xc000'0200u | static_cast<std::uint32_t>(random.below(256))},
             static_cast<unsigned>(20 + random.below(13))};
      if (own.add(one)) all[n++] = one;
    }
    while (n > 2) REQUIRE(own.remove(all[--n].address));
    for (std::uint32_t host = 0; host < 0x1000; ++host) {
      const ipv4_address a{0xc000'0000u | host};
      bool last = false, first = false;
      for (std::size_t i = 0; i < n; ++i) {
        const unsigned length = all[i].length - 96u;
        if (length > 30 || !all[i].subnet().contains(mapped(a))) continue;
        last = last || !ipv4_prefix{ipv4_address{a.value() + 1}, length}.contains(a);
        first = first || !ipv4_prefix{ipv4_address{a.value() - 1}, length}.contains(a);
      }
      const bool same = own.is_broadcast(a) == last && own.is_directed_broadcast(a) == (last || first);
      if (!same) FAIL("192.0." << (host >> 8) << '.' << (host & 255) << " in round " << round);
    }
  }
}

TEST_CASE("RFC 6724 5: a source of the same scope, then a preferred one, then the one that is nearest") {
  own_addresses own{{addr6("fe80::1"), 64}, {addr6("2001:db8:1::1"), 64}, {addr6("2001:db8:2::1"), 64}};
  CHECK(own.source_for(addr6("2001:db8:2::9")) == addr6("2001:db8:2::1"));
  CHECK(own.source_for(addr6("2001:db8:1::9")) == addr6("2001:db8:1::1"));
  CHECK(own.source_for(addr6("fd00::1")) == addr6("2001:db8:1::1"));  // fe80:: has more bits in common
  CHECK(own.source_for(addr6("fe80::9")) == addr6("fe80::1"));
  CHECK(own.source_for(addr6("ff02::1")) == addr6("fe80::1"));
  CHECK(own.source_for(mapped(addr4("192.0.2.1"))).is_unspecified());
  own.find(addr6("2001:db8:2::1"))->state = address_state::deprecated;
  CHECK(own.source_for(addr6("2001:db8:2::9")) == addr6("2001:db8:1::1"));
}

TEST_CASE("an interface without an address of global scope sends from another's") {
  const ip_interface all[] = {{},
                              {.addresses = {{addr6("fe80::1"), 64}, {addr4("192.0.2.1"), 24}}},
                              {.addresses = {{addr6("2001:db8::1"), 64}, {addr4("198.51.100.1"), 24}}}};
  const ip_interfaces here{all};
  CHECK(here.source_for(1, addr6("2001:db8:9::1")) == addr6("2001:db8::1"));
  CHECK(here.source_for(1, addr6("fe80::9")) == addr6("fe80::1"));
  CHECK(here.source_for(1, addr4("203.0.113.1")) == addr4("192.0.2.1"));
  CHECK(here.source_for(7, addr4("203.0.113.1")).is_unspecified());
  CHECK(here[7].addresses.size() == 0);
}

TEST_CASE("own addresses and directed broadcasts are those of all interfaces, and nobody else's") {
  ip_interface all[] = {{},
                        {.addresses = {{addr6("fe80::1"), 64}, {addr4("192.0.2.1"), 24}}},
                        {.addresses = {{addr6("2001:db8::1"), 64}, {addr4("198.51.100.1"), 25}}}};
  const ip_interfaces here{all};
  for (std::uint32_t host = 0; host < 256; ++host) {
    CAPTURE(host);
    CHECK(here.is_own(ipv4_address{0xc000'0200u | host}) == (host == 1));
    CHECK(here.is_own(ipv4_address{0xc633'6400u | host}) == (host == 1));
    CHECK(here.is_own(ipv6_address{0xfe80'0000'0000'0000u, host}) == (host == 1));
    CHECK(here.is_own(ipv6_address{0x2001'0db8'0000'0000u, host}) == (host == 1));
    CHECK_FALSE(here.is_own(ipv4_address{0xc000'0300u | host}));
    CHECK(here.is_directed_broadcast(ipv4_address{0xc000'0200u | host}) == (host == 0 || host == 255));
    CHECK(here.is_directed_broadcast(ipv4_address{0xc633'6400u | host}) == (host == 0 || host == 127));
    CHECK_FALSE(here.is_directed_broadcast(ipv4_address{0xc000'0300u | host}));
  }
  all[1].addresses.find(mapped(addr4("192.0.2.1")))->state = address_state::duplicate;
  CHECK_FALSE(here.is_own(addr4("192.0.2.1")));
  CHECK_FALSE(ip_interfaces{}.is_own(addr4("192.0.2.1")));
  CHECK_FALSE(ip_interfaces{}.is_directed_broadcast(addr4("192.0.2.255")));
}
