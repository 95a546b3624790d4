# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""page.py finds what is wrong with a page, and passes what is right."""
import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import page  # noqa: E402


def outcome(text, *options):
    """(exit status, output) of the page `text`."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "page.md")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = page.main([path, *options])
        return status, output.getvalue()


class Pages(unittest.TestCase):
    def passes(self, text, *options):
        status, output = outcome(text, *options)
        self.assertEqual(status, 0, output)

    def fails(self, text, message, *options):
        status, output = outcome(text, *options)
        self.assertEqual(status, 1, output)
        self.assertIn(message, output)

    def test_files_are_there_before_the_commands(self):
        self.passes("```sh\ncat a/b.txt\n```\n```text\nhello\n```\n```text a/b.txt\nhello\n```\n")

    def test_all_commands_are_one_shell(self):
        self.passes("```sh\nexport WORD=seen\nmkdir new && cd new\n```\nthen\n```sh\necho $WORD\nbasename $PWD\n```\n"
                    "```text\nseen\nnew\n```\n")

    def test_a_failing_command_fails_the_page_and_names_its_line(self):
        self.fails("intro\n```sh\necho one\nfalse\necho two\n```\n",
                   "page.md: line 2: the commands end with status 1\none")
        self.fails("```sh\ntrue\n```\n```sh\nexit 3\n```\n", "line 4: the commands end with status 3")
        self.fails("```sh\nif\n```\n", "line 1: the shell does not take the page's commands")

    def test_other_output_than_the_page_says(self):
        self.fails("```sh\necho one\n```\n```text\ntwo\n```\n",
                   "line 4: the page says\ntwo\nbut the commands print\none")
        self.fails("```sh\ntrue\n```\n```text\ntwo\n```\n", "line 4: the page says")
        self.fails("```sh\necho one; echo two\n```\n```text\none\n```\n", "but the commands print")

    def test_an_ellipsis_is_any_number_of_lines(self):
        self.passes("```sh\necho a; echo b; echo c\n```\n```text\na\n...\nc\n...\n```\n")
        self.fails("```sh\necho a; echo b\n```\n```text\n...\na\n```\n", "but the commands print")

    def test_blocks_that_nobody_could_try(self):
        self.fails("```c\nint x;\n```\n", "line 1: expected ```c FILE, ```sh, or ```text after ```sh")
        self.fails("```\nx\n```\n", "line 1: expected ```LANGUAGE FILE")
        self.fails("```text\nx\n```\n", "line 1: expected")
        self.fails("only words\n", "no ```sh block")
        self.fails("```c a.c\n```\n", "no ```sh block")
        self.fails("```sh\ntrue\n", "line 1: the block has no end")
        self.fails("```c a.c\n```\n```c ./a.c\n```\n", "line 3: a second file a.c")
        self.fails("```c ../a.c\n```\n", "line 1: ../a.c is outside of the page's folder")

    def test_where_moec_is_installed(self):
        self.passes("```sh\ntest \"$PREFIX\" = /nowhere/at\n[ \"${PATH%%:*}\" = /first ]\n[ $NAME = value=x ]\n```\n",
                    "--prefix", "/nowhere/at", "--path", "/first", "--set", "NAME=value=x")

    def test_the_length_of_a_page(self):
        self.passes("```sh\ntrue\n```\n", "--max-lines", "3")
        self.fails("```sh\ntrue\n```\n\n", "4 lines, expected at most 3", "--max-lines", "3")

    def test_variables_of_moec_do_not_leak_into_the_page(self):
        os.environ["MOEC_MAX_ISA"] = "baseline"
        self.addCleanup(os.environ.pop, "MOEC_MAX_ISA")
        self.passes("```sh\n[ -z \"${MOEC_MAX_ISA:-}\" ]\n```\n")


if __name__ == "__main__":
    unittest.main()
