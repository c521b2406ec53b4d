// SPDX-License-Identifier: MIT
// Random rules in nft's words: about every field there is, with values that packets have.
#ifndef RUNNEL_TESTS_LIVE_RANDOM_RULES_HPP
#define RUNNEL_TESTS_LIVE_RANDOM_RULES_HPP

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "../match/all_fields.hpp"
#include "kernel_path.hpp"

namespace random_rules {

using kernel_path::numbers;
using runnel::ipv6_address;
using runnel::match::operand_description;
using runnel::match::value_kind;
namespace of_match = runnel::match::detail;

/// A value of any field; numbers are in the lower half.
using wide_value = ipv6_address;

/// A field, and the values that it has in packets.
struct known_field {
  operand_description what;
  std::string name;
  std::vector<wide_value> seen{};

  bool is_address6() const { return what.value == value_kind::ipv6; }
  bool is_address() const { return is_address6() || what.value == value_kind::ipv4; }
  bool is_flags() const { return of_match::are_flags(of_match::manner_of(what)); }
  bool is_meta(runnel::match::meta_key k) const { return what.is_meta && what.which == k; }
  wide_value highest() const {
    return is_address6() ? wide_value{~std::uint64_t{0}, ~std::uint64_t{0}}
                         : wide_value{0, ~std::uint64_t{0} >> (64 - what.bits)};
  }
};

/// All that rules can be about.
inline std::vector<known_field> all_fields() {
  std::vector<known_field> all;
  runnel_test::for_all_fields([&](const auto& f) {
    known_field k{of_match::describe(f), {}};
    runnel::text<80> t;
    if (k.what.is_meta) t << runnel::match::name(k.what.which);
    else of_match::print_field(t, k.what);
    k.name = t.c_str();
    all.push_back(k);
  });
  return all;
}
/// Takes the values of a packet.
inline void learn(known_field& f, const runnel::subject& s) {
  wide_value v;
  std::uint64_t number = 0;
  if (f.is_address6()) {
    if (!of_match::load_key(s, f.what, v)) return;
  } else {
    if (!of_match::load_key(s, f.what, number)) return;
    v = {0, number};
  }
  if (std::find(f.seen.begin(), f.seen.end(), v) == f.seen.end()) f.seen.push_back(v);
}

/// Writes conditions, statements and whole tables.
class writer {
 public:
  writer(numbers& random, const std::vector<known_field>& fields) : random_(random), fields_(fields) {}

  // ---- values

  wide_value value(const known_field& f) {
    const wide_value all = f.highest();
    wide_value v{random_.next() & all.high(), random_.next() & all.low()};
    if (f.what.bits > 8 && random_.chance(30)) v = {0, v.low() & 0xff};
    if (!f.seen.empty() && random_.chance(85)) v = f.seen[random_.below(f.seen.size())];
    if (!f.is_address6() && random_.chance(10)) v = {0, (v.low() + random_.below(3) - 1) & all.low()};
    return v;
  }
  std::string text(const known_field& f, const wide_value& v) {
    runnel::text<80> t;
    const of_match::manner how = of_match::manner_of(f.what);
    const bool plain = f.what.value == value_kind::number && how != of_match::manner::tc_handle;
    if (f.is_address6()) {
      print(t, v);
    } else if (plain && random_.chance(30)) {
      (t << "0x").hex(v.low());
    } else if (plain && random_.chance(40)) {
      t << v.low();
    } else {
      const of_match::name_list names = of_match::names_of(f.what);
      for (std::size_t i = 0; i < names.size && t.size() == 0 && !f.is_flags(); ++i)
        if (names.begin[i].value == v.low() && random_.chance(80)) t << names.begin[i].word;
      if (t.size() == 0) of_match::print_key(t, f.what, v.low());
    }
    return t.c_str();
  }
  std::string value_text(const known_field& f) { return text(f, value(f)); }
  /// Two values, the first not above the second.
  std::pair<wide_value, wide_value> range(const known_field& f) {
    wide_value a = value(f), b = value(f);
    if (runnel::match::key_less(b, a)) std::swap(a, b);
    return {a, b};
  }
  std::string range_text(const known_field& f) {
    const auto [a, b] = range(f);
    return text(f, a) + (a == b ? "" : "-" + text(f, b));
  }
  std::string prefix_text(const known_field& f) {
    const unsigned length = random_.below(f.what.bits + 1u);
    const wide_value v = value(f);
    const wide_value mask = runnel::match::prefix_mask<ipv6_address, 128>(length + 128u - f.what.bits);
    return text(f, {v.high() & mask.high(), v.low() & mask.low()}) + "/" + std::to_string(length);
  }
  /// Ranges and single values that do not touch each other, in any order.
  std::vector<std::string> elements(const known_field& f, bool ranges) {
    std::vector<std::pair<wide_value, wide_value>> all;
    for (unsigned n = 1 + random_.below(6); n != 0; --n) {
      auto r = range(f);
      if (!ranges || random_.chance(70)) r.second = r.first;
      const auto apart = [&](const auto& o) {
        return runnel::match::key_less(r.second, o.first) || runnel::match::key_less(o.second, r.first);
      };
      if (std::all_of(all.begin(), all.end(), apart)) all.push_back(r);
    }
    std::vector<std::string> said;
    for (const auto& [a, b] : all) said.push_back(text(f, a) + (a == b ? "" : "-" + text(f, b)));
    return said;
  }
  std::string braces(const known_field& f) {
    // Of a set of one value of flags nft makes that value alone: the bits of it, and whatever others there are.
    std::vector<std::string> said;
    do said = elements(f, !f.is_flags());
    while (f.is_flags() && said.size() < 2);
    std::string all;
    for (const std::string& e : said) all += (all.empty() ? "{ " : ", ") + e;
    return all + " }";
  }
  std::string flags(const known_field& f, const char* between) {
    std::string all;
    const of_match::name_list names = of_match::names_of(f.what);
    for (unsigned n = 1 + random_.below(3); n != 0; --n)
      all += (all.empty() ? "" : between) + std::string(names.begin[random_.below(names.printed)].word);
    return all;
  }

  // ---- conditions

  std::string condition(const known_field& f) {
    static constexpr const char* relations[] = {"<", "<=", ">", ">="};
    const std::string sign = random_.chance(50) ? "" : random_.chance(50) ? "!= " : "== ", name = f.name + " ";
    if (f.is_flags()) {
      switch (random_.below(6)) {
        case 0: return name + sign + flags(f, ",");
        case 1: return name + (sign == "== " ? "" : sign) + flags(f, ",") + " / " + flags(f, ",");
        case 2: return name + "& (" + flags(f, "|") + ") " + (sign.empty() ? "== " : sign) + "(" + flags(f, "|") + ")";
        case 3: return name + "& (" + flags(f, " | ") + ") " + (sign.empty() ? "== " : sign) + flags(f, "|");
        case 4: return name + "! " + flags(f, ",");
        default: break;
      }
    }
    // Of bits that are a part of two bytes nft 1.0.6 compares the wrong ones under a mask.
    const bool is_in_pieces = f.what.bits % 8 != 0 && f.what.offset % 8u + f.what.bits > 8u;
    const bool masks = f.is_flags() ? false : f.what.is_meta ? f.is_meta(runnel::match::meta_key::mark) : !is_in_pieces;
    switch (random_.below(f.is_address() ? 7 : 6)) {
      case 0: return name + relations[random_.below(4)] + " " + value_text(f);
      case 1: return name + (sign == "== " ? "" : sign) + range_text(f);
      case 2: return name + (sign == "== " ? "" : sign) + braces(f);
      case 3: {
        if (!masks) break;
        const wide_value mask = value(f), v = value(f);
        const wide_value under{v.high() & mask.high(), v.low() & mask.low()};
        return name + "& " + text(f, mask) + " " + (sign.empty() ? "== " : sign) +
               text(f, random_.chance(80) ? under : v);
      }
      case 4: {
        const std::string set = set_for(f);
        if (set.empty()) break;
        return name + (sign == "== " ? "" : sign) + "@" + set;
      }
      case 6: return name + (sign == "== " ? "" : sign) + prefix_text(f);
      default: break;
    }
    return name + sign + value_text(f);
  }
  std::string condition() {
    static constexpr const char* options[] = {"tcp option maxseg", "tcp option sack-perm", "tcp option timestamp",
                                              "tcp option sack",   "tcp option window",    "ip option rr",
                                              "ip option ra",      "ip option lsrr",       "exthdr hbh",
                                              "exthdr frag",       "exthdr dst",           "exthdr rt",
                                              "exthdr mh"};
    const auto is_of_tcp = [](const known_field& f) { return f.name.starts_with("tcp "); };
    if (random_.chance(8)) {
      const unsigned from = std::any_of(fields_.begin(), fields_.end(), is_of_tcp) ? 0 : 5;
      const std::string option = options[from + random_.below(std::size(options) - from)];
      if (random_.chance(50)) return option + " exists";
      // Of packets without the header around it nft says that it is missing there, too.
      return (option[0] == 't'            ? "meta l4proto tcp "
              : option.starts_with("ip ") ? "meta protocol ip "
                                          : "meta protocol ip6 ") +
             option + " missing";
    }
    const known_field& f = fields_[random_.below(fields_.size())];
    // nft takes what begins the payload of any other protocol for ports.
    return (f.name.starts_with("th ") ? "meta l4proto { tcp, udp } " : "") + condition(f);
  }

  // ---- sets and maps

  /// A named set or map of the table. `leads_to` is empty for a set.
  struct named {
    std::string name, type, leads_to;
    bool dynamic = false;
    bool deletes = false;  // what packets delete goes on to count for the size in the kernel, so these have room
    std::string limit{};   // of each element: in the kernel it has the one of the rule that made it, whoever asks later
  };
  std::string set_for(const known_field& f, const std::string& leads_to = "") {
    const std::string type = type_of(f);
    for (const named& s : sets_) {
      const bool asks_limit = s.dynamic && !s.limit.empty();  // in the kernel whoever asks takes from it
      if (s.type == type && s.leads_to == leads_to && !asks_limit && random_.chance(70)) return s.name;
    }
    return "";
  }
  static std::string type_of(const known_field& f) {
    using of_match::manner;
    if (f.is_meta(runnel::match::meta_key::mark)) return "mark";
    if (f.what.is_meta || f.what.is_inner) return f.is_meta(runnel::match::meta_key::l4proto) ? "inet_proto" : "";
    switch (f.what.value) {
      case value_kind::ipv4: return of_match::manner_of(f.what) == manner::bare_address ? "" : "ipv4_addr";
      case value_kind::ipv6: return "ipv6_addr";
      case value_kind::mac: return "ether_addr";
      default: break;
    }
    if (f.name == "ip protocol") return "inet_proto";
    if (f.name == "tcp dport" || f.name == "tcp sport" || f.name == "udp dport" || f.name == "th dport")
      return "inet_service";
    if (f.name == "icmp type") return "icmp_type";
    if (f.name == "icmpv6 type") return "icmpv6_type";
    if (f.name == "ip dscp") return "dscp";  // of ip6 dscp nft 1.0.6 asks for the wrong byte
    return f.name == "ether type" ? "ether_type" : "";
  }
  std::string named_set(const known_field& f, unsigned number, unsigned chains) {
    static constexpr const char* may_lead_to[] = {"", "", "mark", "verdict"};
    named n{"s" + std::to_string(number), type_of(f), random_.one_of(may_lead_to)};
    n.dynamic = n.leads_to.empty() && random_.chance(40);
    if (random_.chance(30)) n.limit = " " + limit();
    std::string said = n.leads_to.empty() ? " set " : " map ";
    said += n.name + " {\n  type " + n.type + (n.leads_to.empty() ? "" : " : " + n.leads_to) + "\n";
    n.deletes = random_.chance(40);
    if (n.dynamic) said += "  size " + std::to_string(n.deletes ? 1000 : 1 + random_.below(20)) + "\n  flags dynamic\n";
    else said += elements_of(f, n.leads_to, chains);
    sets_.push_back(n);
    return said + " }\n";
  }
  std::string elements_of(const known_field& f, const std::string& lead_to, unsigned chains) {
    const bool ranges = random_.chance(50);
    std::string all;
    for (const std::string& e : elements(f, ranges))
      all += (all.empty() ? "" : ", ") + e +
             (lead_to.empty() ? "" : " : " + (lead_to == "mark" ? mark() : verdict(chains)));
    return (ranges ? "  flags interval\n" : "") + ("  elements = { " + all + " }\n");
  }
  std::string mark() { return std::to_string(1 + random_.below(0x7fff'fffe)); }
  /// A field and what its values lead to: `tcp dport vmap { 22 : accept }`.
  std::string map_use(bool verdicts, unsigned chain) {
    const known_field& f = map_field();
    const std::string map = set_for(f, verdicts ? "verdict" : "mark"), word = verdicts ? " vmap " : " map ";
    if (!map.empty() && (!verdicts || chain == chains_)) return f.name + word + "@" + map;
    std::string all;
    for (const std::string& e : elements(f, !f.is_flags()))
      all += (all.empty() ? "{ " : ", ") + e + " : " + (verdicts ? verdict(chain) : mark());
    return f.name + word + all + " }";
  }
  std::string update() {
    static constexpr const char* ways[] = {"add", "add", "update", "delete"};
    for (const named& s : sets_) {
      if (!s.dynamic || random_.chance(50)) continue;
      const known_field* f = &map_field();
      while (type_of(*f) != s.type) f = &map_field();
      const std::string way = ways[random_.below(s.deletes ? 4 : 3)];
      return way + " @" + s.name + " { " + f->name + (way == "delete" ? "" : s.limit) + " }";
    }
    return "meta mark set " + mark();
  }
  /// What no time refills during a test.
  std::string limit() {
    return "limit rate " + std::string(random_.chance(50) ? "over " : "") + "1/week burst " +
           std::to_string(1 + random_.below(20)) + " packets";
  }

  // ---- rules

  /// Jumps go to chains before this one, which are numbered from 0.
  std::string verdict(unsigned chain) {
    if (chain != 0 && random_.chance(60))
      return std::string(random_.chance(70) ? "jump" : "goto") + " c" + std::to_string(random_.below(chain));
    static constexpr const char* all[] = {"accept", "drop", "return", "continue"};
    return random_.one_of(all);
  }
  const known_field& map_field() {
    for (;;) {
      const known_field& f = fields_[random_.below(fields_.size())];
      if (!type_of(f).empty() && !f.name.starts_with("th ") && f.name != "ether type") return f;
    }
  }
  std::string statement() {
    switch (random_.below(16)) {
      case 0: return "ip ttl set " + std::to_string(random_.below(256));
      case 1: return "ip6 hoplimit set " + std::to_string(random_.below(256));
      case 2: return "ip dscp set " + std::to_string(random_.below(64));
      case 3: return "ip6 dscp set " + std::to_string(random_.below(64));
      case 4: return "tcp option maxseg size set " + std::to_string(random_.below(2000));
      case 5:
      case 6: return "meta mark set " + map_use(false, 0);
      case 7: return limit();
      case 8: return "meta priority set 0:" + std::to_string(random_.below(10));
      case 9:
      case 10: return update();
      default: return "meta mark set " + mark();
    }
  }
  std::string rule(unsigned chain) {
    std::string all = condition() + " ";
    bool alone = says_the_family(all);
    for (unsigned n = alone || random_.chance(70) ? 0 : random_.below(3); n != 0; --n)
      if (const std::string one = condition(); !says_the_family(one) && !are_taken_for_one(all, one)) all += one + " ";
    const auto does = [&] {
      const std::string one = alone ? "meta mark set " + mark() : statement();
      alone = alone || one.find("ether ") != std::string::npos;
      return one;
    };
    if (random_.chance(5)) all.clear();
    if (random_.chance(30)) all += does() + " ";
    all += "counter";
    if (random_.chance(60)) all += " " + does();
    if (!alone && random_.chance(8)) all += " " + map_use(true, chain);
    else if (random_.chance(12)) all += " " + verdict(chain);
    return all;
  }
  /// Whether nft knows the family from this condition, and does not ask itself behind it. Then `meta nfproto { ipv4,
  /// ipv6 } ip ttl 5` is about IPv6 as well, `ether saddr ... ip ttl 5` about packets without a tag only, and it may
  /// move the condition behind a counter.
  static bool says_the_family(const std::string& condition) {
    return condition.starts_with("ether ") || condition.starts_with("vlan type") ||
           condition.starts_with("meta nfproto") || condition.starts_with("meta protocol {") ||
           condition.starts_with("meta protocol !") || condition.starts_with("meta protocol @") ||
           condition.starts_with("meta protocol <") || condition.starts_with("meta protocol >");
  }
  /// Of `tcp sport != 1 tcp dport != 2` nft 1.0.6 makes one comparison of both, which holds when one of them does.
  static bool are_taken_for_one(const std::string& before, const std::string& condition) {
    return before.find("!= ") != std::string::npos && condition.find("!= ") != std::string::npos;
  }
  std::string base_chain(unsigned number) {
    return " chain base" + std::to_string(number) + " {\n  type filter hook HOOK priority " +
           std::to_string(random_.below(20)) + "; policy " + (random_.chance(70) ? "accept" : "drop") + ";\n";
  }
  /// The lines of a table, the first of which is left away; HOOK stands for what follows `hook`.
  std::vector<std::string> table() {
    sets_.clear();
    chains_ = random_.below(4);
    std::string all, sets;
    for (unsigned n = random_.below(6), i = 0; i < n; ++i) sets += named_set(map_field(), i, chains_);
    const unsigned hooked = random_.chance(30) ? 2 : 1;
    for (unsigned c = 0; c < chains_ + hooked; ++c) {
      const unsigned below = (std::min)(c, chains_);
      if (c < chains_) all += " chain c" + std::to_string(c) + " {\n";
      else all += base_chain(c - chains_);
      for (unsigned n = 2 + random_.below(c == chains_ ? 14 : 5); n != 0; --n) all += "  " + rule(below) + "\n";
      all += " }\n";
    }
    all = sets + all;
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = all.find('\n', at);
      lines.push_back(all.substr(at, end - at));
      at = end + 1;
    }
    lines.push_back("}");
    return lines;
  }

 private:
  numbers& random_;
  const std::vector<known_field>& fields_;
  std::vector<named> sets_{};
  unsigned chains_ = 0;  // beside the base chain
};

}  // namespace random_rules

#endif
