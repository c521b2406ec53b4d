// SPDX-License-Identifier: MIT
/// @file
/// The macros of runnel, all of them, documented in this one place. The library works with none of them set,
/// and none of them changes the layout of a type.
#ifndef RUNNEL_CONFIG_HPP
#define RUNNEL_CONFIG_HPP

/// RUNNEL_ASSERT(condition): what happens on a programming error that only shows at run time. Define it before
/// the first include to send it elsewhere: to your logger, to a debugger, or to nothing with `((void)0)`.
/// Unless you do, in builds without NDEBUG a failed condition aborts as `assert` does, with its text and place; without
/// glibc it traps. In builds with NDEBUG it is not evaluated.
#ifndef RUNNEL_ASSERT
#ifdef NDEBUG
#define RUNNEL_ASSERT(condition) ((void)0)
#else
#include <cstddef>  // __GLIBC__
#if defined(__GLIBC__) && !defined(__UCLIBC__)
// What glibc's `assert` calls. Not that itself, which spells out each function template that it stands in, with all
// arguments; nor its header, which would undo an `assert` of the user's.
extern "C" void __assert_fail(const char*, const char*, unsigned, const char*) noexcept __attribute__((__noreturn__));
#define RUNNEL_ASSERT(condition) ((condition) ? (void)0 : __assert_fail(#condition, __FILE__, __LINE__, __func__))
#endif
#endif
#endif
#ifndef RUNNEL_ASSERT
#define RUNNEL_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#endif

/// RUNNEL_INLINE: for the few functions on the data path whose call would cost more than their body, and for those that
/// put stages together: where GCC 12 calls a function with a stage by value, it forgets what the stage refers to, and
/// counts that a handler adds to are lost (-fipa-modref). Without optimising they are functions like others, which
/// halves what a large pipeline takes to compile, and a debugger steps through them.
#ifdef __OPTIMIZE__
#define RUNNEL_INLINE [[gnu::always_inline]] inline
#else
#define RUNNEL_INLINE inline
#endif

#endif
