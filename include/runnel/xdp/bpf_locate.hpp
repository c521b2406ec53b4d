// SPDX-License-Identifier: MIT
// Finds headers by what the dissection left, and loads fields and metadata: `match::locate` and `match::load` as eBPF
// instructions.
#ifndef RUNNEL_XDP_BPF_LOCATE_HPP
#define RUNNEL_XDP_BPF_LOCATE_HPP

#include <cstddef>  // size_t
#include <cstdint>  // int32_t, uint8_t, uint16_t, uint64_t

#include <runnel/match/condition_node.hpp>
#include <runnel/match/locate.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/xdp/assembler.hpp>
#include <runnel/xdp/bpf_dissect.hpp>

namespace runnel::detail::ebpf {

using namespace bpf;

/// Whether headers have to be looked for.
[[nodiscard]] constexpr bool needs_dissection(const match::condition_node& n) noexcept {
  if (n.kind == match::node_kind::has) return n.operand.in_header != header::ethernet;
  if (!n.has_operand()) return false;
  if (!n.operand.is_meta) return n.operand.in_header != header::ethernet;
  return n.operand.which == match::meta_key::protocol || n.operand.which == match::meta_key::nfproto ||
         n.operand.which == match::meta_key::l4proto;
}

/// Writes the search for one header; a packet without it goes to `missing`.
class locate_writer {
  using op = alu_op;
  using jump = jmp_op;

 public:
  constexpr locate_writer(assembler& a, label missing) noexcept : a_(a), missing_(missing) {}

  /// Leaves in r2 where a header begins, of which `need` bytes are there. Uses r0, r1 and r3.
  constexpr void find(header h, std::size_t need) noexcept {
    const auto n = static_cast<std::int32_t>(need);
    switch (family_of(h)) {
      case header_family::icmp_message: return find_message(protocol::icmp, n, number_of(h), number_of(h));
      case header_family::icmpv6_message: return find_message(protocol::icmpv6, n, number_of(h), number_of(h));
      default: break;
    }
    switch (h) {
      case header::ethernet: return find_behind_start(0, n);
      case header::vlan: found(bit(protocol::vlan)); return find_behind_start(14, n);
      case header::cvlan: return find_second_tag(n);
      case header::mpls: return find_in(slot::mpls, network_mask, bit(protocol::mpls), n);
      case header::arp: return find_in(slot::network, network_mask, bit(protocol::arp), n);
      case header::ipv4: return find_in(slot::network, network_mask, bit(protocol::ipv4), n);
      case header::ipv6: return find_in(slot::network, network_mask, bit(protocol::ipv6), n);
      case header::ipv6_fragment: return find_fragment(n);
      case header::icmp: return find_in(slot::transport, transport_mask, bit(protocol::icmp), n);
      case header::icmpv6: return find_in(slot::transport, transport_mask, bit(protocol::icmpv6), n);
      case header::tcp: return find_in(slot::transport, transport_mask, bit(protocol::tcp), n);
      case header::udp: return find_in(slot::transport, transport_mask, bit(protocol::udp), n);
      case header::th: return find_in(slot::transport, transport_mask, bit(protocol::tcp) | bit(protocol::udp), n);
      case header::gre: return find_in(slot::transport, transport_mask, bit(protocol::gre), n);
      case header::vxlan: return find_vxlan(n);
      case header::icmp_echo: return find_echo(n);
      case header::icmpv6_echo: return find_message(protocol::icmpv6, n, 128, 129);
      case header::icmpv6_target: return find_target(n);
      default: return a_.jump(missing_);
    }
  }
  /// Leaves the value of an operand in r0, or in r0 and r1. Uses r2 and r3.
  constexpr void load(const match::operand_description& o, std::uint16_t iif) noexcept {
    if (o.is_meta) return load_meta(o.which, iif);
    const std::size_t fixed = match::fixed_size(o.in_header), needed = (o.offset + std::size_t{o.bits} + 7) / 8;
    find(o.in_header, needed > fixed ? needed : fixed);
    const std::int32_t at = o.offset / 8;
    if (o.value == match::value_kind::ipv6) {
      load_bytes(r0, at, 8);
      return load_bytes(r1, at + 8, 8);
    }
    const std::int32_t first = o.offset % 8, size = (first + o.bits + 7) / 8, behind = size * 8 - first - o.bits;
    load_bytes(r0, at, size);
    if (behind != 0) a_.alu(op::rsh, r0, behind);
    if (first == 0) return;
    // The mask has at most 57 bits.
    a_.move(r1, ~std::uint64_t{0} >> (64 - o.bits));
    a_.alu(op::and_, r0, r1);
  }

 private:
  // Goes on when one of these bits is set. The test is on a copy, so that the verifier learns nothing of r9: what it
  // knows of bits would tell ways apart that are the same to us.
  constexpr void found(std::int32_t bits) noexcept {
    a_.move(r1, r9);
    a_.alu(op::and_, r1, bits);
    a_.jump_if(jump::jeq, r1, 0, missing_);
  }
  constexpr void check(std::int32_t need) noexcept {
    a_.move(r1, r2);
    a_.alu(op::add, r1, need);
    a_.jump_if(jump::jgt, r1, r8, missing_);
  }
  constexpr void find_behind_start(std::int32_t at, std::int32_t need) noexcept {
    a_.move(r2, r7);
    if (at != 0) a_.alu(op::add, r2, at);
    check(need);
  }
  constexpr void find_in(slot s, std::int32_t mask, std::int32_t bits, std::int32_t need) noexcept {
    found(bits);
    go_to(s, mask);
    check(need);
  }
  constexpr void go_to(slot s, std::int32_t mask) noexcept {
    load_slot(a_, r1, s);
    a_.alu(op::and_, r1, mask);
    a_.move(r2, r7);
    a_.alu(op::add, r2, r1);
  }
  constexpr void find_second_tag(std::int32_t need) noexcept {
    const label is_tag = a_.make_label();
    found(bit(protocol::vlan));
    find_behind_start(18, need);
    load_be16(a_, r0, r7, 16);
    a_.jump_if(jump::jeq, r0, ethertype::vlan, is_tag);
    a_.jump_if(jump::jeq, r0, ethertype::qinq, is_tag);
    a_.jump_if(jump::jne, r0, ethertype::qinq_old, missing_);
    a_.place(is_tag);
  }
  constexpr void find_fragment(std::int32_t need) noexcept {
    found(bit(protocol::ipv6));
    load_slot(a_, r1, slot::fragment);
    a_.jump_if(jump::jeq, r1, 0, missing_);
    go_to(slot::fragment, transport_mask);
    check(need);
  }
  constexpr void find_vxlan(std::int32_t need) noexcept {
    find_in(slot::transport, transport_mask, bit(protocol::udp), need + 8);
    load_be16(a_, r0, r2, 2);
    a_.jump_if(jump::jne, r0, 4789, missing_);
    a_.alu(op::add, r2, 8);
  }
  // Of an ICMP message what is needed lies within the datagram; its type is left in r0.
  constexpr void find_message(protocol p, std::int32_t need, std::int32_t first, std::int32_t last) noexcept {
    find_in(slot::transport, transport_mask, bit(p), need);
    load_slot(a_, r1, slot::transport);
    a_.alu(op::add, r1, need);
    load_slot(a_, r3, slot::end);
    a_.jump_if(jump::jgt, r1, r3, missing_);
    a_.load(width::b, r0, r2, 0);
    if (first == last) return a_.jump_if(jump::jne, r0, first, missing_);
    if (first != 0) a_.jump_if(jump::jlt, r0, first, missing_);
    a_.jump_if(jump::jgt, r0, last, missing_);
  }
  constexpr void find_echo(std::int32_t need) noexcept {
    const label is_echo = a_.make_label();
    find_message(protocol::icmp, need, 0, 8);
    a_.jump_if(jump::jeq, r0, 0, is_echo);
    a_.jump_if(jump::jne, r0, 8, missing_);
    a_.place(is_echo);
  }
  constexpr void find_target(std::int32_t need) noexcept {
    find_message(protocol::icmpv6, need, 130, 137);
    a_.jump_if(jump::jeq, r0, 133, missing_);
    a_.jump_if(jump::jeq, r0, 134, missing_);
  }

  constexpr void load_meta(match::meta_key key, std::uint16_t iif) noexcept {
    switch (key) {
      case match::meta_key::length: load_length(a_, r0); break;
      case match::meta_key::iif: a_.move(r0, std::uint64_t{iif}); break;
      case match::meta_key::queue:
        a_.load(width::w, r0, r6, 16);
        a_.alu(op::and_, r0, 0xff);  // as a frame has it
        break;
      case match::meta_key::protocol: load_protocol(); break;
      case match::meta_key::nfproto: load_nfproto(); break;
      case match::meta_key::l4proto:
        found(bit(protocol::ipv4) | bit(protocol::ipv6));
        load_slot(a_, r0, slot::number);
        break;
      case match::meta_key::ct_state:  // refused: what is written is not used (lowerable.hpp)
      case match::meta_key::ct_direction:
      case match::meta_key::ct_mark:
      case match::meta_key::ct_status:
      case match::meta_key::ct_zone:
      case match::meta_key::oif:
      case match::meta_key::mark:
      case match::meta_key::priority:
      case match::meta_key::hash:
      case match::meta_key::time: a_.move(r0, std::uint64_t{0}); break;
    }
  }
  // What the type field says in front of the label stack, or of the network header. That begins at 14 where something
  // is wrong with the packet; where there is no type field, the value is 0.
  constexpr void load_protocol() noexcept {
    const label plain = a_.make_label(), none = a_.make_label();
    load_slot(a_, r2, slot::network);
    a_.move(r1, r9);
    a_.alu(op::and_, r1, bit(protocol::mpls));
    a_.jump_if(jump::jeq, r1, 0, plain);
    load_slot(a_, r2, slot::mpls);
    a_.place(plain);
    a_.alu(op::sub, r2, 2);
    a_.alu(op::and_, r2, network_mask);
    a_.alu(op::add, r2, r7);
    a_.move(r1, r2);
    a_.alu(op::add, r1, 2);
    a_.move(r0, std::uint64_t{0});
    a_.jump_if(jump::jgt, r1, r8, none);
    load_be16(a_, r0, r2, 0);
    a_.place(none);
  }
  constexpr void load_nfproto() noexcept {
    const label known = a_.make_label();
    constexpr struct {
      protocol is;
      std::uint8_t value;
    } families[] = {{protocol::ipv4, nfproto::ipv4}, {protocol::ipv6, nfproto::ipv6}, {protocol::arp, nfproto::arp}};
    for (const auto& f : families) {
      a_.move(r0, std::uint64_t{f.value});
      a_.move(r1, r9);
      a_.alu(op::and_, r1, bit(f.is));
      a_.jump_if(jump::jne, r1, 0, known);
    }
    a_.move(r0, std::uint64_t{nfproto::unspec});
    a_.place(known);
  }

  // `size` bytes at r2 + `at`, the first one most significant, in the largest pieces that there are. The second and
  // further ones come through r3.
  constexpr void load_bytes(reg to, std::int32_t at, std::int32_t size) noexcept {
    for (std::int32_t done = 0; done < size;) {
      const std::int32_t rest = size - done, piece = rest >= 8 ? 8 : rest >= 4 ? 4 : rest >= 2 ? 2 : 1;
      const width w = piece == 8 ? width::dw : piece == 4 ? width::w : piece == 2 ? width::h : width::b;
      const reg part = done == 0 ? to : r3;
      a_.load(w, part, r2, at + done);
      if (piece != 1) a_.big_endian(part, piece * 8);
      if (done != 0) {
        a_.alu(op::lsh, to, piece * 8);
        a_.alu(op::or_, to, r3);
      }
      done += piece;
    }
  }

  assembler& a_;
  label missing_;
};

}  // namespace runnel::detail::ebpf

#endif
