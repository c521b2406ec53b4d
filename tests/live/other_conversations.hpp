// SPDX-License-Identifier: MIT
// Random conversations that are not TCP, for tests that compare with the kernel: UDP, ICMP queries and errors,
// fragments, tunnels, protocols without ports, extension headers. Deterministic.
#ifndef RUNNEL_TESTS_LIVE_OTHER_CONVERSATIONS_HPP
#define RUNNEL_TESTS_LIVE_OTHER_CONVERSATIONS_HPP

#include <algorithm>

#include "tcp_conversation.hpp"

namespace kernel_path {

struct step {
  frame_bytes packet{};  // an IP packet
  std::string what{};    // of which kind it is: what differences are sorted by
  std::string text{};
};

class other_conversation {
 public:
  enum class kind { udp, query, error, fragments, extensions, gre, gre_with_key, pptp, udplite, sctp, plain, count };

  other_conversation(numbers& random, const hosts& between, kind k) : random_(random), between_(between), kind_(k) {
    if (k == kind::extensions) between_.is_ipv6 = true;
    protocol_ = random_.one_of({std::uint8_t{50}, std::uint8_t{4}, std::uint8_t{89}, std::uint8_t{253}});
  }

  step next() {
    switch (kind_) {
      case kind::udp: {
        const frame_bytes b = udp();
        return whole(b.size() >= 8 && get16(b, 4) < b.size() ? "UDP with a trailer" : "UDP", 17, b);
      }
      case kind::query: return query();
      case kind::error: return random_.chance(40) && !past_.empty() ? error() : subject();
      case kind::fragments: return fragment();
      case kind::extensions: return extensions();
      case kind::gre:
      case kind::gre_with_key:
      case kind::pptp: return gre();
      case kind::udplite: return udplite();
      case kind::sctp: return sctp();
      default: return whole("another protocol", protocol_, filled(random_.below(40)));
    }
  }
  const hosts& between() const { return between_; }

 private:
  static frame_bytes filled(std::size_t n) {
    frame_bytes b;
    for (std::size_t i = 0; i < n; ++i) put8(b, i * 5 + 1);
    return b;
  }
  void turn() { by_server_ = random_.chance(40); }
  step whole(const char* what, std::uint8_t protocol, const frame_bytes& payload, const std::string& text = {}) {
    return {between_.ip(by_server_, protocol, payload), what,
            (by_server_ ? "s>c " : "c>s ") + std::string(what) + " " + std::to_string(payload.size()) + " bytes " +
                text + note_};
  }
  // A datagram between two ports on each side.
  frame_bytes udp(bool right = false, std::size_t size = 0) {
    turn();
    note_.clear();
    const std::uint16_t client = static_cast<std::uint16_t>(1000 + random_.below(2)),
                        server = static_cast<std::uint16_t>(53 + random_.below(2));
    frame_bytes b;
    put16(b, by_server_ ? server : client), put16(b, by_server_ ? client : server);
    const frame_bytes data = filled(size != 0 ? size : random_.below(60));
    std::size_t length = 8 + data.size();
    note_ = " ports " + std::to_string(get16(b, 0)) + " " + std::to_string(get16(b, 2));
    if (!right && random_.chance(6)) {
      length = random_.chance(50) ? length + 1 + random_.below(9) : random_.below(length);
      note_ += " length " + std::to_string(length);
    }
    put16(b, length), put16(b, 0), put(b, data);
    // The sum is that of the datagram; or of the whole packet, as if nothing were behind the datagram.
    const bool of_all = length > b.size() || random_.chance(50);
    const frame_bytes summed(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(of_all ? b.size() : length));
    const std::uint16_t sum = internet_checksum(summed, between_.pseudo(17, summed.size()));
    set16(b, 6, sum == 0 ? 0xffff : sum);
    if (!right && random_.chance(4)) set16(b, 6, sum ^ 0x0101), note_ += " bad checksum";
    else if (!right && random_.chance(6)) set16(b, 6, 0), note_ += " no checksum";
    if (!right && random_.chance(3)) b.resize(random_.below(8)), note_ += " cut";
    return b;
  }
  frame_bytes icmp(unsigned type, unsigned code, std::uint32_t rest, const frame_bytes& payload, bool bad = false) {
    frame_bytes b;
    put8(b, type), put8(b, code), put16(b, 0), put32(b, rest), put(b, payload);
    set16(b, 2, internet_checksum(b, between_.is_ipv6 ? between_.pseudo(58, b.size()) : 0) ^ (bad ? 0x0101u : 0u));
    return b;
  }
  std::uint8_t icmp_number() const { return between_.is_ipv6 ? 58 : 1; }
  step query() {
    constexpr std::uint8_t types4[] = {8, 0, 13, 14, 15, 16, 17, 18, 8, 0, 1, 2, 6, 7, 9, 10, 19, 30, 42, 43, 255};
    constexpr std::uint8_t types6[] = {128, 129, 139, 140, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137,
                                       138, 141, 142, 143, 144, 145, 151, 152, 153, 155, 160, 200, 255};
    turn();
    note_.clear();
    std::uint8_t type = between_.is_ipv6 ? random_.one_of(types6) : random_.one_of(types4);
    if (random_.chance(60))
      type = static_cast<std::uint8_t>((between_.is_ipv6 ? 128 : 8) + (by_server_ ? (between_.is_ipv6 ? 1 : -8) : 0));
    const unsigned code = random_.chance(8) ? 1 + random_.below(3) : 0;
    const bool bad = random_.chance(4);
    frame_bytes b =
        icmp(type, code, (0x100u + random_.below(2)) << 16 | random_.below(5), filled(random_.below(30)), bad);
    if (random_.chance(3)) b.resize(random_.below(8)), note_ = " cut";
    return whole(between_.is_ipv6 ? "ICMPv6" : "ICMP", icmp_number(), b,
                 "type " + std::to_string(type) + " code " + std::to_string(code) + (bad ? " bad checksum" : ""));
  }
  // Something that errors may be about.
  step subject() {
    step s;
    if (random_.chance(60)) {
      s = whole("UDP", 17, udp(true));
    } else if (random_.chance(50)) {
      turn();
      s = whole("an echo", icmp_number(),
                icmp(between_.is_ipv6 ? (by_server_ ? 129 : 128) : (by_server_ ? 0 : 8), 0, 0x0107'0001, filled(20)));
    } else {
      turn();
      segment g;
      g.by_server = by_server_, g.flags = by_server_ ? SYN | ACK : SYN, g.seq = 7, g.ack = by_server_ ? 8 : 0;
      g.window = 5000, g.source = by_server_ ? 80 : 4000, g.destination = by_server_ ? 4000 : 80;
      s = whole("TCP", 6, g.bytes(between_));
    }
    past_.push_back(s.packet);
    return s;
  }
  // About a packet that went by, or one like it, to where that came from, or not.
  step error() {
    constexpr std::uint8_t types4[] = {3, 11, 12, 4, 5}, types6[] = {1, 2, 3, 4, 5, 100, 127, 0};
    frame_bytes quoted = past_[random_.below(past_.size())];
    const std::size_t header = between_.is_ipv6 ? 40 : 20, addresses = between_.is_ipv6 ? 8 : 12,
                      size = between_.is_ipv6 ? 16 : 4;
    std::string changes;
    by_server_ =
        quoted[addresses + 1 + (between_.is_ipv6 ? 4 : 0)] == 1 && !between_.is_ipv6
            ? true
            : between_.is_ipv6 && std::equal(quoted.begin() + 8, quoted.begin() + 24, between_.address(false).begin());
    if (random_.chance(10)) by_server_ = !by_server_, changes += " to the wrong host";
    if (random_.chance(10)) {  // the answer is quoted, which nobody may have sent
      std::swap_ranges(quoted.begin() + static_cast<std::ptrdiff_t>(addresses),
                       quoted.begin() + static_cast<std::ptrdiff_t>(addresses + size),
                       quoted.begin() + static_cast<std::ptrdiff_t>(addresses + size));
      changes += " addresses turned";
    }
    if (random_.chance(10) && quoted.size() > header + 4) {
      const std::size_t at = header + random_.below(4);
      quoted[at] = static_cast<std::uint8_t>(quoted[at] ^ 1);
      changes += " another port";
    }
    if (random_.chance(6)) quoted[between_.is_ipv6 ? 6 : 9] = 99, changes += " another protocol";
    if (random_.chance(5)) quoted[0] = static_cast<std::uint8_t>(quoted[0] ^ 0x20), changes += " another version";
    if (random_.chance(5) && !between_.is_ipv6) quoted[7] = 5, changes += " a later fragment";
    if (random_.chance(5) && !between_.is_ipv6)
      quoted[0] = static_cast<std::uint8_t>(0x40 | random_.below(16)), changes += " another header length";
    const unsigned cut = random_.chance(25) ? random_.below(quoted.size() + 1) : 1000;
    if (cut < quoted.size()) quoted.resize(cut), changes += " cut to " + std::to_string(cut);
    else if (random_.chance(40)) quoted.resize(std::min(quoted.size(), header + 8)), changes += " 8 bytes";
    const std::uint8_t type =
        between_.is_ipv6 ? types6[random_.below(random_.chance(80) ? 4 : 8)] : random_.one_of(types4);
    const bool bad = random_.chance(4);
    note_.clear();
    return whole(changes.find("version") != std::string::npos ? "ICMP error with another version inside"
                 : between_.is_ipv6                           ? "ICMPv6 error"
                                                              : "ICMP error",
                 icmp_number(), icmp(type, random_.below(random_.chance(90) ? 4 : 20), 0, quoted, bad),
                 "type " + std::to_string(type) + changes + (bad ? " bad checksum" : ""));
  }
  // Datagrams in two or three pieces, in any order.
  step fragment() {
    if (pieces_.empty()) {
      const frame_bytes d = udp(true, 100 + random_.below(900));
      const std::uint32_t id = random_.below(65536);
      const std::size_t first = 8 * (1 + random_.below(d.size() / 8 - 1));
      std::vector<std::size_t> cuts{0, first, d.size()};
      if (first > 16 && random_.chance(40)) cuts.insert(cuts.begin() + 1, 8 * (1 + random_.below(first / 8 - 1)));
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        const frame_bytes part(d.begin() + static_cast<std::ptrdiff_t>(cuts[i]),
                               d.begin() + static_cast<std::ptrdiff_t>(cuts[i + 1]));
        const bool more = i + 2 < cuts.size();
        const std::string text =
            "fragment " + std::to_string(id) + " at " + std::to_string(cuts[i]) + (more ? "+" : "");
        if (between_.is_ipv6) {
          frame_bytes b;
          put8(b, 17), put8(b, 0), put16(b, cuts[i] | (more ? 1 : 0)), put32(b, id), put(b, part);
          pieces_.push_back(whole("UDP in fragments", 44, b, text));
        } else {
          step s = whole("UDP in fragments", 17, part, text);
          s.packet = between_.ip(by_server_, 17, part, static_cast<std::uint16_t>(id),
                                 static_cast<std::uint16_t>(cuts[i] / 8 | (more ? 0x2000 : 0)));
          pieces_.push_back(s);
        }
      }
      if (random_.chance(10)) pieces_.pop_back();
      if (random_.chance(50)) std::swap(pieces_.front(), pieces_.back());
    }
    const step s = pieces_.back();
    pieces_.pop_back();
    return s;
  }
  // IPv6 headers before UDP.
  step extensions() {
    const frame_bytes d = udp(true);
    struct header {
      std::uint8_t number;
      frame_bytes bytes;
    };
    std::vector<header> chain;
    std::string names;
    if (random_.chance(30)) chain.push_back({0, {0, 0, 1, 4, 0, 0, 0, 0}}), names += " hop-by-hop";
    if (random_.chance(40))
      chain.push_back({60, {0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}), names += " destination";
    if (random_.chance(20)) chain.push_back({44, {0, 0, 0, 0, 1, 2, 3, 4}}), names += " atomic fragment";
    if (random_.chance(20)) chain.push_back({60, {0, 0, 1, 4, 0, 0, 0, 0}}), names += " destination";
    if (random_.chance(10)) chain.push_back({59, {}}), names += " no next header";
    if (random_.chance(10)) chain.push_back({43, {0, 0, 4, 0, 0, 0, 0, 0}}), names += " routing";
    frame_bytes b;
    for (std::size_t i = 0; i < chain.size(); ++i) {
      if (!chain[i].bytes.empty()) chain[i].bytes[0] = i + 1 < chain.size() ? chain[i + 1].number : 17;
      put(b, chain[i].bytes);
    }
    put(b, d);
    return whole("UDP behind extension headers", chain.empty() ? 17 : chain.front().number, b, names);
  }
  step gre() {
    turn();
    note_.clear();
    frame_bytes b;
    const std::uint32_t key = 5 + random_.below(2);
    const std::string text = "key " + std::to_string(key);
    if (kind_ == kind::gre) {
      put32(b, 0x0800), put(b, filled(30));
      return whole("GRE without a key", 47, b);
    }
    if (kind_ == kind::gre_with_key) {
      put32(b, 0x2000'0800), put32(b, key), put(b, filled(30));
      return whole("GRE with a key", 47, b, text);
    }
    put32(b, 0x3001'880b), put16(b, 10), put16(b, key), put32(b, 1), put(b, filled(10));
    return whole("GRE of PPTP", 47, b, text);
  }
  step udplite() {
    frame_bytes b = udp(true);
    set16(b, 4, random_.chance(80) ? 0 : 8), set16(b, 6, 0);
    set16(b, 6,
          internet_checksum(get16(b, 4) == 0 ? b : frame_bytes(b.begin(), b.begin() + 8),
                            between_.pseudo(random_.chance(50) ? 136 : 17, b.size())));
    return whole("UDP-Lite", 136, b);
  }
  step sctp() {
    constexpr std::uint8_t chunks[] = {1, 2, 10, 11, 0, 3, 6, 7, 8, 14, 4, 5};
    turn();
    note_.clear();
    const std::uint8_t chunk = random_.one_of(chunks);
    frame_bytes b;
    put16(b, by_server_ ? 80 : 4000), put16(b, by_server_ ? 4000 : 80), put32(b, chunk == 1 ? 0 : 7), put32(b, 0);
    put8(b, chunk), put8(b, 0), put16(b, 20), put32(b, 9), put32(b, 100000), put32(b, 0x000a'000a), put32(b, 1);
    std::uint32_t crc = ~0u;
    for (const std::uint8_t byte : b) {
      crc ^= byte;
      for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f6'3b78 : 0);
    }
    crc = __builtin_bswap32(~crc);
    set16(b, 8, crc >> 16), set16(b, 10, crc);
    return whole("SCTP", 132, b, "chunk " + std::to_string(chunk));
  }

  numbers& random_;
  hosts between_;
  kind kind_;
  std::uint8_t protocol_;
  bool by_server_ = false;
  std::string note_;
  std::vector<frame_bytes> past_;
  std::vector<step> pieces_;
};

}  // namespace kernel_path

#endif
