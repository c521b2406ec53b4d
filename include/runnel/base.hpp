// SPDX-License-Identifier: MIT
// What everything else stands on: bytes, numbers, text, time, results, timers, sleep, rings, slabs, hashes,
// random numbers.
#ifndef RUNNEL_BASE_ALL_HPP
#define RUNNEL_BASE_ALL_HPP

#include <runnel/base/byte_count.hpp>
#include <runnel/base/bytes.hpp>
#include <runnel/base/endian.hpp>
#include <runnel/base/error.hpp>
#include <runnel/base/hash.hpp>
#include <runnel/base/numeric.hpp>
#include <runnel/base/prefetch.hpp>
#include <runnel/base/random.hpp>
#include <runnel/base/result.hpp>
#include <runnel/base/ring.hpp>
#include <runnel/base/slab.hpp>
#include <runnel/base/sleeper.hpp>
#include <runnel/base/snapshot.hpp>
#include <runnel/base/text.hpp>
#include <runnel/base/time.hpp>
#include <runnel/base/timer_wheel.hpp>
#include <runnel/base/token_bucket.hpp>

#endif
