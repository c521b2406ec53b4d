// SPDX-License-Identifier: MIT
// Into another network namespace and back, for opening a device there: what was opened stays there, the thread does
// not. network_namespaces(7), setns(2). Nothing here is for users.
#ifndef RUNNEL_DEVICE_NETWORK_NAMESPACE_HPP
#define RUNNEL_DEVICE_NETWORK_NAMESPACE_HPP

#include <cstddef>  // size_t

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/device/posix.hpp>

#if defined(__linux__)

#include <errno.h>        // errno
#include <fcntl.h>        // open
#include <sched.h>        // CLONE_NEWNET
#include <sys/syscall.h>  // SYS_setns
#include <unistd.h>       // syscall

namespace runnel::detail {

/// While it lives, the calling thread is in the namespace that was entered; other threads are not. Move-only.
class namespace_visit {
 public:
  /// `name` is that of `ip netns`, or a path when there is a '/' in it; null stays where the thread is. Messages begin
  /// with `where`.
  [[nodiscard]] static result<namespace_visit, error> enter(const char* where, const char* name) noexcept {
    if (name == nullptr) return namespace_visit({});
    text<160> path;
    bool is_path = false;
    for (const char* c = name; *c != '\0'; ++c) is_path |= *c == '/';
    path << (is_path ? "" : "/run/netns/") << name;
    const file_handle there(path.truncated() ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC), true);
    if (there.get() < 0)
      return problem(where, name, path.truncated() ? ENAMETOOLONG : errno,
                     "make it with 'ip netns add', or give a path like /proc/PID/ns/net");
    file_handle here(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), true);
    if (here.get() < 0) return problem(where, name, errno, "mount /proc, which leads back from there");
    if (set(there) != 0) return problem(where, name, errno, "run as root, or with CAP_SYS_ADMIN");
    return namespace_visit(static_cast<file_handle&&>(here));
  }
  namespace_visit(namespace_visit&&) noexcept = default;
  namespace_visit& operator=(namespace_visit&&) = delete;
  /// Goes back. What went in has the right to do so; should it have lost it meanwhile, the thread stays.
  ~namespace_visit() {
    if (home_.get() >= 0) (void)set(home_);
  }

 private:
  explicit namespace_visit(file_handle&& home) noexcept : home_(static_cast<file_handle&&>(home)) {}
  static long set(const file_handle& to) noexcept { return ::syscall(SYS_setns, to.get(), CLONE_NEWNET); }
  static error problem(const char* where, const char* name, int number, const char* advice) noexcept {
    return {
        where, "enter network namespace", short_name(name).c_str(), ::strerror(number), opening_advice(number, advice),
        number};
  }

  file_handle home_;
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
