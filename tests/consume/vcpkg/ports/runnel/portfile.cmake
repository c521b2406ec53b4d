# SPDX-License-Identifier: MIT
# An overlay port: packages the tree that it lies in. A release cannot hold its own hash, so only a registry's port can say
#
#   vcpkg_from_github(OUT_SOURCE_PATH SOURCE_PATH REPO <owner>/runnel REF "v${VERSION}" SHA512 <...> HEAD_REF main)
#
# in place of the next line; the rest is the same there. vcpkg looks at this folder, not at the headers, to find out whether
# it has the package already: install with --binarysource=clear after a change.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../../../.." ABSOLUTE)

set(VCPKG_BUILD_TYPE release) # header-only port

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DRUNNEL_TESTS=OFF
        -DRUNNEL_EXAMPLES=OFF
        -DRUNNEL_BENCH=OFF
        -DRUNNEL_INSTALL=ON
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/${PORT})
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/licenses") # the same as copyright
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
