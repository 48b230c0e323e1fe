"""The guidelines a reader decides by: one per label, versioned, with a digest that each decision stores."""

import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit_store.errors import StoreError

SHIPPED = Path(__file__).with_name("guidelines.toml")
PERSISTENCE = ("lifelong", "recurrent", "acute")
_TEXTS = ("name", "question", "persistence")
_LISTS = ("present_when", "absent_when", "cannot_tell_when", "shows", "criteria", "series")
_DIGEST_BYTES = 8


class GuidelineError(StoreError):
    """The file of guidelines can't be used."""


@dataclass(frozen=True)
class ReasonCode:
    """A reason that a reviewer may give, by code."""

    code: str
    text: str


@dataclass(frozen=True)
class Guideline:
    """What one label means, what to show, and which criteria are computed.

    Parameters
    ----------
    key, name, version
        The label's slug and name; raised by one when a site changes the text.
    question
        What the reviewer is asked.
    persistence
        ``lifelong``, ``recurrent`` or ``acute``.
    present_when, absent_when, cannot_tell_when
        The rule, sentence by sentence.
    shows
        Panel items (`audit_store.panel.items`), in order.
    criteria
        Criteria computed (`audit_store.panel.rules.RULES`).
    series
        Channels to draw first.
    group
        Labels decided together, by key, or None.
    reason_codes
        Reasons to choose from.
    """

    key: str
    name: str
    version: int
    question: str
    persistence: str
    present_when: tuple[str, ...]
    absent_when: tuple[str, ...]
    cannot_tell_when: tuple[str, ...]
    shows: tuple[str, ...]
    criteria: tuple[str, ...]
    series: tuple[str, ...]
    group: str | None
    reason_codes: tuple[ReasonCode, ...]

    @property
    def digest(self) -> str:
        """BLAKE2b over the guideline's canonical JSON, 16 hex digits: any change of a word changes it."""
        body = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.blake2b(body.encode(), digest_size=_DIGEST_BYTES).hexdigest()

    @property
    def version_id(self) -> str:
        """What a decision stores: key, version and digest."""
        return f"{self.key}@{self.version}:{self.digest}"


@dataclass(frozen=True)
class GroupAnswer:
    """One answer to a group's question, and what it says of each of its labels."""

    key: str
    text: str
    values: dict[str, str]


@dataclass(frozen=True)
class Group:
    """Labels decided together: one question, three answers, both rows written."""

    key: str
    name: str
    question: str
    labels: tuple[str, ...]
    answers: tuple[GroupAnswer, ...]


class Guidelines(Mapping[str, Guideline]):
    """Guidelines by label key.

    Parameters
    ----------
    guidelines
        In the label set's order.
    groups
        Groups of labels decided together, by key.
    """

    def __init__(self, guidelines: dict[str, Guideline], groups: dict[str, Group]) -> None:
        self._guidelines = guidelines
        self.groups = groups

    def __getitem__(self, key: str) -> Guideline:
        if key not in self._guidelines:
            raise GuidelineError("a label with a guideline", "one without", "add it to the file of guidelines")
        return self._guidelines[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._guidelines)

    def __len__(self) -> int:
        return len(self._guidelines)

    def group_of(self, label_key: str) -> Group | None:
        """Return the group that the label is decided in, or None."""
        group = self[label_key].group
        return None if group is None else self.groups[group]


def read(path: Path) -> Guidelines:
    """Read and check a file of guidelines.

    Raises
    ------
    GuidelineError
        When it is missing, not TOML, lacks a field, or names an unknown group.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise GuidelineError("a file of guidelines", "no such file", "name a file that exists") from None
    except ValueError:
        raise GuidelineError("guidelines in TOML", "text that is not", "mend its syntax") from None
    common = _reasons("[[reason]]", data.get("reason", []))
    entries = data.get("label")
    if not isinstance(entries, dict) or not entries:
        raise GuidelineError("tables [label.<key>]", "none", "mend the file of guidelines")
    guidelines = {key: _guideline(key, entry, common) for key, entry in entries.items()}
    together = data.get("group", {})
    if not isinstance(together, dict):
        raise GuidelineError("tables [group.<key>]", "something else", "mend the file of guidelines")
    groups = {key: _group(key, entry, guidelines) for key, entry in together.items()}
    for guideline in guidelines.values():
        if guideline.group is not None and guideline.group not in groups:
            raise GuidelineError(f"[group.{guideline.group}]", "no such table", "add the group or drop its name")
    return Guidelines(guidelines, groups)


def _guideline(key: str, entry: object, common: tuple[ReasonCode, ...]) -> Guideline:
    where = f"[label.{key}]"
    if not isinstance(entry, dict):
        raise GuidelineError(f"a table {where}", type(entry).__name__, "mend the file of guidelines")
    missing = [field for field in (*_TEXTS, *_LISTS, "version") if field not in entry]
    if missing:
        raise GuidelineError(f"{where} with {', '.join(missing)}", "none", "add what is missing")
    wrong = [field for field in _TEXTS if not isinstance(entry[field], str) or not entry[field].strip()]
    wrong += [field for field in _LISTS if not _is_words(entry[field])]
    wrong += [] if type(entry["version"]) is int and entry["version"] > 0 else ["version"]
    wrong += [] if entry["persistence"] in PERSISTENCE else ["persistence"]
    wrong += [f for f in ("present_when", "absent_when", "shows") if not entry[f]]
    if wrong:
        raise GuidelineError(
            f"{where} with words, lists of words and a whole version",
            f"other values of {', '.join(dict.fromkeys(wrong))}",
            "mend them",
        )
    own = _reasons(f"[[label.{key}.reason]]", entry.get("reason", []))
    group = entry.get("group")
    return Guideline(
        key,
        entry["name"],
        entry["version"],
        entry["question"],
        entry["persistence"],
        tuple(entry["present_when"]),
        tuple(entry["absent_when"]),
        tuple(entry["cannot_tell_when"]),
        tuple(entry["shows"]),
        tuple(entry["criteria"]),
        tuple(entry["series"]),
        None if group is None else str(group),
        (*own, *common),
    )


def _reasons(where: str, entries: object) -> tuple[ReasonCode, ...]:
    """Read the reasons to choose from, each a code and its text."""
    if not _is_tables(entries, "code", "text"):
        raise GuidelineError(f"{where} with a code and a text each", "others", "mend the file of guidelines")
    assert isinstance(entries, list)
    return tuple(ReasonCode(entry["code"], entry["text"]) for entry in entries)


def _is_tables(value: object, *texts: str) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and all(isinstance(item.get(name), str) and item[name].strip() for name in texts)
        for item in value
    )


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)


def _group(key: str, entry: object, guidelines: Mapping[str, Guideline]) -> Group:
    where = f"[group.{key}]"
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in ("name", "question")):
        raise GuidelineError(f"{where} with a name and a question", "others", "mend the group")
    if not _is_words(entry.get("labels")) or not _is_tables(entry.get("answer"), "key", "text"):
        raise GuidelineError(f"{where} with labels and answers", "others", "mend the group")
    labels = tuple(entry["labels"])
    answers = entry["answer"]
    if len(labels) != 2 or any(guidelines.get(label) is None or guidelines[label].group != key for label in labels):
        raise GuidelineError(f"two labels of [group.{key}] that name it", "others", "mend the group's labels")
    if [a.get("key") for a in answers] != ["neither", "first", "second"]:
        raise GuidelineError(f"answers neither, first, second of [group.{key}]", "others", "mend its answers")
    present: dict[str, tuple[str, ...]] = {"neither": (), "first": labels[:1], "second": labels[1:]}
    made = tuple(
        GroupAnswer(
            str(a["key"]),
            str(a["text"]),
            {label: "present" if label in present[str(a["key"])] else "absent" for label in labels},
        )
        for a in answers
    )
    return Group(key, str(entry["name"]), str(entry["question"]), labels, made)


@functools.cache
def _load(path: Path) -> Guidelines:
    return read(path)


def load(path: Path | None = None) -> Guidelines:
    """Return the guidelines of a file, by default those that ship; read once per process."""
    return _load(SHIPPED if path is None else path)
