// SPDX-License-Identifier: MIT
#include "capture_bytes.hpp"

#include <csignal>
#include <memory>
#include <sys/resource.h>
#include <sys/stat.h>

#include <runnel/wire/build.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/udp.hpp>

using namespace runnel;

namespace {

std::string why(const error* e) { return e != nullptr ? e->message() : "nothing is wrong"; }
bool mentions(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::vector<std::byte> content_of(const char* path) {
  std::vector<std::byte> all(1 << 20);
  const int fd = ::open(path, O_RDONLY);
  REQUIRE(fd >= 0);
  const auto n = ::read(fd, all.data(), all.size());
  REQUIRE(n >= 0);
  ::close(fd);
  all.resize(static_cast<std::size_t>(n));
  return all;
}

std::vector<seen> read_back(const char* path) {
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(path, memory);
  REQUIRE(in);
  auto all = drain(*in);
  CHECK(why(in->failure()) == "nothing is wrong");
  return all;
}

bytes of(const std::vector<std::byte>& v) { return {v.data(), v.size()}; }
std::vector<std::byte> filled(std::size_t n, unsigned value) {
  return std::vector<std::byte>(n, static_cast<std::byte>(value));
}

packet packet_of(pool& memory, std::size_t n, unsigned value, instant when = {}) {
  packet p = memory.allocate();
  REQUIRE(p);
  REQUIRE(p.append(of(filled(n, value))));
  p.timestamp(when);
  return p;
}

// Beside the sources of the tests.
std::string shipped_capture() {
  const std::string here = __FILE__;
  return here.substr(0, here.size() - std::string("tests/device/pcap_writer.cpp").size()) + "examples/capture.pcap";
}

// The output of a command; empty when it cannot be run.
std::string output_of(const std::string& command) {
  std::string text;
  FILE* f = ::popen((command + " 2>/dev/null").c_str(), "r");
  if (f == nullptr) return text;
  char part[512];
  while (std::fgets(part, sizeof part, f) != nullptr) text += part;
  ::pclose(f);
  return text;
}
bool installed(const char* tool) {
  if (!output_of(std::string("command -v ") + tool).empty()) return true;
  MESSAGE("skipped: " << tool << " is not installed");
  return false;
}

}  // namespace

TEST_CASE("a pcapng file is written byte for byte as the format says") {
  const temporary_file file;
  auto out = pcap_writer::open(file.path(), {.snap_length = 1000});
  REQUIRE(out);
  CHECK(out->write(of(filled(5, 0x77)), instant{0x1'0000'0002}, 9));
  CHECK(why(out->close()) == "nothing is wrong");
  const bool big = !little_endian_host;
  const auto b = [&] { return capture_bytes(big); };
  const auto expected = b().block(0x0a0d0d0a, b().u32(0x1a2b3c4d)
                                                  .u16(1)
                                                  .u16(0)
                                                  .u64(~std::uint64_t{0})
                                                  .u16(4)
                                                  .u16(6)
                                                  .u8('r')
                                                  .u8('u')
                                                  .u8('n')
                                                  .u8('n')
                                                  .u8('e')
                                                  .u8('l')
                                                  .u16(0)
                                                  .u32(0))
                            .block(1, b().u16(1).u16(0).u32(1000).u16(9).u16(1).u8(9).fill(3, 0).u32(0))
                            .block(6, b().u32(0).u32(1).u32(2).u32(5).u32(9).fill(5, 0x77));
  CHECK(equal(of(content_of(file.path())), expected));
}

TEST_CASE("a classic capture is written byte for byte as the format says") {
  for (bool nano : {true, false}) {
    const temporary_file file;
    auto out = pcap_writer::open(file.path(),
                                 {.format = capture_format::pcap, .link = link_type::raw_ip, .nanoseconds = nano});
    REQUIRE(out);
    CHECK(out->write(of(filled(5, 0x77)), instant{7'000'001'500}, 9));
    CHECK(why(out->close()) == "nothing is wrong");
    const auto expected = capture_bytes(!little_endian_host)
                              .u32(nano ? 0xa1b23c4d : 0xa1b2c3d4)
                              .u16(2)
                              .u16(4)
                              .u32(0)
                              .u32(0)
                              .u32(262144)
                              .u32(101)
                              .record(7, nano ? 1500 : 1, 5, 0x77, 9);
    CHECK(equal(of(content_of(file.path())), expected));
  }
}

TEST_CASE("what is written is read back: interfaces, link types, times, what is missing") {
  const temporary_file file;
  auto out = pcap_writer::open(file.path());
  REQUIRE(out);
  std::byte a[64]{};
  frame f;
  f.data = a;
  f.length = 64;
  f.timestamp = instant{1'700'000'000'123'456'789};
  f.iif = 7;
  f.missing = 10;
  CHECK(out->write(f));
  f.link = link_type::linux_sll2;
  f.missing = 0;
  CHECK(out->write(f));
  f.link = link_type::ethernet;
  f.iif = 0;
  f.timestamp = instant{-5};
  CHECK(out->write(f));
  f.iif = 7;
  f.timestamp = instant{1};
  CHECK(out->write(f));
  CHECK(out->written() == 4);
  CHECK(out->flush());
  CHECK(read_back(file.path()) == std::vector<seen>{{1'700'000'000'123'456'789, 64, 0, 0, 10, on_ethernet},
                                                    {1'700'000'000'123'456'789, 64, 0, 1, 0, link_type::linux_sll2},
                                                    {0, 64, 0, 2, 0, on_ethernet},
                                                    {1, 64, 0, 0, 0, on_ethernet}});
  CHECK(why(out->close()) == "nothing is wrong");
  CHECK_FALSE(out->write(f));
  CHECK(out->lost() == 1);
}

TEST_CASE("as a device it takes and releases packets, at their own time or now, with all their fragments") {
  mapped_pool memory = small_pool();
  const temporary_file file;
  auto out = pcap_writer::open(file.path());
  REQUIRE(out);
  packet p[3] = {packet_of(memory, 100, 1, instant{5}), packet_of(memory, 101, 2),
                 packet_of(memory, 1500, 3, instant{7})};
  REQUIRE(p[2].append(packet_of(memory, 1500, 3)));
  REQUIRE(p[2].append(packet_of(memory, 33, 3)));
  packet tapped = p[2].clone();
  CHECK(out->write(tapped));
  CHECK(tapped.total_length() == 3033);
  tapped.reset();
  CHECK(out->transmit(p, 3, instant{6}) == 3);
  for (packet& q : p) CHECK_FALSE(q);
  CHECK(memory->available() == memory->capacity());
  CHECK(why(out->close()) == "nothing is wrong");
  CHECK(read_back(file.path()) == std::vector<seen>{{7, 3033, 3, 0, 0, on_ethernet},
                                                    {5, 100, 1, 0, 0, on_ethernet},
                                                    {6, 101, 2, 0, 0, on_ethernet},
                                                    {7, 3033, 3, 0, 0, on_ethernet}});
}

TEST_CASE("packets longer than the snap length are cut, in the middle of a fragment too") {
  mapped_pool memory = small_pool();
  const temporary_file file;
  auto out = pcap_writer::open(file.path(), {.snap_length = 150});
  REQUIRE(out);
  packet p = packet_of(memory, 100, 9, instant{5});
  REQUIRE(p.append(packet_of(memory, 100, 9)));
  REQUIRE(p.append(packet_of(memory, 100, 9)));
  CHECK(out->write(p));
  p.reset();
  CHECK(out->close() == nullptr);
  CHECK(read_back(file.path()) == std::vector<seen>{{5, 150, 9, 0, 150, on_ethernet}});
}

TEST_CASE("a classic capture refuses packets of another link type, and counts them") {
  const temporary_file file;
  auto out = pcap_writer::open(file.path(), {.format = capture_format::pcap});
  REQUIRE(out);
  std::byte a[64]{};
  frame f;
  f.data = a;
  f.length = 64;
  f.link = link_type::raw_ip;
  CHECK_FALSE(out->write(f));
  CHECK(out->lost() == 1);
  f.link = link_type::ethernet;
  CHECK(out->write(f));
  CHECK(out->close() == nullptr);
  CHECK(read_back(file.path()).size() == 1);
}

TEST_CASE("a file without packets is still a capture, and says its link type") {
  for (auto format : {capture_format::pcap, capture_format::pcapng}) {
    const temporary_file file;
    { REQUIRE(pcap_writer::open(file.path(), {.format = format, .link = link_type::raw_ip})); }
    mapped_pool memory = small_pool();
    auto in = pcap_reader::open(file.path(), memory);
    REQUIRE(in);
    CHECK(drain(*in).empty());
    CHECK(in->link_of(0) == link_type::raw_ip);
  }
}

TEST_CASE("many interfaces share a description when there is no room for another one") {
  const temporary_file file;
  auto out = pcap_writer::open(file.path());
  REQUIRE(out);
  std::byte a[1]{};
  frame f;
  f.data = a;
  f.length = 1;
  for (unsigned i = 0; i < 100; ++i) {
    f.iif = static_cast<std::uint16_t>(i);
    CHECK(out->write(f));
  }
  f.link = link_type::raw_ip;
  CHECK_FALSE(out->write(f));
  CHECK(out->close() == nullptr);
  const auto all = read_back(file.path());
  REQUIRE(all.size() == 100);
  CHECK(all[63].iif == 63);
  CHECK(all[64].iif == 0);
}

TEST_CASE("a partial checksum is complete in the capture, and stays partial in the packet") {
  mapped_pool memory = small_pool();
  const temporary_file file;
  auto out = pcap_writer::open(file.path());
  REQUIRE(out);
  std::byte whole[64]{};  // with padding behind the IP packet
  whole[60] = std::byte{0x5a};
  REQUIRE(write_headers(mutable_bytes{whole, 14 + 20 + 8 + 5}, ethernet_header{},
                        ipv4_header{.source = {10, 0, 0, 1}, .destination = {10, 0, 0, 2}},
                        udp_header{.source_port = 1, .destination_port = 2}));
  const std::uint16_t right = load_be16(whole + 14 + 20 + 6);
  auto ip_header = ipv4::parse(bytes{whole}.from(14));
  REQUIRE(ip_header);
  const std::uint16_t partial = fold_checksum(std::uint64_t{ip_header->pseudo_header_sum()} + 17 + 13);
  store_be16(whole + 14 + 20 + 6, partial);
  packet p = memory->allocate();
  REQUIRE(p.append(bytes{whole}));
  p.checksum(checksum_status::partial);
  CHECK(out->write(p));
  CHECK(load_be16(p.data() + 14 + 20 + 6) == partial);
  p.checksum(checksum_status::unknown);
  CHECK(out->write(p));
  p.reset();
  CHECK(out->close() == nullptr);
  auto in = pcap_reader::open(file.path(), memory);
  REQUIRE(in);
  frame f[2];
  REQUIRE(in->receive(2, {}, into_array(f)) == 2);
  CHECK(load_be16(f[0].data + 14 + 20 + 6) == right);
  CHECK(load_be16(f[1].data + 14 + 20 + 6) == partial);
  memory->release(f, 2);
}

TEST_CASE("what cannot be created says why") {
  const auto refused = pcap_writer::open("/nonexistent/out.pcapng");
  REQUIRE_FALSE(refused);
  CHECK(mentions(refused.error().message(),
                 "pcap: create /nonexistent/out.pcapng: No such file or directory: make the folder first"));
  const auto directory = pcap_writer::open("/tmp");
  REQUIRE_FALSE(directory);
  CHECK(directory.error().number() == EISDIR);
}

TEST_CASE("a full disk ends the file at a whole record, and packets are taken and counted from then on") {
  for (auto format : {capture_format::pcap, capture_format::pcapng}) {
    mapped_pool memory = small_pool();
    const temporary_file file;
    auto out = pcap_writer::open(file.path(), {.format = format, .snap_length = 2000, .block = 4096});
    REQUIRE(out);
    // The limit on file sizes stands for the disk.
    ::rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    auto* old = std::signal(SIGXFSZ, SIG_IGN);
    const ::rlimit small{10'000, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    for (unsigned i = 0; i < 20; ++i) {
      packet p = packet_of(memory, 1000, i);
      CHECK(out->transmit(&p, 1, instant{i}) == 1);
    }
    const std::string problem = why(out->close());
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, old);
    CHECK(mentions(problem, "File too large"));
    const auto all = read_back(file.path());
    CHECK(all.size() == 9);
    CHECK(out->written() == all.size());
    CHECK(out->lost() == 20 - all.size());
    CHECK(out->size() == content_of(file.path()).size());
    CHECK(memory->available() == memory->capacity());
  }
}

TEST_CASE("a writer says how long its capture is, before it is written, so that it never becomes longer than allowed") {
  const std::string name(127, 'n');
  for (auto format : {capture_format::pcap, capture_format::pcapng}) {
    for (const std::size_t limit : {2'000u, 7'000u}) {
      const temporary_file file;
      auto out = pcap_writer::open(file.path(), {.format = format, .snap_length = 2000, .block = 4096});
      REQUIRE(out);
      for (std::uint16_t iif = 0; iif < 3; ++iif) out->describe(iif, name.c_str(), name.c_str());
      CHECK(out->size() == 0);
      for (std::uint16_t i = 0;; ++i) {
        const auto data = filled(10u + i % 91u, i);
        if (out->size() + data.size() + capture_block::overhead > limit) break;
        const std::uint64_t before = out->size();
        REQUIRE(out->write(of(data), instant{i}, 0, i % 3));
        CHECK(out->size() - before <= data.size() + capture_block::overhead);
        if (i % 7 != 0) continue;
        REQUIRE(out->flush());
        CHECK(out->size() == content_of(file.path()).size());
      }
      CHECK(why(out->close()) == "nothing is wrong");
      CHECK(out->size() == content_of(file.path()).size());
      CHECK(out->size() <= limit);
      CHECK(out->size() > limit - capture_block::overhead - 101);
    }
  }
}

TEST_CASE("a pipe whose reader is gone is a failure, told at close") {
  auto* old = std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::close(ends[0]);
  auto out = pcap_writer::adopt(ends[1], "pipe");
  REQUIRE(out);
  CHECK(out->write(of(filled(5, 1)), instant{1}));
  CHECK_FALSE(out->flush());
  CHECK_FALSE(out->write(of(filled(5, 1)), instant{1}));
  CHECK(out->lost() == 2);
  CHECK(out->written() == 0);
  CHECK(mentions(why(out->failure()), "Broken pipe"));
  CHECK(out->close() == out->failure());
  std::signal(SIGPIPE, old);
}

TEST_CASE("the shipped capture is read whole, and other tools find the same in our copy of it") {
  const std::string shipped = shipped_capture();
  mapped_pool memory = small_pool();
  for (auto format : {capture_format::pcap, capture_format::pcapng}) {
    const temporary_file file;
    auto in = pcap_reader::open(shipped.c_str(), memory);
    REQUIRE(in);
    auto out = pcap_writer::open(file.path(), {.format = format});
    REQUIRE(out);
    std::size_t count = 0;
    frame f[64];
    while (!in->done()) {
      const std::size_t n = in->receive(64, {}, into_array(f));
      for (std::size_t i = 0; i < n; ++i) CHECK(out->write(f[i]));
      memory->release(f, n);
      count += n;
    }
    CHECK(why(in->failure()) == "nothing is wrong");
    CHECK(count == 843);
    CHECK(out->close() == nullptr);
    if (installed("capinfos")) CHECK(mentions(output_of(std::string("capinfos -c -M ") + file.path()), "843"));
    if (installed("tshark")) {
      const auto listing = [](const std::string& path) {
        return output_of("tshark -r " + path +
                         " -t e -T fields -e frame.time_epoch -e frame.len -e frame.protocols -e _ws.col.Info");
      };
      const std::string ours = listing(file.path());
      CHECK(ours.size() > 843 * 20);
      CHECK((ours == listing(shipped)));
    }
  }
}

TEST_CASE("pcapng files of another writer are read as that writer meant them") {
  if (!installed("editcap") || !installed("tshark")) return;
  const std::string shipped = shipped_capture();
  const temporary_file file;
  output_of("editcap -F pcapng -s 100 " + shipped + " " + file.path());
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(shipped.c_str(), memory);
  auto again = pcap_reader::open(file.path(), memory);
  REQUIRE(in);
  REQUIRE(again);
  std::size_t count = 0;
  while (!in->done() || !again->done()) {
    frame a{}, b{};
    REQUIRE(in->receive(1, {}, into_array(&a)) == again->receive(1, {}, into_array(&b)));
    if (in->done()) break;
    CHECK(a.timestamp == b.timestamp);
    CHECK(a.length == std::size_t{b.length} + b.missing);
    CHECK(equal(a.contents().first(100), b.contents()));
    memory->release(&a, 1);
    memory->release(&b, 1);
    ++count;
  }
  CHECK(count == 843);
}

namespace {

capture_bytes& option(capture_bytes& to, unsigned code, const std::string& value) {
  to.u16(code).u16(static_cast<unsigned>(value.size()));
  for (char c : value) to.u8(static_cast<unsigned char>(c));
  return to.fill((4 - value.size() % 4) % 4, 0);
}
// An interface description with texts.
capture_bytes called(const std::string& name, const std::string& description = "", unsigned linktype = 1,
                     bool big = false) {
  capture_bytes body(big);
  body.u16(linktype).u16(0).u32(0);
  option(body, 2, name);
  if (!description.empty()) option(body, 3, description);
  option(body, 11, "ether");  // if_filter, which nobody looks at
  return capture_bytes(big).block(1, body.u32(0));
}
// What the example filter does: the packets of a capture, and what it says of their interfaces.
void copy_capture(const char* from, const char* to, std::size_t burst = 64, pace at = pace::unlimited) {
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(from, memory, {.pace = at});
  auto out = pcap_writer::open(to);
  REQUIRE(in);
  REQUIRE(out);
  out->describe_as(in->descriptions());
  CHECK(out->flush());  // as who shows what is there already, at any time
  for (instant now{}; !in->done(); now = now + seconds(1)) {
    frame f[64];
    const std::size_t n = in->receive(burst, now, into_array(f));
    for (std::size_t i = 0; i < n; ++i) CHECK(out->write(f[i]));
    memory->release(f, n);
  }
  CHECK(why(in->failure()) == "nothing is wrong");
  CHECK(why(out->close()) == "nothing is wrong");
}
// The name and the description of the interface of each packet, and its link type as the file has it.
std::vector<std::string> interfaces_in(const char* path) {
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(path, memory);
  REQUIRE(in);
  std::vector<std::string> all;
  while (!in->done()) {
    frame f;
    if (in->receive(1, {}, into_array(&f)) == 0) continue;
    all.push_back(std::string(in->name_of(f.iif)) + "|" + in->descriptions().description_of(f.iif) + "|" +
                  std::to_string(in->format().interface_at(f.iif)->linktype));
    memory->release(&f, 1);
  }
  return all;
}

}  // namespace

TEST_CASE("a copied capture says of its interfaces what the first one did, also in later sections") {
  capture_bytes all;
  for (bool big : {false, true}) {
    all.append(capture_bytes(big).section());
    all.append(called("lan", "to the office", 1, big)).append(called("radio0", "", 127, big));
    all.append(capture_bytes(big).packet(1, 1, 60, 1).packet(0, 2, 60, 2).packet(1, 3, 60, 3));
  }
  // The same numbers, other interfaces; one of them is learnt between packets.
  all.section().append(called("wan")).packet(0, 4, 60, 4).append(called("lan", "to the office")).packet(1, 5, 60, 5);
  all.section().interface().packet(0, 6, 60, 6);
  const temporary_file from(all);
  const temporary_file to;
  const std::vector<std::string> expected{"radio0||127", "lan|to the office|1", "radio0||127",
                                          "radio0||127", "lan|to the office|1", "radio0||127",
                                          "wan||1",      "lan|to the office|1", "||1"};
  CHECK(interfaces_in(from.path()) == expected);
  for (std::size_t burst : {1u, 2u, 64u})
    for (pace at : {pace::capture, pace::unlimited}) {
      copy_capture(from.path(), to.path(), burst, at);
      CHECK(interfaces_in(to.path()) == expected);
    }
  // Sections by turns, as of rotated captures that were put together, need no more descriptions than differ.
  capture_bytes turns;
  for (unsigned i = 0; i < 200; ++i) turns.section().append(called(i % 2 == 0 ? "wan" : "lan")).packet(0, i, 60, i % 2);
  const temporary_file rotated(turns);
  const temporary_file joined;
  copy_capture(rotated.path(), joined.path());
  CHECK(interfaces_in(joined.path()) == interfaces_in(rotated.path()));
  for (const seen& s : read_back(joined.path())) CHECK(s.iif == s.value);
  // A link type that is not read here, from a format without names.
  const temporary_file classic(capture_bytes().pcap_header(0xa1b2c3d4, 127).record(1, 0, 60, 1));
  const temporary_file radio;
  copy_capture(classic.path(), radio.path());
  CHECK(interfaces_in(radio.path()) == std::vector<std::string>{"||127"});
  if (!installed("tshark")) return;
  CHECK(output_of(std::string("tshark -r ") + to.path() +
                  " -T fields -e frame.interface_name -e frame.interface_description -e frame.encap_type") ==
        "radio0\t\t23\nlan\tto the office\t1\nradio0\t\t23\nradio0\t\t23\nlan\tto the office\t1\nradio0\t\t23\n"
        "wan\t\t1\nlan\tto the office\t1\nunknown\t\t1\n");
}

TEST_CASE("the texts of an interface may be of any length, and say anything") {
  const auto name_of = [](const std::string& name, const std::string& description = "") {
    const temporary_file from(capture_bytes().section().append(called(name, description)).packet(0, 1, 60, 1));
    const temporary_file to;
    copy_capture(from.path(), to.path());
    const auto before = interfaces_in(from.path());
    CHECK(interfaces_in(to.path()) == before);
    return before.at(0);
  };
  CHECK(name_of("") == "||1");
  CHECK(name_of(std::string("eth\0zero", 8)) == "eth||1");
  CHECK(name_of("a\x1b[2Jb\n\x7f") == "a?[2Jb??||1");
  CHECK(name_of("\xc2\x9b"
                "2J \xc2\xa0\xc3\x9b \xc2_ \xc2") == "??2J \xc2\xa0\xc3\x9b \xc2_ \xc2||1");
  CHECK(name_of(std::string(127, 'n'), std::string(127, 'd')) ==
        std::string(127, 'n') + "|" + std::string(127, 'd') + "|1");
  CHECK(name_of(std::string(60'000, 'n'), std::string(60'000, 'd')) ==
        std::string(127, 'n') + "|" + std::string(127, 'd') + "|1");
  // An umlaut is left out whole.
  CHECK(name_of(std::string(126, 'n') + "\xc3\xbc") == std::string(126, 'n') + "||1");
  CHECK(name_of(std::string(125, 'n') + "\xc3\xbc") == std::string(125, 'n') + "\xc3\xbc||1");
  CHECK(name_of(std::string(200, '\x80')) == "||1");

  // More texts than there is room for.
  capture_bytes many;
  many.section();
  for (unsigned i = 0; i < 256; ++i) many.append(called(std::string(100, static_cast<char>('A' + i % 26))));
  many.packet(0, 1, 60, 1).packet(255, 1, 60, 1).packet(69, 1, 60, 1);
  const temporary_file from(many);
  const temporary_file to;
  copy_capture(from.path(), to.path());
  CHECK(interfaces_in(to.path()) ==
        std::vector<std::string>{std::string(100, 'A') + "||1", "||1", std::string(100, 'A' + 69 % 26) + "||1"});
}

TEST_CASE("the interfaces of a live capture have names, from their next packets on") {
  for (std::size_t snap : {std::size_t{0}, std::size_t{1000}}) {
    const temporary_file file;
    auto out = pcap_writer::open(file.path(), {.snap_length = static_cast<std::uint32_t>(snap), .block = 0});
    REQUIRE(out);
    CHECK(out->describe(0, "eth0"));
    CHECK(out->describe(255, "eth255", std::string(500, 'd').c_str()));
    CHECK_FALSE(out->describe(256, "eth256"));
    CHECK(out->flush());  // who looks at a capture without packets sees the first one
    CHECK(content_of(file.path()).size() > 44);
    std::byte a[1000]{};
    frame f;
    f.data = a;
    f.length = 1000;
    const auto write = [&](unsigned iif) {
      f.iif = static_cast<std::uint16_t>(iif);
      CHECK(out->write(f));
    };
    write(0);
    write(255);
    write(256);
    CHECK(out->describe(0, "eth0"));
    write(0);
    CHECK(out->describe(0, "wan0", "renamed"));
    write(0);
    write(255);
    CHECK(why(out->close()) == "nothing is wrong");
    const std::string with_text = "eth255|" + std::string(127, 'd') + "|1";
    CHECK(interfaces_in(file.path()) ==
          std::vector<std::string>{"eth0||1", with_text, "||1", "eth0||1", "wan0|renamed|1", with_text});
    const auto all = read_back(file.path());
    REQUIRE(all.size() == 6);
    CHECK(all[3].iif == 0);
    CHECK(all[4].iif == 3);
    CHECK(all[5].iif == 1);
  }
  const temporary_file classic;
  auto out = pcap_writer::open(classic.path(), {.format = capture_format::pcap});
  REQUIRE(out);
  CHECK(out->describe(0, "eth0"));
  CHECK(out->write(of(filled(5, 0x77)), instant{1}));
  CHECK(out->close() == nullptr);
  CHECK(interfaces_in(classic.path()) == std::vector<std::string>{"||1"});
}

TEST_CASE("texts that are no longer said leave their room to others") {
  interface_descriptions said;
  const auto of_text = [](const std::string& t) {
    return bytes{reinterpret_cast<const std::byte*>(t.data()), t.size()};
  };
  REQUIRE(said.set(1, of_text("lan"), of_text("to the office")));
  REQUIRE(said.set(2, of_text("wan"), {}));
  for (unsigned i = 0; i < 2000; ++i) {
    const unsigned which = i % 3;
    if (i % 7 == 0) CHECK(said.set(which, {}, of_text("no name")));
    CHECK(said.set(which, of_text("eth" + std::to_string(i)), of_text(std::string(i % 100, 'd'))));
    CHECK(said.name_of(which) == "eth" + std::to_string(i));
    CHECK(said.description_of(which) == std::string(i % 100, 'd'));
    if (i == 0) CHECK(said.name_of(1) == std::string("lan"));
    if (i < 2) CHECK(said.name_of(2) == std::string("wan"));
    if (i >= 2) CHECK(said.name_of((i + 1) % 3) == "eth" + std::to_string(i - 2));
    if (i >= 2) CHECK(said.description_of((i + 1) % 3) == std::string((i - 2) % 100, 'd'));
  }
  // What is set may be what was said.
  REQUIRE(said.set(5, of_text("mine"), of_text("old")));
  const char* const name = said.name_of(5);
  CHECK(said.set(5, {reinterpret_cast<const std::byte*>(said.description_of(5)), 3},
                 {reinterpret_cast<const std::byte*>(name), 4}));
  CHECK(said.name_of(5) == std::string("old"));
  CHECK(said.description_of(5) == std::string("mine"));
}

TEST_CASE("a writer that was given its last packet does not look at what said the names") {
  const temporary_file file;
  const temporary_file empty;
  auto out = pcap_writer::open(file.path());
  auto without = pcap_writer::open(empty.path(), {.link = link_type::raw_ip});
  REQUIRE(out);
  REQUIRE(without);
  {
    auto said = std::make_unique<interface_descriptions>();
    REQUIRE(said->set(0, bytes{reinterpret_cast<const std::byte*>("lan"), 3}, {}));
    out->describe_as(*said);
    without->describe_as(*said);
    CHECK(out->write(of(filled(5, 0x77)), instant{1}));
  }
  CHECK(out->flush());
  CHECK(without->flush());
  CHECK(out->close() == nullptr);
  CHECK(without->close() == nullptr);
  CHECK(interfaces_in(file.path()) == std::vector<std::string>{"lan||1"});
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(empty.path(), memory);
  REQUIRE(in);
  CHECK(drain(*in).empty());
  CHECK(in->format().interfaces() == 1);
  CHECK(in->link_of(0) == link_type::raw_ip);
}

TEST_CASE("a packet is never written as one of another link type, also of one that is not read here") {
  capture_bytes all;
  all.section();
  for (unsigned i = 0; i < 70; ++i) all.append(called("radio" + std::to_string(i), "", i < 68 ? 127 : 195));
  for (unsigned i = 0; i < 70; ++i) all.packet(i, i, 60, i);
  const temporary_file from(all);
  const temporary_file to;
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(from.path(), memory);
  auto out = pcap_writer::open(to.path());
  REQUIRE(in);
  REQUIRE(out);
  out->describe_as(in->descriptions());
  while (!in->done()) {
    frame f;
    if (in->receive(1, {}, into_array(&f)) == 0) continue;
    CHECK(out->write(f) == (f.iif < 68));
    memory->release(&f, 1);
  }
  CHECK(out->lost() == 2);
  CHECK(why(out->close()) == "nothing is wrong");
  const auto copied = interfaces_in(to.path());
  REQUIRE(copied.size() == 68);
  CHECK(copied[63] == "radio63||127");
  for (const std::string& s : copied) CHECK(s.substr(s.size() - 3) == "127");
}
