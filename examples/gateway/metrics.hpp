// SPDX-License-Identifier: MIT
// Counters for Prometheus: answers HTTP on a local port, from the loop that forwards packets, and never waits.
//
// One attachment of the loop, whose only handle is an epoll descriptor over the listening socket and its connections. A
// scrape is a short request and one answer: at most `most` at once, and each has to be over in some seconds.
#ifndef GATEWAY_METRICS_HPP
#define GATEWAY_METRICS_HPP

#include <runnel/runnel.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "router.hpp"

namespace gateway {

// A text as the value of a label. What is no ASCII may be no UTF-8 either, which a scrape would fail by.
inline std::string label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c >= ' ' && c <= '~' ? c : '?';
  }
  return out;
}

// What the rules with a counter are called, by where they stand and what they say: to print them anew for each scrape,
// for some thousands of them, would keep packets waiting for milliseconds. To be called once, before they are in force.
inline void name_counters(rule_set& rules) {
  for_each_counter(rules.table(), [&](const runnel::counting_rule& r) {
    runnel::text<256> said;  // a set in braces can be long; the rule's number tells it from others all the same
    print(said, r);
    rules.counters.push_back(std::string("{family=\"") + name(r.family) + "\",table=\"" + r.table + "\",chain=\"" +
                             r.chain + "\",number=\"" + std::to_string(r.number) + "\",rule=\"" + label(said.c_str()) +
                             "\"} ");
  });
}

// The counters of rules. A reload begins them anew.
inline void add_rule_counters(std::string& out, rule_set& rules) {
  const auto family = [&](const char* name, const char* help, auto value) {
    out += std::string("# HELP ") + name + ' ' + help + "\n# TYPE " + name + " counter\n";
    std::size_t n = 0;
    for_each_counter(rules.table(), [&](const runnel::counting_rule& r) {
      if (n < rules.counters.size()) (out += name).append(rules.counters[n++]) += std::to_string(value(r.hits)) + '\n';
    });
  };
  family("gateway_rule_packets_total", "Packets that came to the counter of a rule.",
         [](const runnel::rule_counter& hits) { return hits.packets; });
  family("gateway_rule_bytes_total", "Bytes that came to the counter of a rule.",
         [](const runnel::rule_counter& hits) { return hits.bytes; });
}

// The exposition format of Prometheus, version 0.0.4.
inline std::string exposition(router& r, std::vector<port>& ports, const runnel::stage_counters& sum) {
  std::string out;
  out.reserve(16'384 + 512 * r.rules_now->counters.size());  // most of it
  const auto family = [&](const char* name, const char* kind, const char* help) {
    out += std::string("# HELP ") + name + ' ' + help + "\n# TYPE " + name + ' ' + kind + '\n';
  };
  const auto sample = [&](const char* name, const std::string& labels, std::uint64_t value) {
    out += name + (labels.empty() ? "" : '{' + labels + '}') + ' ' + std::to_string(value) + '\n';
  };
  const auto of_interface = [](const port& p, const char* way) {
    return "interface=\"" + p.name + "\",direction=\"" + way + '"';
  };
  family("gateway_packets_total", "counter", "Packets received from and sent to an interface.");
  for (const port& p : ports) {
    sample("gateway_packets_total", of_interface(p, "received"), p.received.packets);
    sample("gateway_packets_total", of_interface(p, "sent"), p.sent.packets);
  }
  family("gateway_bytes_total", "counter", "Bytes received from and sent to an interface, link headers included.");
  for (const port& p : ports) {
    sample("gateway_bytes_total", of_interface(p, "received"), p.received.bytes);
    sample("gateway_bytes_total", of_interface(p, "sent"), p.sent.bytes);
  }
  // A VLAN's are those of the interface that it is on.
  family("gateway_overrun_packets_total", "counter", "Packets that came faster than they were taken, and were lost.");
  for (std::size_t i = 0; i < ports.size(); ++i)
    if (r.config.interfaces[i].vlan == 0)
      sample("gateway_overrun_packets_total", "interface=\"" + ports[i].name + '"',
             ports[i].device.statistics().dropped);
  family("gateway_interface_up", "gauge", "Whether an interface is there and up, with a carrier.");
  for (const port& p : ports) sample("gateway_interface_up", "interface=\"" + p.name + '"', p.trouble.empty() ? 1 : 0);
  family("gateway_neighbours", "gauge", "Neighbours that are known or asked for.");
  for (const port& p : ports) sample("gateway_neighbours", "interface=\"" + p.name + '"', p.neighbours->size());
  family("gateway_dropped_packets_total", "counter", "Packets dropped, by reason.");
  for (std::size_t i = 1; i < runnel::drop_reason_count; ++i) {
    const auto why = static_cast<runnel::drop_reason>(i);
    sample("gateway_dropped_packets_total", std::string("reason=\"") + name(why) + '"', sum.dropped(why));
  }
  const runnel::connection_statistics& s = r.connections.statistics();
  family("gateway_connections", "gauge", "Connections that are tracked.");
  sample("gateway_connections", "", r.connections.size());
  family("gateway_connections_limit", "gauge", "Connections that there is room for.");
  sample("gateway_connections_limit", "", r.connections.capacity());
  family("gateway_connections_total", "counter", "Connections by what became of them, in the words of conntrack -S.");
  sample("gateway_connections_total", "event=\"insert\"", s.insert);
  sample("gateway_connections_total", "event=\"insert_failed\"", s.insert_failed);
  sample("gateway_connections_total", "event=\"drop\"", s.drop);
  sample("gateway_connections_total", "event=\"early_drop\"", s.early_drop);
  sample("gateway_connections_total", "event=\"expired\"", s.expired);
  if (r.has_fast_path()) {
    const runnel::flowtable_statistics& f = r.flows.statistics();
    family("gateway_fast_path_packets_total", "counter", "Packets that went the fast way (hit), or why they did not.");
    sample("gateway_fast_path_packets_total", "result=\"hit\"", f.hits);
    sample("gateway_fast_path_packets_total", "result=\"other\"", f.other);
    sample("gateway_fast_path_packets_total", "result=\"miss\"", f.misses);
    sample("gateway_fast_path_packets_total", "result=\"stale\"", f.stale);
    sample("gateway_fast_path_packets_total", "result=\"exception\"", f.exceptions);
    family("gateway_fast_path_flows_total", "counter", "Flows that were added or renewed, or found no room (full).");
    sample("gateway_fast_path_flows_total", "event=\"added\"", f.added);
    sample("gateway_fast_path_flows_total", "event=\"renewed\"", f.renewed);
    sample("gateway_fast_path_flows_total", "event=\"full\"", f.full);
  }
  add_rule_counters(out, *r.rules_now);
  return out;
}

class metrics_server {
 public:
  // `text` makes the answer. Listens at an IPv4 address.
  static runnel::result<metrics_server, runnel::error> open(const std::string& address, std::uint16_t number,
                                                            std::function<std::string()> text) {
    metrics_server made(std::move(text));
    made.visitors_.reserve(most);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(number);
    const int yes = 1;
    made.listener_ = {::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    made.epoll_ = {::epoll_create1(EPOLL_CLOEXEC)};
    if (address.empty()) return made;  // nobody asked for it
    const std::string on = address + ':' + std::to_string(number);
    if (::inet_pton(AF_INET, address.c_str(), &at.sin_addr) != 1 || made.listener_.get() < 0 || made.epoll_.get() < 0 ||
        ::setsockopt(made.listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        ::bind(made.listener_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
        ::listen(made.listener_.get(), most) != 0)
      return runnel::error("metrics", "listen", on.c_str(), std::strerror(errno),
                           "give another port: metrics ADDRESS:PORT", errno);
    made.watch(made.listener_.get(), EPOLLIN);
    return made;
  }

  // What the loop asks of an attachment. @{
  template <class Clock>
  std::size_t poll(Clock& clock) {
    const runnel::instant now = clock.now();
    epoll_event ready[most + 1];
    if (now < look_again_) return 0;
    look_again_ = now + runnel::milliseconds(1);  // under load, not a system call in every round
    if (now >= listen_again_) watch(listener_.get(), EPOLLIN), listen_again_ = runnel::never;
    const int n = ::epoll_wait(epoll_.get(), ready, most + 1, 0);
    for (int i = 0; i < n; ++i) {
      if (ready[i].data.fd == listener_.get()) take(now);
      else serve(ready[i].data.fd);
    }
    std::erase_if(visitors_, [&](const visitor& v) { return v.over || now >= v.until; });
    return 0;
  }
  [[nodiscard]] bool done() const { return true; }
  template <class Clock>
  void prepare_to_wait(runnel::wait_list& waits, Clock&, const runnel::sleeper*) {
    waits.add({epoll_.get(), false});
    waits.until(listen_again_);
    for (const visitor& v : visitors_) waits.until(v.until);
  }
  void wait_by_itself() const {}
  // @}

 private:
  static constexpr int most = 16;
  class handle {
   public:
    handle(int fd = -1) : fd_(fd) {}
    handle(handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    handle& operator=(handle&& other) noexcept { return std::swap(fd_, other.fd_), *this; }
    ~handle() {
      if (fd_ >= 0) ::close(fd_);
    }
    [[nodiscard]] int get() const { return fd_; }

   private:
    int fd_;
  };
  struct visitor {
    handle socket;
    runnel::instant until;
    std::string asked, answer{};
    std::size_t sent = 0;
    bool over = false;
  };

  explicit metrics_server(std::function<std::string()> text) : text_(std::move(text)) {}
  void watch(int fd, std::uint32_t what) {
    epoll_event e{};
    e.events = what;
    e.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e);
  }
  void take(runnel::instant now) {
    for (;;) {
      handle fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
      if (fd.get() < 0) {
        // Without a descriptor for him he stays at the door, where the loop would see him in every round.
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
          watch(listener_.get(), 0), listen_again_ = now + runnel::seconds(1);
        return;
      }
      // Who has been here longest goes: a scrape is over at once, and who only stays must not keep others out.
      if (visitors_.size() >= most) visitors_.erase(visitors_.begin());
      watch(fd.get(), EPOLLIN);
      visitors_.push_back({std::move(fd), now + runnel::seconds(5), ""});
    }
  }
  void serve(int fd) {
    for (visitor& v : visitors_) {
      if (v.socket.get() != fd || v.over) continue;
      try {
        if (v.answer.empty()) hear(v);
      } catch (const std::bad_alloc&) { v.over = true; }  // he asks again; packets go on
      if (!v.over && !v.answer.empty()) say(v);
    }
  }
  // To the empty line behind the request. What it asks for is always the same.
  void hear(visitor& v) {
    char some[1024];
    const ssize_t n = ::recv(v.socket.get(), some, sizeof some, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) v.asked.append(some, static_cast<std::size_t>(n));
    v.over = n <= 0 || v.asked.size() > 8192;
    if (v.over || v.asked.find("\r\n\r\n") == std::string::npos) return;
    const std::string_view line(v.asked.data(), v.asked.find("\r\n"));
    const std::string_view path = line.substr(0, line.find_first_of("? ", 4));  // whatever it asks for more exactly
    const bool known = path == "GET /metrics" || path == "GET /";
    const std::string text = known ? text_() : "see /metrics\n";
    std::string answer = std::string("HTTP/1.1 ") + (known ? "200 OK" : "404 Not Found") +
                         "\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: " +
                         std::to_string(text.size()) + "\r\n\r\n";
    v.answer = std::move(answer += text);
    watch(v.socket.get(), EPOLLOUT);
  }
  static void say(visitor& v) {
    const ssize_t n = ::send(v.socket.get(), v.answer.data() + v.sent, v.answer.size() - v.sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    v.sent += n > 0 ? static_cast<std::size_t>(n) : 0;
    v.over = n <= 0 || v.sent == v.answer.size();
  }

  std::function<std::string()> text_;
  handle listener_, epoll_;
  std::vector<visitor> visitors_;
  runnel::instant look_again_{}, listen_again_ = runnel::never;
};

}  // namespace gateway

#endif
