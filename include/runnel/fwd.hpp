// SPDX-License-Identifier: MIT
// The names of the types that headers pass by reference, for those who need no more.
#ifndef RUNNEL_FWD_HPP
#define RUNNEL_FWD_HPP

#include <cstddef>  // byte, size_t

/// Everything of this library.
namespace runnel {

template <class T, class E>
class result;
class error;
class text_writer;
struct duration;
struct instant;
struct frame;
struct layers;
class pool;
class packet;
class burst;
class cursor;
struct verdict;
struct subject;
struct context;
template <class Counters, class... Stages>
class pipeline;
class any_pipeline;
class connection;

}  // namespace runnel

#endif
