// SPDX-License-Identifier: MIT
// The words that stand for numbers in the text of a rule: read by the parser, written by the printer.
#ifndef RUNNEL_MATCH_NAMES_HPP
#define RUNNEL_MATCH_NAMES_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/match/condition_node.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>

namespace runnel::match::detail {

struct named_value {
  const char* word;
  std::uint64_t value;
};
// A list of names. The printer knows the first `printed` of them; the others are only understood.
struct name_list {
  const named_value* begin = nullptr;
  std::size_t size = 0;
  std::size_t printed = 0;

  [[nodiscard]] constexpr const char* word_for(std::uint64_t value) const noexcept {
    for (std::size_t i = 0; i < printed; ++i)
      if (begin[i].value == value) return begin[i].word;
    return nullptr;
  }
};
template <std::size_t N>
[[nodiscard]] constexpr name_list list_of(const named_value (&names)[N], std::size_t printed) noexcept {
  return {names, N, printed};
}

inline constexpr named_value ethertype_names[] = {
    {"ip", ethertype::ipv4},
    {"ip6", ethertype::ipv6},
    {"arp", ethertype::arp},
    {"8021q", ethertype::vlan},
    {"8021ad", ethertype::qinq},
    {"ipv4", 0x0800},
    {"ipv6", 0x86dd},
    {"vlan", 0x8100},
    {"qinq", 0x88a8},
    {"rarp", 0x8035},
    {"mpls", 0x8847},
    {"pppoed", 0x8863},
    {"pppoes", 0x8864},
    {"lldp", 0x88cc},
    {"ptp", 0x88f7},
};
// nft takes them from /etc/protocols, where `ipip` is not what most tunnels are: that is `ipencap`.
inline constexpr named_value protocol_names[] = {
    {"icmp", 1},         {"tcp", 6},        {"udp", 17},    {"gre", 47},        {"ipv6-icmp", 58},
    {"icmpv6", 58},      {"icmp6", 58},     {"igmp", 2},    {"esp", 50},        {"ah", 51},
    {"pim", 103},        {"vrrp", 112},     {"sctp", 132},  {"udplite", 136},   {"ospf", 89},
    {"ipencap", 4},      {"ipip", 94},      {"dccp", 33},   {"ipcomp", 108},    {"comp", 108},
    {"ip", 0},           {"hopopt", 0},     {"egp", 8},     {"igp", 9},         {"ipv6", 41},
    {"ipv6-route", 43},  {"ipv6-frag", 44}, {"rsvp", 46},   {"ipv6-nonxt", 59}, {"ipv6-opts", 60},
    {"eigrp", 88},       {"etherip", 97},   {"l2tp", 115},  {"isis", 124},      {"mobility-header", 135},
    {"mpls-in-ip", 137}, {"hip", 139},      {"shim6", 140}, {"ethernet", 143},  {"ggp", 3},
    {"st", 5},           {"pup", 12},       {"hmp", 20},    {"xns-idp", 22},    {"rdp", 27},
    {"iso-tp4", 29},     {"xtp", 36},       {"ddp", 37},    {"idpr-cmtp", 38},  {"idrp", 45},
    {"skip", 57},        {"rspf", 73},      {"vmtp", 81},   {"ax.25", 93},      {"encap", 98},
    {"fc", 133},         {"manet", 138},    {"wesp", 141},  {"rohc", 142},
};
inline constexpr named_value family_names[] = {{"ipv4", 2}, {"ipv6", 10}, {"arp", 3}};
inline constexpr named_value tcp_flag_names[] = {{"fin", 1},  {"syn", 2},  {"rst", 4},    {"psh", 8},  {"ack", 16},
                                                 {"urg", 32}, {"ecn", 64}, {"cwr", 0x80}, {"push", 8}, {"ece", 64}};
inline constexpr named_value port_names[] = {
    {"ftp-data", 20},     {"ftp", 21},          {"ssh", 22},     {"telnet", 23},  {"smtp", 25},
    {"domain", 53},       {"bootps", 67},       {"bootpc", 68},  {"tftp", 69},    {"http", 80},
    {"kerberos", 88},     {"pop3", 110},        {"sunrpc", 111}, {"ntp", 123},    {"netbios-ns", 137},
    {"netbios-dgm", 138}, {"netbios-ssn", 139}, {"imap2", 143},  {"snmp", 161},   {"snmp-trap", 162},
    {"bgp", 179},         {"ldap", 389},        {"https", 443},  {"isakmp", 500}, {"syslog", 514},
    {"ldaps", 636},       {"imaps", 993},       {"pop3s", 995},  {"nfs", 2049},   {"mysql", 3306},
    {"postgresql", 5432}, {"sip", 5060},        {"mdns", 5353},
};
inline constexpr named_value icmp_type_names[] = {
    {"echo-reply", 0},         {"destination-unreachable", 3}, {"source-quench", 4},        {"redirect", 5},
    {"echo-request", 8},       {"router-advertisement", 9},    {"router-solicitation", 10}, {"time-exceeded", 11},
    {"parameter-problem", 12}, {"timestamp-request", 13},      {"timestamp-reply", 14},     {"info-request", 15},
    {"info-reply", 16},        {"address-mask-request", 17},   {"address-mask-reply", 18},  {"icmp-echoreply", 0},
    {"icmp-unreach", 3},       {"icmp-sourcequench", 4},       {"icmp-redirect", 5},        {"icmp-echo", 8},
    {"icmp-routeradvert", 9},  {"icmp-routersolicit", 10},     {"icmp-timxceed", 11},       {"icmp-paramprob", 12},
    {"icmp-tstamp", 13},       {"icmp-tstampreply", 14},       {"icmp-ireq", 15},           {"icmp-ireqreply", 16},
    {"icmp-maskreq", 17},      {"icmp-maskreply", 18},
};
inline constexpr named_value icmpv6_type_names[] = {
    {"destination-unreachable", 1}, {"packet-too-big", 2},
    {"time-exceeded", 3},           {"parameter-problem", 4},
    {"echo-request", 128},          {"echo-reply", 129},
    {"mld-listener-query", 130},    {"mld-listener-report", 131},
    {"mld-listener-done", 132},     {"nd-router-solicit", 133},
    {"nd-router-advert", 134},      {"nd-neighbor-solicit", 135},
    {"nd-neighbor-advert", 136},    {"nd-redirect", 137},
    {"mld2-listener-report", 143},  {"mld-listener-reduction", 132},
    {"router-renumbering", 138},    {"ind-neighbor-solicit", 141},
    {"ind-neighbor-advert", 142},   {"icmp6-destinationunreach", 1},
    {"icmp6-packettoobig", 2},      {"icmp6-timeexceeded", 3},
    {"icmp6-parameterproblem", 4},  {"icmp6-echo", 128},
    {"icmp6-echoreply", 129},       {"icmp6-routersolicit", 133},
    {"icmp6-routeradvert", 134},    {"icmp6-neighborsolicit", 135},
    {"icmp6-neighboradvert", 136},  {"icmp6-redirect", 137},
};
inline constexpr named_value icmp_code_names[] = {
    {"net-unreachable", 0}, {"host-unreachable", 1}, {"prot-unreachable", 2}, {"port-unreachable", 3},
    {"frag-needed", 4},     {"net-prohibited", 9},   {"host-prohibited", 10}, {"admin-prohibited", 13}};
inline constexpr named_value icmpv6_code_names[] = {{"no-route", 0},         {"admin-prohibited", 1},
                                                    {"addr-unreachable", 3}, {"port-unreachable", 4},
                                                    {"policy-fail", 5},      {"reject-route", 6}};
inline constexpr named_value arp_operation_names[] = {{"request", 1},   {"reply", 2},   {"rrequest", 3}, {"rreply", 4},
                                                      {"inrequest", 8}, {"inreply", 9}, {"nak", 10}};
inline constexpr named_value dscp_names[] = {{"cs0", 0},   {"cs1", 8},   {"cs2", 16},  {"cs3", 24},  {"cs4", 32},
                                             {"cs5", 40},  {"cs6", 48},  {"cs7", 56},  {"af11", 10}, {"af12", 12},
                                             {"af13", 14}, {"af21", 18}, {"af22", 20}, {"af23", 22}, {"af31", 26},
                                             {"af32", 28}, {"af33", 30}, {"af41", 34}, {"af42", 36}, {"af43", 38},
                                             {"ef", 46},   {"lephb", 1}, {"va", 44},   {"df", 0},    {"be", 0}};
inline constexpr named_value mobility_type_names[] = {{"binding-refresh-request", 0},
                                                      {"home-test-init", 1},
                                                      {"careof-test-init", 2},
                                                      {"home-test", 3},
                                                      {"careof-test", 4},
                                                      {"binding-update", 5},
                                                      {"binding-acknowledgement", 6},
                                                      {"binding-error", 7},
                                                      {"fast-binding-update", 8},
                                                      {"fast-binding-acknowledgement", 9},
                                                      {"fast-binding-advertisement", 10},
                                                      {"experimental-mobility-header", 11},
                                                      {"home-agent-switch-message", 12}};
inline constexpr named_value ecn_names[] = {{"not-ect", 0}, {"ect1", 1}, {"ect0", 2}, {"ce", 3}};

inline constexpr named_value ct_state_names[] = {
    {"new", 1}, {"established", 2}, {"related", 3}, {"invalid", 4}, {"untracked", 5}};
inline constexpr named_value ct_status_names[] = {{"expected", 1}, {"seen-reply", 2}, {"assured", 4}, {"confirmed", 8},
                                                  {"snat", 16},    {"dnat", 32},      {"dying", 512}};
inline constexpr named_value ct_direction_names[] = {{"original", 0}, {"reply", 1}};

inline constexpr name_list ct_state_list = list_of(ct_state_names, 5);
inline constexpr name_list ct_status_list = list_of(ct_status_names, 7);
inline constexpr name_list ct_direction_list = list_of(ct_direction_names, 2);
inline constexpr name_list ethertype_list = list_of(ethertype_names, 5);
inline constexpr name_list protocol_list = list_of(protocol_names, 5);
inline constexpr name_list family_list = list_of(family_names, 2);
inline constexpr name_list tcp_flag_list = list_of(tcp_flag_names, 8);

// Headers that are one of a family: what nft calls them. `word` null stands for all others: by their number.
struct named_header {
  header in;
  const char* word;
};
[[nodiscard]] constexpr header nth(header_family f, unsigned number) noexcept {
  return header_in(f, static_cast<std::uint8_t>(number));
}
inline constexpr named_header header_names[] = {
    {nth(header_family::ipv4_option, 7), "rr"},       {nth(header_family::ipv4_option, 131), "lsrr"},
    {nth(header_family::ipv4_option, 137), "ssrr"},   {nth(header_family::ipv4_option, 148), "ra"},
    {nth(header_family::tcp_option, 2), "maxseg"},    {nth(header_family::tcp_option, 3), "window"},
    {nth(header_family::tcp_option, 4), "sack-perm"}, {nth(header_family::tcp_option, 5), "sack"},
    {nth(header_family::tcp_option, 8), "timestamp"}, {nth(header_family::tcp_option, 19), "md5sig"},
    {nth(header_family::tcp_option, 30), "mptcp"},    {nth(header_family::tcp_option, 34), "fastopen"},
    {nth(header_family::ipv6_extension, 0), "hbh"},   {nth(header_family::ipv6_extension, 43), "rt"},
    {nth(header_family::ipv6_extension, 44), "frag"}, {nth(header_family::ipv6_extension, 60), "dst"},
    {nth(header_family::ipv6_extension, 135), "mh"},  {nth(header_family::nd_option, 1), "slla"},
    {nth(header_family::nd_option, 2), "tlla"},       {nth(header_family::nd_option, 3), "prefix"},
    {nth(header_family::nd_option, 5), "mtu"},        {nth(header_family::nd_option, 24), "route"},
    {nth(header_family::nd_option, 25), "rdnss"},     {nth(header_family::gre_word, 0x80), "checksum"},
    {nth(header_family::gre_word, 0x20), "key"},      {nth(header_family::gre_word, 0x10), "sequence"},
};
[[nodiscard]] constexpr const char* word_for(header h) noexcept {
  for (const named_header& n : header_names)
    if (n.in == h) return n.word;
  return nullptr;
}
// What stands before the word or number; null for families that have no such form.
[[nodiscard]] constexpr const char* prefix_of(header_family f) noexcept {
  switch (f) {
    case header_family::ipv4_option: return "ip option ";
    case header_family::tcp_option: return "tcp option ";
    case header_family::ipv6_extension: return "exthdr ";
    case header_family::nd_option: return "icmpv6 option ";
    case header_family::gre_word: return "gre ";
    case header_family::icmp_message:
    case header_family::icmpv6_message:
    case header_family::single: break;
  }
  return nullptr;
}

// Headers whose bytes can be asked for by number, as tcpdump calls them; null for others.
[[nodiscard]] constexpr const char* raw_name_of(header h) noexcept {
  switch (h) {
    case header::ethernet: return "ether";
    case header::arp: return "arp";
    case header::ipv4: return "ip";
    case header::ipv6: return "ip6";
    case header::icmp: return "icmp";
    case header::icmpv6: return "icmp6";
    case header::tcp: return "tcp";
    case header::udp: return "udp";
    default: return nullptr;
  }
}
[[nodiscard]] constexpr const char* name_of(tunnel t) noexcept {
  return t == tunnel::vxlan ? "vxlan" : t == tunnel::gre ? "gre" : t == tunnel::gretap ? "gretap" : "ipip";
}

// How a number is written.
enum class manner {
  decimal,
  hex,
  bare_address,
  ethertype,
  ip_protocol,
  tcp_flags,
  family,
  tc_handle,
  ct_state,
  ct_direction,
  ct_status
};
// Bits that have names.
[[nodiscard]] constexpr bool are_flags(manner m) noexcept { return m == manner::tcp_flags || m == manner::ct_status; }

[[nodiscard]] constexpr manner manner_of_meta(meta_key k) noexcept {
  switch (k) {
    case meta_key::protocol: return manner::ethertype;
    case meta_key::l4proto: return manner::ip_protocol;
    case meta_key::nfproto: return manner::family;
    case meta_key::priority: return manner::tc_handle;
    case meta_key::ct_state: return manner::ct_state;
    case meta_key::ct_direction: return manner::ct_direction;
    case meta_key::ct_status: return manner::ct_status;
    case meta_key::mark:
    case meta_key::ct_mark:
    case meta_key::hash: return manner::hex;
    default: return manner::decimal;
  }
}
[[nodiscard]] constexpr manner manner_of_field(const operand_description& d) noexcept {
  const auto is = [&d](header h, unsigned offset) { return d.in_header == h && d.offset == offset; };
  if (d.name == nullptr || d.is_custom) return manner::decimal;
  if (is(header::tcp, 104)) return manner::tcp_flags;
  if (is(header::ethernet, 96) || is(header::vlan, 16) || is(header::cvlan, 16) || is(header::gre, 16) ||
      is(header::arp, 16) || is(header::snap, 48))
    return manner::ethertype;
  if (is(header::ipv4, 72) || is(header::ipv6, 48) || is(header::ipv6_fragment, 0) ||
      (family_of(d.in_header) == header_family::ipv6_extension && d.offset == 0))
    return manner::ip_protocol;
  if (d.in_header == header::llc || d.in_header == header::snap) return manner::hex;
  // Here nft takes an address for a number.
  if (d.value == value_kind::ipv4 && family_of(d.in_header) != header_family::single) return manner::bare_address;
  return manner::decimal;
}
[[nodiscard]] constexpr manner manner_of(const operand_description& d) noexcept {
  const manner whole = d.is_meta ? manner_of_meta(d.which) : manner_of_field(d);
  if (!d.is_masked || are_flags(whole) || whole == manner::bare_address) return whole;
  return manner::hex;
}
// The names of values that an operand may have, whatever mask is over it.
[[nodiscard]] constexpr name_list names_of(operand_description d) noexcept {
  d.is_masked = false;
  switch (manner_of(d)) {
    case manner::ethertype: return ethertype_list;
    case manner::ip_protocol: return protocol_list;
    case manner::family: return family_list;
    case manner::tcp_flags: return tcp_flag_list;
    case manner::ct_state: return ct_state_list;
    case manner::ct_direction: return ct_direction_list;
    case manner::ct_status: return ct_status_list;
    default: break;
  }
  if (d.is_meta || d.name == nullptr || d.is_custom) return {};
  const auto is = [&d](header h, unsigned offset, unsigned bits) {
    return d.in_header == h && d.offset == offset && d.bits == bits;
  };
  const bool transport = d.in_header == header::tcp || d.in_header == header::udp || d.in_header == header::th;
  if (transport && d.offset <= 16 && d.bits == 16) return list_of(port_names, 0);
  if (is(header::icmp, 0, 8)) return list_of(icmp_type_names, 0);
  if (is(header::icmpv6, 0, 8)) return list_of(icmpv6_type_names, 0);
  if (is(header::icmp, 8, 8)) return list_of(icmp_code_names, 0);
  if (is(header::icmpv6, 8, 8)) return list_of(icmpv6_code_names, 0);
  if (is(header::arp, 48, 16)) return list_of(arp_operation_names, 0);
  if (is(header::ipv4, 8, 6) || is(header::ipv6, 4, 6)) return list_of(dscp_names, 0);
  if (is(nth(header_family::ipv6_extension, 135), 16, 8)) return list_of(mobility_type_names, 0);
  if (is(header::ipv4, 14, 2) || is(header::ipv6, 10, 2)) return list_of(ecn_names, 0);
  return {};
}
// Whether the bare `tcp flags syn` would mean something else: "has one of these bits". tcpdump wants it for bytes.
[[nodiscard]] constexpr bool needs_equals_sign(const operand_description& d) noexcept {
  return d.is_masked || are_flags(manner_of(d)) || (d.name == nullptr && !d.is_meta && !d.is_custom);
}

}  // namespace runnel::match::detail

#endif
