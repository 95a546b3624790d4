# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Packages that are damaged, of another version, or no packages: a sentence, and the process goes on."""

import ctypes
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import unittest

import tiny
from tiny import moec, np

from moec import _plan

MAGIC = (0x6365306D).to_bytes(4, "little")
HEADER_BYTES = ctypes.sizeof(_plan._Header).to_bytes(4, "little")


class PackageCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.data = pathlib.Path(tiny.package()).read_bytes()

    def library(self, data, name="libtiny.so"):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def package(self, **changes):
        """A folder as `moec compile --emit shared` writes it."""
        root = self.folder / "pkg"
        shutil.rmtree(root, ignore_errors=True)
        (root / "lib").mkdir(parents=True)
        (root / "share" / "tiny").mkdir(parents=True)
        (root / "lib" / "libtiny.so").write_bytes(self.data)
        digest = "sha256:" + hashlib.sha256(self.data).hexdigest()
        manifest = {"schema": "moec.manifest/1", "name": "tiny", "files": {"lib/libtiny.so": digest}, **changes}
        (root / "share" / "tiny" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        return root

    def refused(self, status, pattern, path):
        with self.assertRaisesRegex(moec.MoecError, pattern) as caught:
            moec.load(path)
        self.assertEqual(caught.exception.status, status, caught.exception)

    def works(self, path):
        layer, x, roles = moec.load(path, threads=1), tiny.x_of(3), tiny.tensors()
        self.assertTrue(tiny.near(layer(x, layer.pack(roles)), tiny.expected(x, roles)))
        return layer

    def plan(self):
        """Where the plan of the library lies in its file."""
        at = self.data.find(MAGIC)
        while self.data[at + 8 : at + 12] != HEADER_BYTES:
            self.assertGreaterEqual(at, 0, "the library has no plan of this runtime's size")
            at = self.data.find(MAGIC, at + 1)
        return at


class Folders(PackageCase):
    def test_whole(self):
        root = self.package()
        layer = self.works(root)
        self.works(str(root))
        package = moec.Package(root)
        self.assertEqual((package.name, os.fspath(package), str(package)), ("tiny", str(root), str(root)))
        self.assertEqual(layer.manifest["schema"], "moec.manifest/1")
        self.works(package)

    def test_changed_library(self):
        root = self.package()
        changed = bytearray(self.data)
        changed[self.plan() + 100] ^= 1
        (root / "lib" / "libtiny.so").write_bytes(changed)
        self.refused("MOEC_FILE_FORMAT", "libtiny.so is damaged: .*compile it again", root)

    def test_manifest(self):
        root = self.package(schema="moec.manifest/2")
        self.refused("MOEC_VERSION_MISMATCH", "has the schema 'moec.manifest/2', expected 'moec.manifest/1'", root)
        self.refused("MOEC_FILE_FORMAT", "names another layer, '../x'", self.package(name="../x"))
        self.refused("MOEC_FILE_FORMAT", "names another layer, 7", self.package(name=7))
        for files in ([], {}, {"lib/libtiny.so": 7}):
            self.refused("MOEC_FILE_FORMAT", "libtiny.so is damaged", self.package(files=files))
        root = self.package()
        for text in (b"{", b"\xff\xfe", b"[" * 100000, b"[]", b"", b"null"):
            (root / "share" / "tiny" / "manifest.json").write_bytes(text)
            with self.assertRaisesRegex(moec.MoecError, "manifest.json"):
                moec.load(root)
        (root / "share" / "tiny" / "manifest.json").unlink()
        self.refused("MOEC_FILE_FORMAT", "is not a package of moec: it has no share/NAME/manifest.json", root)

    def test_two_layers(self):
        root = self.package()
        shutil.copytree(root / "share" / "tiny", root / "share" / "other")
        self.refused("MOEC_FILE_FORMAT", "it has more than one share/NAME/manifest.json", root)

    def test_static_library_only(self):
        root = self.package()
        (root / "lib" / "libtiny.so").rename(root / "lib" / "libtiny.a")
        self.refused("MOEC_FILE", "has no lib/libtiny.so: compile it with --emit shared", root)

    def test_no_package(self):
        self.refused("MOEC_DTYPE", "package is of type NoneType, expected a path", None)
        self.refused("MOEC_FILE", "no package at .*nowhere", self.folder / "nowhere")
        self.refused("MOEC_FILE_FORMAT", "is not a package of moec", self.folder)


class Libraries(PackageCase):
    def test_renamed(self):
        self.assertEqual(self.works(self.library(self.data, "layer.so.1")).name, "tiny")

    def test_cut_off(self):
        for size in (0, 3, 63, 64, 400, 4096, len(self.data) // 2):
            pattern = "is not a shared library|is cut off"
            self.refused("MOEC_FILE_FORMAT", pattern, self.library(self.data[:size], f"lib{size}.so"))

    def test_other_files(self):
        self.refused("MOEC_FILE_FORMAT", "is not a shared library", self.library(b"hello" * 100))
        archive = "is not a shared library; compile it with --emit shared"
        self.refused("MOEC_FILE_FORMAT", archive, self.library(b"!<arch>\n" * 100, "libtiny.a"))
        machine = bytearray(self.data)
        machine[18] = 183  # AArch64
        self.refused("MOEC_FILE_FORMAT", "is not a shared library for x86-64", self.library(machine))

    def test_other_libraries(self):
        runtime = moec._native.lib._name
        self.refused("MOEC_FILE_FORMAT", "is not a package of moec: it exports no NAME_package", runtime)

    def test_symbols_that_are_damaged(self):
        changed = bytearray(self.data)
        changed[40:48] = (len(changed) - 8).to_bytes(8, "little")  # where the section headers are
        self.refused("MOEC_FILE_FORMAT", "exports no NAME_package", self.library(changed))

    def test_other_versions(self):
        for offset, value, text in ((4, 2, "ABI 2.0"), (6, 9, "ABI 1.9"), (8, 240, "size")):
            changed = bytearray(self.data)
            at = self.plan() + offset
            changed[at : at + 2] = value.to_bytes(2, "little")
            with self.assertRaises(moec.MoecError) as caught:
                moec.load(self.library(changed, f"v{offset}.so"))
            self.assertEqual(caught.exception.status, "MOEC_VERSION_MISMATCH", caught.exception)

    def test_damaged_plans(self):
        """A library whose plan is damaged somewhere is refused, or loaded where the bit means nothing; never a crash."""
        random, start = np.random.default_rng(7), self.plan()
        refused = 0
        for trial in range(60):
            changed = bytearray(self.data)
            changed[start + 12 + int(random.integers(0, 2000))] ^= 1 << int(random.integers(0, 8))
            path = self.library(changed, f"d{trial}.so")
            try:
                moec.load(path)
            except moec.MoecError as error:
                refused += 1
                self.assertTrue(str(error))
            path.unlink()
        self.assertGreater(refused, 8)

    def test_compiled_again_while_somebody_else_has_the_old_one_open(self):
        """ctypes knows the plain name for the old file."""
        path = self.library(self.data)
        other = ctypes.CDLL(str(path))
        at = self.plan() + _plan._Header.max_tokens.offset
        changed = self.data[:at] + (256).to_bytes(8, "little") + self.data[at + 8 :]
        self.library(changed, "next.so").replace(path)
        self.assertEqual(moec.load(path, threads=1).max_tokens, 256)
        del other

    def test_replaced_between_reading_and_opening(self):
        path, read = self.library(self.data), moec.Package.read
        at = self.plan() + _plan._Header.max_tokens.offset
        changed = self.data[:at] + (256).to_bytes(8, "little") + self.data[at + 8 :]
        reads = []

        def replaced(package):
            facts = read(package)
            reads.append(facts)
            if len(reads) == 1 or always:
                self.library(changed, "next.so").replace(path)
            return facts

        moec.Package.read, always = replaced, False
        self.addCleanup(setattr, moec.Package, "read", read)
        self.assertEqual(moec.load(path, threads=1).max_tokens, 256)
        self.assertEqual(len(reads), 2)
        always = True
        self.refused("MOEC_FILE", "is being replaced again and again", path)

    def test_compiled_again_while_the_old_one_is_in_use(self):
        path = self.library(self.data)
        old = moec.load(path, threads=1)
        at = self.plan() + _plan._Header.max_tokens.offset
        self.assertEqual(self.data[at : at + 8], (512).to_bytes(8, "little"))
        changed = self.data[:at] + (256).to_bytes(8, "little") + self.data[at + 8 :]
        self.library(changed, "next.so").replace(path)
        new = moec.load(path, threads=1)
        self.assertEqual((old.max_tokens, new.max_tokens), (512, 256))
        self.library(self.data, "next.so").replace(path)
        self.assertEqual(moec.load(path, threads=1).max_tokens, 512)
        x, roles = tiny.x_of(3), tiny.tensors()
        for layer in (old, new):
            self.assertTrue(tiny.near(layer(x, layer.pack(roles)), tiny.expected(x, roles)))


if __name__ == "__main__":
    unittest.main()
