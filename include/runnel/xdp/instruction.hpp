// SPDX-License-Identifier: MIT
// eBPF instructions as plain values, in the bytes that the kernel loads. RFC 9669.
#ifndef RUNNEL_XDP_INSTRUCTION_HPP
#define RUNNEL_XDP_INSTRUCTION_HPP

#include <cstdint>  // uint8_t, int16_t, int32_t

#include <runnel/base/endian.hpp>

/// eBPF programs: instructions, an assembler, and the translation of match expressions into them. Needs no operating
/// system; <runnel/device/bpf.hpp> hands programs to the kernel.
namespace runnel::bpf {

/// A register. RFC 9669 §2.1: r0 is what is returned, r1 to r5 are arguments, r6 to r9 survive a call, r10 is the end
/// of the stack and cannot be written.
enum class reg : std::uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 };

/// The registers by name. @{
inline constexpr reg r0 = reg::r0;
inline constexpr reg r1 = reg::r1;
inline constexpr reg r2 = reg::r2;
inline constexpr reg r3 = reg::r3;
inline constexpr reg r4 = reg::r4;
inline constexpr reg r5 = reg::r5;
inline constexpr reg r6 = reg::r6;
inline constexpr reg r7 = reg::r7;
inline constexpr reg r8 = reg::r8;
inline constexpr reg r9 = reg::r9;
inline constexpr reg r10 = reg::r10;
/// @}

/// The lowest three bits of an opcode. RFC 9669 §3.1.
enum class op_class : std::uint8_t { ld, ldx, st, stx, alu, jmp, jmp32, alu64 };

/// How many bytes a load or store moves. RFC 9669 §5.
enum class width : std::uint8_t {
  w = 0x00,   ///< 4 bytes
  h = 0x08,   ///< 2 bytes
  b = 0x10,   ///< 1 byte
  dw = 0x18,  ///< 8 bytes
};

/// Arithmetic. RFC 9669 §4.1.
enum class alu_op : std::uint8_t {
  add = 0x00,
  sub = 0x10,
  mul = 0x20,
  div = 0x30,
  or_ = 0x40,
  and_ = 0x50,
  lsh = 0x60,
  rsh = 0x70,
  neg = 0x80,
  mod = 0x90,
  xor_ = 0xa0,
  mov = 0xb0,
  arsh = 0xc0,  ///< shift that keeps the sign
  end = 0xd0,   ///< byte swap
};

/// Jumps; what has no `s` compares without sign. RFC 9669 §4.3.
enum class jmp_op : std::uint8_t {
  ja = 0x00,  ///< always
  jeq = 0x10,
  jgt = 0x20,
  jge = 0x30,
  jset = 0x40,  ///< when a bit is set in both
  jne = 0x50,
  jsgt = 0x60,
  jsge = 0x70,
  call = 0x80,
  exit = 0x90,
  jlt = 0xa0,
  jle = 0xb0,
  jslt = 0xc0,
  jsle = 0xd0,
};

/// Functions of the kernel that a program may call: the numbers of `enum bpf_func_id` in <linux/bpf.h>.
enum class helper : std::int32_t {
  map_lookup_elem = 1,
  map_update_elem = 2,
  map_delete_elem = 3,
  ktime_get_ns = 5,
  redirect = 23,
  redirect_map = 51,
  xdp_get_buff_len = 188,  ///< Linux 5.18
};

/// What the source register of a 64-bit immediate load says of the immediate. RFC 9669 §5.4.
enum class imm64_kind : std::uint8_t {
  number = 0,
  map_by_fd = 1,   ///< a file descriptor: `BPF_PSEUDO_MAP_FD`
  map_by_idx = 5,  ///< a place in a list of maps: `BPF_PSEUDO_MAP_IDX`
};

/// One instruction, or half of a 64-bit immediate load: eight bytes, as `struct bpf_insn` on this host.
struct instruction {
  std::uint8_t opcode = 0;     ///< class, and what the class does
  std::uint8_t registers = 0;  ///< both; use `dst` and `src`
  std::int16_t offset = 0;     ///< of a jump in instructions behind the next one; of a load or store in bytes
  std::int32_t imm = 0;        ///< a constant operand, the number of a helper, half of a 64-bit immediate

  /// From its parts.
  [[nodiscard]] static constexpr instruction make(unsigned opcode, reg dst, unsigned src, int offset,
                                                  std::int32_t imm) noexcept {
    const unsigned d = static_cast<unsigned>(dst);
    return {static_cast<std::uint8_t>(opcode),
            static_cast<std::uint8_t>(little_endian_host ? src << 4 | d : d << 4 | src),
            static_cast<std::int16_t>(offset), imm};
  }
  /// The destination register.
  [[nodiscard]] constexpr reg dst() const noexcept {
    return static_cast<reg>(little_endian_host ? registers & 15u : registers >> 4);
  }
  /// The source register.
  [[nodiscard]] constexpr reg src() const noexcept {
    return static_cast<reg>(little_endian_host ? registers >> 4 : registers & 15u);
  }
  /// The class of its opcode.
  [[nodiscard]] constexpr op_class kind() const noexcept { return static_cast<op_class>(opcode & 7u); }
  /// Whether an arithmetic instruction or a jump takes its second operand from the source register.
  [[nodiscard]] constexpr bool takes_register() const noexcept { return (opcode & 8u) != 0; }
  /// Whether it is the first half of a 64-bit immediate load; the other half follows.
  [[nodiscard]] constexpr bool is_imm64() const noexcept { return opcode == 0x18; }
  /// Whether it is that, and the immediate is a place in the program's list of maps.
  [[nodiscard]] constexpr bool is_map() const noexcept {
    return is_imm64() && static_cast<imm64_kind>(src()) == imm64_kind::map_by_idx;
  }
  /// Equal when all their parts are.
  friend constexpr bool operator==(const instruction&, const instruction&) noexcept = default;
};
static_assert(sizeof(instruction) == 8);

}  // namespace runnel::bpf

#endif
