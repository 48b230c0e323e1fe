"""How well a round's scores find the noise that was planted: its training pairs against the cohort's kept truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit_store.errors import RoundError
from audit_store.rounds import check_cohort_matches, open_round
from audit_store.workspace import open_workspace
from core.metrics.audit import Detection, detection

SCORES = ("selection_score", "error_probability")


@dataclass(frozen=True)
class Planted:
    """What was found of the planted noise.

    Parameters
    ----------
    found
        Detection by score and observed class.
    flagged, flagged_wrong
        Flagged pairs, and those of them whose record is wrong.
    wrong
        Share of training pairs whose record is wrong.
    by_direction
        Flagged pairs and the wrong among them, by direction.
    """

    found: dict[str, dict[str, Detection]]
    flagged: int
    flagged_wrong: int
    wrong: float
    by_direction: dict[str, tuple[int, int]]


def measure(folder: Path, round_id: int | None = None) -> Planted:
    """Compare a round of a workspace with the truth of its simulated cohort.

    Raises
    ------
    RoundError
        When the cohort has no truth, or is not the round's.
    """
    workspace = open_workspace(folder)
    truth_path = workspace.cohort / "evaluation" / "truth.parquet"
    if not truth_path.is_file():
        raise RoundError(
            "a cohort with planted noise", "one whose truth nobody knows", "build one: miracl build-cohort synthetic"
        )
    round_file = open_round(workspace, round_id)
    check_cohort_matches(workspace, round_file)
    pairs = round_file.arrow(
        "SELECT p.stay_id, p.label_id, p.observed, p.selection_score, p.error_probability, p.flagged, p.direction, "
        "t.clean FROM pair p JOIN label USING (label_id) "
        "JOIN truth t ON t.stay_id = p.stay_id AND t.label = label_key WHERE p.split = 'train'",
        {"truth": pq.read_table(truth_path)},
    )
    stays, rows = np.unique(pairs["stay_id"].to_numpy(), return_inverse=True)
    columns = pairs["label_id"].to_numpy().astype(np.int64)
    shape = (len(stays), int(columns.max()) + 1)

    def matrix(values: pa.ChunkedArray, kind: type) -> np.ndarray:
        dense: np.ndarray = np.zeros(shape, dtype=kind)
        dense[rows, columns] = values.to_numpy()
        return dense

    member = np.zeros(shape, dtype=bool)
    member[rows, columns] = True
    observed, clean = matrix(pairs["observed"], np.uint8), matrix(pairs["clean"], np.uint8)
    found = {name: detection(matrix(pairs[name], np.float32), observed, clean, member) for name in SCORES}
    flagged = pairs["flagged"].to_numpy(zero_copy_only=False)
    wrong = pairs["observed"].to_numpy() != pairs["clean"].to_numpy()
    directions = np.asarray(pairs["direction"].to_pylist())
    by_direction = {
        name: (int((flagged & (directions == name)).sum()), int((flagged & wrong & (directions == name)).sum()))
        for name in ("false_positive", "false_negative")
    }
    return Planted(found, int(flagged.sum()), int((flagged & wrong).sum()), float(wrong.mean()), by_direction)


def markdown(told: Planted) -> str:
    """The measures as a Markdown table and a line on the flags."""
    lines = [
        "| score | recorded | pairs | wrong | AUROC | average precision | precision of the first 100 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, classes in told.found.items():
        for key, word in (("positive", "present"), ("negative", "absent")):
            d = classes[key]
            lines.append(
                f"| {name} | {word} | {d.n:,} | {d.n_wrong:,} | {d.auroc:.3f} | {d.average_precision:.3f} | "
                f"{d.precision_at[100]:.2f} |"
            )
    parts = [
        f"{n:,} {name.replace('_', ' ')} ({right:,} of them wrong records)"
        for name, (n, right) in told.by_direction.items()
    ]
    share = told.flagged_wrong / told.flagged if told.flagged else float("nan")
    lines += [
        "",
        "AUROC and average precision: mean over labels. "
        f"Of {told.flagged:,} flags {told.flagged_wrong:,} are wrong records ({share:.0%}; of all pairs "
        f"{told.wrong:.0%} are): {', '.join(parts)}.",
    ]
    return "\n".join(lines)
