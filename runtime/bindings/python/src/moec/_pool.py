# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Threads for any number of layers."""

from __future__ import annotations

import ctypes
import weakref
from ctypes import byref, c_void_p
from typing import Callable, Dict, Optional

from . import _errors, _native
from ._native import check, lib
from ._shared import Shared
from ._weights import destroy

_ON_START = ctypes.CFUNCTYPE(None, c_void_p, ctypes.c_int32)


class Pool(Shared):
    """Threads that layers share: moec.load(package, pool=pool).

    threads          workers, the calling thread included; None: the CPUs that this thread may use
    spin_us          microseconds that an idle worker spins before it sleeps; None: 50, 0: it sleeps at once
    wait             what a call does that finds the pool running another call: False, it runs on its own thread alone;
                     True, it waits for its turn and then has all workers
    on_thread_start  called first on each thread that the pool starts, with its number 1 .. threads-1: the place for
                     os.sched_setaffinity. An exception in it is printed and ignored

    The first call that needs them starts the threads; a forked child starts its own. They end with the pool's last
    layer. Errors: MOEC_INVALID_ARGUMENT.

    >>> layer = moec.load(package, pool=moec.Pool(threads=2))
    """

    HINT = "make one in the other process"

    def __init__(
        self,
        threads: Optional[int] = None,
        *,
        spin_us: Optional[int] = None,
        wait: bool = False,
        on_thread_start: Optional[Callable[[int], object]] = None,
    ) -> None:
        options = _native.PoolOptions(struct_size=ctypes.sizeof(_native.PoolOptions))
        options.threads = _native.count("threads", threads)
        options.spin_us = -1 if spin_us == 0 else _native.count("spin_us", spin_us)
        options.when_busy = 1 if wait else 0
        callback = None
        if on_thread_start is not None:
            if not callable(on_thread_start):
                text = f"on_thread_start is of type {type(on_thread_start).__name__}, expected a function of a number"
                raise _errors.error("MOEC_DTYPE", text)
            call = on_thread_start
            callback = _ON_START(lambda _, worker: call(worker) and None)
            options.on_thread_start = ctypes.cast(callback, c_void_p)
        self._box = c_void_p()
        check(lib.moec_pool_create(byref(options), byref(self._box)))
        finalizer = weakref.finalize(self, destroy, lib.moec_pool_destroy, self._box, callback)
        finalizer.atexit = False


_default: Dict[str, Pool] = {}


def default_pool() -> Pool:
    """The pool of layers that name neither threads nor a pool: one in a process, with all its CPUs. Without a lock,
    which a fork in another thread would leave locked in the child."""
    return _default.get("pool") or _default.setdefault("pool", Pool())
