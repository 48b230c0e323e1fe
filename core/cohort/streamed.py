"""Writing a cohort's table that is too long for memory: sorted batches in, Parquet out, checked on the way."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import SchemaError


def _pieces(reader: pa.RecordBatchReader, rows: int) -> Iterator[pa.Table]:
    """Give the batches as tables of exactly `rows` rows, the last one shorter."""
    kept: list[pa.RecordBatch] = []
    held = 0
    for batch in reader:
        kept.append(batch)
        held += batch.num_rows
        if held >= rows:
            table = pa.Table.from_batches(kept, reader.schema)
            whole = held - held % rows
            for start in range(0, whole, rows):
                yield table.slice(start, rows).combine_chunks()
            kept = table.slice(whole).to_batches()
            held -= whole
    if held:
        yield pa.Table.from_batches(kept, reader.schema).combine_chunks()


def write_streamed(
    path: Path, name: str, reader: pa.RecordBatchReader, rows: int, check: Callable[[pa.Table], None]
) -> int:
    """Write batches as a Parquet file of `rows` rows a row group; return the number of rows.

    Parameters
    ----------
    name
        The table's name, for messages.
    reader
        Batches in the table's schema and order: by stay, which is checked, and as `SORT_KEYS` says.
    check
        Called with each row group; raises what is wrong.

    Raises
    ------
    SchemaError
        When the stays are out of order, and as `check`.
    """
    count, last = 0, None
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for table in _pieces(reader, rows):
            stays = table["stay_id"]
            ends = (last, stays[0].as_py())
            if (ends[0] is not None and ends[0] > ends[1]) or not _ascending(stays):
                raise SchemaError(f"{name} in order of stays", "another order", "sort the source's batches")
            last = stays[-1].as_py()
            check(table)
            writer.write_table(table, row_group_size=rows)
            count += table.num_rows
    return count


def _ascending(column: pa.ChunkedArray) -> bool:
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return len(values) < 2 or bool(pc.all(pc.greater_equal(values[1:], values[:-1])).as_py())
