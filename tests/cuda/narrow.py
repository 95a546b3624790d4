# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# narrow.py spec PRESET_SPEC OUT -> the spec of the same layer with experts of 256 columns, shared ones in proportion,
#                                   and with every report.
# narrow.py tokens PACKAGE OUT   -> the T that reach all of its kernels, "1 2 9 17 ...".
#
# Compiled with the preset's own schedule the layer has the preset's kernels: routing, dispatch and sums exactly, those
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
    spec["reports"] = "all"
    return spec


def main(words):
    if len(words) != 3 or words[0] not in ("spec", "tokens"):
        print("usage: narrow.py spec PRESET_SPEC OUT | tokens PACKAGE OUT", file=sys.stderr)
        return 2
    if words[0] == "spec":
        with open(words[1]) as file:
            text = json.dumps(narrow(json.load(file)), indent=1)
    else:
        text = " ".join(map(str, Package(words[1]).first_tokens()))
    with open(words[2], "w") as out:
        out.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
