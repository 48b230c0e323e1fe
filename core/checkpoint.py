"""Checkpoints that are whole or refused: written aside, with a digest, the one before kept.

A file is a magic number, the BLAKE2b-256 of the rest, then what `torch.save` wrote. A newer file that was cut short or
altered is passed over for the one before it.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from core.errors import RunError
from core.fileio import replacing

NAME = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"
_MAGIC = b"MIRACL01"
_DIGEST = 32


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` as the folder's newest checkpoint; the one before becomes the previous.

    Parameters
    ----------
    folder
        The run's folder.
    state
        Tensors, numbers, texts, lists and dicts of these; no other objects.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getbuffer()
    with replacing(folder / NAME) as path:
        with path.open("wb") as handle:
            handle.write(_MAGIC + hashlib.blake2b(body, digest_size=_DIGEST).digest())
            handle.write(body)
        if (folder / NAME).exists():
            os.replace(folder / NAME, folder / PREVIOUS)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read the newest whole checkpoint; None where the run has not written any.

    Raises
    ------
    RunError
        When there are checkpoints and none is whole.
    """
    paths = [folder / name for name in (NAME, PREVIOUS) if (folder / name).exists()]
    for path in paths:
        state = _read(path)
        if state is not None:
            return state
    if paths:
        came = "a file cut short" if len(paths) == 1 else "two files cut short"
        raise RunError(
            f"a whole checkpoint in {folder.name}", came, "remove the run's folder to train it from the start"
        )
    return None


def _read(path: Path) -> dict[str, Any] | None:
    content = path.read_bytes()
    start = len(_MAGIC) + _DIGEST
    body = memoryview(content)[start:]
    digest = hashlib.blake2b(body, digest_size=_DIGEST).digest()
    if content[: len(_MAGIC)] != _MAGIC or content[len(_MAGIC) : start] != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return state
