# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""python3 package_calls.py MOEC LIBMOEC: shared packages of layers that together have every argument, called through
__tvm_ffi_* by a program that has no libtvm_ffi, beside the same calls of libmoec.so: equal bits, errors with a text,
equal libraries from run to run."""
import _ctypes
import ctypes
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading

# Together they read every input and write every output.
LAYERS = {
    "noisy": {"dtype": "bf16", "inputs": {"top_k": True},
              "router": {"top_k": 3, "noise": {"kind": "normal", "std": 0.5, "when": "always"}},
              "experts": {"count": 6, "intermediate": 10},
              "capacity": {"mode": "dynamic", "max": 40, "order": "random"}, "passes": ["forward", "backward"],
              "losses": [{"kind": "load_balance"}, {"kind": "z"}]},
    "outside": {"router": {"kind": "external", "top_k": 2}, "experts": {"count": 5, "intermediate": 10},
                "shared": {"intermediate": 8, "input": "residual"}, "passes": ["forward", "backward"]},
    "table": {"dtype": {"activation": "bf16", "weight": "bf16", "output": "f32"},
              "router": {"kind": "table", "top_k": 2, "vocab": 50}, "experts": {"count": 5, "intermediate": 10}},
    "grouped": {"router": {"top_k": 2, "token_groups": {"count": 2, "experts": "own"}},
                "experts": {"count": 6, "intermediate": 10}},
    "second": {"router": {"select": {"kind": "second_policy", "k": 2, "second": "random_2p"}},
               "experts": {"count": 4, "intermediate": 10}},
    "trained": {"router": {"top_k": 2, "input": {"jitter": 0.1}, "random_replace": {"p": 0.2},
                           "expert_dropout": {"p": 0.2}},
                "experts": {"count": 4, "intermediate": 10, "hidden_dropout": {"p": 0.5}, "output_dropout": {"p": 0.5}},
                "passes": ["forward", "backward"]},
    "sampled": {"router": {"select": {"kind": "sparsemixer", "eps": 0.2}}, "inputs": {"expert_ids": True},
                "experts": {"count": 4, "intermediate": 10}, "passes": ["forward", "backward"]},
    "soft": {"router": {"kind": "soft", "slots": 2}, "experts": {"count": 4, "intermediate": 10}},
    "slots": {"router": {"kind": "soft", "slots": 2},
              "experts": {"count": 4, "intermediate": 10, "hidden_dropout": {"p": 0.5}, "output_dropout": {"p": 0.5}},
              "passes": ["forward", "backward"]},
    "slots_of_all": {"router": {"kind": "soft", "scope": "batch"},
                     "experts": {"count": 4, "intermediate": 10, "hidden_dropout": {"p": 0.5}},
                     "passes": ["forward", "backward"]},
}
DTYPES = {"f32": (2, 32, 4), "bf16": (4, 16, 2), "i32": (0, 32, 4), "u8": (1, 8, 1)}


class Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class DType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", Device), ("ndim", ctypes.c_int32), ("dtype", DType),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class Value(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("zero", ctypes.c_uint32), ("bits", ctypes.c_uint64)]


# moec_forward_args and moec_backward_args of moec.h
FIELDS = ("struct_size num_tokens x y workspace workspace_bytes out_logits out_ids out_weights out_counts stream "
          "tokens_per_sequence residual noise uniform token_ids expert_ids expert_weights group_ids priority capacity top_k "
          "out_probabilities out_choice_counts out_losses out_logit_mean out_logit_max out_diversity out_dropped_tokens "
          "probe saved saved_bytes jitter replace replace_ids hidden_mask output_mask expert_mask "
          "midpoint_mask").split()
BACKWARD = ("struct_size num_tokens tokens_per_sequence x grad_y grad_losses saved saved_bytes workspace "
            "workspace_bytes grad_x grad_residual grad_expert_weights grad_parameters types stream residual noise uniform token_ids "
            "expert_ids expert_weights group_ids priority capacity top_k probe jitter replace "
            "replace_ids hidden_mask output_mask expert_mask midpoint_mask").split()


class ForwardArgs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in FIELDS]


class BackwardArgs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in BACKWARD]  # types: grad_dtype, accumulate


class Tensor:
    """Bytes at a multiple of 256 and the DLPack struct over them."""

    def __init__(self, dtype, shape, content=None):
        code, bits, size = DTYPES[dtype]
        count = 1
        for extent in shape:
            count *= extent
        self.bytes = count * size
        self.memory = ctypes.create_string_buffer(self.bytes + 256)
        self.address = (ctypes.addressof(self.memory) + 255) // 256 * 256
        ctypes.memset(self.address, 0xff, self.bytes)
        if content is not None:
            ctypes.memmove(self.address, content, self.bytes)
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.tensor = DLTensor(self.address, Device(1, 0), len(shape), DType(code, bits, 1), self.shape, None, 0)

    def content(self):
        return ctypes.string_at(self.address, self.bytes)

    def value(self):
        return Value(7, 0, ctypes.addressof(self.tensor))


class Text:
    def __init__(self, text):
        self.text = ctypes.create_string_buffer(text.encode())

    def value(self):
        return Value(8, 0, ctypes.addressof(self.text))


class Number:
    def __init__(self, number):
        self.number = number

    def value(self):
        return Value(1, 0, self.number & (2 ** 64 - 1))


class Calls:
    """Functions of a package's library; RuntimeError has the text of an error."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path, mode=os.RTLD_LOCAL | os.RTLD_NOW)

    def raw(self, name, args):
        values = (Value * max(1, len(args)))(*[arg.value() for arg in args])
        result = Value(0, 0, 0)
        function = self.library[f"__tvm_ffi_{name}"]
        return function(None, values, ctypes.c_int32(len(args)), ctypes.byref(result)), result

    def text(self, result):
        """The text of a string object: its header has 24 bytes, the last 8 of them its destructor."""
        assert result.type == 65, result.type
        data, size = struct.unpack("QQ", ctypes.string_at(result.bits + 24, 16))
        text = ctypes.string_at(data, size).decode()
        destroy = struct.unpack("Q", ctypes.string_at(result.bits + 16, 8))[0]
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(destroy)(result.bits, 3)
        return text

    def __call__(self, name, *args):
        code, result = self.raw(name, args)
        if code:
            raise RuntimeError(self.text(self.raw("last_error", [])[1]))
        return self.text(result) if result.type == 65 else result.bits


def bf16(values):
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def input_of(argument, tokens, draw):
    """A tensor of values that mean something to the layer."""
    shape = [{"T": tokens, "B": 1 if tokens else 0}.get(extent, extent) for extent in argument["shape"]]
    count = 1
    for extent in shape:
        count *= extent
    name, dtype = argument["name"], argument["dtype"]
    if dtype == "i32":
        low, high = {"capacity": (1, 4), "top_k": (2, 2), "group_ids": (0, 1), "expert_ids": (-1, 4),
                     "replace_ids": (0, 3)}.get(name, (0, 49))
        return Tensor(dtype, shape, struct.pack(f"<{count}i", *[draw.randint(low, high) for _ in range(count)]))
    unit = ("uniform", "expert_weights", "jitter", "replace")
    values = [draw.random() if name in unit else draw.gauss(0, 1) for _ in range(count)]
    if name.endswith("_mask"):
        values = [float(value > 0) for value in values]
    return Tensor(dtype, shape, bf16(values) if dtype == "bf16" else struct.pack(f"<{count}f", *values))


class Package:
    def __init__(self, moec, folder, name, layer):
        spec = os.path.join(folder, name + ".json")
        with open(spec, "w", encoding="utf-8") as file:
            json.dump({"moec": 1, "name": name, "hidden": 24, **({"dtype": "f32"} if "dtype" not in layer else {}),
                       **layer}, file)
        self.name, self.folder = name, os.path.join(folder, name)
        self.command = [moec, "compile", spec, "-q", "--emit", "shared", "--target", "cpu:baseline", "--reports", "all",
                        "-o"]
        subprocess.run(self.command + [self.folder], check=True, stdout=subprocess.DEVNULL)
        self.library = os.path.join(self.folder, "lib", f"lib{name}.so")
        with open(os.path.join(self.folder, "share", name, "manifest.json"), encoding="utf-8") as file:
            self.manifest = json.load(file)


class Runtime:
    """The same package on libmoec.so."""

    def __init__(self, libmoec, package, calls, packed):
        self.moec = ctypes.CDLL(libmoec)
        entry = calls.library[package.name + "_package"]
        entry.restype = ctypes.c_void_p
        self.layer, self.weights = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.moec.moec_layer_create(ctypes.c_void_p(entry()), None, ctypes.byref(self.layer)))
        self.check(self.moec.moec_weights_map(self.layer, ctypes.c_void_p(packed.address),
                                              ctypes.c_size_t(packed.bytes), 0, ctypes.byref(self.weights)))

    def check(self, status):
        if status:
            text = ctypes.create_string_buffer(1024)
            self.moec.moec_last_error(text, 1024)
            raise RuntimeError(text.value.decode())

    def forward(self, tokens, tensors):
        args = ForwardArgs(struct_size=ctypes.sizeof(ForwardArgs), num_tokens=tokens)
        for field, tensor in tensors.items():
            setattr(args, field, tensor.address)
        size = ctypes.c_size_t()
        self.check(self.moec.moec_layer_workspace_bytes_call(self.layer, ctypes.byref(args), ctypes.byref(size)))
        workspace = Tensor("u8", [size.value])
        args.workspace, args.workspace_bytes = workspace.address, size.value
        self.check(self.moec.moec_layer_forward(self.layer, self.weights, ctypes.byref(args)))

    def size(self, function, tokens):
        size = ctypes.c_size_t()
        self.check(getattr(self.moec, function)(self.layer, ctypes.c_int64(tokens), ctypes.c_int64(0),
                                                ctypes.byref(size)))
        return size.value

    def backward(self, tokens, tensors, parameters):
        """parameters: a tensor or None for each role, all of f32."""
        args = BackwardArgs(struct_size=ctypes.sizeof(BackwardArgs), num_tokens=tokens)
        for field, tensor in tensors.items():
            setattr(args, field, tensor.address)
        pointers = (ctypes.c_void_p * len(parameters))(*[tensor and tensor.address for tensor in parameters])
        args.grad_parameters, args.saved_bytes = ctypes.addressof(pointers), tensors["saved"].bytes
        workspace = Tensor("u8", [self.size("moec_layer_backward_workspace_bytes", tokens)])
        args.workspace, args.workspace_bytes = workspace.address, workspace.bytes
        self.check(self.moec.moec_layer_backward(self.layer, self.weights, ctypes.byref(args)))


def check_package(package, libmoec):
    calls, draw = Calls(package.library), random.Random(package.name)
    nm = subprocess.run(["nm", "-D", "--defined-only", package.library], check=True, capture_output=True, text=True)
    exports = sorted(line.split()[-1] for line in nm.stdout.splitlines())
    functions = package.manifest["calls"]["functions"]
    assert exports == sorted([f"__tvm_ffi_{name}" for name in functions] + [package.name + "_package"]), exports

    info = json.loads(calls("info"))
    listed = {argument["name"]: argument for argument in info["inputs"] + info["outputs"]}
    for argument in package.manifest["arguments"]: # the manifest and info() say the same
        name = "out_weights" if argument["name"] == "weights" else argument["name"]
        own = listed.pop(name)
        assert own["dtype"] == argument["dtype"] and own["optional"] == argument["optional"], (own, argument)
        assert own["shape"] == argument["shape"] or own["shape"] == argument["shape"] + [1], (own, argument)
    assert not listed, listed
    assert info["spec_sha256"] == package.manifest["spec_sha256"]

    packed, roles = Tensor("u8", [calls("weights_bytes")]), []
    for role in info["roles"]:
        count = 1
        for extent in role["shape"]:
            count *= extent
        if role["name"] == "router.table":
            content = struct.pack(f"<{count}i", *[draw.randint(0, 4) for _ in range(count)])
            roles += [Text(role["name"]), Tensor("i32", role["shape"], content)]
        else:
            content = struct.pack(f"<{count}f", *[draw.gauss(0, 0.3) for _ in range(count)])
            roles += [Text(role["name"]), Tensor("f32", role["shape"], content)]
    calls("pack", packed, *roles)
    runtime = Runtime(libmoec, package, calls, packed)

    for tokens in (0, 1, 5, 18):
        names, args, own, others, outputs = [], [], {}, {}, []
        for argument in info["inputs"]:
            tensor = input_of(argument, tokens, draw)
            names.append(argument["name"])
            args.append(tensor)
            own[argument["name"]] = others[argument["name"]] = tensor
        for argument in info["outputs"]:
            name = argument["name"]
            shape = [tokens if extent == "T" else extent for extent in argument["shape"]]
            field = name if name == "y" or name.startswith("out_") else "out_" + name
            ours, theirs = Tensor(argument["dtype"], shape), Tensor(argument["dtype"], shape)
            if not tokens and "T" not in argument["shape"]: # moec_layer_forward leaves it as it was
                theirs = Tensor(argument["dtype"], shape, bytes(theirs.bytes))
            names.append(name)
            args.append(ours)
            others[field] = theirs
            outputs.append((name, ours, theirs))
        calls("call", Text(",".join(["weights"] + names)), packed, *args)
        runtime.forward(tokens, others)
        for name, ours, theirs in outputs:
            assert ours.content() == theirs.content(), f"{package.name}, {tokens} tokens: {name} differs"
            if tokens and name in ("y", "counts", "losses"):
                assert ours.content() != b"\xff" * ours.bytes, f"{package.name}: {name} was not written"
        if tokens == 5: # a workspace of the caller, for a call with reports
            size = calls("workspace_bytes", Number(tokens), Text(",".join(names)))
            workspace, again = Tensor("u8", [size]), []
            for argument, arg in zip(info["inputs"] + info["outputs"], args):
                again.append(arg if argument in info["inputs"] else Tensor(argument["dtype"], list(arg.shape)))
            calls("call", Text(",".join(["weights", "workspace"] + names)), packed, workspace, *again)
            assert again[len(info["inputs"])].content() == outputs[0][1].content()

    if info["trains"]:
        check_training(package, calls, runtime, info, packed, draw)
    elif "backward" in functions:
        refused(calls, "has no backward pass", "backward_workspace_bytes", Number(5))
    extra = [name for name in ("x", "weights", "y") if name != "weights"]
    try:
        calls("call", Text("weights," + ",".join(extra + ["stream"])), packed, args[0], args[len(info["inputs"])],
              Number(1))
        raise AssertionError("a stream on the CPU was taken")
    except RuntimeError as error:
        expected = "stream is set" if len(info["inputs"]) == 1 else "needs the argument"
        assert expected in str(error), error
    return info


def refused(calls, text, *call):
    try:
        calls(*call)
    except RuntimeError as error:
        assert text in str(error), error
        return
    raise AssertionError(f"{call[0]} was expected to say: {text}")


def check_training(package, calls, runtime, info, packed, draw):
    """A forward call with saved, and a backward call, beside the same of libmoec.so."""
    tokens, inputs = 9, {argument["name"]: input_of(argument, 9, draw) for argument in info["inputs"]}
    y_like = next(argument for argument in info["outputs"] if argument["name"] == "y")
    x_like = next(argument for argument in info["inputs"] if argument["name"] == "x")
    losses = next((argument["shape"][0] for argument in info["outputs"] if argument["name"] == "losses"), 0)
    names, values = ["weights", *inputs], [packed, *inputs.values()]
    size = calls("saved_bytes", Number(tokens))
    assert size == runtime.size("moec_layer_saved_bytes", tokens) + 256
    saved = Tensor("u8", [size])
    calls("call", Text(",".join([*names, "saved", "y"])), *values, saved, Tensor(y_like["dtype"], [tokens, 24]))
    theirs = Tensor("u8", [size])
    args = ForwardArgs(struct_size=ctypes.sizeof(ForwardArgs), num_tokens=tokens, saved=theirs.address,
                       saved_bytes=size)
    for name, tensor in inputs.items():
        setattr(args, name, tensor.address)
    y, space = Tensor(y_like["dtype"], [tokens, 24]), ctypes.c_size_t()
    runtime.check(runtime.moec.moec_layer_workspace_bytes_call(runtime.layer, ctypes.byref(args), ctypes.byref(space)))
    workspace = Tensor("u8", [space.value])
    args.y, args.workspace, args.workspace_bytes = y.address, workspace.address, space.value
    runtime.check(runtime.moec.moec_layer_forward(runtime.layer, runtime.weights, ctypes.byref(args)))

    given = {"grad_y": input_of(y_like, tokens, draw)}
    if losses:
        given["grad_losses"] = Tensor("f32", [losses], struct.pack(f"<{losses}f", *[0.5 - i for i in range(losses)]))
    made = {"grad_x": (x_like["dtype"], [tokens, 24])}
    if "residual" in inputs:
        made["grad_residual"] = (x_like["dtype"], [tokens, 24])
    if "expert_weights" in inputs:
        made["grad_expert_weights"] = ("f32", [tokens, 2])
    made.update({role["name"]: ("f32", role["shape"]) for role in info["roles"] if role["gradient"]})
    own = {name: Tensor(dtype, shape) for name, (dtype, shape) in made.items()}
    other = {name: Tensor(dtype, shape) for name, (dtype, shape) in made.items()}
    names = Text(",".join([*names, "saved", *given, *made]))
    calls("backward", names, *values, saved, *given.values(), *own.values())
    fields = {**inputs, **given, "saved": theirs, **{name: other[name] for name in made if name.startswith("grad_")}}
    runtime.backward(tokens, fields, [other.get(role["name"]) for role in info["roles"]])
    for name in made:
        assert own[name].content() == other[name].content(), f"{package.name}: the gradient of {name} differs"
        assert own[name].content().strip(b"\0\xff"), f"{package.name}: the gradient of {name} was not written"
    before = {name: tensor.content() for name, tensor in own.items()}
    calls("backward", Text(names.text.value.decode() + ",accumulate,workspace"), *values, saved, *given.values(),
          *own.values(), Number(1), Tensor("u8", [calls("backward_workspace_bytes", Number(tokens))]))
    role = info["roles"][-1]["name"]
    floats = f"<{own[role].bytes // 4}f"
    once, twice = struct.unpack(floats, before[role]), struct.unpack(floats, own[role].content())
    assert all(abs(b - 2 * a) <= 1e-5 * abs(a) + 1e-6 for a, b in zip(once, twice)), "accumulate adds"

    head = ",".join(["weights", *inputs, "saved", "grad_y"])
    args = [*values, saved, given["grad_y"]]
    refused(calls, '"experts.side" is not the name of an argument, a gradient or a role', "backward",
            Text(head + ",experts.side"), *args, own[role])
    refused(calls, f"{role} is named twice", "backward", Text(f"{head},{role},{role}"), *args, own[role], own[role])
    refused(calls, f"{role} is f32 [2, 3] on cpu, expected f32", "backward", Text(f"{head},{role}"), *args,
            Tensor("f32", [2, 3]))
    refused(calls, "y is an output of forward calls", "backward", Text(head + ",y"), *args, y)
    refused(calls, "saved is NULL", "backward", Text(head.replace(",saved", "") + ",grad_x"), *values, given["grad_y"],
            own["grad_x"])
    moved = Tensor("u8", [size + 64], bytes(64) + saved.content())
    moved.tensor.byte_offset, moved.shape[0] = 64, size
    refused(calls, "saved was moved after the forward call", "backward", Text(head + ",grad_x"), *values, moved,
            given["grad_y"], own["grad_x"])
    refused(calls, "arguments follow the names, expected 3", "backward", Text("x,weights,saved"), packed)


def check_threads(package):
    """Many threads of a program that holds no lock while it calls."""
    calls = Calls(package.library)
    packed = Tensor("u8", [calls("weights_bytes")])
    draw, roles = random.Random(1), []
    for role in json.loads(calls("info"))["roles"]:
        count = role["shape"][0] * role["shape"][-1] * (role["shape"][1] if len(role["shape"]) == 3 else 1)
        content = struct.pack(f"<{count}f", *[draw.gauss(0, 0.3) for _ in range(count)])
        roles += [Text(role["name"]), Tensor("f32", role["shape"], content)]
    calls("pack", packed, *roles)
    wrong = []

    def run(seed):
        own = random.Random(seed)
        x = input_of({"name": "x", "dtype": "f32", "shape": ["T", 24]}, 7, own)
        first = None
        for _ in range(30):
            y = Tensor("f32", [7, 24])
            calls("forward", x, packed, y)
            first = first or y.content()
            if y.content() != first:
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def check_closed_libraries(package):
    """A library may be closed while threads that called it still live: they end later, and so does its memory of them."""
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"a process that closed the library ended with status {status}"
        return
    for _ in range(3):
        calls, called, closed = Calls(package.library), threading.Event(), threading.Event()

        def run():
            packed = Tensor("u8", [calls("weights_bytes")])
            roles = []
            for role in json.loads(calls("info"))["roles"]:
                roles += [Text(role["name"]), Tensor("f32", role["shape"])]
            calls("pack", packed, *roles)
            calls("forward", input_of({"name": "x", "dtype": "f32", "shape": ["T", 24]}, 7, random.Random(1)), packed,
                  Tensor("f32", [7, 24]))
            called.set()
            closed.wait()

        thread = threading.Thread(target=run)
        thread.start()
        called.wait()
        _ctypes.dlclose(calls.library._handle)
        closed.set()
        thread.join()
    os._exit(0)


def check_equal_libraries(package, folder):
    digests = set()
    for number in range(2):
        where = os.path.join(folder, "again", str(number))
        os.makedirs(where)
        subprocess.run(package.command + ["package"], check=True, cwd=where, stdout=subprocess.DEVNULL,
                       env={**os.environ, "TMPDIR": where})
        with open(os.path.join(where, "package", "lib", os.path.basename(package.library)), "rb") as file:
            digests.add(hashlib.sha256(file.read()).hexdigest())
    assert len(digests) == 1, "two compilations give two libraries"


def main():
    moec, libmoec = os.path.abspath(sys.argv[1]), sys.argv[2]
    seen = set()
    with tempfile.TemporaryDirectory() as folder:
        for name, layer in LAYERS.items():
            package = Package(moec, folder, name, layer)
            if name == "soft": # in a child, before this process opens the library and so keeps it
                check_closed_libraries(package)
            info = check_package(package, libmoec)
            seen |= {argument["name"] for argument in info["inputs"] + info["outputs"]}
            if name == "soft":
                check_threads(package)
                check_equal_libraries(package, folder)
    known = {"weights" if name == "out_weights" else name.removeprefix("out_") for name in FIELDS
             if name not in ("struct_size", "num_tokens", "workspace", "workspace_bytes", "stream",
                             "tokens_per_sequence", "probe", "saved", "saved_bytes")}
    assert {name.removeprefix("out_") for name in seen} == known, known ^ {name.removeprefix("out_") for name in seen}
    print(f"{len(LAYERS)} packages, {len(seen)} arguments")


if __name__ == "__main__":
    main()
