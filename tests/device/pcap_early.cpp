// SPDX-License-Identifier: MIT
// Early verdicts on a capture, which are given while its reader hands out the frames: nothing is different from when
// they are given afterwards.
#include "capture_bytes.hpp"

#include <type_traits>

#include <runnel/base/random.hpp>
#include <runnel/flow.hpp>
#include <runnel/xdp.hpp>

using namespace runnel;

namespace {

// A reader that says nothing of where its bytes are.
struct far_reader {
  pcap_reader& in;
  pool& memory() noexcept { return in.memory(); }
  template <class Take>
  std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    return in.receive(room, now, take);
  }
  bool done() noexcept { return in.done(); }
  instant next_due() const noexcept { return in.next_due(); }
};

struct way_back {
  std::string* log;
  unsigned calls = 0;
  std::size_t transmit(packet* packets, std::size_t n, instant now) {
    if (++calls % 5 == 0) return 0;
    for (std::size_t i = 0; i < n; ++i) {
      *log += "sent " + std::to_string(packets[i].length()) + " at " + std::to_string(now.ns) + '\n';
      packets[i].reset();
    }
    return n;
  }
};

// Sections of several interfaces, with now and then a record that is longer than the reader's block.
capture_bytes any_capture(random_generator& random) {
  const bool big = random.below(2) == 0, classic = random.below(2) == 0;
  capture_bytes all(big);
  if (classic) all.pcap_header();
  unsigned interfaces = 0;
  for (unsigned i = 0; i < 300; ++i) {
    if (!classic && (i == 0 || random.below(40) == 0)) all.section().interface(), interfaces = 1;
    if (!classic && random.below(40) == 0) all.interface(random.below(2) == 0 ? 1 : 101), ++interfaces;
    const std::size_t length = random.below(60) == 0 ? 5000 + random.below(90'000) : random.below(200);
    const auto value = static_cast<unsigned>(random.below(256));
    const std::size_t wire = length + random.below(3);
    if (classic) all.record(i, 0, length, value, wire);
    else all.packet(static_cast<unsigned>(random.below(interfaces)), i, length, value, wire);
  }
  if (random.below(4) == 0) all.resize(random.below(all.size()) + 24);
  return all;
}

verdict any_verdict(random_generator& random) {
  switch (random.below(8)) {
    case 0: return drop;
    case 1: return drop(drop_reason::blocklist);
    case 2: return redirect(0);
    case 3: return redirect(1);
    case 4: return tx;
    default: return pass;
  }
}
// Writes wherever it may.
void change(frame& f, random_generator& random) {
  if (random.below(2) == 0) (void)f.push(random.below(f.headroom + std::uint64_t{2}));
  if (random.below(2) == 0) (void)f.pull(random.below(f.length + std::uint64_t{2}));
  if (random.below(2) == 0) (void)f.trim(random.below(f.length + std::uint64_t{1}));
  if (random.below(2) == 0) (void)f.put(random.below(f.tailroom + std::uint64_t{2}));
  if (random.below(4) == 0) f.timestamp = f.timestamp + seconds(1000);
  for (std::byte* p = f.head(); p != f.data + f.length + f.tailroom; ++p) *p = std::byte{0xff};
}

template <class Reader>
std::string said(const char* path, const pcap_reader_options& options, std::size_t budget, unsigned seed) {
  std::string log;
  random_generator random(seed);
  mapped_pool memory = small_pool();
  auto opened = pcap_reader::open(path, memory, options);
  if (!opened) return opened.error().message();
  pcap_reader& in = *opened;
  way_back out{&log};
  const auto sees = [&](const frame& f) {
    log += std::to_string(f.timestamp.ns) + ' ' + std::to_string(f.length) + ' ' + std::to_string(f.iif) + ' ' +
           std::to_string(f.missing) + ' ' + std::to_string(static_cast<int>(in.link_of(f.iif))) + '\n';
  };
  auto path_of = xdp([&](const subject& s) { return s.length % 7 == 0 ? any_verdict(random) : pass; }, out) |
                 xdp([&](frame& f) {
                   sees(f);
                   change(f, random);
                   return any_verdict(random);
                 }) |
                 xdp([&](ethernet) { return any_verdict(random); }, out) | discard;
  capture_clock time;
  const auto runs = [&](auto& source) {
    run(time, attach<48>(source, path_of, {.budget = budget}));
    text<4096> drawing;
    describe(drawing, path_of);
    log += drawing.c_str();
  };
  if constexpr (std::is_same_v<Reader, pcap_reader>) runs(in);
  else {
    far_reader source{in};
    runs(source);
  }
  return log + std::to_string(time.now().ns) + (in.failure() != nullptr ? in.failure()->message() : "");
}

}  // namespace

TEST_CASE("early verdicts on a capture say the same while its frames are handed out as afterwards") {
  random_generator random(1);
  for (unsigned i = 0; i < 60; ++i) {
    CAPTURE(i);
    const temporary_file file(any_capture(random));
    const pcap_reader_options options{.pace = i % 3 == 0 ? pace::capture : pace::unlimited, .block = 4096u << i % 6};
    const std::size_t budget = i % 4 == 0 ? 1 : 1 + random.below(300);
    const std::string near = said<pcap_reader>(file.path(), options, budget, i);
    CHECK(near.size() > 300);
    CHECK(near == said<far_reader>(file.path(), options, budget, i));
  }
}
