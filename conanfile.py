# SPDX-License-Identifier: MIT
# The recipe for Conan 2. `conan create .` makes a package of this tree, and tests it.
import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load
from conan.tools.layout import basic_layout

required_conan_version = ">=2.0"


class RunnelConan(ConanFile):
    name = "runnel"
    description = "Packet processing as a header-only library: the journey of a packet through the Linux network stack"
    license = "MIT"
    topics = ("networking", "packet-processing", "firewall", "router", "pcap", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    exports_sources = "include/*", "LICENSE"
    no_copy_source = True
    test_package_folder = "tests/consume/conan/test_package"

    def set_version(self):
        # Called on export only, beside the headers: a recipe in the cache has its version from there.
        text = load(self, os.path.join(self.recipe_folder, "include", "runnel", "version.hpp"))
        self.version = ".".join(re.search(rf"^#define RUNNEL_VERSION_{part} (\d+)$", text, re.M)[1]
                                for part in ("MAJOR", "MINOR", "PATCH"))

    def layout(self):
        basic_layout(self)

    def package_id(self):
        self.info.clear()

    def validate(self):
        check_min_cppstd(self, 20)
        if self.settings.compiler == "msvc":
            raise ConanInvalidConfiguration("runnel needs GCC or Clang")

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"), os.path.join(self.package_folder, "include"))

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_file_name", "runnel")
        self.cpp_info.set_property("cmake_target_name", "runnel::runnel")
        self.cpp_info.set_property("pkg_config_name", "runnel")
