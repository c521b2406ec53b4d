// SPDX-License-Identifier: MIT
// The kernel's route tables and policy rules of this network namespace, by rtnetlink(7): changed and asked one by one.
// Without a line of the library.
#ifndef RUNNEL_TESTS_LIVE_KERNEL_ROUTES_HPP
#define RUNNEL_TESTS_LIVE_KERNEL_ROUTES_HPP

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

namespace kernel_path {

/// An address of either family; of IPv4 the first four bytes.
struct raw_address {
  std::uint8_t bytes[16] = {};
};

class kernel_routes {
 public:
  /// Where a route leads: a gateway (none when its last byte is 0) and an interface.
  struct way {
    std::uint8_t gateway = 0;  // 10.255.0.N, fe80::N
    unsigned oif = 0;          // the kernel's number
  };
  /// What a lookup says: the type, and of unicast routes the way.
  struct answer {
    int error = 0;
    std::uint8_t type = 0;  // RTN_*
    way to{};
  };

  kernel_routes() : fd_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
    const sockaddr_nl any{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
    if (fd_ < 0 || ::bind(fd_, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) stop("rtnetlink");
  }
  kernel_routes(const kernel_routes&) = delete;
  kernel_routes& operator=(const kernel_routes&) = delete;
  ~kernel_routes() { ::close(fd_); }

  /// Adds a route, or gives the one that is there other ways. Several ways: packets are spread over them.
  void insert(bool ipv6, const raw_address& to, unsigned length, std::uint32_t table, std::uint8_t type,
              const std::vector<way>& ways) {
    begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK);
    route_header(ipv6, length, table, type);
    attribute(RTA_DST, to.bytes, ipv6 ? 16 : 4);
    if (ways.size() == 1) {
      if (ways[0].gateway != 0) {
        header<rtmsg>()->rtm_flags |= RTNH_F_ONLINK;
        attribute(RTA_GATEWAY, gateway(ipv6, ways[0].gateway).bytes, ipv6 ? 16 : 4);
      }
      number(RTA_OIF, ways[0].oif);
    } else if (ways.size() > 1) {
      const std::size_t at = nest(RTA_MULTIPATH);
      for (const way& w : ways) {
        const std::size_t hop = size_;
        rtnexthop h{};
        h.rtnh_ifindex = static_cast<int>(w.oif), h.rtnh_flags = RTNH_F_ONLINK;
        append(&h, sizeof h);
        attribute(RTA_GATEWAY, gateway(ipv6, w.gateway).bytes, ipv6 ? 16 : 4);
        reinterpret_cast<rtnexthop*>(buffer_ + hop)->rtnh_len = static_cast<std::uint16_t>(size_ - hop);
      }
      close_nest(at);
    } else if (type == RTN_LOCAL) {
      number(RTA_OIF, ::if_nametoindex("lo"));
    }
    expect(0, "a new route");
  }
  void erase(bool ipv6, const raw_address& to, unsigned length, std::uint32_t table) {
    begin(RTM_DELROUTE, NLM_F_ACK);
    route_header(ipv6, length, table, RTN_UNSPEC);
    header<rtmsg>()->rtm_scope = RT_SCOPE_NOWHERE;
    header<rtmsg>()->rtm_protocol = RTPROT_UNSPEC;
    attribute(RTA_DST, to.bytes, ipv6 ? 16 : 4);
    expect(0, "a route to delete");
  }
  /// Adds or removes a rule. `from_length`, `to_length`, `mark_mask` and `iif` are 0 where they do not matter.
  void rule(bool add, bool ipv6, std::uint32_t priority, const raw_address& from, unsigned from_length,
            const raw_address& to, unsigned to_length, std::uint32_t mark, std::uint32_t mark_mask, const char* iif,
            std::uint8_t action, std::uint32_t table) {
    begin(add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE | NLM_F_ACK : NLM_F_ACK);
    fib_rule_hdr h{};
    h.family = ipv6 ? AF_INET6 : AF_INET;
    h.src_len = static_cast<std::uint8_t>(from_length), h.dst_len = static_cast<std::uint8_t>(to_length);
    h.action = action, h.table = RT_TABLE_UNSPEC;
    append(&h, sizeof h);
    number(FRA_PRIORITY, priority);
    if (table != 0) number(FRA_TABLE, table);
    if (from_length != 0) attribute(FRA_SRC, from.bytes, ipv6 ? 16 : 4);
    if (to_length != 0) attribute(FRA_DST, to.bytes, ipv6 ? 16 : 4);
    if (mark_mask != 0) number(FRA_FWMARK, mark), number(FRA_FWMASK, mark_mask);
    if (iif != nullptr) attribute(FRA_IIFNAME, iif, std::strlen(iif) + 1);
    expect(0, add ? "a new rule" : "a rule to delete");
  }
  /// What becomes of a packet that came by `iif`.
  answer lookup(bool ipv6, const raw_address& source, const raw_address& destination, std::uint32_t mark,
                unsigned iif) {
    begin(RTM_GETROUTE, 0);
    rtmsg m{};
    m.rtm_family = ipv6 ? AF_INET6 : AF_INET;
    m.rtm_src_len = m.rtm_dst_len = ipv6 ? 128 : 32;
    append(&m, sizeof m);
    attribute(RTA_SRC, source.bytes, ipv6 ? 16 : 4);
    attribute(RTA_DST, destination.bytes, ipv6 ? 16 : 4);
    number(RTA_MARK, mark);
    number(RTA_IIF, iif);
    answer a;
    const nlmsghdr* const said = talk();
    if (said->nlmsg_type == NLMSG_ERROR) {
      a.error = -said_error();
      return a;
    }
    a.type = reinterpret_cast<const rtmsg*>(answer_ + NLMSG_HDRLEN)->rtm_type;
    for (std::size_t at = NLMSG_HDRLEN + sizeof(rtmsg); at + sizeof(rtattr) <= said->nlmsg_len;) {
      const auto* const t = reinterpret_cast<const rtattr*>(answer_ + at);
      const std::uint8_t* const value = answer_ + at + sizeof(rtattr);
      if (t->rta_type == RTA_GATEWAY) a.to.gateway = value[ipv6 ? 15 : 3];
      if (t->rta_type == RTA_OIF) std::memcpy(&a.to.oif, value, 4);
      at += RTA_ALIGN(t->rta_len);
    }
    return a;
  }

 private:
  [[noreturn]] static void stop(const char* what) {
    std::perror(what);
    std::exit(2);
  }
  int said_error() const { return reinterpret_cast<const nlmsgerr*>(answer_ + NLMSG_HDRLEN)->error; }
  static raw_address gateway(bool ipv6, std::uint8_t n) {
    raw_address a;
    if (ipv6) a.bytes[0] = 0xfe, a.bytes[1] = 0x80, a.bytes[15] = n;
    else a.bytes[0] = 10, a.bytes[1] = 255, a.bytes[3] = n;
    return a;
  }
  template <class T>
  T* header() {
    return reinterpret_cast<T*>(buffer_ + NLMSG_HDRLEN);
  }
  void begin(unsigned type, unsigned flags) {
    std::memset(buffer_, 0, sizeof buffer_);
    auto* const h = reinterpret_cast<nlmsghdr*>(buffer_);
    h->nlmsg_type = static_cast<std::uint16_t>(type);
    h->nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
    h->nlmsg_seq = ++sequence_;
    size_ = NLMSG_HDRLEN;
  }
  void route_header(bool ipv6, unsigned length, std::uint32_t table, std::uint8_t type) {
    rtmsg m{};
    m.rtm_family = ipv6 ? AF_INET6 : AF_INET;
    m.rtm_dst_len = static_cast<std::uint8_t>(length);
    m.rtm_protocol = RTPROT_STATIC, m.rtm_type = type;
    m.rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    append(&m, sizeof m);
    number(RTA_TABLE, table);
  }
  void append(const void* what, std::size_t n) {
    std::memcpy(buffer_ + size_, what, n);
    size_ += NLMSG_ALIGN(n);
  }
  void attribute(unsigned type, const void* what, std::size_t n) {
    const rtattr a{static_cast<std::uint16_t>(RTA_LENGTH(n)), static_cast<std::uint16_t>(type)};
    append(&a, sizeof a);
    append(what, n);
  }
  void number(unsigned type, std::uint32_t v) { attribute(type, &v, sizeof v); }
  std::size_t nest(unsigned type) {
    const rtattr a{0, static_cast<std::uint16_t>(type)};
    append(&a, sizeof a);
    return size_ - sizeof a;
  }
  void close_nest(std::size_t at) {
    reinterpret_cast<rtattr*>(buffer_ + at)->rta_len = static_cast<std::uint16_t>(size_ - at);
  }
  const nlmsghdr* talk() {
    reinterpret_cast<nlmsghdr*>(buffer_)->nlmsg_len = static_cast<std::uint32_t>(size_);
    if (::send(fd_, buffer_, size_, 0) != static_cast<ssize_t>(size_)) stop("send to rtnetlink");
    const auto* const h = reinterpret_cast<const nlmsghdr*>(answer_);
    do {
      if (::recv(fd_, answer_, sizeof answer_, 0) < static_cast<ssize_t>(sizeof(nlmsghdr))) stop("recv of rtnetlink");
    } while (h->nlmsg_seq != sequence_);
    return h;
  }
  void expect(int error, const char* what) {
    const nlmsghdr* const said = talk();
    if (said->nlmsg_type != NLMSG_ERROR) stop("rtnetlink says something else");
    errno = -said_error();
    if (errno != error) stop(what);
  }

  int fd_;
  std::uint32_t sequence_ = 0;
  std::size_t size_ = 0;
  alignas(nlmsghdr) std::uint8_t buffer_[1024];
  alignas(nlmsghdr) std::uint8_t answer_[16384];
};

}  // namespace kernel_path

#endif
