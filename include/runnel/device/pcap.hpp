// SPDX-License-Identifier: MIT
// Captures: read, replay and write pcap and pcapng files.
#ifndef RUNNEL_DEVICE_PCAP_HPP
#define RUNNEL_DEVICE_PCAP_HPP

#include <runnel/device/interface_descriptions.hpp>
#include <runnel/device/pcap_format.hpp>
#include <runnel/device/pcap_parser.hpp>
#include <runnel/device/pcap_reader.hpp>
#include <runnel/device/pcap_writer.hpp>
#include <runnel/device/pcapng_format.hpp>

#endif
