"""The `miracl` command: one verb for each thing people do with a workspace."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from audit_store.errors import StoreError
from audit_store.quiet import keep_quiet, tell_fault
from core.errors import MiraclError, one_line
from scripts import trust_cli
from scripts.benchmark_cli import benchmark_app
from scripts.cohort_cli import cohort_app
from scripts.cohort_describe_cli import about_cohort_app
from scripts.cohort_labels_cli import register as register_labels
from scripts.cohort_mapped_cli import register as register_mapped
from scripts.console import PlainConsole
from scripts.person_cli import person_app
from scripts.presets import DEFAULT_PRESET, preset_help
from scripts.review_cli import register as register_review
from scripts.running import EXIT_STOPPED, console, parse_settings, run_training
from scripts.store_cli import store_app

app = typer.Typer(
    name="miracl",
    help="Find, review and correct wrong diagnosis labels of ICU stays, with clinicians in the loop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
register_mapped(cohort_app)
app.add_typer(cohort_app, name="build-cohort")
app.add_typer(about_cohort_app, name="cohort")
app.add_typer(person_app, name="person")
app.add_typer(store_app, name="store")
app.add_typer(benchmark_app, name="benchmark")
register_labels(about_cohort_app)
trust_cli.register(app)
register_review(app)

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")
EXIT_FAULT = 1


@app.command()
def train(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    preset: Annotated[str, typer.Option(help=preset_help())] = DEFAULT_PRESET,
    size: Annotated[str, typer.Option(help="paper (hidden 128, hourly) or compact (hidden 64, two-hourly).")] = "paper",
    seed: Annotated[int, typer.Option(help="Seed of the weights, batches and dropout.")] = 30,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; the preset's 30 when not given.")] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Pairs to flag; 2 % of the round's when not given.")] = None,
    note_encoder: Annotated[
        str | None, typer.Option(help="tfidf, or a Hugging Face name or local folder (BioBERT is the paper's).")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other option, as name=value; repeat as needed.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of matrix products: auto (bfloat16 on CUDA), single or bfloat16.")
    ] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network first: minutes once, for long runs on CUDA.")
    ] = False,
    did_it_help: Annotated[
        bool,
        typer.Option(
            "--did-it-help", help="Train the same once more without the decisions, and compare on held-out stays."
        ),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard an unfinished run and begin again.")] = False,
    allow_changed_cohort: Annotated[
        bool, typer.Option("--allow-changed-cohort", help="Go on although the cohort is not the last round's.")
    ] = False,
) -> None:
    """Train the next round; decisions of earlier rounds are locked in. Interrupted, it goes on where it was.

    Example: miracl train --workspace ward3 --preset miracl
    """
    status = run_training(
        workspace,
        preset=preset,
        size=size,
        seed=seed,
        device=device,
        budget=budget,
        settings=_settings(settings, epochs, note_encoder),
        fresh=fresh,
        allow_changed_cohort=allow_changed_cohort,
        did_it_help=did_it_help,
        precision=precision,
        compiled=compiled,
    )
    if status is None:
        raise typer.Exit(EXIT_STOPPED)
    _say_whether_it_helped(workspace, status, did_it_help)
    console.print(f"Round {status} is ready. Review it with: miracl review --workspace {workspace}")


def _say_whether_it_helped(workspace: Path, round_id: int, asked: bool) -> None:
    from audit_store.rounds import open_round
    from audit_store.workspace import open_workspace
    from scripts.status import describe_help

    if not asked:
        return
    round_file = open_round(open_workspace(workspace), round_id)
    if round_file.comparison().empty:
        console.print("Nothing to compare: no decision on a label was read, or no held-out label tells them apart.")
    else:
        console.print(describe_help(round_file))


def _settings(given: list[str] | None, epochs: int | None, note_encoder: str | None) -> dict[str, Any]:
    settings = parse_settings(given or [])
    if epochs is not None:
        settings["optim.epochs"] = epochs
    if note_encoder is not None:
        settings["tensors.notes.encoder"] = note_encoder
    return settings


@app.command()
def export(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    round_id: Annotated[int | None, typer.Option("--round", help="The round; the latest when not given.")] = None,
    auto_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Also correct undecided labels whose error score reaches this."),
    ] = None,
    low_certainty: Annotated[
        bool, typer.Option("--low-certainty", help="Count single answers of low certainty as decided.")
    ] = False,
    forms: Annotated[
        str, typer.Option(help="Of long,wide,listfile,mimic3-benchmarks,flexcare,meds.")
    ] = "long,wide,listfile",
    formats: Annotated[str, typer.Option(help="Of csv,parquet, for the forms that know both.")] = "csv,parquet",
    val_patients: Annotated[
        Path | None,
        typer.Option(help="Subjects that the benchmarks' listfiles validate on (valset.csv); a hash when not given."),
    ] = None,
    reads: Annotated[
        bool, typer.Option("--reads", help="For publication: every raw read and CITATION.cff too, and no names.")
    ] = False,
    title: Annotated[str | None, typer.Option(help="With --reads: title to cite.")] = None,
    author: Annotated[
        list[str] | None, typer.Option(help='With --reads: "Family, Given" or an institution; repeat it.')
    ] = None,
    doi: Annotated[str | None, typer.Option(help="With --reads: DOI, such as 10.5281/zenodo.1003150.")] = None,
) -> None:
    """Write cleaned labels in the forms asked for, with a data card and a manifest.

    Example: miracl export --workspace ward3 --forms long,mimic3-benchmarks
    """
    from audit_store.database import open_store
    from audit_store.export_manifest import read_manifest
    from audit_store.exports import export_labels
    from audit_store.labels import Policy
    from audit_store.people import operator
    from audit_store.rounds import open_round
    from audit_store.workspace import open_workspace
    from scripts.export_options import citation_of, told, validation_of, words_of

    cited = citation_of(reads=reads, title=title, authors=author, doi=doi)
    validation = validation_of(val_patients)
    space = open_workspace(workspace)
    with console.status("writing cleaned labels"):
        folder = export_labels(
            open_store(space),
            open_round(space, round_id),
            operator(),
            Policy(auto_threshold=auto_threshold, low_certainty=low_certainty),
            words_of(formats),
            words_of(forms),
            reads=cited,
            validation=validation,
        )
    for line in told(folder, read_manifest(folder)):
        console.print(line, markup=False)


@app.command()
def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Say what a workspace holds and what comes next.

    Example: miracl status --workspace ward3
    """
    from audit_store.database import open_store
    from audit_store.workspace import open_workspace
    from scripts.status import describe_workspace

    for line in describe_workspace(open_store(open_workspace(workspace))):
        console.print(line)


@app.command()
def demo(
    workspace: WorkspaceOption = Path("workspace-demo"),
    stays: Annotated[int, typer.Option(min=50, help="Invented stays.")] = 2000,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; the preset's 30 when not given.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine's loopback address.")] = 8501,
    seed: Annotated[int, typer.Option(help="Seed of the patients and of the round.")] = 0,
    serve: Annotated[bool, typer.Option(help="Open the review page at the end.")] = True,
) -> None:
    """Run the loop's first half on invented patients: cohort, training, round, review page.

    Example: miracl demo --stays 500 --no-serve
    """
    from app.run import DEMO_NAME, DEMO_PASSWORD
    from scripts.demo_run import prepare

    if prepare(workspace, stays=stays, epochs=epochs, seed=seed, say=console.print) is None:
        raise typer.Exit(EXIT_STOPPED)
    if serve:
        from scripts.serve import serve as run_server

        raise typer.Exit(
            run_server(
                workspace,
                port,
                f"The review page is ready. Sign in as {DEMO_NAME} with the password {DEMO_PASSWORD}:",
            )
        )


def _misused(error: typer.TyperException) -> int:
    """Say in one line what of the command's words was off; a bare group has shown its help and says nothing more."""
    tell = getattr(error, "format_message", error.__str__)
    words = one_line(tell()).rstrip(".")
    if words:
        where = getattr(getattr(error, "ctx", None), "command_path", "miracl")
        PlainConsole(stderr=True).print(f"miracl: {words}; see {where} --help")
    return 2


def _disk(error: OSError) -> MiraclError:
    """Say in one line what a disk refused: the reason, and the file by its own name alone."""
    name = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes) else ""
    reason = (os.strerror(error.errno) if error.errno else "") or type(error).__name__
    came = f"{reason} ({name})" if name else reason
    return MiraclError("a disk that can be read and written", came, "free space or mend permissions, and try again")


def guarded(command: Callable[..., object]) -> int:
    """Run a command; errors a user can mend become one line and status 2."""
    try:
        status = command(standalone_mode=False)
    except (MiraclError, StoreError) as error:
        PlainConsole(stderr=True).print(f"miracl: {error}")
        return 2
    except OSError as error:
        PlainConsole(stderr=True).print(f"miracl: {_disk(error)}")
        return 2
    except typer.Abort:
        return EXIT_STOPPED
    except typer.TyperException as error:
        return _misused(error)
    except KeyboardInterrupt:
        PlainConsole(stderr=True).print("miracl: stopped; the same command goes on where it was")
        return EXIT_STOPPED
    return status if isinstance(status, int) else 0


def main() -> None:
    """Entry point of the `miracl` command."""
    keep_quiet()
    try:
        status = guarded(app)
    except Exception as error:  # Typer has put a hook of its own in place, which would print the error's words
        tell_fault(error)
        status = EXIT_FAULT
    sys.exit(status)


if __name__ == "__main__":
    main()
