// SPDX-License-Identifier: MIT
// Random FTP sessions through address translation for tests that compare with the kernel: where data connections are
// announced, in all four forms, the other side connects to what it reads; segments are sent again, and acknowledged
// with SACK. And of TFTP, which answers from another port. Deterministic.
#ifndef RUNNEL_TESTS_LIVE_FTP_THROUGH_NAT_HPP
#define RUNNEL_TESTS_LIVE_FTP_THROUGH_NAT_HPP

#include "nat_conversation.hpp"

namespace kernel_path {

// Of either family; some servers have an address that a rule translates.
inline hosts client_and_server(numbers& random, std::uint16_t number) {
  hosts inside;
  inside.is_ipv6 = random.chance(40);
  inside.client = static_cast<std::uint16_t>(random.one_of({0u, 1u, 1u, 3u, 5u}) << 8 | (1 + number % 250));
  inside.server = static_cast<std::uint16_t>(0x4000 + number);
  frame_bytes& a = inside.given[1];
  if (random.chance(40)) {
    if (inside.is_ipv6) put32(a, 0xfd01'0000), put32(a, 0), put32(a, 0), put32(a, 0x81);
    else put32(a, 0xc612'0000 | random.one_of({0x0102u, 0x0200u + random.below(256)}));
  }
  return inside;
}

class ftp_through_nat final : public nat_conversation {
 public:
  ftp_through_nat(numbers& random, std::uint16_t number)
      : nat_conversation(random), inside_(client_and_server(random, number)) {
    outside_ = inside_;
    ports_[0] = outside_ports_[0] = static_cast<std::uint16_t>(2000 + random_.below(60000));
    for (std::uint32_t& n : next_)
      n = random_.chance(50) ? 0u - random_.below(300) : static_cast<std::uint32_t>(random_.next());
  }

  std::vector<frame_bytes> next() override {
    data_ = announced_ != 0 && random_.chance(70);
    if (data_) return {data_segment()};
    constexpr struct {
      bool by_server;
      std::uint8_t flags;
      const char* text;
    } opening[] = {{false, SYN, ""},
                   {true, SYN | ACK, ""},
                   {false, ACK, ""},
                   // The kernel reads no side's first line.
                   {true, ACK | PSH, "220 ready\r\n"},
                   {false, ACK | PSH, "USER anybody\r\n"}};
    if (said_ < 5) return {says(opening[said_].by_server, opening[said_].flags, opening[said_].text)};
    again_ = random_.chance(15);
    if (again_) return {last_};
    announced_ = 0;
    const bool by_server = random_.chance(50);
    switch (random_.below(4)) {
      case 0: return {says(by_server, ACK, "")};
      case 1: return {says(by_server, ACK | PSH, by_server ? "200 and so on\r\n" : "NOOP\r\n")};
      default: return {announces(by_server)};
    }
  }
  void forwarded(const std::vector<frame_bytes>& all) override {
    if (all.empty()) {
      announced_ = 0;
      return;
    }
    const frame_bytes& p = all.front();
    const ip_places in{p};
    const auto port = [&](unsigned at) { return static_cast<std::uint16_t>(get16(p, in.header + at)); };
    if (data_) {
      for (const bool to : {false, true}) data_hosts_.given[to] = in.address(p, to), data_ports_[to] = port(to ? 2 : 0);
      return;
    }
    if (!by_server_) {
      outside_.given[0] = in.address(p, false), outside_.given[1] = in.address(p, true);
      outside_ports_[0] = port(0), outside_ports_[1] = port(2);
    }
    const std::string line = line_of(p);
    const auto number = static_cast<std::uint32_t>(get16(p, in.header + 4) << 16 | get16(p, in.header + 6));
    arrived_[!by_server_] = number + static_cast<std::uint32_t>(line.size()) + ((p[in.header + 13] & SYN) != 0);
    if (announces_ && (announced_ = port_in(line)) != 0) data_step_ = 0;
  }
  std::string kind() const override {
    if (data_) return again_ ? "FTP data announced twice" : "FTP data";
    return announces_ ? "FTP " + form_ : "FTP";
  }
  std::string note() const override { return data_ ? "" : " " + shown_; }
  // The port that a segment announces, 0 if none.
  static std::uint16_t announced_in(const frame_bytes& p) { return port_in(line_of(p)); }

 private:
  static std::string line_of(const frame_bytes& p) {
    const std::size_t transport = ip_places{p}.header, text = transport + (p[transport + 12] >> 4) * 4u;
    return {p.begin() + static_cast<std::ptrdiff_t>(text), p.end()};
  }
  // A segment of the control connection.
  frame_bytes says(bool by_server, std::uint8_t flags, const std::string& text) {
    const hosts& view = by_server ? outside_ : inside_;
    segment s;
    s.by_server = by_server, s.flags = flags, s.window = 60000;
    s.seq = next_[by_server], s.ack = (flags & ACK) != 0 ? arrived_[by_server] : 0;
    s.source = (by_server ? outside_ports_ : ports_)[by_server];
    s.destination = (by_server ? outside_ports_ : ports_)[!by_server];
    if (said_ >= 5 && random_.chance(15))  // it has got something twice
      put32(s.options, 0x0101'050a), put32(s.options, s.ack - 6), put32(s.options, s.ack - 2);
    frame_bytes b = s.bytes(view);
    for (const char c : text) put8(b, static_cast<unsigned char>(c));
    set16(b, 16, 0);
    set16(b, 16, internet_checksum(b, view.pseudo(6, b.size())));
    next_[by_server] += static_cast<std::uint32_t>(text.size()) + ((flags & SYN) != 0);
    by_server_ = by_server, announces_ = false;
    shown_ = text.substr(0, text.find('\r')), ++said_;
    return last_ = view.ip(by_server, 6, b, 7);
  }
  // Where the sender waits for a connection.
  frame_bytes announces(bool by_server) {
    const hosts& view = by_server ? outside_ : inside_;
    frame_bytes own = view.address(by_server);
    const bool stranger = random_.chance(5);
    if (stranger) own.back() ^= 1;
    const std::string port = std::to_string(1024 + random_.below(60000));
    const bool extended = view.is_ipv6 || random_.chance(50);
    std::string line;
    if (by_server && extended) line = "229 Entering Extended Passive Mode (|||" + port + "|)";
    else if (extended) line = std::string("EPRT |") + (view.is_ipv6 ? "2|" : "1|") + in_text(own) + "|" + port + "|";
    else if (by_server) line = "227 Entering Passive Mode (" + in_six(own, port) + ")";
    else line = "PORT " + in_six(own, port);
    form_ = by_server ? extended ? "EPSV" : "PASV" : extended ? "EPRT" : "PORT";
    if (stranger && !(by_server && extended)) form_ += " of somebody else";
    if (view.is_ipv6) form_ += ", IPv6";
    const frame_bytes p = says(by_server, ACK | PSH, line + "\r\n");
    announces_ = true;
    return p;
  }
  static std::string in_six(const frame_bytes& a, const std::string& port) {
    std::string t;
    for (const std::uint8_t part : a) t += std::to_string(part) + ",";
    const int n = std::atoi(port.c_str());
    return t + std::to_string(n >> 8) + "," + std::to_string(n & 255);
  }
  static std::string in_text(const frame_bytes& a) {
    char t[64];
    if (a.size() == 4) std::snprintf(t, sizeof t, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    else std::snprintf(t, sizeof t, "fd00:0:0:%x::%x", a[7], static_cast<unsigned>(get16(a, 14)));
    return t;
  }
  // What a line announces, 0 if nothing.
  static std::uint16_t port_in(const std::string& line) {
    const std::size_t bar = line.rfind('|'), comma = line.rfind(',');
    if (bar != line.npos) return static_cast<std::uint16_t>(std::atoi(line.c_str() + line.rfind('|', bar - 1) + 1));
    if (comma == line.npos) return 0;
    return static_cast<std::uint16_t>(std::atoi(line.c_str() + line.rfind(',', comma - 1) + 1) * 256 +
                                      std::atoi(line.c_str() + comma + 1));
  }
  // The next of a data connection: from who reads the announcement to whom it is of, and back.
  frame_bytes data_segment() {
    segment s;
    s.window = 1000;
    if (data_step_ == 0) {
      // by_server_ is who announced.
      const hosts& view = by_server_ ? inside_ : outside_;
      data_hosts_.is_ipv6 = view.is_ipv6;
      data_hosts_.given[0] = view.address(by_server_), data_hosts_.given[1] = view.address(!by_server_);
      data_ports_[0] = random_.chance(92) ? announced_ : static_cast<std::uint16_t>(announced_ + 1);
      data_ports_[1] = static_cast<std::uint16_t>(!by_server_ && random_.chance(50) ? 20 : 30000 + random_.below(1000));
      s.flags = SYN, s.seq = 1;
    } else {
      s.flags = data_step_ == 1 ? SYN | ACK : ACK | PSH;
      s.payload = data_step_ == 1 ? 0 : static_cast<std::uint16_t>(random_.below(40));
      s.seq = data_step_ == 1 ? 100 : data_sent_[data_step_ % 2], s.ack = data_sent_[(data_step_ + 1) % 2];
    }
    data_sent_[data_step_ % 2] = s.seq + s.payload + (data_step_ < 2);
    ++data_step_;
    // It goes back where the one before came out.
    s.source = data_ports_[1], s.destination = data_ports_[0];
    return data_hosts_.ip(true, 6, s.bytes(data_hosts_), 7);
  }

  hosts inside_, outside_;
  std::uint16_t ports_[2] = {0, 21}, outside_ports_[2] = {0, 21};
  std::uint32_t next_[2] = {}, arrived_[2] = {};  // own numbers; and of the peer as they came
  bool by_server_ = false, announces_ = false, data_ = false, again_ = false;
  unsigned said_ = 0, data_step_ = 0;
  std::uint16_t announced_ = 0;
  hosts data_hosts_;
  std::uint16_t data_ports_[2] = {};
  std::uint32_t data_sent_[2] = {};
  frame_bytes last_;
  std::string form_, shown_;
};

class tftp_through_nat final : public nat_conversation {
 public:
  tftp_through_nat(numbers& random, std::uint16_t number)
      : nat_conversation(random), inside_(client_and_server(random, number)) {
    outside_ = answered_ = inside_;
    port_ = static_cast<std::uint16_t>(2000 + random_.below(60000));
  }

  std::vector<frame_bytes> next() override {
    if (outside_port_ == 0 || random_.chance(20)) {
      says_ = asks;
      return {datagram(inside_, false, port_, 69, 1 + random_.below(2))};
    }
    if (answered_port_ == 0 || random_.chance(60)) {
      says_ = answers;
      if (random_.chance(15)) server_port_ = static_cast<std::uint16_t>(3000 + random_.below(1000));
      const auto to = static_cast<std::uint16_t>(outside_port_ + (random_.chance(8) ? 1 : 0));
      return {datagram(outside_, true, server_port_, to, 3)};
    }
    says_ = acknowledges;
    return {datagram(answered_, false, port_, answered_port_, 4)};
  }
  void forwarded(const std::vector<frame_bytes>& all) override {
    if (all.empty()) return;
    const frame_bytes& p = all.front();
    const ip_places in{p};
    if (says_ == asks) {
      outside_.given[0] = in.address(p, false), outside_.given[1] = in.address(p, true);
      outside_port_ = static_cast<std::uint16_t>(get16(p, in.header));
    } else if (says_ == answers) {
      answered_.given[1] = in.address(p, false);
      answered_port_ = static_cast<std::uint16_t>(get16(p, in.header));
    }
  }
  std::string kind() const override { return "TFTP"; }
  std::string note() const override {
    return says_ == asks ? " asks" : says_ == answers ? " answers" : " acknowledges";
  }

 private:
  frame_bytes datagram(const hosts& view, bool by_server, std::uint16_t from, std::uint16_t to, unsigned code) {
    frame_bytes b;
    put16(b, from), put16(b, to), put16(b, 12), put16(b, 0), put16(b, code), put16(b, 0x6100);
    const std::uint16_t sum = internet_checksum(b, view.pseudo(17, b.size()));
    set16(b, 6, sum == 0 ? 0xffff : sum);
    return view.ip(by_server, 17, b, 7);
  }

  enum { asks, answers, acknowledges } says_ = asks;
  hosts inside_, outside_, answered_;  // as who is outside sees them; as the client sees who has answered
  std::uint16_t port_, outside_port_ = 0, server_port_ = 3000, answered_port_ = 0;
};

}  // namespace kernel_path

#endif
