# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A status of the runtime, or an error of the program moec -> an exception with a sentence."""

from __future__ import annotations

from typing import Dict, Optional, Type


class MoecError(Exception):
    """What went wrong, as a sentence.

    status  the runtime's status, "MOEC_SHAPE"; None for errors of the program moec
    code    the first diagnostic code of the program moec, "E-VALUE"; None for errors of the runtime
    exit    the exit status of the program moec (codegen/cli/README.md lists them); None for errors of the runtime
    """

    def __init__(
        self, text: str, status: Optional[str] = None, code: Optional[str] = None, exit: Optional[int] = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.exit = exit


class MoecValueError(MoecError, ValueError):
    """An argument with a wrong shape, size, stride, address or value."""


class MoecTypeError(MoecError, TypeError):
    """An argument of a wrong type, or an array of a wrong element type."""


_CLASSES: Dict[str, Type[MoecError]] = {
    "MOEC_INVALID_ARGUMENT": MoecValueError,
    "MOEC_SHAPE": MoecValueError,
    "MOEC_ALIGNMENT": MoecValueError,
    "MOEC_OVERLAP": MoecValueError,
    "MOEC_STRIDE": MoecValueError,
    "MOEC_TOKENS_OUT_OF_RANGE": MoecValueError,
    "MOEC_NULL_POINTER": MoecValueError,
    "MOEC_MISSING_WEIGHT": MoecValueError,
    "MOEC_DTYPE": MoecTypeError,
}


def error(status: str, text: str) -> MoecError:
    """The exception for a status, of the class that Python programs expect for it."""
    return _CLASSES.get(status, MoecError)(text, status=status)
