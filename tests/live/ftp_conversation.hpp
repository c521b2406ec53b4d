// SPDX-License-Identifier: MIT
// Random FTP and TFTP sessions for tests that compare with the kernel: what both sides say about connections to come,
// well and badly, and connections that come or do not. Deterministic.
#ifndef RUNNEL_TESTS_LIVE_FTP_CONVERSATION_HPP
#define RUNNEL_TESTS_LIVE_FTP_CONVERSATION_HPP

#include "other_conversations.hpp"

namespace kernel_path {

class ftp_conversation {
 public:
  ftp_conversation(numbers& random, const hosts& between)
      : random_(random), between_(between), client_port_(static_cast<std::uint16_t>(2000 + random.below(60000))) {
    next_[0] = static_cast<std::uint32_t>(random_.next()), next_[1] = static_cast<std::uint32_t>(random_.next());
  }
  const hosts& between() const { return between_; }

  step next() {
    switch (opening_) {
      case 0: ++opening_; return control(false, SYN, {});
      case 1: ++opening_; return control(true, SYN | ACK, {});
      case 2: ++opening_; return control(false, ACK, {});
      // The kernel reads no side's first line, which never is one that counts.
      case 3: ++opening_; return control(true, ACK | PSH, "220 ready\r\n");
      case 4: ++opening_; return control(false, ACK | PSH, "USER anybody\r\n");
      default: break;
    }
    if (announced_ && random_.chance(70)) {
      announced_ = random_.chance(30);
      return data();
    }
    if (random_.chance(10) && !last_.packet.empty()) return announced_ = repeated_ = true, last_;
    repeated_ = false;
    return last_ = says();
  }

 private:
  step control(bool by_server, std::uint8_t flags, const std::string& text) {
    segment s;
    s.by_server = by_server, s.flags = flags, s.window = 60000;
    s.seq = next_[by_server], s.ack = (flags & ACK) != 0 ? next_[!by_server] : 0;
    s.source = by_server ? 21 : client_port_, s.destination = by_server ? client_port_ : 21;
    frame_bytes b = s.bytes(between_);
    for (const char c : text) put8(b, static_cast<unsigned char>(c));
    set16(b, 16, 0);
    set16(b, 16, internet_checksum(b, between_.pseudo(6, b.size())));
    next_[by_server] += static_cast<std::uint32_t>(text.size()) + ((flags & SYN) != 0 ? 1 : 0);
    std::string shown = names_of(flags) + " ";
    for (const char c : text) shown += c == '\r' ? std::string("\\r") : c == '\n' ? "\\n" : std::string(1, c);
    return {between_.ip(by_server, 6, b), "FTP", (by_server ? "s>c " : "c>s ") + shown};
  }
  // The beginning or the end of a data connection, between the announced ends, or others.
  step data() {
    segment s;
    s.by_server = random_.chance(90) ? !by_client_announced_ ? false : true : random_.chance(50);
    s.flags = SYN, s.window = 1000, s.seq = 1;
    s.source = static_cast<std::uint16_t>(random_.chance(50) ? 20 : 30000 + random_.below(1000));
    s.destination = random_.chance(92) ? port_ : static_cast<std::uint16_t>(port_ + 1);
    return {between_.ip(s.by_server, 6, s.bytes(between_)),
            repeated_    ? "a data connection announced twice"
            : two_lines_ ? "a data connection announced in two lines"
                         : "a data connection",
            (s.by_server ? "s>c " : "c>s ") + std::string("SYN to ") + std::to_string(s.destination)};
  }
  static std::string in_six(const frame_bytes& a, std::uint16_t port) {
    std::string t;
    for (unsigned i = 0; i < 4; ++i) t += std::to_string(a[i]) + ",";
    return t + std::to_string(port >> 8) + "," + std::to_string(port & 255);
  }
  std::string in_text(const frame_bytes& a) const {
    char t[64];
    if (!between_.is_ipv6) std::snprintf(t, sizeof t, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    else std::snprintf(t, sizeof t, "fd00:0:0:%x::%x", a[7], static_cast<unsigned>(get16(a, 14)));
    return t;
  }
  step says() {
    const bool by_server = random_.chance(50);
    port_ = static_cast<std::uint16_t>(1024 + random_.below(60000));
    by_client_announced_ = !by_server;
    frame_bytes own = between_.address(by_server);
    if (random_.chance(10)) own.back() ^= 1;  // of somebody else
    const std::string numbers = between_.is_ipv6 ? in_six({10, 1, 1, 1}, port_) : in_six(own, port_);
    const std::string port = std::to_string(random_.chance(4) ? 0u : port_);
    const char* const family = between_.is_ipv6 ? "2" : "1";
    std::string line;
    if (!by_server) {
      const std::string forms[] = {"PORT " + numbers,
                                   std::string("EPRT |") + family + "|" + in_text(own) + "|" + port + "|",
                                   "LIST",
                                   "port " + numbers,
                                   std::string("eprt !") + family + "!" + in_text(own) + "!" + port + "!",
                                   "STOR PORT " + numbers,
                                   "PORT" + numbers,
                                   "EPRT |1|10.0.0|" + port + "|"};
      line = forms[random_.below(random_.chance(70) ? 2 : 8)];
    } else {
      const std::string forms[] = {"227 Entering Passive Mode (" + numbers + ")",
                                   "229 Entering Extended Passive Mode (|||" + port + "|)",
                                   "200 OK",
                                   "227 " + numbers,
                                   "227 Passive " + numbers + ".",
                                   "229 (!!!" + port + "!)",
                                   "229 Entering (|||" + port + ")",
                                   "220 (227 " + numbers + ")"};
      line = forms[random_.below(random_.chance(70) ? 2 : 8)];
    }
    if (random_.chance(8)) {  // one character is another
      line[random_.below(line.size())] = "0,|. (9\n\r"[random_.below(9)];
    }
    line += random_.chance(92) ? "\r\n" : random_.chance(50) ? "\n" : "\r";
    if (random_.chance(4)) line.resize(random_.below(line.size()));  // the rest in the next segment, or never
    if (random_.chance(4)) line = "NOOP\r\n" + line;
    const std::size_t line_end = line.find_first_of("\r\n");
    two_lines_ = line_end != std::string::npos && line.find_first_not_of("\r\n", line_end) != std::string::npos;
    announced_ = true;
    return control(by_server, ACK | PSH, line);
  }

  numbers& random_;
  hosts between_;
  std::uint16_t client_port_;
  unsigned opening_ = 0;
  bool announced_ = false, by_client_announced_ = false, repeated_ = false, two_lines_ = false;
  std::uint16_t port_ = 0;
  std::uint32_t next_[2];
  step last_{};
};

// A client asks at port 69, and is answered from another one, of which each request may have its own.
class tftp_conversation {
 public:
  tftp_conversation(numbers& random, const hosts& between)
      : random_(random), between_(between), client_port_(static_cast<std::uint16_t>(2000 + random.below(60000))) {}
  const hosts& between() const { return between_; }

  step next() {
    if (!asked_ || random_.chance(20)) {
      asked_ = true;
      const unsigned says = random_.chance(70) ? 1 + random_.below(2) : random_.below(6);
      return datagram(false, client_port_, 69, says, random_.chance(90) ? 4 + random_.below(20) : random_.below(3));
    }
    if (random_.chance(15)) server_port_ = static_cast<std::uint16_t>(3000 + random_.below(1000));
    const auto to = static_cast<std::uint16_t>(client_port_ + (random_.chance(8) ? 1 : 0));
    return random_.chance(60) ? datagram(true, server_port_, to, 3, 20) : datagram(false, to, server_port_, 4, 4);
  }

 private:
  step datagram(bool by_server, std::uint16_t from, std::uint16_t to, unsigned says, std::size_t size) {
    frame_bytes b;
    put16(b, from), put16(b, to), put16(b, 8 + size), put16(b, 0);
    put16(b, says);
    b.resize(8 + size);
    const std::uint16_t sum = internet_checksum(b, between_.pseudo(17, b.size()));
    set16(b, 6, sum == 0 ? 0xffff : sum);
    return {between_.ip(by_server, 17, b), "TFTP",
            (by_server ? "s>c " : "c>s ") + std::to_string(from) + " > " + std::to_string(to) + " says " +
                std::to_string(says) + ", " + std::to_string(size) + " bytes"};
  }

  numbers& random_;
  hosts between_;
  std::uint16_t client_port_, server_port_ = 3000;
  bool asked_ = false;
};

}  // namespace kernel_path

#endif
