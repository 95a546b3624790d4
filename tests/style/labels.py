# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Labels of constraints in headers and dialects -> one line per label without a check or without a test out; exit 1 when
# there is one, or when code or tests name a label that nothing defines.
#
# A label is a letter and a number, "D7". The text of its rule defines it, a message that begins with it checks it, and
# a test that expects this message tests it.
import glob
import os
import re
import sys

# where labels of a letter are defined, checked and tested
FAMILIES = {
    "S": ("codegen/schedule/Schedule.h", ["codegen/schedule/*.cpp"], ["tests/schedule/*.cpp"]),
    "D": ("codegen/schedule/CudaSchedule.h", ["codegen/schedule/*.cpp"], ["tests/schedule/*.cpp"]),
    "L": ("codegen/moe/LayerChecks.h", ["codegen/moe/*.cpp"], ["tests/moe/*"]),
    "P": ("codegen/plan/PlanStages.h", ["codegen/plan/*.cpp"], ["tests/plan/*"]),
}
DIALECTS = {"moe": ["codegen/moe/MoeOps.td"], "tile": ["codegen/tile/TileOps.td", "codegen/tile/TileCudaOps.td"]}


def read(root, patterns):
    text = ""
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(root, pattern))):
            if os.path.isfile(path):
                with open(path, encoding="utf-8") as file:
                    text += file.read()
    return text


def family_problems(root, letter, place):
    header, code, tests = place
    defined = set(re.findall(r"^//\s+(%s\d+)  " % letter, read(root, [header]), re.M))
    checked = set(re.findall(r'"(%s\d+)[:"]' % letter, read(root, code)))
    tested = set(re.findall(r"\b(%s\d+): " % letter, read(root, tests)))
    if not defined:
        yield f"{header}: defines no label {letter}1, {letter}2, ..."
    for label in sorted(defined - checked):
        yield f"{header}: {label} is defined, but no message begins with it"
    for label in sorted(defined - tested):
        yield f"{header}: {label} is defined, but no test expects its message"
    for label in sorted((checked | tested) - defined):
        yield f"{header}: {label} is checked or tested, but not defined"


def ops_of(text):
    """(mnemonic, labels of its description) of every op."""
    for part in re.split(r"^def ", text, flags=re.M)[1:]:
        head = re.match(r'\w+ : \w+<"(\w+)"', part)
        labels = set(re.findall(r"^\s+(C\d+)  ", part, re.M))
        if head and labels:
            yield head.group(1), labels


def dialect_problems(root, dialect, files):
    tests = read(root, [f"tests/{dialect}/*.mlir"])
    for mnemonic, labels in ops_of(read(root, files)):
        tested = set(re.findall(r"'%s\.%s' op (C\d+):" % (dialect, mnemonic), tests))
        # an op inside the region may be the one that is refused: the function then names op and label
        tested |= {"C" + number for number in re.findall(r"@%s_c(\d+)\w*\(" % mnemonic, tests)}
        for label in sorted(labels - tested):
            message = f"'{dialect}.{mnemonic}' op {label}:"
            yield f"{files[0]}: {dialect}.{mnemonic} has {label}, but no test expects \"{message}\""
        for label in sorted(tested - labels):
            yield f"{files[0]}: a test expects {label} of {dialect}.{mnemonic}, which does not define it"


def problems(root):
    for letter, place in FAMILIES.items():
        yield from family_problems(root, letter, place)
    for dialect, files in DIALECTS.items():
        yield from dialect_problems(root, dialect, files)


def main():
    found = list(problems(os.path.abspath(sys.argv[1])))
    for problem in found:
        print("error:", problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
