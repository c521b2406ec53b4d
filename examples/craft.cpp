// SPDX-License-Identifier: MIT
// Builds packets from plain values and writes them as a capture: `craft out.pcapng && tshark -r out.pcapng`.
//
//     headers as values -> write_headers -> packet -> pcap_writer
#include <runnel/runnel.hpp>

#include <cstdio>

using namespace runnel;

namespace {

constexpr mac_address here = mac("02:00:00:00:00:01"), there = mac("02:00:00:00:00:02");
constexpr ethernet_header lan{.source = here, .destination = there};
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
  const bytes some = http.first(32), none{};
  capture c{*memory, *out};

  c.add(none, ethernet_header{.source = here, .destination = mac_broadcast},
        arp_header{.operation = arp_operation::request,
                   .sender_hardware = here,
                   .sender_protocol = v4.source,
                   .target_protocol = v4.destination});
  c.add(some, lan, v4, icmp_header{.kind = icmp::echo_request, .identifier = 7, .sequence_number = 1});
  c.add(some, lan, v6, icmpv6_header{.kind = icmpv6::echo_request, .identifier = 7, .sequence_number = 1});

  // A TCP connection: the options that a modern stack sends, a request, and its end.
  const tcp_option_values syn_options{.maximum_segment_size = 1460,
                                      .window_scale = 7,
                                      .sack_permitted = true,
                                      .has_timestamps = true,
                                      .timestamps = {.value = 1}};
  c.add(none, lan, v4,
        tcp_header{.source_port = 40000,
                   .destination_port = 80,
                   .sequence_number = 1000,
                   .flags = tcp_flags::syn,
                   .window_size = 64240,
                   .options = syn_options});
  c.add(http, lan, v4,
        tcp_header{.source_port = 40000,
                   .destination_port = 80,
                   .sequence_number = 1001,
                   .acknowledgment_number = 5001,
                   .flags = tcp_flags::psh | tcp_flags::ack,
                   .window_size = 502});
  c.add(none, lan, v4,
        tcp_header{.source_port = 40000,
                   .destination_port = 80,
                   .sequence_number = 1001 + static_cast<std::uint32_t>(http.size()),
                   .acknowledgment_number = 5001,
                   .flags = tcp_flags::fin | tcp_flags::ack,
                   .window_size = 502});

  const udp_header datagram{.source_port = 5000, .destination_port = 6000};
  c.add(some, lan, v4, datagram);
  c.add(some, lan, v6, datagram);
  c.add(some, lan, vlan_header{.id = 5, .pcp = 3}, v4, datagram);
  c.add(some, lan, vlan_header{.id = 100, .service = true}, vlan_header{.id = 5}, v6, datagram);
  c.add(some, lan, mpls_header{.label = 100}, mpls_header{.label = 200}, v4, datagram);

  // Tunnels are headers like others.
  const ipv4_header outer{.source = addr4("198.51.100.1"), .destination = addr4("198.51.100.2")};
  c.add(some, lan, outer, v4, datagram);
  c.add(some, lan, outer, v6, datagram);
  c.add(some, lan, outer, gre_header{.has_key = true, .key = 42}, v4, datagram);
  c.add(some, lan, outer, udp_header{.source_port = 50000}, vxlan_header{.vni = 42}, lan, v4, datagram);

  // Neighbour discovery, behind the hop limit that it demands.
  const ipv6_header on_link{.source = addr6("fe80::1"), .destination = addr6("ff02::1:ff00:2"), .hop_limit = 255};
  c.add(none, ethernet_header{.source = here, .destination = mac("33:33:ff:00:00:02")}, on_link,
        neighbour_solicitation_header{.target = addr6("fe80::2")});

  if (const error* problem = out->close()) return std::fprintf(stderr, "%s\n", problem->message()), 2;
  std::printf("%u packets\n", c.count);
}
