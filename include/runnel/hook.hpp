// SPDX-License-Identifier: MIT
// Hook points, chains in the order of their priorities, the targets of their rules, and tables of them as text.
#ifndef RUNNEL_HOOK_ALL_HPP
#define RUNNEL_HOOK_ALL_HPP

#include <runnel/hook/chain.hpp>
#include <runnel/hook/hook_point.hpp>
#include <runnel/hook/nat_target.hpp>
#include <runnel/hook/parse_rule_table.hpp>
#include <runnel/hook/print_rule_table.hpp>
#include <runnel/hook/rule_table.hpp>
#include <runnel/hook/rule_table_slot.hpp>
#include <runnel/hook/targets.hpp>
#include <runnel/hook/ways.hpp>

#endif
