// SPDX-License-Identifier: MIT
// Packets: the handle, how a pool makes and takes back packets, and how packets share, copy and chain their bytes.
#ifndef RUNNEL_PACKET_PACKET_HPP
#define RUNNEL_PACKET_PACKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/descriptor.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/packet_handle.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel {

RUNNEL_INLINE packet pool::attach(const frame& f, const layers& found) noexcept {
  detail::descriptor* d;
  std::uint8_t lender_or_queue = f.queue, special = 0;
  if (f.slot == no_slot) [[unlikely]] {
    d = take_bare();
    if (d == nullptr) return {};
    lender_or_queue = f.lender;
    special = detail::is_lent;
  } else {
    d = descriptors() + f.slot;
  }
  // Every member but two: `index` is right for ever, and `next` means nothing without is_chained. Small ones that lie
  // side by side are stored together: the stores are the price of a new packet.
  d->data = f.data;
  d->timestamp = f.timestamp;
  d->length = f.length;
  detail::store_side_by_side<std::uint64_t>(&d->headroom, f.headroom, f.tailroom, f.iif, f.missing);
  d->hash = 0;
  d->mark = 0;
  d->connection = 0;
  d->scratch = 0;
  detail::store_whole(d->layers, found);
  detail::store_side_by_side<std::uint32_t>(&d->priority, 0, lender_or_queue, special,
                                            static_cast<std::uint32_t>(f.checksum));
  if ((f.segment_size | f.missing) != 0) [[unlikely]] {
    if (f.missing != 0) d->status |= detail::is_missing;
    else d->segment_size = f.segment_size;
  }
  return packet{d};
}

RUNNEL_INLINE packet pool::attach(const frame& f) noexcept {
  return attach(f, {.protocols = static_cast<std::uint16_t>(f.link)});
}

inline packet pool::allocate() noexcept {
  const std::uint32_t i = take_slot();
  if (i == no_slot) return {};
  detail::descriptor* d = descriptors() + i;
  *d = detail::descriptor{};
  d->data = slots_ + i * stride_ + headroom_;
  d->index = i;
  d->headroom = static_cast<std::uint16_t>(headroom_);
  d->tailroom = static_cast<std::uint16_t>(bytes_);
  return packet{d};
}

[[gnu::noinline]] inline void pool::release(packet* packets, std::size_t n) noexcept {
  // The first that is alone and at home says whose stacks those are; what comes from other threads goes home first.
  std::size_t i = 0;
  for (; i < n; ++i) {
    detail::descriptor* d = packets[i].d_;
    if (d == nullptr) continue;
    if (d->special <= detail::is_lent) break;
    packets[i].d_ = nullptr;
    release_special(d);
  }
  if (i == n) return;
  // Plain packets of one pool and those that show lent bytes come in bursts; others go the long way. The top of the
  // stack is kept in a register, as for frames.
  pool& home = of(packets[i].d_);
  std::uint32_t* top = home.free_slots_ + home.free_count_;
  const auto first = reinterpret_cast<std::uintptr_t>(home.descriptors());
  const std::uintptr_t count = std::uintptr_t{home.packets_} + home.bare_;
  for (; i < n; ++i) {
    detail::descriptor* d = packets[i].d_;
    packets[i].d_ = nullptr;
    const std::uintptr_t index = (reinterpret_cast<std::uintptr_t>(d) - first) / sizeof(detail::descriptor);
    if (index < count && d->special <= detail::is_lent) [[likely]] {
      if (d->special == 0) [[likely]] {
        *top++ = static_cast<std::uint32_t>(index);
      } else {
        home.free_bare_list_[home.free_bare_count_++] = static_cast<std::uint32_t>(index);
        --home.lent_[d->lender_or_queue];
      }
      continue;
    }
    if (d == nullptr) continue;
    home.free_count_ = static_cast<std::uint32_t>(top - home.free_slots_);
    release_special(d);
    top = home.free_slots_ + home.free_count_;
  }
  home.free_count_ = static_cast<std::uint32_t>(top - home.free_slots_);
}

inline bool packet::trim(std::size_t n) noexcept {
  if (n > total_length()) return false;
  detail::descriptor* d = d_;
  while (n > d->length) {
    n -= d->length;
    d = following(d);
  }
  if (detail::descriptor* rest = following(d)) {
    d->special &= static_cast<std::uint8_t>(~detail::is_chained);
    pool::release_chain(rest);
  }
  const std::size_t room = d->tailroom + (d->length - n);
  d->tailroom = static_cast<std::uint16_t>(room < 0xffff ? room : 0xffff);
  d->length = static_cast<std::uint32_t>(n);
  return true;
}

inline detail::descriptor* packet::clone_one(pool& home, detail::descriptor* d) noexcept {
  detail::descriptor* c = home.take_bare();
  if (c == nullptr) return nullptr;
  const std::uint32_t index = c->index;
  *c = *d;
  c->index = index;
  if ((d->special & detail::is_lent) != 0) {
    d->special |= detail::maybe_shared;
    c->special = detail::is_lent | detail::maybe_shared;
    ++home.lent_[d->lender_or_queue];
    return c;
  }
  ++home.refs_[d->index < home.packets_ ? d->index : home.slot_of(d->data - d->headroom)];
  d->special |= detail::maybe_shared;
  c->special = detail::is_clone;
  return c;
}

inline packet packet::clone() noexcept {
  if (is_away()) return {};
  pool& home = pool::of(d_);
  packet whole{clone_one(home, d_)};
  if (!whole) return {};
  detail::descriptor* last = whole.d_;
  for (detail::descriptor* d = following(d_); d != nullptr; d = following(d)) {
    packet c{clone_one(home, d)};
    if (!c) return {};
    last = link(last, c);
  }
  return whole;
}

inline packet packet::copy(pool& to) const noexcept {
  const std::size_t n = total_length();
  const std::size_t whole_slot = std::size_t{to.headroom()} + to.packet_bytes();
  if (n > whole_slot || (is_away() && &to == &pool::of(d_))) return {};
  packet c = to.allocate();
  if (!c) return {};
  std::byte* at = c.d_->data;
  if (n > to.packet_bytes()) at -= n - to.packet_bytes();
  const std::size_t room = whole_slot - n - static_cast<std::size_t>(at - c.head());
  c.d_->headroom = static_cast<std::uint16_t>(at - c.head());
  c.d_->tailroom = static_cast<std::uint16_t>(room);
  c.d_->length = static_cast<std::uint32_t>(n);
  c.d_->data = at;
  copy_shifted_knowledge(c.d_, d_);
  for_each_fragment([&at](bytes part) {
    copy_bytes(at, part.data(), part.size());
    at += part.size();
  });
  return c;
}

// A copy in slots of the same pool: one if the bytes fit, else as many as it takes.
inline packet packet::copy_to_slots() const noexcept {
  pool& home = pool::of(d_);
  if (is_away()) return {};
  if (total_length() <= std::size_t{home.headroom()} + home.packet_bytes()) return copy(home);
  packet whole = home.allocate();
  if (!whole) return {};
  copy_shifted_knowledge(whole.d_, d_);
  detail::descriptor* last = whole.d_;
  for (const detail::descriptor* d = d_; d != nullptr; d = following(d)) {
    for (bytes rest{d->data, d->length}; !rest.empty();) {
      if (last->tailroom == 0) {
        packet more = home.allocate();
        if (!more) return {};
        last = link(last, more);
      }
      const bytes part = rest.first(last->tailroom);
      copy_bytes(last->data + last->length, part.data(), part.size());
      last->length += static_cast<std::uint32_t>(part.size());
      last->tailroom = static_cast<std::uint16_t>(last->tailroom - part.size());
      rest = rest.from(part.size());
    }
  }
  return whole;
}

inline bool packet::append(packet&& tail) noexcept {
  if (!tail || tail.d_ == d_ || &pool::of(d_) != &pool::of(tail.d_)) return false;
  detail::descriptor* last = d_;
  while (detail::descriptor* d = following(last)) last = d;
  link(last, tail);
  return true;
}

inline bool packet::send_away() noexcept {
  // A clone that is alone by now may go as it is: its reference to the slot is given up at home.
  if ((any_shared() || any_lent()) && !become(copy_to_slots())) return false;
  for (detail::descriptor* d = d_; d != nullptr; d = following(d)) d->special |= detail::is_away;
  return true;
}

inline frame packet::detach() noexcept {
  RUNNEL_ASSERT(is_plain());
  frame f;
  f.data = d_->data;
  f.timestamp = d_->timestamp;
  f.length = d_->length;
  f.headroom = d_->headroom;
  f.tailroom = d_->tailroom;
  f.iif = d_->iif;
  f.queue = queue();
  f.missing = missing();
  f.segment_size = segment_size();
  f.link = d_->layers.link_kind();
  f.checksum = checksum();
  f.slot = pool::of(d_).release_but_slot(d_);
  d_ = nullptr;
  return f;
}

}  // namespace runnel

#endif
