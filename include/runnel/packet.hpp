// SPDX-License-Identifier: MIT
// Packets: frames, packets, the pools they come from, bursts, cursors.
#ifndef RUNNEL_PACKET_ALL_HPP
#define RUNNEL_PACKET_ALL_HPP

#include <runnel/packet/burst.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/packet/cursor.hpp>
#include <runnel/packet/drop_reason.hpp>
#include <runnel/packet/frame.hpp>
#include <runnel/packet/layers.hpp>
#include <runnel/packet/packet.hpp>
#include <runnel/packet/pool.hpp>
#include <runnel/packet/verdict.hpp>

#endif
