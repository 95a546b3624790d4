# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs and libraries of a wheel -> its platform tag, by the newest glibc and libstdc++ that they need."""

import platform
import re

from elftools.elf.elffile import ELFFile

# The glibc that systems with a libstdc++ of at least GLIBCXX_3.4.N have (the manylinux policies of auditwheel).
_LIBSTDCXX = {19: 17, 24: 24, 25: 27, 26: 28, 28: 31, 29: 34, 30: 35, 32: 38, 33: 39}


def needed_versions(path):
    """Versions of symbols that a file needs of other libraries: {"GLIBC_2.34", "GLIBCXX_3.4.30"}."""
    with open(path, "rb") as file:
        needs = ELFFile(file).get_section_by_name(".gnu.version_r")
        return {aux.name for _, auxes in needs.iter_versions() for aux in auxes} if needs else set()


def wheel_platform(paths):
    """manylinux_2_N: N is at least 17."""
    newest = 17
    for name in set().union(*(needed_versions(path) for path in paths)):
        glibc = re.fullmatch(r"GLIBC_2\.(\d+)(?:\.\d+)?", name)
        libstdcxx = re.fullmatch(r"GLIBCXX_3\.4\.(\d+)", name)
        if glibc:
            newest = max(newest, int(glibc[1]))
        elif libstdcxx:
            newest = max([newest, *(n for least, n in _LIBSTDCXX.items() if least <= int(libstdcxx[1]))])
    return f"manylinux_2_{newest}_{platform.machine()}"
