"""What the `miracl` command and the demo share: inventing a cohort, training a round with a bar that can be stopped."""

import os
import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

import typer

from core.errors import ConfigError
from core.fileio import parsed_json
from scripts.console import PlainConsole

DEFAULT_RHO = 0.2
EXIT_STOPPED = 130
"""Status of a command that Ctrl+C or SIGTERM stopped; the same command goes on where it was."""

console = PlainConsole()


def needs_trainer(error: ModuleNotFoundError) -> NoReturn:
    raise ConfigError(
        "the trainer's packages",
        f"no module named {error.name}",
        'install them with: pip install "miracl-audit[train]"',
    ) from None


def invent(
    target: Path, stays: int, seed: int, noise: str, rho_plus: float | None, rho_minus: float | None, noise_seed: int
) -> dict[str, Any]:
    from core.cohort.sources.synthetic import NoiseSpec, build_synthetic

    plus = rho_plus if rho_plus is not None else (0.0 if noise == "none" else DEFAULT_RHO)
    minus = rho_minus if rho_minus is not None else (plus if noise == "symmetric" else 0.0)
    spec = NoiseSpec(kind=noise, rho_plus=plus, rho_minus=minus)
    return build_synthetic(target, stays=stays, seed=seed, noise=spec, noise_seed=noise_seed)


class StopFlag:
    """Within its block, Ctrl+C and SIGTERM ask the trainer to stop at the next step; a second one stops at once."""

    def __init__(self) -> None:
        self.raised = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopFlag":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._raise)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self.raised:
            raise KeyboardInterrupt
        self.raised = True

    def __call__(self) -> bool:
        return self.raised


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`optim.epochs=3` → ``{"optim.epochs": 3}``; values in JSON, or text where that fails."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name:
            raise ConfigError("--set name=value", repr(setting), "write for example --set optim.epochs=3")
        if name in ("preset", "size"):
            raise ConfigError("an option of TrainConfig in --set", name, f"give --{name} instead")
        try:
            parsed[name] = parsed_json(value)
        except ValueError:
            parsed[name] = value
    return parsed


def run_training(
    workspace: Path,
    *,
    preset: str,
    size: str,
    seed: int,
    device: str,
    budget: int | None,
    settings: dict[str, Any],
    fresh: bool = False,
    allow_changed_cohort: bool = False,
    did_it_help: bool = False,
    precision: str = "auto",
    compiled: bool = False,
) -> int | None:
    """Train and publish the next round with a progress bar; None when it was stopped."""
    # Threads that wait without spinning: on a shared machine an epoch else takes many times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from core.config import make_config
        from core.distributed import follows
        from core.execution import Execution
        from core.options import build_options
        from scripts.bridge import join_round, run_round
    except ModuleNotFoundError as error:
        needs_trainer(error)
    from audit_store.database import open_store
    from audit_store.workspace import open_workspace
    from scripts.progress import TrainingProgress

    config = make_config(preset, size, **settings)
    execution: Execution = build_options(Execution, {"precision": precision, "compiled": compiled}, "execution")
    if follows():
        console.quiet = True
        with StopFlag() as stop:
            join_round(open_workspace(workspace), device, stop)
        raise typer.Exit(0)
    store = open_store(open_workspace(workspace))
    with StopFlag() as stop, TrainingProgress() as progress:
        round_id = run_round(
            store,
            config,
            seed=seed,
            device=device,
            budget=budget,
            progress=progress,
            should_stop=stop,
            fresh=fresh,
            allow_changed_cohort=allow_changed_cohort,
            did_it_help=did_it_help,
            execution=execution,
        )
    if round_id is None:
        console.print("Stopped. The same command goes on from the last finished epoch.")
    return round_id
