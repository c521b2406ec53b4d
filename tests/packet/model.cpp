// SPDX-License-Identifier: MIT
// Packet operations against a plain model: every packet is a list of fragments, every fragment a vector of bytes with
// its rooms and the storage that it lies in. After every operation all live packets must show the model's bytes, and
// the pool must count what the model counts.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include <runnel/packet.hpp>

#include "packet/counted_pool.hpp"

namespace {

using namespace runnel;
using runnel::test::counted_pool;

constexpr std::size_t most_live = 14;
constexpr std::size_t ring_slots = 8;
constexpr std::size_t ring_slot_bytes = 700;

struct storage {
  int holders = 0;
  bool lent = false;
  bool shared_once = false;  // lent bytes that were cloned count as shared for ever
};

struct fragment {
  std::vector<std::byte> bytes;
  std::size_t headroom = 0;
  std::size_t tailroom = 0;
  int where = 0;      // key into the storages
  bool bare = false;  // takes a bare descriptor
};

struct model {
  std::vector<fragment> fragments;
  std::uint32_t mark = 0;
  bool away = false;

  std::size_t total() const {
    std::size_t n = 0;
    for (const fragment& f : fragments) n += f.bytes.size();
    return n;
  }
  std::vector<std::byte> flat() const {
    std::vector<std::byte> all;
    for (const fragment& f : fragments) all.insert(all.end(), f.bytes.begin(), f.bytes.end());
    return all;
  }
};

class world {
 public:
  world(unsigned seed, const pool_config& c) : random_(seed), config_(c), pool_(c), lender_(pool_->add_lender()) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      verify();
    }
    while (!models_.empty()) remove(models_.size() - 1);
    verify();
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n - 1}(random_); }
  bool chance(std::size_t in) { return below(in) == 0; }
  std::byte any_byte() { return static_cast<std::byte>(below(256)); }

  // ---- what the model says of the pool

  bool shared(const fragment& f) const {
    const storage& s = storages_.at(f.where);
    return s.lent ? s.shared_once : s.holders > 1;
  }
  bool any_shared(const model& m) const {
    for (const fragment& f : m.fragments)
      if (shared(f)) return true;
    return false;
  }
  bool any_lent(const model& m) const {
    for (const fragment& f : m.fragments)
      if (storages_.at(f.where).lent) return true;
    return false;
  }
  std::size_t slots_used() const {
    std::size_t n = 0;
    for (const auto& [key, s] : storages_)
      if (!s.lent) ++n;
    return n;
  }
  std::size_t free_slots() const { return config_.packets - slots_used(); }
  std::size_t bare_used() const {
    std::size_t n = 0;
    for (const model& m : models_)
      for (const fragment& f : m.fragments) n += f.bare;
    return n;
  }
  std::size_t lent_count() const {
    std::size_t n = 0;
    for (const model& m : models_)
      for (const fragment& f : m.fragments) n += storages_.at(f.where).lent;
    return n;
  }
  int new_storage(bool lent) {
    storages_[next_storage_] = {1, lent, false};
    return next_storage_++;
  }
  void drop_fragment(const fragment& f) {
    if (--storages_.at(f.where).holders == 0) storages_.erase(f.where);
  }
  void drop_fragments(model& m) {
    for (const fragment& f : m.fragments) drop_fragment(f);
    m.fragments.clear();
  }
  fragment fresh_fragment() {
    fragment f;
    f.headroom = config_.headroom;
    f.tailroom = config_.bytes;
    f.where = new_storage(false);
    return f;
  }
  void add(packet&& p, model&& m) {
    packets_.push_back(std::move(p));
    models_.push_back(std::move(m));
  }
  void remove(std::size_t i) {
    drop_fragments(models_[i]);
    std::swap(packets_[i], packets_.back());
    std::swap(models_[i], models_.back());
    packets_.pop_back();
    models_.pop_back();
  }

  // The linear copy that `copy` makes, or nothing when it must fail for its size.
  bool fits_one(std::size_t n) const { return n <= std::size_t{config_.headroom} + config_.bytes; }
  fragment linear_copy(const std::vector<std::byte>& all) {
    fragment f = fresh_fragment();
    f.bytes = all;
    if (all.size() > config_.bytes) {
      f.headroom -= all.size() - config_.bytes;
      f.tailroom = 0;
    } else {
      f.tailroom -= all.size();
    }
    return f;
  }
  // What `unshare`, `keep` and `send_away` leave when they have to copy.
  bool copy_in_slots(model& m) {
    if (m.away) return false;
    const std::vector<std::byte> all = m.flat();
    std::vector<fragment> made;
    const std::size_t needed = fits_one(all.size()) ? 1 : (all.size() + config_.bytes - 1) / config_.bytes;
    if (needed > free_slots()) return false;
    if (needed == 1) {
      made.push_back(linear_copy(all));
    } else {
      for (std::size_t at = 0; at < all.size(); at += config_.bytes) {
        const std::size_t n = std::min<std::size_t>(config_.bytes, all.size() - at);
        const auto from = all.begin() + static_cast<std::ptrdiff_t>(at);
        made.push_back(linear_copy({from, from + static_cast<std::ptrdiff_t>(n)}));
      }
    }
    drop_fragments(m);
    m.fragments = std::move(made);
    return true;
  }

  // ---- the operations

  void step() {
    if (packets_.empty() || (packets_.size() < most_live && chance(5))) {
      chance(3) ? make_lent() : chance(3) ? make_attached() : make();
      return;
    }
    const std::size_t i = below(packets_.size());
    switch (below(19)) {
      case 0: return push(i);
      case 1: return pull(i);
      case 2: return put(i);
      case 3: return append_bytes(i);
      case 4: return trim(i);
      case 5: return reserve(i);
      case 6:
      case 7: return clone(i);
      case 8: return copy(i);
      case 9: return unshare(i);
      case 10: return linearize(i);
      case 11:
      case 12: return chain(i);
      case 13: return keep(i);
      case 14: return through_a_frame(i);
      case 15: return scribble(i);
      case 16: return chance(3) ? send_away(i) : pool_->reclaim();
      case 17: return set_mark(i);
      default: packets_[i].reset(); remove(i);
    }
  }

  void make() {
    pool_->reclaim();
    packet p = pool_->allocate();
    REQUIRE(static_cast<bool>(p) == (free_slots() != 0));
    if (!p) return;
    model m;
    m.fragments.push_back(fresh_fragment());
    add(std::move(p), std::move(m));
  }
  void make_attached() {
    frame f;
    if (chance(2)) f = pool_->allocate_frame();
    else {
      frame like;
      like.headroom = static_cast<std::uint16_t>(pool_->headroom());
      like.tailroom = static_cast<std::uint16_t>(pool_->packet_bytes());
      REQUIRE(pool_->allocate_frames(1, like, into_array(&f)) == (free_slots() != 0 ? 1u : 0u));
    }
    REQUIRE((f.slot != no_slot) == (free_slots() != 0));
    if (f.slot == no_slot) return;
    model m;
    m.fragments.push_back(fresh_fragment());
    fragment& g = m.fragments[0];
    work_on_frame(f, g);
    if (chance(4)) {
      drop_fragment(g);
      pool_->release(&f, 1);
      return;
    }
    packet p = pool_->attach(f);
    REQUIRE(p);
    add(std::move(p), std::move(m));
  }
  void make_lent() {
    const std::size_t slot = below(ring_slots);
    for (const auto& [key, s] : storages_)
      if (s.lent && ring_use_[slot] == key) return;  // still out
    frame f;
    f.headroom = static_cast<std::uint16_t>(below(40));
    f.data = ring_[slot] + f.headroom;
    f.length = static_cast<std::uint32_t>(below(600));
    f.tailroom = static_cast<std::uint16_t>(below(60));
    f.lender = lender_;
    for (std::byte& b : f.contents()) b = any_byte();
    pool_->lend(lender_, 1);
    const bool room = bare_used() < config_.bare;
    packet p = pool_->attach(f);
    REQUIRE(static_cast<bool>(p) == room);
    if (!p) {
      pool_->release(&f, 1);
      return;
    }
    model m;
    fragment g;
    g.bytes.assign(f.contents().begin(), f.contents().end());
    g.headroom = f.headroom;
    g.tailroom = f.tailroom;
    g.where = new_storage(true);
    g.bare = true;
    ring_use_[slot] = g.where;
    m.fragments.push_back(std::move(g));
    add(std::move(p), std::move(m));
  }
  // A few operations on a frame, as a device or an early verdict does them.
  void work_on_frame(frame& f, fragment& g) {
    for (int k = 0; k < 3; ++k) {
      const std::size_t n = below(below(2) == 0 ? 40 : 700);
      switch (below(4)) {
        case 0: {
          std::byte* at = f.push(n);
          REQUIRE((at != nullptr) == (n <= g.headroom));
          if (at != nullptr) pushed(g, at, n);
          break;
        }
        case 1: {
          const bool good = f.pull(n);
          REQUIRE(good == (n <= g.bytes.size()));
          if (good) pulled(g, n);
          break;
        }
        case 2: {
          std::byte* at = f.put(n);
          REQUIRE((at != nullptr) == (n <= g.tailroom));
          if (at != nullptr) grown(g, at, n);
          break;
        }
        default: {
          const bool good = f.trim(n);
          REQUIRE(good == (n <= g.bytes.size()));
          if (good) trimmed(g, n);
        }
      }
    }
    REQUIRE(f.length == g.bytes.size());
    REQUIRE(f.headroom == g.headroom);
    REQUIRE(f.tailroom == g.tailroom);
  }
  void pushed(fragment& g, std::byte* at, std::size_t n) {
    std::vector<std::byte> fresh(n);
    for (std::byte& b : fresh) *at++ = b = any_byte();
    g.bytes.insert(g.bytes.begin(), fresh.begin(), fresh.end());
    g.headroom -= n;
  }
  void pulled(fragment& g, std::size_t n) {
    g.bytes.erase(g.bytes.begin(), g.bytes.begin() + static_cast<std::ptrdiff_t>(n));
    g.headroom += n;
  }
  void grown(fragment& g, std::byte* at, std::size_t n) {
    for (std::size_t k = 0; k < n; ++k) g.bytes.push_back(at[k] = any_byte());
    g.tailroom -= n;
  }
  void trimmed(fragment& g, std::size_t n) {
    g.tailroom += g.bytes.size() - n;
    g.bytes.resize(n);
  }

  void push(std::size_t i) {
    fragment& g = models_[i].fragments[0];
    const std::size_t n = below(60);
    std::byte* at = packets_[i].push(n);
    REQUIRE((at != nullptr) == (n <= g.headroom && !shared(g)));
    if (at != nullptr) pushed(g, at, n);
  }
  void pull(std::size_t i) {
    fragment& g = models_[i].fragments[0];
    const std::size_t n = below(100);
    const bool good = packets_[i].pull(n);
    REQUIRE(good == (n <= g.bytes.size()));
    if (good) pulled(g, n);
  }
  void put(std::size_t i) {
    model& m = models_[i];
    fragment& g = m.fragments[0];
    const std::size_t n = below(300);
    std::byte* at = packets_[i].put(n);
    REQUIRE((at != nullptr) == (n <= g.tailroom && m.fragments.size() == 1 && !shared(g)));
    if (at != nullptr) grown(g, at, n);
  }
  void append_bytes(std::size_t i) {
    model& m = models_[i];
    fragment& g = m.fragments[0];
    std::vector<std::byte> from(below(200));
    for (std::byte& b : from) b = any_byte();
    const bool good = packets_[i].append(bytes{from});
    REQUIRE(good == (from.size() <= g.tailroom && m.fragments.size() == 1 && !shared(g)));
    if (!good) return;
    g.bytes.insert(g.bytes.end(), from.begin(), from.end());
    g.tailroom -= from.size();
  }
  void trim(std::size_t i) {
    model& m = models_[i];
    std::size_t n = below(m.total() + 20);
    const bool good = packets_[i].trim(n);
    REQUIRE(good == (n <= m.total()));
    if (!good) return;
    std::size_t k = 0;
    for (; n > m.fragments[k].bytes.size(); ++k) n -= m.fragments[k].bytes.size();
    trimmed(m.fragments[k], n);
    while (m.fragments.size() > k + 1) {
      drop_fragment(m.fragments.back());
      m.fragments.pop_back();
    }
  }
  void reserve(std::size_t i) {
    fragment& g = models_[i].fragments[0];
    const std::size_t n = below(80);
    const bool good = packets_[i].reserve(n);
    REQUIRE(good == (g.bytes.empty() && n <= g.tailroom));
    if (!good) return;
    g.headroom += n;
    g.tailroom -= n;
  }
  void clone(std::size_t i) {
    if (packets_.size() >= most_live) return;
    model& m = models_[i];
    pool_->reclaim();
    const bool room = bare_used() + m.fragments.size() <= config_.bare;
    packet p = packets_[i].clone();
    REQUIRE(static_cast<bool>(p) == (room && !m.away));
    // A clone that failed half-way may have marked lent bytes as shared.
    if (!m.away)
      for (std::size_t k = 0, left = config_.bare - bare_used(); k < m.fragments.size() && k < left; ++k)
        storages_.at(m.fragments[k].where).shared_once = true;
    if (!p) return;
    model c = m;
    for (fragment& f : c.fragments) {
      ++storages_.at(f.where).holders;
      f.bare = true;
    }
    add(std::move(p), std::move(c));
  }
  void copy(std::size_t i) {
    if (packets_.size() >= most_live) return;
    const model& m = models_[i];
    packet p = packets_[i].copy();
    REQUIRE(static_cast<bool>(p) == (!m.away && fits_one(m.total()) && free_slots() != 0));
    if (!p) return;
    model c;
    c.mark = m.mark;
    c.fragments.push_back(linear_copy(m.flat()));
    add(std::move(p), std::move(c));
  }
  void unshare(std::size_t i) {
    model& m = models_[i];
    const bool good = packets_[i].unshare();
    REQUIRE(good == (!any_shared(m) || copy_in_slots(m)));
  }
  void keep(std::size_t i) {
    model& m = models_[i];
    const bool good = packets_[i].keep();
    REQUIRE(good == (!any_lent(m) || copy_in_slots(m)));
    if (good) REQUIRE_FALSE(packets_[i].is_lent());
  }
  void linearize(std::size_t i) {
    model& m = models_[i];
    const bool possible = m.fragments.size() == 1 || (!m.away && fits_one(m.total()) && free_slots() != 0);
    REQUIRE(packets_[i].linearize() == possible);
    if (!possible || m.fragments.size() == 1) return;
    fragment f = linear_copy(m.flat());
    drop_fragments(m);
    m.fragments.push_back(std::move(f));
  }
  void chain(std::size_t i) {
    const std::size_t j = below(packets_.size());
    model& m = models_[i];
    if (m.away != models_[j].away || m.fragments.size() > 6) return;
    const bool good = packets_[i].append(std::move(packets_[j]));
    REQUIRE(good == (i != j));
    if (!good) return;
    for (fragment& f : models_[j].fragments) m.fragments.push_back(std::move(f));
    models_[j].fragments.clear();
    remove(j);
  }
  void send_away(std::size_t i) {
    model& m = models_[i];
    const bool good = packets_[i].send_away();
    REQUIRE(good == ((!any_shared(m) && !any_lent(m)) || copy_in_slots(m)));
    if (good) m.away = true;
  }
  void through_a_frame(std::size_t i) {
    model& m = models_[i];
    fragment& g = m.fragments[0];
    const bool plain = m.fragments.size() == 1 && !m.away && !any_shared(m) && !any_lent(m);
    REQUIRE(packets_[i].is_plain() == plain);
    if (!plain) return;
    frame f = packets_[i].detach();
    g.bare = false;
    work_on_frame(f, g);
    packets_[i] = pool_->attach(f);
    m.mark = 0;
  }
  void scribble(std::size_t i) {
    fragment& g = models_[i].fragments[0];
    if (shared(g)) return;
    mutable_bytes w = packets_[i].writable();
    for (std::size_t k = 0; k < w.size(); k += 1 + below(9)) w[k] = g.bytes[k] = any_byte();
  }
  void set_mark(std::size_t i) {
    models_[i].mark = static_cast<std::uint32_t>(random_());
    packets_[i].mark(models_[i].mark);
  }

  void verify() {
    REQUIRE(packets_.size() == models_.size());
    for (std::size_t i = 0; i < packets_.size(); ++i) {
      const packet& p = packets_[i];
      const model& m = models_[i];
      REQUIRE(p.length() == m.fragments[0].bytes.size());
      REQUIRE(p.headroom() == m.fragments[0].headroom);
      REQUIRE(p.tailroom() == m.fragments[0].tailroom);
      REQUIRE(p.total_length() == m.total());
      REQUIRE(p.is_chained() == (m.fragments.size() > 1));
      REQUIRE(p.is_shared() == shared(m.fragments[0]));
      REQUIRE(p.is_lent() == any_lent(m));
      REQUIRE(p.mark() == m.mark);
      std::size_t k = 0;
      bool same = true;
      p.for_each_fragment([&](bytes part) {
        same = same && k < m.fragments.size() && equal(part, m.fragments[k].bytes);
        ++k;
      });
      REQUIRE(same);
      REQUIRE(k == m.fragments.size());
      read_with_a_cursor(p, m);
    }
    pool_->reclaim();
    REQUIRE(pool_->available() == free_slots());
    REQUIRE(pool_->bare_available() == config_.bare - bare_used());
    REQUIRE(pool_->lent(lender_) == lent_count());
  }
  void read_with_a_cursor(const packet& p, const model& m) {
    if (!chance(16)) return;
    const std::vector<std::byte> all = m.flat();
    cursor c{p};
    std::size_t at = 0;
    while (at < all.size()) {
      REQUIRE(c.remaining() == all.size() - at);
      const std::size_t n = std::min(all.size() - at, below(200));
      if (chance(2)) {
        std::vector<std::byte> to(n);
        c.copy_to(to);
        REQUIRE(equal(to, bytes{all.data() + at, n}));
      } else {
        c.skip(n);
      }
      at += n;
    }
    REQUIRE(c.ok());
    REQUIRE(c.u8() == 0);
    REQUIRE_FALSE(c.ok());
  }

  std::mt19937 random_;
  pool_config config_;
  counted_pool pool_;
  std::uint8_t lender_;
  std::byte ring_[ring_slots][ring_slot_bytes]{};
  int ring_use_[ring_slots]{};
  std::map<int, storage> storages_;
  int next_storage_ = 1;
  std::vector<packet> packets_;
  std::vector<model> models_;
};

TEST_CASE("packets behave as vectors of bytes do, under thousands of random operations") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    world{seed, {.packets = 64, .bytes = 512, .headroom = 64, .bare = 64}}.run(1000);
  }
}

TEST_CASE("and so they do where the pool is always short") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    world{seed, {.packets = 6, .bytes = 200, .headroom = 30, .bare = 5}}.run(1000);
  }
}

}  // namespace
