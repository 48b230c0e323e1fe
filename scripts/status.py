"""What a workspace holds and what comes next, in a few lines."""

from audit_store.database import Store
from audit_store.ledger import head
from audit_store.queue import counts
from audit_store.round_findings import did_it_help
from audit_store.rounds import RoundFile, open_round


def describe_help(round_file: RoundFile) -> str | None:
    """Tell in one line whether the decisions that a round read helped; None where it read none."""
    if not round_file.info.decisions_count:
        return None
    verdicts = did_it_help(round_file.comparison())
    if not verdicts:
        return "Did the decisions help? Not measured; next time: miracl train --did-it-help"
    told = "; ".join(
        f"{verdict.word} ({verdict.title} {verdict.difference:+.3f}, 95 % interval {verdict.low:+.3f} to "
        f"{verdict.high:+.3f})"
        for verdict in verdicts
    )
    return f"Did the decisions help? {told[:1].upper()}{told[1:]}"


def describe_workspace(store: Store) -> list[str]:
    """Lines for `miracl status`: cohort, rounds, progress of review, next step."""
    workspace = store.workspace
    folder = workspace.root
    if not (workspace.cohort / "manifest.json").is_file():
        return [f"{folder}: no cohort yet. Next: miracl build-cohort SOURCE --workspace {folder}"]
    manifest = workspace.manifest()
    numbers = manifest["counts"]
    lines = [
        f"Cohort {manifest['name']}: {numbers['stays']:,} stays of {numbers['patients']:,} patients, "
        f"{len(manifest['labels'])} labels"
    ]
    latest = workspace.latest_round()
    unfinished = workspace.next_round()
    if (workspace.run_folder(unfinished) / "start.json").is_file():
        twin = ", being trained once more without the decisions" if workspace.twin_folder(unfinished).is_dir() else ""
        lines.append(f"Round {unfinished}: unfinished{twin}. Next: the same miracl train command goes on with it")
    if latest is None:
        lines.append(f"No round yet. Next: miracl train --workspace {folder}")
        return lines
    round_file = open_round(workspace, latest)
    info = round_file.info
    made = info.created_at[:16].replace("T", " ")
    lines.append(
        f"Round {latest} ({info.preset}, {made} UTC): {round_file.n_pairs:,} pairs, {round_file.n_flagged:,} flagged"
    )
    helped = describe_help(round_file)
    if helped is not None:
        lines.append(helped)
    progress = counts(store, round_file)
    done = {name: int(progress[name].sum()) for name in ("open", "answered", "conflict", "adjudicated", "locked")}
    lines.append("Review: " + ", ".join(f"{number:,} {name}" for name, number in done.items()))
    current = head(store)
    lines.append(f"Ledger: {current.count:,} events")
    if done["open"]:
        lines.append(f"Next: miracl review --workspace {folder}")
    else:
        lines.append(f"Next: miracl export --workspace {folder}, then miracl train --workspace {folder}")
    return lines
