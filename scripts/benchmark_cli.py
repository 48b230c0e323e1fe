"""`miracl benchmark`: measure, and write the table again."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.running import console, needs_trainer

benchmark_app = typer.Typer(
    help="Measure, and write the table again.\n\nExample: miracl benchmark select", no_args_is_help=True
)
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")


@benchmark_app.command("select")
def benchmark_select(
    stays: Annotated[int, typer.Option(min=100, help="Stays; 59,798 × 25 labels is the paper's size.")] = 59_798,
) -> None:
    """Time dynamics, mixtures, partition and correction of one epoch, against a plain restatement.

    Example: miracl benchmark select
    """
    try:
        from scripts.benchmarks.select import run
    except ModuleNotFoundError as error:
        needs_trainer(error)
    run(stays)


@benchmark_app.command("synthetic")
def benchmark_synthetic(
    stays: Annotated[int, typer.Option(min=100, help="Stays to invent.")] = 2000,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, counted from 0.")] = 3,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of the network.")] = 30,
    network: Annotated[bool, typer.Option(help="Train the network too; without it seconds instead of minutes.")] = True,
) -> None:
    """Measure how hard the invented patients are: clean labels, both modalities, each alone, and regression.

    Example: miracl benchmark synthetic --seeds 1
    """
    try:
        from core.cohort.sources.synthetic import SyntheticConfig
        from scripts.benchmarks.synthetic import markdown, rows
    except ModuleNotFoundError as error:
        needs_trainer(error)
    console.print(
        markdown(rows(stays, list(range(seeds)), epochs, "compact", network, SyntheticConfig())), markup=False
    )


@benchmark_app.command("planted")
def benchmark_planted(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    round_id: Annotated[int | None, typer.Option("--round", help="The round; the latest when not given.")] = None,
) -> None:
    """Measure how well a round on invented patients finds the noise that was planted in them.

    Example: miracl benchmark planted --workspace workspace-demo
    """
    try:
        from scripts.benchmarks.planted import markdown, measure
    except ModuleNotFoundError as error:
        needs_trainer(error)
    console.print(markdown(measure(workspace, round_id)), markup=False)
