// SPDX-License-Identifier: MIT
// The burst engine, before there are packets: runs the early verdicts at the front of a pipeline over frames, and makes
// packets of those that go on.
//
// Theory of operation. A device's frames go through all early verdicts in one loop. The first stage that wants a packet
// is where descriptors are attached, in that same loop, which takes the packet through its first segment as well; what
// the early verdicts found out about headers goes with it. Frames that do not go on are settled behind the loop, in
// runs of equal verdicts. Where no stage wants a packet, the gaps are closed and the array is handed on; there, a
// device whose bytes are near needs no loop but its own, and a frame is looked at while it is in registers.
#ifndef RUNNEL_FLOW_FRAME_ENGINE_HPP
#define RUNNEL_FLOW_FRAME_ENGINE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t
#include <new>      // placement new

#include <runnel/base/prefetch.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/device_concepts.hpp>
#include <runnel/flow/engine.hpp>
#include <runnel/wire/dissect.hpp>

namespace runnel::detail {

[[nodiscard]] RUNNEL_INLINE std::uint64_t sum_of_lengths(const frame* frames, std::size_t n) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += frames[i].length;
  return sum;
}

[[nodiscard]] RUNNEL_INLINE found_layers dissect(const frame& f) noexcept {
  return dissect_both(bytes{f.data, f.length}, f.link, {.head_offset = f.headroom, .missing = f.missing});
}

template <class List>
constexpr unsigned early_length() {
  if constexpr (List::size == 0) return 0;
  else if constexpr (List::first_stage::kind == stage_kind::early) return 1 + early_length<typename List::rest_list>();
  else return 0;
}
template <class List, unsigned Steps>
constexpr bool early_needs_layers() {
  if constexpr (Steps == 0) return false;
  else return List::first_stage::wants_layers || early_needs_layers<typename List::rest_list, Steps - 1>();
}

// One frame through the early verdicts. The outcome's `port` has the number of the stage that decided in its upper
// byte, and the target of a redirect in its lower one; 255 is nobody's target.
template <bool Look, unsigned Steps, class List>
RUNNEL_INLINE verdict early_step(List& list, frame& f, found_layers& l, context& c, unsigned number = 0) noexcept {
  verdict v = list.stage.template look_at<Look>(f, l, c);
  if constexpr (Steps > 1)
    if (v.code == verdict_code::pass) [[likely]]
      return early_step<Look, Steps - 1>(list.rest, f, l, c, number + 1);
  const unsigned target = v.code != verdict_code::redirect ? 0u : v.port < 0xff ? v.port : 0xffu;
  v.port = static_cast<std::uint16_t>(number << 8 | target);
  return v;
}
// Hands packets to a target of the early verdict with number `decided`, and says how many it took, and `why` not the
// others.
template <unsigned Steps, class List>
std::size_t send_redirected(List& list, unsigned decided, unsigned target, packet* packets, std::size_t n,
                            drop_reason& why, context& c) noexcept {
  if constexpr (Steps > 1)
    if (decided != 0) return send_redirected<Steps - 1>(list.rest, decided - 1, target, packets, n, why, c);
  return list.stage.send(target, packets, n, why, c);
}

// What a device looks like to the engine: a pool, and a way back out.
template <class Device>
constexpr context context_of(Device& device, instant now) noexcept {
  context c;
  c.now = now;
  if constexpr (transmitting_device<Device>) {
    c.device = &device;
    c.transmit_back = [](void* d, packet* packets, std::size_t n, instant t) noexcept {
      return static_cast<Device*>(d)->transmit(packets, n, t);
    };
    if constexpr (frame_transmitting_device<Device>)
      c.transmit_frames_back = [](void* d, const frame* frames, std::size_t n, instant t) noexcept {
        return static_cast<Device*>(d)->transmit(frames, n, t);
      };
  }
  return c;
}

// Where descriptors are attached; `dissected` says that an early verdict has looked.
constexpr place with_packets(place at, bool dissected) noexcept {
  at.packets = true;
  at.dissected = dissected;
  return at;
}

// Makes a packet of each frame that it takes, for the first stage that wants packets. A frame for which there is no
// descriptor is dropped there.
template <class List>
class attacher {
 public:
  attacher(List& list, pool& memory, packet* packets, std::size_t room) noexcept
      : list_(&list), memory_(&memory), packets_(packets), room_(room) {}
  // Member by member, and back only what changes: as a whole, it would be moved in pieces of another size than those
  // that were written just before, and wait for them.
  RUNNEL_INLINE attacher(const attacher& from) noexcept
      : list_(from.list_),
        memory_(from.memory_),
        packets_(from.packets_),
        room_(from.room_),
        count_(from.count_),
        lost_(from.lost_),
        length_(from.length_),
        last_{from.last_.ns} {}
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): numbers only, nothing is owned
  RUNNEL_INLINE attacher& operator=(const attacher& from) noexcept {
    count_ = from.count_;
    lost_ = from.lost_;
    length_ = from.length_;
    last_.ns = from.last_.ns;
    return *this;
  }

  // The bytes come near meanwhile, for whoever looks at them first.
  RUNNEL_INLINE bool operator()(const frame& f) noexcept {
    prefetch_to_read(f.data);
    last_ = f.timestamp;
    length_ += f.length;
    return add(f, {.protocols = static_cast<std::uint16_t>(f.link)});
  }
  // With what an early verdict has found in it, if one has looked.
  template <bool Looked, bool Sum>
  RUNNEL_INLINE bool with_layers(const frame& f, const found_layers& found) noexcept {
    if constexpr (Sum) length_ += f.length;
    if constexpr (Looked) return add(f, unpack_layers(found.packed));
    else return add(f, {.protocols = static_cast<std::uint16_t>(f.link)});
  }
  template <place At>
  void run_rest(context& c) noexcept {
    if (count_ != 0) run<At>(*list_, packets_, count_, length_, c);
  }
  // Instead of the sums of `with_layers`: how long the frames were that it took.
  void took(std::uint64_t length) noexcept { length_ += length; }
  [[nodiscard]] instant last() const noexcept { return last_; }
  // The sum of the lengths of the packets that it made.
  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }
  // How many frames it took, those included for which there was no descriptor.
  [[nodiscard]] std::size_t taken() const noexcept { return count_ + lost_; }

 private:
  RUNNEL_INLINE bool add(const frame& f, const layers& found) noexcept {
    RUNNEL_ASSERT(count_ < room_ && "a device hands out more frames than it was asked for");
    handle_array<1> made;
    ::new (static_cast<void*>(made.data())) packet{memory_->attach(f, found)};
    if (!made[0]) [[unlikely]]
      return lose(f);
    relocate(&packets_[count_++], made.data());
    return true;
  }
  RUNNEL_INLINE bool lose(const frame& f) noexcept {
    ++lost_;
    length_ -= f.length;
    lose(*list_, *memory_, f.length, f.slot, f.lender);
    return false;
  }
  // Takes no address of what is in registers.
  [[gnu::noinline]] static void lose(List& list, pool& memory, std::uint32_t length, std::uint32_t slot,
                                     std::uint8_t lender) noexcept {
    frame f;
    f.slot = slot;
    f.lender = lender;
    list.counters.add(1, length);
    list.counters.add(drop(drop_reason::no_packet));
    memory.release(&f, 1);
  }

  List* list_;
  pool* memory_;
  packet* packets_;
  [[maybe_unused]] std::size_t room_;
  std::size_t count_ = 0;
  std::size_t lost_ = 0;
  std::uint64_t length_ = 0;
  instant last_{};  // when the last frame was received
};

// Frames in a row that leave as packets: back by a device that takes nothing else, or by another one. Some at a time,
// for a call of a device may be one of the system.
template <unsigned Steps, class List, class LengthOf>
void send_as_packets(List& list, const frame* frames, std::size_t n, verdict v, LengthOf length_of, pool& memory,
                     context& c) noexcept {
  constexpr std::size_t at_once = 32;
  const unsigned decided = v.port >> 8;
  handle_array<at_once> packets;
  for (std::size_t from = 0, k = 0; from < n; from += k) {
    for (k = 0; from + k < n && k < at_once; ++k) {
      ::new (static_cast<void*>(&packets[k])) packet{memory.attach(frames[from + k])};
      if (!packets[k]) break;  // there may be descriptors again when those before it have gone
    }
    if (k == 0) {
      count_verdict<Steps>(list, decided, drop(drop_reason::no_packet), length_of(from));
      memory.release(&frames[from], 1);
      k = 1;
      continue;
    }
    drop_reason why = drop_reason::no_target;
    // One that is refused does not keep back those behind it.
    for (std::size_t i = 0; i < k; ++i) {
      if (v.code == verdict_code::redirect) {
        i += send_redirected<Steps>(list, decided, v.port & 0xffu, &packets[i], k - i, why, c);
      } else if (c.transmit_back != nullptr) {
        why = drop_reason::transmit_full;
        i += c.transmit_back(c.device, &packets[i], k - i, c.now);
      }
    }
    for (std::size_t i = 0; i < k; ++i)
      count_verdict<Steps>(list, decided, packets[i] ? drop(why) : v, length_of(from + i));
    pool::release(packets.data(), k);
  }
}

// Frames in a row that do not go on, all for the same reason: released, sent back by their device, or sent to another
// one. `lengths` are those that they came with, null when no program could change them; `length` is their sum.
template <unsigned Steps, class List>
void settle_run(List& list, const frame* frames, std::size_t n, verdict v, const std::uint32_t* lengths,
                std::uint64_t length, pool& memory, context& c) noexcept {
  const unsigned decided = v.port >> 8;
  const auto length_of = [&](std::size_t i) { return lengths != nullptr ? lengths[i] : frames[i].length; };
  if (v.code == verdict_code::redirect || (v.code == verdict_code::tx && c.transmit_frames_back == nullptr))
    return send_as_packets<Steps>(list, frames, n, v, length_of, memory, c);
  std::size_t sent = 0;
  if (v.code == verdict_code::tx) {
    sent = c.transmit_frames_back(c.device, frames, n, c.now);
    std::uint64_t length_sent = length;
    for (std::size_t i = sent; i < n; ++i) length_sent -= length_of(i);
    if (sent != 0) count_verdict<Steps>(list, decided, v, length_sent, sent);
    if (sent == n) [[likely]]
      return;
    length -= length_sent;
    v = drop(drop_reason::transmit_full);
  }
  memory.release(frames + sent, n - sent);
  count_verdict<Steps>(list, decided, v, length, n - sent);
}

// The frames of a burst of which not the same was said: settles those that do not go on, a run of equal verdicts at a
// time, and closes the gaps. Returns how many are left.
template <place At, unsigned Steps, class List>
[[gnu::noinline]] std::size_t settle_some_frames(List& list, frame* frames, const verdict* outcomes,
                                                 const std::uint32_t* lengths, std::size_t n, pool& memory,
                                                 context& c) noexcept {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n;) {
    if (outcomes[i].code == verdict_code::pass) {
      if (kept != i) frames[kept] = frames[i];
      ++kept;
      ++i;
      continue;
    }
    const std::size_t first = i;
    std::uint64_t length = 0;
    for (; i < n && bits_of(outcomes[i]) == bits_of(outcomes[first]); ++i)
      length += lengths != nullptr ? lengths[i] : frames[i].length;
    settle_run<Steps>(list, frames + first, i - first, outcomes[first], lengths != nullptr ? lengths + first : nullptr,
                      length, memory, c);
  }
  return kept;
}

// Whether a program of a list of early verdicts may change the length of a frame.
template <class List, unsigned Steps>
constexpr bool early_resizes() {
  if constexpr (Steps == 0) return false;
  else return List::first_stage::asks_for_frame || early_resizes<typename List::rest_list, Steps - 1>();
}
// Whether one asks for the time.
template <class List, unsigned Steps>
constexpr bool early_asks_for_time() {
  if constexpr (Steps == 0) return false;
  else return List::first_stage::asks_for_time || early_asks_for_time<typename List::rest_list, Steps - 1>();
}

// Takes frames into an array, and lets their bytes come near meanwhile, when somebody may look at them: bytes that are
// not asked for stay with the core that wrote them, which then writes the next ones there sooner.
template <bool MayLook>
class frame_taker {
 public:
  frame_taker(frame* to, std::size_t room) noexcept : to_(to), end_(to + room) {}
  RUNNEL_INLINE void operator()(const frame& f) noexcept {
    RUNNEL_ASSERT(to_ != end_ && "a device hands out more frames than it was asked for");
    if constexpr (MayLook) prefetch_to_read(f.data);
    copy_members(*to_++, f);
  }

 private:
  frame* to_;
  [[maybe_unused]] frame* end_;
};

// Whether a pipeline's first stage is one that frames need not exist for.
template <class List>
inline constexpr bool begins_with_packets =
    List::first_stage::kind != stage_kind::early &&
    !(List::first_stage::kind == stage_kind::end && !List::first_stage::wants_packet);

// What was said of the frames of a burst.
template <place At, class List>
struct early_arrays {
  static constexpr unsigned steps = early_length<List>();
  static constexpr bool looks = early_needs_layers<List, steps>();
  static constexpr bool resizes = early_resizes<List, steps>();

  raw_array<verdict, At.burst> outcomes;
  raw_array<std::uint32_t, resizes ? At.burst : 1> lengths;  // as they were before a program resized the frame
};

// The early verdicts of a pipeline on their way over a burst: `passes` for each frame in turn, then `finish`.
template <place At, class List>
class early_verdicts {
 public:
  RUNNEL_INLINE early_verdicts(List& list, early_arrays<At, List>& memory) noexcept : list_(&list), arrays_(&memory) {}
  // Whether frame `i` goes on. Leaves in `found` what is in it, if somebody has to look.
  [[nodiscard]] RUNNEL_INLINE bool passes(frame& f, std::size_t i, found_layers& found, context& c) noexcept {
    if constexpr (arrays::looks) found = dissect(f);
    if constexpr (arrays::resizes) arrays_->lengths[i] = f.length;
    length_ += f.length;
    const verdict v = early_step<arrays::looks, steps>(*list_, f, found, c);
    store(arrays_->outcomes[i], v);
    if (v.code == verdict_code::pass) return true;
    ++stopped_;
    stopped_length_ += f.length;
    any_ |= bits_of(v);
    all_ &= bits_of(v);
    return false;
  }
  // How long the frames are that go on, where no program can have changed that.
  [[nodiscard]] RUNNEL_INLINE std::uint64_t length_that_passed() const noexcept { return length_ - stopped_length_; }
  // Counts, settles the frames that do not go on, and closes the gaps. Returns how many are left.
  RUNNEL_INLINE std::size_t finish(frame* frames, std::size_t n, pool& memory, context& c) noexcept {
    count_in<steps>(*list_, n, length_);
    const verdict* const outcomes = arrays_->outcomes.data();
    const std::uint32_t* const lengths = arrays::resizes ? arrays_->lengths.data() : nullptr;
    if (stopped_ == 0) [[likely]]
      return n;
    if (stopped_ != n || any_ != all_)
      return settle_some_frames<At, steps>(*list_, frames, outcomes, lengths, n, memory, c);
    settle_run<steps>(*list_, frames, n, outcomes[0], lengths, length_, memory, c);
    return 0;
  }

 private:
  using arrays = early_arrays<At, List>;
  static constexpr unsigned steps = arrays::steps;
  List* list_;
  arrays* arrays_;
  std::uint64_t length_ = 0;
  std::uint64_t stopped_length_ = 0;
  std::size_t stopped_ = 0;                          // how many do not go on
  std::uint32_t any_ = 0, all_ = ~std::uint32_t{0};  // of what was said of these: the same when all are the same
};

// Frames that come to the end of a pipeline: `length` is the sum of theirs.
template <class List>
RUNNEL_INLINE void end_frames(List& list, frame* frames, std::size_t n, std::uint64_t length, pool& memory,
                              context& c) noexcept {
  list.counters.add(n, length);
  list.stage.take_frames(frames, n, memory, list.counters, c);
}

// Behind the early verdicts where no stage wants a packet.
template <place At, class List>
RUNNEL_INLINE void end_what_passed(List& list, early_verdicts<At, List>& early, frame* frames, std::size_t n,
                                   pool& memory, context& c) noexcept {
  n = early.finish(frames, n, memory, c);
  if (n == 0) return;
  const std::uint64_t length = early_arrays<At, List>::resizes ? sum_of_lengths(frames, n) : early.length_that_passed();
  end_frames(skip<List, early_length<List>()>::get(list), frames, n, length, memory, c);
}

// Takes frames into an array, and gives the early verdicts on each when the device hands it out.
template <place At, class List>
class early_taker {
 public:
  RUNNEL_INLINE early_taker(List& list, early_arrays<At, List>& memory, frame* to, std::size_t room,
                            context& c) noexcept
      : early_(list, memory), to_(to), room_(room), context_(&c) {}
  RUNNEL_INLINE void operator()(const frame& f) noexcept {
    RUNNEL_ASSERT(n_ != room_ && "a device hands out more frames than it was asked for");
    copy_members(to_[n_], f);  // at once: fewer registers are needed for what follows
    found_layers found;
    if constexpr (early_arrays<At, List>::resizes) {
      last_ = f.timestamp;
      (void)early_.passes(to_[n_], n_, found, *context_);
    } else {
      frame its = f;
      (void)early_.passes(its, n_, found, *context_);
    }
    ++n_;
  }
  [[nodiscard]] early_verdicts<At, List>& verdicts() noexcept { return early_; }
  // When the last of `n` frames was received, whatever a program has written into it since.
  [[nodiscard]] instant last(std::size_t n) const noexcept {
    if constexpr (early_arrays<At, List>::resizes) return last_;
    else return to_[n - 1].timestamp;
  }

 private:
  early_verdicts<At, List> early_;
  instant last_{};
  frame* to_;
  [[maybe_unused]] std::size_t room_;
  context* context_;
  std::size_t n_ = 0;
};

// Whether the early verdicts of a pipeline can be given while a device hands out its frames. Not where they ask for
// the time and that is known only when the last frame is (`SeesTime`).
template <class List, class Device, bool SeesTime>
constexpr bool decides_at_once() {
  constexpr unsigned steps = early_length<List>();
  if constexpr (steps != 0 && requires { requires Device::bytes_are_near; }) {
    using next_stage = typename skip<List, steps>::type::first_stage;
    return next_stage::kind == stage_kind::end && !next_stage::wants_packet &&
           !(SeesTime && early_asks_for_time<List, steps>());
  } else {
    return false;
  }
}

template <place At, class List>
void run_frames(List& list, frame* frames, std::size_t n, pool& memory, context& c) noexcept {
  using stage = typename List::first_stage;
  RUNNEL_ASSERT(n <= At.burst);
  if (n == 0) [[unlikely]]
    return;
  if (n > At.burst) __builtin_unreachable();
  if constexpr (stage::kind != stage_kind::early) {
    static_assert(stage::kind == stage_kind::end && !stage::wants_packet);
    end_frames(list, frames, n, sum_of_lengths(frames, n), memory, c);
  } else {
    using next_list = typename skip<List, early_length<List>()>::type;
    using next_stage = typename next_list::first_stage;
    [[maybe_unused]] auto& next = skip<List, early_length<List>()>::get(list);
    early_arrays<At, List> arrays;
    early_verdicts<At, List> early{list, arrays};
    constexpr place there = with_packets(At, early_arrays<At, List>::looks);
    [[maybe_unused]] constexpr bool resizes = early_arrays<At, List>::resizes;
    found_layers found;
    if constexpr (next_stage::kind == stage_kind::end && !next_stage::wants_packet) {
      for (std::size_t i = 0; i < n; ++i) (void)early.passes(frames[i], i, found, c);
      end_what_passed(list, early, frames, n, memory, c);
    } else if constexpr (segment_length<next_list>() == 0) {
      handle_array<At.burst> packets;
      attacher<next_list> attach{next, memory, packets.data(), n};
      for (std::size_t i = 0; i < n; ++i)
        if (early.passes(frames[i], i, found, c))
          (void)attach.template with_layers<there.dissected, resizes>(frames[i], found);
      if constexpr (!resizes) attach.took(early.length_that_passed());
      (void)early.finish(frames, n, memory, c);
      attach.template run_rest<there>(c);
    } else {
      handle_array<At.burst> packets;
      attacher<next_list> attach{next, memory, packets.data(), n};
      segment_arrays<there, next_list> segment_memory;
      segment<there, next_list> on{next, packets.data(), segment_memory, c};
      on.each(n, [&](std::size_t i) noexcept {
        if (early.passes(frames[i], i, found, c) &&
            attach.template with_layers<there.dissected, resizes>(frames[i], found))
          on.first({found.parts, there.dissected});
      });
      if constexpr (!resizes) attach.took(early.length_that_passed());
      (void)early.finish(frames, n, memory, c);
      if (on.size() != 0) on.finish(attach.length());
    }
  }
}

// A burst of a device's frames through a pipeline that does not begin with packets; says how many there were. `see` is
// told when the last one came, and may set the clock by that.
template <place At, bool SeesTime, class List, class Device, class See>
RUNNEL_INLINE std::size_t receive_frames(List& list, Device& device, std::size_t room, context& c, See see) noexcept {
  raw_array<frame, At.burst> frames;
  if constexpr (decides_at_once<List, Device, SeesTime>()) {
    early_arrays<At, List> arrays;
    early_taker<At, List> take{list, arrays, frames.data(), room, c};
    const std::size_t n = device.receive(room, c.now, take);
    if (n == 0) return 0;
    see(take.last(n));
    end_what_passed(list, take.verdicts(), frames.data(), n, device.memory(), c);
    return n;
  } else {
    constexpr bool may_look = List::first_stage::kind == stage_kind::early;
    const std::size_t n = device.receive(room, c.now, frame_taker<may_look>{frames.data(), room});
    if (n == 0) return 0;
    see(frames[n - 1].timestamp);
    run_frames<At>(list, frames.data(), n, device.memory(), c);
    return n;
  }
}

}  // namespace runnel::detail

#endif
