// SPDX-License-Identifier: MIT
// Fuzz target: fragments of a few datagrams of both families, with any place, length and header octet, into a small
// table whose time goes on. After each the table has to be consistent, and as long as nobody wrote into headers each
// fragment has to fare as a plain model says. What became whole has to be what a dissector finds in its bytes, made of
// the payload that belongs to each place. It is cut again, and has to become whole once more.
#include <cstddef>
#include <cstdint>

#include <runnel/ip/fragment.hpp>
#include <runnel/ip/fragment_table.hpp>

#include "fragment_steps.hpp"

namespace {

using namespace fuzz;

// A whole datagram that nobody wrote into: each byte is at its place.
void look_at(packet& p, bool untouched) {
  const layers found = p.layers();
  CHECK(found.has(protocol::parsed) && !found.has(protocol::fragment));
  CHECK(found == find(p));
  const header_map map{static_cast<const packet&>(p)};
  const std::size_t total =
      map.has<ipv6>() ? map.get<ipv6>().payload_length() + std::size_t{40} : map.get<ipv4>().total_length();
  CHECK(14 + total <= p.total_length());
  if (!untouched) return;
  std::size_t at = 0;
  const std::size_t headers = map.has<ipv6>() ? 54 : 34;
  p.for_each_fragment([&](bytes part) {
    for (const std::byte b : part) {
      if (at >= headers && at < 14 + total) CHECK(b == payload_at(at - headers));
      ++at;
    }
  });
}

// A datagram that became whole has several, also when it was found faulty only then.
std::size_t buffers_of(const packet& p) {
  std::size_t n = 0;
  if (p) p.for_each_fragment([&n](bytes) { ++n; });
  return n;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static static_fragment_table<config> room, room_for_more;
  fragment_table &table = room, &again = room_for_more;
  fragment_model model{config};
  table.on_timeout([](void*, packet&& p, instant) {
    const packet first = static_cast<packet&&>(p);
    CHECK(first.layers().has(protocol::fragment) && first.layers().has(protocol::parsed));
  });
  const auto take = [&](const step& f, packet& p, instant now, bool plain) {
    const bool was_fragment = p.layers().has(protocol::fragment);
    const verdict v = table.reassemble(p, now);
    CHECK(table.check());
    CHECK(table.fragments() <= config.fragments && table.size() <= config.datagrams);
    CHECK(table.fragments() + memory->available() + buffers_of(p) >= memory->capacity());
    if (v == stolen) CHECK(!p);
    if (plain) {
      const fragment_model::answer a = model.take(f, now);
      CHECK((v == stolen) == (a.what == fragment_model::outcome::held));
      CHECK((v.code == verdict_code::drop) == (a.what == fragment_model::outcome::dropped) && v.reason == a.why);
      table.expire(now);
      model.expire(now);
      CHECK(table.size() == model.size() && table.fragments() == model.fragments());
    }
    if (v != pass || !was_fragment) return;
    look_at(p, plain);
    // Once more.
    packet pieces[40];
    const std::size_t mtu = 68 + f.s[7];
    const auto n = header_map{static_cast<const packet&>(p)}.has<ipv6>() ? fragment_at_source(p, mtu, 77, pieces, 40)
                                                                         : fragment(p, mtu, pieces, 40);
    if (!n || *n < 2 || *n > config.fragments_per_datagram) return;
    verdict last = stolen;
    for (std::size_t k = *n; k-- != 0;) {
      CHECK(last == stolen);
      last = again.reassemble(pieces[k], now);
      CHECK(again.check());
      if (last.code == verdict_code::drop) break;  // a length that was written into makes it too long
    }
    if (last == pass) look_at(pieces[0], plain);
    again.clear();
  };
  each_step(data, size, take, [&] { table.clear(); });
  return 0;
}
