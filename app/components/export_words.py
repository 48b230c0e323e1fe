"""An export in words: its policy, what it would change, and the rows of its tables."""

import pandas as pd

from app.components.page import Column
from audit_store.chart import masked
from audit_store.export_preview import Preview
from audit_store.labels import Policy

VALUES = {0: "absent", 1: "present"}
BASIS = {
    "observed": "as recorded, nobody settled it",
    "kept": "read, and kept as recorded",
    "relabelled": "read, and changed",
    "adjudicated": "adjudicated",
    "auto_corrected": "changed by the model alone",
}
LABEL_COLUMNS = (
    Column("label"),
    Column("stays", True, "stays where the label is stated"),
    Column("as recorded", True, "stays with the label, as recorded"),
    Column("as exported", True, "stays with the label, as exported"),
    Column("◇ to present", True, "recorded absent, exported present"),
    Column("◆ to absent", True, "recorded present, exported absent"),
    Column("kept", True, "read and kept as recorded"),
    Column("by the model", True, "changed by the model alone"),
    Column("wrong now", True, "labels expected to be wrong as recorded"),
    Column("wrong after", True, "labels expected to be wrong as exported"),
)


def policy_words(policy: Policy, *, calibrated: bool) -> str:
    """The policy as one sentence."""
    words = ["what readers settled"]
    if policy.low_certainty:
        words.append("single answers given as not sure")
    if policy.auto_threshold is not None:
        kind = "probability" if calibrated else "suspicion"
        words.append(f"the model's suggestions from {kind} {policy.auto_threshold:.2f} on")
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"Labels change by {listed}; all others stay as recorded."


def expected_line(counted: Preview) -> str:
    """Labels expected to be wrong before and after, or why that is not told."""
    if counted.wrong_before is None or counted.wrong_after is None:
        return "This round gives no probabilities, so how many labels are wrong is not estimated here; see Quality."
    before, after = counted.wrong_before, counted.wrong_after
    return (
        f"Expected to be wrong: about {before:,.0f} labels as recorded ({before / max(counted.pairs, 1):.1%}), "
        f"{after:,.0f} as exported ({after / max(counted.pairs, 1):.1%}). By the model's own "
        "probabilities, with readers taken to be right."
    )


def waiting_line(counted: Preview) -> str:
    """Pairs that were read and change nothing, so that nobody looks for them in vain."""
    told = [
        f"{counted.waiting[state]:,} {words}"
        for state, words in (
            ("conflict", "wait for adjudication"),
            ("answered", "have one answer, not sure or unable to say"),
            ("adjudicated", "were adjudicated as impossible to say"),
        )
        if counted.waiting[state]
    ]
    return f"Read, and still as recorded: {'; '.join(told)}." if told else ""


def threshold_words(curve: pd.DataFrame, chosen: float) -> str:
    """What the chosen threshold does, and where the counts begin."""
    row = curve.iloc[(curve["threshold"] - chosen).abs().argmin()]
    n = int(row["added"] + row["removed"])
    any_ = curve[(curve["added"] + curve["removed"]) > 0]
    if any_.empty:
        return "The model suggests no change of a label that nobody read."
    if not n:
        top = float(any_["threshold"].iloc[-1])
        return f"From {chosen:.2f} on the model changes nothing; the highest value with a change is about {top:.2f}."
    right = "" if pd.isna(row["right"]) else f", of which about {row['right']:,.0f} become right and the others wrong"
    return f"From {chosen:.2f} on the model changes {n:,} labels{right}."


def dumbbell_words(counted: Preview) -> str:
    """Prevalence of each label that changes, before and after."""
    told = [
        f"{row['name']} {row['prevalence_before']:.1%} to {row['prevalence_after']:.1%} "
        f"({row['added']:,} become present, {row['removed']:,} absent)"
        for row in counted.labels.to_dict("records")
        if row["added"] or row["removed"]
    ]
    return f"Share of stays with each label, as recorded and as exported. {'; '.join(told) or 'No label changes'}."


def basis_rows(counted: Preview) -> list[list[object]]:
    """Rows of the table by basis."""
    return [[words, f"{counted.basis[name]:,}"] for name, words in BASIS.items()]


def label_rows(counted: Preview) -> list[list[object]]:
    """Rows of the table by label."""
    made: list[list[object]] = []
    for row in counted.labels.to_dict("records"):
        figures = [
            f"{row[name]:,}" if row[name] else "·"
            for name in ("pairs", "present_before", "present_after", "added", "removed", "kept", "auto_corrected")
        ]
        wrong = [f"{row[name]:,.0f}" for name in ("wrong_before", "wrong_after") if counted.wrong_before is not None]
        made.append([row["name"], *figures, *wrong])
    return made


def first_rows(rows: pd.DataFrame, names: dict[str, str]) -> list[list[object]]:
    """Rows that change, the stay masked."""
    return [
        [
            masked(int(row["stay_id"])),
            names.get(row["label"], row["label"]),
            VALUES.get(row["observed"], "not stated"),
            VALUES.get(row["cleaned"], "not stated"),
            BASIS.get(row["basis"], row["basis"]),
        ]
        for row in rows.to_dict("records")
    ]
