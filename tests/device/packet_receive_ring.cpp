// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <runnel/device/packet_receive_ring.hpp>

#if defined(__linux__)

#include <cstring>
#include <vector>

#include <runnel/base/random.hpp>

using namespace runnel;
using detail::packet_block;
using detail::packet_block_counters;
using detail::packet_receive_ring;

namespace {

// A ring as the kernel would fill it.
struct written_ring {
  static constexpr std::size_t block_size = 4096;

  explicit written_ring(std::uint32_t count) : memory(block_size * count), at(count, 48) {}

  std::byte* block(std::uint32_t i) { return memory.data() + i * block_size; }
  void put32(std::uint32_t i, std::size_t offset, std::uint32_t v) { std::memcpy(block(i) + offset, &v, 4); }
  [[nodiscard]] std::uint32_t get32(std::uint32_t i, std::size_t offset) {
    std::uint32_t v;
    std::memcpy(&v, block(i) + offset, 4);
    return v;
  }

  struct about {
    detail::virtio_net_header virtio{};
    std::uint32_t status = 0;
    std::uint32_t wire_length = 0;
    std::uint16_t tci = 0;
    std::uint16_t tpid = 0;
    std::uint8_t type = PACKET_HOST;
  };
  // Adds a packet to a block, and returns where its header lies.
  std::size_t add(std::uint32_t i, bytes packet, const about& a) {
    constexpr std::size_t start = 92;
    const std::size_t here = at[i];
    ::tpacket3_hdr h{};
    h.tp_next_offset = static_cast<std::uint32_t>((start + packet.size() + 7) / 8 * 8);
    h.tp_sec = 1'700'000'000;
    h.tp_nsec = 123'456'789;
    h.tp_snaplen = static_cast<std::uint32_t>(packet.size());
    h.tp_len = a.wire_length != 0 ? a.wire_length : h.tp_snaplen;
    h.tp_status = TP_STATUS_USER | a.status;
    h.tp_mac = start;
    h.hv1.tp_vlan_tci = a.tci;
    h.hv1.tp_vlan_tpid = a.tpid;
    std::memcpy(block(i) + here, &h, sizeof h);
    block(i)[here + 48 + 10] = std::byte{a.type};
    std::memcpy(block(i) + here + start - sizeof a.virtio, &a.virtio, sizeof a.virtio);
    std::memcpy(block(i) + here + start, packet.data(), packet.size());
    at[i] += h.tp_next_offset;
    put32(i, 12, get32(i, 12) + 1);
    return here;
  }
  std::size_t add(std::uint32_t i, bytes packet) { return add(i, packet, {}); }
  void hand_over(std::uint32_t i) {
    put32(i, 16, 48);
    put32(i, 8, TP_STATUS_USER);
  }
  [[nodiscard]] bool is_ours(std::uint32_t i) { return (get32(i, 8) & TP_STATUS_USER) != 0; }
  // As the kernel begins a block again.
  void clear(std::uint32_t i) {
    at[i] = 48;
    put32(i, 12, 0);
  }
  packet_receive_ring ring() { return {memory.data(), block_size, static_cast<std::uint32_t>(at.size())}; }

  std::vector<std::byte> memory;
  std::vector<std::size_t> at;
};

// 60 bytes of UDP over IPv4; the last byte is `mark`.
std::vector<std::byte> udp_packet(std::uint8_t mark = 0) {
  const std::uint8_t head[] = {2, 0,  0,  0, 0, 2,  2, 0, 0, 0,  0, 1, 8, 0, 0x45, 0,    0, 46, 0,  0, 0,
                               0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0,    0x10, 0, 0,  26, 0, 0};
  std::vector<std::byte> p(60);
  std::memcpy(p.data(), head, sizeof head);
  p.back() = std::byte{mark};
  return p;
}
bytes view(const std::vector<std::byte>& v) { return {v.data(), v.size()}; }

std::vector<frame> all_of(packet_receive_ring& ring, packet_block_counters& count, std::size_t room = 100) {
  std::vector<frame> frames(room);
  into_array take(frames.data());
  frames.resize(ring.receive(room, frame{}, count, take));
  return frames;
}

}  // namespace

TEST_CASE("packets of a block are shown where they lie, with the kernel's time") {
  written_ring memory(2);
  const auto one = udp_packet(1), two = udp_packet(2);
  const std::size_t first = memory.add(0, view(one));
  memory.add(0, view(two));
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  CHECK(all_of(ring, count).empty());
  memory.hand_over(0);
  const auto got = all_of(ring, count);
  REQUIRE(got.size() == 2);
  CHECK(got[0].data == memory.block(0) + first + 92);
  CHECK(got[0].length == 60);
  CHECK(got[0].headroom == 92);
  CHECK(got[0].tailroom == 0);
  CHECK(got[0].slot == no_slot);
  CHECK(got[0].timestamp == instant{1'700'000'000'123'456'789});
  CHECK(got[0].checksum == checksum_status::unknown);
  CHECK(std::memcmp(got[1].data, two.data(), 60) == 0);
  CHECK(count.malformed + count.outgoing + count.cut == 0);
}

TEST_CASE("a block goes back when it was walked through, and not before") {
  written_ring memory(3);
  const auto packet = udp_packet();
  for (std::uint32_t i = 0; i < 3; ++i) {
    memory.add(i, view(packet));
    memory.add(i, view(packet));
    memory.hand_over(i);
  }
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  CHECK(all_of(ring, count, 3).size() == 3);
  CHECK(ring.held() == 3);
  ring.give_back();
  CHECK(!memory.is_ours(0));
  CHECK(memory.is_ours(1));
  CHECK(all_of(ring, count, 1).size() == 1);
  ring.give_back();
  CHECK(!memory.is_ours(1));
  // The kernel fills it again, behind the third.
  memory.clear(0);
  memory.add(0, view(udp_packet(9)));
  memory.hand_over(0);
  const auto rest = all_of(ring, count);
  REQUIRE(rest.size() == 3);
  CHECK(rest[2].data[59] == std::byte{9});
  ring.give_back();
  CHECK(ring.held() == 0);
  ring.give_back();
  CHECK(all_of(ring, count).empty());
}

TEST_CASE("blocks that were not given back are not walked through twice") {
  written_ring memory(4);
  const auto packet = udp_packet();
  for (std::uint32_t i = 0; i < 4; ++i) {
    memory.add(i, view(packet));
    memory.hand_over(i);
  }
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  CHECK(all_of(ring, count).size() == 4);
  CHECK(all_of(ring, count).empty());
  ring.give_back();
  CHECK(ring.held() == 0);
}

TEST_CASE("an empty block, and one that is full of what is passed over, go back too") {
  written_ring memory(2);
  memory.hand_over(0);
  memory.add(1, view(udp_packet()), {.type = PACKET_OUTGOING});
  memory.hand_over(1);
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  CHECK(all_of(ring, count).empty());
  CHECK(count.outgoing == 1);
  ring.give_back();
  CHECK(ring.held() == 0);
}

TEST_CASE("the VLAN tag that the kernel took out is put back") {
  written_ring memory(1);
  const auto packet = udp_packet();
  memory.add(0, view(packet), {.status = TP_STATUS_VLAN_VALID, .tci = 0x602a});
  memory.add(0, view(packet), {.status = TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID, .tci = 7, .tpid = 0x88a8});
  memory.add(0, view(packet).first(13), {.status = TP_STATUS_VLAN_VALID, .tci = 7});
  memory.hand_over(0);
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  const auto got = all_of(ring, count);
  REQUIRE(got.size() == 3);
  CHECK(got[0].length == 64);
  CHECK(got[0].headroom == 88);
  CHECK(std::memcmp(got[0].data, packet.data(), 12) == 0);
  CHECK(load_be32(got[0].data + 12) == 0x8100'602a);
  CHECK(std::memcmp(got[0].data + 16, packet.data() + 12, 48) == 0);
  CHECK(load_be32(got[1].data + 12) == 0x88a8'0007);
  CHECK(got[2].length == 13);  // no Ethernet frame
}

TEST_CASE("partial and verified checksums, segment sizes, and what was cut") {
  written_ring memory(1);
  const auto packet = udp_packet();
  using detail::virtio_net_header;
  memory.add(0, view(packet), {.virtio = {.flags = 1, .checksum_start = 34, .checksum_offset = 6}});
  memory.add(0, view(packet), {.virtio = {.flags = 2}});
  memory.add(0, view(packet),
             {.virtio = {.flags = 1, .gso_type = 5, .segment_size = 8, .checksum_start = 34, .checksum_offset = 6}});
  memory.add(0, view(packet), {.wire_length = 1000});
  memory.add(0, view(packet), {.virtio = {.flags = 1, .checksum_start = 500, .checksum_offset = 6}});
  memory.add(
      0, view(packet),
      {.virtio = {.flags = 1, .checksum_start = 34, .checksum_offset = 6}, .status = TP_STATUS_VLAN_VALID, .tci = 5});
  memory.hand_over(0);
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  const auto got = all_of(ring, count);
  REQUIRE(got.size() == 5);
  CHECK(got[0].checksum == checksum_status::partial);
  CHECK(got[0].segment_size == 0);
  CHECK(got[1].checksum == checksum_status::verified);
  CHECK(got[2].segment_size == 8);
  CHECK(got[2].checksum == checksum_status::partial);
  CHECK(got[3].missing == 940);
  CHECK(got[3].checksum == checksum_status::unknown);
  CHECK(got[3].segment_size == 0);
  CHECK(count.cut == 1);
  CHECK(count.malformed == 1);  // the place of the checksum lies outside of the packet
  CHECK(got[4].checksum == checksum_status::partial);
  CHECK(got[4].length == 64);
}

TEST_CASE("segments that were put together inside of a tunnel are lost, and counted as such") {
  written_ring memory(1);
  const auto packet = udp_packet();  // in which somebody may see VXLAN
  memory.add(0, view(packet),
             {.virtio = {.flags = 1, .gso_type = 1, .segment_size = 8, .checksum_start = 54, .checksum_offset = 16}});
  memory.add(0, view(packet), {.virtio = {.gso_type = 0x84, .segment_size = 8}});
  memory.add(0, view(packet), {.virtio = {.gso_type = 1}});
  memory.add(0, view(packet), {.virtio = {.gso_type = 9, .segment_size = 8}});
  memory.hand_over(0);
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  CHECK(all_of(ring, count).empty());
  CHECK(count.in_tunnel == 2);
  CHECK(count.malformed == 2);  // without a size, and of an unknown kind
}

TEST_CASE("a packet that the kernel gave up after it had its place is passed over") {
  written_ring memory(1);
  const std::size_t at = memory.add(0, view(udp_packet(1)));
  memory.add(0, view(udp_packet(2)));
  memory.put32(0, at + 20, 0);  // tp_status
  memory.hand_over(0);
  packet_receive_ring ring = memory.ring();
  packet_block_counters count;
  const auto got = all_of(ring, count);
  REQUIRE(got.size() == 1);
  CHECK(got[0].data[59] == std::byte{2});
  CHECK(count.malformed == 1);
}

TEST_CASE("no length in a block leads out of it") {
  random_generator random(1);
  std::uint64_t frames = 0, malformed = 0;
  for (int round = 0; round < 20'000; ++round) {
    written_ring memory(1);
    std::size_t headers[8];
    for (std::size_t& at : headers) at = memory.add(0, view(udp_packet()), {.status = TP_STATUS_VLAN_VALID, .tci = 1});
    memory.hand_over(0);
    // Up to three fields of headers, the packets' or the block's, say something else.
    for (std::uint64_t changes = 1 + random.below(3); changes != 0; --changes) {
      const std::uint32_t values[] = {
          0,    1,    47,   48,   77,         78,         79,
          4000, 4095, 4096, 4097, 0x7fffffff, 0xffffffff, static_cast<std::uint32_t>(random.next())};
      const std::uint32_t value = values[random.below(14)];
      const std::size_t header = headers[random.below(8)];
      switch (random.below(6)) {
        case 0: memory.put32(0, header, value); break;        // tp_next_offset
        case 1: memory.put32(0, header + 12, value); break;   // tp_snaplen
        case 2: memory.put32(0, header + 24, value); break;   // tp_mac and tp_net
        case 3: memory.put32(0, 12, value); break;            // num_pkts
        case 4: memory.put32(0, 16, value); break;            // offset_to_first_pkt
        default: memory.put32(0, header + 82, value); break;  // the virtio net header
      }
    }
    // A copy whose end is the end of an allocation: a sanitizer sees what is read behind it.
    std::vector<std::byte> tight(memory.memory);
    packet_receive_ring ring(tight.data(), written_ring::block_size, 1);
    packet_block_counters count;
    std::vector<frame> got(64);
    std::size_t n = 0;
    do {
      into_array take(got.data());
      n = ring.receive(64, frame{}, count, take);
      for (std::size_t i = 0; i < n; ++i) {
        const frame& f = got[i];
        REQUIRE(f.head() >= tight.data() + 48);
        REQUIRE(f.data <= tight.data() + tight.size());
        REQUIRE(f.length <= static_cast<std::size_t>(tight.data() + tight.size() - f.data));
      }
      frames += n;
    } while (n == 64);
    malformed += count.malformed;
    ring.give_back();
    REQUIRE(ring.held() == 0);
  }
  CHECK(frames > 20'000);
  CHECK(malformed > 5'000);
}

#endif
