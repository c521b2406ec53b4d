// SPDX-License-Identifier: MIT
// Sends one frame again and again, as fast as plain sendmmsg does or at a rate, and says how many the kernel took.
// Without a line of the library, which it is there to overload. The last four bytes of each frame are its number.
//
//     flood INTERFACE SECONDS FRAME-IN-HEX [FRAMES-PER-SECOND]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {
int fail(const char* what) { return std::perror(what), 2; }
}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "flood INTERFACE SECONDS FRAME-IN-HEX [FRAMES-PER-SECOND]\n"), 2;
  const double seconds = std::atof(argv[2]);
  const double rate = argc > 4 ? std::atof(argv[4]) : 0;
  const std::string hex = argv[3];
  std::vector<unsigned char> frame;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    frame.push_back(static_cast<unsigned char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  if (frame.size() < 18) return std::fprintf(stderr, "flood: the frame is too short\n"), 2;

  const int fd = ::socket(AF_PACKET, SOCK_RAW, 0);  // protocol 0: it receives nothing
  if (fd < 0) return fail("socket");
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex(argv[1]));
  if (to.sll_ifindex == 0) return fail(argv[1]);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return fail("bind");

  constexpr unsigned batch = 32;
  std::vector<unsigned char> frames;
  for (unsigned i = 0; i < batch; ++i) frames.insert(frames.end(), frame.begin(), frame.end());
  iovec parts[batch];
  mmsghdr messages[batch] = {};
  for (unsigned i = 0; i < batch; ++i) {
    parts[i] = {frames.data() + i * frame.size(), frame.size()};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  using clock = std::chrono::steady_clock;
  const auto start = clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(clock::now() - start).count(); };
  unsigned long long sent = 0;
  while (elapsed() < seconds) {
    if (rate > 0 && static_cast<double>(sent) > rate * elapsed()) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      continue;
    }
    for (unsigned i = 0; i < batch; ++i) {
      const auto number = static_cast<std::uint32_t>(sent + i);
      std::memcpy(frames.data() + (i + 1) * frame.size() - sizeof number, &number, sizeof number);
    }
    const int n = ::sendmmsg(fd, messages, batch, 0);
    if (n > 0) sent += static_cast<unsigned>(n);
    else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) return fail("sendmmsg");
  }
  std::printf("%llu sent\n", sent);
  return ::close(fd);
}
