# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The package from the tree, where it is not installed."""

import importlib.util
import pathlib
import sys

if importlib.util.find_spec("moec") is None:
    root = pathlib.Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(root / "runtime" / "bindings" / "python" / "src"))
