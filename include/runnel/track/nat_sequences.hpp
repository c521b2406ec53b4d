// SPDX-License-Identifier: MIT
// TCP connections whose text became longer or shorter on its way: by how much their sequence numbers differ before and
// behind NAT. The kernel's nf_conntrack_seqadj.c. Nothing here is for users.
#ifndef RUNNEL_TRACK_NAT_SEQUENCES_HPP
#define RUNNEL_TRACK_NAT_SEQUENCES_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // int32_t, uint16_t, uint32_t

#include <runnel/base/byte_count.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/track/nat_mapping.hpp>

namespace runnel::detail {

// What one side sent: up to the segment at `position`, with it, its numbers were `before` less than outside; behind it,
// `after` less.
struct sequence_side {
  std::uint32_t position = 0;
  std::uint32_t before = 0;
  std::uint32_t after = 0;

  // What is added to a number that the side sent.
  [[nodiscard]] constexpr std::uint32_t of_sequence(std::uint32_t sequence) const noexcept {
    return static_cast<std::int32_t>(sequence - position) > 0 ? after : before;
  }
  // What is taken from a number with which the other side acknowledges.
  [[nodiscard]] constexpr std::uint32_t of_ack(std::uint32_t ack) const noexcept {
    return static_cast<std::int32_t>(ack - before - position) > 0 ? after : before;
  }
  // The segment at `sequence` became longer by so much, if that is not known yet.
  constexpr void note(std::uint32_t sequence, std::uint32_t longer) noexcept {
    if (longer == 0 || (before != after && static_cast<std::int32_t>(sequence - position) <= 0)) return;
    position = sequence;
    before = after;
    after += longer;
  }
};
struct sequence_entry {
  std::uint32_t number = 0;  // of the connection
  std::uint32_t next = 0;
  sequence_side side[2]{};
  // What was announced last, so that it is announced alike when it is sent again.
  std::uint32_t said_at[2] = {};
  std::uint16_t announced[2] = {};  // the port; 0: nothing yet
  std::uint16_t given[2] = {};
};

class nat_sequences {
 public:
  [[nodiscard]] static constexpr byte_count bytes_needed(std::uint32_t n) noexcept {
    return nat_part<sequence_entry>(n) + nat_part<std::uint32_t>(n);
  }
  nat_sequences(std::byte* at, std::uint32_t n) noexcept
      : entries_(static_cast<sequence_entry*>(static_cast<void*>(at)), n),
        by_number_(static_cast<std::uint32_t*>(static_cast<void*>(at + nat_part<sequence_entry>(n).value())), n) {}

  [[nodiscard]] sequence_entry* find(std::uint32_t number) const noexcept {
    const std::uint32_t i = by_number_.find(entries_, &sequence_entry::next, mix(number),
                                            [number](const sequence_entry& e) { return e.number == number; });
    return i == nat_none ? nullptr : &entries_[i];
  }
  // The entry of a connection, perhaps a new one; null when there is no room.
  [[nodiscard]] sequence_entry* find_or_insert(std::uint32_t number) noexcept {
    if (sequence_entry* const known = find(number)) return known;
    const std::uint32_t i = entries_.take(&sequence_entry::next);
    if (i == nat_none) return nullptr;
    entries_[i].number = number;
    by_number_.insert(entries_, &sequence_entry::next, mix(number), i);
    return &entries_[i];
  }
  void erase(std::uint32_t number) noexcept {
    const std::uint32_t i = by_number_.find(entries_, &sequence_entry::next, mix(number),
                                            [number](const sequence_entry& e) { return e.number == number; });
    if (i == nat_none) return;
    by_number_.erase(entries_, &sequence_entry::next, mix(number), i);
    entries_.give_back(i, &sequence_entry::next);
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return entries_.size(); }

 private:
  nat_entries<sequence_entry> entries_;
  nat_chains<sequence_entry> by_number_;
};

}  // namespace runnel::detail

#endif
