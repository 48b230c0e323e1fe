"""Labels in, on the command line: the options of `miracl build-cohort`, and verbs of `miracl cohort`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from scripts.running import console

if TYPE_CHECKING:
    from audit_store.workspace import Workspace
    from core.cohort.coverage import Coverage
    from core.cohort.labels_in import LabelsIn
    from core.cohort.sources.mimic_labels import LabelTask

FORMS_HELP = "auto, mimic3-benchmarks (stay, period_length, labels), flexcare (stay_id and labels) or long."
LabelsFileOption = Annotated[
    Path | None,
    typer.Option("--labels", help="A file, or folder of listfiles, to be corrected; codes stay beside it."),
]
LabelsFormOption = Annotated[str, typer.Option("--labels-form", help=f"Its form: {FORMS_HELP}")]
LabelsSourceOption = Annotated[
    str | None, typer.Option("--labels-source", help="What the file's labels are called; listfile when not given.")
]
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")


TaskOption = Annotated[str, typer.Option("--task", help="phenotyping, or chexpert (14 labels of chest films).")]
FilmsOption = Annotated[
    Path | None, typer.Option("--cxr-folder", help="Folder with MIMIC-CXR-JPG's labels and metadata.", file_okay=False)
]
UncertainOption = Annotated[
    str, typer.Option("--uncertain", help="What a film's -1 is: positive, negative or ignore (not stated).")
]
MissingOption = Annotated[str, typer.Option("--missing", help="What a film's blank is: negative or ignore.")]
StudiesOption = Annotated[
    str, typer.Option("--studies", help="any film of the stay that says present, or the last one alone.")
]


def task_of(name: str, folder: Path | None, uncertain: str, missing: str, studies: str) -> "LabelTask":
    """What a MIMIC-IV cohort is to be labelled with.

    Raises
    ------
    ConfigError
        On another task, or films' options without their folder.
    """
    from core.cohort.sources.chexpert import FilmPolicy, chexpert_task
    from core.cohort.sources.mimic_labels import PHENOTYPING
    from core.errors import ConfigError

    if name not in ("phenotyping", "chexpert"):
        raise ConfigError("--task phenotyping or chexpert", repr(name), "choose one of them")
    policy = FilmPolicy(uncertain, missing, studies)
    if name == "phenotyping":
        if folder is not None or policy != FilmPolicy():
            raise ConfigError("--task chexpert with options of films", "--task phenotyping", "name the task")
        return PHENOTYPING
    if folder is None:
        raise ConfigError("--cxr-folder with --task chexpert", "none", "name the folder with both files")
    return chexpert_task(folder, policy)


def labels_in(labels: Path | None, form: str, source: str | None, lenient: bool = False) -> "LabelsIn | None":
    """What a build verb was asked about labels; None where it was not."""
    from core.cohort.labels_in import LabelsIn, check_labels_file
    from core.errors import ConfigError

    if labels is None:
        if source is not None or form != "auto":
            raise ConfigError("--labels with --labels-form or --labels-source", "no file", "name it with --labels")
        return None
    given = LabelsIn(labels, form=form, source=source, lenient=lenient)
    check_labels_file(given)
    return given


def show_labels_in(manifest: dict[str, Any]) -> None:
    """Say what came in with the last file of labels, and what was set aside."""
    if not manifest.get("labels_in"):
        return
    told = manifest["labels_in"][-1]
    sources = manifest["label_sources"]
    named = ", ".join(told["sources"])
    console.print(
        f"{told['stated']:,} labels of {told['stays']:,} stays as source {named} ({told['present']:,} present); "
        f"{told['stays_without']:,} stays without any.",
        markup=False,
    )
    if told["labels_without"]:
        console.print(f"Of {len(told['labels_without'])} labels it says nothing: {', '.join(told['labels_without'])}.")
    for reason, rows in told["set_aside"].items():
        console.print(f"Set aside: {rows:,}, {reason}.", markup=False)
    primary = manifest["primary_source"]
    title = sources[primary]["title"]
    console.print(
        f"A round corrects source {primary} ({title}); sources in all: {len(sources)}.",
        markup=False,
    )


def add_labels_verb(
    file: Annotated[
        Path | None, typer.Argument(help="A CSV file of labels (.csv, .csv.gz), or a folder of listfiles.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    source: Annotated[str | None, typer.Option(help="What the source is called.")] = None,
    form: Annotated[str, typer.Option(help=f"The file's form: {FORMS_HELP}")] = "auto",
    from_notes: Annotated[
        bool, typer.Option("--from-notes", help="What the cohort's notes say by their terms, instead of a file.")
    ] = False,
    primary: Annotated[
        bool, typer.Option("--primary", help="Rounds correct this source; billing codes and others stay beside it.")
    ] = False,
    threshold: Annotated[float, typer.Option(help="Probability from which a model's word is present.")] = 0.5,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a source of that name.")] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Set aside and count the rows that don't fit, and go on.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Change the cohort though rounds were trained on it.")] = False,
) -> None:
    """Add a source of labels to the workspace's cohort: a file, or what its notes say.

    Example: miracl cohort add-labels reader_labels.csv --source "ward readers" --workspace ward3
    """
    from audit_store.workspace import open_workspace
    from core.cohort.labels_add import NOTE_TERMS, add_labels, add_note_terms
    from core.cohort.labels_in import LabelsIn
    from core.errors import ConfigError

    space = open_workspace(workspace)
    if from_notes == (file is not None):
        came = "both" if from_notes else "neither"
        raise ConfigError("a file of labels, or --from-notes", came, "give one of the two")
    if from_notes and (primary or form != "auto"):
        raise ConfigError("--from-notes with --source and --replace alone", "--primary or --form", "leave it out")
    _warn_of_rounds(space, yes)
    with console.status("reading labels"):
        if file is None:
            manifest = add_note_terms(space.cohort, source or NOTE_TERMS, replace=replace)
        else:
            given = LabelsIn(file, form, source, primary, lenient, threshold, replace)
            manifest = add_labels(space.cohort, given)
    show_labels_in(manifest)


def _warn_of_rounds(space: "Workspace", yes: bool) -> None:
    """Refuse to change a cohort that rounds were trained on, unless told to.

    Raises
    ------
    ConfigError
        With what the change would mean.
    """
    from core.errors import ConfigError

    rounds = len(space.round_ids())
    if rounds and not yes:
        raise ConfigError(
            "a cohort that no round was trained on",
            f"{rounds} rounds, which could no longer be exported",
            "build another workspace, or give --yes and train on with --allow-changed-cohort",
        )


def coverage_verb(
    source: Annotated[Path, typer.Argument(help="Folder of MIMIC-IV or eICU, as published.")],
    gems: Annotated[
        Path | None,
        typer.Option(help="CMS's mappings from ICD-10 to ICD-9, such as 2018_I10gem.txt.", dir_okay=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write every code as CSV, too.", dir_okay=False)] = None,
    min_cell: Annotated[int, typer.Option(min=1, help="Counts of fewer patients than this are not shown.")] = 10,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Set aside the source's rows that are not as published.")
    ] = False,
) -> None:
    """Report ICD-10 diagnoses that fall in no phenotype, and with mappings those whose ICD-9 counterpart does.

    Example: miracl cohort coverage /data/mimic-iv-3.1 --gems 2018_I10gem.txt --out coverage.csv
    """
    from core.cohort.coverage import coverage, write_codes

    with console.status("reading diagnoses"):
        found = coverage(source, gems, lenient=lenient)
    _show_coverage(found, min_cell)
    if out is not None:
        write_codes(found, out, min_cell)
        console.print(f"Wrote {found.codes.num_rows:,} lines in {out}", markup=False)


SHOWN = 25
"""Codes or categories shown; the CSV has all."""


def _show_coverage(found: "Coverage", min_cell: int) -> None:
    from core.cohort.coverage import hidden

    totals = found.totals
    console.print(
        f"{totals['stays_icd10']:,} of {totals['stays']:,} stays are coded in ICD-10, with {totals['codes']:,} "
        f"different codes; {totals['codes_in_none']:,} of them are in no phenotype."
    )
    if found.mapped:
        console.print(f"Of those the mappings don't know {totals['unmapped']:,}.")
        _show_rows(
            "Labels that a counterpart in ICD-9 has and the code in ICD-10 has not",
            {"name": "label", "codes": "codes", "stays": "stays", "without": "left without the label"},
            hidden(found.labels, min_cell),
        )
        columns = {"label": "label", "code": "ICD-10", "counterparts": "ICD-9", "kind": "mapping", "stays": "stays"}
        _show_rows("Their codes", columns, hidden(found.codes, min_cell))
    else:
        columns = {"chapter": "chapter", "category": "category", "codes": "codes", "stays": "stays"}
        _show_rows("Codes in no phenotype, by category", columns, hidden(found.codes, min_cell))


def _show_rows(title: str, columns: dict[str, str], rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    for key, heading in columns.items():
        table.add_column(heading, justify="right" if key in ("codes", "stays", "without") else "left")
    for row in rows[:SHOWN]:
        table.add_row(*(f"{row[key]:,}" if isinstance(row[key], int) else str(row[key]) for key in columns))
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"and {len(rows) - SHOWN:,} more; --out FILE.csv has them all.")


def register(group: typer.Typer) -> None:
    """Hang the verbs on a group."""
    verbs: tuple[tuple[str, Callable[..., None]], ...] = (("add-labels", add_labels_verb), ("coverage", coverage_verb))
    for name, verb in verbs:
        group.command(name)(verb)
