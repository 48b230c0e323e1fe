"""Why a pair was flagged, in a clinician's words; each reason computed from one stored column.

Shown after the answer alone: nearly every sentence gives the recorded value or the suggestion away. High strength
stands first.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audit_store.chart import Statement, Strip
from audit_store.detector_words import reasons_of_detectors
from audit_store.detectors import DetectorPlace
from audit_store.panel import PanelResult
from audit_store.reason_sources import reasons_of_sources
from audit_store.reason_words import DEFAULT_REASONS, Number, Reason, ReasonConfig, value_word

__all__ = ["DEFAULT_REASONS", "Number", "Reason", "ReasonConfig", "columns_of", "history", "numbers", "reasons"]

_BYTE = 255.0
_SUPPORTS, _AGAINST = "supports", "against"


def columns_of(pair: Mapping[str, Any] | object) -> dict[str, Any]:
    """Return a pair's columns, whether it comes as a mapping, a pandas row or a dataclass."""
    if dataclasses.is_dataclass(pair) and not isinstance(pair, type):
        return {field.name: getattr(pair, field.name) for field in dataclasses.fields(pair)}
    if isinstance(pair, (Mapping, pd.Series)):
        return {str(key): value for key, value in pair.items()}
    raise TypeError("a pair is a mapping, a pandas row or a dataclass")


def history(pair: Mapping[str, Any] | object) -> list[float]:
    """Return the probability by epoch, decoded from one byte per epoch (p ≈ byte / 255)."""
    stored = columns_of(pair).get("history")
    if stored is None:
        return []
    if isinstance(stored, (bytes, bytearray, memoryview)):
        return [float(value) / _BYTE for value in np.frombuffer(stored, dtype=np.uint8)]
    return [float(value) for value in stored]


def reasons(
    pair: Mapping[str, Any] | object,
    strip: Strip | None,
    evidence: pd.DataFrame | None,
    panel: PanelResult | None,
    label_name: str = "",
    config: ReasonConfig = DEFAULT_REASONS,
    places: Sequence[DetectorPlace] = (),
    statements: Sequence[Statement] = (),
) -> list[Reason]:
    """Say why the pair stands out.

    Parameters
    ----------
    pair
        Columns of the round's pair table.
    strip
        The label across the patient's visits.
    evidence
        The round's evidence rows of this stay and label.
    panel
        The label's panel for this stay.
    label_name
        Name used in the sentences; "this label" where empty.
    places
        Where the pair stands by each detector.
    statements
        What other sources of labels state of the pair.

    Returns
    -------
    Strongest first; empty where no stored column says anything.
    """
    columns = columns_of(pair)
    observed = _whole(columns.get("observed"))
    if observed is None:
        return []
    name = label_name or "this label"
    found = [
        *_of_visits(strip, observed, name),
        *_of_notes(evidence, panel, observed),
        *_of_panel(panel, observed, config),
        *_of_training(columns, observed, config),
        *_of_modalities(columns, config),
        *_of_score(columns, config),
        *reasons_of_sources(statements, observed),
        *reasons_of_detectors(columns, places, observed, name, config),
    ]
    return sorted(found, key=lambda reason: -reason.strength)


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value: object) -> float | None:
    if value is None or isinstance(value, str):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return None if number != number else number


def _words(count: int) -> str:
    return ("no", "one", "two", "three", "four", "five")[count] if count <= 5 else str(count)


def _of_visits(strip: Strip | None, observed: int, name: str) -> list[Reason]:
    if strip is None:
        return []
    others = [cell.state for cell in strip.cells if not cell.is_this]
    present, absent = others.count("present"), others.count("absent")
    lasting = strip.persistence == "lifelong"
    if not observed and present:
        text = (
            f"{_words(present)} other visit{'s' if present > 1 else ''} {'carry' if present > 1 else 'carries'} {name}"
        )
        return [
            Reason(text + (", which lasts for life" if lasting else ""), 0.9 if lasting else 0.4, "labels.observed")
        ]
    if observed and absent and not present:
        text = f"none of {absent} other coded visit{'s' if absent > 1 else ''} carries {name}"
        return [Reason(text, 0.6 if lasting else 0.2, "labels.observed")]
    return []


_NAMED, _NOT_NAMED = "named_in_notes", frozenset({"denied_in_notes", "doubted_in_notes", "named_as_past"})


def _of_notes(evidence: pd.DataFrame | None, panel: PanelResult | None, observed: int) -> list[Reason]:
    """Say what the trainer's terms say, unless the panel, which knows doubt and the past, reads them otherwise."""
    if evidence is None or evidence.empty:
        return []
    rows = evidence[(evidence["kind"] == "note") & (evidence["method"] == "term")]
    if "stay_id" in rows.columns:
        rows = rows[rows["evidence_stay_id"] == rows["stay_id"]]
    negated = rows["negated"].fillna(False).astype(bool)
    named, denied = int((~negated).sum()), int(negated.sum())
    if named and not observed:
        judged = {finding.rule for finding in panel.findings} if panel is not None else set()
        if _NAMED not in judged and judged & _NOT_NAMED:
            return []
        tail = "" if denied else " and does not negate it"
        return [Reason(f"the note names it{tail}", 0.85 if not denied else 0.5, "evidence.negated")]
    if denied and not named and observed:
        return [Reason("the note denies it", 0.8, "evidence.negated")]
    return []


def _of_panel(panel: PanelResult | None, observed: int, config: ReasonConfig) -> list[Reason]:
    """Take the findings that speak against the recorded value."""
    if panel is None:
        return []
    against = _AGAINST if observed else _SUPPORTS
    found = [finding for finding in panel.findings if finding.direction == against]
    return [Reason(finding.text, 0.7, finding.column) for finding in found[: config.findings]]


def _of_training(columns: Mapping[str, Any], observed: int, config: ReasonConfig) -> list[Reason]:
    course = history(columns)
    if not course:
        return []
    found = []
    distance = float(np.mean([abs(observed - p) for p in course]))
    value = value_word(observed)
    if distance >= config.never_learned:
        found.append(Reason(f"the model never learned the recorded value ({value})", 0.75, "pair.history"))
    elif distance >= config.learned_late:
        found.append(Reason(f"the model hardly learned the recorded value ({value})", 0.55, "pair.history"))
    first, last = course[0], course[-1]
    if abs(last - first) >= config.moved:
        verb = "rose" if last > first else "fell"
        away = (last > first) != bool(observed)
        text = f"its probability {verb} from {first:.2f} to {last:.2f} over {len(course)} epochs"
        found.append(
            Reason(text + (", away from the recorded value" if away else ""), 0.5 if away else 0.2, "pair.history")
        )
    return found


def _of_modalities(columns: Mapping[str, Any], config: ReasonConfig) -> list[Reason]:
    series, note = _number(columns.get("probability_series")), _number(columns.get("probability_note"))
    if series is None or note is None:
        alone = (
            "notes" if series is None and note is not None else "series" if note is None and series is not None else ""
        )
        return (
            [Reason(f"the model had {alone} only", 0.25, "pair.probability_series, probability_note")] if alone else []
        )
    sides = [_side(p, config) for p in (series, note)]
    if "" in sides or sides[0] == sides[1]:
        if sides[0] and sides[0] == sides[1]:
            text = f"series and notes alone both say {sides[0]} ({series:.2f}, {note:.2f})"
            return [Reason(text, 0.45, "pair.probability_series, probability_note")]
        return []
    text = f"series alone say {sides[0]} ({series:.2f}), notes alone say {sides[1]} ({note:.2f})"
    return [Reason(text, 0.4, "pair.probability_series, probability_note")]


def _side(probability: float, config: ReasonConfig) -> str:
    if probability >= config.modality:
        return "present"
    return "absent" if probability <= 1 - config.modality else ""


def _of_score(columns: Mapping[str, Any], config: ReasonConfig) -> list[Reason]:
    score, observed = _number(columns.get("selection_score")), _whole(columns.get("observed"))
    if score is None or score < config.suspect:
        return []
    group = "recorded present" if observed else "recorded absent"
    return [Reason(f"it stands out among the stays {group}: few are as hard to fit", 0.35, "pair.selection_score")]


def numbers(
    pair: Mapping[str, Any] | object,
    mixtures: pd.DataFrame | None = None,
    pairs_in_group: Sequence[float] | None = None,
) -> list[Number]:
    """Lay out the figures behind the fold.

    Parameters
    ----------
    pair
        Columns of the round's pair table.
    mixtures
        The round's mixture rows; those of this label and recorded class are used.
    pairs_in_group
        Selection scores of the label's pairs of the same recorded value, for the pair's place among them.
    """
    columns = columns_of(pair)
    out: list[Number] = []

    def add(title: str, column: str, form: str) -> None:
        value = _number(columns.get(column))
        if value is not None:
            out.append(Number(title, form.format(value), f"pair.{column}"))

    add("Probability, fused", "probability", "{:.2f}")
    for title, column in (
        ("Probability, series alone", "probability_series"),
        ("Probability, notes alone", "probability_note"),
    ):
        if column in columns:
            value = _number(columns[column])
            out.append(
                Number(title, "no such data for this stay" if value is None else f"{value:.2f}", f"pair.{column}")
            )
    add("Probability, regression without this patient", "probability_peer", "{:.2f}")
    add("Rank among this stay's labels (1 = most probable)", "rank", "{:.0f}")
    add("Difficulty over the epochs", "difficulty", "{:.3f}")
    add("Score (0–1, high is suspect)", "selection_score", "{:.2f}")
    out += _place(columns, mixtures, pairs_in_group)
    add("Uncertainty", "uncertainty", "{:.2f}")
    if columns.get("partition") is not None:
        out.append(Number("Partition", str(columns["partition"]), "pair.partition"))
    add("Corrected value", "corrected", "{:.2f}")
    wrong = _number(columns.get("error_probability"))
    if columns.get("calibrated") and wrong is not None:
        out.append(Number("Probability that the label is wrong", f"{100 * wrong:.0f} %", "pair.error_probability"))
    rank, flagged = _whole(columns.get("suspicion_rank")), _whole(columns.get("n_flagged"))
    if rank is not None:
        out.append(
            Number("Rank of suspicion", f"{rank}" + (f" of {flagged:,}" if flagged else ""), "pair.suspicion_rank")
        )
    return out


def _place(
    columns: Mapping[str, Any], mixtures: pd.DataFrame | None, pairs_in_group: Sequence[float] | None
) -> list[Number]:
    """Where the score stands in its group's two-part mixture, and among the group's scores."""
    score, observed = _number(columns.get("selection_score")), _whole(columns.get("observed"))
    out: list[Number] = []
    if score is None or observed is None:
        return out
    if pairs_in_group is not None and len(pairs_in_group):
        higher = sum(1 for other in pairs_in_group if other > score)
        text = f"{higher + 1:,} of {len(pairs_in_group):,} with the same recorded value"
        out.append(Number("Place in its group", text, "pair.selection_score"))
    if mixtures is None or mixtures.empty:
        return out
    rows = mixtures[mixtures["observed_class"] == observed]
    for key in ("label_key", "label_id"):
        if key in rows.columns and columns.get(key) is not None:
            rows = rows[rows[key] == columns[key]]
            break
    if len(rows) != 1:
        return out
    row = {str(key): value for key, value in rows.iloc[0].items()}
    if bool(row["degenerate"]):
        why = row.get("reason")
        text = f"none fitted{f' ({why})' if isinstance(why, str) else ''}"
        return [*out, Number("Group's mixture", text, "mixture.degenerate")]
    clean, noisy = _number(row["mean_clean"]), _number(row["mean_noisy"])
    if clean is not None and noisy is not None:
        nearer = "noisy" if abs(score - noisy) < abs(score - clean) else "clean"
        text = f"nearer the {nearer} part (means {clean:.2f} clean, {noisy:.2f} noisy)"
        out.append(Number("Group's mixture", text, "mixture.mean_clean, mean_noisy"))
    return out
