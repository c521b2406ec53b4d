// SPDX-License-Identifier: MIT
// Files of any size, also where off_t has 32 bits. Nothing here is for users.
//
// Whether the calls of a 32-bit system know files of 2 GiB and more is the program's choice there
// (-D_FILE_OFFSET_BITS=64), and a header cannot make it. So these ask for it at each call, as open(2) says.
#ifndef RUNNEL_DEVICE_LARGE_FILE_HPP
#define RUNNEL_DEVICE_LARGE_FILE_HPP

#include <cstdint>  // int64_t, uint64_t

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>     // errno, EINTR
#include <fcntl.h>     // open
#include <sys/stat.h>  // fstat
#include <unistd.h>    // ftruncate, lseek

namespace runnel::detail {

/// What is asked of an open file.
struct file_status {
  bool regular = false;    ///< a file, and no pipe, terminal or folder
  bool directory = false;  ///< a folder
  std::uint64_t size = 0;  ///< in bytes, of a regular file
};

/// The file descriptor of the file at `path`, or -1 and errno. A signal does not end it.
[[nodiscard]] inline int open_large_file(const char* path, int flags, ::mode_t mode = 0) noexcept {
#if defined(O_LARGEFILE)
  flags |= O_LARGEFILE;
#endif
  int fd = -1;
  do fd = ::open(path, flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

/// False, and errno, when the system does not say.
[[nodiscard]] inline bool look_at(int fd, file_status& to) noexcept {
#if defined(__GLIBC__) && defined(__USE_LARGEFILE64)
  struct ::stat64 about{};
  if (::fstat64(fd, &about) != 0) return false;
#else
  struct ::stat about{};
  if (::fstat(fd, &about) != 0) return false;
#endif
  to.regular = S_ISREG(about.st_mode);
  to.directory = S_ISDIR(about.st_mode);
  to.size = to.regular ? static_cast<std::uint64_t>(about.st_size) : 0;
  return true;
}

/// Where reading or writing goes on; -1 where a file has no places, as a pipe.
[[nodiscard]] inline std::int64_t position_in(int fd) noexcept {
#if defined(__GLIBC__) && defined(__USE_LARGEFILE64)
  return ::lseek64(fd, 0, SEEK_CUR);
#else
  return ::lseek(fd, 0, SEEK_CUR);
#endif
}

/// Ends the file at `size` bytes. False, and errno, when that is not possible.
[[nodiscard]] inline bool cut_file(int fd, std::int64_t size) noexcept {
#if defined(__GLIBC__) && defined(__USE_LARGEFILE64)
  return ::ftruncate64(fd, size) == 0;
#else
  return ::ftruncate(fd, static_cast< ::off_t>(size)) == 0;
#endif
}

}  // namespace runnel::detail

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
