// SPDX-License-Identifier: MIT
// What a device is. The concepts lie where the engine, which includes nothing below it, can see them.
#ifndef RUNNEL_DEVICE_DEVICE_HPP
#define RUNNEL_DEVICE_DEVICE_HPP

#include <runnel/flow/device_concepts.hpp>

#endif
