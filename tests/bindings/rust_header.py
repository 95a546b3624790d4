# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""moec.h and moec-sys in -> exit 0 when the crate says of every item what the header says.

    python3 rust_header.py SOURCE LIBRARIES [--clang PROGRAM] [--rustc PROGRAM] [--crate FILE]

Clang lists the header's constants, structs and functions. A Rust program is generated that compiles only if types of
fields and signatures of functions are equal, links every function, and compares values, sizes and offsets with those
that a generated C program printed. What the crate has beyond the header is an error too.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

SCALARS = {"void": "core::ffi::c_void", "char": "sys::c_char", "int": "sys::c_int", "float": "f32", "double": "f64",
           "int32_t": "i32", "int64_t": "i64", "uint32_t": "u32", "size_t": "usize"}
ABI_CONSTANTS = re.compile(r"^MOEC_ISA_")  # the only ones that the API takes from moec_abi.h


def split(text):
    """Arguments of a C type, at the commas outside of parentheses."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in parts + [text[start:]]]


def rust_type(c):
    """The Rust spelling of a C type as clang prints it."""
    c = c.strip()
    if array := re.fullmatch(r"(.*\S)\s*\[(\d+)\]", c):
        return f"[{rust_type(array.group(1))}; {array.group(2)}]"
    if pointer := re.fullmatch(r"(.*?)\(\*\)\((.*)\)", c):
        return f"Option<{function_type(pointer.group(1), pointer.group(2))}>"
    if c.endswith("*"):
        target = c[:-1].strip()
        constant = re.fullmatch(r"const (\w+)", target) or re.fullmatch(r"(.*\*)\s*const", target)
        return f"*{'const' if constant else 'mut'} {rust_type(constant.group(1) if constant else target)}"
    return SCALARS.get(c) or "sys::" + c


def function_type(result, arguments):
    arguments = [] if arguments == "void" else [rust_type(a) for a in split(arguments)]
    returns = "" if result.strip() == "void" else " -> " + rust_type(result)
    return f"unsafe extern \"C\" fn({', '.join(arguments)}){returns}"


class Header:
    """What moec.h declares; of moec_abi.h the constants that it refers to."""

    def __init__(self, clang, source):
        self.constants, self.structs, self.opaque, self.functions, self.pointers = [], {}, [], {}, {}
        for header in ("moec.h", "moec_abi.h"):
            tree = subprocess.run([clang, "-fsyntax-only", "-Xclang", "-ast-dump=json", "-x", "c", "-std=c99",
                                   os.path.join(source, "runtime", header)], capture_output=True, text=True, check=True)
            for item in json.loads(tree.stdout)["inner"]:
                self.add(item, whole=header == "moec.h")
        with open(os.path.join(source, "runtime", "moec.h"), encoding="utf-8") as file:
            self.constants += re.findall(r"^#define (MOEC_VERSION_\w+) ", file.read(), re.M)
        self.constants = sorted(set(self.constants))

    def add(self, item, whole):
        name, kind = item.get("name", ""), item["kind"]
        if kind == "EnumDecl":
            names = [c["name"] for c in item["inner"]]
            self.constants += [n for n in names if whole or ABI_CONSTANTS.match(n)]
        elif not whole or not name.startswith("moec_"):
            pass
        elif kind == "RecordDecl" and item.get("completeDefinition"):
            self.structs[name] = [(f["name"], f["type"]["qualType"]) for f in item["inner"] if f["kind"] == "FieldDecl"]
        elif kind == "RecordDecl":
            self.opaque.append(name)
        elif kind == "TypedefDecl" and "(*)" in item["type"]["qualType"]:
            self.pointers[name] = item["type"]["qualType"]
        elif kind == "FunctionDecl" and item.get("storageClass") != "static":
            self.functions[name] = item["type"]["qualType"]


def measured(clang, source, header, folder):
    """{"MOEC_OK": 0, "sizeof x": 8, "x.field": 0} as a C program says."""
    lines = []
    for name in header.constants:
        lines.append(f'printf("%lld {name}\\n", (long long){name});')
    for name, fields in header.structs.items():
        lines.append(f'printf("%zu sizeof {name}\\n", sizeof({name}));')
        lines += [f'printf("%zu {name}.{field}\\n", offsetof({name}, {field}));' for field, _ in fields]
    program = os.path.join(folder, "measure")
    with open(program + ".c", "w", encoding="utf-8") as file:
        file.write('#include "moec.h"\n#include "moec_abi.h"\n#include <stdio.h>\nint main(void) {\n')
        file.write("\n".join(lines) + "\n}\n")
    subprocess.run([clang, "-I" + os.path.join(source, "runtime"), program + ".c", "-o", program], check=True)
    printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {line.split(" ", 1)[1]: int(line.split(" ", 1)[0]) for line in printed.splitlines()}


RUST_BEGIN = """// generated from moec.h
use moec_sys as sys;
macro_rules! same {
    ($what:expr, $got:expr, $expected:expr) => {
        assert_eq!($got as i64, $expected, "{}", $what);
    };
}
macro_rules! offset {
    ($type:ident, $field:ident) => {{
        let memory = core::mem::MaybeUninit::<sys::$type>::uninit();
        let start = memory.as_ptr();
        let field = unsafe { core::ptr::addr_of!((*start).$field) };
        field as usize - start as usize
    }};
}
fn main() {"""


def rust_program(header, values):
    lines = [RUST_BEGIN]
    lines += [f'    same!("{n}", sys::{n}, {values[n]});' for n in header.constants]
    for name, fields in header.structs.items():
        size = values["sizeof " + name]
        lines.append(f'    same!("size of {name}", core::mem::size_of::<sys::{name}>(), {size});')
        for field, c_type in fields:
            lines.append(f"    let _: fn(&sys::{name}) -> &{rust_type(c_type)} = |s| &s.{field};")
            offset = values[f"{name}.{field}"]
            lines.append(f'    same!("offset of {name}.{field}", offset!({name}, {field}), {offset});')
    lines += [f"    let _: *const sys::{name} = core::ptr::null();" for name in header.opaque]
    lines += [f"    let _: fn(sys::{n}) -> {rust_type(t)} = |pointer| pointer;" for n, t in header.pointers.items()]
    for name, c_type in header.functions.items():
        result, arguments = re.fullmatch(r"(.*?)\((.*)\)", c_type).groups()
        lines.append(f"    let {name}: {function_type(result, arguments)} = sys::{name};")
        lines.append(f'    assert!({name} as usize != 0, "{name}");')
    return "\n".join(lines + ["}", ""])


def extra_items(header, text):
    """Items of the crate that the header does not have."""
    known = {"moec_status", "moec_dtype", "c_int", "c_uint", "c_char"}
    known.update(header.constants, header.structs, header.opaque, header.functions, header.pointers)
    named = re.findall(r"\bpub (?:const|type|struct|fn) (\w+)", text)
    named += re.search(r"^opaque!\((.*?)\)", text, re.M).group(1).split()
    fields = {name: re.findall(r"pub (\w+):", body)
              for name, body in re.findall(r"pub struct (moec_\w+) \{(.*?)\n\}", text, re.S)}
    extra = [name for name in named if name not in known]
    for name, found in fields.items():
        extra += [f"{name}.{field}" for field in found if field not in dict(header.structs.get(name, []))]
    return extra


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("libraries", help="the folder of libmoec.a")
    parser.add_argument("--clang", default="clang-22")
    parser.add_argument("--rustc", default="rustc")
    parser.add_argument("--crate", help="another file in place of moec-sys/src/lib.rs")
    options = parser.parse_args()
    crate = options.crate or os.path.join(options.source, "runtime/bindings/rust/moec-sys/src/lib.rs")
    header = Header(options.clang, options.source)
    with open(crate, encoding="utf-8") as file:
        if extra := extra_items(header, file.read()):
            print("error: moec-sys has what moec.h does not:", ", ".join(extra))
            return 1
    with tempfile.TemporaryDirectory(prefix="moec-header-") as folder:
        program = os.path.join(folder, "check")
        with open(program + ".rs", "w", encoding="utf-8") as file:
            file.write(rust_program(header, measured(options.clang, options.source, header, folder)))
        rustc = [options.rustc, "--edition", "2021"]
        rlib = os.path.join(folder, "libmoec_sys.rlib")
        subprocess.run(rustc + ["--crate-type", "rlib", "--crate-name", "moec_sys", crate, "-o", rlib], check=True)
        subprocess.run(rustc + [program + ".rs", "-o", program, "--extern", "moec_sys=" + rlib, "-L", options.libraries,
                                "-l", "static=moec", "-l", "dylib=dl", "-l", "dylib=pthread"], check=True)
        subprocess.run([program], check=True)
    print(f"{len(header.constants)} constants, {len(header.structs)} structs, {len(header.functions)} functions agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
