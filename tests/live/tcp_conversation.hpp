// SPDX-License-Identifier: MIT
// Random TCP conversations for tests that compare with the kernel: two sides that follow the protocol, on a way that
// loses, repeats and reorders; and segments that no such side would send. Deterministic.
#ifndef RUNNEL_TESTS_LIVE_TCP_CONVERSATION_HPP
#define RUNNEL_TESTS_LIVE_TCP_CONVERSATION_HPP

#include "kernel_path.hpp"

namespace kernel_path {

/// Bits of the flags byte.
enum : std::uint8_t { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64, CWR = 128 };

inline std::string names_of(std::uint8_t flags) {
  std::string names;
  for (unsigned i = 0; i < 8; ++i)
    if ((flags >> i & 1) != 0) names += "FSRPAUEC"[i];
  return names;
}

struct segment {
  bool by_server = false;
  std::uint32_t seq = 0, ack = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;
  std::uint16_t payload = 0;
  std::uint16_t source = 0, destination = 0;
  frame_bytes options{};
  std::uint8_t offset = 0;  // of the data, in words, if it is not what it should be
  bool bad_checksum = false;

  frame_bytes bytes(const hosts& h) const {
    frame_bytes o = options;
    while (o.size() % 4 != 0) o.push_back(0);
    frame_bytes b;
    put16(b, source), put16(b, destination), put32(b, seq), put32(b, ack);
    put8(b, (offset != 0 ? offset : 5 + o.size() / 4) << 4), put8(b, flags), put16(b, window), put32(b, 0);
    put(b, o);
    for (unsigned i = 0; i < payload; ++i) put8(b, i * 7);
    set16(b, 16, internet_checksum(b, h.pseudo(6, b.size())) ^ (bad_checksum ? 0x1234u : 0u));
    return b;
  }
  std::string text(std::uint32_t client_isn, std::uint32_t server_isn) const {
    char line[200];
    const std::uint32_t base = by_server ? server_isn : client_isn, other = by_server ? client_isn : server_isn;
    std::snprintf(line, sizeof line, "%s %-4s seq %+d ack %+d win %u len %u%s", by_server ? "s>c" : "c>s",
                  names_of(flags).c_str(), static_cast<int>(seq - base), static_cast<int>(ack - other), window, payload,
                  bad_checksum ? " bad checksum" : "");
    std::string all = line;
    if (offset != 0) all += " data offset " + std::to_string(offset);
    if (!options.empty()) {
      all += " options";
      for (const std::uint8_t o : options) std::snprintf(line, sizeof line, " %02x", o), all += line;
    }
    return all;
  }
};

class tcp_conversation {
 public:
  tcp_conversation(numbers& random, std::uint16_t client_port, std::uint16_t server_port, unsigned hostile)
      : random_(random), port_{client_port, server_port}, hostile_(hostile) {
    for (side& s : sides_) begin(s);
    if (random_.chance(8)) phase_ = 6;                  // in its middle
    else if (random_.chance(10)) simultaneous_ = true;  // both begin
  }

  /// What comes by next.
  segment next() {
    if (!past_.empty() && random_.chance(12)) return again(past_[random_.below(past_.size())]);
    if (!past_.empty() && random_.chance(6)) return again(past_.back());
    segment s = random_.chance(hostile_) ? strange() : proper();
    past_.push_back(s);
    return s;
  }
  std::string text(const segment& s) const { return s.text(sides_[0].first, sides_[1].first); }

 private:
  struct side {
    std::uint32_t first, next, seen;  // own numbers: the first one, the next; of the peer: the next expected
    std::uint16_t window;
    int scale;  // -1: without
    bool sack, timestamps;
  };

  void begin(side& s) {
    constexpr std::uint32_t near_the_wrap = 0xffff'ff00;
    s.first = s.next =
        random_.chance(30) ? near_the_wrap + random_.below(512) : static_cast<std::uint32_t>(random_.next());
    s.seen = 0;
    constexpr std::uint16_t windows[] = {0, 1, 500, 1000, 8192, 29200, 64240, 65535};
    s.window = random_.chance(5) ? static_cast<std::uint16_t>(random_.next())
                                 : windows[random_.chance(85) ? 2 + random_.below(6) : random_.below(8)];
    s.scale = random_.chance(70) ? static_cast<int>(random_.below(random_.chance(90) ? 11 : 16)) : -1;
    s.sack = random_.chance(70);
    s.timestamps = random_.chance(40);
  }
  segment from(bool by_server, std::uint8_t flags, std::uint16_t payload = 0) {
    const side& s = sides_[by_server];
    segment g;
    g.by_server = by_server;
    g.seq = s.next, g.ack = (flags & ACK) != 0 ? s.seen : 0;
    g.flags = flags, g.window = s.window, g.payload = payload;
    g.source = port_[by_server], g.destination = port_[!by_server];
    if ((flags & SYN) != 0) {
      put32(g.options, 0x0204'05b4);
      if (s.sack) put16(g.options, 0x0402);
      if (s.scale >= 0) put8(g.options, 1), put16(g.options, 0x0303), put8(g.options, static_cast<unsigned>(s.scale));
    } else if (s.timestamps) {
      put32(g.options, 0x0101'080a), put32(g.options, 1000), put32(g.options, 2000);
    }
    return g;
  }
  // It was sent: the sender goes on, and mostly so does the receiver. `lost` behind the place where we look.
  segment send(segment g) {
    side &sender = sides_[g.by_server], &receiver = sides_[!g.by_server];
    const std::uint32_t end = g.seq + g.payload + ((g.flags & SYN) != 0) + ((g.flags & FIN) != 0);
    sender.next = end;
    if (random_.chance(90) && ((g.flags & SYN) != 0 || g.seq == receiver.seen)) receiver.seen = end;
    return g;
  }
  segment proper() {
    const bool who = random_.chance(50);
    switch (phase_) {
      case 0: ++phase_; return send(from(false, SYN | (random_.chance(10) ? ECE | CWR : 0)));
      case 1:
        if (simultaneous_) {
          ++phase_;
          return send(from(true, SYN));
        }
        if (random_.chance(10)) return again(past_.front());
        phase_ = 3;
        return send(from(true, SYN | ACK));
      case 2: {
        phase_ = 3;
        segment g = from(true, SYN | ACK);
        g.seq -= 1;
        return g;
      }
      case 3: ++phase_; return send(from(false, ACK));
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        ++phase_;
        if (random_.chance(15)) sides_[who].window = static_cast<std::uint16_t>(random_.next());
        if (random_.chance(40)) return send(from(who, ACK));
        if (random_.chance(8)) sides_[who].next += random_.below(3000);  // lost before us
        return with_sack(send(from(who, ACK | PSH, static_cast<std::uint16_t>(1 + random_.below(1200)))));
      case 9:
        if (random_.chance(30)) return phase_ = 13, send(from(who, RST | (random_.chance(70) ? ACK : 0)));
        closer_ = who;
        ++phase_;
        return send(from(closer_, FIN | ACK));
      case 10:
        ++phase_;
        if (random_.chance(60)) return send(from(!closer_, ACK));
        [[fallthrough]];
      case 11: phase_ = 12; return send(from(!closer_, FIN | ACK));
      case 12: ++phase_; return send(from(closer_, ACK));
      default:
        if (random_.chance(40)) return send(from(who, random_.chance(50) ? ACK : RST));
        phase_ = 1;  // the same ports again
        if (random_.chance(70)) { begin(sides_[0]), begin(sides_[1]); }
        if (random_.chance(20)) std::swap(port_[0], port_[1]);
        simultaneous_ = random_.chance(10);
        return send(from(false, SYN));
    }
  }
  segment with_sack(segment g) {
    if (!random_.chance(20)) return g;
    g.options.clear();
    const unsigned blocks = 1 + random_.below(3);
    put16(g.options, 0x0101), put8(g.options, 5), put8(g.options, 2 + 8 * blocks);
    for (unsigned i = 0; i < blocks; ++i) {
      const std::uint32_t left = g.ack + odd_number();
      put32(g.options, left), put32(g.options, left + random_.below(3000));
    }
    return g;
  }
  // Distances at which something changes.
  std::uint32_t odd_number() {
    const std::uint32_t w = sides_[random_.below(2)].window;
    const std::uint32_t scaled = w << (random_.below(8));
    const std::uint32_t choices[] = {
        0,     1,        2,        100,         1460,        w,
        w + 1, w - 1,    scaled,   scaled + 1,  65535,       66000,
        66001, 1u << 20, 1u << 30, 0x7fff'ffff, 0x8000'0000, static_cast<std::uint32_t>(random_.next())};
    const std::uint32_t n = random_.one_of(choices);
    return random_.chance(50) ? n : 0u - n;
  }
  // Anything, mostly near to what could be.
  segment strange() {
    constexpr std::uint8_t kinds[] = {SYN,       SYN | ACK, ACK, FIN | ACK, RST,      RST | ACK,
                                      ACK | PSH, ACK | URG, FIN, 0,         SYN | FIN};
    segment g = from(random_.chance(50), random_.chance(93) ? kinds[random_.below(random_.chance(85) ? 7 : 11)]
                                                            : static_cast<std::uint8_t>(random_.next()));
    g.ack = sides_[g.by_server].seen;
    if (random_.chance(30)) g.payload = static_cast<std::uint16_t>(random_.below(300));
    if (random_.chance(45)) g.seq += odd_number();
    if (random_.chance(35)) g.ack += odd_number();
    if (random_.chance(6)) g.seq = 0;
    if (random_.chance(6)) g.ack = 0;
    if (random_.chance(20)) g.window = static_cast<std::uint16_t>(random_.next());
    if (random_.chance(5)) g.window = 0;
    if (random_.chance(12)) g = with_sack(g);
    if (random_.chance(6)) {  // options of all sorts
      g.options.clear();
      for (unsigned n = 1 + random_.below(20); n != 0; --n)
        put8(g.options, random_.chance(60) ? random_.below(11) : random_.next());
    }
    if (random_.chance(2)) g.offset = static_cast<std::uint8_t>(random_.below(16));
    if (random_.chance(2)) g.bad_checksum = true;
    return random_.chance(25) ? send(g) : g;
  }
  static segment again(segment s) { return s; }

  numbers& random_;
  std::uint16_t port_[2];
  unsigned hostile_;  // how many of a hundred segments
  unsigned phase_ = 0;
  bool simultaneous_ = false, closer_ = false;
  side sides_[2];
  std::vector<segment> past_;
};

}  // namespace kernel_path

#endif
