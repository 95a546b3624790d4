# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# narrow.py spec SPEC OUT        -> the spec of the same layer with experts of 256 columns, shared ones in proportion,
#                                   and with every report where it does not train.
# narrow.py tokens PACKAGE OUT   -> the T that reach all of its kernels, of both passes: "1 2 9 17 ...".
#
# Compiled with the whole layer's schedule the layer has that one's kernels: routing, dispatch and sums exactly, those
# of experts with fewer columns and less depth. All of it is small enough to run in a second.
import json
import sys

from package_facts import Package

COLUMNS = 256


def narrow(spec):
    wide = spec["experts"]["intermediate"]
    spec["experts"]["intermediate"] = COLUMNS
    if "intermediate" in spec.get("shared", {}):
        spec["shared"]["intermediate"] = COLUMNS * spec["shared"]["intermediate"] // wide
    if "passes" not in spec:
        spec["reports"] = "all"
    return spec


def main(words):
    if len(words) != 3 or words[0] not in ("spec", "tokens"):
        print("usage: narrow.py spec SPEC OUT | tokens PACKAGE OUT", file=sys.stderr)
        return 2
    if words[0] == "spec":
        with open(words[1]) as file:
            text = json.dumps(narrow(json.load(file)), indent=1)
    else:
        passes = Package(words[1]).passes()
        text = " ".join(map(str, sorted({tokens for one in passes for tokens in one.first_tokens()})))
    with open(words[2], "w") as out:
        out.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
