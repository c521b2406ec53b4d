// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device/xdp_hook.hpp>

#if defined(__linux__)

#include <linux/if_packet.h>  // sockaddr_ll
#include <sys/mount.h>        // mount
#include <sys/wait.h>         // waitpid

#include <cstring>
#include <string>
#include <vector>

#include <runnel/match.hpp>
#include <runnel/wire.hpp>

#include "device/own_namespace.hpp"
#include "wire/wire_bytes.hpp"

using namespace runnel;

namespace {

constexpr int lo = 1;

// The hook, or nothing where this process may not use bpf(2), which is said.
template <class Rules>
result<device::xdp_hook, error> attach(const Rules& early, const device::xdp_hook_options& options = {}) {
  auto hook = device::xdp_hook::attach("lo", early, options);
  if (!hook && (hook.error().number() == EPERM || hook.error().number() == ENOSYS))
    MESSAGE("skipped: ", doctest::String(hook.error().message()));
  else if (!hook) FAIL(doctest::String(hook.error().message()));
  return hook;
}
std::uint32_t id_on_lo() {
  const auto now = bpf::attached(lo);
  REQUIRE(now);
  return now->id;
}
bool set_up_lo() {
  auto i = device::network_interface::open("lo");
  return i && i->set_up(true);
}

// Sends frames out by lo, which receives them.
class sender {
 public:
  sender() : socket_(detail::sys::socket(detail::sys::af_packet, detail::sys::sock_raw, 0), true) {}
  void send(const char* frame) const {
    const std::vector<std::byte> bytes = runnel_test::hex(frame);
    ::sockaddr_ll to{};
    to.sll_family = detail::sys::af_packet;
    to.sll_ifindex = lo;
    REQUIRE(detail::sys::sendto(socket_.get(), bytes.data(), bytes.size(), 0, &to, sizeof to) ==
            static_cast<::ssize_t>(bytes.size()));
  }

 private:
  detail::file_handle socket_;
};
// UDP from 10.1.2.3 and from 192.0.2.1 to port 7; IPv6 from 2001:db8::1. The first one has 42 bytes, the last one 62.
constexpr const char* from_10 =
    "000000000000000000000000 0800 4500001c 0001 0000 40110000 0a010203 c0000209 00010007 00080000";
constexpr const char* from_192 =
    "000000000000000000000000 0800 4500001c 0001 0000 40110000 c0000201 c0000209 00010007 00080000";
constexpr const char* from_six =
    "000000000000000000000000 86dd 60000000 0008 1140 20010db8000000000000000000000001"
    "20010db8000000000000000000000002 00010007 00080000";

}  // namespace

TEST_CASE("rules are on the interface as long as the hook is there") {
  const own_namespace inside;
  if (!inside) return;
  {
    const auto hook = attach(rules(otherwise >> pass));
    if (!hook) return;
    CHECK(hook->mode() == bpf::xdp_mode::generic);  // the loopback driver has no XDP
    CHECK(std::string(hook->name()) == "lo");
    CHECK(hook->attached());
    CHECK(hook->id() != 0);
    CHECK(id_on_lo() == hook->id());
    CHECK(hook->size() == 1);
  }
  CHECK(id_on_lo() == 0);
}

TEST_CASE("each rule counts its packets and bytes, and each verdict those of its rules") {
  const own_namespace inside;
  if (!inside) return;
  const auto hook = attach(rules(when(ip::saddr.in(net("10.0.0.0/8"))) >> drop, when(ip6::hoplimit > 200) >> pass,
                                 when(has<ipv6>) >> drop(drop_reason::policy)));
  if (!hook) return;
  REQUIRE(set_up_lo());
  const sender s;
  for (int i = 0; i < 5; ++i) s.send(from_10);
  for (int i = 0; i < 3; ++i) s.send(from_six);
  s.send(from_192);
  CHECK(hook->counters(0).packets == 5);
  CHECK(hook->counters(0).bytes == 5 * 42);
  CHECK(hook->counters(1).packets == 0);
  CHECK(hook->counters(2).packets == 3);
  CHECK(hook->counters(2).bytes == 3 * 62);
  CHECK(hook->counters(3).packets >= 1);  // what no rule decided about; the kernel may say something too
  CHECK(hook->counters(verdict_code::drop).packets == 8);
  CHECK(hook->counters(verdict_code::drop).bytes == 5 * 42 + 3 * 62);
  CHECK(hook->counters(verdict_code::pass).packets == hook->counters(3).packets);
  CHECK(hook->counters(verdict_code::tx).packets == 0);
}

TEST_CASE("rules count also where /sys does not say how many processors there are") {
  const own_namespace inside;
  if (!inside || !attach(rules(otherwise >> pass))) return;
  REQUIRE(set_up_lo());
  const ::pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/sys", "tmpfs", 0, nullptr) != 0 || bpf::possible_processors() != 0)
      ::_exit(77);
    const auto hook = device::xdp_hook::attach("lo", rules(when(ip::saddr.in(net("10.0.0.0/8"))) >> drop));
    if (!hook) ::_exit(1);
    const sender s;
    for (int i = 0; i < 5; ++i) s.send(from_10);
    ::_exit(hook->counters(0).packets == 5 && hook->counters(0).bytes == 5 * 42 ? 0 : 2);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) MESSAGE("skipped: no file system can be mounted here");
  else CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a set that changes while the rules run changes what they do") {
  const own_namespace inside;
  if (!inside) return;
  static prefix_set_of<ipv4_address, 4> blocked("blocked");
  static hash_set_of<ipv6_address, 3> six("six");
  static hash_set_of<std::uint16_t, 4> ports("ports");
  REQUIRE(blocked.insert(net("10.0.0.0/8")));
  REQUIRE(ports.insert(9));
  auto hook = attach(
      rules(when(ip::saddr.in(blocked)) >> drop, when(ip6::saddr.in(six)) >> drop, when(udp::dport.in(ports)) >> drop));
  if (!hook) return;
  REQUIRE(set_up_lo());
  const sender s;
  const auto all = [&] {
    const rule_counter before[] = {hook->counters(0), hook->counters(1), hook->counters(2)};
    s.send(from_10);
    s.send(from_192);
    s.send(from_six);
    std::string seen;
    for (std::size_t i = 0; i < 3; ++i) seen += std::to_string(hook->counters(i).packets - before[i].packets) + ' ';
    return seen;
  };
  CHECK(all() == "1 0 0 ");
  CHECK(hook->insert(blocked, net("192.0.2.0/25")));
  CHECK(blocked.contains(addr4("192.0.2.1")));
  CHECK(all() == "2 0 0 ");
  CHECK(hook->insert(six, addr6("2001:db8::1")));
  CHECK(all() == "2 1 0 ");
  CHECK(hook->insert(ports, 7));
  CHECK(hook->erase(six, addr6("2001:db8::1")));
  CHECK_FALSE(hook->erase(six, addr6("2001:db8::1")));
  CHECK(all() == "2 0 1 ");
  CHECK(hook->erase(blocked, net("10.0.0.0/8")));
  CHECK(all() == "1 0 2 ");
  // Several changes at once, in a set that is full before and behind them.
  for (unsigned i = 0; i < six.capacity(); ++i) REQUIRE(six.insert(ipv6_address{1, i}));
  CHECK(hook->refresh(six));
  CHECK_FALSE(hook->insert(six, addr6("2001:db8::1")));
  CHECK(all() == "1 0 2 ");
  six.clear();
  for (unsigned i = 1; i < six.capacity(); ++i) REQUIRE(six.insert(ipv6_address{2, i}));
  REQUIRE(six.insert(addr6("2001:db8::1")));
  CHECK(hook->refresh(six));
  CHECK(all() == "1 1 1 ");
  blocked.clear();
  ports.clear();
  CHECK(hook->refresh(blocked));
  CHECK(hook->refresh(ports));
  CHECK(all() == "0 1 0 ");
  static hash_set_of<std::uint16_t, 4> unknown("unknown");
  CHECK_FALSE(hook->refresh(unknown));
  CHECK_FALSE(hook->insert(unknown, 1));
}

TEST_CASE("what the kernel refuses does not come into the set, nor what the set refuses into the kernel") {
  const own_namespace inside;
  if (!inside) return;
  static hash_set_of<std::uint16_t, 3> ports("ports");
  static prefix_set_of<ipv4_address, 2> nets("nets");
  for (std::size_t i = 0; i < ports.capacity(); ++i) REQUIRE(ports.insert(static_cast<std::uint16_t>(100 + i)));
  for (std::size_t i = 0; nets.insert(ipv4_prefix{{10, static_cast<std::uint8_t>(i), 0, 0}, 16}); ++i) {}
  auto hook = attach(rules(when(udp::dport.in(ports)) >> drop, when(ip::saddr.in(nets)) >> drop));
  if (!hook) return;
  REQUIRE(set_up_lo());
  const sender s;
  const auto dropped = [&](const char* frame) {
    const std::uint64_t before = hook->counters(verdict_code::drop).packets;
    s.send(frame);
    return hook->counters(verdict_code::drop).packets - before;
  };
  // The set is full, and what it has can be put in again.
  CHECK_FALSE(hook->insert(ports, 7));
  CHECK_FALSE(hook->insert(nets, net("192.0.2.0/24")));
  CHECK(hook->insert(ports, 100));
  CHECK(hook->insert(nets, net("10.0.0.0/16")));
  CHECK(dropped(from_six) == 0);
  CHECK(dropped(from_192) == 0);
  // Only the kernel's map is full.
  REQUIRE(ports.erase(101));
  REQUIRE(nets.erase(net("10.1.0.0/16")));
  const std::size_t ports_before = ports.size(), nets_before = nets.size();
  CHECK_FALSE(hook->insert(ports, 7));
  CHECK_FALSE(hook->insert(nets, net("192.0.2.0/24")));
  CHECK_FALSE(ports.contains(7));
  CHECK_FALSE(nets.contains(addr4("192.0.2.1")));
  CHECK(ports.size() == ports_before);
  CHECK(nets.size() == nets_before);
  CHECK(dropped(from_192) == 0);
  CHECK(hook->refresh(ports));
  CHECK(hook->insert(ports, 7));
  CHECK(ports.contains(7));
  CHECK(dropped(from_192) == 1);
}

TEST_CASE("where a program is already the error has its id; it goes when that is asked for") {
  const own_namespace inside;
  if (!inside) return;
  const auto first = attach(rules(otherwise >> pass));
  if (!first) return;
  const auto second = device::xdp_hook::attach("lo", rules(otherwise >> drop));
  REQUIRE_FALSE(second);
  const std::string id = "program id " + std::to_string(first->id());
  CHECK(std::strstr(second.error().message(), id.c_str()) != nullptr);
  CHECK(std::strstr(second.error().message(), ".replace = true") != nullptr);
  const auto third = attach(rules(otherwise >> pass), {.replace = true});
  REQUIRE(third);
  CHECK(id_on_lo() == third->id());
  CHECK_FALSE(first->attached());
}

TEST_CASE("rules that are known at run time only, without counters, on an interface that is not there") {
  const own_namespace inside;
  if (!inside) return;
  static rule_list policy;
  REQUIRE(policy.add(udp::dport == 7, drop));
  {
    const auto hook = attach(policy, {.counters = false});
    if (!hook) return;
    CHECK(hook->counters(0).packets == 0);
  }
  const auto nowhere = device::xdp_hook::attach("nope", policy);
  REQUIRE_FALSE(nowhere);
  CHECK(std::strstr(nowhere.error().message(), "nope") != nullptr);
  const auto no_target = device::xdp_hook::attach("lo", rules(otherwise >> redirect(1)), {.targets = {"lo", "nope"}});
  REQUIRE_FALSE(no_target);
  CHECK(std::strstr(no_target.error().message(), "nope") != nullptr);
  REQUIRE(policy.add(has<tcp::option::maxseg>, drop));
  const auto refused = device::xdp_hook::attach("lo", policy);
  REQUIRE_FALSE(refused);
  CHECK(std::strstr(refused.error().message(), "xdp: lower rule 2") != nullptr);
  CHECK(std::strstr(refused.error().message(), "does not search options") != nullptr);
}

#endif
