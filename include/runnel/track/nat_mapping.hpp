// SPDX-License-Identifier: MIT
// Endpoint-independent mappings: which address and port outside an address and port inside has, whatever it sends to
// (RFC 4787 §4). Nothing here is for users: see nat_table.hpp.
//
// Theory of operation. Four kinds of entries, in arrays that the user's memory holds, each with its number:
//
//     mapping      inside and outside, how many connections use it; found by either end     72 bytes, 8 of heads
//     subscriber   a host inside: how many mappings it has, and its address outside         48 bytes, 4 of heads
//     permission   a mapping, and an address outside that it has sent to                    32 bytes, 4 of heads
//
// Each kind is found in chains that begin at heads chosen by a hash with a seed. A mapping is there as long as one of
// its connections is. Then it waits for the reuse delay in a queue, where only the same inside finds it again: the
// delay is the same for all, so the first of the queue is always the first to go.
#ifndef RUNNEL_TRACK_NAT_MAPPING_HPP
#define RUNNEL_TRACK_NAT_MAPPING_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/config.hpp>
#include <runnel/track/nat_options.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

inline constexpr std::uint32_t nat_none = 0xffff'ffff;

// One end of a mapping. IPv4 addresses are mapped ones.
struct nat_endpoint {
  ipv6_address address{};
  std::uint16_t port = 0;
  std::uint16_t zone = 0;
  std::uint8_t protocol = 0;
  friend constexpr bool operator==(const nat_endpoint&, const nat_endpoint&) noexcept = default;
  [[nodiscard]] constexpr std::uint64_t rest() const noexcept {
    return std::uint64_t{port} << 32 | std::uint64_t{zone} << 16 | protocol;
  }
};

struct nat_mapping_entry {
  ipv6_address inside{};
  ipv6_address outside{};
  std::uint16_t inside_port = 0;
  std::uint16_t outside_port = 0;
  std::uint16_t zone = 0;
  std::uint8_t protocol = 0;
  std::uint32_t uses = 0;  // connections
  std::uint32_t subscriber = 0;
  std::uint32_t next_inside = 0;  // in their chains; of a free entry the next one
  std::uint32_t next_outside = 0;
  std::uint32_t deadline = 0;           // while it waits: in ticks
  std::uint32_t before = 0, after = 0;  // in the queue of those that wait
};
struct nat_subscriber_entry {
  ipv6_address address{};
  ipv6_address outside{};  // of its mappings
  std::uint32_t mappings = 0;
  std::uint32_t next = 0;
  std::uint16_t zone = 0;
};
struct nat_permission_entry {
  ipv6_address address{};  // outside
  std::uint32_t mapping = 0;
  std::uint32_t uses = 0;
  std::uint32_t next = 0;
};

static_assert(sizeof(nat_mapping_entry) <= 72 && sizeof(nat_subscriber_entry) <= 48 &&
              sizeof(nat_permission_entry) <= 32);

// Entries of one kind: a free list, and heads of chains. `Entry::next` and so on are the caller's.
template <class Entry>
class nat_entries {
 public:
  nat_entries() noexcept = default;
  nat_entries(Entry* first, std::uint32_t count) noexcept : first_(first), count_(count) {}
  [[nodiscard]] Entry& operator[](std::uint32_t i) const noexcept { return first_[i]; }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return count_; }
  // A fresh one; nat_none when there is no room.
  [[nodiscard]] std::uint32_t take(std::uint32_t Entry::* link) noexcept {
    std::uint32_t i = free_;
    if (i != nat_none) free_ = first_[i].*link;
    else if (fresh_ < count_) i = fresh_++;
    else return nat_none;
    ::new (static_cast<void*>(&first_[i])) Entry{};
    ++size_;
    return i;
  }
  void give_back(std::uint32_t i, std::uint32_t Entry::* link) noexcept {
    first_[i].*link = free_;
    free_ = i;
    --size_;
  }

 private:
  Entry* first_ = nullptr;
  std::uint32_t count_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t fresh_ = 0;
  std::uint32_t free_ = nat_none;
};

// Chains through entries by one of their links.
template <class Entry>
class nat_chains {
 public:
  nat_chains() noexcept = default;
  nat_chains(std::uint32_t* heads, std::uint32_t count) noexcept : heads_(heads), count_(count) {
    for (std::uint32_t i = 0; i < count; ++i) heads_[i] = nat_none;
  }
  template <class Is>
  [[nodiscard]] std::uint32_t find(const nat_entries<Entry>& all, std::uint32_t Entry::* link, std::uint64_t hash,
                                   Is is) const noexcept {
    if (count_ == 0) return nat_none;
    std::uint32_t i = heads_[place(hash)];
    while (i != nat_none && !is(all[i])) i = all[i].*link;
    return i;
  }
  void insert(const nat_entries<Entry>& all, std::uint32_t Entry::* link, std::uint64_t hash,
              std::uint32_t i) noexcept {
    std::uint32_t& head = heads_[place(hash)];
    all[i].*link = head;
    head = i;
  }
  void erase(const nat_entries<Entry>& all, std::uint32_t Entry::* link, std::uint64_t hash, std::uint32_t i) noexcept {
    std::uint32_t* at = &heads_[place(hash)];
    while (*at != i) at = &(all[*at].*link);
    *at = all[i].*link;
  }

 private:
  [[nodiscard]] std::uint32_t place(std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>((hash >> 32) * count_ >> 32);
  }
  std::uint32_t* heads_ = nullptr;
  std::uint32_t count_ = 0;
};

// Bytes of `n` of them. Not a member: Clang 14 would not know it in a constant.
inline constexpr std::size_t nat_alignment = 16;
template <class T>
constexpr byte_count nat_part(std::uint32_t n) noexcept {
  return byte_count::of<T>(n).aligned(nat_alignment);
}

class nat_mappings {
 public:
  using mapping = nat_mapping_entry;
  using subscriber = nat_subscriber_entry;
  using permission = nat_permission_entry;
  static constexpr std::size_t alignment = nat_alignment;

  [[nodiscard]] static constexpr byte_count bytes_needed(const nat_config& c) noexcept {
    return nat_part<mapping>(c.mappings) + nat_part<subscriber>(c.subscribers) + nat_part<permission>(c.permissions) +
           2 * nat_part<std::uint32_t>(c.mappings) + nat_part<std::uint32_t>(c.subscribers) +
           nat_part<std::uint32_t>(c.permissions);
  }
  nat_mappings(std::byte* at, const nat_config& c) noexcept : seed_(c.seed) {
    mappings_ = {take<mapping>(at, c.mappings), c.mappings};
    subscribers_ = {take<subscriber>(at, c.subscribers), c.subscribers};
    permissions_ = {take<permission>(at, c.permissions), c.permissions};
    by_inside_ = {take<std::uint32_t>(at, c.mappings), c.mappings};
    by_outside_ = {take<std::uint32_t>(at, c.mappings), c.mappings};
    by_host_ = {take<std::uint32_t>(at, c.subscribers), c.subscribers};
    by_permission_ = {take<std::uint32_t>(at, c.permissions), c.permissions};
  }

  [[nodiscard]] mapping& operator[](std::uint32_t i) const noexcept { return mappings_[i]; }
  [[nodiscard]] std::uint32_t size() const noexcept { return mappings_.size(); }
  [[nodiscard]] std::uint32_t subscribers() const noexcept { return subscribers_.size(); }
  [[nodiscard]] std::uint32_t permissions() const noexcept { return permissions_.size(); }

  // The mapping of an end; `nat_none` when there is none. Those that wait are found too.
  [[nodiscard]] std::uint32_t find_inside(const nat_endpoint& e) const noexcept {
    return by_inside_.find(mappings_, &mapping::next_inside, hash(e, 1), [&e](const mapping& m) {
      return m.inside == e.address && m.inside_port == e.port && m.protocol == e.protocol && m.zone == e.zone;
    });
  }
  [[nodiscard]] std::uint32_t find_outside(const nat_endpoint& e) const noexcept {
    return by_outside_.find(mappings_, &mapping::next_outside, hash(e, 2), [&e](const mapping& m) {
      return m.outside == e.address && m.outside_port == e.port && m.protocol == e.protocol && m.zone == e.zone;
    });
  }
  // The host whose end this is: in another zone the same address is another host.
  [[nodiscard]] const subscriber* find_host(const nat_endpoint& e) const noexcept {
    const std::uint32_t i = find_subscriber(e);
    return i == nat_none ? nullptr : &subscribers_[i];
  }
  // Joins two ends of one protocol and zone that have no mapping; nobody uses it yet. `nat_none`: no room.
  [[nodiscard]] std::uint32_t insert(const nat_endpoint& inside, const nat_endpoint& outside) noexcept {
    std::uint32_t host = find_subscriber(inside);
    if (host == nat_none) {
      host = subscribers_.take(&subscriber::next);
      if (host == nat_none) return nat_none;
      subscribers_[host].address = inside.address, subscribers_[host].zone = inside.zone;
      subscribers_[host].outside = outside.address;
      by_host_.insert(subscribers_, &subscriber::next, hash(inside.address, inside.zone), host);
    }
    ++subscribers_[host].mappings;
    const std::uint32_t i = mappings_.take(&mapping::next_inside);
    if (i == nat_none) return leave(host), nat_none;
    mapping& m = mappings_[i];
    m.inside = inside.address, m.inside_port = inside.port;
    m.outside = outside.address, m.outside_port = outside.port;
    m.protocol = inside.protocol, m.zone = inside.zone;
    m.subscriber = host;
    by_inside_.insert(mappings_, &mapping::next_inside, hash(inside, 1), i);
    by_outside_.insert(mappings_, &mapping::next_outside, hash(outside, 2), i);
    return i;
  }
  // A connection begins or ends to use it. @{
  void use(std::uint32_t i) noexcept {
    mapping& m = mappings_[i];
    if (m.uses++ == 0 && m.deadline != 0) stop_waiting(i);
  }
  void release(std::uint32_t i, std::uint32_t now, std::uint32_t delay) noexcept {
    mapping& m = mappings_[i];
    RUNNEL_ASSERT(m.uses != 0);
    if (--m.uses != 0) return;
    if (delay == 0) return erase(i);
    m.deadline = (now + delay) | 1u;  // never 0, which means that it does not wait
    m.before = last_, m.after = nat_none;
    (last_ == nat_none ? first_ : mappings_[last_].after) = i;
    last_ = i;
  }
  // Takes out one that nobody uses, and that does not wait.
  void erase(std::uint32_t i) noexcept {
    const mapping m = mappings_[i];
    by_inside_.erase(mappings_, &mapping::next_inside,
                     hash(nat_endpoint{m.inside, m.inside_port, m.zone, m.protocol}, 1), i);
    by_outside_.erase(mappings_, &mapping::next_outside,
                      hash(nat_endpoint{m.outside, m.outside_port, m.zone, m.protocol}, 2), i);
    mappings_.give_back(i, &mapping::next_inside);
    leave(m.subscriber);
  }
  // @}
  // Ends those that have waited long enough, `limit` at most, and says how many.
  std::size_t expire(std::uint32_t now, std::size_t limit) noexcept {
    std::size_t n = 0;
    for (; n < limit && first_ != nat_none && static_cast<std::int32_t>(mappings_[first_].deadline - now) <= 0; ++n) {
      const std::uint32_t i = first_;
      stop_waiting(i);
      erase(i);
    }
    return n;
  }
  // When the first of those that wait goes; false when none waits.
  [[nodiscard]] bool next_due(std::uint32_t& deadline) const noexcept {
    if (first_ == nat_none) return false;
    deadline = mappings_[first_].deadline;
    return true;
  }

  // Whether a mapping has sent to an address outside; a connection that does; one that ends. @{
  [[nodiscard]] bool may_send(std::uint32_t mapping_number, const ipv6_address& a) const noexcept {
    return find_permission(mapping_number, a) != nat_none;
  }
  [[nodiscard]] bool permit(std::uint32_t mapping_number, const ipv6_address& a) noexcept {
    std::uint32_t i = find_permission(mapping_number, a);
    if (i == nat_none) {
      i = permissions_.take(&permission::next);
      if (i == nat_none) return false;
      permissions_[i].address = a, permissions_[i].mapping = mapping_number;
      by_permission_.insert(permissions_, &permission::next, hash(a, mapping_number), i);
    }
    ++permissions_[i].uses;
    return true;
  }
  void withdraw(std::uint32_t mapping_number, const ipv6_address& a) noexcept {
    const std::uint32_t i = find_permission(mapping_number, a);
    if (i == nat_none || --permissions_[i].uses != 0) return;
    by_permission_.erase(permissions_, &permission::next, hash(a, mapping_number), i);
    permissions_.give_back(i, &permission::next);
  }
  // @}

 private:
  template <class T>
  static T* take(std::byte*& at, std::uint32_t n) noexcept {
    T* const first = static_cast<T*>(static_cast<void*>(at));
    at += nat_part<T>(n).value();
    return first;
  }
  [[nodiscard]] std::uint64_t hash(const nat_endpoint& e, std::uint64_t kind) const noexcept {
    return hash_words(hash_words(e.address.high(), e.address.low(), seed_), e.rest() << 2 | kind, seed_);
  }
  [[nodiscard]] std::uint64_t hash(const ipv6_address& a, std::uint32_t with) const noexcept {
    return hash_words(hash_words(a.high(), a.low(), seed_), with, seed_);
  }
  [[nodiscard]] std::uint32_t find_subscriber(const nat_endpoint& e) const noexcept {
    return by_host_.find(subscribers_, &subscriber::next, hash(e.address, e.zone),
                         [&e](const subscriber& s) { return s.address == e.address && s.zone == e.zone; });
  }
  [[nodiscard]] std::uint32_t find_permission(std::uint32_t mapping_number, const ipv6_address& a) const noexcept {
    return by_permission_.find(permissions_, &permission::next, hash(a, mapping_number),
                               [&](const permission& p) { return p.mapping == mapping_number && p.address == a; });
  }
  void leave(std::uint32_t host) noexcept {
    subscriber& s = subscribers_[host];
    if (--s.mappings != 0) return;
    by_host_.erase(subscribers_, &subscriber::next, hash(s.address, s.zone), host);
    subscribers_.give_back(host, &subscriber::next);
  }
  void stop_waiting(std::uint32_t i) noexcept {
    mapping& m = mappings_[i];
    (m.before == nat_none ? first_ : mappings_[m.before].after) = m.after;
    (m.after == nat_none ? last_ : mappings_[m.after].before) = m.before;
    m.deadline = 0;
  }

  std::uint64_t seed_;
  nat_entries<mapping> mappings_;
  nat_entries<subscriber> subscribers_;
  nat_entries<permission> permissions_;
  nat_chains<mapping> by_inside_;
  nat_chains<mapping> by_outside_;
  nat_chains<subscriber> by_host_;
  nat_chains<permission> by_permission_;
  std::uint32_t first_ = nat_none, last_ = nat_none;  // of those that wait
};

}  // namespace runnel::detail

#endif
