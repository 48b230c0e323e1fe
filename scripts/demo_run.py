"""The demo: invented patients, one compact round, a demo account. Each step is done once and kept."""

import json
from collections.abc import Callable
from pathlib import Path

from app.run import DEMO_NAME, DEMO_PASSWORD
from audit_store.database import open_store
from audit_store.errors import WorkspaceError
from audit_store.guidelines import load
from audit_store.people import add_person, find_person, operator
from audit_store.protocol import Terms, current_protocol, sign_protocol
from audit_store.workspace import create_workspace
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
    if find_person(store, DEMO_NAME) is None:
        add_person(store, operator(), DEMO_NAME, DEMO_PASSWORD, display_name="Demo reviewer", role="steward", demo=True)
    if current_protocol(store) is None:
        sign_protocol(store, operator(), Terms(), load())
    latest = workspace.latest_round()
    if latest is not None:
        say(f"Round {latest}: trained before.")
        return latest
    say("Round 1: training …")
    settings = {} if epochs is None else {"optim.epochs": epochs}
    return run_training(
        folder, preset=DEFAULT_PRESET, size="compact", seed=seed, device="auto", budget=None, settings=settings
    )
