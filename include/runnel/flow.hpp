// SPDX-License-Identifier: MIT
// Pipelines: stages, branches, ends, queues, counters, the loop.
#ifndef RUNNEL_FLOW_ALL_HPP
#define RUNNEL_FLOW_ALL_HPP

#include <runnel/flow/any_pipeline.hpp>
#include <runnel/flow/attachment_group.hpp>
#include <runnel/flow/branch.hpp>
#include <runnel/flow/counters.hpp>
#include <runnel/flow/describe.hpp>
#include <runnel/flow/ends.hpp>
#include <runnel/flow/every.hpp>
#include <runnel/flow/handoff.hpp>
#include <runnel/flow/loop.hpp>
#include <runnel/flow/packet_ring.hpp>
#include <runnel/flow/parse.hpp>
#include <runnel/flow/pipeline.hpp>
#include <runnel/flow/ports.hpp>
#include <runnel/flow/queue.hpp>
#include <runnel/flow/stage.hpp>
#include <runnel/flow/tee.hpp>
#include <runnel/flow/timed_attachment.hpp>
#include <runnel/flow/trace.hpp>
#include <runnel/flow/wait.hpp>
#include <runnel/flow/when_full.hpp>

#endif
