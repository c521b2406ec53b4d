// SPDX-License-Identifier: MIT
// A device around a device that writes down what passes, in both directions.
//
//     auto out = pcap_writer::open("wan.pcapng");
//     device::traced wan(*nic, *out);
//     loop work{time, attach(wan, ... | transmit(wan))};
#ifndef RUNNEL_DEVICE_TRACED_HPP
#define RUNNEL_DEVICE_TRACED_HPP

#include <cstddef>  // size_t
#include <cstdint>  // uint16_t
#include <utility>  // forward

#include <runnel/base/time.hpp>
#include <runnel/device/around.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/pcap_record.hpp>
#include <runnel/packet/packet.hpp>

namespace runnel::device {

/// Writes every packet that `device` hands out, at the time when it was received, and every packet that it is given to
/// transmit, at that time, to `writer`: a pcap_writer, or whatever has its `write(frame, instant, packet_direction)`
/// and `write(packet, instant, packet_direction)`. Refers to both, which must outlive it.
///
/// What the device does not take is in the trace as well, and once more when it is given again. Packets keep the
/// numbers of their interfaces, so that one which is forwarded shows where it came from. With a number of its own, a
/// device has all that it passes under that number and its name, also beside others of the same thread in one capture:
///
///     device::traced wan(*eth0, *out, 0), lan(*eth1, *out, 1);
template <class Device, class Writer>
class traced : public detail::around_device<Device> {
 public:
  /// Around `device`, to `writer`.
  traced(Device& device, Writer& writer) noexcept : detail::around_device<Device>(device), writer_(&writer) {}
  /// The same, as the interface `number` of the capture, which has the name of the device, if it has one.
  traced(Device& device, Writer& writer, std::uint16_t number) noexcept
      : detail::around_device<Device>(device), writer_(&writer), numbered_(true), number_(number) {
    if constexpr (requires { writer.describe(number, device.name()); }) (void)writer.describe(number, device.name());
  }

  /// See `receiving_device`.
  template <class Take>
    requires receiving_device<Device>
  [[nodiscard]] std::size_t receive(std::size_t room, instant now, Take&& take) noexcept {
    return this->inner().receive(room, now, [&](const frame& f) {
      write(f, f.timestamp, packet_direction::inbound);
      take(f);
    });
  }
  /// See `transmitting_device`.
  [[nodiscard]] std::size_t transmit(packet* packets, std::size_t n, instant now) noexcept
    requires transmitting_device<Device>
  {
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint16_t iif = packets[i].iif();
      if (numbered_) packets[i].iif(number_);
      writer_->write(packets[i], now, packet_direction::outbound);
      packets[i].iif(iif);
    }
    return this->inner().transmit(packets, n, now);
  }
  /// See `frame_transmitting_device`.
  [[nodiscard]] std::size_t transmit(const frame* frames, std::size_t n, instant now) noexcept
    requires frame_transmitting_device<Device>
  {
    for (std::size_t i = 0; i < n; ++i) write(frames[i], now, packet_direction::outbound);
    return this->inner().transmit(frames, n, now);
  }

 private:
  void write(const frame& f, instant when, packet_direction direction) noexcept {
    if (!numbered_) return (void)writer_->write(f, when, direction);
    frame ours = f;
    ours.iif = number_;
    writer_->write(ours, when, direction);
  }

  Writer* writer_;
  bool numbered_ = false;
  std::uint16_t number_ = 0;
};

}  // namespace runnel::device

#endif
