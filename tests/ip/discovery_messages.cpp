// SPDX-License-Identifier: MIT
// What every message of neighbour discovery has to be, or it is dropped: all five of them, one fault at a time.
#include <runnel/ip.hpp>

#include <cstddef>
#include <cstdint>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>
#include <ip/neighbour_host.hpp>

using namespace runnel;
using namespace runnel::test;

TEST_CASE(
    "RFC 4861 6.1, 7.1, 8.1: hop limit 255, code 0, a right checksum, options longer than nothing, no fragments") {
  // Each kind of message as it should be, and with one fault each: what becomes of it.
  host h;
  REQUIRE(h.link.addresses.add(addr6("fe80::1"), 64));
  router_advertiser advertiser{h.table, {}, 1};
  router_discovery discovery{h.table, {}, 1};
  constexpr auto from = addr6("fe80::2");
  const auto try_all = [&](std::size_t fault, auto stage, const ipv6_address& to, const auto& message,
                           const auto& option) {
    packet p = h.memory->allocate();
    const ethernet_header frame{.source = peer, .destination = to.is_multicast() ? multicast_mac(to) : us};
    const ipv6_header ip{
        .source = from, .destination = to, .hop_limit = static_cast<std::uint8_t>(fault == 1 ? 254 : 255)};
    const ipv6_fragment_header fragment{};
    const std::size_t size = size_of_headers(frame, ip, message, option) + (fault == 5 ? fragment.size() : 0);
    std::byte* const at = p.put(size);
    REQUIRE(at != nullptr);
    if (fault == 5) REQUIRE(write_headers({at, size}, frame, ip, fragment, message, option));
    else REQUIRE(write_headers({at, size}, frame, ip, message, option));
    std::byte* const icmp = at + size - size_of_headers(message, option);
    const auto change = [&](std::size_t place, unsigned value, bool mend) {
      icmp[place] = static_cast<std::byte>(value);
      if (!mend) return;
      icmp[2] = icmp[3] = std::byte{0};
      const mutable_bytes whole{icmp, size_of_headers(message, option)};
      store_be16(icmp + 2, checksum(whole, std::uint64_t{ip.pseudo_header_sum()} + 58 + whole.size()));
    };
    if (fault == 2) change(1, 1, true);
    if (fault == 3) change(3, static_cast<unsigned>(icmp[3]) ^ 1u, false);
    if (fault == 4) change(message.size() + 1, 0, true);
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    context c;
    return stage(p, c);
  };
  for (std::size_t fault = 0; fault < 6; ++fault) {
    CAPTURE(fault);
    const ndp_source_link_address source{peer};
    const ndp_target_link_address target{peer};
    const verdict all[] = {
        try_all(fault, hear_routers(advertiser), all_routers_multicast, router_solicitation_header{}, source),
        try_all(fault, hear_routers(discovery), all_nodes_multicast, router_advertisement_header{}, source),
        try_all(fault, answer_neighbours(h.table), own6, neighbour_solicitation_header{.target = own6}, source),
        try_all(fault, answer_neighbours(h.table), own6, neighbour_advertisement_header{.target = from}, target),
        try_all(fault, hear_routers(discovery), own6, ndp_redirect_header{.target = far6, .destination = far6},
                target)};
    for (const verdict& v : all) {
      CHECK(v.code == (fault == 0 ? verdict_code::stolen : verdict_code::drop));
      if (fault != 0) CHECK(v.reason == (fault == 3 ? drop_reason::icmp_checksum : drop_reason::neighbour_malformed));
    }
  }
  h.at(0);
}
