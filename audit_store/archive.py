"""A backup's container: a folder, or one tar file of which every byte is accounted for.

The manifest `backup.json` comes first and names each file with its size and digest; its own digest stands in it. In a
tar the blocks between files follow from the names and sizes alone, so a changed byte shows wherever it is. Any tar
program can unpack it.
"""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from audit_store.errors import WorkspaceError
from audit_store.fileio import FILE_MODE, blake, canonical_json, make_folder

MANIFEST = "backup.json"
BACKUP_VERSION = 1
LARGEST_MANIFEST = 64 << 20
_CHUNK = 1 << 20
_TODO = "use another backup; nothing was written"


@dataclass(frozen=True)
class Packed:
    """A file of a backup: its name from the workspace's root (with ``/``), bytes, BLAKE2b-256 in hex."""

    name: str
    bytes: int
    blake2b: str


def manifest_text(said: Mapping[str, Any], files: Sequence[Packed]) -> str:
    """Write a manifest: canonical JSON with its own digest."""
    body = {**said, "version": BACKUP_VERSION, "files": [asdict(file) for file in files]}
    return canonical_json({**body, "digest": blake(canonical_json(body))})


def parse_manifest(text: bytes) -> tuple[dict[str, Any], list[Packed]]:
    """Read a manifest and its list of files.

    Raises
    ------
    WorkspaceError
        When it is not byte for byte what was written, names a file outside the workspace, or is of a newer version.
    """
    try:
        body = dict(json.loads(text))
        digest = body.pop("digest")
        whole = blake(canonical_json(body)) == digest and canonical_json({**body, "digest": digest}).encode() == text
        version = int(body["version"])
        files = [Packed(str(file["name"]), int(file["bytes"]), str(file["blake2b"])) for file in body["files"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        whole, version, files = False, 0, []
    if not whole:
        raise WorkspaceError("a backup as it was written", "one whose manifest was changed or cut", _TODO)
    if version > BACKUP_VERSION:
        raise WorkspaceError(f"a backup of version {BACKUP_VERSION}", f"version {version}", "upgrade miracl-audit")
    names = [file.name for file in files]
    if len(set(names)) < len(names) or not all(_inside(name) for name in names):
        raise WorkspaceError("files inside the workspace", "a name that leads out of it", _TODO)
    return body, files


def _inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and name == "/".join(parts)
        and not name.startswith("/")
        and ".." not in parts
        and "\x00" not in name
    )


def _block(name: str, size: int) -> bytes:
    """Give the header that stands before a file in the tar."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, FILE_MODE
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _filling(size: int, block: int = tarfile.BLOCKSIZE) -> bytes:
    return b"\0" * (-size % block)


def pack(folder: Path, manifest: str, files: Sequence[Packed], out: IO[bytes]) -> None:
    """Write a folder's files as a tar behind their manifest."""
    body = manifest.encode()
    written = 0

    def put(part: bytes) -> None:
        nonlocal written
        out.write(part)
        written += len(part)

    put(_block(MANIFEST, len(body)) + body + _filling(len(body)))
    for file in files:
        put(_block(file.name, file.bytes))
        with (folder / file.name).open("rb") as source:
            while part := source.read(_CHUNK):
                put(part)
        put(_filling(file.bytes))
    put(b"\0" * (2 * tarfile.BLOCKSIZE))
    put(_filling(written, tarfile.RECORDSIZE))


def unpack(backup: Path, target: Path) -> tuple[dict[str, Any], list[Packed]]:
    """Read a backup into an empty folder, comparing every byte on the way; return its manifest.

    Raises
    ------
    WorkspaceError
        When the backup is missing, cut short or changed. The caller removes what was written.
    """
    try:
        if backup.is_dir():
            return _unpack_folder(backup, target)
        with backup.open("rb") as source:
            return _unpack_tar(source, target)
    except OSError as error:
        came = error.strerror or type(error).__name__
        raise WorkspaceError(
            "a backup that can be read, and room for it", came, "check the name and the disk"
        ) from None


def _unpack_tar(source: IO[bytes], target: Path) -> tuple[dict[str, Any], list[Packed]]:
    changed = WorkspaceError("a backup as it was written", "one that was changed or cut short", _TODO)
    head = source.read(tarfile.BLOCKSIZE)
    try:
        first = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
    except (tarfile.TarError, ValueError):
        raise WorkspaceError("a file that miracl backup wrote", "another file", "name a backup") from None
    if first.name != MANIFEST or not 0 <= first.size <= LARGEST_MANIFEST or _block(MANIFEST, first.size) != head:
        raise WorkspaceError("a file that miracl backup wrote", "another file, or a changed one", "name a backup")
    body, files = parse_manifest(source.read(first.size))
    read = tarfile.BLOCKSIZE + first.size

    def expect(part: bytes) -> None:
        nonlocal read
        if source.read(len(part)) != part:
            raise changed
        read += len(part)

    expect(_filling(first.size))
    for file in files:
        expect(_block(file.name, file.bytes))
        with made(target / file.name) as out:
            _copy(source, out, file)
        read += file.bytes
        expect(_filling(file.bytes))
    expect(b"\0" * (2 * tarfile.BLOCKSIZE))
    expect(_filling(read, tarfile.RECORDSIZE))
    if source.read(1):
        raise changed
    return body, files


def _unpack_folder(backup: Path, target: Path) -> tuple[dict[str, Any], list[Packed]]:
    if not (backup / MANIFEST).is_file():
        raise WorkspaceError("a folder that miracl backup wrote", "one without its manifest", "name a backup")
    body, files = parse_manifest((backup / MANIFEST).read_bytes())
    there = {
        path.relative_to(backup).as_posix() for path in backup.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    if there != {MANIFEST, *(file.name for file in files)}:
        raise WorkspaceError("a backup as it was written", "one with other files", _TODO)
    for file in files:
        with (backup / file.name).open("rb") as source, made(target / file.name) as out:
            _copy(source, out, file)
            if source.read(1):
                raise WorkspaceError("a backup as it was written", "one with a longer file", _TODO)
    return body, files


@contextmanager
def made(path: Path) -> Iterator[IO[bytes]]:
    """Make a new file for its owner alone (0600), and its folders; flushed to disk at the end."""
    make_folder(path.parent)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _copy(source: IO[bytes], out: IO[bytes], file: Packed) -> None:
    digest, left = hashlib.blake2b(digest_size=32), file.bytes
    while left:
        part = source.read(min(left, _CHUNK))
        if not part:
            raise WorkspaceError("a backup as it was written", "one that was cut short", _TODO)
        digest.update(part)
        out.write(part)
        left -= len(part)
    if digest.hexdigest() != file.blake2b:
        raise WorkspaceError("a backup as it was written", "a file in it that was changed", _TODO)
