"""`miracl benchmark`: measure, and write the table again."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts import benchmark_single_cli
from scripts.running import needs_trainer

if TYPE_CHECKING:
    from scripts.benchmarks.command import Measuring
    from scripts.benchmarks.robustness import Plan

benchmark_app = typer.Typer(
    help="Measure, and write the table again.\n\nExample: miracl benchmark select", no_args_is_help=True
)
for name, verb in benchmark_single_cli.VERBS.items():
    benchmark_app.command(name)(verb)
DEFAULT_WORKSPACE = Path("workspace")
MethodsOption = Annotated[str, typer.Option(help="Names with commas between; all of the table when empty.")]
VariantsOption = Annotated[str, typer.Option(help="Rows with commas between; all of the table when empty.")]
NoiseOption = Annotated[str, typer.Option(help="Names with commas between; all of the table when empty.")]
SeedsOption = Annotated[int, typer.Option(min=1, help="How many seeds, counted from 0.")]
SizeOption = Annotated[str, typer.Option(help="compact (hidden 64, two-hourly) or paper (hidden 128, hourly).")]
EpochsOption = Annotated[int, typer.Option(min=2, help="Epochs of each network.")]
StaysOption = Annotated[int, typer.Option(min=50, help="Invented stays of each seed's cohort.")]
CohortOption = Annotated[
    str, typer.Option(help="synthetic, eicu-demo (recorded labels), eicu-history (past histories).")
]
DataOption = Annotated[Path | None, typer.Option(help="The eICU demo's folder, for its cohort.", file_okay=False)]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or auto.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Runs at once; one a core when not given.")]
RowsOption = Annotated[Path | None, typer.Option(help="Folder of the raw rows (Parquet).", file_okay=False)]
CacheOption = Annotated[Path, typer.Option(help="Folder of packed cohorts, safe to delete.", file_okay=False)]
OutOption = Annotated[Path | None, typer.Option(help="File the Markdown table goes to as well.", dir_okay=False)]
QuickOption = Annotated[bool, typer.Option("--quick", help="A tiny size that only shows that everything runs.")]
ChangedOption = Annotated[bool, typer.Option("--changed", help="Run again what other options made.")]
DEFAULT_CACHE = DEFAULT_WORKSPACE / "benchmarks"


def _names(text: str, default: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) or default


def _plan(
    methods: tuple[str, ...],
    noises: tuple[str, ...],
    seeds: int,
    size: str,
    epochs: int,
    cohort: str,
    stays: int,
    data: Path | None,
    device: str,
    cache: Path,
    small: bool,
) -> "Plan":
    """Put a plan together from a verb's options."""
    from core.training import choose_device
    from scripts.benchmarks.cohorts import HISTORY, RECORDED, check_cohort, synthetic_name
    from scripts.benchmarks.robustness import Plan, quick
    from scripts.benchmarks.runner import Place

    place = Place(cache, data, choose_device(device).type)
    name = synthetic_name(stays) if cohort == "synthetic" else cohort
    check_cohort(name, data)
    noises = (RECORDED,) if name == HISTORY else noises
    plan = Plan(methods, noises, range(seeds), name, size, epochs, place)
    return quick(plan) if small else plan


def _measuring(
    rows: Path | None, out: Path | None, workers: int | None, changed: bool, small: bool, device: str, stack: ExitStack
) -> "Measuring":
    from scripts.benchmarks.command import Measuring, default_workers, rows_folder

    return Measuring(rows_folder(rows, small, stack), out, workers or default_workers(device), changed)


@benchmark_app.command("robustness")
def benchmark_robustness(
    methods: MethodsOption = "",
    noise: NoiseOption = "",
    seeds: SeedsOption = 5,
    size: SizeOption = "compact",
    epochs: EpochsOption = 30,
    cohort: CohortOption = "synthetic",
    stays: StaysOption = 4000,
    data: DataOption = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = None,
    rows: RowsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    out: OutOption = None,
    quick: QuickOption = False,
    changed: ChangedOption = False,
) -> None:
    """Measure each method under each noise against clean test labels; what is finished is not run again.

    Example: miracl benchmark robustness --methods bce,gce --noise sym20 --seeds 3
    """
    try:
        from scripts.benchmarks.command import measure
        from scripts.benchmarks.fits import run
        from scripts.benchmarks.methods import METHODS
        from scripts.benchmarks.report import robustness_markdown
        from scripts.benchmarks.robustness import NOISES, QUICK_METHODS, QUICK_NOISES, jobs
        from scripts.benchmarks.scene import digest
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        plan = _plan(
            _names(methods, QUICK_METHODS if quick else tuple(METHODS)),
            _names(noise, QUICK_NOISES if quick else NOISES),
            seeds, size, epochs, cohort, stays, data, device, cache, quick,
        )  # fmt: skip
        how = _measuring(rows, out, workers, changed, quick, plan.place.device, stack)
        measure(jobs(plan), run, how, robustness_markdown, digest=digest)


@benchmark_app.command("detection")
def benchmark_detection(
    methods: MethodsOption = "",
    noise: NoiseOption = "",
    seeds: SeedsOption = 5,
    size: SizeOption = "compact",
    epochs: EpochsOption = 30,
    cohort: CohortOption = "synthetic",
    stays: StaysOption = 4000,
    data: DataOption = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = None,
    rows: RowsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    out: OutOption = None,
    quick: QuickOption = False,
    changed: ChangedOption = False,
) -> None:
    """Measure how well each detector finds planted noise, by observed class; shares runs with robustness.

    Example: miracl benchmark detection --noise sym20,bal20 --seeds 3
    """
    try:
        from scripts.benchmarks import detection
        from scripts.benchmarks.command import measure
        from scripts.benchmarks.fits import run
        from scripts.benchmarks.report_finding import detection_markdown
        from scripts.benchmarks.robustness import QUICK_NOISES, jobs
        from scripts.benchmarks.scene import digest
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        plan = _plan(
            _names(methods, detection.QUICK_METHODS if quick else detection.METHODS),
            _names(noise, QUICK_NOISES if quick else detection.NOISES),
            seeds, size, epochs, cohort, stays, data, device, cache, quick,
        )  # fmt: skip
        how = _measuring(rows, out, workers, changed, quick, plan.place.device, stack)
        measure(jobs(plan), run, how, detection_markdown, digest=digest, there=detection.finished, table="detection")


@benchmark_app.command("ablation")
def benchmark_ablation(
    variants: VariantsOption = "",
    noise: NoiseOption = "",
    seeds: SeedsOption = 5,
    size: SizeOption = "compact",
    epochs: EpochsOption = 30,
    cohort: CohortOption = "synthetic",
    stays: StaysOption = 4000,
    data: DataOption = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = None,
    rows: RowsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    out: OutOption = None,
    quick: QuickOption = False,
    changed: ChangedOption = False,
) -> None:
    """Measure what each part of the method is worth, one part at a time.

    Example: miracl benchmark ablation --variants "baseline,full" --seeds 3
    """
    try:
        from scripts.benchmarks import ablation
        from scripts.benchmarks.command import measure
        from scripts.benchmarks.fits import run
        from scripts.benchmarks.report import ablation_markdown
        from scripts.benchmarks.scene import digest
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        plan = _plan(
            (),
            _names(noise, ablation.QUICK_NOISES if quick else ablation.NOISES),
            seeds, size, epochs, cohort, stays, data, device, cache, quick,
        )  # fmt: skip
        how = _measuring(rows, out, workers, changed, quick, plan.place.device, stack)
        chosen = _names(variants, ablation.QUICK_VARIANTS if quick else tuple(ablation.VARIANTS))
        measure(ablation.jobs(plan, chosen), run, how, ablation_markdown, digest=digest)


@benchmark_app.command("repair")
def benchmark_repair(
    methods: MethodsOption = "",
    noise: NoiseOption = "",
    seeds: SeedsOption = 5,
    size: SizeOption = "compact",
    epochs: EpochsOption = 30,
    cohort: CohortOption = "synthetic",
    stays: StaysOption = 4000,
    data: DataOption = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = None,
    rows: RowsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    out: OutOption = None,
    quick: QuickOption = False,
    changed: ChangedOption = False,
) -> None:
    """Simulate reviewers who read in the method's order, and train again on what they locked.

    Example: miracl benchmark repair --methods calibrated --noise sym20 --seeds 3
    """
    try:
        from scripts.benchmarks import repair
        from scripts.benchmarks.command import measure
        from scripts.benchmarks.report_finding import repair_markdown
        from scripts.benchmarks.robustness import QUICK_NOISES, jobs
        from scripts.benchmarks.scene import digest
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        plan = _plan(
            _names(methods, repair.QUICK_METHODS if quick else repair.METHODS),
            _names(noise, QUICK_NOISES if quick else repair.NOISES),
            seeds, size, epochs, cohort, stays, data, device, cache, quick,
        )  # fmt: skip
        how = _measuring(rows, out, workers, changed, quick, plan.place.device, stack)
        measure(jobs(plan, "repair"), repair.run, how, repair_markdown, digest=digest)


@benchmark_app.command("cost")
def benchmark_cost(
    methods: MethodsOption = "",
    seeds: SeedsOption = 1,
    size: SizeOption = "compact",
    cohort: CohortOption = "synthetic",
    stays: StaysOption = 4000,
    data: DataOption = None,
    device: DeviceOption = "cpu",
    rows: RowsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    out: OutOption = None,
    quick: QuickOption = False,
    changed: ChangedOption = False,
) -> None:
    """Time each method's epochs beside the backbone's in the same process, one run at a time.

    Example: miracl benchmark cost --methods miracl,calibrated
    """
    try:
        from scripts.benchmarks import cost
        from scripts.benchmarks.command import measure
        from scripts.benchmarks.report import cost_markdown
        from scripts.benchmarks.scene import digest
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        plan = _plan(
            _names(methods, cost.QUICK_METHODS if quick else cost.METHODS),
            ("sym20",),
            seeds, size, cost.EPOCHS, cohort, stays, data, device, cache, quick,
        )  # fmt: skip
        how = _measuring(rows, out, 1, changed, quick, plan.place.device, stack)
        measure(cost.jobs(plan), cost.run, how, cost_markdown, digest=digest, fresh=True)


@benchmark_app.command("sources")
def benchmark_sources(
    variants: VariantsOption = "",
    scenarios: Annotated[str, typer.Option(help="Names with commas between; all of the table when empty.")] = "",
    seeds: SeedsOption = 5,
    size: SizeOption = "compact",
    epochs: EpochsOption = 30,
    stays: StaysOption = 4000,
    device: DeviceOption = "cpu",
    workers: WorkersOption = None,
    rows: RowsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    out: OutOption = None,
    quick: QuickOption = False,
    changed: ChangedOption = False,
) -> None:
    """Measure what several label sources are worth, and who finds out whom to believe; sources are simulated.

    Example: miracl benchmark sources --scenarios careful --seeds 3
    """
    try:
        from scripts.benchmarks import sources
        from scripts.benchmarks.command import measure
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        plan = _plan((), (), seeds, size, epochs, "synthetic", stays, None, device, cache, quick)
        how = _measuring(rows, out, workers, changed, quick, plan.place.device, stack)
        chosen = _names(variants, sources.QUICK_VARIANTS if quick else tuple(sources.VARIANTS))
        columns = _names(scenarios, sources.QUICK_SCENARIOS if quick else tuple(sources.SCENARIOS))
        measure(sources.jobs(plan, chosen, columns), sources.run, how, sources.markdown, digest=sources.digest)


@benchmark_app.command("evidence")
def benchmark_evidence(
    methods: MethodsOption = "",
    seeds: SeedsOption = 3,
    size: SizeOption = "compact",
    epochs: EpochsOption = 30,
    cohort: CohortOption = "eicu-demo",
    stays: StaysOption = 4000,
    data: DataOption = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = None,
    rows: RowsOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    out: OutOption = None,
    quick: QuickOption = False,
    changed: ChangedOption = False,
) -> None:
    """Ask charts, by the review page's own rules, about the labels that a method changes or would have read first.

    Example: miracl benchmark evidence --data /data/eicu-demo --seeds 3
    """
    try:
        from scripts.benchmarks import evidence
        from scripts.benchmarks.command import measure
        from scripts.benchmarks.scene import digest
    except ModuleNotFoundError as error:
        needs_trainer(error)
    with ExitStack() as stack:
        chosen = _names(methods, evidence.QUICK_METHODS if quick else evidence.METHODS)
        cohort = "synthetic" if quick else cohort
        plan = _plan(
            chosen, (evidence.noise_of(cohort),), seeds, size, epochs, cohort, stays, data, device, cache, quick
        )
        how = _measuring(rows, out, workers, changed, quick, plan.place.device, stack)
        measure(evidence.jobs(plan), evidence.run, how, evidence.markdown, digest=digest)
