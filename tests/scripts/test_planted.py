"""The measure of planted noise: only where the truth is known, and with flags in both directions."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audit_store.errors import RoundError
from scripts.benchmarks.planted import markdown, measure


@pytest.mark.slow
def test_a_round_on_planted_noise_is_measured_by_class_and_direction(trained_workspace: Path) -> None:
    told = measure(trained_workspace)
    truth = pq.read_table(trained_workspace / "cohort" / "evaluation" / "truth.parquet").to_pandas()
    labels = pq.read_table(trained_workspace / "cohort" / "labels.parquet").to_pandas()
    both = labels.merge(truth, on=["stay_id", "label"])
    stays = pq.read_table(trained_workspace / "cohort" / "stays.parquet").to_pandas().set_index("stay_id")["split"]
    train = both[both["stay_id"].map(stays) == "train"]
    wrong = train["observed"] != train["clean"]
    assert told.wrong == pytest.approx(wrong.mean())
    classes = told.found["selection_score"]
    assert classes["positive"].n == int((train["observed"] == 1).sum())
    assert classes["negative"].n_wrong == int((wrong & (train["observed"] == 0)).sum())
    assert told.flagged == sum(n for n, _ in told.by_direction.values())
    assert told.flagged_wrong == sum(right for _, right in told.by_direction.values())
    assert f"{told.flagged:,} flags" in markdown(told)


def test_a_cohort_without_truth_can_not_be_measured(workspace_with_round: Path) -> None:
    (workspace_with_round / "cohort" / "evaluation" / "truth.parquet").unlink()
    with pytest.raises(RoundError, match="planted noise"):
        measure(workspace_with_round)
