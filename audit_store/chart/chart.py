"""The chart: a cohort's folder opened for reading, one patient at a time."""

import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.chart import series as series_view
from audit_store.chart.files import TABLES, PrunedTable, check_gaps, read_manifest
from audit_store.chart.kept import Kept
from audit_store.chart.patient import read_patient
from audit_store.chart.records import (
    ChannelInfo,
    Header,
    LabelInfo,
    Note,
    PatientRecord,
    Strip,
    Track,
    Visit,
    channels_of,
    gap_between,
    labels_of,
    masked,
)
from audit_store.chart.strip import state_of, strip
from audit_store.errors import WorkspaceError

_PATIENTS_KEPT = 48
_OLDEST = 90
_DAY = 24.0
_SECONDS = 3600.0


class Chart:
    """A cohort as its readers see it; thread-safe, read-only, nothing linear in the cohort per call.

    Parameters
    ----------
    folder
        The cohort's folder.
    manifest
        Its manifest, parsed.
    stays
        The table of stays (the only one held whole).
    tables
        The other tables, pruned.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], stays: pa.Table, tables: dict[str, PrunedTable]) -> None:
        self.folder = folder
        self.manifest = manifest
        self._labels = labels_of(manifest)
        self._channels = channels_of(manifest)
        self._tables = tables
        self._stays = stays
        self._row = {stay: row for row, stay in enumerate(stays["stay_id"].to_pylist())}
        self._patient = stays["patient_id"].to_numpy()
        order = np.lexsort((stays["visit"].to_numpy(), stays["patient_id"].to_numpy()))
        patients = stays["patient_id"].to_numpy()[order]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(patients)) + 1, [len(patients)]])
        self._rows_of = {int(patients[a]): order[a:b] for a, b in itertools.pairwise(starts) if b > a}
        self._kept: Kept[int, PatientRecord] = Kept(_PATIENTS_KEPT)
        self._visits: Kept[int, tuple[Visit, ...]] = Kept(_PATIENTS_KEPT)
        self._stay_rows: Kept[int, list[dict[str, Any]]] = Kept(_PATIENTS_KEPT)
        self._known: tuple[frozenset[str], tuple[tuple[str, str], ...]] | None = None
        self._memo: dict[str, bool] = {}
        self._learning = threading.Lock()

    @classmethod
    def open(cls, folder: Path) -> "Chart":
        """Open a cohort's folder.

        Raises
        ------
        WorkspaceError
            When the manifest or a table is missing, cut short or from a newer version.
        """
        manifest = read_manifest(folder)
        tables = {name: PrunedTable.open(folder / f"{name}.parquet") for name in TABLES}
        try:
            stays = pq.read_table(folder / "stays.parquet").drop_columns(["patient_key"])
            check_gaps(folder / "stays.parquet", stays)
        except (pa.ArrowException, KeyError, OSError):
            raise WorkspaceError(
                "stays.parquet as the cohort's schema has it", "other columns or a file cut short", "build it again"
            ) from None
        return cls(folder, manifest, stays, tables)

    @property
    def fingerprint(self) -> str:
        """The manifest's fingerprint."""
        return str(self.manifest["fingerprint"])

    @property
    def cutoff_hours(self) -> float | None:
        """The model reads [0, cutoff) hours; None: everything."""
        value = self.manifest.get("cutoff_hours")
        return None if value is None else float(value)

    @property
    def label_keys(self) -> list[str]:
        """Keys of the label set in `label_id` order."""
        return list(self._labels)

    @property
    def first_stay(self) -> int:
        """Some stay of the cohort, for checks that need one."""
        if not self._stays.num_rows:
            raise WorkspaceError("a cohort with stays", "none", "build the cohort again")
        return int(self._stays["stay_id"][0].as_py())

    @property
    def has_notes(self) -> bool:
        """Whether any stay of the cohort has a note."""
        return bool(self._tables["notes"].footer.num_rows)

    def label(self, key: str) -> LabelInfo:
        """Return the label with this key."""
        if key not in self._labels:
            raise WorkspaceError(
                "a label of the cohort's label set", "another key", "choose one of the cohort's labels"
            )
        return self._labels[key]

    def channel(self, name: str) -> ChannelInfo:
        """Return the channel with this name; one that the manifest does not list is a bare name."""
        return self._channels.get(name) or ChannelInfo(name, name.replace("_", " "), "", None, None)

    def warm(self) -> None:
        """Learn once which channels and evidence names the source has at all."""
        self._inventory()

    def has_channel(self, name: str) -> bool:
        """Whether any stay of the cohort has a measurement of the channel."""
        return name in self._inventory()[0]

    def evidence_names(self) -> tuple[tuple[str, str], ...]:
        """Return the distinct (kind, name) pairs of the cohort's review evidence."""
        return self._inventory()[1]

    def remembered(self, key: str, compute: Callable[[], bool]) -> bool:
        """Return what was computed once for this cohort under a key (whether its source has a kind of data at all)."""
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]

    def header(self, stay_id: int) -> Header:
        """Who lies here: sex, age, visit k of n, length of stay."""
        row = self._stays.slice(self._row_of(stay_id), 1).to_pylist()[0]
        visits = self.visits(stay_id)
        number = next(visit.number for visit in visits if visit.is_this)
        order = self._order_words(stay_id)
        visit_text = "only visit" if len(visits) == 1 else f"visit {number} of {len(visits)} (order {order})"
        sex = {"f": "F", "female": "F", "m": "M", "male": "M"}.get(str(row["sex"]).strip().lower(), "–")
        age = row["age"]
        age_text = "age not recorded" if age is None else f"{_OLDEST} or older" if age >= _OLDEST else f"{int(age)}"
        days = float(row["los_hours"]) / _DAY
        short = masked(stay_id)
        return Header(
            stay_id,
            short,
            number,
            len(visits),
            "only visit" if len(visits) == 1 else order,
            visit_text,
            sex,
            age_text,
            days,
            f"{short} · {visit_text} · {sex} {age_text} · {days:.1f} days",
            stay_id in self.record(stay_id).coded,
            bool(row["has_series"]),
            bool(row["has_note"]),
        )

    def visits(self, stay_id: int) -> tuple[Visit, ...]:
        """Return the stays of this stay's patient, in order of `visit`."""
        return self._visits.get(stay_id, lambda: self._read_visits(stay_id))

    def _read_visits(self, stay_id: int) -> tuple[Visit, ...]:
        rows = self._stays_of(stay_id)
        known = self.order_known(stay_id)
        times: list[datetime | None] = [row["admitted_at"] for row in rows]
        told = [time for time in times if time is not None]
        first = min(told) if known and told and len(told) == len(times) else None
        groups: dict[object, int] = {}
        out: list[Visit] = []
        for place, row in enumerate(rows):
            hospital = row["hospital_stay_id"]
            key: object = ("alone", row["stay_id"]) if hospital is None else hospital
            group = groups.setdefault(key, len(groups))
            time = times[place]
            start = None if first is None or time is None else (time - first).total_seconds() / _SECONDS
            out.append(
                Visit(
                    row["stay_id"],
                    masked(row["stay_id"]),
                    place + 1,
                    f"v{place + 1}",
                    row["stay_id"] == stay_id,
                    group,
                    str(row["visit_order"]),
                    start,
                    float(row["los_hours"]),
                    gap_between(out[-1] if out else None, group, start, known),
                )
            )
        return tuple(out)

    def order_known(self, stay_id: int) -> bool:
        """Whether a left-to-right order of the patient's stays is honest."""
        rows = self._stays_of(stay_id)
        orders = {row["visit_order"] for row in rows}
        hospitals = {row["hospital_stay_id"] for row in rows}
        one_admission = len(hospitals) == 1 and None not in hospitals
        return len(rows) == 1 or orders == {"exact"} or (one_admission and orders <= {"exact", "within_admission"})

    def series(
        self, stay_ids: Sequence[int], channels: Sequence[str] | None = None, max_points: int = 400
    ) -> pd.DataFrame:
        """Measured points of the stays, thinned; columns of `series.COLUMNS`."""
        tracks = self._tracks(stay_ids, channels)
        return series_view.frame(tracks, self.cutoff_hours, len(set(stay_ids)), max_points)

    def summary(self, stay_ids: Sequence[int]) -> pd.DataFrame:
        """First, last, smallest and largest value per stay and channel."""
        return series_view.summary(self._tracks(stay_ids, None))

    def channels_of(self, stay_ids: Sequence[int]) -> list[ChannelInfo]:
        """Return the channels measured in the stays, most measured first."""
        counts: dict[str, int] = {}
        for _, channel, track in self._tracks(stay_ids, None):
            counts[channel.name] = counts.get(channel.name, 0) + len(track.hours)
        return [self.channel(name) for name in sorted(counts, key=lambda n: (-counts[n], n))]

    def track(self, stay_id: int, channel: str) -> Track | None:
        """All measured values of one channel of one stay, or None."""
        return self.record(stay_id).tracks.get((stay_id, channel))

    def notes(self, stay_ids: Sequence[int]) -> tuple[Note, ...]:
        """Return the notes of the stays in order of visit and hour."""
        wanted = set(stay_ids)
        return tuple(note for record in self._records(stay_ids) for note in record.notes if note.stay_id in wanted)

    def evidence(self, stay_ids: Sequence[int], blind: bool = True) -> pd.DataFrame:
        """review_evidence rows of the stays; `blind` leaves coded diagnoses out, since they are the recorded labels."""
        frames = [record.evidence for record in self._records(stay_ids)]
        table = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        keep = table["stay_id"].isin(list(stay_ids))
        if blind:
            keep &= table["kind"] != "diagnosis"
        return table[keep].reset_index(drop=True)

    def strip(self, stay_id: int, label_key: str, blind: bool = True, withheld: frozenset[int] = frozenset()) -> Strip:
        """Return the recorded label at each of the patient's visits; withheld: of these stays, and of this if blind."""
        record = self.record(stay_id)
        return strip(
            self.label(label_key),
            self.visits(stay_id),
            record.recorded,
            record.coded,
            self.order_known(stay_id),
            blind,
            withheld,
        )

    def other_labels(self, stay_id: int, label_key: str) -> list[LabelInfo]:
        """Labels recorded present at this stay, without the asked one and those that would give it away."""
        asked = self.label(label_key)
        record = self.record(stay_id)
        return [
            label
            for label in self._labels.values()
            if label.key != asked.key
            and not (label.alone or asked.alone)
            and (asked.group is None or label.group != asked.group)
            and record.recorded.get((stay_id, label.key), (None, None))[0] == 1
        ]

    def recorded(self, stay_id: int, label_key: str) -> str:
        """``present``, ``absent`` or ``not coded``; for the reveal only."""
        record = self.record(stay_id)
        return state_of(record.recorded.get((stay_id, label_key), (None, None))[0], stay_id in record.coded)

    def record(self, stay_id: int) -> PatientRecord:
        """Everything on this stay's patient, from memory or read once."""
        patient = self._patient_of(stay_id)
        return self._kept.get(patient, lambda: self._read(patient))

    def _row_of(self, stay_id: int) -> int:
        if stay_id not in self._row:
            raise WorkspaceError(
                "a stay of this cohort", "a stay it does not hold", "open the cohort that the round was trained on"
            )
        return self._row[stay_id]

    def _patient_of(self, stay_id: int) -> int:
        return int(self._patient[self._row_of(stay_id)])

    def _stays_of(self, stay_id: int) -> list[dict[str, Any]]:
        patient = self._patient_of(stay_id)
        return self._stay_rows.get(patient, lambda: self._stays.take(self._rows_of[patient]).to_pylist())

    def _order_words(self, stay_id: int) -> str:
        if self.order_known(stay_id):
            return "known"
        own = self._stays["visit_order"][self._row_of(stay_id)].as_py()
        return "known within this hospital stay" if own == "within_admission" else "unknown"

    def _records(self, stay_ids: Sequence[int]) -> list[PatientRecord]:
        if not stay_ids:
            raise WorkspaceError("one stay or more", "none", "name the stays to show")
        seen: dict[int, PatientRecord] = {}
        for stay_id in stay_ids:
            seen.setdefault(self._patient_of(stay_id), self.record(stay_id))
        return list(seen.values())

    def _tracks(self, stay_ids: Sequence[int], channels: Sequence[str] | None) -> list[tuple[int, ChannelInfo, Track]]:
        wanted, names = set(stay_ids), None if channels is None else set(channels)
        return [
            (stay, self.channel(name), track)
            for record in self._records(stay_ids)
            for (stay, name), track in record.tracks.items()
            if stay in wanted and (names is None or name in names)
        ]

    def _inventory(self) -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
        with self._learning:
            if self._known is None:
                channels = self._tables["observations"].distinct(["channel"])["channel"].to_pylist()
                names = self._tables["review_evidence"].distinct(["kind", "name"]).to_pylist()
                self._known = (frozenset(channels), tuple(sorted((str(r["kind"]), str(r["name"])) for r in names)))
            return self._known

    def _read(self, patient: int) -> PatientRecord:
        stay_ids = tuple(int(stay) for stay in self._stays["stay_id"].take(self._rows_of[patient]).to_pylist())
        return read_patient(self._tables, stay_ids, self.cutoff_hours, str(self.manifest["primary_source"]))
