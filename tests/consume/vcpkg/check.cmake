# SPDX-License-Identifier: MIT
# Runs the overlay port without vcpkg: cmake -DSOURCE=DIR -DWORK=DIR -P check.cmake
# The functions of vcpkg that it calls are stood in for by those below, which do what vcpkg documents of them, with a real
# configuration and a real installation. What vcpkg itself makes of the port this cannot tell.
cmake_minimum_required(VERSION 3.22)
file(REMOVE_RECURSE ${WORK})
set(port_dir ${SOURCE}/tests/consume/vcpkg/ports/runnel)
set(CURRENT_PACKAGES_DIR ${WORK}/packages)

function(expect)
  if(NOT (${ARGN}))
    list(JOIN ARGN " " condition)
    message(FATAL_ERROR "not so: ${condition}")
  endif()
endfunction()

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE said ERROR_VARIABLE said)
  if(NOT code EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}:\n${said}")
  endif()
  set(said "${said}" PARENT_SCOPE)
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" SOURCE_PATH OPTIONS)
  expect(NOT DEFINED arg_UNPARSED_ARGUMENTS AND VCPKG_BUILD_TYPE STREQUAL release)
  run(${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${WORK}/build -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR} ${arg_OPTIONS})
  if(said MATCHES "not used by the project")
    message(FATAL_ERROR "an option of the port is none of the project:\n${said}")
  endif()
endfunction()

function(vcpkg_cmake_install)
  run(${CMAKE_COMMAND} --build ${WORK}/build --target install)
endfunction()

# Moves the files to share/PORT, and lets them look for the prefix from there.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" CONFIG_PATH "")
  expect(NOT DEFINED arg_UNPARSED_ARGUMENTS AND EXISTS ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}/runnelConfig.cmake)
  set(up [[get_filename_component(_IMPORT_PREFIX "${_IMPORT_PREFIX}" PATH)]])
  file(GLOB files ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}/*)
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(REPLACE "${up}\n${up}\n${up}\n" "${up}\n${up}\n" text "${text}")
    file(WRITE ${CURRENT_PACKAGES_DIR}/share/${PORT}/${name} "${text}")
  endforeach()
  file(REMOVE_RECURSE ${CURRENT_PACKAGES_DIR}/share/cmake)
endfunction()

function(vcpkg_fixup_pkgconfig)
  expect(EXISTS ${CURRENT_PACKAGES_DIR}/share/pkgconfig/${PORT}.pc)
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" FILE_LIST)
  configure_file(${arg_FILE_LIST} ${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright COPYONLY)
endfunction()

# Both manifests say the same, and the version is the headers'.
file(READ ${SOURCE}/vcpkg.json library)
file(READ ${port_dir}/vcpkg.json port)
foreach(key name version description license supports)
  string(JSON of_library GET "${library}" ${key})
  string(JSON of_port GET "${port}" ${key})
  if(NOT of_library STREQUAL of_port)
    message(FATAL_ERROR "${key}: vcpkg.json says '${of_library}', the port's vcpkg.json '${of_port}'")
  endif()
endforeach()
string(JSON PORT GET "${port}" name)
string(JSON VERSION GET "${port}" version)
file(STRINGS ${SOURCE}/include/runnel/version.hpp lines REGEX "^#define RUNNEL_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "#define RUNNEL_VERSION_[A-Z]+ ([0-9]+)" "\\1" numbers "${lines}")
string(REPLACE ";" "." version "${numbers}")
if(NOT VERSION STREQUAL version)
  message(FATAL_ERROR "version.hpp says ${version}, vcpkg.json and the port's vcpkg.json say ${VERSION}")
endif()

# What stands in the package: headers, and below share what vcpkg wants there. Not debug/ and lib/, which would be empty.
include(${port_dir}/portfile.cmake)
file(GLOB top RELATIVE ${CURRENT_PACKAGES_DIR} ${CURRENT_PACKAGES_DIR}/*)
list(JOIN top " " top)
expect(top STREQUAL "include share")
file(GLOB_RECURSE share RELATIVE ${CURRENT_PACKAGES_DIR}/share ${CURRENT_PACKAGES_DIR}/share/*)
list(JOIN share " " share)
expect(share STREQUAL
       "pkgconfig/runnel.pc runnel/copyright runnel/runnelConfig.cmake runnel/runnelConfigVersion.cmake runnel/usage")

# A project that does what the usage says.
file(READ ${port_dir}/usage usage)
string(REGEX MATCHALL "[a-z_]+\\([^)]*\\)" commands "${usage}")
list(LENGTH commands number)
expect(number EQUAL 2)
list(JOIN commands "\n" commands)
string(REPLACE "target_link_libraries" "add_executable(main ${SOURCE}/tests/consume/project/main.cpp
  ${SOURCE}/tests/consume/project/other.cpp)\ntarget_link_libraries" commands "${commands}")
file(WRITE ${WORK}/project/CMakeLists.txt "cmake_minimum_required(VERSION 3.22)\nproject(user LANGUAGES CXX)\n${commands}\n")
run(${CMAKE_COMMAND} -S ${WORK}/project -B ${WORK}/project/build -DCMAKE_PREFIX_PATH=${CURRENT_PACKAGES_DIR})
run(${CMAKE_COMMAND} --build ${WORK}/project/build)
run(${WORK}/project/build/main)
file(REMOVE_RECURSE ${WORK})
