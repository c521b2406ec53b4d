// SPDX-License-Identifier: MIT
// A device for tests of pipelines: hands out the frames that a test has put on it, and remembers what was sent. Every
// frame carries a number in its last two bytes, so that a test can write down which packets it expects where.
#ifndef RUNNEL_TESTS_FLOW_TEST_DEVICE_HPP
#define RUNNEL_TESTS_FLOW_TEST_DEVICE_HPP

#include <cstddef>
#include <cstdint>
#include <deque>
#include <ostream>
#include <string>
#include <vector>

#include <packet/counted_pool.hpp>

#include <runnel/base/endian.hpp>
#include <runnel/flow.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

namespace runnel::test {

inline constexpr ethernet_header eth{.source = {{2, 0, 0, 0, 0, 1}}, .destination = {{2, 0, 0, 0, 0, 2}}};

/// Some numbers, for comparisons with a text: `CHECK(seen == "1 2 3")`.
class numbers {
 public:
  void add(unsigned n) {
    if (!text_.empty()) text_ += ' ';
    text_ += std::to_string(n);
    ++count_;
  }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  void clear() { text_.clear(), count_ = 0; }
  friend bool operator==(const numbers& a, const char* b) { return a.text_ == b; }
  friend bool operator==(const numbers& a, const numbers& b) { return a.text_ == b.text_; }
  friend std::ostream& operator<<(std::ostream& out, const numbers& n) { return out << '"' << n.text_ << '"'; }

 private:
  std::string text_;
  std::size_t count_ = 0;
};

[[nodiscard]] inline unsigned number_of(bytes b) { return load_be16(b.data() + b.size() - 2); }
[[nodiscard]] inline unsigned number_of(const packet& p) { return number_of(p.contents()); }
[[nodiscard]] inline unsigned number_of(const frame& f) { return number_of(bytes{f.data, f.length}); }

class test_device {
 public:
  explicit test_device(pool& memory) : memory_(&memory) {}
  test_device(const test_device&) = delete;
  test_device& operator=(const test_device&) = delete;
  ~test_device() {
    if (lender_ != 0) memory_->remove_lender(lender_);
  }

  /// Puts a frame with number `n` and `payload` bytes behind its headers on the wire. It comes at `when`.
  template <class... Headers>
  void put(unsigned n, std::size_t payload, instant when, const Headers&... headers) {
    waiting_frame w{std::vector<std::byte>(size_of_headers(headers...) + payload), when};
    store_be16(w.bytes.data() + w.bytes.size() - 2, static_cast<std::uint16_t>(n));
    REQUIRE(write_headers({w.bytes.data(), w.bytes.size()}, headers...));
    waiting_.push_back(std::move(w));
  }
  void udp(unsigned n, std::uint16_t dport = 7, std::uint8_t ttl = 64) {
    put(n, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}, .ttl = ttl},
        udp_header{.source_port = 1000, .destination_port = dport});
  }
  void tcp(unsigned n, std::uint16_t dport = 80) {
    put(n, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}},
        tcp_header{.source_port = 1000, .destination_port = dport});
  }
  void udp6(unsigned n) {
    put(n, 18, {}, eth, ipv6_header{.source = {0x2001'0db8'0000'0000, 1}, .destination = {0x2001'0db8'0000'0000, 2}},
        udp_header{.source_port = 1000, .destination_port = 7});
  }
  void icmp(unsigned n) {
    put(n, 18, {}, eth, ipv4_header{.source = {10, 0, 0, 1}, .destination = {192, 0, 2, 1}},
        icmp_header{.identifier = 1, .sequence_number = 2});
  }
  /// Ethernet with a type that nothing knows.
  void unknown(unsigned n) {
    ethernet_header h = eth;
    h.type = 0x88b5;
    put(n, 46, {}, h);
  }
  /// An IPv4 header that says version 5.
  void broken(unsigned n) {
    udp(n);
    waiting_.back().bytes[14] = std::byte{0x55};
  }
  /// `how_many` UDP frames, numbered from `first`.
  void several(unsigned first, unsigned how_many) {
    for (unsigned i = 0; i < how_many; ++i) udp(first + i);
  }

  /// From now on frames are windows onto the device's own bytes.
  void lend_bytes() {
    lender_ = memory_->add_lender();
    REQUIRE(lender_ != 0);
  }
  void transmits_at_most(std::size_t n) { room_ = n; }

  pool& memory() { return *memory_; }
  template <class Take>
  std::size_t receive(std::size_t room, instant, Take&& take) {
    if (lender_ != 0 && memory_->lent(lender_) != 0) return 0;
    lent_.clear();
    std::size_t n = 0;
    for (; n < room && !waiting_.empty(); ++n) {
      waiting_frame w = std::move(waiting_.front());
      frame f;
      if (lender_ == 0) {
        f = memory_->allocate_frame();
        if (f.slot == no_slot) break;
        copy_bytes(f.put(w.bytes.size()), w.bytes.data(), w.bytes.size());
      } else {
        lent_.push_back(std::move(w.bytes));
        f.data = lent_.back().data();
        f.length = static_cast<std::uint32_t>(lent_.back().size());
        f.lender = lender_;
        memory_->lend(lender_, 1);
      }
      f.timestamp = w.when;
      waiting_.pop_front();
      take(f);
    }
    if (n != 0) bursts.add(static_cast<unsigned>(n));
    return n;
  }
  bool done() { return waiting_.empty(); }
  std::size_t transmit(packet* packets, std::size_t n, instant) {
    ++calls;
    std::size_t i = 0;
    for (; i < n && sent.count() < room_ && number_of(packets[i]) != refuses; ++i) {
      sent.add(number_of(packets[i]));
      packets[i].reset();
    }
    return i;
  }

  numbers sent;            ///< what was transmitted
  unsigned calls = 0;      ///< in how many calls
  unsigned refuses = ~0u;  ///< the number of a packet that finds no room
  numbers bursts;          ///< the sizes of what was received

 private:
  struct waiting_frame {
    std::vector<std::byte> bytes;
    instant when;
  };
  pool* memory_;
  std::deque<waiting_frame> waiting_;
  std::deque<std::vector<std::byte>> lent_;
  std::uint8_t lender_ = 0;
  std::size_t room_ = ~std::size_t{0};
};

/// An end that writes down what arrives.
[[nodiscard]] inline auto note(numbers& seen) {
  return deliver([&seen](packet p) { seen.add(number_of(p)); });
}

template <unsigned Index, class List>
[[nodiscard]] const auto& list_at(const List& list) {
  if constexpr (Index == 0) return list;
  else return list_at<Index - 1>(list.rest);
}
/// The counters of the stage at place `Index` of a pipeline.
template <unsigned Index, class Pipeline>
[[nodiscard]] const stage_counters& counters_of(const Pipeline& p) {
  return list_at<Index>(p.stages()).counters;
}

}  // namespace runnel::test

#endif
