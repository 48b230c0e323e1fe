"""The form of a cohort's manifest: what the trainer takes for granted of its fields, checked once when it is opened."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import CohortError

_HUGE = 10**15
PERSISTENCES = ("lifelong", "recurrent", "acute")


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE and math.isfinite(value)
    )


def _is_entries(value: Any, *texts: str) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and all(isinstance(entry.get(name), str) for name in texts) for entry in value
    )


def _is_labels(value: Any) -> bool:
    if not _is_entries(value, "key", "name", "persistence") or not value:
        return False
    keys = {entry["key"] for entry in value}
    return len(keys) == len(value) and all(entry["persistence"] in PERSISTENCES for entry in value)


def _is_groups(value: Any) -> bool:
    return value is None or (
        _is_entries(value, "key")
        and all(isinstance(entry.get("labels"), list) and all(map(_is_text, entry["labels"])) for entry in value)
    )


def _is_channels(value: Any) -> bool:
    return _is_entries(value, "name") and all(map(_is_channel, value))


def _is_channel(entry: dict[str, Any]) -> bool:
    categories, codes = entry.get("categories") or [], entry.get("codes") or []
    lists = isinstance(categories, list) and isinstance(codes, list)
    impute = entry.get("impute")
    return lists and all(map(_is_number, codes)) and (impute is None or _is_number(impute))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (_is_labels, f"entries with key, name and persistence ({', '.join(PERSISTENCES)}), each key once"),
    "label_groups": (_is_groups, "entries with a key and labels"),
    "channels": (_is_channels, "entries with a name, and numbers as codes and imputation values"),
    "tables": (_is_texts, "a digest for each table"),
    "counts": (lambda value: isinstance(value, dict), "numbers by name"),
    "fingerprint": (_is_text, "text"),
    "primary_source": (_is_text, "text"),
    "cutoff_hours": (lambda value: value is None or _is_number(value), "a number of hours, or null"),
}


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Check the form of the fields that a manifest has.

    Raises
    ------
    CohortError
        When one has another form.
    """
    for name, (fits, form) in _FORMS.items():
        if name in manifest and not fits(manifest[name]):
            raise CohortError(f"{name} in manifest.json as {form}", "another form", "build the cohort again")
