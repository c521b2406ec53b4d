// SPDX-License-Identifier: MIT
// A packet: an owning, move-only handle of eight bytes to a descriptor and the bytes that it describes. The
// operations are sk_buff's. Include packet.hpp, which has those of them that touch more than one descriptor.
#ifndef RUNNEL_PACKET_PACKET_HANDLE_HPP
#define RUNNEL_PACKET_PACKET_HANDLE_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/packet/descriptor.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel {

namespace detail {
struct fast_tracker;
}

/// An owning handle to a packet. Destroying it returns slot and descriptor to their pool, whoever holds it. An empty
/// handle (`!p`) owns nothing; calling anything but `operator bool` and assignment on it is a programming error.
///
/// A packet whose bytes are shared (`clone`) is read-only until `unshare`. A packet may go on in further
/// *fragments*: `length()` and `data()` speak of the first, `total_length()` of all.
class packet {
 public:
  constexpr packet() noexcept = default;
  packet(const packet&) = delete;  // a packet is not copied: write clone() to share its bytes, copy() to copy them
  packet& operator=(const packet&) =
      delete;  // a packet is not copied: write clone() to share its bytes, copy() to copy them
  /// Takes the packet over: the other handle is empty then.
  constexpr packet(packet&& other) noexcept : d_(other.d_) { other.d_ = nullptr; }
  /// Releases its own packet, and takes the other one over.
  packet& operator=(packet&& other) noexcept {
    detail::descriptor* theirs = other.d_;
    other.d_ = nullptr;  // first, so that moving a packet onto itself changes nothing
    if (d_ != nullptr) pool::release_chain(d_);
    d_ = theirs;
    return *this;
  }
  ~packet() {
    if (d_ != nullptr) pool::release_chain(d_);
  }
  /// Whether there is a packet.
  [[nodiscard]] explicit operator bool() const noexcept { return d_ != nullptr; }
  /// Gives the packet back now.
  void reset() noexcept { packet{static_cast<packet&&>(*this)}; }

  // ---- the bytes of the first fragment

  /// The first byte, to read.
  [[nodiscard]] const std::byte* data() const noexcept { return d_->data; }
  /// Bytes in this packet, without what is chained to it.
  [[nodiscard]] std::uint32_t length() const noexcept { return d_->length; }
  /// Bytes before the data that belong to it.
  [[nodiscard]] std::size_t headroom() const noexcept { return d_->headroom; }
  /// Bytes behind the data that belong to it.
  [[nodiscard]] std::size_t tailroom() const noexcept { return d_->tailroom; }
  /// Where offsets of `layers()` count from.
  [[nodiscard]] const std::byte* head() const noexcept { return d_->data - d_->headroom; }
  /// The bytes, to read.
  [[nodiscard]] bytes contents() const noexcept { return {d_->data, d_->length}; }
  /// The bytes to write to. They must not be shared (RUNNEL_ASSERT): call `unshare()` first.
  [[nodiscard]] mutable_bytes writable() noexcept {
    RUNNEL_ASSERT(!is_shared());
    return {d_->data, d_->length};
  }

  /// Grows the packet by `n` bytes at the front and returns the first of them, uninitialised. Null, and nothing
  /// changed, when the headroom is smaller or the bytes are shared.
  [[nodiscard]] std::byte* push(std::size_t n) noexcept {
    if (n > d_->headroom || is_shared()) return nullptr;
    d_->headroom = static_cast<std::uint16_t>(d_->headroom - n);
    d_->length += static_cast<std::uint32_t>(n);
    return d_->data -= n;
  }
  /// Takes `n` bytes off the front. False, and nothing changed, when the first fragment is shorter, or when the
  /// headroom would exceed 65535 bytes.
  [[nodiscard]] bool pull(std::size_t n) noexcept {
    if (n > d_->length || d_->headroom + n > 0xffff) return false;
    d_->headroom = static_cast<std::uint16_t>(d_->headroom + n);
    d_->length -= static_cast<std::uint32_t>(n);
    d_->data += n;
    return true;
  }
  /// Grows the packet by `n` bytes at the end of its first fragment and returns the first of them, uninitialised.
  /// Null, and nothing changed, when the tailroom is smaller, the bytes are shared, or more fragments follow.
  [[nodiscard]] std::byte* put(std::size_t n) noexcept {
    if (n > d_->tailroom || is_chained() || is_shared()) return nullptr;
    std::byte* end = d_->data + d_->length;
    d_->tailroom = static_cast<std::uint16_t>(d_->tailroom - n);
    d_->length += static_cast<std::uint32_t>(n);
    return end;
  }
  /// Appends a copy of `from`. False, and nothing changed, where `put` would return null.
  [[nodiscard]] bool append(bytes from) noexcept {
    std::byte* to = put(from.size());
    if (to == nullptr) return false;
    copy_bytes(to, from.data(), from.size());
    return true;
  }
  /// Shortens the packet to `n` bytes in all its fragments together; fragments behind are released. False, and
  /// nothing changed, when it is shorter already.
  [[nodiscard]] bool trim(std::size_t n) noexcept;
  /// Moves the beginning of an empty packet `n` bytes further into its room. False when it is not empty or there is
  /// no such room.
  [[nodiscard]] bool reserve(std::size_t n) noexcept {
    if (d_->length != 0 || n > d_->tailroom || d_->headroom + n > 0xffff) return false;
    d_->data += n;
    d_->headroom = static_cast<std::uint16_t>(d_->headroom + n);
    d_->tailroom = static_cast<std::uint16_t>(d_->tailroom - n);
    return true;
  }

  // ---- sharing and copying

  /// Whether somebody else sees the same bytes.
  [[nodiscard]] bool is_shared() const noexcept {
    return (d_->special & (detail::maybe_shared | detail::is_clone)) != 0 && is_shared_slow();
  }
  /// A second packet over the same bytes, with a copy of what is known about them, fragments included. Costs a
  /// descriptor for each fragment and copies no byte. Both are read-only until one of them is `unshare`d or gone.
  /// An empty handle when no bare descriptor is left, or when the packet came from another thread. Bytes lent by a
  /// device stay lent, and count as shared from then on until `unshare` or `keep` copies them.
  [[nodiscard]] packet clone() noexcept;
  /// A packet with a copy of the bytes, linear, with what is known about the packet, and with the pool's headroom, or
  /// what the bytes leave of it when they need more than the room behind it. An empty handle when the pool has no slot
  /// left (counted in its `exhausted()`), or the packet is longer than a whole one.
  [[nodiscard]] packet copy() const noexcept { return copy(pool::of(d_)); }
  /// The same from another pool.
  [[nodiscard]] packet copy(pool& to) const noexcept;
  /// Makes the bytes this packet's own, by copying them when they, or those of a fragment, are shared: to one slot
  /// if they fit, else to a chain of slots. False, and nothing changed, when the pool has not enough of them left.
  [[nodiscard]] bool unshare() noexcept {
    if (!any_shared()) [[likely]]
      return true;
    return become(copy_to_slots());
  }
  /// Keeps the packet beyond the burst: bytes that a device only lent are copied, to one slot if they fit, else to a
  /// chain of slots. False, and nothing changed, when the pool has not enough of them left. Whoever stores a packet
  /// calls it.
  [[nodiscard]] bool keep() noexcept {
    if (!any_lent()) [[likely]]
      return true;
    return become(copy_to_slots());
  }
  /// Whether the bytes, or those of a fragment, are lent by a device.
  [[nodiscard]] bool is_lent() const noexcept { return any_lent(); }

  // ---- fragments

  /// Whether other packets are chained to it.
  [[nodiscard]] bool is_chained() const noexcept { return (d_->special & detail::is_chained) != 0; }
  /// Bytes of all fragments together.
  [[nodiscard]] std::size_t total_length() const noexcept { return is_chained() ? total_length_slow() : d_->length; }
  /// Hangs another packet's bytes behind this one's; what was known about `tail` is forgotten. Both must come from
  /// one pool, and be two: false, and nothing changed, when they do not, or `tail` is empty. Costs a walk over the
  /// fragments that are there.
  [[nodiscard]] bool append(packet&& tail) noexcept;
  /// Moves all bytes into one fragment. False, and nothing changed, when they do not fit a slot or none is left.
  [[nodiscard]] bool linearize() noexcept {
    if (!is_chained()) [[likely]]
      return true;
    return become(copy());
  }
  /// Calls `f(bytes)` for each fragment in turn.
  template <class F>
  void for_each_fragment(F f) const {
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d)) f(bytes{d->data, d->length});
  }

  // ---- what is known about it

  /// What `parse` found.
  [[nodiscard]] const runnel::layers& layers() const noexcept { return d_->layers; }
  /// Sets what `parse` found.
  void layers(const runnel::layers& l) noexcept { detail::store_whole(d_->layers, l); }
  /// When it was received, by the clock of its device.
  [[nodiscard]] instant timestamp() const noexcept { return d_->timestamp; }
  /// Sets the time.
  void timestamp(instant t) noexcept { d_->timestamp = t; }
  /// The flow hash, if the device or a stage computed one.
  [[nodiscard]] std::uint32_t flow_hash() const noexcept { return d_->hash; }
  /// Sets the flow hash.
  void flow_hash(std::uint32_t v) noexcept { d_->hash = v; }
  /// A number for the user's own purposes, as the kernel's mark; 0 at first.
  [[nodiscard]] std::uint32_t mark() const noexcept { return d_->mark; }
  /// Sets the mark.
  void mark(std::uint32_t v) noexcept { d_->mark = v; }
  /// A class of service of the user's own; 0 at first.
  [[nodiscard]] std::uint8_t priority() const noexcept { return d_->priority; }
  /// Sets the priority.
  void priority(std::uint8_t v) noexcept { d_->priority = v; }
  /// By which interface of its device it came in.
  [[nodiscard]] std::uint16_t iif() const noexcept { return d_->iif; }
  /// Sets the interface.
  void iif(std::uint16_t v) noexcept { d_->iif = v; }
  /// By which receive queue it came in; 0 when a device lends its bytes.
  [[nodiscard]] std::uint8_t queue() const noexcept {
    return (d_->special & detail::is_lent) != 0 ? std::uint8_t{0} : d_->lender_or_queue;
  }
  /// What `track()` says of it, as a `connection_word`: its state, its direction, and the number of its connection. 0
  /// when never tracked.
  [[nodiscard]] std::uint32_t connection() const noexcept { return d_->connection; }
  /// Sets the connection.
  void connection(std::uint32_t v) noexcept { d_->connection = v; }
  /// Four bytes for the stage that holds the packet; the next stage may overwrite them.
  [[nodiscard]] std::uint32_t scratch() const noexcept { return d_->scratch; }
  /// Sets the scratch value.
  void scratch(std::uint32_t v) noexcept { d_->scratch = v; }
  /// What is known of the transport checksum.
  [[nodiscard]] checksum_status checksum() const noexcept { return static_cast<checksum_status>(d_->status & 3u); }
  /// Sets what is known of the transport checksum.
  void checksum(checksum_status s) noexcept {
    d_->status = static_cast<std::uint8_t>((d_->status & ~3u) | static_cast<std::uint8_t>(s));
  }
  /// Payload bytes of each segment that this packet stands for; 0 when it is a single one.
  [[nodiscard]] std::uint16_t segment_size() const noexcept {
    return (d_->status & detail::is_missing) != 0 ? std::uint16_t{0} : d_->segment_size;
  }
  /// Sets the segment size.
  void segment_size(std::uint16_t v) noexcept {
    d_->segment_size = v;
    d_->status &= static_cast<std::uint8_t>(~detail::is_missing);
  }
  /// Bytes that a capture's snap length cut off its end; 65535 is "that many or more".
  [[nodiscard]] std::uint16_t missing() const noexcept {
    return (d_->status & detail::is_missing) != 0 ? d_->segment_size : std::uint16_t{0};
  }
  /// Sets how many bytes are missing.
  void missing(std::uint16_t v) noexcept {
    d_->segment_size = v;
    d_->status = static_cast<std::uint8_t>(v != 0 ? d_->status | detail::is_missing : d_->status & ~detail::is_missing);
  }
  /// Whether `trace` follows this packet.
  [[nodiscard]] bool traced() const noexcept { return (d_->status & 8u) != 0; }
  /// Sets whether `trace` follows it.
  void traced(bool on) noexcept { d_->status = static_cast<std::uint8_t>(on ? d_->status | 8u : d_->status & ~8u); }
  /// Whether it is a copy that another thread has given to all (`handoff::copy_to_others`), and has answered if need
  /// be.
  [[nodiscard]] bool is_told() const noexcept { return (d_->status & detail::is_told) != 0; }
  /// The pool that it goes back to.
  [[nodiscard]] pool& home() const noexcept { return pool::of(d_); }

  // ---- crossing to another thread, and back to a device

  /// Says that the packet goes to another thread: from then on it comes home by the pool's lock-free list, and
  /// neither clones nor copies to a slot of that pool. A shared or lent packet is copied first, as by `unshare`.
  /// False, and nothing changed, when that fails.
  [[nodiscard]] bool send_away() noexcept;
  /// Takes `send_away` back: the packet is on its pool's thread again, and as any other there. For those who know that,
  /// as a device that takes slots from that pool itself.
  void come_home() noexcept {
    for (detail::descriptor* d = d_; d != nullptr; d = following(d))
      d->special &= static_cast<std::uint8_t>(~detail::is_away);
  }
  /// Whether it was sent to another thread, and nobody has said that it is home again.
  [[nodiscard]] bool is_away() const noexcept { return (d_->special & detail::is_away) != 0; }
  /// Gives up the packet and keeps its slot, as a frame for a device to put on a ring. The packet must be alone on a
  /// slot, linear, and on its pool's thread (`is_plain()`, asserted).
  [[nodiscard]] frame detach() noexcept;
  /// Whether the packet is one fragment, alone on a slot of its pool, and on its pool's thread.
  [[nodiscard]] bool is_plain() const noexcept { return d_->special == 0 || is_plain_slow(); }

 private:
  friend class pool;
  friend class handoff;
  friend struct detail::fast_tracker;
  constexpr explicit packet(detail::descriptor* d) noexcept : d_(d) {}

  // How it looked when it came to `fast_path`: known as long as it is not copied or chained.
  RUNNEL_INLINE void note_look(std::uint32_t v) noexcept {
    if (is_chained()) return;
    d_->next = v;
    d_->status |= detail::has_look;
  }
  [[nodiscard]] bool looked(std::uint32_t v) const noexcept {
    return (d_->status & detail::has_look) != 0 && d_->next == v;
  }

  static const detail::descriptor* following(const detail::descriptor* d) noexcept {
    if ((d->special & detail::is_chained) == 0) return nullptr;
    return d - d->index + d->next;
  }
  static detail::descriptor* following(detail::descriptor* d) noexcept {
    return const_cast<detail::descriptor*>(following(static_cast<const detail::descriptor*>(d)));
  }
  [[nodiscard, gnu::noinline]] bool is_shared_slow() const noexcept { return shared(d_); }
  static bool shared(const detail::descriptor* d) noexcept {
    const pool& home = pool::of(const_cast<detail::descriptor*>(d));
    const bool own = d->index < home.packets_;
    if ((d->special & (detail::maybe_shared | detail::is_clone)) == 0) return false;
    if ((d->special & detail::is_lent) != 0) return true;
    return home.refs_[own ? d->index : home.slot_of(d->data - d->headroom)] > 1;
  }
  [[nodiscard]] bool is_plain_slow() const noexcept {
    return (d_->special & (detail::is_lent | detail::is_chained | detail::is_away)) == 0 && !shared(d_);
  }
  [[nodiscard]] bool any_shared() const noexcept {
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d))
      if (shared(d)) return true;
    return false;
  }
  [[nodiscard]] bool any_lent() const noexcept {
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d))
      if ((d->special & detail::is_lent) != 0) return true;
    return false;
  }
  [[nodiscard, gnu::noinline, gnu::cold, gnu::pure]] std::size_t total_length_slow() const noexcept {
    std::size_t sum = 0;
    for (const detail::descriptor* d = d_; d != nullptr; d = following(d)) sum += d->length;
    return sum;
  }
  // Hangs what `tail` owns behind `last`, which has nothing behind it, and returns its first descriptor.
  static detail::descriptor* link(detail::descriptor* last, packet& tail) noexcept {
    last->next = tail.d_->index;
    last->special |= detail::is_chained;
    last->status &= static_cast<std::uint8_t>(~detail::has_look);
    last = tail.d_;
    tail.d_ = nullptr;
    return last;
  }
  bool become(packet&& other) noexcept {
    if (!other) return false;
    *this = static_cast<packet&&>(other);
    return true;
  }
  // What is known about a packet, from one descriptor to another on a slot of its pool; not where its bytes are.
  static void copy_knowledge(detail::descriptor* to, const detail::descriptor* from) noexcept {
    to->timestamp = from->timestamp;
    to->hash = from->hash;
    to->mark = from->mark;
    to->connection = from->connection;
    to->scratch = from->scratch;
    to->layers = from->layers;
    to->iif = from->iif;
    to->segment_size = from->segment_size;
    to->priority = from->priority;
    to->lender_or_queue = (from->special & detail::is_lent) != 0 ? std::uint8_t{0} : from->lender_or_queue;
    to->status = static_cast<std::uint8_t>(from->status & ~detail::has_look);
  }
  // The same for a copy whose bytes begin elsewhere: offsets of layers count from the head, and the two heads may lie
  // differently before the data.
  static void copy_shifted_knowledge(detail::descriptor* to, const detail::descriptor* from) noexcept {
    copy_knowledge(to, from);
    runnel::layers& l = to->layers;
    if (!l.has(protocol::parsed) && l.fault == drop_reason::none) return;
    const int shift = static_cast<int>(to->headroom) - static_cast<int>(from->headroom);
    l.network = static_cast<std::uint16_t>(l.network + shift);
    l.transport = static_cast<std::uint16_t>(l.transport + shift);
  }
  [[nodiscard]] packet copy_to_slots() const noexcept;
  static detail::descriptor* clone_one(pool& home, detail::descriptor* d) noexcept;

  detail::descriptor* d_ = nullptr;
};
static_assert(sizeof(packet) == sizeof(void*));

}  // namespace runnel

#endif
