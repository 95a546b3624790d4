# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""moec.compile: what it takes, its errors, and the folder of compiled packages."""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

import tiny
from tiny import moec, np

SOURCE = tiny.ROOT / "runtime" / "bindings" / "python" / "src"
TARGET = "cpu:avx2"  # one instruction set compiles sooner than all
CALL = "import sys, moec; print(moec.compile(sys.argv[1], target='cpu:avx2').path)"


class CompileCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.real = moec.program()
        self.before = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(self.before)))
        os.environ["MOEC_CACHE"] = str(self.folder / "packages")
        self.spec = self.folder / "layer.json"
        self.spec.write_text(json.dumps(tiny.SPEC), "utf-8")

    def script(self, text):
        """MOEC is a shell script; $REAL in it is the real program."""
        path = self.folder / "moec"
        path.write_text(f"#!/bin/sh\nREAL={self.real}\n{text}\n", "utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        os.environ["MOEC"] = str(path)

    def counted(self):
        """MOEC counts how often it compiles."""
        log = self.folder / "log"
        log.write_text("")
        self.script(f'case "$*" in *compile*) echo "$*" >>{log};; esac\nexec "$REAL" "$@"')
        return lambda: len(log.read_text("utf-8").splitlines())

    def works(self, package):
        layer, x, roles = moec.load(package, threads=1), tiny.x_of(3), tiny.tensors()
        self.assertTrue(tiny.near(layer(x, layer.pack(roles)), tiny.expected(x, roles)))
        return layer

    def refused(self, code, pattern, *arguments, **options):
        with self.assertRaisesRegex(moec.MoecError, pattern) as caught:
            moec.compile(*arguments, **options)
        self.assertEqual(caught.exception.code or caught.exception.status, code)
        return caught.exception


class Sources(CompileCase):
    def test_dict_file_and_package_are_one_layer(self):
        made = moec.compile(tiny.SPEC, target=TARGET)
        self.assertEqual(
            self.works(made).manifest["spec_sha256"], moec.compile(self.spec, target=TARGET).manifest["spec_sha256"]
        )
        self.works(moec.compile(self.spec, target=TARGET))
        self.works(moec.compile(made.path / "share" / "tiny"))

    def test_preset_and_flags(self):
        package = moec.compile(
            "qwen3-30b-a3b",
            target=("cpu:avx2", "cpu:baseline"),
            max_tokens=16,
            reports=("logit_max",),
            det="batch",
            name="small",
            jobs=1,
        )
        options = package.manifest["made_from"]["options"]
        self.assertEqual((options["max_tokens"], options["determinism"], package.name), (16, "batch", "small"))
        self.assertEqual(sorted(package.manifest["isas"]), ["avx2", "baseline"])
        layer = moec.load(package)
        self.assertEqual((layer.x_dtype, layer.num_experts, layer.max_tokens), ("bfloat16", 128, 16))
        self.assertIn("logit_max", layer.outputs)

    def test_reports(self):
        layer = moec.load(moec.compile(tiny.SPEC, reports="all", target=TARGET), threads=1)
        w, x = layer.pack(tiny.tensors()), tiny.x_of(6)
        names = ("probabilities", "logit_max", "choice_counts", "dropped_tokens", "logits")
        y, probabilities, largest, counts, dropped, logits = layer(x, w, want=names)
        self.assertAlmostEqual(float(largest[0]), abs(logits).max(), places=5)
        self.assertTrue(abs(probabilities.sum(axis=1) - 1).max() < 1e-5)
        self.assertEqual((counts.sum(), dropped.tolist(), probabilities.shape), (12, [0], (6, 4)))
        y, probabilities, counts = layer(x[:0], w, want=("probabilities", "choice_counts"))
        self.assertEqual((probabilities.shape, counts.tolist()), ((0, 4), [0] * 4))
        self.assertTrue(layer(x[:0], w, want="logit_max")[1] != layer(x[:0], w, want="logit_max")[1])

    def test_out(self):
        out = self.folder / "pkg"
        package = moec.compile(tiny.SPEC, out, emit="both", target=TARGET)
        self.assertTrue((out / "lib" / "libtiny.a").is_file())
        self.works(package)
        self.assertEqual(os.fspath(package), str(out))
        self.refused("E-EXISTS", "pkg", tiny.SPEC, out)
        self.works(moec.compile(tiny.SPEC, str(out), force=True, target=TARGET))
        self.assertFalse((self.folder / "packages").exists())


class Errors(CompileCase):
    def test_specs(self):
        error = self.refused("E-MISSING", 'spec:1:1: error.*key "hidden" is required', {"moec": 1})
        self.assertEqual(error.exit, 3)
        self.refused("MOEC_DTYPE", "spec is not JSON", {"moec": {1, 2}})
        self.refused("MOEC_DTYPE", "spec is not JSON", {"moec": float("nan")})
        self.refused("E-FILE", "no file and no preset has this name", "nowhere")
        with self.assertRaises(moec.MoecError):
            moec.compile(tiny.SPEC, target="cpu:z80")
        self.refused("MOEC_INVALID_ARGUMENT", "emit is 'static'", tiny.SPEC, emit="static")
        self.assertEqual([p.name for p in (self.folder / "packages").glob("*tmp*")], [])

    def test_programs(self):
        os.environ["MOEC"] = str(self.folder / "none")
        self.refused("E-TOOL", "MOEC is .*none, which is not a program", tiny.SPEC)
        self.script('echo "moec 9.1.0 (package ABI 3.0, LLVM 30)"')
        self.refused(None, "is 'moec 9.1.0', this package needs moec 0.1.0", tiny.SPEC)
        self.script('case "$*" in *version*) exec "$REAL" "$@";; esac; echo "broken" >&2; kill -SEGV $$')
        self.assertEqual(self.refused(None, "broken", tiny.SPEC).exit, -11)
        self.script('case "$*" in *version*) exec "$REAL" "$@";; esac; exec sleep 30')
        self.refused("E-TIMEOUT", "took more than 0.2 s", tiny.SPEC, timeout=0.2)
        self.script("exit 1")
        self.refused(None, "ended with exit status 1", tiny.SPEC)

    def test_a_folder_is_not_read(self):
        """A checkpoint's folder: refused before its files are read, here by a pipe that nobody writes."""
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "model.safetensors").write_bytes(b"x")
            read, moec._compile._cache.contents = moec._compile._cache.contents, None
            try:
                with self.assertRaisesRegex(moec.MoecError, "is a folder, expected a package") as caught:
                    moec.compile(folder)
            finally:
                moec._compile._cache.contents = read
            self.assertEqual(caught.exception.code, "E-FILE")

    def test_options_of_wrong_types(self):
        for pattern, options in (
            ("target is 3", {"target": 3}),
            (r"target is \[\]", {"target": []}),
            ("reports is 3", {"reports": 3}),
            ("spec is of type NoneType, expected a path", {"spec": None}),
            ("spec is of type int", {"spec": 3}),
            ("spec is not JSON: it has a value of type set", {"spec": {"moec": {1}}}),
        ):
            with self.subTest(pattern), self.assertRaisesRegex(moec.MoecTypeError, pattern):
                moec.compile(**{"spec": tiny.SPEC, **options})
        whole = moec.compile({**tiny.SPEC, "hidden": np.int64(tiny.H)}, max_tokens=np.int32(64), target=TARGET)
        self.assertEqual(moec.load(whole, threads=1).max_tokens, 64)

    def test_no_program(self):
        for name in ("MOEC", "PATH"):
            os.environ.pop(name, None)
        os.environ["PATH"] = str(self.folder)
        package = self.folder / "site" / "moec"
        shutil.copytree(SOURCE / "moec", package, ignore=shutil.ignore_patterns("__pycache__"))
        program = "import sys, moec\ntry: moec.compile({})\nexcept moec.MoecError as e: print(e.code, e)"
        environment = {**os.environ, "PYTHONPATH": str(package.parent), "MOEC_LIBRARY": moec._native.lib._name}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.assertIn("E-TOOL the program moec is not installed: build it in a checkout", done.stdout)

    def test_folder_that_cannot_be_written(self):
        file = self.folder / "file"
        file.write_text("")
        os.environ["MOEC_CACHE"] = str(file / "packages")
        self.refused("MOEC_FILE", "cannot write the folder of compiled packages .*set MOEC_CACHE", tiny.SPEC)


class Folder(CompileCase):
    def test_compiled_once(self):
        compilations = self.counted()
        first = moec.compile(self.spec, target=TARGET)
        self.assertEqual(moec.compile(self.spec, target=TARGET).path, first.path)
        self.assertEqual(compilations(), 1)

    def test_everything_that_determines_the_bytes(self):
        def compiled(**options):
            return moec.compile(self.spec, target=TARGET, **options).path

        paths = [compiled(), compiled(max_tokens=17)]
        records = self.folder / "layer.tune.jsonl"
        records.write_text("", "utf-8")
        paths.append(compiled())
        paths.append(compiled(tuning=records))
        templates = self.folder / "templates"
        (templates / "functions").mkdir(parents=True)
        paths.append(compiled(templates=templates))
        built_in = tiny.ROOT / "templates" / "functions" / "silu.mlir"
        shutil.copyfile(built_in, templates / "functions" / "silu.mlir")
        paths.append(compiled(templates=templates))
        self.spec.write_text(json.dumps({**tiny.SPEC, "name": "other"}), "utf-8")
        paths.append(compiled())
        self.counted()  # another program
        paths.append(compiled())
        self.assertEqual(len(set(paths)), len(paths))

    def test_damaged_entries_are_made_again(self):
        compilations = self.counted()
        package = moec.compile(self.spec, target=TARGET)
        os.truncate(package.library, 100)
        self.works(moec.compile(self.spec, target=TARGET))
        shutil.rmtree(package.path / "share")
        self.works(moec.compile(self.spec, target=TARGET))
        self.assertEqual(compilations(), 3)

    def test_many_processes(self):
        compilations = self.counted()
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        command = [sys.executable, "-c", CALL, str(self.spec)]
        runs = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(6)]
        paths = {run.communicate(timeout=120)[0] for run in runs}
        self.assertEqual((len(paths), compilations()), (1, 1))
        self.works(moec.compile(self.spec, target=TARGET))

    def test_a_killed_process_leaves_nothing_that_is_taken_for_a_package(self):
        self.script('case "$*" in *version*) exec "$REAL" "$@";; esac; "$REAL" "$@"; kill -9 $PPID')
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        done = subprocess.run([sys.executable, "-c", CALL, str(self.spec)], env=environment, stderr=subprocess.DEVNULL)
        self.assertEqual(done.returncode, -9)
        os.environ["MOEC"] = self.real
        self.works(moec.compile(self.spec, target=TARGET))


if __name__ == "__main__":
    unittest.main()
