// SPDX-License-Identifier: MIT
// One AF_XDP socket: its rings, its memory, and the queue of an interface that it is bound to. A queue has two: one
// receives, the other one sends (xsk_queue.hpp). Nothing here is for users.
//
// Everything follows Documentation/networking/af_xdp.rst. Needs Linux 5.11: unaligned chunks, memory shared between
// queues, and wake-ups of the receive side by recvfrom(2).
#ifndef RUNNEL_DEVICE_XSK_SOCKET_HPP
#define RUNNEL_DEVICE_XSK_SOCKET_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint16_t, uint32_t, uint64_t

#include <runnel/base/bytes.hpp>
#include <runnel/config.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/device/xsk_ring.hpp>

#if defined(__linux__)

#include <linux/if_xdp.h>  // sockaddr_xdp
#include <sys/mman.h>      // mmap

namespace runnel::detail {

static_assert(sizeof(xsk_descriptor) == sizeof(::xdp_desc));

/// What a socket is bound to, and how.
struct xsk_binding {
  std::uint32_t interface_index = 0;
  std::uint32_t queue = 0;
  // XDP_COPY, XDP_ZEROCOPY, XDP_USE_NEED_WAKEUP, XDP_USE_SG; not with shared memory, which brings its own.
  std::uint16_t flags = 0;
  int shares_memory_of = -1;  // another socket; -1 when this one has registered its own
};

/// A socket and its rings. Move-only. Functions that may fail return 0 or an errno.
class xsk_socket {
 public:
  xsk_socket() noexcept = default;
  explicit xsk_socket(file_handle&& socket) noexcept : socket_(static_cast<file_handle&&>(socket)) {}
  xsk_socket(xsk_socket&&) noexcept = default;
  xsk_socket& operator=(xsk_socket&&) noexcept = default;

  xsk_consumer<xsk_descriptor> receive;
  xsk_producer<xsk_descriptor> transmit;
  xsk_producer<std::uint64_t> fill;
  xsk_consumer<std::uint64_t> completion;

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

  /// Makes memory known to the kernel: it is pinned. `start` is aligned to a page, `chunk` is 2048 to 4096.
  [[nodiscard]] int register_memory(mutable_bytes memory, std::uint32_t chunk) const noexcept {
    struct {  // struct xdp_umem_reg without what newer kernels put at its end
      std::uint64_t start, length;
      std::uint32_t chunk_size, headroom, flags, padding;
    } r{reinterpret_cast<std::uintptr_t>(memory.data()), memory.size(), chunk, 0, XDP_UMEM_UNALIGNED_CHUNK_FLAG, 0};
    return option(XDP_UMEM_REG, &r, sizeof r);
  }
  /// Makes the rings of a socket that receives, and maps them: `receive`, and of its queue `fill` and `completion`.
  /// Sizes are powers of two.
  [[nodiscard]] int make_receive_rings(std::uint32_t receive_size, std::uint32_t completion_size) noexcept {
    const std::uint32_t r = receive_size, c = completion_size;
    int failed = option(XDP_UMEM_FILL_RING, &r, sizeof r);
    if (failed == 0) failed = option(XDP_UMEM_COMPLETION_RING, &c, sizeof c);
    if (failed == 0) failed = option(XDP_RX_RING, &r, sizeof r);
    ::xdp_mmap_offsets at{};
    if (failed == 0) failed = find_rings(at);
    xsk_ring_memory where;
    if (failed == 0) failed = map(0, XDP_PGOFF_RX_RING, at.rx, r, sizeof(xsk_descriptor), where);
    if (failed != 0) return failed;
    receive = xsk_consumer<xsk_descriptor>(where);
    if (failed = map(1, XDP_UMEM_PGOFF_FILL_RING, at.fr, r, sizeof(std::uint64_t), where); failed != 0) return failed;
    fill = xsk_producer<std::uint64_t>(where);
    if (failed = map(2, XDP_UMEM_PGOFF_COMPLETION_RING, at.cr, c, sizeof(std::uint64_t), where); failed != 0)
      return failed;
    completion = xsk_consumer<std::uint64_t>(where);
    return 0;
  }
  /// Makes the ring of a socket that sends, `transmit`, and maps it. The size is a power of two.
  [[nodiscard]] int make_transmit_ring(std::uint32_t transmit_size) noexcept {
    int failed = option(XDP_TX_RING, &transmit_size, sizeof transmit_size);
    ::xdp_mmap_offsets at{};
    if (failed == 0) failed = find_rings(at);
    xsk_ring_memory where;
    if (failed == 0) failed = map(0, XDP_PGOFF_TX_RING, at.tx, transmit_size, sizeof(xsk_descriptor), where);
    if (failed != 0) return failed;
    transmit = xsk_producer<xsk_descriptor>(where);
    return 0;
  }
  /// Packets flow from here on. EBUSY: another socket owns the queue, or its last owner is still being taken down,
  /// which the kernel does in the background.
  [[nodiscard]] int bind(const xsk_binding& to) const noexcept {
    ::sockaddr_xdp address{};
    address.sxdp_family = sys::af_xdp;
    address.sxdp_ifindex = to.interface_index;
    address.sxdp_queue_id = to.queue;
    address.sxdp_flags = to.shares_memory_of >= 0 ? std::uint16_t{XDP_SHARED_UMEM} : to.flags;
    address.sxdp_shared_umem_fd = to.shares_memory_of >= 0 ? static_cast<std::uint32_t>(to.shares_memory_of) : 0;
    return sys::bind(fd(), &address, sizeof address) == 0 ? 0 : errno;
  }
  /// Whether this kernel has packets in several descriptors (Linux 6.6). It looks at the flags first, and then for the
  /// interface: there is none with the number 0, so that nothing is bound.
  [[nodiscard]] bool knows_pieces() const noexcept { return bind({.flags = sys::xdp_use_sg}) != EINVAL; }
  /// Whether the driver reads and writes our memory itself.
  [[nodiscard]] bool zero_copy() const noexcept {
    ::xdp_options o{};
    std::uint32_t size = sizeof o;
    return sys::getsockopt(fd(), sys::sol_xdp, XDP_OPTIONS, &o, size) == 0 && (o.flags & XDP_OPTIONS_ZEROCOPY) != 0;
  }
  /// What the kernel counted; zeros when it does not say.
  [[nodiscard]] ::xdp_statistics statistics() const noexcept {
    ::xdp_statistics s{};
    std::uint32_t size = sizeof s;
    if (sys::getsockopt(fd(), sys::sol_xdp, XDP_STATISTICS, &s, size) != 0) return {};
    return s;
  }
  /// What became of the socket's interface: 0, or an errno, which is reported once. ENETDOWN: it was deleted.
  [[nodiscard]] int take_error() const noexcept {
    int e = 0;
    std::uint32_t size = sizeof e;
    return sys::getsockopt(fd(), sys::sol_socket, sys::so_error, &e, size) == 0 ? e : errno;
  }
  /// Sends what is in the transmit ring, as much as one call does. 0 or the errno.
  [[nodiscard]] int kick_transmit() const noexcept {
    return sys::sendto(fd(), nullptr, 0, sys::msg_dontwait) >= 0 ? 0 : errno;
  }
  /// Lets the driver look at the fill ring, and, with busy polling, receive.
  void kick_receive() const noexcept { (void)sys::recvfrom(fd(), nullptr, 0, sys::msg_dontwait); }
  /// setsockopt of level SOL_XDP or another. 0 or the errno.
  [[nodiscard]] int option(int name, const void* value, std::size_t size, int level = sys::sol_xdp) const noexcept {
    return sys::setsockopt(fd(), level, name, value, size) == 0 ? 0 : errno;
  }

 private:
  // A ring's shared memory, unmapped at destruction.
  class shared_mapping {
   public:
    shared_mapping() noexcept = default;
    shared_mapping(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
    shared_mapping(shared_mapping&& other) noexcept : data_(other.data_), size_(other.size_) { other.data_ = nullptr; }
    shared_mapping& operator=(shared_mapping&& other) noexcept {
      if (this == &other) return *this;
      if (data_ != nullptr) (void)::munmap(data_, size_);
      data_ = other.data_;
      size_ = other.size_;
      other.data_ = nullptr;
      return *this;
    }
    ~shared_mapping() {
      if (data_ != nullptr) (void)::munmap(data_, size_);
    }

   private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
  };

  [[nodiscard]] int find_rings(::xdp_mmap_offsets& at) const noexcept {
    std::uint32_t size = sizeof at;
    if (sys::getsockopt(fd(), sys::sol_xdp, XDP_MMAP_OFFSETS, &at, size) != 0) return errno;
    return size == sizeof at ? 0 : EOPNOTSUPP;  // Linux before 5.4
  }
  int map(std::size_t which, std::uint64_t page_offset, const ::xdp_ring_offset& at, std::uint32_t entries,
          std::size_t entry_size, xsk_ring_memory& to) noexcept {
    const std::size_t size = static_cast<std::size_t>(at.desc) + entries * entry_size;
    constexpr int access = PROT_READ | PROT_WRITE, kind = MAP_SHARED | MAP_POPULATE;
#if defined(SYS_mmap2)  // off_t may be too small for the offset, which counts in units of 4096 here
    const long got = ::syscall(SYS_mmap2, nullptr, size, access, kind, fd(), page_offset >> 12);
    void* const p = reinterpret_cast<void*>(got);  // -1 is MAP_FAILED
#else
    void* const p = ::mmap(nullptr, size, access, kind, fd(), static_cast< ::off_t>(page_offset));
#endif
    if (p == MAP_FAILED) return errno;
    mapped_[which] = shared_mapping(p, size);
    char* const base = static_cast<char*>(p);
    const auto index = [base](std::uint64_t offset) {
      return static_cast<std::uint32_t*>(static_cast<void*>(base + offset));
    };
    to = {index(at.producer), index(at.consumer), index(at.flags), base + at.desc, entries};
    return 0;
  }

  file_handle socket_;
  shared_mapping mapped_[3];
};

}  // namespace runnel::detail

#endif  // defined(__linux__)

#endif
