# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A page of the documentation in -> exit 0 when everything on it works as it stands there.

    python3 page.py PAGE [--prefix DIR] [--path DIR]... [--set NAME=VALUE]... [--max-lines N] [--keep DIR]

A page is a Markdown file. Its fenced blocks are what a reader would copy:

    ```c main.c      a file of that name
    ```sh            commands, run in the order of the page in one shell that stops at the first failure
    ```text          what the commands of the block before it print; a line "..." means any lines

Files are written first, into an empty folder in which the commands then run. --prefix is where moec is installed: the
commands find it as $PREFIX, and its programs in PATH. Blocks of another form are errors, because nobody could say
whether they work. With --keep the folder is DIR, and stays.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r"^(`{3,})([^`]*)$")


class Block:
    def __init__(self, line, info):
        words = info.split()
        self.line, self.language, self.name = line, words[0] if words else "", " ".join(words[1:])
        self.lines = []

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)


def blocks(text):
    """The fenced blocks of a page; ValueError says what a page does wrong."""
    found, open_block, fence = [], None, ""
    for number, line in enumerate(text.split("\n"), 1):
        match = FENCE.match(line)
        if open_block is None and match:
            open_block, fence = Block(number, match.group(2)), match.group(1)
        elif open_block is not None and line.strip() == fence:
            found.append(open_block)
            open_block = None
        elif open_block is not None:
            open_block.lines.append(line)
    if open_block is not None:
        raise ValueError(f"line {open_block.line}: the block has no end")
    return found


def parts(found):
    """Blocks in -> files {name: text} and steps [(commands block, expected block or None)]."""
    files, steps, last = {}, [], None
    for block in found:
        if block.name:
            path = os.path.normpath(block.name)
            if os.path.isabs(path) or path.startswith(".."):
                raise ValueError(f"line {block.line}: {block.name} is outside of the page's folder")
            if path in files:
                raise ValueError(f"line {block.line}: a second file {path}")
            files[path] = block.text
        elif block.language == "sh":
            steps.append([block, None])
        elif block.language == "text" and last is not None and last.language == "sh" and not last.name:
            steps[-1][1] = block
        else:
            raise ValueError(f"line {block.line}: expected ```{block.language or 'LANGUAGE'} FILE, ```sh, or ```text "
                             "after ```sh")
        last = block
    if not steps:
        raise ValueError("the page has no ```sh block, so it shows nothing that could be tried")
    return files, steps


def matches(expected, got):
    """Are the lines equal, where "..." in `expected` is any number of lines?"""
    pattern = "".join("(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()) + "[ \t]*\n"
                      for line in expected)
    return re.fullmatch(pattern, "".join(line + "\n" for line in got)) is not None


def script_of(steps, folder):
    lines = ["set -eu"]
    for number, (commands, _) in enumerate(steps):
        lines += [f"echo {number} >'{folder}/step'", "{"] + commands.lines + [f"}} >'{folder}/{number}.out'"]
    return "\n".join(lines) + "\n"


def run(steps, folder, environment):
    """What went wrong, or None."""
    with tempfile.TemporaryDirectory() as outputs:
        result = subprocess.run(["sh", "-c", script_of(steps, outputs)], cwd=folder, env=environment, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        for number, (commands, expected) in enumerate(steps):
            try:
                with open(os.path.join(outputs, f"{number}.out"), encoding="utf-8") as file:
                    got = file.read()
            except FileNotFoundError:
                return f"line {commands.line}: the shell does not take the page's commands\n{result.stdout}"
            with open(os.path.join(outputs, "step"), encoding="utf-8") as file:
                ended_here = result.returncode != 0 and int(file.read()) == number
            if ended_here:
                return (f"line {commands.line}: the commands end with status {result.returncode}\n"
                        f"{got}{result.stdout}")
            if expected is not None and not matches(expected.lines, got.rstrip("\n").split("\n")):
                return f"line {expected.line}: the page says\n{expected.text}but the commands print\n{got}"
    return None


def environment_of(options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOEC_")}
    environment["LC_ALL"] = "C.UTF-8"
    path = list(options.path)
    if options.prefix:
        prefix = os.path.abspath(options.prefix)
        environment["PREFIX"] = prefix
        path.append(os.path.join(prefix, "bin"))
    environment["PATH"] = os.pathsep.join(path + [environment.get("PATH", "/usr/bin:/bin")])
    for setting in options.set:
        name, _, value = setting.partition("=")
        environment[name] = value
    return environment


def main(arguments=None):
    parser = argparse.ArgumentParser(description="runs what a page of the documentation shows")
    parser.add_argument("page")
    parser.add_argument("--prefix", help="where moec is installed: $PREFIX")
    parser.add_argument("--path", action="append", default=[], help="a folder that comes first in PATH")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an environment variable")
    parser.add_argument("--max-lines", type=int, help="how long the page may be")
    parser.add_argument("--keep", help="the folder to work in; it is not removed")
    options = parser.parse_args(arguments)
    with open(options.page, encoding="utf-8") as file:
        text = file.read()
    try:
        if options.max_lines and text.count("\n") > options.max_lines:
            raise ValueError(f"{text.count(chr(10))} lines, expected at most {options.max_lines}")
        files, steps = parts(blocks(text))
    except ValueError as error:
        print(f"error: {options.page}: {error}")
        return 1
    with tempfile.TemporaryDirectory(prefix="moec-page-") as temporary:
        folder = options.keep or temporary
        for name, content in files.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
        problem = run(steps, folder, environment_of(options))
    if problem:
        print(f"error: {options.page}: {problem}")
        return 1
    print(f"{options.page}: {len(files)} files, {len(steps)} blocks of commands")
    return 0


if __name__ == "__main__":
    sys.exit(main())
