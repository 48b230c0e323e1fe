"""The demo: invented patients, one compact round, its accounts and conflicts. Each step is done once and kept."""

import json
from collections.abc import Callable
from pathlib import Path

from audit_store.database import open_store
from audit_store.errors import WorkspaceError
from audit_store.guidelines import load
from audit_store.people import operator
from audit_store.protocol import Terms, current_protocol, sign_protocol
from audit_store.rounds import open_round
from audit_store.workspace import create_workspace
from scripts.demo_people import add_visitors, leave_conflicts
from scripts.presets import DEFAULT_PRESET
from scripts.running import invent, run_training

DEMO_NOISE = ("balanced", 0.2, None, 123)


def prepare(folder: Path, *, stays: int, epochs: int | None, seed: int, say: Callable[[str], object]) -> int | None:
    """Make the demo's workspace ready for review; returns the round, or None when training was stopped.

    Raises
    ------
    WorkspaceError
        When the folder holds a cohort that is not the demo's.
    """
    workspace = create_workspace(folder)
    store = open_store(workspace)
    manifest_path = workspace.cohort / "manifest.json"
    if manifest_path.is_file():
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        if manifest.get("source") != "synthetic":
            raise WorkspaceError(
                "a workspace of the demo's own", "one with a cohort of patients", "give another --workspace"
            )
        say(f"Cohort: {manifest['counts']['stays']:,} invented stays, as built before.")
    else:
        say(f"Cohort: inventing {stays:,} stays …")
        kind, rho_plus, rho_minus, noise_seed = DEMO_NOISE
        invent(workspace.cohort, stays, seed, kind, rho_plus, rho_minus, noise_seed)
    add_visitors(store)
    if current_protocol(store) is None:
        sign_protocol(store, operator(), Terms(), load())
    latest = workspace.latest_round()
    if latest is not None:
        say(f"Round {latest}: trained before.")
    else:
        say("Round 1: training …")
        settings = {} if epochs is None else {"optim.epochs": epochs}
        latest = run_training(
            folder, preset=DEFAULT_PRESET, size="compact", seed=seed, device="auto", budget=None, settings=settings
        )
        if latest is None:
            return None
    left = leave_conflicts(store, open_round(workspace, latest))
    if left:
        say(f"Adjudication: {len(left)} pairs on which two simulated readers disagree.")
    return latest
