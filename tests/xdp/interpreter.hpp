// SPDX-License-Identifier: MIT
// Runs eBPF programs without a kernel: for tests where there is none, or no right to ask it. Every access is checked:
// the packet up to its end, the stack of 512 bytes, values of maps. Sets are asked themselves, by the keys of their
// maps.
#ifndef TESTS_XDP_INTERPRETER_HPP
#define TESTS_XDP_INTERPRETER_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <runnel/base/endian.hpp>
#include <runnel/xdp/bpf_program.hpp>

namespace runnel_test {

class interpreter {
  using instruction = runnel::bpf::instruction;

 public:
  static interpreter load(const runnel::bpf::program& p) { return interpreter(p); }

  // What the program returns. 0xdead when it does something that it must not; `failure()` says what.
  std::uint32_t run(const std::vector<std::byte>& packet) const {
    packet_ = &packet;
    failure_ = nullptr;
    std::memset(stack_, 0xa5, sizeof stack_);
    std::uint64_t r[11] = {};
    r[1] = context_at;
    r[10] = stack_at + sizeof stack_;
    std::size_t at = 0;
    for (int steps = 0; steps < 100'000; ++steps) {
      if (at >= program_.size()) return fail("left the program");
      const instruction& i = program_[at++];
      const auto dst = static_cast<unsigned>(i.dst()), src = static_cast<unsigned>(i.src());
      if (dst > 10 || src > 10) return fail("no such register");
      const auto offset = static_cast<std::uint64_t>(std::int64_t{i.offset});
      const auto imm = static_cast<std::uint64_t>(std::int64_t{i.imm});
      const std::size_t size = width_of(i);
      switch (i.kind()) {
        case runnel::bpf::op_class::ld:
          if (!i.is_imm64() || at >= program_.size()) return fail("unknown load");
          r[dst] = i.is_map() ? map_at + imm
                              : std::uint64_t{static_cast<std::uint32_t>(program_[at].imm)} << 32 |
                                    static_cast<std::uint32_t>(i.imm);
          ++at;
          break;
        case runnel::bpf::op_class::ldx: {
          const auto v = read(r[src] + offset, size);
          if (failure_ != nullptr) return 0xdead;
          r[dst] = v;
          break;
        }
        case runnel::bpf::op_class::st: write(r[dst] + offset, size, imm); break;
        case runnel::bpf::op_class::stx: write(r[dst] + offset, size, r[src]); break;
        case runnel::bpf::op_class::alu:
        case runnel::bpf::op_class::alu64: r[dst] = compute(i, r[dst], i.takes_register() ? r[src] : imm); break;
        case runnel::bpf::op_class::jmp: {
          const auto op = static_cast<runnel::bpf::jmp_op>(i.opcode & 0xf0u);
          if (op == runnel::bpf::jmp_op::exit) return static_cast<std::uint32_t>(r[0]);
          if (op == runnel::bpf::jmp_op::call) {
            r[0] = call(static_cast<runnel::bpf::helper>(i.imm), r);
            for (unsigned n = 1; n <= 5; ++n) r[n] = 0xdead'beef'dead'beef;
          } else if (jumps(op, r[dst], i.takes_register() ? r[src] : imm)) {
            at += static_cast<std::size_t>(std::ptrdiff_t{i.offset});
          }
          break;
        }
        case runnel::bpf::op_class::jmp32: return fail("unknown jump");
      }
      if (failure_ != nullptr) return 0xdead;
    }
    return fail("does not end");
  }
  [[nodiscard]] const char* failure() const { return failure_; }

  std::uint32_t queue = 0;                                  // by which the packet came
  std::size_t first_buffer = static_cast<std::size_t>(-1);  // what of it a program can read

 private:
  static constexpr std::uint64_t context_at = 0x1'0000, packet_at = 0x10'0000, stack_at = 0x100'0000,
                                 value_at = 0x200'0000, map_at = 0x300'0000;

  explicit interpreter(const runnel::bpf::program& p) : program_(p) {}

  std::uint32_t fail(const char* why) const {
    if (failure_ == nullptr) failure_ = why;
    return 0xdead;
  }
  static std::size_t width_of(const instruction& i) {
    switch (static_cast<runnel::bpf::width>(i.opcode & 0x18u)) {
      case runnel::bpf::width::b: return 1;
      case runnel::bpf::width::h: return 2;
      case runnel::bpf::width::w: return 4;
      case runnel::bpf::width::dw: break;
    }
    return 8;
  }
  [[nodiscard]] std::size_t readable() const { return packet_->size() < first_buffer ? packet_->size() : first_buffer; }
  // Where `size` bytes lie, or null.
  [[nodiscard]] std::byte* find(std::uint64_t at, std::size_t size, bool to_write) const {
    const auto inside = [&](std::uint64_t begin, std::size_t n) {
      return at >= begin && at - begin <= n && size <= n - (at - begin);
    };
    if (inside(stack_at, sizeof stack_)) return stack_ + (at - stack_at);
    if (inside(value_at, sizeof value_)) return value_ + (at - value_at);
    if (!to_write && inside(packet_at, readable())) return const_cast<std::byte*>(packet_->data()) + (at - packet_at);
    return nullptr;
  }
  [[nodiscard]] std::uint64_t read(std::uint64_t at, std::size_t size) const {
    if (at >= context_at && at < context_at + 24 && size == 4) {
      if (at == context_at) return packet_at;
      if (at == context_at + 4) return packet_at + readable();
      return at == context_at + 16 ? queue : 0;
    }
    const std::byte* p = find(at, size, false);
    if (p == nullptr) return fail("reads out of bounds");
    std::uint16_t h = 0;
    std::uint32_t w = 0;
    std::uint64_t d = 0;
    switch (size) {
      case 1: return std::to_integer<std::uint64_t>(*p);
      case 2: std::memcpy(&h, p, 2); return h;
      case 4: std::memcpy(&w, p, 4); return w;
      default: std::memcpy(&d, p, 8); return d;
    }
  }
  void write(std::uint64_t at, std::size_t size, std::uint64_t v) const {
    std::byte* p = find(at, size, true);
    if (p == nullptr) return (void)fail("writes out of bounds");
    const auto b = static_cast<std::uint8_t>(v);
    const auto h = static_cast<std::uint16_t>(v);
    const auto w = static_cast<std::uint32_t>(v);
    switch (size) {
      case 1: std::memcpy(p, &b, 1); break;
      case 2: std::memcpy(p, &h, 2); break;
      case 4: std::memcpy(p, &w, 4); break;
      default: std::memcpy(p, &v, 8); break;
    }
  }
  std::uint64_t compute(const instruction& i, std::uint64_t a, std::uint64_t b) const {
    using runnel::bpf::alu_op;
    const auto op = static_cast<alu_op>(i.opcode & 0xf0u);
    if (i.kind() == runnel::bpf::op_class::alu) {
      if (op == alu_op::mov) return static_cast<std::uint32_t>(b);
      if (op != alu_op::end || !i.takes_register()) return fail("unknown arithmetic");
      const bool swaps = runnel::little_endian_host;
      if (i.imm == 16) return swaps ? __builtin_bswap16(static_cast<std::uint16_t>(a)) : static_cast<std::uint16_t>(a);
      if (i.imm == 32) return swaps ? __builtin_bswap32(static_cast<std::uint32_t>(a)) : static_cast<std::uint32_t>(a);
      return swaps ? __builtin_bswap64(a) : a;
    }
    switch (op) {
      case alu_op::add: return a + b;
      case alu_op::sub: return a - b;
      case alu_op::or_: return a | b;
      case alu_op::and_: return a & b;
      case alu_op::lsh: return b < 64 ? a << b : fail("shifts too far");
      case alu_op::rsh: return b < 64 ? a >> b : fail("shifts too far");
      case alu_op::mov: return b;
      default: return fail("unknown arithmetic");
    }
  }
  bool jumps(runnel::bpf::jmp_op op, std::uint64_t a, std::uint64_t b) const {
    using runnel::bpf::jmp_op;
    switch (op) {
      case jmp_op::ja: return true;
      case jmp_op::jeq: return a == b;
      case jmp_op::jne: return a != b;
      case jmp_op::jgt: return a > b;
      case jmp_op::jge: return a >= b;
      case jmp_op::jlt: return a < b;
      case jmp_op::jle: return a <= b;
      default: fail("unknown jump"); return false;
    }
  }
  std::uint64_t call(runnel::bpf::helper h, const std::uint64_t* r) const {
    if (h == runnel::bpf::helper::xdp_get_buff_len)
      return r[1] == context_at ? packet_->size() : fail("the length of no packet");
    const std::uint64_t which = r[1] - map_at;
    if (which >= program_.map_count()) return fail("no such map");
    const runnel::bpf::map_description& m = program_.map(static_cast<std::size_t>(which));
    if (h == runnel::bpf::helper::redirect_map) return r[3];  // nothing stands there
    if (h != runnel::bpf::helper::map_lookup_elem) return fail("unknown helper");
    const std::byte* key = find(r[2], m.config.key_bytes, false);
    if (key == nullptr) return fail("a key out of bounds");
    if (m.use == runnel::bpf::map_use::counters) return value_at;
    const bool is_trie = m.config.kind == runnel::bpf::map_kind::lpm_trie;
    const std::uint32_t size = m.config.key_bytes - (is_trie ? 4 : 0);
    std::uint32_t length = 0;
    if (is_trie) std::memcpy(&length, key, 4), key += 4;
    if (is_trie && length != size * 8) return fail("not the whole address is looked up");
    const auto& functions = *m.set.functions;
    std::uint64_t number = 0;
    if (size == 16) return functions.contains_ipv6(m.set.set, runnel::ipv6_address::load(key)) ? value_at : 0;
    if (is_trie) number = runnel::load_be32(key);
    else std::memcpy(&number, key, 8);
    return functions.contains(m.set.set, number) ? value_at : 0;
  }

  runnel::bpf::program program_;
  mutable const std::vector<std::byte>* packet_ = nullptr;
  mutable const char* failure_ = nullptr;
  alignas(8) mutable std::byte stack_[512];
  alignas(8) mutable std::byte value_[16]{};
};

}  // namespace runnel_test

#endif
