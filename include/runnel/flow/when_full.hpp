// SPDX-License-Identifier: MIT
// What happens where something is full: said by the type of a queue, and by who transmits.
#ifndef RUNNEL_FLOW_WHEN_FULL_HPP
#define RUNNEL_FLOW_WHEN_FULL_HPP

namespace runnel {

// What a queue does when it is full.
struct drop_tail {};  ///< refuses the newcomer (drop_reason::queue_full)
struct drop_head {};  ///< gives up its oldest packet for the newcomer (drop_reason::queue_head)
/// Holds its sources back: they are not polled for more than it has room for. A path that makes several of one packet,
/// two ways into the same queue, or one that a stage replaces in the middle of a burst, may still find it full: then it
/// refuses them.
/// Not for a graph that leads back to an earlier stage: full queues in a circle would wait for each other for ever.
struct hold {};

}  // namespace runnel

#endif
