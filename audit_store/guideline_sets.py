"""Guidelines for a cohort's own labels: those that ship, those for chest films, and a plain one for any other label.

A cohort of the 25 phenotypes has exactly the shipped file, so that a protocol signed on it stays as it was signed.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_store.guidelines import PERSISTENCE, SHIPPED, Group, GroupAnswer, Guideline, Guidelines, ReasonCode, load

FILMS = Path(__file__).with_name("guidelines_chexpert.toml")
_SHOWS = ("procedures", "history", "admission_diagnosis")
_CRITERIA = ("admission_names_it", "named_in_notes", "named_as_past", "doubted_in_notes", "denied_in_notes")


def guidelines_of(labels: Iterable[Mapping[str, Any]], groups: Iterable[Mapping[str, Any]] | None = None) -> Guidelines:
    """Give the guidelines of a cohort.

    Parameters
    ----------
    labels
        The manifest's `labels`: key, name, description, persistence.
    groups
        The manifest's `label_groups`: key, name, labels.

    Returns
    -------
    Guidelines
        The shipped file where it has every label; else one guideline for each of the cohort's labels, in their order:
        from the shipped files, or in plain words from the label's own name and description. Two labels of a group are
        asked about together: by the shipped question, or by one from the group's name.
    """
    entries = list(labels)
    shipped = load()
    if {str(entry["key"]) for entry in entries} <= set(shipped):
        return shipped
    films = load(FILMS)
    known: dict[str, Guideline] = {**films, **shipped}
    chosen = {str(entry["key"]): known.get(str(entry["key"])) or plain_guideline(entry) for entry in entries}
    together = {key: group for key, group in shipped.groups.items() if set(group.labels) <= set(chosen)}
    for entry in groups or ():
        pair = [str(key) for key in entry["labels"]]
        if str(entry["key"]) not in shipped.groups and len(pair) == 2 and set(pair) <= set(chosen):
            together[str(entry["key"])] = _plain_group(entry, [chosen[key] for key in pair])
    of_label = {key: group.key for group in together.values() for key in group.labels}
    return Guidelines({key: replace(one, group=of_label.get(key)) for key, one in chosen.items()}, together)


def _plain_group(entry: Mapping[str, Any], pair: Sequence[Guideline]) -> Group:
    name, (first, second) = str(entry.get("name") or entry["key"]), pair
    answers = (
        ("neither", f"No {name}", ()),
        ("first", first.name, (first.key,)),
        ("second", second.name, (second.key,)),
    )
    return Group(
        str(entry["key"]),
        name,
        f"Did the patient have {name} during this stay, and if so which?",
        (first.key, second.key),
        tuple(
            GroupAnswer(key, text, {one.key: "present" if one.key in present else "absent" for one in pair})
            for key, text, present in answers
        ),
    )


def plain_guideline(entry: Mapping[str, Any]) -> Guideline:
    """Write a guideline for a label that nobody wrote one for: its name, its description, and what always holds.

    Parameters
    ----------
    entry
        An entry of the manifest's `labels`.
    """
    name, description = str(entry["name"]), str(entry.get("description") or "").strip()
    persistence = str(entry.get("persistence"))
    present = f"The record documents it, or what was measured bears it out: {description or name}."
    return Guideline(
        str(entry["key"]),
        name,
        1,
        f"Did the patient have {name} during this stay?",
        persistence if persistence in PERSISTENCE else "acute",
        (present.replace("..", "."),),
        ("It was looked for and not found, or the record says that it was not there.",),
        ("Too little is recorded to say.", "It is named, and nothing in the record settles it."),
        _SHOWS,
        _CRITERIA,
        (),
        None,
        _common_reasons(),
    )


@functools.cache
def _common_reasons() -> tuple[ReasonCode, ...]:
    """Reasons that every shipped guideline has."""
    every = [one.reason_codes for one in load(SHIPPED).values()]
    return tuple(code for code in every[0] if all(code in codes for codes in every))
