// SPDX-License-Identifier: MIT
// Match expressions over header fields and metadata, sets, rules, and their printing.
#ifndef RUNNEL_MATCH_ALL_HPP
#define RUNNEL_MATCH_ALL_HPP

#include <runnel/match/condition.hpp>
#include <runnel/match/constant_set.hpp>
#include <runnel/match/expression.hpp>
#include <runnel/match/hash_set.hpp>
#include <runnel/match/in.hpp>
#include <runnel/match/interval_set.hpp>
#include <runnel/match/locate.hpp>
#include <runnel/match/meta.hpp>
#include <runnel/match/parse_condition.hpp>
#include <runnel/match/parse_rules.hpp>
#include <runnel/match/prefix_set.hpp>
#include <runnel/match/print.hpp>
#include <runnel/match/rule_list.hpp>
#include <runnel/match/rules.hpp>
#include <runnel/match/subject.hpp>

#endif
