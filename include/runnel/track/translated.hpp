// SPDX-License-Identifier: MIT
// What NAT knows and changes of connections that others do not. Nothing here is for users: see nat_table.hpp.
#ifndef RUNNEL_TRACK_TRANSLATED_HPP
#define RUNNEL_TRACK_TRANSLATED_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/time.hpp>
#include <runnel/config.hpp>
#include <runnel/track/connection_table.hpp>

namespace runnel {

namespace detail {

// What NAT does with the private parts of connections.
struct translated {
  static constexpr std::uint16_t maps_source = connection::maps_source, maps_destination = connection::maps_destination;
  static std::uint16_t bits(const connection& c) noexcept { return c.bits(); }
  static bool is_ipv4(const connection& c) noexcept { return (c.bits() & connection::is_ipv6) == 0; }
  RUNNEL_INLINE static tuple_end leaving4(const connection_table& t, const connection& c, connection_direction d,
                                          bool source) noexcept {
    return t.leaving4(c, d, source);
  }
  RUNNEL_INLINE static connection_tuple reply4(const connection_table& t, const connection& c) noexcept {
    return t.index_.tuple4_at(c.reply_, c.reply_ == c.original_);
  }
  static void set(connection& c, std::uint16_t bits) noexcept { c.bits() |= bits; }
  // Another connection has its reply tuple.
  static bool clashes(const connection& c) noexcept {
    return (c.bits() & (connection::one_way | connection_status::confirmed)) == connection::one_way;
  }
  // Whether it does not count, and its tuple may be had.
  static bool is_abandoned(const connection_table& t, std::uint32_t number) noexcept {
    return t.is_abandoned(t.records_[number]);
  }
  // In ticks: the latest time that the table has been told.
  static std::uint64_t now(const connection_table& t) noexcept { return t.now_; }
  using unmap = void (*)(void*, const connection&);
  using unadjust = std::uint32_t (*)(void*, const connection&, unsigned, std::uint32_t);
  static void attach(connection_table& t, unmap f, unadjust g, void* context) noexcept {
    RUNNEL_ASSERT(f == nullptr || t.unmap_ == nullptr);  // a connection table has one NAT table
    t.unmap_ = f;
    t.unadjust_ = g;
    t.unmap_context_ = context;
  }
  static void forget_mappings(connection_table& t) noexcept {
    for (std::uint32_t i = 0; i < t.fresh_; ++i) {
      connection& c = t.records_[i];
      if ((c.bits() & connection::maps_destination) != 0) c.tcp_state_ |= connection::had_mapping;
      c.bits() &= static_cast<std::uint16_t>(~unsigned{connection::has_mapping});
    }
  }
  // Whether its destination was a mapping, before an import or in a table that is gone. The second one says so once. @{
  static bool had_mapping(const connection& c) noexcept { return (c.tcp_state_ & connection::had_mapping) != 0; }
  static bool take_had_mapping(connection& c) noexcept {
    const bool had = had_mapping(c);
    c.tcp_state_ &= static_cast<std::uint8_t>(~unsigned{connection::had_mapping});
    return had;
  }
  // @}
  static void expect(connection_table& t, const connection& master, const connection_tuple& to,
                     const connection_tuple& reply, duration d, instant now) noexcept {
    t.expect_ticks({.tuple = to, .translated = true, .only = true, .reply = reply}, master, ticks_in(d),
                   static_cast<std::uint32_t>(ticks_at(now)));
  }
  static bool is_awaited(const connection_table& t, const connection& master, const connection_tuple& to,
                         instant now) noexcept {
    return t.expectations_.awaits(to, t.number_of(master), static_cast<std::uint32_t>(ticks_at(now)),
                                  t.whose_master_lives());
  }
};

}  // namespace detail

}  // namespace runnel

#endif
