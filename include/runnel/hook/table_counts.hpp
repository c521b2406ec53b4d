// SPDX-License-Identifier: MIT
// Connections counted by rules: `ct count over 20`, and the same for each element of a set, as the kernel's
// nf_conncount.
//
// A list for each rule or element knows the records of its connections, in whichever table, up to the limit: those are
// within it, whatever comes later; another one is over, and may come in when one of them has ended. Nobody tells when a
// connection ends: a few of a list are looked at whenever one is added, more before one is over, and those that are
// over leave it. As in the kernel these are also TCP connections that are closed, and those whose first packet did not
// get through behind the rule. A bit in the record of a connection says that it is counted. It is not set in one that
// has just begun, so that a record that was given to another connection is found out: at the latest when that one is
// counted too.
//
// Times are milliseconds of the clock, or so: within one, what is unconfirmed may be confirmed yet. Of a list at its
// limit 64 are looked at for each that has gone by since the last time, and at most all, in turn: so a limit of some
// hundred is exact, and who sends beginnings without end at one of 60000 does not have all of them read for each.
#ifndef RUNNEL_HOOK_TABLE_COUNTS_HPP
#define RUNNEL_HOOK_TABLE_COUNTS_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t, uintptr_t

#include <runnel/base/hash.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/packet/connection_state.hpp>

namespace runnel::detail {

// One connection in one list. All numbers of entries are counted from 1; 0 is none.
struct counted_connection {
  connection_facts* facts = nullptr;  // the beginning of its record
  counted_list* list = nullptr;       // null: free
  std::uint32_t before = 0, behind = 0;
  std::uint32_t same_hash = 0;  // the next one of its chain; of a free one the next free one
  std::uint32_t when = 0;       // it was counted
};

class table_counts {
 public:
  enum class answer : unsigned char { within, over, full };

  // Room for `n` connections, of which each has a chain.
  void begin(counted_connection* entries, std::uint32_t* chains, std::uint32_t n) noexcept {
    entry_ = entries;
    chain_ = chains;
    size_ = n;
    clear();
  }
  void clear() noexcept {
    used_ = free_ = hand_ = 0;
    for (std::uint32_t i = 0; i < size_; ++i) chain_[i] = 0;
  }
  // Counts a connection that is alive, of a packet that came `when`. `over`: there are `most` others.
  answer count(counted_list& list, connection_facts& facts, std::uint32_t most, std::uint32_t when) noexcept {
    if (size_ == 0) return answer::full;
    if ((facts.status & connection_is_counted) == 0) {  // it has just begun
      forget(facts);
      facts.status = static_cast<std::uint16_t>(facts.status | connection_is_counted);
    } else if (find(list, facts) != 0) {
      return answer::within;
    }
    refresh(list, when);
    if (list.count >= most) {
      const std::uint64_t may = std::uint64_t{looks_a_time} * (when - list.looked_at);
      list.looked_at = when;
      for (std::uint64_t left = may < list.count ? may : list.count; left != 0 && list.count >= most; --left)
        look_at_first(list, when);
    }
    if (list.count >= most) return answer::over;
    const std::uint32_t at = take(when);
    if (at == 0) return answer::full;
    std::uint32_t& chain = chain_[chain_of(facts)];
    entry_[at - 1] = {&facts, &list, 0, 0, chain, when};
    chain = at;
    append(list, at);
    return answer::within;
  }
  // Lets go of some of a list that are over.
  void refresh(counted_list& list, std::uint32_t when) noexcept {
    for (unsigned i = 0; i < 8 && list.first != 0; ++i) look_at_first(list, when);
  }

 private:
  static constexpr std::uint32_t looks_a_time = 64;

  // It leaves the list, or becomes the last one.
  void look_at_first(counted_list& list, std::uint32_t when) noexcept {
    const std::uint32_t at = list.first;
    if (is_over(at, when)) {
      remove(at);
    } else {
      leave(at);
      append(list, at);
    }
  }
  [[nodiscard]] bool is_over(std::uint32_t at, std::uint32_t when) const noexcept {
    constexpr unsigned both = connection_is_alive | connection_is_counted;
    const counted_connection& e = entry_[at - 1];
    if ((e.facts->status & both) != both) return true;
    // What is to be confirmed is so in its burst.
    if ((e.facts->status & connection_status::confirmed) == 0 && e.when != when) return true;
    // The kernel's already_closed().
    const auto* const record = static_cast<const std::uint8_t*>(static_cast<const void*>(e.facts));
    const auto state = static_cast<tcp_connection_state>(record[connection_tcp_state_at] & 15u);
    return state == tcp_connection_state::time_wait || state == tcp_connection_state::close;
  }
  [[nodiscard]] std::uint32_t chain_of(const connection_facts& facts) const noexcept {
    return static_cast<std::uint32_t>(mix(reinterpret_cast<std::uintptr_t>(&facts) / connection_stride) % size_);
  }
  [[nodiscard]] std::uint32_t find(const counted_list& list, const connection_facts& facts) const noexcept {
    std::uint32_t at = chain_[chain_of(facts)];
    while (at != 0 && !(entry_[at - 1].facts == &facts && entry_[at - 1].list == &list)) at = entry_[at - 1].same_hash;
    return at;
  }
  // The connection that had this record is over.
  void forget(const connection_facts& facts) noexcept {
    for (std::uint32_t at = chain_[chain_of(facts)]; at != 0;) {
      const std::uint32_t next = entry_[at - 1].same_hash;
      if (entry_[at - 1].facts == &facts) remove(at);
      at = next;
    }
  }
  // A free entry. When there is none a few are looked at.
  std::uint32_t take(std::uint32_t when) noexcept {
    if (free_ == 0 && used_ == size_) {
      for (unsigned i = 0; i < 16; ++i) {
        hand_ = hand_ + 1 < size_ ? hand_ + 1 : 0;
        if (entry_[hand_].list != nullptr && is_over(hand_ + 1, when)) remove(hand_ + 1);
      }
    }
    if (free_ == 0) return used_ < size_ ? ++used_ : 0;
    const std::uint32_t at = free_;
    free_ = entry_[at - 1].same_hash;
    return at;
  }
  void remove(std::uint32_t at) noexcept {
    leave(at);
    counted_connection& e = entry_[at - 1];
    std::uint32_t* link = &chain_[chain_of(*e.facts)];
    while (*link != at) link = &entry_[*link - 1].same_hash;
    *link = e.same_hash;
    e.list = nullptr;
    e.same_hash = free_;
    free_ = at;
  }
  void append(counted_list& list, std::uint32_t at) noexcept {
    counted_connection& e = entry_[at - 1];
    e.before = list.last;
    e.behind = 0;
    (list.last != 0 ? entry_[list.last - 1].behind : list.first) = at;
    list.last = at;
    ++list.count;
  }
  void leave(std::uint32_t at) noexcept {
    const counted_connection& e = entry_[at - 1];
    counted_list& list = *e.list;
    (e.before != 0 ? entry_[e.before - 1].behind : list.first) = e.behind;
    (e.behind != 0 ? entry_[e.behind - 1].before : list.last) = e.before;
    --list.count;
  }

  counted_connection* entry_ = nullptr;
  std::uint32_t* chain_ = nullptr;
  std::uint32_t size_ = 0, used_ = 0, free_ = 0, hand_ = 0;
};

}  // namespace runnel::detail

#endif
