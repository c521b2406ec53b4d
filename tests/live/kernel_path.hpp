// SPDX-License-Identifier: MIT
// The way of frames through the kernel, for tests that compare with it: written to one TAP interface of this network
// namespace, forwarded, and seen where they leave through another, with the mark that nft has set. The kernel does all
// of that within the write: when it returns, the answer is there. Without a line of the library.
#ifndef RUNNEL_TESTS_LIVE_KERNEL_PATH_HPP
#define RUNNEL_TESTS_LIVE_KERNEL_PATH_HPP

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace kernel_path {

using frame_bytes = std::vector<std::uint8_t>;

[[noreturn]] inline void fail(const std::string& what) {
  std::perror(what.c_str());
  std::exit(2);
}

/// A frame that the kernel forwarded.
struct seen_frame {
  frame_bytes bytes;
  std::uint32_t mark = 0;
};

/// One end: an existing TAP interface, which is up.
class tap_end {
 public:
  explicit tap_end(const char* name) : tap_(::open("/dev/net/tun", O_RDWR | O_NONBLOCK)) {
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (tap_ < 0 || ::ioctl(tap_, TUNSETIFF, &request) != 0) fail(name);
    watch_ = ::socket(AF_PACKET, SOCK_RAW, 0);
    if (watch_ < 0) fail("socket");
    constexpr int receive_mark = 75;  // SO_RCVMARK, Linux 5.19
    const int on = 1, room = 1 << 24;
    if (::setsockopt(watch_, SOL_SOCKET, receive_mark, &on, sizeof on) != 0) fail("SO_RCVMARK");
    (void)::setsockopt(watch_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (::setsockopt(watch_, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) != 0) fail("PACKET_AUXDATA");
    sockaddr_ll here{};
    here.sll_family = AF_PACKET;
    here.sll_protocol = __builtin_bswap16(ETH_P_ALL);
    here.sll_ifindex = static_cast<int>(::if_nametoindex(name));
    if (::bind(watch_, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0) fail("bind");
    ifreq address{};
    std::strncpy(address.ifr_name, name, IFNAMSIZ - 1);
    if (::ioctl(watch_, SIOCGIFHWADDR, &address) != 0) fail("SIOCGIFHWADDR");
    std::memcpy(mac_, address.ifr_hwaddr.sa_data, sizeof mac_);
  }
  tap_end(const tap_end&) = delete;
  tap_end& operator=(const tap_end&) = delete;
  ~tap_end() {
    ::close(tap_);
    ::close(watch_);
  }

  /// The address that frames have to go to.
  const std::uint8_t* mac() const { return mac_; }
  /// A frame comes in here.
  void send(const frame_bytes& f) {
    if (::write(tap_, f.data(), f.size()) != static_cast<ssize_t>(f.size())) fail("write to a TAP interface");
  }
  /// What has left here, since it was asked last, with one of the bits in `wanted` in its mark.
  std::vector<seen_frame> left(std::uint32_t wanted) {
    std::vector<seen_frame> all;
    std::uint8_t room[1 << 16];
    for (;;) {
      iovec part{room, sizeof room};
      alignas(cmsghdr) char control[256];
      sockaddr_ll from{};
      msghdr m{};
      m.msg_name = &from, m.msg_namelen = sizeof from;
      m.msg_iov = &part, m.msg_iovlen = 1;
      m.msg_control = control, m.msg_controllen = sizeof control;
      const ssize_t n = ::recvmsg(watch_, &m, MSG_DONTWAIT);
      if (n < 0) break;
      if (from.sll_pkttype != PACKET_OUTGOING) continue;
      seen_frame f;
      tpacket_auxdata beside{};
      for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_MARK) std::memcpy(&f.mark, CMSG_DATA(c), sizeof f.mark);
        if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA)
          std::memcpy(&beside, CMSG_DATA(c), sizeof beside);
      }
      if ((f.mark & wanted) == 0) continue;  // the kernel's own
      f.bytes.assign(room, room + n);
      if ((beside.tp_status & TP_STATUS_VLAN_VALID) != 0) {  // the tag was taken off
        const std::uint8_t tag[] = {
            static_cast<std::uint8_t>(beside.tp_vlan_tpid >> 8), static_cast<std::uint8_t>(beside.tp_vlan_tpid),
            static_cast<std::uint8_t>(beside.tp_vlan_tci >> 8), static_cast<std::uint8_t>(beside.tp_vlan_tci)};
        f.bytes.insert(f.bytes.begin() + 12, tag, tag + 4);
      }
      all.push_back(f);
    }
    while (::read(tap_, room, sizeof room) > 0) {}
    return all;
  }

 private:
  int tap_, watch_ = -1;
  std::uint8_t mac_[6] = {};
};

/// The network namespace as a host that sends: whole IP packets, which get a mark.
class own_sender {
 public:
  explicit own_sender(std::uint32_t mark) {
    constexpr int whole_packets = 255;  // IPPROTO_RAW: with their IP headers
    for (const bool v6 : {false, true}) {
      sockets_[v6] = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW, whole_packets);
      if (sockets_[v6] < 0 || ::setsockopt(sockets_[v6], SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
        fail("a raw socket");
    }
  }
  own_sender(const own_sender&) = delete;
  own_sender& operator=(const own_sender&) = delete;
  ~own_sender() {
    for (const int s : sockets_) ::close(s);
  }

  void send(const frame_bytes& packet) {
    const bool v6 = packet[0] >> 4 == 6;
    sockaddr_in to4{};
    sockaddr_in6 to6{};
    to4.sin_family = AF_INET, to6.sin6_family = AF_INET6;
    std::memcpy(&to4.sin_addr, &packet[16], 4);
    if (v6) std::memcpy(&to6.sin6_addr, &packet[24], 16);
    const auto* const to = v6 ? reinterpret_cast<const sockaddr*>(&to6) : reinterpret_cast<const sockaddr*>(&to4);
    // What a rule drops is an error here, and nothing that leaves.
    if (::sendto(sockets_[v6], packet.data(), packet.size(), 0, to, v6 ? sizeof to6 : sizeof to4) < 0 && errno != EPERM)
      fail("send as a host");
  }

 private:
  int sockets_[2];
};

/// Random numbers that are the same everywhere: splitmix64.
class numbers {
 public:
  explicit numbers(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e37'79b9'7f4a'7c15;
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
    return z ^ z >> 31;
  }
  /// Below `n`.
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(next() % n); }
  /// True `percent` times of a hundred.
  bool chance(unsigned percent) { return below(100) < percent; }
  template <class T, std::size_t N>
  T one_of(const T (&values)[N]) {
    return values[below(N)];
  }

 private:
  std::uint64_t state_;
};

// ---- frames

inline void put8(frame_bytes& to, std::uint64_t v) { to.push_back(static_cast<std::uint8_t>(v)); }
inline void put16(frame_bytes& to, std::uint64_t v) { put8(to, v >> 8), put8(to, v); }
inline void put32(frame_bytes& to, std::uint64_t v) { put16(to, v >> 16), put16(to, v); }
inline void put(frame_bytes& to, const frame_bytes& what) { to.insert(to.end(), what.begin(), what.end()); }
inline void set16(frame_bytes& to, std::size_t at, std::uint64_t v) {
  to[at] = static_cast<std::uint8_t>(v >> 8), to[at + 1] = static_cast<std::uint8_t>(v);
}
inline std::uint64_t get16(const frame_bytes& b, std::size_t at) { return b[at] * 256u + b[at + 1]; }
inline std::uint16_t internet_checksum(const frame_bytes& b, std::uint64_t sum = 0) {
  for (std::size_t i = 0; i < b.size(); ++i) sum += i % 2 == 0 ? b[i] * 256u : b[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

/// Two hosts, and which way: `frame` makes what one of them sends.
struct hosts {
  bool is_ipv6 = false;
  std::uint16_t client = 1, server = 1;  // the lower bytes of their addresses
  frame_bytes given[2]{};                // whole addresses, if not those

  frame_bytes address(bool of_server) const {
    if (!given[of_server].empty()) return given[of_server];
    const std::uint16_t host = of_server ? server : client;
    frame_bytes a;
    if (is_ipv6) {
      put32(a, 0xfd00'0000), put32(a, of_server ? 2 : 1), put32(a, 0), put32(a, host);
    } else {
      put8(a, 10), put8(a, of_server ? 2 : 1), put16(a, host);
    }
    return a;
  }
  /// The sum of the pseudo-header.
  std::uint64_t pseudo(std::uint8_t protocol, std::size_t size) const {
    frame_bytes p = address(false);
    put(p, address(true)), put32(p, size), put32(p, protocol);
    return static_cast<std::uint16_t>(~internet_checksum(p));
  }
  /// The IP packet that the client or the server sends to the other.
  frame_bytes ip(bool by_server, std::uint8_t protocol, const frame_bytes& payload, std::uint16_t id = 0,
                 std::uint16_t fragment = 0, std::uint8_t ttl = 64) const {
    frame_bytes p;
    if (is_ipv6) {
      put32(p, 0x6000'0000), put16(p, payload.size()), put8(p, protocol), put8(p, ttl);
      put(p, address(by_server)), put(p, address(!by_server));
    } else {
      put16(p, 0x4500), put16(p, 20 + payload.size()), put16(p, id), put16(p, fragment), put8(p, ttl);
      put8(p, protocol), put16(p, 0), put(p, address(by_server)), put(p, address(!by_server));
      set16(p, 10, internet_checksum(p));
    }
    put(p, payload);
    return p;
  }
};

/// An Ethernet frame with an IP packet for the interface `to`.
inline frame_bytes frame_with(const tap_end& to, const frame_bytes& packet) {
  frame_bytes f(to.mac(), to.mac() + 6);
  put32(f, 0x0200'0000), put16(f, 1), put16(f, packet[0] >> 4 == 6 ? 0x86dd : 0x0800);
  put(f, packet);
  return f;
}

/// The kernel takes note of a carrier when it has time: waits until it forwards from one end to the other. Who is asked
/// for that is 10.1.255.254.
inline void wait_for_carrier(tap_end& in, tap_end& out, std::uint32_t mark) {
  const hosts nobody{.client = 0xfffe, .server = 0xfffe};
  for (int tries = 0;; ++tries) {
    in.send(frame_with(in, nobody.ip(false, 253, {})));
    if (!out.left(mark).empty()) return;
    if (tries == 500) fail("nothing is forwarded");
    ::usleep(10'000);
  }
}

}  // namespace kernel_path

#endif
