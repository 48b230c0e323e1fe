"""Writing files so that a reader sees the old one or the new one, digests, and canonical JSON."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_CHUNK = 1 << 20


def sync_directory(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Close a finished file to others (0600) and flush it to disk."""
    os.chmod(path, FILE_MODE)
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success sync it and rename it over `target`.

    The temporary file is removed when the block fails. The result belongs to its owner alone (0600).
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    aside.unlink(missing_ok=True)
    try:
        yield aside
        sync_file(aside)
        os.replace(aside, target)
        sync_directory(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, for its owner alone (0700); an existing one is left as it is."""
    if not folder.is_dir():
        make_folder(folder.parent)  # `parents=True` would leave those in between open to others
        folder.mkdir(exist_ok=True, mode=FOLDER_MODE)


def remove_leftovers(folder: Path, prefix: str) -> list[Path]:
    """Paths aside (``.prefix*.<pid>.part``) in `folder` whose writer no longer runs.

    The caller removes them: they are what a killed writer left, and nobody reads them.
    """
    found = []
    for path in folder.glob(f".{prefix}*.part"):
        pid = path.name.removesuffix(".part").rsplit(".", 1)[-1]
        if pid.isdigit() and int(pid) != os.getpid() and not _runs(int(pid)):
            found.append(path)
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes on the file `path` (made if absent)."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def file_digest(path: Path, algorithm: str = "blake2b-256") -> str:
    """Digest of a file's bytes in hex: ``blake2b-256`` or ``sha256``."""
    digest = hashlib.sha256() if algorithm == "sha256" else hashlib.blake2b(digest_size=32)
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def parsed_json(text: str | bytes) -> Any:
    """Read JSON; whatever is wrong with it, nesting too deep for any reader among that, is a ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, UTF-8 as it is, no NaN or infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def blake(*parts: str | bytes, size: int = 32, key: bytes = b"") -> str:
    """BLAKE2b over the parts, each preceded by its length, in hex; keyed when a key is given."""
    digest = hashlib.blake2b(digest_size=size, key=key)
    for part in parts:
        body = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(body).to_bytes(8, "big"))
        digest.update(body)
    return digest.hexdigest()
