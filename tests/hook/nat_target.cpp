// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/hook.hpp>
#include <runnel/wire.hpp>

using namespace runnel;

TEST_CASE("a target of NAT prints as nft writes it") {
  const auto reads = [](const auto& s, const char* as) {
    text<128> out;
    print(out, s.target());
    CHECK_MESSAGE(same_text(out.c_str(), as), out.c_str());
    CHECK(s.target().is_valid());
  };
  reads(snat(addr4("203.0.113.1")), "snat to 203.0.113.1");
  reads(snat(addr4("203.0.113.1"), addr4("203.0.113.9")).ports(1024, 65535).random().persistent(),
        "snat to 203.0.113.1-203.0.113.9:1024-65535 random,persistent");
  reads(snat(net("203.0.113.0/24")), "snat prefix to 203.0.113.0/24");
  reads(snat(net("2001:db8::/56")), "snat prefix to 2001:db8::/56");
  reads(dnat(addr4("192.168.1.10")).port(80), "dnat to 192.168.1.10:80");
  reads(dnat(addr6("2001:db8::1")).port(80), "dnat to [2001:db8::1]:80");
  reads(dnat(addr6("2001:db8::1")), "dnat to 2001:db8::1");
  reads(masquerade(), "masquerade");
  reads(masquerade().ports(1024, 2047).parity(), "masquerade to :1024-2047 parity");
  reads(redirect_here().port(3128), "redirect to :3128");
}

TEST_CASE("a target of NAT says whether its members fit") {
  CHECK_FALSE(snat(addr4("203.0.113.9"), addr4("203.0.113.1")).target().is_valid());
  CHECK_FALSE(snat(addr6("2001:db8::9"), addr6("2001:db8::1")).target().is_valid());
  CHECK_FALSE(snat(addr4("203.0.113.9")).ports(80, 79).target().is_valid());
  CHECK_FALSE(snat(addr4("203.0.113.9")).ports(0, 79).target().is_valid());
  CHECK_FALSE(snat(net("203.0.113.0/24")).port(5).target().is_valid());
  nat_target mixed = snat(addr4("203.0.113.9")).target();
  mixed.last = addr6("2001:db8::1");
  CHECK_FALSE(mixed.is_valid());
  CHECK(snat(addr4("203.0.113.9")).target().fits(false));
  CHECK_FALSE(snat(addr4("203.0.113.9")).target().fits(true));
  CHECK(snat(addr6("2001:db8::1")).target().fits(true));
  CHECK(masquerade().target().fits(true));
  CHECK(masquerade().target().fits(false));
}
