// SPDX-License-Identifier: MIT
// Any device by a string, for programs that are configured at run time.
//
//     auto nic = device::open("af_packet:eth0?fanout=hash&promiscuous");
//     if (!nic) return fail(nic.error());      // open: read afpacket:eth0: there is no such kind of device: ...
//
//     pcap:in.pcap?pace=capture                a capture to read; -: standard input
//     pcap:out.pcapng?write                    one to write; also format=pcap, link=raw_ip, snap_length=96
//     null:?length=64&limit=1000               frames of zeros from nowhere, and a sink; also copy
//     link:name?latency=20ms&loss=1%           one end of a wire in this process; also jitter, keep_order, corruption,
//                                              duplication, reordering, rate, capacity, max_length, seed
//     tap:tap0?mtu=9000&vnet_header            also create, multi_queue, segmentation, up, persist, mac, netns,
//     tun:tun0                                 packet_bytes
//     af_packet:eth0?promiscuous&fanout=hash   also fanout_group, defragment, bypass_qdisc, blocks, block_size,
//                                              block_timeout, headroom, transmit_slots
//     af_xdp:eth0?queues=0,1&mode=copy         also take=udp dport 7 (the rest stays with the kernel),
//                                              attach=native, replace, busy_poll=50, receive_slots, transmit_slots
//
// All but captures and links take `packets`, the size of the device's own pool. What an option means stands where the
// device has it. A kind of one's own needs no string: `any_device::make`. `device::check` reads such a string, and
// opens nothing.
#ifndef RUNNEL_DEVICE_OPEN_HPP
#define RUNNEL_DEVICE_OPEN_HPP

#include <cstdint>  // uint32_t, uint64_t
#include <utility>  // move

#include <runnel/base/error.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/text.hpp>
#include <runnel/config.hpp>
#include <runnel/device/af_packet.hpp>
#include <runnel/device/af_xdp.hpp>
#include <runnel/device/any_device.hpp>
#include <runnel/device/device_memory.hpp>
#include <runnel/device/named_link.hpp>
#include <runnel/device/null.hpp>
#include <runnel/device/pcap_reader.hpp>
#include <runnel/device/pcap_writer.hpp>
#include <runnel/device/tap.hpp>
#include <runnel/device/uri.hpp>
#include <runnel/match/parse_condition.hpp>
#include <runnel/packet/pool.hpp>

#if defined(__unix__) || defined(__APPLE__)

namespace runnel::detail {

// All functions here are templates over the type of `uri`, so that only a program that opens devices by their names
// compiles what each device does.
using opened_device = result<device::any_device, error>;

// A capture being written: nothing comes from it.
class capture_sink {
 public:
  explicit capture_sink(pcap_writer&& out) noexcept : out_(std::move(out)) {}
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept {
    return out_.transmit(packets, n, now);
  }
  [[nodiscard]] std::uint64_t lost() const noexcept { return out_.lost(); }
  [[nodiscard]] const error* failure() noexcept {
    (void)out_.flush();
    return out_.failure();
  }

 private:
  pcap_writer out_;
};

template <class Uri>
opened_device open_capture_sink(Uri& uri, pool* memory) noexcept {
  pcap_writer_options o;
  constexpr uri_choice<capture_format> formats[] = {{"pcapng", capture_format::pcapng}, {"pcap", capture_format::pcap}};
  constexpr uri_choice<link_type> links[] = {{"ethernet", link_type::ethernet}, {"raw_ip", link_type::raw_ip}};
  uri.choice("format", o.format, formats).choice("link", o.link, links);
  uri.number("snap_length", o.snap_length, 1, max_captured_length);
  if (const error* wrong = uri.stop()) return *wrong;
  auto slots = device_memory::open(memory, {});
  if (!slots) return slots.error();
  auto out = pcap_writer::open(uri.name(), o);
  if (!out) return out.error();
  return device::any_device::make_with<capture_sink>(std::move(*slots), uri.name(), std::move(*out));
}
template <class Uri>
opened_device open_capture(Uri& uri, pool* memory) noexcept {
  if (bool write = false; uri.flag("write", write), write) return open_capture_sink(uri, memory);
  pcap_reader_options o;
  constexpr uri_choice<pace> paces[] = {{"unlimited", pace::unlimited}, {"capture", pace::capture}};
  uri.choice("pace", o.pace, paces);
  if (const error* wrong = uri.stop()) return *wrong;
  auto slots = device_memory::open(memory, {});
  if (!slots) return slots.error();
  auto in = pcap_reader::open(uri.name(), slots->get(), o);
  if (!in) return in.error();
  return device::any_device::make_with<pcap_reader>(std::move(*slots), uri.name(), std::move(*in));
}
template <class Uri>
opened_device open_null(Uri& uri, pool* memory) noexcept {
  null_device_options o;
  pool_config config;
  uri.number("length", o.length, 0, 65535).number("limit", o.limit, 0, 999'999'999'999'999'999).flag("copy", o.copy);
  uri.number("packets", config.packets, 1, 1u << 24);
  if (const error* wrong = uri.stop()) return *wrong;
  if (o.length > config.bytes) config.bytes = o.length;
  auto slots = device_memory::open(memory, config);
  if (!slots) return slots.error();
  pool& from = slots->get();
  if (o.length > from.packet_bytes()) {
    uri.fail("length is more than a slot of the pool holds", "give a smaller one");
    return *uri.problem();
  }
  return device::any_device::make_with<null_device>(std::move(*slots), "null", from, o);
}
template <class Uri>
opened_device open_link(Uri& uri, pool* memory) noexcept {
  link_options o;
  uri.time("latency", o.latency).time("jitter", o.jitter).flag("keep_order", o.keep_order).share("loss", o.loss);
  uri.share("corruption", o.corruption)
      .share("duplication", o.duplication)
      .share("reordering", o.reordering)
      .rate("rate", o.rate);
  uri.number("capacity", o.capacity, 1, 1024).number("max_length", o.max_length, 1, 65535);
  uri.number("seed", o.seed, 0, 999'999'999'999'999'999);
  if (const error* wrong = uri.stop()) return *wrong;
  auto end = device::named_link::open(uri.name(), uri.has_options() ? &o : nullptr, memory);
  if (!end) return end.error();
  return device::any_device::make<device::named_link>(uri.name(), std::move(*end));
}

#if defined(__linux__)

template <class Uri>
opened_device open_tap_as(device::tap_mode mode, Uri& uri, pool* memory) noexcept {
  device::tap_options o{.mode = mode, .memory = memory};
  uri.flag("create", o.create).flag("multi_queue", o.multi_queue).flag("vnet_header", o.vnet_header);
  uri.flag("segmentation", o.segmentation).flag("up", o.up);
  uri.flag("persist", o.persist, device::tap_persistence::on, device::tap_persistence::off);
  uri.number("mtu", o.mtu, 1, 65535);
  if (mode == device::tap_mode::tap) uri.mac("mac", o.mac);
  uri.word("netns", o.network_namespace).number("packets", o.packets, 1, 1u << 24);
  uri.number("packet_bytes", o.packet_bytes, 1, 65535);
  if (const error* wrong = uri.stop()) return *wrong;
  auto made = device::tap::open(uri.name(), o);
  if (!made) return made.error();
  return device::any_device::make<device::tap>(uri.name(), std::move(*made));
}
template <class Uri>
opened_device open_tap(Uri& uri, pool* memory) noexcept {
  return open_tap_as(device::tap_mode::tap, uri, memory);
}
template <class Uri>
opened_device open_tun(Uri& uri, pool* memory) noexcept {
  return open_tap_as(device::tap_mode::tun, uri, memory);
}
template <class Uri>
opened_device open_af_packet(Uri& uri, pool* memory) noexcept {
  using device::fanout_mode;
  device::af_packet_options o{.memory = memory};
  constexpr uri_choice<fanout_mode> modes[] = {{"none", fanout_mode::none},
                                               {"hash", fanout_mode::hash},
                                               {"lb", fanout_mode::lb},
                                               {"cpu", fanout_mode::cpu},
                                               {"rollover", fanout_mode::rollover}};
  uri.flag("promiscuous", o.promiscuous)
      .choice("fanout", o.fanout, modes)
      .number("fanout_group", o.fanout_group, 0, 65535);
  uri.flag("defragment", o.defragment).flag("bypass_qdisc", o.bypass_qdisc).number("blocks", o.blocks, 0, 1u << 16);
  uri.number("block_size", o.block_size, 4096, 1u << 30).time("block_timeout", o.block_timeout);
  uri.number("headroom", o.headroom, 0, 4096).number("transmit_slots", o.transmit_slots, 1, 1u << 20);
  uri.number("packets", o.packets, 1, 1u << 24);
  if (const error* wrong = uri.stop()) return *wrong;
  auto made = device::af_packet::open(uri.name(), o);
  if (!made) return made.error();
  return device::any_device::make<device::af_packet>(uri.name(), std::move(*made));
}

template <class Uri>
opened_device open_af_xdp(Uri& uri, pool* memory) noexcept {
  using bpf::xdp_mode;
  using device::copy_mode;
  device::af_xdp_options o{.memory = memory};
  constexpr uri_choice<copy_mode> modes[] = {
      {"automatic", copy_mode::automatic}, {"copy", copy_mode::copy}, {"zero_copy", copy_mode::zero_copy}};
  constexpr uri_choice<xdp_mode> places[] = {
      {"automatic", xdp_mode::automatic}, {"native", xdp_mode::native}, {"generic", xdp_mode::generic}};
  std::uint64_t queues = ~std::uint64_t{0};
  const char* take = nullptr;
  uri.word("take", take);
  uri.bits("queues", queues).choice("mode", o.mode, modes).choice("attach", o.attach, places);
  uri.flag("replace", o.replace).number("busy_poll", o.busy_poll.microseconds, 0, 1'000'000);
  uri.number("receive_slots", o.receive_slots, 1, 1u << 24).number("transmit_slots", o.transmit_slots, 1, 1u << 24);
  uri.number("packets", o.packets, 1, 1u << 24);
  if (const error* wrong = uri.problem()) return *wrong;
  o.queues = device::queue_set::of_bits(queues);
  if (take != nullptr) {
    const auto wanted = parse_condition(take);
    if (!wanted) return wanted.error();
    o.take = *wanted;
  }
  if (const error* wrong = uri.stop()) return *wrong;
  auto made = device::af_xdp::open(uri.name(), o);
  if (!made) return made.error();
  return device::any_device::make<device::af_xdp>(uri.name(), std::move(*made));
}

#endif  // defined(__linux__)

// A kind that is added needs a function above, and a line here.
template <class Uri>
struct device_kind {
  const char* name;
  opened_device (*open)(Uri&, pool*) noexcept;
};
template <class Uri>
inline constexpr device_kind<Uri> device_kinds[] = {
    {"pcap", open_capture<Uri>},  {"null", open_null<Uri>}, {"link", open_link<Uri>},
#if defined(__linux__)
    {"tap", open_tap<Uri>},       {"tun", open_tun<Uri>},   {"af_packet", open_af_packet<Uri>},
    {"af_xdp", open_af_xdp<Uri>},
#endif
};

// By its kind.
template <class Uri>
opened_device open_any(Uri& uri, const char* said, pool* memory) noexcept {
  for (const auto& kind : device_kinds<Uri>)
    if (same_text(kind.name, uri.kind())) return kind.open(uri, memory);
  if (uri.kind()[0] == '\0') return *uri.problem();
  text<96> advice;
  const char* between = "there are ";
  for (const auto& kind : device_kinds<Uri>) {
    advice << between << kind.name;
    between = ", ";
  }
  return error("open", "read", short_name(said).c_str(), "there is no such kind of device", advice.c_str());
}

}  // namespace runnel::detail

namespace runnel::device {

/// Opens the device that `uri` describes: `kind:name?option=value&option`, at most 255 characters, no escapes. Its pool
/// is its own, or `memory`, which must outlive it then. An unknown kind, option or value is an error that lists those
/// that there are; what else fails is said by the device.
template <class Uri = detail::device_uri>
[[nodiscard]] result<any_device, error> open(const char* uri, pool* memory = nullptr) noexcept {
  Uri parts(uri);
  return detail::open_any(parts, uri, memory);
}

/// Reads what `open` would, and opens nothing: true, or what is wrong with the kind, its options and their values. So a
/// program can look at all of its configuration first. Whether there is such an interface or file is not asked.
template <class Uri = detail::device_uri>
[[nodiscard]] result<bool, error> check(const char* uri) noexcept {
  Uri parts(uri, detail::uri_use::check);
  const auto never_opened = detail::open_any(parts, uri, nullptr);
  if (parts.passed()) return true;
  return never_opened.error();
}

}  // namespace runnel::device

#endif  // defined(__unix__) || defined(__APPLE__)

#endif
