// SPDX-License-Identifier: MIT
// Reads what the rules of a rule table do, one statement after the other.
#ifndef RUNNEL_HOOK_PARSE_STATEMENT_HPP
#define RUNNEL_HOOK_PARSE_STATEMENT_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint8_t, uint16_t, uint32_t, uint64_t

#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/base/token_bucket.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/parse_table_set.hpp>
#include <runnel/hook/parse_translation.hpp>
#include <runnel/hook/refusals.hpp>
#include <runnel/hook/rule_table_parts.hpp>
#include <runnel/hook/ruleset_text.hpp>
#include <runnel/hook/table_set.hpp>
#include <runnel/hook/table_statement.hpp>
#include <runnel/match/condition_node.hpp>
#include <runnel/match/field_table.hpp>
#include <runnel/match/parse_map_operand.hpp>
#include <runnel/match/parse_text.hpp>
#include <runnel/match/parse_value.hpp>
#include <runnel/wire/address.hpp>

namespace runnel::detail {

// Reads the statements of one rule. `begin` is where the text of the rule begins in all.
template <class Later>
class statement_loader {
 public:
  using cursor = match::detail::text_cursor;
  statement_loader(rule_table_parts& t, table_names& names, table_set_loader<Later>& sets, cursor& line,
                   std::size_t begin, table_rule& r, table_family family) noexcept
      : t_(t), names_(names), sets_(sets), in(line), r_(r), begin_(begin), family_(family) {}

  // One statement. True when none may follow it.
  bool parse() noexcept {
    using kind = statement_kind;
    statement verdict_there;
    if (parse_verdict(names_, in, begin_, verdict_there)) return add(verdict_there.kind, 0, verdict_there.index), true;
    if (match::detail::sees_map(*this, "vmap")) return parse_map(kind::look_up, "vmap", map_data::verdict), true;
    if (in.accept_words("reject")) return parse_reject(), true;
    if (in.accept_words("snat")) return parse_translation(nat_kind::snat), true;
    if (in.accept_words("dnat")) return parse_translation(nat_kind::dnat), true;
    if (in.accept_words("masquerade")) return parse_own_address(nat_kind::masquerade), true;
    if (in.accept_words("redirect")) return parse_own_address(nat_kind::redirect_here), true;
    if (in.accept_words("counter")) parse_counter();
    else if (in.accept_words("limit rate")) add(kind::limit, 0, parse_limit());
    else if (in.accept_words("ct count")) add(kind::count_connections, 0, parse_count());
    else if (in.accept_words("log")) parse_log();
    else if (in.accept_words("notrack")) add(kind::notrack);
    else if (in.accept_words("meta mark set")) parse_mark();
    else if (in.accept_words("ct mark set")) parse_connection_mark();
    else if (in.accept_words("meta priority set")) add(kind::priority, value_of(meta::priority));
    else if (in.accept_words("meta nftrace set")) add(kind::traced, in.number_up_to(1, "0 or 1"));
    else if (in.accept_words("ip dscp set")) add(kind::dscp, value_of(ip::dscp));
    else if (in.accept_words("ip6 dscp set")) add(kind::dscp6, value_of(ip6::dscp));
    else if (in.accept_words("ip ttl set")) add(kind::ttl, value_of(ip::ttl));
    else if (in.accept_words("ip6 hoplimit set")) add(kind::hop_limit, value_of(ip6::hoplimit));
    else if (in.accept_words("tcp option maxseg size set"))
      add(kind::segment_size, in.number_up_to(0xffff, "a size up to 65535"));
    else if (in.accept_words("tproxy to")) parse_divert();
    else if (in.accept_words("add")) parse_update(kind::add_element);
    else if (in.accept_words("update")) parse_update(kind::update_element);
    else if (in.accept_words("delete")) parse_update(kind::delete_element);
    else
      in.expected(
          "a statement: accept, drop, reject, jump, goto, return, vmap, counter, limit rate, log, meta mark set and so "
          "on");
    return !in.good();
  }

 private:
  void add(statement_kind kind, std::uint64_t value = 0, std::size_t index = 0) noexcept {
    if (!in.good()) return;
    if (t_.size.statements == t_.room.statements)
      return in.fail("more statements than there is room for: rule_table_config::statements");
    t_.statements[t_.size.statements++] = {kind, drop_reason::policy, static_cast<std::uint16_t>(index),
                                           static_cast<std::uint32_t>(value)};
    ++r_.statements;
  }
  template <class Field>
  std::uint64_t value_of(const Field& f) noexcept {
    std::uint64_t k = 0;
    match::detail::parse_key(in, match::detail::describe(f), k);
    return k;
  }
  // A rule that says how to reject is about packets of that kind only, as in nft: what stands before is done to no
  // others. Where a statement before names a field of that header, nft asks there: what stands before that one is done
  // to all packets, and counts them.
  void parse_reject() noexcept {
    const std::uint32_t form = parse_refusal(in, family_ != table_family::v6, family_ != table_family::v4);
    const refuse_target& how = refusals[form].how;
    if (r_.statements != 0 && (how.reset || (family_ == table_family::inet && !how.is_for_both()))) {
      add(statement_kind::fits_refusal, form);
      if (!in.good()) return;
      statement* const first = t_.statements + r_.statement;
      const statement fits = first[r_.statements - 1u];
      for (std::size_t i = r_.statements - 1u; i != 0; --i) first[i] = first[i - 1];
      first[0] = fits;
    }
    add(statement_kind::refuse, form);
  }
  // `counter`, `counter packets 1 bytes 54`: goes on from there.
  void parse_counter() noexcept {
    for (std::size_t i = 0; i < r_.statements; ++i)
      if (t_.statements[r_.statement + i].kind == statement_kind::counter) return in.fail("a rule has one counter");
    if (in.accept_words("packets") && !in.number(r_.hits.packets)) in.expected("a number of packets");
    if (in.accept_words("bytes") && !in.number(r_.hits.bytes)) in.expected("a number of bytes");
    add(statement_kind::counter);
  }
  // `over 20`: its number.
  std::uint32_t parse_count() noexcept {
    if (t_.connection_limit_count == t_.room.limits)
      return in.fail("more connection limits than there is room for: rule_table_config::limits"), 0;
    connection_limit l;
    l.over = in.accept_words("over");
    l.most = static_cast<std::uint32_t>(in.number_up_to(0xffff'ffff, "a number of connections"));
    t_.connection_limits[t_.connection_limit_count] = l;
    return t_.connection_limit_count++;
  }
  // `:50080`
  void parse_divert() noexcept {
    if (!in.accept(":")) return in.expected("\":\" and the port of a local handler");
    in.skip_gap();
    const std::size_t at = in.at();
    const std::uint64_t port = in.number_up_to(0xffff, "a port from 1 to 65535");
    if (in.good() && port == 0) in.fail_at(at, "a port is 1 or above");
    add(statement_kind::divert, port);
  }
  // `10`, or `64 kbytes`: a number of packets or bytes.
  std::uint64_t parse_amount(const char* wanted, bool& in_bytes) noexcept {
    in.skip_gap();
    const std::size_t at = in.at();
    const std::uint64_t n = in.number_up_to(1'000'000'000'000, wanted);
    for (const byte_unit& u : byte_units) {
      if (!in.accept_words(u.name)) continue;
      in_bytes = true;
      if (n > 1'000'000'000'000 / u.bytes) in.fail_at(at, "at most 1000000000000 bytes");
      return n * u.bytes;
    }
    if (in.good() && n > 1'000'000'000) in.fail_at(at, "at most 1000000000 packets");
    return n;
  }
  // `over 10/second burst 5 packets`, `1 mbytes/second burst 64 kbytes`: its number.
  std::uint32_t parse_limit() noexcept {
    if (t_.size.limits == t_.room.limits)
      return in.fail("more limits than there is room for: rule_table_config::limits"), 0;
    table_limit l;
    l.over = in.accept_words("over");
    in.skip_gap();
    const std::size_t at = in.at();
    l.rate = parse_amount("a number of packets or bytes, such as 10/second or 64 kbytes/second", l.bytes);
    if (l.bytes) l.burst = 0;
    if (in.good() && l.rate == 0) in.fail_at(at, "a rate of at least 1");
    if (!in.accept("/")) in.expected("\"/\" and one of second, minute, hour, day, week");
    bool found = false;
    for (std::uint8_t i = 0; i < sizeof limit_units / sizeof *limit_units && !found; ++i) {
      found = in.accept_words(limit_units[i].name);
      l.unit = i;
    }
    if (!found) in.expected("one of second, minute, hour, day, week");
    if (in.accept_words("burst")) {
      bool in_bytes = false;
      l.burst = parse_amount(l.bytes ? "a number of bytes" : "a number of packets", in_bytes);
      if (!l.bytes && !in.accept_words("packets")) in.expected("packets");
      else if (l.bytes && !in_bytes) in.expected("bytes, kbytes or mbytes");
    }
    if (!in.good()) return 0;
    // Of bytes as many as come in a unit are a burst already (net/netfilter/nft_limit.c).
    l.bucket = token_bucket{l.rate, l.bytes ? l.rate + l.burst : l.burst, seconds(limit_units[l.unit].seconds)};
    t_.limits[t_.size.limits] = l;
    return t_.size.limits++;
  }
  // `log prefix "new: " level info`, `log prefix "new: " group 2`
  void parse_log() noexcept {
    const std::size_t begin = t_.size.text;
    const auto put = [&](char c) {
      if (t_.size.text == t_.room.text) return in.fail("no room for this prefix: rule_table_config::text");
      t_.text[t_.size.text++] = c;
    };
    if (in.accept_words("prefix")) {
      if (!in.accept("\"")) return in.expected("a text in quotes");
      for (; in.good() && in.ahead() != '"' && in.ahead() != '\0'; in.go_to(in.at() + 1)) put(in.ahead());
      if (in.good() && in.ahead() != '"') return in.expected("the closing quote");
      in.go_to(in.at() + 1);
    }
    put('\0');
    if (in.accept_words("group"))
      return add(statement_kind::log_to_group, begin,
                 static_cast<std::size_t>(in.number_up_to(0xffff, "a group up to 65535")));
    std::size_t level = default_log_level;
    if (in.accept_words("level")) {
      for (level = 0; level < 8 && !in.accept_words(log_levels[level]); ++level) continue;
      if (level == 8) in.expected("one of emerg, alert, crit, err, warn, notice, info, debug");
    }
    add(statement_kind::log, begin, level);
  }

  // ---- translation

  void add_translation(statement_kind kind, const nat_target& to, std::uint32_t node = 0) noexcept {
    if (!in.good()) return;
    if (t_.size.translations == t_.room.translations)
      return in.fail("more translations than there is room for: rule_table_config::translations");
    t_.translations[t_.size.translations] = to;
    add(kind, node, t_.size.translations++);
  }
  // `to :1024-65535 random`: the address is that of an interface.
  void parse_own_address(nat_kind kind) noexcept {
    nat_target to;
    to.kind = kind;
    if (in.accept_words("to")) {
      if (!in.accept(":")) in.expected("\":\" and a port: the address is that of the interface");
      parse_nat_ports(in, to);
    }
    parse_nat_flags(in, to);
    add_translation(statement_kind::translate, to);
  }
  // `ip prefix to 192.0.2.0/24`, `to 192.0.2.1:80 random`, `to tcp dport map { 80 : 192.0.2.1 }`
  void parse_translation(nat_kind kind) noexcept {
    nat_target to;
    to.kind = kind;
    in.skip_gap();
    const std::size_t at = in.at();
    const bool said6 = in.accept_words("ip6"), said4 = !said6 && in.accept_words("ip");
    if ((said6 && family_ == table_family::v4) || (said4 && family_ == table_family::v6))
      return in.fail_at(at, "an address of the other family than the table");
    const bool v6 = said6 || family_ == table_family::v6;
    if (in.accept_words("prefix")) to.flags = nat_flags::prefix;
    if (!in.accept_words("to")) return in.expected("to");
    if (match::detail::sees_map(*this, "map")) {
      if (family_ == table_family::inet && !said4 && !said6) return in.fail_at(at, say_family);
      const table_set* map = nullptr;
      const map_data data = v6 ? map_data::address6 : map_data::address4;
      const std::uint32_t node = parse_map_use(map, "map", data, (to.flags & nat_flags::prefix) != 0);
      if (map == nullptr) return;
      parse_nat_flags(in, to);
      return add_translation(statement_kind::translate_by_map, to, node);
    }
    parse_nat_range(in, to, v6);
    if (family_ == table_family::inet && !said4 && !said6 && to.has_address()) return in.fail_at(at, say_family);
    parse_nat_flags(in, to);
    add_translation(statement_kind::translate, to);
  }
  static constexpr const char* say_family = "which addresses: snat ip to, dnat ip6 to, in a table of both families";

  // ---- sets and maps

  // What a set is asked with; its number among the nodes.
  std::uint32_t parse_operand(const table_set* set, const char* what) noexcept {
    constexpr std::uint32_t none = 0;
    if (t_.size.nodes == t_.room.nodes) return in.fail("no room for another operand: rule_table_config::nodes"), none;
    match::condition_node n;
    n.kind = match::node_kind::in_set;
    n.word = static_cast<std::uint16_t>(t_.size.words);
    const auto put = [&](std::uint64_t word) {
      if (t_.size.words == t_.room.words) in.fail("no room for this mask: rule_table_config::words");
      else t_.words[t_.size.words++] = word;
    };
    const auto put_mask = [&]<class Key>(const Key& mask) {
      if constexpr (sizeof(Key) == sizeof(std::uint64_t)) put(mask);
      else put(mask.high()), put(mask.low());
    };
    if (!match::detail::parse_map_operand(*this, n.operand, put_mask)) in.expected(what);
    if (!in.good()) return none;
    if (set != nullptr) n.set = {set, functions_of(n.operand.value)};
    t_.nodes[t_.size.nodes] = n;
    return t_.size.nodes++;
  }
  // `tcp dport vmap { 22 : accept }`, `ip saddr map @marks`: the number of its node. `map` stays null after an error.
  // Of addresses those with ports are as good.
  std::uint32_t parse_map_use(const table_set*& map, const char* word, map_data data, bool prefixes = false) noexcept {
    const std::uint32_t node = parse_operand(nullptr, "what the map is asked with, such as tcp dport");
    if (!in.good()) return node;
    const match::operand_description operand = t_.nodes[node].operand;
    if (!in.accept_words(word)) return in.expected(word), node;
    if (in.accept("{")) {
      map = sets_.parse_braces(in, begin_, operand, data, prefixes);
    } else if (!in.accept("@")) {
      in.expected("\"@\" and the name of a map, or elements in braces");
    } else {
      in.skip_gap();
      const std::size_t at = in.at();
      const table_set* const named = names_.set(in, "the name of a map of this table");
      if (named == nullptr) return node;
      const bool same = named->data == data || (is_translation(data) && is_translation(named->data) &&
                                                is_v6(named->data) == is_v6(data) && !prefixes);
      if (!same) {
        text<64> why;
        why << "this map does not lead to " << name(data);
        return in.fail_at(at, why.c_str()), node;
      }
      if (named->operand.value != operand.value) return in.fail_at(at, "this map holds values of another kind"), node;
      map = named;
    }
    if (map != nullptr) t_.nodes[node].set = {map, functions_of(operand.value)};
    return node;
  }
  void parse_map(statement_kind kind, const char* word, map_data data) noexcept {
    const table_set* map = nullptr;
    const std::uint32_t node = parse_map_use(map, word, data);
    if (map != nullptr) add(kind, node);
  }
  void parse_mark() noexcept {
    if (match::detail::sees_map(*this, "map")) return parse_map(statement_kind::mark_by_map, "map", map_data::mark);
    if (in.accept_words("ct mark")) add(statement_kind::mark_from_connection);
    else add(statement_kind::mark, value_of(meta::mark));
  }
  void parse_connection_mark() noexcept {
    if (in.accept_words("meta mark")) add(statement_kind::connection_mark_from_packet);
    else add(statement_kind::connection_mark, value_of(meta::mark));
  }
  // `@seen { ip saddr timeout 1m limit rate over 10/second }`
  void parse_update(statement_kind kind) noexcept {
    if (!in.accept("@")) return in.expected("\"@\" and the name of a set");
    const std::size_t at = in.at();
    table_set* const set = names_.set(in, "the name of a set of this table");
    if (set == nullptr) return;
    if (!set->dynamic || set->data != map_data::none)
      return in.fail_at(at, "packets change a set that has flags dynamic");
    expect(in, "{", "\"{\"");
    const std::uint32_t node = parse_operand(set, "what is added, such as ip saddr");
    if (in.good() && t_.nodes[node].operand.value != set->operand.value)
      return in.fail_at(at, "this set holds values of another kind");
    table_update u;
    while (in.good() && kind != statement_kind::delete_element && !in.sees("}")) {
      in.skip_gap();
      const std::size_t here = in.at();
      if (in.accept_words("timeout")) {
        u.timeout = parse_time_span(in);
        if (!set->timed) in.fail_at(here, "times of elements need flags timeout in their set");
      } else if (in.accept_words("counter")) {
        u.counts = set->counted = true;
      } else if (u.limit == table_update::no_limit && u.count == table_update::no_limit &&
                 in.accept_words("ct count")) {
        u.count = static_cast<std::uint16_t>(parse_count());
        if (set->timed) in.fail_at(here, "connections are counted in a set without times: elements go with them");
        set->counts_connections = true;
      } else if (u.limit == table_update::no_limit && u.count == table_update::no_limit &&
                 in.accept_words("limit rate")) {
        u.limit = static_cast<std::uint16_t>(parse_limit());
      } else {
        in.expected("timeout, counter, limit rate, ct count or \"}\"");
      }
    }
    expect(in, "}", "\"}\"");
    set->deletes = set->deletes || kind == statement_kind::delete_element;
    if (set->counts_connections && set->deletes)
      in.fail_at(at, "nothing is deleted from a set that counts connections: elements go with them");
    if (!in.good()) return;
    if (kind != statement_kind::delete_element) {
      if (t_.update_count == t_.room.limits)
        return in.fail("more of these than there is room for: rule_table_config::limits");
      t_.updates[t_.update_count] = u;
    }
    add(kind, node, t_.update_count);
    if (kind != statement_kind::delete_element) ++t_.update_count;
  }

  rule_table_parts& t_;
  table_names& names_;
  table_set_loader<Later>& sets_;

 public:
  cursor& in;  // as the functions that read conditions want it

 private:
  table_rule& r_;
  std::size_t begin_;
  table_family family_;
};

}  // namespace runnel::detail

#endif
