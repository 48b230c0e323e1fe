"""A change that slows `select` or the store by half is seen: this tree beside an earlier one, turn and turn about.

Both sides do the same work in the same run, and what is compared is processor time, part by part. The machine, its
load and its kind fall on both sides alike; no time is held against a number of seconds. `BASE` is the commit that this
tree is held against: whoever makes something slower on purpose, or changes what the work calls, names a later one.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
SIDE = Path(__file__).with_name("speed_side.py")
BASE = "ff22e6993a"
MOST = 1.3
"""Ratio of medians beyond which a part counts as slower: half as much again is 1.5, chance is within a tenth."""
TURNS = {"select": 7, "store": 5}
UNITS = {"select": 2, "store": 1}


class Side:
    """A process that does the work of one tree when asked."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def line(self) -> str:
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, "the side ended early"
        return said

    def work(self, units: int) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{units}\n")
        self.process.stdin.flush()
        took: dict[str, float] = json.loads(self.line())
        return took


@contextmanager
def side(tree: Path, what: str) -> Iterator[Side]:
    command = [sys.executable, "-W", "ignore", str(SIDE), str(tree), what]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tree)
    try:
        made = Side(process)
        assert made.line().strip() == "ready"
        yield made
    finally:
        process.communicate(timeout=60)


def ratios(first: Side, second: Side, turns: int, units: tuple[int, int]) -> dict[str, float]:
    """Ratio of medians, the first side's to the second's, of each part of the work."""
    taken = [(first.work(units[0]), second.work(units[1])) for _ in range(turns)]
    return {
        part: median(one[part] for one, _ in taken) / median(other[part] for _, other in taken) for part in taken[0][0]
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the commit that this tree is held against."""
    folder = tmp_path_factory.mktemp("base")
    packed = folder / "base.tar"
    command = ["git", "-C", str(ROOT), "archive", "-o", str(packed), BASE, "core", "audit_store", "scripts"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"commit {BASE} is not here: a copy without its history has nothing to be held against")
    subprocess.run(["tar", "-xf", str(packed), "-C", str(folder)], check=True)
    return folder


@pytest.mark.parametrize("what", ["select", "store"])
def test_nothing_has_become_slower_by_half(base: Path, what: str) -> None:
    turns, units = TURNS[what], (UNITS[what], UNITS[what])
    with ExitStack() as stack:
        here, there = (stack.enter_context(side(tree, what)) for tree in (ROOT, base))
        found = ratios(here, there, turns, units)
        if max(found.values()) > MOST:  # a second look, so that one bad moment is no verdict
            again = ratios(here, there, turns, units)
            found = {part: min(ratio, again[part]) for part, ratio in found.items()}
    assert max(found.values()) <= MOST, {part: round(ratio, 2) for part, ratio in found.items()}


def test_work_that_takes_half_as_long_again_is_seen() -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(side(ROOT, "select")) for _ in range(2))
        found = ratios(one, other, TURNS["select"], units=(3, 2))
        if min(found.values()) <= MOST:  # a machine at other work: look longer before saying so
            found = ratios(one, other, 4 * TURNS["select"], units=(3, 2))
    assert min(found.values()) > MOST, found
