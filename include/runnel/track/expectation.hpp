// SPDX-License-Identifier: MIT
// Connections that another connection has announced, as FTP announces those for its data: when they come, they are
// `related`. A bounded set of them. Nothing here is for users: see helpers.hpp, and connection_table::expect.
//
// Theory of operation. An expectation says whom a connection goes to, perhaps from whom, and is found by the former: it
// lies in one of the eight places from the one that its hash names on. Where all eight are taken, the one that would
// end first makes room. It ends after its time, or with the connection that announced it, or when it is met.
//
// Where it is the only one of its connection, the next one of that takes its place, as with the kernel's max_expected:
// else one connection could announce until nobody else's were waited for. Such ones are in chains by who announced
// them, whose heads lie in the places too: the hash of the connection's number says where.
#ifndef RUNNEL_TRACK_EXPECTATION_HPP
#define RUNNEL_TRACK_EXPECTATION_HPP

#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/hash.hpp>
#include <runnel/track/connection_tuple.hpp>

namespace runnel::detail {

struct expectation {
  connection_tuple tuple{};       // its source port counts for nothing
  std::uint32_t master = 0;       // who announced it
  std::uint32_t master_born = 0;  // its created_, to tell it from one that has its number later
  std::uint32_t deadline = 0;     // in ticks
  bool any_source = false;        // nor does its source address
  bool translated = false;        // it becomes what `reply` says
  bool used = false;
  bool only = false;           // of its master there is no other such one
  connection_tuple reply{};    // what its replies look like, but for the port that they go to
  std::uint32_t next = none;   // in the chain in which it is, if it is an only one
  std::uint32_t first = none;  // of the chain that begins here, whatever lies here
  static constexpr std::uint32_t none = 0xffff'ffff;
};

class expectation_set {
 public:
  expectation_set(expectation* places, std::uint32_t count, std::uint64_t seed) noexcept
      : places_(places), count_(count), seed_(seed) {
    for (std::uint32_t i = 0; i < count; ++i) places_[i] = {};
  }
  [[nodiscard]] bool empty() const noexcept { return used_ == 0; }
  [[nodiscard]] std::uint32_t size() const noexcept { return used_; }

  void insert(const expectation& e, std::uint32_t now) noexcept {
    if (count_ == 0) return;
    if (e.only) forget_only(e.master);
    expectation* to = nullptr;
    for (std::uint32_t i = 0; i < reach(); ++i) {
      expectation& p = at(e.tuple, i);
      if (p.used && p.tuple == e.tuple && p.any_source == e.any_source) {  // said again
        to = &p;
        break;
      }
      if (to == nullptr || left(p, now) < left(*to, now)) to = &p;
    }
    if (to->used) remove(*to);
    const std::uint32_t first = to->first;
    *to = e;
    to->first = first;
    to->used = true;
    ++used_;
    if (!e.only) return;
    std::uint32_t& head = chain_of(e.master);
    to->next = head;
    head = static_cast<std::uint32_t>(to - places_);
  }
  // Whether this connection is waited for by another one than `master`, which `lives` says to be there.
  template <class Lives>
  [[nodiscard]] bool awaits(const connection_tuple& t, std::uint32_t master, std::uint32_t now,
                            const Lives& lives) const noexcept {
    for (std::uint32_t i = 0; i < reach(); ++i) {
      const expectation& p = at(t, i);
      if (p.master != master && meets(p, t, now) && lives(p)) return true;
    }
    return false;
  }
  // The expectation that a new connection meets; it is taken out. False when there is none.
  template <class Lives>
  bool take(const connection_tuple& t, std::uint32_t now, expectation& to, const Lives& lives) noexcept {
    for (std::uint32_t i = 0; i < reach(); ++i) {
      expectation& p = at(t, i);
      if (!meets(p, t, now) || !lives(p)) continue;
      to = p;
      remove(p);
      return true;
    }
    return false;
  }
  // Ends those whose master is gone, before its number and its time may be those of a connection that is imported.
  template <class Lives>
  void end_orphans(const Lives& lives) noexcept {
    for (std::uint32_t i = 0; i < count_ && used_ != 0; ++i)
      if (places_[i].used && !lives(places_[i])) remove(places_[i]);
  }
  // Ends one if its time is over, another one each time: before half of what 32 bits count has gone by, after which it
  // would be ahead again.
  void expire_one(std::uint32_t now) noexcept {
    if (used_ == 0) return;
    hand_ = hand_ + 1 < count_ ? hand_ + 1 : 0;
    expectation& p = places_[hand_];
    if (p.used && left(p, now) <= 0) remove(p);
  }

 private:
  [[nodiscard]] std::uint32_t& chain_of(std::uint32_t master) const noexcept {
    return places_[(mix(master ^ seed_) >> 32) * count_ >> 32].first;
  }
  void remove(expectation& e) noexcept {
    e.used = false;
    --used_;
    if (!e.only) return;
    std::uint32_t* at = &chain_of(e.master);
    while (&places_[*at] != &e) at = &places_[*at].next;
    *at = e.next;
  }
  void forget_only(std::uint32_t master) noexcept {
    std::uint32_t i = chain_of(master);
    while (i != expectation::none && places_[i].master != master) i = places_[i].next;
    if (i != expectation::none) remove(places_[i]);
  }
  [[nodiscard]] static bool same_target(const connection_tuple& a, const connection_tuple& b) noexcept {
    return a.destination6() == b.destination6() && (a.rest() & not_source) == (b.rest() & not_source);
  }
  [[nodiscard]] static bool meets(const expectation& e, const connection_tuple& t, std::uint32_t now) noexcept {
    return e.used && same_target(e.tuple, t) && (e.any_source || e.tuple.source6() == t.source6()) && left(e, now) > 0;
  }
  [[nodiscard]] static std::int32_t left(const expectation& e, std::uint32_t now) noexcept {
    return e.used ? static_cast<std::int32_t>(e.deadline - now) : INT32_MIN;
  }
  static constexpr std::uint64_t not_source = ~std::uint64_t{0} >> 16;

  [[nodiscard]] std::uint32_t reach() const noexcept { return count_ < 8 ? count_ : 8; }
  [[nodiscard]] expectation& at(const connection_tuple& t, std::uint32_t i) const noexcept {
    const std::uint64_t h =
        hash_words(t.destination6().low() ^ mix(t.destination6().high()), t.rest() & not_source, seed_);
    const auto place = static_cast<std::uint32_t>((h >> 32) * count_ >> 32) + i;
    return places_[place < count_ ? place : place - count_];
  }

  expectation* places_;
  std::uint32_t count_;
  std::uint32_t used_ = 0;
  std::uint32_t hand_ = 0;
  std::uint64_t seed_;
};

}  // namespace runnel::detail

#endif
