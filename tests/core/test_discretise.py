"""The packed series against a plain restatement, stay by stay, bin by bin."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cohort.discretise import Normaliser, SeriesConfig, pack_series
from core.cohort.store import Cohort
from core.errors import ConfigError

MANIFEST: dict[str, Any] = {
    "cutoff_hours": 6.0,
    "fingerprint": "f",
    "primary_source": "icd",
    "labels": [],
    "channels": [
        {"name": "heart_rate", "impute": 86.0, "categories": None, "codes": None, "model": True},
        {"name": "eye", "impute": 2.0, "categories": ["none", "open"], "codes": [1.0, 2.0], "model": True},
        {"name": "sodium", "impute": None, "categories": None, "codes": None, "model": False},
        {"name": "ph", "impute": 7.4, "categories": None, "codes": None, "model": True},
    ],
}
Row = tuple[int, float, str, float | None, str | None]


def make_cohort(rows: list[Row], los: list[float], train: list[bool], cutoff: float | None = 6.0) -> Cohort:
    stays = pa.table(
        {
            "stay_id": pa.array(range(10, 10 + len(los)), pa.int64()),
            "los_hours": pa.array(los, pa.float64()),
            "split": pa.array(["train" if t else "test" for t in train], pa.string()),
        }
    )
    ordered = sorted(rows, key=lambda row: (row[0], row[1], row[2]))
    columns = list(zip(*ordered, strict=True)) or [()] * 5
    kinds = (pa.int64(), pa.float32(), pa.string(), pa.float32(), pa.string())
    names = ("stay_id", "hour", "channel", "value", "category")
    observations = pa.table(
        {name: pa.array(list(c), kind) for name, c, kind in zip(names, columns, kinds, strict=True)}
    )
    return Cohort(Path(), {**MANIFEST, "cutoff_hours": cutoff}, stays, observations, pa.table({}), pa.table({}))


def restated(
    rows: list[Row], los: list[float], train: list[bool], cutoff: float | None, step: float, max_steps: int
) -> list[np.ndarray]:
    """What the docstring says, with loops."""
    ordered = sorted(rows, key=lambda row: (row[0], row[1], row[2]))
    raw: list[list[list[float]]] = []
    for i, length in enumerate(los):
        bins: dict[int, dict[str, float]] = {}
        for stay, hour, channel, value, category in ordered:
            if stay != 10 + i or channel == "sodium" or hour < 0 or hour > length:
                continue
            if cutoff is not None and hour >= cutoff:
                continue
            if channel == "eye":
                if category in ("none", "open"):
                    value = {"none": 0.0, "open": 1.0}[category]
                elif value in (1.0, 2.0):
                    value -= 1.0
                else:
                    continue
            elif value is None:
                continue
            bins.setdefault(int(hour // step), {})[channel] = value
        now = {"heart_rate": 86.0, "eye": 1.0, "ph": 7.4}
        steps = []
        for b in range(max(bins, default=-1) + 1):
            now |= bins.get(b, {})
            masks = [float(c in bins.get(b, {})) for c in ("heart_rate", "eye", "ph")]
            steps.append([now["heart_rate"], float(now["eye"] == 0), float(now["eye"] == 1), now["ph"], *masks])
        raw.append(steps[-max_steps:])
    seen = np.array([s for steps, t in zip(raw, train, strict=True) if t for s in steps]).reshape(-1, 7)
    out = []
    for steps in raw:
        grid = np.array(steps, dtype=np.float64).reshape(-1, 7)
        for column, impute in ((0, 86.0), (3, 7.4)):
            mean = seen[:, column].mean() if len(seen) else impute
            std = seen[:, column].std() if len(seen) else 1.0
            grid[:, column] = (grid[:, column] - mean) / (std if std > 1e-5 else 1.0)
        out.append(grid)
    return out


numbers = st.floats(40, 160, width=32)
row = st.one_of(
    st.tuples(st.integers(10, 13), st.floats(-1, 9, width=16), st.just("heart_rate"), st.none() | numbers, st.none()),
    st.tuples(st.integers(10, 13), st.floats(0, 9, width=16), st.just("ph"), st.floats(6.5, 8, width=16), st.none()),
    st.tuples(st.integers(10, 13), st.floats(0, 9, width=16), st.just("sodium"), numbers, st.none()),
    st.tuples(
        st.integers(10, 13),
        st.floats(0, 9, width=16),
        st.just("eye"),
        st.sampled_from([1.0, 2.0, 3.0, None]),
        st.sampled_from(["none", "open", "ajar", None]),
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(row, max_size=40),
    los=st.lists(st.sampled_from([0.0, 0.5, 2.0, 5.25, 8.0, 20.0]), min_size=4, max_size=4),
    train=st.lists(st.booleans(), min_size=4, max_size=4),
    cutoff=st.sampled_from([None, 6.0, 2.0]),
    step=st.sampled_from([0.5, 1.0, 2.0]),
    max_steps=st.sampled_from([1, 3, 512]),
    chunk=st.sampled_from([1, 4, 1 << 18]),
)
def test_packed_series_equal_the_plain_restatement(
    rows: list[Row], los: list[float], train: list[bool], cutoff: float | None, step: float, max_steps: int, chunk: int
) -> None:
    pack, _ = pack_series(make_cohort(rows, los, train, cutoff), SeriesConfig(step, max_steps, chunk))
    expected = restated(rows, los, train, cutoff, step, max_steps)
    assert np.diff(pack.offsets).tolist() == [len(grid) for grid in expected]
    np.testing.assert_allclose(pack.values, np.concatenate(expected), rtol=2e-3, atol=2e-3)


def test_a_hand_worked_stay_has_the_bins_masks_and_scores_written_here() -> None:
    rows: list[Row] = [
        (10, 0.25, "heart_rate", 100.0, None),
        (10, 0.75, "heart_rate", 90.0, None),
        (10, 2.5, "eye", 1.0, "none"),
        (11, 0.0, "heart_rate", 70.0, None),
    ]
    pack, normaliser = pack_series(make_cohort(rows, [10.0, 10.0], [True, False]), SeriesConfig())
    assert pack.feature_names == (
        "heart_rate",
        "eye=none",
        "eye=open",
        "ph",
        "measured:heart_rate",
        "measured:eye",
        "measured:ph",
    )
    assert pack.feature_channel.tolist() == [0, 1, 1, 2, 0, 1, 2]
    assert pack.channels == ("heart_rate", "eye", "ph")
    assert normaliser.mean == (90.0, pytest.approx(7.4))
    assert normaliser.std == (1.0, 1.0)
    assert pack.values[:3].round(5).tolist() == [
        [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    ]
    assert pack.values[3].round(5).tolist() == [-20.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    assert pack.values.dtype == np.float32
    assert pack.offsets.dtype == np.int64


def test_the_cut_off_is_open_and_the_end_of_the_stay_closed() -> None:
    rows: list[Row] = [(10, 6.0, "ph", 7.0, None), (11, 3.0, "ph", 7.0, None), (12, 3.5, "ph", 7.0, None)]
    pack, _ = pack_series(make_cohort(rows, [9.0, 3.0, 3.0], [True] * 3), SeriesConfig())
    assert np.diff(pack.offsets).tolist() == [0, 4, 0]


def test_the_last_bins_are_kept_and_earlier_values_are_carried_into_them() -> None:
    rows: list[Row] = [(10, 0.0, "heart_rate", 120.0, None), (10, 5.0, "ph", 7.2, None)]
    pack, _ = pack_series(
        make_cohort(rows, [9.0], [True]),
        SeriesConfig(max_steps=2),
        Normaliser(("heart_rate", "ph"), (0.0, 0.0), (1.0, 1.0)),
    )
    assert pack.first_bin.tolist() == [4]
    assert pack.values[:, 0].tolist() == [120.0, 120.0]
    assert pack.values[:, 4].tolist() == [0.0, 0.0]


def test_test_stays_do_not_move_the_normaliser() -> None:
    rows: list[Row] = [(10, 0.0, "heart_rate", 100.0, None), (11, 0.0, "heart_rate", 60.0, None)]
    far: list[Row] = [rows[0], (11, 0.0, "heart_rate", 500.0, None)]
    one = pack_series(make_cohort(rows, [9.0, 9.0], [True, False]), SeriesConfig())[1]
    other = pack_series(make_cohort(far, [9.0, 9.0], [True, False]), SeriesConfig())[1]
    assert one == other


def test_a_normaliser_survives_json_and_gives_the_same_values() -> None:
    rows: list[Row] = [(10, h / 2, "heart_rate", 80.0 + h, None) for h in range(8)]
    cohort = make_cohort(rows, [9.0], [True])
    first, normaliser = pack_series(cohort, SeriesConfig())
    again, same = pack_series(cohort, SeriesConfig(), Normaliser.from_dict(normaliser.to_dict()))
    assert same == normaliser
    assert np.array_equal(first.values, again.values)


@pytest.mark.parametrize("n_stays", [0, 3])
def test_stays_without_any_measurement_have_no_steps(n_stays: int) -> None:
    pack, normaliser = pack_series(make_cohort([], [5.0] * n_stays, [True] * n_stays), SeriesConfig())
    assert pack.values.shape == (0, 7)
    assert pack.offsets.tolist() == [0] * (n_stays + 1)
    assert normaliser.mean == (86.0, 7.4)


def test_bad_options_and_foreign_normalisers_are_refused_in_one_line() -> None:
    for wrong in ({"step_hours": 0.0}, {"step_hours": float("nan")}, {"max_steps": 0}, {"chunk_steps": 0}):
        with pytest.raises(ConfigError) as caught:
            SeriesConfig(**wrong)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="normaliser"):
        pack_series(make_cohort([], [5.0], [True]), SeriesConfig(), Normaliser(("ph",), (0.0,), (1.0,)))
    cohort = make_cohort([], [5.0], [True])
    for channels in ([], [{"name": "eye", "impute": None, "categories": ["a"], "codes": [1.0], "model": True}]):
        broken = Cohort(
            Path(), {**MANIFEST, "channels": channels}, cohort.stays, cohort.observations, *[pa.table({})] * 2
        )
        with pytest.raises(ConfigError):
            pack_series(broken, SeriesConfig())
