# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How lit runs the text tests of tests/: a .mlir or .test file holds its commands in RUN lines.
import os

import lit.formats

config.name = "moec"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["golden", "inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.build_tests_dir

path = [config.tools_dir, config.llvm_tools_dir, config.environment["PATH"]]
config.environment["PATH"] = os.pathsep.join(path)
config.substitutions.append(("%examples", os.path.join(config.test_source_root, os.pardir, "examples")))
config.substitutions.append(("%golden", os.path.join(config.test_source_root, "golden")))
if os.path.exists(os.path.join(config.tools_dir, "moec")):
    config.available_features.add("moec")
