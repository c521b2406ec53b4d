// SPDX-License-Identifier: MIT
// This kernel as an older one would be for AF_XDP, which has less for packets in several buffers, or as drivers make
// it. By seccomp(2), which cannot be undone: for a child process.
#ifndef TESTS_DEVICE_OLDER_KERNEL_HPP
#define TESTS_DEVICE_OLDER_KERNEL_HPP

#include <cstddef>
#include <cstdint>
#include <thread>

#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/if_xdp.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace runnel::test {

enum class older_kernel {
  linux_5_17,  // programs cannot have packets in several buffers (BPF_F_XDP_HAS_FRAGS)
  linux_6_5,   // sockets cannot have packets in several descriptors (XDP_USE_SG)
  linux_6_17,  // one call sends 32 descriptors, and no other number (XDP_MAX_TX_SKB_BUDGET)
  // Of any age:
  driver_refuses_zero_copy,
  driver_without_pieces,  // which it can have without copying only, and is asked for
  refuses_programs,
};

/// From now on calls of this thread fail as they do in that kernel. False where this cannot be had.
inline bool become(older_kernel what) {
  ::sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(::seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 3, 0, SYS_bind},
      {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_bpf},
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_setsockopt},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF},
  };
  const ::sock_fprog program{sizeof code / sizeof *code, code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  const long calls = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  if (calls < 0) return false;
  std::thread([calls, what] {
    for (;;) {
      ::seccomp_notif call{};
      if (::ioctl(static_cast<int>(calls), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
      const auto at = [&call](int i) {
        return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(call.data.args[i]));
      };
      int refused = 0;
      if (call.data.nr == SYS_bind) {
        if (what <= older_kernel::linux_6_5 && *static_cast<const std::uint16_t*>(at(1)) == 44 &&  // AF_XDP
            (static_cast<const ::sockaddr_xdp*>(at(1))->sxdp_flags &
             ~(XDP_SHARED_UMEM | XDP_COPY | XDP_ZEROCOPY | XDP_USE_NEED_WAKEUP)) != 0)
          refused = EINVAL;
        const auto* const to = static_cast<const ::sockaddr_xdp*>(at(1));
        if (to->sxdp_family == 44 && to->sxdp_ifindex != 0) {
          if (what == older_kernel::driver_refuses_zero_copy && (to->sxdp_flags & XDP_ZEROCOPY) != 0) refused = EINVAL;
          if (what == older_kernel::driver_without_pieces && (to->sxdp_flags & (1u << 4)) != 0) refused = EOPNOTSUPP;
        }
      } else if (call.data.nr == SYS_setsockopt) {
        if (what <= older_kernel::linux_6_17 && call.data.args[1] == 283 && call.data.args[2] == 9)
          refused = ENOPROTOOPT;
      } else if (call.data.args[0] == BPF_PROG_LOAD &&
                 (what == older_kernel::refuses_programs ||
                  (what <= older_kernel::linux_5_17 &&
                   (static_cast<const ::bpf_attr*>(at(1))->prog_flags & (1u << 5)) != 0))) {
        refused = EINVAL;
      }
      ::seccomp_notif_resp answer{};
      answer.id = call.id;
      if (refused != 0) answer.error = -refused;
      else answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
      (void)::ioctl(static_cast<int>(calls), SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
  }).detach();
  return true;
}

}  // namespace runnel::test

#endif
