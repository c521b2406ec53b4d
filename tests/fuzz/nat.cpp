// SPDX-License-Identifier: MIT
// Fuzz target: an IP packet, perhaps an ICMP error about one of a few translated connections, or FTP, through track()
// and the stages of NAT, and back out. What comes out has the length that it had; if the checksums were right, they are
// right; an error that passed quotes what its receiver has sent; and the connections are as they were.
//
// The input: a byte that says which checksums are made right first, one that makes the packet a chain or a partial one,
// then the packet.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <runnel/track.hpp>
#include <runnel/wire.hpp>

#include "check.hpp"

namespace {

using namespace runnel;

constexpr connection_config config{.connections = 12, .ipv6_connections = 6, .unconfirmed = 6, .seed = 3};
constexpr nat_config sizes{.mappings = 8, .subscribers = 4, .permissions = 8, .sequences = 2, .seed = 3};
constexpr ethernet_header eth{};
constexpr ipv4_address inside4{10, 0, 0, 1}, box4{192, 0, 2, 1}, server4{198, 51, 100, 1};
constexpr ipv6_address inside6{0xfd00'0000'0000'0000, 1}, box6{0x2001'0db8'0000'0000, 1},
    server6{0x2001'0db8'0001'0000, 1};

static_pool<pool_config{.packets = 4, .bytes = 3072, .headroom = 64, .bare = 1}> memory;

// The table, its connections and NAT: sources become the box; what comes to port 80 of the box goes inside.
struct gateway {
  connection_table table;
  nat_table translations;
  context c;

  gateway(mutable_bytes a, mutable_bytes b, const nat_options& o)
      : table(a, config, {.tcp_be_liberal = true}), translations(table, b, sizes, o) {}

  verdict pass_through(packet& p, connection_word& word) {
    constexpr auto forwards = rules(when(has<ipv4> && th::dport == 80) >> dnat(inside4).port(8080),
                                    when(has<ipv6> && th::dport == 80) >> dnat(inside6).port(8080));
    constexpr auto sources = rules(when(ip::saddr == inside4) >> snat(box4).ports(4000, 4007),
                                   when(ip6::saddr == inside6) >> snat(box6).ports(4000, 4007));
    auto follow = detail::as_stage(track(table));
    auto text = nat_ftp(translations, 53);
    auto before = nat<prerouting>(translations, forwards);
    auto after = nat<postrouting>(translations, sources);
    auto take = detail::as_stage(confirm(table));
    c.connections = nullptr;  // another burst
    c.now = c.now + milliseconds(1);
    burst_of<1> b;
    CHECK(b.push_back(static_cast<packet&&>(p)));
    follow(b, c);
    verdict v = b.verdict_on(0);
    word.value = b[0].connection();
    if (v == pass) v = text(b[0], c);
    if (v == pass) v = before(b[0], c);
    if (v == pass) v = after(b[0], c);
    if (v == pass) v = take(b[0], c);
    p = static_cast<packet&&>(b[0]);
    CHECK(table.check());
    return v;
  }
  template <class... Headers>
  verdict begin(const Headers&... headers) {
    packet p = memory->allocate();
    const std::size_t size = size_of_headers(eth, headers...);
    std::byte* const to = p.put(size);
    CHECK(to != nullptr && write_headers({to, size}, eth, headers...));
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    connection_word word;
    return pass_through(p, word);
  }
};

bool right(const std::byte* ip, std::size_t size) {  // the checksums of an ICMP message that is all there
  const bool v6 = load_u8(ip) >> 4 == 6;
  const std::size_t header = v6 ? 40 : (load_u8(ip) & 15u) * std::size_t{4};
  if (!v6 && fold_checksum(add_checksum({ip, header})) != 0xffff) return false;
  const std::uint64_t pseudo = v6 ? add_checksum({ip + 8, 32}) + (size - header) + 58 : 0;
  return fold_checksum(add_checksum({ip + header, size - header}, pseudo)) == 0xffff;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > 2048) return 0;
  alignas(64) static std::byte room[connection_table::bytes_needed(config)], more[nat_table::bytes_needed(sizes)];
  const std::uint8_t fix = data[0], how = data[1];
  nat_options o;
  if ((how & 1u) != 0) o.mapping = nat_mapping::endpoint_independent;
  if ((how & 2u) != 0) o.filtering = nat_filtering::endpoint_independent;
  if ((how & 4u) != 0) o.filtering = nat_filtering::address_dependent;
  gateway g({room, sizeof room}, {more, sizeof more}, o);
  const ipv4_header out4{.source = inside4, .destination = server4}, in4{.source = server4, .destination = box4};
  const ipv6_header out6{.source = inside6, .destination = server6}, in6{.source = server6, .destination = box6};
  const udp_header ask{.source_port = 1000, .destination_port = 53};
  const tcp_header syn{.source_port = 1000, .destination_port = 53, .flags = tcp_flags::syn, .window_size = 9};
  CHECK(g.begin(out4, ask) == pass && g.begin(out6, ask) == pass);
  CHECK(g.begin(out4, syn) == pass && g.begin(out6, syn) == pass);
  // Both are answered, and begin to talk.
  connection_tuple answers[2];
  unsigned opened = 0;
  g.table.for_each([&](const connection& k) {
    if (k.protocol_number() == 6) answers[opened++] = g.table.reply(k);
  });
  CHECK(opened == 2);
  for (const connection_tuple& t : answers) {
    tcp_header answer{.source_port = 53, .flags = tcp_flags::syn | tcp_flags::ack, .window_size = 900};
    answer.destination_port = t.destination_port(), answer.acknowledgment_number = 1;
    const tcp_header ack{.source_port = 1000,
                         .destination_port = 53,
                         .sequence_number = 1,
                         .acknowledgment_number = 1,
                         .flags = tcp_flags::ack,
                         .window_size = 900};
    CHECK((t.is_ipv6() ? g.begin(in6, answer) : g.begin(in4, answer)) == pass);
    CHECK((t.is_ipv6() ? g.begin(out6, ack) : g.begin(out4, ack)) == pass);
  }
  CHECK(g.begin(out4, icmp_header{.kind = icmp::echo_request, .identifier = 5}) == pass);
  CHECK(g.begin(in4, udp_header{.source_port = 9, .destination_port = 80}) == pass);
  CHECK(g.begin(in6, udp_header{.source_port = 9, .destination_port = 80}) == pass);
  const std::uint32_t connections = g.table.size();

  std::vector<std::byte> ip(size - 2);
  for (std::size_t i = 0; i < ip.size(); ++i) ip[i] = static_cast<std::byte>(data[i + 2]);
  // Random bytes have no right checksums: some are put right, from the inside out.
  const bool v6 = ip.size() >= 40 && load_u8(ip.data()) >> 4 == 6;
  const std::size_t header = v6 ? 40 : ip.size() >= 20 ? (load_u8(ip.data()) & 15u) * std::size_t{4} : 0;
  const std::size_t inner = header + 8;
  if ((fix & 1u) != 0 && v6) store_be16(ip.data() + 4, static_cast<std::uint16_t>(ip.size() - 40));
  if ((fix & 1u) != 0 && !v6 && ip.size() >= 20) store_be16(ip.data() + 2, static_cast<std::uint16_t>(ip.size()));
  if ((fix & 2u) != 0 && !v6 && header >= 20 && ip.size() >= inner + 20) {
    const std::size_t length = (load_u8(ip.data() + inner) & 15u) * std::size_t{4};
    if (length >= 20 && inner + length <= ip.size()) {
      store_be16(ip.data() + inner + 10, 0);
      store_be16(ip.data() + inner + 10, checksum({ip.data() + inner, length}));
    }
  }
  if ((fix & 4u) != 0 && header >= 20 && ip.size() >= header + 4) {
    store_be16(ip.data() + header + 2, 0);
    const std::uint64_t pseudo = v6 ? add_checksum({ip.data() + 8, 32}) + (ip.size() - 40) + 58 : 0;
    store_be16(ip.data() + header + 2, checksum({ip.data() + header, ip.size() - header}, pseudo));
  }
  if ((fix & 16u) != 0 && header >= 20 && ip.size() >= header + 20) {  // of TCP
    store_be16(ip.data() + header + 16, 0);
    const std::uint64_t pseudo =
        (v6 ? add_checksum({ip.data() + 8, 32}) : add_checksum({ip.data() + 12, 8})) + (ip.size() - header) + 6;
    store_be16(ip.data() + header + 16, checksum({ip.data() + header, ip.size() - header}, pseudo));
  }
  if ((fix & 8u) != 0 && !v6 && header >= 20 && header <= ip.size()) {
    store_be16(ip.data() + 10, 0);
    store_be16(ip.data() + 10, checksum({ip.data(), header}));
  }

  packet p = memory->allocate();
  CHECK(static_cast<bool>(p));
  std::byte* const at = p.put(ip.size());
  CHECK(at != nullptr);
  copy_bytes(at, ip.data(), ip.size());
  p.layers(dissect(p.contents(), link_type::raw_ip, {.head_offset = p.headroom()}));
  if (!p.layers().has(protocol::parsed)) return 0;
  const bool is_icmp = p.layers().has(protocol::icmp) || p.layers().has(protocol::icmpv6);
  if ((how & 8u) != 0) p.checksum(checksum_status::partial);
  else if ((how & 16u) != 0 && p.length() > 60) CHECK(p.trim(p.length() - (how >> 5)));  // shorter than it was found
  const std::size_t length = p.length();
  const bool was_right = is_icmp && length == ip.size() && (how & 8u) == 0 && header + 8 <= length &&
                         length == (v6 ? load_be16(at + 4) + std::size_t{40} : load_be16(at + 2)) && right(at, length);

  connection_word word;
  const verdict v = g.pass_through(p, word);
  const bool changed = word.has_connection() && g.table[word.number()].has_status(connection_status::seq_adjust);
  CHECK(static_cast<bool>(p) && (p.length() == length || changed));
  CHECK(g.table.size() <= connections + 1);
  if (v != pass) {
    CHECK(v.reason != drop_reason::none && v.reason != drop_reason::policy);
    return 0;
  }
  const std::byte* const now = p.data();
  if (was_right && p.layers().transport - p.layers().network == static_cast<int>(header)) CHECK(right(now, length));
  if (is_icmp && word.state() == related && word.has_connection()) {
    // It went to one of both ends, and quotes what that end sent.
    const connection& k = g.table[word.number()];
    const bool reply = word.direction() == connection_direction::reply;
    const connection_tuple sent = reply ? g.table.original(k) : g.table.reply(k);
    const std::byte* const quoted = p.head() + p.layers().transport + 8;
    if (v6)
      CHECK(ipv6_address::load(quoted + 8) == sent.source6() && ipv6_address::load(quoted + 24) == sent.destination6());
    else
      CHECK(ipv4_address::load(quoted + 12) == sent.source4() &&
            ipv4_address::load(quoted + 16) == sent.destination4());
    if (v6) CHECK(ipv6_address::load(now + 24) == sent.source6());
    else CHECK(ipv4_address::load(now + 16) == sent.source4());
  }
  return 0;
}
