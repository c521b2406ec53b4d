// SPDX-License-Identifier: MIT
// runnel: packet processing as a library. Includes all portable parts, and the devices of this platform.
#ifndef RUNNEL_RUNNEL_HPP
#define RUNNEL_RUNNEL_HPP

#include <runnel/base.hpp>
#include <runnel/config.hpp>
#include <runnel/device.hpp>
#include <runnel/flow.hpp>
#include <runnel/fwd.hpp>
#include <runnel/hook.hpp>
#include <runnel/ip.hpp>
#include <runnel/match.hpp>
#include <runnel/packet.hpp>
#include <runnel/track.hpp>
#include <runnel/version.hpp>
#include <runnel/wire.hpp>
#include <runnel/xdp.hpp>

#endif
