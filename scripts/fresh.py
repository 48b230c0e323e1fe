"""A workspace for a build: one that was not there before is gone again when nothing comes of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit_store.workspace import Workspace, create_workspace


@contextmanager
def fresh_workspace(folder: Path) -> Iterator[Workspace]:
    """Open or create a workspace; where the block fails, a folder that it created is removed, others are left alone."""
    root = folder.expanduser().absolute()
    there = root.exists()
    try:
        yield create_workspace(folder)
    except BaseException:
        if not there:
            shutil.rmtree(root, ignore_errors=True)
        raise
