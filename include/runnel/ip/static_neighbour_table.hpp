// SPDX-License-Identifier: MIT
// A neighbour table with memory of its own: for microcontrollers, and for static storage.
#ifndef RUNNEL_IP_STATIC_NEIGHBOUR_TABLE_HPP
#define RUNNEL_IP_STATIC_NEIGHBOUR_TABLE_HPP

#include <cstddef>  // byte
#include <cstdint>  // uint16_t, uint64_t
#include <utility>  // forward

#include <runnel/flow/loop.hpp>
#include <runnel/ip/interfaces.hpp>
#include <runnel/ip/neighbour.hpp>
#include <runnel/ip/neighbour_table.hpp>
#include <runnel/packet/pool.hpp>

namespace runnel {

/// A table in memory of its own, of a size known at compile time.
template <neighbour_config Config>
class static_neighbour_table {
 public:
  /// An empty table; see `neighbour_table`. `seed` from a random source.
  static_neighbour_table(pool& packets, ip_interface& link, std::uint64_t seed = Config.seed,
                         const neighbour_options& o = {}) noexcept
      : table_({memory_, sizeof memory_}, seeded(seed), packets, link, o) {}
  /// The table. @{
  constexpr operator neighbour_table&() & noexcept { return table_; }
  [[nodiscard]] constexpr neighbour_table& get() noexcept { return table_; }
  [[nodiscard]] constexpr neighbour_table* operator->() noexcept { return &table_; }
  /// @}

 private:
  static constexpr neighbour_config seeded(std::uint64_t seed) noexcept {
    neighbour_config c = Config;
    c.seed = seed;
    return c;
  }
  alignas(neighbour_table::alignment) std::byte memory_[neighbour_table::bytes_needed(Config)];
  neighbour_table table_;
};

/// Joins the table in it to what sends: `run(time, attach(wan, path), attach(neighbours, transmit(wan)))`.
template <std::uint16_t Burst = default_burst, neighbour_config Config, class Pipeline>
[[nodiscard]] constexpr auto attach(static_neighbour_table<Config>& neighbours, Pipeline&& path,
                                    attach_options options = {}) noexcept {
  return attach<Burst>(neighbours.get(), std::forward<Pipeline>(path), options);
}

}  // namespace runnel

#endif
