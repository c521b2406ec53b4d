// SPDX-License-Identifier: MIT
// Random conversations through address translation for tests that compare with the kernel: each side sends to the
// addresses and ports that it has seen. TCP, UDP and pings, whole and in fragments, and errors about them.
// Deterministic.
#ifndef RUNNEL_TESTS_LIVE_NAT_CONVERSATION_HPP
#define RUNNEL_TESTS_LIVE_NAT_CONVERSATION_HPP

#include <algorithm>

#include "tcp_conversation.hpp"

namespace kernel_path {

/// The address of the host that translates: what is redirected is for it.
inline frame_bytes own_address(bool is_ipv6) {
  frame_bytes a;
  if (is_ipv6) put32(a, 0xfd00'0000), put32(a, 3), put32(a, 0), put32(a, 1);
  else put32(a, 0x0a03'0001);
  return a;
}
/// Where things are in an IP packet without extension headers.
struct ip_places {
  explicit ip_places(const frame_bytes& p) : is_ipv6(p[0] >> 4 == 6) {}
  explicit ip_places(bool v6) : is_ipv6(v6) {}
  bool is_ipv6;
  std::size_t header = is_ipv6 ? 40 : 20, protocol = is_ipv6 ? 6 : 9;

  frame_bytes address(const frame_bytes& p, bool destination) const {
    const std::size_t size = is_ipv6 ? 16 : 4, at = (is_ipv6 ? 8 : 12) + (destination ? size : 0);
    return {p.begin() + static_cast<std::ptrdiff_t>(at), p.begin() + static_cast<std::ptrdiff_t>(at + size)};
  }
  /// Whether a packet is a fragment.
  bool is_fragment(const frame_bytes& p) const { return is_ipv6 ? p[6] == 44 : (get16(p, 6) & 0x3fff) != 0; }
  /// Where in its datagram the bytes of a packet begin.
  std::uint64_t offset(const frame_bytes& p) const {
    if (!is_fragment(p)) return 0;
    return is_ipv6 ? get16(p, 42) & 0xfff8 : (get16(p, 6) & 0x1fff) * 8;
  }
};

/// Packets of two hosts, as they come from them.
class nat_conversation {
 public:
  explicit nat_conversation(numbers& random) : random_(random) {}
  virtual ~nat_conversation() = default;
  /// What comes by next: a packet, or the fragments of one in any order.
  virtual std::vector<frame_bytes> next() = 0;
  /// What the kernel made of it: fragments in order, or nothing.
  virtual void forwarded(const std::vector<frame_bytes>& seen) = 0;
  /// What differences are listed by, if that is not to be seen in the packet.
  virtual std::string kind() const { return {}; }
  /// Whether it has a port that only one of several may have.
  virtual bool shares() const { return false; }
  /// What is not to be seen in the packet, for the story.
  virtual std::string note() const { return {}; }

 protected:
  numbers& random_;
};

class flow_through_nat final : public nat_conversation {
 public:
  static constexpr unsigned source_rules = 6;  // 10.1.N.0/24 and fd00:0:0:1::N:0/112 are for rule N; 0: there is none

  flow_through_nat(numbers& random, std::uint16_t number)
      : nat_conversation(random),
        tcp_(random,
             static_cast<std::uint16_t>(random.chance(30) ? 1 + random.below(1100) : 1024 + random.below(60000)), 80,
             8) {
    const bool v6 = random_.chance(40);
    inside_.is_ipv6 = v6;
    const unsigned rule = random_.below(source_rules);
    inside_.client = static_cast<std::uint16_t>(rule << 8 | (1 + number % 250));
    inside_.server = static_cast<std::uint16_t>(0x100 + number / 4);
    protocol_ =
        random_.one_of({std::uint8_t{6}, std::uint8_t{6}, std::uint8_t{17}, v6 ? std::uint8_t{58} : std::uint8_t{1}});
    if (protocol_ == 6 && (rule == 2 || rule == 4)) {
      // Two connections to one server want the same port; else each has a server of its own.
      shares_port_ = random_.chance(40);
      inside_.server = static_cast<std::uint16_t>(shares_port_ ? 0x100 + number / 32 : 0x2000 + number);
    } else if (random_.chance(40)) {
      visible_server();
    }
    ports_[0] = static_cast<std::uint16_t>(1000 + random_.below(3000)), ports_[1] = 80;
    outside_ = inside_;
    outside_ports_[0] = ports_[0], outside_ports_[1] = ports_[1];
  }

  std::vector<frame_bytes> next() override {
    is_error_ = !seen_.empty() && random_.chance(20);
    if (is_error_) return {error()};
    if (protocol_ == 6) {
      segment s = tcp_.next();
      while (s.by_server && !known_) s = tcp_.next();
      by_server_ = s.by_server;
      if (is_here()) s.bad_checksum = false;  // the kernel does not look at what it sends itself
      const hosts& view = by_server_ ? outside_ : inside_;
      const std::uint16_t(&ports)[2] = by_server_ ? outside_ports_ : ports_;
      s.source = ports[by_server_], s.destination = ports[!by_server_];
      return {view.ip(by_server_, 6, s.bytes(view), 7)};
    }
    by_server_ = known_ && random_.chance(45);
    return in_pieces(protocol_ == 17 ? datagram() : ping());
  }
  void forwarded(const std::vector<frame_bytes>& all) override {
    if (is_error_ || all.empty()) return;
    const frame_bytes& p = all.front();
    const ip_places in{p};
    if (all.size() == 1 || !in.is_ipv6) seen_.push_back(p);
    if (by_server_) return;
    known_ = true;
    const std::size_t header = in.header + (in.is_ipv6 && in.is_fragment(p) ? 8 : 0);
    outside_.given[0] = in.address(p, false), outside_.given[1] = in.address(p, true);
    const bool query = protocol_ != 6 && protocol_ != 17;
    outside_ports_[0] = static_cast<std::uint16_t>(get16(p, header + (query ? 4 : 0)));
    outside_ports_[1] = static_cast<std::uint16_t>(get16(p, header + 2));
  }
  std::string kind() const override {
    if (shares_port_ && (!is_error_ || kind_of_error_ == "an error")) return "TCP that shares its one port";
    return is_error_ ? kind_of_error_ : std::string();
  }
  bool shares() const override { return shares_port_; }
  std::string note() const override { return is_error_ ? note_ : std::string(); }

 private:
  // Whether the server is the host that translates.
  bool is_here() const { return known_ && outside_.address(true) == own_address(inside_.is_ipv6); }
  // An address that a rule for destinations knows.
  void visible_server() {
    frame_bytes& a = inside_.given[1];
    if (inside_.is_ipv6) {
      put32(a, 0xfd01'0000), put32(a, 0), put32(a, 0);
      put32(a, random_.one_of({0x80u, 0x80u, 0x81u, 0x90u, 0x91u}));
    } else {
      put16(a, 198 * 256 + 18);
      put16(a, random_.one_of({0x0101u, 0x0101u, 0x0102u, 0x0200u + random_.below(256), 0x0301u, 0x0302u}));
    }
  }
  frame_bytes datagram() {
    const hosts& view = by_server_ ? outside_ : inside_;
    const unsigned size = random_.chance(85) ? random_.below(50) : 50 + random_.below(1000);
    frame_bytes b;
    const auto header = [&](const std::uint16_t(&p)[2]) { set16(b, 0, p[by_server_]), set16(b, 2, p[!by_server_]); };
    put32(b, 0), put16(b, 8 + size), put16(b, 0);
    for (unsigned i = 0; i < size; ++i) put8(b, random_.chance(50) ? 0 : random_.next());
    if (known_ && size >= 2 && random_.chance(20)) {
      // What comes out has the sum 0, which has to be written as 0xffff.
      header(by_server_ ? ports_ : outside_ports_);
      set16(b, 8, 0);
      set16(b, 8, internet_checksum(b, (by_server_ ? inside_ : outside_).pseudo(17, b.size())));
    }
    header(by_server_ ? outside_ports_ : ports_);
    const std::uint16_t sum = internet_checksum(b, view.pseudo(17, b.size()));
    if (view.is_ipv6 || random_.chance(85)) set16(b, 6, sum == 0 ? 0xffff : sum);
    return b;
  }
  frame_bytes ping() {
    const hosts& view = by_server_ ? outside_ : inside_;
    frame_bytes b;
    put8(b, protocol_ == 1 ? (by_server_ ? 0 : 8) : (by_server_ ? 129 : 128)), put8(b, 0), put16(b, 0);
    put16(b, (by_server_ ? outside_ports_ : ports_)[0]), put16(b, random_.next()), put32(b, random_.next());
    if (random_.chance(15)) b.resize(b.size() + random_.below(1000));
    set16(b, 2, internet_checksum(b, protocol_ == 58 ? view.pseudo(58, b.size()) : 0));
    return b;
  }
  // A packet with this payload, or its fragments: all but the last of one size, as the kernel makes them again.
  std::vector<frame_bytes> in_pieces(const frame_bytes& payload) {
    const hosts& view = by_server_ ? outside_ : inside_;
    if (payload.size() <= 24 || is_here() || goes_here() || random_.chance(50))
      return {view.ip(by_server_, protocol_, payload, 7)};
    const auto id = static_cast<std::uint16_t>(random_.next());
    const std::size_t piece =
        std::max<std::size_t>(8 * (1 + random_.below(payload.size() / 8 - 1)), payload.size() / 6 / 8 * 8);
    // The kernel fragments no IPv6 packet again that is no larger than its largest fragment was, with its header.
    if (view.is_ipv6 && payload.size() <= piece + 8) return {view.ip(by_server_, protocol_, payload)};
    std::vector<frame_bytes> all;
    for (std::size_t at = 0; at < payload.size(); at += piece) {
      const std::size_t end = std::min(payload.size(), at + piece);
      const bool more = end < payload.size();
      frame_bytes part;
      if (view.is_ipv6) put8(part, protocol_), put8(part, 0), put16(part, at | more), put16(part, 0), put16(part, id);
      part.insert(part.end(), payload.begin() + static_cast<std::ptrdiff_t>(at),
                  payload.begin() + static_cast<std::ptrdiff_t>(end));
      all.push_back(view.is_ipv6 ? view.ip(by_server_, 44, part)
                                 : view.ip(by_server_, protocol_, part, id,
                                           static_cast<std::uint16_t>(at / 8 | (more ? 0x2000 : 0))));
    }
    for (std::size_t i = all.size() - 1; i != 0 && disordered_; --i) std::swap(all[i], all[random_.below(i + 1)]);
    return all;
  }
  // Whether what the client sends is redirected: nobody sees what the kernel puts together for itself.
  bool goes_here() const {
    const frame_bytes to = inside_.address(true);
    return inside_.is_ipv6 ? to[0] == 0xfd && to[1] == 1 && to[15] >= 0x90 : to[0] == 198 && to[2] == 3;
  }
  // About something that came through, from who got it or a router before, as well quoted as it pleases.
  frame_bytes error() {
    frame_bytes quoted = seen_[seen_.size() - 1 - random_.below(std::min<std::size_t>(seen_.size(), 4))];
    const ip_places in{quoted};
    const bool v6 = in.is_ipv6;
    hosts way;
    way.is_ipv6 = v6;
    way.given[1] = in.address(quoted, false), way.given[0] = in.address(quoted, true);
    if (random_.chance(40)) way.given[0].back() ^= 0x40;  // a router
    note_ = " quotes";
    if (random_.chance(40)) quoted.resize(std::min(quoted.size(), in.header + 8 + random_.below(12)));
    if (random_.chance(6)) quoted.resize(random_.below(quoted.size()));
    note_ += " " + std::to_string(quoted.size()) + " bytes";
    if (random_.chance(6) && quoted.size() > 12) {
      const unsigned wrong = random_.below(quoted.size());
      quoted[wrong] ^= 0x10, note_ += ", byte " + std::to_string(wrong) + " is wrong";
    }
    kind_of_error_ = kind_of_quoted(in, quoted);
    constexpr std::uint8_t types4[] = {3, 3, 11, 12, 4, 5}, types6[] = {1, 2, 3, 4};
    frame_bytes b;
    put8(b, v6 ? random_.one_of(types6) : random_.one_of(types4)), put8(b, random_.below(4)), put16(b, 0);
    put32(b, random_.chance(50) ? 1400 : 0), put(b, quoted);
    const bool bad = random_.chance(3) && way.given[0] != own_address(v6);
    if (bad) note_ += ", bad checksum";
    set16(b, 2, internet_checksum(b, v6 ? way.pseudo(58, b.size()) : 0) ^ (bad ? 1u : 0u));
    return way.ip(false, v6 ? 58 : 1, b, 7);
  }
  static std::string kind_of_quoted(const ip_places& in, const frame_bytes& quoted) {
    if (quoted.size() < in.header) return "an error that quotes no whole header";
    const frame_bytes header(quoted.begin(), quoted.begin() + static_cast<std::ptrdiff_t>(in.header));
    if (header[0] >> 4 != (in.is_ipv6 ? 6 : 4)) return "an error that quotes another version";
    if (!in.is_ipv6 && internet_checksum(header) != 0) return "an error whose quoted header has a wrong checksum";
    const std::size_t transport = quoted.size() - in.header;
    if (transport < 8) return "an error that quotes less than 8 bytes of a transport header";
    if (header[in.protocol] == 6 && (transport == 18 || transport == 19))
      return "an error that quotes TCP up to its checksum";
    return in.is_fragment(header) ? "an error that quotes a fragment" : "an error";
  }

  tcp_conversation tcp_;
  hosts inside_, outside_;
  std::uint8_t protocol_ = 17;
  std::uint16_t ports_[2] = {}, outside_ports_[2] = {};
  bool known_ = false, by_server_ = false, is_error_ = false, shares_port_ = false, disordered_ = random_.chance(50);
  std::string note_, kind_of_error_;
  std::vector<frame_bytes> seen_;  // what both ends got
};

}  // namespace kernel_path

#endif
