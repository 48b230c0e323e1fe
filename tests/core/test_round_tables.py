"""What a round's tables say: of groups without a mixture, of the peer, of detectors, and of the correction's harm."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import expit

from audit_store.schema import HARM
from core.calibrated.peer_posterior import peer_posterior
from core.cohort.store import Cohort
from core.cohort.tensors import pack_cohort
from core.config import make_config
from core.correction.harm import expected_harm
from core.fit import fit
from core.locks import lay_on_pairs
from core.round_tables import Round, harm_table, label_table, mixture_table, pair_table
from core.selection.groups import fit_ranges, normalise
from core.selection.mixture import fit_mixtures
from core.training import train_round

from .tiny_cohort import learnable_cohort

TINY: dict[str, Any] = {
    "model.hidden": 16, "model.ffn": 32, "model.experts": 4, "optim.batch": 32, "optim.epochs": 4, "optim.warm_up": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return learnable_cohort(tmp_path_factory.mktemp("made") / "cohort", n_stays=400)


def made_round(cohort: Cohort, preset: str, lost: float = 0.3, with_peer: bool = True, **options: Any) -> Round:
    """A round of a cohort some of whose positives were lost, one pair left open by its reader."""
    torch.set_num_threads(1)
    config = make_config(preset, "compact", **{**TINY, **options})
    packed = pack_cohort(cohort, config.tensors, None)
    gone = (np.random.default_rng(5).random(packed.observed.shape) < lost) & ~np.asarray(packed.is_test)[:, None]
    packed = replace(packed, observed=packed.observed * ~gone)
    row = int(np.flatnonzero(~np.asarray(packed.is_test))[0])
    left_open = {"stay_id": [int(packed.stay_ids[row])], "label_key": [packed.label_keys[0]]}
    pairs = lay_on_pairs(packed, pa.table({**left_open, "value": [0.5], "locked": [False]}))
    fitted = fit(packed, pairs, config, seed=1, place=torch.device("cpu"), with_peer=with_peer)
    assert fitted is not None
    return Round({}, config, cohort, packed, pairs, fitted)


def by_direction(made: Round, direction: str) -> list[dict[str, Any]]:
    return [row for row in harm_table(made).to_pylist() if row["direction"] == direction]


def test_a_preset_that_says_nothing_of_errors_is_judged_by_the_peer(cohort: Cohort) -> None:
    made = made_round(cohort, "paper")
    assert made.fitted.error_probability is None
    setting, pairs = made.fitted.method.setting, made.pairs
    wrong = peer_posterior(made.packed, pairs, setting.observed_peer.logit, setting.peer_reading)
    counted = pairs.member.copy()
    counted[np.asarray(pairs.base == 0.5)] = False
    assert counted.sum() == pairs.member.sum() - 1
    found = np.array([[False, True]] * 5)[:, ::-1]  # noise among recorded absences alone
    assert harm_table(made).equals(expected_harm(pairs.observed, made.fitted.corrected, wrong, counted, found))
    present = by_direction(made, "false_positive")
    assert sum(row["changed"] for row in present) > 0
    assert {row["reason"] for row in present} <= {
        "corrected although no noise was found", "no noise found", "more harm than good expected",
    }  # fmt: skip
    assert all(row["expected_better"] == 0 for row in present)


def test_a_class_without_noise_is_left_alone_and_the_reason_told(cohort: Cohort) -> None:
    for preset in ("miracl", "calibrated"):
        made = made_round(cohort, preset)
        for row in by_direction(made, "false_positive"):
            assert (row["left_alone"], row["changed"], row["reason"]) == (True, 0, "no noise found"), preset
        assert not all(row["left_alone"] for row in by_direction(made, "false_negative"))


def test_a_method_that_corrects_nothing_leaves_everything_alone(cohort: Cohort) -> None:
    table = harm_table(made_round(cohort, "bce"))
    assert all(table["left_alone"].to_pylist())
    assert set(table["reason"].to_pylist()) == {"no noise found", "no label moved"}
    assert table.schema.names == HARM.names
    for name in HARM.names:
        assert table.schema.field(name).type == HARM.field(name).type


@pytest.mark.parametrize("preset", ["bce", "calibrated", "multit"])
def test_each_label_has_the_method_s_noise_rates_or_else_the_peer_s(cohort: Cohort, preset: str) -> None:
    made = made_round(cohort, preset, **{"method.multit.warm_up": 2, "method.multit.sample_epoch": 2})
    table, rates = label_table(made), made.fitted.rates
    assert (rates is None) == (preset != "calibrated"), "MultiT's estimates weigh its loss and are nobody's to read"
    told = rates or made.fitted.method.setting.peer_reading.rates
    assert table["rho_plus"].to_pylist() == told.rho_plus.tolist()
    assert table["rho_minus"].to_pylist() == told.rho_minus.tolist()


def test_the_peer_s_probability_is_out_of_fold_and_absent_without_a_peer(cohort: Cohort) -> None:
    made = made_round(cohort, "bce")
    pair = pair_table(made, 5).to_pandas()
    rows = np.searchsorted(made.packed.stay_ids, pair["stay_id"])
    expected = expit(made.fitted.method.setting.peer.logit)[rows, pair["label_id"]]
    np.testing.assert_allclose(pair["probability_peer"], expected, rtol=1e-5)
    assert "probability_peer" not in pair_table(made_round(cohort, "bce", with_peer=False), 5).column_names


@pytest.mark.parametrize(
    ("preset", "calibrated"), [("gce", False), ("linc", False), ("calibrated", True), ("dawid_skene", False)]
)
def test_every_preset_s_round_has_its_detectors_and_its_diagnosis(
    cohort: Cohort, preset: str, calibrated: bool, tmp_path: Path
) -> None:
    options = {**TINY, "method.linc.warm_up": 2}
    out = train_round(cohort, tmp_path / "run", make_config(preset, "compact", **options), round_id=1)
    assert out is not None
    record = json.loads((out / "round.json").read_text())
    assert (record["calibrated"], record["schema_version"]) == (calibrated, 2)
    assert pq.read_table(out / "harm.parquet").num_rows == 10
    scores = pq.read_table(out / "detector_score.parquet")
    assert {"linc", "confident_learning", "miracl_score"} <= set(scores.column_names)
    assert not any(column.null_count for column in scores.columns)


def test_a_group_without_a_mixture_has_empty_figures_and_a_reason() -> None:
    rng = np.random.default_rng(0)
    observed = np.zeros((60, 2), dtype=np.uint8)
    observed[:30, 0] = 1
    observed[:3, 1] = 1  # too few for two components
    scores = rng.uniform(0, 1, observed.shape).astype(np.float32)
    member = np.ones(observed.shape, dtype=bool)
    ranges = fit_ranges(scores, observed, member)
    table = mixture_table(fit_mixtures(normalise(scores, observed, ranges, 1e-6), observed, member, ranges))
    rows = table.to_pylist()
    few = next(row for row in rows if (row["label_id"], row["observed_class"]) == (1, 1))
    assert few["degenerate"]
    assert few["reason"]
    assert few["mean_clean"] is None
    whole = next(row for row in rows if (row["label_id"], row["observed_class"]) == (0, 1))
    assert np.isfinite([whole["mean_clean"], whole["mean_noisy"]]).all()
    for name in table.column_names:
        column = table[name].to_pandas()
        if column.dtype.kind == "f":
            assert not np.isinf(column).any()
