// SPDX-License-Identifier: MIT
// Where a neighbour table keeps its neighbours and the packets that wait for them: places, lists and an index, in
// memory that the user gives. What happens to them when is in neighbour_table.hpp.
#ifndef RUNNEL_IP_NEIGHBOUR_STORE_HPP
#define RUNNEL_IP_NEIGHBOUR_STORE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/neighbour.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

// Which list a neighbour is in, and so its state. Each list is in the order in which its members came, and all of one
// list wait for the same time: so the first is always the one to look at, and no timer is needed.
enum class neighbour_list : std::uint8_t {
  free,
  soliciting,  // incomplete, and a question is due
  incomplete,  // incomplete, and asked
  reachable,
  stale,
  delay,
  probing,  // probe, and a question is due
  probe,    // probe, and asked
  failed,
  permanent,
  count_
};

constexpr neighbour_state state_of(neighbour_list l) noexcept {
  constexpr neighbour_state states[] = {
      neighbour_state::none,   neighbour_state::incomplete, neighbour_state::incomplete, neighbour_state::reachable,
      neighbour_state::stale,  neighbour_state::delay,      neighbour_state::probe,      neighbour_state::probe,
      neighbour_state::failed, neighbour_state::permanent};
  return states[static_cast<std::size_t>(l)];
}

struct neighbour_entry {
  ipv6_address address{};
  instant since{};  // when it came into its list
  std::uint32_t next = 0, previous = 0;
  std::uint32_t chain = 0;            // the next one in its bucket
  std::uint32_t first = 0, last = 0;  // of the packets that wait; valid when there are any
  std::uint16_t waiting = 0;          // how many
  std::uint8_t asked = 0;             // how often
  neighbour_list list = neighbour_list::free;
  mac_address lladdr{};
  bool router = false;
  bool former_router = false;

  void set_router(bool is) noexcept {
    former_router = !is && (router || former_router);
    router = is;
  }
};

struct waiting_packet {
  packet held{};
  std::uint32_t next = 0;
};

class neighbour_store {
 public:
  static constexpr std::uint32_t none = 0xffff'ffff;
  static constexpr std::size_t lists = static_cast<std::size_t>(neighbour_list::count_);

  static constexpr std::size_t bytes_needed(const neighbour_config& c) noexcept {
    return (buckets_begin(c) + byte_count::of<std::uint32_t>(ceil_power_of_two(c.entries))).value();
  }
  neighbour_store(mutable_bytes memory, const neighbour_config& c) noexcept
      : entries_(at<neighbour_entry>(memory, 0)),
        packets_(at<waiting_packet>(memory, packets_begin(c).value())),
        buckets_(at<std::uint32_t>(memory, buckets_begin(c).value())),
        capacity_(c.entries),
        packet_capacity_(c.packets),
        mask_(buckets_of(c) - 1),
        seed_(c.seed) {
    RUNNEL_ASSERT(c.entries >= 1 && c.entries <= 1u << 28 && c.packets >= 1 && c.packets <= 1u << 28);
    RUNNEL_ASSERT(memory.size() >= bytes_needed(c));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % alignof(neighbour_entry) == 0);
    for (std::size_t i = 0; i <= mask_; ++i) ::new (static_cast<void*>(&buckets_[i])) std::uint32_t{none};
    for (std::size_t i = 0; i < lists; ++i) head_[i] = tail_[i] = none;
    for (std::uint32_t i = 0; i < capacity_; ++i) {
      ::new (static_cast<void*>(&entries_[i])) neighbour_entry{};
      link(i, neighbour_list::free, {});
    }
    for (std::uint32_t i = 0; i < packet_capacity_; ++i) {
      ::new (static_cast<void*>(&packets_[i])) waiting_packet{};
      packets_[i].next = i + 1 < packet_capacity_ ? i + 1 : none;
    }
    free_packet_ = 0;
  }
  neighbour_store(const neighbour_store&) = delete;
  neighbour_store& operator=(const neighbour_store&) = delete;
  ~neighbour_store() {
    for (std::uint32_t i = 0; i < packet_capacity_; ++i) packets_[i].~waiting_packet();
  }

  // ---- neighbours

  [[nodiscard]] neighbour_entry& operator[](std::uint32_t i) noexcept { return entries_[i]; }
  [[nodiscard]] const neighbour_entry& operator[](std::uint32_t i) const noexcept { return entries_[i]; }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint32_t head(neighbour_list l) const noexcept { return head_[static_cast<std::size_t>(l)]; }
  [[nodiscard]] std::uint32_t size(neighbour_list l) const noexcept { return size_[static_cast<std::size_t>(l)]; }

  [[nodiscard]] const std::uint32_t* bucket(const ipv6_address& a) const noexcept {
    return &buckets_[hash_words(a.high(), a.low(), seed_) & mask_];
  }
  [[nodiscard]] std::uint32_t find(const ipv6_address& a) const noexcept {
    std::uint32_t i = *bucket(a);
    while (i != none && entries_[i].address != a) i = entries_[i].chain;
    return i;
  }
  // A free place becomes a neighbour in list `l`; `none` without one.
  [[nodiscard]] std::uint32_t add(const ipv6_address& a, neighbour_list l, instant now) noexcept {
    const std::uint32_t i = head(neighbour_list::free);
    if (i == none) return none;
    move(i, l, now);
    neighbour_entry& e = entries_[i];
    e.address = a;
    e.lladdr = {};
    e.router = e.former_router = false;
    e.asked = 0;
    std::uint32_t& home = buckets_[hash_words(a.high(), a.low(), seed_) & mask_];
    e.chain = home;
    home = i;
    return i;
  }
  // Its packets must be gone.
  void remove(std::uint32_t i) noexcept {
    RUNNEL_ASSERT(entries_[i].waiting == 0);
    const ipv6_address& a = entries_[i].address;
    std::uint32_t* from = &buckets_[hash_words(a.high(), a.low(), seed_) & mask_];
    while (*from != i) from = &entries_[*from].chain;
    *from = entries_[i].chain;
    move(i, neighbour_list::free, {});
  }
  // To the end of a list, perhaps the same.
  void move(std::uint32_t i, neighbour_list l, instant now) noexcept {
    neighbour_entry& e = entries_[i];
    const auto from = static_cast<std::size_t>(e.list);
    (e.previous == none ? head_[from] : entries_[e.previous].next) = e.next;
    (e.next == none ? tail_[from] : entries_[e.next].previous) = e.previous;
    --size_[from];
    link(i, l, now);
  }

  // ---- packets

  [[nodiscard]] bool has_packet_room() const noexcept { return free_packet_ != none; }
  // The same for one that waits for a neighbour: those leave the last quarter to what can be sent as it is.
  [[nodiscard]] bool has_waiting_room() const noexcept { return has_packet_room() && held_ < most_waiting(); }
  // There is room, the caller has looked.
  void hold(std::uint32_t i, packet&& p) noexcept { append(entries_[i], static_cast<packet&&>(p)); }
  // The oldest one of a neighbour, which has some.
  [[nodiscard]] packet take(std::uint32_t i) noexcept { return take(entries_[i]); }
  // All that wait for a neighbour are ready to be sent. Calls `see(packet&)` for each.
  template <class See>
  void release(std::uint32_t i, See see) noexcept {
    neighbour_entry& e = entries_[i];
    if (e.waiting == 0) return;
    for (std::uint32_t k = e.first, n = e.waiting; n != 0; --n, k = packets_[k].next) see(packets_[k].held);
    if (ready_.waiting == 0) ready_.first = e.first;
    else packets_[ready_.last].next = e.first;
    ready_.last = e.last;
    ready_.waiting += e.waiting;
    held_ -= e.waiting;
    e.waiting = 0;
  }
  // Something that can be sent as it is. False, and the packet is still the caller's, without room.
  [[nodiscard]] bool ready(packet&& p) noexcept {
    if (!has_packet_room()) return false;
    append(ready_, static_cast<packet&&>(p));
    --held_;
    return true;
  }
  [[nodiscard]] packet take_ready() noexcept {
    ++held_;
    return take(ready_);
  }
  [[nodiscard]] std::uint32_t ready_size() const noexcept { return ready_.waiting; }
  // How many wait for neighbours.
  [[nodiscard]] std::uint32_t held() const noexcept { return held_; }

  // Whether all lists, buckets and counts fit together: for tests. O(n).
  [[nodiscard]] bool check() const noexcept {
    std::uint32_t linked = 0, found = 0, waiting = 0;
    for (std::size_t l = 0; l < lists; ++l) {
      std::uint32_t n = 0, before = none;
      for (std::uint32_t i = head_[l]; i != none; before = i, i = entries_[i].next, ++n) {
        const neighbour_entry& e = entries_[i];
        if (n > capacity_ || static_cast<std::size_t>(e.list) != l || e.previous != before) return false;
        const neighbour_state s = state_of(e.list);
        if (e.waiting != 0 && s != neighbour_state::incomplete) return false;
        if (l != 0 && find(e.address) != i) return false;
        if (before != none && e.since < entries_[before].since) return false;
        waiting += e.waiting;
      }
      if (n != size_[l] || tail_[l] != before) return false;
      linked += n;
    }
    for (std::size_t b = 0; b <= mask_; ++b)
      for (std::uint32_t i = buckets_[b]; i != none && found <= capacity_; i = entries_[i].chain) ++found;
    std::uint32_t free = 0, full = 0;
    for (std::uint32_t k = free_packet_; k != none && free <= packet_capacity_; k = packets_[k].next) ++free;
    for (std::uint32_t k = 0; k < packet_capacity_; ++k) full += packets_[k].held ? 1u : 0u;
    return linked == capacity_ && found == capacity_ - size_[0] && waiting == held_ && full == held_ + ready_.waiting &&
           free + full == packet_capacity_ && held_ <= most_waiting();
  }

 private:
  struct packet_queue {
    std::uint32_t first = 0, last = 0, waiting = 0;
  };

  [[nodiscard]] std::uint32_t most_waiting() const noexcept {
    return packet_capacity_ >= 4 ? packet_capacity_ - packet_capacity_ / 4 : (packet_capacity_ + 1) / 2;
  }
  static constexpr byte_count packets_begin(const neighbour_config& c) noexcept {
    return byte_count::of<neighbour_entry>(c.entries).aligned(alignof(waiting_packet));
  }
  static constexpr byte_count buckets_begin(const neighbour_config& c) noexcept {
    return packets_begin(c) + byte_count::of<waiting_packet>(c.packets);
  }
  static constexpr std::uint32_t buckets_of(const neighbour_config& c) noexcept {
    return static_cast<std::uint32_t>(ceil_power_of_two(c.entries));
  }
  template <class T>
  static T* at(mutable_bytes memory, std::size_t offset) noexcept {
    return static_cast<T*>(static_cast<void*>(memory.data() + offset));
  }

  void link(std::uint32_t i, neighbour_list l, instant now) noexcept {
    const auto to = static_cast<std::size_t>(l);
    neighbour_entry& e = entries_[i];
    e.list = l;
    e.since = now;
    e.next = none;
    e.previous = tail_[to];
    (tail_[to] == none ? head_[to] : entries_[tail_[to]].next) = i;
    tail_[to] = i;
    ++size_[to];
  }
  // A neighbour, or those that are ready.
  template <class Queue>
  void append(Queue& q, packet&& p) noexcept {
    const std::uint32_t k = free_packet_;
    free_packet_ = packets_[k].next;
    packets_[k].held = static_cast<packet&&>(p);
    packets_[k].next = none;
    if (q.waiting == 0) q.first = k;
    else packets_[q.last].next = k;
    q.last = k;
    ++q.waiting;
    ++held_;
  }
  template <class Queue>
  [[nodiscard]] packet take(Queue& q) noexcept {
    const std::uint32_t k = q.first;
    q.first = packets_[k].next;
    --q.waiting;
    --held_;
    packets_[k].next = free_packet_;
    free_packet_ = k;
    return static_cast<packet&&>(packets_[k].held);
  }

  neighbour_entry* entries_;
  waiting_packet* packets_;
  std::uint32_t* buckets_;
  std::uint32_t capacity_, packet_capacity_, mask_;
  std::uint32_t free_packet_ = none;
  std::uint32_t held_ = 0;
  packet_queue ready_{};
  std::uint64_t seed_;
  std::uint32_t head_[lists], tail_[lists], size_[lists] = {};
};

}  // namespace runnel::detail

#endif
