// SPDX-License-Identifier: MIT
// The neighbours of one link, IPv4 and IPv6: their link-layer addresses, whether they are still there, and the packets
// that wait until that is known. RFC 4861 §7, RFC 826, RFC 5227; the states also for ARP, as Linux does.
//
// Theory of operation. A packet for a neighbour that is not known waits in the table, and the table asks. What it has
// to send - questions, answers, packets that have waited - it hands out as a queue does: it is attached to the loop
// with the way out behind it, and that also runs its timers.
//
//     wan --> parse | answer_neighbours(t) --.          .--> transmit(wan)     known: goes on at once
//                                             \        /
//     lan --> parse | ... | route --> ... | resolve(t, routes)
//                                               |
//                                               t --attach--> transmit(wan)    questions, answers, what has waited
//
// One table is for one link: a router has one for each of its interfaces, or VLANs.
//
// A neighbour costs memory from its first packet on, so strangers decide who is in the table. What keeps a scan of a
// large prefix harmless (RFC 6583):
// - at most `unresolved` neighbours are being asked at once; a newcomer takes the place of the one that was asked
//   longest ago, unless that was less than `least_wait` ago: then its packet is dropped;
// - room is made of failed neighbours first, then of stale ones. One that is reachable, or being asked whether it still
//   is, stays, and so do permanent ones; who tells its address unasked leaves a quarter of the room to others;
// - questions are sent at a limited rate, those to neighbours that are known first;
// - packets that wait leave a quarter of their room to messages: who asks this host gets an answer.
#ifndef RUNNEL_IP_NEIGHBOUR_TABLE_HPP
#define RUNNEL_IP_NEIGHBOUR_TABLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/bytes.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/base/random.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/ip/address_detection.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/neighbour.hpp>
#include <runnel/ip/neighbour_messages.hpp>
#include <runnel/ip/neighbour_store.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// The neighbours of one link. For one thread; never grows, never allocates but messages from its pool. All times come
/// from one clock that does not go back.
///
/// 56 bytes for each neighbour and 4 to 8 for finding it, 16 for each packet that may wait (on 64-bit targets).
class neighbour_table {
 public:
  /// How memory must be aligned.
  static constexpr std::size_t alignment = alignof(detail::neighbour_entry);
  /// A neighbour that was asked less than this ago is not given up for a newcomer.
  static constexpr duration least_wait = milliseconds(100);
  /// What it hands out is nobody else's: see `attach`.
  static constexpr bool makes_own = true;

  /// How much memory a table needs, in bytes.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const neighbour_config& c) noexcept {
    return detail::neighbour_store::bytes_needed(c);
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned and have `bytes_needed(c)` bytes
  /// (asserted). `link` is what this host is on the link: it answers for the addresses, and its questions come from
  /// them. Messages come from `packets`, 86 bytes each with their headers, for which a slot needs room, headroom
  /// included. Both must outlive the table.
  neighbour_table(mutable_bytes memory, const neighbour_config& c, pool& packets, ip_interface& link,
                  const neighbour_options& o = {}) noexcept
      : store_(memory, c), options_(o), packets_(&packets), link_(&link), unresolved_(c.unresolved), random_(c.seed) {
    RUNNEL_ASSERT(c.unresolved >= 1 && o.unres_qlen >= 1 && o.solicit_rate >= 1 && o.solicit_burst >= 1);
    draw_reachable_time({});
  }
  neighbour_table(const neighbour_table&) = delete;
  neighbour_table& operator=(const neighbour_table&) = delete;

  // ---- this host

  /// What this host is on the link.
  [[nodiscard]] const ip_interface& link() const noexcept { return *link_; }
  /// Begins to use an address of the link, if nobody else has it: asks that first (RFC 5227 §2.1: three probes, which
  /// take 4 to 7 seconds; IPv6: duplicate address detection, RFC 4862 §5.4), then uses and announces it. Until then it
  /// is `tentative`. `address_changed` tells how it ended. Also begins anew with one that is a duplicate. False when
  /// the address is used already, or there is no room. Addresses whose lifetimes end are deprecated and taken away.
  ///
  /// What it does not do: tell switches by MLD that this host listens to the address's multicast group.
  [[nodiscard]] bool acquire(const interface_address& a, instant now) noexcept {
    return detection_.begin(*link_, a, random_, now);
  }
  /// The same, to be changed. Lifetimes that were changed are looked at with the next `expire`.
  [[nodiscard]] ip_interface& change_link() noexcept {
    detection_.consider({});
    return *link_;
  }
  /// Other times than those of the options (RFC 4861 §6.3.4); zero: as it is. Less than 100 ms counts as that.
  void set_times(duration base_reachable_time, duration retrans_time, instant now) noexcept {
    const auto at_least = [](duration t) { return t < milliseconds(100) ? milliseconds(100) : t; };
    if (retrans_time != duration{}) options_.retrans_time = at_least(retrans_time);
    if (base_reachable_time == duration{} || base_reachable_time == options_.base_reachable_time) return;
    options_.base_reachable_time = at_least(base_reachable_time);
    draw_reachable_time(now);
  }
  /// Tells all neighbours of an own address: gratuitous ARP (RFC 5227 §2.3), or an advertisement that nobody asked for
  /// (RFC 4861 §7.2.6). False when it is none, or for want of memory. How often to repeat it is the caller's.
  bool announce(const ipv6_address& a) noexcept {
    if (!link_->addresses.contains(a)) return false;
    if (is_mapped(a)) return send(detail::arp_announcement(*packets_, link_->mac, unmapped(a)));
    return send(detail::advertisement(*packets_, link_->mac, a, options_.router, a, nullptr, {}));
  }

  // ---- neighbours

  /// Makes a neighbour permanent. False when the table has no room.
  [[nodiscard]] bool set_permanent(const ipv6_address& a, const mac_address& lladdr, instant now) noexcept {
    std::uint32_t i = store_.find(a);
    if (i == none) i = add(a, list::permanent, now);
    else store_.move(i, list::permanent, now);
    if (i == none) return false;
    set(i, lladdr);
    return true;
  }
  /// A neighbour that is in the table has shown to be a router, or not (RFC 4861 §6.2.6, §6.3.4).
  void set_router(const ipv6_address& a, bool router) noexcept {
    if (const std::uint32_t i = store_.find(a); i != none) store_[i].set_router(router);
  }
  /// Forgets a neighbour; packets that wait for it are dropped. False when it is not there.
  bool erase(const ipv6_address& a) noexcept {
    const std::uint32_t i = store_.find(a);
    if (i == none) return false;
    discard(i, statistics_.failed_discards);
    remove(i);
    return true;
  }
  /// What is known about an address (IPv4: `mapped`): state `none` when nothing.
  [[nodiscard]] neighbour find(const ipv6_address& a, instant now) const noexcept {
    const std::uint32_t i = store_.find(a);
    if (i == none) return {.address = a};
    return told(i, now);
  }
  /// Calls `f(const neighbour&)` for each.
  template <class F>
  void for_each(instant now, F f) const {
    for (std::uint32_t i = 0; i < store_.capacity(); ++i)
      if (store_[i].list != list::free) f(told(i, now));
  }
  /// How many there are.
  [[nodiscard]] std::size_t size() const noexcept { return store_.capacity() - store_.size(list::free); }
  /// How many packets wait for their neighbours.
  [[nodiscard]] std::size_t waiting() const noexcept { return store_.held(); }
  /// A layer above has heard from it just now what only the answer to something sent can be (RFC 4861 §7.3.1).
  void confirm(const ipv6_address& a, instant now) noexcept {
    const std::uint32_t i = store_.find(a);
    if (i != none && told(i, now).is_valid() && store_[i].list != list::permanent) store_.move(i, list::reachable, now);
  }

  // ---- on the data path

  /// Writes the destination of an Ethernet frame for the neighbour `to`, and returns `pass`. When its address is not
  /// known, the packet waits: `stolen`. Dropped for want of room: `neighbours_full`, `neighbour_queue`, `no_packet`.
  [[nodiscard]] RUNNEL_INLINE verdict send_to(const ipv6_address& to, packet& p, instant now) noexcept {
    // Many packets in a row go to one gateway. A place that is free keeps its address.
    std::uint32_t i = recent_;
    if (store_[i].address != to || store_[i].list == list::free) i = store_.find(to);
    if (i != none) [[likely]] {
      const detail::neighbour_entry& e = store_[i];
      if ((e.list == list::reachable && now - e.since < reachable_time_) || e.list == list::permanent) [[likely]] {
        recent_ = i;
        e.lladdr.store(p.writable().data());
        return pass;
      }
    }
    return send_to_other(to, i, p, now);
  }
  /// Asks for the memory that `send_to` will want.
  void prefetch(const ipv6_address& to) const noexcept {
    if (store_[recent_].address != to) prefetch_to_read(store_.bucket(to));
  }

  // ---- what neighbours have said

  /// A neighbour has told its address in a question of its own: RFC 826, RFC 4861 §7.2.3. `create`: also if it is not
  /// in the table.
  void learn(const ipv6_address& a, const mac_address& lladdr, bool create, instant now) noexcept {
    const std::uint32_t i = store_.find(a);
    if (i == none || store_[i].list == list::failed) {
      if (create) become_stale(i, a, lladdr, now);
      return;
    }
    if (store_[i].list == list::permanent) return;
    if (!is_unresolved(i) && store_[i].lladdr == lladdr) return;
    set(i, lladdr);
    store_.move(i, list::stale, now);
  }
  /// A neighbour has told its address, asked or not: RFC 4861 §7.2.5. `lladdr` is null when it has not said it.
  void advertised(const ipv6_address& a, const mac_address* lladdr, bool solicited, bool override_cached, bool router,
                  instant now) noexcept {
    const std::uint32_t i = store_.find(a);
    if (i == none || store_[i].list == list::failed) {
      if (options_.accept_untracked && lladdr != nullptr) become_stale(i, a, *lladdr, now);
      return;
    }
    detail::neighbour_entry& e = store_[i];
    if (e.list == list::permanent) return;
    if (is_unresolved(i)) {
      if (lladdr == nullptr) return;
      set(i, *lladdr);
      e.set_router(router);
      return store_.move(i, solicited ? list::reachable : list::stale, now);
    }
    const bool other = lladdr != nullptr && *lladdr != e.lladdr;
    if (other && !override_cached) {
      if (e.list == list::reachable) store_.move(i, list::stale, now);
      return;
    }
    if (other) e.lladdr = *lladdr;
    e.set_router(router);
    if (solicited) store_.move(i, list::reachable, now);
    else if (other) store_.move(i, list::stale, now);
  }
  /// Somebody else uses an own address, or one that is asked for: counts it, tells the user, and does to an IPv4
  /// address what `on_conflict` says. One that was asked for is not used then. `defends`: not another thread's table.
  void in_conflict(const ipv6_address& a, const mac_address& who, instant now, bool defends = true) noexcept {
    interface_address* const own = link_->addresses.find(a);
    if (own == nullptr || !own->is_claimed()) return;
    ++statistics_.conflicts;
    if (options_.conflict != nullptr) options_.conflict(options_.context, a, who);
    const bool tentative = own->state == address_state::tentative;
    if (!is_mapped(a) && !tentative) return;
    const bool again = now < own->noted.defended + options_.defend_interval;
    if (tentative || options_.on_conflict == conflict_policy::give_up ||
        (options_.on_conflict == conflict_policy::defend_once && again)) {
      detection_.lost(*own);
      return changed(*own);
    }
    if (again) return;
    own->noted.defended = now;
    if (defends) announce(a);
  }
  /// Takes a message of this host to be sent; counts it. False for want of memory, also when `p` is empty.
  bool send(packet&& p) noexcept {
    if (!p || !store_.ready(static_cast<packet&&>(p))) {
      ++statistics_.no_packet;
      return false;
    }
    ++statistics_.advertisements;
    return true;
  }
  /// Where messages come from.
  [[nodiscard]] pool& memory() noexcept { return *packets_; }

  // ---- as a source of packets, for `attach`

  /// Does what is due at `now`: neighbours go from one state to the next.
  void expire(instant now) noexcept {
    if (now >= redraw_) draw_reachable_time(now);
    detection_.expire(*link_, options_.dad_transmits, options_.retrans_time, random_, now, address_owner{*this});
    age_reachable(now);
    for (std::uint32_t i; (i = due(list::delay, options_.delay_first_probe_time, now)) != none;) {
      store_[i].asked = 0;
      store_.move(i, list::probing, now);
    }
    for (std::uint32_t i; (i = due(list::incomplete, options_.retrans_time, now)) != none;) {
      if (store_[i].asked >= options_.mcast_solicit) fail(i, now);
      else store_.move(i, list::soliciting, now);
    }
    for (std::uint32_t i; (i = due(list::probe, options_.retrans_time, now)) != none;) {
      if (store_[i].asked >= options_.ucast_solicit) fail(i, now);
      else store_.move(i, list::probing, now);
    }
  }
  /// When `expire` or `pull` has something to do; `never` when not before a packet comes.
  [[nodiscard]] instant next_due() const noexcept {
    const instant message = next_message(), address = detection_.next_due();
    return address < message ? address : message;
  }
  /// Moves up to `room` packets that are to be sent into handles that hold nothing: what has waited, and messages.
  /// Calls `expire`.
  std::size_t pull(packet* to, std::size_t room, instant now) noexcept {
    expire(now);
    std::size_t n = 0;
    // One place is for a question, where one may be sent: there can be answers without end.
    const bool asks = store_.head(list::probing) != none || store_.head(list::soliciting) != none;
    const std::size_t others = asks && room != 0 && now >= next_question() ? room - 1 : room;
    for (; n < others && store_.ready_size() != 0; ++n) ::new (static_cast<void*>(&to[n])) packet{store_.take_ready()};
    while (n < room) {
      const bool known = store_.head(list::probing) != none;
      const std::uint32_t i = store_.head(known ? list::probing : list::soliciting);
      if (i == none || now < next_question()) break;
      packet p = question(i, known);
      ++store_[i].asked;
      store_.move(i, known ? list::probe : list::incomplete, now);
      if (!p) {
        ++statistics_.no_packet;
        continue;
      }
      const duration each = seconds(1) / options_.solicit_rate;
      allowed_ = (allowed_ > now ? allowed_ : now) + each;
      ++statistics_.solicitations;
      ::new (static_cast<void*>(&to[n++])) packet{static_cast<packet&&>(p)};
    }
    return n;
  }
  /// Whether nothing is ready to be sent.
  [[nodiscard]] bool empty() const noexcept { return store_.ready_size() == 0; }
  /// Whether nothing waits and no neighbour is being asked: a loop ends when its other sources are done too, whatever
  /// own addresses wait for.
  [[nodiscard]] bool done() const noexcept { return next_message() == never; }

  /// What was counted so far.
  [[nodiscard]] const neighbour_statistics& statistics() const noexcept { return statistics_; }
  /// How neighbours are treated.
  [[nodiscard]] const neighbour_options& options() const noexcept { return options_; }
  /// How long `reachable` lasts at present.
  [[nodiscard]] duration reachable_time() const noexcept { return reachable_time_; }
  /// Whether everything in it fits together: for tests. O(n).
  [[nodiscard]] bool check() const noexcept {
    return store_.check() && store_.size(list::soliciting) + store_.size(list::incomplete) <= unresolved_;
  }

 private:
  using list = detail::neighbour_list;
  static constexpr std::uint32_t none = detail::neighbour_store::none;
  // What `address_detection` asks for.
  struct address_owner {
    neighbour_table& table;
    [[nodiscard]] bool probe(const ipv6_address& a) const noexcept {
      return table.send(detail::probe(*table.packets_, table.link_->mac, a));
    }
    [[nodiscard]] bool announce(const ipv6_address& a) const noexcept { return table.announce(a); }
    void changed(const interface_address& a) const noexcept { table.changed(a); }
  };
  void changed(const interface_address& a) const noexcept {
    if (options_.address_changed != nullptr) options_.address_changed(options_.context, a);
  }
  [[nodiscard]] bool is_unresolved(std::uint32_t i) const noexcept {
    return store_[i].list == list::soliciting || store_[i].list == list::incomplete;
  }
  [[nodiscard]] neighbour told(std::uint32_t i, instant now) const noexcept {
    const detail::neighbour_entry& e = store_[i];
    neighbour n{e.address, e.lladdr, detail::state_of(e.list), e.router, e.former_router};
    if (e.list == list::reachable && now - e.since >= reachable_time_) n.state = neighbour_state::stale;
    return n;
  }
  // The link-layer address is known now: what has waited goes.
  void set(std::uint32_t i, const mac_address& lladdr) noexcept {
    store_[i].lladdr = lladdr;
    store_.release(i, [&lladdr](packet& p) { lladdr.store(p.writable().data()); });
  }
  void become_stale(std::uint32_t i, const ipv6_address& a, const mac_address& lladdr, instant now) noexcept {
    if (i == none) i = add(a, list::stale, now);
    else store_.move(i, list::stale, now);
    if (i != none) set(i, lladdr);
  }

  // ---- room

  void remove(std::uint32_t i) noexcept {
    store_.remove(i);
    ++statistics_.destroys;
  }
  void discard(std::uint32_t i, std::uint64_t& counter) noexcept {
    while (store_[i].waiting != 0) {
      packet gone = store_.take(i);
      ++counter;
    }
  }
  [[nodiscard]] bool may_give_up(std::uint32_t i, duration age, instant now) const noexcept {
    return i != none && now - store_[i].since >= age;
  }
  // A new neighbour in a list; one that is of no use has to go for it where there is no room.
  [[nodiscard]] std::uint32_t add(const ipv6_address& a, list l, instant now) noexcept {
    const bool unasked = l == list::stale;
    if (store_.size(list::free) <= (unasked ? store_.capacity() / 4 : 0)) {
      std::uint32_t old = store_.head(list::failed);
      if (old == none) {
        age_reachable(now);
        old = store_.head(list::stale);
        if (!may_give_up(old, options_.gc_age, now)) old = unasked ? none : store_.head(list::incomplete);
        if (old != none && is_unresolved(old) && !may_give_up(old, least_wait, now)) old = none;
      }
      if (old == none) return none;
      ++statistics_.forced_gc_runs;
      discard(old, statistics_.table_fulls);
      remove(old);
    }
    ++statistics_.allocs;
    return store_.add(a, l, now);
  }
  [[nodiscard]] bool make_room_for_unresolved(instant now) noexcept {
    if (store_.size(list::soliciting) + store_.size(list::incomplete) < unresolved_) return true;
    const std::uint32_t old = store_.head(list::incomplete);
    if (!may_give_up(old, least_wait, now)) return false;
    ++statistics_.forced_gc_runs;
    discard(old, statistics_.table_fulls);
    remove(old);
    return true;
  }

  [[nodiscard, gnu::noinline]] verdict send_to_other(const ipv6_address& to, std::uint32_t i, packet& p,
                                                     instant now) noexcept {
    if (i == none || store_[i].list == list::failed) {
      if (make_room_for_unresolved(now)) {
        if (i == none) i = add(to, list::soliciting, now);
        else store_.move(i, list::soliciting, now);
      } else {
        i = none;
      }
      if (i == none) {
        ++statistics_.table_fulls;
        return drop(drop_reason::neighbours_full);
      }
      store_[i].asked = 0;
    }
    if (is_unresolved(i)) return hold(i, p);
    if (store_[i].list == list::reachable || store_[i].list == list::stale) store_.move(i, list::delay, now);
    store_[i].lladdr.store(p.writable().data());
    return pass;
  }
  [[nodiscard]] verdict hold(std::uint32_t i, packet& p) noexcept {
    if (!p.keep() || !p.unshare()) return drop(drop_reason::no_packet);
    detail::neighbour_entry& e = store_[i];
    if (e.waiting != 0 && (e.waiting >= options_.unres_qlen || !store_.has_waiting_room())) {
      packet oldest = store_.take(i);
      ++statistics_.queue_discards;
    }
    if (!store_.has_waiting_room()) {
      ++statistics_.queue_discards;
      return drop(drop_reason::neighbour_queue);
    }
    store_.hold(i, static_cast<packet&&>(p));
    return stolen;
  }

  // ---- time

  void draw_reachable_time(instant now) noexcept {
    const std::int64_t base = options_.base_reachable_time.ns;
    reachable_time_ = {base / 2 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(base) + 1))};
    redraw_ = now + seconds(300);
  }
  [[nodiscard]] std::uint32_t due(list l, duration after, instant now) const noexcept {
    const std::uint32_t i = store_.head(l);
    return i != none && now - store_[i].since >= after ? i : none;
  }
  void age_reachable(instant now) noexcept {
    for (std::uint32_t i; (i = due(list::reachable, reachable_time_, now)) != none;) store_.move(i, list::stale, now);
  }
  void fail(std::uint32_t i, instant now) noexcept {
    ++statistics_.res_failed;
    store_.move(i, list::failed, now);
    if (options_.failed == nullptr) return discard(i, statistics_.failed_discards);
    while (store_[i].waiting != 0) options_.failed(options_.context, store_.take(i));
  }
  // When there is something to do for neighbours.
  [[nodiscard]] instant next_message() const noexcept {
    instant first = never;
    const auto consider = [&first](instant t) { first = t < first ? t : first; };
    const auto list_due = [&](list l, duration after) {
      if (const std::uint32_t i = store_.head(l); i != none) consider(store_[i].since + after);
    };
    list_due(list::delay, options_.delay_first_probe_time);
    list_due(list::incomplete, options_.retrans_time);
    list_due(list::probe, options_.retrans_time);
    if (store_.head(list::soliciting) != none || store_.head(list::probing) != none) consider(next_question());
    if (store_.ready_size() != 0) consider({});
    return first;
  }
  // When the next question may be sent: `allowed_` runs ahead of the time by what was sent too early.
  [[nodiscard]] instant next_question() const noexcept {
    return allowed_ - (seconds(1) / options_.solicit_rate) * (std::int64_t{options_.solicit_burst} - 1);
  }
  // Empty without an own address to ask from.
  [[nodiscard]] packet question(std::uint32_t i, bool known) noexcept {
    const ipv6_address source = link_->addresses.source_for(store_[i].address);
    if (source.is_unspecified()) return {};
    return detail::solicitation(*packets_, link_->mac, source, store_[i].address, known ? &store_[i].lladdr : nullptr);
  }

  detail::neighbour_store store_;
  neighbour_options options_;
  pool* packets_;
  ip_interface* link_;
  detail::address_detection detection_;
  std::uint32_t unresolved_;
  std::uint32_t recent_ = 0;  // the place of the neighbour that was sent to last, or any
  random_generator random_;
  duration reachable_time_{};
  instant redraw_{};
  instant allowed_{};
  neighbour_statistics statistics_;
};

}  // namespace runnel

#endif
