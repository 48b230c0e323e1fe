"""Exports of cleaned labels: a folder written aside, synced and renamed whole, with a manifest and a ledger event.

A killed export leaves the old state or the new: a folder that is not complete is never in place, and a complete one
whose line in the ledger is missing gets it the next time.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, select

from audit_store import tables
from audit_store.database import Store, utc_now
from audit_store.errors import ExportError
from audit_store.export_card import CARD, data_card
from audit_store.export_citation import Citation, citation_text, placeholders
from audit_store.export_findings import by_label, findings_of
from audit_store.export_forms import DEFAULT_FORMS, FORMATS, FORMS, Chosen, write_forms, write_table, write_text
from audit_store.export_manifest import Written, facts_of, manifest_of, read_manifest
from audit_store.export_reads import raw_reads, without_names
from audit_store.file_checks import hold_or_refuse
from audit_store.fileio import canonical_json, file_digest, make_folder, remove_leftovers, sync_directory, sync_file
from audit_store.labels import Policy, cleaned_long
from audit_store.ledger import append, projected
from audit_store.people import Person, operator, require_live, require_now
from audit_store.round_reader import RoundFile
from audit_store.rounds import check_cohort_matches, open_round
from audit_store.states import Snapshot, snapshot

__all__ = ["FORMATS", "Written", "export_labels", "list_exports", "read_manifest", "recover"]

__all__ = ["FORMATS", "FORMS", "Written", "export_labels", "list_exports", "read_manifest", "recover"]


def export_labels(
    store: Store,
    round_file: RoundFile | int | None,
    actor: Person,
    policy: Policy | None = None,
    formats: tuple[str, ...] = FORMATS,
    forms: tuple[str, ...] = DEFAULT_FORMS,
    *,
    reads: Citation | None = None,
    validation: frozenset[str] | None = None,
) -> Path:
    """Write the cleaned labels of a round to ``exports/export-NNNN/``.

    Parameters
    ----------
    store, round_file
        The decisions, and the round or its id; None for the latest.
    actor
        Who exports (role that may export).
    policy
        Which labels change; None for those that people settled, and no others.
    formats
        ``csv``, ``parquet`` or both, for the forms that know both.
    forms
        Keys of `audit_store.export_forms.FORMS`.
    reads
        For publication: also write every raw read and how to cite; nobody is named in any file then. None: not.
    validation
        Subjects that the benchmarks' listfiles validate on (`audit_store.export_listfiles.read_validation`); None: a
        share of the training patients by a hash.

    Returns
    -------
    Path
        The folder: the files of each form, DATA_CARD.md and manifest.json.

    Raises
    ------
    ExportError
        On an unknown form or format, a form that needs what the cohort lacks, or a disk that can't be written.
    RoundError
        When the round is missing, or the cohort changed since it was trained.
    ChainError
        When the ledger, or a table that follows from it, does not hold: it is walked before anything is written.
    """
    require_live(store, actor, "export")
    chosen = policy or Policy()
    files = Chosen(forms, formats, validation)
    if not isinstance(round_file, RoundFile):
        round_file = open_round(store.workspace, round_file)
    check_cohort_matches(store.workspace, round_file)
    recover(store)
    hold_or_refuse(store)
    now = snapshot(store)
    aside = store.workspace.exports / f".export.{os.getpid()}.part"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        make_folder(aside)
        facts, written = _write(store, round_file, chosen, now, files, reads, aside)
        return _put_in_place(store, actor, facts, written, aside, named=reads is None)
    except OSError as error:
        raise ExportError(
            "a folder exports/ that can be written", error.strerror or type(error).__name__, "check the disk"
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(
    store: Store,
    round_file: RoundFile,
    policy: Policy,
    now: Snapshot,
    files: Chosen,
    reads: Citation | None,
    aside: Path,
) -> tuple[dict[str, Any], list[Written]]:
    """Write all but the manifest below `aside`; return what the manifest is to say, and the files."""
    long = cleaned_long(store, round_file, policy, now)
    facts = facts_of(store, round_file, policy, now, long)
    said = raw_reads(store, now) if reads is not None else None
    if said is not None:
        place = long.schema.get_field_index("reviewers")
        long = long.set_column(place, long.schema.field(place), without_names(long["reviewers"], said.readers))
    written, left_out = write_forms(store, round_file, long, files, aside)
    facts |= {"forms": list(files.forms), "left_out": left_out, "reads": None}
    if reads is not None and said is not None:
        facts["reads"] = {
            "reads": said.reads.num_rows,
            "readers": len(said.readers),
            "adjudications": said.adjudications.num_rows,
            "simulated_left_out": said.simulated,
            "to_fill_in": placeholders(reads),
        }
        written += write_table(said.reads, aside, "reads/reads", files.formats)
        written += write_table(said.adjudications, aside, "reads/adjudications", files.formats)
        written.append(write_text(_citation(reads, facts), aside, "CITATION.cff"))
    found = findings_of(store, round_file, now)
    card = data_card(facts, by_label(long, round_file), found, files.forms, round_file.info.calibrated)
    return facts, [*written, write_text(card, aside, CARD)]


def _citation(asked: Citation, facts: dict[str, Any]) -> str:
    counts, head = facts["counts"], facts["decisions"]["head"]["hash"]
    name = " ".join(str(facts["cohort"]["name"] or "a cohort").split())
    told = (
        f"{counts['pairs']} labels of {counts['stays']} stays of {name}; {counts['changed']} differ from the "
        f"record. Licence of the source: {' '.join(str(facts['licence'] or 'not stated').split())}. "
        f"Cohort {facts['cohort']['fingerprint']}; ledger's head {head}."
    )
    version = f"round {facts['round']}, {str(facts['cohort']['fingerprint'])[:12]}"
    return citation_text(asked, name, int(facts["round"]), told, version, utc_now().date())


def _put_in_place(
    store: Store, actor: Person, facts: dict[str, Any], written: list[Written], aside: Path, *, named: bool
) -> Path:
    """Write the manifest, rename the folder and note it in the ledger: both, or neither where anything fails."""
    target: Path | None = None
    try:
        with store.writing() as connection:
            require_now(connection, actor, "export")
            number = _next_number(connection, aside.parent)
            manifest = manifest_of(facts, number, actor.name if named else actor.role, written)
            body = json.dumps(manifest, indent=1, ensure_ascii=False)
            (aside / "manifest.json").write_text(body, encoding="utf-8")
            sync_file(aside / "manifest.json")
            for folder in [*(path for path in aside.rglob("*") if path.is_dir()), aside]:
                sync_directory(folder)
            _note(connection, actor.name, manifest, file_digest(aside / "manifest.json"))
            os.rename(aside, aside.parent / f"export-{number:04d}")
            target = aside.parent / f"export-{number:04d}"
            sync_directory(target.parent)
        return target
    except BaseException:
        if target is not None and not _noted(store, target):
            os.rename(target, aside)
        raise


def _noted(store: Store, folder: Path) -> bool:
    with store.reading() as connection:
        query = select(tables.export.c.id).where(tables.export.c.number == int(folder.name.removeprefix("export-")))
        return connection.execute(query).first() is not None


def _next_number(connection: Connection, folder: Path) -> int:
    noted = connection.execute(select(tables.export.c.number)).scalars().all()
    standing = [int(path.name[7:]) for path in folder.glob("export-*") if path.name[7:].isdigit()]
    return max([0, *map(int, noted), *standing]) + 1


def _note(connection: Connection, actor: str, manifest: dict[str, Any], digest: str) -> None:
    data = {
        "number": int(manifest["number"]),
        "actor": actor,
        "round_id": int(manifest["round"]),
        "changed": int(manifest["counts"]["changed"]),
        "manifest_digest": digest,
        "head": manifest["decisions"]["head"],
        "policy": canonical_json(manifest["policy"]),
    }
    row = projected(append(connection, "export", actor, data), tables.export)
    connection.execute(tables.export.insert().values(**row))


def recover(store: Store) -> list[int]:
    """Note complete exports that a kill left without their line, and remove what incomplete ones left.

    Returns
    -------
    list of int
        Numbers of the exports that were noted.
    """
    folder = store.workspace.exports
    for left in remove_leftovers(folder, "export"):
        shutil.rmtree(left, ignore_errors=True)
    found = []
    for path in sorted(folder.glob("export-*")):
        manifest = read_manifest(path)
        if manifest is None:
            continue
        number = int(manifest["number"])
        if not _noted(store, path):
            with store.writing() as connection:
                query = select(tables.export.c.id).where(tables.export.c.number == number)
                if connection.execute(query).first() is None:
                    _note(connection, operator().name, manifest, file_digest(path / "manifest.json"))
                    found.append(number)
    return found


def list_exports(store: Store) -> pd.DataFrame:
    """List exports, latest first: number, created_at (UTC), actor, round_id, changed, folder, complete."""
    c = tables.export.c
    query = select(c.number, c.created_at, c.actor, c.round_id, c.changed).order_by(c.number.desc())
    with store.reading() as connection:
        rows = connection.execute(query).all()
    columns = ["number", "created_at", "actor", "round_id", "changed"]
    frame = pd.DataFrame([tuple(row) for row in rows], columns=columns)
    folders = [store.workspace.exports / f"export-{number:04d}" for number in frame["number"]]
    frame["folder"] = pd.Series([str(folder) for folder in folders], index=frame.index, dtype=object)
    frame["complete"] = [_complete(folder) for folder in folders]
    return frame


def _complete(folder: Path) -> bool:
    manifest = read_manifest(folder)
    return manifest is not None and all(
        (folder / item["name"]).is_file() and (folder / item["name"]).stat().st_size == item["bytes"]
        for item in manifest["files"]
    )
