// SPDX-License-Identifier: MIT
// What a person sees while the gateway runs: once a second on a terminal, once at the end elsewhere.
#ifndef GATEWAY_LIVE_VIEW_HPP
#define GATEWAY_LIVE_VIEW_HPP

#include <runnel/runnel.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "router.hpp"
#include "tell.hpp"

namespace gateway {

// Prints to standard output, however long it is.
template <class Print>
void show(Print print_to) {
  char buffer[4096];
  runnel::text_writer screen{buffer, sizeof buffer,
                             [](void*, const char* s, std::size_t n) { std::fwrite(s, 1, n, stdout); }};
  print_to(screen);
  screen.flush();
  std::fflush(stdout);
}

// A number in a column of its own.
inline runnel::text_writer& right(runnel::text_writer& out, std::uint64_t n, std::size_t width) {
  runnel::text<32> said;
  said.grouped(n);
  for (std::size_t size = said.size(); size < width; ++size) out << ' ';
  return out << said.c_str();
}

// Drops by their reasons; with what was dropped a second ago, only those that grow have a rate.
inline void print_drops(runnel::text_writer& out, const runnel::stage_counters& sum,
                        const runnel::stage_counters* before = nullptr) {
  for (std::size_t i = 0; i < runnel::drop_reason_count; ++i) {
    const auto why = static_cast<runnel::drop_reason>(i);
    if (sum.dropped(why) == 0) continue;
    right(out, sum.dropped(why), 12) << ' ' << name(why);
    const std::uint64_t more = before == nullptr ? 0 : sum.dropped(why) - before->dropped(why);
    if (more != 0) (out << ", now ").grouped(more) << " a second";
    out << '\n';
  }
}

// What rules with the word `counter` have counted: packets, bytes, where it stands, what it says.
inline void print_rule_counters(runnel::text_writer& out, const runnel::rule_table& rules) {
  const char* title = "\nCounters of rules, packets and bytes:\n";
  for_each_counter(rules, [&](const runnel::counting_rule& r) {
    out << title;
    title = "";
    right(out, r.hits.packets, 12);
    right(out, r.hits.bytes, 18) << "  " << name(r.family) << ' ' << r.table << ' ' << r.chain << ": ";
    print(out, r);
    out << '\n';
  });
}

class live_view {
 public:
  explicit live_view(router& r) : octets_(r.connections.capacity()) {}

  // Whether there is a terminal to draw on.
  [[nodiscard]] bool is_seen() const { return standard(1).is_terminal(); }

  // One screen. Rates are what has changed since the last one: to be called once a second. Looks at all connections, as
  // who talks most is not counted anywhere: some milliseconds for 100'000.
  void draw(router& r, const std::vector<port>& ports, const runnel::stage_counters& sum, runnel::instant now) {
    on_terminal([&](runnel::text_writer& out) {
      out << "\x1b[H\x1b[2J";
      out << "interface        packets/s in        bit/s in   packets/s out       bit/s out   neighbours\n";
      rates_.resize(ports.size());
      for (std::size_t i = 0; i < ports.size(); ++i) {
        const port& p = ports[i];
        rates& was = rates_[i];
        out << p.name.c_str();
        out.pad_to(16);
        right(out, p.received.packets - was.packets_in, 14);
        right(out, (p.received.bytes - was.bytes_in) * 8, 16);
        right(out, p.sent.packets - was.packets_out, 16);
        right(out, (p.sent.bytes - was.bytes_out) * 8, 16);
        right(out, p.neighbours->size(), 13) << '\n';
        was = {p.received.packets, p.received.bytes, p.sent.packets, p.sent.bytes};
      }
      for (const port& p : ports)
        if (!p.trouble.empty()) out << p.name.c_str() << ": " << p.trouble.c_str() << '\n';
      const runnel::connection_statistics& s = r.connections.statistics();
      (out << "\nconnections ").grouped(r.connections.size());
      (out << " of ").grouped(r.connections.capacity());
      (out << ", new ").grouped(s.insert - inserted_) << " a second";
      inserted_ = s.insert;
      if (r.has_fast_path()) print_fast_path(out, r.flows.statistics());
      out << "\n\nmost traffic, bit/s:\n";
      print_talkers(out, r);
      out << "\ndropped:\n";
      print_drops(out, sum, &before_);
      before_ = sum;
      (void)now;
    });
  }

 private:
  template <class Print>
  void on_terminal(Print print_to) {
    char buffer[4096];
    const auto write = [](void*, const char* s, std::size_t n) { standard(1).take(s, n); };
    runnel::text_writer screen{buffer, sizeof buffer, write, nullptr};
    print_to(screen);
    screen.flush();
  }
  // Packets of the last second: those that went the fast way, and the others by cause.
  void print_fast_path(runnel::text_writer& out, const runnel::flowtable_statistics& s) {
    (out << "\nfast path ").grouped(s.hits - flows_.hits);
    (out << " packets/s, past it: no flow ").grouped(s.misses - flows_.misses);
    (out << ", to ask again ").grouped(s.stale - flows_.stale);
    (out << ", to look at ").grouped(s.exceptions - flows_.exceptions);
    (out << ", others ").grouped(s.other - flows_.other);
    if (s.full != flows_.full) (out << "; without room ").grouped(s.full - flows_.full);
    flows_ = s;
  }
  struct rates {
    std::uint64_t packets_in = 0, bytes_in = 0, packets_out = 0, bytes_out = 0;
  };
  struct talker {
    std::uint64_t octets = 0;
    const runnel::connection* of = nullptr;
  };
  void print_talkers(runnel::text_writer& out, router& r) {
    using way = runnel::connection_direction;
    talker most[8];
    r.connections.for_each([&](const runnel::connection& c) {
      std::uint64_t& was = octets_[r.connections.number_of(c)];
      const std::uint64_t is = c.octets(way::original) + c.octets(way::reply);
      talker t{is >= was ? is - was : is, &c};  // its number may have been another one's
      was = is;
      for (talker& other : most)
        if (t.octets > other.octets) std::swap(t, other);
    });
    for (const talker& t : most) {
      if (t.octets == 0) break;
      right(out, t.octets * 8, 16) << "  ";
      runnel::print(out, r.connections.original(*t.of));
      out << '\n';
    }
  }

  std::vector<std::uint64_t> octets_;  // of each connection, a second ago
  std::vector<rates> rates_;
  std::uint64_t inserted_ = 0;
  runnel::flowtable_statistics flows_{};
  runnel::stage_counters before_{};
};

}  // namespace gateway

#endif
