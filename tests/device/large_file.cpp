// SPDX-License-Identifier: MIT
// Captures of more than 4 GiB, which 32-bit systems give only to who asks for it. They are sparse, and take no room.
#include "capture_bytes.hpp"

#include <csignal>

#include <sys/resource.h>
#include <sys/stat.h>

using namespace runnel;

namespace {

std::string why(const error* e) { return e != nullptr ? e->message() : "nothing is wrong"; }

constexpr std::int64_t far_behind = (std::int64_t{5} << 30) + 4096;

#if defined(__GLIBC__)
int open_at(const char* path, int flags, std::int64_t at) {
  const int fd = ::open64(path, flags);
  REQUIRE(fd >= 0);
  REQUIRE(::lseek64(fd, at, SEEK_SET) == at);
  return fd;
}
bool move_to(int fd, std::int64_t at) { return ::lseek64(fd, at, SEEK_SET) == at; }
bool make_size(const char* path, std::int64_t size) { return ::truncate64(path, size) == 0; }
bool limit_size(std::int64_t to) {
  ::rlimit64 now{};
  ::getrlimit64(RLIMIT_FSIZE, &now);
  now.rlim_cur = to < 0 ? now.rlim_max : static_cast<::rlim64_t>(to);
  return ::setrlimit64(RLIMIT_FSIZE, &now) == 0;
}
std::int64_t size_of(const char* path) {
  struct ::stat64 about{};
  return ::stat64(path, &about) == 0 ? about.st_size : -1;
}
#else
int open_at(const char* path, int flags, std::int64_t at) {
  const int fd = ::open(path, flags);
  REQUIRE(fd >= 0);
  REQUIRE(::lseek(fd, at, SEEK_SET) == at);
  return fd;
}
bool move_to(int fd, std::int64_t at) { return ::lseek(fd, at, SEEK_SET) == at; }
bool make_size(const char* path, std::int64_t size) { return ::truncate(path, size) == 0; }
bool limit_size(std::int64_t to) {
  ::rlimit now{};
  ::getrlimit(RLIMIT_FSIZE, &now);
  now.rlim_cur = to < 0 ? now.rlim_max : static_cast<::rlim_t>(to);
  return ::setrlimit(RLIMIT_FSIZE, &now) == 0;
}
std::int64_t size_of(const char* path) {
  struct ::stat about{};
  return ::stat(path, &about) == 0 ? about.st_size : -1;
}
#endif

// Which file descriptor the next file gets.
int next_descriptor() {
  const int fd = ::open("/dev/null", O_RDONLY);
  ::close(fd);
  return fd;
}

}  // namespace

TEST_CASE("a capture of more than 4 GiB is read, at its beginning and at its end") {
  mapped_pool memory = small_pool();
  const temporary_file file(capture_bytes().pcap_header().record(1, 0, 60, 1));
  REQUIRE(make_size(file.path(), far_behind));
  {
    auto in = pcap_reader::open(file.path(), memory);
    REQUIRE_MESSAGE(in, doctest::String(in.error().message()));
    CHECK(in->size() == std::uint64_t{far_behind});
    frame f;
    REQUIRE(in->receive(1, {}, into_array(&f)) == 1);
    CHECK(seen_in(f) == seen{1'000'000'000, 60, 1, 0, 0, on_ethernet});
    memory->release(&f, 1);
  }
  capture_bytes late;
  late.pcap_header();
  for (unsigned i = 0; i < 1000; ++i) late.record(i, 0, 60, 2);
  const int fd = open_at(file.path(), O_WRONLY, far_behind);
  REQUIRE(::write(fd, late.data(), late.size()) == static_cast<::ssize_t>(late.size()));
  ::close(fd);
  for (const bool shorter : {false, true}) {
    auto in = pcap_reader::adopt(open_at(file.path(), O_RDONLY, far_behind), "large", memory, {.block = 4096});
    REQUIRE_MESSAGE(in, doctest::String(in.error().message()));
    if (shorter) REQUIRE(make_size(file.path(), far_behind + 24 + 100 * 76));
    CHECK(drain(*in).size() == (shorter ? 100 : 1000));
    CHECK(why(in->failure()) ==
          (shorter ? "pcap: read large: it has become shorter meanwhile: the packets before it were read"
                   : "nothing is wrong"));
  }
}

TEST_CASE("a capture goes on being written behind 4 GiB, and ends at a whole record there when there is no more room") {
  const temporary_file file;
  const int number = next_descriptor();
  auto out = pcap_writer::open(file.path(), {.format = capture_format::pcap});
  REQUIRE(out);
  REQUIRE(move_to(number, far_behind));
  std::byte data[60]{};
  CHECK(out->write(bytes{data}, instant{1}));
  CHECK(out->flush());
  CHECK(size_of(file.path()) == far_behind + 24 + 76);
  auto more = pcap_writer::adopt(open_at(file.path(), O_WRONLY, far_behind + 24 + 76), "large",
                                 {.format = capture_format::pcap});
  REQUIRE_MESSAGE(more, doctest::String(more.error().message()));
  auto* old = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(limit_size(far_behind + 24 + 76 + 24 + 76 + 20));
  CHECK(more->write(bytes{data}, instant{1}));
  CHECK(more->write(bytes{data}, instant{2}));
  CHECK_FALSE(more->flush());
  CHECK(limit_size(-1));
  std::signal(SIGXFSZ, old);
  CHECK(size_of(file.path()) == far_behind + 24 + 76 + 24 + 76);
  CHECK(more->written() == 1);
  CHECK(more->lost() == 1);
}
