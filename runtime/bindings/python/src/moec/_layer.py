# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A layer that is called like a function."""

from __future__ import annotations

import ctypes
import os
import weakref
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import _errors, _native
from ._arrays import CPU, Device, Kind, check_stated, kind_of, memory_kind
from ._backward import Backward, Saved
from ._call import Binder, Call
from ._memory import Memory
from ._native import check, forward, lib
from ._pack import tensor_structs
from ._package import Library, Package, Path, path_of
from ._plan import Plan
from ._shared import Shared
from ._weights import DeviceMemory, Weights, destroy


class Handle:
    """A moec_layer. The layer and its weights hold it; it holds what it needs: the package's library, the pool."""

    def __init__(self, library: Library, options: _native.LayerOptions, keeps: object) -> None:
        self.box = c_void_p()
        check(lib.moec_layer_create(library.package, byref(options), byref(self.box)))
        finalizer = weakref.finalize(self, destroy, lib.moec_layer_destroy, self.box, library, keeps)
        finalizer.atexit = False


class Layer(Shared):
    """One MoE layer on this machine; made by moec.load, called as y = layer(x, w).

    name, hidden, num_experts, top_k, max_tokens
               as the spec says; E = num_experts, K = top_k, H = hidden
    x_dtype, y_dtype
               element types of x and y: "float32", "bfloat16" or "float16"
    roles      the tensors that pack takes: {"experts.gate": (E, I, H), ...}
    inputs     what calls take besides x: ("noise",), ("token_ids",), ...
    outputs    what calls can return besides y: ("logits", "ids", "weights", "counts", ...)
    device     "cpu" or "cuda:0"
    isa        the instruction set in use, "avx512_bf16", or the GPU's "sm_90a"
    threads    workers of a call, the calling thread included
    trains     whether the package has a backward pass; gradients: what it can give, "x" and names of roles
    determinism
               "off": bits may differ from run to run; "run": they repeat; "batch": a row's bits do not depend on others
    package    the moec.Package; manifest: its manifest.json

    A layer is immutable; any number of threads may call it at the same time. A call releases the GIL. Each call at a
    time has a workspace, which the layer keeps for later calls until trim().
    """

    HINT = "pass Layer.package, and call moec.load in the other process"

    def __init__(
        self, source: Package, library: Library, handle: Handle, device: Device, memory: Optional[str]
    ) -> None:
        self._handle = handle
        self._box = handle.box
        self._device = device
        self._memory_library = memory
        self._calls: List[Call] = []
        self.package = source
        info = _native.LayerInfo(struct_size=ctypes.sizeof(_native.LayerInfo))
        check(lib.moec_layer_get_info(self._box, byref(info)))
        self.name: str = info.name.decode()
        self.hidden: int = info.hidden
        self.num_experts: int = info.num_experts
        self.top_k: int = info.top_k
        self.max_tokens: int = info.max_tokens
        self.x_dtype: str = _native.DTYPES[info.x_dtype]
        self.y_dtype: str = _native.DTYPES[info.y_dtype]
        self.isa: str = info.isa_name.decode()
        self.threads: int = info.max_threads
        self.determinism: str = ("off", "run", "batch")[info.determinism]
        self.device: str = "cpu" if device is CPU else f"{device[0]}:{device[1]}"
        self.roles: Dict[str, Tuple[int, ...]] = dict(self._read_roles(info.num_roles))
        plan = Plan(library.package)
        self.inputs: Tuple[str, ...] = plan.inputs
        self.outputs: Tuple[str, ...] = plan.outputs
        self._binder = Binder(
            layer=self.name,
            device=device,
            dtypes=(self.x_dtype, self.y_dtype),
            inputs=plan.inputs,
            outputs=plan.outputs,
            columns={name: count // 4 for name, count in plan.row_bytes.items()},
            lengths={
                "counts": self.num_experts,
                "choice_counts": info.num_choice_counts,
                "losses": info.num_losses,
            },
            slots=plan.slots,
        )
        self.trains = bool(info.trains)
        self._plan = plan
        self._backward = Backward(self._box, device, self._binder, self.roles, plan, info.num_losses)
        self.gradients: Tuple[str, ...] = self._backward.names

    def _read_roles(self, count: int) -> Iterator[Tuple[str, Tuple[int, ...]]]:
        for index in range(count):
            name, rank, dims = c_char_p(), c_int32(), (c_int64 * 4)()
            check(lib.moec_layer_role(self._box, index, byref(name), byref(rank), byref(dims)))
            yield (name.value or b"").decode(), tuple(dims[: rank.value])

    @property
    def manifest(self) -> Dict[str, Any]:
        """The package's manifest.json; {} where there is only its library."""
        return self.package.manifest

    @property
    def weights_nbytes(self) -> int:
        """Bytes of the packed weights."""
        count = c_size_t()
        check(lib.moec_layer_weights_bytes(self._box, byref(count)))
        return count.value

    def columns(self, name: str) -> int:
        """Elements per token of an input or output: n of noise [T, n]. 0: it has none per token."""
        return self._binder.columns.get(name, 0)

    def input_shape(self, name: str, tokens: int, tokens_per_sequence: int = 0) -> Tuple[int, ...]:
        """The shape of an input, x too, in a call of so many tokens; with sequences x's axes may take the place of T.

        MOEC_INVALID_ARGUMENT: the layer lacks the input, or tokens_per_sequence does not divide tokens."""
        if name != "x" and name not in self.inputs:
            raise _errors.error("MOEC_INVALID_ARGUMENT", f"{self} does not have an input {name}")
        if tokens_per_sequence and tokens % tokens_per_sequence:
            text = f"tokens_per_sequence is {tokens_per_sequence}, which does not divide {tokens} tokens"
            raise _errors.error("MOEC_INVALID_ARGUMENT", text)
        if name in ("x", "residual"):
            return (tokens, self.hidden)
        return self._binder.shapes_of(name, tokens, tokens_per_sequence)[0]

    def workspace_nbytes(self, tokens: int, tokens_per_sequence: int = 0) -> int:
        """Bytes of the workspace of a call of so many tokens, without reports."""
        tokens = _native.count("tokens", tokens)
        tokens_per_sequence = _native.count("tokens_per_sequence", tokens_per_sequence)
        count = c_size_t()
        check(lib.moec_layer_workspace_bytes_for(self._box, tokens, tokens_per_sequence, byref(count)))
        return count.value

    def saved_nbytes(self, tokens: int, tokens_per_sequence: int = 0) -> int:
        """Bytes that forward_saved of so many tokens keeps besides x. 0: the layer does not train."""
        tokens = _native.count("tokens", tokens)
        return self._backward.saved_nbytes(tokens, _native.count("tokens_per_sequence", tokens_per_sequence))

    def backward_workspace_nbytes(self, tokens: int, tokens_per_sequence: int = 0) -> int:
        """Bytes of the workspace of a backward call of so many tokens."""
        tokens = _native.count("tokens", tokens)
        return self._backward.workspace_nbytes(tokens, _native.count("tokens_per_sequence", tokens_per_sequence))

    def trim(self) -> None:
        """Frees the memory that the layer keeps for later calls."""
        self._calls.clear()
        self._backward.memory.free.clear()

    def __repr__(self) -> str:
        facts = f"{self.num_experts} experts, top-{self.top_k}, H {self.hidden}, {self.x_dtype}"
        return f"<moec.Layer {self.name}: {facts}, {self.isa}, {self.threads} threads>"

    # ---- weights ----------------------------------------------------------------------------------------------------

    def _new_memory(self, nbytes: int) -> Union[Memory, DeviceMemory]:
        if self._device is CPU:
            return Memory(nbytes)
        return DeviceMemory(memory_kind(self._memory_library), nbytes, self._device)

    def _filled(self, function: Any, *arguments: Any, memory: Union[None, Memory, DeviceMemory] = None) -> Weights:
        memory, box = memory or self._new_memory(self.weights_nbytes), c_void_p()
        check(function(self._box, *arguments, memory.address, memory.nbytes, byref(box)))
        return Weights(self._handle, memory, box, self.name)

    def load(self, path: Path, prefix: str = "", *, adapters: Sequence[Tuple[Path, str]] = ()) -> Weights:
        """Weights from a checkpoint.

        path      a safetensors file, a model.safetensors.index.json, or the folder of either
        prefix    what goes before the layer's tensor names in it: "model.layers.3."
        adapters  (path, prefix) of further checkpoints; a tensor is taken from the last one that has it

        The text of an error names tensor and file: MOEC_FILE, MOEC_FILE_FORMAT, MOEC_MISSING_WEIGHT, MOEC_SHAPE,
        MOEC_DTYPE.
        """
        if isinstance(adapters, (str, bytes, os.PathLike)) or not all(
            isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in adapters
        ):
            raise _errors.error("MOEC_DTYPE", f"adapters is {adapters!r}, expected a list of (path, prefix)")
        sources = (_native.WeightsSource * (1 + len(adapters)))()
        for source, (file, before) in zip(sources, [(path, prefix), *adapters]):
            source.path = _native.text("path", os.fsencode(path_of("path", file)))
            source.prefix = _native.text("prefix", _native.string("prefix", before).encode())
        return self._filled(lib.moec_weights_load_sources, sources, len(sources))

    def pack(
        self, tensors: Mapping[str, Any], *, dtype: Optional[str] = None, reuse: Optional[Weights] = None
    ) -> Weights:
        """Weights from arrays.

        tensors   {role: array} with the shapes of Layer.roles. A role with an expert axis [E, ...] may be a list of E
                  arrays, or E roles "experts.gate.0", "experts.gate.1", ...
        dtype     what arrays of uint16 hold: "bfloat16" or "float16"
        reuse     weights of this layer that no call uses any more, such as those of the training step before: their
                  memory is written, and every later use of them is refused

        Arrays of float32, bfloat16 and float16 are rounded to the package's type, to nearest even. Arrays with gaps
        between their rows are copied first. Errors: MOEC_MISSING_WEIGHT, MOEC_SHAPE, MOEC_DTYPE; the text names the
        role.

        >>> w = layer.pack(tensors)
        """
        check_stated(dtype)
        if reuse is not None and reuse.__class__ is not Weights:
            raise _errors.error("MOEC_DTYPE", f"reuse is of type {type(reuse).__name__}, expected moec.Weights")
        structs, keeps = tensor_structs(tensors, dtype, self.roles, self._device)
        memory = None if reuse is None else reuse.give_up(self.weights_nbytes, self._device is CPU)
        packed = self._filled(lib.moec_weights_pack, structs, len(structs), memory=memory)
        del keeps
        return packed

    def map(self, path: Path, *, verify: bool = False) -> Weights:
        """Weights from a file that Weights.save or `moec pack` wrote for this package.

        The file is mapped: it is read as calls need it, and shared by all processes that map it. It may be replaced,
        but not changed, as long as the weights live. For a GPU its bytes are copied. With verify every byte is
        compared with the checksum in the file, at about 10 GB/s.

        Errors: MOEC_FILE; MOEC_VERSION_MISMATCH, the file belongs to another layer; MOEC_FILE_FORMAT, it is damaged.
        """
        memory: Union[Memory, DeviceMemory] = Memory.of_file(path_of("path", path))
        if self._device is not CPU:
            file, memory = memory, self._new_memory(memory.nbytes)
            assert isinstance(memory, DeviceMemory) and isinstance(file, Memory)
            memory.kind.to_device(memory.owner, file.view())
        box, flags = c_void_p(), _native.MAP_VERIFY if verify else 0
        check(
            lib.moec_weights_map(self._box, memory.address, memory.nbytes, flags, byref(box)), context=os.fspath(path)
        )
        return Weights(self._handle, memory, box, self.name)

    # ---- calls ------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        x: Any,
        w: Weights,
        *,
        want: Union[str, Sequence[str]] = (),
        out: Any = None,
        dtype: Optional[str] = None,
        stream: Any = None,
        tokens_per_sequence: Optional[int] = None,
        **inputs: Any,
    ) -> Any:
        """y = layer(x, w); or y, ids, counts = layer(x, w, want=("ids", "counts")).

        x         [T, H] of x_dtype, or [..., S, H] for sequences of S tokens: an array of NumPy, torch, JAX or CuPy, or
                  one with __dlpack__; C-contiguous, 16-byte aligned, on the layer's device. T = 0 .. max_tokens
        w         what load, pack or map returned
        want      names of Layer.outputs, returned behind y in this order. T is replaced by the axes of x:
                      logits, probabilities   [T, n] float32     ids, weights    [T, K] int32, float32
                      counts                  [E] int32          choice_counts   [n] int32
                      losses                  [n] float32        others          [1]
        out       the array that y is written to; with `want` a sequence of arrays, None for those to be made
        dtype     what x and out hold if they are of uint16: "bfloat16", without ml_dtypes
        stream    CUDA: the stream to run on, its address or an object of the library of x; default: its current one
        tokens_per_sequence
                  tokens of one sequence, if x does not say so
        inputs    by name, those of Layer.inputs, on the layer's device:
                      residual                [T, H] of x_dtype  noise           [T, n] float32
                      expert_ids              [T, K] int32       expert_weights  [T, K] float32
                      token_ids, group_ids    [T] int32          uniform, priority [T] float32
                      capacity, top_k         an int, or [1] int32
                  and of layers that train:
                      jitter, replace, hidden_mask, output_mask, expert_mask, midpoint_mask [T, n] float32
                      replace_ids             [T, K] int32
                  With soft routing of S slots hidden_mask and output_mask are [B, S, n], B sequences; [1, S, n] with
                  router.scope batch. input_shape(name, T) says it of every input

        Returns y, of the shape of x, of y_dtype and of the kind of x. On the CPU the call returns when y is written; on
        a GPU it returns when the kernels are on the stream. Nothing is copied: an array that has another type, gaps or
        another device is refused with what to pass instead.

        Errors: MoecTypeError (MOEC_DTYPE), MoecValueError (MOEC_SHAPE, MOEC_STRIDE, MOEC_ALIGNMENT, MOEC_OVERLAP,
        MOEC_TOKENS_OUT_OF_RANGE, MOEC_INVALID_ARGUMENT), MoecError (others).

        >>> y = layer(x, w)
        >>> y, counts = layer(x, w, want="counts")
        >>> bool(counts.sum() == x.shape[0] * layer.top_k)
        True
        """
        kind = kind_of(x, "x")
        try:
            rank = len(x.shape)
        except RuntimeError:  # a nested tensor of torch has none
            kind.check_readable(x, "x")
            raise
        if self._device is not CPU:
            with kind.on_stream(stream, self._device) as address:
                return self._run(kind, x, w, want, out, dtype, tokens_per_sequence, inputs, address)
        if stream is not None:
            raise _errors.error("MOEC_INVALID_ARGUMENT", "stream is given, but the layer runs on the CPU")
        if want or inputs or tokens_per_sequence is not None or rank != 2 or isinstance(out, (tuple, list)):
            return self._run(kind, x, w, want, out, dtype, tokens_per_sequence, inputs)
        call = self._begin(kind, x, w, dtype)
        args, tokens = call.args, x.shape[0]
        args.num_tokens = tokens
        y = out
        if y is None:
            y = kind.empty(x.shape, self.y_dtype, x, dtype)
            args.y = kind.made_at(y)
        else:
            args.y = self._binder.writable_at(y, "out", x.shape, self.y_dtype, dtype)
        if call.tokens < tokens:
            self._reserve(call, kind)
            call.tokens = tokens
        status = forward(self._box, w._box, call.pointer)
        if status:
            check(status)
        self._calls.append(call)
        return kind.finish(y, x) if out is None else out

    def _begin(self, kind: Kind, x: Any, w: Weights, dtype: Optional[str]) -> Call:
        """The arguments of a call with x and w checked."""
        if dtype is not None:
            check_stated(dtype)
        if w.__class__ is not Weights:
            text = f"w is of type {type(w).__name__}, expected moec.Weights: what layer.load or layer.pack returned"
            raise _errors.error("MOEC_DTYPE", text)
        shape = x.shape
        if not shape or shape[-1] != self.hidden:
            raise _errors.error("MOEC_SHAPE", f"x has shape {tuple(shape)}, expected [T, {self.hidden}]")
        address = kind.address(x, "x", self.x_dtype, self._device, dtype)
        try:
            call = self._calls.pop()
        except IndexError:
            call = Call()
        call.args.x = address
        return call

    def _reserve(self, call: Call, kind: Kind) -> None:
        """A workspace that is large enough for the call. On a GPU it belongs to this call alone: the library of x hands
        the memory on when the stream has passed it."""
        count = c_size_t()
        check(lib.moec_layer_workspace_bytes_call(self._box, call.pointer, byref(count)))
        if call.memory is not None and count.value <= call.memory.nbytes:
            return
        if self._device is CPU:
            call.memory = Memory(count.value)
        else:
            call.memory = DeviceMemory(kind, count.value, self._device)
        call.args.workspace = call.memory.address
        call.args.workspace_bytes = count.value

    def _run(
        self,
        kind: Kind,
        x: Any,
        w: Weights,
        want: Union[str, Sequence[str]],
        out: Any,
        dtype: Optional[str],
        sequence: Optional[int],
        inputs: Dict[str, Any],
        stream: Optional[int] = None,
        save: bool = False,
    ) -> Any:
        """A call of any form; with `save` its last result is a Saved."""
        bind = self._binder
        names = bind.names(want)
        outs = bind.outs(out, 1 + len(names))
        call = self._begin(kind, x, w, dtype)
        args, tokens = call.args, 1
        for size in x.shape[:-1]:
            tokens *= size
        if sequence is None and len(x.shape) > 2:
            sequence = x.shape[-2]
        args.num_tokens = tokens
        args.tokens_per_sequence = _native.count("tokens_per_sequence", sequence) if tokens else 0
        args.stream = stream
        keeps = [bind.bind_input(args, name, value, kind, x, tokens, dtype) for name, value in inputs.items()]
        results = [
            bind.bind_output(args, name, given, kind, x, tokens, dtype) for name, given in zip(("y", *names), outs)
        ]
        self._reserve(call, kind)
        saved = self._saved_by(call, kind, x, w, dtype, inputs, keeps) if save else None
        check(forward(self._box, w._box, call.pointer))
        del keeps
        if not tokens:
            bind.fill_unwritten(names, results[1:])
        if self._device is CPU:
            for name in names:
                setattr(args, "out_" + name, None)
            for name in inputs:
                setattr(args, name, None)
            args.tokens_per_sequence = 0
            args.saved = None
            args.saved_bytes = 0
            self._calls.append(call)
        finished = [kind.finish(array, x) if given is None else given for array, given in zip(results, outs)]
        if saved is not None:
            finished.append(saved)
        return tuple(finished) if len(finished) > 1 else finished[0]

    def _saved_by(
        self,
        call: Call,
        kind: Kind,
        x: Any,
        w: Weights,
        dtype: Optional[str],
        inputs: Dict[str, Any],
        arrays: List[Any],
    ) -> Saved:
        """Memory for what the call saves, and all that a backward call reads again."""
        args = call.args
        nbytes = self._backward.saved_nbytes(args.num_tokens, args.tokens_per_sequence)
        saved = Saved(nbytes, kind, x, w)
        saved.memory = self._backward.new_memory(saved, nbytes, kind)
        saved.tokens, saved.tokens_per_sequence, saved.stated = args.num_tokens, args.tokens_per_sequence, dtype
        saved.inputs = dict(zip(inputs, arrays))
        saved.addresses = {name: getattr(args, name) for name in ("x", *inputs)}
        args.saved, args.saved_bytes = saved.memory.address, nbytes
        return saved

    # ---- training ---------------------------------------------------------------------------------------------------

    def forward_saved(
        self,
        x: Any,
        w: Weights,
        *,
        want: Union[str, Sequence[str]] = (),
        out: Any = None,
        dtype: Optional[str] = None,
        stream: Any = None,
        tokens_per_sequence: Optional[int] = None,
        **inputs: Any,
    ) -> Any:
        """y, saved = layer.forward_saved(x, w): a call that keeps what backward needs. Arguments and errors are those
        of layer(x, w), saved is the last result: y, losses, saved = layer.forward_saved(x, w, want="losses").

        x, the inputs and w must stay as they are until the last backward call. MOEC_INVALID_ARGUMENT if the spec does
        not have "passes": ["forward", "backward"].
        """
        self._backward.check_trains()
        kind = kind_of(x, "x")
        kind.check_readable(x, "x")
        if self._device is not CPU:
            with kind.on_stream(stream, self._device) as address:
                return self._run(kind, x, w, want, out, dtype, tokens_per_sequence, inputs, address, save=True)
        if stream is not None:
            raise _errors.error("MOEC_INVALID_ARGUMENT", "stream is given, but the layer runs on the CPU")
        return self._run(kind, x, w, want, out, dtype, tokens_per_sequence, inputs, save=True)

    def backward(
        self,
        grad_y: Any,
        saved: Saved,
        *,
        grad_losses: Any = None,
        want: Union[None, str, Sequence[str]] = None,
        out: Optional[Mapping[str, Any]] = None,
        accumulate: bool = False,
        grad_dtype: str = "float32",
        stream: Any = None,
    ) -> Dict[str, Any]:
        """{name: gradient} of  sum(grad_y * y) + sum(grad_losses * losses),  y and losses those of the saved call.

        grad_y       of the shape of y, of y_dtype
        saved        what forward_saved returned
        grad_losses  what each loss of the spec counts in the total: a list of numbers or [n] float32; None: nothing
        want         names of Layer.gradients; None: those of out, or all. The others cost no work of their own
        out          {name: array} that gradients are written to; the others are made
        accumulate   add the gradients of parameters to what the arrays of out hold
        grad_dtype   of the gradients of matrices: "float32", or the type of the packed weights. Those of vectors and of
                     expert_weights are of float32, those of x and residual of x_dtype

        Gradients of parameters have the shapes of Layer.roles. Experts without tokens have gradients of 0. Errors as of
        a call.

        >>> y, saved = trained.forward_saved(x, trained.pack(tensors))
        >>> gradients = trained.backward(y, saved)   # of |y|^2 / 2
        >>> better = {role: array - 1e-4 * gradients[role] for role, array in tensors.items()}
        >>> bool((trained(x, trained.pack(better)) ** 2).sum() < (y**2).sum())
        True
        """
        if saved.__class__ is not Saved:
            text = f"saved is of type {type(saved).__name__}, expected moec.Saved: what forward_saved returned"
            raise _errors.error("MOEC_DTYPE", text)
        arguments = (saved, grad_y, grad_losses, want, out, bool(accumulate), grad_dtype)
        if self._device is not CPU:
            with saved.kind.on_stream(stream, self._device) as address:
                return self._backward.run(*arguments, address)
        if stream is not None:
            raise _errors.error("MOEC_INVALID_ARGUMENT", "stream is given, but the layer runs on the CPU")
        return self._backward.run(*arguments, None)
