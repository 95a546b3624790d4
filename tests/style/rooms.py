# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The tree in -> one line per include that points the wrong way out, exit 1 when there is one.
#
# A room is a folder. It includes itself and the rooms that MAY lists for it. MAY must have no circle, so that a reader
# can take the rooms in order. Every room of the compiler may use the headers of the compiler's root.
import os
import re
import sys

# room: rooms it includes
MAY = {
    "dsl/text": [],
    "dsl": ["dsl/text", "runtime"],
    "dsl/spec": ["dsl", "dsl/text"],
    "dsl/reference": ["dsl", "dsl/spec", "dsl/text"],
    "dsl/import": ["dsl", "dsl/text"],
    "runtime": [],
    "runtime/plan": ["runtime"],
    "runtime/weights": ["runtime", "runtime/plan"],
    "runtime/cuda": ["runtime", "runtime/plan", "runtime/weights"],
    "runtime/bindings/tvm_ffi": ["runtime", "runtime/layer"],
    "runtime/layer": ["runtime", "runtime/cuda", "runtime/plan", "runtime/weights"],
    "runtime/bindings/cpp": ["runtime/bindings/cpp/moec"],
    "runtime/bindings/cpp/moec": [],
    "codegen": ["dsl/text", "runtime"],
    "codegen/moe": ["codegen", "dsl/text", "runtime"],
    "codegen/build": ["codegen", "codegen/moe", "dsl", "dsl/spec", "dsl/text"],
    "codegen/grad": ["codegen", "codegen/build", "codegen/moe"],
    "codegen/interpret": ["codegen/moe", "dsl/reference"],
    "codegen/gradcheck": ["codegen", "codegen/build", "codegen/check", "codegen/grad", "codegen/interpret", "codegen/moe",
                          "dsl", "dsl/reference"],
    "codegen/fuse": ["codegen", "codegen/moe"],
    "codegen/package": ["codegen", "dsl", "dsl/spec", "dsl/text", "runtime", "runtime/plan"],
    "codegen/plan": ["codegen", "codegen/package", "codegen/fuse", "codegen/moe", "runtime", "runtime/plan"],
    "codegen/tile": ["codegen", "codegen/fuse", "codegen/moe", "codegen/plan", "dsl/text", "runtime"],
    "codegen/schedule": ["codegen", "codegen/tile", "dsl/text"],
    "codegen/lower": ["codegen", "codegen/plan"],
    "codegen/cpu": ["codegen", "codegen/lower", "codegen/moe", "codegen/plan", "codegen/tile"],
    "codegen/cuda": ["codegen", "codegen/fuse", "codegen/lower", "codegen/moe", "codegen/plan", "codegen/schedule",
                     "codegen/tile", "dsl/text", "runtime"],
    "codegen/emit": ["codegen", "codegen/cuda", "codegen/lower", "codegen/moe", "codegen/package", "codegen/plan", "dsl", "dsl/spec",
                     "dsl/text", "runtime"],
    "codegen/pipeline": ["codegen", "codegen/build", "codegen/cpu", "codegen/cuda", "codegen/emit", "codegen/fuse",
                         "codegen/grad",
                         "codegen/interpret", "codegen/moe", "codegen/plan", "codegen/schedule", "codegen/tile",
                         "codegen/tune", "dsl", "dsl/spec", "dsl/text", "runtime"],
    "codegen/tune": ["codegen", "codegen/schedule", "dsl", "dsl/text", "runtime", "runtime/cuda"],
    "codegen/check": ["dsl", "dsl/reference", "dsl/spec", "dsl/text", "runtime", "runtime/cuda", "runtime/layer"],
    "codegen/emulate": ["codegen", "codegen/check", "codegen/emit", "codegen/package", "dsl/text", "runtime",
                        "runtime/cuda"],
    "codegen/run": ["codegen", "codegen/bench", "codegen/check", "codegen/cli", "codegen/package", "dsl/text", "runtime"],
    "codegen/bench": ["codegen", "codegen/check", "codegen/package", "dsl", "dsl/text", "runtime"],
    "codegen/report": ["codegen/bench", "codegen/tune", "dsl/text"],
    "codegen/search": ["codegen", "codegen/bench", "codegen/check", "codegen/emit", "codegen/emulate", "codegen/pipeline",
                       "codegen/plan", "codegen/schedule", "codegen/tile", "codegen/tune", "dsl", "dsl/text", "runtime"],
    "codegen/cli": ["codegen", "codegen/bench", "codegen/build", "codegen/check", "codegen/cuda", "codegen/emit",
                    "codegen/emulate", "codegen/fuse", "codegen/gradcheck", "codegen/interpret", "codegen/moe", "codegen/package", "codegen/pipeline",
                    "codegen/report",
                    "codegen/schedule", "codegen/search", "codegen/tune", "dsl", "dsl/import", "dsl/spec", "dsl/text",
                    "runtime", "runtime/cuda", "runtime/plan", "runtime/weights"],
}
# Rooms whose files make no circle either: X.h and X.cpp count as one file, X.
ORDERED = ["codegen/build"]
INCLUDE = re.compile(r'^\s*#?\s*include\s+"([^"]+)"', re.M)


def circle(may):
    """A list of rooms each of which includes the next and the last the first; empty: there is none."""
    state, path = {}, []

    def walk(room):
        state[room] = "open"
        path.append(room)
        for other in may.get(room, []):
            if state.get(other) == "open":
                return path[path.index(other):] + [other]
            if other not in state and (found := walk(other)):
                return found
        path.pop()
        state[room] = "closed"
        return []

    for room in may:
        if room not in state and (found := walk(room)):
            return found
    return []


def sources(root):
    for top in ("dsl", "codegen", "runtime"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".h", ".hpp", ".cpp", ".c", ".td")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def resolve(root, path, include):
    """The file of the tree that an include names, or None for one of another library or of the build."""
    for base in (os.path.dirname(path), ""):
        found = os.path.normpath(os.path.join(base, include))
        if os.path.isfile(os.path.join(root, found)):
            return found
    return None


def problems(root, may=None, ordered=None):
    may = MAY if may is None else may
    ordered = ORDERED if ordered is None else ordered
    if found := circle(may):
        yield "rooms.py: the rooms include each other in a circle: " + " -> ".join(found)
    used, files = {}, {room: {} for room in ordered}
    for path in sources(root):
        room = os.path.dirname(path)
        if room not in may:
            yield f"{path}: room {room} is not in rooms.py; say there what it may include"
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        for include in INCLUDE.findall(text):
            target = resolve(root, path, include)
            other = os.path.dirname(target) if target else room
            used.setdefault(room, set()).add(other)
            if other == room and room in files and target:
                unit, included = os.path.splitext(path)[0], os.path.splitext(target)[0]
                if unit != included:
                    files[room].setdefault(unit, []).append(included)
            if other != room and other not in may[room]:
                yield f"{path}: includes {include}, but {room} may not include {other}"
    for graph in files.values():
        if found := circle(graph):
            yield "the files include each other in a circle: " + " -> ".join(found)
    for room, others in may.items():
        for other in others:
            if other not in used.get(room, set()) and other not in ("codegen", "runtime", "dsl"):
                yield f"rooms.py: {room} may include {other}, but does not; take it out"


def main():
    found = list(problems(os.path.abspath(sys.argv[1])))
    for problem in sorted(set(found)):
        print("error:", problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
