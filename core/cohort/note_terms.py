"""What notes say of each label by its terms and their negation: a source of labels, never a model's input.

It states few pairs, and states them crudely: a term in a note is no diagnosis. Beside the record it is a second word
for methods that weigh sources, and for the reasons that a reader sees after answering.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from core.cohort.terms import find_terms

TERMS_KIND = "note_terms"
_BATCH = 1 << 10
_FOUND = pa.schema(
    [("stay_id", pa.int64()), ("label", pa.string()), ("hour", pa.float32()), ("affirmed", pa.int64()),
     ("denied", pa.int64())]
)  # fmt: skip


def _mentions(path: Path, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Give each note's mentions of labels, a row for each label that it names."""
    for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=["stay_id", "hour", "text"]):
        rows = []
        for stay, hour, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            for key in keys:
                denied = [match.negated for match in find_terms(text, key, drugs=False)]
                if denied:
                    rows.append((stay, key, hour, denied.count(False), denied.count(True)))
        columns = zip(*rows, strict=True) if rows else [()] * len(_FOUND)
        yield pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, _FOUND, strict=True)], schema=_FOUND)


def note_term_rows(path: Path, keys: Sequence[str], source: str) -> pa.Table:
    """Read a cohort's notes and say of each label that they name whether it is affirmed.

    Parameters
    ----------
    path
        `notes.parquet`; every note counts, also those for readers alone. Drugs that are given for a condition don't
        name it.
    keys
        Label keys; one without terms is never named.
    source
        What the source is called.

    Returns
    -------
    pyarrow.Table
        stay_id, label, source, observed (1: a term stands affirmed; 0: all are denied), code ("2 affirmed, 1 denied"),
        hour (of the first note that says so).

    Notes
    -----
    Texts are read one after the other: regular expressions that look behind, as negation needs, run in Python alone.
    """
    mentions = pa.Table.from_batches(list(_mentions(path, keys)), _FOUND)
    with duckdb.connect() as sql:
        sql.register("mention", mentions)
        found: pa.Table = sql.sql(
            """SELECT stay_id, label, ?::VARCHAR AS source, (sum(affirmed) > 0)::UTINYINT AS observed,
                concat_ws(', ', CASE WHEN sum(affirmed) > 0 THEN sum(affirmed)::VARCHAR || ' affirmed' END,
                    CASE WHEN sum(denied) > 0 THEN sum(denied)::VARCHAR || ' denied' END) AS code,
                coalesce(min(hour) FILTER (affirmed > 0), min(hour))::FLOAT AS hour
            FROM mention GROUP BY stay_id, label ORDER BY stay_id, label""",
            params=[source],
        ).to_arrow_table()
    return found
