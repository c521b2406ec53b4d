// SPDX-License-Identifier: MIT
// Captures written byte by byte for the tests, and a place to read them from.
#ifndef RUNNEL_TESTS_DEVICE_CAPTURE_BYTES_HPP
#define RUNNEL_TESTS_DEVICE_CAPTURE_BYTES_HPP

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <runnel/device/mapped_pool.hpp>
#include <runnel/device/pcap.hpp>

/// Appends numbers in one byte order or the other.
class capture_bytes {
 public:
  explicit capture_bytes(bool big = false) : big_(big) {}

  capture_bytes& u8(unsigned v) {
    data_.push_back(static_cast<std::byte>(v));
    return *this;
  }
  capture_bytes& u16(unsigned v) { return big_ ? u8(v >> 8 & 255).u8(v & 255) : u8(v & 255).u8(v >> 8 & 255); }
  capture_bytes& u32(std::uint64_t v) {
    const auto upper = static_cast<unsigned>(v >> 16 & 0xffff);
    const auto lower = static_cast<unsigned>(v & 0xffff);
    return big_ ? u16(upper).u16(lower) : u16(lower).u16(upper);
  }
  capture_bytes& u64(std::uint64_t v) { return big_ ? u32(v >> 32).u32(v) : u32(v).u32(v >> 32); }
  capture_bytes& fill(std::size_t n, unsigned v) {
    while (n-- != 0) u8(v);
    return *this;
  }
  capture_bytes& append(const capture_bytes& other) {
    data_.insert(data_.end(), other.data_.begin(), other.data_.end());
    return *this;
  }

  // ---- classic
  capture_bytes& pcap_header(std::uint32_t magic = 0xa1b2c3d4, unsigned linktype = 1) {
    return u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(linktype);
  }
  capture_bytes& record(std::uint32_t seconds, std::uint32_t fraction, std::size_t length, unsigned value,
                        std::size_t wire = 0) {
    return u32(seconds).u32(fraction).u32(length).u32(wire != 0 ? wire : length).fill(length, value);
  }

  // ---- pcapng
  capture_bytes& block(std::uint32_t type, const capture_bytes& body) {
    const std::size_t padding = (4 - body.size() % 4) % 4;
    const std::size_t total = 12 + body.size() + padding;
    return u32(type).u32(total).append(body).fill(padding, 0).u32(total);
  }
  capture_bytes& section() {
    return block(0x0a0d0d0a, capture_bytes(big_).u32(0x1a2b3c4d).u16(1).u16(0).u64(~std::uint64_t{0}));
  }
  capture_bytes& interface(unsigned linktype = 1, unsigned snap = 0) {
    return block(1, capture_bytes(big_).u16(linktype).u16(0).u32(snap));
  }
  /// With if_tsresol and if_tsoffset.
  capture_bytes& interface_with_clock(unsigned resolution, std::int64_t offset = 0) {
    return block(1, capture_bytes(big_)
                        .u16(1)
                        .u16(0)
                        .u32(0)
                        .u16(2)
                        .u16(3)
                        .u8('e')
                        .u8('t')
                        .u8('h')
                        .u8(0)  // if_name, padded
                        .u16(9)
                        .u16(1)
                        .u8(resolution)
                        .fill(3, 0)
                        .u16(14)
                        .u16(8)
                        .u64(static_cast<std::uint64_t>(offset))
                        .u16(0)
                        .u16(0));
  }
  capture_bytes& packet(unsigned interface, std::uint64_t ticks, std::size_t length, unsigned value,
                        std::size_t wire = 0) {
    return block(6, capture_bytes(big_)
                        .u32(interface)
                        .u32(ticks >> 32)
                        .u32(ticks)
                        .u32(length)
                        .u32(wire != 0 ? wire : length)
                        .fill(length, value));
  }

  std::size_t size() const { return data_.size(); }
  std::byte* data() { return data_.data(); }
  const std::byte* data() const { return data_.data(); }
  std::byte& operator[](std::size_t i) { return data_[i]; }
  bool big() const { return big_; }
  capture_bytes& resize(std::size_t n) {
    data_.resize(n);
    return *this;
  }

 private:
  std::vector<std::byte> data_;
  bool big_;
};

/// A file that is gone at the end of the test.
class temporary_file {
 public:
  temporary_file() {
    const int fd = ::mkstemp(path_);
    REQUIRE(fd >= 0);
    ::close(fd);
  }
  explicit temporary_file(const capture_bytes& content) : temporary_file() {
    const int fd = ::open(path_, O_WRONLY | O_TRUNC);
    REQUIRE(::write(fd, content.data(), content.size()) == static_cast<::ssize_t>(content.size()));
    ::close(fd);
  }
  ~temporary_file() { ::unlink(path_); }
  temporary_file(const temporary_file&) = delete;
  const char* path() const { return path_; }

 private:
  char path_[32] = "/tmp/runnel-test-XXXXXX";
};

/// The reading end of a pipe that holds `content`, at most 64 KiB, and is closed by its writer.
inline int pipe_with(const capture_bytes& content) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::write(ends[1], content.data(), content.size()) == static_cast<::ssize_t>(content.size()));
  ::close(ends[1]);
  return ends[0];
}

/// A packet as it was seen, for comparison.
struct seen {
  std::int64_t ns;
  std::size_t length;
  unsigned value;  // of the first byte
  unsigned iif;
  unsigned missing;
  runnel::link_type link;
  friend bool operator==(const seen&, const seen&) = default;
};

inline doctest::String toString(const seen& s) {
  return (std::to_string(s.ns) + " ns, " + std::to_string(s.length) + " bytes of " + std::to_string(s.value) +
          ", interface " + std::to_string(s.iif) + ", missing " + std::to_string(s.missing) + ", link " +
          std::to_string(static_cast<int>(s.link)))
      .c_str();
}

inline seen seen_in(const runnel::frame& f) {
  std::size_t others = 0;
  for (std::byte b : f.contents()) others += b != f.data[0];
  CHECK(others == 0);
  return {f.timestamp.ns, f.length, f.length != 0 ? static_cast<unsigned>(f.data[0]) : 0, f.iif, f.missing, f.link};
}

/// Reads to the end and gives all back.
inline std::vector<seen> drain(runnel::pcap_reader& in, std::size_t burst = 64) {
  std::vector<seen> all;
  std::vector<runnel::frame> frames(burst);
  while (!in.done()) {
    const std::size_t n = in.receive(burst, {}, runnel::into_array(frames.data()));
    for (std::size_t i = 0; i < n; ++i) all.push_back(seen_in(frames[i]));
    in.memory().release(frames.data(), n);
  }
  return all;
}

inline runnel::mapped_pool small_pool() {
  auto p = runnel::mapped_pool::open({.packets = 64, .bare = 256});
  REQUIRE(p);
  return std::move(*p);
}

inline constexpr runnel::link_type on_ethernet = runnel::link_type::ethernet;

#endif
