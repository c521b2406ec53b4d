// SPDX-License-Identifier: MIT
// Hook points, chains in the order of their priorities, and the targets of their rules.
#ifndef RUNNEL_HOOK_ALL_HPP
#define RUNNEL_HOOK_ALL_HPP

#include <runnel/hook/chain.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/targets.hpp>

#endif
