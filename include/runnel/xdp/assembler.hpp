// SPDX-License-Identifier: MIT
// Puts eBPF programs together: one call an instruction, jumps to labels, maps by their place in the program's list.
#ifndef RUNNEL_XDP_ASSEMBLER_HPP
#define RUNNEL_XDP_ASSEMBLER_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint8_t, uint16_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/xdp/bpf_program.hpp>
#include <runnel/xdp/instruction.hpp>

namespace runnel::bpf {

/// A place in a program, perhaps one that is not known yet. Made by `assembler::make_label`, for that assembler.
struct label {
  /// Its number, for the assembler.
  std::uint16_t number = 0xffff;
};

/// Writes a program, of fixed capacity, without a heap. A mistake (too many instructions, labels or maps, a label that
/// is placed twice or never) is remembered, the first one counts, and `finish` says which; nothing is written out of
/// bounds meanwhile. What no way leads to, behind a `jump` or `exit` and in front of a label that nobody has jumped to
/// yet, is left out: the kernel refuses programs that have such instructions. About 45 KB.
///
///     assembler a;
///     const label drop = a.make_label();
///     a.load(width::w, r2, r1, 0);                  // r2 = *(u32 *)(r1 + 0)
///     a.jump_if(jmp_op::jgt, r2, 1500, drop);       // if r2 > 1500 goto drop
///     ...
///     result<program, error> p = a.finish();
class assembler {
 public:
  /// How many labels there can be.
  static constexpr std::size_t max_labels = 3000;

  /// `dst = *(width *)(src + offset)`, zero-extended, in host order.
  constexpr void load(width w, reg dst, reg src, int offset) noexcept {
    emit(code(op_class::ldx, 0x60u | static_cast<unsigned>(w)), dst, src, offset, 0);
  }
  /// `*(width *)(dst + offset) = src`.
  constexpr void store(width w, reg dst, int offset, reg src) noexcept {
    emit(code(op_class::stx, 0x60u | static_cast<unsigned>(w)), dst, src, offset, 0);
  }
  /// `*(width *)(dst + offset) = imm`.
  constexpr void store(width w, reg dst, int offset, std::int32_t imm) noexcept {
    emit(code(op_class::st, 0x60u | static_cast<unsigned>(w)), dst, r0, offset, imm);
  }
  /// `dst op= src`, in 64 bits.
  constexpr void alu(alu_op op, reg dst, reg src) noexcept {
    emit(code(op_class::alu64, 8u | static_cast<unsigned>(op)), dst, src, 0, 0);
  }
  /// `dst op= imm`, in 64 bits; the immediate is extended with its sign.
  constexpr void alu(alu_op op, reg dst, std::int32_t imm) noexcept {
    emit(code(op_class::alu64, static_cast<unsigned>(op)), dst, r0, 0, imm);
  }
  /// `dst = src`.
  constexpr void move(reg dst, reg src) noexcept { alu(alu_op::mov, dst, src); }
  /// `dst = imm`, in the shortest way: one instruction for numbers of 32 bits, two for others.
  constexpr void move(reg dst, std::uint64_t imm) noexcept {
    if (imm <= 0x7fff'ffff) alu(alu_op::mov, dst, static_cast<std::int32_t>(imm));
    else if (imm <= 0xffff'ffff)
      emit(code(op_class::alu, static_cast<unsigned>(alu_op::mov)), dst, r0, 0, signed_word(imm));
    else load_imm64(dst, imm64_kind::number, imm);
  }
  /// Turns the lowest 16, 32 or 64 bits from network order into host order, or back, and clears the others.
  constexpr void big_endian(reg dst, int bits) noexcept {
    emit(code(op_class::alu, 8u | static_cast<unsigned>(alu_op::end)), dst, r0, 0, bits);
  }
  /// `dst = the map at place i`, for a helper.
  constexpr void load_map(reg dst, std::size_t i) noexcept {
    if (i >= program_.map_count_) fail("there is no such map");
    load_imm64(dst, imm64_kind::map_by_idx, i);
  }
  /// Calls a function of the kernel: arguments in r1 to r5, which it destroys; its result is in r0.
  constexpr void call(helper h) noexcept {
    emit(code(op_class::jmp, static_cast<unsigned>(jmp_op::call)), r0, r0, 0, static_cast<std::int32_t>(h));
  }
  /// `return r0`.
  constexpr void exit() noexcept {
    emit(code(op_class::jmp, static_cast<unsigned>(jmp_op::exit)), r0, r0, 0, 0);
    reachable_ = false;
  }

  /// A new label.
  [[nodiscard]] constexpr label make_label() noexcept { return make_labels(1); }
  /// `n` new labels: the first one, the others have the numbers behind it.
  [[nodiscard]] constexpr label make_labels(std::size_t n) noexcept {
    if (n > max_labels - label_count_) {
      fail("too many labels");
      return {};
    }
    const auto first = label_count_;
    label_count_ = static_cast<std::uint16_t>(first + n);
    return {first};
  }
  /// The label stands for the next instruction.
  constexpr void place(label l) noexcept {
    if (l.number >= label_count_) return fail("a label of another assembler");
    place_of& p = labels_[l.number];
    if (p.known) return fail("a label is placed twice");
    if (p.at >= 0) reachable_ = true;
    // The jumps that wait for it form a list, through their offsets.
    for (int i = p.at; i >= 0;) {
      const int before = program_.instructions_[i].offset;
      program_.instructions_[i].offset = static_cast<std::int16_t>(static_cast<int>(program_.size_) - i - 1);
      i = before;
    }
    p = {static_cast<std::int16_t>(program_.size_), true};
  }
  /// `goto l`.
  constexpr void jump(label l) noexcept {
    jump_to(l, code(op_class::jmp, static_cast<unsigned>(jmp_op::ja)), r0, r0, 0);
    reachable_ = false;
  }
  /// `if dst op src goto l`.
  constexpr void jump_if(jmp_op op, reg dst, reg src, label l) noexcept {
    jump_to(l, code(op_class::jmp, 8u | static_cast<unsigned>(op)), dst, src, 0);
  }
  /// `if dst op imm goto l`; the immediate is extended with its sign.
  constexpr void jump_if(jmp_op op, reg dst, std::int32_t imm, label l) noexcept {
    jump_to(l, code(op_class::jmp, static_cast<unsigned>(op)), dst, r0, imm);
  }

  /// Adds a map to the program's list, and says at which place.
  [[nodiscard]] constexpr std::size_t add(const map_description& m) noexcept {
    if (program_.map_count_ == program::max_maps) {
      fail("more than 32 maps");
      return 0;
    }
    program_.maps_[program_.map_count_] = m;
    return program_.map_count_++;
  }
  /// The program takes packets that lie in several buffers: see `program::has_frags`.
  constexpr void accept_frags() noexcept { program_.has_frags_ = true; }
  /// Whether a way leads to what is written next.
  [[nodiscard]] constexpr bool is_reachable() const noexcept { return reachable_; }
  /// The program as far as it is written; jumps to labels that have no place yet are not good.
  [[nodiscard]] constexpr const program& so_far() const noexcept { return program_; }
  /// What went wrong first; null when nothing did.
  [[nodiscard]] constexpr const char* failure() const noexcept { return failure_; }

  /// The program, or what was wrong.
  [[nodiscard]] result<program, error> finish() const noexcept {
    const char* why = failure_;
    for (std::size_t i = 0; i < label_count_ && why == nullptr; ++i)
      if (!labels_[i].known && labels_[i].at >= 0) why = "a jump to a label that was not placed";
    if (why == nullptr && program_.size_ == 0) why = "the program is empty";
    if (why == nullptr && reachable_) why = "the program does not end in an exit";
    if (why != nullptr) return error("bpf", "assemble", "", why, "use fewer rules, or smaller conditions");
    return program_;
  }

 private:
  struct place_of {
    std::int16_t at = -1;  // where it is; while it is not known the last jump to it, -1 when there is none
    bool known = false;
  };
  static_assert(program::max_instructions <= 0x7fff, "a jump reaches 32767 instructions far");

  static constexpr unsigned code(op_class c, unsigned rest) noexcept { return static_cast<unsigned>(c) | rest; }
  static constexpr std::int32_t signed_word(std::uint64_t v) noexcept {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(v));
  }
  constexpr void fail(const char* why) noexcept {
    if (failure_ == nullptr) failure_ = why;
  }
  constexpr void emit(unsigned opcode, reg dst, reg src, int offset, std::int32_t imm) noexcept {
    if (!reachable_) return;
    if (program_.size_ == program::max_instructions) return fail("more than 4096 instructions");
    if (offset < -0x8000 || offset > 0x7fff) return fail("an offset that does not fit into 16 bits");
    program_.instructions_[program_.size_++] = instruction::make(opcode, dst, static_cast<unsigned>(src), offset, imm);
  }
  constexpr void load_imm64(reg dst, imm64_kind kind, std::uint64_t v) noexcept {
    if (!reachable_) return;
    if (program_.size_ + 2 > program::max_instructions) return fail("more than 4096 instructions");
    emit(0x18, dst, static_cast<reg>(kind), 0, signed_word(v));
    emit(0, r0, r0, 0, signed_word(v >> 32));
  }
  constexpr void jump_to(label l, unsigned opcode, reg dst, reg src, std::int32_t imm) noexcept {
    if (l.number >= label_count_) return fail("a label of another assembler");
    if (!reachable_) return;
    const int here = static_cast<int>(program_.size_);
    place_of& p = labels_[l.number];
    emit(opcode, dst, src, p.known ? p.at - here - 1 : p.at, imm);
    if (!p.known && failure_ == nullptr) p.at = static_cast<std::int16_t>(here);
  }

  program program_;
  place_of labels_[max_labels]{};
  std::uint16_t label_count_ = 0;
  bool reachable_ = true;
  const char* failure_ = nullptr;
};

}  // namespace runnel::bpf

#endif
