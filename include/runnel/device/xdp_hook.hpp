// SPDX-License-Identifier: MIT
// Rules in the kernel's XDP hook: the ones that a pipeline has in `xdp(...)` run on an interface, in its driver if that
// can, before there is an sk_buff; with counters for each rule, and sets that change while they run.
//
//     constexpr auto early = rules(when(ip::saddr.in(blocklist)) >> drop(drop_reason::blocklist), otherwise >> pass);
//     auto hook = device::xdp_hook::attach("eth0", early);
//     if (!hook) return std::fprintf(stderr, "%s\n", hook.error().message()), 1;
//     std::printf("%s: %s\n", hook->name(), name(hook->mode()));          // "eth0: native"
//     hook->insert(blocklist, net("192.0.2.0/24"));                        // from now on
//     rule_counter dropped = hook->counters(0);                            // packets and bytes
//
// Theory of operation: `bpf::lower` makes a program of the rules, with a map for each set; the kernel's verifier checks
// it; a BPF link holds it on the interface. The link is a file descriptor: when the process ends, however it ends, the
// program is gone. `pass` is what goes on into the kernel's network stack, so whoever writes rules for an interface
// that is also how one got there begins with `when(tcp::dport == 22) >> accept`.
//
// Needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and Linux 5.9. What rules cannot ask here, and what they see
// of long packets, is in <runnel/xdp/lower.hpp>.
#ifndef RUNNEL_DEVICE_XDP_HOOK_HPP
#define RUNNEL_DEVICE_XDP_HOOK_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint32_t, uint64_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/device/bpf.hpp>
#include <runnel/device/bpf_set.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/xdp_link.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/packet/verdict.hpp>
#include <runnel/xdp/lower.hpp>

#if defined(__linux__)

namespace runnel::device {

/// How rules come onto an interface.
struct xdp_hook_options {
  /// Where the program runs; native if the driver can, when nothing is said.
  bpf::xdp_mode mode = bpf::xdp_mode::automatic;
  bool replace = false;         ///< detach a program that is there already, whoever attached it
  bool counters = true;         ///< whether packets and bytes are counted for each rule
  std::uint16_t iif = 0;        ///< what `meta::iif` is in the rules
  const char* name = "runnel";  ///< of the program, for `bpftool prog` and `ip link`; 15 characters are kept
  /// The interfaces that `redirect(0)`, `redirect(1)` and so on send to. What is sent to none is dropped.
  const char* targets[8] = {};
};

/// Rules on an interface. Move-only; they are taken off when it is destroyed. Refers to the sets that the rules ask,
/// which must outlive it. For one thread.
class xdp_hook {
 public:
  /// How many rules there can be at most.
  static constexpr std::size_t max_rules = 512;

  /// Puts rules onto the interface of this name: `rules(...)`, `counted(rules(...))`, or rules that are known at run
  /// time only. Fails when they cannot be lowered, where the kernel refuses them, and where a program is already, whose
  /// id the error has. About 200 KB of stack are needed for the time of the call.
  template <class Rules>
  [[nodiscard]] static result<xdp_hook, error> attach(const char* interface_name, const Rules& early,
                                                      const xdp_hook_options& options = {}) noexcept {
    if constexpr (requires { early.without_counters(); }) {
      return attach(interface_name, early.without_counters(), options);
    } else {
      auto p = bpf::lower(early, {.counters = options.counters, .devices = max_targets, .iif = options.iif});
      if (!p) return p.error();
      verdict_list verdicts;
      if constexpr (requires { early.fallback(); }) verdicts.codes[0] = early.fallback().code;
      early.for_each([&](const auto& rule) { verdicts.add(rule.target.code); });
      if (verdicts.count > max_rules)
        return error("xdp", "attach to", interface_name, "more than 512 rules", "put addresses into sets");
      return put(*p, verdicts, interface_name, options);
    }
  }

  /// The interface's name.
  [[nodiscard]] const char* name() const noexcept { return name_; }
  /// Where the rules run: native, in the driver, or generic.
  [[nodiscard]] bpf::xdp_mode mode() const noexcept { return link_.mode(); }
  /// The number by which `bpftool prog` and `ip link` know the program.
  [[nodiscard]] std::uint32_t id() const noexcept { return loaded_.id(); }
  /// Whether the rules are on the interface still: not when it was deleted, or somebody has detached them.
  [[nodiscard]] bool attached() const noexcept { return link_.attached(); }
  /// How many rules there are.
  [[nodiscard]] std::size_t size() const noexcept { return verdicts_.count; }

  /// What rule `i` has decided about, counting from 0; that of `size()` is for packets that no rule decided about. All
  /// processors together. Zeros when nothing is counted. One system call.
  [[nodiscard]] rule_counter counters(std::size_t i) const noexcept {
    RUNNEL_ASSERT(i <= verdicts_.count);
    rule_counter sum;
    const std::size_t place = find(bpf::map_use::counters);
    const auto key = static_cast<std::uint32_t>(i);
    if (place == map_count_ || counters_.data() == nullptr || maps_[place].look_up(&key, counters_.data()) != 0)
      return sum;
    for (std::size_t cpu = 0; cpu < processors_; ++cpu) {
      rule_counter one;
      ::memcpy(&one, counters_.data() + cpu * sizeof one, sizeof one);
      sum.packets += one.packets;
      sum.bytes += one.bytes;
    }
    return sum;
  }
  /// What all rules with this verdict have decided about. A system call for each.
  [[nodiscard]] rule_counter counters(verdict_code code) const noexcept {
    rule_counter sum;
    for (std::size_t i = 0; i <= verdicts_.count; ++i) {
      if (verdicts_.codes[i] != code) continue;
      const rule_counter one = counters(i);
      sum.packets += one.packets;
      sum.bytes += one.bytes;
    }
    return sum;
  }

  /// Adds a value or prefix to a set and to what the kernel has of it. False, and in neither of them more than before,
  /// when the set is full, when no rule asks it, or when the kernel refuses: as where its map is full of what was
  /// removed from the set alone (`refresh` helps).
  template <class Set, class Value>
  bool insert(Set& set, const Value& value) noexcept {
    const std::size_t i = find(&set);
    if (i == map_count_) return false;
    const auto element = detail::element_of<Set>(value);
    if (detail::insert_into_set(maps_[i], descriptions_[i], element) != 0) return false;
    if (set.insert(detail::value_for<Set>(value))) return true;
    // A set that is full takes what it has already: the kernel did not have it either.
    (void)detail::erase_from_set(maps_[i], descriptions_[i], element);
    return false;
  }
  /// Removes a value or prefix from a set and from what the kernel has of it. False when it was not in the set, when no
  /// rule asks it, or when the kernel refuses: the set keeps it then.
  template <class Set, class Value>
  bool erase(Set& set, const Value& value) noexcept {
    const std::size_t i = find(&set);
    if (i == map_count_) return false;
    if (detail::erase_from_set(maps_[i], descriptions_[i], detail::element_of<Set>(value)) != 0) return false;
    return set.erase(detail::value_for<Set>(value));
  }
  /// Makes the kernel have what the set holds now, after changes to the set alone. False when no rule asks it, or when
  /// the kernel refuses. Three system calls for each element.
  template <class Set>
  bool refresh(const Set& set) noexcept {
    const std::size_t i = find(&set);
    return i != map_count_ && detail::refresh_set(maps_[i], descriptions_[i]) == 0;
  }

 private:
  static constexpr std::uint32_t max_targets = 8;

  // What each rule says; behind the last one what is said where none matches.
  struct verdict_list {
    verdict_code codes[max_rules + 1] = {verdict_code::pass};
    std::size_t count = 0;

    constexpr void add(verdict_code c) noexcept {
      if (count < max_rules) {
        codes[count + 1] = codes[count];
        codes[count] = c;
      }
      ++count;
    }
  };

  xdp_hook(const bpf::program& p, const verdict_list& verdicts, const char* name, bpf::program_maps&& maps,
           bpf::loaded_program&& loaded, bpf::xdp_link&& link) noexcept
      : maps_(static_cast<bpf::program_maps&&>(maps)),
        loaded_(static_cast<bpf::loaded_program&&>(loaded)),
        link_(static_cast<bpf::xdp_link&&>(link)),
        verdicts_(verdicts),
        map_count_(p.map_count()),
        processors_(processor_count()),
        counters_((processors_ + 1) * sizeof(rule_counter)) {
    for (std::size_t i = 0; i < map_count_; ++i) descriptions_[i] = p.map(i);
    for (std::size_t i = 0; i + 1 < sizeof name_ && name[i] != '\0'; ++i) name_[i] = name[i];
  }

  [[nodiscard]] static result<xdp_hook, error> put(const bpf::program& p, const verdict_list& verdicts,
                                                   const char* interface_name,
                                                   const xdp_hook_options& options) noexcept {
    auto maps = bpf::program_maps::create(p);
    if (!maps) return maps.error();
    if (const std::size_t devices = p.find(bpf::map_use::devices); devices != p.map_count()) {
      for (std::uint32_t i = 0; i < max_targets; ++i) {
        if (options.targets[i] == nullptr) continue;
        auto target = network_interface::open_for("xdp", options.targets[i]);
        if (!target) return target.error();
        const auto index = static_cast<std::uint32_t>(target->index());
        if (const int number = (*maps)[devices].update(&i, &index); number != 0)
          return error("xdp", "redirect to", options.targets[i], ::strerror(number), "", number);
      }
    }
    auto loaded = bpf::loaded_program::load(p, *maps, {.name = options.name});
    if (!loaded) return loaded.error();
    auto link = bpf::xdp_link::attach(*loaded, interface_name, {.mode = options.mode, .replace = options.replace});
    if (!link) return link.error();
    return xdp_hook(p, verdicts, interface_name, static_cast<bpf::program_maps&&>(*maps),
                    static_cast<bpf::loaded_program&&>(*loaded), static_cast<bpf::xdp_link&&>(*link));
  }
  // Where /sys is not mounted, as many as there can be: the kernel writes a counter for each that the system may have,
  // and nothing behind them.
  [[nodiscard]] static std::size_t processor_count() noexcept {
    const std::size_t known = bpf::possible_processors();
    return known != 0 ? known : 8192;
  }
  [[nodiscard]] std::size_t find(bpf::map_use use) const noexcept {
    std::size_t i = 0;
    while (i < map_count_ && descriptions_[i].use != use) ++i;
    return i;
  }
  [[nodiscard]] std::size_t find(const void* set) const noexcept {
    std::size_t i = 0;
    while (i < map_count_ && (descriptions_[i].use != bpf::map_use::set || descriptions_[i].set.set != set)) ++i;
    return i;
  }

  bpf::program_maps maps_;
  bpf::loaded_program loaded_;
  bpf::xdp_link link_;
  verdict_list verdicts_;
  bpf::map_description descriptions_[bpf::program::max_maps];
  std::size_t map_count_;
  std::size_t processors_;
  detail::mapping counters_;  // room for one counter of all processors
  char name_[detail::interface_name_size] = {};
};

}  // namespace runnel::device

#endif  // defined(__linux__)

#endif
