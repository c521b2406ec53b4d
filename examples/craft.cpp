// SPDX-License-Identifier: MIT
// Builds packets from plain values and writes them as a capture: `craft out.pcapng && tshark -r out.pcapng`.
//
//     headers as values -> write_headers -> packet -> pcap_writer
#include <runnel/runnel.hpp>

#include <cstdio>

using namespace runnel;

namespace {

constexpr ethernet_header lan{.destination = mac("02:00:00:00:00:02"), .source = mac("02:00:00:00:00:01")};
constexpr ipv4_header v4{.source = addr4("192.0.2.1"), .destination = addr4("192.0.2.2")};
constexpr ipv6_header v6{.source = addr6("2001:db8::1"), .destination = addr6("2001:db8::2")};

class capture {
 public:
  capture(pool& memory, pcap_writer& out) : memory_(&memory), out_(&out) {}

  // Any stack of headers around any payload: lengths, next protocols and checksums fill themselves in.
  template <class... Headers>
  void add(bytes payload, const Headers&... headers) {
    packet p = memory_->allocate();
    if (!p || !build(p, payload, headers...)) return;
    p.timestamp(time_);
    time_ = time_ + milliseconds(1);
    out_->write(p);
    ++count;
  }
  unsigned count = 0;

 private:
  pool* memory_;
  pcap_writer* out_;
  instant time_{1'700'000'000'000'000'000};
};

}  // namespace

int main(int argc, char** argv) {
  const char* to = argc > 1 ? argv[1] : "crafted.pcapng";
  auto memory = mapped_pool::open({.packets = 16});
  if (!memory) return std::fprintf(stderr, "%s\n", memory.error().message()), 2;
  auto out = pcap_writer::open(to);
  if (!out) return std::fprintf(stderr, "%s\n", out.error().message()), 2;

  const char text[] = "GET / HTTP/1.1\r\nHost: example.net\r\n\r\n";
  const bytes http{reinterpret_cast<const std::byte*>(text), sizeof text - 1};
  const bytes ping = http.first(32);
  capture c{*memory, *out};
}
