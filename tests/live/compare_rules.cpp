// SPDX-License-Identifier: MIT
// The same random rules in nft's words, and the same packets, through the kernel and through a rule table: which are
// dropped, what comes out byte for byte, its mark, and what each rule has counted have to be the same. What nft lists
// of the rules is loaded into another table, which has to do the same too. Start it with the script compare_rules.
//
//     compare_rules IN OUT TABLES SEED
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <optional>

#include <runnel/hook.hpp>
#include <runnel/match.hpp>
#include <runnel/wire.hpp>

#include "random_rules.hpp"

namespace {

using namespace kernel_path;
using namespace runnel;

constexpr std::uint32_t was_let_through = 1u << 31;  // what the script's own chain adds to the mark

// ---- packets

struct test_packet {
  frame_bytes bytes{};
  const char* kind = "";  // of those about which both may disagree, as compare_rules.txt names it
};

// With an IPv4 header checksum that is right, so that it can be seen that it stays so.
void correct(frame_bytes& f, const layers& found) {
  if (!found.has(protocol::ipv4)) return;
  const auto header = f.begin() + found.network;
  const std::size_t at = found.network;
  set16(f, at + 10, 0);
  set16(f, at + 10, internet_checksum(frame_bytes(header, header + (f[at] & 15) * 4)));
}
bool are_broken(tcp_options o) {
  while (o) o.next();
  return o.remaining() != 0;
}
bool has_odd_segment_size(tcp_options o) {
  while (o && !(o.kind() == tcp_option::maximum_segment_size && o.data().size() != 2)) o.next();
  return static_cast<bool>(o);
}
bool is_at_an_odd_place(tcp_options o) {
  while (o && o.kind() != tcp_option::maximum_segment_size) o.next();
  return o.remaining() % 2 != 0;
}
// Whether nft finds these options: only where all are as a host may send them, and of a router alert the value 0.
bool are_plain(ipv4_options o) {
  unsigned routes = 0, records = 0;
  for (; o; o.next()) {
    const bytes d = o.data();
    const auto at = [&d](std::size_t i) { return load_u8(d.data() + i); };
    constexpr std::uint8_t record = 7, timestamp = 68, security = 130, loose = 131, cipso = 134, stream = 136,
                           strict = 137, alert = 148;
    switch (o.kind()) {
      case loose:
      case strict:
        if (++routes > 1 || d.size() < 5 || (d.size() - 1) % 4 != 0 || at(0) != 4) return false;
        break;
      case record:
        if (++records > 1 || d.size() < 5 || at(0) < 4 || (at(0) <= d.size() + 2 && at(0) > d.size() - 1)) return false;
        break;
      case alert:
        if (d.size() < 2 || load_be16(d.data()) != 0) return false;
        break;
      case timestamp:
      case security:
      case cipso:
      case stream: return false;
      default: break;
    }
  }
  return !o.malformed();
}
const char* kind_of(const subject& s) {
  const header_map& found = s.headers;
  if (has<vlan>(s) && (ether::type != ethertype::vlan)(s)) return "tags of other types than 802.1Q";
  if (has<ip6::exthdr::number<51>>(s) || (ip6::nexthdr == 51)(s)) return "behind an authentication header";
  if (found.has<tcp>() && are_broken(tcp_options(found.get<tcp>().options()))) return "TCP options behind the last one";
  if (found.has<tcp>() && has_odd_segment_size(tcp_options(found.get<tcp>().options())))
    return "a segment size of another length than 4";
  if ((has<ipv6> && meta::l4proto == 1)(s) || (has<ipv4> && meta::l4proto == 58)(s)) return "ICMP of the other family";
  if (found.has<ipv4>() && !are_plain(ipv4_options(found.get<ipv4>().options())))
    return "IPv4 options that are not plain";
  if ((tcp::option::maxseg::size >= 0 && (tcp::flags & tcp_flags::syn) == 0)(s))
    return "a segment size behind the handshake";
  if ((tcp::option::maxseg::size >= 0)(s) && is_at_an_odd_place(tcp_options(found.get<tcp>().options())))
    return "a segment size at an odd place";
  if ((has<ipv6> && meta::l4proto == 135)(s) && !has<ip6::exthdr::mh>(s)) return "a mobility header that is cut";
  if ((ipv6_fragment::frag_off != 0 && ipv6_fragment::nexthdr.in(constant_set{0, 43, 44, 51, 59, 60}))(s))
    return "later fragments that begin with an extension header";
  if (((ip::frag_off & 0x1fff) != 0)(s) || (ipv6_fragment::frag_off != 0)(s)) return "later fragments";
  return "";
}
// Beside those that have all headers, some that statements and rarer rules are about.
std::vector<std::vector<std::byte>> kinds_of_frames() {
  auto all = runnel_test::frames_of_all_kinds();
  for (const char* const text :
       {// A maximum segment size at the end, at an odd place, behind the handshake; checksums that are right.
        "020000000002020000000001 0800 4500002c 0001 4000 40060000 0a010203 c0000201 9c400016 00000001 00000000"
        "6012ffff 36a40000 020405b4",
        "020000000002020000000001 0800 45000030 0001 4000 40060000 0a010203 c0000201 9c400016 00000001 00000000"
        "7002ffff 00000000 01020405 b4010101",
        "020000000002020000000001 0800 4500002c 0001 4000 40060000 0a010203 c0000201 9c400016 00000001 00000000"
        "6010ffff 00000000 020405b4",
        "020000000002020000000001 86dd 62e00000 0018 0640 20010db8000000000000000000000001"
        "20010db8000000000000000000000002 9c400050 00000001 00000000 6002ffff 00000000 020405a0",
        // SCTP, UDP-Lite, IGMP, an ICMP error, IPv6 behind a tag, no next header.
        "020000000002020000000001 0800 45b80020 0001 0000 40840000 0a010203 c0000201 00010050 00000000 00000000",
        "020000000002020000000001 0800 4500001c 0001 0000 40880000 0a010203 c0000201 00010035 00080000",
        "020000000002020000000001 0800 4500001c 0001 0000 01020000 0a010203 e0000001 11640000 e0000001",
        "020000000002020000000001 0800 45c00038 0001 0000 40010000 0a010203 c0000201 03030000 00000000"
        "4500001c 0001 0000 40110000 c0000201 0a010203 00350001 00080000",
        "020000000002020000000001 8100 2005 86dd 60000000 0008 1140 20010db8000000000000000000000001"
        "20010db8000000000000000000000002 00350001 00080000",
        "020000000002020000000001 88a8 0005 86dd 60000000 0008 3a40 20010db8000000000000000000000001"
        "20010db8000000000000000000000002 80000000 00010001",
        "020000000002020000000001 86dd 60000000 0000 3b40 20010db8000000000000000000000001"
        "20010db8000000000000000000000002"})
    all.push_back(runnel_test::hex(text));
  return all;
}
test_packet from_bytes(const std::vector<std::byte>& b) {
  const auto* const first = reinterpret_cast<const std::uint8_t*>(b.data());
  const layers found = dissect({b.data(), b.size()});
  test_packet p{frame_bytes(first, first + b.size()), kind_of({{b.data(), b.size()}, found})};
  correct(p.bytes, found);
  return p;
}
// Random packets that rules are about: IP, in a frame with at most one tag, in which nothing is wrong.
std::vector<test_packet> random_packets(numbers& random, std::size_t count) {
  const auto kinds = kinds_of_frames();
  std::vector<test_packet> all;
  while (all.size() < count) {
    const auto& one = kinds[random.below(kinds.size())];
    const auto* const first = reinterpret_cast<const std::uint8_t*>(one.data());
    frame_bytes f(first, first + one.size());
    for (unsigned n = random.below(5); n != 0; --n) {
      const std::uint8_t other = f[random.below(f.size())];
      f[random.below(f.size())] = random.chance(50) ? static_cast<std::uint8_t>(random.next()) : other;
    }
    const bytes b{reinterpret_cast<const std::byte*>(f.data()), f.size()};
    const layers found = dissect(b);
    const subject s{b, found};
    if (found.fault != drop_reason::none || !(has<ipv4>(s) || has<ipv6>(s))) continue;
    if (has<mpls>(s) || has<snap>(s) || match::has_header<header::cvlan>{}(s)) continue;
    const char* const kind = kind_of(s);
    correct(f, found);
    all.push_back({f, kind});
  }
  return all;
}

// What becomes of a packet.
struct outcome {
  bool dropped = true;
  std::uint32_t mark = 0;
  frame_bytes bytes{};
  bool operator==(const outcome&) const = default;
};

std::string hex_of(const frame_bytes& f) {
  std::string all;
  char two[4];
  for (const std::uint8_t b : f) std::snprintf(two, sizeof two, "%02x", b), all += two;
  return all;
}
std::string text_of(const outcome& o, const frame_bytes& sent) {
  if (o.dropped) return "dropped";
  return "mark " + std::to_string(o.mark) + (o.bytes == sent ? "" : " as " + hex_of(o.bytes));
}

// ---- both sides

using text_lines = std::vector<std::string>;
// A line that was not taken, from 0, and why.
struct refusal {
  std::size_t line;
  std::string why;
};
// What each rule has counted, chain by chain in the order of their names.
struct rule_count {
  std::string chain;
  std::uint64_t packets;
  bool operator==(const rule_count&) const = default;
};
void sort_by_chain(auto& all) {
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.chain < b.chain; });
}

std::string joined(const text_lines& lines, const std::string& family, const std::string& hook) {
  std::string all = "table " + family + " test {\n";
  for (const std::string& line : lines) {
    all += line + "\n";
    if (const std::size_t at = all.find("HOOK"); at != std::string::npos) all.replace(at, 4, hook);
  }
  return all;
}
text_lines lines_of(const std::string& text) {
  text_lines all;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = (std::min)(text.find('\n', at), text.size());
    all.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return all;
}

// nft's rules in the kernel, where packets come in: both families that have such a hook.
class kernel_side {
 public:
  kernel_side(const char* in, const char* out)
      : hook_("ingress device \"" + std::string(in) + "\""), in_(in), out_(out) {}

  void family(const char* name) { family_ = name; }
  // Nothing when it has taken all.
  std::optional<refusal> load(const text_lines& lines) {
    const char* const file = "rules.nft";
    std::ofstream(file) << "table inet test\ndelete table inet test\ntable netdev test\ndelete table netdev test\n"
                        << joined(lines, family_, hook_);
    const std::string said = output_of(std::string("nft -f ") + file + " 2>&1 || echo failed");
    if (said.empty()) return {};
    constexpr unsigned before = 6;
    unsigned line = 0;
    const bool crashed = std::sscanf(said.c_str(), "rules.nft:%u:", &line) != 1 || line < before;
    if (crashed) return refusal{lines.size(), said};
    const std::size_t at = said.find("Error");
    return refusal{line - before, said.substr(at, said.find('\n', at) - at)};
  }
  outcome ask(const frame_bytes& f) {
    in_.send(f);
    (void)in_.left(~0u);
    auto left = out_.left(was_let_through);
    if (left.empty()) return {};
    frame_bytes& out = left[0].bytes;
    const layers found = dissect({reinterpret_cast<const std::byte*>(out.data()), out.size()});
    const std::size_t checksum = found.network + std::size_t{10};
    // Of the two forms of a checksum that is 0 nft writes the one that no header sums up to.
    if (found.has(protocol::ipv4) && get16(out, checksum) == 0xffff) set16(out, checksum, 0);
    return {false, left[0].mark & ~was_let_through, out};
  }
  // The rules as nft lists them, for the hook that `load` puts in.
  text_lines listed() const {
    text_lines all = lines_of(output_of("nft list table " + family_ + " test"));
    if (!all.empty()) all.erase(all.begin());
    for (std::string& line : all)
      if (const std::size_t at = line.find(hook_); at != std::string::npos) line.replace(at, hook_.size(), "HOOK");
    return all;
  }
  std::vector<rule_count> counted() const {
    std::vector<rule_count> all;
    std::string chain;
    for (const std::string& line : listed()) {
      char name[32];
      unsigned long long packets = 0;
      if (std::sscanf(line.c_str(), " chain %31s", name) == 1) chain = name;
      const std::size_t at = line.find("counter packets ");
      if (at != std::string::npos && std::sscanf(line.c_str() + at, "counter packets %llu", &packets) == 1)
        all.push_back({chain, packets});
    }
    sort_by_chain(all);
    return all;
  }

 private:
  static std::string output_of(const std::string& command) {
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) fail(command);
    std::string all;
    char part[4096];
    while (const std::size_t n = std::fread(part, 1, sizeof part, pipe)) all.append(part, n);
    (void)::pclose(pipe);
    return all;
  }
  std::string hook_, family_ = "inet";
  tap_end in_, out_;
};

class our_side {
 public:
  std::optional<refusal> load(const text_lines& lines) {
    const auto loaded = runnel::load(*table_, joined(lines, "inet", "forward").c_str());
    if (loaded) return {};
    const std::string said = loaded.error().message();
    unsigned line = 0;
    if (std::sscanf(said.c_str(), "rules: line %u,", &line) != 1 || line < 2) fail("rule_table: " + said);
    return refusal{line - 2, said};
  }
  outcome ask(const frame_bytes& f) {
    packet p = memory_->allocate();
    std::memcpy(p.put(f.size()), f.data(), f.size());
    p.layers(dissect(p.contents(), link_type::ethernet, {.head_offset = p.headroom()}));
    context here;
    here.now = instant{} + seconds(1000);
    if ((*table_)->run(hook_point::forward, p, here).code != verdict_code::pass) return {};
    const auto* const first = reinterpret_cast<const std::uint8_t*>(p.contents().data());
    return {false, p.mark(), frame_bytes(first, first + p.contents().size())};
  }
  // The rules as we print them, as `kernel_side::listed` says those of nft.
  text_lines printed() {
    auto all = std::make_unique<text<65536>>();
    print(*all, table_->get());
    text_lines lines = lines_of(all->c_str());
    lines.erase(lines.begin());
    for (std::string& line : lines)
      if (const std::size_t at = line.find("hook forward"); at != std::string::npos) line.replace(at + 5, 7, "HOOK");
    return lines;
  }
  std::vector<rule_count> counted() {
    std::vector<rule_count> all;
    for_each_counter(table_->get(), [&](const counting_rule& r) { all.push_back({r.chain, r.hits.packets}); });
    sort_by_chain(all);
    return all;
  }

 private:
  static constexpr rule_table_config room{.rules = 512, .nodes = 8192, .words = 8192, .sets = 64, .elements = 8192};
  std::unique_ptr<static_rule_table<room>> table_ = std::make_unique<static_rule_table<room>>();
  static_pool<pool_config{.packets = 8, .bytes = 2048, .headroom = 64}> memory_{};
};

// ---- the comparison

class comparison {
 public:
  comparison(const char* in, const char* out) : kernel(in, out) {}

  kernel_side kernel;
  unsigned rules = 0, matched = 0, dropped = 0, different = 0;
  std::map<std::string, unsigned> refused{};           // by whom and why: how often
  std::map<std::string, unsigned> unread{};            // what nft lists and we refuse
  std::map<std::string, unsigned> unlike{};            // what is wrong with how we print tables
  std::map<std::string, unsigned> kinds{};             // of packets about which both disagree: how often
  std::map<std::string, std::string> first_of_kind{};  // one of them

  // Sends the packets through a table on both sides. `strict`: also those of this kind have to be the same.
  void run(text_lines lines, const std::vector<test_packet>& packets, const std::string& strict = "") {
    if (!load(lines)) return;
    const text_lines listed = kernel.listed();
    if (listed.empty()) {  // of some of its own rules it cannot say what they are
      ++refused["nft: it ends where it should list them"];
      return;
    }
    if (compared_++ % 3 == 0) {  // nft takes its time
      check_printed(listed);
      (void)kernel.load(lines);
    }
    const auto not_ours = again_.load(listed);
    const auto says = [&](const char* what) { return not_ours->why.find(what) != std::string::npos; };
    const std::string unread_line = not_ours && not_ours->line < listed.size() ? listed[not_ours->line] : "its end";
    const bool no_words = not_ours && (has_no_words(unread_line) || says("does not fit") || says("cuts off bits") ||
                                       says("above its last"));
    if (not_ours && !no_words) ++unread[not_ours->why + ": " + unread_line];
    const bool as_listed = !not_ours && std::none_of(lines.begin(), lines.end(), loses_protocol);
    std::string wrong;
    for (const test_packet& p : packets) {
      if (*p.kind != '\0' && p.kind != strict) continue;
      const std::string difference = ask_all(p.bytes, as_listed);
      if (wrong.empty()) wrong = difference;
    }
    const auto theirs = kernel.counted(), our_own = ours_.counted();
    for (const rule_count& c : theirs) matched += c.packets != 0;
    rules += static_cast<unsigned>(theirs.size());
    if (!wrong.empty() || theirs != our_own) {
      if (++different <= 10) show(lines, packets, strict, wrong, theirs, our_own);
      return;
    }
    for (const test_packet& p : packets) {
      if (*p.kind == '\0' || p.kind == strict) continue;
      const std::string difference = ask_all(p.bytes, false);
      if (!difference.empty() && kinds[p.kind]++ == 0) first_of_kind[p.kind] = difference;
    }
  }

 private:
  // nft lists bits of a field under a mask, and some other things, in a form that it does not read itself; as the last
  // value of a range, and of a mark, more bits than there are; and of `tcp sport < 9 tcp sport > 3` it makes != 9-3.
  static bool has_no_words(const std::string& line) {
    for (const char* const form :
         {"@nh,", "@ll,", "@th,", " unknown ", "icmpv6 parameter-problem", " >> ", ") | ", "-255", "-0xff"})
      if (line.find(form) != std::string::npos) return true;
    return false;
  }
  // nft lists `ip protocol 100 tcp option maxseg size 1440` without the protocol.
  static bool loses_protocol(const std::string& line) {
    const std::size_t option = line.rfind("tcp option");
    if (option == std::string::npos) return false;
    for (const char* const other : {"ip protocol ", "nexthdr ", "icmp", "udp ", "meta l4proto "})
      if (const std::size_t at = line.find(other); at < option && line.compare(at, 17, "meta l4proto tcp ") != 0)
        return true;
    return false;
  }
  // What the two, or three, say about a packet when it is not the same.
  std::string ask_all(const frame_bytes& f, bool listed) {
    const outcome theirs = kernel.ask(f), our_own = ours_.ask(f), again = listed ? again_.ask(f) : our_own;
    dropped += theirs.dropped;
    if (theirs == our_own && our_own == again) return "";
    return "    " + hex_of(f) + "\n      kernel: " + text_of(theirs, f) + "\n      ours:   " + text_of(our_own, f) +
           "\n" + (our_own == again ? "" : "      ours, from what nft lists: " + text_of(again, f) + "\n");
  }
  // Loads what both sides take; what one does not is left out. False where nft crashes.
  bool load(text_lines& lines) {
    for (;;) {
      const auto by_nft = kernel.load(lines);
      const auto by_us = by_nft ? by_nft : ours_.load(lines);
      if (!by_us) return true;
      if (by_us->line >= lines.size()) return ++refused[(by_nft ? "nft: " : "us: ") + by_us->why], false;
      ++refused[by_nft ? "nft: " + by_us->why : "us: " + lines[by_us->line] + "  (" + by_us->why + ")"];
      lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(by_us->line));
    }
  }
  // Chains are printed in the order in which they are mentioned. `!= { 1-2, 5 }` is printed as two conditions, and nft
  // lists sets of flags in any order: what is compared with that goes without them.
  static text_lines in_any_order(text_lines lines) {
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  static text_lines in_nft_words(text_lines lines) {
    const auto has = [](const std::string& line, const char* part) { return line.find(part) != std::string::npos; };
    std::erase_if(lines, [&](const std::string& l) { return has(l, " != ") || (has(l, "{ ") && has(l, " | ")); });
    return in_any_order(lines);
  }
  // What we print of the rules is for nft the same as what they were read from, and for us as well.
  void check_printed(const text_lines& listed) {
    const text_lines printed = ours_.printed();
    std::string wrong;
    if (const auto by_us = again_.load(printed)) {
      wrong = "we refuse what we print: " + by_us->why;
    } else if (in_any_order(again_.printed()) != in_any_order(printed)) {
      wrong = "read again it is printed in another way";
    } else if (const auto by_nft = kernel.load(printed)) {
      wrong = "nft refuses what we print: " + by_nft->why;
      if (by_nft->line < printed.size()) wrong += ": " + printed[by_nft->line];
    } else {
      const text_lines said = in_nft_words(kernel.listed()), wanted = in_nft_words(listed);
      for (std::size_t i = 0; i < (std::max)(said.size(), wanted.size()) && wrong.empty(); ++i)
        if (i >= said.size() || i >= wanted.size() || said[i] != wanted[i])
          wrong = "printed, it says " + (i < said.size() ? said[i] : "less") + "\n    instead of " +
                  (i < wanted.size() ? wanted[i] : "nothing");
    }
    if (!wrong.empty()) ++unlike[wrong];
  }
  struct said_rule {
    std::string chain, text;
  };
  static std::vector<said_rule> rules_of(const text_lines& lines) {
    std::vector<said_rule> all;
    std::string chain;
    for (const std::string& line : lines) {
      char name[32];
      if (std::sscanf(line.c_str(), " chain %31s", name) == 1) chain = name;
      else if (line.find(" counter") != std::string::npos) all.push_back({chain, line});
    }
    sort_by_chain(all);
    return all;
  }
  // A table that is not the same, and each rule that has counted otherwise by itself.
  void show(const text_lines& lines, const std::vector<test_packet>& packets, const std::string& strict,
            const std::string& wrong, const std::vector<rule_count>& theirs, const std::vector<rule_count>& our_own) {
    std::printf("difference in\n%s%s", joined(lines, "inet", "forward").c_str(), wrong.c_str());
    const auto said = rules_of(lines);
    if (said.size() != theirs.size() || said.size() != our_own.size()) std::printf("    a counter is missing\n");
    for (std::size_t i = 0, shown = 0; i < (std::min)({said.size(), theirs.size(), our_own.size()}); ++i) {
      if (theirs[i] == our_own[i] || ++shown > 3) continue;
      std::printf("  kernel %llu times, ours %llu:%s\n", static_cast<unsigned long long>(theirs[i].packets),
                  static_cast<unsigned long long>(our_own[i].packets), said[i].text.c_str());
      text_lines alone;
      for (std::size_t k = 0; k < lines.size() && lines[k].find("chain") == std::string::npos; ++k)
        alone.push_back(lines[k]);
      for (const std::string& line :
           {std::string(" chain base {"), std::string("  type filter hook HOOK priority 0; policy accept;"),
            said[i].text.substr(0, said[i].text.find("counter")) + "counter meta mark set 77", std::string(" }"),
            std::string("}")})
        alone.push_back(line);
      if (!load(alone)) continue;
      std::string first;
      for (const test_packet& p : packets)
        if (first.empty() && (*p.kind == '\0' || p.kind == strict)) first = ask_all(p.bytes, false);
      std::printf("%s", first.c_str());
    }
  }

  our_side ours_{}, again_{};
  unsigned compared_ = 0;
};

// One packet of each kind, and a rule about which both disagree.
constexpr struct {
  const char *rule, *packet;
} meant[] = {
    {"udp dport 53", "020000000002020000000001 0800 4500001c 0001 0010 40110000 0a010203 c0000201 0001003500080000"},
    {"ip6 saddr ::/0",
     "020000000002020000000001 86dd 60000000 0010 2c40 20010db8000000000000000000000001 "
     "20010db8000000000000000000000002"
     "0000 0059 00000007 0001000200080000"},
    {"tcp dport 23",
     "020000000002020000000001 86dd 60000000 0024 3340 20010db8000000000000000000000001 "
     "20010db8000000000000000000000002"
     "0602 0000 00000001 00000002 00000000 00160017 00000001 00000001 5002ffff 00000000"},
    {"tcp option maxseg size 1460",
     "020000000002020000000001 0800 450000300001000040060000 0a010203 c0000201 9c400016 00000001 00000000 7002ffff"
     "00000000 00000000 020405b4"},
    {"ip option ra value 5",
     "020000000002020000000001 0800 4600002000010000 40110000 0a010203 c0000201 94040005 00010035 00080000"},
    {"vlan id 5",
     "020000000002020000000001 88a8 0005 0800 4500001c 0001 0000 40110000 0a010203 c0000201 0001003500080000"},
    {"tcp option maxseg size set 1000",
     "020000000002020000000001 0800 450000300001000040060000 0a010203 c0000201 9c400016 00000001 00000000 7002ffff"
     "00000000 01020405 b4010101"},
    {"tcp option maxseg size set 1000",
     "020000000002020000000001 0800 4500002c 0001 4000 40060000 0a010203 c0000201 9c400016 00000001 00000000 6010ffff"
     "00000000 020405b4"},
    {"tcp option maxseg size set 1000",
     "020000000002020000000001 0800 4500002c 0001 4000 40060000 0a010203 c0000201 9c400016 00000001 00000000 6002ffff"
     "00000000 0202 0101"},
    {"ip6 version 6 icmp type 8",
     "020000000002020000000001 86dd 60000000 0008 0140 20010db8000000000000000000000001 "
     "20010db8000000000000000000000002"
     "0800 0000 00070001"},
    {"mh type 5",
     "020000000002020000000001 86dd 60000000 0010 8740 20010db8000000000000000000000001 "
     "20010db8000000000000000000000002"
     "3b15 0500 abcd 0000 0000000000000000"},
};

// A field that nft does not know, or knows by another name, cannot be compared. These are other things there: the
// length of a packet without its link header, and interfaces by the kernel's numbers.
bool can_be_compared(const random_rules::known_field& f, kernel_side& kernel, numbers& random) {
  if (f.name == "meta length" || f.name == "meta iif" || f.name == "meta oif") return false;
  random_rules::writer w{random, {}};
  return !kernel.load({" chain base {", "  type filter hook HOOK priority 0; policy accept;",
                       "  " + f.name + " " + w.text(f, {}) + " counter", " }", "}"});
}
// Whether later fragments have the field as well.
bool is_below_transport(const random_rules::known_field& f) {
  return f.what.is_meta || f.name.starts_with("ether") || f.name.starts_with("vlan") || f.name.starts_with("ip");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "compare_rules IN OUT TABLES SEED\n"), 2;
  comparison both(argv[1], argv[2]);
  const auto tables = static_cast<unsigned>(std::atoi(argv[3]));
  numbers random(static_cast<std::uint64_t>(std::atoll(argv[4])));

  std::vector<random_rules::known_field> fields, below;
  const std::vector<test_packet> some = random_packets(random, 1000);
  std::string unknown;
  for (random_rules::known_field& f : random_rules::all_fields()) {
    if (!can_be_compared(f, both.kernel, random)) {
      unknown += (unknown.empty() ? "" : ", ") + f.name;
      continue;
    }
    for (const test_packet& p : some) {
      const bytes b{reinterpret_cast<const std::byte*>(p.bytes.data()), p.bytes.size()};
      random_rules::learn(f, {b, dissect(b)});
    }
    fields.push_back(f);
    if (is_below_transport(f)) below.push_back(f);
  }
  random_rules::writer about_all{random, fields}, about_fragments{random, below};
  for (unsigned n = 0; n < tables; ++n) {
    const bool fragments = n % 5 == 4;
    const text_lines lines = (fragments ? about_fragments : about_all).table();
    const auto asks_family = [](const std::string& line) { return line.find("meta nfproto") != std::string::npos; };
    const bool inet = random.chance(50) || std::any_of(lines.begin(), lines.end(), asks_family);
    both.kernel.family(inet ? "inet" : "netdev");
    both.run(lines, random_packets(random, 250), fragments ? "later fragments" : "");
  }
  both.kernel.family("inet");
  for (const auto& m : meant)
    both.run({" chain base {", "  type filter hook HOOK priority 0; policy drop;",
              std::string("  ") + m.rule + " counter accept", " }", "}"},
             {from_bytes(runnel_test::hex(m.packet))});
  std::printf("%u rules about %zu fields, %u of which matched; %u packets dropped\n", both.rules, fields.size(),
              both.matched, both.dropped);
  std::printf("not compared: %s\n", unknown.c_str());
  for (const auto& [why, times] : both.refused) std::printf("refused %u times by %s\n", times, why.c_str());
  for (const auto& [kind, times] : both.kinds)
    std::printf("difference %s: %u times\n%s", kind.c_str(), times, both.first_of_kind[kind].c_str());
  for (const auto& [why, times] : both.unread)
    std::printf("nft lists %u times what is refused: %s\n", times, why.c_str());
  for (const auto& [why, times] : both.unlike) std::printf("printed: %u times %s\n", times, why.c_str());
  return both.different == 0 && both.unlike.empty() && both.unread.empty() ? 0 : 1;
}
