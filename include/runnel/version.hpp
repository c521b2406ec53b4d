// SPDX-License-Identifier: MIT
// The version of runnel. This file is its only source: CMake and Conan read it from here, and what cannot read it, as
// the manifests of vcpkg cannot, is compared with it by a test.
#ifndef RUNNEL_VERSION_HPP
#define RUNNEL_VERSION_HPP

#define RUNNEL_VERSION_MAJOR 0
#define RUNNEL_VERSION_MINOR 1
#define RUNNEL_VERSION_PATCH 0

#endif
