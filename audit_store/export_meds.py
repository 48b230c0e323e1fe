"""Labels in the Medical Event Data Standard: one Parquet file per label, as its label schema of version 0.4 says.

``subject_id`` int64, ``prediction_time`` timestamp[us], ``boolean_value`` bool; all three always there. The standard
has three further columns for values of other kinds, which are left out where there are none: 0.4 allows no empty value
in a column that is there. A label is predicted from what was charted up to ``prediction_time``: the unit admission
and the hours that the cohort's models read, or the end of the stay where that comes first.

Only stated labels have a row. A subject with several stays has one for each.
"""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.errors import ExportError
from audit_store.export_matrix import UNSTATED, Ints, Matrix
from audit_store.fileio import make_folder

MEDS_LABEL = pa.schema(
    [
        pa.field("subject_id", pa.int64(), False),
        pa.field("prediction_time", pa.timestamp("us"), False),
        pa.field("boolean_value", pa.bool_(), False),
    ]
)
MEDS_VERSION = "0.4"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HOUR = 3_600_000_000  # microseconds


def write_meds(matrix: Matrix, stays: pa.Table, cutoff_hours: float | None, folder: Path) -> list[tuple[Path, int]]:
    """Write ``{label_key}.parquet`` for each label, by subject and time.

    Parameters
    ----------
    matrix
        The cleaned labels.
    stays
        Columns of `audit_store.labels.required_stays`, by stay_id.
    cutoff_hours
        Hours of a stay that models read; None: all.
    folder
        Where the files go; made here.

    Returns
    -------
    list of (Path, int)
        Files and their rows.

    Raises
    ------
    ExportError
        When a stay has no date of admission, or a label's key can't name a file.
    """
    place = matrix.rows_of(stays["stay_id"].to_numpy())
    stays = stays.filter(place >= 0)
    place = place[place >= 0]
    subject, when = stays["patient_id"].to_numpy(), _times(stays, cutoff_hours)
    order = np.lexsort((stays["stay_id"].to_numpy(), when, subject))
    subject, when, place = subject[order], when[order], place[order]
    if not all(_FILE_NAME.fullmatch(key) for key in matrix.keys):
        raise ExportError("label keys that can name a file", "others", "write long or wide")
    make_folder(folder)
    made = []
    for number, key in enumerate(matrix.keys):
        value = matrix.values[place, number]
        here = value != UNSTATED
        table = pa.table(
            [subject[here], pa.array(when[here], pa.timestamp("us")), pa.array(value[here] == 1)], schema=MEDS_LABEL
        )
        path = folder / f"{key}.parquet"
        pq.write_table(table, path, compression="zstd")
        made.append((path, table.num_rows))
    return made


def check_dates(stays: pa.Table) -> None:
    """Check that every stay has its date of admission; ExportError where one has none."""
    missing = stays["admitted_at"].null_count
    if missing:
        raise ExportError(
            "the date of each stay's admission, which prediction times need",
            f"none for {missing:,} of {stays.num_rows:,} stays",
            "this source gives no dates: write long, wide or listfile",
        )


def _times(stays: pa.Table, cutoff_hours: float | None) -> Ints:
    check_dates(stays)
    hours = stays["los_hours"].to_numpy()
    hours = hours if cutoff_hours is None else np.minimum(hours, cutoff_hours)
    admitted: Ints = stays["admitted_at"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    times: Ints = admitted + np.rint(hours * _HOUR).astype(np.int64)
    return times
