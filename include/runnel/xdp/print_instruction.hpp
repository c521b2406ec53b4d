// SPDX-License-Identifier: MIT
// eBPF as readable assembly, as the kernel's verifier and bpftool write it.
#ifndef RUNNEL_XDP_PRINT_INSTRUCTION_HPP
#define RUNNEL_XDP_PRINT_INSTRUCTION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/xdp/bpf_program.hpp>
#include <runnel/xdp/instruction.hpp>

namespace runnel::bpf {

/// The name of a function of the kernel, as its documentation has it.
[[nodiscard]] constexpr const char* name(helper h) noexcept {
  switch (h) {
    case helper::map_lookup_elem: return "bpf_map_lookup_elem";
    case helper::map_update_elem: return "bpf_map_update_elem";
    case helper::map_delete_elem: return "bpf_map_delete_elem";
    case helper::ktime_get_ns: return "bpf_ktime_get_ns";
    case helper::redirect: return "bpf_redirect";
    case helper::redirect_map: return "bpf_redirect_map";
    case helper::xdp_get_buff_len: return "bpf_xdp_get_buff_len";
  }
  return "unknown";
}
/// `hash`, `lpm_trie` and so on, as bpftool spells them.
[[nodiscard]] constexpr const char* name(map_kind k) noexcept {
  switch (k) {
    case map_kind::hash: return "hash";
    case map_kind::array: return "array";
    case map_kind::per_cpu_array: return "percpu_array";
    case map_kind::lpm_trie: return "lpm_trie";
    case map_kind::dev_map: return "devmap";
    case map_kind::xsk_map: return "xskmap";
  }
  return "unknown";
}

}  // namespace runnel::bpf

namespace runnel::detail::ebpf {

using namespace bpf;

[[nodiscard]] constexpr const char* name_of(width w) noexcept {
  return w == width::b ? "u8" : w == width::h ? "u16" : w == width::w ? "u32" : "u64";
}
[[nodiscard]] constexpr const char* symbol(alu_op op) noexcept {
  switch (op) {
    case alu_op::add: return "+=";
    case alu_op::sub: return "-=";
    case alu_op::mul: return "*=";
    case alu_op::div: return "/=";
    case alu_op::or_: return "|=";
    case alu_op::and_: return "&=";
    case alu_op::lsh: return "<<=";
    case alu_op::rsh: return ">>=";
    case alu_op::mod: return "%=";
    case alu_op::xor_: return "^=";
    case alu_op::mov: return "=";
    case alu_op::arsh: return "s>>=";
    case alu_op::neg:
    case alu_op::end: break;
  }
  return "?";
}
[[nodiscard]] constexpr const char* symbol(jmp_op op) noexcept {
  switch (op) {
    case jmp_op::jeq: return "==";
    case jmp_op::jgt: return ">";
    case jmp_op::jge: return ">=";
    case jmp_op::jset: return "&";
    case jmp_op::jne: return "!=";
    case jmp_op::jsgt: return "s>";
    case jmp_op::jsge: return "s>=";
    case jmp_op::jlt: return "<";
    case jmp_op::jle: return "<=";
    case jmp_op::jslt: return "s<";
    case jmp_op::jsle: return "s<=";
    case jmp_op::ja:
    case jmp_op::call:
    case jmp_op::exit: break;
  }
  return "?";
}
constexpr void print_register(text_writer& out, reg r, bool half = false) noexcept {
  out << (half ? 'w' : 'r') << static_cast<std::uint32_t>(r);
}
constexpr void print_signed(text_writer& out, std::int32_t v) noexcept {
  if (v >= 0) out << '+';
  out << v;
}
constexpr void print_place(text_writer& out, width w, reg base, int offset) noexcept {
  out << "*(" << name_of(w) << " *)(";
  print_register(out, base);
  out << (offset < 0 ? " - " : " + ") << std::int32_t{offset < 0 ? -offset : offset} << ')';
}
constexpr void print_alu(text_writer& out, const instruction& i) noexcept {
  const bool half = i.kind() == op_class::alu;
  const auto op = static_cast<alu_op>(i.opcode & 0xf0u);
  if (op == alu_op::end) {
    print_register(out, i.dst());
    out << " = " << (i.takes_register() ? "be" : "le") << i.imm << ' ';
    return print_register(out, i.dst());
  }
  print_register(out, i.dst(), half);
  if (op == alu_op::neg) {
    out << " = -";
    return print_register(out, i.dst(), half);
  }
  out << ' ' << symbol(op) << ' ';
  if (i.takes_register()) return print_register(out, i.src(), half);
  if (half) out << static_cast<std::uint32_t>(i.imm);
  else out << i.imm;
}
constexpr void print_jump(text_writer& out, const instruction& i) noexcept {
  const bool half = i.kind() == op_class::jmp32;
  const auto op = static_cast<jmp_op>(i.opcode & 0xf0u);
  if (op == jmp_op::exit) {
    out << "exit";
  } else if (op == jmp_op::call) {
    out << "call " << name(static_cast<helper>(i.imm)) << '#' << i.imm;
  } else {
    if (op != jmp_op::ja) {
      out << "if ";
      print_register(out, i.dst(), half);
      out << ' ' << symbol(op) << ' ';
      if (i.takes_register()) print_register(out, i.src(), half);
      else out << i.imm;
      out << ' ';
    }
    out << "goto ";
    print_signed(out, i.offset);
  }
}

}  // namespace runnel::detail::ebpf

namespace runnel::bpf {

/// One instruction: `r0 = *(u8 *)(r1 + 12)`, `if r2 > r3 goto +5`. Of a 64-bit immediate load the second half is
/// `next`; one that the printer does not know is shown in hexadecimal.
constexpr void print(text_writer& out, const instruction& i, const instruction& next = {}) noexcept {
  const auto w = static_cast<width>(i.opcode & 0x18u);
  const bool is_memory = (i.opcode & 0xe0u) == 0x60u;
  if (i.is_imm64()) {
    detail::ebpf::print_register(out, i.dst());
    const auto low = static_cast<std::uint32_t>(i.imm);
    if (i.is_map()) out << " = map[" << low << ']';
    else if (static_cast<imm64_kind>(i.src()) == imm64_kind::map_by_fd) out << " = map[fd " << low << ']';
    else {
      out << " = 0x";
      out.hex(std::uint64_t{static_cast<std::uint32_t>(next.imm)} << 32 | low, 1) << " ll";
    }
    return;
  }
  switch (i.kind()) {
    case op_class::ldx:
      if (!is_memory) break;
      detail::ebpf::print_register(out, i.dst());
      out << " = ";
      return detail::ebpf::print_place(out, w, i.src(), i.offset);
    case op_class::st:
    case op_class::stx:
      if (!is_memory) break;
      detail::ebpf::print_place(out, w, i.dst(), i.offset);
      out << " = ";
      if (i.kind() == op_class::st) out << i.imm;
      else detail::ebpf::print_register(out, i.src());
      return;
    case op_class::alu:
    case op_class::alu64: return detail::ebpf::print_alu(out, i);
    case op_class::jmp:
    case op_class::jmp32: return detail::ebpf::print_jump(out, i);
    case op_class::ld: break;
  }
  out << "0x";
  out.hex(i.opcode, 2);
}

/// The whole program, one numbered instruction a line, behind a line for each map.
constexpr void print(text_writer& out, const program& p) noexcept {
  for (std::size_t i = 0; i < p.map_count(); ++i) {
    const map_config& m = p.map(i).config;
    out << "map[" << std::uint64_t{i} << "]: " << name(m.kind) << ' ' << m.name << ", key " << m.key_bytes
        << " bytes, value " << m.value_bytes << " bytes, " << m.entries << " entries\n";
  }
  for (std::size_t i = 0; i < p.size(); ++i) {
    out << std::uint64_t{i} << ": ";
    const bool wide = p[i].is_imm64() && i + 1 < p.size();
    print(out, p[i], wide ? p[i + 1] : instruction{});
    out << '\n';
    if (wide) ++i;
  }
}

}  // namespace runnel::bpf

#endif
