// SPDX-License-Identifier: MIT
// What tests/live/discovery runs: a host on an interface that the kernel leaves to it.
//   discovery INTERFACE hold ADDRESS/LENGTH...     acquires addresses, and answers for them and to pings
//   discovery INTERFACE router ADDRESS/LENGTH...   the same, and advertises itself with the prefix 2001:db8:77::/64
//   discovery INTERFACE host                       goes by what routers say
// Says what becomes of its addresses, whom it is in conflict with, what it has learned; ends by Ctrl-C, a router after
// it has told everybody.
//
//     interface > parse > answer_neighbours > hear_routers > answer_echo > resolve > interface
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <time.h>

#include <runnel/runnel.hpp>

using namespace runnel;

namespace {

stoppable* running = nullptr;

template <class T>
std::string as_text(const T& value) {
  text<120> out;
  print(out, value);
  return out.c_str();
}
void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}
void tell_address(void*, const interface_address& a) {
  say("address " + as_text(a) + (a.state == address_state::preferred ? " in use" : ""));
}
void tell_conflict(void*, const ipv6_address& a, const mac_address& who) {
  say("conflict " + (is_mapped(a) ? as_text(unmapped(a)) : as_text(a)) + " with " + as_text(who));
}
void tell_routers(void*, const router_discovery& d) {
  std::string line = "router " + (d.router() == nullptr ? "none" : as_text(d.router()->address)) + ", hop limit " +
                     std::to_string(d.hop_limit()) + ", mtu " + std::to_string(d.neighbours().link().mtu);
  for (const link_prefix& p : d.prefixes()) line += ", prefix " + as_text(p.prefix);
  for (const link_resolver& r : d.resolvers()) line += ", resolver " + as_text(r.address);
  say(line);
}
// What is for nobody passes a host without a listener.
struct nobody {};
[[nodiscard]] auto stage_for(nobody&) {
  return [](packet&) {};
}
template <class Listener>
[[nodiscard]] auto stage_for(Listener& l) {
  return hear_routers(l);
}

// Until the signal, and then for as long as `rest` has something to send.
template <class Listener, class Rest, class... Timers>
void run_until_signal(device::any_device& nic, neighbour_table& neighbours, const ip_interface (&here)[1],
                      Listener& listener, Rest rest, Timers... timers) {
  real_clock time;
  auto path = parse() | answer_neighbours(neighbours) | stage_for(listener) |
              answer_echo(here).on<answered>(resolve(neighbours) | transmit(nic)).on<other>(discard);
  loop work{time, attach(nic, path), timers..., attach(neighbours, transmit(nic))};
  running = &work;
  std::signal(SIGINT, [](int) { running->stop(); });
  say("ready");
  work.run();
  loop ends{time, attach(nic, path), timers..., attach(neighbours, transmit(nic))};
  for (const ::timespec a_while{0, 10'000'000}; rest(time.now());) {
    ends.poll();
    (void)::nanosleep(&a_while, nullptr);
  }
  text<400> line;
  print(line, neighbours.statistics());
  say(line.c_str());
}

int run_host(const char* name, const std::string& mode, char** addresses, int n) {
  const auto wire = device::network_interface::open(name);
  const auto is = wire ? wire->status() : result<device::interface_status, error>(wire.error());
  if (!is) return std::puts(is.error().message()), 2;
  auto nic = device::open((std::string("af_packet:") + name + "?promiscuous").c_str());
  if (!nic) return std::puts(nic.error().message()), 2;
  static static_pool<pool_config{.packets = 256}> messages;
  real_clock time;
  const auto seed = static_cast<std::uint64_t>(time.now().ns);
  static ip_interface here[1];
  here[0].mac = is->mac;
  here[0].mtu = static_cast<std::uint16_t>(is->mtu);
  static static_neighbour_table<neighbour_config{}> neighbours{
      messages,
      here[0],
      seed,
      {.router = mode == "router", .conflict = tell_conflict, .address_changed = tell_address}};
  for (int i = 0; i < n; ++i) {
    std::string whole = addresses[i];
    const std::size_t slash = whole.find('/');
    const auto length = static_cast<unsigned>(std::atoi(whole.c_str() + slash + 1));
    whole.resize(slash);
    const auto v4 = parse_ipv4(whole.c_str());
    const auto v6 = parse_ipv6(whole.c_str());
    const interface_address a =
        v4 ? interface_address{*v4, length} : interface_address{v6 ? *v6 : ipv6_address{}, length};
    if (!neighbours->acquire(a, time.now())) return std::printf("no address: %s\n", addresses[i]), 2;
  }
  if (mode == "router") {
    static const ndp_prefix prefixes[] = {
        {.prefix = addr6("2001:db8:77::"), .valid_lifetime = 7000, .preferred_lifetime = 3000}};
    static const ipv6_address servers[] = {addr6("2001:db8:77::53")};
    router_advertiser advertiser{neighbours,
                                 {.max_interval = seconds(10),
                                  .min_interval = seconds(3),
                                  .hop_limit = 55,
                                  .reachable_time = 20'000,
                                  .mtu = 1400,
                                  .prefixes = prefixes,
                                  .prefix_count = 1,
                                  .dns = {servers, 1, 600}},
                                 seed + 1};
    advertiser.start(time.now());
    run_until_signal(
        *nic, neighbours, here, advertiser,
        [&](instant now) {
          advertiser.stop(now);
          return advertiser.next_due() != never || !neighbours->empty();
        },
        attach(advertiser));
    text<200> line;
    print(line, advertiser.statistics());
    say(line.c_str());
  } else if (mode == "host") {
    router_discovery discovery{neighbours, {.changed = tell_routers}, seed + 1};
    discovery.start(time.now());
    run_until_signal(*nic, neighbours, here, discovery, [](instant) { return false; }, attach(discovery));
    text<200> line;
    print(line, discovery.statistics());
    say(line.c_str());
  } else {
    nobody none;
    run_until_signal(*nic, neighbours, here, none, [](instant) { return false; });
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::puts("discovery INTERFACE hold|router|host ADDRESS/LENGTH..."), 2;
  return run_host(argv[1], argv[2], argv + 3, argc - 3);
}
