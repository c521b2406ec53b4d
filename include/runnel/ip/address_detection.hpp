// SPDX-License-Identifier: MIT
// What becomes of the addresses of a link in the course of time: they are probed before they are used, announced when
// they are, deprecated and taken away when their lifetimes end. RFC 5227 §2.1 to §2.3, RFC 4862 §5.4 and §5.5.4.
#ifndef RUNNEL_IP_ADDRESS_DETECTION_HPP
#define RUNNEL_IP_ADDRESS_DETECTION_HPP

#include <cstdint>  // int64_t, uint8_t, uint64_t

#include <runnel/base/random.hpp>
#include <runnel/base/time.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/own_addresses.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

// The constants of RFC 5227 §1.1 and RFC 4861 §10.
inline constexpr duration probe_wait = seconds(1), probe_min = seconds(1), announce_wait = seconds(2),
                          announce_interval = seconds(2), rate_limit_interval = seconds(60);
inline constexpr std::uint8_t probe_num = 3, announce_num = 2, max_conflicts = 10;

// What is sent and who is told is the owner's: `probe(const ipv6_address&)` and `announce(const ipv6_address&)` say
// whether it was sent, `changed(const interface_address&)`.
class address_detection {
 public:
  // An address begins to be asked for. False when there is no room for it, or it is used already.
  [[nodiscard]] bool begin(ip_interface& link, interface_address a, random_generator& random, instant now) noexcept {
    if (const interface_address* const there = link.addresses.find(a.address); there != nullptr) {
      if (there->is_usable()) return false;
      link.addresses.remove(a.address);
    }
    if (!link.addresses.add(a)) return false;
    interface_address* const e = link.addresses.find(a.address);
    e->noted = {};
    e->state = address_state::tentative;
    // RFC 5227 §2.1.1: after many conflicts one attempt a minute. Those that have gone meanwhile, as routers can have
    // them come and go, do not keep others waiting: it is never longer than for all that there may be.
    const bool slow = conflicts_ >= max_conflicts && now < last_begin_ + rate_limit_interval;
    const instant next = last_begin_ + rate_limit_interval;
    const instant latest = now + rate_limit_interval * std::int64_t{own_addresses::most};
    last_begin_ = !slow ? now : next < latest ? next : latest;
    e->noted = {.due = last_begin_ + up_to(random, probe_wait)};
    consider(e->noted.due);
    consider(e->valid_until);
    return true;
  }
  // Another host has an address that was asked for.
  void lost(interface_address& a) noexcept {
    a.state = address_state::duplicate;
    a.noted.due = never;
    if (conflicts_ < max_conflicts) ++conflicts_;
  }
  // Lifetimes were changed by somebody else, or an address was added.
  void consider(instant due) noexcept { due_ = due < due_ ? due : due_; }
  [[nodiscard]] instant next_due() const noexcept { return due_; }

  template <class Owner>
  void expire(ip_interface& link, std::uint8_t dad_transmits, duration retrans_time, random_generator& random,
              instant now, Owner&& owner) noexcept {
    if (now < due_) return;
    due_ = never;
    for (interface_address* a = link.addresses.begin(); a != link.addresses.end();) {
      if (now >= a->valid_until) {
        interface_address gone = *a;
        gone.state = address_state::expired;
        link.addresses.remove(gone.address);
        owner.changed(gone);
        continue;
      }
      if (now >= a->noted.due) step(*a, dad_transmits, retrans_time, random, now, owner);
      if (a->state == address_state::preferred && now >= a->preferred_until) {
        a->state = address_state::deprecated;
        owner.changed(*a);
      }
      consider(a->noted.due);
      consider(a->valid_until);
      if (a->state == address_state::preferred) consider(a->preferred_until);
      ++a;
    }
  }

 private:
  static duration up_to(random_generator& random, duration most) noexcept {
    return {static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(most.ns) + 1))};
  }

  template <class Owner>
  void step(interface_address& a, std::uint8_t dad_transmits, duration retrans_time, random_generator& random,
            instant now, Owner& owner) noexcept {
    constexpr duration without_memory = milliseconds(100);
    const bool four = is_mapped(a.address);
    if (a.state == address_state::tentative) {
      if (a.noted.sent < (four ? probe_num : dad_transmits)) {
        if (!owner.probe(a.address)) {
          a.noted.due = now + without_memory;
          return;
        }
        ++a.noted.sent;
        if (!four) a.noted.due = now + retrans_time;
        else if (a.noted.sent == probe_num) a.noted.due = now + announce_wait;
        else a.noted.due = now + probe_min + up_to(random, probe_min);
        return;
      }
      a.state = address_state::preferred;
      a.noted.sent = 0;
      owner.changed(a);
    }
    if (!owner.announce(a.address)) a.noted.due = now + without_memory;
    else a.noted.due = ++a.noted.sent < announce_num ? now + announce_interval : never;
  }

  instant due_ = never;
  instant last_begin_{};
  std::uint8_t conflicts_ = 0;
};

}  // namespace runnel::detail

#endif
