"""Tampering: a byte, row or file is changed in a store that has lived, and `verify` has to find it.

What is changed is a value, a row or a whole file: any byte of a stored value, a row removed, doubled or swapped with
another, two values of a column swapped; any byte of a file beside the database, a file removed, cut or swapped. A byte
of the database file as such is not drawn, since many of them (free space, page counters) hold no value. Left out are
`session` and `sign_in_failure`: they are overwritten all the time and nothing follows from them.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from audit_store.database import open_store
from audit_store.errors import StoreError
from audit_store.head_file import read_head_file
from audit_store.verify import verify, verify_head
from audit_store.workspace import Workspace, open_workspace
from scripts.benchmarks.trust_frame import Line, Say, Size
from scripts.benchmarks.trust_lived import Lived, make_lived
from scripts.benchmarks.trust_spoil import LEFT_OUT, UnchangedError, spoil_file, spoil_store, tables_with_rows

PART = "tamper"
FILE_SHARE = 0.3
TRIES = 200


@dataclass(frozen=True)
class Missed:
    """A tampering that nothing noticed."""

    number: int
    what: str

    def __str__(self) -> str:
        return f"tampering {self.number}: {self.what}: nothing was found"


def lines(size: Size, scratch: Path, say: Say) -> list[Line]:
    """Tamper `size.tamperings` times, and cut the tail; see `Part`."""
    say("a store in which everything has happened")
    lived = make_lived(scratch / "lived", size.seed)
    rng = np.random.default_rng([size.seed, 5])
    whole = _found(lived.folder)
    files = max(1, round(FILE_SHARE * size.tamperings))
    tampered = [
        _rows(lived, size.tamperings - files, rng, say),
        _files(lived, files, rng, say),
        _cut_tails(lived, say),
    ]
    whole += _found(lived.folder)  # everything was put back, so that each tampering was found by itself
    first = Line(
        PART,
        "verify finds nothing where nothing was changed",
        "before the tamperings and after they were put back",
        f"{len(whole)} findings in {lived.events:,} events",
        passed=not whole,
        counterexample=whole[0] if whole else None,
    )
    shutil.rmtree(lived.folder)
    return [first, *tampered]


def _found(folder: Path) -> list[str]:
    """What verify says, or why the store could not even be opened."""
    try:
        store = open_store(open_workspace(folder))
    except StoreError as error:
        return [f"opening: {error}"]
    try:
        return [str(finding) for finding in verify(store)]
    except StoreError as error:
        return [f"verify: {error}"]
    finally:
        store.close()


def _rows(lived: Lived, times: int, rng: np.random.Generator, say: Say) -> Line:
    database = lived.folder / "decisions.sqlite"
    pristine = database.read_bytes()
    names = tables_with_rows(database)
    done: Counter[str] = Counter()
    missed: Missed | None = None
    for number in range(times):
        if number % 100 == 0:
            say(f"rows: {number} of {times}")
        table = names[number % len(names)]
        what = _until_changed(partial(spoil_store, database, table, rng), partial(_restore, database, pristine))
        if not _found(lived.folder) and missed is None:
            missed = Missed(number, what)
        done[table] += 1
        _restore(database, pristine)
    return Line(
        PART,
        f"every changed, removed, doubled or swapped row is found ({len(names)} tables; "
        f"{' and '.join(LEFT_OUT)} apart)",
        f"{times} tamperings, {min(done.values())} or more of each table",
        "all found" if missed is None else "one missed",
        passed=missed is None,
        counterexample=None if missed is None else str(missed),
    )


def _until_changed(spoil: Callable[[], str], restore: Callable[[], None]) -> str:
    """Draw until one changes something: some are refused by the database's rules, some write what was there."""
    for _ in range(TRIES):
        try:
            return spoil()
        except (UnchangedError, sqlite3.IntegrityError):
            restore()
    raise RuntimeError("no tampering could be drawn")


def _restore(database: Path, pristine: bytes) -> None:
    for beside in ("-wal", "-shm", "-journal"):
        database.with_name(database.name + beside).unlink(missing_ok=True)
    database.write_bytes(pristine)


def _files(lived: Lived, times: int, rng: np.random.Generator, say: Say) -> Line:
    files = watched_files(open_workspace(lived.folder))
    missed: Missed | None = None
    for number in range(times):
        if number % 100 == 0:
            say(f"files: {number} of {times}")
        file = files[number % len(files)]
        others = [other for other in files if other.suffix == file.suffix and other != file]
        before = {path: path.read_bytes() for path in (file, *others)}
        what = _until_changed(partial(spoil_file, file, others, rng), lambda: None)
        if not _found(lived.folder) and missed is None:
            missed = Missed(number, f"{file.relative_to(lived.folder)}: {what}")
        for path, body in before.items():
            path.write_bytes(body)
    return Line(
        PART,
        f"every changed, removed, cut or swapped file is found ({len(files)} files: rounds, their digests, the cohort, "
        "exports, manifests, the head)",
        f"{times} tamperings",
        "all found" if missed is None else "one missed",
        passed=missed is None,
        counterexample=None if missed is None else str(missed),
    )


def watched_files(workspace: Workspace) -> list[Path]:
    """Files beside the database that verify answers for."""
    folders = (
        (workspace.rounds, "round-*"),
        (workspace.cohort, "*.parquet"),
        (workspace.cohort, "manifest.json"),
        (workspace.exports, "export-*/*"),
    )
    return [workspace.head_file, *(path for folder, name in folders for path in sorted(folder.glob(name)))]


def _cut_tails(lived: Lived, say: Say) -> Line:
    """Put an earlier, whole state of the store in place, its head file too, as one who hides later events would."""
    say("cut tails")
    workspace = open_workspace(lived.folder)
    database = workspace.root / "decisions.sqlite"
    now = {path: path.read_bytes() for path in (database, workspace.head_file)}
    kept = read_head_file(workspace.head_file)
    missed = None
    for number, (rows, head) in enumerate(lived.earlier):
        _restore(database, rows)
        workspace.head_file.write_bytes(head)
        store = open_store(workspace)
        inside = [finding for finding in verify(store) if finding.where in ("event", "head", "decisions.head.json")]
        outside = None if kept is None else verify_head(store, *kept)
        store.close()
        if outside is None and missed is None:
            missed = Missed(number, f"a tail cut to event {read_head_file(workspace.head_file)}")
        if inside and missed is None:
            missed = Missed(number, f"an earlier state should hold in itself, and does not: {inside[0]}")
    _restore(database, now[database])
    workspace.head_file.write_bytes(now[workspace.head_file])
    return Line(
        PART,
        "a cut tail that leaves a whole store is found by a head kept elsewhere (verify --head)",
        f"{len(lived.earlier)} earlier states put back, with their head files",
        "all found" if missed is None else "one missed",
        passed=missed is None,
        counterexample=None if missed is None else str(missed),
    )
