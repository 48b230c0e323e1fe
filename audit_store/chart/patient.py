"""Reading one patient: series as tracks, notes, evidence and recorded labels of all stays, from the pruned tables."""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from audit_store.chart.files import PrunedTable
from audit_store.chart.records import Note, PatientRecord, Track

_DECIMALS = 4


def read_patient(
    tables: Mapping[str, PrunedTable], stay_ids: tuple[int, ...], cutoff: float | None, primary: str
) -> PatientRecord:
    """Read everything the cohort holds on one patient.

    Parameters
    ----------
    tables
        The cohort's tables by name.
    stay_ids
        The patient's stays in order of visit.
    cutoff
        The model reads [0, cutoff) hours; entries from there on are marked.
    primary
        The source of labels that a round corrects.
    """
    visit = {stay: place + 1 for place, stay in enumerate(stay_ids)}

    def late(hour: float | None) -> bool:
        return cutoff is not None and hour is not None and hour >= cutoff

    labels = tables["labels"].rows(stay_ids, ["stay_id", "label", "source", "observed", "code"]).to_pylist()
    recorded: dict[tuple[int, str], tuple[int | None, str | None]] = {
        (int(row["stay_id"]), str(row["label"])): (row["observed"], row["code"])
        for row in labels
        if row["source"] == primary
    }
    said: dict[tuple[int, str], tuple[tuple[str, int, str | None], ...]] = {}
    for row in sorted(labels, key=lambda row: str(row["source"])):
        if row["source"] != primary and row["observed"] is not None:
            pair = (int(row["stay_id"]), str(row["label"]))
            said[pair] = (*said.get(pair, ()), (str(row["source"]), int(row["observed"]), row["code"]))
    evidence = tables["review_evidence"].rows(stay_ids).to_pandas()
    evidence.insert(1, "visit", evidence["stay_id"].map(visit).astype("int64"))
    hours = evidence["hour"].to_numpy(dtype=np.float64)
    evidence["after_cutoff"] = np.zeros(len(hours), dtype=bool) if cutoff is None else hours >= cutoff
    evidence = evidence.sort_values(["visit", "hour", "kind", "name"], kind="stable", ignore_index=True)
    return PatientRecord(
        stay_ids,
        _tracks_of(tables["observations"].rows(stay_ids)),
        _notes_of(tables["notes"].rows(stay_ids), visit, late),
        evidence,
        recorded,
        frozenset(stay for (stay, _), (observed, _) in recorded.items() if observed is not None),
        said,
    )


def _tracks_of(table: pa.Table) -> dict[tuple[int, str], Track]:
    if not table.num_rows:
        return {}
    encoded = table["channel"].combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    stays = table["stay_id"].to_numpy()
    hours = table["hour"].to_numpy().astype(np.float64)
    values = np.round(table["value"].to_numpy(zero_copy_only=False).astype(np.float64), _DECIMALS)
    categories = np.array(table["category"].to_pylist(), dtype=object)
    order = np.lexsort((hours, codes, stays))
    stays, codes, hours, values, categories = (a[order] for a in (stays, codes, hours, values, categories))
    breaks = np.flatnonzero((np.diff(stays) != 0) | (np.diff(codes) != 0)) + 1
    out: dict[tuple[int, str], Track] = {}
    for a, b in zip(np.concatenate([[0], breaks]), np.concatenate([breaks, [len(stays)]]), strict=True):
        out[(int(stays[a]), str(names[codes[a]]))] = Track(
            np.round(hours[a:b], _DECIMALS), values[a:b], tuple(categories[a:b])
        )
    return out


def _notes_of(table: pa.Table, visit: dict[int, int], late: Callable[[float | None], bool]) -> tuple[Note, ...]:
    notes = [
        Note(
            int(row["stay_id"]),
            int(row["note_id"]),
            visit[int(row["stay_id"])],
            None if row["hour"] is None else round(float(row["hour"]), _DECIMALS),
            str(row["category"]),
            str(row["text"]),
            row["model_start"] is None or row["model_end"] is None,
            row["model_start"],
            row["model_end"],
            late(row["hour"]),
        )
        for row in table.to_pylist()
    ]
    return tuple(sorted(notes, key=lambda n: (n.visit, -1.0 if n.hour is None else n.hour, n.note_id)))
