// SPDX-License-Identifier: MIT
// Files as a whole: the configuration, and what outlives a restart.
#ifndef GATEWAY_FILES_HPP
#define GATEWAY_FILES_HPP

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gateway {

// Whether packets wait while a file is read. Then it has to be one that is there at once, to its end: nobody may ever
// write to a pipe, and /dev/zero has no end.
enum class meanwhile { nobody_waits, packets_wait };

// All of a file. Empty, or why it cannot be read; then `errno` says it too.
inline std::string read_all(const char* file, std::string& to, meanwhile while_reading = meanwhile::nobody_waits) {
  constexpr off_t most = off_t{256} << 20;  // a million routes are a quarter of this
  const bool at_once = while_reading == meanwhile::packets_wait;
  const int fd = ::open(file, O_RDONLY | O_CLOEXEC | (at_once ? O_NONBLOCK : 0));
  if (fd < 0) return std::strerror(errno);
  struct closer {
    int fd;
    ~closer() { ::close(fd); }
  } owner{fd};
  struct stat is{};
  if (at_once && ::fstat(fd, &is) == 0 && !S_ISDIR(is.st_mode) && (!S_ISREG(is.st_mode) || is.st_size > most)) {
    errno = EINVAL;
    return S_ISREG(is.st_mode) ? "It is larger than 256 MiB" : "It is no regular file, and packets would wait for it";
  }
  char some[4096];
  for (ssize_t n = 1; n != 0;) {
    n = ::read(fd, some, sizeof some);
    if (n < 0 && errno != EINTR) return std::strerror(errno);
    if (n > 0) to.append(some, static_cast<std::size_t>(n));
    if (at_once && to.size() > static_cast<std::size_t>(most)) return errno = EFBIG, std::strerror(EFBIG);
  }
  return "";
}

inline bool is_same_file(const char* a, const char* b) {
  struct stat one{}, other{};
  return ::stat(a, &one) == 0 && ::stat(b, &other) == 0 && S_ISREG(one.st_mode) && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

}  // namespace gateway

#endif
