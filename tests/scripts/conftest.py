"""A small workspace on invented patients, built once per session through the command itself."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from scripts.cli import app, guarded

ROOT = Path(__file__).parents[2]
STAYS = 160
SMALL = [
    "--size",
    "compact",
    "--epochs",
    "7",
    "--seed",
    "3",
    "--set",
    "model.hidden=16",
    "--set",
    "model.ffn=32",
]

Miracl = Callable[..., subprocess.CompletedProcess[str]]


def run_miracl(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("MIRACL_DECISIONS_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        env=environment,
        cwd=ROOT,
        check=False,
    )


def call_miracl(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The same within this process, which has imported what a new one spends its seconds on; for what ends soon."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        patch.setattr(sys, "argv", ["miracl", *map(str, arguments)])
        patch.delenv("MIRACL_DECISIONS_URL", raising=False)
        patch.chdir(ROOT)
        status = guarded(app)
    return subprocess.CompletedProcess(sys.argv, status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cohort_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small synthetic cohort and nothing else; copy it before changing it."""
    folder = tmp_path_factory.mktemp("cohort") / "ws"
    done = run_miracl("build-cohort", "synthetic", "--workspace", folder, "--stays", str(STAYS), "--noise", "symmetric")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def trained_workspace(cohort_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with round 1; copy it before changing it."""
    folder = tmp_path_factory.mktemp("trained") / "ws"
    shutil.copytree(cohort_workspace, folder)
    done = run_miracl("train", "--workspace", folder, *SMALL)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def workspace_with_cohort(cohort_workspace: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    shutil.copytree(cohort_workspace, folder)
    return folder


@pytest.fixture
def workspace_with_round(trained_workspace: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    shutil.copytree(trained_workspace, folder)
    return folder
