"""`miracl build-cohort tables` and `meds`: a cohort from a mapping, or what the mapping misses."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.cohort_cli import (
    DEFAULT_WORKSPACE,
    CutoffOption,
    LenientOption,
    WorkspaceOption,
    _build,
)
from scripts.cohort_labels_cli import LabelsFileOption, LabelsFormOption, LabelsSourceOption, labels_in
from scripts.running import console

if TYPE_CHECKING:
    from core.cohort.sources.tables_check import Finding

EXIT_CANNOT = 2
CheckOption = Annotated[
    bool,
    typer.Option("--check", help="Say what the mapping misses and stop: nothing is written; status 2 if it fails."),
]
_STYLES = {"error": "can't", "warning": "note", "info": "    "}


def build_tables_cohort(
    mapping: Annotated[Path | None, typer.Argument(help="The mapping, a TOML file beside the tables.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    cutoff_hours: CutoffOption = 48.0,
    lenient: LenientOption = False,
    check: CheckOption = False,
    labels: LabelsFileOption = None,
    labels_form: LabelsFormOption = "auto",
    labels_source: LabelsSourceOption = None,
    example: Annotated[
        Path | None, typer.Option(help="Write an invented hospital with its mapping into this folder, and stop.")
    ] = None,
) -> None:
    """Build a cohort from a hospital's own long tables: CSV, Parquet, DuckDB or SQLite, with a mapping.

    Example: miracl build-cohort tables mapping.toml --check
    """
    from core.cohort.sources.tables import build_tables
    from core.cohort.sources.tables_check import check_tables
    from core.cohort.sources.tables_example import write_example

    if example is not None:
        written = write_example(example)
        console.print(f"An invented hospital with {written}. Next: miracl build-cohort tables {written} --check")
        return
    if mapping is None:
        raise typer.BadParameter("name the mapping, a TOML file; or --example FOLDER for one to follow")
    if check:
        with console.status("looking at the mapping and the files"):
            found = check_tables(mapping, cutoff_hours=cutoff_hours, lenient=lenient)
        _tell(found)
        return

    given = labels_in(labels, labels_form, labels_source, lenient)

    def build(target: Path, say: Callable[[str], None]) -> dict[str, Any]:
        return build_tables(mapping, target, cutoff_hours=cutoff_hours, lenient=lenient, labels_in=given, progress=say)

    _build(workspace, build)


def build_meds_cohort(
    source: Annotated[Path, typer.Argument(help="The dataset's folder, with data/ and metadata/.")],
    mapping: Annotated[str, typer.Option(help="A TOML file that says what the codes mean, or mimic4.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    cutoff_hours: CutoffOption = 48.0,
    subject_splits: Annotated[
        bool, typer.Option("--subject-splits", help="Test on the dataset's held_out subjects, train on the others.")
    ] = False,
    lenient: LenientOption = False,
    check: CheckOption = False,
    labels: LabelsFileOption = None,
    labels_form: LabelsFormOption = "auto",
    labels_source: LabelsSourceOption = None,
) -> None:
    """Build a cohort from a Medical Event Data Standard folder (0.3, 0.4), with a mapping of its codes.

    Example: miracl build-cohort meds /data/mimic-iv-demo-meds --mapping mimic4
    """
    from core.cohort.sources.meds import build_meds, check_meds

    if check:
        with console.status("looking at the mapping and the events"):
            found = check_meds(
                source, mapping, subject_splits=subject_splits, cutoff_hours=cutoff_hours, lenient=lenient
            )
        _tell(found)
        return

    given = labels_in(labels, labels_form, labels_source, lenient)

    def build(target: Path, say: Callable[[str], None]) -> dict[str, Any]:
        return build_meds(
            source,
            target,
            mapping=mapping,
            subject_splits=subject_splits,
            cutoff_hours=cutoff_hours,
            lenient=lenient,
            labels_in=given,
            progress=say,
        )

    _build(workspace, build)


def register(app: typer.Typer) -> None:
    """Hang the verbs on `build-cohort`."""
    app.command("tables")(build_tables_cohort)
    app.command("meds")(build_meds_cohort)


def _tell(found: list["Finding"]) -> None:
    """Print what a check found; leave with status 2 where it can't be built."""
    for finding in found:
        console.print(f"{_STYLES[finding.level]}  {finding.text}")
    errors = sum(finding.level == "error" for finding in found)
    if errors:
        console.print(f"It can't be built yet: {errors} to mend. Nothing was written.")
        raise typer.Exit(EXIT_CANNOT)
    console.print("It can be built. Nothing was written.")
