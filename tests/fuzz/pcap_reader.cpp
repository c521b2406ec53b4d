// SPDX-License-Identifier: MIT
// Fuzz target: the capture reader on any bytes, from a pipe that gives them piece by piece, and from a file that may
// shrink meanwhile. Whatever they are, it finds the packets that the parser finds in all of them at once, stops where
// that stops, and says the same of it.
//
//     clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/pcap_reader.cpp -o fuzz
//     ./fuzz tests/fuzz/corpus/pcap
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "found.hpp"

#include <runnel/device/pcap_reader.hpp>

using namespace runnel;

namespace {

constexpr std::size_t file_header = 24;  // open() waits for so much
constexpr std::size_t pipe_room = 65536;

struct outcome {
  std::vector<found> packets;
  std::string failure;  // empty when there was none
  std::uint64_t position = 0;
  bool operator==(const outcome&) const = default;
};

// The numbers that say how the capture is read: the last bytes of the input, over and over, which belong to the capture
// as well.
class choices {
 public:
  choices(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  std::size_t below(std::size_t n) {
    at_ = at_ == 0 ? (size_ < 16 ? size_ : 16) : at_;
    return at_ == 0 ? 0 : data_[size_ - at_--] * std::size_t{257} % n;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
};

// An input is too small to fill a reader's memory: all of it but the file header comes several times, so that a record
// that claims to be long finds its bytes.
std::vector<std::byte> stretched(const std::uint8_t* data, std::size_t size, std::size_t times) {
  const auto* const first = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> all(first, first + size);
  const bool classic = pcap_file_header::recognise({all.data(), size});
  const std::size_t begin = classic && size > file_header ? file_header : 0;
  for (std::size_t i = 1; i < times; ++i) all.insert(all.end(), first + begin, first + size);
  return all;
}

outcome parsed_at_once(std::vector<std::byte> content) {
  outcome all;
  pcap_parser parser;
  frame frames[64];
  std::size_t at = 0;
  for (;;) {
    const std::size_t n = parser.parse({content.data() + at, content.size() - at}, 64, into_array(frames));
    for (std::size_t i = 0; i < n; ++i) all.packets.push_back(found_in(frames[i]));
    at += parser.consumed();
    if (n == 0) break;
  }
  parser.end({content.data() + at, content.size() - at});
  if (parser.fault() != pcap_fault::none) all.failure = parser.explain("capture").message();
  all.position = parser.position();
  return all;
}

struct how {
  pcap_reader_options options;
  std::size_t burst;
};
how chosen(choices& choose) {
  return {{.pace = choose.below(2) == 0 ? pace::unlimited : pace::capture, .block = choose.below(5) * 4096},
          1 + choose.below(64)};
}

static_pool<pool_config{.packets = 1, .bytes = 64, .headroom = 0, .bare = 0}> memory;

// Reads to the end. `more()` is called when nothing came: a pipe gets its next piece then. `between()` after each
// burst.
template <class More, class Between>
outcome read(int fd, const how& h, More more, Between between) {
  outcome all;
  auto in = pcap_reader::adopt(fd, "capture", memory, h.options);
  if (!in) {
    all.failure = in.error().message();
    return all;
  }
  std::vector<frame> frames(h.burst);
  frame none;
  while (!in->done()) {
    // At the end of time every packet is due.
    const std::size_t n = in->receive(h.burst, never, into_array(frames.data()));
    require(n <= h.burst);
    for (std::size_t i = 0; i < n; ++i) all.packets.push_back(found_in(frames[i]));
    if (n != 0) require(in->receive(1, never, into_array(&none)) == 0);
    memory->release(frames.data(), n);
    between();
    if (n == 0 && !in->done()) more();
  }
  if (in->failure() != nullptr) all.failure = in->failure()->message();
  all.position = in->bytes_read();
  return all;
}

outcome read_from_pipe(const std::vector<std::byte>& content, choices choose) {
  int ends[2];
  require(::pipe(ends) == 0);
  std::size_t sent = 0;
  const auto send = [&](std::size_t n) {
    n = n < content.size() - sent ? n : content.size() - sent;
    require(::write(ends[1], content.data() + sent, n) == static_cast<::ssize_t>(n));
    sent += n;
    if (sent == content.size()) ::close(ends[1]);
  };
  const how h = chosen(choose);
  const auto piece = [&] {
    const std::size_t n = choose.below(16);
    return 1 + (n < 8 ? choose.below(100) : n < 15 ? choose.below(5000) : pipe_room - 1);
  };
  send(file_header + choose.below(100));
  const outcome all = read(
      ends[0], h,
      [&] {
        require(sent < content.size());  // else it would never be done
        send(piece());
      },
      [] {});
  if (sent < content.size()) ::close(ends[1]);
  return all;
}

outcome read_from_file(const std::vector<std::byte>& content, choices choose, std::size_t& seen) {
  const int fd = ::memfd_create("capture", MFD_CLOEXEC);
  require(fd >= 0 && ::write(fd, content.data(), content.size()) == static_cast<::ssize_t>(content.size()));
  require(::lseek(fd, 0, SEEK_SET) == 0);
  const int mine = ::dup(fd);
  const how h = chosen(choose);
  const std::size_t shrinks_after = choose.below(4) == 0 ? 1 + choose.below(20) : 0;
  const std::size_t shrinks_to = choose.below(content.size() + 1);
  seen = content.size();
  std::size_t bursts = 0;
  const outcome all = read(
      fd, h, [] { require(false); },  // a file has something, or is at its end
      [&] {
        if (++bursts != shrinks_after) return;
        const auto read_already = static_cast<std::size_t>(::lseek(mine, 0, SEEK_CUR));
        require(::ftruncate(mine, static_cast<::off_t>(shrinks_to)) == 0);
        seen = read_already > shrinks_to ? read_already : shrinks_to;
      });
  ::close(mine);
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices choose(data, size);
  const std::size_t repeated = choose.below(3);
  auto content = stretched(data, size,
                           repeated == 0   ? 1
                           : repeated == 1 ? 1 + choose.below(16)
                                           : 1 + 150'000 / (size + 1));
  require(read_from_pipe(content, choose) == parsed_at_once(content));
  std::size_t seen = 0;
  const outcome all = read_from_file(content, choose, seen);
  const bool shorter = seen < content.size();
  content.resize(seen);
  outcome expected = parsed_at_once(static_cast<std::vector<std::byte>&&>(content));
  // Where it ends behind a whole record, the parser cannot know.
  if (shorter && expected.failure.empty())
    expected.failure = "pcap: read capture: it has become shorter meanwhile: the packets before it were read";
  require(all == expected);
  return 0;
}
