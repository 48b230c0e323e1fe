"""`miracl person`: who may sign in."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from scripts.running import console

person_app = typer.Typer(
    help="Add, list and disable the people who sign in.\n\nExample: miracl person add ada --role reviewer",
    no_args_is_help=True,
)
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")


@person_app.command("add")
def person_add(
    name: Annotated[str, typer.Argument(help="Account name: letters, digits, dot, dash.")],
    role: Annotated[str, typer.Option(help="reviewer, adjudicator, steward or auditor.")] = "reviewer",
    display_name: Annotated[str | None, typer.Option(help="Name as others see it.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Add a person who may sign in.

    Example: miracl person add ada --role reviewer --display-name "Ada L."
    """
    from audit_store.database import open_store
    from audit_store.people import add_person, operator
    from audit_store.workspace import open_workspace

    store = open_store(open_workspace(workspace))
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    person = add_person(store, operator(), name, password, display_name=display_name, role=role)
    console.print(f"{person.display_name} may sign in as {person.name} ({person.role}).")


@person_app.command("list")
def person_list(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List the people of a workspace.

    Example: miracl person list
    """
    from audit_store.database import open_store
    from audit_store.people import list_people
    from audit_store.workspace import open_workspace

    people = list_people(open_store(open_workspace(workspace)))
    if people.empty:
        console.print("Nobody yet. Add someone with: miracl person add NAME --role reviewer")
        return
    table = Table("name", "shown as", "role", "active")
    for row in people.itertuples():
        table.add_row(str(row.name), str(row.display_name), str(row.role), "yes" if row.active else "no")
    console.print(table)


@person_app.command("disable")
def person_disable(
    name: Annotated[str, typer.Argument(help="Account name.")], workspace: WorkspaceOption = DEFAULT_WORKSPACE
) -> None:
    """Stop a person from signing in; what they decided stays.

    Example: miracl person disable ada
    """
    from audit_store.database import open_store
    from audit_store.people import disable_person, operator
    from audit_store.workspace import open_workspace

    person = disable_person(open_store(open_workspace(workspace)), operator(), name)
    console.print(f"{person.display_name} can no longer sign in.")
