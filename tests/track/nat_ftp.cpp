// SPDX-License-Identifier: MIT
// FTP through NAT: what is said is translated, sequence numbers stay in step for both ends, and data comes through.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "nat_rig.hpp"

using namespace runnel;
using namespace runnel::test;
using namespace runnel::test::nat_hosts;

namespace {

constexpr std::uint8_t ftp_syn = tcp_flags::syn, ftp_ack = tcp_flags::ack;

// A NAT box: sources of 10.0.0.0/8 become 192.0.2.254, and port 2121 of it leads to 10.0.0.2:21.
class ftp_rig {
 public:
  struct said {
    std::string state;  // "established", or "dropped"
    std::string ends;   // as nat_reading reads it
    std::string payload;
    std::uint32_t seq = 0, ack = 0, edge = 0;  // `edge`: the right one of the first SACK block
    std::uint8_t flags = 0;
  };
  explicit ftp_rig(std::uint32_t sequences = 4) {
    sizes_.sequences = sequences;
    memory_.resize(nat_table::bytes_needed(sizes_) + nat_table::alignment);
    std::byte* at = memory_.data();
    while (reinterpret_cast<std::uintptr_t>(at) % nat_table::alignment != 0) ++at;
    translations =
        std::make_unique<nat_table>(*connections, mutable_bytes{at, nat_table::bytes_needed(sizes_)}, sizes_);
  }
  ~ftp_rig() {
    connections->clear();
    CHECK(translations->sequences().size() == 0);
  }
  said say(ipv4_address from, std::uint16_t sport, ipv4_address to, std::uint16_t dport, std::uint8_t flags,
           std::uint32_t seq, std::uint32_t ack, const std::string& words = "", std::uint32_t sack = 0) {
    tcp_header h;
    h.source_port = sport, h.destination_port = dport, h.flags = flags;
    h.sequence_number = seq, h.acknowledgment_number = ack, h.window_size = 8000;
    std::vector<std::byte> b(20 + 20 + (sack != 0 ? 12 : 0) + words.size());
    const std::size_t text_at = b.size() - words.size();
    for (std::size_t i = 0; i < words.size(); ++i) b[text_at + i] = static_cast<std::byte>(words[i]);
    REQUIRE(write_headers({b.data(), 40}, ipv4_header{.source = from, .destination = to}, h));
    if (sack != 0) {
      b[32] = std::byte{0x80};
      const std::uint8_t option[] = {1, 1, 5, 10};
      for (std::size_t i = 0; i < 4; ++i) b[40 + i] = static_cast<std::byte>(option[i]);
      store_be32(b.data() + 44, sack - 1), store_be32(b.data() + 48, sack);
    }
    store_be16(b.data() + 2, static_cast<std::uint16_t>(b.size()));
    store_be16(b.data() + 10, 0), store_be16(b.data() + 10, checksum({b.data(), 20}));
    store_be16(b.data() + 36, 0);
    store_be16(b.data() + 36,
               checksum({b.data() + 20, b.size() - 20}, add_checksum({b.data() + 12, 8}) + 6 + b.size() - 20));
    if (damaged) b[36] ^= std::byte{1};
    ethernet_header e = eth;
    e.type = 0x0800;
    device_.put(1, b.size() + padding, {}, e);
    raw_ = b;
    said out;
    out.state = "dropped";
    constexpr auto forwards = rules(when(tcp::dport == 2121) >> dnat(addr4("10.0.0.2")).port(21));
    constexpr auto sources =
        rules(when(ip::saddr.in(net("10.0.0.0/8")) && !ip::daddr.in(net("10.0.0.0/8"))) >> snat(addr4("192.0.2.254")));
    auto path = [this](packet& p) { copy_bytes(p.writable().data() + 14, raw_.data(), raw_.size()); } | parse() |
                track(*connections) | rules(when(ct::state == invalid) >> drop) | nat_ftp(*translations, control) |
                nat<prerouting>(*translations, forwards) | nat<postrouting>(*translations, sources) |
                confirm(*connections) | deliver([&](packet p) {
                  const bytes ip = p.contents().from(14);
                  const std::byte* const t = ip.data() + 20;
                  out.state = name(connection_word{p.connection()}.state());
                  out.ends = nat_reading::of(ip);
                  out.seq = load_be32(t + 4), out.ack = load_be32(t + 8), out.flags = load_u8(t + 13);
                  const std::size_t begins = 20 + (load_u8(t + 12) >> 4) * std::size_t{4};
                  for (std::size_t i = begins; i < load_be16(ip.data() + 2); ++i)
                    out.payload += static_cast<char>(load_u8(ip.data() + i));
                  if (begins > 40) out.edge = load_be32(t + 28);
                });
    manual_clock clock;
    run(clock, attach(device_, path));
    CHECK(connections->check());
    return out;
  }

  counted_table connections{{.connections = 32, .unconfirmed = 16}};
  std::unique_ptr<nat_table> translations;
  std::size_t padding = 0;
  bool damaged = false;  // what is said has a wrong checksum
  std::uint16_t control = 21;

 private:
  nat_config sizes_{.seed = 5};
  std::vector<std::byte> memory_, raw_;
  counted_pool pool_{{.packets = 16, .bytes = 600, .headroom = 64, .bare = 16}};
  test_device device_{pool_};
};

// The client inside connects to the server outside; both have sent nothing else yet.
void ftp_open(ftp_rig& t, std::uint16_t port = 5000) {
  CHECK(t.say(in1, port, out1, 21, ftp_syn, 99, 0).ends ==
        "tcp 192.0.2.254:" + std::to_string(port) + " > 198.51.100.1:21");
  CHECK(t.say(out1, 21, box, port, ftp_syn | ftp_ack, 899, 100).state == "established");
  CHECK(t.say(in1, port, out1, 21, ftp_ack, 100, 900).state == "established");
}

}  // namespace

TEST_CASE("active FTP: PORT is translated, numbers are shifted from then on, and the data connection comes in") {
  ftp_rig t;
  t.padding = 4;  // of the link: not part of the text
  ftp_open(t);
  const std::string words = "PORT 10,0,0,1,19,137\r\n";  // 22 characters; port 5001
  const std::string outside = "PORT 192,0,2,254,19,137\r\n";
  const std::uint32_t longer = 3;
  ftp_rig::said s = t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, words);
  CHECK(s.ends == "tcp 192.0.2.254:5000 > 198.51.100.1:21");
  CHECK(s.payload == outside);
  CHECK(s.seq == 100);
  // Sent again, it is said the same.
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, words).payload == outside);
  CHECK(t.connections->expected() == 1);
  // The server acknowledges what it got, the client sees what it sent.
  s = t.say(out1, 21, box, 5000, ftp_ack, 900, 100 + 22 + longer, "200 ok\r\n");
  CHECK(s.state == "established");
  CHECK(s.ack == 122);
  CHECK(s.payload == "200 ok\r\n");
  s = t.say(in1, 5000, out1, 21, ftp_ack, 122, 908, "RETR x\r\n");
  CHECK(s.seq == 122 + longer);
  CHECK(s.ack == 908);
  s = t.say(out1, 21, box, 5000, ftp_ack, 908, 130 + longer, "", 133 + longer);
  CHECK(s.state == "established");
  CHECK(s.ack == 130);
  CHECK(s.edge == 133);
  // The server connects to what it was told.
  s = t.say(out1, 20, box, 5001, ftp_syn, 5, 0);
  CHECK(s.state == "related");
  CHECK(s.ends == "tcp 198.51.100.1:20 > 10.0.0.1:5001");
  CHECK(t.say(in1, 5001, out1, 20, ftp_syn | ftp_ack, 7, 6).ends == "tcp 192.0.2.254:5001 > 198.51.100.1:20");
  CHECK(t.say(out1, 20, box, 5001, ftp_ack, 6, 8).ends == "tcp 198.51.100.1:20 > 10.0.0.1:5001");
  // A second transfer: the shifts add up.
  s = t.say(in1, 5000, out1, 21, ftp_ack, 130, 908, "PORT 10,0,0,1,19,138\r\n");
  CHECK(s.payload == "PORT 192,0,2,254,19,138\r\n");
  CHECK(s.seq == 130 + longer);
  s = t.say(out1, 21, box, 5000, ftp_ack, 908, 152 + 2 * longer, "200 ok\r\n");
  CHECK(s.state == "established");
  CHECK(s.ack == 152);
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 152, 916, "x").seq == 152 + 2 * longer);
  CHECK(t.say(out1, 20, box, 5002, ftp_syn, 5, 0).ends == "tcp 198.51.100.1:20 > 10.0.0.1:5002");
}

TEST_CASE("active FTP: EPRT, and a port that somebody else has announced becomes another") {
  ftp_rig t;
  ftp_open(t);
  ftp_rig::said s = t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, "EPRT |1|10.0.0.1|5001|\r\n");
  CHECK(s.payload == "EPRT |1|192.0.2.254|5001|\r\n");
  CHECK(t.say(in2, 6000, out1, 21, ftp_syn, 99, 0).ends == "tcp 192.0.2.254:6000 > 198.51.100.1:21");
  CHECK(t.say(out1, 21, box, 6000, ftp_syn | ftp_ack, 899, 100).state == "established");
  CHECK(t.say(in2, 6000, out1, 21, ftp_ack, 100, 900).state == "established");
  s = t.say(in2, 6000, out1, 21, ftp_ack, 100, 900, "EPRT |1|10.0.0.2|5001|\r\n");
  const std::string begins = "EPRT |1|192.0.2.254|";
  REQUIRE(s.payload.substr(0, begins.size()) == begins);
  const auto port = static_cast<std::uint16_t>(std::stoul(s.payload.substr(begins.size())));
  CHECK(port != 5001);
  CHECK(t.say(out1, 20, box, port, ftp_syn, 5, 0).ends == "tcp 198.51.100.1:20 > 10.0.0.2:5001");
  CHECK(t.say(out1, 20, box, 5001, ftp_syn, 5, 0).ends == "tcp 198.51.100.1:20 > 10.0.0.1:5001");
  CHECK(t.translations->sequences().size() == 2);
}

TEST_CASE("active FTP: a port is taken for the server that waits for it, as long as who announced it is there") {
  ftp_rig t;
  const auto announces = [&](ipv4_address from, std::uint16_t port, ipv4_address to) {
    (void)t.say(from, port, to, 21, ftp_syn, 99, 0);
    (void)t.say(to, 21, box, port, ftp_syn | ftp_ack, 899, 100);
    (void)t.say(from, port, to, 21, ftp_ack, 100, 900);
    return t
        .say(from, port, to, 21, ftp_ack, 100, 900, "PORT 10,0,0," + std::to_string(from.value() & 255) + ",19,137\r\n")
        .payload;
  };
  const std::string as_it_was = "PORT 192,0,2,254,19,137\r\n";
  CHECK(announces(in1, 5000, out1) == as_it_was);
  CHECK(announces(in2, 6000, out2) == as_it_was);
  CHECK(announces(in2, 7000, out1) != as_it_was);
  t.connections->for_each([&](connection& c) {
    if (t.connections->original(c).source_port() == 5000) t.connections->erase(c);
  });
  CHECK(announces(in2, 8000, out1) == as_it_was);
  // Nobody waits for what was announced by the one that is gone.
  CHECK(t.say(out1, 20, box, 5001, ftp_syn, 5, 0).ends == "tcp 198.51.100.1:20 > 10.0.0.2:5001");
  CHECK(t.say(out2, 20, box, 5001, ftp_syn, 5, 0).ends == "tcp 198.51.100.2:20 > 10.0.0.2:5001");
}

TEST_CASE("passive FTP to a server behind a port forward: what it answers to PASV and EPSV is translated") {
  ftp_rig t;
  t.control = 2121;
  CHECK(t.say(out1, 7000, box, 2121, ftp_syn, 99, 0).ends == "tcp 198.51.100.1:7000 > 10.0.0.2:21");
  t.control = 21;
  CHECK(t.say(in2, 21, out1, 7000, ftp_syn | ftp_ack, 899, 100).ends == "tcp 192.0.2.254:2121 > 198.51.100.1:7000");
  t.control = 2121;
  CHECK(t.say(out1, 7000, box, 2121, ftp_ack, 100, 900).state == "established");
  t.control = 21;
  const std::string words = "227 ok (10,0,0,2,4,1)\r\n";
  ftp_rig::said s = t.say(in2, 21, out1, 7000, ftp_ack, 900, 100, words);
  CHECK(s.payload == "227 ok (192,0,2,254,4,1)\r\n");
  const std::uint32_t longer = 3;
  s = t.say(out1, 7000, box, 2121, ftp_ack, 100, 900 + 23 + longer, "EPSV\r\n");
  CHECK(s.state == "established");
  CHECK(s.ack == 923);
  s = t.say(out1, 7001, box, 1025, ftp_syn, 5, 0);
  CHECK(s.state == "related");
  CHECK(s.ends == "tcp 198.51.100.1:7001 > 10.0.0.2:1025");
  CHECK(t.say(in2, 1025, out1, 7001, ftp_syn | ftp_ack, 7, 6).ends == "tcp 192.0.2.254:1025 > 198.51.100.1:7001");
  s = t.say(in2, 21, out1, 7000, ftp_ack, 923, 106, "229 ok (|||1026|)\r\n");
  CHECK(s.payload == "229 ok (|||1026|)\r\n");
  CHECK(s.seq == 923 + longer);
  CHECK(t.say(out1, 7002, box, 1026, ftp_syn, 5, 0).ends == "tcp 198.51.100.1:7002 > 10.0.0.2:1026");
}

TEST_CASE("passive FTP from behind NAT needs no change of its text") {
  ftp_rig t;
  ftp_open(t);
  const std::string words = "227 ok (198,51,100,1,4,1)\r\n";
  const ftp_rig::said s = t.say(out1, 21, box, 5000, ftp_ack, 900, 100, words);
  CHECK(s.payload == words);
  CHECK(t.say(in1, 5001, out1, 1025, ftp_syn, 5, 0).state == "related");
  CHECK(t.translations->sequences().size() == 0);
}

TEST_CASE("active FTP to a server behind a port forward: its data connection comes from where the client knows it") {
  ftp_rig t;
  t.control = 2121;
  CHECK(t.say(in1, 7000, box, 2121, ftp_syn, 99, 0).ends == "tcp 10.0.0.1:7000 > 10.0.0.2:21");
  t.control = 21;
  CHECK(t.say(in2, 21, in1, 7000, ftp_syn | ftp_ack, 899, 100).ends == "tcp 192.0.2.254:2121 > 10.0.0.1:7000");
  t.control = 2121;
  CHECK(t.say(in1, 7000, box, 2121, ftp_ack, 100, 900).state == "established");
  const std::string words = "PORT 10,0,0,1,27,89\r\n";  // port 7001
  CHECK(t.say(in1, 7000, box, 2121, ftp_ack, 100, 900, words).payload == words);
  const ftp_rig::said s = t.say(in2, 20, in1, 7001, ftp_syn, 5, 0);
  CHECK(s.state == "related");
  CHECK(s.ends == "tcp 192.0.2.254:20 > 10.0.0.1:7001");
  CHECK(t.say(in1, 7001, box, 20, ftp_syn | ftp_ack, 7, 6).ends == "tcp 10.0.0.1:7001 > 10.0.0.2:20");
  CHECK(t.translations->sequences().size() == 0);
}

TEST_CASE("active FTP: the same port is announced again, and stays that") {
  ftp_rig t;
  ftp_open(t);
  const std::string outside = "PORT 192,0,2,254,4,1\r\n";
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, "PORT 10,0,0,1,4,1\r\n").payload == outside);
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 119, 900, "PORT 10,0,0,1,4,1\r\n").payload == outside);
  CHECK(t.connections->expected() == 1);
}

TEST_CASE("an announcement that was dropped for want of room is dropped again, and announces once there is room") {
  ftp_rig t(1);
  ftp_open(t);
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, "PORT 10,0,0,1,4,1\r\n").state == "established");
  ftp_open(t, 5005);
  const std::string words = "PORT 10,0,0,1,4,2\r\n";
  for (std::uint64_t times = 1; times <= 2; ++times) {
    CHECK(t.say(in1, 5005, out1, 21, ftp_ack, 100, 900, words).state == "dropped");
    CHECK(t.translations->statistics().exhausted == times);
    CHECK(t.connections->expected() == 1);
  }
  t.connections->for_each([&](connection& c) {
    if (t.connections->original(c).source_port() == 5000) t.connections->erase(c);
  });
  CHECK(t.say(in1, 5005, out1, 21, ftp_ack, 100, 900, words).payload == "PORT 192,0,2,254,4,2\r\n");
  CHECK(t.say(out1, 20, box, 1026, ftp_syn, 5, 0).ends == "tcp 198.51.100.1:20 > 10.0.0.1:1026");
}

TEST_CASE("an announcement that came through stays said when it is sent again, and that is dropped") {
  ftp_rig t;
  ftp_open(t);
  const std::string words = "PORT 10,0,0,1,4,1\r\n", outside = "PORT 192,0,2,254,4,1\r\n";
  // The very first copy is damaged: nobody has heard it.
  t.damaged = true;
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, words).state == "dropped");
  CHECK(t.say(out1, 21, box, 5000, ftp_ack, 900, 122).state == "dropped");
  CHECK(t.connections->expected() == 0);
  t.damaged = false;
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, words).payload == outside);
  t.damaged = true;
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, words).state == "dropped");
  CHECK(t.translations->statistics().untranslatable == 2);
  t.damaged = false;
  const ftp_rig::said s = t.say(out1, 21, box, 5000, ftp_ack, 900, 122, "200 ok\r\n");
  CHECK(s.state == "established");
  CHECK(s.ack == 119);
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 908, words).payload == outside);
  CHECK(t.say(out1, 20, box, 1025, ftp_syn, 5, 0).ends == "tcp 198.51.100.1:20 > 10.0.0.1:1025");
}

TEST_CASE("what FTP says wrongly, of others, or too much of, is not announced") {
  ftp_rig t(1);
  ftp_open(t);
  for (const char* words :
       {"PORT 10,0,0,2,4,1\r\n", "PORT 10,0,0,1,4\r\n", "PORT 10,0,0,1,0,0\r\n", "PORT 10,0,0,1,4,1"})
    CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 100, 900, words).payload == words);
  CHECK(t.connections->expected() == 0);
  CHECK(t.say(in1, 5000, out1, 21, ftp_ack, 119, 900, "PORT 10,0,0,1,4,1\r\n").payload.size() == 22);
  CHECK(t.connections->expected() == 1);
  ftp_open(t, 5005);
  CHECK(t.say(in1, 5005, out1, 21, ftp_ack, 100, 900, "PORT 10,0,0,1,4,2\r\n").state == "dropped");
  CHECK(t.translations->statistics().exhausted == 1);
  // A segment with a wrong checksum is not made right by us; nor is one changed that has no room.
  ftp_rig full;
  ftp_open(full);
  const std::string long_words = "PORT 10,0,0,1,4,1\r\n" + std::string(527, 'x');
  CHECK(full.say(in1, 5000, out1, 21, ftp_ack, 100, 900, long_words).state == "dropped");
  CHECK(full.translations->statistics().untranslatable == 1);
  CHECK(full.connections->expected() == 0);
}

TEST_CASE("TFTP through NAT: the answer comes from another port, and is led to who has asked") {
  counted_table connections{{.connections = 32, .unconfirmed = 16}};
  nat_table translations{*connections, 5};
  counted_pool pool{{.packets = 16, .bytes = 600, .headroom = 64, .bare = 16}};
  test_device device{pool};
  manual_clock clock;
  std::int64_t at = 1000;
  // Of two bytes, which are those of a request to read.
  const auto send = [&](ipv4_address from, std::uint16_t sport, ipv4_address to, std::uint16_t dport) {
    clock.set(instant{} + milliseconds(at += 100));
    device.put(1, 2, clock.now(), eth, ipv4_header{.source = from, .destination = to},
               udp_header{.source_port = sport, .destination_port = dport});
    constexpr auto forwards = rules(when(udp::dport == 6969) >> dnat(addr4("10.0.0.2")).port(69));
    constexpr auto sources =
        rules(when(ip::saddr.in(net("10.0.0.0/8")) && !ip::daddr.in(net("10.0.0.0/8"))) >> snat(addr4("192.0.2.254")));
    std::string said = "dropped";
    auto path = parse() | track(*connections) | nat<prerouting>(translations, forwards) |
                nat<postrouting>(translations, sources) | tftp_helper(*connections) | confirm(*connections) |
                deliver([&](packet p) {
                  said = name(connection_word{p.connection()}.state()) + (' ' + nat_reading::of(p.contents().from(14)));
                });
    run(clock, attach(device, path));
    CHECK(connections->check());
    return said;
  };
  CHECK(send(in2, 5000, out1, 80) == "new udp 192.0.2.254:5000 > 198.51.100.1:80");
  CHECK(send(in1, 5000, out1, 69) == "new udp 192.0.2.254:5000 > 198.51.100.1:69");
  CHECK(send(out1, 6000, box, 5000) == "related udp 198.51.100.1:6000 > 10.0.0.1:5000");
  CHECK(send(in1, 5000, out1, 6000) == "established udp 192.0.2.254:5000 > 198.51.100.1:6000");
  CHECK(send(out1, 6000, box, 5000) == "established udp 198.51.100.1:6000 > 10.0.0.1:5000");
  // To another port outside, as somebody asks the same server from the same one.
  const std::string asked = send(in2, 5000, out1, 69);
  const std::uint16_t port = nat_rig::port_of(asked);
  CHECK(port != 5000);
  CHECK(send(out1, 6001, box, port) == "related udp 198.51.100.1:6001 > 10.0.0.2:5000");
  // A server inside, which is known by another address and port.
  CHECK(send(out2, 7000, box, 6969) == "new udp 198.51.100.2:7000 > 10.0.0.2:69");
  CHECK(send(in2, 8000, out2, 7000) == "related udp 192.0.2.254:8000 > 198.51.100.2:7000");
  CHECK(send(out2, 7000, box, 8000) == "established udp 198.51.100.2:7000 > 10.0.0.2:8000");
  CHECK(connections->expected() == 0);
}
