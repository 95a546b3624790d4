# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A small tree that breaks every rule of style.py -> it says so; the same tree mended -> it does not.
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import english
import labels
import rooms

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
        "dsl/Wide.cpp": (SPDX + "int " + "x" * 117 + ";\n", "122 columns, at most 120"),
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


def check_rooms():
    with tempfile.TemporaryDirectory() as root:
        write(root, "dsl/a/A.h", "")
        write(root, "dsl/b/B.h", '#include "dsl/a/A.h"\n')
        assert list(rooms.problems(root, {"dsl/a": [], "dsl/b": ["dsl/a"]})) == []
        assert "may not include dsl/a" in list(rooms.problems(root, {"dsl/a": [], "dsl/b": []}))[0]
        circle = {"dsl/a": ["dsl/b"], "dsl/b": ["dsl/a"]}
        assert "circle: dsl/a -> dsl/b -> dsl/a" in list(rooms.problems(root, circle))[0]
        assert "does not; take it out" in list(rooms.problems(root, {"dsl/a": [], "dsl/b": ["dsl/a", "dsl/c"]}))[0]
        write(root, "dsl/b/B.cpp", '#include "dsl/b/C.h"\n')
        write(root, "dsl/b/C.h", '#include "dsl/b/B.h"\n')
        may = {"dsl/a": [], "dsl/b": ["dsl/a"]}
        assert list(rooms.problems(root, may, ["dsl/a"])) == []
        assert "circle: dsl/b/B -> dsl/b/C -> dsl/b/B" in list(rooms.problems(root, may, ["dsl/a", "dsl/b"]))[0]
        assert "not in rooms.py" in list(rooms.problems(root, {"dsl/a": []}))[0]


def check_labels():
    place = ("dsl/Rules.h", ["dsl/*.cpp"], ["tests/*.cpp"])
    with tempfile.TemporaryDirectory() as root:
        write(root, "dsl/Rules.h", "//     X1  a\n//     X2  b\n")
        write(root, "dsl/Rules.cpp", 'fail("X1"); fail("X3: c");')
        write(root, "tests/RulesTest.cpp", '"X1: a"')
        found = list(labels.family_problems(root, "X", place))
        assert found == ["dsl/Rules.h: X2 is defined, but no message begins with it",
                         "dsl/Rules.h: X2 is defined, but no test expects its message",
                         "dsl/Rules.h: X3 is checked or tested, but not defined"], found


def check_english():
    bad = ["int a; // a box, but for its edge", " * what is no box", "/* the parts of which two are joined */",
           "// errors are said", "// a list that stands behind the header", "// a gather is none"]
    for line in bad:
        assert list(english.findings("dsl/A.h", [line] if line[0] != " " else ["/* x", line])), line
    good = ["// the box is not a gather; there is no other", "// kinds of which", "int stands; // noise.kind is none",
            "a(); return but; for (;;)", "// a word stands for a number"]
    assert [f for line in good for f in english.findings("dsl/A.h", [line])] == [
        'dsl/A.h:1: "of which": a sentence of its own, or "whose": // kinds of which']
    assert english.is_read("codegen/cuda/Ptx.h") and not english.is_read("tests/golden/README.md")


main()
check_rooms()
check_english()
check_labels()
