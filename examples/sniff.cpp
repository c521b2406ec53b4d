// SPDX-License-Identifier: MIT
// A small tcpdump: shows or writes the packets of a device that a condition holds for.
//
//     device -> filter -> print, or write -> discard            no packet is made: all of it looks at frames
//
//     sniff -i DEVICE [-w out.pcapng] [-c count] [condition]
//
//     sniff -i af_packet:eth0 tcp dport 22 and ip saddr != 10.0.0.0/8      a condition as rules have them
//     sniff -i af_packet:eth0?promiscuous -w - udp and not host 10.0.0.1 | tshark -r -       or tcpdump's words
//     sniff -i pcap:examples/capture.pcap -c 10 icmp6
//
// Ctrl-C ends it, and so does kill. It keeps up with the wire, whoever reads its lines: when the terminal is too slow,
// lines are left out, and it says how many. On a terminal, counters are shown while it writes a capture. It says when
// the interface is down, and waits until it is up. AF_PACKET sees what comes in, as the kernel does, and not what this
// machine sends; AF_XDP takes packets away from the kernel, so that it is not for looking on.
#include <runnel/runnel.hpp>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <poll.h>    // poll
#include <unistd.h>  // isatty, write

using namespace runnel;

namespace {

// ---- lines for standard output, which never make the wire wait

class screen {
 public:
  // A patient one waits for the reader: of a file no line should be lost.
  explicit screen(bool patient) : patient_(patient) {}

  void add(const char* line, std::size_t n) {
    if (end_ + n > sizeof buffer_) show_some();
    if (end_ + n > sizeof buffer_) {
      ++left_out_;
      return;
    }
    std::memcpy(buffer_ + end_, line, n);
    end_ += n;
  }
  // As much as goes out without waiting.
  void show_some() {
    ::pollfd out{1, POLLOUT, 0};
    while (begin_ != end_ && (patient_ || ::poll(&out, 1, 0) == 1)) show_part();
    std::memmove(buffer_, buffer_ + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  void show_all() {
    patient_ = true;
    show_some();
  }
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::uint64_t left_out() const { return left_out_; }
  // Why nobody takes them any more, an errno: EPIPE when the reader has gone away. 0 while all is well.
  [[nodiscard]] int broken() const { return broken_; }

 private:
  // A pipe or terminal that has any room takes this much at once.
  static constexpr std::size_t part = 512;

  void show_part() {
    const ::ssize_t n = ::write(1, buffer_ + begin_, end_ - begin_ < part ? end_ - begin_ : part);
    if (n < 0 && errno != EINTR && errno != EAGAIN) broken_ = errno, begin_ = end_;
    if (n > 0) begin_ += static_cast<std::size_t>(n);
  }

  char buffer_[1 << 20];
  std::size_t begin_ = 0, end_ = 0;
  std::uint64_t left_out_ = 0;
  bool patient_;
  int broken_ = 0;
};

// "12:34:56.789012 ". The system is asked for the time of day once a second.
class time_of_day {
 public:
  void print(text_writer& out, instant t) {
    const std::int64_t second = t.ns / 1'000'000'000;
    if (second != second_) {
      second_ = second;
      const std::time_t now = second;
      std::tm parts{};
      ::localtime_r(&now, &parts);
      std::strftime(text_, sizeof text_, "%H:%M:%S.", &parts);
    }
    (out << text_).number(static_cast<std::uint64_t>(t.ns % 1'000'000'000) / 1000, 10, 6) << ' ';
  }

 private:
  std::int64_t second_ = -1;
  char text_[16] = {};
};

// ---- what becomes of a packet

class sniffer {
 public:
  sniffer(device::any_device& nic, std::optional<device::network_interface> its, std::optional<pcap_writer> out,
          std::uint64_t count, bool patient)
      : nic_(nic), interface_(std::move(its)), out_(std::move(out)), left_(count), lines_(patient) {}

  // Counts a packet, and shows or writes it when it matches. False when it is to be the last one.
  bool see(const frame& f, const subject& s, bool matches) {
    ++received_;
    if (!matches || left_ == 0) return true;
    ++matched_;
    if (out_) out_->write(f);
    else show(f, s);
    return --left_ != 0 && !nobody_takes_it();
  }
  void show_some() { lines_.show_some(); }
  // What is not in the file yet, and how it goes.
  void look_after() {
    if (interface_) look_at(*interface_);
    if (out_) out_->flush();
    if (out_ && terminal_) report("\r", "");
  }
  // Null when all is written.
  const error* finish() {
    lines_.show_all();
    report(out_ && terminal_ ? "\r" : "", "\n");
    if (lines_.broken() != 0 && lines_.broken() != EPIPE)
      unshown_.emplace("lines", "write", "standard output", std::strerror(lines_.broken()));
    return out_ ? out_->close() : unshown_ ? &*unshown_ : nullptr;
  }

 private:
  // The disk is full, or whoever read the lines has gone away.
  [[nodiscard]] bool nobody_takes_it() const { return out_ ? out_->failure() != nullptr : lines_.broken() != 0; }
  // Nobody should wait without knowing that nothing can come.
  void look_at(const device::network_interface& its) {
    const auto status = its.status();
    if (!status || status->up == up_) return;
    up_ = status->up;
    const char* const name = its.name();
    if (up_) std::fprintf(stderr, "%s is up\n", name);
    else std::fprintf(stderr, "%s is down, and nothing comes before it is up: ip link set %s up\n", name, name);
  }
  void show(const frame& f, const subject& s) {
    text<1024> line;
    time_.print(line, f.timestamp);
    print_packet(line, s.headers);
    line << '\n';
    lines_.add(line.c_str(), line.size());
  }
  void report(const char* before, const char* behind) const {
    text<256> line;
    line.grouped(received_) << " received, ";
    line.grouped(matched_) << " matched, ";
    line.grouped(nic_.statistics().dropped) << " dropped by the kernel";
    if (lines_.left_out() != 0) (line << ", ").grouped(lines_.left_out()) << " lines left out";
    std::fprintf(stderr, "%s%s%s", before, line.c_str(), behind);
  }

  device::any_device& nic_;
  std::optional<device::network_interface> interface_;  // that of the device, if it has one
  bool up_ = true;
  std::optional<pcap_writer> out_;
  std::uint64_t left_, received_ = 0, matched_ = 0;
  screen lines_;
  std::optional<error> unshown_;
  time_of_day time_;
  const bool terminal_ = ::isatty(2) == 1;
};

// ---- what a person asks for

struct arguments {
  const char* device = nullptr;
  const char* to = nullptr;
  std::uint64_t count = UINT64_MAX;
  std::string condition;

  bool read(int argc, char** argv) {
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i += 2) {
      if (i + 1 == argc) return false;
      if (same_text(argv[i], "-i")) device = argv[i + 1];
      else if (same_text(argv[i], "-w")) to = argv[i + 1];
      else if (!same_text(argv[i], "-c") || !read_count(argv[i + 1])) return false;
    }
    for (; i < argc; ++i) (condition += condition.empty() ? "" : " ") += argv[i];
    return device != nullptr;
  }
  [[nodiscard]] bool reads_capture() const { return std::strncmp(device, "pcap:", 5) == 0; }
  // The kinds of devices that are an interface of this namespace with the name of the device.
  [[nodiscard]] bool is_interface() const {
    const std::string kind(device, std::strcspn(device, ":"));
    return kind == "af_packet" || kind == "af_xdp" ||
           ((kind == "tap" || kind == "tun") && std::strstr(device, "netns=") == nullptr);
  }
  // Whether what is written would destroy what is read.
  [[nodiscard]] bool writes_what_it_reads() const {
    std::error_code none_there;
    const std::string from = reads_capture() ? std::string(device + 5, std::strcspn(device + 5, "?")) : "";
    return to != nullptr && std::filesystem::equivalent(from, to, none_there);
  }

 private:
  bool read_count(const char* text) {
    const char* const end = text + std::strlen(text);
    const auto [stop, wrong] = std::from_chars(text, end, count);
    return wrong == std::errc{} && stop == end && count != 0;
  }
};

int fail(const error& e) { return std::fprintf(stderr, "sniff: %s\n", e.message()), 2; }
int usage() { return std::fprintf(stderr, "sniff -i device [-w out.pcapng] [-c count] [condition]\n"), 2; }
stoppable* running = nullptr;

}  // namespace

int main(int argc, char** argv) {
  arguments asked;
  if (!asked.read(argc, argv)) return usage();
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away ends its lines, and then us

  condition wanted;
  if (!asked.condition.empty()) {
    auto parsed = parse_condition(asked.condition.c_str());
    if (!parsed) return fail(parsed.error());
    wanted = *parsed;
  }
  auto nic = device::open(asked.device);
  if (!nic) return fail(nic.error());
  if (asked.writes_what_it_reads())
    return fail({"pcap", "create", asked.to, "it is the capture that is read", "give another file"});
  std::optional<pcap_writer> out;
  if (asked.to != nullptr) {
    auto opened = pcap_writer::open(asked.to);
    if (!opened) return fail(opened.error());
    out.emplace(std::move(*opened));
    if (const interface_descriptions* known = nic->descriptions()) out->describe_as(*known);
    else out->describe(0, nic->name());
  }

  real_clock time;
  std::optional<device::network_interface> its;
  if (asked.is_interface())
    if (auto found = device::network_interface::open(nic->name())) its.emplace(std::move(*found));
  static sniffer sniff(*nic, std::move(its), std::move(out), asked.count, asked.reads_capture());
  auto path = xdp([&](frame& f, const subject& s) {
                if (!sniff.see(f, s, wanted(s))) running->stop();
              }) |
              discard;
  loop work{time, attach(*nic, path), every(milliseconds(50), [] { sniff.show_some(); }),
            every(seconds(1), [] { sniff.look_after(); })};
  running = &work;
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, [](int) { running->stop(); });
  std::fprintf(stderr, "sniffing at %s; Ctrl-C ends it\n", asked.device);
  sniff.look_after();
  work.run();
  for (const int s : {SIGINT, SIGTERM}) std::signal(s, SIG_DFL);  // no loop is left to stop: the next one ends us

  // What matched is written whatever happened, but for a second Ctrl-C; a capture that was cut off, or an interface
  // that is gone, is a failure.
  const error* unwritten = sniff.finish();
  if (nic->failure() != nullptr) return fail(*nic->failure());
  return unwritten != nullptr ? fail(*unwritten) : 0;
}
