// SPDX-License-Identifier: MIT
// Ethernet frames as an attacker would make them: right ones of all protocols, and ones with too many tags, extension
// headers in any order, lengths that lie, bits changed, ends missing.
#ifndef TESTS_XDP_HOSTILE_PACKETS_HPP
#define TESTS_XDP_HOSTILE_PACKETS_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#include <runnel/base/random.hpp>

namespace runnel_test {

class hostile_packets {
  using octets = std::vector<std::byte>;

 public:
  explicit hostile_packets(std::uint64_t seed) : random_(seed) {}

  // Another frame, of 14 bytes at least.
  octets next() {
    unsigned type = 0;
    octets inside = network(type);
    for (std::uint64_t tags = one_in(2) ? random_.below(one_in(4) ? 11 : 4) : 0; tags != 0; --tags) {
      octets tag;
      add16(tag, random_.next());
      add16(tag, type);
      inside.insert(inside.begin(), tag.begin(), tag.end());
      constexpr unsigned kinds[] = {0x8100, 0x88a8, 0x9100, 0x8100};
      type = kinds[random_.below(4)];
    }
    octets frame;
    for (int i = 0; i < 12; ++i) add8(frame, one_in(2) ? 2 : random_.next());
    add16(frame, type);
    append(frame, inside);
    spoil(frame);
    return frame;
  }

 private:
  bool one_in(std::uint64_t n) { return random_.below(n) == 0; }
  std::size_t place(std::size_t n) { return static_cast<std::size_t>(random_.below(n)); }
  template <std::size_t N>
  unsigned one_of(const unsigned (&values)[N]) {
    return values[random_.below(N)];
  }
  static void add8(octets& to, std::uint64_t v) { to.push_back(static_cast<std::byte>(v & 0xff)); }
  static void add16(octets& to, std::uint64_t v) { add8(to, v >> 8), add8(to, v); }
  static void append(octets& to, const octets& more) { to.insert(to.end(), more.begin(), more.end()); }
  void add_random(octets& to, std::uint64_t n) {
    for (; n != 0; --n) add8(to, random_.next());
  }

  octets network(unsigned& type) {
    switch (random_.below(12)) {
      case 0: {  // ARP
        type = 0x0806;
        octets o;
        add16(o, one_of({1, 1, 6, 7}));
        add16(o, one_of({0x0800, 0x0800, 0x86dd}));
        add16(o, one_of({0x0604, 0x0604, 0x0806}));
        add16(o, one_of({1, 2, 9}));
        add_random(o, random_.below(8) == 0 ? random_.below(20) : 20);
        return o;
      }
      case 1: {  // LLC, perhaps SNAP
        octets o;
        unsigned inner = 0;
        const octets inside = network(inner);
        if (one_in(3)) {
          add16(o, one_of({0x4242, 0xaaaa, 0xe0e0}));
          add8(o, one_of({3, 0, 1, 0x7f}));
          add_random(o, random_.below(6));
        } else {
          add16(o, 0xaaaa);
          add8(o, 3);
          add8(o, 0), add8(o, 0), add8(o, one_of({0, 0, 0xf8, 0x0c}));
          add16(o, inner);
        }
        append(o, inside);
        if (one_in(20)) add_random(o, 1400 + random_.below(200));  // lengths are at most 1500, types at least 1536
        type = static_cast<unsigned>(o.size()) + static_cast<unsigned>(one_in(6) ? random_.below(8) : 0);
        if (!o.empty() && one_in(6)) type = static_cast<unsigned>(random_.below(0x700));
        return o;
      }
      case 2: {  // MPLS
        type = one_of({0x8847, 0x8848});
        octets o;
        for (std::uint64_t labels = one_in(4) ? random_.below(19) : random_.below(3); labels != 0; --labels) {
          add16(o, random_.next());
          add16(o, random_.next() & 0xfeff);
        }
        add16(o, random_.next());
        add16(o, random_.next() | 0x100);
        unsigned unused = 0;
        if (!one_in(8)) append(o, one_in(2) ? ipv4(unused) : ipv6(unused));
        return o;
      }
      case 3: {
        type = one_of({0x88cc, 0x0842, 0x8864, 0x0600, 0x05ff, 0x86dc, 0xffff, 0});
        octets o;
        add_random(o, random_.below(40));
        return o;
      }
      default: return one_in(2) ? ipv4(type) : ipv6(type);
    }
  }
  octets ipv4(unsigned& type) {
    type = 0x0800;
    unsigned number = 0;
    const octets inside = transport(number, false);
    const std::uint64_t words = one_in(3) ? random_.below(11) : 0;
    octets o;
    add8(o, (one_in(30) ? random_.next() & 0xf0 : 0x40) | (one_in(30) ? random_.below(16) : 5 + words));
    add8(o, random_.next());
    add16(o, one_in(20) ? random_.below(100) : 20 + 4 * words + inside.size());
    add16(o, random_.next());
    add16(o, one_in(4) ? random_.next() & one_of({0xffff, 0x2000, 0x3fff, 0x201f, 0x5fff}) : one_in(2) ? 0x4000 : 0);
    add8(o, one_of({0, 1, 64, 255}));
    add8(o, number);
    add16(o, random_.next());
    add_address(o, 4);
    add_address(o, 4);
    add_random(o, 4 * words);
    append(o, inside);
    return o;
  }
  octets ipv6(unsigned& type) {
    type = 0x86dd;
    unsigned number = 0;
    octets inside = transport(number, true);
    // Half of them in an order that is good, so that long ones are not refused for another reason; some of fragments.
    const bool good = one_in(2), only_fragments = one_in(3);
    for (std::uint64_t n = one_in(2) ? random_.below(one_in(4) ? 11 : 4) : 0; n != 0; --n) {
      const unsigned kind = good ? one_of({43, 60}) : only_fragments ? 44 : one_of({0, 43, 44, 51, 60, 60, 43, 135});
      const std::uint64_t length = kind == 51 ? random_.below(5) : kind == 44 ? random_.below(2) * 9 : random_.below(3);
      octets o;
      add8(o, number);
      add8(o, length);
      if (kind == 44) {
        add16(o, one_of({0, 1, 1, 1, 8, 9, 0xfff8, 0xfff9, 6}));
        add_random(o, 4);
      } else {
        add_random(o, (kind == 51 ? (length + 2) * 4 : (length + 1) * 8) - 2);
      }
      append(o, inside);
      inside = o;
      number = kind;
    }
    octets o;
    add8(o, (one_in(30) ? random_.next() & 0xf0 : 0x60) | random_.below(16));
    add_random(o, 3);
    add16(o, one_in(20) ? random_.below(100) : inside.size());
    add8(o, number);
    add8(o, one_of({0, 1, 64, 255}));
    add_address(o, 16);
    add_address(o, 16);
    append(o, inside);
    return o;
  }
  // Few different ones, so that sets and prefixes have some of them.
  void add_address(octets& o, std::size_t n) {
    add8(o, one_of({10, 192, 0x20, 0xfe}));
    for (std::size_t i = 1; i + 1 < n; ++i) add8(o, one_in(8) ? random_.next() : 0);
    add8(o, random_.below(4));
  }
  octets transport(unsigned& number, bool six) {
    octets o;
    const std::uint64_t data = random_.below(30);
    switch (random_.below(8)) {
      case 0:
      case 1: {
        number = 6;
        const std::uint64_t words = one_in(2) ? random_.below(11) : 0;
        add16(o, port()), add16(o, port());
        add_random(o, 8);
        add8(o, (one_in(16) ? random_.below(16) : 5 + words) << 4);
        add_random(o, 7 + 4 * words);
        break;
      }
      case 2:
      case 3:
        number = 17;
        add16(o, port()), add16(o, port());
        add16(o, one_in(4) ? random_.below(100) : 8 + data);
        add_random(o, 2);
        break;
      case 4:
      case 5:
        number = one_in(12) == six ? 1 : 58;
        add8(o, six ? one_of({1, 2, 4, 128, 129, 130, 131, 133, 134, 135, 136, 137}) : one_of({0, 3, 5, 8, 11, 13}));
        add8(o, random_.below(5));
        add_random(o, 6 + (one_in(2) ? 36 : 0));
        break;
      case 6:
        number = 47;
        add16(o, one_in(2) ? one_of({0, 0x8000, 0x2000, 0xb000, 0x3001, 0x4000, 1}) : random_.next());
        add16(o, one_of({0x0800, 0x86dd, 0x6558}));
        add_random(o, one_in(3) ? random_.below(12) : 12);
        break;
      default: number = one_of({0, 2, 4, 41, 50, 59, 89, 132, 255, 44, 51}); break;
    }
    add_random(o, data);
    return o;
  }
  std::uint64_t port() { return one_in(4) ? random_.next() : one_of({22, 53, 80, 443, 4789, 1900}); }

  void spoil(octets& frame) {
    switch (random_.below(6)) {
      case 0: frame.resize(14 + place(frame.size() - 13)); break;
      case 1:
        for (std::uint64_t n = 1 + random_.below(4); n != 0; --n)
          frame[place(frame.size())] ^= static_cast<std::byte>(1u << random_.below(8));
        break;
      case 2: {
        const std::size_t at = 12 + place(frame.size() - 13);
        frame[at] = static_cast<std::byte>(random_.next());
        frame[at + 1] = static_cast<std::byte>(random_.next());
        break;
      }
      case 3:  // padding, or what was there before
        for (std::uint64_t n = random_.below(50); n != 0; --n) add8(frame, one_in(2) ? 0 : random_.next());
        break;
      default: break;
    }
  }

  runnel::random_generator random_;
};

}  // namespace runnel_test

#endif
