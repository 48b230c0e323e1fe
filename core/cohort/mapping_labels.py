"""Label sets of a mapping: the 25 phenotypes, or a hospital's own with the codes that make them."""

import re
from dataclasses import dataclass
from typing import Any

from core.cohort.labelset import PHENOTYPES
from core.cohort.manifest import PERSISTENCES
from core.cohort.mapping_codes import Matcher, matchers
from core.cohort.mapping_reader import Section
from core.cohort.phenotypes import bare, manifest_label_groups, manifest_labels, phenotypes_of

_SLUG = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class LabelDefinition:
    """A label and what makes it.

    Parameters
    ----------
    key, name, description, persistence, group
        As in the manifest.
    icd9, icd10
        Codes of that system, without dots; matched after dots are taken off.
    codes
        Codes of the hospital's own, matched as they are.
    """

    key: str
    name: str
    description: str
    persistence: str
    group: str | None
    icd9: tuple[Matcher, ...]
    icd10: tuple[Matcher, ...]
    codes: tuple[Matcher, ...]


@dataclass(frozen=True)
class LabelSet:
    """Labels of a cohort; without definitions of its own, the 25 phenotypes."""

    own: tuple[LabelDefinition, ...]

    @property
    def keys(self) -> list[str]:
        """Keys, in `label_id` order."""
        return [label.key for label in self.own] or [label.key for label in PHENOTYPES]

    @property
    def names(self) -> dict[str, str]:
        """Keys by key and by name, in small letters: what a label file may call a label."""
        named = [(label.key, label.name) for label in (self.own or PHENOTYPES)]
        return {text.lower(): key for key, name in named for text in (name, key)}

    def labels_of(self, codes: list[tuple[str, int | None]]) -> list[tuple[str, int | None, str]]:
        """Give (code, system, label key) of every label that a code makes.

        Parameters
        ----------
        codes
            Distinct codes, with the system they are in: 9, 10, or None.
        """
        if not self.own:
            return [(code, system, key) for code, system in codes for key in phenotypes_of(code, system)]
        found: set[tuple[str, int | None, str]] = set()
        for label in self.own:
            for listed, wanted in ((label.icd9, 9), (label.icd10, 10), (label.codes, None)):
                patterns = [matcher.pattern() for matcher in listed]
                found |= {
                    (code, system, label.key)
                    for code, system in codes
                    if wanted is None or system == wanted
                    if any(pattern.search(code if wanted is None else bare(code)) for pattern in patterns)
                }
        return sorted(found, key=str)

    def manifest_labels(self) -> list[dict[str, Any]]:
        """Entries of the manifest's `labels`."""
        if not self.own:
            return manifest_labels()
        return [
            {
                "key": label.key,
                "name": label.name,
                "description": label.description,
                "persistence": label.persistence,
                "group": label.group,
                "codes": {
                    "icd9": [matcher.text for matcher in label.icd9],
                    "icd10": [matcher.text for matcher in label.icd10],
                    "own": [matcher.text for matcher in label.codes],
                },
                "guideline": label.key,
            }
            for label in self.own
        ]

    def manifest_groups(self) -> list[dict[str, Any]]:
        """Entries of the manifest's `label_groups`."""
        if not self.own:
            return manifest_label_groups()
        groups = dict.fromkeys(label.group for label in self.own if label.group)
        return [
            {"key": group, "name": group, "labels": [label.key for label in self.own if label.group == group]}
            for group in groups
        ]


def read_label_set(top: Section) -> LabelSet:
    """Read ``[[label_set]]``, sorted by name; without one, the phenotypes.

    Raises
    ------
    SourceError
        When a key is no slug or stands twice, or a persistence is not known.
    """
    own: list[LabelDefinition] = []
    for section in top.sections("label_set"):
        key = section.need("key")
        if not _SLUG.fullmatch(key):
            raise section.refuse("small letters, digits and _ in a label's key", repr(key), "name it so")
        if key in {label.key for label in own}:
            raise section.refuse("each label's key once", f"{key} twice", "rename one of them")
        own.append(
            LabelDefinition(
                key,
                section.need("name"),
                section.text("description", "") or "",
                section.choice("persistence", ("acute", *(p for p in PERSISTENCES if p != "acute"))),
                section.text("group"),
                _bare(matchers(section, "icd9")),
                _bare(matchers(section, "icd10")),
                matchers(section, "codes"),
            )
        )
        section.done()
    return LabelSet(tuple(sorted(own, key=lambda label: label.name)))


def _bare(listed: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
    """Take dots off codes and prefixes; an expression stays as it is."""
    plain = [m for m in listed if m.exact or m.text.endswith("*")]
    return tuple(Matcher(bare(m.text)) if m in plain else m for m in listed)
