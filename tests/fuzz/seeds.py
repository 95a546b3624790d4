# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# seeds.py SOURCE_DIR OUT: what the other tests read -> a folder OUT/TARGET of inputs for each target of this folder.
import glob
import hashlib
import json
import os
import shutil
import sys


def texts(root, *patterns):
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(root, pattern))):
            with open(path, encoding="utf-8") as file:
                yield file.read()


def spec(root):
    yield from texts(root, "dsl/presets/*.json", "examples/*.json", "tests/cuda_package/*.json")
    for text in texts(root, "tests/golden/*.json"):
        case = json.loads(text)
        if isinstance(case, dict) and "spec" in case:
            yield json.dumps(case["spec"], indent=1)
    for text in texts(root, "tests/dsl/bad_specs/*.txt"):
        for case in text.split("\n==== ")[1:]:
            yield case.split("\n", 1)[1].split("\n----\n")[0]


def model_config(root):
    for text in texts(root, "tests/dsl/published_configs.json"):
        for entry in json.loads(text):
            yield json.dumps(entry["config"])


def schedule(root):
    yield from texts(root, "tests/cuda_package/*.txt")
    yield ("schedule tiny\nstage router avx2\n  rows 1..  panel { block_m = 4, hint = t0, panel_m = 64 }\n"
           "stage experts_down avx512\n  rows 1..8 panel { block_m = 8 }\n  rows 9.. panel { block_m = 6, tiles = 2 }\n")


def tune(root):
    for text in texts(root, "templates/tuning/*.jsonl"):
        lines = text.splitlines()
        for first in range(0, len(lines), max(1, len(lines) // 24)):
            yield "\n".join(lines[first : first + 2]) + "\n"


def mlir(root):
    yield from texts(root, "examples/routing/*.mlir", "templates/functions/*.mlir")
    for text in texts(root, "tests/moe/*.mlir"):
        yield from text.split("// -----\n")
    deep = 20000
    yield "#a = " + "[" * deep
    yield "#m = affine_map<(d0) -> (" + "(" * deep
    yield "#m = affine_map<(d0) -> (d0" + " + d0" * deep + ")>\n"
    yield "#m = affine_map<(d0) -> (" + "-" * deep + "d0)>\n"
    yield "func.func private @d() -> " + "(() -> " * deep
    yield "!t = " + "tuple<" * deep
    yield "!t0 = tuple<i32>\n" + "".join(f"!t{i} = tuple<!t{i - 1}, !t{i - 1}>\n" for i in range(1, 64)) + (
        "func.func @f(%x: !t63) { return }\n")
    yield '"a.b"() ({' * deep


def package(_):
    def digest(text):
        return "sha256:" + hashlib.sha256(text).hexdigest()

    files = {"lib/libtiny.a": digest(b"!<arch>\n"), "share/tiny/spec.json": digest(b"{}\n")}
    yield json.dumps({"schema": "moec.manifest/1", "name": "tiny", "versions": {"moec": "0.1.0", "abi": "1.0"},
                      "isas": ["avx2"], "files": files})


def weight_file(_):
    roles = {"router.weight": [4, 8], "gate_up": [4, 8, 12], "experts.down": [4, 8, 6]}
    for prefix in ("", "p."):
        header, at = {"__metadata__": {"format": "pt"}}, 0
        for name, shape in roles.items():
            size = 4
            for extent in shape:
                size *= extent
            header[prefix + name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
            at += size
        yield json.dumps(header)
        yield json.dumps({"metadata": {"total_size": at},
                          "weight_map": {prefix + name: "good.safetensors" for name in roles}})


def changes(_):
    yield ""
    yield "\x00"
    for offset in range(0, 2048, 64):
        yield "".join(chr(c) for c in (0, offset & 127, offset >> 8, 1, offset & 127, offset >> 8, 127))


TARGETS = {"spec": spec, "import": model_config, "schedule": schedule, "tune": tune, "mlir": mlir, "package": package,
           "weight-file": weight_file, "packed-weights": changes, "plan": changes}


def main(root, out):
    for target, seeds in TARGETS.items():
        folder = os.path.join(out, target)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for number, text in enumerate(seeds(root)):
            with open(os.path.join(folder, f"{number:04}"), "w", encoding="utf-8") as file:
                file.write(text)


main(sys.argv[1], sys.argv[2])
