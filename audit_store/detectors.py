"""Scores of detectors: a row a pair, a column a detector, high means suspect; and where a pair stands in its group.

Kept as the table ``detector_wide``, sorted by label, recorded value and stay, so that a pair's group lies together and
its places are counted when they are asked for; the view ``detector_score`` has a row per detector instead.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from audit_store.errors import RoundError
from audit_store.schema import DETECTOR_SCORE

if TYPE_CHECKING:
    from audit_store.round_reader import RoundFile

WIDE = "detector_wide"
KEYS = ("stay_id", "label_id", "observed")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class DetectorPlace:
    """Where a pair stands among those of its label and recorded value, by one detector.

    Parameters
    ----------
    name
        The detector.
    score
        Its score, high means suspect.
    place
        1 + the number of pairs with a higher score.
    n
        Pairs of the group that have a score.
    percentile
        Share of the group that is less suspect, ties counted half (the pair itself among them) [0–1].
    """

    name: str
    score: float
    place: int
    n: int
    percentile: float


def keep_scores(connection: duckdb.DuckDBPyConnection, came: pa.Schema) -> None:
    """Keep the rows of the registered table ``staged`` as ``detector_wide`` and its view; ``pair`` is there.

    Parameters
    ----------
    connection
        On the round being written.
    came
        The schema of ``staged``: stay_id, label_id and a floating column for each detector, or the long form of
        `audit_store.schema.DETECTOR_SCORE`.

    Raises
    ------
    RoundError
        When a detector's name or type is none, a score is NaN or infinite, or a long row is repeated.
    """
    long = "detector" in came.names
    names = _names_in(connection, came, long)
    if long:
        repeated = connection.execute(
            "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM staged GROUP BY stay_id, label_id, "
            "detector HAVING n > 1)"
        ).fetchall()[0][0]
        if repeated:
            raise RoundError(
                "one row per (stay_id, label_id, detector) in detector_score",
                f"{repeated} rows too many",
                "remove the repeated rows",
            )
        picked = "".join(f", CAST(max(score) FILTER (detector = '{name}') AS FLOAT) AS {name}" for name in names)
        wide = f"SELECT stay_id, label_id{picked} FROM staged GROUP BY stay_id, label_id"
    else:
        picked = "".join(f", CAST({name} AS FLOAT) AS {name}" for name in names)
        wide = f"SELECT stay_id, label_id{picked} FROM staged"
    scores = "".join(f", w.{name}" for name in names)
    connection.execute(
        f"CREATE TABLE {WIDE} AS SELECT CAST(w.stay_id AS BIGINT) AS stay_id, CAST(w.label_id AS SMALLINT) AS "
        f"label_id, p.observed{scores} FROM ({wide}) w LEFT JOIN pair p ON p.stay_id = w.stay_id AND "
        "p.label_id = w.label_id ORDER BY w.label_id, p.observed, w.stay_id"
    ).fetchall()
    if names:
        endless = ", ".join(f"count(*) FILTER (NOT isfinite({name}))" for name in names)
        for name, count in zip(names, connection.execute(f"SELECT {endless} FROM {WIDE}").fetchall()[0], strict=True):
            if count:
                raise RoundError(
                    f"finite scores of detector {name}", f"{count} NaN or infinite", "leave such a score out"
                )
    parts = [
        f"SELECT stay_id, label_id, '{name}' AS detector, {name} AS score FROM {WIDE} WHERE {name} IS NOT NULL"
        for name in names
    ]
    empty = f"SELECT stay_id, label_id, '' AS detector, CAST(0 AS FLOAT) AS score FROM {WIDE} WHERE false"
    connection.execute(f"CREATE VIEW detector_score AS {' UNION ALL '.join(parts or [empty])}").fetchall()


def keep_agreement(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep how many flagged pairs each detector has above its group's 95th percentile, as ``detector_agreement``.

    ``detector_wide`` and ``flag`` are there. A detector that has nothing to do with the flags has a twentieth of them.
    """
    described = connection.execute(f"DESCRIBE {WIDE}").fetchall()
    names = [str(row[0]) for row in described if row[0] not in KEYS]
    connection.execute(
        "CREATE TABLE detector_agreement (detector VARCHAR NOT NULL, flags BIGINT NOT NULL, top BIGINT NOT NULL)"
    )
    if not names:
        return
    cuts = ", ".join(f"quantile_cont({name}, 0.95) AS {name}" for name in names)
    counts = ", ".join(f"count(w.{name}), count(*) FILTER (w.{name} > c.{name})" for name in names)
    row = connection.execute(
        f"WITH c AS (SELECT label_id, observed, {cuts} FROM {WIDE} GROUP BY label_id, observed) SELECT {counts} FROM "
        f"flag f JOIN {WIDE} w ON w.label_id = f.label_id AND w.stay_id = f.stay_id "
        "JOIN c ON c.label_id = w.label_id AND c.observed = w.observed"
    ).fetchall()[0]
    rows = [(name, row[2 * k], row[2 * k + 1]) for k, name in enumerate(names)]
    connection.executemany("INSERT INTO detector_agreement VALUES (?, ?, ?)", rows)


def _names_in(connection: duckdb.DuckDBPyConnection, came: pa.Schema, long: bool) -> list[str]:
    """Detectors that the staged scores hold, each fit to name a column."""
    missing = [name for name in (DETECTOR_SCORE.names if long else KEYS[:2]) if name not in came.names]
    if missing:
        raise RoundError(
            f"table detector_score with {', '.join(missing)}", "no such column", "mend the trainer's output"
        )
    if long:
        names = [str(row[0]) for row in connection.execute("SELECT DISTINCT detector FROM staged").fetchall()]
        scores = ["score"]
    else:
        names = scores = [name for name in came.names if name not in KEYS]
    strange = [name for name in names if not _NAME.fullmatch(name) or name in KEYS]
    if strange:
        raise RoundError(
            "detectors named in lower case letters, digits and underscores",
            f"{len(strange)} otherwise",
            "rename them in the trainer",
        )
    kinds = {name: came.field(name).type for name in (*KEYS[:2], *scores)}
    wrong = [name for name in KEYS[:2] if not pa.types.is_integer(kinds[name])]
    wrong += [name for name in scores if not (pa.types.is_floating(kinds[name]) or pa.types.is_null(kinds[name]))]
    if wrong:
        raise RoundError(
            "table detector_score in its schema's types",
            ", ".join(f"{name} ({kinds[name]})" for name in wrong),
            "mend the trainer's output",
        )
    return sorted(names) if long else names


def places(round_file: "RoundFile", stay_id: int, label_id: int) -> list[DetectorPlace]:
    """Places of a pair by each detector, in the trainer's order; empty where the round has none for the pair."""
    names = [name for name in round_file.columns(WIDE) if name not in KEYS]
    if not names:
        return []
    columns = ", ".join(("observed", *names))
    found = round_file.rows(f"SELECT {columns} FROM {WIDE} WHERE label_id = ? AND stay_id = ?", (label_id, stay_id))
    if not found:
        return []
    observed, *scores = found[0]
    scored = [(name, float(score)) for name, score in zip(names, scores, strict=True) if score is not None]
    if not scored:
        return []
    group = round_file.arrow(
        f"SELECT {', '.join(name for name, _ in scored)} FROM {WIDE} WHERE label_id = ? AND observed = ?",
        values=(label_id, observed),
    )  # counted here: comparing a column at once takes half the time of DuckDB's filtered counts
    made = []
    for name, score in scored:
        column = group[name].to_numpy()
        mine = np.float32(score)
        above, same = int(np.count_nonzero(column > mine)), int(np.count_nonzero(column == mine))
        n = len(column) - group[name].null_count
        made.append(DetectorPlace(name, score, above + 1, n, (n - above - same / 2) / n))
    return made


def as_frame(found: list[DetectorPlace]) -> pd.DataFrame:
    """Places as a frame: detector, score, place, n, percentile."""
    return pd.DataFrame(
        {
            "detector": [place.name for place in found],
            "score": [place.score for place in found],
            "place": [place.place for place in found],
            "n": [place.n for place in found],
            "percentile": [place.percentile for place in found],
        }
    )
