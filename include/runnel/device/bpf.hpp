// SPDX-License-Identifier: MIT
// eBPF programs and maps in the kernel: bpf(2), without a library. Programs are XDP programs; how they come onto an
// interface is in xdp_link.hpp.
//
//     auto maps = bpf::program_maps::create(program);       // a bpf::program, as the assembler or lower() made it
//     auto loaded = bpf::loaded_program::load(program, *maps);
//     auto ran = loaded->test_run(packet, out);             // BPF_PROG_TEST_RUN: ran->verdict is XDP_PASS, ...
//
// Everything is a file descriptor, closed at destruction. The kernel keeps a map as long as a program uses it, and a
// program as long as it is attached.
#ifndef RUNNEL_DEVICE_BPF_HPP
#define RUNNEL_DEVICE_BPF_HPP

#include <cstddef>  // byte, size_t
#include <cstdint>  // uint32_t, uint64_t, uintptr_t

#include <runnel/base/bytes.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/device/bpf_set.hpp>
#include <runnel/device/linux.hpp>
#include <runnel/device/posix.hpp>
#include <runnel/xdp/bpf_program.hpp>

#if defined(__linux__)

#include <fcntl.h>      // open
#include <linux/bpf.h>  // bpf_attr

namespace runnel {

namespace detail {

/// bpf(2): what the command returns, or -1 and errno.
inline int bpf_call(::bpf_cmd command, ::bpf_attr& attributes) noexcept {
  return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}
[[nodiscard]] inline ::bpf_attr no_attributes() noexcept {
  ::bpf_attr a;
  ::memset(&a, 0, sizeof a);  // the padding too: the kernel refuses what it does not know
  return a;
}
[[nodiscard]] inline std::uint64_t address_of(const volatile void* p) noexcept {
  return reinterpret_cast<std::uintptr_t>(p);
}
// The kernel takes letters, digits, '_' and '.', 15 of them; others become '_'.
inline void copy_bpf_name(char (&to)[16], const char* from) noexcept {
  for (std::size_t i = 0; i < 15 && from[i] != '\0'; ++i) {
    const char c = from[i];
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
    to[i] = good ? c : '_';
  }
}
/// What a person can do about an errno of bpf(2).
[[nodiscard]] inline const char* bpf_advice(int number) noexcept {
  switch (number) {
    case EPERM: return "run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN; before Linux 5.11 raise ulimit -l";
    case ENOSYS: return "this kernel was built without bpf(2) (CONFIG_BPF_SYSCALL)";
    case ENOMEM: return "free memory, or ask for fewer entries";
    case E2BIG: return "ask for fewer or smaller entries, or a shorter program";
    default: return opening_advice(number, "");
  }
}

}  // namespace detail

/// eBPF in the kernel, and its programs.
namespace bpf {

/// How many values an entry of a per-CPU map has: the highest number of a processor that this system may ever have,
/// plus one. 0 when the system does not say.
[[nodiscard]] inline std::uint32_t possible_processors() noexcept {
  const detail::file_handle file(::open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC), true);
  char line[256];  // "0-3", "0,2-5"
  const ::ssize_t n = file.get() < 0 ? -1 : ::read(file.get(), line, sizeof line);
  std::uint32_t last = 0;
  bool any = false;
  for (::ssize_t i = 0; i < n; ++i) {
    if (line[i] >= '0' && line[i] <= '9') {
      const bool goes_on = i != 0 && line[i - 1] >= '0' && line[i - 1] <= '9';
      last = (goes_on ? last * 10 : 0) + static_cast<std::uint32_t>(line[i] - '0');
      any = true;
    }
  }
  return any ? last + 1 : 0;
}

/// A table that programs in the kernel and this process share. Move-only; owns its descriptor.
///
/// Keys and values are bytes of the sizes that the map was made with. Each call is one system call and atomic for its
/// entry; programs may run meanwhile. Calls return 0, or the errno.
class map {
 public:
  /// No map: its calls return EBADF.
  map() noexcept = default;
  /// Makes an empty map. Fails without CAP_BPF (and CAP_NET_ADMIN for an xsk_map), and for sizes that the kernel
  /// refuses.
  [[nodiscard]] static result<map, error> create(const map_config& config) noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.map_type = static_cast<std::uint32_t>(config.kind);
    a.key_size = config.key_bytes;
    a.value_size = config.value_bytes;
    a.max_entries = config.entries;
    if (config.kind == map_kind::lpm_trie) a.map_flags = BPF_F_NO_PREALLOC;  // the kernel demands it
    detail::copy_bpf_name(a.map_name, config.name);
    const int fd = detail::bpf_call(BPF_MAP_CREATE, a);
    if (fd < 0) {
      const int number = errno;
      return error("bpf", "create map", config.name, ::strerror(number), detail::bpf_advice(number), number);
    }
    return map({fd, true});
  }
  /// Takes over the descriptor of a map, as another process may hand it out.
  [[nodiscard]] static map adopt(int fd) noexcept { return map({fd, true}); }

  /// Its descriptor; stays the map's.
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// Sets the entry at `key`. Of per-CPU kinds `value` is one for each of `possible_processors()`, each rounded up to 8
  /// bytes. E2BIG or ENOSPC: the map is full.
  [[nodiscard]] int update(const void* key, const void* value) const noexcept {
    ::bpf_attr a = entry(key, value);
    return detail::bpf_call(BPF_MAP_UPDATE_ELEM, a) == 0 ? 0 : errno;
  }
  /// Copies the entry at `key` to `value`, which has room for it; of per-CPU kinds for all processors, as in `update`.
  /// ENOENT: there is none. An xsk_map cannot be read (EOPNOTSUPP).
  [[nodiscard]] int look_up(const void* key, void* value) const noexcept {
    ::bpf_attr a = entry(key, value);
    return detail::bpf_call(BPF_MAP_LOOKUP_ELEM, a) == 0 ? 0 : errno;
  }
  /// Removes the entry at `key`. ENOENT: there is none. Entries of arrays cannot be removed (EINVAL).
  [[nodiscard]] int erase(const void* key) const noexcept {
    ::bpf_attr a = entry(key, nullptr);
    return detail::bpf_call(BPF_MAP_DELETE_ELEM, a) == 0 ? 0 : errno;
  }
  /// Copies the key behind `key` to `next`; the first one for a null `key`. ENOENT: that was the last one.
  [[nodiscard]] int next_key(const void* key, void* next) const noexcept {
    ::bpf_attr a = entry(key, next);
    return detail::bpf_call(BPF_MAP_GET_NEXT_KEY, a) == 0 ? 0 : errno;
  }

 private:
  explicit map(detail::file_handle&& file) noexcept : file_(static_cast<detail::file_handle&&>(file)) {}
  [[nodiscard]] ::bpf_attr entry(const void* key, const void* value) const noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.map_fd = static_cast<std::uint32_t>(file_.get());
    a.key = detail::address_of(key);
    a.value = detail::address_of(value);
    return a;
  }
  detail::file_handle file_;
};

/// The maps of a program, in the program's order. Move-only; owns them.
class program_maps {
 public:
  /// Makes all of them: those of sets hold what the sets hold, the others are empty.
  [[nodiscard]] static result<program_maps, error> create(const program& what) noexcept {
    program_maps made;
    for (std::size_t i = 0; i < what.map_count(); ++i) {
      auto m = map::create(what.map(i).config);
      if (!m) return m.error();
      made.maps_[i] = static_cast<map&&>(*m);
      if (const int number = made.refresh(what, i); number != 0)
        return error("bpf", "fill map", what.map(i).config.name, ::strerror(number), detail::bpf_advice(number),
                     number);
    }
    return made;
  }
  /// Makes map `i` hold what its set holds now, while programs ask it: they see each change at once, and never miss
  /// what stays. Three system calls for each element. 0 or the errno; of a map of something else 0.
  [[nodiscard]] int refresh(const program& what, std::size_t i) const noexcept {
    return what.map(i).use == map_use::set && what.map(i).set.set != nullptr
               ? detail::refresh_set((*this)[i], what.map(i))
               : 0;
  }
  /// The map at a place in the program's list. Beyond the last one there is none (RUNNEL_ASSERT).
  [[nodiscard]] const map& operator[](std::size_t i) const noexcept {
    RUNNEL_ASSERT(i < program::max_maps);
    return maps_[i];
  }

 private:
  program_maps() noexcept = default;
  map maps_[program::max_maps];
};

/// What a run on one packet gave.
struct test_outcome {
  std::uint32_t verdict = 0;      ///< what the program returned: XDP_PASS (2), ...
  std::uint32_t length = 0;       ///< of the packet behind the program
  std::uint32_t nanoseconds = 0;  ///< of one run, on average
};

/// How a program is loaded.
struct load_options {
  const char* name = "runnel";  ///< for `bpftool prog` and `ip link`; 15 characters are kept
  char* log = nullptr;          ///< where all of the verifier's log of a refused program goes, zero-terminated
  std::size_t log_size = 0;     ///< how much fits there; the log's end is kept where the kernel can (Linux 6.4)
  bool has_frags = false;       ///< it takes packets in several buffers; of a `program` that is known
};

/// An XDP program that the kernel's verifier has accepted. Move-only; owns its descriptor. Its licence is "Dual
/// MIT/GPL", so that all helpers may be called.
class loaded_program {
 public:
  /// No program.
  loaded_program() noexcept = default;
  /// Hands `count` instructions of 8 bytes (struct bpf_insn) to the kernel. When it refuses them, the error has what
  /// the verifier said last.
  [[nodiscard]] static result<loaded_program, error> load(const void* instructions, std::size_t count,
                                                          const load_options& options = {}) noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.prog_type = BPF_PROG_TYPE_XDP;
    a.expected_attach_type = BPF_XDP;
    a.insns = detail::address_of(instructions);
    a.insn_cnt = static_cast<std::uint32_t>(count);
    if (options.has_frags) a.prog_flags = 1u << 5;  // BPF_F_XDP_HAS_FRAGS
    a.license = detail::address_of("Dual MIT/GPL");
    detail::copy_bpf_name(a.prog_name, options.name);
    int fd = verify(a);
    if (fd >= 0) return loaded_program({fd, true});
    const int number = errno;
    // Once more, for the log: writing it costs more than the check itself.
    const detail::mapping own_log(options.log != nullptr ? 0 : std::size_t{1} << 20);
    char* const log = options.log != nullptr ? options.log : reinterpret_cast<char*>(own_log.data());
    const std::size_t room = options.log != nullptr ? options.log_size : own_log.size();
    if (log == nullptr || room < 128) return refused(options.name, number, "");
    log[0] = '\0';
    a.log_level = 1;
    a.log_buf = detail::address_of(log);
    a.log_size = static_cast<std::uint32_t>(room);
    fd = verify(a);
    if (fd >= 0) return loaded_program({fd, true});
    log[room - 1] = '\0';
    return refused(options.name, number, log);
  }
  /// The same for an assembled program and the maps that were made for it; the kernel keeps them.
  [[nodiscard]] static result<loaded_program, error> load(const program& what, const program_maps& maps,
                                                          const load_options& options = {}) noexcept {
    instruction linked[program::max_instructions];
    for (std::size_t i = 0; i < what.size(); ++i) {
      instruction& to = linked[i] = what[i];
      if (!to.is_map()) continue;
      const int fd = maps[static_cast<std::size_t>(to.imm)].fd();
      to = instruction::make(to.opcode, to.dst(), static_cast<unsigned>(imm64_kind::map_by_fd), to.offset, fd);
    }
    load_options all = options;
    all.has_frags |= what.has_frags();
    return load(linked, what.size(), all);
  }
  /// Takes over the descriptor of a program.
  [[nodiscard]] static loaded_program adopt(int fd) noexcept { return loaded_program({fd, true}); }

  /// Its descriptor; stays the program's.
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  /// The number by which `bpftool` and `ip link` know it; 0 when the kernel does not say.
  [[nodiscard]] std::uint32_t id() const noexcept {
    ::bpf_prog_info info;
    ::memset(&info, 0, sizeof info);
    ::bpf_attr a = detail::no_attributes();
    a.info.bpf_fd = static_cast<std::uint32_t>(file_.get());
    a.info.info_len = sizeof info;
    a.info.info = detail::address_of(&info);
    return detail::bpf_call(BPF_OBJ_GET_INFO_BY_FD, a) == 0 ? info.id : 0;
  }
  /// Runs the program on a packet, `repeat` times, and copies what it made of it to `out`; what does not fit there is
  /// cut. The kernel takes 14 bytes at least; what is longer than about 3500 lies in several buffers. Maps that it
  /// writes to are written to.
  [[nodiscard]] result<test_outcome, error> test_run(bytes packet, mutable_bytes out = {},
                                                     std::uint32_t repeat = 1) const noexcept {
    ::bpf_attr a = detail::no_attributes();
    a.test.prog_fd = static_cast<std::uint32_t>(file_.get());
    a.test.data_in = detail::address_of(packet.data());
    a.test.data_size_in = static_cast<std::uint32_t>(packet.size());
    a.test.data_out = out.empty() ? 0 : detail::address_of(out.data());
    a.test.data_size_out = static_cast<std::uint32_t>(out.size());
    a.test.repeat = repeat;
    if (detail::bpf_call(BPF_PROG_TEST_RUN, a) != 0 && errno != ENOSPC) {
      const int number = errno;
      return error("bpf", "run a program on a packet", "", ::strerror(number),
                   number == EINVAL ? "the kernel takes packets of 14 bytes to about 64 KiB, before Linux 5.18 a page"
                                    : detail::bpf_advice(number),
                   number);
    }
    return test_outcome{a.test.retval, a.test.data_size_out, a.test.duration};
  }

 private:
  explicit loaded_program(detail::file_handle&& file) noexcept : file_(static_cast<detail::file_handle&&>(file)) {}

  // A signal interrupts the verifier, which then says EAGAIN: also a stop and its end. As libbpf does, a few times.
  [[nodiscard]] static int verify(::bpf_attr& a) noexcept {
    int fd = -1;
    for (int tries = 0; tries < 5; ++tries) {
      fd = detail::bpf_call(BPF_PROG_LOAD, a);
      if (fd >= 0 || errno != EAGAIN) break;
    }
    return fd;
  }
  // The log's last line but for the statistics is the reason; the line before is the instruction.
  [[nodiscard]] static error refused(const char* name, int number, const char* log) noexcept {
    // What the verifier has accepted has a log, too.
    if (number == EMFILE || (number != EINVAL && number != EACCES && *log == '\0'))
      return error("bpf", "load program", name, ::strerror(number), detail::bpf_advice(number), number);
    const char* statistics = ::strstr(log, "\nprocessed ");
    std::size_t end = statistics != nullptr ? static_cast<std::size_t>(statistics - log) : ::strlen(log);
    while (end != 0 && log[end - 1] == '\n') --end;
    std::size_t begin = end;
    for (int lines = 0; begin != 0; --begin)
      if (log[begin - 1] == '\n' && ++lines == 2) break;
    text<192> reason;
    reason << "the verifier refused it: ";
    for (std::size_t i = begin; i < end; ++i) reason << (log[i] == '\n' ? '|' : log[i]);
    // "R4 pointer -= pointer prohibited" is what it says to those who lack a capability.
    const char* advice = ::strstr(reason.c_str(), "prohibited") != nullptr ? "run as root, or with CAP_PERFMON as well"
                                                                           : detail::bpf_advice(number);
    return error("bpf", "load program", name, begin != end ? reason.c_str() : ::strerror(number), advice, number);
  }
  detail::file_handle file_;
};

}  // namespace bpf

}  // namespace runnel

#endif  // defined(__linux__)

#endif
