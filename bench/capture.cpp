// SPDX-License-Identifier: MIT
// Reading a capture that is in the page cache: 64-byte packets, every one of them parsed to its five-tuple, against
// libpcap's offline loop with a callback that does nothing, and against the lower bound: a bare walk over 1 MiB reads.
// And writing one, against pcap_dump.
#include <string>  // string
#include <vector>  // vector

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <benchmark/benchmark.h>

#include <runnel/device/pcap.hpp>

#include "support/ports.hpp"

#ifdef BENCH_LIBPCAP
#include <pcap/pcap.h>
#endif

namespace {

using namespace bench;

// 7.6 MB: what the cache that cores share has room for, so that one side's reading does not wait for the memory.
constexpr std::size_t packets_in_capture = 100'000;

// A directory that is gone when the program ends.
class temporary_directory {
 public:
  temporary_directory() {
    const char* parent = getenv("TMPDIR");
    path_ = std::string(parent != nullptr ? parent : "/tmp") + "/runnel-bench-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~temporary_directory() {
    for (const std::string& file : files_) unlink(file.c_str());
    rmdir(path_.c_str());
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  std::string file(const char* name) {
    files_.push_back(path_ + "/" + name);
    return files_.back();
  }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

struct captures {
  temporary_directory directory;
  std::string classic = directory.file("in.pcap"), pcapng = directory.file("in.pcapng");
  std::string out_ours = directory.file("out-ours.pcap"), out_peer = directory.file("out-peer.pcap");

  captures() {
    write(classic, {.format = capture_format::pcap});
    write(pcapng, {.format = capture_format::pcapng});
  }
  static void write(const std::string& path, const pcap_writer_options& options) {
    auto out = pcap_writer::open(path.c_str(), options);
    if (!out) std::abort();
    std::byte packet[64];
    const std::size_t length = write_packet(packet, traffic::udp64, 0);
    for (std::size_t i = 0; i < packets_in_capture; ++i)
      if (!out->write(bytes{packet, length}, instant{1'700'000'000'000'000'000 + static_cast<std::int64_t>(i) * 1000}))
        std::abort();
    if (out->close() != nullptr) std::abort();
  }
  static captures& get() {
    static captures all;
    return all;
  }
};

void count(benchmark::State& state, std::uint64_t packets) {
  if (packets != static_cast<std::uint64_t>(state.iterations()) * packets_in_capture)
    state.SkipWithError("not every packet of the capture arrived");
  state.SetItemsProcessed(static_cast<std::int64_t>(packets));
}

template <bool Early>
void read_ours(benchmark::State& state, const std::string& file) {
  paged_pool memory{{.packets = 64, .bare = 1024}};
  std::uint64_t sum = 0, packets = 0;
  for (auto _ : state) {
    auto in = pcap_reader::open(file.c_str(), memory);
    if (!in) return state.SkipWithError("cannot open the capture");
    auto tuple = [&](ipv4 ip, udp u) {
      const flow_key4 k = flow_key4::from(ip, u);
      sum += k.word(0) ^ k.word(1);
      ++packets;
    };
    if constexpr (Early) run(attach(*in, xdp(tuple) | discard));
    else run(attach(*in, parse() | tuple | discard));
  }
  benchmark::DoNotOptimize(sum);
  count(state, packets);
}
void read_classic_early(benchmark::State& state) { read_ours<true>(state, captures::get().classic); }
void read_classic(benchmark::State& state) { read_ours<false>(state, captures::get().classic); }
void read_pcapng_early(benchmark::State& state) { read_ours<true>(state, captures::get().pcapng); }

void read_bound(benchmark::State& state) {
  constexpr std::size_t chunk = std::size_t{1} << 20;
  static std::uint8_t buffer[chunk + 70'000];
  std::uint64_t sum = 0, packets = 0;
  for (auto _ : state) {
    const int fd = ::open(captures::get().classic.c_str(), O_RDONLY | O_CLOEXEC);
    std::size_t have = 0;
    bool first = true;
    for (ssize_t got; (got = ::read(fd, buffer + have, chunk)) > 0;) {
      have += static_cast<std::size_t>(got);
      std::size_t at = first ? 24 : 0;
      first = false;
      for (std::uint32_t length = 0; at + 16 <= have; at += 16 + length) {
        __builtin_memcpy(&length, buffer + at + 8, 4);
        if (at + 16 + length > have) break;
        sum += buffer[at + 28];
        ++packets;
      }
      __builtin_memmove(buffer, buffer + at, have - at);
      have -= at;
    }
    ::close(fd);
  }
  benchmark::DoNotOptimize(sum);
  count(state, packets);
}

void write_ours(benchmark::State& state) {
  std::byte packet[64];
  const std::size_t length = write_packet(packet, traffic::udp64, 0);
  std::uint64_t packets = 0;
  for (auto _ : state) {
    auto out = pcap_writer::open(captures::get().out_ours.c_str(), {.format = capture_format::pcap});
    for (std::size_t i = 0; i < packets_in_capture; ++i)
      packets +=
          out->write(bytes{packet, length}, instant{1'700'000'000'000'000'000 + static_cast<std::int64_t>(i) * 1000});
    if (out->close() != nullptr) return state.SkipWithError("cannot write");
  }
  count(state, packets);
}

BENCHMARK(read_classic_early)->Name("capture_read/ours");
BENCHMARK(read_classic)->Name("capture_read/ours_with_packets");
BENCHMARK(read_pcapng_early)->Name("capture_read/ours_pcapng");
BENCHMARK(read_bound)->Name("capture_read/bare_walk");
BENCHMARK(write_ours)->Name("capture_write/ours");

#ifdef BENCH_LIBPCAP
std::uint64_t seen;
void read_libpcap(benchmark::State& state) {
  seen = 0;
  for (auto _ : state) {
    char message[PCAP_ERRBUF_SIZE];
    pcap_t* in = pcap_open_offline(captures::get().classic.c_str(), message);
    if (in == nullptr) return state.SkipWithError(message);
    pcap_loop(in, -1, [](u_char*, const pcap_pkthdr*, const u_char*) { ++seen; }, nullptr);
    pcap_close(in);
  }
  count(state, seen);
}
void write_libpcap(benchmark::State& state) {
  std::byte packet[64];
  const std::size_t length = write_packet(packet, traffic::udp64, 0);
  std::uint64_t packets = 0;
  for (auto _ : state) {
    pcap_t* dead = pcap_open_dead(DLT_EN10MB, 65535);
    pcap_dumper_t* out = pcap_dump_open(dead, captures::get().out_peer.c_str());
    if (out == nullptr) return state.SkipWithError("pcap_dump_open");
    pcap_pkthdr header{};
    header.caplen = header.len = static_cast<bpf_u_int32>(length);
    for (std::size_t i = 0; i < packets_in_capture; ++i) {
      header.ts.tv_sec = 1'700'000'000 + static_cast<long>(i / 1'000'000);
      header.ts.tv_usec = static_cast<long>(i % 1'000'000);
      pcap_dump(reinterpret_cast<u_char*>(out), &header, reinterpret_cast<const u_char*>(packet));
      ++packets;
    }
    pcap_dump_close(out);
    pcap_close(dead);
  }
  count(state, packets);
}
BENCHMARK(read_libpcap)->Name("capture_read/libpcap");
BENCHMARK(write_libpcap)->Name("capture_write/libpcap");
#endif

}  // namespace
