// SPDX-License-Identifier: MIT
// A timing wheel over numbers, for tables whose entries are refreshed with every packet. Nothing here is for users.
//
// Theory of operation. As base/timer_wheel.hpp, with four levels of 64 slots, but lazy: who puts off a deadline only
// writes it down. An entry is looked at when the slot comes up in which it was put last, and then put into the slot of
// the deadline that it has by then. Slots hold numbers in chunks of one cache line, 14 of them, so that all of a chunk
// can be fetched at once: a list through the entries would be one cache miss after the other. A chunk says of which
// list it is; which list is that of a slot changes when one comes up: its list is then what is due, and the slot gets
// the one that was, which is empty. So no chunk has to be touched for that.
//
// Time is counted in ticks, of which the wheel keeps 64 bits and the entries the lower 32; a deadline lies less than
// 2^31 ticks ahead.
#ifndef RUNNEL_TRACK_DEADLINE_WHEEL_HPP
#define RUNNEL_TRACK_DEADLINE_WHEEL_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/base/numeric.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>

namespace runnel::detail {

struct alignas(64) wheel_chunk {
  static constexpr std::uint32_t room = 14;
  std::uint32_t next;
  std::uint16_t list;
  std::uint16_t count;
  std::uint32_t entries[room];
};
static_assert(sizeof(wheel_chunk) == 64);

class deadline_wheel {
 public:
  static constexpr std::uint32_t none = 0xffff'ffff;
  static constexpr unsigned levels = 4;
  static constexpr unsigned coarse = 8;  // a slot of the lowest level is 2^8 ticks wide

  // How many chunks hold `n` entries, however they are spread.
  [[nodiscard]] static constexpr std::uint32_t chunks_for(std::uint32_t n) noexcept {
    const std::uint32_t spread = n / wheel_chunk::room + slots;
    return n < spread ? n : spread;
  }
  deadline_wheel(wheel_chunk* chunks) noexcept : chunks_(chunks) {
    for (std::uint16_t i = 0; i < slots; ++i) heads_[i] = none, list_of_[i] = slot_of_[i] = i;
  }

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

  // `place_of(entry)` is where an entry keeps its place: a std::uint32_t&. An empty wheel begins at `now`.
  template <class PlaceOf>
  void insert(std::uint32_t entry, std::uint64_t now, std::uint64_t deadline, PlaceOf place_of) noexcept {
    if (size_ == 0) now_ = now >> coarse;
    ++size_;
    append(slot_for(deadline), entry, place_of);
  }
  template <class PlaceOf>
  void erase(std::uint32_t entry, PlaceOf place_of) noexcept {
    --size_;
    remove(entry, place_of);
  }
  // Puts an entry whose deadline came nearer where it is found in time.
  template <class PlaceOf>
  void move(std::uint32_t entry, std::uint64_t deadline, PlaceOf place_of) noexcept {
    remove(entry, place_of);
    append(slot_for(deadline), entry, place_of);
  }
  // Whether an entry would be looked at in time for a deadline, where it is.
  [[nodiscard]] bool in_time(std::uint32_t place, std::uint64_t deadline) const noexcept {
    const unsigned slot = slot_of_[chunks_[place / 16].list];
    if (slot == due) return true;
    const unsigned level = slot / 64;
    const std::uint64_t here = now_ >> 6 * level;
    const std::uint64_t ahead = (slot - here) & 63u;
    return (here + ahead) << 6 * level <= tick_of(deadline);
  }

  // Looks at what comes up until `now`, at most `limit` entries: `deadline_of(entry, now)` gives 64 bits,
  // `fetch(entry)` may prefetch, `expire(entry)` is called for what is due, which has been taken out. How many were
  // looked at.
  template <class PlaceOf, class DeadlineOf, class Fetch, class Expire>
  std::size_t advance(std::uint64_t now, std::size_t limit, PlaceOf place_of, DeadlineOf deadline_of, Fetch fetch,
                      Expire expire) noexcept {
    std::size_t looked = 0;
    const std::uint64_t target = now >> coarse;
    for (;;) {
      const std::uint32_t list = list_of_[due];
      while (heads_[list] != none) {
        const std::uint32_t head = heads_[list];
        if (head != fetched_) fetch_from(head, place_of, fetch);
        if (looked == limit) return looked;
        ++looked;
        wheel_chunk& c = chunks_[head];
        const std::uint32_t entry = c.entries[--c.count];
        if (c.count == 0) drop_first(list);
        const std::uint64_t deadline = deadline_of(entry);
        if (deadline <= now) {
          --size_;
          expire(entry);
        } else {
          append(slot_for(deadline), entry, place_of);
        }
      }
      const event e = next_event();
      if (e.slot == none || e.tick > target) {
        if (target > now_) now_ = target;
        return looked;
      }
      now_ = e.tick;
      take_over(e.slot);
    }
  }
  // The tick before which `advance` has nothing to do; ~0 when there is nothing.
  [[nodiscard]] std::uint64_t next_due() const noexcept {
    if (heads_[list_of_[due]] != none) return now_ << coarse;
    const event e = next_event();
    return e.slot == none ? ~std::uint64_t{0} : e.tick << coarse;
  }
  // Whether all chunks are in order; `f(entry, place)` is called for each entry.
  template <class F>
  [[nodiscard]] bool check(F f) const noexcept {
    std::uint32_t seen = 0;
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      const std::uint32_t list = list_of_[slot];
      if (slot_of_[list] != slot) return false;
      const bool marked = slot == due || (occupied_[slot / 64] >> slot % 64 & 1u) != 0;
      if (!marked && heads_[list] != none) return false;
      bool first = true;
      for (std::uint32_t c = heads_[list]; c != none; c = chunks_[c].next, first = false) {
        if (chunks_[c].list != list || chunks_[c].count == 0) return false;
        if (!first && chunks_[c].count != wheel_chunk::room) return false;
        for (std::uint32_t i = 0; i < chunks_[c].count; ++i)
          if (!f(chunks_[c].entries[i], c * 16 + i)) return false;
        seen += chunks_[c].count;
        if (seen > size_) return false;
      }
    }
    return seen == size_;
  }

 private:
  static constexpr std::uint32_t due = levels * 64, slots = due + 1;
  static constexpr unsigned top = levels - 1;

  struct event {
    std::uint32_t slot;
    std::uint64_t tick;
  };
  // The first wheel tick that does not begin before a deadline.
  [[nodiscard]] static constexpr std::uint64_t tick_of(std::uint64_t deadline) noexcept {
    return (deadline + (1u << coarse) - 1) >> coarse;
  }
  [[nodiscard]] std::uint32_t slot_for(std::uint64_t deadline) noexcept {
    const std::uint64_t tick = tick_of(deadline);
    if (tick == last_tick_ && now_ == last_now_) [[likely]]  // of those that begin in a burst, all but the first
      return last_slot_;
    last_tick_ = tick, last_now_ = now_;
    return last_slot_ = slot_of_tick(tick);
  }
  [[nodiscard]] std::uint32_t slot_of_tick(std::uint64_t tick) const noexcept {
    if (tick <= now_) tick = now_ + 1;
    unsigned level = floor_log2((tick ^ now_) | 63u) / 6;
    if (level >= top) {
      level = top;
      const std::uint64_t last = (now_ >> 6 * top) + 63;
      if ((tick >> 6 * top) > last) tick = last << 6 * top;
    }
    return level * 64 + static_cast<std::uint32_t>(tick >> 6 * level & 63u);
  }
  [[nodiscard]] event next_event() const noexcept {
    for (unsigned level = 0; level < levels; ++level) {
      const std::uint64_t bits = occupied_[level];
      if (bits == 0) continue;
      const std::uint64_t here = now_ >> 6 * level;
      const unsigned from = level == top ? static_cast<unsigned>(here & 63u) : 0;
      const std::uint64_t turned = from == 0 ? bits : bits >> from | bits << (64 - from);
      const unsigned slot = (from + static_cast<unsigned>(__builtin_ctzll(turned))) & 63u;
      return {level * 64 + slot, (here + ((slot - here) & 63u)) << 6 * level};
    }
    return {none, 0};
  }
  // All of a slot becomes due to be looked at; nothing else is.
  void take_over(std::uint32_t slot) noexcept {
    occupied_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
    const std::uint16_t full = list_of_[slot], empty = list_of_[due];
    list_of_[due] = full, slot_of_[full] = due;
    list_of_[slot] = empty, slot_of_[empty] = static_cast<std::uint16_t>(slot);
    fetched_ = none;
  }
  template <class PlaceOf>
  void append(std::uint32_t slot, std::uint32_t entry, PlaceOf place_of) noexcept {
    const std::uint16_t list = list_of_[slot];
    std::uint32_t head = heads_[list];
    if (head == none || chunks_[head].count == wheel_chunk::room) {
      std::uint32_t made = free_;
      if (made != none) free_ = chunks_[made].next;
      else made = fresh_++;
      prefetch_to_write(chunks_ + (free_ != none ? free_ : fresh_));  // that will be wanted next
      chunks_[made].next = head;
      chunks_[made].list = list;
      chunks_[made].count = 0;
      heads_[list] = head = made;
      occupied_[slot / 64] |= std::uint64_t{1} << slot % 64;
    }
    wheel_chunk& c = chunks_[head];
    place_of(entry) = head * 16 + c.count;
    c.entries[c.count++] = entry;
  }
  // The last entry of the list's first chunk fills the hole, so that only that chunk is not full.
  template <class PlaceOf>
  void remove(std::uint32_t entry, PlaceOf place_of) noexcept {
    const std::uint32_t place = place_of(entry);
    wheel_chunk& hole = chunks_[place / 16];
    const std::uint32_t list = hole.list, head = heads_[list];
    wheel_chunk& c = chunks_[head];
    const std::uint32_t last = c.entries[--c.count];
    hole.entries[place % 16] = last;
    place_of(last) = place;
    if (c.count == 0) drop_first(list);
  }
  // Gives back the first chunk of a list, which is empty.
  void drop_first(std::uint32_t list) noexcept {
    const std::uint32_t head = heads_[list];
    wheel_chunk& c = chunks_[head];
    heads_[list] = c.next;
    c.next = free_;
    free_ = head;
    const unsigned slot = slot_of_[list];
    if (heads_[list] == none && slot != due) occupied_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
  }
  // Who is looked at next has been asked for two chunks before, and what it leads to one chunk before.
  template <class PlaceOf, class Fetch>
  void fetch_from(std::uint32_t head, PlaceOf place_of, Fetch fetch) noexcept {
    const auto next = [this](std::uint32_t at) { return at == none ? none : chunks_[at].next; };
    const auto each = [this](std::uint32_t at, auto f) {
      if (at == none) return;
      for (unsigned i = chunks_[at].count; i-- != 0;) f(chunks_[at].entries[i]);
    };
    const auto load = [&](std::uint32_t entry) { prefetch_to_write(&place_of(entry)); };
    const std::uint32_t second = next(head), third = next(second), fourth = next(third);
    if (fourth != none) prefetch_to_read(chunks_ + fourth);
    if (fetched_ == none) {
      each(head, load);
      each(second, load);
      each(head, fetch);
    }
    each(third, load);
    each(second, fetch);
    fetched_ = head;
  }

  wheel_chunk* chunks_;
  std::uint64_t now_ = 0;  // in slots of the lowest level
  std::uint64_t occupied_[levels] = {};
  std::uint32_t heads_[slots];    // of lists
  std::uint16_t list_of_[slots];  // of each slot
  std::uint16_t slot_of_[slots];  // of each list
  std::uint32_t free_ = none;
  std::uint32_t fresh_ = 0;  // chunks from here on were never used
  std::uint32_t fetched_ = none;
  std::uint32_t size_ = 0;
  std::uint32_t last_slot_ = 0;  // what slot_for said last, and of what
  std::uint64_t last_tick_ = ~std::uint64_t{0};
  std::uint64_t last_now_ = 0;
};

}  // namespace runnel::detail

#endif
