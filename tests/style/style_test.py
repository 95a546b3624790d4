# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A small tree that breaks every rule of style.py -> it says so; the same tree mended -> it does not.
import os
import subprocess
import sys
import tempfile

SPDX = "// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n"


def write(root, path, text):
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    with open(os.path.join(root, path), "w", encoding="utf-8") as f:
        f.write(text)


def check(root):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "style.py")
    done = subprocess.run([sys.executable, script, root], capture_output=True, text=True)
    return done.returncode, done.stdout


def main():
    broken = {
        "dsl/Long.cpp": (SPDX + "int x;\n" * 800, "801 lines, at most 800"),
        "dsl/NoLine.cpp": ("int x;\n", "no SPDX line"),
        "dsl/StringUtils.h": (SPDX, "banned word"),
        "dsl/Note.cpp": (SPDX + "// TO" + "DO later\n", "a note instead of the work"),
        "dsl/Blank.cpp": (SPDX + "int x; \n", "blanks at the end"),
        "README.md": ("[a](nowhere.md)\n", "link to nowhere.md"),
        "extra/file.txt": ("", "not one of the folders"),
    }
    for path, (text, message) in broken.items():
        with tempfile.TemporaryDirectory() as root:
            write(root, "CMakePresets.json", "{}")
            write(root, "runtime/fine.c", SPDX)
            code, out = check(root)
            assert code == 0 and out == "", out
            write(root, path, text)
            code, out = check(root)
            assert code == 1 and message in out, (path, out)
    print("style.py refuses what it should")


main()
