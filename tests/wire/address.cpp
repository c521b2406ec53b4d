// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <initializer_list>
#include <map>

#include <runnel/wire/address.hpp>

using namespace runnel;

template <class T>
static bool prints(const T& value, const char* expected) {
  text<> line;
  print(line, value);
  return same_text(line.c_str(), expected);
}
// Reads a text and prints what it understood, or why not.
template <class Parse>
static bool reads(Parse parse, const char* text, const char* expected) {
  const auto r = parse(text);
  return r ? prints(*r, expected) : prints(r.error(), expected);
}

TEST_CASE("addresses in the program are read by the compiler") {
  static_assert(addr4("10.0.0.1") == ipv4_address{10, 0, 0, 1});
  static_assert(addr4("255.255.255.255").is_broadcast());
  static_assert(addr6("2001:db8::1") == ipv6_address{0x20010db800000000, 1});
  static_assert(mac("02:00:00:00:00:Ff") == mac_address{{2, 0, 0, 0, 0, 255}});
  static_assert(net("10.0.0.0/8").contains(addr4("10.255.0.1")) && !net("10.0.0.0/8").contains(addr4("11.0.0.0")));
  const ipv4_address outside_of_constants = addr4("192.0.2.1");
  CHECK(outside_of_constants.value() == 0xc0000201);
}

TEST_CASE("addresses have the order of their bytes on the wire, so a map has them for keys") {
  static_assert(addr4("9.255.255.255") < addr4("10.0.0.0") && addr4("127.0.0.1") < addr4("128.0.0.0"));
  static_assert(addr6("::ffff:ffff:ffff:ffff") < addr6("0:0:0:1::") && addr6("2001:db8::1") <= addr6("2001:db8::1"));
  static_assert(addr6("7fff::") < addr6("8000::") && addr6("::8000:0:0:0") > addr6("::7fff:0:0:0"));
  static_assert(mac("02:00:00:00:00:ff") < mac("02:00:00:00:01:00") &&
                mac("ff:00:00:00:00:00") > mac("7f:00:00:00:00:01"));
  static_assert((addr4("10.0.0.1") <=> addr4("10.0.0.1")) == std::strong_ordering::equal);

  std::map<ipv4_address, int> times;
  for (const char* source : {"10.0.0.2", "9.0.0.1", "10.0.0.2"}) ++times[*parse_ipv4(source)];
  CHECK(times.size() == 2);
  CHECK(times.begin()->first == addr4("9.0.0.1"));
  CHECK(times[addr4("10.0.0.2")] == 2);
}

TEST_CASE("IPv4 addresses are read strictly: four decimal parts, no octal, nothing more") {
  const auto reads4 = [](const char* text, const char* expected) { return reads(parse_ipv4, text, expected); };
  CHECK(reads4("0.0.0.0", "0.0.0.0"));
  CHECK(reads4("255.249.99.1", "255.249.99.1"));
  CHECK(reads4("10.0.0.01", "a number that begins with zero at character 8"));
  CHECK(reads4("010.0.0.1", "a number that begins with zero at character 1"));
  CHECK(reads4("10.0.0.256", "a part above 255 at character 8"));
  CHECK(reads4("10.0.0.99999", "a part above 255 at character 8"));
  CHECK(reads4("10.0.1", "a dot is missing: an IPv4 address has four parts at character 7"));
  CHECK(reads4("10.0.0.1.2", "something behind the end at character 9"));
  CHECK(reads4("10.0.0.1 ", "something behind the end at character 9"));
  CHECK(reads4("10.0..1", "a number is missing at character 6"));
  CHECK(reads4("", "a number is missing at character 1"));
  for (const char* wrong :
       {" 10.0.0.1", "0x10.0.0.1", "167772161", "10.0.0.+1", "10.0.0.-1", "1.2.3.4/8", "a.b.c.d", ".1.2.3"})
    CHECK_FALSE(parse_ipv4(wrong));
}

TEST_CASE("IPv6 addresses are read in all their forms") {
  const auto reads6 = [](const char* text, const char* expected) { return reads(parse_ipv6, text, expected); };
  CHECK(reads6("::", "::"));
  CHECK(reads6("::1", "::1"));
  CHECK(reads6("1::", "1::"));
  CHECK(reads6("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"));
  CHECK(reads6("2001:0db8::0001", "2001:db8::1"));
  CHECK(reads6("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"));
  CHECK(reads6("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"));
  CHECK(reads6("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"));
  CHECK(reads6("fe80::1:0:0:1", "fe80::1:0:0:1"));
  CHECK(reads6("::ffff:192.0.2.1", "::ffff:192.0.2.1"));
  CHECK(reads6("64:ff9b::192.0.2.33", "64:ff9b::c000:221"));
  CHECK(reads6("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"));
  CHECK(reads6("::1.2.3.4", "::102:304"));
}

TEST_CASE("what is no IPv6 address is refused, with the place") {
  const auto reads6 = [](const char* text, const char* expected) { return reads(parse_ipv6, text, expected); };
  CHECK(reads6("1::2::3", "a second \"::\" at character 7"));
  CHECK(reads6("1:2:3:4:5:6:7:8:9", "more than eight groups at character 17"));
  CHECK(reads6("1:2:3:4:5:6:7:8::", "a \"::\" that stands for nothing at character 18"));
  CHECK(reads6("1:2:3", "fewer than eight groups and no \"::\" at character 6"));
  CHECK(reads6("12345::", "fewer than eight groups and no \"::\" at character 5"));
  CHECK(reads6("fe80::1%eth0", "something behind the end at character 8"));
  for (const char* wrong :
       {"", ":", ":::", "1:", ":1", "1:::2", "1::2:", "::1:", "g::", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.04",
        "::1.2.3.4:5", "1.2.3.4", "1.2.3.4::", "[::1]", "::1/64", " ::1", "::1 "})
    CHECK_FALSE_MESSAGE(parse_ipv6(wrong), wrong);
}

TEST_CASE("what is printed is read back") {
  std::uint64_t state = 42;
  const auto random = [&state] {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
  };
  unsigned wrong = 0;
  for (int round = 0; round < 5000; ++round) {
    std::uint64_t mask[2] = {};  // many groups of zeros
    for (unsigned i = 0; i < 8; ++i) mask[i / 4] |= random() % 3 == 0 ? std::uint64_t{0xffff} << 16 * (i % 4) : 0;
    const ipv6_address six{random() & mask[0], random() & mask[1]};
    const ipv4_address four{static_cast<std::uint32_t>(random())};
    const mac_address link{{static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random()), 0, 1, 2, 255}};
    text<> a, b, c, d;
    print(a, six), print(b, four), print(c, link);
    const auto six_again = parse_ipv6(a.c_str());
    const auto four_again = parse_ipv4(b.c_str());
    const auto link_again = parse_mac(c.c_str());
    const prefix p = prefix::v6(six, static_cast<unsigned>(random() % 129));
    print(d, p);
    const auto p_again = parse_prefix(d.c_str());
    wrong += !six_again || *six_again != six || !four_again || *four_again != four || !link_again ||
             *link_again != link || !p_again || *p_again != p;
  }
  CHECK(wrong == 0);
}

TEST_CASE("MAC addresses are read with colons or dashes, not with a mix") {
  const auto readsm = [](const char* text, const char* expected) { return reads(parse_mac, text, expected); };
  CHECK(readsm("02:00:5e:10:00:fF", "02:00:5e:10:00:ff"));
  CHECK(readsm("02-00-5E-10-00-FF", "02:00:5e:10:00:ff"));
  CHECK(readsm("02-00:5e:10:00:ff", "a separator is missing at character 6"));
  CHECK(readsm("2:0:5e:10:0:ff", "a hexadecimal digit is missing at character 2"));
  CHECK(readsm("02:00:5e:10:00", "a separator is missing at character 15"));
  CHECK(readsm("02:00:5e:10:00:ff:00", "something behind the end at character 18"));
  for (const char* wrong : {"", "02005e1000ff", "0200.5e10.00ff", "02:00:5e:10:00:f", "02:00:5e:10:00:fg"})
    CHECK_FALSE(parse_mac(wrong));
}

TEST_CASE("a prefix contains what agrees with it, of its own family") {
  constexpr prefix ten = net("10.0.0.0/8"), doc = net("2001:db8::/32");
  CHECK(ten.is_v4());
  CHECK(doc.is_v6());
  CHECK(ten.contains(addr4("10.255.255.255")));
  CHECK_FALSE(ten.contains(addr4("9.255.255.255")));
  CHECK_FALSE(ten.contains(addr6("::ffff:10.0.0.1")));
  CHECK(doc.contains(addr6("2001:db8:ffff::1")));
  CHECK_FALSE(doc.contains(addr6("2001:db9::")));
  CHECK_FALSE(doc.contains(ipv4_address{0x2001'0db8}));
  CHECK(net("0.0.0.0/0").contains(addr4("1.2.3.4")));
  CHECK(net("::/0").contains(addr6("1::")));
  CHECK(net("1.2.3.4/32").contains(addr4("1.2.3.4")));
  CHECK_FALSE(net("1.2.3.4/32").contains(addr4("1.2.3.5")));
  CHECK(net("2001:db8:0:0:8000::/65").contains(addr6("2001:db8::8000:0:0:1")));
  CHECK_FALSE(net("2001:db8:0:0:8000::/65").contains(addr6("2001:db8::1")));
  CHECK(net("2001:db8:0:1::/64").contains(addr6("2001:db8:0:1:ffff::")));
  CHECK_FALSE(net("::1/128").contains(addr6("::2")));
  CHECK(prefix::v4(addr4("10.1.2.3"), 8) == ten);
  CHECK(ten.as<ipv4_address>().address() == addr4("10.0.0.0"));
  CHECK(ten.length() == 8);
  CHECK_FALSE(prefix{}.contains(addr4("0.0.0.0")));
  CHECK_FALSE(prefix{}.contains(addr6("::")));
  CHECK(prints(ten, "10.0.0.0/8"));
  CHECK(prints(doc, "2001:db8::/32"));
}

TEST_CASE("a text that is no prefix is refused, and so is one with bits behind its length") {
  const auto readsp = [](const char* text, const char* expected) { return reads(parse_prefix, text, expected); };
  CHECK(readsp("10.0.0.0", "a slash and a length are missing at character 9"));
  CHECK(readsp("10.0.0.0/33", "a length beyond the address at character 10"));
  CHECK(readsp("::/129", "a length beyond the address at character 4"));
  CHECK(readsp("10.0.0.1/8", "a length that cuts off bits of the address at character 10"));
  CHECK(readsp("10.0.0.0/08", "a number that begins with zero at character 10"));
  CHECK(readsp("10.0.0.0/", "a number is missing at character 10"));
  CHECK(readsp("10.0.0.0/8/8", "something behind the end at character 11"));
  CHECK(readsp("10.0.0/8", "a dot is missing: an IPv4 address has four parts at character 7"));
}
