# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The wheels: built as a user builds them, with true tags, installed into a fresh environment that has nothing else of
moec; run by run.sh. MOEC_TEST_COMPILER_WHEEL=1 adds the wheel of the compiler, which takes a minute."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
import tiny

pytest.importorskip("setuptools")
pytest.importorskip("elftools")
PYTHON = tiny.ROOT / "runtime" / "bindings" / "python"
USE = """
import sys, numpy, moec
assert moec.__file__.startswith(sys.prefix), moec.__file__
layer = moec.load(sys.argv[1], threads=1)
tensors = {role: numpy.ones(shape, "float32") for role, shape in layer.roles.items()}
print(layer(numpy.zeros((2, layer.hidden), "float32"), layer.pack(tensors)).sum())
"""
COMPILE = """
import moec, sys
assert moec.program().startswith(sys.prefix), moec.program()
layer = moec.load(moec.compile("qwen3-30b-a3b", target="cpu:avx2"))
print(layer.name, layer.num_experts)
"""


def run(*command, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MOEC", "PYTHON", "LD_"))}
    done = subprocess.run(
        [str(part) for part in command],
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(source, folder, **environment):
    pip = [sys.executable, "-m", "pip", "wheel", ".", "--no-build-isolation", "--no-deps", "-q", "-w", folder]
    before = os.getcwd()
    os.chdir(source)
    try:
        run(*pip, **environment)
    finally:
        os.chdir(before)
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    return wheel


def check_tag(wheel):
    pytest.importorskip("auditwheel")
    platform = wheel.stem.split("-")[-1]
    assert platform.startswith("manylinux_2_")
    shown = " ".join(run(sys.executable, "-m", "auditwheel", "show", wheel).split())
    assert f'consistent with the following platform tag: "{platform}"' in shown, shown


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(PYTHON, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel)
    numpy = pathlib.Path(tiny.np.__file__).parent.parent
    (pathlib.Path(site) / "numpy.pth").write_text(f"{numpy}\n" if (numpy / "numpy").is_dir() else "", "utf-8")
    return python


def test_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"moec/libmoec.so", "moec/py.typed", "moec/_arrays/kind.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 1 << 20
    check_tag(wheel)


def test_fresh_environment(environment, tmp_path):
    assert run(environment, "-c", USE, tiny.package()) == "0.0\n"
    check = "import moec\ntry: moec.compile({})\nexcept moec.MoecError as error: print(error.code, error)"
    output = run(environment, "-c", check, PATH=str(tmp_path))
    assert output.startswith("E-TOOL the program moec is not installed: build it in a checkout of moec")


def test_the_runtime_of_the_wheel_is_its_own(environment):
    output = run(environment, "-c", "import moec; print(moec._native.lib._name)")
    assert output.strip().endswith("site-packages/moec/libmoec.so")


def test_source_distribution(tmp_path):
    (tmp_path / "source").mkdir()
    call = "import os, setuptools.build_meta as b; print(b.build_sdist({!r}))".format(str(tmp_path))
    before = os.getcwd()
    os.chdir(PYTHON)
    try:
        name = run(sys.executable, "-c", call).split()[-1]
    finally:
        os.chdir(before)
    run("tar", "-xf", tmp_path / name, "-C", tmp_path / "source", "--strip-components=1")
    assert (tmp_path / "source" / "runtime" / "moec.h").is_file()
    check_tag(build(tmp_path / "source", tmp_path / "built"))


@pytest.mark.skipif("MOEC_TEST_COMPILER_WHEEL" not in os.environ, reason="MOEC_TEST_COMPILER_WHEEL is not set")
def test_compiler(environment, tmp_path):
    compiler = build(PYTHON / "compiler", tmp_path / "compiler", MOEC=os.path.realpath(tiny.moec.program()))
    check_tag(compiler)
    print(f"{compiler.name}: {compiler.stat().st_size / (1 << 20):.0f} MiB")
    site = run(environment, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, compiler)
    output = run(environment, "-c", COMPILE, PATH="/nonexistent", MOEC_CACHE=str(tmp_path / "packages"))
    assert output == "qwen3_30b_a3b 128\n"
    library = pathlib.Path(site) / "moec_compiler"
    for program in ("moec", "ld.lld"):
        for line in run("ldd", library / "bin" / program).splitlines():
            path = line.split(" => ")[-1].split(" (")[0]
            system = ("libc.", "libm.", "libgcc_s.", "libstdc++.", "ld-linux", "linux-vdso", "/lib64/ld-linux")
            assert str(library) in path or line.strip().startswith(system), line
