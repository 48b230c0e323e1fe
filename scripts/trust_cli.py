"""`miracl verify`, `trail`, `backup`, `restore`: that nothing was changed, who did what, and a copy to fall back on."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from audit_store.errors import StoreError
from audit_store.workspace import DECISIONS_URL_VARIABLE
from scripts.running import console

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The workspace's folder.", file_okay=False, show_default=True)
]
DEFAULT_WORKSPACE = Path("workspace")
EXIT_FOUND = 1
LINES_SHOWN = 20


def verify(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    head: Annotated[
        str | None, typer.Option("--head", help="A head kept elsewhere, COUNT:HASH: is it still in the chain?")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", help="An export's or a backup's manifest: is the head that it names in the chain?"),
    ] = None,
    trail: Annotated[
        Path | None, typer.Option("--trail", help="Check a file that miracl trail wrote, by itself, and nothing else.")
    ] = None,
) -> None:
    """Check the ledger, all that follows from it, the round files, the cohort and the exports.

    Names the first row of each table, and each file, that does not hold, and ends with status 1. A cut tail shows
    against a head that was kept elsewhere: --head, or --manifest with an older export.

    Example: miracl verify --workspace ward3 --manifest kept/export-0001/manifest.json
    """
    from audit_store.database import open_store
    from audit_store.ledger import head as head_now
    from audit_store.trail_view import finding_words
    from audit_store.verify import head_of_manifest, parse_head, verify_head
    from audit_store.verify import verify as verify_store
    from audit_store.workspace import open_workspace

    if trail is not None:
        _check_trail(trail)
        return
    kept = [parse_head(head)] if head is not None else []
    kept += [head_of_manifest(manifest)] if manifest is not None else []
    store = open_store(open_workspace(workspace))
    with console.status("verifying"):
        findings = verify_store(store)
        lost = [verify_head(store, one.count, one.hash) for one in kept]
    findings += [finding for finding in lost if finding is not None]
    for finding in findings:
        console.print(finding_words(finding), markup=False)
    if findings:
        raise typer.Exit(EXIT_FOUND)
    now = head_now(store)
    also = f" The head of event {', '.join(f'{one.count:,}' for one in kept)} is in the chain." if kept else ""
    console.print(f"All holds: {now.count:,} events, rounds, cohort and exports unchanged.{also}")
    console.print(f"Head, to keep elsewhere: {now.count}:{now.hash}")


def _check_trail(path: Path) -> None:
    from audit_store.trail_check import check_trail

    try:
        holds, findings = check_trail(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            "a trail file (.jsonl)", type(error).__name__, "name the file that miracl trail wrote"
        ) from None
    for finding in findings:
        console.print(finding, markup=False)
    if findings:
        raise typer.Exit(EXIT_FOUND)
    withheld = f", {holds['withheld']:,} of them withheld" if holds["withheld"] else ""
    console.print(f"All holds: {holds['events']:,} events{withheld}, head {holds['head']}")


def trail(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="File to write: .jsonl (the chain, with hashes) or .csv (sentences)."),
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day or moment, UTC (table alone).")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day or moment, UTC (table alone).")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Who acted (table alone).")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Kind of event; repeat as needed.")] = None,
    with_comments: Annotated[
        bool, typer.Option("--with-comments", help="With the text of comments, which may quote a chart.")
    ] = False,
) -> None:
    """Show the audit trail's last lines, or write all of it to a file for an inspector. Either is noted in the trail.

    JSON lines hold the whole chain: after a header, each event's exact text (payload) and its hashes. hash = BLAKE2b
    (32 bytes, hex) over the length of prev_hash (8 bytes, big-endian), prev_hash, the length of the payload in UTF-8 (8
    bytes, big-endian) and the payload. "python -m audit_store.trail_check FILE" recomputes it and needs nothing but
    Python. Filters are for tables: a part of a chain can't be recomputed.

    Example: miracl trail --export trail.jsonl
    """
    from audit_store.database import open_store
    from audit_store.people import log_access, operator
    from audit_store.trail_file import write_trail
    from audit_store.trail_view import TrailFilter, trail_choices, trail_page
    from audit_store.workspace import open_workspace

    store, person = open_store(open_workspace(workspace)), operator()
    kinds = trail_choices(store, person)[0]
    if not set(kind or []) <= set(kinds):
        raise StoreError("kinds of events that are in the trail", "another", f"name some of: {', '.join(kinds)}")
    chosen = TrailFilter(tuple(kind or []), actor, _moment(first, 0), _moment(last, 1))
    if export is not None:
        count = write_trail(store, person, export, chosen, comments=with_comments)
        console.print(f"Wrote {count:,} events to {export}", markup=False)
        return
    log_access(store, person, "trail")
    for line in reversed(trail_page(store, person, chosen).lines[:LINES_SHOWN]):
        clock = f" ({line.clock})" if line.clock else ""
        console.print(f"{line.seq:>7,}  {line.created_at:%Y-%m-%d %H:%M:%S}  {line.text}{clock}", markup=False)


def _moment(text: str | None, days: int) -> datetime | None:
    """Read a day (its end for `days` 1) or a moment in UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            raise ValueError
        return moment + timedelta(days=days) if len(text) <= len("2026-01-01") else moment
    except (ValueError, OverflowError):
        raise StoreError(
            "a day as YYYY-MM-DD, or a moment without a zone", "other text", "write it so, in UTC"
        ) from None


def backup(
    target: Annotated[Path, typer.Argument(help="A new file (name.tar), or a new folder.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    cohort: Annotated[
        bool, typer.Option("--cohort/--without-cohort", help="With the cohort's tables, or its manifest alone.")
    ] = True,
    models: Annotated[bool, typer.Option("--models/--without-models", help="With the trained models.")] = True,
) -> None:
    """Copy the workspace while it is in use: decisions, rounds, exports, models, cohort, secret. It is patient data.

    What is copied is compared with the ledger on the way; a workspace that does not hold is not backed up.

    Example: miracl backup ward3-monday.tar --workspace ward3
    """
    from audit_store.backup import back_up
    from audit_store.database import open_store
    from audit_store.people import operator
    from audit_store.workspace import open_workspace

    store = open_store(open_workspace(workspace))
    with console.status("backing up"):
        made = back_up(store, operator(), target, cohort=cohort, models=models)
    parts = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in made.parts.items())
    console.print(f"Wrote {made.files:,} files to {made.path} ({parts})", markup=False)
    console.print(f"Head, to keep elsewhere: {made.head.count}:{made.head.hash}")


def restore(
    backup: Annotated[Path, typer.Argument(help="What miracl backup wrote.")],
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="A new folder.", file_okay=False)],
    decisions: Annotated[
        str | None, typer.Option("--decisions", help="URL of an empty PostgreSQL database for the decisions.")
    ] = None,
) -> None:
    """Make a workspace of a backup, in a new folder, and verify it. What does not hold leaves nothing behind.

    Example: miracl restore ward3-monday.tar --workspace ward3-again
    """
    from audit_store.people import operator
    from audit_store.restore import restore as restore_backup

    with console.status("restoring"):
        made = restore_backup(backup, workspace, operator(), url=decisions)
    console.print(f"Restored {made.head.count:,} events to {workspace}, verified.", markup=False)
    if decisions is not None:
        console.print("Set MIRACL_DECISIONS_URL to the database before you use it.")
    elif os.environ.get(DECISIONS_URL_VARIABLE):
        console.print(f"Its decisions are in its folder: unset {DECISIONS_URL_VARIABLE} before you use it.")
    if not made.upgraded:
        console.print(f"Its decisions are of an earlier version. Run: miracl store upgrade --workspace {workspace}")
    if not made.cohort:
        console.print(
            f"The backup is without the cohort's tables: put them into {workspace}/cohort, then miracl verify."
        )


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (verify, trail, backup, restore):
        app.command()(verb)
