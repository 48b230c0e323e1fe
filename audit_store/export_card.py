"""DATA_CARD.md: an export in plain words, for who is handed the files and nothing else.

Roles and counts, never names; no text of patients. Everything it says is counted or taken from the manifest.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from audit_store.export_findings import Findings
from audit_store.export_forms import FORMS
from audit_store.quality.agreement import Coefficient
from audit_store.quality.noise import Noise
from audit_store.quality.shares import TOO_FEW, Share

CARD = "DATA_CARD.md"
_NOISE = {
    "missing": ("recorded absent", "are present in truth"),
    "wrong": ("recorded present", "are absent in truth"),
}
_NOT_FOR = """- Not for the care of a patient, not for billing, not for a decision about anybody: labels for research.
- Not a diagnosis: a label says what was read from a record, and a record can be wrong or silent.
- Not to score clinicians, wards or hospitals, nor the people who read.
- A stay without a stated label is *not recorded*, which is not the same as absent: it has no row, or a blank.
- Labels that the model changed by itself (`auto_corrected`), if any, nobody read: no test set should hold them."""


def data_card(
    facts: Mapping[str, Any], labels: pd.DataFrame, found: Findings, forms: tuple[str, ...], calibrated: bool
) -> str:
    """Write the card.

    Parameters
    ----------
    facts
        What the manifest says (`audit_store.export_manifest.facts_of`, with `left_out` and `reads`).
    labels
        `audit_store.export_findings.by_label`.
    found
        What is known of readers and noise.
    forms
        Forms written.
    calibrated
        Whether the round gives probabilities, else ranks.
    """
    counts, cohort = facts["counts"], facts["cohort"]
    parts = [
        f"# Cleaned labels of {_line(cohort['name'] or 'a cohort')}, round {facts['round']}",
        f"{counts['pairs']:,} labels of {counts['stays']:,} stays, {len(labels)} different ones. "
        f"{counts['changed']:,} differ from what was recorded: {counts['added']:,} recorded absent are present here, "
        f"{counts['removed']:,} recorded present are absent here.",
        "## Who decided",
        _deciders(facts, found),
        "## By what policy",
        _policy(facts["policy"], calibrated),
        "## How much was read and changed",
        _counts(counts, found.pairs),
        _label_table(labels),
        "## How much noise is left",
        _noise(facts["policy"], found),
        "## How far readers agree",
        _agreement(found),
        "## What these labels are not for",
        _NOT_FOR,
        "## What they come from",
        _origin(facts),
        "## Files",
        _files(facts, forms),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(words: object) -> str:
    return " ".join(str(words).split())


def _deciders(facts: Mapping[str, Any], found: Findings) -> str:
    reads = facts.get("reads")
    left = (
        f" {reads['simulated_left_out']:,} answers of simulated readers are left out."
        if reads and reads["simulated_left_out"]
        else ""
    )
    if not found.roles:
        return "Nobody has read any of these labels yet: each is as it was recorded, or as the model changed it." + left
    people = sum(found.roles.values())
    roles = ", ".join(f"{count} {role}{'s' if count > 1 else ''}" for role, count in found.roles.items())
    return (
        f"{people} {'people' if people > 1 else 'person'} ({roles}, by the role they have today), who gave "
        f"{found.readings:,} first answers on pairs of this round; a pair is a stay and a label. Nobody is named."
        + left
    )


def _policy(policy: Mapping[str, Any], calibrated: bool) -> str:
    lines = [
        "A label changes where readers settled it: by an answer given as sure, by two readers who agree, or by an "
        "adjudicator, whose word stands above theirs. Where readers contradict each other and nobody adjudicated, "
        "where a single answer was not sure, or where nobody could tell, the label stays as recorded."
    ]
    if policy["low_certainty"]:
        lines.append("In this export a single answer given as not sure counts as settled, too.")
    if policy["auto_threshold"] is not None:
        kind = "probability that the record is wrong" if calibrated else "score of suspicion, which is no probability,"
        lines.append(
            f"In this export the model also changed labels that nobody read, where its {kind} is "
            f"{policy['auto_threshold']:g} or more; only labels of stays that it trained on. The long form calls them "
            "`auto_corrected`."
        )
    return " ".join(lines)


def _counts(counts: Mapping[str, Any], pairs: int) -> str:
    basis = counts["basis"]
    settled = basis["kept"] + basis["relabelled"] + basis["adjudicated"]
    return (
        f"People read {pairs:,} of these labels and settled {settled:,}: {basis['kept']:,} kept as "
        f"recorded, {basis['relabelled']:,} changed by readers, {basis['adjudicated']:,} decided by an adjudicator. "
        f"The model changed {basis['auto_corrected']:,} by itself. {basis['observed']:,} stand as recorded, unsettled."
    )


def _label_table(labels: pd.DataFrame) -> str:
    rows = [
        "| label | stays | present | settled by people | became present | became absent | by the model alone |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in labels.to_dict("records"):
        figures = (row["stays"], row["present"], row["settled"], row["added"], row["removed"], row["auto"])
        name = _line(row["name"]).replace("|", "/")
        rows.append(f"| {name} | {' | '.join(f'{int(value):,}' for value in figures)} |")
    return "\n".join(rows)


def _noise(policy: Mapping[str, Any], found: Findings) -> str:
    if not found.audited:
        return (
            "Not known: no label was read in a random audit, blind, so nothing tells how many of the unread ones are "
            "wrong. Labels that readers settled are taken as right."
        )
    lines = [f"From a random audit of {found.audited:,} labels, read blind and weighted to stand for all."]
    lines += [f"- {_kind(noise)}" for noise in found.overall.values()]
    lines.append(
        "\nIntervals are of 95 %, by patient. Readers' word counts as right; an audit finds no error that the record "
        "gives no trace of."
    )
    if policy["auto_threshold"] is not None:
        lines.append(
            "What the model changed by itself is not in these figures: they are of labels as readers left them."
        )
    table = _noise_table(found.by_label)
    return "\n".join(lines) + (f"\n\n{table}" if table else "")


def _kind(noise: Noise) -> str:
    recorded, wrong = _NOISE[noise.direction]
    if not noise.recorded.told:
        return (
            f"Of {noise.pairs:,} labels {recorded}: the audit has {noise.recorded.n} answers on them; a share is told "
            f"from {TOO_FEW} on."
        )
    return (
        f"Of {noise.pairs:,} labels {recorded}, {_share(noise.recorded)} {wrong}; of those handed out here as such, "
        f"{_share(noise.handed_out)}."
    )


def _share(share: Share) -> str:
    if share.estimate is None or share.low is None or share.high is None:
        return "too few to tell"
    return f"{share.estimate:.1%} ({share.low:.1%} to {share.high:.1%})"


def _noise_table(by_label: list[Noise]) -> str:
    told = [noise for noise in by_label if noise.recorded.told and noise.pooled is None]
    if not told:
        return ""
    rows = [
        "| label | of those | read in the audit | wrong as recorded | wrong as handed out |",
        "|---|---|--:|--:|--:|",
    ]
    rows += [
        f"| {_line(noise.name).replace('|', '/')} | {_NOISE[noise.direction][0]} | {noise.readings:,} | "
        f"{_share(noise.recorded)} | {_share(noise.handed_out)} |"
        for noise in told
    ]
    return "\n".join([*rows, "", f"Labels with fewer than {TOO_FEW} audited answers are not in the table."])


def _agreement(found: Findings) -> str:
    if found.committed is None or not found.committed.n:
        return "Not known: no two readers answered the same pair blind."
    lines = [f"Krippendorff's alpha of blind first answers, \"can't tell\" left out: {_coefficient(found.committed)}."]
    twos = [two for two in found.twos if two.kappa.value is not None]
    if twos:
        lines += ["", "| readers | Cohen's kappa |", "|---|---|"]
        lines += [f"| {two.one} and {two.other} | {_coefficient(two.kappa)} |" for two in twos]
    return "\n".join(lines)


def _coefficient(found: Coefficient) -> str:
    if found.value is None or found.low is None or found.high is None:
        return f"too few or too alike to tell ({found.n:,} pairs, {found.agreed:,} answered alike)"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f}; {found.n:,} pairs)"


def _origin(facts: Mapping[str, Any]) -> str:
    head, cohort = facts["decisions"]["head"], facts["cohort"]
    return "\n".join(
        [
            f"- source: {_line(facts['source'] or 'not stated')}, cohort {_line(cohort['name'] or 'not named')}",
            f"- licence of the source, which binds these labels too: {_line(facts['licence'] or 'not stated')}",
            f"- cohort's fingerprint: `{cohort['fingerprint']}`",
            f"- round: {facts['round']} (BLAKE2b `{facts['round_blake2b']}`)",
            f"- ledger of decisions: {head['count']:,} events, head `{head['hash']}`; "
            f"{facts['decisions']['count']:,} answers and retractions among them",
        ]
    )


def _files(facts: Mapping[str, Any], forms: tuple[str, ...]) -> str:
    lines = [
        f"- {form}: {words}{_left(facts['left_out'].get(form, {}))}" for form, words in FORMS.items() if form in forms
    ]
    reads = facts.get("reads")
    if reads:
        lines.append(
            f"- reads: each of {reads['reads']:,} answers and retractions of {reads['readers']:,} readers (R1, R2, …), "
            f"with its weight (one over its chance to be drawn, where it was drawn at random), and "
            f"{reads['adjudications']:,} adjudications; CITATION.cff says how to cite, what is to be filled in marked"
        )
    lines.append("- manifest.json: policy, counts, versions, and the SHA-256 of each file")
    return "\n".join(lines)


def _left(left_out: Mapping[str, int]) -> str:
    told = [f"{count:,} stays {why}" for why, count in left_out.items() if count]
    return f" (left out: {', '.join(told)})" if told else ""
