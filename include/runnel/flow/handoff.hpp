// SPDX-License-Identifier: MIT
// Flows spread over threads by software: each packet is handed over to the thread that its flow belongs to.
//
// Theory of operation. Between n threads there are n * (n - 1) rings, one from each to each other:
//
//     thread 0   device > parse | steer ---- own flows -----------------> path
//                                  |  \                                    ^
//                                  |   ring 0 > 1 ...        ring 1 > 0 ---+  attach(handoff, path)
//     thread 1   device > parse | steer ...
//
// `steer` computes the symmetric Toeplitz hash of a packet's addresses and ports, as a card with that key does, and
// thread `hash % n` gets it: both directions of a flow meet on one thread, whichever saw them first, so tables of
// connections need no lock. The burst of a thread is sorted once, and each ring gets its part with one store.
//
// Not so behind address translation: answers come to the translated address, which has another hash, and so perhaps to
// a thread that does not know the connection. Nor behind a helper: what FTP or TFTP announces comes with other ports.
// Both belong on one thread. What neighbours say is for all threads that have a table of them: see
// answer_neighbours.hpp.
//
// Fragments go by their addresses, so that those of a datagram meet, which may be on another thread than that of their
// flow. Where stages ask for its connection they are joined, and handed over once more. `virtual_defragment` cannot do
// that:
//
//     parse() | steer(end) | defragment(fragments) | steer(end) | track(connections) | ...  // for device and rings
//
// A thread whose device is done hands on there what the others still have for it: `drain()` says so, `finish()` that it
// has ended. Workers do both.
//
// A packet is neither cloned nor cut into its own pool's slots on a thread that is not that pool's; what cuts or joins
// packets takes a pool of its thread for it (`.memory`, `copies_to`). One that was handed over twice, and is back on
// that thread, is as any other there behind `[](packet& p) { p.come_home(); }`.
#ifndef RUNNEL_FLOW_HANDOFF_HPP
#define RUNNEL_FLOW_HANDOFF_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/flow/packet_ring.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/flow_key.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/toeplitz.hpp>

namespace runnel {

namespace detail {

// The hash of the flow whose datagram an ICMP error quotes; false when that has none. Of a quoted fragment without
// ports the addresses count.
[[gnu::noinline]] inline bool quoted_flow_hash(bytes b, std::uint32_t& hash) noexcept {
  if (b.size() < 20) return false;
  const std::byte* const p = b.data();
  const auto ports_at = [&](std::uint8_t next, std::size_t at) {
    return (next == 6 || next == 17) && at + 4 <= b.size() ? load_be32(p + at) : 0;
  };
  const auto hash_of = [&](const auto& source, const auto& destination, std::uint32_t ports, std::uint8_t next) {
    const auto from = static_cast<std::uint16_t>(ports >> 16), to = static_cast<std::uint16_t>(ports);
    const auto k = [&] {
      if constexpr (requires { source.high(); }) return flow_key6{source, destination, from, to, next};
      else return flow_key4{source, destination, from, to, next};
    }();
    hash = ports != 0 ? symmetric_toeplitz(k) : symmetric_toeplitz_addresses(k);
    return true;
  };
  if (load_u8(p) >> 4 == 4) {
    const std::size_t header = (load_u8(p) & 15u) * std::size_t{4};
    const bool later = (load_be16(p + 6) & 0x1fffu) != 0;
    const std::uint8_t next = load_u8(p + 9);
    return hash_of(ipv4_address::load(p + 12), ipv4_address::load(p + 16), later ? 0 : ports_at(next, header), next);
  }
  if (load_u8(p) >> 4 != 6 || b.size() < 40) return false;
  std::uint8_t next = load_u8(p + 6);
  std::size_t at = 40;
  bool later = false;
  while ((next == 0 || next == 43 || next == 44 || next == 51 || next == 60) && at + 8 <= b.size()) {
    const std::size_t said = load_u8(p + at + 1);
    later = later || (next == 44 && (load_be16(p + at + 2) & 0xfff8u) != 0);
    const std::size_t size = next == 44 ? 8 : next == 51 ? (said + 2) * 4 : (said + 1) * 8;
    next = load_u8(p + at);
    at += size;
  }
  return hash_of(ipv6_address::load(p + 8), ipv6_address::load(p + 24), later ? 0 : ports_at(next, at), next);
}

}  // namespace detail

/// The symmetric Toeplitz hash of a packet that was parsed: equal for both directions of a flow. Addresses and ports
/// count for TCP and UDP; addresses only for all else that is IP, and for every fragment, the first too, so that those
/// of one datagram meet. What is not IP has 0. Of a tunnel the outer headers count; an ICMP error goes by the packet
/// that it is about, whose flow has to hear of it.
[[nodiscard]] inline std::uint32_t symmetric_flow_hash(const packet& p) noexcept {
  const header_map found{p};
  const bool fragment = p.layers().has(protocol::fragment);
  const std::byte* const ports = fragment ? nullptr : found.at<header::th, 4>();
  std::uint32_t quoted = 0;
  if (found.has<ipv4>()) {
    const auto outer = found.get<ipv4>();
    if (ports != nullptr) return symmetric_toeplitz(flow_key4::from(outer, bytes{ports, 4}));
    if (!fragment && found.has<icmp>() && detail::quoted_flow_hash(found.get<icmp>().quoted(), quoted)) return quoted;
    return symmetric_toeplitz_addresses(flow_key4::from(outer));
  }
  if (found.has<ipv6>()) {
    const auto outer = found.get<ipv6>();
    if (ports != nullptr) return symmetric_toeplitz(flow_key6::from(outer, 0, bytes{ports, 4}));
    if (!fragment && found.has<icmpv6>() && detail::quoted_flow_hash(found.get<icmpv6>().quoted(), quoted))
      return quoted;
    return symmetric_toeplitz_addresses(flow_key6::from(outer, 0));
  }
  return 0;
}

/// One thread's end of the rings between several: what `steer` hands packets over to, and the source of what the others
/// have handed over to it. One thread uses it. Made by a `handoff_mesh`.
class alignas(detail::ring_line) handoff {
 public:
  static constexpr bool makes_own = true;  ///< what comes out of it may be written to

  /// The number of this thread.
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  /// How many threads there are.
  [[nodiscard]] unsigned count() const noexcept { return count_; }
  /// Packets that are not from `memory` are copied to it before they cross, so that it is the only pool that must
  /// outlive the rings. Without this, packets cross as they are; those that are shared or lent are copied in their
  /// pool.
  void copies_to(pool& memory) noexcept { memory_ = &memory; }
  /// Says that this thread has no other source any more: it only goes on with what the others hand over, and may hand
  /// that over in its turn, as where `steer` stands before and behind `defragment`. From then on it is `done()` when
  /// the others have said so too, or have finished, and nothing is on its way between them any more; before, whenever
  /// the rings to it are empty, so that it does not keep a loop alive by itself. What a thread keeps in a queue
  /// meanwhile the others do not know of: they may be done before it is handed over.
  void drain() noexcept { drains_ = true; }
  /// Says that this thread will hand over nothing more, whatever comes to it; the others do not wait for it then. It is
  /// `done()` as one that drains.
  void finish() noexcept {
    drains_ = true;
    __atomic_store_n(&turn_, finished, __ATOMIC_RELEASE);
    wake_others();
  }

  /// Gives packets to another thread: as `packet_ring::push`.
  [[nodiscard]] std::size_t push(unsigned to, packet* packets, std::size_t n) noexcept {
    if (const std::size_t fit = room(to); fit < n) n = fit;
    std::size_t own = 0;
    for (; own < n; ++own) {
      packet& p = packets[own];
      if (memory_ == nullptr || &p.home() == memory_ || p.is_away()) continue;
      packet copy = p.copy(*memory_);
      if (!copy) break;
      p = static_cast<packet&&>(copy);
    }
    return ring(index_, to).push(packets, own);
  }
  /// Gives each other thread a copy of a packet, from the pool of `copies_to`, else from the packet's own, which has
  /// none here for one that was handed over. What finds no slot or no room in a ring is counted in `missed()`. The
  /// copies are marked (`packet::is_told`), and such a one is not given to anybody again.
  void copy_to_others(const packet& p) noexcept {
    if (p.is_told()) return;
    for (unsigned to = 0; to < count_; ++to) {
      if (to == index_) continue;
      packet copy = room(to) != 0 ? p.copy(memory_ != nullptr ? *memory_ : p.home()) : packet{};
      if (copy) copy.d_->status |= detail::is_told;
      if (!copy || push(to, &copy, 1) != 1) ++missed_;
    }
  }
  /// How many copies for others were not made.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
  /// How many packets more another thread's ring has room for.
  [[nodiscard]] std::size_t room(unsigned to) const noexcept { return ring(index_, to).room(); }

  /// What a source has. The rings have their turns, so that none is starved. @{
  std::size_t pull(packet* packets, std::size_t n, instant now) noexcept {
    if (drains_ && rests() && turn_ != finished) {
      if (empty()) return 0;
      __atomic_store_n(&turn_, turn_ + 1, __ATOMIC_RELEASE);
    }
    std::size_t got = 0;
    unsigned from = first_ = first_ + 1 < count_ ? first_ + 1 : 0;
    for (unsigned i = 0; i < count_ && got < n; ++i) {
      if (from != index_) got += ring(from, index_).pull(packets + got, n - got, now);
      from = from + 1 < count_ ? from + 1 : 0;
    }
    return got;
  }
  [[nodiscard]] bool empty() const noexcept {
    for (unsigned from = 0; from < count_; ++from)
      if (from != index_ && !ring(from, index_).empty()) return false;
    return true;
  }
  [[nodiscard]] bool done() noexcept {
    if (!empty()) return false;
    if (!drains_) return true;
    if (!rests()) rest();
    return is_quiet();
  }
  [[nodiscard]] bool wakes(const sleeper& who) const noexcept { return &who == who_; }
  /// @}

 private:
  friend class handoff_mesh;
  static constexpr std::uint32_t finished = 0xffff'ffff;
  handoff(packet_ring<>* rings, handoff* ends, unsigned index, unsigned count, sleeper& who) noexcept
      : rings_(rings), ends_(ends), who_(&who), index_(index), count_(count) {}
  [[nodiscard]] packet_ring<>& ring(unsigned from, unsigned to) const noexcept {
    return rings_[std::size_t{from} * count_ + to];
  }
  [[nodiscard]] bool rests() const noexcept { return (turn_ & 1u) != 0; }
  // Who rests last tells the others, who may be done now. Of two that begin to at once, one sees that the other does.
  void rest() noexcept {
    __atomic_store_n(&turn_, turn_ + 1 == finished ? 1 : turn_ + 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (turns() != 0) wake_others();
  }
  void wake_others() noexcept {
    for (unsigned to = 0; to < count_; ++to)
      if (to != index_) ends_[to].who_->wake_up();
  }
  [[nodiscard]] std::uint32_t turn_of(unsigned i) const noexcept {
    return __atomic_load_n(&ends_[i].turn_, __ATOMIC_ACQUIRE);
  }
  // The sum of all turns; 0 when somebody does not rest. No two are the same within 2^31 turns of a thread.
  [[nodiscard]] std::uint64_t turns() const noexcept {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < count_; ++i) {
      const std::uint32_t t = turn_of(i);
      if ((t & 1u) == 0) return 0;
      sum += t;
    }
    return sum;
  }
  // Whether all rest, and nothing is on its way to one who would go on with it. Who takes something out of a ring has
  // his turn before that is seen: if nobody had one while the rings were looked at, all were empty at the same time.
  [[nodiscard]] bool is_quiet() const noexcept {
    const std::uint64_t before = turns();
    if (before == 0) return false;
    for (unsigned to = 0; to < count_; ++to) {
      if (to != index_ && turn_of(to) == finished) continue;
      for (unsigned from = 0; from < count_; ++from)
        if (from != to && !ring(from, to).empty()) return false;
    }
    return turns() == before;
  }

  packet_ring<>* rings_;
  handoff* ends_;  // of all threads
  sleeper* who_;
  pool* memory_ = nullptr;
  std::uint64_t missed_ = 0;
  unsigned index_;
  unsigned count_;
  unsigned first_ = 0;  // whose ring was the first one last
  bool drains_ = false;
  // Odd while it rests: nothing is left but the rings, and those to it were empty. The others look at it.
  alignas(detail::ring_line) std::uint32_t turn_ = 0;
};

/// The rings between several threads, in memory that the user gives. It must outlive the threads' loops; their clocks,
/// and the pools of the packets that cross, must outlive it.
class handoff_mesh {
 public:
  /// How many threads there may be.
  static constexpr unsigned max_threads = 256;

  /// How much memory it needs for so many threads and rings of `capacity` packets each: some 520 bytes for a ring, and
  /// a pointer for each packet in it.
  [[nodiscard]] static constexpr std::size_t bytes_needed(unsigned count, std::size_t capacity) noexcept {
    const byte_count between = byte_count{count} * (count - 1u);
    return (byte_count{slots_offset(count)} + byte_count::of<packet>(between * capacity) +
            byte_count::of<packet>(byte_count{count} * count))
        .value();
  }
  /// Between `count` threads, at least one, by rings of `capacity` packets, a power of two. `memory` must be aligned to
  /// 128 bytes and hold `bytes_needed` (RUNNEL_ASSERT). `clocks[i]` is what the loop of thread i sleeps by.
  handoff_mesh(mutable_bytes memory, sleeper* const* clocks, unsigned count, std::size_t capacity) noexcept
      : rings_(static_cast<packet_ring<>*>(static_cast<void*>(memory.data()))),
        ends_(static_cast<handoff*>(static_cast<void*>(memory.data() + ends_offset(count)))),
        count_(count) {
    RUNNEL_ASSERT(count != 0 && count <= max_threads && is_power_of_two(capacity) &&
                  memory.size() >= bytes_needed(count, capacity) &&
                  reinterpret_cast<std::uintptr_t>(memory.data()) % detail::ring_line == 0);
    std::byte* slots = memory.data() + slots_offset(count);
    for (unsigned from = 0; from < count; ++from) {
      for (unsigned to = 0; to < count; ++to) {
        // That from a thread to itself is never used.
        const std::size_t size = (from == to ? 1 : capacity) * sizeof(packet);
        ::new (static_cast<void*>(&rings_[std::size_t{from} * count + to]))
            packet_ring<>{*clocks[to], mutable_bytes{slots, size}};
        slots += size;
      }
      ::new (static_cast<void*>(&ends_[from])) handoff{rings_, ends_, from, count, *clocks[from]};
    }
  }
  handoff_mesh(const handoff_mesh&) = delete;
  handoff_mesh& operator=(const handoff_mesh&) = delete;
  /// What is in the rings goes home.
  ~handoff_mesh() {
    for (std::size_t i = 0; i < std::size_t{count_} * count_; ++i) rings_[i].~packet_ring();
  }

  /// The end of thread `i`.
  [[nodiscard]] handoff& operator[](unsigned i) noexcept {
    RUNNEL_ASSERT(i < count_);
    return ends_[i];
  }

 private:
  [[nodiscard]] static constexpr std::size_t ends_offset(unsigned count) noexcept {
    return std::size_t{count} * count * sizeof(packet_ring<>);
  }
  [[nodiscard]] static constexpr std::size_t slots_offset(unsigned count) noexcept {
    return ends_offset(count) + count * sizeof(handoff);
  }

  packet_ring<>* rings_;
  handoff* ends_;
  unsigned count_;
};

namespace detail {

struct steer_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::burst;
  static constexpr bool needs_parsed = true;
  static constexpr const char* name = "steer";
  handoff* end;

  constexpr explicit steer_stage(handoff& e) noexcept : end(&e) {}
  void operator()(burst& b, context&) noexcept {
    std::uint8_t target[max_burst];
    std::uint64_t others[handoff_mesh::max_threads / 64] = {};
    for (std::size_t i = 0; i < b.size(); ++i) {
      const std::uint32_t hash = symmetric_flow_hash(b[i]);
      b[i].flow_hash(hash);
      const unsigned to = b[i].is_told() ? end->index() : hash % end->count();
      target[i] = static_cast<std::uint8_t>(to);
      if (to != end->index()) others[to / 64] |= std::uint64_t{1} << to % 64;
    }
    for (unsigned word = 0; word < handoff_mesh::max_threads / 64; ++word)
      for (std::uint64_t left = others[word]; left != 0; left &= left - 1)
        hand_over(b, target, word * 64 + static_cast<unsigned>(__builtin_ctzll(left)));
  }

 private:
  // What the ring does not take goes back to its place in the burst, and is dropped there.
  void hand_over(burst& b, const std::uint8_t* target, unsigned to) noexcept {
    handle_array<max_burst> part;
    std::uint16_t place[max_burst];
    std::size_t n = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      if (target[i] != to) continue;
      ::new (static_cast<void*>(&part[n])) packet{static_cast<packet&&>(b[i])};
      place[n++] = static_cast<std::uint16_t>(i);
      b.verdict_on(i) = stolen;
    }
    struct ring_to {
      handoff* end;
      unsigned to;
      std::size_t push(packet* packets, std::size_t k) const noexcept { return end->push(to, packets, k); }
      std::size_t room() const noexcept { return end->room(to); }
    } ring{end, to};
    push_all(ring, part.data(), n, [&](std::size_t i, drop_reason why) noexcept {
      b[place[i]] = static_cast<packet&&>(part[i]);
      b.verdict_on(place[i]) = drop(why);
    });
  }
};

}  // namespace detail

/// Lets the packets whose flow belongs to this thread go on, and hands the others over to theirs: thread `hash %
/// count`, by `symmetric_flow_hash`, which is also noted in the packet. They come out of that thread's `attach(handoff,
/// path)`. What is not IP goes to thread 0, a copy that all were given (`packet::is_told`) stays here. Counts what was
/// handed over as `stolen`, and drops what a full ring does not take (drop_reason::queue_full) or what could not be
/// copied to cross (no_packet). Needs `parse()` before it.
///
///     attach(nic, parse() | steer(end) | shared(path)), attach(end, path)
[[nodiscard]] constexpr auto steer(handoff& end) noexcept { return detail::steer_stage{end}; }

}  // namespace runnel

#endif
