// SPDX-License-Identifier: MIT
// The same routes and rules in the kernel's tables and in ours, of all three kinds, coming and going at random; and
// what both say about packets. Runs in a namespace of its own with four interfaces; start it with the script
// compare_routes.
//
//     compare_routes STEPS SEED
#include <algorithm>
#include <map>
#include <memory>
#include <new>

#include <runnel/ip.hpp>

#include "kernel_path.hpp"
#include "kernel_routes.hpp"

namespace {

using namespace kernel_path;
using namespace runnel;

constexpr unsigned tables = 4, first_table = 100;
constexpr unsigned interfaces = 4;  // eth0 to eth3
unsigned index_of[interfaces];

// ---- what is in the tables

constexpr unsigned hops = 30;  // numbers of ways: a gateway or none, by eth1, eth2 or eth3
std::uint16_t oif_of(unsigned hop) { return static_cast<std::uint16_t>(1 + hop % 3); }
std::uint8_t gateway_of(unsigned hop) { return static_cast<std::uint8_t>(hop / 3); }

struct any_prefix {
  bool is_ipv6 = false;
  raw_address bytes{};
  unsigned length = 0;

  prefix ours() const {
    return is_ipv6 ? prefix::v6(ipv6_address::load(start()), length) : prefix::v4(ipv4_address::load(start()), length);
  }
  const std::byte* start() const { return reinterpret_cast<const std::byte*>(bytes.bytes); }
  void cut() {
    for (unsigned i = length; i < 128; ++i) bytes.bytes[i / 8] &= static_cast<std::uint8_t>(~(0x80u >> i % 8));
  }
  friend bool operator==(const any_prefix& a, const any_prefix& b) {
    return a.is_ipv6 == b.is_ipv6 && a.length == b.length && std::memcmp(a.bytes.bytes, b.bytes.bytes, 16) == 0;
  }
};
struct any_route {
  any_prefix to{};
  unsigned table = 0;
  route_type type = route_type::unicast;
  std::vector<unsigned> ways{};
};
struct any_rule {
  bool is_ipv6 = false;
  std::uint32_t priority = 0;
  any_prefix from{}, to{};  // of length 0: any
  std::uint32_t mark = 0, mask = 0;
  unsigned iif = interfaces;  // any
  route_type action = route_type::unicast;
  unsigned table = 0;
};
struct question {
  bool is_ipv6 = false;
  raw_address source{}, destination{};
  std::uint32_t mark = 0;
  unsigned iif = 0;
};

bool at_one_place(const any_rule& a, const any_rule& b) { return a.is_ipv6 == b.is_ipv6 && a.priority == b.priority; }

// What is said about a packet; of a group each of its members.
struct said {
  std::vector<std::string> all{};
  bool has(const std::string& s) const { return std::find(all.begin(), all.end(), s) != all.end(); }
};
std::string way_text(unsigned oif, unsigned gateway) {
  return "eth" + std::to_string(oif) +
         (gateway != 0 ? " via ." + std::to_string(gateway) : std::string(" on the link"));
}

// ---- ours: rules over tables of one kind for each family; IPv4 and IPv6 have rules of their own, as in the kernel

template <class F>
struct with_memory {
  std::unique_ptr<std::byte[]> memory;
  F table;
  with_memory() : memory(new std::byte[room + 64]), table(mutable_bytes{aligned(memory.get()), room}) {}
  static constexpr std::size_t room = F::bytes_for(40'000);
  static std::byte* aligned(std::byte* p) { return p + (64 - reinterpret_cast<std::uintptr_t>(p) % 64) % 64; }
};
template <class Address>
struct with_memory<sorted_routes<Address>> {
  std::vector<typename sorted_routes<Address>::slot> memory{20'000};
  sorted_routes<Address> table{memory.data(), memory.size()};
};

template <class F4, class F6>
class our_routes {
  using table = route_table<F4, F6>;

 public:
  explicit our_routes(const char* name) : name_(name) {
    for (unsigned i = 0; i < tables; ++i) tables_[i].reset(new one(hops_));
  }
  const char* name() const { return name_; }
  bool insert(const any_route& r) {
    table& t = tables_[r.table]->routes;
    if (r.ways.empty()) return t.insert(r.to.ours(), next_hop::of(r.type, 9));  // an interface that no rule has
    if (r.ways.size() == 1) return t.insert(r.to.ours(), hop(r, r.ways[0]));
    std::vector<weighted_hop> members;
    for (const unsigned w : r.ways) members.push_back({hops_.add(hop(r, w)), 1});
    const next_hop_number group = hops_.add_group(members.data(), members.size());
    const bool done = group != no_next_hop && t.insert(r.to.ours(), group);
    for (const weighted_hop& m : members) hops_.release(m.hop);
    if (group != no_next_hop) hops_.release(group);
    return done;
  }
  bool erase(const any_route& r) { return tables_[r.table]->routes.erase(r.to.ours()); }
  bool add(const any_rule& r) {
    auto& rules = r.is_ipv6 ? rules6_ : rules4_;
    return r.action == route_type::unicast
               ? rules.add(r.priority, selector(r), tables_[r.table]->routes, first_table + r.table)
               : rules.add(r.priority, selector(r), r.action);
  }
  bool erase(const any_rule& r) { return (r.is_ipv6 ? rules6_ : rules4_).erase(r.priority, selector(r)); }
  said lookup(const question& q) const {
    const auto* const from = reinterpret_cast<const std::byte*>(q.source.bytes);
    const auto* const to = reinterpret_cast<const std::byte*>(q.destination.bytes);
    const auto iif = static_cast<std::uint16_t>(q.iif + 1);
    const next_hop_number n =
        q.is_ipv6
            ? rules6_.lookup(route_query<ipv6_address>{ipv6_address::load(to), ipv6_address::load(from), q.mark, iif})
            : rules4_.lookup(route_query<ipv4_address>{ipv4_address::load(to), ipv4_address::load(from), q.mark, iif});
    if (n == no_next_hop) return {{"nothing"}};
    if (!hops_.is_group(n)) return {{text(n)}};
    said s;
    const next_hop_table::group& g = hops_.group_at(n);
    for (unsigned i = 0; i < g.members; ++i) s.all.push_back(text(g.member[i].hop));
    return s;
  }

 private:
  struct one {
    explicit one(next_hop_table& h) : routes(h, v4.table, v6.table) {}
    with_memory<F4> v4;
    with_memory<F6> v6;
    table routes;
  };
  static next_hop hop(const any_route& r, unsigned n) {
    const std::uint8_t g = gateway_of(n);
    if (g == 0) return next_hop::on_link(oif_of(n));
    return r.to.is_ipv6 ? next_hop::via(ipv6_address{0xfe80'0000'0000'0000, g}, oif_of(n))
                        : next_hop::via(ipv4_address{10, 255, 0, g}, oif_of(n));
  }
  static rule_selector selector(const any_rule& r) {
    rule_selector s;
    if (r.from.length != 0) s.from = r.from.ours();
    if (r.to.length != 0) s.to = r.to.ours();
    s.mark = r.mark, s.mark_mask = r.mask;
    s.iif = static_cast<std::uint16_t>(r.iif == interfaces ? 0 : r.iif + 1);
    return s;
  }
  std::string text(next_hop_number n) const {
    const next_hop& h = hops_[n];
    if (h.type == route_type::unicast) return way_text(h.oif, static_cast<unsigned>(h.gateway.low() & 0xff));
    // The kernel says of a rule that refuses the same as when there is no route.
    if (h.type == route_type::unreachable && h.oif == 0) return "nothing";
    return runnel::name(h.type);
  }

  const char* name_;
  next_hop_table_of<4096, 2048> hops_;
  std::unique_ptr<one> tables_[tables];
  routing_rules<table, 64> rules4_{hops_}, rules6_{hops_};
};

// ---- the kernel's

said kernel_says(kernel_routes& kernel, const question& q) {
  const kernel_routes::answer a = kernel.lookup(q.is_ipv6, q.source, q.destination, q.mark, index_of[q.iif]);
  switch (a.error) {
    case 0: break;
    case ENETUNREACH: return {{"nothing"}};
    case EHOSTUNREACH: return {{"unreachable"}};
    case EACCES: return {{"prohibit"}};
    case EINVAL: return {{"blackhole"}};
    default: return {{std::strerror(a.error)}};
  }
  if (a.type == RTN_LOCAL) return {{"local"}};
  if (a.type != RTN_UNICAST) return {{"type " + std::to_string(a.type)}};
  for (unsigned i = 0; i < interfaces; ++i)
    if (index_of[i] == a.to.oif) return {{way_text(i, a.to.gateway)}};
  return {{"interface " + std::to_string(a.to.oif)}};
}
std::uint8_t kernel_type(route_type t) {
  switch (t) {
    case route_type::unicast: return RTN_UNICAST;
    case route_type::local: return RTN_LOCAL;
    case route_type::blackhole: return RTN_BLACKHOLE;
    case route_type::unreachable: return RTN_UNREACHABLE;
    case route_type::prohibit: return RTN_PROHIBIT;
    default: return RTN_THROW;
  }
}
void insert(kernel_routes& kernel, const any_route& r) {
  std::vector<kernel_routes::way> ways;
  for (const unsigned w : r.ways) ways.push_back({gateway_of(w), index_of[oif_of(w)]});
  kernel.insert(r.to.is_ipv6, r.to.bytes, r.to.length, first_table + r.table, kernel_type(r.type), ways);
}
void change(kernel_routes& kernel, const any_rule& r, bool add) {
  constexpr const char* names[] = {"eth0", "eth1", "eth2", "eth3", nullptr};
  const std::uint8_t action = r.action == route_type::blackhole     ? FR_ACT_BLACKHOLE
                              : r.action == route_type::unreachable ? FR_ACT_UNREACHABLE
                              : r.action == route_type::prohibit    ? FR_ACT_PROHIBIT
                                                                    : FR_ACT_TO_TBL;
  kernel.rule(add, r.is_ipv6, r.priority, r.from.bytes, r.from.length, r.to.bytes, r.to.length, r.mark, r.mask,
              names[r.iif], action, action == FR_ACT_TO_TBL ? first_table + r.table : 0);
}

// ---- chance

class chance {
 public:
  explicit chance(std::uint64_t seed) : random_(seed) {}
  numbers& random() { return random_; }

  // In 10.0.0.0/8 or fd00::/16, in few bits, so that routes lie inside one another.
  raw_address destination(bool ipv6) { return address(ipv6, 10, 0xfd); }
  // In 11.0.0.0/8 or fc00::/16, where no route to this host leads.
  raw_address source(bool ipv6) { return address(ipv6, 11, 0xfc); }
  any_prefix block(bool ipv6, bool of_sources = false) {
    any_prefix p;
    p.is_ipv6 = ipv6;
    p.bytes = of_sources ? source(ipv6) : destination(ipv6);
    const unsigned bits = ipv6 ? 128 : 32;
    p.length = random_.chance(3) ? random_.below(9) : 8 + random_.below(bits - 7);
    if (random_.chance(15)) p.length = bits;
    p.cut();
    return p;
  }
  any_route route() {
    constexpr route_type types[] = {route_type::blackhole, route_type::unreachable, route_type::prohibit,
                                    route_type::throw_, route_type::local};
    any_route r;
    r.to = block(random_.chance(50));
    r.table = random_.below(tables);
    if (random_.chance(20)) {
      r.type = random_.one_of(types);
      // Where sources are, nothing is of this host.
      if (r.type == route_type::local && r.to.length < 9) r.type = route_type::throw_;
    } else if (random_.chance(10)) {
      for (unsigned w = 3; w < hops && r.ways.size() < 4; w += 1 + random_.below(12)) r.ways.push_back(w);
    } else {
      r.ways.push_back(random_.below(hops));
    }
    return r;
  }
  any_rule rule() {
    any_rule r;
    r.is_ipv6 = random_.chance(50);
    r.priority = 100 + random_.below(40);
    // Short ones, so that many packets are theirs.
    if (random_.chance(60))
      r.from = block(r.is_ipv6, true), r.from.length = 8 + random_.below(r.is_ipv6 ? 20 : 6), r.from.cut();
    if (random_.chance(30)) r.to = block(r.is_ipv6), r.to.length = 6 + random_.below(8), r.to.cut();
    if (random_.chance(30)) r.mark = 1 + random_.below(3), r.mask = random_.chance(50) ? 0xffff'ffff : 3;
    if (random_.chance(30)) r.iif = random_.below(interfaces);
    constexpr route_type types[] = {route_type::blackhole, route_type::unreachable, route_type::prohibit};
    if (random_.chance(8) && r.from.length > 10) r.action = random_.one_of(types);
    r.table = random_.below(tables);
    return r;
  }
  // About a place near to a route, mostly.
  question ask(const std::vector<any_route>& routes) {
    question q;
    q.is_ipv6 = random_.chance(50);
    q.destination = destination(q.is_ipv6);
    if (!routes.empty() && random_.chance(80)) {
      const any_prefix& p = routes[random_.below(routes.size())].to;
      if (p.length >= 8) {
        q.is_ipv6 = p.is_ipv6;
        const raw_address other = destination(q.is_ipv6);
        for (unsigned i = 0; i < 128; ++i) {
          const auto bit = static_cast<std::uint8_t>(0x80u >> i % 8);
          const std::uint8_t from = i < p.length ? p.bytes.bytes[i / 8] : other.bytes[i / 8];
          q.destination.bytes[i / 8] = static_cast<std::uint8_t>((q.destination.bytes[i / 8] & ~bit) | (from & bit));
        }
      }
    }
    q.source = source(q.is_ipv6);
    q.mark = random_.below(8);
    q.iif = random_.below(interfaces);
    return q;
  }

 private:
  raw_address address(bool ipv6, std::uint8_t first4, std::uint8_t first6) {
    raw_address a;
    for (unsigned i = 0; i < (ipv6 ? 16u : 4u); ++i)
      a.bytes[i] =
          static_cast<std::uint8_t>(random_.chance(50) ? random_.next() & 0x81 : random_.next() & random_.next());
    a.bytes[0] = ipv6 ? first6 : first4;
    if (ipv6) a.bytes[1] = 0;
    return a;
  }
  numbers random_;
};

std::string text_of(const raw_address& a, bool ipv6) {
  runnel::text<64> t;
  if (ipv6) print(t, ipv6_address::load(reinterpret_cast<const std::byte*>(a.bytes)));
  else print(t, ipv4_address::load(reinterpret_cast<const std::byte*>(a.bytes)));
  return t.c_str();
}
template <class T>
T take(std::vector<T>& from, std::size_t at) {
  std::swap(from[at], from.back());
  const T taken = from.back();
  from.pop_back();
  return taken;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "compare_routes STEPS SEED\n"), 2;
  for (unsigned i = 0; i < interfaces; ++i) index_of[i] = ::if_nametoindex(("eth" + std::to_string(i)).c_str());
  const int steps = std::atoi(argv[1]);
  chance c(static_cast<std::uint64_t>(std::atoll(argv[2])));
  kernel_routes kernel;
  const auto sorted =
      std::make_unique<our_routes<sorted_routes<ipv4_address>, sorted_routes<ipv6_address>>>("sorted_routes");
  const auto trie =
      std::make_unique<our_routes<compact_trie<ipv4_address>, compact_trie<ipv6_address>>>("compact_trie");
  const auto direct = std::make_unique<our_routes<dir_24_8, compact_trie<ipv6_address>>>("dir_24_8");
  const auto each = [&](auto f) { f(*sorted), f(*trie), f(*direct); };

  std::vector<any_route> routes;
  std::vector<any_rule> rules;
  unsigned lookups = 0, wrong = 0, refused = 0, most = 0;
  std::map<std::string, unsigned> kinds;
  for (int step = 0; step < steps; ++step) {
    // Grows for the first half, then goes.
    if (c.random().chance(step < steps / 2 ? 75 : 40)) {
      const any_route r = c.route();
      const auto there = std::find_if(routes.begin(), routes.end(),
                                      [&](const any_route& o) { return o.to == r.to && o.table == r.table; });
      insert(kernel, r);
      each([&](auto& ours) { refused += ours.insert(r) ? 0u : 1u; });
      if (there == routes.end()) routes.push_back(r);
      else *there = r;
    } else if (!routes.empty()) {
      const any_route r = take(routes, c.random().below(routes.size()));
      kernel.erase(r.to.is_ipv6, r.to.bytes, r.to.length, first_table + r.table);
      each([&](auto& ours) { refused += ours.erase(r) ? 0u : 1u; });
    }
    if (rules.size() < 12 || (rules.size() < 60 && c.random().chance(5))) {
      const any_rule r = c.rule();
      // The kernel refuses a rule that is there already: those of one priority differ in their source.
      const bool there = std::any_of(rules.begin(), rules.end(),
                                     [&](const any_rule& o) { return at_one_place(o, r) && o.from == r.from; });
      if (!there) {
        change(kernel, r, true);
        each([&](auto& ours) { refused += ours.add(r) ? 0u : 1u; });
        rules.push_back(r);
      }
    } else if (c.random().chance(5)) {
      // The kernel takes what is not said about a rule to delete for anything: only those are safe that stand alone.
      const std::size_t at = c.random().below(rules.size());
      if (std::count_if(rules.begin(), rules.end(), [&](const any_rule& o) { return at_one_place(o, rules[at]); }) != 1)
        continue;
      const any_rule r = take(rules, at);
      change(kernel, r, false);
      each([&](auto& ours) { refused += ours.erase(r) ? 0u : 1u; });
    }
    most = std::max(most, static_cast<unsigned>(routes.size()));
    for (int n = 0; n < 4; ++n) {
      const question q = c.ask(routes);
      const said its = kernel_says(kernel, q);
      ++lookups;
      ++kinds[its.all[0].substr(0, 3) == "eth" ? "a way" : its.all[0]];
      each([&](auto& ours) {
        const said mine = ours.lookup(q);
        if (mine.has(its.all[0])) return;
        if (++wrong <= 20)
          std::printf("wrong: step %d: %s from %s iif eth%u mark %u: the kernel says %s, %s says %s\n", step,
                      text_of(q.destination, q.is_ipv6).c_str(), text_of(q.source, q.is_ipv6).c_str(), q.iif, q.mark,
                      its.all[0].c_str(), ours.name(), mine.all[0].c_str());
      });
    }
  }
  std::printf("%d steps, up to %u routes in %u tables, %zu rules at the end, %u lookups, %u wrong. The kernel said",
              steps, most, tables, rules.size(), lookups, wrong);
  for (const auto& [kind, n] : kinds) std::printf(" %s: %u,", kind.c_str(), n);
  std::printf("\n");
  // Each of them came up, or the comparison is worth less than it says.
  for (const char* kind : {"a way", "nothing", "blackhole", "unreachable", "prohibit", "local"})
    if (kinds[kind] < lookups / 1000) std::printf("wrong: only %u times %s\n", kinds[kind], kind), ++wrong;
  if (refused != 0) std::printf("wrong: a table refused %u times\n", refused);
  return wrong == 0 && refused == 0 ? 0 : 1;
}
