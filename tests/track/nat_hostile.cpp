// SPDX-License-Identifier: MIT
// What others may try on NAT, and what changes under it while connections go on.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;

TEST_CASE("connections outlive their NAT table, and end under another one") {
  counted_table connections({.connections = 16, .unconfirmed = 4, .seed = 1});
  constexpr nat_config sizes{.mappings = 4, .subscribers = 4, .permissions = 4, .seed = 5};
  alignas(nat_table::alignment) std::byte memory[nat_table::bytes_needed(sizes)];
  nat_options options;
  options.mapping = nat_mapping::endpoint_independent;
  const nat_target to = snat(nat_hosts::box).target();
  const auto own = [](const packet&, const ipv6_address&) { return ipv6_address{}; };
  counted_pool pool;
  const packet p = pool->allocate();
  {
    nat_table first(*connections, memory, sizes, options);
    connection& c = (*connections)[connections->insert({nat_hosts::in1, nat_hosts::out1, 1000, 53, 17}, {})];
    CHECK(first.bind(c, p, true, &to, own, {}) == pass);
    CHECK(first.mappings() == 1);
    CHECK(connections->confirm(c, {}));
  }
  nat_table second(*connections, memory, sizes, options);
  CHECK(second.mappings() == 0);
  const auto end_all = [&] { connections->for_each([&](connection& c) { connections->erase(c); }); };
  SUBCASE("without its mapping") {
    end_all();
    CHECK(connections->size() == 0);
  }
  SUBCASE("with its mapping restored") {
    CHECK(second.restore({}) == 0);
    CHECK(second.mappings() == 1);
    end_all();
    CHECK(second.mappings() == 0);
  }
}

TEST_CASE("a mapping whose last connection makes room for another one goes on with that") {
  using namespace nat_hosts;
  nat_rig r(nat_eim());
  r.outbound(masquerade());
  r.rule(prerouting, dnat(out1), [](const packet& p) { return header_map{p}.get<ipv4>().destination() == out2; });
  const std::string out = "udp 192.0.2.254:1000 > 198.51.100.1:53";
  CHECK(r.udp(in1, 1000, out1, 53) == out);
  // Its time has run out, and nobody was there yet to end it, when another one is to look like it.
  r.now = r.now + seconds(301);
  std::vector<std::byte> ip(46);
  REQUIRE(write_headers({ip.data(), ip.size()}, ipv4_header{.source = in1, .destination = out2},
                        udp_header{.source_port = 1000, .destination_port = 53}));
  CHECK(r.send_bytes(ip) == out);
  CHECK(r.nat->mappings() == 1);
  CHECK(r.nat->subscribers() == 1);
  CHECK(r.udp(in1, 1000, out3, 53) == "udp 192.0.2.254:1000 > 203.0.113.3:53");
  CHECK(r.nat->mappings() == 1);
}

TEST_CASE("no checksum of UDP-Lite becomes 0, which says that there is none") {
  for (std::uint32_t sum = 1; sum < 65536; ++sum) {
    std::byte ip[28]{};
    detail::nat_headers h;
    h.network = ip, h.transport = ip + 20, h.held = 8, h.protocol = 136;
    store_be16(h.transport + 6, static_cast<std::uint16_t>(sum));
    detail::rewrite_headers(h, {nat_hosts::in1, {}, 0, 0, 136}, true);
    REQUIRE(load_be16(h.transport + 6) != 0);
  }
}
