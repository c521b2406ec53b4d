// SPDX-License-Identifier: MIT
// A connection table at a place between two hosts, for tests that read as conversations: each packet at its time, and
// what it is to its connection.
#ifndef RUNNEL_TESTS_TRACK_CONVERSATION_HPP
#define RUNNEL_TESTS_TRACK_CONVERSATION_HPP

#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include <doctest/doctest.h>

#include <flow/test_device.hpp>

#include <runnel/track.hpp>
#include <runnel/wire.hpp>

namespace runnel::test {

/// A table with memory of its own, which checks itself at the end.
class counted_table {
 public:
  explicit counted_table(const connection_config& c, const tracking_options& o = {})
      : size_(connection_table::bytes_needed(c)),
        memory_(new(std::align_val_t{connection_table::alignment}) std::byte[size_]),
        table_(std::make_unique<connection_table>(mutable_bytes{memory_, size_}, c, o)) {}
  counted_table(const counted_table&) = delete;
  counted_table& operator=(const counted_table&) = delete;
  ~counted_table() {
    CHECK(table_->check());
    table_->clear();
    CHECK(table_->size() == 0);
    CHECK(table_->check());
    ::operator delete[](memory_, std::align_val_t{connection_table::alignment});
  }
  connection_table& operator*() { return *table_; }
  connection_table* operator->() { return table_.get(); }

 private:
  std::size_t size_;
  std::byte* memory_;
  std::unique_ptr<connection_table> table_;
};

inline constexpr ipv4_address client{10, 0, 0, 1}, server{192, 0, 2, 1}, stranger{198, 51, 100, 1};
inline constexpr ipv6_address client6{0x2001'0db8'0000'0000, 1}, server6{0x2001'0db8'0000'0000, 2};

class conversation {
 public:
  // Inlined, GCC 12 for s390x takes a temporary of the table's constructor for one that is used too late.
  [[gnu::noinline]] explicit conversation(
      const tracking_options& o = {},
      const connection_config& c = {.connections = 64, .ipv6_connections = 8, .unconfirmed = 16, .seed = 7})
      : table(c, o), device_(pool_) {}

  /// Sends one packet at a time in milliseconds, and says what it was: "new", "established reply", "dropped", ...
  template <class... Headers>
  std::string at(std::int64_t ms, std::size_t payload, const Headers&... headers) {
    clock_.set(instant{} + milliseconds(ms));
    table->expire(clock_.now());
    device_.put(1, payload, clock_.now(), eth, headers...);
    said_ = "dropped";
    auto path = parse() | track(*table) |
                [this](packet& p) {
                  const connection_word w{p.connection()};
                  word = w;
                  said_ = name(w.state());
                  if (w.direction() == connection_direction::reply) said_ += " reply";
                  return blocked ? drop : pass;
                } |
                confirm(*table) | discard;
    runnel::run(clock_, attach(device_, path));
    CHECK(table->check());
    return said_;
  }
  /// TCP between client and server.
  std::string tcp_out(std::int64_t ms, const tcp_header& h, std::size_t payload = 0) {
    tcp_header t = h;
    t.source_port = 40000, t.destination_port = 80;
    return at(ms, payload, ipv4_header{.source = client, .destination = server}, t);
  }
  std::string tcp_in(std::int64_t ms, const tcp_header& h, std::size_t payload = 0) {
    tcp_header t = h;
    t.source_port = 80, t.destination_port = 40000;
    return at(ms, payload, ipv4_header{.source = server, .destination = client}, t);
  }
  /// UDP between them. @{
  std::string udp_out(std::int64_t ms, std::uint16_t port = 53) {
    return at(ms, 18, ipv4_header{.source = client, .destination = server},
              udp_header{.source_port = 1000, .destination_port = port});
  }
  std::string udp_in(std::int64_t ms, std::uint16_t port = 53) {
    return at(ms, 18, ipv4_header{.source = server, .destination = client},
              udp_header{.source_port = port, .destination_port = 1000});
  }
  /// @}
  /// The connection of the packet that was sent last.
  connection& its() {
    REQUIRE(word.has_connection());
    return (*table)[word.number()];
  }
  /// How many seconds it has left, rounded down.
  std::int64_t left() { return table->remaining(its(), clock_.now()).ns / 1'000'000'000; }
  [[nodiscard]] instant now() const { return clock_.now(); }

  counted_table table;
  connection_word word;
  bool blocked = false;  ///< packets are dropped between track() and confirm()

 private:
  counted_pool pool_{{.packets = 64, .bytes = 2048, .headroom = 64, .bare = 64}};
  test_device device_;
  manual_clock clock_;
  std::string said_;
};

}  // namespace runnel::test

#endif
