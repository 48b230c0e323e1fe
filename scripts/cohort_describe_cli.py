"""`miracl cohort`: what can be asked of a workspace's cohort once it is built; its first verb describes it."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.running import console

about_cohort_app = typer.Typer(
    help="Look at the workspace's cohort, and add to it.\n\nExample: miracl cohort describe --workspace ward3",
    no_args_is_help=True,
)
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")


@about_cohort_app.callback()
def about_cohort() -> None:
    """Look at the workspace's cohort, and add to it.

    Example: miracl cohort describe --workspace ward3
    """


@about_cohort_app.command("describe")
def describe_cohort(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None, typer.Option(help="The page; cohort.html in the workspace when not given.", dir_okay=False)
    ] = None,
    min_cell: Annotated[int, typer.Option(min=1, help="Counts of fewer patients than this are not shown.")] = 10,
) -> None:
    """Write a one-page report of the cohort: who is in it, labels, what was measured, notes; no server is needed.

    Example: miracl cohort describe --workspace ward3
    """
    from audit_store.workspace import open_workspace
    from core.cohort.describe import describe

    space = open_workspace(workspace)
    with console.status("reading the cohort"):
        written = describe(space.cohort, out or space.root / "cohort.html", min_cell=min_cell)
    console.print(f"Wrote {written}", markup=False)
