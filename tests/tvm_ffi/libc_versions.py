# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""python3 libc_versions.py MAP LIBRARY: every function of a version script is one that LIBRARY has under the version
named there, and that version is what a program linked with glibc 2.34 would get: the newest up to 2.34. An older one
would be another function, such as pthread_cond_wait of LinuxThreads."""
import re
import subprocess
import sys

NEWEST = [2, 34]


def number(version):
    return [int(part) for part in version.removeprefix("GLIBC_").split(".")]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = re.sub(r"#.*", "", file.read())
    listed = {name: version for version, names in re.findall(r"(GLIBC_[0-9.]+) \{([^}]*)\}", text)
              for name in re.findall(r"\w+", names)}
    table = subprocess.run(["readelf", "-W", "--dyn-syms", sys.argv[2]], check=True, capture_output=True, text=True)
    versions = {}
    for name, version in re.findall(r" (\w+)@@?(GLIBC_[0-9.]+)", table.stdout):
        versions.setdefault(name, []).append(number(version))
    wrong = 0
    for name, version in sorted(listed.items()):
        expected = max((found for found in versions.get(name, []) if found <= NEWEST), default=None)
        if expected != number(version):
            print(f"error: {name} has version {version}, expected {expected}")
            wrong += 1
    print(f"{len(listed)} functions")
    return 1 if wrong or not listed else 0


if __name__ == "__main__":
    sys.exit(main())
