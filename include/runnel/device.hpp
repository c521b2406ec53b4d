// SPDX-License-Identifier: MIT
// Devices: null, link, captures, TAP, packet sockets; eBPF in the kernel; pools in mapped memory; the system's clock;
// workers. On a target without an operating system those that need none.
#ifndef RUNNEL_DEVICE_ALL_HPP
#define RUNNEL_DEVICE_ALL_HPP

#include <runnel/device/af_packet.hpp>
#include <runnel/device/af_xdp.hpp>
#include <runnel/device/any_device.hpp>
#include <runnel/device/bpf.hpp>
#include <runnel/device/clock.hpp>
#include <runnel/device/device.hpp>
#include <runnel/device/faulty.hpp>
#include <runnel/device/limited.hpp>
#include <runnel/device/link.hpp>
#include <runnel/device/mapped_pool.hpp>
#include <runnel/device/named_link.hpp>
#include <runnel/device/network_interface.hpp>
#include <runnel/device/null.hpp>
#include <runnel/device/open.hpp>
#include <runnel/device/pcap.hpp>
#include <runnel/device/tap.hpp>
#include <runnel/device/traced.hpp>
#include <runnel/device/workers.hpp>
#include <runnel/device/xdp_hook.hpp>
#include <runnel/device/xdp_link.hpp>

#endif
