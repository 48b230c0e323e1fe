"""The MIMIC-III demo against the published procedure of mimic3-benchmarks, restated naively."""

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from core.cohort.channels import BY_NAME, MODEL_CHANNELS
from core.cohort.discretise import Normaliser, SeriesConfig, pack_series
from core.cohort.labelset import PHENOTYPES
from core.cohort.sources.mimic3 import build_mimic3
from core.cohort.sources.mimic_items import items_of
from core.cohort.store import Cohort, open_cohort
from tests.core.naive import mimic3_benchmark as naive

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
DEMO, RESOURCES = DATA / "mimic-iii-demo", DATA / "resources" / "mimic3benchmark"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DEMO.is_dir(), reason="the MIMIC-III demo is not under ../shared/data/mimic-iii-demo"),
]
VARIABLES = {
    "Capillary refill rate": "capillary_refill",
    "Diastolic blood pressure": "dbp",
    "Fraction inspired oxygen": "fio2",
    "Glascow coma scale eye opening": "gcs_eye",
    "Glascow coma scale motor response": "gcs_motor",
    "Glascow coma scale total": "gcs_total",
    "Glascow coma scale verbal response": "gcs_verbal",
    "Glucose": "glucose",
    "Heart Rate": "heart_rate",
    "Height": "height",
    "Mean blood pressure": "map",
    "Oxygen saturation": "spo2",
    "Respiratory rate": "resp_rate",
    "Systolic blood pressure": "sbp",
    "Temperature": "temperature",
    "Weight": "weight",
    "pH": "ph",
}
Grid = dict[tuple[int, int, str], float]
"""(stay, hour, channel) to the last value measured in it."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("mimic3") / "cohort"
    build_mimic3(DEMO, folder, cutoff_hours=None)
    return open_cohort(folder)


@cache
def read() -> naive.Subjects:
    return naive.subjects(DEMO, RESOURCES)


def restated(*ours: str) -> dict[int, naive.Episode]:
    info = json.loads((RESOURCES / "channel_info.json").read_text())
    scores = {name: entry["values"] for name, entry in info.items() if entry.get("values")}
    ranges = {name: BY_NAME[channel].plausible for name, channel in VARIABLES.items() if name not in scores}
    return naive.episodes(read(), scores, ranges, frozenset(ours))


def grid_of(episodes: dict[int, naive.Episode]) -> Grid:
    return {
        (stay, hour, VARIABLES[name]): value
        for stay, episode in episodes.items()
        for hour, measured in enumerate(episode.hours)
        for name, value in measured.items()
    }


def packed(cohort: Cohort) -> tuple[Grid, np.ndarray, np.ndarray]:
    """Measured cells, every cell's value [steps, channels] (categories as scores), and the stays' offsets."""
    plain = [c.name for c in MODEL_CHANNELS if not c.categories]
    none = Normaliser(tuple(plain), (0.0,) * len(plain), (1.0,) * len(plain))
    pack, _ = pack_series(cohort, SeriesConfig(max_steps=10_000), none)
    column, values = 0, np.zeros((len(pack.values), len(MODEL_CHANNELS)))
    for place, channel in enumerate(MODEL_CHANNELS):
        if channel.codes is None:
            values[:, place], column = pack.values[:, column], column + 1
        else:
            width = len(channel.codes)
            values[:, place] = pack.values[:, column : column + width] @ np.array(channel.codes)
            column += width
    measured = pack.values[:, column:] > 0
    stays = cohort.stays["stay_id"].to_pylist()
    cells: Grid = {}
    for row, stay in enumerate(stays):
        start, stop = pack.offsets[row], pack.offsets[row + 1]
        for hour, place in zip(*np.nonzero(measured[start:stop]), strict=True):
            cells[stay, int(hour), MODEL_CHANNELS[place].name] = float(values[start + hour, place])
    return cells, values, pack.offsets


def same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-5 * max(1.0, abs(one))


def test_the_same_stays_have_the_same_25_phenotypes_as_the_published_procedure_gives(cohort: Cohort) -> None:
    expected = restated()
    assert cohort.stays["stay_id"].to_pylist() == sorted(expected)
    observed, stated = cohort.label_matrix()
    assert stated.all()
    names = {label.key: label.name for label in PHENOTYPES}
    matrix = [[expected[stay].labels[names[key]] for key in cohort.label_keys] for stay in sorted(expected)]
    assert np.array_equal(observed, np.array(matrix))
    assert observed.sum() > 400


def test_with_each_difference_named_every_hour_of_every_stay_is_the_published_procedure_s(cohort: Cohort) -> None:
    expected = restated(*naive.STEPS)
    cells, values, offsets = packed(cohort)
    wanted = grid_of(expected)
    assert cells.keys() == wanted.keys()
    assert len(cells) > 80_000
    assert all(same(wanted[place], value) for place, value in cells.items())
    lengths = [len(expected[stay].hours) for stay in sorted(expected)]
    assert np.diff(offsets).tolist() == lengths
    for row, stay in enumerate(sorted(expected)):
        last = [float(c.impute or 0.0) for c in MODEL_CHANNELS]
        for hour in range(lengths[row]):
            last = [wanted.get((stay, hour, c.name), v) for c, v in zip(MODEL_CHANNELS, last, strict=True)]
            assert np.allclose(values[offsets[row] + hour], last, rtol=1e-5)


def test_what_differs_from_the_published_procedure_is_listed_by_cause_with_its_counts(cohort: Cohort) -> None:
    cells, _, _ = packed(cohort)
    plain = grid_of(restated())
    differing = {place for place in cells.keys() | plain.keys() if not _agree(cells, plain, place)}
    causes: dict[str, int] = {}
    explained: set[tuple[int, int, str]] = set()
    for step in naive.STEPS:
        other = grid_of(restated(step))
        changed = {place for place in plain.keys() | other.keys() if not _agree(plain, other, place)}
        causes[step], explained = len(changed), explained | changed
    assert (causes, len(differing), len(cells)) == (COUNTS, 771, 81254)
    assert differing == explained


def _agree(one: Grid, other: Grid, place: tuple[int, int, str]) -> bool:
    return place in one and place in other and same(one[place], other[place])


COUNTS = {
    "blood only": 86,
    "plausible range": 66,
    "largest as a number": 234,
    "oxygen above 1 is per cent": 0,
    "closed at the left": 10,
    "no eye opening is 1 point": 429,
}
"""Cells (stay, hour, channel) that the step alone changes in what the published procedure gives for the demo."""


def test_the_item_map_holds_the_benchmark_s_ready_items_and_no_other_of_its_variables() -> None:
    known = naive.variables(RESOURCES)
    ready = {item: VARIABLES[name] for item, (name, _) in known.items() if name in VARIABLES}
    model = {c.name for c in MODEL_CHANNELS}
    mine = {item.id: item.channel for item in items_of("mimic3") if item.channel in model}
    assert mine == ready


def test_plausible_ranges_of_the_item_map_are_the_channels(cohort: Cohort) -> None:
    assert all((item.low, item.high) == BY_NAME[item.channel].plausible for item in items_of("mimic4"))


def test_the_resources_name_the_same_variables() -> None:
    config = json.loads((RESOURCES / "discretizer_config.json").read_text())
    assert set(config["id_to_channel"]) == set(VARIABLES)
    with (RESOURCES / "variable_ranges.csv").open(newline="") as handle:
        assert {row["LEVEL2"].lower() for row in csv.DictReader(handle)} >= {name.lower() for name in VARIABLES}
