"""The verbs of `miracl benchmark` beside the resumable tables: one measurement each, portraits, the written results."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from scripts.running import console, needs_trainer

ROOT = Path(__file__).parents[1]
DEFAULT_WORKSPACE = Path("workspace")
DEFAULT_CACHE = DEFAULT_WORKSPACE / "benchmarks"
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
OutOption = Annotated[Path, typer.Option(help="Folder of table, raw rows and machine.", file_okay=False)]
PairsOption = Annotated[int, typer.Option(min=100, help="Pairs of a round; 1,494,950 are 59,798 stays × 25 labels.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="A tiny size that only shows that everything runs.")]
RowsOption = Annotated[Path | None, typer.Option(help="Folder of the raw rows (Parquet).", file_okay=False)]


def benchmark_select(
    stays: Annotated[int, typer.Option(min=100, help="Stays; 59,798 × 25 labels is the paper's size.")] = 59_798,
    repeats: Annotated[int, typer.Option(min=1, help="How often each side is timed.")] = 3,
    device: Annotated[str, typer.Option(help="Of the row in tensors: auto, cpu or cuda.")] = "auto",
    out: OutOption = DEFAULT_CACHE,
) -> None:
    """Time dynamics, mixtures, partition and correction of one epoch, against a plain restatement.

    Example: miracl benchmark select
    """
    try:
        from scripts.benchmarks.select import run
    except ModuleNotFoundError as error:
        needs_trainer(error)
    run(stays, repeats=repeats, device=device, out=out)


def benchmark_store(
    pairs: PairsOption = 1_494_950,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in the workspace.")] = 10,
    out: OutOption = DEFAULT_CACHE,
    quick: QuickOption = False,
) -> None:
    """Time the store at MIMIC's size: a round written, the queue, the counts, and the memory of who serves them.

    Example: miracl benchmark store
    """
    try:
        from scripts.benchmarks.store import run
    except ModuleNotFoundError as error:
        needs_trainer(error)
    console.print(run(pairs, rounds, out, quick=quick, say=console.print), markup=False, soft_wrap=True)


def benchmark_export(
    pairs: PairsOption = 1_494_950,
    out: OutOption = DEFAULT_CACHE,
    quick: QuickOption = False,
) -> None:
    """Time an export of that many cleaned labels as CSV and as Parquet, and say where the time went.

    Example: miracl benchmark export
    """
    try:
        from scripts.benchmarks.export import run
    except ModuleNotFoundError as error:
        needs_trainer(error)
    console.print(run(pairs, out, quick=quick, say=console.print), markup=False, soft_wrap=True)


def benchmark_scale(
    fraction: Annotated[str, typer.Option(help="Parts of 59,798 stays, commas between.")] = "1/64,1/16",
    shape: Annotated[str, typer.Option(help="hours48, paper, or both.")] = "hours48,paper",
    epochs: Annotated[int | None, typer.Option(min=3, help="4 on CPU, 30 on CUDA when not given.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, single or bfloat16.")] = "auto",
    resident: Annotated[str, typer.Option(help="Whether data lie on the device: auto, on or off.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compiled", help="Put the network through torch.compile.")] = False,
    out: OutOption = DEFAULT_CACHE,
    quick: QuickOption = False,
) -> None:
    """Time training at parts of MIMIC-IV's size: a stay's milliseconds, MIRACL's own share, and where they go.

    Example: miracl benchmark scale --fraction 1/64,1/16
    """
    try:
        from core.execution import Execution
        from core.options import build_options
        from scripts.benchmarks.scale import fractions_in, run
    except ModuleNotFoundError as error:
        needs_trainer(error)
    how = {"resident": resident, "precision": precision, "compiled": compiled}
    table = run(
        fractions_in(fraction), tuple(shape.split(",")), out, device=device, epochs=epochs,
        execution=build_options(Execution, how, "execution"), quick=quick, say=console.print,
    )  # fmt: skip
    console.print(table, markup=False, soft_wrap=True)


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


def benchmark_portrait(
    noise: Annotated[str, typer.Option(help="The planted noise, one.")] = "sym20",
    method: Annotated[str, typer.Option(help="The method, one.")] = "bce",
    seed: Annotated[int, typer.Option(min=0, help="Of patients, noise and weights.")] = 0,
    stays: Annotated[int, typer.Option(min=50, help="Invented stays.")] = 4000,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of the network.")] = 30,
    size: Annotated[str, typer.Option(help="compact or paper.")] = "compact",
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    rows: RowsOption = None,
    cache: Annotated[Path, typer.Option(help="Folder of packed cohorts, safe to delete.", file_okay=False)] = (
        DEFAULT_CACHE
    ),
) -> None:
    """Train one network and keep what it looks like from inside, with the truth beside it: figures are drawn of it.

    Example: miracl benchmark portrait --noise sym20
    """
    try:
        from contextlib import ExitStack

        from scripts.benchmarks.command import rows_folder
        from scripts.benchmarks.portrait import paint
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        folder = rows_folder(rows, False, stack)
        made = paint(
            method, noise, seed=seed, stays=stays, epochs=epochs, size=size, device=device, cache=cache, out=folder
        )
    console.print(str(made), markup=False)


def benchmark_report(
    rows: RowsOption = None,
    out: Annotated[Path | None, typer.Option(help="The document; core/RESULTS.md in the tree.", dir_okay=False)] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder of the figures; .readme/figures in the tree.", file_okay=False)
    ] = None,
    readme: Annotated[
        Path | None, typer.Option(help="README whose marked part is replaced; the tree's own.", dir_okay=False)
    ] = None,
) -> None:
    """Write all tables and figures from the raw rows; nothing is trained.

    In the developers' tree: core/RESULTS.md, the README's tables and .readme/figures. Elsewhere, or where `--out` is
    given: that document, and what else is asked for.

    Example: miracl benchmark report
    """
    try:
        from contextlib import ExitStack

        from scripts.benchmarks.command import rows_folder
        from scripts.benchmarks.results import write_results
    except ModuleNotFoundError as error:
        needs_trainer(error)
    if out is None and (ROOT / ".git").exists():
        out = ROOT / "core" / "RESULTS.md"
        figures, readme = figures or ROOT / ".readme" / "figures", readme or ROOT / "README.md"
    out = out or DEFAULT_CACHE / "RESULTS.md"
    with ExitStack() as stack:
        written = write_results(rows_folder(rows, False, stack), out, figures, readme)
    console.print(str(written), markup=False)


def benchmark_screen(
    cache: Annotated[Path, typer.Option(help="Folder of the invented workspace, safe to delete.", file_okay=False)] = (
        DEFAULT_CACHE
    ),
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of table, raw rows and machine; the cache when not given.", file_okay=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tiny size that only shows that everything runs.")] = False,
) -> None:
    """Time what a person waits for at the screens: a real browser on ten rounds of the paper's size.

    Example: miracl benchmark screen
    """
    try:
        from scripts.benchmarks.screen import run
    except ModuleNotFoundError as error:
        needs_trainer(error)
    console.print(run(cache, out or cache, quick=quick, say=console.print), markup=False)


def benchmark_trust(
    quick: Annotated[bool, typer.Option("--quick", help="The same properties, tried less often.")] = False,
    only: Annotated[
        str | None, typer.Option(help="Parts by name, with commas: kills,crowd,tamper,roles,inputs,disk,upgrade.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of table, rows (Parquet) and machine.", file_okay=False)
    ] = DEFAULT_CACHE,
) -> None:
    """Try to break each promise about decisions, files and access; status 1 on a counterexample.

    Example: miracl benchmark trust --quick --only crowd,roles
    """
    try:
        from scripts.benchmarks.trust import failed, run
        from scripts.benchmarks.trust_frame import FULL, QUICK, chosen_parts
    except ModuleNotFoundError as error:
        needs_trainer(error)
    if failed(run(chosen_parts(only), QUICK if quick else FULL, out, console)):
        raise typer.Exit(1)


def benchmark_cohort(
    rows: Annotated[int, typer.Option(min=1000, help="Charted rows to invent in published form.")] = 300_000_000,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder of rows and temporary files; the system's when not given.", file_okay=False),
    ] = None,
    demos: Annotated[
        Path | None, typer.Option(help="Folder with eicu-demo, mimic-iii-demo, mimic-iv-demo.", file_okay=False)
    ] = None,
    packed: Annotated[bool, typer.Option("--packed", help="Gzip the rows, as published; read on one core.")] = False,
    out: Annotated[
        Path, typer.Option(help="Folder of table, rows (Parquet) and machine.", file_okay=False)
    ] = DEFAULT_CACHE,
    quick: Annotated[bool, typer.Option("--quick", help="A tiny size that only shows that everything runs.")] = False,
) -> None:
    """Time a cohort of 300 million charted rows, the open demos where they are, and discretising.

    The disk that it takes is said first, about 45 GB at the full size (19 GB packed), and refused where it is not free.

    Example: miracl benchmark cohort --rows 3000000 --scratch /data/scratch
    """
    try:
        from scripts.benchmarks.cohort import run
    except ModuleNotFoundError as error:
        needs_trainer(error)
    console.print(
        run(rows, out, scratch=scratch, demos=demos, packed=packed, quick=quick, say=console.print), markup=False
    )


VERBS: dict[str, Callable[..., None]] = {
    "report": benchmark_report,
    "portrait": benchmark_portrait,
    "select": benchmark_select,
    "scale": benchmark_scale,
    "store": benchmark_store,
    "export": benchmark_export,
    "cohort": benchmark_cohort,
    "synthetic": benchmark_synthetic,
    "planted": benchmark_planted,
    "screen": benchmark_screen,
    "trust": benchmark_trust,
}
"""Verb and function, in the order of the help."""
