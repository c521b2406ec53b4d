// SPDX-License-Identifier: MIT
// What a rule says about address translation: to which addresses and ports, and how one of them is chosen. A plain
// value, the kernel's struct nf_nat_range2, and the targets of rules that make one.
//
//     rules(when(meta::iif == wan && tcp::dport == 80) >> dnat(addr4("192.168.1.10")).port(8080))
//     rules(when(ip::saddr.in(net("192.168.1.0/24"))) >> snat(addr4("203.0.113.1"), addr4("203.0.113.9")).persistent(),
//           when(ip::saddr.in(net("192.168.2.0/24"))) >> snat(net("203.0.114.0/24")),   // one to one
//           otherwise >> masquerade())
//
// Such rules stand in `nat<prerouting>(translations, rules)`: see track/nat.hpp, which does what they say.
#ifndef RUNNEL_HOOK_NAT_TARGET_HPP
#define RUNNEL_HOOK_NAT_TARGET_HPP

#include <cstdint>  // uint8_t, uint16_t, uint32_t

#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/targets.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/wire/address.hpp>

namespace runnel {

/// The statements about address translation, in nft's words.
enum class nat_kind : std::uint8_t {
  snat,           ///< another source; in the chains `postrouting` and `input`
  masquerade,     ///< the source becomes the address of the interface that the packet leaves by
  dnat,           ///< another destination; in the chains `prerouting` and `output`
  redirect_here,  ///< the destination becomes this host: the address of the interface that the packet came by
};

/// The word of nft.
[[nodiscard]] constexpr const char* name(nat_kind k) noexcept {
  switch (k) {
    case nat_kind::snat: return "snat";
    case nat_kind::masquerade: return "masquerade";
    case nat_kind::dnat: return "dnat";
    case nat_kind::redirect_here: return "redirect";
  }
  return "unknown";
}
/// Whether it is about the source of packets, else about their destination.
[[nodiscard]] constexpr bool is_source(nat_kind k) noexcept { return k == nat_kind::snat || k == nat_kind::masquerade; }
/// Whether sources are translated at a hook, else destinations.
[[nodiscard]] constexpr bool translates_source(hook_point p) noexcept {
  return p == hook_point::postrouting || p == hook_point::input;
}

/// How an address and a port are chosen: bits of `nat_target::flags`.
namespace nat_flags {
inline constexpr std::uint8_t random = 1u << 0;        ///< the port is random, and not that of the packet
inline constexpr std::uint8_t fully_random = 1u << 1;  ///< the same here; the kernel's `random` is a hash
inline constexpr std::uint8_t persistent = 1u << 2;    ///< one host has one address, whatever it sends to
inline constexpr std::uint8_t parity = 1u << 3;        ///< an even port stays even, an odd one odd (RFC 4787 REQ-4)
inline constexpr std::uint8_t prefix = 1u << 4;        ///< prefixes are mapped one to one: `first` is the network
}  // namespace nat_flags

/// Addresses and ports that a connection may be given. Plain data: whoever makes one keeps to what the members say, and
/// may ask `is_valid`.
struct nat_target {
  nat_kind kind = nat_kind::masquerade;  ///< what is translated
  std::uint8_t flags = 0;                ///< of `nat_flags`
  /// With `nat_flags::prefix`: how many bits of the address are those of `first`, 1 to 32 or 128; the others stay as
  /// they are in the packet.
  std::uint8_t prefix_length = 0;
  /// The first and the last address of a range, of one family, both included; IPv4 ones are `mapped`. Both unspecified:
  /// the address stays as it is. Means nothing for `masquerade` and `redirect_here`. @{
  ipv6_address first{};
  ipv6_address last{};
  /// @}
  /// The first and the last port, both included, or identifiers of ICMP queries; for protocols with ports and ICMP.
  /// Both 0: a source keeps its port if nobody else has it, and gets another of its class otherwise; a destination
  /// keeps its port. @{
  std::uint16_t first_port = 0;
  std::uint16_t last_port = 0;
  /// @}

  /// Whether it names an address.
  [[nodiscard]] constexpr bool has_address() const noexcept { return !first.is_unspecified(); }
  /// Whether it names ports.
  [[nodiscard]] constexpr bool has_ports() const noexcept { return last_port != 0; }
  /// Whether it may be used for packets of a family: it names no address, or one of this family.
  [[nodiscard]] constexpr bool fits(bool is_ipv6) const noexcept {
    return !has_address() || is_mapped(first) != is_ipv6;
  }
  /// Whether its members fit one another: ranges the right way round and of one family, a prefix of a possible length.
  [[nodiscard]] constexpr bool is_valid() const noexcept {
    if (first_port > last_port || (has_ports() && first_port == 0)) return false;
    if ((flags & nat_flags::prefix) != 0)
      return has_address() && !has_ports() && prefix_length >= 1 && prefix_length <= (is_mapped(first) ? 32 : 128) &&
             (kind == nat_kind::snat || kind == nat_kind::dnat);
    if (is_mapped(first) != is_mapped(last)) return false;
    return first.high() != last.high() ? first.high() < last.high() : first.low() <= last.low();
  }
  /// Equal when all their members are.
  friend constexpr bool operator==(const nat_target&, const nat_target&) noexcept = default;
};

namespace detail {
constexpr void print_nat_flags(text_writer& out, std::uint8_t flags) noexcept {
  const char* before = " ";
  const auto flag = [&](std::uint8_t bit, const char* word) {
    if ((flags & bit) != 0) out << before << word, before = ",";
  };
  flag(nat_flags::random, "random");
  flag(nat_flags::fully_random, "fully-random");
  flag(nat_flags::persistent, "persistent");
  flag(nat_flags::parity, "parity");
}
}  // namespace detail

/// As nft writes it: `snat to 203.0.113.1-203.0.113.9:1024-65535 random,persistent`; in tables of both families the
/// family is said: `snat ip to 203.0.113.1`.
constexpr void print(text_writer& out, const nat_target& t, bool say_family = false) noexcept {
  const bool v6 = t.has_address() && !is_mapped(t.first);
  const auto address = [&](const ipv6_address& a) {
    if (!v6) return print(out, unmapped(a));
    if (t.has_ports()) out << '[';
    print(out, a);
    if (t.has_ports()) out << ']';
  };
  out << name(t.kind);
  if (say_family && t.has_address()) out << (v6 ? " ip6" : " ip");
  if ((t.flags & nat_flags::prefix) != 0) out << " prefix";
  const bool names_address = t.has_address() && (t.kind == nat_kind::snat || t.kind == nat_kind::dnat);
  if (names_address || t.has_ports()) out << " to ";
  if (names_address) {
    address(t.first);
    if ((t.flags & nat_flags::prefix) != 0) out << '/' << std::uint32_t{t.prefix_length};
    else if (t.first != t.last) out << '-', address(t.last);
  }
  if (t.has_ports()) {
    out << ':' << std::uint32_t{t.first_port};
    if (t.first_port != t.last_port) out << '-' << std::uint32_t{t.last_port};
  }
  detail::print_nat_flags(out, t.flags);
}

namespace detail {

// Ends the rules with the target, for whoever has asked them: `nat<...>(...)`.
template <bool Source>
struct prepared_nat : stage_defaults {
  static constexpr bool resizes = false;
  static constexpr unsigned translates = Source ? 1u : 2u;
  nat_target to;
  template <class Run>
  RUNNEL_INLINE target_end run(Run& r) const noexcept {
    r.translation = &to;
    r.decided = runnel::accept;
    return target_end::verdict;
  }
};

}  // namespace detail

/// A target of rules in `nat<...>(...)`, made by `snat`, `masquerade`, `dnat` and `redirect_here`; `Source` says what
/// it is about. Each member returns a copy with one thing more.
template <bool Source>
class nat_statement {
 public:
  static constexpr bool is_target = true;  ///< what rules know it by
  /// Of a target whose kind is about what `Source` says.
  constexpr explicit nat_statement(const nat_target& t) noexcept : to_(t) {}
  /// What it says.
  [[nodiscard]] constexpr const nat_target& target() const noexcept { return to_; }
  /// A port from `first` to `last`, 1 or above.
  [[nodiscard]] constexpr nat_statement ports(std::uint16_t first, std::uint16_t last) const noexcept {
    nat_target t = to_;
    t.first_port = first, t.last_port = last;
    return nat_statement{t};
  }
  /// This port.
  [[nodiscard]] constexpr nat_statement port(std::uint16_t p) const noexcept { return ports(p, p); }
  /// How it is chosen: see `nat_flags`. @{
  [[nodiscard]] constexpr nat_statement random() const noexcept { return with(nat_flags::random); }
  [[nodiscard]] constexpr nat_statement fully_random() const noexcept { return with(nat_flags::fully_random); }
  [[nodiscard]] constexpr nat_statement persistent() const noexcept { return with(nat_flags::persistent); }
  [[nodiscard]] constexpr nat_statement parity() const noexcept { return with(nat_flags::parity); }
  /// @}
  /// Internal: what a chain makes of it.
  [[nodiscard]] constexpr auto prepare() const noexcept { return detail::prepared_nat<Source>{{}, to_}; }

 private:
  [[nodiscard]] constexpr nat_statement with(std::uint8_t flag) const noexcept {
    nat_target t = to_;
    t.flags = static_cast<std::uint8_t>(t.flags | flag);
    return nat_statement{t};
  }
  nat_target to_;
};

namespace detail {
template <nat_kind Kind>
[[nodiscard]] constexpr auto nat_to(const ipv6_address& first, const ipv6_address& last) noexcept {
  nat_target t;
  t.kind = Kind, t.first = first, t.last = last;
  return nat_statement<is_source(Kind)>{t};
}
template <nat_kind Kind>
[[nodiscard]] constexpr auto nat_prefix(const prefix& to) noexcept {
  nat_target t;
  t.kind = Kind, t.flags = nat_flags::prefix;
  t.first = t.last = to.is_v6() ? to.as<ipv6_address>().address() : mapped(to.as<ipv4_address>().address());
  t.prefix_length = static_cast<std::uint8_t>(to.length());
  return nat_statement<is_source(Kind)>{t};
}
}  // namespace detail

/// Another source: one address, one of a range, or the same host in another prefix of the same length (RFC 6296 without
/// its change of the interface identifier: checksums are corrected instead). @{
[[nodiscard]] constexpr auto snat(ipv4_address to) noexcept {
  return detail::nat_to<nat_kind::snat>(mapped(to), mapped(to));
}
[[nodiscard]] constexpr auto snat(const ipv6_address& to) noexcept { return detail::nat_to<nat_kind::snat>(to, to); }
[[nodiscard]] constexpr auto snat(ipv4_address first, ipv4_address last) noexcept {
  return detail::nat_to<nat_kind::snat>(mapped(first), mapped(last));
}
[[nodiscard]] constexpr auto snat(const ipv6_address& first, const ipv6_address& last) noexcept {
  return detail::nat_to<nat_kind::snat>(first, last);
}
[[nodiscard]] constexpr auto snat(const prefix& to) noexcept { return detail::nat_prefix<nat_kind::snat>(to); }
/// @}
/// Another destination; the same choices. @{
[[nodiscard]] constexpr auto dnat(ipv4_address to) noexcept {
  return detail::nat_to<nat_kind::dnat>(mapped(to), mapped(to));
}
[[nodiscard]] constexpr auto dnat(const ipv6_address& to) noexcept { return detail::nat_to<nat_kind::dnat>(to, to); }
[[nodiscard]] constexpr auto dnat(ipv4_address first, ipv4_address last) noexcept {
  return detail::nat_to<nat_kind::dnat>(mapped(first), mapped(last));
}
[[nodiscard]] constexpr auto dnat(const ipv6_address& first, const ipv6_address& last) noexcept {
  return detail::nat_to<nat_kind::dnat>(first, last);
}
[[nodiscard]] constexpr auto dnat(const prefix& to) noexcept { return detail::nat_prefix<nat_kind::dnat>(to); }
/// @}
/// The source becomes the address of the interface that the packet leaves by, and stays that for all of the connection:
/// where its packets leave by another one later, end it (`nat_table::forget`), as the kernel does by itself.
[[nodiscard]] constexpr auto masquerade() noexcept { return detail::nat_to<nat_kind::masquerade>({}, {}); }
/// The destination becomes the address of the interface that the packet came by: it is for this host.
[[nodiscard]] constexpr auto redirect_here() noexcept { return detail::nat_to<nat_kind::redirect_here>({}, {}); }

}  // namespace runnel

#endif
