"""Labels in, on the command line: the options of `miracl build-cohort`, and verbs of `miracl cohort`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.running import console

if TYPE_CHECKING:
    from audit_store.workspace import Workspace
    from core.cohort.labels_in import LabelsIn

FORMS_HELP = "auto, mimic3-benchmarks (stay, period_length, labels), flexcare (stay_id and labels) or long."
LabelsFileOption = Annotated[
    Path | None,
    typer.Option("--labels", help="A file of labels to be corrected, beside those of the codes.", dir_okay=False),
]
LabelsFormOption = Annotated[str, typer.Option("--labels-form", help=f"Its form: {FORMS_HELP}")]
LabelsSourceOption = Annotated[
    str | None, typer.Option("--labels-source", help="What the file's labels are called; listfile when not given.")
]
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")


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
    file: Annotated[Path | None, typer.Argument(help="A CSV file of labels (.csv, .csv.gz).", dir_okay=False)] = None,
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


def register(group: typer.Typer) -> None:
    """Hang the verbs on a group."""
    verbs: tuple[tuple[str, Callable[..., None]], ...] = (("add-labels", add_labels_verb),)
    for name, verb in verbs:
        group.command(name)(verb)
