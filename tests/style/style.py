# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The tree in -> one line per broken rule out, exit 1 when there is one: sizes, SPDX lines, names, links, leftovers.
import json
import os
import re
import subprocess
import sys

SOFT, HARD, COLUMNS = 500, 800, 120
SOURCES = (".h", ".hpp", ".cpp", ".c", ".td", ".mlir", ".py", ".sh", ".cmake", ".in", ".test", ".rs", ".toml")
BANNED = ("Utils", "Helpers", "Common", "Misc", "Manager", "New", "V2")
TOP = {"dsl", "codegen", "templates", "runtime", "examples", "tests", "CMakeLists.txt", "README.md",
       "CMakePresets.json", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}
# Names that tools ask for.
FIXED_NAMES = ("README.md", "CMakeLists.txt", "Cargo.toml", "build.rs", "lib.rs", "mod.rs", "__init__.py", "setup.py",
               "pyproject.toml", "MANIFEST.in", "LICENSE", "NOTICE", ".gitignore")
WIDE_TESTS = (".mlir", ".sh", ".in", ".test")  # of tests: texts that are compared as they stand
NOTES = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def files(root):
    git = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    if git.returncode == 0:
        return sorted(f for f in git.stdout.splitlines() if os.path.isfile(os.path.join(root, f)))
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [d for d in folders if not d.startswith((".", "build"))]
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names]
    return sorted(found)


def is_source(path):
    return path.endswith(SOURCES) or os.path.basename(path) in ("CMakeLists.txt", "run", "lit.cfg.py")


# Lines of a test that are a text: a literal, or part of a raw one.
def may_be_wide(path, line):
    if path.startswith("templates/package/"):  # lines of the files that it becomes
        return True
    return path.startswith("tests/") and (path.endswith(WIDE_TESTS) or line.lstrip()[:1] in ('"', "R", "{"))


def check_source(path, lines):
    if path.startswith("tests/golden/"):
        return
    if len(lines) > HARD:
        yield f"{path}: {len(lines)} lines, at most {HARD}"
    head = "".join(lines[:2])
    if "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception" not in head:
        yield f"{path}: no SPDX line at the top"
    for number, line in enumerate(lines, 1):
        if NOTES.search(line):
            yield f"{path}:{number}: a note instead of the work: {line.strip()}"
        if line.rstrip("\n") != line.rstrip("\n").rstrip() and not path.endswith(".test"):
            yield f"{path}:{number}: blanks at the end of the line"
        if len(line.rstrip("\n")) > COLUMNS and not may_be_wide(path, line):
            yield f"{path}:{number}: {len(line.rstrip())} columns, at most {COLUMNS}"


def check_name(path):
    stem = os.path.splitext(os.path.basename(path))[0]
    words = re.findall(r"[A-Z][a-z0-9]*|[a-z0-9]+", stem)
    for word in words:
        if word in BANNED or word.capitalize() in BANNED:
            yield f"{path}: banned word \"{word}\" in a file name"


def check_links(root, path, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        target = target.split("#")[0]
        if not target or re.match(r"[a-z]+:", target):
            continue
        if not os.path.exists(os.path.join(root, os.path.dirname(path), target)):
            yield f"{path}: link to {target}, which does not exist"


def main():
    root = os.path.abspath(sys.argv[1])
    problems, long_files, stems = [], [], {}
    for path in files(root):
        top = path.split("/")[0]
        if top not in TOP and not top.startswith("."):
            problems.append(f"{top}: not one of the folders and files of the top level")
        if is_source(path):
            problems += check_name(path)
        name = os.path.basename(path)
        if path.startswith(("dsl/", "codegen/", "runtime/")) and name not in FIXED_NAMES:
            if name in stems:
                problems.append(f"{path}: same file name as {stems[name]}")
            stems[name] = path
        if not (is_source(path) or path.endswith(".md")):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as f:
            lines = f.readlines()
        if path.endswith(".md"):
            problems += check_links(root, path, "".join(lines))
            continue
        problems += check_source(path, lines)
        if SOFT < len(lines) <= HARD:
            long_files.append(f"{path}: {len(lines)} lines, more than {SOFT}")
    with open(os.path.join(root, "CMakePresets.json"), encoding="utf-8") as f:
        json.load(f)
    for line in long_files:
        print("note:", line)
    for problem in sorted(set(problems)):
        print("error:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
