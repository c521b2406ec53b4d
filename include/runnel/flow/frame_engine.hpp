// SPDX-License-Identifier: MIT
// The burst engine, before there are packets: runs the early verdicts at the front of a pipeline over frames, and makes
// packets of those that go on.
//
// Theory of operation. A device's frames go through all early verdicts in one loop. When the same was said of all, the
// array is handed on as it is: to the next stage, back to the device, or to the pool. Otherwise the frames that do not
// go on are settled in runs of equal verdicts, and the gaps are closed. The first stage that wants a packet is where
// descriptors are attached; what the early verdicts found out about headers goes with them.
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
// Hands a packet to a target of the early verdict with number `decided`.
template <unsigned Steps, class List>
verdict send_redirected(List& list, unsigned decided, unsigned target, packet& p, context& c) noexcept {
  if constexpr (Steps > 1)
    if (decided != 0) return send_redirected<Steps - 1>(list.rest, decided - 1, target, p, c);
  return list.stage.send(target, p, c);
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

constexpr place with_packets(place at) noexcept {
  at.packets = true;
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
  RUNNEL_INLINE void operator()(const frame& f) noexcept {
    prefetch_to_read(f.data);
    last_ = f.timestamp;
    if (packet p = memory_->attach(f)) [[likely]]
      add(static_cast<packet&&>(p), f.length);
    else lose(f);
  }
  // With what an early verdict has found in it already.
  RUNNEL_INLINE void operator()(const frame& f, packed_layers found) noexcept {
    if (packet p = memory_->attach(f)) [[likely]] {
      p.layers(unpack_layers(found));
      add(static_cast<packet&&>(p), f.length);
    } else {
      lose(f);
    }
  }
  template <place At>
  void run_rest(context& c) noexcept {
    if (count_ != 0) run<with_packets(At)>(*list_, packets_, count_, length_, c);
  }
  [[nodiscard]] instant last() const noexcept { return last_; }
  // How many frames it took, those included for which there was no descriptor.
  [[nodiscard]] std::size_t taken() const noexcept { return count_ + lost_; }

 private:
  RUNNEL_INLINE void add(packet&& p, std::uint64_t length) noexcept {
    RUNNEL_ASSERT(count_ < room_ && "a device hands out more frames than it was asked for");
    length_ += length;
    ::new (static_cast<void*>(&packets_[count_++])) packet{static_cast<packet&&>(p)};
  }
  [[gnu::noinline]] void lose(const frame& f) noexcept {
    list_->counters.add(1, f.length);
    list_->counters.add(drop(drop_reason::no_packet));
    memory_->release(&f, 1);
    ++lost_;
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

// Hands frames to the first stage that is not an early verdict: as they are when it can do with frames.
template <place At, bool HaveLayers, class List>
RUNNEL_INLINE void run_after_early(List& list, frame* frames, const packed_layers* found, std::size_t n, pool& memory,
                                   context& c) noexcept {
  using stage = typename List::first_stage;
  if constexpr (stage::kind == stage_kind::end && !stage::wants_packet) {
    list.counters.add(n, sum_of_lengths(frames, n));
    list.stage.take_frames(frames, n, memory, list.counters, c);
  } else {
    handle_array<At.burst> packets;
    attacher<List> attach{list, memory, packets.data(), n};
    for (std::size_t i = 0; i < n; ++i) {
      if constexpr (HaveLayers) attach(frames[i], found[i]);
      else attach(frames[i]);
    }
    attach.template run_rest<At>(c);
  }
}

// A frame that leaves as a packet.
template <unsigned Steps, class List>
void settle_frame(List& list, const frame& f, verdict v, std::uint64_t length, pool& memory, context& c) noexcept {
  const unsigned decided = v.port >> 8;
  if (packet p = memory.attach(f); !p) {
    v = drop(drop_reason::no_packet);
    memory.release(&f, 1);
  } else if (v.code == verdict_code::tx) {
    v = settle(p, v, c);
  } else {
    v = send_redirected<Steps>(list, decided, v.port & 0xffu, p, c);
  }
  count_verdict<Steps>(list, decided, v, length);
}

// Frames in a row that do not go on, all for the same reason: released, sent back by their device, or sent to another
// one. `lengths` are those that they came with, null when no program could change them; `length` is their sum.
template <unsigned Steps, class List>
void settle_run(List& list, const frame* frames, std::size_t n, verdict v, const std::uint32_t* lengths,
                std::uint64_t length, pool& memory, context& c) noexcept {
  const unsigned decided = v.port >> 8;
  const auto length_of = [&](std::size_t i) { return lengths != nullptr ? lengths[i] : frames[i].length; };
  if (v.code == verdict_code::redirect || (v.code == verdict_code::tx && c.transmit_frames_back == nullptr)) {
    for (std::size_t i = 0; i < n; ++i) settle_frame<Steps>(list, frames[i], v, length_of(i), memory, c);
    return;
  }
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
[[gnu::noinline]] std::size_t settle_some_frames(List& list, frame* frames, packed_layers* found,
                                                 const verdict* outcomes, const std::uint32_t* lengths, std::size_t n,
                                                 pool& memory, context& c) noexcept {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n;) {
    if (outcomes[i].code == verdict_code::pass) {
      if (kept != i) {
        frames[kept] = frames[i];
        if (found != nullptr) found[kept] = found[i];
      }
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

template <place At, class List>
void run_frames(List& list, frame* frames, std::size_t n, pool& memory, context& c) noexcept {
  constexpr unsigned steps = early_length<List>();
  RUNNEL_ASSERT(n <= At.burst);
  if (n == 0) [[unlikely]]
    return;
  if (n > At.burst) __builtin_unreachable();
  if constexpr (steps == 0) {
    run_after_early<At, false>(list, frames, nullptr, n, memory, c);
  } else {
    using next_list = typename skip<List, steps>::type;
    using next_stage = typename next_list::first_stage;
    constexpr bool look = early_needs_layers<List, steps>();
    constexpr bool keep_layers = look && !(next_stage::kind == stage_kind::end && !next_stage::wants_packet);
    constexpr bool resizes = early_resizes<List, steps>();
    raw_array<packed_layers, keep_layers ? At.burst : 1> found;
    raw_array<verdict, At.burst> outcomes;
    std::uint32_t lengths[resizes ? At.burst : 1];  // as they were before a program resized the frame
    std::uint64_t length = 0;
    std::uint32_t different = 0;
    for (std::size_t i = 0; i < n; ++i) {
      frame& f = frames[i];
      found_layers l;
      if constexpr (look) l = dissect(f);
      if constexpr (resizes) lengths[i] = f.length;
      length += f.length;
      const verdict v = early_step<look, steps>(list, f, l, c);
      if constexpr (keep_layers) found[i] = l.packed;
      store(outcomes[i], v);
      different |= bits_of(v) ^ bits_of(outcomes[0]);
    }
    count_in<steps>(list, n, length);
    packed_layers* const layers_found = keep_layers ? found.data() : nullptr;
    const std::uint32_t* const lengths_before = resizes ? lengths : nullptr;
    if (different == 0 && outcomes[0].code != verdict_code::pass) {
      settle_run<steps>(list, frames, n, outcomes[0], lengths_before, length, memory, c);
      return;
    }
    if (different != 0) {
      n = settle_some_frames<At, steps>(list, frames, layers_found, outcomes.data(), lengths_before, n, memory, c);
      if (n == 0) return;
    }
    run_after_early<At, keep_layers>(skip<List, steps>::get(list), frames, layers_found, n, memory, c);
  }
}

}  // namespace runnel::detail

#endif
