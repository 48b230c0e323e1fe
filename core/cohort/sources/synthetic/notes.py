"""Clinical notes, put together from phrases: what is named, hinted at, denied, suspected, or copied from last time.

Three notes a stay at most: an admission note and a progress note, which a model may read up to their plan, and a
discharge summary written after the cut-off for readers alone. A present phenotype is often not named; a drug may be
its only trace; an absent one may be denied, a relative's, a thing of the past, or a suspicion that came to nothing.
"""

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from core.cohort.labelset import PHENOTYPES
from core.cohort.sources.synthetic.config import SyntheticConfig, read_toml
from core.cohort.sources.synthetic.patients import Patients
from core.cohort.sources.synthetic.series import Course

ADMISSION, PROGRESS, DISCHARGE = "Admission note", "Progress note", "Discharge summary"
_PROGRESS_SHARE = 0.65
_HABIT = 2.2  # 1 = every name equally often
_SOCIAL = ("smoking", "social")
_LIFELONG = [label.persistence == "lifelong" for label in PHENOTYPES]


@dataclass
class Notes:
    """Notes as columns; `stay` is the row of the stay, spans are half-open code points, None for readers only."""

    stay: list[int]
    hour: list[float]
    category: list[str]
    text: list[str]
    start: list[int | None]
    end: list[int | None]


@cache
def phrases() -> dict[str, Any]:
    """Parse ``phrases.toml`` once; its labels must be the label set's."""
    raw = read_toml("phrases.toml")
    raw["label"] = [raw["label"][label.key] for label in PHENOTYPES]
    return raw


def _pick(options: list[str], dice: random.Random) -> str:
    return options[int(dice.random() * len(options))]


def _named(entry: dict[str, Any], dice: random.Random) -> str:
    """One of a phenotype's names; the first ones are the usual ones."""
    names: list[str] = entry["names"]
    return names[int(dice.random() ** _HABIT * len(names))]


def _some(options: list[str], mean: float, dice: random.Random) -> list[str]:
    share = mean / len(options)
    return [option for option in options if dice.random() < share]


def _shuffled(items: list[str], dice: random.Random) -> list[str]:
    return [item for _, item in sorted((dice.random(), item) for item in items)]


def _sentence(parts: list[str]) -> str:
    """Join parts into one sentence; only the first letter is raised, so that abbreviations stay as they are."""
    joined = ", ".join(parts)
    return f"{joined[0].upper()}{joined[1:]}." if joined else ""


def _mistyped(text: str, per_hundred: float, dice: random.Random) -> str:
    """Swap neighbouring letters here and there."""
    for _ in range(int(text.count(" ") * per_hundred / 100.0 + dice.random())):
        i = int(dice.random() * (len(text) - 2))
        if text[i].isalpha() and text[i + 1].isalpha():
            text = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text


@dataclass
class _Plan:
    """What one stay's notes will say, sorted by where it is said."""

    history: list[str]
    acute: list[str]
    hints: list[str]
    drugs: list[str]
    denied: list[str]
    doubts: list[str]
    past: list[str]
    family: list[str]


def _plan(truth: np.ndarray, told: np.ndarray, config: SyntheticConfig, dice: random.Random, outspoken: float) -> _Plan:
    """Decide what a note says of each phenotype.

    `told` marks phenotypes that a note of this kind may tell of at its hour, where present; `outspoken` multiplies the
    chance of naming one.
    """
    book, plan = phrases(), _Plan([], [], [], [], [], [], [], [])
    frames = book["frames"]
    asked = config.checklist_depth if dice.random() < config.checklist else 1.0
    for i, entry in enumerate(book["label"]):
        name = _named(entry, dice)
        if truth[i]:
            if not told[i]:
                continue
            if dice.random() < min(entry["name_p"] * config.mention_scale * outspoken, config.named_at_most):
                target, frame = (plan.history, "stated") if _LIFELONG[i] else (plan.acute, "acute")
                target.append(_pick(frames[frame], dice).format(x=name))
            if dice.random() < entry.get("drug_p", 0.0) * config.symptom_scale:
                plan.drugs.append(_pick(entry["drugs"], dice))
            if dice.random() < entry["hint_p"] * config.symptom_scale:
                plan.hints.append(_pick(entry["hints"], dice))
            continue
        wrong = config.false_mention_scale
        if dice.random() < entry["negate_p"] * wrong * asked:
            plan.denied.append(name)
        if dice.random() < entry["doubt_p"] * wrong:
            plan.doubts.append(_pick(frames["doubt"], dice).format(x=name))
        if dice.random() < entry.get("past_p", 0.0) * wrong:
            plan.past.append(_pick(frames["past"], dice).format(x=name))
        if dice.random() < 0.10 * entry["hint_p"] * wrong:
            plan.hints.append(_pick(entry["hints"], dice))
        if dice.random() < 0.10 * entry.get("drug_p", 0.0) * wrong:
            plan.drugs.append(_pick(entry["drugs"], dice))
    for entry in book["label"]:
        if dice.random() < entry.get("family_p", 0.0) * config.false_mention_scale:
            who = _pick(book["distractors"]["relatives"], dice)
            plan.family.append(_pick(frames["family"], dice).format(who=who, x=entry["family"]))
    return plan


def _denial(plan: _Plan, history: str, dice: random.Random) -> str:
    """Deny, in one sentence, what was asked for and not found, among it things that no label is about."""
    if not plan.denied:
        return ""
    others = _some(phrases()["distractors"]["history"], 0.4 * len(plan.denied), dice)
    listed = _shuffled(plan.denied + [x for x in others if x not in history and not x.startswith("s/p")], dice)
    return _sentence([_pick(phrases()["frames"]["negation"], dice).format(x=listed[0]), *listed[1:]])


def _admission(plan: _Plan, history: str, age: int, female: bool, dice: random.Random) -> tuple[str, int]:
    """Text of an admission note, and where the part that a model may read ends (before its plan)."""
    book = phrases()
    noise, frames = book["distractors"], book["frames"]
    complaint = _pick(plan.hints, dice) if plan.hints and dice.random() < 0.7 else _pick(noise["complaints"], dice)
    opening = _pick(frames["opening"], dice).format(
        age=age, sex="female" if female else "male", s="F" if female else "M", complaint=complaint
    )
    story = _shuffled([h for h in plan.hints if h != complaint] + plan.acute[: len(plan.acute) // 2 + 1], dice)
    denials = _shuffled(_some(noise["denials"], 2.2, dice), dice)
    drugs = _shuffled(plan.drugs + _some(noise["drugs"], 2.5, dice), dice)
    lines = [
        f"{opening}.",
        _sentence(story),
        f"Denies {', '.join(denials)}." if denials else "",
        f"PMH: {history}.",
        f"Meds: {', '.join(drugs) or _pick(frames['nil'], dice)}.",
        _denial(plan, history, dice),
        f"Allergies: {_pick(noise['allergies'], dice)}. Social: {', '.join(_pick(noise[k], dice) for k in _SOCIAL)}.",
        f"FH: {', '.join(plan.family) or _pick(noise['family'], dice)}.",
        f"Exam: {', '.join(_some(noise['exam'], 3.0, dice)) or _pick(frames['nil'], dice)}.",
        _sentence(_shuffled(plan.acute[len(plan.acute) // 2 + 1 :] + plan.doubts, dice)),
    ]
    body = "\n".join(line for line in lines if line)
    return body + f"\nPlan: {', '.join(_some(noise['plans'], 3.0, dice)) or 'supportive care'}.", len(body)


def _progress(plan: _Plan, history: str, dice: random.Random) -> tuple[str, int]:
    """Text of a progress note and where its readable part ends."""
    noise = phrases()["distractors"]
    events = _shuffled(plan.acute + plan.hints + plan.doubts, dice)
    exam = _some(noise["exam"], 2.5, dice)
    lines = [
        f"Events: {', '.join(events) or 'no acute events overnight'}.",
        f"Exam: {', '.join(exam) or 'unchanged'}.",
        _denial(plan, history, dice),
    ]
    body = "\n".join(line for line in lines if line)
    return body + f"\nPlan: {', '.join(_some(noise['plans'], 2.5, dice)) or 'as above'}.", len(body)


def _discharge(truth: np.ndarray, dice: random.Random) -> str:
    """Write what a reader finds after the stay: most diagnoses, some of them missing, a few wrong."""
    book = phrases()
    said = []
    for i, entry in enumerate(book["label"]):
        if dice.random() < (0.82 if truth[i] else 0.02):
            said.append(_named(entry, dice))
    listed = ", ".join(_shuffled(said, dice)) or "none listed"
    return f"Discharge diagnoses: {listed}.\nCourse: {_pick(book['distractors']['plans'], dice)}."


def write_notes(patients: Patients, course: Course, wanted: np.ndarray, config: SyntheticConfig, seed: int) -> Notes:
    """Write the notes of every stay that has any.

    Parameters
    ----------
    patients, course
        Truth, sex, age, length of stay and onset times.
    wanted
        Which stays have notes, bool [stays].
    config
        Shares and scales.
    seed
        Seeds one stream of dice per stay, so that a stay's text does not depend on how many others there are.
    """
    out = Notes([], [], [], [], [], [])
    distractors = phrases()["distractors"]
    last_patient, last_history = -1, ""
    acute = ~np.array(_LIFELONG)
    for row in range(len(patients.los)):
        dice = random.Random(seed * 1_000_003 + row)
        patient = int(patients.patient[row])
        if patient != last_patient:
            last_patient, last_history = patient, ""
        if not wanted[row]:
            continue
        truth, los = patients.truth[row], float(patients.los[row])
        hour = min(0.5 + 6.0 * dice.random(), 0.8 * los)
        began = ~acute | (course.onset[row] <= hour)
        outspoken = 0.6 + 0.7 * dice.random()
        plan = _plan(truth, began, config, dice, outspoken)
        if last_history and dice.random() < config.copy_forward:
            history = last_history
        else:
            known = plan.history + plan.past + _some(distractors["history"], 2.6, dice)
            history = ", ".join(_shuffled(known, dice)) or "none"
        last_history = history
        body, end = _admission(plan, history, int(patients.age[row]), bool(patients.female[row]), dice)
        typed = _mistyped(body[:end], config.typos, dice) + body[end:]
        _add(out, row, hour, ADMISSION, typed, end)
        if los > 14.0 and dice.random() < _PROGRESS_SHARE:
            hour = min(12.0 + 34.0 * dice.random(), 0.95 * los)
            began = ~acute | (course.onset[row] <= hour)
            plan = _plan(truth, acute & began, config, dice, 1.0)
            body, end = _progress(plan, history, dice)
            typed = _mistyped(body[:end], config.typos, dice) + body[end:]
            _add(out, row, hour, PROGRESS, typed, end)
        _add(out, row, los, DISCHARGE, _discharge(truth, dice), None)
    return out


def _add(out: Notes, row: int, hour: float, category: str, text: str, end: int | None) -> None:
    out.stay.append(row)
    out.hour.append(round(hour, 2))
    out.category.append(category)
    out.text.append(text)
    out.start.append(None if end is None else 0)
    out.end.append(end)
