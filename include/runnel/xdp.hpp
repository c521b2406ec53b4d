// SPDX-License-Identifier: MIT
// Early verdicts.
#ifndef RUNNEL_XDP_ALL_HPP
#define RUNNEL_XDP_ALL_HPP

#include <runnel/xdp/early.hpp>

#endif
