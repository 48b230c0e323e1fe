"""Made-up words, one for each kind of text there is, and where each of them turns up again.

No language has these words, so that finding one anywhere means that a text went there.
"""

import gzip
import io
import re
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.cohort.schema import TABLES
from core.cohort.store import read_manifest, write_cohort

WORDS: dict[str, str] = {
    "note": "quillabrax",
    "note category": "pelgrinotte",
    "evidence name": "vornedimol",
    "evidence text": "haldrimoor",
    "evidence unit": "skelliwatt",
    "admission diagnosis": "zephrytonia",
    "patient key": "oskwindel",
    "ethnicity": "tarvelianesque",
    "code": "xqorbel",
    "label name": "brimmelpocks",
    "display name": "morwennadrecks",
    "attestation": "grolvanquist",
    "comment": "fennaquibble",
    "adjudication comment": "dorrimanque",
    "redaction": "ulverscatch",
    "password": "hexipuddle-long",
    "typed name": "wackenthorpe",
    "typed password": "jubblewick-long",
}
PATIENT_WORDS = tuple(
    WORDS[kind]
    for kind in (
        "note", "note category", "evidence name", "evidence text", "evidence unit", "admission diagnosis",
        "patient key", "ethnicity", "code",
    )
)  # fmt: skip


def plant(folder: Path) -> None:
    """Write the words into each text column of a cohort, and into the name of its first label."""
    manifest = read_manifest(folder)
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in TABLES}
    tables["notes"] = _said(tables["notes"], {"text": WORDS["note"], "category": WORDS["note category"]})
    spans = pc.utf8_length(tables["notes"]["text"]).cast(pa.int32())
    tables["notes"] = _with(tables["notes"], "model_end", spans)
    tables["review_evidence"] = _said(
        tables["review_evidence"],
        {"name": WORDS["evidence name"], "text": WORDS["evidence text"], "unit": WORDS["evidence unit"]},
    )
    found = tables["review_evidence"]
    first = pc.equal(pa.array(range(found.num_rows)), 0)
    found = _with(found, "kind", pc.if_else(first, "admission_diagnosis", found["kind"]))
    found = _with(found, "name", pc.if_else(first, WORDS["admission diagnosis"], found["name"]))
    tables["review_evidence"] = found
    tables["stays"] = _said(tables["stays"], {"patient_key": WORDS["patient key"], "ethnicity": WORDS["ethnicity"]})
    tables["labels"] = _said(tables["labels"], {"code": WORDS["code"]})
    manifest["labels"][0]["name"] = f"{WORDS['label name']} of the first kind"
    truth = folder / "evaluation" / "truth.parquet"
    write_cohort(folder, tables, manifest, pq.read_table(truth) if truth.exists() else None)


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _said(table: pa.Table, words: Mapping[str, str]) -> pa.Table:
    for name, word in words.items():
        before = pc.fill_null(table[name], "")
        table = _with(table, name, pc.binary_join_element_wise(word, before, " "))
    return table


def files(folder: Path) -> Iterator[Path]:
    """Every file under a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def found_in(path: Path) -> set[str]:
    """The kinds of words that a file holds, looked for in what its format hides too."""
    text = "\n".join(_texts(path)).lower()
    return {kind for kind, word in WORDS.items() if word in text}


def _texts(path: Path) -> Iterator[str]:
    body = path.read_bytes()
    yield _plain(body)
    yield path.name
    if body[:4] == b"PAR1":
        yield from _of_arrow(pq.read_table(io.BytesIO(body)))
    elif body[:16] == b"SQLite format 3\0":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            yield from connection.iterdump()
        connection.close()
    elif body[8:12] == b"DUCK":
        with duckdb.connect(str(path), read_only=True) as connection:
            for (name,) in connection.sql("SELECT table_name FROM duckdb_tables()").fetchall():
                yield from _of_arrow(connection.table(name).to_arrow_table())
    elif body[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(body)) as inside:
            for name in inside.namelist():
                yield _plain(inside.read(name))
    elif body[:2] == b"\x1f\x8b":
        yield _plain(gzip.decompress(body))


def _plain(body: bytes) -> str:
    # Words with their letters apart, as UTF-32 and UTF-16 have them, are caught too.
    return re.sub("\0+", "", body.decode("utf-8", "replace"))


def _of_arrow(table: pa.Table) -> Iterator[str]:
    for name in table.column_names:
        if pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type):
            yield "\n".join(str(value) for value in pc.unique(table[name]).to_pylist())
