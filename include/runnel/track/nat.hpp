// SPDX-License-Identifier: MIT
// The stages of address translation: `nat<prerouting>` for destinations, `nat<postrouting>` for sources.
//
//     static nat_table translations{connections, seed};
//
//     auto path = parse() | track(connections)
//               | nat<prerouting>(translations, rules(when(meta::iif == wan && tcp::dport == 80)
//                                                         >> dnat(addr4("192.168.1.10"))))
//               | route(routes).on<forward>(policy | forwarding(...)
//                     | nat<postrouting>(translations, rules(when(meta::oif == wan) >> masquerade()),
//                     leaving(interfaces)) | confirm(connections) | ...)
//
// Rules are asked about the first packet of a connection only, and decide for all of it, as in the kernel; a verdict
// other than `accept` is that of the packet. All later packets, both ways, are translated where they pass the stages:
// replies to a translated source get their destination back in `nat<prerouting>`. So all packets of the connections
// pass both, also where there are no rules: `nat<prerouting>(translations)`. A connection that would clash with another
// one is given another source port there.
//
// The stages stand behind `track` in the same pipeline, without a queue between, and in front of `confirm`; filters see
// what is inside: destinations after `nat<prerouting>`, sources before `nat<postrouting>`. The kernel's `input` and
// `output` hooks are `nat<hook_point::input>`, for sources of what comes to this host, and `nat<hook_point::output>`.
// Invalid and untracked packets are not translated: drop them.
//
// Errors that this host sends about translated packets have to be translated too, or hosts outside are told of
// addresses that they have never heard of: `reject(errors) | track(connections) | nat<postrouting>(translations) |
// transmit(out)`. In the burst in which NAT has seen the packet `track` knows its connection, whatever it looks like by
// then; behind a queue it looks for what the error quotes, and finds none where both ends are translated.
//
// Fragments behind `defragment` are whole packets; what has a connection and is a later fragment (virtual reassembly)
// has its addresses translated. ICMP errors are translated with what they quote; what of them is cut off or wrong is
// dropped.
#ifndef RUNNEL_TRACK_NAT_HPP
#define RUNNEL_TRACK_NAT_HPP

#include <cstddef>      // byte, size_t
#include <cstdint>      // uint8_t, uint16_t
#include <type_traits>  // is_same_v

#include <runnel/flow/stage.hpp>
#include <runnel/flow/timed_attachment.hpp>
#include <runnel/hook/chain.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/nat_icmp.hpp>
#include <runnel/track/nat_rewrite.hpp>
#include <runnel/track/nat_table.hpp>
#include <runnel/track/tracker.hpp>

namespace runnel {
namespace detail {

// ---- where rules come from: `ask(point, p, c, found, to)` says what becomes of the packet, and what is to be
// translated

struct no_nat_rules {
  static constexpr bool writes = false;
  RUNNEL_INLINE verdict ask(hook_point, packet&, context&, const layers*, const nat_target*&) const noexcept {
    return pass;
  }
};
struct one_nat_target {
  nat_target target;
  RUNNEL_INLINE verdict ask(hook_point, packet&, context&, const layers*, const nat_target*& to) const noexcept {
    to = &target;
    return pass;
  }
};
template <class Body>
struct nat_rule_list {
  Body body;
  RUNNEL_INLINE verdict ask(hook_point, packet& p, context& c, const layers* found, const nat_target*& to) noexcept {
    rule_run r{p, c, found};
    if (body.run(r, nullptr) != target_end::verdict) return pass;
    to = r.translation;
    return r.decided;
  }
};
// Tables that are loaded at run time: anything with `translation(point, p, c, found, to)`, which does what `ask` does.
template <class Table>
struct nat_rules_elsewhere {
  Table* table;
  RUNNEL_INLINE verdict ask(hook_point at, packet& p, context& c, const layers* found, const nat_target*& to) noexcept {
    return table->translation(at, p, c, found, to);
  }
};
struct no_own_address {
  ipv6_address operator()(const packet&, const ipv6_address&) const noexcept { return {}; }
};

// The headers of a parsed packet that is going to be changed. False when it has no IP header, or less of it than there
// was when it was parsed.
[[nodiscard]] RUNNEL_INLINE bool nat_headers_of(packet& p, std::uint8_t protocol_number, nat_headers& to) noexcept {
  const layers found = p.layers();
  const mutable_bytes held = p.writable();
  std::byte* const head = held.data() - p.headroom();
  std::byte* const end = held.data() + held.size();
  to.is_ipv6 = found.has(protocol::ipv6);
  if (!to.is_ipv6 && !found.has(protocol::ipv4)) return false;
  to.network = head + found.network;
  if (to.network < held.data() || to.network + (to.is_ipv6 ? 40 : 20) > end) return false;
  to.protocol = protocol_number;
  to.partial = p.checksum() == checksum_status::partial;
  if (!found.has(protocol::transport)) return true;
  to.transport = head + found.transport;
  if (to.transport < to.network || to.transport > end) return false;
  to.held = static_cast<std::size_t>(end - to.transport);
  return true;
}

template <hook_point Point, class Rules, class OwnAddress>
struct nat_stage : stage_defaults {
  static constexpr stage_kind kind = stage_kind::each;
  static constexpr bool needs_parsed = true;
  static constexpr bool needs_tracked = true;
  static constexpr bool writes = true;
  static constexpr bool resizes = false;
  static constexpr bool of_source = translates_source(Point);

  constexpr nat_stage(nat_table& t, const Rules& r, const OwnAddress& a) noexcept : table(&t), rules(r), own(a) {}

  RUNNEL_INLINE verdict operator()(packet& p, context& c, const layers* found = nullptr) noexcept {
    using namespace connection_status;
    const connection_word word{p.connection()};
    if (!word.has_connection()) return pass;
    connection* const first = tracker::records(table->connections());
    if (c.connections != first) [[unlikely]]
      return lost(word);  // nobody knows any more whose packet it is
    connection& k = first[word.number()];
    const bool reply = word.direction() == connection_direction::reply;
    constexpr std::uint16_t done = of_source ? src_nat_done : dst_nat_done;
    if ((k.status() & (done | confirmed)) == 0 && !reply) [[unlikely]] {
      const verdict v = begin(p, c, found, k);
      if (v.code != verdict_code::pass) return v;
    }
    const std::uint16_t wanted = of_source != reply ? src_nat : dst_nat;
    if (!k.has_status(wanted)) return k.is_alive() ? pass : lost(word);
    return translate(p, k, word);
  }
  constexpr void print_name(text_writer& out) const noexcept { out << "nat " << runnel::name(Point); }

  nat_table* table;
  Rules rules;
  OwnAddress own;

 private:
  verdict lost(connection_word word) const noexcept {
    if (answer_about::is_word(word.value)) return pass;  // nobody has tracked it
    ++table->statistics().untranslatable;
    return drop(drop_reason::nat_untranslatable);
  }
  // The first packet of a connection.
  [[gnu::noinline]] verdict begin(packet& p, context& c, const layers* found, connection& k) noexcept {
    const connection_word word{p.connection()};
    if (!k.is_alive()) return lost(word);
    if (answer_about::is_word(word.value)) return pass;
    if (is_error(p, word)) return pass;  // about a connection that has yet to be decided on
    const nat_target* to = nullptr;
    const verdict v = rules.ask(Point, p, c, found, to);
    return v.code != verdict_code::pass ? v : table->bind(k, p, of_source, to, own, c.now);
  }
  [[nodiscard]] static bool is_error(const packet& p, connection_word word) noexcept {
    return word.state() == connection_state::related &&
           (p.layers().has(protocol::icmp) || p.layers().has(protocol::icmpv6));
  }
  // IPv4 with TCP or UDP goes the short way.
  RUNNEL_INLINE verdict translate(packet& p, const connection& k, connection_word word) const noexcept {
    const layers found = p.layers();
    const bool is_tcp = k.protocol_number() == 6;
    const unsigned wanted = static_cast<unsigned>(protocol::ipv4) | static_cast<unsigned>(protocol::transport) |
                            static_cast<unsigned>(is_tcp ? protocol::tcp : protocol::udp);
    const mutable_bytes held = p.writable();
    std::byte* const head = held.data() - p.headroom();
    std::byte* const network = head + found.network;
    std::byte* const transport = head + found.transport;
    if ((found.protocols & wanted) == wanted && translated::is_ipv4(k) && network >= held.data() &&
        network + 20 <= transport && transport + (is_tcp ? 20 : 8) <= held.data() + held.size() &&
        p.checksum() != checksum_status::partial) [[likely]] {
      const tuple_end to = translated::leaving4(table->connections(), k, word.direction(), of_source);
      rewrite_headers4(network, transport, is_tcp, to.address, to.port, of_source);
      return pass;
    }
    return translate_carefully(p, k, word);
  }
  [[gnu::noinline]] verdict translate_carefully(packet& p, const connection& k, connection_word word) const noexcept {
    const connection_table& all = table->connections();
    const connection_tuple to = all.leaving(k, word.direction());
    nat_headers h;
    if (answer_about::is_word(word.value)) [[unlikely]]
      return pass;  // nobody has tracked it
    if (!nat_headers_of(p, k.protocol_number(), h) || h.is_ipv6 != to.is_ipv6()) [[unlikely]]
      return lost(word);
    if (word.state() == connection_state::related && is_error(p, word)) [[unlikely]]
      return translate_error(h, to.inverted(), word);
    rewrite_headers(h, to, of_source);
    return pass;
  }
  [[gnu::noinline]] verdict translate_error(const nat_headers& h, const connection_tuple& other,
                                            connection_word word) const noexcept {
    const std::size_t before = h.transport == nullptr ? 0 : static_cast<std::size_t>(h.transport - h.network);
    const std::size_t size = h.is_ipv6 ? load_be16(h.network + 4) + std::size_t{40} : load_be16(h.network + 2);
    if (size < before || !rewrite_error(h, size - before, other, of_source)) return lost(word);
    ++table->statistics().errors;
    return pass;
  }
};

template <class T>
concept says_translations = requires(T& t, packet& p, context& c, const layers* found, const nat_target*& to) {
  { t.translation(hook_point::prerouting, p, c, found, to) } -> std::same_as<verdict>;
};

template <hook_point Point, bool Source>
constexpr void check_nat_side() noexcept {
  static_assert(Point != hook_point::forward, "runnel: there is no NAT at the hook forward");
  static_assert(Source == translates_source(Point),
                "runnel: snat and masquerade stand at postrouting and input, dnat and redirect_here at prerouting and "
                "output");
}

}  // namespace detail

/// Translates connections by what was decided for them, and decides nothing about new ones, but that they clash with no
/// other; with endpoint-independent mappings, `nat<prerouting>` lets packets from outside in to those, as their
/// filtering says. Refers to the table, which must outlive the pipeline.
template <hook_point Point>
[[nodiscard]] constexpr auto nat(nat_table& translations) noexcept {
  static_assert(Point != hook_point::forward, "runnel: there is no NAT at the hook forward");
  return detail::nat_stage<Point, detail::no_nat_rules, detail::no_own_address>{translations, {}, {}};
}
/// The same, and every new connection that comes here is translated as one target says: `masquerade()`. `own_address`
/// is called as `ipv6_address(const packet&, const ipv6_address& peer)` for `masquerade` and `redirect_here`, and says
/// which address of this host the packet leaves or arrives by, IPv4 ones `mapped`, unspecified when there is none (then
/// the packet is dropped): see ip/nat_addresses.hpp. Called for first packets only.
template <hook_point Point, bool Source, class OwnAddress = detail::no_own_address>
[[nodiscard]] constexpr auto nat(nat_table& translations, const nat_statement<Source>& to,
                                 const OwnAddress& own_address = {}) noexcept {
  detail::check_nat_side<Point, Source>();
  return detail::nat_stage<Point, detail::one_nat_target, OwnAddress>{translations, {to.target()}, own_address};
}
/// The same by rules, which are copied: the first one that matches says what becomes of a new connection. `accept` and
/// rules that do not match leave it as it is.
template <hook_point Point, class... Rules, class OwnAddress = detail::no_own_address>
[[nodiscard]] constexpr auto nat(nat_table& translations, const rules_of<Rules...>& all,
                                 const OwnAddress& own_address = {}) noexcept {
  using body = decltype(detail::prepare_rules<0>(all.list()));
  static_assert(Point != hook_point::forward, "runnel: there is no NAT at the hook forward");
  static_assert((body::translates & (translates_source(Point) ? 2u : 1u)) == 0,
                "runnel: snat and masquerade stand at postrouting and input, dnat and redirect_here at prerouting and "
                "output");
  using list = detail::nat_rule_list<body>;
  return detail::nat_stage<Point, list, OwnAddress>{translations, {detail::prepare_rules<0>(all.list())}, own_address};
}
/// The same by rules of run time: anything with `verdict translation(hook_point, packet&, context&, const layers*,
/// const nat_target*& to)`, which leaves `to` null when no rule matches, and must outlive the pipeline.
template <hook_point Point, detail::says_translations Table, class OwnAddress = detail::no_own_address>
[[nodiscard]] constexpr auto nat(nat_table& translations, Table& table, const OwnAddress& own_address = {}) noexcept {
  static_assert(Point != hook_point::forward, "runnel: there is no NAT at the hook forward");
  return detail::nat_stage<Point, detail::nat_rules_elsewhere<Table>, OwnAddress>{translations, {&table}, own_address};
}

/// A table in memory of its own, of a size known at compile time: for microcontrollers, and for static storage.
template <nat_config Config = nat_config{}>
class static_nat_table {
 public:
  /// An empty table; `seed` from a random source.
  explicit static_nat_table(connection_table& connections, std::uint64_t seed = Config.seed,
                            const nat_options& options = {}) noexcept
      : table_(connections, {memory_, nat_table::bytes_needed(Config)}, seeded(seed), options) {}
  /// The table. @{
  constexpr operator nat_table&() & noexcept { return table_; }
  [[nodiscard]] constexpr nat_table& get() noexcept { return table_; }
  [[nodiscard]] constexpr nat_table* operator->() noexcept { return &table_; }
  /// @}

 private:
  static constexpr nat_config seeded(std::uint64_t seed) noexcept {
    nat_config c = Config;
    c.seed = seed;
    return c;
  }
  alignas(nat_table::alignment) std::byte memory_[nat_table::bytes_needed(Config) + 1];  // there may be none
  nat_table table_;
};

/// Frees mappings when their reuse delay is over: `run(clock, attach(lan, path), attach(translations))`. Refers to the
/// table, which must outlive it. Needed for endpoint-independent mappings with such a delay only.
[[nodiscard]] constexpr auto attach(nat_table& translations) noexcept {
  return timed_attachment<nat_table>{translations};
}

}  // namespace runnel

#endif
