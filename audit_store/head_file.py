"""The ledger's head outside the database: a small file against which a cut tail shows.

It is written after each commit, over what it held, in one piece of fixed length and without waiting for the disk: a
killed process loses none of it, and after a power cut the file may name an earlier head, which holds as well. Waiting
for the disk twice more than the database does would cost each decision two thirds of its time.
"""

import json
import os
from pathlib import Path

from audit_store.fileio import FILE_MODE, locked, parsed_json, replacing

LENGTH = 128  # bytes: one block of a disk, in which there is never half of an old and half of a new one


def read_head_file(path: Path) -> tuple[int, str] | None:
    """Count and hash that stand outside the database; None where the file is missing or unreadable."""
    try:
        with locked(_lock_of(path)):
            return _parsed(path)
    except OSError:  # a folder that can only be read has no writers either
        return _parsed(path)


def mirror_head(path: Path, count: int, digest: str) -> None:
    """Write a head that was just committed, unless a later one is there already.

    Raises
    ------
    OSError
        When the file can't be written; the commit stands.
    """
    with locked(_lock_of(path)):
        kept = _parsed(path)
        if kept is not None and kept[0] >= count:
            return
        body = json.dumps({"count": count, "hash": digest}).ljust(LENGTH - 1).encode("ascii") + b"\n"
        if kept is None:
            with replacing(path) as aside:
                aside.write_bytes(body)
            return
        handle = os.open(path, os.O_WRONLY, FILE_MODE)
        try:
            os.pwrite(handle, body, 0)
            os.ftruncate(handle, len(body))
        finally:
            os.close(handle)


def _lock_of(path: Path) -> Path:
    return path.with_name(".decisions.head.lock")


def _parsed(path: Path) -> tuple[int, str] | None:
    try:
        body = parsed_json(path.read_text(encoding="ascii"))
        return int(body["count"]), str(body["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
