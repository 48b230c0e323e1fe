"""Codes of a mapping: how they are matched, and which of them are which channel, in which unit."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from core.cohort.channels import BY_NAME, CHANNELS, Channel
from core.cohort.mapping_reader import Section, nearest
from core.cohort.sources.mimic_items import items_of

RULES = (
    *("number", "fraction", "percent", "celsius", "kilogram", "pound", "ounce", "centimetre", "inch"),
    *("systolic", "diastolic", "refill", "score"),
)
"""How a value is read; as in `mimic_items.toml`."""
TOGETHER = ("max", "sum", "mean", "min")
"""What becomes of several values of a channel at one moment."""
_SUMMED = "urine_output"
_SLUG = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Matcher:
    """Codes that are meant: ``HR`` that code, ``HR*`` what begins so, ``/re/`` what the expression finds."""

    text: str

    @property
    def exact(self) -> bool:
        """Whether it means one code."""
        return not self.text.endswith("*") and not (len(self.text) > 2 and self.text[0] == self.text[-1] == "/")

    def pattern(self) -> re.Pattern[str]:
        """Give it as an expression that is searched for.

        Raises
        ------
        re.error
            When the expression is none.
        """
        if self.exact:
            return re.compile(f"^{re.escape(self.text)}$")
        if self.text.endswith("*"):
            return re.compile(f"^{re.escape(self.text[:-1])}")
        return re.compile(self.text[1:-1])

    def found(self, codes: Iterable[str]) -> list[str]:
        """Give those codes that are meant."""
        expression = self.pattern()
        return [code for code in codes if expression.search(code)]


def matchers(section: Section, key: str) -> tuple[Matcher, ...]:
    """Read a list of matchers.

    Raises
    ------
    SourceError
        When an expression is none.
    """
    found = tuple(Matcher(text) for text in section.texts(key))
    for matcher in found:
        try:
            matcher.pattern()
        except re.error as error:
            raise section.refuse(f"{key} as codes or /expressions/", f"{error}", "mend the expression") from None
    return found


def unit_form(unit: str) -> str:
    """Write a unit as units are compared: small letters without blanks."""
    return unit.replace(" ", "").lower()


@dataclass(frozen=True)
class CodeEntry:
    """Codes that are one channel, and how their values come into its unit.

    Parameters
    ----------
    channel
        Name of the channel.
    codes
        What is meant.
    units
        Accepted units, compared without case and blanks; empty: the unit is not looked at.
    rule, factor, offset
        The value is read by the rule, multiplied, and the offset added.
    low, high
        Plausible values afterwards; outside they are removed and counted.
    values
        Numbers for texts, small letters.
    """

    channel: str
    codes: tuple[Matcher, ...]
    units: tuple[str, ...]
    rule: str
    factor: float
    offset: float
    low: float
    high: float
    values: dict[str, float] = field(default_factory=dict)


def read_channels(top: Section) -> tuple[tuple[Channel, ...], dict[str, str]]:
    """Read ``[channels.NAME]``: more channels for readers, and what becomes of several values of one moment.

    Returns
    -------
    channels, together
        The product's channels with the mapping's after them; one of `TOGETHER` by channel that has it stated.

    Raises
    ------
    SourceError
        When a name is no slug, or a channel of the product is described anew.
    """
    channels, together = list(CHANNELS), {_SUMMED: "sum"}
    for name, section in top.named("channels").items():
        if not _SLUG.fullmatch(name):
            raise section.refuse("small letters, digits and _ in a channel's name", repr(name), "name it so")
        if section.has("together"):
            together[name] = section.choice("together", TOGETHER)
        if name not in BY_NAME:
            low, high = section.interval("range") or (None, None)
            if low is None or high is None:
                raise section.refuse("range of a new channel", "none", "write range = [0, 100]")
            channels.append(
                Channel(
                    name,
                    section.text("title", name) or name,
                    section.text("unit", "") or "",
                    (low, high),
                    section.interval("normal"),
                )
            )
        section.done()
    return tuple(channels), together


def read_codes(top: Section, channels: Sequence[Channel]) -> tuple[CodeEntry, ...]:
    """Read ``[[codes]]`` and ``codes_from``.

    Raises
    ------
    SourceError
        When a channel, rule or release is not known, or an entry has no code.
    """
    by_name = {channel.name: channel for channel in channels}
    found: list[CodeEntry] = []
    for section in top.sections("codes"):
        name = section.need("channel")
        if name not in by_name:
            raise section.refuse(
                f"a channel ({len(by_name)} are known)",
                f"{name!r} {nearest(name, by_name)}".strip(),
                f"describe it in [channels.{name}], or choose one that is known",
            )
        codes = matchers(section, "code")
        if not codes:
            raise section.refuse("code", "none", 'write code = "…", or a list')
        channel = by_name[name]
        low, high = section.interval("range") or channel.plausible
        words = dict(zip(channel.categories or (), channel.codes or (), strict=True))
        found.append(
            CodeEntry(
                name,
                codes,
                tuple(unit_form(unit) for unit in section.texts("unit")),
                section.choice("rule", RULES),
                section.number("factor", 1.0) or 0.0,
                section.number("offset", 0.0) or 0.0,
                low,
                high,
                {word.lower(): code for word, code in words.items()} | section.numbers_by_text("values"),
            )
        )
        if not found[-1].factor:
            raise section.refuse("a factor other than 0", "0", "write factor = 1.0")
        section.done()
    release = top.text("codes_from")
    if release is not None:
        if release not in ("mimic3", "mimic4"):
            raise top.refuse("codes_from of mimic3, mimic4", repr(release), "choose one of them, or leave it out")
        found += _published(release)
    return tuple(found)


def _published(release: str) -> list[CodeEntry]:
    """Give the items that are channels in MIMIC, as `build-cohort mimic3|mimic4` reads them."""
    found = []
    for item in items_of(release):
        if item.skip:
            continue
        codes = (Matcher(str(item.id)),)
        found.append(CodeEntry(item.channel, codes, item.units, item.rule, 1.0, 0.0, item.low, item.high))
        if item.other_unit:
            other = (item.other_unit,)
            found.append(CodeEntry(item.channel, codes, other, item.rule, item.factor, 0.0, item.low, item.high))
    return found
