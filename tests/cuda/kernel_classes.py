# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Packages -> the class of every kernel in them: two kernels of a class are the same code, only the depth and the
# columns of a matmul differ, so what one has shown on a device holds for the other.
#
#   kernel_classes.py of KIND CASE=FOLDER...      "KIND/CASE KERNEL CLASS" a line: what classes.awk joins with what ran;
#                                                 where FOLDER.tokens lists the T of calls, kernels that these launch
#   kernel_classes.py presets NAME=FOLDER...      "CLASS  [NAME...]" a line, each class once
#   kernel_classes.py missing CLASSES PRESETS     classes of the second file that no kernel of the first, made by `of`,
#   has;
#                                                 exit 1 where there is one
#
# A class of a matmul: template and integers, parts, types, rows gathered or not, groups or one, joined launches, sums
# of shares, the order of B, operands and formula of its epilogue. Of every other kernel: all of its launch and its
# buffers, and of routing the router's keys. Kernels of a backward pass are of classes of their own: they begin with
# "backward", and the formula of a matmul is that of its stage.
import json
import re
import sys

from package_facts import Package


def formula_of(package, stage):
    """What the spec says of the epilogue of an expert's or a shared expert's stage."""
    part = dict(package.spec.get("shared" if stage.startswith("shared") else "experts", {}))
    for size in ("count", "intermediate"):
        part.pop(size, None)
    return json.dumps(part, sort_keys=True, separators=(",", ":")) if not stage.startswith("router") else ""


def matmul_class(package, owner, launch):
    matmul = launch.matmul
    suffix = re.sub(r"^t\d+", "", launch.variant)
    words = ["matmul" + suffix]
    if launch.kernel:
        template, integers = launch.kernel
        words += [template] + ["%s=%d" % pair for pair in sorted(integers.items())]
    words += ["parts=%d" % matmul.parts, "%s*%s->%s" % (matmul.a.dtype, matmul.b.dtype, matmul.out.dtype),
              "gathered" if matmul.gathered else "direct", "groups" if matmul.routed else "dense"]
    words += ["depth-first"] if matmul.depth_first else []
    words += ["operand=%s:%s" % (buffer.kind, buffer.dtype) for buffer in matmul.operands]
    words += [matmul.name] if owner is package.backward else []
    return " ".join(words + [formula_of(package, matmul.name)]).strip()


def other_class(package, owner, launch):
    row = launch.row
    name = re.sub(r"_\d+$", "", launch.step["name"])
    words = [launch.kind, name, launch.variant, "threads=%d" % row["block_threads"], "shared=%d" % row["shared_bytes"],
             "units=%d+%dT/%d" % (row["units"]["fixed"], row["units"]["per_token"], row["units_per_block"])]
    buffers = [owner.buffers[i] for i in launch.step["buffers"]]
    words += ["%s:%d" % (buffer.dtype, buffer.columns()) for buffer in buffers]
    if launch.kind == "dispatch" or launch.variant.startswith("front"):
        words.append("lists=" + ",".join(t["name"].split()[-1] for t in owner.tables if " blocks of " in t["name"]))
    if name == "route":
        words.append(json.dumps(package.spec["router"], sort_keys=True, separators=(",", ":")))
    return " ".join(word for word in words if word)


def class_of(package, owner, launch):
    """The class of a launch of `owner`, one of the package's passes."""
    which = " backward " if owner is package.backward else " "
    return package.arch + which + (matmul_class if launch.matmul else other_class)(package, owner, launch)


def classes_of(package):
    """(launch, class) of both passes."""
    for owner in package.passes():
        for launch in owner.launches:
            yield launch, class_of(package, owner, launch)


def named_packages(words):
    """(name, folder, package) of every word; those made for another architecture have no class of this one."""
    for word in words:
        name, _, folder = word.partition("=")
        try:
            yield name, folder, Package(folder)
        except ValueError:
            continue


def tokens_of(folder):
    """The T of the calls that a case is checked at; None: no file says them."""
    try:
        with open(folder.rstrip("/") + ".tokens") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return None


def print_of(kind, words):
    for name, folder, package in named_packages(words):
        tokens = tokens_of(folder)
        for launch, text in classes_of(package):
            if tokens is None or any(map(launch.runs_at, tokens)):
                print("%s/%s %s %s" % (kind, name, launch.symbol, text))


def print_presets(words):
    presets = {}
    for name, _, package in named_packages(words):
        for _, text in classes_of(package):
            presets.setdefault(text, set()).add(name)
    for text in sorted(presets):
        print("%s  [%s]" % (text, " ".join(sorted(presets[text]))))


def print_missing(classes_file, presets_file):
    with open(classes_file) as file:
        have = {line.rstrip("\n").split(" ", 2)[2] for line in file}
    with open(presets_file) as file:
        missing = [line.rstrip("\n") for line in file if line.rstrip("\n").rsplit("  [", 1)[0] not in have]
    for line in missing:
        print("MISSING " + line)
    return 1 if missing else 0


def main(words):
    if len(words) > 1 and words[0] == "of":
        return print_of(words[1], words[2:])
    if len(words) > 1 and words[0] == "presets":
        return print_presets(words[1:])
    if len(words) == 3 and words[0] == "missing":
        return print_missing(words[1], words[2])
    print("usage: kernel_classes.py of KIND CASE=FOLDER... | presets NAME=FOLDER... | missing CLASSES PRESETS",
          file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
