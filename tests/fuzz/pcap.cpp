// SPDX-License-Identifier: MIT
// Fuzz target: the capture parser on any bytes. Whatever they are, it reads nothing but them, comes to an end, and
// finds the same packets in one piece as in small ones. What it finds is written and read once more.
//
//     clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/pcap.cpp -o fuzz_pcap
//     ./fuzz_pcap tests/fuzz/corpus/pcap
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "found.hpp"

#include <runnel/device/pcap_parser.hpp>
#include <runnel/device/pcap_record.hpp>

using namespace runnel;

namespace {

// Feeds `piece` bytes more each time, in a block of exactly the size of what is there.
std::vector<found> parse(bytes input, std::size_t piece, std::size_t burst, pcap_fault& fault,
                         interface_descriptions* said = nullptr) {
  pcap_parser parser(3);
  std::vector<found> all;
  std::vector<std::byte> window;
  std::vector<frame> frames(burst);
  std::size_t fed = 0;
  for (;;) {
    const std::unique_ptr<std::byte[]> exact(new std::byte[window.size()]);
    copy_bytes(exact.get(), window.data(), window.size());
    std::size_t at = 0;
    for (;;) {
      const std::size_t n = parser.parse({exact.get() + at, window.size() - at}, burst, into_array(frames.data()));
      require(n <= burst && parser.consumed() <= window.size() - at);
      for (std::size_t i = 0; i < n; ++i) all.push_back(found_in(frames[i]));
      at += parser.consumed();
      if (n == 0) break;
    }
    if (parser.fault() != pcap_fault::none) break;
    window.erase(window.begin(), window.begin() + static_cast<std::ptrdiff_t>(at));
    require(parser.wanted() > window.size() && parser.wanted() <= pcap_parser::max_block);
    if (fed == input.size()) {
      parser.end({window.data(), window.size()});
      break;
    }
    const bytes next = input.from(fed).first(piece);
    window.insert(window.end(), next.begin(), next.end());
    fed += next.size();
  }
  fault = parser.fault();
  require(parser.explain("capture").message()[0] != '\0');
  require(parser.position() <= input.size());
  for (std::size_t i = 0; i < interface_descriptions::max_interfaces; ++i) {
    require(std::strlen(parser.descriptions().name_of(i)) <= interface_descriptions::max_length);
    require(std::strlen(parser.descriptions().description_of(i)) <= interface_descriptions::max_length);
  }
  if (said != nullptr) *said = parser.descriptions();
  return all;
}

std::vector<found> written_and_read(const std::vector<found>& all, const interface_descriptions& said,
                                    capture_format format) {
  const pcap_writer_options options{.format = format, .block = 0};
  static std::byte memory[max_captured_length + capture_block::overhead];
  require(sizeof memory == capture_block::bytes_needed(options));
  std::vector<std::byte> file;
  capture_block block(memory, options);
  block.describe_as(said);
  const auto flush = [&] {
    require(block.whole_records(block.size()).packets == block.packets());
    file.insert(file.end(), block.data(), block.data() + block.size());
    block.clear();
  };
  for (const found& f : all) {
    const capture_record r{instant{f.ns}, f.length, std::size_t{f.length} + f.missing, f.iif, f.link};
    std::byte* to = block.begin(r);
    if (to == nullptr && block.accepts(r)) {
      flush();
      to = block.begin(r);
      require(to != nullptr);
    }
    if (to == nullptr) continue;
    copy_bytes(to, f.content.data(), f.length);
    block.finish(r);
  }
  block.open_empty();
  flush();
  pcap_fault fault = pcap_fault::none;
  auto again = parse({file.data(), file.size()}, file.size(), 64, fault);
  require(fault == pcap_fault::none);
  return again;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> copy(size);
  if (size != 0) std::memcpy(copy.data(), data, size);
  const bytes input{copy.data(), size};
  pcap_fault fault = pcap_fault::none;
  interface_descriptions said;
  const auto whole = parse(input, size, 64, fault, &said);
  pcap_fault same = pcap_fault::none;
  require(parse(input, 1 + size / 16, 3, same) == whole && same == fault);
  if (size < 500) require(parse(input, 1, 1, same) == whole && same == fault);

  const auto again = written_and_read(whole, said, capture_format::pcapng);
  require(again.size() <= whole.size());
  bool few_interfaces = true;
  for (const found& f : whole) few_interfaces = few_interfaces && f.iif < 8;
  if (few_interfaces) {
    require(again.size() == whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      const std::int64_t ns = whole[i].ns < 0 ? 0 : whole[i].ns;
      require(again[i].ns == ns && again[i].content == whole[i].content && again[i].link == whole[i].link);
      require(again[i].missing == whole[i].missing);
    }
  }
  (void)written_and_read(whole, said, capture_format::pcap);
  return 0;
}
