"""What a process that keeps quiet says of values, of errors, and of texts that would steer a screen."""

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from app.plain import escape, literal
from audit_store.plain import cell, is_plain, one_line, visible
from audit_store.quiet import QuietRecord
from scripts.console import PlainConsole

ROOT = Path(__file__).parents[2]
CODE = """
import logging, os, resource, sys, threading
from audit_store.quiet import keep_quiet

keep_quiet()
os.makedirs(sys.argv[1] + "/folder")
open(sys.argv[1] + "/folder/file", "w").close()
assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("a.library").info("read %s of %d rows, 100%% done", "quillabrax", 7)
logging.getLogger("miracl.app").warning("round %d", 7)
try:
    int("quillabrax")
except ValueError:
    logging.getLogger("a.library").exception("it broke")

def fail():
    int("quillabrax")

class Late:
    def __del__(self):
        fail()

thread = threading.Thread(target=fail)
thread.start()
thread.join()
Late()
fail()
"""


def record(name: str, words: object, *values: object, error: BaseException | None = None) -> str:
    told = None if error is None else (type(error), error, error.__traceback__)
    return QuietRecord(name, logging.INFO, "x.py", 1, words, values, told).getMessage()


def test_a_process_that_keeps_quiet_tells_no_value_anywhere_and_makes_files_for_its_owner(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, umask=0, check=False
    )
    assert done.returncode == 1
    assert "quillabrax" not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "INFO:a.library:read … of … rows, 100% done"
    assert lines[1] == "WARNING:miracl.app:round 7"
    assert lines[2] == "ERROR:a.library:it broke (ValueError at <string>:13)"
    assert [line.partition(": ValueError")[0] for line in lines[3:]] == [
        "miracl: a fault in the program (in a thread)",
        "miracl: a fault in the program (while something was put away)",
        "miracl: a fault in the program",
    ]
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "folder", tmp_path / "folder" / "file")]
    assert modes == [0o700, 0o600]


def test_a_record_with_an_error_keeps_the_first_line_of_its_words_alone() -> None:
    words = "Task exception was never retrieved\nfuture: <Task exception=ValueError('quillabrax')>"
    assert record("asyncio", words, error=ValueError("quillabrax")) == "Task exception was never retrieved (ValueError)"
    assert record("a.library", ["quillabrax"]) == "list"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_what_is_made_visible_is_as_long_and_holds_nothing_that_steers(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert is_plain(one_line(text))
    assert not set(shown) & {"\x1b", "\x00", "\r", "\x7f", "\u202e", "\u2066", "\u2028", "\x9b"}
    assert [a for a, b in zip(text, shown, strict=True) if a == b and a.isprintable()] == [
        a for a in text if a.isprintable()
    ]
    assert "<" not in escape(text)
    assert "\n" not in literal(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\n=1", "＝1", "  @x"])
def test_a_cell_is_never_taken_for_a_formula(text: str) -> None:
    assert cell(text).startswith("'")
    assert cell("a=1") == "a=1"


def test_the_terminal_shows_names_as_typed() -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, width=120)
    name = "[bold]Ada[/bold] :smile: [link=http://leak.invalid]x[/link] \x1b]0;title\x07\x1b[2J\u202edrahcir"
    table = Table("shown as", title=name)
    table.add_row(name)
    console.print(table)
    console.print(name)
    said = out.getvalue()
    shown = "[bold]Ada[/bold] :smile: [link=http://leak.invalid]x[/link] ␛]0;title␇␛[2J\ufffddrahcir"
    assert said.count(shown) >= 2
    assert "\x1b]" not in said
    assert "\x1b[2J" not in said
