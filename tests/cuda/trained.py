# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# trained.py table TABLE FOLDER [GLOB...]   FOLDER/CASE.json, the spec of each layer of trained.txt whose name a glob
#                                           chooses, and on stdout "CASE|T...|FLAG..." a line
# trained.py spec SPEC OUT                  the spec of the same layer with a backward pass
import fnmatch
import json
import os
import sys


def spec_of(name, dtype, sizes, extra):
    hidden, intermediate, experts, choices = map(int, sizes)
    return {"moec": 1, "name": name.replace("-", "_"), "hidden": hidden, "dtype": dtype,
            "router": {"score": "softmax", "select": {"kind": "topk", "k": choices}, "normalize": {"kind": "sum"}},
            "experts": {"count": experts, "intermediate": intermediate, "form": "glu", "act": "silu"},
            **json.loads("{" + extra + "}"), "passes": ["forward", "backward"]}


def make_table(table, folder, globs):
    with open(table) as file:
        lines = [line.strip() for line in file if "|" in line and not line.startswith("#")]
    for line in lines:
        name, dtype, *sizes, tokens, flags, extra = [field.strip() for field in line.split("|", 8)]
        if any(fnmatch.fnmatchcase(name, glob) for glob in globs or ["*"]):
            write(os.path.join(folder, name + ".json"), spec_of(name, dtype, sizes, extra))
            print("%s|%s|%s" % (name, tokens, flags))


def write(path, spec):
    with open(path, "w") as out:
        out.write(json.dumps(spec, indent=1) + "\n")


def main(words):
    if len(words) > 2 and words[0] == "table":
        make_table(words[1], words[2], words[3:])
    elif len(words) == 3 and words[0] == "spec":
        with open(words[1]) as file:
            write(words[2], {**json.load(file), "passes": ["forward", "backward"]})
    else:
        print("usage: trained.py table TABLE FOLDER [GLOB...] | spec SPEC OUT", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
