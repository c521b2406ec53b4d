// SPDX-License-Identifier: MIT
// What `dissect` does with an Ethernet frame, as eBPF instructions: every check, in the same order, with the same
// answer. A program begins with it; conditions then find their headers by what it leaves behind.
//
//     r6  the context         r8  behind the packet's last byte
//     r7  the packet          r9  what was found: the bits of `protocol`; 0 when something is wrong with the packet
//     fp-2 .. fp-24           where headers begin, 16 bits each: `slot`
//     fp-52                   the packet's length, 32 bits, in a program that takes packets in several buffers:
//     `length_at`
//
// Of a packet in several buffers r8 is behind the first one. Headers have to lie there; lengths are the packet's.
//
// The kernel's verifier walks through all ways that a packet could take, and gives up after a million instructions. Two
// ways that meet are one for it when all that it knows of the registers is the same. So what a way has found goes
// through the stack, in halves of words that do not begin where a word does: the verifier does not follow those, and
// knows a number of 16 bits there. A mask that is no news to us bounds it, and one comparison with the packet's end
// proves what is read behind it.
#ifndef RUNNEL_XDP_BPF_DISSECT_HPP
#define RUNNEL_XDP_BPF_DISSECT_HPP

#include <cstdint>           // int32_t, uint64_t
#include <initializer_list>  // for (... : {a, b})

#include <runnel/packet/layers.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/mpls.hpp>  // max_mpls_labels
#include <runnel/xdp/assembler.hpp>

namespace runnel::detail::ebpf {

using namespace bpf;

/// Where on the stack the dissection leaves what it found. None is a multiple of 8, see above.
enum class slot : int {
  found = -2,
  network = -4,    ///< where the network header begins; 14 when something is wrong
  transport = -6,  ///< where the transport header begins; with protocol::transport
  number = -10,    ///< the IP protocol behind extension headers; with protocol::ipv4 or ipv6
  fragment = -12,  ///< where the IPv6 fragment header begins; 0 without one
  first = -14,     ///< not 0 in a first fragment that others follow
  mpls = -18,      ///< where the label stack begins; with protocol::mpls
  end = -20,       ///< where the IP datagram ends; with protocol::transport
};
/// Bounds for the verifier: no network header begins behind 14 + 8 tags + LLC and SNAP + 16 labels, and no transport
/// header behind that, 40, and 8 extension headers.
inline constexpr std::int32_t network_mask = 0x7f;
inline constexpr std::int32_t transport_mask = 0x7fff;
static_assert(14 + 4 * max_vlan_tags + 8 + 4 * max_mpls_labels <= 0x7f);
static_assert(0x7f + 40 + max_ipv6_extensions * 256 * 8 <= 0x7fff);

[[nodiscard]] constexpr std::int32_t bit(protocol p) noexcept { return static_cast<std::int32_t>(p); }

/// Where the length of a packet in several buffers is, which only a helper knows. Not a multiple of 8 either.
inline constexpr int length_at = -52;

constexpr void load_slot(assembler& a, reg to, slot s) noexcept { a.load(width::h, to, r10, static_cast<int>(s)); }
constexpr void store_slot(assembler& a, slot s, reg from) noexcept {
  a.store(width::h, r10, static_cast<int>(s), from);
}
constexpr void store_slot(assembler& a, slot s, std::int32_t v) noexcept {
  a.store(width::h, r10, static_cast<int>(s), v);
}
constexpr void load_be16(assembler& a, reg to, reg from, int offset) noexcept {
  a.load(width::h, to, from, offset);
  a.big_endian(to, 16);
}

/// The packet's length.
constexpr void load_length(assembler& a, reg to) noexcept {
  if (a.so_far().has_frags()) return a.load(width::w, to, r10, length_at);
  a.move(to, r8);
  a.alu(alu_op::sub, to, r7);
}

/// Writes the dissection. While it runs, as `runnel::detail::dissection` has them: r2 here, r3 at, r4 end, r5 the type
/// or number of what comes next; r0 and r1 are free.
class dissection_writer {
 public:
  constexpr explicit dissection_writer(assembler& a) noexcept
      : a_(a),
        fault_(a.make_label()),
        parsed_(a.make_label()),
        ipv4_(a.make_label()),
        ipv6_(a.make_label()),
        arp_(a.make_label()),
        transport_(a.make_label()),
        other_transport_(a.make_label()) {}

  /// The registers that every program needs: of the packet only its length is known behind it.
  static constexpr void write_start(assembler& a) noexcept {
    a.move(r6, r1);
    if (a.so_far().has_frags()) {
      a.call(helper::xdp_get_buff_len);
      a.store(width::w, r10, length_at, r0);
    }
    a.load(width::w, r7, r6, 0);  // data
    a.load(width::w, r8, r6, 4);  // data_end
  }
  /// The whole dissection; goes on behind it in any case.
  constexpr void write() noexcept {
    a_.move(r9, std::uint64_t{0});
    load_length(a_, r4);
    for (const slot s : {slot::transport, slot::number, slot::mpls, slot::end}) store_slot(a_, s, r4);
    for (const slot s : {slot::fragment, slot::first}) store_slot(a_, s, 0);
    const label typed = a_.make_label();
    link_header();
    vlan_tags(typed);
    llc_header();
    a_.place(typed);
    network_type();
    mpls_labels();
    arp_packet();
    ipv4_header();
    ipv6_headers();
    transport_header();
    ends();
  }

 private:
  using op = alu_op;
  using jump = jmp_op;

  constexpr void link_header() noexcept {
    a_.move(r3, std::uint64_t{14});
    a_.move(r2, r7);
    a_.alu(op::add, r2, 14);
    a_.jump_if(jump::jgt, r2, r8, fault_);
    load_be16(a_, r5, r7, 12);
  }
  constexpr void vlan_tags(label typed) noexcept {
    const label again = a_.make_label(), tag = a_.make_label(), done = a_.make_label();
    a_.place(again);
    a_.jump_if(jump::jeq, r5, ethertype::vlan, tag);
    a_.jump_if(jump::jeq, r5, ethertype::qinq, tag);
    a_.jump_if(jump::jne, r5, ethertype::qinq_old, done);
    a_.place(tag);
    a_.jump_if(jump::jeq, r3, 14 + 4 * std::int32_t{max_vlan_tags}, fault_);
    need_bytes(4);
    a_.alu(op::or_, r9, bit(protocol::vlan));
    load_be16(a_, r5, r2, 2);
    a_.alu(op::add, r2, 4);
    a_.alu(op::add, r3, 4);
    a_.jump(again);
    a_.place(done);
    a_.jump_if(jump::jge, r5, ethertype::first, typed);
  }
  // Behind an 802.3 length. Goes on with the type in a SNAP header, or to the end.
  constexpr void llc_header() noexcept {
    const label unnumbered = a_.make_label(), known = a_.make_label();
    a_.jump_if(jump::jgt, r5, 1500, fault_);
    rest_to_r1();
    a_.jump_if(jump::jgt, r5, r1, fault_);
    a_.move(r4, r3);
    a_.alu(op::add, r4, r5);
    forget_at(slot::network, network_mask);
    need(3);
    a_.load(width::b, r0, r2, 2);
    a_.move(r1, r0);
    a_.alu(op::and_, r1, 3);
    a_.jump_if(jump::jeq, r1, 3, unnumbered);
    need(4);
    a_.jump(parsed_);
    a_.place(unnumbered);
    load_be16(a_, r1, r2, 0);
    a_.jump_if(jump::jne, r1, 0xaaaa, parsed_);
    a_.jump_if(jump::jne, r0, 3, parsed_);
    need(8);
    a_.load(width::b, r0, r2, 3);
    a_.alu(op::lsh, r0, 16);
    load_be16(a_, r1, r2, 4);
    a_.alu(op::or_, r0, r1);
    a_.jump_if(jump::jeq, r0, 0, known);
    a_.jump_if(jump::jne, r0, 0xf8, parsed_);
    a_.place(known);
    load_be16(a_, r5, r2, 6);
    a_.jump_if(jump::jlt, r5, ethertype::first, parsed_);
    a_.alu(op::add, r3, 8);
  }
  constexpr void network_type() noexcept {
    forget_at(slot::network, network_mask);
    a_.jump_if(jump::jeq, r5, ethertype::ipv4, ipv4_);
    a_.jump_if(jump::jeq, r5, ethertype::ipv6, ipv6_);
    a_.jump_if(jump::jeq, r5, ethertype::arp, arp_);
    const label mpls = a_.make_label();
    a_.jump_if(jump::jeq, r5, ethertype::mpls, mpls);
    a_.jump_if(jump::jne, r5, ethertype::mpls_upstream, parsed_);
    a_.place(mpls);
  }
  constexpr void mpls_labels() noexcept {
    const label again = a_.make_label();
    store_slot(a_, slot::mpls, r3);
    a_.alu(op::or_, r9, bit(protocol::mpls));
    a_.move(r0, std::uint64_t{0});
    a_.place(again);
    a_.jump_if(jump::jeq, r0, std::int32_t{max_mpls_labels}, fault_);
    a_.alu(op::add, r0, 1);
    need(4);
    a_.load(width::b, r5, r2, 2);
    a_.alu(op::add, r2, 4);
    a_.alu(op::add, r3, 4);
    a_.alu(op::and_, r5, 1);
    a_.jump_if(jump::jeq, r5, 0, again);
    forget_at(slot::network, network_mask);
    a_.jump_if(jump::jeq, r3, r4, parsed_);
    need(1);
    a_.load(width::b, r5, r2, 0);
    a_.alu(op::rsh, r5, 4);
    a_.jump_if(jump::jeq, r5, 4, ipv4_);
    a_.jump_if(jump::jeq, r5, 6, ipv6_);
    a_.jump(parsed_);
  }
  constexpr void arp_packet() noexcept {
    const label good = a_.make_label();
    a_.place(arp_);
    need(28);
    load_be16(a_, r0, r2, 0);
    a_.jump_if(jump::jeq, r0, 1, good);
    a_.jump_if(jump::jne, r0, 6, fault_);
    a_.place(good);
    load_be16(a_, r0, r2, 2);
    a_.jump_if(jump::jne, r0, ethertype::ipv4, fault_);
    load_be16(a_, r0, r2, 4);
    a_.jump_if(jump::jne, r0, 0x0604, fault_);
    a_.alu(op::or_, r9, bit(protocol::arp));
    a_.jump(parsed_);
  }
  constexpr void ipv4_header() noexcept {
    a_.place(ipv4_);
    need(20);
    version_is(4);
    a_.alu(op::and_, r0, 15);
    a_.alu(op::lsh, r0, 2);
    a_.jump_if(jump::jlt, r0, 20, fault_);
    load_be16(a_, r5, r2, 2);
    a_.jump_if(jump::jlt, r5, r0, fault_);  // so that the header lies in what the total length is checked for
    rest_to_r1();
    a_.jump_if(jump::jgt, r5, r1, fault_);
    a_.alu(op::or_, r9, bit(protocol::ipv4));
    a_.move(r4, r3);
    a_.alu(op::add, r4, r5);
    a_.alu(op::add, r3, r0);
    load_be16(a_, r1, r2, 6);
    a_.move(r0, r5);
    a_.load(width::b, r5, r2, 9);
    store_slot(a_, slot::number, r5);
    const label whole = a_.make_label();
    a_.alu(op::and_, r1, 0x3fff);
    a_.jump_if(jump::jeq, r1, 0, whole);
    a_.alu(op::or_, r9, bit(protocol::fragment));
    a_.alu(op::and_, r1, 0x1fff);
    a_.alu(op::lsh, r1, 3);
    a_.alu(op::add, r0, r1);
    a_.jump_if(jump::jgt, r0, 65535, fault_);
    a_.jump_if(jump::jne, r1, 0, parsed_);
    store_slot(a_, slot::first, r4);  // any number but 0
    a_.place(whole);
    a_.jump_if(jump::jeq, r5, 58, other_transport_);  // ICMPv6 belongs to IPv6
    a_.jump(transport_);
  }
  constexpr void ipv6_headers() noexcept {
    const label again = a_.make_label(), extension = a_.make_label(), sized = a_.make_label(), done = a_.make_label(),
                some = a_.make_label(), numbered = a_.make_label(), authentication = a_.make_label(),
                fragment = a_.make_label(), not_fragment = a_.make_label();
    a_.place(ipv6_);
    need(40);
    version_is(6);
    load_be16(a_, r0, r2, 4);
    a_.load(width::b, r5, r2, 6);
    rest_to_r1();
    a_.alu(op::sub, r1, 40);  // not below 0, as there are 40
    a_.jump_if(jump::jgt, r0, r1, fault_);
    a_.jump_if(jump::jne, r0, 0, some);
    a_.jump_if(jump::jeq, r5, 0, fault_);
    a_.place(some);
    a_.alu(op::or_, r9, bit(protocol::ipv6));
    a_.alu(op::add, r3, 40);
    a_.move(r4, r3);
    a_.alu(op::add, r4, r0);
    a_.move(r0, std::uint64_t{0});

    // r0 counts.
    a_.place(again);
    for (const std::int32_t number : {0, 43, 44, 51}) a_.jump_if(jump::jeq, r5, number, extension);
    a_.jump_if(jump::jne, r5, 60, done);
    a_.place(extension);
    a_.jump_if(jump::jeq, r0, std::int32_t{max_ipv6_extensions}, fault_);
    a_.jump_if(jump::jne, r5, 0, numbered);
    a_.jump_if(jump::jne, r0, 0, fault_);
    a_.place(numbered);
    a_.alu(op::add, r0, 1);
    forget_at(slot::transport, transport_mask);
    need(8);
    a_.load(width::b, r1, r2, 1);
    a_.jump_if(jump::jeq, r5, 44, fragment);
    a_.jump_if(jump::jeq, r5, 51, authentication);
    a_.alu(op::add, r1, 1);
    a_.alu(op::lsh, r1, 3);
    a_.jump(sized);
    a_.place(authentication);
    a_.jump_if(jump::jeq, r1, 0, fault_);
    a_.alu(op::add, r1, 2);
    a_.alu(op::lsh, r1, 2);
    a_.jump(sized);
    a_.place(fragment);
    a_.move(r1, std::uint64_t{8});
    a_.place(sized);
    a_.alu(op::add, r3, r1);
    a_.jump_if(jump::jgt, r3, r4, fault_);
    a_.jump_if(jump::jne, r5, 44, not_fragment);
    fragment_header();
    a_.place(not_fragment);
    a_.load(width::b, r5, r2, 0);
    a_.jump(again);
    a_.place(done);
    store_slot(a_, slot::number, r5);
    a_.jump_if(jump::jeq, r5, 1, other_transport_);  // ICMP belongs to IPv4
    a_.jump(transport_);
  }
  // At r2; r3 is behind it. r0 counts, and is kept unless this is the last.
  constexpr void fragment_header() noexcept {
    const label goes_on = a_.make_label();
    load_slot(a_, r1, slot::fragment);
    a_.jump_if(jump::jne, r1, 0, fault_);
    a_.alu(op::or_, r9, bit(protocol::fragment));
    a_.move(r1, r3);
    a_.alu(op::sub, r1, 8);
    store_slot(a_, slot::fragment, r1);
    load_be16(a_, r5, r2, 2);
    a_.move(r1, r5);
    a_.alu(op::and_, r1, 0xfff8);
    a_.alu(op::add, r1, r4);
    a_.alu(op::sub, r1, r3);
    a_.jump_if(jump::jgt, r1, 65535, fault_);
    a_.move(r1, r5);
    a_.alu(op::and_, r1, 0xfff8);
    a_.jump_if(jump::jeq, r1, 0, goes_on);
    a_.load(width::b, r5, r2, 0);
    store_slot(a_, slot::number, r5);
    a_.jump(parsed_);
    a_.place(goes_on);
    a_.alu(op::and_, r5, 1);
    store_slot(a_, slot::first, r5);
  }
  constexpr void transport_header() noexcept {
    const label tcp = a_.make_label(), udp = a_.make_label(), icmp = a_.make_label(), icmpv6 = a_.make_label(),
                gre = a_.make_label(), found = a_.make_label(), length_is_good = a_.make_label();
    a_.place(transport_);
    store_slot(a_, slot::end, r4);
    forget_at(slot::transport, transport_mask);
    a_.jump_if(jump::jeq, r5, 6, tcp);
    a_.jump_if(jump::jeq, r5, 17, udp);
    a_.jump_if(jump::jeq, r5, 1, icmp);
    a_.jump_if(jump::jeq, r5, 58, icmpv6);
    a_.jump_if(jump::jeq, r5, 47, gre);
    a_.jump(found);

    a_.place(tcp);
    need(20);
    a_.load(width::b, r0, r2, 12);
    a_.alu(op::rsh, r0, 4);
    a_.alu(op::lsh, r0, 2);
    a_.jump_if(jump::jlt, r0, 20, fault_);
    a_.alu(op::add, r0, r3);
    a_.jump_if(jump::jgt, r0, r4, fault_);
    a_.alu(op::or_, r9, bit(protocol::tcp));
    a_.jump(found);

    a_.place(udp);
    need(8);
    load_be16(a_, r0, r2, 4);
    a_.jump_if(jump::jlt, r0, 8, fault_);
    rest_to_r1();
    a_.jump_if(jump::jle, r0, r1, length_is_good);
    load_slot(a_, r1, slot::first);
    a_.jump_if(jump::jeq, r1, 0, fault_);
    a_.place(length_is_good);
    a_.alu(op::or_, r9, bit(protocol::udp));
    a_.jump(found);

    a_.place(icmp);
    need(8);
    a_.alu(op::or_, r9, bit(protocol::icmp));
    a_.jump(found);

    a_.place(icmpv6);
    need(8);
    a_.alu(op::or_, r9, bit(protocol::icmpv6));
    a_.jump(found);

    a_.place(gre);
    gre_header(found);
    a_.jump(found);

    a_.place(other_transport_);
    store_slot(a_, slot::end, r4);
    store_slot(a_, slot::transport, r3);
    a_.place(found);
    a_.alu(op::or_, r9, bit(protocol::transport));
  }
  constexpr void gre_header(label found) noexcept {
    need(4);
    load_be16(a_, r0, r2, 0);
    a_.move(r1, r0);
    a_.alu(op::and_, r1, 7);
    a_.jump_if(jump::jne, r1, 0, found);
    a_.move(r1, r0);
    a_.alu(op::and_, r1, 0x4c00);
    a_.jump_if(jump::jne, r1, 0, fault_);
    // A word for each of the bits 15, 13 and 12, and one.
    a_.move(r5, std::uint64_t{1});
    for (const std::int32_t shift : {15, 13, 12}) {
      a_.move(r1, r0);
      a_.alu(op::rsh, r1, shift);
      a_.alu(op::and_, r1, 1);
      a_.alu(op::add, r5, r1);
    }
    a_.alu(op::lsh, r5, 2);
    a_.alu(op::add, r5, r3);
    a_.jump_if(jump::jgt, r5, r4, fault_);
    a_.alu(op::or_, r9, bit(protocol::gre));
  }
  constexpr void ends() noexcept {
    const label done = a_.make_label();
    a_.place(parsed_);
    a_.alu(op::or_, r9, bit(protocol::parsed));
    store_slot(a_, slot::found, r9);
    load_slot(a_, r9, slot::found);
    a_.jump(done);
    a_.place(fault_);
    a_.move(r9, std::uint64_t{0});
    store_slot(a_, slot::network, 14);
    a_.place(done);
  }

  // `n` bytes from here are in the packet: all there is to check before an end is said.
  constexpr void need_bytes(std::int32_t n) noexcept {
    a_.move(r1, r2);
    a_.alu(op::add, r1, n);
    a_.jump_if(jump::jgt, r1, r8, fault_);
  }
  // And they lie before the end; that is in the packet, but the verifier does not know.
  constexpr void need(std::int32_t n) noexcept {
    a_.move(r1, r3);
    a_.alu(op::add, r1, n);
    a_.jump_if(jump::jgt, r1, r4, fault_);
    need_bytes(n);
  }
  constexpr void rest_to_r1() noexcept {
    a_.move(r1, r4);
    a_.alu(op::sub, r1, r3);
  }
  // The first octet stays in r0.
  constexpr void version_is(std::int32_t v) noexcept {
    a_.load(width::b, r0, r2, 0);
    a_.move(r1, r0);
    a_.alu(op::rsh, r1, 4);
    a_.jump_if(jump::jne, r1, v, fault_);
  }
  // Keeps `at`, makes the verifier forget which number it is, and goes there.
  constexpr void forget_at(slot s, std::int32_t mask) noexcept {
    store_slot(a_, s, r3);
    load_slot(a_, r3, s);
    a_.alu(op::and_, r3, mask);
    a_.move(r2, r7);
    a_.alu(op::add, r2, r3);
  }

  assembler& a_;
  label fault_, parsed_, ipv4_, ipv6_, arp_, transport_, other_transport_;
};

}  // namespace runnel::detail::ebpf

#endif
