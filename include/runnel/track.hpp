// SPDX-License-Identifier: MIT
// Connection tracking: which connection a packet belongs to, and what it is to it; and address translation.
#ifndef RUNNEL_TRACK_ALL_HPP
#define RUNNEL_TRACK_ALL_HPP

#include <runnel/track/connection.hpp>
#include <runnel/packet/connection_state.hpp>
#include <runnel/track/connection_table.hpp>
#include <runnel/track/connection_tuple.hpp>
#include <runnel/track/export.hpp>
#include <runnel/track/fast_path.hpp>
#include <runnel/track/flowtable.hpp>
#include <runnel/track/helpers.hpp>
#include <runnel/track/list.hpp>
#include <runnel/track/nat.hpp>
#include <runnel/track/nat_ftp.hpp>
#include <runnel/track/nat_options.hpp>
#include <runnel/track/nat_table.hpp>
#include <runnel/track/track.hpp>
#include <runnel/track/tracking_options.hpp>

#endif
