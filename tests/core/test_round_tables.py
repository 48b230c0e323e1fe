"""What a round's tables say of groups that have no mixture."""

import numpy as np

from core.round_tables import mixture_table
from core.selection.groups import fit_ranges, normalise
from core.selection.mixture import fit_mixtures


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
