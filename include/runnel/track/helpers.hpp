// SPDX-License-Identifier: MIT
// Helpers: stages that read in one connection of others to come, so that these are `related`. FTP (RFC 959, RFC 2428)
// and TFTP (RFC 1350).
//
//     auto path = parse() | track(connections) | ftp_helper(connections) | policy | tftp_helper(connections) | ...
//
// What a client or server says is believed as the kernel believes it: a command or reply has to stand in one segment,
// from the beginning of its line to behind the port, be the latest of what its sender said, and new, and may only
// announce the address of who sends it. Otherwise an attacker could have somebody else's ports opened: a segment below
// the window passes as established, and needs no sequence number to be known; and who may say what a line contains
// could choose where it is cut. Addresses inside the text stay as they are: where those are translated, `nat_ftp` of
// nat_ftp.hpp stands in the place of `ftp_helper`, and `tftp_helper` behind `nat<postrouting>`.
#ifndef RUNNEL_TRACK_HELPERS_HPP
#define RUNNEL_TRACK_HELPERS_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/time.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/track/connection.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/tracker.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

namespace runnel {

namespace detail {

// Reads text that somebody sent, to its end and no further.
class line_reader {
 public:
  constexpr explicit line_reader(bytes b) noexcept : rest_(b) {}
  [[nodiscard]] constexpr bool accept(char c) noexcept {
    if (rest_.empty() || load_u8(rest_.data()) != static_cast<std::uint8_t>(c)) return false;
    rest_ = rest_.from(1);
    return true;
  }
  [[nodiscard]] constexpr std::size_t left() const noexcept { return rest_.size(); }
  // A printable character that is no digit.
  [[nodiscard]] constexpr bool delimiter(char& to) noexcept {
    if (rest_.empty()) return false;
    const std::uint8_t c = load_u8(rest_.data());
    if (c <= ' ' || c > '~' || (c >= '0' && c <= '9')) return false;
    to = static_cast<char>(c);
    rest_ = rest_.from(1);
    return true;
  }
  // A word, small letters or capital ones.
  [[nodiscard]] constexpr bool accept_word(const char* word) noexcept {
    std::size_t n = 0;
    for (; word[n] != '\0'; ++n)
      if (n >= rest_.size() || (load_u8(rest_.data() + n) & 0xdfu) != (static_cast<std::uint8_t>(word[n]) & 0xdfu))
        return false;
    rest_ = rest_.from(n);
    return true;
  }
  [[nodiscard]] constexpr bool number(std::uint32_t most, std::uint32_t& to) noexcept {
    std::size_t n = 0;
    to = 0;
    for (; n < rest_.size() && n < 6; ++n) {
      const std::uint32_t digit = load_u8(rest_.data() + n) - std::uint32_t{'0'};
      if (digit > 9) break;
      to = to * 10 + digit;
    }
    rest_ = rest_.from(n);
    return n != 0 && to <= most;
  }
  // Goes behind the next `c` of this line.
  [[nodiscard]] constexpr bool skip_to(char c) noexcept {
    for (; !rest_.empty() && load_u8(rest_.data()) != '\n'; rest_ = rest_.from(1))
      if (accept(c)) return true;
    return false;
  }
  // Goes to the next digit of this line.
  [[nodiscard]] constexpr bool skip_to_digit() noexcept {
    for (; !rest_.empty() && load_u8(rest_.data()) != '\n'; rest_ = rest_.from(1))
      if (load_u8(rest_.data()) - std::uint32_t{'0'} <= 9) return true;
    return false;
  }
  [[nodiscard]] constexpr bool has_line_end() const noexcept {
    for (const std::byte b : rest_)
      if (load_u8(&b) == '\n' || load_u8(&b) == '\r') return true;
    return false;
  }
  // Text up to `c`, which is stepped over, as far as it fits.
  template <std::size_t N>
  [[nodiscard]] constexpr bool text_to(char c, char (&to)[N]) noexcept {
    std::size_t n = 0;
    for (; n + 1 < N && n < rest_.size() && load_u8(rest_.data() + n) != static_cast<std::uint8_t>(c); ++n)
      to[n] = static_cast<char>(load_u8(rest_.data() + n));
    to[n] = '\0';
    rest_ = rest_.from(n);
    return accept(c);
  }

 private:
  bytes rest_;
};

// What FTP announces: where a connection will be accepted.
struct ftp_place {
  bool found = false;
  bool has_address = false;  // else that of the connection
  connection_tuple to{};     // its destination
  // Where that is said: the text from `at` on, without the delimiters around it; with addresses of two forms, or the
  // port alone.
  std::size_t at = 0;
  std::size_t size = 0;
  bool extended = false;
  char mark = '|';      // its delimiter
  bool is_new = false;  // nobody has heard it before, and it begins a line
};
// `10,0,0,1,4,1`
[[nodiscard]] constexpr bool read_six(line_reader& in, std::uint32_t& address, std::uint32_t& port) noexcept {
  std::uint32_t v[6] = {};
  for (unsigned i = 0; i < 6; ++i)
    if ((i != 0 && !in.accept(',')) || !in.number(255, v[i])) return false;
  address = v[0] << 24 | v[1] << 16 | v[2] << 8 | v[3];
  port = v[4] << 8 | v[5];
  return port != 0;
}
// The announcement at the beginning of what was sent: by the client (`reply` false) or the server.
[[nodiscard]] inline ftp_place read_ftp(bytes said, bool reply) noexcept {
  line_reader in{said};
  ftp_place p;
  std::uint32_t address = 0, port = 0;
  bool six = false, extended = false;
  std::size_t before = 0;
  if (!reply) {
    if (in.accept_word("PORT")) six = in.accept(' ') && (before = in.left(), read_six(in, address, port));
    else extended = in.accept_word("EPRT") && in.accept(' ');
  } else {
    if (!in.accept('2') || !in.accept('2')) return p;
    const bool pasv = in.accept('7');
    if ((!pasv && !in.accept('9')) || !in.accept(' ')) return p;
    // RFC 1123 §4.1.2.6: nothing but the numbers counts.
    if (pasv) six = in.skip_to_digit() && (before = in.left(), read_six(in, address, port));
    else extended = in.skip_to('(');
  }
  const auto is_said = [&](std::size_t from) {
    p.at = said.size() - from;
    p.size = from - in.left();
  };
  if (six) {
    is_said(before);
    // What ends the last number is there; of a command that is the end of the line.
    if (reply ? in.left() == 0 : !in.has_line_end()) return p;
    p.found = p.has_address = true;
    p.to = {ipv4_address{}, ipv4_address{address}, 0, static_cast<std::uint16_t>(port), 6};
    return p;
  }
  // `|1|10.0.0.1|1025|`, `|||1025|`; RFC 2428 §2: the delimiter is any printable character.
  if (!extended || !in.delimiter(p.mark)) return p;
  const char mark = p.mark;
  p.extended = true;
  before = in.left();
  char text[48];
  std::uint32_t family = 0;
  if (!reply) {
    if (!in.number(2, family) || family == 0 || !in.accept(mark) || !in.text_to(mark, text)) return p;
  } else if (!in.accept(mark) || !in.accept(mark)) {
    return p;
  } else {
    before = in.left();
  }
  if (!in.number(65535, port) || port == 0) return p;
  is_said(before);
  if (!in.accept(mark)) return p;
  const auto to_port = static_cast<std::uint16_t>(port);
  if (family == 0) {
    p.to = {ipv4_address{}, ipv4_address{}, 0, to_port, 6};
  } else if (family == 1) {
    const auto a = parse_ipv4(text);
    if (!a) return p;
    p.has_address = true;
    p.to = {ipv4_address{}, *a, 0, to_port, 6};
  } else {
    const auto a = parse_ipv6(text);
    if (!a) return p;
    p.has_address = true;
    p.to = {ipv6_address{}, *a, 0, to_port, 6};
  }
  p.found = true;
  return p;
}

// The tuple of a connection between the ends of another one, to a port: what packets of that direction look like, with
// NAT as it is.
[[nodiscard]] inline connection_tuple beside(const connection_tuple& way, std::uint16_t port,
                                             std::uint8_t protocol) noexcept {
  if (way.is_ipv6()) return {way.source6(), way.destination6(), 0, port, protocol, way.zone()};
  return {way.source4(), way.destination4(), 0, port, protocol, way.zone()};
}

// What a segment of a connection announces, when it is the latest of its side and names its sender's address.
[[nodiscard]] inline ftp_place read_announcement(const connection_table& table, connection& c, tcp segment,
                                                 bool reply) noexcept {
  const bytes said = segment.payload();
  if (said.empty()) return {};
  const std::uint32_t end = segment.sequence_number() + static_cast<std::uint32_t>(said.size());
  if (!tracker::is_latest(c, reply, end + (segment.fin() ? 1 : 0))) return {};
  const bool begins = tracker::begins_line(c, reply, load_u8(said.data() + said.size() - 1) == '\n');
  ftp_place place = read_ftp(said, reply);
  place.is_new = begins;
  if (!place.found || !place.has_address) return place;
  const connection_tuple way = reply ? table.reply(c) : table.original(c);
  const bool own = place.to.is_ipv6() == way.is_ipv6() && place.to.destination6() == way.source6();
  return own ? place : ftp_place{};  // somebody else's address
}

struct ftp_stage {
  static constexpr const char* name = "ftp helper";
  connection_table* table;
  std::uint16_t port;

  void operator()(connection& c, packet& p, tcp segment, instant now) const noexcept {
    const bool reply = connection_word{p.connection()}.direction() == connection_direction::reply;
    if ((reply ? segment.source_port() : segment.destination_port()) != port) return;
    c.helper(true);
    const ftp_place place = read_announcement(*table, c, segment, reply);
    if (!place.found || !place.is_new) return;
    const connection_tuple back = reply ? table->original(c) : table->reply(c);
    table->expect_only(c, beside(back, place.to.destination_port(), 6), false, seconds(300), now);
  }
};

struct tftp_stage {
  static constexpr const char* name = "tftp helper";
  connection_table* table;
  std::uint16_t port;

  void operator()(connection& c, packet& p, udp datagram, instant now) const noexcept {
    if (datagram.destination_port() != port) return;
    if (connection_word{p.connection()}.direction() == connection_direction::reply) return;
    c.helper(true);
    if (datagram.payload().size() < 2) return;
    const std::uint16_t code = load_be16(datagram.payload().data());
    if (code != 1 && code != 2) return;  // a request to read or to write: it is answered from another port
    const connection_tuple way = table->original(c), back = table->reply(c);
    const connection_tuple to = beside(back, back.destination_port(), 17);
    if (back == way.inverted()) return table->expect(c, to, false, seconds(300), now);
    tracker::expect_translated(*table, c, to, way.with_ports(way.source_port(), 0), seconds(300), now);
  }
};

}  // namespace detail

/// Reads what FTP clients and servers say to one another on TCP port `port`, and has the connections for data expected
/// for five minutes: PORT, EPRT, and the answers to PASV and EPSV; of one session the latest, as in the kernel. Stands
/// behind `track`. The table must outlive it.
[[nodiscard]] constexpr detail::ftp_stage ftp_helper(connection_table& connections, std::uint16_t port = 21) noexcept {
  return {&connections, port};
}
/// The same for TFTP, whose server answers from a port of its own. One packet asks: stands behind what may drop it, so
/// that only those that go through take room. Where addresses are translated that is behind `nat<postrouting>`, and the
/// answer is led back to who has asked; `port` is the server's own then.
[[nodiscard]] constexpr detail::tftp_stage tftp_helper(connection_table& connections,
                                                       std::uint16_t port = 69) noexcept {
  return {&connections, port};
}

}  // namespace runnel

#endif
