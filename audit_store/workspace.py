"""The workspace: one folder that holds a cohort, rounds, models, decisions and exports, and the names of its parts."""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_store.errors import WorkspaceError
from audit_store.fileio import FILE_MODE, FOLDER_MODE, make_folder, parsed_json, replacing, sync_directory
from audit_store.manifests import check_manifest

WORKSPACE_VERSION = 1
DECISIONS_URL_VARIABLE = "MIRACL_DECISIONS_URL"
SECRET_BYTES = 32
_FOLDERS = ("rounds", "models", "exports", "runs", "cache")


@dataclass(frozen=True)
class Workspace:
    """An opened workspace: where its parts lie.

    Parameters
    ----------
    root
        The folder, absolute.
    version
        Version of the folder's layout.
    workspace_id
        Random name of this workspace, hex; no meaning outside it.
    secret
        32 random bytes that key the tokens in links; kept in the file ``secret``.
    """

    root: Path
    version: int
    workspace_id: str
    secret: bytes = field(repr=False)

    @property
    def cohort(self) -> Path:
        """Folder of the cohort."""
        return self.root / "cohort"

    @property
    def rounds(self) -> Path:
        """Folder of the round files."""
        return self.root / "rounds"

    @property
    def models(self) -> Path:
        """Folder of the trained models."""
        return self.root / "models"

    @property
    def exports(self) -> Path:
        """Folder of the exports."""
        return self.root / "exports"

    @property
    def runs(self) -> Path:
        """Folder of training runs in progress."""
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        """Folder of what can be computed again."""
        return self.root / "cache"

    @property
    def head_file(self) -> Path:
        """The ledger's head (count, hash), kept outside the database."""
        return self.root / "decisions.head.json"

    @property
    def decisions_url(self) -> str:
        """SQLAlchemy URL of the decisions: `MIRACL_DECISIONS_URL`, else SQLite in the workspace."""
        return os.environ.get(DECISIONS_URL_VARIABLE) or f"sqlite:///{self.root / 'decisions.sqlite'}"

    def round_path(self, round_id: int) -> Path:
        """File of a round."""
        return self.rounds / f"round-{round_id:04d}.duckdb"

    def round_digest_path(self, round_id: int) -> Path:
        """File beside a round with its digest, size and cohort fingerprint."""
        return self.rounds / f"round-{round_id:04d}.json"

    def model_folder(self, round_id: int) -> Path:
        """Folder of a round's model."""
        return self.models / f"round-{round_id:04d}"

    def run_folder(self, round_id: int) -> Path:
        """Folder of the training run that makes a round."""
        return self.runs / f"round-{round_id:04d}"

    def twin_folder(self, round_id: int) -> Path:
        """Folder of the run that trains a round once more without the decisions, to compare."""
        return self.runs / f"round-{round_id:04d}-without"

    def round_ids(self) -> list[int]:
        """Ids of the rounds that are complete, ascending."""
        names = (path.stem.removeprefix("round-") for path in self.rounds.glob("round-*.duckdb"))
        return sorted(int(name) for name in names if name.isdigit())

    def latest_round(self) -> int | None:
        """Id of the last complete round, or None."""
        ids = self.round_ids()
        return ids[-1] if ids else None

    def next_round(self) -> int:
        """Id that the next round gets, from 1."""
        return (self.latest_round() or 0) + 1

    def manifest(self) -> dict[str, Any]:
        """Read the cohort's manifest.

        Raises
        ------
        WorkspaceError
            When there is none, it is not JSON, or a field of it has another form.
        """
        found = _read_json(self.cohort / "manifest.json", "a cohort's manifest.json", "run miracl build-cohort")
        check_manifest(found)
        return found


def _read_json(path: Path, expected: str, todo: str) -> dict[str, Any]:
    try:
        value = parsed_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkspaceError(f"{expected} in {path.parent}", "no such file", todo) from None
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{expected} as JSON", type(error).__name__, todo) from None
    if not isinstance(value, dict):
        raise WorkspaceError(f"{expected} as a JSON object", type(value).__name__, todo)
    return value


def create_workspace(folder: Path) -> Workspace:
    """Make a workspace in `folder`, or open the one that is there.

    Folders are made for their owner alone (0700), files too (0600).

    Raises
    ------
    WorkspaceError
        When the folder can't be written, or holds a workspace of a newer version.
    """
    root = folder.expanduser().absolute()
    try:
        make_folder(root)
        for name in _FOLDERS:
            make_folder(root / name)
        if not (root / "secret").exists():
            _write_secret(root / "secret")
        if not (root / "workspace.json").exists():
            with replacing(root / "workspace.json") as path:
                body = {"version": WORKSPACE_VERSION, "workspace_id": secrets.token_hex(8)}
                path.write_text(json.dumps(body, indent=1), encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(
            f"a folder to write in at {folder}", error.strerror or type(error).__name__, "name another with --workspace"
        ) from None
    return open_workspace(root)


def _write_secret(path: Path) -> None:
    """Write the secret once: of several processes that try, the first one's stands."""
    aside = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}.part")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        os.write(handle, secrets.token_hex(SECRET_BYTES).encode())
        os.fsync(handle)
        os.close(handle)
        try:
            os.link(aside, path)
        except FileExistsError:
            return
        sync_directory(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def open_workspace(folder: Path) -> Workspace:
    """Open the workspace in `folder`.

    Raises
    ------
    WorkspaceError
        When the folder is no workspace, lacks its secret, or is of a newer version.
    """
    root = folder.expanduser().absolute()
    body = _read_json(
        root / "workspace.json", "a workspace (workspace.json)", "run miracl build-cohort, or miracl demo"
    )
    version = body.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise WorkspaceError("a version number in workspace.json", f"{version!r:.40}", "restore the file from a backup")
    if version > WORKSPACE_VERSION:
        raise WorkspaceError(
            f"a workspace of version {WORKSPACE_VERSION} or earlier", f"version {version!r:.40}", "upgrade miracl-audit"
        )
    try:
        secret = bytes.fromhex((root / "secret").read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise WorkspaceError("the workspace's file secret", "none that can be read", "restore it from a backup")
    for name in _FOLDERS:
        (root / name).mkdir(exist_ok=True, mode=FOLDER_MODE)
    return Workspace(root, version, str(body.get("workspace_id", "")), secret)
