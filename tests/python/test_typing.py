# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""mypy --strict of the package, and of a program that uses it; run by run.sh."""

import os
import subprocess
import sys

import pytest
import tiny

pytest.importorskip("mypy")
PYTHON = tiny.ROOT / "runtime" / "bindings" / "python"
PROGRAM = """
import moec
from typing import Any


def run(x: Any) -> float:
    package = moec.compile({"moec": 1}, target=["cpu"], reports="all")
    layer = moec.load(package, pool=moec.Pool(threads=2))
    w: moec.Weights = layer.load("model.safetensors", "model.", adapters=[("adapter", "")])
    y = layer(x, w, want=("ids",))
    timing: moec.Timing = moec.bench(layer, w)[0]
    moec.load("package", treads=2)
    return timing.median + moec.testing.compare(layer, lambda x: x, weights=w).error + layer.hidden + len(y)
"""


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", "--strict", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    return subprocess.run(command, cwd=PYTHON, env={**os.environ, "MYPYPATH": "src"}, **pipes).stdout


def test_the_package(tmp_path):
    assert mypy("--cache-dir", str(tmp_path)).startswith("Success")


def test_a_program(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM, "utf-8")
    output = mypy("--cache-dir", str(tmp_path / "cache"), str(file))
    lines = [line for line in output.splitlines() if ": error: " in line]
    assert len(lines) == 1 and 'program.py:12: error: Unexpected keyword argument "treads"' in lines[0], output
