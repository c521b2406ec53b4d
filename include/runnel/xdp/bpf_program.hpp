// SPDX-License-Identifier: MIT
// An eBPF program that has not been loaded: its instructions, and the maps that it refers to.
#ifndef RUNNEL_XDP_BPF_PROGRAM_HPP
#define RUNNEL_XDP_BPF_PROGRAM_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint32_t

#include <runnel/config.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/xdp/instruction.hpp>

namespace runnel::bpf {

/// What a map is; the numbers are the kernel's (BPF_MAP_TYPE_*).
enum class map_kind : std::uint32_t {
  hash = 1,           ///< any key; entries come and go
  array = 2,          ///< the key is a 32-bit number below `entries`; all are there, zero at first
  per_cpu_array = 6,  ///< the same with a value for each processor, which programs change without atomics
  lpm_trie = 11,      ///< the key is a 32-bit prefix length and the address; the longest prefix is found
  dev_map = 14,       ///< the key is a 32-bit number, the value the index of an interface
  xsk_map = 17,       ///< the key is a 32-bit number, the value the descriptor of an AF_XDP socket
};

/// How large a map is.
struct map_config {
  map_kind kind = map_kind::array;  ///< what it is
  std::uint32_t key_bytes = 4;      ///< of an lpm_trie 4 and the address
  std::uint32_t value_bytes = 4;    ///< of one processor, for per-CPU kinds
  std::uint32_t entries = 1;        ///< at most
  const char* name = "runnel";      ///< for `bpftool map`; 15 characters are kept
};

/// What a program uses a map for.
enum class map_use : std::uint8_t {
  set,       ///< a set that rules ask
  counters,  ///< a `rule_counter` for each rule; the last is for packets that none decided about
  devices,   ///< interfaces, for redirect(n)
  sockets,   ///< AF_XDP sockets, one for each receive queue
};

/// A map to be made when the program is loaded.
struct map_description {
  /// Its kind and size. The name must outlive the program.
  map_config config{};
  /// What the program does with it.
  map_use use = map_use::set;
  /// The set that fills it, which must outlive what uses the map; of no meaning for the other uses.
  match::set_reference set{};
};

/// Instructions with their maps, to be loaded as often as one likes. About 35 KB; copies refer to the same sets.
/// Instructions name a map by its place in the list (`map_by_idx`): the loader puts a file descriptor there.
class program {
 public:
  /// The most that fits: as many instructions as the kernel takes from everybody. Maps beyond 32 are an error of who
  /// makes the program. @{
  static constexpr std::size_t max_instructions = 4096;
  static constexpr std::size_t max_maps = 32;
  /// @}

  /// Its instructions. @{
  [[nodiscard]] constexpr const instruction* instructions() const noexcept { return instructions_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr const instruction& operator[](std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < size_);
    return instructions_[i];
  }
  /// @}
  /// Its maps. @{
  [[nodiscard]] constexpr std::size_t map_count() const noexcept { return map_count_; }
  [[nodiscard]] constexpr const map_description& map(std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < map_count_);
    return maps_[i];
  }
  /// @}
  /// The place of the first map for a use other than `set`; `map_count()` when there is none.
  [[nodiscard]] constexpr std::size_t find(map_use use) const noexcept {
    std::size_t i = 0;
    while (i < map_count_ && maps_[i].use != use) ++i;
    return i;
  }
  /// The place of the map of a set; `map_count()` when the program does not ask it.
  [[nodiscard]] constexpr std::size_t find(const void* set) const noexcept {
    std::size_t i = 0;
    while (i < map_count_ && (maps_[i].use != map_use::set || maps_[i].set.set != set)) ++i;
    return i;
  }
  /// Whether it takes packets that lie in several buffers, of which it reads the first: to be loaded as one that does
  /// (BPF_F_XDP_HAS_FRAGS, Linux 5.18).
  [[nodiscard]] constexpr bool has_frags() const noexcept { return has_frags_; }
  /// How many rules it was made of, each with a counter; 0 when it does not count.
  [[nodiscard]] constexpr std::size_t rule_count() const noexcept {
    const std::size_t i = find(map_use::counters);
    return i == map_count_ ? 0 : maps_[i].config.entries - std::size_t{1};
  }

 private:
  friend class assembler;

  instruction instructions_[max_instructions]{};
  std::size_t size_ = 0;
  map_description maps_[max_maps]{};
  std::size_t map_count_ = 0;
  bool has_frags_ = false;
};

}  // namespace runnel::bpf

#endif
