// SPDX-License-Identifier: MIT
// What the fuzz targets of reassembly have in common: fragments made of steps of eight bytes (datagram, place, length,
// more, time, and one header octet to be changed), and a model of what becomes of them.
#ifndef TESTS_FUZZ_FRAGMENT_STEPS_HPP
#define TESTS_FUZZ_FRAGMENT_STEPS_HPP

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include <runnel/ip/fragment_config.hpp>
#include <runnel/packet.hpp>
#include <runnel/wire.hpp>

#include "check.hpp"

namespace fuzz {

using namespace runnel;

inline static_pool<pool_config{.packets = 96, .bytes = 2048, .headroom = 64, .bare = 4}> memory;
inline constexpr fragment_config config{.fragments = 24, .datagrams = 4, .fragments_per_datagram = 16, .seed = 1};

// What lies at each place of every datagram's payload.
inline std::byte payload_at(std::size_t i) {
  return static_cast<std::byte>(i < 8 ? "\0\1\0\2\0\10\0\0"[i] : i * 37 + i / 256);
}

inline layers find(const packet& p) {
  return dissect(p.contents(), link_type::ethernet,
                 {.head_offset = p.headroom(), .chained = p.total_length() - p.length()});
}

// What a step says.
struct step {
  explicit step(const std::uint8_t* from) : s(from) {}
  const std::uint8_t* s;

  [[nodiscard]] bool v6() const { return (s[0] & 1) != 0; }
  [[nodiscard]] std::uint8_t transport() const { return (s[0] & 2) != 0 ? 17 : 200; }
  [[nodiscard]] std::uint16_t id() const { return s[0] >> 2 & 3; }
  [[nodiscard]] bool more() const { return (s[3] & 1) != 0; }
  [[nodiscard]] std::size_t begin() const { return s[1] * std::size_t{8}; }
  [[nodiscard]] std::size_t size() const { return s[2] + (s[3] & 2u) * 64; }
  [[nodiscard]] duration later() const { return milliseconds(std::int64_t{s[4]} * s[4]); }
  // Nobody wrote into its headers.
  [[nodiscard]] bool untouched() const { return (s[5] & 0x80) == 0; }
  // Datagrams differ by family, identification, and for IPv4 the protocol.
  [[nodiscard]] unsigned datagram() const { return v6() ? 1u | (s[0] & 12u) : s[0] & 14u; }
};

inline packet make(const step& f) {
  const std::uint8_t* const s = f.s;
  const bool v6 = f.v6(), more = f.more();
  const std::size_t begin = f.begin(), size = f.size();
  const ethernet_header link{};
  const ipv4_header four{.source = {10, 0, 0, 1},
                         .id = f.id(),
                         .dont_fragment = false,
                         .more_fragments = more,
                         .fragment_offset = static_cast<std::uint16_t>(begin),
                         .protocol = f.transport()};
  const ipv6_header six{.source = {1, 1}, .next_header = 44};
  packet p = memory->allocate();
  CHECK(static_cast<bool>(p));
  const std::size_t headers = 14 + (v6 ? 48u : 20u);
  std::byte* const to = p.put(headers + size);
  CHECK(to != nullptr);
  for (std::size_t i = 0; i < size; ++i) to[headers + i] = payload_at(begin + i);
  if (v6) {
    CHECK(write_headers({to, headers + size}, link, six));
    store_be32(to + 54, std::uint32_t{f.transport()} << 24 | static_cast<std::uint32_t>(begin | (more ? 1u : 0u)));
    store_be32(to + 58, f.id());
  } else {
    CHECK(write_headers({to, headers + size}, link, four));
  }
  if (!f.untouched()) {
    // Any octet of the headers, so that lengths, versions and extension headers are wrong as well.
    store_u8(to + 12 + s[6] % (headers - 12), s[7]);
    if (!v6 && (s[5] & 0x40) != 0) mut<ipv4>::unchecked({to + 14, 20}).update_checksum();
  }
  if ((s[5] & 1) != 0) CHECK(p.append(bytes{to, 3}));  // padding of the link
  p.layers(find(p));
  return p;
}

// What the standards and the table's limits say of untouched fragments, piece by piece: RFC 815, RFC 5722, and the
// oldest datagrams make room. Both families have the same age here only where time stood still; then IPv4 goes first.
class fragment_model {
 public:
  explicit fragment_model(const fragment_config& c) : config_(c) {}

  enum class outcome : std::uint8_t { held, whole, atomic, dropped };
  struct answer {
    outcome what;
    drop_reason why = drop_reason::none;
  };
  struct piece {
    std::size_t begin, end;
    bool more;
  };
  struct datagram {
    unsigned number;
    bool v6;
    instant since;
    bool refused = false;
    std::vector<piece> pieces;
  };

  // `whole`: the datagram was complete with it, and is in `last`.
  answer take(const step& f, instant now) {
    if (f.begin() == 0 && !f.more()) return {outcome::atomic};
    if (f.size() == 0 || (f.more() && f.size() % 8 != 0)) return {outcome::dropped, drop_reason::ip_fragment};
    expire(now);
    datagram* g = nullptr;
    for (datagram& one : all_)
      if (one.number == f.datagram()) g = &one;
    if (g == nullptr) {
      if (all_.size() == config_.datagrams) all_.erase(all_.begin() + oldest_but(~0u));
      all_.push_back({f.datagram(), f.v6(), now, false, {}});
      g = &all_.back();
    }
    if (g->refused) return {outcome::dropped, drop_reason::ip_fragment};
    const piece p{f.begin(), f.begin() + f.size(), f.more()};
    for (const piece& other : g->pieces)
      if (other.begin == p.begin && other.end == p.end && other.more == p.more)
        return {outcome::dropped, drop_reason::fragment_duplicate};
    for (const piece& other : g->pieces) {
      const bool overlap = p.begin < other.end && other.begin < p.end;
      const bool behind_last = (!other.more && (!p.more || p.end > other.begin)) || (!p.more && other.end > p.begin);
      if (overlap || behind_last) return refuse(*g, drop_reason::ip_fragment);
    }
    if (g->pieces.size() == config_.fragments_per_datagram) return refuse(*g, drop_reason::fragments_full);
    while (fragments() + 1 > config_.fragments) {
      all_.erase(all_.begin() + oldest_but(f.datagram()));
      for (datagram& one : all_)
        if (one.number == f.datagram()) g = &one;
    }
    g->pieces.push_back(p);
    std::size_t got = 0, total = ~std::size_t{0};
    for (const piece& one : g->pieces) {
      got += one.end - one.begin;
      if (!one.more) total = one.end;
    }
    if (got != total) return {outcome::held};
    last = *g;
    for (std::size_t i = 0; i < all_.size(); ++i)
      if (all_[i].number == f.datagram()) {
        all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      }
    return {outcome::whole};
  }
  void expire(instant now) {
    for (std::size_t i = all_.size(); i-- != 0;)
      if (all_[i].since + (all_[i].v6 ? config_.ipv6_timeout : config_.ipv4_timeout) <= now)
        all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  [[nodiscard]] std::size_t fragments() const {
    std::size_t n = 0;
    for (const datagram& g : all_) n += g.pieces.size();
    return n;
  }
  [[nodiscard]] const datagram* at(unsigned number) const {
    for (const datagram& g : all_)
      if (g.number == number) return &g;
    return nullptr;
  }

  datagram last{};

 private:
  static answer refuse(datagram& g, drop_reason why) {
    g.refused = true;
    g.pieces.clear();
    return {outcome::dropped, why};
  }
  // In the order of their coming; among those of one time IPv4 first.
  [[nodiscard]] std::ptrdiff_t oldest_but(unsigned number) const {
    std::size_t found = all_.size();
    for (std::size_t i = 0; i < all_.size(); ++i) {
      if (all_[i].number == number) continue;
      if (found == all_.size() || all_[i].since < all_[found].since ||
          (all_[i].since == all_[found].since && all_[found].v6 && !all_[i].v6))
        found = i;
    }
    CHECK(found != all_.size());
    return static_cast<std::ptrdiff_t>(found);
  }

  fragment_config config_;
  std::deque<datagram> all_;
};

// Calls `take(step, packet&, now, plain)` for each step of the input that parse() lets pass: `plain` is for fragments
// as long as nobody wrote into headers. At the end all memory is at home, when `clear()` has given back what was held.
template <class Take, class Clear>
void each_step(const std::uint8_t* data, std::size_t size, Take take, Clear clear) {
  bool untouched = true;
  instant now{};
  for (std::size_t i = 0; i + 8 <= size && i < 8 * 200; i += 8) {
    const step f{data + i};
    now = now + f.later();
    packet p = make(f);
    if (!p.layers().has(protocol::parsed)) continue;
    untouched = untouched && f.untouched();
    take(f, p, now, untouched && p.layers().has(protocol::fragment));
  }
  clear();
  CHECK(memory->available() == memory->capacity());
}

}  // namespace fuzz

#endif
