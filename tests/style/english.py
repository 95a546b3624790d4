# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Comments of headers, and documents -> one line per phrase that readers have to read twice; exit 1 if there is one.
#
# PATTERNS are turns of phrase with a plainer form. ALLOWED are uses that are plain already.
import os
import re
import sys

PATTERNS = [
    (r"\b(is|are) no (?!longer\b|more\b|less\b|larger\b|smaller\b|slower\b|faster\b)[a-z]", "\"is not a ...\""),
    (r"\b(is|are|be) none\b", "say what there is, or \"there is no ...\""),
    (r"\bwhat is no\b", "\"what is not a ...\""),
    (r"\bbut for\b", "\"except\""),
    (r"\bof which\b", "a sentence of its own, or \"whose\""),
    (r"\b(?<!under)(?<!with)stands? (in|at|on|beside|behind|before|after|between|under|there|last|first)\b",
     "\"is\", \"lies\", \"means\", \"comes\""),
    (r"\bone without\b", "one line per case"),
    (r"\belse it\b", "\"otherwise it\""),
    (r"\b(errors? (is|are)|nothing is) said\b", "\"printed\", \"reported\""),
]
ALLOWED = re.compile(r"\bthere (is|are) (no|none)\b|\.kind is none\b", re.I)
DOCUMENTS = (".md",)
HEADERS = (".h", ".hpp", ".td", ".rs")
FOLDERS = ("dsl/", "codegen/", "runtime/", "templates/", "examples/")


def texts(path, lines):
    """(line number, text) of what people read: whole documents, comments of headers."""
    inside = False
    for number, line in enumerate(lines, 1):
        if path.endswith(DOCUMENTS):
            yield number, line
            continue
        begin = re.search(r"//|/\*|^\s*\*", line)
        if inside or begin:
            yield number, line[0 if inside else begin.start():]
        if "/*" in line:
            inside = "*/" not in line.rsplit("/*", 1)[1]
        elif "*/" in line:
            inside = False


def findings(path, lines):
    for number, text in texts(path, lines):
        plain = ALLOWED.sub("", text)
        for pattern, better in PATTERNS:
            found = re.search(pattern, plain)
            if found:
                yield f"{path}:{number}: \"{found.group(0)}\": {better}: {text.strip()}"


def is_read(path):
    if path.startswith("tests/golden/") or os.path.basename(path) == "LICENSE":
        return False
    return path.endswith(DOCUMENTS) or (path.startswith(FOLDERS) and path.endswith(HEADERS))


def main():
    root = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.dont_write_bytecode = True
    import style
    problems = []
    for path in style.files(root):
        if is_read(path):
            with open(os.path.join(root, path), encoding="utf-8") as file:
                problems += findings(path, file.read().split("\n"))
    for problem in problems:
        print("error:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
