// SPDX-License-Identifier: MIT
// The version of runnel. This file is its only source: CMake, Conan and vcpkg read it from here.
#ifndef RUNNEL_VERSION_HPP
#define RUNNEL_VERSION_HPP

#define RUNNEL_VERSION_MAJOR 0
#define RUNNEL_VERSION_MINOR 1
#define RUNNEL_VERSION_PATCH 0

#endif
