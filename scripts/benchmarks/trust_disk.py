"""A full disk and a folder that can only be read: one clear line, nothing lost, and the act works once there is room.

A small file system in memory is mounted where this process may; elsewhere a limit on the size of files stands in for
the full disk, and taking away the right to write for the read-only one. Each line says which was used.
"""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit_store.database import open_store
from audit_store.decisions import Reading, new_token, record
from audit_store.people import find_person, operator
from audit_store.rounds import open_round, publish_round
from audit_store.workspace import open_workspace
from scripts.benchmarks.trust_base import READER, SETTINGS, Base, invented_round, make_base
from scripts.benchmarks.trust_cases import Case
from scripts.benchmarks.trust_frame import Line, Size
from scripts.benchmarks.trust_inputs import judge, run_case, standing
from scripts.benchmarks.trust_readers import app_reads

MEGABYTES = 48
"""Size of the file system in memory."""
ROOM = {"quick": (0, 96), "full": (0, 4, 16, 64, 96, 160, 256, 512, 1024, 2048)}
"""KiB left on the disk when an act begins, one after the other."""
PROMISE_FULL = "a full disk is one clear line; what was there stays whole, and the act works once there is room"
PROMISE_READ = "in a folder that can only be read, screens and listings work or say one line, and acts say one line"


@dataclass(frozen=True)
class Act:
    """Something that writes.

    Parameters
    ----------
    name
        In words.
    words
        Words of the `miracl` command, the workspace left out.
    call
        What is done in their place, given the workspace's folder.
    start
        Which of the prepared workspaces it begins with.
    stdin
        What is typed.
    beside
        Whether the last word is a path beside the workspace, on the same disk.
    """

    name: str
    words: tuple[str, ...] = ()
    call: Callable[[Path], object] | None = None
    start: str = "full"
    stdin: str = ""
    beside: bool = False

    def case(self, folder: Path) -> Case:
        """Make the case that runs it on a workspace."""
        call = self.call
        if call is not None:
            return Case(self.name, "", folder.parent, call=lambda: call(folder))
        words = (*self.words[:-1], str(folder.parent / self.words[-1])) if self.beside else self.words
        return Case(self.name, "", folder.parent, (*words, "--workspace", str(folder)), stdin=self.stdin)


def _answer(folder: Path) -> None:
    """Answer a pair that the reader has not answered."""
    store = open_store(open_workspace(folder))
    round_file, me = open_round(store.workspace), find_person(store, READER)
    assert me is not None
    grouped = {key for keys in round_file.label_groups.values() for key in keys}
    key = next(key for key in round_file.label_ids if key not in grouped)
    stays = [int(row[0]) for row in round_file.rows("SELECT DISTINCT stay_id FROM pair ORDER BY 1 DESC")]
    with store.reading() as connection:
        done = {row[0] for row in connection.exec_driver_sql("SELECT stay_id FROM decision")}
    stay = next(stay for stay in stays if stay not in done)
    record(store, me, Reading(1, stay, key, "absent", comment="a comment " * 300), new_token())


def _publish(folder: Path) -> None:
    store = open_store(open_workspace(folder))
    number = store.workspace.next_round()
    info, tables = invented_round(store.workspace.cohort, number)
    publish_round(store, number, info, tables, operator())


TRAIN = ("train", "--preset", "miracl", "--size", "compact", "--device", "cpu", *SETTINGS)
ACTS = (
    Act("an answer", call=_answer),
    Act("an export", ("export",)),
    Act("a round", call=_publish),
    Act("an account", ("person", "add", "bo", "--password-stdin"), stdin="long-enough\n"),
    Act("a backup", ("backup", "copy.tar"), beside=True),
    Act("a cohort", ("build-cohort", "synthetic", "--stays", "60"), start="plain"),
    Act("training", TRAIN, start="plain"),
    Act("training that goes on", TRAIN, start="begun"),
)
VIEWS = (
    Act("status", ("status",)),
    Act("verify", ("verify",)),
    Act("people", ("person", "list")),
    Act("the screens", call=app_reads),
)
QUICK = ("an answer", "an export", "a round", "an account", "a backup", "a cohort")


def may_mount(place: Path) -> str:
    """Mount a file system in memory at `place`; what hindered it, empty where nothing did."""
    place.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None:
        return "no mount command"
    words = [mount, "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0700", "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, check=False)
    return "" if done.returncode == 0 else "no right to mount a file system in memory"


@contextmanager
def small_disk(place: Path) -> Iterator[str]:
    """Mount a small disk at `place` for a while; gives why not, where it could not be."""
    hindrance = may_mount(place)
    try:
        yield hindrance
    finally:
        if not hindrance:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@contextmanager
def only_room(place: Path, kilobytes: int, mounted: bool) -> Iterator[None]:
    """Leave so much room: by a file that fills the rest of the small disk, else by a limit on the size of files."""
    if not mounted:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, kept)
        return
    ballast = place / "ballast"
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        status = os.statvfs(place)
        os.posix_fallocate(handle, 0, max(1, status.f_bavail * status.f_frsize - (kilobytes << 10)))
        yield
    finally:
        os.close(handle)
        ballast.unlink(missing_ok=True)


@contextmanager
def only_reading(place: Path, mounted: bool) -> Iterator[None]:
    """Take away the right to write on the small disk, or from every folder and file of a user who is not root."""
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro", str(place)], capture_output=True, check=True)
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(place)], capture_output=True, check=True)
        return
    kept = {path: path.stat().st_mode for path in (place, *place.rglob("*")) if not path.is_symlink()}
    try:
        for path, mode in kept.items():
            path.chmod(mode & 0o555)
        yield
    finally:
        for path, mode in kept.items():
            path.chmod(mode)


def _close(folder: Path) -> None:
    """Close what this process holds open of a workspace."""
    space = open_workspace(folder)
    for number in space.round_ids():
        open_round(space, number).close()
    open_store(space).close()


def tried(act: Act, folder: Path, *, must: tuple[int, ...] = (0, 2)) -> tuple[int, str]:
    """Run an act once: its status and what of it broke the promise, empty where nothing did."""
    case = act.case(folder)
    before = standing(case.watched)
    status, out, told, escaped = run_case(case)
    trouble = judge(case, status, out, told, escaped, before, standing(case.watched))
    if not trouble and status not in must:
        trouble = f"status {status}: {(told.rstrip().splitlines() or ['no line'])[-1][:200]}"
    return status, trouble


def _verified(folder: Path) -> str:
    """Say what `miracl verify` finds; empty where all holds."""
    status, out, told, escaped = run_case(Case("verify", "", folder, ("verify", "--workspace", str(folder))))
    return "" if status == 0 and not escaped else escaped or (out + told).strip().splitlines()[0][:200]


def fill_up(act: Act, base: Base, place: Path, size: Size, mounted: bool) -> tuple[int, str]:
    """Try an act with less room than it needs, then with enough: how often it was refused, and what did not hold."""
    folder = place / "ws"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(getattr(base, act.start), folder)
    try:
        refused, trouble = _with_more_and_more(act, folder, size, mounted)
    finally:
        _close(folder)
        for path in place.glob("copy.tar*"):
            path.unlink()
    if not refused and not trouble:
        trouble = "it was never refused: the disk was not full"
    return refused, f"{act.name} {trouble}" if trouble else ""


def _with_more_and_more(act: Act, folder: Path, size: Size, mounted: bool) -> tuple[int, str]:
    refused = status = 0
    for room in ROOM[size.name]:
        with only_room(folder.parent, room, mounted):
            status, trouble = tried(act, folder)
        refused += status == 2
        trouble = trouble or _verified(folder)
        if trouble:
            return refused, f"with {room} KiB left: {trouble}"
        if status == 0:
            return refused, ""
    _, trouble = tried(act, folder, must=(0,))
    trouble = trouble or _verified(folder)
    return refused, f"once there is room: {trouble}" if trouble else ""


def full_disk(base: Base, place: Path, size: Size, mounted: bool, say: Callable[[str], None]) -> Line:
    """Try every act that writes on a disk that fills up."""
    refused, troubles = 0, []
    acts = [act for act in ACTS if size.name == "full" or act.name in QUICK]
    for act in acts:
        say(f"a full disk: {act.name} …")
        count, trouble = fill_up(act, base, place, size, mounted)
        refused += count
        if trouble:
            say(trouble)
            troubles.append(trouble)
    how = f"a file system of {MEGABYTES} MiB in memory" if mounted else "a limit on the size of files in its place"
    asked = f"{len(acts)} acts, {how}, down to nothing left"
    found = f"{refused} refused in one line, {len(troubles)} otherwise"
    return Line("disk", PROMISE_FULL, asked, found, not troubles, troubles[0] if troubles else None)


def without_writing(act: Act, base: Base, place: Path, mounted: bool) -> str:
    """Run an act where nothing can be written: what of it broke the promise, empty where nothing did."""
    folder = place / "ws"
    shutil.copytree(getattr(base, act.start), folder)
    before = standing(folder)
    with only_reading(place, mounted):
        _, trouble = tried(act, folder, must=(0, 2) if act in VIEWS else (2,))
        changed = act not in VIEWS and standing(folder) != before
    return trouble or ("something was written" if changed else "")


def read_only(base: Base, place: Path, mounted: bool, say: Callable[[str], None]) -> Line:
    """Try every act and every view where nothing can be written."""
    troubles = []
    if not mounted and os.geteuid() == 0:
        found = "root may write everywhere, and here may not mount"
        return Line("disk", PROMISE_READ, "-", found, passed=False, measured=False)
    for number, act in enumerate((*VIEWS, *ACTS)):
        say(f"read-only: {act.name} …")
        # a disk for each act: what this process still holds open would keep one from being made read-only again
        with small_disk(place / f"disk-{number}"):
            trouble = without_writing(act, base, place / f"disk-{number}", mounted)
        if trouble:
            say(f"{act.name}: {trouble}")
            troubles.append(f"{act.name}: {trouble}")
    how = "mounted read-only" if mounted else "without the right to write"
    asked = f"{len(ACTS)} acts and {len(VIEWS)} views, {how}"
    return Line("disk", PROMISE_READ, asked, f"{len(troubles)} otherwise", not troubles, next(iter(troubles), None))


def lines(size: Size, scratch: Path, say: Callable[[str], None]) -> list[Line]:
    """Fill the disk under every act that writes, then take away the right to write."""
    base, place = make_base(scratch / "base"), scratch / "disk"
    with small_disk(place) as hindrance:
        if hindrance:
            say(f"{hindrance}: stand-ins are used")
        full = full_disk(base, place, size, not hindrance, say)
    return [full, read_only(base, scratch, not hindrance, say)]
