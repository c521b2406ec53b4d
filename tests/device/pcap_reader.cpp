// SPDX-License-Identifier: MIT
#include "capture_bytes.hpp"

#include <csignal>

#include <sys/stat.h>
#include <sys/time.h>

using namespace runnel;

namespace {

std::string why(const error* e) { return e != nullptr ? e->message() : "nothing is wrong"; }
bool mentions(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// What is read from these bytes by a pipe, with the failure, if any, in `problem`.
std::vector<seen> read_all(const capture_bytes& content, std::string* problem = nullptr, std::size_t block = 0) {
  mapped_pool memory = small_pool();
  auto in = pcap_reader::adopt(pipe_with(content), "test", memory, {.block = block});
  if (!in) {
    REQUIRE(problem != nullptr);
    *problem = in.error().message();
    return {};
  }
  auto all = drain(*in);
  if (problem != nullptr) *problem = why(in->failure());
  else CHECK(why(in->failure()) == "nothing is wrong");
  return all;
}

// 24 bytes, and 76 for each record.
capture_bytes thousand_records() {
  capture_bytes all;
  all.pcap_header();
  for (unsigned i = 0; i < 1000; ++i) all.record(i, 0, 60, 1);
  return all;
}

}  // namespace

TEST_CASE("classic captures are read in both byte orders, with micro- and nanoseconds") {
  for (bool big : {false, true}) {
    CAPTURE(big);
    const auto micro =
        capture_bytes(big).pcap_header().record(7, 999999, 60, 0x11).record(0xffffffff, 0, 1, 0x22, 1500);
    CHECK(read_all(micro) == std::vector<seen>{{7'999'999'000, 60, 0x11, 0, 0, on_ethernet},
                                               {4294967295'000'000'000, 1, 0x22, 0, 1499, on_ethernet}});
    const auto nano = capture_bytes(big).pcap_header(0xa1b23c4d).record(7, 999999999, 60, 0x11).record(8, 1, 0, 0);
    CHECK(read_all(nano) ==
          std::vector<seen>{{7'999'999'999, 60, 0x11, 0, 0, on_ethernet}, {8'000'000'001, 0, 0, 0, 0, on_ethernet}});
  }
}

TEST_CASE("the link type of a classic capture is told by its number, whatever is said of an FCS") {
  const auto link = [](unsigned linktype) {
    return read_all(capture_bytes().pcap_header(0xa1b2c3d4, linktype).record(1, 0, 20, 1)).at(0).link;
  };
  CHECK(link(1) == link_type::ethernet);
  CHECK(link(0x9400'0001) == link_type::ethernet);
  for (unsigned raw : {12u, 14u, 101u, 228u, 229u}) CHECK(link(raw) == link_type::raw_ip);
  CHECK(link(0) == link_type::null_loop);
  CHECK(link(108) == link_type::null_loop);
  CHECK(link(113) == link_type::linux_sll);
  CHECK(link(276) == link_type::linux_sll2);
  CHECK(link(105) == link_type::unknown);
}

TEST_CASE("a packet is lent where it lies, with its record's header as headroom, and nothing comes while it is held") {
  mapped_pool memory = small_pool();
  auto in = pcap_reader::adopt(pipe_with(capture_bytes().pcap_header().record(1, 0, 60, 1).record(2, 0, 60, 2)), "test",
                               memory);
  REQUIRE(in);
  CHECK(in->link_of(0) == link_type::ethernet);
  CHECK(in->link_of(1) == link_type::unknown);
  frame f{};
  REQUIRE(in->receive(1, {}, into_array(&f)) == 1);
  CHECK(f.slot == no_slot);
  CHECK(f.headroom == 16);
  CHECK(f.tailroom == 0);
  CHECK(memory->lent(f.lender) == 1);
  CHECK(memory->available() == memory->capacity());
  frame more{};
  CHECK(in->receive(1, {}, into_array(&more)) == 0);
  REQUIRE(f.push(16) != nullptr);
  zero_bytes(f.data, 76);
  packet p = memory->attach(f);
  CHECK(in->receive(1, {}, into_array(&more)) == 0);
  REQUIRE(p.keep());
  REQUIRE(in->receive(1, {}, into_array(&more)) == 1);
  CHECK(seen_in(more) == seen{2'000'000'000, 60, 2, 0, 0, on_ethernet});
  memory->release(&more, 1);
  CHECK_FALSE(in->done());
  CHECK(in->receive(1, {}, into_array(&more)) == 0);
  CHECK(in->done());
  CHECK(in->failure() == nullptr);
}

TEST_CASE("records that are cut by the end of a block come out whole") {
  capture_bytes content(true);
  content.pcap_header();
  std::vector<seen> expected;
  for (unsigned i = 0; i < 2000; ++i) {
    const std::size_t length = i * 37 % 1600;
    content.record(i, i, length, i % 251);
    expected.push_back(
        {std::int64_t{i} * 1'000'000'000 + i * 1000, length, length != 0 ? i % 251 : 0, 0, 0, on_ethernet});
  }
  const temporary_file file(content);
  mapped_pool memory = small_pool();
  for (std::size_t block : {0u, 4096u, 65536u, 1u << 20}) {
    auto in = pcap_reader::open(file.path(), memory, {.block = block});
    REQUIRE(in);
    CHECK(in->size() == content.size());
    CHECK(in->wait_handle() == -1);
    CHECK(drain(*in, 1 + block % 61) == expected);
    CHECK(in->failure() == nullptr);
    CHECK(in->bytes_read() == content.size());
  }
}

TEST_CASE("a record longer than the block, and than a pipe gives at once, is read whole") {
  const auto content =
      capture_bytes().pcap_header().record(1, 0, 60, 1).record(2, 0, max_captured_length, 2).record(3, 0, 9, 3);
  const temporary_file file(content);
  mapped_pool memory = small_pool();
  const std::vector<seen> expected{{1'000'000'000, 60, 1, 0, 0, on_ethernet},
                                   {2'000'000'000, max_captured_length, 2, 0, 0, on_ethernet},
                                   {3'000'000'000, 9, 3, 0, 0, on_ethernet}};
  auto in = pcap_reader::open(file.path(), memory, {.block = 4096});
  REQUIRE(in);
  CHECK(drain(*in) == expected);

  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::write(ends[1], content.data(), 24) == 24);
  auto slow = pcap_reader::adopt(ends[0], "pipe", memory, {.block = 4096});
  REQUIRE(slow);
  CHECK(slow->wait_handle() == ends[0]);
  CHECK(slow->size() == 0);
  CHECK(slow->next_due() == never);  // the handle tells
  std::vector<seen> all;
  std::size_t sent = 24;
  frame f{};
  CHECK(slow->receive(1, {}, into_array(&f)) == 0);  // nothing to read, and it does not wait
  while (!slow->done()) {
    if (sent < content.size()) {
      const std::size_t piece = content.size() - sent < 5000 ? content.size() - sent : 5000;
      REQUIRE(::write(ends[1], content.data() + sent, piece) == static_cast<::ssize_t>(piece));
      sent += piece;
      if (sent == content.size()) ::close(ends[1]);
    }
    while (slow->receive(1, {}, into_array(&f)) == 1) {
      all.push_back(seen_in(f));
      memory->release(&f, 1);
    }
  }
  CHECK(all == expected);
  CHECK(slow->failure() == nullptr);
  CHECK(slow->wait_handle() == -1);  // at the end
}

namespace {
volatile std::sig_atomic_t signals;
int rescue = -1;  // where a reader that waits gets a byte from
}  // namespace

TEST_CASE("a signal does not make a reader wait for a pipe that has nothing") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const auto content = capture_bytes().pcap_header();
  REQUIRE(::write(ends[1], content.data(), content.size()) == static_cast<::ssize_t>(content.size()));
  mapped_pool memory = small_pool();
  auto in = pcap_reader::adopt(ends[0], "pipe", memory);
  REQUIRE(in);

  signals = 0;
  rescue = ends[1];
  struct ::sigaction on{}, before;
  on.sa_handler = [](int) {
    signals = signals + 1;
    if (signals == 5000) (void)!::write(rescue, "", 1);
  };
  REQUIRE(::sigaction(SIGALRM, &on, &before) == 0);
  ::itimerval often{{0, 100}, {0, 100}};
  REQUIRE(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
  frame f{};
  std::size_t received = 0;
  while (signals < 1000) received += in->receive(1, {}, into_array(&f));
  CHECK(received == 0);
  CHECK(signals < 5000);
  often = {};
  REQUIRE(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
  REQUIRE(::sigaction(SIGALRM, &before, nullptr) == 0);
  ::close(ends[1]);
}

TEST_CASE("pcapng: packet blocks of all three kinds, in both byte orders, with the interface's clock") {
  for (bool big : {false, true}) {
    CAPTURE(big);
    capture_bytes content(big);
    content.section().interface().interface_with_clock(9).interface(113, 40);
    content.packet(1, 1'700'000'000'000'000'001, 61, 0x11, 99);
    content.packet(0, 1'700'000'000'000'001, 62, 0x22);
    content.block(2, capture_bytes(big).u16(2).u16(0).u32(0).u32(5).u32(3).u32(3).fill(3, 0x33));
    content.block(3, capture_bytes(big).u32(5).fill(5, 0x44));
    content.block(0x0bad, capture_bytes(big).fill(1000, 0xff));
    content.block(5, capture_bytes(big).fill(8, 0));
    content.packet(2, 6, 7, 0x55);
    CHECK(read_all(content) == std::vector<seen>{{1'700'000'000'000'000'001, 61, 0x11, 1, 38, on_ethernet},
                                                 {1'700'000'000'000'001'000, 62, 0x22, 0, 0, on_ethernet},
                                                 {5'000, 3, 0x33, 2, 0, link_type::linux_sll},
                                                 {0, 5, 0x44, 0, 0, on_ethernet},
                                                 {6'000, 7, 0x55, 2, 0, link_type::linux_sll}});
  }
}

TEST_CASE("pcapng: a simple packet is cut to the snap length of its interface") {
  const auto content = capture_bytes()
                           .section()
                           .interface(101, 5)
                           .block(3, capture_bytes().u32(1500).fill(5, 1))
                           .block(3, capture_bytes().u32(4).fill(4, 2));
  CHECK(read_all(content) ==
        std::vector<seen>{{0, 5, 1, 0, 1495, link_type::raw_ip}, {0, 4, 2, 0, 0, link_type::raw_ip}});
}

TEST_CASE("pcapng: every timestamp resolution is turned into nanoseconds") {
  const auto at = [](unsigned resolution, std::uint64_t ticks, std::int64_t offset = 0) {
    return read_all(capture_bytes().section().interface_with_clock(resolution, offset).packet(0, ticks, 1, 1)).at(0).ns;
  };
  CHECK(at(0, 3) == 3'000'000'000);
  CHECK(at(3, 3001) == 3'001'000'000);
  CHECK(at(6, 3'000'001) == 3'000'001'000);
  CHECK(at(9, 3'000'000'001) == 3'000'000'001);
  CHECK(at(10, 39) == 3);
  CHECK(at(12, 3'000'000'999'999) == 3'000'000'999);
  CHECK(at(28, 18'446'744'073'709'551'615u) == 1);
  CHECK(at(29, 18'446'744'073'709'551'615u) == 0);
  CHECK(at(127, 18'446'744'073'709'551'615u) == 0);
  CHECK(at(0x80, 3) == 3'000'000'000);
  CHECK(at(0x80 + 1, 3) == 1'500'000'000);
  CHECK(at(0x80 + 20, (3u << 20) + 1) == 3'000'000'953);
  CHECK(at(0x80 + 32, (std::uint64_t{3} << 32) + 0xffffffff) == 3'999'999'999);
  CHECK(at(0x80 + 33, (std::uint64_t{3} << 33) + 1) == 3'000'000'000);
  CHECK(at(0x80 + 62, (std::uint64_t{3} << 62) - 1) == 2'999'999'999);
  CHECK(at(0x80 + 64, std::uint64_t{1} << 63) == 500'000'000);
  CHECK(at(0x80 + 90, ~std::uint64_t{0}) == 14);
  CHECK(at(0x80 + 127, ~std::uint64_t{0}) == 0);
  CHECK(at(9, 5, 100) == 100'000'000'005);
  CHECK(at(9, 5, -100) == -99'999'999'995);
  // What lies more than 146 years from 1970 becomes that, so that a difference of two always fits.
  CHECK(at(0, ~std::uint64_t{0}) == INT64_MAX / 2);
  CHECK(at(9, ~std::uint64_t{0}) == INT64_MAX / 2);
  CHECK(at(9, INT64_MAX / 2 - 1) == INT64_MAX / 2 - 1);
  CHECK(at(0x80, ~std::uint64_t{0}) == INT64_MAX / 2);
  CHECK(at(9, 5, INT64_MAX) == INT64_MAX / 2);
  CHECK(at(9, 5, INT64_MIN) == -(INT64_MAX / 2));
  CHECK(at(9, 5, -9'000'000'000) == -(INT64_MAX / 2));
}

TEST_CASE("pcapng: a further section may have the other byte order, and numbers its interfaces anew") {
  const auto first = capture_bytes(false).section().interface(1).interface(101).packet(1, 1, 5, 1);
  const auto second = capture_bytes(true).section().interface(113).packet(0, 2, 6, 2);
  const std::vector<seen> expected{{1000, 5, 1, 1, 0, link_type::raw_ip},
                                   {2000, 6, 2, 0, 0, link_type::linux_sll},
                                   {1000, 5, 1, 1, 0, link_type::raw_ip}};
  CHECK(read_all(capture_bytes().append(first).append(second).append(first)) == expected);
  std::string problem;
  CHECK(read_all(capture_bytes().append(second).append(first).packet(2, 1, 1, 1), &problem).size() == 2);
  CHECK(mentions(problem, "is of interface 2, which was not described"));

  // Any number of sections that change the order do not end in a deep recursion.
  capture_bytes many;
  for (int i = 0; i < 2000; ++i) many.append(capture_bytes(i % 2 == 0).section());
  CHECK(read_all(many).empty());
}

TEST_CASE("pcapng: a block that is not looked at may be longer than all memory of the reader") {
  capture_bytes content;
  content.section().interface().block(0x4000'0001, capture_bytes().fill(300'000, 0xee)).packet(0, 1, 5, 1);
  const temporary_file file(content);
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(file.path(), memory, {.block = 4096});
  REQUIRE(in);
  CHECK(drain(*in) == std::vector<seen>{{1000, 5, 1, 0, 0, on_ethernet}});
}

TEST_CASE("a capture that is cut off or lies about a length gives what is before it, and a sentence") {
  std::string problem;
  const auto whole = capture_bytes().pcap_header().record(1, 0, 60, 1).record(2, 0, 60, 2);
  for (std::size_t n = 24; n < whole.size(); ++n) {
    const auto all = read_all(capture_bytes(whole).resize(n), &problem);
    const std::size_t records = (n - 24) / 76;
    CHECK(all.size() == records);
    if ((n - 24) % 76 == 0) CHECK(problem == "nothing is wrong");
    else CHECK(mentions(problem, ("the record at byte " + std::to_string(24 + records * 76)).c_str()));
  }
  CHECK(problem ==
        "pcap: read test: it ends 1 bytes before the end of the record at byte 100: "
        "the packets before it were read");

  CHECK(read_all(capture_bytes().pcap_header().record(1, 0, 60, 1).u32(2).u32(0).u32(262145).u32(262145), &problem)
            .size() == 1);
  CHECK(mentions(problem, "the record at byte 100 claims a packet of 262145 bytes"));

  const auto ng = capture_bytes().section().interface().packet(0, 1, 61, 1).packet(0, 2, 61, 2);
  for (std::size_t n = 28; n < ng.size(); ++n) {
    const auto all = read_all(capture_bytes(ng).resize(n), &problem);
    CHECK(all.size() == (n >= 144 ? 1 : 0));
    CHECK((problem == "nothing is wrong") == (n == 28 || n == 48 || n == 144));
  }
  const auto damaged = [&](capture_bytes tail, const char* sentence) {
    CHECK(read_all(capture_bytes().section().interface().packet(0, 1, 4, 1).append(tail), &problem).size() == 1);
    INFO(problem);
    CHECK(mentions(problem, sentence));
  };
  const auto b = [] { return capture_bytes(); };
  damaged(b().u32(6).u32(8).u32(8), "claims a length of 8 bytes");
  damaged(b().u32(99).u32(0).u32(0), "claims a length of 0 bytes");
  damaged(b().u32(6).u32(33).fill(25, 0).u32(33), "claims a length of 33 bytes");
  damaged(b().u32(6).u32(36).fill(24, 0).u32(32).u32(36), "claims a length of 36 bytes");  // ends 4 bytes early
  damaged(b().u32(6).u32(0x7fff'fffc).fill(40, 0), "2147483644 bytes long, more than 16 MiB");
  damaged(b().u32(77).u32(0xffff'fffc).fill(40, 0), "it ends 4294967244 bytes before the end");
  damaged(b().block(6, b().u32(0).u32(0).u32(0).u32(5).u32(5).fill(4, 0)), "claims a packet of 5 bytes");
  damaged(b().block(6, b().u32(0).u32(0).u32(0).u32(0xffff'ffff).u32(5).fill(4, 0)),
          "claims a packet of 4294967295 bytes");
  damaged(b().block(6, b().u32(1).u32(0).u32(0).u32(4).u32(4).fill(4, 0)), "is of interface 1");
  damaged(b().block(6, b().u32(0x1'0000).u32(0).u32(0).u32(4).u32(4).fill(4, 0)), "is of interface 65536");
  damaged(b().block(6, b()), "claims a length of 12 bytes");
  damaged(b().block(2, b().u32(0)), "claims a length of 16 bytes");
  damaged(b().block(3, b()), "claims a length of 12 bytes");
  damaged(b().block(1, b().u32(1)), "is shorter than its options");
  damaged(b().block(1, b().u16(1).u16(0).u32(0).u16(9).u16(5).u32(0)), "is shorter than its options");
  damaged(b().block(0x0a0d0d0a, b().u32(0x1a2b3c4c).fill(12, 0)), "has no byte-order magic");
  damaged(b().block(0x0a0d0d0a, b().u32(0x1a2b3c4d).u16(2).u16(0).u64(0)), "says format version 2");
  damaged(b().block(0x0a0d0d0a, b().u32(0x1a2b3c4d)), "claims a length of 16 bytes");
  // A section without interfaces has no simple packets either.
  damaged(b().section().block(3, b().u32(4).fill(4, 0)), "is of interface 0, which was not described");

  capture_bytes crowd;
  crowd.section();
  for (int i = 0; i < 257; ++i) crowd.interface();
  CHECK(read_all(crowd, &problem).empty());
  CHECK(mentions(problem, "more than 256 interfaces"));
}

TEST_CASE("what is not a capture does not open, and says why") {
  std::string problem;
  const auto refused = [&](const capture_bytes& content, const char* sentence) {
    CHECK(read_all(content, &problem).empty());
    INFO(problem);
    CHECK(mentions(problem, sentence));
  };
  refused(capture_bytes(), "the file is empty");
  refused(capture_bytes().u16(0xc3d4), "does not begin like a capture");
  refused(capture_bytes().fill(100, 'x'), "does not begin like a capture");
  refused(capture_bytes().u8(0x1f).u8(0x8b).fill(100, 8), "it is compressed");
  refused(capture_bytes().u32(0xa1b2c3d4).u16(3).u16(0).fill(16, 0), "says format version 3");
  refused(capture_bytes(true).u32(0xa1b2c3d4).u16(3).u16(0).fill(16, 0), "says format version 3");
  refused(capture_bytes().pcap_header().resize(23), "it ends 1 bytes before the end of the record at byte 0");

  mapped_pool memory = small_pool();
  auto missing = pcap_reader::open("/nonexistent/in.pcap", memory);
  REQUIRE_FALSE(missing);
  CHECK(std::string(missing.error().message()) ==
        "pcap: open /nonexistent/in.pcap: No such file or directory: give the path of a capture, or - for standard "
        "input");
  CHECK(missing.error().number() == ENOENT);
  auto directory = pcap_reader::open("/tmp", memory);
  REQUIRE_FALSE(directory);
  CHECK(mentions(directory.error().message(), "it is a directory"));
  auto closed = pcap_reader::adopt(-1, "nothing", memory);
  REQUIRE_FALSE(closed);
  CHECK(mentions(closed.error().message(), "Bad file descriptor"));
}

TEST_CASE("a file that shrinks while it is read is a cut-off capture") {
  const temporary_file file(thousand_records());
  mapped_pool memory = small_pool();
  auto in = pcap_reader::open(file.path(), memory, {.block = 4096});
  REQUIRE(in);
  frame f[8];
  REQUIRE(in->receive(8, {}, into_array(f)) == 8);
  memory->release(f, 8);
  REQUIRE(::truncate(file.path(), 6000) == 0);
  CHECK(drain(*in).size() == (6000 - 24) / 76 - 8);
  CHECK(mentions(why(in->failure()), "it ends 28 bytes before the end of the record at byte 5952"));
}

TEST_CASE(
    "a file that shrinks to where a record ends was longer all the same; one that grows, or begins later, was not") {
  const temporary_file file(thousand_records());
  mapped_pool memory = small_pool();
  {
    auto in = pcap_reader::open(file.path(), memory, {.block = 4096});
    REQUIRE(in);
    REQUIRE(::truncate(file.path(), 24 + 100 * 76) == 0);
    CHECK(drain(*in).size() == 100);
    CHECK(mentions(why(in->failure()), "it has become shorter meanwhile: the packets before it were read"));
  }
  auto in = pcap_reader::open(file.path(), memory, {.block = 4096});
  REQUIRE(in);
  const detail::file_handle more(::open(file.path(), O_WRONLY | O_APPEND | O_CLOEXEC), true);
  const auto record = capture_bytes().record(1, 0, 60, 1);
  REQUIRE(::write(more.get(), record.data(), record.size()) == static_cast<::ssize_t>(record.size()));
  CHECK(drain(*in).size() == 101);
  CHECK(in->failure() == nullptr);
  const temporary_file second(capture_bytes().record(1, 0, 60, 1).pcap_header().record(1, 0, 60, 1));
  const int fd = ::open(second.path(), O_RDONLY | O_CLOEXEC);
  REQUIRE(::lseek(fd, 76, SEEK_SET) == 76);
  auto later = pcap_reader::adopt(fd, "later", memory);
  REQUIRE(later);
  CHECK(drain(*later).size() == 1);
  CHECK(later->failure() == nullptr);
}

TEST_CASE("one pool reads any number of captures in turn, but only so many at once") {
  const auto content = capture_bytes().pcap_header().record(1, 0, 60, 1);
  mapped_pool memory = small_pool();
  for (int i = 0; i < 100; ++i) {
    auto in = pcap_reader::adopt(pipe_with(content), "test", memory);
    REQUIRE(in);
    CHECK(drain(*in).size() == 1);
  }
  std::vector<pcap_reader> many;
  many.reserve(pool::max_lenders);
  for (int i = 0; i < pool::max_lenders; ++i) {
    auto in = pcap_reader::adopt(pipe_with(content), "test", memory);
    REQUIRE(in);
    many.push_back(std::move(*in));
  }
  auto one_more = pcap_reader::adopt(pipe_with(content), "test", memory);
  REQUIRE_FALSE(one_more);
  CHECK(mentions(one_more.error().message(), "give this capture a pool of its own"));
}

TEST_CASE("at the capture's pace, packets come as far apart as they were recorded") {
  mapped_pool memory = small_pool();
  const auto content = capture_bytes()
                           .pcap_header(0xa1b23c4d)
                           .record(100, 0, 1, 1)
                           .record(100, 500, 1, 2)
                           .record(100, 500, 1, 3)
                           .record(100, 400, 1, 4)
                           .record(101, 0, 1, 5);
  const temporary_file file(content);
  auto in = pcap_reader::open(file.path(), memory, {.pace = pace::capture});
  REQUIRE(in);
  frame f[8];
  CHECK(in->next_due() < instant{0});
  REQUIRE(in->receive(8, instant{7000}, into_array(f)) == 1);
  CHECK(f[0].timestamp.ns == 100'000'000'000);
  CHECK(in->receive(7, instant{9000}, into_array(f + 1)) == 0);  // the first one is still out
  memory->release(f, 1);
  CHECK(in->receive(8, instant{7499}, into_array(f)) == 0);
  CHECK(in->next_due() == instant{7500});
  // One recorded out of order is overdue at once.
  REQUIRE(in->receive(8, instant{7500}, into_array(f)) == 3);
  CHECK(seen_in(f[2]).value == 4);
  memory->release(f, 3);
  CHECK(in->next_due() == instant{1'000'007'000});
  CHECK_FALSE(in->done());
  REQUIRE(in->receive(8, instant{2'000'000'000}, into_array(f)) == 1);
  memory->release(f, 1);
  CHECK(in->receive(8, instant{2'000'000'000}, into_array(f)) == 0);
  CHECK(in->done());
  CHECK(in->next_due() == never);
}

TEST_CASE("times further apart than a number can say: the later packet waits") {
  mapped_pool memory = small_pool();
  // Two clocks: seconds 292 years before 1970 and more, and such after it.
  const auto content = capture_bytes()
                           .section()
                           .interface_with_clock(0, -20'000'000'000)
                           .interface_with_clock(0, 20'000'000'000)
                           .packet(0, 0, 1, 1)
                           .packet(1, 0, 1, 2);
  auto in = pcap_reader::adopt(pipe_with(content), "test", memory, {.pace = pace::capture});
  REQUIRE(in);
  frame f{};
  const instant now{1'700'000'000'000'000'000};
  REQUIRE(in->receive(1, now, into_array(&f)) == 1);
  CHECK(f.timestamp.ns == -(INT64_MAX / 2));
  memory->release(&f, 1);
  CHECK(in->receive(1, now + seconds(1'000'000), into_array(&f)) == 0);
  CHECK(in->next_due() == instant{INT64_MAX - 1});
  CHECK_FALSE(in->done());
}

TEST_CASE("a reader with a packet in waiting may be destroyed") {
  mapped_pool memory = small_pool();
  auto in = pcap_reader::adopt(pipe_with(capture_bytes().pcap_header().record(1, 0, 1, 1).record(2, 0, 1, 2)), "test",
                               memory, {.pace = pace::capture});
  REQUIRE(in);
  frame f{};
  REQUIRE(in->receive(1, {}, into_array(&f)) == 1);
  memory->release(&f, 1);
  CHECK(in->receive(1, {}, into_array(&f)) == 0);
}
