# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Objects of this process's runtime: a copy of one is the object itself, and none can be pickled."""

from __future__ import annotations

from typing import Any, Dict, TypeVar

from . import _errors

Self = TypeVar("Self", bound="Shared")


class Shared:
    """Immutable, or meant to be shared: copy.copy and copy.deepcopy return the same object. HINT is what to do instead
    of pickling."""

    HINT = ""

    def __copy__(self: Self) -> Self:
        return self

    def __deepcopy__(self: Self, memo: Dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> Any:
        text = f"a moec.{type(self).__name__} belongs to its process and is not pickled; {self.HINT}"
        raise _errors.error("MOEC_DTYPE", text)
