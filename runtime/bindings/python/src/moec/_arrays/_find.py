# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An array -> its kind. A library is imported only if the program has arrays of it already."""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, Optional

from .. import _errors
from .kind import Kind


def _numpy() -> Kind:
    from .numpy_kind import NumpyKind

    return NumpyKind()


def _viewed() -> Kind:
    from .numpy_kind import ViewedKind

    return ViewedKind()


def _torch() -> Kind:
    from .torch_kind import TorchKind

    return TorchKind()


def _jax() -> Kind:
    from .jax_kind import JaxKind

    return JaxKind()


def _cupy() -> Kind:
    from .cupy_kind import CupyKind

    return CupyKind()


_MAKERS: Dict[str, Callable[[], Kind]] = {
    "numpy": _numpy,
    "viewed": _viewed,
    "torch": _torch,
    "jax": _jax,
    "cupy": _cupy,
}
_made: Dict[str, Kind] = {}
_kinds: Dict[type, Kind] = {}


def _kind(name: str) -> Kind:
    kind = _made.get(name)
    if kind is None:
        kind = _made[name] = _MAKERS[name]()
    return kind


def register(array_type: type, kind: Kind) -> None:
    """Arrays of this very type are of that kind."""
    _kinds[array_type] = kind


def kind_of(array: Any, name: str) -> Kind:
    """The kind of an array; a sentence if it is none."""
    kind = _kinds.get(type(array))
    if kind is None:
        kind = _kinds[type(array)] = _resolve(array, name)
    return kind


def _resolve(array: Any, name: str) -> Kind:
    for base in type(array).__mro__:
        root = base.__module__.partition(".")[0]
        if base.__name__ == "MaskedArray" and root == "numpy":
            text = f"{name} is a masked array, and a layer would not see its mask; pass {name}.filled(0)"
            raise _errors.error("MOEC_DTYPE", text)
        if base.__name__ == "ndarray" and root in ("numpy", "cupy"):
            return _kind(root)
        if base.__name__ == "FakeTensor" and root == "torch":
            text = f"{name} is a FakeTensor, a shape without values; moec.torch.Layer can be traced with it"
            raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        if base.__name__ == "Tensor" and root == "torch":
            return _kind("torch")
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(array, jax.Array):
        return _kind("jax")
    on_cpu = hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] == 1
    if hasattr(array, "shape") and (on_cpu or hasattr(array, "__array_interface__")):
        return _kind("viewed")
    found = type(array).__name__
    text = f"{name} is of type {found}, expected an array of NumPy, torch, JAX or CuPy, or one with __dlpack__"
    raise _errors.error("MOEC_DTYPE", text)


def memory_kind(library: Optional[str]) -> Kind:
    """The library that allocates memory of a GPU where no array says which: the named one, else one that the program
    has imported, else one that is installed."""
    choices = (library,) if library else ("torch", "cupy")
    if any(choice not in ("torch", "cupy") for choice in choices):
        raise _errors.error("MOEC_INVALID_ARGUMENT", f'memory is {library!r}, expected "torch" or "cupy"')
    for choice in sorted(choices, key=lambda choice: choice not in sys.modules):
        try:
            return _kind(choice)
        except ImportError:
            continue
    raise _errors.error("MOEC_UNSUPPORTED_DEVICE", f"memory of a GPU comes from {' or '.join(choices)}: install it")
