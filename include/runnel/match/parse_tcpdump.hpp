// SPDX-License-Identifier: MIT
// Reads one condition in tcpdump's way: `host 10.0.0.1`, `tcp dst port 80`, `net 10/8`, `tcp[tcpflags] & tcp-syn != 0`.
// pcap-filter(7).
#ifndef RUNNEL_MATCH_PARSE_TCPDUMP_HPP
#define RUNNEL_MATCH_PARSE_TCPDUMP_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/field_table.hpp>
#include <runnel/match/names.hpp>
#include <runnel/match/parse_field.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>
#include <runnel/wire/address.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>

namespace runnel::match::detail {

// ---- addresses and ports

// `either` or `both` of the source and the destination, or one of them; `one(field)` writes each.
template <class One>
void write_directions(auto& p, qualifiers::direction way, const operand_description& source,
                      const operand_description& destination, One one) noexcept {
  using direction = qualifiers::direction;
  if (way != direction::destination) one(source);
  const std::size_t left = p.to.last();
  if (way != direction::source) one(destination);
  if (way == direction::either) p.to.join(node_kind::either, left);
  if (way == direction::both) p.to.join(node_kind::both, left);
}
// A block of IPv4 addresses; a whole address has a length of 32.
void write_net4(auto& p, const qualifiers& q, ipv4_address a, unsigned length) noexcept {
  const std::uint64_t key = to_key(a);
  const auto one = [&](const operand_description& d) {
    if (length == 32) p.to.compare(d, relation::equal, key);
    else p.to.prefix(d, key, length);
  };
  const bool ip_too = !same_text(q.header, "arp"), arp_too = !same_text(q.header, "ip");
  if (ip_too) write_directions(p, q.way, describe(ip::saddr), describe(ip::daddr), one);
  const std::size_t left = p.to.last();
  if (arp_too) write_directions(p, q.way, describe(arp::saddr_ip), describe(arp::daddr_ip), one);
  if (ip_too && arp_too) p.to.join(node_kind::either, left);
}
void write_net6(auto& p, const qualifiers& q, const ipv6_address& a, unsigned length) noexcept {
  write_directions(p, q.way, describe(ip6::saddr), describe(ip6::daddr), [&](const operand_description& d) {
    if (length == 128) p.to.compare(d, relation::equal, a);
    else p.to.prefix(d, a, length);
  });
}
// Whether what stands next has a colon before anything that is not hexadecimal.
inline bool sees_colon(text_cursor& in) noexcept {
  in.skip_gap();
  std::size_t n = 0;
  while (hex_digit(in.ahead(n)) >= 0) ++n;
  return in.ahead(n) == ':';
}
// `10.1`: the first bytes of an address, and how many bits they are.
inline std::uint32_t parse_beginning(text_cursor& in, unsigned& bits) noexcept {
  std::uint32_t a = 0;
  bits = 0;
  do {
    std::uint64_t part = 0;
    in.skip_gap();
    std::size_t n = 0;
    for (; is_digit(in.ahead(n)) && n < 4; ++n) part = part * 10 + static_cast<unsigned>(in.ahead(n) - '0');
    if (n == 0 || part > 255 || bits == 32) {
      in.expected("an address, of which the end may be left away");
      return 0;
    }
    in.go_to(in.at() + n);
    bits += 8;
    a |= static_cast<std::uint32_t>(part) << (32 - bits);
  } while (in.ahead() == '.' && in.accept("."));
  return a;
}
void parse_net(auto& p, const qualifiers& q) noexcept {
  text_cursor& in = p.in;
  in.skip_gap();
  const std::size_t at = in.at();
  const bool six = sees_colon(in);
  unsigned bits = 128;
  const ipv6_address a6 = six ? parse_address6(in) : ipv6_address{};
  const std::uint32_t a4 = six ? 0 : parse_beginning(in, bits);
  std::uint64_t length = bits;
  if (in.accept("/")) {
    length = in.number_up_to(six ? 128 : 32, six ? "a length up to 128" : "a length up to 32");
  } else if (!six && in.accept_words("mask")) {
    const std::uint32_t mask = parse_address4(in).value();
    length = 0;
    while (length < 32 && (mask << length & 0x8000'0000u) != 0) ++length;
    if (in.good() && (length < 32 && (mask << length) != 0))
      in.fail("a mask with holes: write ip saddr & MASK == ADDRESS");
  }
  if (!in.good()) return;
  const auto n = static_cast<unsigned>(length);
  const bool cut = six ? ipv6_prefix(a6, n).address() != a6 : ipv4_prefix(ipv4_address{a4}, n).address().value() != a4;
  if (cut) return in.fail_at(at, "a length that cuts off bits of the address");
  if (six && *q.header != '\0' && !same_text(q.header, "ip6")) return in.fail_at(at, "not an IPv4 address");
  if (!six && same_text(q.header, "ip6")) return in.fail_at(at, "not an IPv6 address");
  if (six) write_net6(p, q, a6, n);
  else write_net4(p, q, ipv4_address{a4}, n);
}
void parse_host(auto& p, const qualifiers& q) noexcept {
  text_cursor& in = p.in;
  in.skip_gap();
  const std::size_t at = in.at();
  const bool six = sees_colon(in);
  if (!six && !is_digit(in.ahead())) return in.expected("an address");
  if (six) {
    const ipv6_address a = parse_address6(in);
    if (!in.good()) return;
    if (*q.header != '\0' && !same_text(q.header, "ip6")) return in.fail_at(at, "not an IPv4 address");
    return write_net6(p, q, a, 128);
  }
  const ipv4_address a = parse_address4(in);
  if (in.sees("/")) {  // `src 10.0.0.0/8`
    in.go_to(at);
    return parse_net(p, q);
  }
  if (!in.good()) return;
  if (same_text(q.header, "ip6")) return in.fail_at(at, "not an IPv6 address");
  write_net4(p, q, a, 32);
}
void parse_ether_host(auto& p, const qualifiers& q) noexcept {
  const std::uint64_t key = to_key(parse_address_mac(p.in));
  write_directions(p, q.way, describe(ether::saddr), describe(ether::daddr),
                   [&](const operand_description& d) { p.to.compare(d, relation::equal, key); });
}
void parse_port(auto& p, const qualifiers& q) noexcept {
  text_cursor& in = p.in;
  const bool tcp_only = same_text(q.header, "tcp"), udp_only = same_text(q.header, "udp");
  const operand_description source = tcp_only   ? describe(tcp::sport)
                                     : udp_only ? describe(udp::sport)
                                                : describe(th::sport);
  const operand_description destination = tcp_only   ? describe(tcp::dport)
                                          : udp_only ? describe(udp::dport)
                                                     : describe(th::dport);
  in.skip_gap();
  const std::size_t at = in.at();
  const std::uint64_t first = parse_number(in, source);
  std::uint64_t last = first;
  if (q.what == qualifiers::kind::portrange) {
    if (!in.accept("-")) in.expected("\"-\" and the last port");
    last = parse_number(in, source);
    if (last < first) in.fail_at(at, "the first value of this range is above its last");
  }
  if (!in.good()) return;
  write_directions(p, q.way, source, destination, [&](const operand_description& d) {
    if (q.what == qualifiers::kind::portrange) p.to.range(d, first, last);
    else p.to.compare(d, relation::equal, first);
  });
}

// ---- protocols

void write_l4proto(auto& p, std::uint64_t number) noexcept {
  p.to.compare(describe(meta::l4proto), relation::equal, number);
}
// An IP protocol: of IPv4, of IPv6, or of both when `header` is empty.
void write_protocol(auto& p, const char* header, std::uint64_t number) noexcept {
  const bool extension = number == 0 || number == 43 || number == 44 || number == 51 || number == 60;
  const bool four = same_text(header, "ip"), six = same_text(header, "ip6");
  if (four) return p.to.compare(describe(ip::protocol), relation::equal, number);
  if (extension) {  // l4proto is what stands behind these
    if (!six) p.to.compare(describe(ip::protocol), relation::equal, number);
    const std::size_t left = p.to.last();
    p.to.compare(describe(ip6::nexthdr), relation::equal, number);
    if (!six) p.to.join(node_kind::either, left);
    return;
  }
  if (six) p.to.compare(describe(meta::protocol), relation::equal, std::uint64_t{ethertype::ipv6});
  const std::size_t left = p.to.last();
  write_l4proto(p, number);
  if (six) p.to.join(node_kind::both, left);
}
void parse_protocol(auto& p, const qualifiers& q) noexcept {
  (void)p.in.accept("\\");  // tcpdump wants one before names that are also its own words
  const bool ether_type = same_text(q.header, "ether");
  const std::uint64_t number = parse_number(p.in, ether_type ? describe(ether::type) : describe(ip::protocol));
  if (!p.in.good()) return;
  if (ether_type) p.to.compare(describe(meta::protocol), relation::equal, number);
  else write_protocol(p, q.header, number);
}
// `ip`, `tcp` and so on by themselves.
bool write_protocol_word(auto& p, const char* word) noexcept {
  constexpr struct {
    const char* word;
    std::uint16_t type;
  } types[] = {{"ip", ethertype::ipv4}, {"ip6", ethertype::ipv6}, {"arp", ethertype::arp}, {"rarp", 0x8035}};
  for (const auto& t : types)
    if (same_text(word, t.word)) {
      p.to.compare(describe(meta::protocol), relation::equal, std::uint64_t{t.type});
      return true;
    }
  constexpr struct {
    const char* word;
    const char* header;
    std::uint8_t number;
  } protocols[] = {{"tcp", "", 6},  {"udp", "", 17}, {"icmp", "ip", 1}, {"icmp6", "ip6", 58}, {"igmp", "ip", 2},
                   {"esp", "", 50}, {"ah", "", 51},  {"pim", "", 103},  {"sctp", "", 132},    {"vrrp", "ip", 112}};
  for (const auto& t : protocols)
    if (same_text(word, t.word)) return write_protocol(p, t.header, t.number), true;
  return false;
}

// ---- bytes of a header

// `tcp[13]`, `ip[6:2]`, `icmp[icmptype]`. False, and nothing read, when there is none.
bool parse_bytes(auto& p, operand_description& to) noexcept {
  using owners = typename field_owners_of<decltype(p)>::type;
  text_cursor& in = p.in;
  in.skip_gap();
  const std::size_t before = in.at();
  constexpr header all[] = {header::ethernet, header::arp,    header::ipv4, header::ipv6,
                            header::icmp,     header::icmpv6, header::tcp,  header::udp};
  const header* found = nullptr;
  for (const header& h : all)
    if (found == nullptr && in.accept_words(raw_name_of(h))) {
      if (in.accept("[")) found = &h;
      else in.go_to(before);
    }
  if (found == nullptr) return false;
  std::uint64_t offset = 0, size = 1;
  constexpr struct {
    const char* word;
    std::uint8_t offset;
  } words[] = {{"tcpflags", 13}, {"icmptype", 0}, {"icmpcode", 1}, {"icmp6type", 0}, {"icmp6code", 1}};
  bool named = false;
  for (const auto& w : words)
    if (!named && in.accept_words(w.word)) offset = w.offset, named = true;
  if (!named) offset = in.number_up_to(255, "a number of bytes up to 255, or tcpflags, icmptype");
  if (in.accept(":")) {
    const std::size_t at = in.at();
    size = in.number_up_to(4, "1, 2 or 4 bytes");
    if (size == 0 || size == 3) in.fail_at(at, "fields have 1, 2 or 4 bytes");
  }
  if (!in.accept("]")) in.expected("\"]\"");
  if (!in.good()) return true;
  to = {};
  to.in_header = *found;
  to.offset = static_cast<std::uint16_t>(offset * 8);
  to.bits = static_cast<std::uint8_t>(size * 8);
  for (const operand_description& d : plain_fields<owners>)
    if (d.in_header == to.in_header && d.offset == to.offset && d.bits == to.bits && d.value == value_kind::number)
      to = d;
  return true;
}
// A condition on them. TCP and UDP are those of IPv4, as tcpdump has it; one that was read already stays what it is.
void parse_bytes_condition(auto& p, const operand_description& d, const std::uint64_t* mask) noexcept {
  const bool transport = d.in_header == header::tcp || d.in_header == header::udp;
  if (transport) {
    operand_description raw = d;
    raw.name = nullptr;
    take_what_was_told(p, raw);
    p.to.compare(describe(meta::protocol), relation::equal, std::uint64_t{ethertype::ipv4});
  }
  const std::size_t left = p.to.last();
  parse_rest(p, d, mask, true);
  if (transport && p.in.good()) p.to.join(node_kind::both, left);
}
// `(tcp[13] & 2) != 0`, `(tcp flags & syn) != 0`. False, and nothing read, when the brackets hold something else.
bool parse_masked_in_brackets(auto& p) noexcept {
  text_cursor& in = p.in;
  const std::size_t before = in.at();
  operand_description d;
  if (!in.accept("(")) return false;
  const bool bytes = parse_bytes(p, d);
  if (in.good() && (bytes || parse_operand(p, d)) && d.value != value_kind::ipv6 && in.accept("&")) {
    d.is_masked = true;
    std::uint64_t mask = 0;
    parse_mask(in, d, mask);
    if (in.good() && in.accept(")")) {
      if (bytes) {
        parse_bytes_condition(p, d, &mask);
      } else {
        take_what_was_told(p, d);
        parse_rest<std::uint64_t>(p, d, &mask);
      }
      return true;
    }
  }
  if (in.good()) in.go_to(before);
  return !in.good();
}

// ---- all of it

void parse_value_of(auto& p, const qualifiers& q) noexcept {
  p.said = q;
  switch (q.what) {
    case qualifiers::kind::net: return parse_net(p, q);
    case qualifiers::kind::port:
    case qualifiers::kind::portrange: return parse_port(p, q);
    case qualifiers::kind::protocol: return parse_protocol(p, q);
    case qualifiers::kind::ether: return parse_ether_host(p, q);
    case qualifiers::kind::none:
    case qualifiers::kind::host: return parse_host(p, q);
  }
}
// `vlan 5`, `mpls`: whether the header is there, and its number. The second one in a group is the inner tag.
void parse_tag(auto& p, bool is_vlan) noexcept {
  p.in.skip_gap();
  const std::size_t at = p.in.at();
  std::uint64_t number = 0;
  const bool given = p.in.number(number);
  if (given && number >= (is_vlan ? 0x1000u : 0x10'0000u))
    return p.in.fail_at(at, is_vlan ? "a VLAN id above 4095" : "a label above 1048575");
  if (!is_vlan) {
    if (given) return p.to.compare(describe(mpls::label), relation::equal, number);
    return p.to.compare(describe(meta::protocol), relation::equal, std::uint64_t{0x8847});
  }
  const bool inner = p.tags++ != 0;
  if (given) return p.to.compare(inner ? describe(cvlan::id) : describe(vlan::id), relation::equal, number);
  if (inner) return p.to.has(header::cvlan);
  p.to.constants(describe(ether::type), {0x8100, 0x88a8, 0x9100});
}
// `less 100`, `greater 100`, `broadcast` and so on. False, and nothing read, for other words.
bool parse_single_word(auto& p) noexcept {
  text_cursor& in = p.in;
  const bool less = in.accept_words("less");
  if (less || in.accept_words("greater")) {
    const std::uint64_t size = parse_number(in, describe(meta::length));
    p.to.compare(describe(meta::length), less ? relation::less_equal : relation::greater_equal, size);
    return true;
  }
  if (in.accept_words("vlan")) return parse_tag(p, true), true;
  if (in.accept_words("mpls")) return parse_tag(p, false), true;
  if (in.accept_words("ip6 multicast")) {
    p.to.prefix(describe(ip6::daddr), ipv6_address{0xff00'0000'0000'0000, 0}, 8);
    return true;
  }
  if (in.accept_words("ip multicast")) {
    p.to.compare(describe(ip::daddr), relation::greater_equal, std::uint64_t{0xe000'0000});
    return true;
  }
  // Not "ip and broadcast": for tcpdump an address whose host part is all ones or zeros.
  in.skip_gap();
  const std::size_t before = in.at();
  if (in.accept_words("ip broadcast"))
    return in.fail_at(before, "the netmask of ip broadcast is not known here: write ip daddr and the address"), true;
  if (in.accept_words("ether multicast") || in.accept_words("multicast")) {
    condition_node n;
    n.kind = node_kind::comparison;
    n.how = relation::not_equal;
    n.values = 1;
    n.operand.bits = 8;
    n.operand.is_masked = true;
    const std::uint64_t zero = 0;
    p.to.leaf(n, std::uint64_t{1}, &zero);
    return true;
  }
  if (in.accept_words("ether broadcast") || in.accept_words("broadcast")) {
    p.to.compare(describe(ether::daddr), relation::equal, to_key(mac_broadcast));
    return true;
  }
  return false;
}
inline bool parse_direction(text_cursor& in, qualifiers::direction& to) noexcept {
  using direction = qualifiers::direction;
  constexpr struct {
    const char* words;
    direction way;
  } all[] = {{"src or dst", direction::either}, {"dst or src", direction::either}, {"src and dst", direction::both},
             {"dst and src", direction::both},  {"src", direction::source},        {"dst", direction::destination}};
  for (const auto& d : all)
    if (in.accept_words(d.words)) return to = d.way, true;
  return false;
}
// A condition in tcpdump's way, perhaps `beside` another one. False, and nothing read, when there is none.
bool parse_tcpdump_condition(auto& p, bool beside) noexcept {
  text_cursor& in = p.in;
  using kind = qualifiers::kind;
  operand_description d;
  if (parse_bytes(p, d)) {
    if (in.good()) parse_bytes_condition(p, d, nullptr);
    return true;
  }
  if (parse_single_word(p)) return true;
  in.skip_gap();
  const std::size_t before = in.at();
  qualifiers q;
  constexpr const char* headers[] = {"ether", "ip6",  "ip",  "arp", "rarp", "tcp",  "udp", "icmp6",
                                     "icmp",  "igmp", "esp", "ah",  "pim",  "sctp", "vrrp"};
  for (const char* const h : headers)
    if (*q.header == '\0' && in.accept_words(h)) q.header = h;
  const bool way = parse_direction(in, q.way);
  constexpr struct {
    const char* word;
    kind what;
  } kinds[] = {{"host", kind::host},
               {"net", kind::net},
               {"portrange", kind::portrange},
               {"port", kind::port},
               {"proto", kind::protocol}};
  for (const auto& k : kinds)
    if (q.what == kind::none && in.accept_words(k.word)) q.what = k.what;
  const bool is_ether = same_text(q.header, "ether");
  const bool port = q.what == kind::port || q.what == kind::portrange;
  const bool transport = same_text(q.header, "tcp") || same_text(q.header, "udp");
  const bool network = same_text(q.header, "ip") || same_text(q.header, "ip6");
  if (q.what == kind::none && !way) {
    if (is_ether) return in.expected("host, src, dst, proto, broadcast or multicast"), true;
    if (*q.header != '\0') return write_protocol_word(p, q.header);
    if (!is_digit(in.ahead()) && !sees_colon(in)) return in.go_to(before), false;
    // A value alone: with what the last one had, else a host. Beside another condition it is more of that one's, and
    // would be read as "and".
    if (beside || (p.said.what == kind::none && p.to.size() != 0))
      return in.fail("a value without a field: several values of one stand in braces, { 10.0.0.1, 10.0.0.2 }"), true;
    if (p.said.what != kind::none) q = p.said;
    return parse_value_of(p, q), true;
  }
  if (*q.header != '\0' && !is_ether) {
    const bool good = port ? transport : q.what == kind::protocol ? network : network || same_text(q.header, "arp");
    if (!good) {
      text<96> why;
      why << '"' << q.header << "\" does not go with this: leave it away, or write \"" << q.header << " and ...\"";
      return in.fail_at(before, why.c_str()), true;
    }
  }
  if (q.what == kind::protocol && way) return in.fail_at(before, "a protocol has no direction"), true;
  if (is_ether && q.what == kind::net) return in.fail_at(before, "ether has hosts, and no nets"), true;
  if (is_ether && port) return in.fail_at(before, "ether has no ports"), true;
  if (is_ether && q.what != kind::protocol) q.what = kind::ether;
  if (q.what == kind::none) q.what = kind::host;
  return parse_value_of(p, q), true;
}

}  // namespace runnel::match::detail

#endif
