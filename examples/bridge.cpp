// SPDX-License-Identifier: MIT
// A learning switch over any devices: network interfaces by AF_PACKET or AF_XDP, TAP interfaces, captures.
//
//     eth0 -> decide -> send -+-> eth1     decide: learn the source, look the destination up
//     eth1 -> decide -> send -+-> tap0     send:   one transmit for each port and burst; floods are clones
//     tap0 -> decide -> send -+-> eth0
//
//     bridge [-f floods-per-second] device device...        bridge af_packet:eth0?promiscuous af_xdp:eth1 tap:tap0
//
// Follows IEEE 802.1D and 802.1Q: addresses are learned for each VLAN by itself (frames without a tag, or with VLAN id
// 0, are one more) and forgotten after 300 seconds; a frame never leaves by the port that it came from; what is sent to
// 01:80:c2:00:00:00 to 0f, spanning tree among it, stays here. There is no spanning tree of its own: do not close a
// circle. The flood limit, by default 10'000 frames a second from each port, keeps one that was closed from melting.
//
// AF_PACKET and TAP with segmentation may bring packets of 64 KiB that stand for many frames. AF_XDP cannot send those:
// where it is among the devices, `ethtool -K eth0 gro off lro off` for the others, and TAP as it is. It does not ask
// for frames to other stations either, which a card keeps out: `ip link set eth1 promisc on`.
#include <runnel/runnel.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

using namespace runnel;

namespace {

// ---- who is where

// The MAC addresses that were heard, each in its VLAN, and the port where each was heard last. Room for 8192, of which
// each port has the same share. A port whose share is used up gets no more addresses until old ones are forgotten: no
// flood of made-up sources pushes out the addresses that are known, or takes the room of another port. Frames to an
// address that found no room are flooded, within the limit.
class station_table {
 public:
  using port_number = std::uint32_t;
  static constexpr port_number nowhere = 0xffff'ffff;
  static constexpr std::size_t capacity = 8192;
  static constexpr duration lifetime = seconds(300);

  // An address in a VLAN. Never 0: that address is not learned.
  static std::uint64_t station(const mac_address& mac, std::uint16_t vlan) {
    return std::uint64_t{vlan} << 48 | mac.value();
  }

  // The seed keeps others from choosing addresses that meet in one bucket.
  station_table(std::size_t ports, std::uint64_t seed)
      : seed_(seed), share_(capacity / ports), held_(ports), buckets_(buckets) {}

  [[nodiscard]] port_number find(std::uint64_t station) const {
    if (station == 0) return nowhere;  // free entries are like that
    const entry* e = const_cast<station_table*>(this)->entry_of(station);
    return e != nullptr ? e->port : nowhere;
  }
  // False when there was no room.
  bool learn(std::uint64_t station, port_number port, instant now) {
    entry* e = entry_of(station);
    if (e != nullptr && e->port == port) [[likely]] {
      e->heard = now;
      return true;
    }
    if (e != nullptr) forget(*e);  // it has moved
    if (held_[port] == share_) return false;
    entry* free = free_place(station);
    if (free == nullptr) return false;
    *free = {station, now, port};
    ++held_[port];
    return true;
  }
  // Forgets who has not been heard for the lifetime. Walks over the whole table: 0.1 ms, once in ten seconds.
  void age(instant now) {
    for (bucket& b : buckets_)
      for (entry& e : b.entries)
        if (e.station != 0 && now - e.heard >= lifetime) forget(e);
  }
  [[nodiscard]] std::size_t held(port_number port) const { return held_[port]; }
  [[nodiscard]] std::size_t share() const { return share_; }

 private:
  struct entry {
    std::uint64_t station = 0;
    instant heard{};
    port_number port = 0;
  };
  // An address lies in one of two buckets, by its hash, and comes into the emptier one. With the table half full at
  // most, one in 80'000 finds both full.
  struct bucket {
    entry entries[4];
    entry* find(std::uint64_t station) {
      for (entry& e : entries)
        if (e.station == station) return &e;
      return nullptr;
    }
    [[nodiscard]] std::size_t room() const {
      return static_cast<std::size_t>(
          std::count_if(entries, entries + 4, [](const entry& e) { return e.station == 0; }));
    }
  };
  static constexpr std::size_t buckets = 2 * capacity / 4;

  bucket& first(std::uint64_t station) { return buckets_[static_cast<std::size_t>(mix(station ^ seed_) % buckets)]; }
  bucket& second(std::uint64_t station) {
    return buckets_[static_cast<std::size_t>((mix(station ^ seed_) >> 32) % buckets)];
  }
  entry* entry_of(std::uint64_t station) {
    entry* e = first(station).find(station);
    return e != nullptr ? e : second(station).find(station);
  }
  entry* free_place(std::uint64_t station) {
    bucket &a = first(station), &b = second(station);
    return (a.room() >= b.room() ? a : b).find(0);
  }
  void forget(entry& e) {
    --held_[e.port];
    e = {};
  }

  std::uint64_t seed_;
  std::size_t share_;
  std::vector<std::size_t> held_;
  std::vector<bucket> buckets_;
};

// So many a second, at least one, and a tenth of a second's worth at once.
class rate_limit {
 public:
  explicit rate_limit(std::int64_t per_second) : each_(seconds(1) / per_second) {}
  bool take(instant now) {
    if (now + milliseconds(100) < next_) return false;
    next_ = (next_ < now ? now : next_) + each_;
    return true;
  }

 private:
  duration each_;
  instant next_{};
};

// ---- the switch

struct port_counters {
  std::uint64_t received = 0, sent = 0, flooded = 0;                      // frames
  std::uint64_t reserved = 0, malformed = 0, local = 0, flood_limit = 0;  // received, and not sent on
  std::uint64_t refused = 0;                                              // that the device did not take
  std::uint64_t no_clone = 0;                                             // floods for which memory ran out
  std::uint64_t no_room = 0;                                              // not learned
};

template <class Device>
class learning_switch {
 public:
  using port_number = station_table::port_number;

  learning_switch(const std::vector<Device*>& ports, std::int64_t floods_per_second, std::uint64_t seed)
      : stations_(ports.size(), seed) {
    for (Device* device : ports) ports_.emplace_back(device, floods_per_second);
  }

  // What becomes of the frames that come in at a port.
  auto path(port_number from) {
    return named("decide", [this, from](packet& p, instant now) { return decide(p, from, now); }) |
           named("send", [this, from](burst& b) { send(b, from); }) | discard;
  }
  void age(instant now) { stations_.age(now); }

  [[nodiscard]] const port_counters& counters(port_number of) const { return ports_[of].count; }
  [[nodiscard]] const station_table& stations() const { return stations_; }

 private:
  static constexpr port_number everywhere = station_table::nowhere;

  struct output {
    packet packets[max_burst];
    std::size_t size = 0;
  };
  struct port {
    port(Device* d, std::int64_t floods_per_second) : device(d), floods(floods_per_second) {}
    Device* device;
    rate_limit floods;
    port_counters count{};
    output waiting{};
  };

  // Where to: the number of a port, or everywhere, is left in the packet's scratch for `send`.
  verdict decide(packet& p, port_number from, instant now) {
    now_ = now;
    port& in = ports_[from];
    ++in.count.received;
    const bytes frame = p.contents();
    if (frame.size() < ethernet::min_size) return ++in.count.malformed, drop(drop_reason::link_too_short);
    const auto e = ethernet::unchecked(frame);
    if (e.source().is_multicast() || e.source() == mac_address{}) return ++in.count.malformed, drop;
    if (e.destination().value() >> 4 == mac("01:80:c2:00:00:00").value() >> 4) return ++in.count.reserved, drop;

    std::uint16_t vlan_id = 0;
    if (ethertype::is_vlan(e.ethertype())) {
      const auto tag = vlan::parse(e.payload());
      if (!tag) return ++in.count.malformed, drop(tag.error());
      vlan_id = tag->vlan_id();
    }
    if (!stations_.learn(station_table::station(e.source(), vlan_id), from, now)) ++in.count.no_room;
    const port_number to =
        e.destination().is_multicast() ? everywhere : stations_.find(station_table::station(e.destination(), vlan_id));
    if (to == from) return ++in.count.local, drop;
    if (to == everywhere && !in.floods.take(now)) return ++in.count.flood_limit, drop;
    p.scratch(to);
    return pass;
  }

  void send(burst& b, port_number from) {
    for (packet& p : b) {
      const port_number to = p.scratch();
      if (to == everywhere) flood(p, from);
      else hand_over(std::move(p), to);
    }
    flush_all();
  }
  // The last port gets the packet itself, the others clones of it.
  void flood(packet& p, port_number from) {
    ++ports_[from].count.flooded;
    const auto last = static_cast<port_number>(ports_.size() - (from + 1 == ports_.size() ? 2 : 1));
    for (port_number to = 0; to < last; ++to) {
      if (to == from) continue;
      packet clone = p.clone();
      if (!clone) {  // what waits for the end of the burst has the memory
        flush_all();
        clone = p.clone();
      }
      if (clone) hand_over(std::move(clone), to);
      else ++ports_[to].count.no_clone;
    }
    hand_over(std::move(p), last);
  }
  void hand_over(packet&& p, port_number to) {
    output& out = ports_[to].waiting;
    if (out.size == max_burst) flush(ports_[to]);
    out.packets[out.size++] = std::move(p);
  }
  void flush_all() {
    for (port& out : ports_) flush(out);
  }
  void flush(port& out) {
    output& waiting = out.waiting;
    if (waiting.size == 0) return;
    const std::size_t sent = out.device->transmit(waiting.packets, waiting.size, now_);
    out.count.sent += sent;
    out.count.refused += waiting.size - sent;
    for (std::size_t i = sent; i < waiting.size; ++i) waiting.packets[i].reset();
    waiting.size = 0;
  }

  station_table stations_;
  std::vector<port> ports_;
  instant now_{};
};

// ---- what a person sees

void print_counter(text_writer& out, const char* what, std::uint64_t n, bool always = false) {
  if (n == 0 && !always) return;
  (out << what << ' ').grouped(n) << ", ";
}
void report(device::any_device& device, const port_counters& c, std::size_t stations) {
  text<1024> line;
  line << device.name() << ": ";
  print_counter(line, "received", c.received, true);
  print_counter(line, "sent", c.sent, true);
  print_counter(line, "flooded", c.flooded);
  print_counter(line, "kept, both ends at this port", c.local);
  print_counter(line, "kept, reserved addresses", c.reserved);
  print_counter(line, "dropped, no such frame can be", c.malformed);
  print_counter(line, "dropped, above the flood limit", c.flood_limit);
  print_counter(line, "not sent, the device was full", c.refused);
  print_counter(line, "not flooded, out of memory", c.no_clone);
  print_counter(line, "not learned, the table was full", c.no_room);
  const device::any_statistics s = device.statistics();
  print_counter(line, "dropped before us", s.dropped);
  print_counter(line, "taken by the device and lost", s.lost);
  line.grouped(stations) << " stations\n  device: ";
  print(line, device);
  if (device.failure() != nullptr) line << "\n  " << device.failure()->message();
  std::printf("%s\n", line.c_str());
}

// Says which interfaces are down, at first and whenever one goes down or comes up again, and which device has failed,
// as when its interface was deleted. What is no interface, a capture, is not asked whether it is up, and neither is one
// that goes to another namespace.
class watch {
 public:
  explicit watch(const std::vector<device::any_device*>& ports) : working_(ports) {
    for (device::any_device* port : ports)
      if (auto found = device::network_interface::open(port->name())) seen_.push_back({std::move(*found), true});
  }
  void look() {
    for (interface& i : seen_) {
      const auto status = i.settings.status();
      if (!status || status->up == i.up) continue;
      i.up = status->up;
      if (i.up) std::printf("%s is up again\n", i.settings.name());
      else std::printf("%s is down, nothing passes: ip link set dev %s up\n", i.settings.name(), i.settings.name());
      std::fflush(stdout);
    }
    std::erase_if(working_, [](device::any_device* port) {
      if (port->failure() != nullptr) std::fprintf(stderr, "bridge: %s\n", port->failure()->message());
      return port->failure() != nullptr;
    });
  }

 private:
  struct interface {
    device::network_interface settings;
    bool up;
  };
  std::vector<device::any_device*> working_;
  std::vector<interface> seen_;
};

int usage() { return std::fprintf(stderr, "bridge [-f floods-per-second] device device...\n"), 2; }
int fail(const error& e) { return std::fprintf(stderr, "bridge: %s\n", e.message()), 2; }

}  // namespace

int main(int argc, char** argv) {
  std::int64_t floods_per_second = 10'000;
  int first = 1;
  if (argc > 2 && same_text(argv[1], "-f")) {
    floods_per_second = std::atoll(argv[2]);
    first = 3;
  }
  if (argc - first < 2 || floods_per_second < 1) return usage();

  std::vector<device::any_device> devices;
  devices.reserve(static_cast<std::size_t>(argc));
  for (int i = first; i < argc; ++i) {
    auto opened = device::open(argv[i]);
    if (!opened) return fail(opened.error());
    devices.push_back(std::move(*opened));
  }
  std::vector<device::any_device*> ports(devices.size());
  std::transform(devices.begin(), devices.end(), ports.begin(), [](device::any_device& d) { return &d; });
  learning_switch<device::any_device> bridge(ports, floods_per_second, std::random_device{}());

  std::vector<decltype(attach(devices[0], bridge.path(0)))> inputs;
  inputs.reserve(devices.size());
  for (std::uint32_t i = 0; i < devices.size(); ++i) inputs.push_back(attach(devices[i], bridge.path(i)));

  real_clock time;
  watch interfaces(ports);
  loop work{time, attach_all(inputs), every(seconds(10), [&](instant now) { bridge.age(now); }),
            every(seconds(1), [&] { interfaces.look(); })};
  static stoppable* running = &work;
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, [](int) { running->stop(); });
  std::printf("forwarding between %zu ports; Ctrl-C ends it\n", devices.size());
  interfaces.look();
  std::fflush(stdout);
  work.run();
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, SIG_DFL);  // no loop is left to stop: the next one ends us

  std::printf("\n");
  for (std::uint32_t i = 0; i < devices.size(); ++i) report(devices[i], bridge.counters(i), bridge.stations().held(i));
  // NOLINTNEXTLINE(clang-analyzer-core.StackAddressEscape): nobody asks `running` any more
  return std::any_of(devices.begin(), devices.end(), [](auto& d) { return d.failure() != nullptr; }) ? 1 : 0;
}
