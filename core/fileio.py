"""Writing files so that a reader sees the old one or the new one, never half of either."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def sync_directory(folder: Path) -> None:
    """Flush a directory's entries to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success sync it and rename it over `target`.

    The temporary file is removed when the block fails. Files are created for their owner alone (0600).
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    aside.unlink(missing_ok=True)
    try:
        yield aside
        os.chmod(aside, 0o600)
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(aside, target)
        sync_directory(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def parsed_json(text: str) -> Any:
    """Read JSON; whatever is wrong with it, nesting too deep for any reader among that, is a ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
