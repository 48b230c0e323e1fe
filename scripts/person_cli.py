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


@person_app.command("attest")
def person_attest(
    name: Annotated[str, typer.Argument(help="Account name.")],
    agreement: Annotated[
        str | None, typer.Option(help="The data-use agreement; left out, none stands any more.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Its last day, as YYYY-MM-DD.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Note a person's data-use attestation. One that has expired keeps them to their Account page.

    Example: miracl person attest ada --agreement "DUA 1.5" --until 2027-06-30
    """
    from audit_store.database import open_store
    from audit_store.people import operator, set_attestation
    from audit_store.workspace import open_workspace

    person = set_attestation(open_store(open_workspace(workspace)), operator(), name, agreement, until)
    if person.attestation is None:
        console.print(f"No attestation stands for {person.name} any more.", markup=False)
    else:
        said = f"{person.name}: {person.attestation}, until {person.attestation_expires}."
        console.print(said, markup=False)


@person_app.command("require-attestation")
def person_require_attestation(
    off: Annotated[bool, typer.Option("--off", help="Let people without one in again.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Ask everyone for a data-use attestation: without one, nothing but their Account page opens.

    Example: miracl person require-attestation
    """
    from audit_store.attestations import require_attestation
    from audit_store.database import open_store
    from audit_store.people import operator
    from audit_store.workspace import open_workspace

    require_attestation(open_store(open_workspace(workspace)), operator(), not off)
    console.print("People without an attestation are let in." if off else "Everyone needs an attestation now.")
