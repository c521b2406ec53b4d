// SPDX-License-Identifier: MIT
// Binds connections to addresses and ports. The stages are in nat.hpp.
//
// Theory of operation, which is that of the kernel's nf_nat_core.c. A connection has two tuples: what its packets look
// like when they come, and what its replies look like. Untranslated, one is the other turned round. To translate a
// connection is to choose another reply tuple that nobody has, before it is confirmed. From then on nothing is looked
// up: a packet has to look like the other direction's tuple turned round, and is made to. The connection's end frees
// its address and port.
//
// Where a port is taken, others are tried: all of them when there are 512 or fewer, else 256 random ones, 16 at once
// so that memory works on all of them. So nothing depends on how many connections there are. With four fifths of all
// ports to one destination taken, some five are tried; with 99 in a hundred, one connection in thirteen is refused.
//
// Endpoint-independent mappings are kept beside, in nat_mapping.hpp. While one is there, its address and port outside
// are nobody else's, whatever the destination (RFC 4787 REQ-3).
//
// Not done: the identification of IPv4 datagrams is not changed (RFC 6864 §5.3.1 asks for it where fragments of several
// hosts inside may have the same one), SCTP and GRE are told apart by their addresses only.
#ifndef RUNNEL_TRACK_NAT_TABLE_HPP
#define RUNNEL_TRACK_NAT_TABLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/base/random.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/nat_choice.hpp>
#include <runnel/track/nat_mapping.hpp>
#include <runnel/track/nat_options.hpp>
#include <runnel/track/nat_sequences.hpp>
#include <runnel/track/translated.hpp>

namespace runnel {

/// What translates the connections of one connection table: for its thread, and at most one for each.
class nat_table {
 public:
  /// How memory must be aligned.
  static constexpr std::size_t alignment = detail::nat_mappings::alignment;
  /// How many bytes a table needs: 80 for each mapping, 52 for each subscriber, 36 for each permission, 52
  /// for each FTP connection.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const nat_config& c) noexcept {
    return (detail::nat_mappings::bytes_needed(c) + detail::nat_sequences::bytes_needed(c.sequences)).value();
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned and have `bytes_needed(c)` bytes
  /// (asserted). Refers to the connections, which must outlive it. Endpoint-independent mappings need room for one
  /// mapping and one subscriber at least (asserted).
  nat_table(connection_table& connections, mutable_bytes memory, const nat_config& c,
            const nat_options& options = {}) noexcept
      : connections_(connections),
        mappings_(memory.data(), c),
        sequences_(memory.data() + detail::nat_mappings::bytes_needed(c).value(), c.sequences),
        random_(c.seed),
        seed_(c.seed),
        options_(options) {
    RUNNEL_ASSERT(memory.size() >= bytes_needed(c));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    RUNNEL_ASSERT(!maps() || (c.mappings != 0 && c.subscribers != 0));
    detail::translated::attach(
        connections, [](void* self, const connection& one) { static_cast<nat_table*>(self)->unmap(one); },
        [](void* self, const connection& one, unsigned side, std::uint32_t ack) {
          const nat_table& t = *static_cast<nat_table*>(self);
          const detail::sequence_entry* const e = t.sequences_.find(t.connections_.number_of(one));
          return e == nullptr ? ack : ack - e->side[side].of_ack(ack);
        },
        this);
  }
  /// One that translates each connection for itself, which needs no memory. `seed` of ports: from a random source.
  explicit nat_table(connection_table& connections, std::uint64_t seed) noexcept
      : nat_table(connections, {nullptr, 0}, nat_config{.seed = seed}) {}
  nat_table(const nat_table&) = delete;
  nat_table& operator=(const nat_table&) = delete;
  /// The connections stay, without their mappings: with other tables after it, see `restore`. O(connections).
  ~nat_table() {
    detail::translated::attach(connections_, nullptr, nullptr, nullptr);
    if (maps()) detail::translated::forget_mappings(connections_);
  }

  /// The connections that it translates.
  [[nodiscard]] connection_table& connections() noexcept { return connections_; }
  /// What it was made with.
  [[nodiscard]] const nat_options& options() const noexcept { return options_; }
  /// What was counted.
  [[nodiscard]] nat_statistics& statistics() noexcept { return statistics_; }
  /// How many endpoint-independent mappings there are, with those that are over and wait for their reuse delay.
  [[nodiscard]] std::uint32_t mappings() const noexcept { return mappings_.size(); }
  /// How many hosts inside have such mappings.
  [[nodiscard]] std::uint32_t subscribers() const noexcept { return mappings_.subscribers(); }

  /// Ends the connections whose source became `a` (IPv4: `mapped`), or that came to a mapping there: when an interface
  /// loses the address that `masquerade` used; after an import before or after `restore`. Says how many.
  /// O(connections).
  std::uint32_t forget(const ipv6_address& a) noexcept {
    using detail::translated;
    std::uint32_t n = 0;
    connections_.for_each([&](connection& c) {
      const bool from = c.has_status(connection_status::src_nat) && endpoint(connections_.reply(c), false).address == a,
                 by_mapping = (translated::bits(c) & translated::maps_destination) != 0 || translated::had_mapping(c),
                 to = by_mapping && endpoint(connections_.original(c), false).address == a;
      if (!from && !to) return;
      connections_.erase(c);
      ++n;
    });
    return n;
  }
  /// Makes the mappings again of connections that were imported, or that another table had, whichever side began them;
  /// says of how many there was no room for the mapping: those go on, and others may get their port. O(connections).
  std::uint32_t restore(instant now) noexcept {
    now_ = detail::ticks_at(now);
    std::uint32_t refused = 0;
    connections_.for_each([&](connection& c) {
      const std::uint16_t bits = detail::translated::bits(c);
      const bool had = detail::translated::take_had_mapping(c);
      if (!maps() || !detail::nat_has_ports(c.protocol_number())) return;
      const bool source =
          c.has_status(connection_status::src_nat) && (bits & detail::translated::maps_source) == 0 && !adopt(c);
      const bool destination = had && (bits & detail::translated::maps_destination) == 0 && !adopt_destination(c);
      if (source || destination) ++refused;
    });
    return refused;
  }
  /// Frees mappings whose reuse delay is over, `limit` at most, and says how many.
  std::size_t expire(instant now, std::size_t limit = 4096) noexcept {
    now_ = detail::ticks_at(now);
    return mappings_.expire(static_cast<std::uint32_t>(now_), limit);
  }
  /// The time before which `expire` has nothing to do.
  [[nodiscard]] instant next_due() const noexcept {
    std::uint32_t due = 0;
    if (!mappings_.next_due(due)) return never;
    const auto left = static_cast<std::int32_t>(due - static_cast<std::uint32_t>(now_));
    const std::uint64_t at = left <= 0 ? now_ : now_ + static_cast<std::uint32_t>(left);
    return instant{static_cast<std::int64_t>(at << detail::tick_shift)};
  }

  /// Decides what becomes of an unconfirmed connection at a hook, where this is not decided yet: its source or its
  /// destination becomes what `to` says, null for no rule. `p` is its first packet, and `own_address(p, peer)` the
  /// address for `masquerade` and `redirect_here`, towards `peer`; unspecified when there is none. A drop when nothing
  /// is free. The stages do this.
  template <class OwnAddress>
  RUNNEL_INLINE verdict bind(connection& c, const packet& p, bool source, const nat_target* to,
                             const OwnAddress& own_address, instant now) noexcept {
    using namespace connection_status;
    now_ = detail::ticks_at(now);
    const bool is_ipv6 = !detail::translated::is_ipv4(c);
    if (to == nullptr || !to->fits(is_ipv6) || is_source(to->kind) != source) {
      const verdict v = source ? bind_source(c, p, now) : bind_destination(c);
      if (v.code == verdict_code::pass) detail::translated::set(c, source ? src_nat_done : dst_nat_done);
      return v;
    }
    const verdict v = is_ipv6 ? bind_to6(c, p, *to, own_address, now) : bind_to4(c, p, source, *to, own_address, now);
    if (v.code != verdict_code::pass) return v;
    detail::translated::set(c, source ? src_nat | src_nat_done : dst_nat | dst_nat_done);
    ++statistics_.translated;
    return pass;
  }

  /// Internal: for nat_ftp.hpp. @{
  [[nodiscard]] detail::nat_sequences& sequences() noexcept { return sequences_; }
  void translate_sequences(connection& c) noexcept { detail::translated::set(c, connection_status::seq_adjust); }
  void expect_translated(const connection& master, const connection_tuple& to, const connection_tuple& reply,
                         instant now) noexcept {
    detail::translated::expect(connections_, master, to, reply, seconds(300), now);
  }
  /// @}
  /// Internal: a port outside for what comes to `back`, best `own` itself: that nobody but `master` waits at, or has;
  /// else 0.
  [[nodiscard]] std::uint16_t free_announcement(const connection& master, const connection_tuple& back,
                                                std::uint16_t own, instant now) noexcept {
    const ipv6_address there = detail::nat_address(back, false);
    for (std::uint32_t i = 0; i < 128; ++i) {
      const auto port = static_cast<std::uint16_t>(i == 0 ? own : 1024 + random_.below(64512));
      const connection_tuple to = back.with_ports(0, port);
      if (!detail::translated::is_awaited(connections_, master, to, now) && is_unmapped(back, there, port)) return port;
      ++statistics_.tries;
    }
    return 0;
  }
  /// Internal: counts a drop.
  verdict lose(drop_reason why) noexcept {
    ++(why == drop_reason::nat_exhausted ? statistics_.exhausted : statistics_.untranslatable);
    return drop(why);
  }

 private:
  static constexpr std::uint32_t all_below = 512, most_tries = 256, at_once = 16, most_addresses = 4;

  [[nodiscard]] bool maps() const noexcept { return options_.mapping == nat_mapping::endpoint_independent; }
  verdict exhausted() noexcept {
    ++statistics_.exhausted;
    return drop(drop_reason::nat_exhausted);
  }

  // In what follows, `back` is what the connection's replies look like so far. The source of what leaves is their
  // destination, and the other way round: to translate is to give `back` another end.
  // Whether no mapping has an address and port.
  [[nodiscard]] bool is_unmapped(const connection_tuple& back, const ipv6_address& address,
                                 std::uint16_t port) const noexcept {
    return !maps() || mappings_.find_outside({address, port, back.zone(), back.protocol_number()}) == detail::nat_none;
  }

  // Tries the ports of one side until `take(reply)` takes one. `is_free` is asked about each first.
  template <class IsFree, class Take>
  [[gnu::noinline]] bool probe(const connection_tuple& back, bool source, const ipv6_address& address,
                               const detail::nat_ports& ports, instant now, IsFree is_free, Take take) noexcept {
    if (ports.count == 0) return false;
    const bool all = ports.count <= all_below;
    const std::uint32_t tries = all ? ports.count : most_tries;
    std::uint32_t from = static_cast<std::uint32_t>(random_.below(ports.count));
    for (std::uint32_t done = 0; done < tries; done += at_once) {
      connection_tuple replies[at_once];
      connection_word words[at_once];
      const std::uint32_t n = tries - done < at_once ? tries - done : at_once;
      for (std::uint32_t i = 0; i < n; ++i) replies[i] = detail::nat_with(back, !source, address, ports[from + i]);
      connections_.find(replies, n, words, now);
      for (std::uint32_t i = 0; i < n; ++i) {
        const bool taken =
            words[i].has_connection() && !detail::translated::is_abandoned(connections_, words[i].number());
        if (!taken && is_free(ports[from + i]) && take(replies[i])) return true;
        ++statistics_.tries;
      }
      from = all ? from + n : static_cast<std::uint32_t>(random_.below(ports.count));
    }
    return false;
  }
  [[nodiscard]] bool take(connection& c, const connection_tuple& reply) noexcept {
    return connections_.set_reply(c, reply);
  }

  // What a rule says. Most IPv4 connections get the only address that there is, and the port that they have.
  template <class OwnAddress>
  RUNNEL_INLINE verdict bind_to4(connection& c, const packet& p, bool source, const nat_target& to,
                                 const OwnAddress& own_address, instant now) noexcept {
    const connection_tuple back = detail::translated::reply4(connections_, c);
    const bool own = detail::nat_is_own(to);
    const ipv6_address address = own ? own_address(p, mapped(source ? back.source4() : back.destination4())) : to.first;
    if (own && !detail::nat_can_have(address, false)) return exhausted();
    if (detail::nat_keeps_port(to) && !maps() && take(c, back.with_address(!source, address))) return pass;
    return bind_carefully(c, p, to, address, now);
  }
  template <class OwnAddress>
  [[gnu::noinline]] verdict bind_to6(connection& c, const packet& p, const nat_target& to,
                                     const OwnAddress& own_address, instant now) noexcept {
    const bool own = detail::nat_is_own(to), source = is_source(to.kind);
    const ipv6_address address = own ? own_address(p, detail::nat_address(connections_.reply(c), source)) : to.first;
    if (own && !detail::nat_can_have(address, true)) return exhausted();
    return bind_carefully(c, p, to, address, now);
  }
  // `address` is that of this host, if it has to be.
  [[gnu::noinline]] verdict bind_carefully(connection& c, const packet& p, nat_target t, const ipv6_address& address,
                                           instant now) noexcept {
    if (detail::nat_is_own(t)) t.first = t.last = address;
    const connection_tuple back = connections_.reply(c);
    const bool source = is_source(t.kind);
    const bool as_mapping = source && maps() && detail::nat_has_ports(back.protocol_number()) && t.has_address() &&
                            (t.flags & nat_flags::prefix) == 0;
    return as_mapping ? bind_mapping(c, back, t, p, now) : bind_range(c, back, t, source, now);
  }
  // One address and port of a range, for this connection alone.
  verdict bind_range(connection& c, const connection_tuple& back, const nat_target& t, bool source,
                     instant now) noexcept {
    const std::uint16_t own = detail::nat_port(back, !source);
    const ipv6_address is = detail::nat_address(back, !source);
    const detail::nat_ports ports = detail::nat_ports_for(t, back.protocol_number(), source, own);
    const bool random = (t.flags & (nat_flags::random | nat_flags::fully_random)) != 0 && ports.count != 0;
    const bool stays =
        !random && (!t.has_ports() || !detail::nat_has_ports(back.protocol_number()) || ports.contains(own));
    const bool persistent = (t.flags & nat_flags::persistent) != 0;
    const std::uint64_t hash = t.first == t.last ? 0 : detail::nat_hash(back, !persistent, seed_);
    const bool several = t.first != t.last && !persistent;
    ipv6_address address = is;
    const auto is_free = [&](std::uint16_t port) { return !source || is_unmapped(back, address, port); };
    const auto own_take = [&](const connection_tuple& reply) { return take(c, reply); };
    for (std::uint32_t n = 0; n < (several ? most_addresses : 1); ++n) {
      if ((t.flags & nat_flags::prefix) != 0) address = detail::nat_in_prefix(is, t);
      else if (t.has_address()) address = detail::nat_pick(t, hash, n);
      if (stays && is_free(own) && take(c, detail::nat_with(back, !source, address, own))) return pass;
      if (probe(back, source, address, ports, now, is_free, own_take)) return pass;
    }
    if (source) return exhausted();
    // Another connection looks like this one would behind the translation, as it sends there directly: the source
    // gets another port (the kernel does this in its null binding).
    const std::uint16_t port = stays || ports.count == 0 ? own : ports[0];
    return bind_elsewhere(c, detail::nat_with(back, true, address, port), now);
  }
  // Another source port for a connection that would clash with another one.
  verdict bind_elsewhere(connection& c, const connection_tuple& back, instant now) noexcept {
    const std::uint16_t own = detail::nat_port(back, false);
    const ipv6_address address = detail::nat_address(back, false);
    const bool found = probe(
        back, true, address, detail::nat_ports_for({}, back.protocol_number(), true, own), now,
        [&](std::uint16_t port) { return is_unmapped(back, address, port); },
        [&](const connection_tuple& reply) { return take(c, reply); });
    if (!found) return exhausted();
    detail::translated::set(c, connection_status::src_nat);
    return pass;
  }
  // No rule says anything about the source.
  verdict bind_source(connection& c, const packet& p, instant now) noexcept {
    if ((detail::translated::bits(c) & detail::translated::maps_destination) == 0 && !detail::translated::clashes(c))
      return pass;
    return bind_source_carefully(c, p, now);
  }
  [[gnu::noinline]] verdict bind_source_carefully(connection& c, const packet& p, instant now) noexcept {
    const connection_tuple back = connections_.reply(c);
    if ((detail::translated::bits(c) & detail::translated::maps_destination) != 0 && is_inside(c, p)) {
      // From inside to a mapping: who gets it shall see the mapping of who has sent it (RFC 4787 REQ-9).
      nat_target t;
      t.kind = nat_kind::snat;
      t.first = t.last = detail::nat_address(connections_.original(c), false);
      const verdict v = bind_mapping(c, back, t, p, now);
      if (v == pass) {
        detail::translated::set(c, connection_status::src_nat);
        ++statistics_.translated;
      }
      return v;
    }
    return !detail::translated::clashes(c) || take(c, back) ? pass : bind_elsewhere(c, back, now);
  }
  // No rule says anything about the destination: it may be a mapping.
  verdict bind_destination(connection& c) noexcept {
    if (!maps() || (c.protocol_number() != 6 && c.protocol_number() != 17)) [[likely]]
      return pass;
    return bind_destination_of_mapping(c);
  }
  [[gnu::noinline]] verdict bind_destination_of_mapping(connection& c) noexcept {
    const connection_tuple back = connections_.reply(c);
    const std::uint32_t i = mappings_.find_outside(endpoint(back, true));
    if (i == detail::nat_none || mappings_[i].uses == 0) return pass;
    const bool open = options_.filtering == nat_filtering::endpoint_independent ||
                      (options_.filtering == nat_filtering::address_dependent &&
                       mappings_.may_send(i, detail::nat_address(back, false)));
    if (!open) {
      ++statistics_.filtered;
      return drop(drop_reason::nat_filtered);
    }
    const detail::nat_endpoint inside{mappings_[i].inside, mappings_[i].inside_port, back.zone(),
                                      back.protocol_number()};
    if (!take(c, detail::nat_with(back, true, inside.address, inside.port))) return exhausted();
    const std::uint32_t used = mapping_of(inside, endpoint(back, true));
    if (used == detail::nat_none) return exhausted();
    mappings_.use(used);
    detail::translated::set(c, detail::translated::maps_destination | connection_status::dst_nat);
    ++statistics_.translated;
    return pass;
  }

  // ---- endpoint-independent mappings

  [[nodiscard]] static detail::nat_endpoint endpoint(const connection_tuple& t, bool source) noexcept {
    return {detail::nat_address(t, source), detail::nat_port(t, source), t.zone(), t.protocol_number()};
  }
  [[nodiscard]] bool is_inside(const connection& c, const packet& p) const noexcept {
    if (p.iif() != 0 && p.iif() < 64 && (inside_ >> p.iif() & 1u) != 0) return true;
    return mappings_.find_inside(endpoint(connections_.original(c), true)) != detail::nat_none;
  }
  // The mapping between two ends that was just found. What was taken since made a connection go that was over, and
  // perhaps the mapping with it: then it is made again.
  [[nodiscard]] std::uint32_t mapping_of(const detail::nat_endpoint& inside,
                                         const detail::nat_endpoint& outside) noexcept {
    const std::uint32_t i = mappings_.find_inside(inside);
    return i != detail::nat_none ? i : mappings_.insert(inside, outside);
  }
  // The mapping of its source, or a new one.
  verdict bind_mapping(connection& c, const connection_tuple& back, const nat_target& t, const packet& p,
                       instant now) noexcept {
    const detail::nat_endpoint inside = endpoint(connections_.original(c), true);
    std::uint32_t i = mappings_.find_inside(inside);
    if (i != detail::nat_none) {
      // It leaves by another way than the mapping does: it has to be another connection for itself.
      if (!detail::nat_in_range(mappings_[i].outside, t)) return bind_range(c, back, t, true, now);
      const detail::nat_endpoint outside{mappings_[i].outside, mappings_[i].outside_port, inside.zone, inside.protocol};
      if (!take(c, detail::nat_with(back, false, outside.address, outside.port))) return exhausted();
      i = mapping_of(inside, outside);
      if (i == detail::nat_none) return exhausted();
    } else {
      const detail::nat_subscriber_entry* const host = mappings_.find_host(inside);
      if (host != nullptr && options_.ports_per_subscriber != 0 && host->mappings >= options_.ports_per_subscriber) {
        ++statistics_.over_limit;
        return drop(drop_reason::nat_subscriber);
      }
      // All mappings of a host have one address (RFC 4787 REQ-2).
      const ipv6_address address = host != nullptr && detail::nat_in_range(host->outside, t)
                                       ? host->outside
                                       : detail::nat_pick(t, detail::nat_hash(back, false, seed_), 0);
      const detail::nat_ports ports = detail::nat_ports_for(t, inside.protocol, true, inside.port);
      const auto is_free = [&](std::uint16_t port) { return is_unmapped(back, address, port); };
      const auto join = [&](const connection_tuple& reply) {
        if (!take(c, reply)) return false;
        i = mappings_.insert(inside, endpoint(reply, false));
        return true;
      };
      const bool random = (t.flags & (nat_flags::random | nat_flags::fully_random)) != 0;
      const bool kept = !random && (!t.has_ports() || ports.contains(inside.port)) && is_free(inside.port) &&
                        join(detail::nat_with(back, false, address, inside.port));
      if (!kept && !probe(back, true, address, ports, now, is_free, join)) return exhausted();
      if (i == detail::nat_none) return exhausted();
      if (p.iif() < 64) inside_ |= std::uint64_t{1} << p.iif();
    }
    return use(c, i, detail::nat_address(back, true)) ? pass : exhausted();
  }
  // A connection begins to use a mapping, towards an address outside. False when there is no room to note that.
  bool use(connection& c, std::uint32_t i, const ipv6_address& peer) noexcept {
    const bool noted = options_.filtering != nat_filtering::address_dependent || mappings_.permit(i, peer);
    if (noted) {
      mappings_.use(i);
      detail::translated::set(c, detail::translated::maps_source);
    } else if (mappings_[i].uses == 0 && mappings_[i].deadline == 0) {
      mappings_.erase(i);
    }
    return noted;
  }
  // The mapping of two ends, as it was before; `nat_none`: no room, or one of them has another by now.
  [[nodiscard]] std::uint32_t mapping_again(const detail::nat_endpoint& inside,
                                            const detail::nat_endpoint& outside) noexcept {
    const std::uint32_t i = mappings_.find_inside(inside);
    if (i == detail::nat_none)
      return mappings_.find_outside(outside) == detail::nat_none ? mappings_.insert(inside, outside) : i;
    return mappings_[i].outside == outside.address && mappings_[i].outside_port == outside.port ? i : detail::nat_none;
  }
  bool adopt(connection& c) noexcept {
    const connection_tuple back = connections_.reply(c);
    const std::uint32_t i = mapping_again(endpoint(connections_.original(c), true), endpoint(back, false));
    return i != detail::nat_none && use(c, i, detail::nat_address(back, true));
  }
  // One that came from outside.
  bool adopt_destination(connection& c) noexcept {
    const std::uint32_t i =
        mapping_again(endpoint(connections_.reply(c), true), endpoint(connections_.original(c), false));
    if (i == detail::nat_none) return false;
    mappings_.use(i);
    detail::translated::set(c, detail::translated::maps_destination);
    return true;
  }
  // A connection goes.
  void unmap(const connection& c) noexcept {
    const std::uint16_t bits = detail::translated::bits(c);
    if ((bits & connection_status::seq_adjust) != 0) sequences_.erase(connections_.number_of(c));
    const std::uint64_t table_now = detail::translated::now(connections_);
    const auto now = static_cast<std::uint32_t>(now_ > table_now ? now_ : table_now);
    const std::uint32_t delay = detail::ticks_in(options_.reuse_delay);
    if ((bits & detail::translated::maps_source) != 0) {
      const std::uint32_t i = mappings_.find_inside(endpoint(connections_.original(c), true));
      RUNNEL_ASSERT(i != detail::nat_none);
      if (options_.filtering == nat_filtering::address_dependent)
        mappings_.withdraw(i, detail::nat_address(connections_.reply(c), true));
      mappings_.release(i, now, delay);
    }
    if ((bits & detail::translated::maps_destination) != 0) {
      const std::uint32_t i = mappings_.find_outside(endpoint(connections_.original(c), false));
      RUNNEL_ASSERT(i != detail::nat_none);
      mappings_.release(i, now, delay);
    }
  }

  connection_table& connections_;
  detail::nat_mappings mappings_;
  detail::nat_sequences sequences_;
  random_generator random_;
  std::uint64_t seed_;
  std::uint64_t now_ = 0;     // in ticks
  std::uint64_t inside_ = 0;  // interfaces by which packets came that were given a mapping
  nat_options options_;
  nat_statistics statistics_{};
};

}  // namespace runnel

#endif
