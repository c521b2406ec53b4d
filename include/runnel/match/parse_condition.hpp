// SPDX-License-Identifier: MIT
// Reads conditions from text: what match expressions print, what nft users write, what tcpdump users write.
//
//     tcp dport { 22, 80-90 } ip saddr != 10.0.0.0/8        nft; side by side means "and"
//     tcp dport 22 && !(ip saddr @blocklist)                with && || ! or with and, or, not
//     host 10.0.0.1 and not arp                             tcpdump
//
// One grammar takes all. Where a word begins both a field of nft's and something of tcpdump's, the field is tried
// first: `ip saddr ...` is nft's and `ip src ...` tcpdump's, `vlan id 5` nft's and `vlan 5` tcpdump's. "and" and "or"
// side by side are refused without brackets: C binds one tighter, and tcpdump does not. Names are never looked up
// anywhere: there is a short list of port names, and no host names.
//
// What tcpdump's words mean here is what they mean there, but that headers are found as everywhere in this library:
// behind VLAN tags and MPLS labels without having to say so, behind all IPv6 extension headers, and only in packets
// that `dissect` finds nothing wrong with. `host` and `net` look into ARP but not RARP, `port` into TCP and UDP but not
// SCTP; a byte that the packet does not have makes the one comparison false, not the whole filter. Of `proto[...]` the
// number and the mask must be constants. `gateway`, `protochain`, `wlan`, `inbound` and the like are not known.
// Interfaces are numbers, or names that the program gave: `iif 1`, `oifname "wan"`.
//
// What nft's words mean there they mean here, but that a field and its relation never hold for a packet without the
// field: `tcp option maxseg missing` is about TCP only, and `th` about TCP and UDP only, where nft takes what begins
// any other payload for ports too. `meta length` counts the link header, as tcpdump's `len` does, and as nft does not.
// `vlan` is the outer tag, also one of 802.1ad, where nft asks for 802.1Q; a later fragment has no ports, where nft
// takes what begins its payload for some; what is behind an authentication header of IPv6 is found, and nft ends there;
// lists of options end where they say so or are broken, where nft goes on in TCP's. Several states with a sign, `ct
// state != new,related`, are a list as in braces; nft takes them for one value, which no packet has. `tcp flags
// { syn }` is SYN alone, as `{ syn, ack }` is one or the other alone; nft 1.0.6 takes the first for `tcp flags syn`.
// `tcp sport != 1 tcp dport != 2` holds when both do; nft 1.0.6 makes one comparison of the two, which holds when one
// does.
#ifndef RUNNEL_MATCH_PARSE_CONDITION_HPP
#define RUNNEL_MATCH_PARSE_CONDITION_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/match/condition.hpp>
#include <runnel/match/condition_build.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/parse_field.hpp>
#include <runnel/match/parse_map_operand.hpp>
#include <runnel/match/parse_state.hpp>
#include <runnel/match/parse_tcpdump.hpp>
#include <runnel/match/parse_text.hpp>

namespace runnel {
namespace match::detail {

// How deep a text may go. What it becomes is printed with brackets of its own, at most half as deep: each "not" has
// some.
inline constexpr unsigned max_brackets = 64;

void parse_list(auto& p) noexcept;

// A condition, one that is negated, or any in brackets.
void parse_one(auto& p) noexcept {
  text_cursor& in = p.in;
  const bool verdict_may_be = p.verdict_may_be;
  const bool beside = p.beside;
  p.verdict_may_be = p.beside = false;
  const bool negated = in.accept_words("not") || (!in.sees("!=") && in.accept("!"));
  const bool brackets = !negated && in.sees("(");
  if ((negated || brackets) && ++p.depth > max_brackets) in.fail("too many brackets or negations inside each other");
  if (!in.good()) return;
  if (negated) {
    p.told = parser::none;
    parse_one(p);
    p.to.negate();
    --p.depth;
  } else if (brackets) {
    if (!parse_masked_in_brackets(p)) {
      p.told = parser::none;
      (void)in.accept("(");
      parse_list(p);
      if (!in.accept(")")) in.expected("\")\", \"and\" or \"or\"");
    }
    --p.depth;
  } else if (in.accept_words("always")) {
    p.to.always();
  } else if (parse_field_condition(p)) {
    p.said = {};
  } else if (in.good() && !parse_tcpdump_condition(p, beside)) {
    in.expected(verdict_may_be && p.of_chain
                    ? "a condition, such as tcp dport 22, or a statement, such as accept, jump or counter"
                : verdict_may_be ? "a condition, such as tcp dport 22, or one of accept, drop, pass, tx, redirect, "
                                   "aborted, stolen"
                                 : "a condition, such as tcp dport 22 or host 10.0.0.1");
  }
}
// Words that end a condition: what stands behind it in a rule.
bool sees_verdict(auto& p) noexcept {
  constexpr const char* words[] = {"counter", "accept", "drop", "pass", "tx", "redirect", "aborted", "stolen"};
  constexpr const char* statements[] = {"counter",
                                        "accept",
                                        "drop",
                                        "return",
                                        "continue",
                                        "jump",
                                        "goto",
                                        "limit rate",
                                        "log",
                                        "notrack",
                                        "comment",
                                        "add",
                                        "update",
                                        "delete",
                                        "meta mark set",
                                        "ct mark set",
                                        "ct count",
                                        "reject",
                                        "tproxy",
                                        "snat",
                                        "dnat",
                                        "masquerade",
                                        "redirect",
                                        "meta nftrace",
                                        "ip ttl set",
                                        "ip6 hoplimit set",
                                        "meta priority set",
                                        "ip dscp set",
                                        "ip6 dscp set",
                                        "tcp option maxseg size set"};
  const auto sees_one_of = [&p](const auto& all) {
    for (const char* const word : all)
      if (p.in.sees_words(word)) return true;
    return false;
  };
  return p.of_chain ? sees_one_of(statements) || sees_map(p, "vmap") : sees_one_of(words);
}
// Whether one more condition stands here.
bool goes_on_with_condition(auto& p) noexcept {
  text_cursor& in = p.in;
  in.skip_gap();
  const char c = in.ahead();
  const bool begins = text_cursor::goes_on(c) || c == '(' || c == '!' || c == ':';
  return begins && !in.sees_words("and") && !in.sees_words("or") && !sees_verdict(p);
}
// Conditions side by side.
void parse_group(auto& p) noexcept {
  std::size_t left = parser::none;  // all but the last one
  const std::size_t begin = p.to.size();
  parse_one(p);
  while (p.in.good() && goes_on_with_condition(p)) {
    // What has one node is the last one, or the last but one behind which stands the "both" of all.
    const std::size_t all = p.to.last();
    const std::size_t single = left == parser::none           ? (all == begin ? all : parser::none)
                               : p.to[all - 1].has_children() ? parser::none
                                                              : all - 1;
    const std::size_t before = left;
    p.told = single;
    p.took_told = false;
    p.verdict_may_be = p.of_rule && p.depth == 0;
    const std::size_t size = p.to.size();
    p.beside = true;
    parse_one(p);
    p.told = parser::none;
    if (!p.in.good()) return;
    if (p.took_told) {
      p.took_told = false;
      if (before == parser::none) continue;
      p.to.join(node_kind::both, single - 1);
    } else {
      left = size - 1;
      p.to.join(node_kind::both, left);
    }
  }
}
// Groups joined by "and" or by "or".
void parse_list(auto& p) noexcept {
  text_cursor& in = p.in;
  const unsigned tags = p.tags;
  parse_group(p);
  node_kind joint = node_kind::always;
  while (in.good()) {
    in.skip_gap();
    const std::size_t at = in.at();
    const bool any = in.accept_words("or") || in.accept("||");
    if (!any && !in.accept_words("and") && !in.accept("&&")) break;
    const node_kind kind = any ? node_kind::either : node_kind::both;
    if (joint != node_kind::always && joint != kind)
      in.fail_at(at, "\"and\" and \"or\" side by side: put brackets around what belongs together");
    joint = kind;
    if (any) p.tags = tags;
    const std::size_t left = p.to.last();
    parse_group(p);
    if (in.good()) p.to.join(kind, left);
  }
  p.tags = tags;
}
// All of a condition; nothing is one that always holds.
void parse_whole(auto& p) noexcept {
  p.verdict_may_be = p.of_rule;
  if (p.in.at_end() || sees_verdict(p)) p.to.always();
  else parse_list(p);
  if (p.in.good() && p.to.printed_depth() > max_brackets / 2)
    p.in.fail("too many brackets or negations inside each other");
}

}  // namespace match::detail

/// Reads a condition: `parse_condition("tcp dport 22 && ip saddr 10.0.0.0/8")`, or tcpdump's "host 10.0.0.1 and not
/// arp". All that match expressions print is understood, and means what nft means by it, with the few exceptions that
/// are named above. An empty text is a condition that holds for every packet.
///
/// The error says at which column what was expected: "condition: column 4: expected an address, not \"foo\"". `sets`
/// are those that the text may name. Takes microseconds, needs no memory but the condition.
template <class Parser = match::detail::parser>
[[nodiscard]] result<condition, error> parse_condition(const char* text, const named_sets& sets = {}) noexcept {
  std::size_t size = 0;
  while (text[size] != '\0') ++size;
  match::detail::text_cursor in{text, size};
  condition made;
  made.build([&](match::detail::condition_builder& to) {
    Parser p{in, {in, to}, sets};
    match::detail::parse_whole(p);
    if (!in.at_end()) in.expected("\"and\", \"or\" or the end");
    if (to.size() == 0) to.add({});
  });
  if (in.good()) return made;
  runnel::text<48> where;
  where << "column " << std::uint64_t{in.at() + 1};
  return error{"condition", where.c_str(), "", in.why()};
}

}  // namespace runnel

#endif
