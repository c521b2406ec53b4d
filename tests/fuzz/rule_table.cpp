// SPDX-License-Identifier: MIT
// Any text as a ruleset: it is refused with a line and a column, or it is loaded and printed so that it is understood
// again, and packets walk its chains to an end.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>

#include <runnel/base/time.hpp>
#include <runnel/hook.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/dissect.hpp>

#include "check.hpp"

using namespace runnel;

namespace {

const hash_set_of<ipv4_address, 4> blocklist{"blocklist"};
const interval_set<std::uint16_t, 2> ports{"ports", range(1024, 65535)};
const match::set_reference sets[] = {blocklist, ports};

constexpr pool_config few{.packets = 2, .bytes = 256, .headroom = 64, .bare = 2};

template <class... Headers>
void walk(rule_table& rules, const Headers&... headers) {
  alignas(64) static std::byte memory[pool::bytes_needed(few)];
  static pool* const home = pool::create({memory, sizeof memory}, few);
  CHECK(home != nullptr);
  packet p = home->allocate();
  const std::size_t size = size_of_headers(headers...) + 8;
  std::byte* const at = p.put(size);
  std::memset(at, 0, size);
  CHECK(write_headers({at, size}, headers...));
  p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
  // Connections that begin and end meanwhile, and times at which elements end.
  struct alignas(128) record {
    connection_facts facts;
  };
  static record connections[16];
  static std::uint32_t turn = 0;
  record& mine = connections[++turn % 16];
  mine.facts = {};
  mine.facts.status = detail::connection_is_alive;
  connections[turn * 7 % 16].facts.status = 0;
  context c;
  c.connections = connections;
  for (unsigned i = 0; i < 10; ++i) {
    c.now = c.now + milliseconds(std::int64_t{1} << i);
    p.connection(connection_word::of(new_, connection_direction::original, turn % 16).value);
    const auto hook = static_cast<hook_point>(i % 5);
    (void)rules.run(hook, p, c);
    const nat_target* to = nullptr;
    (void)rules.translation(hook, p, c, nullptr, to);
    CHECK(to == nullptr || to->is_valid() || (to->flags & nat_flags::prefix) != 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static static_rule_table<rule_table_config{
      .chains = 16, .rules = 64, .nodes = 256, .words = 256, .limits = 4, .elements = 64}>
      first;
  static static_rule_table<rule_table_config{.chains = 16,
                                             .rules = 4096,
                                             .nodes = 32768,
                                             .words = 32768,
                                             .statements = 8192,
                                             .limits = 512,
                                             .sets = 1024,
                                             .elements = 4096}>
      second;
  // Of exactly its size, so that the sanitizer sees one byte too far.
  auto* const said = static_cast<char*>(std::malloc(size + 1));
  std::memcpy(said, data, size);
  said[size] = '\0';
  const auto loaded = load(first, said, sets);
  std::free(said);
  if (!loaded) {
    CHECK(std::strncmp(loaded.error().message(), "rules: line ", 12) == 0);
    CHECK(first->size() == 0);
    return 0;
  }
  static text<1048576> printed, again;
  printed.clear();
  again.clear();
  print(printed, first);
  const auto reloaded = load(second, printed.c_str(), sets);
  // A rule with "or" or "not" becomes several, perhaps too many.
  const bool full = !reloaded && std::strstr(reloaded.error().message(), "rule_table_config::") != nullptr;
  if (!reloaded && !full) std::fprintf(stderr, "%s\n%s\n", printed.c_str(), reloaded.error().message());
  CHECK(reloaded || full);
  if (reloaded) {
    print(again, second);
    if (!same_text(printed.c_str(), again.c_str())) std::fprintf(stderr, "%s\n%s\n", printed.c_str(), again.c_str());
    CHECK(same_text(printed.c_str(), again.c_str()));
  }
  const ethernet_header link{};
  // Several sources, for sets that packets add to.
  for (std::uint32_t i = 0; i < 24; ++i)
    walk(first, link, ipv4_header{.source = ipv4_address{0x0a00'0000u + i}, .destination = {192, 0, 2, 1}},
         udp_header{.source_port = 1, .destination_port = 53});
  const ipv4_header four{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}};
  walk(first, link, four,
       tcp_header{.source_port = 1,
                  .destination_port = 22,
                  .flags = tcp_flags::syn,
                  .options = {.maximum_segment_size = 1460}});
  walk(first, link, four, udp_header{.source_port = 1, .destination_port = 53});
  walk(first, link, ipv6_header{}, udp_header{.source_port = 1, .destination_port = 53});
  return 0;
}
