// SPDX-License-Identifier: MIT
// What cannot be opened on each kind of device: an error that says what to do, and behind it every slot, every file
// descriptor and all locked memory is as before. What goes wrong while a device runs: faults.cpp.
#include <doctest/doctest.h>

#if defined(__linux__)

#include <cstdio>
#include <cstring>
#include <string>

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <device/faults.hpp>
#include <device/in_child.hpp>

using namespace runnel;
using namespace runnel::test;

namespace {

// Empty when `open` fails, with a message in which `part` is, and leaves nothing behind: no descriptor, no slot that is
// not in the pool, no program on eth0.
template <class Open>
std::string refusal(counted_pool& memory, const char* part, Open open) {
  const std::size_t files = open_files();
  const auto opened = open();
  if (opened) return "it was opened";
  if (std::strstr(opened.error().message(), part) == nullptr) return opened.error().message();
  if (open_files() != files) return "file descriptors stay open";
  if (memory->available() != memory->capacity()) return "slots are lost";
  const auto eth = device::network_interface::open("eth0");
  const auto program = eth ? bpf::attached(eth->index()) : bpf::attached(1);
  return program && program->id != 0 ? "a program is left behind" : "";
}
// Runs in a process of its own: whether it has no complaint.
template <class F>
bool succeeds_in_child(F f) {
  return in_child([&f] {
           const std::string complaint = f();
           if (!complaint.empty()) std::fprintf(stderr, "%s\n", complaint.c_str());
           return complaint.empty() ? 0 : 1;
         }) == 0;
}
// Root that may lock so much memory, and no more. Not by the C library: the sanitizers make nothing of mlockall.
bool limit_locked_memory(::rlim_t bytes, bool lock_all) {
  ::__user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  ::__user_cap_data_struct may[2]{};
  const ::rlimit little{bytes, bytes};
  if (::syscall(SYS_capget, &header, may) != 0) return false;
  may[0].effective &= ~(1u << CAP_IPC_LOCK);
  return ::setrlimit(RLIMIT_MEMLOCK, &little) == 0 && ::syscall(SYS_capset, &header, may) == 0 &&
         (!lock_all || ::syscall(SYS_mlockall, MCL_FUTURE) == 0);
}

}  // namespace

TEST_CASE("no permission: what to run it with, and nothing stays open") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  const auto as_nobody = [&](const char* part, auto open) {
    return succeeds_in_child([&] { return become_nobody() ? refusal(memory, part, open) : "cannot give up root"; });
  };
  CHECK(as_nobody("af_packet: open eth0: Operation not permitted: run as root, or give the program CAP_NET_RAW",
                  [&] { return af_packet::open("eth0", for_af_packet(memory)); }));
  if (is_here(af_xdp::open("eth0", for_af_xdp(memory))))
    CHECK(as_nobody("af_xdp: open a socket for eth0: Operation not permitted: run as root, or with CAP_NET_RAW, ",
                    [&] { return af_xdp::open("eth0", for_af_xdp(memory)); }));
  // Whether everybody may open /dev/net/tun, or attach to an interface by it only.
  CHECK(as_nobody(": run as root, ", [&] { return tap::open("tap0", for_tap(memory)); }));
}

TEST_CASE("no such interface: which there are, and nothing stays open") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  CHECK(refusal(memory, "af_packet: open eth7: no such interface: there are lo, eth",
                [&] { return af_packet::open("eth7", for_af_packet(memory)); }) == "");
  CHECK(refusal(memory, "af_xdp: open eth7: no such interface: there are lo, eth",
                [&] { return af_xdp::open("eth7", for_af_xdp(memory)); }) == "");
  CHECK(refusal(memory, "tap: open eth7: no such interface: there are lo, eth",
                [&] { return tap::open("eth7", {.create = false, .memory = &memory.get()}); }) == "");
}

TEST_CASE("an MTU larger than the frame: what to make smaller or larger, and nothing stays open") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  wire::set_mtu("eth0", 9000);
  CHECK(
      refusal(memory,
              "af_packet: open eth0: a packet of its MTU, 9000, does not fit a block of 4096 bytes: a smaller MTU, or "
              "a larger block_size",
              [&] { return af_packet::open("eth0", for_af_packet(memory)); }) == "");
  CHECK(refusal(memory,
                "af_xdp: open eth0: packets of its MTU, 9000, do not fit a slot: ip link set dev eth0 mtu 1838, or a "
                "pool with larger .bytes",
                [&] { return af_xdp::open("eth0", for_af_xdp(memory)); }) == "");
  CHECK(refusal(memory, "tap: receive from tap0: its packets have up to 9018 bytes, and a slot of the pool 2112: ",
                [&] { return tap::open("tap0", {.mtu = 9000, .memory = &memory.get()}); }) == "");
}

TEST_CASE("out of locked memory: what to raise, and what was locked before is given back") {
  const wire there;
  if (!there) return;
  counted_pool memory(slots_of_2_kib);
  if (!is_here(af_packet::open("eth0", for_af_packet(memory)))) return;
  constexpr const char* raise_it = "raise the limit of locked memory (ulimit -l)";
  constexpr const char* cannot = "cannot limit locked memory";
  // A program that locks all that it has. Its rings are memory; the one that was there when the other one failed is
  // given back, or soon there would be no room for those that fit.
  CHECK(succeeds_in_child([&]() -> std::string {
    if (!limit_locked_memory(8 << 20, true)) return cannot;
    auto options = for_af_packet(memory);
    for (int i = 0; i < 16; ++i) {
      options.blocks = 512;  // 2 MiB
      options.transmit_slots = 16384;
      if (auto why = refusal(memory, raise_it, [&] { return af_packet::open("eth0", options); }); !why.empty())
        return why;
      options.transmit_slots = 1024;
      if (!af_packet::open("eth0", options)) return "no room for rings that fit";
      options.blocks = 4096;
      if (auto why = refusal(memory, raise_it, [&] { return af_packet::open("eth0", options); }); !why.empty())
        return why;
    }
    return "";
  }));
  // The slots are the memory of a TAP.
  CHECK(succeeds_in_child([&]() -> std::string {
    if (!limit_locked_memory(8 << 20, true)) return cannot;
    for (int i = 0; i < 16; ++i)
      if (auto why = refusal(memory, raise_it, [] { return tap::open("tap0", {}); }); !why.empty()) return why;
    if (device::network_interface::open("tap0")) return "an interface is left behind";
    return tap::open("tap0", for_tap(memory)) ? "" : "no TAP with a pool that is there already";
  }));
  // The kernel locks the slots of AF_XDP itself.
  if (!is_here(af_xdp::open("eth0", for_af_xdp(memory)))) return;
  CHECK(succeeds_in_child([&]() -> std::string {
    if (!limit_locked_memory(65536, false)) return cannot;
    return refusal(
        memory,
        " KiB exceed the limit of locked memory, 64 KiB: raise it (ulimit -l), give CAP_IPC_LOCK, or ask for "
        "fewer packets",
        [&] { return af_xdp::open("eth0", for_af_xdp(memory)); });
  }));
  CHECK(af_xdp::open("eth0", for_af_xdp(memory)));
}

#endif
