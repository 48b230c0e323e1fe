"""The loop once, from cohort to trail, in sealed processes that log everything and may leave files open to all."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.privacy.planted import WORDS, plant
from tests.privacy.sealed import environment

ROOT = Path(__file__).parents[2]
SMALL = ("--size", "compact", "--epochs", "7", "--seed", "3", "--set", "model.hidden=16", "--set", "model.ffn=32")
CRASH = """
import sys
from audit_store.quiet import keep_quiet
import scripts.bridge
from scripts.cli import main
from tests.privacy.planted import WORDS

def crash(*given, **named):
    raise ValueError(f"could not convert '{WORDS['note']} of {WORDS['patient key']}'")

scripts.bridge.open_cohort = crash
main()
"""
VERBS = """
import sys
from audit_store.quiet import keep_quiet

keep_quiet()
from scripts.cli import app, guarded

folder, *verbs = sys.argv[1:]
for verb in verbs:
    sys.argv = ["miracl", *verb.split(), "--workspace", folder]
    if guarded(app):
        sys.exit(f"{verb} failed")
"""
BROKEN = """
import sys
from audit_store.quiet import keep_quiet, tell_fault

keep_quiet()
from scripts.cli import app, guarded

folder, *broken = sys.argv[1:]
for place in broken:
    for verb in ("status", "verify", "export"):
        sys.argv = ["miracl", verb, "--workspace", f"{folder}/{place}"]
        try:
            guarded(app)
        except Exception as error:
            tell_fault(error)
"""


@dataclass
class Loop:
    """A workspace that went through the loop, what the processes said, and where everything they wrote lies."""

    folder: Path
    workspace: Path
    said: dict[str, str] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> Path:
        """Folder of the seal's notes and of the logs."""
        return self.folder / "seal"

    @property
    def temporary(self) -> Path:
        """The processes' own folder for temporary files."""
        return self.folder / "tmp"

    @property
    def home(self) -> Path:
        """The processes' own home, for what libraries keep there."""
        return self.folder / "home"

    def run(self, name: str, *words: str | Path, stdin: str | None = None, umask: int = 0o000) -> int:
        """Run Python with these arguments under the seal; keep what it said."""
        for place in (self.temporary, self.home):
            place.mkdir(mode=0o700, exist_ok=True)
        environ = environment(self.notes, {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}, loud=True)
        environ.update(TMPDIR=str(self.temporary), HOME=str(self.home), COLUMNS="200")
        for cache in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "HF_HOME"):
            environ.pop(cache, None)
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True,
            text=True,
            input=stdin,
            env=environ,
            cwd=ROOT,
            umask=umask,
            check=False,
        )
        self.said[name] = done.stdout + done.stderr
        self.status[name] = done.returncode
        return done.returncode

    def miracl(self, name: str, *words: str | Path, **more: str) -> int:
        """Run a verb of the command on the workspace."""
        return self.run(name, "-m", "scripts.cli", *words, "--workspace", self.workspace, **more)


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Build, plant, train, add people, read, settle, export, status, verify; then a crash and a malformed store."""
    folder = tmp_path_factory.mktemp("loop")
    made = Loop(folder, folder / "workspace")
    made.miracl("build-cohort", "build-cohort", "synthetic", "--stays", "60", "--noise", "symmetric")
    plant(made.workspace / "cohort")
    made.miracl("train", "train", *SMALL)
    made.run("acts", "-m", "tests.privacy.acts", made.workspace)
    added = f"person add finn --role steward --display-name {WORDS['display name']} --password-stdin"
    verbs = (added, "export", "status", "verify")
    made.run("verbs", "-c", VERBS, made.workspace, *verbs, stdin=f"{WORDS['password']}\n")
    assert not any(made.status.values()), {name: made.said[name][-400:] for name, rc in made.status.items() if rc}
    return made
