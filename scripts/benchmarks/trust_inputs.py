"""Malformed inputs over all readers and verbs: one clear line or success, nothing half-written, never a hang.

Cases are run by worker processes, so that one that hangs or takes its process down is a counterexample like any other.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from types import FrameType
from typing import Any
from unittest import mock

from audit_store.fileio import file_digest
from scripts.benchmarks.trust_base import MARKER, Base, make_base
from scripts.benchmarks.trust_cases import Case, make_case
from scripts.benchmarks.trust_frame import Line, Size

ROOT = Path(__file__).parents[2]
SECONDS = 180
"""What one case may take; a reader that is not done by then hangs."""
LONGEST_LINE = 300
FINDINGS = ("verify",)
"""Verbs that say with status 1 that something does not hold."""
HALF = (".part", ".old", ".tmp", ".wal")
FREE = ("runs", "cache", "models")
"""Folders where a run that began may leave complete files."""
IN_A_PROCESS = 25
"""One case in so many is run as a process of its own as well, words and all."""


@dataclass(frozen=True)
class Outcome:
    """What came of a case; `trouble` is empty where it held."""

    number: int
    reader: str
    what: str
    status: int
    said: str
    trouble: str
    seconds: float


class _Hang(BaseException):
    """The case took too long."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _Hang


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def standing(folder: Path) -> dict[str, str]:
    """Give what stands in a folder: a digest for each file, the target of each link, a word for each folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        else:
            found[name] = "folder" if path.is_dir() else file_digest(path)
    return found


def run_case(case: Case) -> tuple[int, str, str, str]:
    """Run a case in this process: status, standard output, standard error, and what escaped (empty: nothing)."""
    from scripts.cli import app, guarded

    def command(**options: Any) -> object:
        if case.call is None:
            return app(list(case.words), **options)
        case.call()
        return None

    out, told, escaped, status = io.StringIO(), io.StringIO(), "", 0
    typed = io.StringIO(case.stdin.encode("utf-8", "replace").decode())
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(told),
            mock.patch("sys.stdin", typed),
            mock.patch("scripts.serve.serve", return_value=0),
            _limited(SECONDS),
        ):
            status = guarded(command)
    except _Hang:
        escaped = f"not done in {SECONDS} s"
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [step for step in where if str(ROOT) in step.filename and ".venv" not in step.filename] or list(where)
        escaped = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return status, out.getvalue(), told.getvalue(), escaped


def judge(
    case: Case, status: int, out: str, told: str, escaped: str, before: dict[str, str], after: dict[str, str]
) -> str:
    """Say what the case broke; empty where it broke nothing."""
    if escaped:
        return escaped
    allowed = (0, 1, 2) if any(word in case.words for word in FINDINGS) else (0, 2)
    lines = [line for line in told.splitlines() if line.startswith("miracl: ")]
    if status not in allowed:
        return f"status {status}"
    if "Traceback" in told or "Traceback" in out:
        return "a traceback"
    if MARKER in told or (MARKER in out and case.words[:1] != ("person",)):
        return "a patient's text or a name in what was said"
    usage = status == 2 and not told and "Usage" in out
    if status == 2 and not usage and (len(lines) != 1 or told.rstrip().splitlines()[-1] != lines[0]):
        return f"{len(lines)} lines that begin with miracl:, the last line {told.rstrip()[-60:]!r}"
    if lines and len(lines[0]) > LONGEST_LINE:
        return f"a line of {len(lines[0])} characters"
    left = [name for name in after if name not in before and name.endswith(HALF)]
    if left:
        return f"left behind: {left[0]}"
    if status == 2:
        return _changed(before, after)
    return ""


def _changed(before: dict[str, str], after: dict[str, str]) -> str:
    """Say what a refused command changed beyond what it may: the store, runs, caches, a new workspace."""
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        parts = Path(name).parts
        last = parts[-1]
        if "decisions" in last or f"link to {last}" in before.values() or any(part in FREE for part in parts):
            continue
        if name not in before and (after[name] == "folder" or last in ("workspace.json", "secret")):
            continue
        return f"changed although refused: {name}"
    return ""


def chain_holds(folder: Path) -> str:
    """Say what of the ledger does not hold in a workspace; empty where all does."""
    from audit_store.chain import check_ledger
    from audit_store.database import open_store
    from audit_store.workspace import open_workspace

    found = next(iter(check_ledger(open_store(open_workspace(folder)))), None)
    return f"the ledger no longer holds: {found.where}, row {found.row}: {found.what}" if found else ""


def try_case(number: int, seed: int, base: Base, place: Path, *, quick: bool = False) -> Outcome:
    """Make, run and judge the case of that number; its folder is removed where it held."""
    shutil.rmtree(place, ignore_errors=True)
    began = time.monotonic()
    case = make_case(number, seed, base, place, quick=quick)
    before = standing(case.watched)
    status, out, told, escaped = run_case(case)
    trouble = judge(case, status, out, told, escaped, before, standing(case.watched))
    if not trouble and case.whole:
        trouble = chain_holds(place / "ws")
    if not trouble and case.words and not quick and number % IN_A_PROCESS == 0:
        trouble = _as_process(case, place)
    if not trouble:
        shutil.rmtree(place, ignore_errors=True)
    said = told.rstrip().splitlines()[-1:] or [""]
    return Outcome(number, case.reader, case.what, status, said[0][:400], trouble, time.monotonic() - began)


def _as_process(case: Case, place: Path) -> str:
    """Run a case's words as a real process; the review server, which would go on, is left out."""
    if case.words[0] in ("review", "demo") or any("\x00" in word for word in case.words):
        return ""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    before = standing(case.watched)
    words = [sys.executable, "-m", "scripts.cli", *case.words]
    typed = case.stdin.encode("utf-8", "replace")
    try:
        done = subprocess.run(
            words, input=typed, capture_output=True, env=environment, cwd=ROOT, timeout=2 * SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "not done as a process"
    out, told = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    found = judge(case, done.returncode, out, told, "", before, standing(case.watched))
    return f"as a process: {found}" if found else ""


def work(base: Base, scratch: Path, seed: int, first: int, step: int, count: int, quick: bool) -> None:
    """Run every `step`th case from `first`, one JSON line each on standard output."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else soft, hard))
    real = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for number in range(first, count, step):
        real.write(json.dumps({"begun": number}) + "\n")
        real.flush()
        outcome = try_case(number, seed, base, scratch / f"case-{number}", quick=quick)
        real.write(json.dumps(asdict(outcome)) + "\n")
        real.flush()


class _Worker:
    """One worker process and what it is at; a new one goes on where one ended."""

    def __init__(
        self, base: Path, scratch: Path, size: Size, first: int, step: int, said: "Queue[tuple[_Worker, int, str]]"
    ) -> None:
        quick = str(int(size.name == "quick"))
        self.words = [str(base), str(scratch), str(size.seed), str(step), str(size.inputs), quick]
        self.step, self.count, self.next, self.lives = step, size.inputs, first, 0
        self.log, self.said = scratch / f"worker-{first}.log", said
        self.begun = first
        self.start()

    def start(self) -> None:
        """Start the process at the next case."""
        self.begun, self.since, self.lives = self.next, time.monotonic(), self.lives + 1
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONFAULTHANDLER": "1"}
        environment.pop("MIRACL_DECISIONS_URL", None)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.benchmarks.trust_inputs", *self.words, str(self.next)],
                stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=environment,
            )  # fmt: skip
        threading.Thread(target=self._listen, args=(self.process, self.lives), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes], life: int) -> None:
        for line in process.stdout or ():
            self.said.put((self, life, line.decode("utf-8")))
        self.said.put((self, life, ""))

    def end(self) -> int:
        """End the process, if it has not ended; its status."""
        self.process.kill()
        return self.process.wait()

    def lost(self, why: str) -> Outcome:
        """Give up the case at hand, and go on with the one after it."""
        number, seconds = self.begun, time.monotonic() - self.since
        status = self.end()
        self.next = number + self.step
        if self.next < self.count:
            self.start()
        return Outcome(number, "?", f"{self.log.name} has it", status, "", f"{why} ({status})", seconds)


def run_all(base: Path, scratch: Path, size: Size, workers: int, each: Callable[[Outcome], None]) -> list[Outcome]:
    """Run every case; `each` is told as they end. Outcomes by number."""
    said: Queue[tuple[_Worker, int, str]] = Queue()
    crew = [_Worker(base, scratch, size, first, workers, said) for first in range(min(workers, size.inputs))]
    found: list[Outcome] = []

    def keep(outcome: Outcome) -> None:
        found.append(outcome)
        each(outcome)

    try:
        while any(worker.next < size.inputs for worker in crew):
            with contextlib.suppress(Empty):
                worker, life, line = said.get(timeout=1.0)
                if life != worker.lives or worker.next >= size.inputs:
                    continue
                worker.since = time.monotonic()
                if not line:
                    keep(worker.lost("the process ended"))
                elif "begun" in (heard := json.loads(line)):
                    worker.begun = int(heard["begun"])
                else:
                    worker.next = int(heard["number"]) + worker.step
                    keep(Outcome(**heard))
            for worker in crew:
                if worker.next < size.inputs and time.monotonic() - worker.since > 2 * SECONDS:
                    keep(worker.lost("hangs, and can't be interrupted"))
    finally:
        for worker in crew:
            worker.end()
    return sorted(found, key=lambda outcome: outcome.number)


def lines(size: Size, scratch: Path, say: Callable[[str], None]) -> list[Line]:
    """Try `size.inputs` malformed inputs over all readers and verbs."""
    say("an invented source, workspaces and an unfinished run …")
    make_base(scratch / "base")
    say(f"{size.inputs:,} malformed inputs …")
    done: Counter[str] = Counter()

    def each(outcome: Outcome) -> None:
        done["all"] += 1
        done["bad"] += bool(outcome.trouble)
        if outcome.trouble:
            say(f"{outcome.number} {outcome.reader}: {outcome.what}: {outcome.trouble}")
        elif done["all"] % 100 == 0:
            say(f"{done['all']:,} of {size.inputs:,}")

    found = run_all(scratch / "base", scratch, size, min(2, os.cpu_count() or 1), each)
    (scratch / "inputs.jsonl").write_text("".join(json.dumps(asdict(o)) + "\n" for o in found), encoding="utf-8")
    return [summary(found, size)]


def summary(found: list[Outcome], size: Size) -> Line:
    """One line for the table."""
    bad = [outcome for outcome in found if outcome.trouble]
    refused = sum(outcome.status == 2 for outcome in found)
    readers = len({outcome.reader for outcome in found})
    first = (
        f"{bad[0].reader}: {bad[0].what}: {bad[0].trouble} (case {bad[0].number}, seed {size.seed})" if bad else None
    )
    return Line(
        "inputs",
        "a malformed input is one clear line or no matter: no traceback, no partial file, no patient's text, no hang",
        f"{len(found):,} inputs over {readers} readers and verbs",
        f"{refused:,} refused in one line, {len(found) - refused - len(bad):,} taken, {len(bad):,} otherwise",
        not bad and len(found) == size.inputs,
        first,
    )


def main() -> None:
    """Run as a worker."""
    base, scratch, seed, step, count, quick, first = sys.argv[1:]
    work(make_base(Path(base)), Path(scratch), int(seed), int(first), int(step), int(count), quick == "1")


if __name__ == "__main__":
    main()
