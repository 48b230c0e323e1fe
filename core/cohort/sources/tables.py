"""A hospital's own long tables: from a mapping to a cohort, or to what the mapping misses."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from core.cohort.attrition import Attrition
from core.cohort.channels import manifest_channels
from core.cohort.labels_in import LabelsIn, with_labels
from core.cohort.mapping import FileSpec, LabelsSpec, Mapping, read_mapping
from core.cohort.sources.mimic_evidence import evidence_batches
from core.cohort.sources.mimic_labels import labels_table
from core.cohort.sources.mimic_notes import note_batches
from core.cohort.sources.mimic_series import mark_series, observation_batches
from core.cohort.sources.tables_files import MappedTables
from core.cohort.sources.tables_labels import load_labels
from core.cohort.sources.tables_series import load_series, names_of
from core.cohort.sources.tables_stays import STAYS, keys_table, load_stays, split_made, stays_table
from core.cohort.sources.tables_texts import load_evidence, load_notes
from core.cohort.store import write_cohort
from core.errors import ConfigError, SourceError

_BATCH = 1 << 16
_NOTE_BATCH = 1 << 10


def build_tables(
    mapping: Path,
    target: Path,
    *,
    cutoff_hours: float | None = 48.0,
    lenient: bool = False,
    labels_in: LabelsIn | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Build the cohort that a mapping describes.

    Parameters
    ----------
    mapping
        A TOML file; the files it names are below its folder.
    target
        The cohort's folder; replaced only once the new one is complete.
    cutoff_hours
        Models read what was charted before this hour of the stay; None: all of it.
    lenient
        Set aside and count what can be set aside, instead of refusing it.
    labels_in
        A file of labels beside those of the mapping.
    progress
        Called with what is being done.

    Returns
    -------
    dict
        The manifest as written.

    Raises
    ------
    SourceError
        When the mapping, a file, column, unit or value is not what it should be.
    ConfigError
        When the cut-off is no number of hours.
    """
    check_cutoff(cutoff_hours)
    read = read_mapping(mapping)
    raw = MappedTables(mapping.parent, read.name, lenient=lenient)
    return build_mapped(
        raw, read, target, source="tables", cutoff_hours=cutoff_hours, labels_in=labels_in, progress=progress
    )


def check_cutoff(cutoff_hours: float | None) -> None:
    """Refuse a cut-off that is no number of hours above 0."""
    if cutoff_hours is not None and not 0 < cutoff_hours < float("inf"):
        raise ConfigError("a cut-off above 0 hours, or none", str(cutoff_hours), "give a number of hours such as 48")


def tables_of(mapping: Mapping) -> list[tuple[str, FileSpec]]:
    """Names of a mapping's tables, as `MappedTables` knows them, and what they are."""
    found = [(STAYS, mapping.stays.source)]
    found += [(name, spec.source) for name, spec in zip(names_of(mapping), mapping.measurements, strict=True)]
    found += [(f"notes {place}", spec.source) for place, spec in enumerate(mapping.notes, start=1)]
    found += [(f"labels {place}", spec.source) for place, spec in enumerate(mapping.labels, start=1)]
    return [*found, *((f"evidence {place}", spec.source) for place, spec in enumerate(mapping.evidence, start=1))]


def load_all(
    raw: MappedTables, mapping: Mapping, cutoff_hours: float | None, say: Callable[[str], None]
) -> tuple[Attrition, dict[str, Any]]:
    """Read every table of a mapping into the connection; return the attrition and what the manifest says of it."""
    say("reading stays")
    log = load_stays(raw, mapping.stays)
    if not log.remaining:
        raise SourceError("a stay that meets every criterion", "none", "look at the stays' file and the criteria")
    say("reading labels")
    coding = load_labels(raw, mapping)
    say("reading measurements")
    series = load_series(raw, mapping)
    say("reading notes")
    noted = load_notes(raw, mapping, cutoff_hours)
    say("reading evidence for readers")
    load_evidence(raw, mapping)
    mark_series(raw, cutoff_hours)
    return log, {"coding": coding, **series, "note_reading": noted}


def build_mapped(
    raw: MappedTables,
    mapping: Mapping,
    target: Path,
    *,
    source: str,
    cutoff_hours: float | None,
    progress: Callable[[str], None] | None,
    labels_in: LabelsIn | None = None,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Build and write the cohort of a mapping; the tables are closed in any case.

    Parameters
    ----------
    source
        What the manifest says the cohort is from.
    labels_in
        A file of labels beside those of the mapping.
    more
        Further fields of the manifest.
    """
    say = progress or (lambda stage: None)
    try:
        say("looking at the files")
        for name, spec in tables_of(mapping):
            raw.open(name, spec)
        log, told = load_all(raw, mapping, cutoff_hours, say)
        say("putting the cohort together")
        raw.sql.execute(
            "DELETE FROM stay WHERE stay_id NOT IN (SELECT stay_id FROM observation) "
            "AND stay_id NOT IN (SELECT stay_id FROM notes)"
        )
        log.keep("any measured value or note", raw.count("SELECT count(*) FROM stay"))
        if not log.remaining:
            raise SourceError("a stay with a measured value or a note", "none", "look at the keys and [[codes]]")
        primary = mapping.labels[0].name
        stated = raw.count(
            f"SELECT count(DISTINCT stay_id) FROM label SEMI JOIN stay USING (stay_id) WHERE source = '{primary}'"
        )
        log.note(f"kept as not recorded: {log.remaining - stated} stays without a stated label")
        for reason, rows in sorted(raw.set_aside.items()):
            log.note(f"set aside: {rows} rows, {reason}")
        stays, labels, keys = stays_table(raw, mapping.stays), labels_table(raw), keys_table(raw)
        manifest = {
            "name": mapping.name,
            "source": source,
            "primary_source": primary,
            "cutoff_hours": cutoff_hours,
            "labels": mapping.label_set.manifest_labels(),
            "label_groups": mapping.label_set.manifest_groups(),
            "channels": manifest_channels(mapping.channels),
            "attrition": log.lines(),
            "label_sources": {spec.name: _said(spec) for spec in mapping.labels},
            "licence": mapping.licence,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels_against": "recorded",
            "seed": None,
            "noise": None,
            "not_recorded": log.remaining - stated,
            "split": split_made(mapping.stays),
            **told,
            "set_aside": dict(sorted(raw.set_aside.items())),
            "lenient": raw.lenient,
            "files": sorted(raw.read),
            **(more or {}),
        }
        if labels_in is not None:
            say("reading the file of labels")
            named = keys.filter(pc.equal(keys["kind"], "stay")) if keys is not None else None
            labels, manifest = with_labels(stays, labels, manifest, labels_in, named)
        say("writing")
        return write_cohort(
            target,
            {
                "stays": stays,
                "labels": labels,
                "observations": observation_batches(raw, _BATCH, mapping.channels),
                "notes": note_batches(raw, _NOTE_BATCH),
                "review_evidence": evidence_batches(raw, _BATCH),
            },
            manifest,
            keys=keys,
        )
    finally:
        raw.close()


def _said(spec: LabelsSpec) -> dict[str, str]:
    """Give a source's entry of the manifest's `label_sources`."""
    title = "billing codes" if spec.name == "icd" else spec.name.replace("_", " ")
    return {"kind": "codes" if spec.form == "codes" else "labels", "title": title}
