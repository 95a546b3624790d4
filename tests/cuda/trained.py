# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# trained.py TABLE FOLDER [GLOB...] -> FOLDER/CASE.json, the spec of each layer of trained.txt whose name a glob
# chooses, and on stdout "CASE|T...|FLAG..." a line.
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


def main(words):
    if len(words) < 2:
        print("usage: trained.py TABLE FOLDER [GLOB...]", file=sys.stderr)
        return 2
    table, folder, globs = words[0], words[1], words[2:] or ["*"]
    with open(table) as file:
        lines = [line.strip() for line in file if "|" in line and not line.startswith("#")]
    for line in lines:
        name, dtype, *sizes, tokens, flags, extra = [field.strip() for field in line.split("|", 8)]
        if not any(fnmatch.fnmatchcase(name, glob) for glob in globs):
            continue
        with open(os.path.join(folder, name + ".json"), "w") as out:
            out.write(json.dumps(spec_of(name, dtype, sizes, extra), indent=1) + "\n")
        print("%s|%s|%s" % (name, tokens, flags))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
