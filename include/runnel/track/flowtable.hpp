// SPDX-License-Identifier: MIT
// The flow table: what became of the packets of established connections, so that those that follow need not ask
// again. The stages, and what they do and do not do, are in fast_path.hpp.
//
// Theory of operation, which is that of the kernel's flowtables (Documentation/networking/nf_flowtable.rst). The two
// directions of a connection are two flows. All that the fast path asks about a flow is in one cache line: what its
// IPv4 packets look like when they come, by which interface, whose connection they belong to, and what they look like
// when they leave. It lies where the hash of the former says, or in one of the three lines beside it. Of IPv6 flows it
// has the connection's number instead, which knows both tuples. An entry tells by the time when its connection was
// confirmed whether that is still the same: none is made in the tick of 1.05 ms in which that was. Connections that are
// imported were confirmed long before: then all entries are forgotten. Ticks are counted in 32 bits: an entry that
// nobody asked for in a multiple of 52 days may be taken for a new one, for a lifetime at most, and only if its
// connection lives.
//
// An entry is a memory of a decision, and may be forgotten at any time: then a packet goes the slow way, and makes it
// anew. That happens when its lifetime is over, so that neighbours are asked whether they are there; and at once for
// all by `clear()`. A packet that goes the slow way while the entry holds renews it only when none before it was
// longer, so that what has changed for the flow holds for all its packets a lifetime later: rules, routes, neighbours,
// MTUs. What rules say about some packets of a flow only (by DSCP, length or flags) may go on for the others as long as
// they come.
#ifndef RUNNEL_TRACK_FLOWTABLE_HPP
#define RUNNEL_TRACK_FLOWTABLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t, uintptr_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/track/connection_table.hpp>

namespace runnel {

/// How large a flow table is: 64 bytes for each flow.
struct flowtable_config {
  /// A power of two, 4 or more. Each connection has two flows; with four times as many as connections nearly all find
  /// room, where it is less some go the slow way.
  std::uint32_t flows = 16384;
};

/// How a flow table remembers.
struct flowtable_options {
  /// How long a decision holds before a packet asks for it again. At most 26 days.
  duration lifetime = seconds(1);
};

/// What a flow table has counted since it was made: packets that went the fast way, those that did not by cause, and
/// entries.
struct flowtable_statistics {
  std::uint64_t hits = 0;        ///< packets that went the fast way
  std::uint64_t other = 0;       ///< neither TCP nor UDP, or more than plain Ethernet and IP headers before it
  std::uint64_t misses = 0;      ///< no entry: connections that begin or are not established, or do not go this way
  std::uint64_t stale = 0;       ///< an entry, but its lifetime is over, or it was made before `clear()`
  std::uint64_t exceptions = 0;  ///< an entry, but a packet that somebody has to look at; see `fast_path`
  std::uint64_t added = 0;       ///< flows that got an entry
  std::uint64_t renewed = 0;     ///< entries that were made again, or of which more was learned
  std::uint64_t full = 0;        ///< packets of flows that got none, because others have the places
  std::uint64_t no_iif = 0;      ///< packets of flows that got none, because nobody has said where they came from
};

/// `hits=3 other=0 ...`, in one line.
constexpr void print(text_writer& out, const flowtable_statistics& s) noexcept {
  out << "hits=" << s.hits << " other=" << s.other << " misses=" << s.misses << " stale=" << s.stale
      << " exceptions=" << s.exceptions << " added=" << s.added << " renewed=" << s.renewed << " full=" << s.full
      << " no_iif=" << s.no_iif;
}

namespace detail {

struct alignas(64) flow_entry {
  // What its packets look like when they come: IPv4 addresses, as they lie there; ports, as they lie there, interface
  // and zone. Of IPv6 the flow, and no ports.
  // A free entry's are those of no packet: of IPv6, with ports.
  std::uint64_t addresses = 0;
  std::uint64_t ports = 1;
  std::uint16_t state = 2;    // whether TCP, whether IPv6, and from bit 2 on the generation of the table
  std::uint16_t longest = 0;  // the longest packet that went this way, from the IP header on
  std::uint32_t until = 0;    // in ticks
  std::uint32_t flow = 0;     // the connection's number, twice, plus its direction
  std::uint32_t born = 0;     // when the connection was confirmed, in ticks
  // What they look like when they leave.
  std::byte new_addresses[8] = {};
  std::byte new_ports[4] = {};
  std::uint16_t network_change = 0;  // what the sum of the IPv4 header gains, TTL included; in the host's order
  std::uint16_t sum_change = 0;      // what that of the transport header and its pseudo-header gains
  std::byte link[12] = {};           // both Ethernet addresses
  std::uint32_t scratch = 0;         // what the packet brought with it to where it left
};
static_assert(sizeof(flow_entry) == 64);

}  // namespace detail

/// The flows of one connection table that go the fast way: for its thread. Never grows, never allocates, never fails: a
/// flow without room in it goes the slow way.
class flowtable {
 public:
  /// How memory must be aligned.
  static constexpr std::size_t alignment = 64;
  /// How many bytes a table needs.
  [[nodiscard]] static constexpr std::size_t bytes_needed(const flowtable_config& c) noexcept {
    return byte_count::of<detail::flow_entry>(c.flows).value();
  }
  /// An empty table in `memory`, which stays the caller's, must outlive it, be aligned and have `bytes_needed(c)`
  /// bytes, all of which are written to here; flows are a power of two (asserted). Refers to the connections, which
  /// must outlive it.
  flowtable(connection_table& connections, mutable_bytes memory, const flowtable_config& c,
            const flowtable_options& options = {}) noexcept
      : connections_(connections),
        entries_(static_cast<detail::flow_entry*>(static_cast<void*>(memory.data()))),
        mask_(c.flows - 1),
        lifetime_(detail::ticks_in(options.lifetime)),
        seed_(mix(connections.index_.seed())) {
    RUNNEL_ASSERT(c.flows >= 4 && (c.flows & mask_) == 0 && memory.size() >= bytes_needed(c));
    RUNNEL_ASSERT(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
    forget_all();
  }
  flowtable(const flowtable&) = delete;
  flowtable& operator=(const flowtable&) = delete;

  /// Forgets all flows: after rules, routes, addresses or neighbours have changed, when that shall hold at once. Costs
  /// nothing but the packets that go the slow way then (every 16,383rd time a walk over the table). The connections
  /// stay.
  void clear() noexcept {
    if (++generation_ == most_generations) forget_all();
  }
  /// The connections whose flows they are.
  [[nodiscard]] connection_table& connections() noexcept { return connections_; }
  /// How many flows there is room for.
  [[nodiscard]] std::uint32_t capacity() const noexcept { return mask_ + 1; }
  /// What was counted.
  [[nodiscard]] flowtable_statistics& statistics() noexcept { return statistics_; }

 private:
  friend struct detail::fast_tracker;

  static constexpr std::uint32_t most_generations = 1u << 14;
  void forget_all() noexcept {
    for (std::uint32_t i = 0; i <= mask_; ++i) ::new (static_cast<void*>(entries_ + i)) detail::flow_entry;
    generation_ = 1;
  }

  connection_table& connections_;
  detail::flow_entry* entries_;
  std::uint32_t mask_;
  std::uint32_t lifetime_;  // in ticks
  std::uint64_t seed_;
  std::uint32_t generation_ = 1;  // how often it was cleared; never 0, which free entries have
  std::uint32_t era_ = 0;         // of the connections
  flowtable_statistics statistics_{};
};

/// A flow table in memory of its own, of a size known at compile time: for microcontrollers, and for static storage.
template <flowtable_config Config = flowtable_config{}>
class static_flowtable {
 public:
  /// An empty table for these connections, which must outlive it.
  explicit static_flowtable(connection_table& connections, const flowtable_options& options = {}) noexcept
      : table_(connections, {memory_, sizeof memory_}, Config, options) {}
  /// The table. @{
  constexpr operator flowtable&() & noexcept { return table_; }
  [[nodiscard]] constexpr flowtable& get() noexcept { return table_; }
  [[nodiscard]] constexpr flowtable* operator->() noexcept { return &table_; }
  /// @}

 private:
  static_assert(Config.flows >= 4 && (Config.flows & (Config.flows - 1)) == 0,
                "runnel: a flow table has room for 4, 8, 16, 32 ... flows");
  alignas(flowtable::alignment) std::byte memory_[flowtable::bytes_needed(Config)];
  flowtable table_;
};

}  // namespace runnel

#endif
