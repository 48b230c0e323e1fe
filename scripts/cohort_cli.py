"""`miracl build-cohort`: one verb for each source a cohort can be built from."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from scripts.cohort_labels_cli import (
    FilmsOption,
    LabelsFileOption,
    LabelsFormOption,
    LabelsSourceOption,
    MissingOption,
    StudiesOption,
    TaskOption,
    UncertainOption,
    labels_in,
    show_labels_in,
    task_of,
)
from scripts.running import console, invent

cohort_app = typer.Typer(
    help="Build the workspace's cohort from a source.\n\nExample: miracl build-cohort eicu /data/eicu-2.0",
    no_args_is_help=True,
)
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")
CutoffOption = Annotated[
    float, typer.Option(min=1.0, help="Models read what was charted before this hour of the stay.")
]
SplitOption = Annotated[
    Path | None,
    typer.Option(
        help="Patients to test on, a line each: number, 1 (0 trains); by a hash when not given.", dir_okay=False
    ),
]
LenientOption = Annotated[
    bool, typer.Option("--lenient", help="Set aside and count the rows that are not as published, and go on.")
]


@cohort_app.command("eicu")
def build_eicu_cohort(
    source: Annotated[Path, typer.Argument(help="Folder with the published eICU files (.csv, .csv.gz, Parquet).")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    cutoff_hours: CutoffOption = 48.0,
    unit_stays: Annotated[str, typer.Option(help="any unit stay, or the first of each hospital stay alone.")] = "any",
    lenient: LenientOption = False,
    labels: LabelsFileOption = None,
    labels_form: LabelsFormOption = "auto",
    labels_source: LabelsSourceOption = None,
) -> None:
    """Build a cohort from the eICU Collaborative Research Database.

    Example: miracl build-cohort eicu /data/eicu-crd-2.0 --workspace ward3
    """
    from core.cohort.sources.eicu import build_eicu

    given = labels_in(labels, labels_form, labels_source, lenient)

    def build(target: Path, say: Callable[[str], None]) -> dict[str, Any]:
        return build_eicu(
            source,
            target,
            cutoff_hours=cutoff_hours,
            unit_stays=unit_stays,
            lenient=lenient,
            progress=say,
            labels_in=given,
        )

    _build(workspace, build)


@cohort_app.command("synthetic")
def build_synthetic_cohort(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    stays: Annotated[int, typer.Option(help="How many stays.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the patients.")] = 0,
    noise: Annotated[
        str,
        typer.Option(
            help="none, symmetric, asymmetric, balanced or ccn; like a hospital's: stay (mild cases missed), "
            "label (acute under-coded), patient (a chronic label lost at one visit), source (coding system changed)."
        ),
    ] = "balanced",
    rho_plus: Annotated[
        float | None, typer.Option(help="P(1→0), or the rate of ccn and a hospital's kinds; 0.2 when not given.")
    ] = None,
    rho_minus: Annotated[
        float | None, typer.Option(help="P(0→1), asymmetric noise alone; the other kinds derive it.")
    ] = None,
    noise_seed: Annotated[int, typer.Option(help="Seed of the noise, apart from the patients'.")] = 123,
) -> None:
    """Invent patients with known truth and label noise, to try things on.

    Example: miracl build-cohort synthetic --stays 2000 --noise symmetric --rho-plus 0.2
    """
    from scripts.fresh import fresh_workspace

    with fresh_workspace(workspace) as space, console.status("inventing patients"):
        manifest = invent(space.cohort, stays, seed, noise, rho_plus, rho_minus, noise_seed)
    _show_cohort(manifest)


@cohort_app.command("mimic3")
def build_mimic3_cohort(
    source: Annotated[Path, typer.Argument(help="Folder with the published MIMIC-III 1.4 files (.csv or .csv.gz).")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    cutoff_hours: CutoffOption = 48.0,
    split_file: SplitOption = None,
    lenient: LenientOption = False,
    labels: LabelsFileOption = None,
    labels_form: LabelsFormOption = "auto",
    labels_source: LabelsSourceOption = None,
) -> None:
    """Build a cohort from MIMIC-III: adults with one ICU stay in the admission, 25 phenotypes of ICD-9 codes.

    Example: miracl build-cohort mimic3 /data/mimic-iii-1.4 --split-file testset.csv
    """
    from core.cohort.sources.mimic3 import build_mimic3

    given = labels_in(labels, labels_form, labels_source, lenient)

    def build(target: Path, say: Callable[[str], None]) -> dict[str, Any]:
        return build_mimic3(
            source,
            target,
            cutoff_hours=cutoff_hours,
            split_file=split_file,
            lenient=lenient,
            progress=say,
            labels_in=given,
        )

    _build(workspace, build)


@cohort_app.command("mimic4")
def build_mimic4_cohort(
    source: Annotated[Path, typer.Argument(help="Folder with MIMIC-IV's hosp/ and icu/ (2.x or 3.x).")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    notes_folder: Annotated[
        Path | None, typer.Option(help="Folder with discharge and radiology of MIMIC-IV-Note.", file_okay=False)
    ] = None,
    notes: Annotated[
        str,
        typer.Option(
            help="What models read: pmh (past medical history), admission (all that was known then), first48h "
            "(radiology before the cut-off) or all of these."
        ),
    ] = "pmh",
    cutoff_hours: CutoffOption = 48.0,
    split_file: SplitOption = None,
    lenient: LenientOption = False,
    labels: LabelsFileOption = None,
    labels_form: LabelsFormOption = "auto",
    labels_source: LabelsSourceOption = None,
    task: TaskOption = "phenotyping",
    cxr_folder: FilmsOption = None,
    uncertain: UncertainOption = "ignore",
    missing: MissingOption = "ignore",
    studies: StudiesOption = "any",
) -> None:
    """Build a cohort from MIMIC-IV: adults with one ICU stay in the admission, 25 phenotypes of ICD-9 and ICD-10 codes.

    Example: miracl build-cohort mimic4 /data/mimic-iv-3.1 --notes-folder /data/mimic-iv-note-2.2
    """
    from core.cohort.sources.mimic4 import build_mimic4

    given = labels_in(labels, labels_form, labels_source, lenient)
    labelled = task_of(task, cxr_folder, uncertain, missing, studies)

    def build(target: Path, say: Callable[[str], None]) -> dict[str, Any]:
        return build_mimic4(
            source,
            target,
            notes_folder=notes_folder,
            notes=notes,
            cutoff_hours=cutoff_hours,
            split_file=split_file,
            lenient=lenient,
            progress=say,
            labels_in=given,
            task=labelled,
        )

    _build(workspace, build)


def _build(workspace: Path, build: Callable[[Path, Callable[[str], None]], dict[str, Any]]) -> None:
    """Build into the workspace and show who is in the cohort and what was set aside."""
    from scripts.fresh import fresh_workspace

    with fresh_workspace(workspace) as space, console.status("reading the source") as status:
        manifest = build(space.cohort, status.update)
    _show_cohort(manifest)
    if manifest.get("set_aside"):
        console.print(f"{sum(manifest['set_aside'].values()):,} rows set aside, by reason in the last lines above.")
    show_labels_in(manifest)


def _show_cohort(manifest: dict[str, Any]) -> None:
    table = Table(title=f"Cohort {manifest['name']}", title_justify="left")
    for heading, justify in (("criterion", "left"), ("in", "right"), ("removed", "right"), ("out", "right")):
        table.add_column(heading, justify="left" if justify == "left" else "right")
    for line in manifest["attrition"]:
        table.add_row(line["criterion"], *(f"{line[key]:,}" for key in ("in", "removed", "out")))
    console.print(table)
    counts = manifest["counts"]
    console.print(
        f"{counts['stays']:,} stays of {counts['patients']:,} patients "
        f"({counts['train_stays']:,} to train on, {counts['test_stays']:,} to test on), "
        f"{counts['observations']:,} measurements, {counts['notes']:,} notes."
    )
