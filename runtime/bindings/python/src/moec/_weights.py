# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Packed weights of a layer: who owns their memory, and files of them."""

from __future__ import annotations

import os
import tempfile
import weakref
from ctypes import c_void_p
from typing import Any, Union

from . import _errors
from ._arrays import Device, Kind
from ._memory import Memory
from ._native import lib
from ._shared import Shared

Path = Union[str, "os.PathLike[str]"]


class DeviceMemory:
    """Memory of a GPU, which belongs to a library of arrays."""

    def __init__(self, kind: Kind, nbytes: int, device: Device) -> None:
        self.kind = kind
        self.nbytes = nbytes
        self.owner, self.address = kind.device_bytes(nbytes, device)


def destroy(function: Any, box: c_void_p, *keeps: object) -> None:
    """Ends a native object once: its box is empty from then on, and the runtime refuses empty handles. `keeps` are what
    has to live until here."""
    pointer, box.value = box.value, None
    if pointer:
        function(c_void_p(pointer))


class Weights(Shared):
    """Packed weights, made by Layer.load, Layer.pack and Layer.map; immutable.

    They keep the layer and the memory that they need, and may be used with every layer of the same package and device.
    Deleting them frees both, in any order.
    """

    HINT = "use save(path), and Layer.map(path) in the other process"

    def __init__(self, handle: object, memory: Union[Memory, DeviceMemory], box: c_void_p, layer: str) -> None:
        self._box = box
        self._memory = memory
        self._layer = layer
        self._finalizer = weakref.finalize(self, destroy, lib.moec_weights_destroy, box, handle, memory)
        self._finalizer.atexit = False

    @property
    def nbytes(self) -> int:
        """Bytes of the packed form."""
        return self._memory.nbytes

    def give_up(self, nbytes: int, on_cpu: bool) -> Union[Memory, DeviceMemory]:
        """Ends these weights and returns their memory, if it is the runtime's to write, of that size and place."""
        memory = self._memory
        fits = memory.nbytes == nbytes and isinstance(memory, Memory) == on_cpu
        if not fits or not self._box.value or not getattr(memory, "writable", True):
            text = f"reuse is {self!r}, expected weights that this layer packed or loaded, and that were not given up"
            raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        self._finalizer()
        return memory

    def __repr__(self) -> str:
        return f"<moec.Weights of {self._layer}, {self.nbytes} bytes>"

    def save(self, path: Path) -> None:
        """Writes the packed form to a file, which Layer.map adopts. The file appears whole or not at all.

        Errors: MOEC_FILE.
        """
        target = os.fspath(path)
        memory = self._memory
        data = memory.view() if isinstance(memory, Memory) else memory.kind.to_host(memory.owner)
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(
                dir=os.path.dirname(os.path.abspath(target)), prefix=os.path.basename(target) + ".tmp-", delete=False
            ) as file:
                temporary = file.name
                file.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, target)
            temporary = None
        except OSError as reason:
            raise _errors.error("MOEC_FILE", f"cannot write {target}: {reason.strerror}") from None
        finally:
            if temporary is not None:
                os.unlink(temporary)
