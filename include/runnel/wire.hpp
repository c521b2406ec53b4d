// SPDX-License-Identifier: MIT
// Protocols: checked views, builders, printers; checksums, flow keys, the dissection of whole packets.
#ifndef RUNNEL_WIRE_ALL_HPP
#define RUNNEL_WIRE_ALL_HPP

#include <runnel/wire/address.hpp>
#include <runnel/wire/arp.hpp>
#include <runnel/wire/build.hpp>
#include <runnel/wire/checksum.hpp>
#include <runnel/wire/dissect.hpp>
#include <runnel/wire/ethernet.hpp>
#include <runnel/wire/field.hpp>
#include <runnel/wire/flow_key.hpp>
#include <runnel/wire/gre.hpp>
#include <runnel/wire/header_map.hpp>
#include <runnel/wire/icmp.hpp>
#include <runnel/wire/icmpv6.hpp>
#include <runnel/wire/ipv4.hpp>
#include <runnel/wire/ipv6.hpp>
#include <runnel/wire/ipv6_extension.hpp>
#include <runnel/wire/llc.hpp>
#include <runnel/wire/mpls.hpp>
#include <runnel/wire/ndp.hpp>
#include <runnel/wire/option_fields.hpp>
#include <runnel/wire/print_packet.hpp>
#include <runnel/wire/tcp.hpp>
#include <runnel/wire/tcp_options.hpp>
#include <runnel/wire/toeplitz.hpp>
#include <runnel/wire/tunnel.hpp>
#include <runnel/wire/udp.hpp>
#include <runnel/wire/vlan.hpp>
#include <runnel/wire/vlan_tag.hpp>
#include <runnel/wire/vxlan.hpp>

#endif
