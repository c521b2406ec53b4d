// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device/network_interface.hpp>

#if defined(__linux__)

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include <runnel/device/tap.hpp>

#include "device/own_namespace.hpp"
#include "device/rename_interface.hpp"

using namespace runnel;
using device::network_interface;

TEST_CASE("an interface that is not there: the error lists those that are") {
  const char* const names[] = {"eth-none", "", "a-name-that-is-longer-than-any-interface", "lo-and-something"};
  for (const char* name : names) {
    const auto opened = network_interface::open(name);
    REQUIRE(!opened);
    CAPTURE(doctest::String(opened.error().message()));
    CHECK(std::strstr(opened.error().message(), "network_interface: open") == opened.error().message());
    CHECK(std::strstr(opened.error().message(), "no such interface") != nullptr);
    CHECK(opened.error().number() == ENODEV);
  }
  const auto other = network_interface::open_for("af_packet", "eth-none");
  REQUIRE(!other);
  CHECK(std::strstr(other.error().message(), "af_packet: open eth-none: no such interface: there are lo") != nullptr);
}

TEST_CASE("what there is to know of the loopback interface, and what can be set") {
  const own_namespace inside;
  if (!inside) return;
  auto lo = network_interface::open("lo");
  REQUIRE(lo);
  CHECK(same_text(lo->name(), "lo"));
  CHECK(lo->index() == 1);
  const auto status = lo->status();
  REQUIRE(status);
  CHECK(status->index == 1);
  CHECK(status->mtu == 65536);
  CHECK(status->hardware == 772);
  CHECK(status->mac == mac_address{});
  CHECK(status->queues == 1);
  CHECK(!status->up);
  CHECK(!status->promiscuous);

  const auto up = lo->set_up(true);
  REQUIRE(up);
  CHECK(!*up);
  REQUIRE(lo->status());
  CHECK(lo->status()->up);
  CHECK(lo->status()->running);
  CHECK(*lo->set_up(true));
  CHECK(*lo->set_up(false));
  CHECK(!lo->status()->up);

  CHECK(*lo->set_mtu(1400) == 65536);
  CHECK(lo->status()->mtu == 1400);
  CHECK(*lo->set_mac(mac("02:00:00:00:00:07")) == mac_address{});
  CHECK(lo->status()->mac == mac("02:00:00:00:00:07"));
}

TEST_CASE("an interface that is renamed is the same one, also for who has opened it before") {
  const own_namespace inside;
  if (!inside) return;
  auto lo = network_interface::open("lo");
  REQUIRE(lo);
  if (!runnel::test::rename_interface("lo", "wan0")) {
    REQUIRE(errno == ENOSYS);
    MESSAGE("skipped: interfaces cannot be renamed here, in an emulator");
    return;
  }
  CHECK(*lo->set_mtu(1400) == 65536);
  REQUIRE(lo->set_up(true));
  REQUIRE(lo->status());
  CHECK(lo->status()->up);
  CHECK(lo->status()->mtu == 1400);
  CHECK(same_text(lo->name(), "lo"));
  const auto wan0 = network_interface::open("wan0");
  REQUIRE(wan0);
  CHECK(wan0->index() == lo->index());
  CHECK_FALSE(network_interface::open("lo"));
  const auto by_number = network_interface::open_for("test", "lo", lo->index());
  REQUIRE(by_number);
  CHECK(by_number->status()->mtu == 1400);
}

TEST_CASE("an interface that was deleted is gone, though another one has its name") {
  const own_namespace inside;
  if (!inside) return;
  std::optional<network_interface> first;
  {
    const auto tap = device::tap::open("tap0");
    if (!tap) {
      MESSAGE("skipped: ", doctest::String(tap.error().message()));
      return;
    }
    auto found = network_interface::open("tap0");
    REQUIRE(found);
    first.emplace(std::move(*found));
    REQUIRE(first->status());
  }
  const auto second = device::tap::open("tap0");
  REQUIRE(second);
  CHECK(!first->status());
  CHECK(!first->set_mtu(1300));
  CHECK(network_interface::open("tap0")->status()->mtu == 1500);
}

#endif
