// SPDX-License-Identifier: MIT
// Fuzz target: the same fragments through virtual reassembly. After each the table has to be consistent and within its
// limits, and as long as nobody wrote into headers: each fragment fares as a plain model says, nothing goes on of a
// datagram before its first fragment or twice, those that waited go on behind it in order, bytes are as they came, and
// later ones have the ports of the first.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <runnel/ip/virtual_fragment_table.hpp>

#include "fragment_steps.hpp"

namespace {

using namespace fuzz;

// A fragment that went on: its place, and all that lies there is right.
std::size_t place_of_fragment(const packet& p, const step& f) {
  CHECK(p.layers() == find(p));
  const std::byte* const b = p.data();
  const std::size_t headers = 14 + (f.v6() ? 48u : 20u);
  const std::size_t begin = f.v6() ? load_be16(b + 56) & 0xfff8u : (load_be16(b + 20) & 0x1fffu) * std::size_t{8};
  const std::size_t size = f.v6() ? load_be16(b + 18) - std::size_t{8} : load_be16(b + 16) - std::size_t{20};
  CHECK(headers + size <= p.length());
  for (std::size_t i = 0; i < size; ++i) CHECK(b[headers + i] == payload_at(begin + i));
  return begin;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static static_virtual_fragment_table<config> room;
  virtual_fragment_table& table = room;
  fragment_model model{config};
  const auto take = [&](const step& f, packet& p, instant now, bool plain) {
    std::vector<packet> out;
    const verdict v = table.follow(p, now, [&](packet&& q) {
      CHECK(table.check());
      out.push_back(static_cast<packet&&>(q));
    });
    CHECK(table.check());
    CHECK(table.fragments() <= config.fragments && table.size() <= config.datagrams);
    CHECK(table.fragments() + memory->available() + out.size() + (p ? 1u : 0u) >= memory->capacity());
    if (v == stolen) CHECK(!p);
    else CHECK(p && out.empty());
    if (!plain) return;
    // What waits for the first one, by the model, before and after.
    const fragment_model::datagram* const before = model.at(f.datagram());
    std::vector<fragment_model::piece> there;
    if (before != nullptr) there = before->pieces;
    const fragment_model::answer a = model.take(f, now);
    CHECK((v.code == verdict_code::drop) == (a.what == fragment_model::outcome::dropped) && v.reason == a.why);
    table.expire(now);
    model.expire(now);
    CHECK(table.size() == model.size());
    CHECK(table.fragments() == model.fragments());
    if (v.code == verdict_code::drop || a.what == fragment_model::outcome::atomic) return;
    // The model's datagram now, which may have lost its former pieces to age.
    const fragment_model::datagram* const g =
        a.what == fragment_model::outcome::whole ? &model.last : model.at(f.datagram());
    if (g == nullptr) return;  // its time was over at once
    bool first_there = false;
    for (const fragment_model::piece& one : g->pieces) first_there = first_there || one.begin == 0;
    CHECK(first_there || out.empty());
    CHECK((v == pass) == (f.begin() != 0 ? first_there : g->pieces.size() == 1));
    const auto told = [&](const packet& q) {
      if (f.transport() == 17) return q.connection() == detail::later_fragment::of_udp && q.scratch() == 0x0001'0002;
      return q.connection() == detail::later_fragment::of_other && q.scratch() == 0;
    };
    if (v == pass) {
      CHECK(place_of_fragment(p, f) == f.begin());
      if (f.begin() == 0) CHECK(p.connection() == 0);
      else if (!f.v6()) CHECK(told(p));  // of IPv6 the first one says what the transport is
      return;
    }
    if (f.begin() != 0) return;
    // It was the first one: with it came all others of its datagram, in order.
    CHECK(out.size() == g->pieces.size());
    CHECK(place_of_fragment(out[0], f) == 0 && out[0].connection() == 0);
    for (std::size_t k = 1; k < out.size(); ++k) {
      CHECK(place_of_fragment(out[k], f) > place_of_fragment(out[k - 1], f));
      CHECK(told(out[k]));
    }
  };
  each_step(data, size, take, [&] { table.clear(); });
  return 0;
}
