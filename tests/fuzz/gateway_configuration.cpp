// SPDX-License-Identifier: MIT
// Any text as the configuration of the example gateway: it is refused with a line and a column that it has, or what it
// says fits together, and its rules stand where they stood.
#include <cstddef>
#include <cstdint>
#include <string>

#include "../../examples/gateway/configuration.hpp"
#include "check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  gateway::configuration made;
  gateway::configuration_reader reader(text, made);
  if (!reader.read()) {
    const gateway::fault& f = reader.why();
    std::size_t lines = 1;
    for (const char c : text) lines += c == '\n' ? 1 : 0;
    CHECK(f.line >= 1 && f.line <= lines && f.column >= 1 && f.column <= size + 1);
    CHECK(!f.what.empty());
    return 0;
  }
  CHECK(!made.interfaces.empty() && made.interfaces.size() <= 64);
  for (std::size_t i = 0; i < made.interfaces.size(); ++i) {
    CHECK(made.number_of(made.interfaces[i].name) == i + 1);
    CHECK(!made.interfaces[i].device.empty());
    CHECK((made.interfaces[i].vlan != 0) == (made.interfaces[i].parent != 0) && made.interfaces[i].parent <= i);
  }
  for (const gateway::configuration::route& r : made.routes) {
    CHECK(r.covered.is_v4() || r.covered.is_v6());
    CHECK(!r.ways.empty() && r.ways.size() <= runnel::next_hop_table::most_members);
    for (const gateway::configuration::way& w : r.ways) {
      const runnel::next_hop& hop = w.hop;
      CHECK(hop.type != runnel::route_type::unicast || (hop.oif >= 1 && hop.oif <= made.interfaces.size()));
      CHECK(hop.has_gateway() ? hop.has_ipv4_gateway() == r.covered.is_v4() : r.ways.size() == 1);
      CHECK(w.weight >= 1);
    }
  }
  CHECK(made.fast_path == 0 || (made.fast_path >= 4 && (made.fast_path & (made.fast_path - 1)) == 0));
  CHECK(made.neighbours.unresolved <= made.neighbours.entries);
  CHECK(made.fragments.datagrams <= made.fragments.fragments);
  for (const gateway::configuration::route& r : made.routes) CHECK(r.table < made.tables.size());
  CHECK(made.rules.size() <= gateway::configuration::rule::most);
  for (const gateway::configuration::rule& r : made.rules) {
    CHECK(r.table < made.tables.size() && r.about.iif <= made.interfaces.size());
    CHECK(!(r.about.from.is_v4() && r.about.to.is_v6()) && !(r.about.from.is_v6() && r.about.to.is_v4()));
  }
  CHECK(made.nft.size() == size);
  for (std::size_t i = 0; i < size; ++i) CHECK(made.nft[i] == text[i] || (made.nft[i] == ' ' && text[i] != '\n'));
  return 0;
}
