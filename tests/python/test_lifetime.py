# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Who lives how long: any order of deletion, cycles, many loads, many threads, forks, the end of the process."""

import copy
import ctypes
import gc
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import weakref

import tiny
from tiny import moec, np


def resident():
    """Bytes of memory in use."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def count(folder):
    return len(os.listdir(f"/proc/self/{folder}"))


def mappings():
    return len(pathlib.Path("/proc/self/maps").read_text().splitlines())


class Deletion(unittest.TestCase):
    def test_any_order(self):
        x, roles = tiny.x_of(4), tiny.tensors()
        wanted = tiny.expected(x, roles)
        for order in ("layer", "weights", "pool"):
            pool = moec.Pool(threads=2)
            layer = moec.load(tiny.package(), pool=pool)
            w = layer.pack(roles)
            self.assertTrue(tiny.near(layer(x, w), wanted))
            if order == "pool":
                del pool
                self.assertTrue(tiny.near(layer(x, w), wanted))
            elif order == "layer":
                del layer
                gc.collect()
                self.assertGreater(w.nbytes, 0)
                other = moec.load(tiny.package(), threads=1)
                self.assertTrue(tiny.near(other(x, w), wanted))
                del w
                gc.collect()
                self.assertTrue(tiny.near(other(x, other.pack(roles)), wanted))
            else:
                del w
                self.assertTrue(tiny.near(layer(x, layer.pack(roles)), wanted))

    def test_copies_are_the_object_and_pickles_are_refused(self):
        pool = moec.Pool(threads=1)
        layer = moec.load(tiny.package(), pool=pool)
        w, x = layer.pack(tiny.tensors()), tiny.x_of(4)
        for shared, hint in ((w, "use save"), (layer, "pass Layer.package"), (pool, "make one")):
            self.assertIs(copy.copy(shared), shared)
            self.assertIs(copy.deepcopy([shared])[0], shared)
            with self.assertRaisesRegex(moec.MoecTypeError, f"is not pickled; {hint}"):
                pickle.dumps(shared)
        other = copy.copy(w)
        del w
        gc.collect()
        self.assertTrue(tiny.near(layer(x, other), tiny.expected(x, tiny.tensors())))

    def test_the_library_is_closed_with_its_last_user(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "libtiny.so"
            path.write_bytes(pathlib.Path(tiny.package()).read_bytes())
            layer = moec.load(path, threads=1)
            w = layer.pack(tiny.tensors())
            self.assertIn(str(path), pathlib.Path("/proc/self/maps").read_text())
            del layer
            self.assertIn(str(path), pathlib.Path("/proc/self/maps").read_text())
            del w
            self.assertNotIn(str(path), pathlib.Path("/proc/self/maps").read_text())

    def test_cycles(self):
        """Objects in a cycle end in an order that nobody chooses, and finalizers of others may still call them."""
        ended = []

        class Owner:
            def __del__(self):
                try:
                    self.layer(tiny.x_of(1), self.w)
                    self.layer.pack(tiny.tensors())
                except moec.MoecError as error:
                    ended.append(str(error))
                else:
                    ended.append("")

        for _ in range(20):
            owner = Owner()
            owner.layer = moec.load(tiny.package(), threads=1)
            owner.w = owner.layer.pack(tiny.tensors())
            owner.layer.owner = owner.w.owner = owner
            del owner
        gc.collect()
        self.assertEqual(len(ended), 20)

    def test_arrays_are_not_kept(self):
        layer = moec.load(tiny.package(), threads=1)
        w = layer.pack(tiny.tensors())
        x = tiny.x_of(4)
        y, ids = layer(x, w, want="ids")
        ends = [weakref.ref(array) for array in (x, y, ids)]
        del x, y, ids
        self.assertEqual([end() for end in ends], [None] * 3)

    def test_errors_do_not_keep_weights(self):
        layer = moec.load(tiny.package(), threads=1)
        for _ in range(300):
            with self.assertRaises(moec.MoecError):
                layer.pack({})
        before = mappings()
        for _ in range(300):
            with self.assertRaises(moec.MoecError):
                layer.pack({})
        self.assertLessEqual(mappings(), before + 2)


class Growth(unittest.TestCase):
    def test_a_thousand_loads(self):
        x, roles = tiny.x_of(4), tiny.tensors()
        wanted = tiny.expected(x, roles)

        def once(threads):
            layer = moec.load(tiny.package(), threads=threads)
            w = layer.pack(roles)
            self.assertTrue(tiny.near(layer(x, w), wanted))

        for _ in range(100):
            once(1)
            once(2)
        gc.collect()
        before = (resident(), count("fd"), mappings(), count("task"))
        for _ in range(500):
            once(1)
            once(2)
        gc.collect()
        after = (resident(), count("fd"), mappings(), count("task"))
        print("1000 loads and unloads: memory, files, mappings, threads", before, "->", after)
        self.assertLess(after[0] - before[0], 1 << 20)
        self.assertEqual(after[1], before[1])
        self.assertLess(after[2] - before[2], 8)
        self.assertEqual(after[3], before[3])

    def test_a_hundred_thousand_calls(self):
        layer, x = moec.load(tiny.package(), threads=1), tiny.x_of(4)
        w, y = layer.pack(tiny.tensors()), np.empty_like(tiny.x_of(4))

        def calls():
            for _ in range(20000):
                layer(x, w)
                layer(x, w, out=y)
                layer(x, w, want="ids")

        calls()  # what the interpreter and its allocator keep
        calls()
        before = resident()
        calls()
        self.assertLess(resident() - before, 1 << 19)


class Concurrency(unittest.TestCase):
    def test_many_threads(self):
        layer = moec.load(tiny.package(), pool=moec.Pool(threads=2, wait=True))
        roles = [tiny.tensors(seed) for seed in range(3)]
        weights = [layer.pack(tensors) for tensors in roles]
        xs = [tiny.x_of(tokens, tokens) for tokens in (1, 5, 33, 200)]
        wanted = {(i, j): tiny.expected(x, roles[j]) for i, x in enumerate(xs) for j in range(3)}
        wrong = []

        def work(seed):
            random = np.random.default_rng(seed)
            for _ in range(60):
                i, j = int(random.integers(4)), int(random.integers(3))
                y, ids = layer(xs[i], weights[j], want="ids")
                if not tiny.near(y, wanted[i, j]) or ids.shape != (len(xs[i]), 2):
                    wrong.append((seed, i, j))
                if seed % 2:
                    mine = moec.load(tiny.package(), threads=1)
                    if not tiny.near(mine(xs[i], mine.pack(roles[j])), wanted[i, j]):
                        wrong.append((seed, "own"))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(len(layer._calls), 12)

    def test_a_call_releases_the_interpreter(self):
        """A pool's thread runs Python while the call that started it is inside of the runtime."""
        inside, seen = False, []

        def start(worker):
            seen.append((worker, inside, threading.get_ident()))

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)  # the interpreter changes threads only where one lets go of it
        try:
            x, end = tiny.x_of(512), time.monotonic() + 20
            w = moec.load(tiny.package(), threads=1).pack(tiny.tensors())  # packing may start a pool, too
            while not any(entry[1] for entry in seen) and time.monotonic() < end:
                pool = moec.Pool(threads=2, on_thread_start=start)
                layer = moec.load(tiny.package(), pool=pool)
                for _ in range(20):
                    inside = True
                    layer(x, w)
                    inside = False
        finally:
            sys.setswitchinterval(interval)
        self.assertIn((1, True), [entry[:2] for entry in seen])
        self.assertNotIn(threading.get_ident(), [entry[2] for entry in seen])

    def test_a_callback_lives_as_long_as_its_pool(self):
        from moec import _pool

        started = []
        pool = moec.Pool(threads=2, on_thread_start=started.append)
        layer = moec.load(tiny.package(), pool=pool)
        del pool
        gc.collect()
        others = [_pool._ON_START(lambda _, worker: started.append("another")) for _ in range(300)]
        w, end = layer.pack(tiny.tensors()), time.monotonic() + 20
        while not started and time.monotonic() < end:
            layer(tiny.x_of(300), w)
            time.sleep(0.001)
        self.assertEqual((started, len(others)), ([1], 300))

    def test_pool_that_raises_in_its_callback(self):
        def fail(worker):
            raise ValueError("no")

        seen = []
        hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: seen.append(str(unraisable.exc_value))
        try:
            layer = moec.load(tiny.package(), pool=moec.Pool(threads=2, on_thread_start=fail))
            x = tiny.x_of(300)
            w, end = layer.pack(tiny.tensors()), time.monotonic() + 30
            y = layer(x, w)
            while not seen and time.monotonic() < end:
                y = layer(x, w)
                time.sleep(0.001)
            self.assertTrue(tiny.near(y, tiny.expected(x, tiny.tensors())))
        finally:
            sys.unraisablehook = hook
        self.assertEqual(seen, ["no"])


class Forks(unittest.TestCase):
    def child(self, run):
        """The exit status of a child that runs it."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if run() else 1)
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
                os._exit(2)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return "the child hangs"

    def test_children_call_layers_of_their_parent(self):
        x, roles = tiny.x_of(300), tiny.tensors()
        wanted = tiny.expected(x, roles)
        layers = [moec.load(tiny.package(), threads=1), moec.load(tiny.package(), threads=3), moec.load(tiny.package())]
        weights = [layer.pack(roles) for layer in layers]
        for layer, w in zip(layers, weights):
            layer(x, w)

        def run():
            own = moec.load(tiny.package(), threads=2)
            good = tiny.near(own(x, own.pack(roles)), wanted)
            return good and all(tiny.near(layer(x, w), wanted) for layer, w in zip(layers, weights))

        self.assertEqual(self.child(run), 0)
        self.assertTrue(run())

    def test_fork_during_calls_of_other_threads(self):
        x, roles = tiny.x_of(300), tiny.tensors()
        wanted = tiny.expected(x, roles)
        layer = moec.load(tiny.package(), threads=2)
        w = layer.pack(roles)
        stop = threading.Event()

        def work():
            while not stop.is_set():
                layer(x, w)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                self.assertEqual(self.child(lambda: tiny.near(layer(x, w), wanted)), 0)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_the_process_ends_during_calls(self):
        program = (
            "import sys, threading; sys.path.insert(0, sys.argv[1]); import tiny; from tiny import moec\n"
            "layer = moec.load(tiny.package(), threads=2); w = layer.pack(tiny.tensors()); x = tiny.x_of(500)\n"
            "def work():\n    while True: layer(x, w)\n"
            "for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
            "for _ in range(20): layer(x, w)\n"
        )
        here = str(pathlib.Path(__file__).resolve().parent)
        for _ in range(5):
            done = subprocess.run([sys.executable, "-c", program, here], stderr=subprocess.PIPE, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, b""))


class Memory(unittest.TestCase):
    def test_more_than_there_is(self):
        from moec import _memory

        with self.assertRaisesRegex(moec.MoecError, "cannot map .* bytes") as caught:
            _memory.Memory(1 << 60)
        self.assertEqual(caught.exception.status, "MOEC_OUT_OF_MEMORY")

    def test_weights_begin_at_a_page_that_nobody_wrote(self):
        from moec import _memory

        memory = _memory.Memory(10000)
        self.assertEqual(memory.address % 4096, 0)
        self.assertEqual(ctypes.string_at(memory.address, 10000), bytes(10000))


if __name__ == "__main__":
    unittest.main()
