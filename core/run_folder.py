"""A run's folder: which run it holds, that one process alone trains it, and its log."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import RunError
from core.fileio import parsed_json, replacing

CONFIG = "config.json"
LOG = "log.jsonl"
_NAMES = {
    "config": "config",
    "cohort_fingerprint": "cohort",
    "locks": "decisions",
    "seed": "seed",
    "round_id": "round number",
    "device": "kind of device",
}


@contextmanager
def holding(run_dir: Path) -> Iterator[None]:
    """Hold the run's folder for this process; the hold ends with the process, however it ends.

    Raises
    ------
    RunError
        When another process trains in it.
    """
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(run_dir / ".held", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"{run_dir.name} to itself", "another process training it", "wait for it, or stop it"
            ) from None
        yield
    finally:
        os.close(handle)


def claim(run_dir: Path, identity: dict[str, Any]) -> None:
    """Write which run the folder holds, or make sure that it is this one.

    Parameters
    ----------
    run_dir
        The run's folder.
    identity
        Plain types under the keys config, cohort_fingerprint, locks, seed, round_id, device; further keys are kept
        for readers and not compared.

    Raises
    ------
    RunError
        When it holds another run, with what differs.
    """
    path = run_dir / CONFIG
    if not path.exists():
        with replacing(path) as part:
            part.write_text(json.dumps(identity, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
        return
    try:
        held = parsed_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        held = {}
    other = [name for key, name in _NAMES.items() if not isinstance(held, dict) or held.get(key) != identity[key]]
    if other:
        todo = "give the same arguments to go on with it, or remove the folder to train anew"
        raise RunError(f"{run_dir.name} to hold this run", f"one of another {', '.join(other)}", todo)


def identity_digest(identity: dict[str, Any]) -> str:
    """BLAKE2b-128 over the keys that `claim` compares, in hex: what a checkpoint names itself by."""
    body = json.dumps({key: identity[key] for key in _NAMES}, sort_keys=True)
    return hashlib.blake2b(body.encode(), digest_size=16).hexdigest()


def write_log(run_dir: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON line an epoch; the whole file each time, so that it never disagrees with the checkpoint."""
    with replacing(run_dir / LOG) as part:
        part.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")
