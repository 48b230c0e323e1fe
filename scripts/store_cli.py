"""`miracl store`: where the decisions are kept, and bringing them to this version."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.running import console

store_app = typer.Typer(
    help="Move the decisions to another database, or bring an earlier version's to this one.\n\n"
    "Example: miracl store upgrade --workspace ward3",
    no_args_is_help=True,
)
WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")


@store_app.command("migrate")
def store_migrate(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            envvar="MIRACL_MOVE_TO",
            help="URL of the new store, which is empty: postgresql+psycopg://user@host/database, or "
            "sqlite:////folder/file.sqlite. Keep the password in ~/.pgpass or PGPASSWORD, or give the URL in the "
            "environment, where no list of processes shows it.",
            show_envvar=True,
        ),
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Move the decisions to another store and verify them there; nobody writes meanwhile. Killed, run it again.

    The old store stays as it is, marked as moved; it takes no more decisions.

    Example: miracl store migrate --to postgresql+psycopg://miracl@db.ward3/miracl --workspace ward3
    """
    from audit_store.database import described
    from audit_store.moving import move_store
    from audit_store.workspace import DECISIONS_URL_VARIABLE, open_workspace

    space = open_workspace(workspace)
    old = described(space.decisions_url)
    with console.status("moving") as status:
        moved = move_store(space, to, status.update)
    console.print(
        f"Moved {moved.count:,} events and {sum(moved.rows.values()):,} rows from {old} to {described(to)}: the chain "
        f"holds, head {moved.hash[:16]}, every row is as it was.",
        markup=False,
        highlight=False,
    )
    console.print(
        f"Now stop the servers, set {DECISIONS_URL_VARIABLE} to the new store's URL for servers and commands alike, "
        f"and start them. {old[:1].upper()}{old[1:]} takes no more decisions; keep it as a backup.",
        markup=False,
        highlight=False,
    )


@store_app.command("upgrade")
def store_upgrade(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    with_findings: Annotated[
        bool,
        typer.Option(
            "--with-findings", help="Upgrade although the ledger does not hold, so that it can be looked into."
        ),
    ] = False,
) -> None:
    """Bring an earlier version's decisions to this one: a copy first, then all or nothing, then verified.

    Stop the servers before. The copy lies in the workspace's folder backups.

    Example: miracl store upgrade --workspace ward3
    """
    from audit_store.upgrade import upgrade_store
    from audit_store.workspace import open_workspace

    with console.status("upgrading") as status:
        done = upgrade_store(open_workspace(workspace), status.update, with_findings=with_findings)
    if done.backup is None:
        console.print(f"Nothing to do: the decisions are of schema {done.after}.")
        return
    verified = "; its ledger was not looked at: run miracl verify" if with_findings else ", and verified them"
    console.print(f"Upgraded the decisions from schema {done.before} to {done.after}{verified}.")
    console.print(f"A copy of what was before: {done.backup}", soft_wrap=True, markup=False, highlight=False)
