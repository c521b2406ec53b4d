// SPDX-License-Identifier: MIT
// A wire in memory: two devices, and what the one sends arrives at the other, late, out of order, twice or not at all,
// as configured. Time comes from whoever calls and randomness from a seed, so a run is repeatable bit for bit.
//
// Theory of operation. Each direction is one queue, ordered by when a packet is due at the far end. A packet that is
// sent passes these stations; each has a counter for what is lost there:
//
//     transmit(now) > too long? > room? > line, `rate` > loss > corruption > latency + jitter > due > receive(now)
//                     too_big   queue_full              link_loss            \ duplication: once more
//
// A packet that lies alone on a slot of the wire's pool is passed on as it is; any other is copied to one. On the way,
// it owns its slot; the receiver gets the slot as a frame, and what earlier stages found out about it is forgotten.
#ifndef RUNNEL_DEVICE_LINK_HPP
#define RUNNEL_DEVICE_LINK_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int64_t, uint32_t, uint64_t

#include <runnel/base/random.hpp>
#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/device/counted.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/partial_checksum.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel {

/// How one direction of a wire treats packets. As it is, nothing happens to them.
struct link_options {
  duration latency{};               ///< from the end of the line to the far end
  duration jitter{};                ///< up to so much more, anew for each packet, any span as likely as another
  bool keep_order = false;          ///< a packet waits for those sent before it; else those with less jitter overtake
  std::uint32_t loss = 0;           ///< of a million packets, so many are lost (link_loss)
  std::uint32_t corruption = 0;     ///< of a million that are not lost, so many arrive with one bit wrong
  std::uint32_t duplication = 0;    ///< of a million that are not lost, so many come twice
  std::uint32_t reordering = 0;     ///< of a million, so many come without latency and jitter, and overtake the others
  std::uint64_t rate = 0;           ///< bits per second of the line, counting the packet's bytes; 0 is no limit
  std::size_t capacity = SIZE_MAX;  ///< packets on the way at once, the line's queue included (queue_full)
  std::size_t max_length = 65535;   ///< bytes of a packet; longer ones are lost (too_big)
  std::uint64_t seed = 1;           ///< of all that is random; the two directions differ even with the same one
};

/// What one direction of a wire did to packets.
struct link_counters {
  std::uint64_t sent = 0;        ///< packets that were given to it, those that it lost included
  std::uint64_t corrupted = 0;   ///< a bit was turned over
  std::uint64_t duplicated = 0;  ///< came twice
  std::uint64_t reordered = 0;   ///< went before their time, `reordering`; what jitter does is not counted
  std::uint64_t delivered = 0;   ///< packets that arrived, second copies included
  std::uint64_t lost = 0;        ///< packets that did not, second copies included, for whatever reason
};

/// One line: "sent 10, delivered 8, 2 lost, 1 reordered". What did not happen is not printed.
inline void print(text_writer& out, const link_counters& c) noexcept {
  out << "sent " << c.sent << ", delivered " << c.delivered;
  detail::print_counted(
      out, {{c.lost, "lost"}, {c.corrupted, "corrupted"}, {c.duplicated, "duplicated"}, {c.reordered, "reordered"}});
}

namespace detail {

/// A packet on the way. The first in order is due first; of equal ones, that which was sent first.
struct link_entry {
  instant due{};
  std::uint64_t number = 0;
  packet what;

  [[nodiscard]] bool before(const link_entry& other) const noexcept {
    return due < other.due || (due == other.due && number < other.number);
  }
};

/// One direction of a wire, over memory that somebody else owns.
class link_direction {
 public:
  link_direction(pool& memory, link_entry* heap, std::size_t room, const link_options& options,
                 std::uint64_t seed) noexcept
      : memory_(memory),
        heap_(heap),
        options_(options),
        capacity_(options.capacity < room ? options.capacity : room),
        random_(seed) {}

  [[nodiscard]] pool& memory() const noexcept { return memory_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t dropped(drop_reason why) const noexcept {
    return why < drop_reason::count_ ? dropped_[static_cast<std::size_t>(why)] : 0;
  }
  [[nodiscard]] const link_counters& counters() const noexcept { return counters_; }
  [[nodiscard]] instant next_due() const noexcept { return size_ != 0 ? heap_[0].due : never; }
  // A packet that could not even be given to it.
  void lose_newcomer(drop_reason why) noexcept {
    ++counters_.sent;
    lose(why);
  }
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool done() const noexcept { return closed_ && size_ == 0; }

  void send(packet&& given, instant now) noexcept {
    packet p(static_cast<packet&&>(given));
    ++counters_.sent;
    const std::size_t length = p.total_length();
    const std::size_t slot = std::size_t{memory_.headroom()} + memory_.packet_bytes();
    if (closed_) return lose(drop_reason::no_target);
    if (length > options_.max_length) return lose(drop_reason::too_big);
    if (size_ == capacity_) return lose(drop_reason::queue_full);
    const instant sent = leave_line(length, now);
    if (random_.chance(options_.loss)) return lose(drop_reason::link_loss);
    const bool twice = random_.chance(options_.duplication);
    if (&p.home() == &memory_) p.come_home();
    if (!p.is_plain() || &p.home() != &memory_) {
      if (length > slot) return lose(drop_reason::too_big);
      p = p.copy(memory_);
      if (!p) return lose(drop_reason::no_packet);
    }
    if (random_.chance(options_.corruption)) corrupt(p);
    packet second;
    if (twice) {
      if (size_ + 1 == capacity_) lose(drop_reason::queue_full);
      else if (second = p.copy(); !second) lose(drop_reason::no_packet);
      else ++counters_.duplicated;
    }
    push(due_at(sent), static_cast<packet&&>(p));
    if (second) push(due_at(sent), static_cast<packet&&>(second));
  }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    std::size_t n = 0;
    for (; n < room && size_ != 0 && heap_[0].due <= now; ++n) {
      const instant due = heap_[0].due;
      frame f = pop().detach();
      f.timestamp = due;
      f.iif = 0;
      take(f);
    }
    counters_.delivered += n;
    return n;
  }

 private:
  void lose(drop_reason why) noexcept {
    ++dropped_[static_cast<std::size_t>(why)];
    ++counters_.lost;
  }
  // Behind the checksum, as on a real line: one that was left to the device is completed before.
  void corrupt(packet& p) noexcept {
    if (p.length() == 0 || !complete_transport_checksum(p, p.layers().link_kind())) return;
    const auto bit = static_cast<unsigned>(random_.below(8));
    p.writable()[static_cast<std::size_t>(random_.below(p.length()))] ^= static_cast<std::byte>(1u << bit);
    p.checksum(checksum_status::unknown);
    ++counters_.corrupted;
  }
  // When the last bit is on its way: the line sends one packet after the other.
  instant leave_line(std::size_t length, instant now) noexcept {
    if (options_.rate == 0) return now;
    const instant begin = line_free_ < now ? now : line_free_;
    line_free_ = begin + nanoseconds(static_cast<std::int64_t>(length * std::uint64_t{8'000'000'000} / options_.rate));
    return line_free_;
  }
  instant due_at(instant sent) noexcept {
    if (random_.chance(options_.reordering)) {
      ++counters_.reordered;
      return sent;
    }
    const auto span = static_cast<std::uint64_t>(options_.jitter.ns > 0 ? options_.jitter.ns : 0);
    const instant due = sent + options_.latency + nanoseconds(static_cast<std::int64_t>(random_.below(span + 1)));
    if (!options_.keep_order) return due;
    if (last_due_ < due) last_due_ = due;
    return last_due_;
  }

  void push(instant due, packet&& p) noexcept {
    link_entry e{due, sent_++, static_cast<packet&&>(p)};
    std::size_t i = size_++;
    for (; i != 0 && e.before(heap_[(i - 1) / 2]); i = (i - 1) / 2) move(heap_[i], heap_[(i - 1) / 2]);
    move(heap_[i], e);
  }
  packet pop() noexcept {
    packet first(static_cast<packet&&>(heap_[0].what));
    link_entry& last = heap_[--size_];
    std::size_t i = 0;
    for (;;) {
      std::size_t child = 2 * i + 1;
      if (child >= size_) break;
      if (child + 1 < size_ && heap_[child + 1].before(heap_[child])) ++child;
      if (!heap_[child].before(last)) break;
      move(heap_[i], heap_[child]);
      i = child;
    }
    if (i != size_) move(heap_[i], last);
    return first;
  }
  static void move(link_entry& to, link_entry& from) noexcept {
    to.due = from.due;
    to.number = from.number;
    to.what = static_cast<packet&&>(from.what);
  }

  pool& memory_;
  link_entry* heap_;  // children of i are 2i + 1 and 2i + 2; none is before its parent
  std::size_t size_ = 0;
  link_options options_;
  std::size_t capacity_;
  random_generator random_;
  std::uint64_t sent_ = 0;
  instant line_free_{INT64_MIN};
  instant last_due_{INT64_MIN};
  bool closed_ = false;
  std::uint64_t dropped_[drop_reason_count] = {};
  link_counters counters_;
};

}  // namespace detail

/// One end of a wire: a device that sends into one direction and receives from the other.
class link_end {
 public:
  link_end(const link_end&) = delete;
  link_end& operator=(const link_end&) = delete;

  /// The pool that its frames are from.
  [[nodiscard]] pool& memory() noexcept { return in_.memory(); }
  /// What is due by `now`, in order. The timestamp of a frame is when it was due.
  template <class Take>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    return in_.receive(room, now, take);
  }
  /// Whether the wire was closed and everything on the way to this end was received.
  [[nodiscard]] bool done() const noexcept { return in_.done(); }
  /// Sends all of them at `now`, which must not go back from call to call. What the wire loses is counted.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    for (std::size_t i = 0; i < n; ++i) out_.send(static_cast<packet&&>(packets[i]), now);
    return n;
  }
  /// The same for frames that came from an end of this wire: their slots go on as they are.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept {
    for (std::size_t i = 0; i < n; ++i) out_.send(memory().attach(frames[i]), now);
    return n;
  }
  /// When the next packet is due here; `never` when none is on the way.
  [[nodiscard]] instant next_due() const noexcept { return in_.next_due(); }
  /// How many packets sent from this end are on the way.
  [[nodiscard]] std::size_t in_flight() const noexcept { return out_.size(); }
  /// How many packets sent from this end the wire lost for this reason: link_loss, queue_full, too_big, no_packet (its
  /// pool was empty), no_target (it was closed).
  [[nodiscard]] std::uint64_t dropped(drop_reason why) const noexcept { return out_.dropped(why); }
  /// What else the wire did to packets sent from this end.
  [[nodiscard]] const link_counters& counters() const noexcept { return out_.counters(); }

 private:
  template <std::size_t>
  friend class virtual_link;
  link_end(detail::link_direction& in, detail::link_direction& out) noexcept : in_(in), out_(out) {}

  detail::link_direction& in_;
  detail::link_direction& out_;
};
static_assert(receiving_device<link_end> && transmitting_device<link_end>);

/// A wire with two ends and room for `Capacity` packets on the way in each direction, 24 bytes each. Not movable. The
/// pool must outlive it, and needs slots for what is on the way.
///
///     virtual_link wire(memory, {.latency = milliseconds(20), .loss = 10'000});
///     wire.a().transmit(&p, 1, now);
///     n = wire.b().receive(64, now + milliseconds(20), into_array(frames));
///
/// (Not called `link`: <unistd.h> has a function of that name.)
template <std::size_t Capacity = 1024>
class virtual_link {
 public:
  static_assert(Capacity > 0, "runnel: a wire needs room for at least one packet");

  /// Both directions alike.
  explicit virtual_link(pool& memory, const link_options& both = {}) noexcept : virtual_link(memory, both, both) {}
  /// What is sent at `a()` and at `b()`, each in its way.
  virtual_link(pool& memory, const link_options& from_a, const link_options& from_b) noexcept
      : forth_(memory, forth_heap_, Capacity, from_a, from_a.seed),
        back_(memory, back_heap_, Capacity, from_b, ~from_b.seed) {}
  virtual_link(const virtual_link&) = delete;
  virtual_link& operator=(const virtual_link&) = delete;

  /// The two ends. @{
  [[nodiscard]] link_end& a() noexcept { return a_; }
  [[nodiscard]] link_end& b() noexcept { return b_; }
  /// @}
  /// When the next packet is due at either end; `never` when none is on the way.
  [[nodiscard]] instant next_due() const noexcept {
    return forth_.next_due() < back_.next_due() ? forth_.next_due() : back_.next_due();
  }
  /// Takes nothing more; what is on the way still arrives. The ends are `done()` then.
  void close() noexcept {
    forth_.close();
    back_.close();
  }

 private:
  detail::link_entry forth_heap_[Capacity];
  detail::link_entry back_heap_[Capacity];
  detail::link_direction forth_;
  detail::link_direction back_;
  link_end a_{back_, forth_};
  link_end b_{forth_, back_};
};

}  // namespace runnel

#endif
