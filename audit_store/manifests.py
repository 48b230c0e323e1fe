"""The form of a cohort's manifest: what every reader of it takes for granted, checked once."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from audit_store.errors import WorkspaceError

_REBUILD = "build the cohort again, or restore the file"


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _entries(value: Any, *names: str) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and all(_text(entry.get(name)) for name in names) for entry in value
    )


def _number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE and math.isfinite(value)
    )


def _channels(value: Any) -> bool:
    return _entries(value, "name") and all(_channel(entry) for entry in value)


def _channel(entry: dict[str, Any]) -> bool:
    numbers = all(entry.get(name) is None or _number(entry[name]) for name in ("low", "high"))
    listed = all(
        entry.get(name) is None or isinstance(entry[name], list) for name in ("categories", "codes", "plausible")
    )
    return numbers and listed and all(_number(code) for code in entry.get("codes") or ())


def _labels(value: Any) -> bool:
    keys = [entry["key"] for entry in value] if _entries(value, "key", "name") else []
    places = (entry.get("label_id") for entry in value) if keys else ()
    return len(set(keys)) == len(keys) > 0 and all(place is None or type(place) is int for place in places)


def _counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(value.get(name)) is int for name in ("stays", "patients"))


_HUGE = 10**15
_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (_labels, "a list of entries with a key and a name, each key once"),
    "label_groups": (
        lambda value: (
            value is None
            or (
                _entries(value, "key")
                and all(isinstance(entry.get("labels"), list) and all(map(_text, entry["labels"])) for entry in value)
            )
        ),
        "a list of entries with a key and labels",
    ),
    "channels": (_channels, "a list of entries with a name"),
    "counts": (_counts, "numbers, stays and patients among them"),
    "tables": (lambda value: isinstance(value, dict) and all(map(_text, value.values())), "a digest for each table"),
    "fingerprint": (_text, "text"),
    "primary_source": (_text, "text"),
    "name": (_text, "text"),
    "cutoff_hours": (lambda value: value is None or _number(value), "a number of hours, or null"),
}


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Check the form of what a cohort's manifest holds; what it lacks is for its readers to miss.

    Raises
    ------
    WorkspaceError
        When a field has another form.
    """
    for name, (fits, form) in _FORMS.items():
        if name in manifest and not fits(manifest[name]):
            came = "none" if manifest[name] is None else f"another form ({type(manifest[name]).__name__})"
            raise WorkspaceError(f"{name} in the cohort's manifest.json as {form}", came, _REBUILD)


def require_fields(manifest: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise a WorkspaceError unless the manifest has these fields."""
    absent = [name for name in names if name not in manifest]
    if absent:
        raise WorkspaceError(f"manifest.json with {', '.join(names)}", f"no {', '.join(absent)}", _REBUILD)
