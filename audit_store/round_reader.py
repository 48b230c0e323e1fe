"""Reading a round: one DuckDB file, opened read-only, by any number of threads and processes at once."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from audit_store.detectors import DetectorPlace, as_frame, places
from audit_store.errors import RoundError
from audit_store.fileio import parsed_json
from audit_store.round_types import Pair, RoundInfo
from audit_store.round_writer import DUCKDB_SETTINGS
from audit_store.schema import COMPARISON, HARM, PAIR, ROUND, ROUND_SCHEMA_VERSION

T = TypeVar("T")
HISTORY_SCALE = 255.0
_LIMIT = "32MB"
"""DuckDB keeps what it has read until then: many readers touch much of a round."""
_PATIENCE = 30.0
"""Seconds to wait for memory that other threads hold."""
_READING: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "memory_limit": _LIMIT,
    "temp_directory": "",
}
_DAMAGE = (
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.CatalogException,
    duckdb.OutOfRangeException,
)
_LABELLED = "SELECT p.* EXCLUDE (history), l.label_key, l.name AS label_name FROM pair p JOIN label l USING (label_id)"


class RoundFile:
    """A round, opened read-only.

    Each thread has a cursor of its own. High always means suspect.

    Parameters
    ----------
    path
        The round's file.
    digest_path
        The digest file beside it.

    Raises
    ------
    RoundError
        When a file is missing, cut short, or of a newer version.
    """

    _turn = threading.Lock()
    """One for all rounds: DuckDB holds one limit for a file, however many have opened it in this process."""

    def __init__(self, path: Path, digest_path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise RoundError(f"{path.name} in rounds/", "no such file", "train it with miracl train")
        self.digest = _digest_file(digest_path)
        size = path.stat().st_size
        if size != self.digest["bytes"]:
            raise RoundError(
                f"{path.name} with {self.digest['bytes']} bytes", f"{size} bytes", "restore the file, or train again"
            )
        self.closed = False
        self._local = threading.local()
        self._lifted = False
        try:
            self._connection = duckdb.connect(str(path), read_only=True, config={**DUCKDB_SETTINGS, **_READING})
        except duckdb.Error:
            raise self._unreadable() from None
        row = self.rows(f"SELECT {self._some(ROUND, 'round')} FROM round")
        if len(row) != 1:
            raise self._unreadable()
        values = dict(zip(ROUND.names, row[0], strict=True))
        if values["schema_version"] > ROUND_SCHEMA_VERSION:
            raise RoundError(
                f"a round of schema version {ROUND_SCHEMA_VERSION} or earlier",
                f"version {values['schema_version']}",
                "upgrade miracl-audit",
            )
        try:
            more = {"config": parsed_json(values["config"]), "calibrated": bool(values["calibrated"])}
        except (TypeError, ValueError):
            raise self._unreadable() from None
        self.info = RoundInfo(**{**values, **more})

    def _unreadable(self) -> RoundError:
        return RoundError(f"{self.path.name} as a round file", "a damaged file", "restore the file, or train again")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Give the calling thread its cursor on the file."""
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._connection.cursor()
            self._local.cursor = cursor
        return cursor

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give the cursor; what a damaged file causes becomes one line, a wrong query stays what it is."""
        try:
            yield self.cursor()
        except duckdb.Error as error:  # a block whose checksum does not hold has no class of its own
            if isinstance(error, _DAMAGE) or type(error) is duckdb.Error:
                raise self._unreadable() from None
            raise

    def _ask(self, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Ask the file; what needs more memory than a page does gets it while it runs, in turn."""
        with self._reading() as cursor:
            try:
                found = ask(cursor)
            except duckdb.OutOfMemoryException:
                with self._turn:
                    self._lift(cursor)
                    found = ask(cursor)
            if self._lifted and self._turn.acquire(blocking=False):
                try:
                    self._limit(cursor)
                finally:
                    self._turn.release()
            return found

    def _lift(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Lift the limit; the statement needs some kB itself, for which others that hold all there is have to end."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                cursor.execute("RESET memory_limit")
                break
            except duckdb.OutOfMemoryException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)
        self._lifted = True

    def _limit(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Set the limit again; while others hold more than it, DuckDB can't, and whoever asks next tries."""
        with suppress(duckdb.OutOfMemoryException):
            cursor.execute(f"SET memory_limit = '{_LIMIT}'")
            self._lifted = False

    def rows(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Rows that a query gives."""
        return self._ask(lambda cursor: cursor.execute(query, values).fetchall())

    def frame(self, query: str, values: Any = ()) -> pd.DataFrame:
        """Return what a query gives, as a frame."""
        return self._ask(lambda cursor: cursor.execute(query, values).df())

    def arrow(self, query: str, tables: dict[str, pa.Table] | None = None, values: Any = ()) -> pa.Table:
        """Return what a query gives, as an Arrow table; `tables` are registered in memory for its time."""

        def ask(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
            try:
                for name, table in (tables or {}).items():
                    cursor.register(name, table)
                return cursor.sql(query, params=values or None).to_arrow_table()
            finally:
                for name in tables or {}:
                    cursor.unregister(name)

        return self._ask(ask)

    @cached_property
    def _columns(self) -> dict[str, tuple[str, ...]]:
        """Columns of each table, in order; older rounds lack what later versions added."""
        found: dict[str, tuple[str, ...]] = {}
        for table, column in self.rows(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal ORDER BY table_oid, column_index"
        ):
            found[str(table)] = (*found.get(str(table), ()), str(column))
        return found

    def columns(self, table: str) -> tuple[str, ...]:
        """Columns of a table, in order; none where the round has no such table."""
        return self._columns.get(table, ())

    def _some(self, schema: pa.Schema, table: str) -> str:
        """Spell the columns to select, NULL for those that the file does not have."""
        here = self.columns(table)
        return ", ".join(f'"{name}"' if name in here else f'NULL AS "{name}"' for name in schema.names)

    @cached_property
    def n_pairs(self) -> int:
        """Number of stated pairs."""
        return int(self.rows("SELECT count(*) FROM pair")[0][0])

    @cached_property
    def n_flagged(self) -> int:
        """Number of flagged pairs."""
        return int(self.rows("SELECT count(*) FROM flag")[0][0])

    @cached_property
    def label_ids(self) -> dict[str, int]:
        """`label_id` of each label key, in order."""
        return {key: number for number, key in self.rows("SELECT label_id, label_key FROM label ORDER BY label_id")}

    @cached_property
    def label_names(self) -> dict[str, str]:
        """Published name of each label key, in `label_id` order."""
        return dict(self.rows("SELECT label_key, name FROM label ORDER BY label_id"))

    @cached_property
    def label_groups(self) -> dict[str, tuple[str, ...]]:
        """Label keys that are decided together, by group, each in `label_id` order."""
        groups: dict[str, tuple[str, ...]] = {}
        for key, label in self.rows(
            "SELECT label_group, label_key FROM label WHERE label_group IS NOT NULL ORDER BY label_id"
        ):
            groups[key] = (*groups.get(key, ()), label)
        return {key: labels for key, labels in groups.items() if len(labels) > 1}

    def label_id(self, label_key: str) -> int:
        """`label_id` of a label; RoundError where the round has no such label."""
        if label_key not in self.label_ids:
            raise RoundError("a label of this round", "another label", "pick one that miracl status lists")
        return self.label_ids[label_key]

    def labels(self) -> pd.DataFrame:
        """Label table: key, name, description, persistence, group, prevalence and estimated noise rates."""
        return self.frame("SELECT * FROM label ORDER BY label_id")

    def mixtures(self, label_key: str | None = None) -> pd.DataFrame:
        """Mixture of selection scores per label and observed class."""
        where = "" if label_key is None else "WHERE m.label_id = ?"
        values = () if label_key is None else (self.label_id(label_key),)
        return self.frame(
            f"SELECT l.label_key, l.name, m.* FROM mixture m JOIN label l USING (label_id) {where} "
            "ORDER BY m.label_id, m.observed_class",
            values,
        )

    def epochs(self) -> pd.DataFrame:
        """Training by epoch: loss terms, schedules, partitions, test metrics."""
        return self.frame("SELECT * FROM epoch ORDER BY epoch")

    def pair(self, stay_id: int, label_key: str) -> Pair:
        """One pair with its history.

        Raises
        ------
        RoundError
            When the round has no such pair.
        """
        found = self.rows(
            f"SELECT {self._some(PAIR, 'pair')} FROM pair WHERE label_id = ? AND stay_id = ?",
            (self.label_id(label_key), stay_id),
        )
        if not found:
            raise RoundError("a pair of this round", "one that is not in it", "open the queue of the current round")
        values = dict(zip(PAIR.names, found[0], strict=True))
        values["history"] = tuple((np.frombuffer(values["history"], np.uint8) / HISTORY_SCALE).tolist())
        return Pair(
            **values,
            label_key=label_key,
            label_name=self.label_names[label_key],
            n_flagged=self.n_flagged,
            calibrated=self.info.calibrated,
        )

    def stated(self, stay_id: int, label_key: str) -> tuple[int, int]:
        """Return the recorded value and the suggested one of a pair; RoundError where the round has no such pair."""
        found = self.rows(
            "SELECT observed, suggested FROM pair WHERE label_id = ? AND stay_id = ?",
            (self.label_id(label_key), stay_id),
        )
        if not found:
            raise RoundError("a pair of this round", "one that is not in it", "open the queue of the current round")
        return int(found[0][0]), int(found[0][1])

    def pairs_of_stay(self, stay_id: int) -> pd.DataFrame:
        """All pairs of a stay, in label order."""
        return self.frame(f"{_LABELLED} WHERE p.stay_id = ? ORDER BY p.label_id", (stay_id,))

    def flagged_labels(self, stay_id: int) -> frozenset[str]:
        """Keys of the labels that the round flagged at a stay: from the table of flags, a fiftieth of the pairs."""
        return self._flags_by_stay.get(stay_id, frozenset())

    @cached_property
    def _flags_by_stay(self) -> dict[int, frozenset[str]]:
        """Flagged label keys of each stay that has any; read once, since a round never changes."""
        found: dict[int, set[str]] = {}
        for stay_id, key in self.rows("SELECT stay_id, label_key FROM flag JOIN label USING (label_id)"):
            found.setdefault(int(stay_id), set()).add(str(key))
        shared: dict[frozenset[str], frozenset[str]] = {}
        return {stay: shared.setdefault(frozenset(keys), frozenset(keys)) for stay, keys in found.items()}

    def pairs_of_patient(self, patient_id: int) -> pd.DataFrame:
        """All pairs of a patient, by visit, stay and label."""
        return self.frame(f"{_LABELLED} WHERE p.patient_id = ? ORDER BY p.visit, p.stay_id, p.label_id", (patient_id,))

    def label_strip(self, patient_id: int, label_key: str) -> pd.DataFrame:
        """One label over a patient's stays, by visit. Stays without coded diagnoses are not among them."""
        return self.frame(
            "SELECT stay_id, visit, split, observed, given, probability, partition, flagged FROM pair "
            "WHERE label_id = ? AND patient_id = ? ORDER BY visit, stay_id",
            (self.label_id(label_key), patient_id),
        )

    def evidence(self, stay_id: int, label_key: str) -> pd.DataFrame:
        """Return what moved the probability: offsets into notes, channel-hours; strongest first, + pushes up."""
        return self.frame(
            "SELECT e.* EXCLUDE (label_id), ? AS label_key FROM evidence e WHERE label_id = ? AND stay_id = ? "
            "ORDER BY abs(weight) DESC",
            (label_key, self.label_id(label_key), stay_id),
        )

    def history(self, stay_id: int, label_key: str) -> np.ndarray:
        """Fused probability by epoch, float32 [epochs], to 1/255."""
        return np.asarray(self.pair(stay_id, label_key).history, dtype=np.float32)

    def detector_places(self, stay_id: int, label_key: str) -> list[DetectorPlace]:
        """Where a pair stands by each detector among those of its label and recorded value, high = suspect.

        Empty where no detector says anything of it: test stays, and rounds of schema version 1.
        """
        return places(self, stay_id, self.label_id(label_key))

    def detector_scores(self, stay_id: int, label_key: str) -> pd.DataFrame:
        """`detector_places` as a frame: detector, score, place, n, percentile."""
        return as_frame(self.detector_places(stay_id, label_key))

    def detector_agreement(self) -> pd.DataFrame:
        """Count, by detector, the flagged pairs it scored and those above its group's 95th percentile, in its order."""
        if not self.columns("detector_agreement"):
            return pd.DataFrame(columns=["detector", "flags", "top"])
        return self.frame("SELECT * FROM detector_agreement")

    def harm(self) -> pd.DataFrame:
        """Read what the correction is expected to do, per label and direction; no rows where nobody estimated it."""
        if not self.columns("harm"):
            return pd.DataFrame(columns=["label_key", "name", *HARM.names])
        return self.frame(
            "SELECT l.label_key, l.name, h.* FROM harm h JOIN label l USING (label_id) ORDER BY h.label_id, h.direction"
        )

    def comparison(self) -> pd.DataFrame:
        """Metrics with and without the decisions; no rows where the round was not compared."""
        if not self.columns("comparison"):
            return pd.DataFrame(columns=COMPARISON.names)
        return self.frame("SELECT * FROM comparison ORDER BY metric")

    def suspicion(self, stay_id: int, label_key: str) -> tuple[int, int] | None:
        """Rank of suspicion as "k of n flagged"; None where the pair is not flagged."""
        found = self.rows(
            "SELECT suspicion_rank FROM flag WHERE label_id = ? AND stay_id = ?", (self.label_id(label_key), stay_id)
        )
        return (int(found[0][0]), self.n_flagged) if found else None

    def score_histogram(self, label_key: str, observed: int, bins: int = 40) -> pd.DataFrame:
        """Count selection scores (0–1) in equal bins, per partition, for one label and observed class."""
        return self.frame(
            "SELECT b / $3::DOUBLE AS low, (b + 1) / $3::DOUBLE AS high, partition, count(*) AS n FROM "
            "(SELECT least(CAST(floor(selection_score * $3) AS INT), $3 - 1) AS b, partition FROM pair "
            "WHERE label_id = $1 AND observed = $2) GROUP BY b, partition ORDER BY b, partition",
            (self.label_id(label_key), observed, bins),
        )

    def partition_counts(self) -> pd.DataFrame:
        """Pairs per label, observed class and partition."""
        return self.frame(
            "SELECT l.label_key, l.name, p.observed, p.partition, count(*) AS n FROM pair p JOIN label l "
            "USING (label_id) GROUP BY p.label_id, l.label_key, l.name, p.observed, p.partition "
            "ORDER BY p.label_id, p.observed, p.partition"
        )

    def flag_counts(self) -> pd.DataFrame:
        """Count flagged pairs per label and direction."""
        return self.frame(
            "SELECT l.label_key, l.name, f.direction, count(*) AS n FROM flag f JOIN label l USING (label_id) "
            "GROUP BY f.label_id, l.label_key, l.name, f.direction ORDER BY f.label_id, f.direction"
        )

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self._connection.close()


def _digest_file(path: Path) -> dict[str, Any]:
    """Read the digest file beside a round, checked for its fields."""
    try:
        body = parsed_json(path.read_text(encoding="utf-8"))
        return {**body, "bytes": int(body["bytes"]), "blake2b": str(body["blake2b"])}
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        raise RoundError(
            f"{path.name} beside the round file", "none that can be read", "restore it from a backup"
        ) from None
