"""The machine that serves review has no trainer: screens, status and cohort building must not ask for one."""

import subprocess
import sys
from pathlib import Path

from .conftest import ROOT

BLOCKED = ("torch", "transformers", "sklearn", "captum", "scipy")
BLOCK = f"import sys\nfor name in {BLOCKED}:\n    sys.modules[name] = None\n"


def run(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


MAIN = "sys.argv[0] = 'miracl'\nfrom scripts.cli import main\nmain()\n"


def test_the_screens_import_without_the_trainer_and_without_its_room() -> None:
    done = run(
        "sys.modules['core'] = sys.modules['scripts'] = None\nimport app.main, app.views.review, app.views.rounds\n"
    )
    assert done.returncode == 0, done.stderr


def test_status_and_verify_need_no_trainer(workspace_with_cohort: Path) -> None:
    for verb in ("status", "verify"):
        done = run(MAIN, verb, "--workspace", workspace_with_cohort)
        assert done.returncode == 0, done.stderr


def test_a_cohort_is_built_without_the_trainer(tmp_path: Path) -> None:
    done = run(MAIN, "build-cohort", "synthetic", "--stays", "60", "--workspace", tmp_path / "ws")
    assert done.returncode == 0, done.stderr


def test_training_without_the_trainer_names_what_to_install(workspace_with_cohort: Path) -> None:
    done = run(MAIN, "train", "--workspace", workspace_with_cohort)
    assert done.returncode == 2
    assert "miracl-audit[train]" in done.stderr
    assert "Traceback" not in done.stderr
