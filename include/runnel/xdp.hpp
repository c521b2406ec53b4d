// SPDX-License-Identifier: MIT
// Early verdicts; eBPF programs, and match expressions lowered to them.
#ifndef RUNNEL_XDP_ALL_HPP
#define RUNNEL_XDP_ALL_HPP

#include <runnel/xdp/assembler.hpp>
#include <runnel/xdp/bpf_action.hpp>
#include <runnel/xdp/bpf_program.hpp>
#include <runnel/xdp/early.hpp>
#include <runnel/xdp/instruction.hpp>
#include <runnel/xdp/lower.hpp>
#include <runnel/xdp/print_instruction.hpp>

#endif
