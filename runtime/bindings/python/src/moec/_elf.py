# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The bytes of a shared object -> whether the dynamic linker may map it, and the package functions that it exports.

The linker trusts the headers of a file: one that was cut off ends the process with SIGBUS. This looks first.
"""

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Tuple

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SHARED, _X86_64, _LOAD, _DYNSYM = 3, 62, 1, 11
_SUFFIX = b"_package"


def problem(data: bytes) -> Optional[str]:
    """Why the bytes are not a whole shared object for x86-64; None: they are one."""
    if len(data) < _HEADER.size or data[:4] != b"\x7fELF":
        return "is not a shared library"
    ident, kind, machine, _, _, segments, _, _, _, segment_size, num_segments, _, _, _ = _HEADER.unpack_from(data)
    if ident[4:6] != b"\x02\x01" or kind != _SHARED or machine != _X86_64:
        return "is not a shared library for x86-64"
    if segment_size != _SEGMENT.size or segments + segment_size * num_segments > len(data):
        return "is cut off: its program headers lie behind its end"
    for index in range(num_segments):
        fields = _SEGMENT.unpack_from(data, segments + index * segment_size)
        if fields[0] == _LOAD and fields[2] + fields[5] > len(data):
            return f"is cut off: it has {len(data)} bytes of at least {fields[2] + fields[5]}"
    return None


def _sections(data: bytes) -> Iterator[Tuple[int, ...]]:
    fields = _HEADER.unpack_from(data)
    start, size, count = fields[6], fields[11], fields[12]
    if size == _SECTION.size and start + size * count <= len(data):
        for index in range(count):
            yield _SECTION.unpack_from(data, start + index * size)


def packages(data: bytes) -> List[str]:
    """Names NAME for which a whole shared object exports NAME_package, in ascending order."""
    sections = list(_sections(data))
    names = set()
    for section in sections:
        if section[1] != _DYNSYM or section[6] >= len(sections):
            continue
        strings = sections[section[6]]
        text = data[strings[4] : strings[4] + strings[5]]
        for offset in range(section[4], min(section[4] + section[5], len(data)) - _SYMBOL.size + 1, _SYMBOL.size):
            name_at, _, _, defined_in, _, _ = _SYMBOL.unpack_from(data, offset)
            end = text.find(b"\0", name_at)
            name = text[name_at:end]
            if defined_in and name.endswith(_SUFFIX) and len(name) > len(_SUFFIX):
                names.add(name[: -len(_SUFFIX)].decode("utf-8", "replace"))
    return sorted(names)
