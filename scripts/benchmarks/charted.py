"""What the eICU demo's past histories say of four lifelong illnesses, and the demo without them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from pyarrow import csv

from core.errors import ConfigError

HISTORY_FILES = ("pastHistory.csv.gz", "pastHistory.csv")
STAY, PATH = "patientunitstayid", "pasthistorypath"


@dataclass(frozen=True)
class Illness:
    """A lifelong illness: its labels, and the parts of a history's path that name it."""

    labels: tuple[str, ...]
    paths: tuple[str, ...]


ILLNESSES: dict[str, Illness] = {
    "diabetes": Illness(
        ("diabetes_with_complications", "diabetes_without_complication"),
        ("/Insulin Dependent Diabetes/", "/Non-Insulin Dependent Diabetes/"),
    ),
    "hypertension": Illness(
        ("essential_hypertension", "hypertension_with_complications"), ("/Hypertension Requiring Treatment/",)
    ),
    "kidney disease": Illness(("chronic_kidney_disease",), ("/Renal Insufficiency/", "/Renal Failure/")),
    "COPD": Illness(("copd",), ("/COPD/",)),
}


def history_file(data: Path | None) -> Path:
    """Give the demo's table of past histories.

    Raises
    ------
    ConfigError
        Where it is not there.
    """
    for name in HISTORY_FILES:
        if data is not None and (data / name).is_file():
            return data / name
    raise ConfigError(f"the eICU demo's folder with {HISTORY_FILES[0]}", str(data or "none"), "name it with --data")


@contextmanager
def without_history(data: Path | None) -> Iterator[Path]:
    """Give a folder like the demo's that lacks the past histories, for as long as the block lasts."""
    hidden = history_file(data)
    with tempfile.TemporaryDirectory(prefix="miracl-eicu-") as scratch:
        for path in hidden.parent.iterdir():
            if path.name not in HISTORY_FILES:
                (Path(scratch) / path.name).symlink_to(path.resolve())
        yield Path(scratch)


def charted(data: Path | None, stay_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the past histories say.

    Returns
    -------
    charted
        uint8 [stays, illnesses].
    known
        bool [stays]: whether a stay has any charted history.
    """
    options = csv.ConvertOptions(include_columns=[STAY, PATH])
    table = csv.read_csv(history_file(data), convert_options=options)
    stays = table[STAY].to_numpy()
    rows = np.searchsorted(stay_ids, stays).clip(max=len(stay_ids) - 1)
    ours = stay_ids[rows] == stays
    known = np.zeros(len(stay_ids), np.bool_)
    known[rows[ours]] = True
    found = np.zeros((len(stay_ids), len(ILLNESSES)), np.uint8)
    for column, illness in enumerate(ILLNESSES.values()):
        for part in illness.paths:
            named = pc.match_substring(table[PATH], part).to_numpy(zero_copy_only=False)
            found[rows[ours & named], column] = 1
    return found, known
