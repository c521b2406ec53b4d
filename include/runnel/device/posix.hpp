// SPDX-License-Identifier: MIT
// What the devices share that talk to a POSIX system: an owned file descriptor, an anonymous mapping, the words for
// an errno. Nothing here is for users.
#ifndef RUNNEL_DEVICE_POSIX_HPP
#define RUNNEL_DEVICE_POSIX_HPP

#include <cstddef>  // byte, size_t

#include <runnel/base/text.hpp>
#include <runnel/config.hpp>

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>     // errno
#include <string.h>    // strerror
#include <sys/mman.h>  // mmap, munmap
#include <unistd.h>    // close

namespace runnel::detail {

/// A file descriptor, closed at destruction when it is owned. -1 is none.
class file_handle {
 public:
  file_handle() noexcept = default;
  file_handle(int fd, bool owned) noexcept : fd_(fd), owned_(owned) {}
  file_handle(file_handle&& other) noexcept : fd_(other.fd_), owned_(other.owned_) { other.fd_ = -1; }
  file_handle& operator=(file_handle&& other) noexcept {
    if (this != &other) {
      (void)close();
      fd_ = other.fd_;
      owned_ = other.owned_;
      other.fd_ = -1;
    }
    return *this;
  }
  ~file_handle() { (void)close(); }
  [[nodiscard]] int get() const noexcept { return fd_; }
  /// Gives up the descriptor without closing it.
  [[nodiscard]] int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  /// 0, or the errno that close(2) failed with. The descriptor is gone either way.
  int close() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd >= 0 && owned_ && ::close(fd) != 0 ? errno : 0;
  }

 private:
  int fd_ = -1;
  bool owned_ = false;
};

/// Memory from the system, aligned to a page, given back at destruction: anonymous and private, all zeros, or `of` a
/// file.
class mapping {
 public:
  mapping() noexcept = default;
  /// `data()` is null when the system has no such memory; errno then says why.
  explicit mapping(std::size_t size, int more_flags = 0) noexcept {
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more_flags, -1, 0);
    if (p == MAP_FAILED) return;
    data_ = static_cast<std::byte*>(p);
    size_ = size;
  }
  /// Memory that the kernel shares by an open file or socket.
  [[nodiscard]] static mapping of(int fd, std::size_t size) noexcept {
    mapping m;
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) return m;
    m.data_ = static_cast<std::byte*>(p);
    m.size_ = size;
    return m;
  }
  mapping(mapping&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  mapping& operator=(mapping&& other) noexcept {
    if (this != &other) {
      unmap();
      data_ = other.data_;
      size_ = other.size_;
      other.data_ = nullptr;
      other.size_ = 0;
    }
    return *this;
  }
  ~mapping() { unmap(); }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Leaves it mapped until the process ends.
  void keep() noexcept {
    data_ = nullptr;
    size_ = 0;
  }

 private:
  void unmap() noexcept {
    if (data_ != nullptr) (void)::munmap(data_, size_);
  }
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// What a person can do about an errno of mmap(2): `otherwise`, but for a program that locks all of its memory, of
/// which there may only be so much.
[[nodiscard]] inline const char* mapping_advice(int number, const char* otherwise) noexcept {
  return number == EAGAIN ? "the program locks its memory (mlockall): raise the limit of locked memory (ulimit -l)"
                          : otherwise;
}

/// What a person can do about an errno of whatever makes a file descriptor: `otherwise`, unless there is none left.
[[nodiscard]] inline const char* opening_advice(int number, const char* otherwise) noexcept {
  return number == EMFILE ? "raise the limit of open files (ulimit -n)" : otherwise;
}

/// The name of a file as it goes into error messages: of a long path the end, so that there is room for the cause.
class short_name {
 public:
  explicit short_name(const char* path) noexcept {
    std::size_t n = 0;
    while (path[n] != '\0') ++n;
    if (n >= sizeof name_) {
      path += n - (sizeof name_ - 4);
      name_[0] = name_[1] = name_[2] = '.';
    }
    for (std::size_t i = n >= sizeof name_ ? 3 : 0; *path != '\0'; ++i) name_[i] = *path++;
  }
  [[nodiscard]] const char* c_str() const noexcept { return name_; }

 private:
  char name_[96] = {};
};

/// Whether `path` is "-", the name of standard input and output.
[[nodiscard]] inline bool is_dash(const char* path) noexcept { return path[0] == '-' && path[1] == '\0'; }

}  // namespace runnel::detail

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
