"""The items of MIMIC that are channels, and the SQL that turns what was charted into a number in the channel's unit."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from core.cohort.channels import CHANNELS

POUND_KG = 0.453592
"""Kilograms per pound, as the benchmark has it."""
INCH_CM = 2.54
"""Centimetres per inch."""
FAHRENHEIT_FROM = 79.0
"""A temperature of this and above is in degrees Fahrenheit, whatever its item says."""

_SCORES: dict[str, dict[str, int]] = {
    "gcs_eye": {
        "none": 1,
        "no response": 1,
        "1 no response": 1,
        "to pain": 2,
        "2 to pain": 2,
        "to speech": 3,
        "3 to speech": 3,
        "spontaneously": 4,
        "4 spontaneously": 4,
    },
    "gcs_motor": {
        "no response": 1,
        "1 no response": 1,
        "abnormal extension": 2,
        "2 abnorm extensn": 2,
        "abnormal flexion": 3,
        "3 abnorm flexion": 3,
        "flex-withdraws": 4,
        "4 flex-withdraws": 4,
        "localizes pain": 5,
        "5 localizes pain": 5,
        "obeys commands": 6,
        "6 obeys commands": 6,
    },
    "gcs_verbal": {
        "no response": 1,
        "no response-ett": 1,
        "1 no response": 1,
        "1.0 et/trach": 1,
        "incomprehensible sounds": 2,
        "2 incomp sounds": 2,
        "inappropriate words": 3,
        "3 inapprop words": 3,
        "confused": 4,
        "4 confused": 4,
        "oriented": 5,
        "5 oriented": 5,
    },
}
"""What is charted for a score, in small letters (spellings of both charting systems)."""


@dataclass(frozen=True)
class Item:
    """One item of the source.

    Parameters
    ----------
    id
        `itemid`.
    channel
        Name in `core.cohort.channels`.
    table
        ``chartevents``, ``labevents`` or ``outputevents``.
    rule
        How its value is read; see `mimic_items.toml`.
    low, high
        Plausible values, in the channel's unit.
    units
        Units accepted, small letters without blanks; empty: not looked at.
    other_unit, factor
        One more unit that is accepted, and what its values are multiplied by.
    skip
        Why it is left out although the benchmark reads it; empty: it is read.
    """

    id: int
    channel: str
    table: str
    rule: str
    low: float
    high: float
    units: tuple[str, ...]
    other_unit: str
    factor: float
    skip: str


@cache
def items_of(release: str) -> tuple[Item, ...]:
    """Items of a release, ``mimic3`` or ``mimic4``, in the file's order."""
    text = files("core.cohort.sources").joinpath("mimic_items.toml").read_text(encoding="utf-8")
    found = []
    for channel, entry in tomllib.loads(text).items():
        low, high = (float(end) for end in entry["range"])
        for item in entry["items"]:
            if item.get("of", release) == release:
                units = tuple(entry.get("units", ())) if item["table"] != "chartevents" else ()
                also = entry.get("also", {"unit": "", "factor": 1.0})
                found.append(
                    Item(
                        item["id"],
                        channel,
                        item["table"],
                        item["rule"],
                        low,
                        high,
                        units,
                        also["unit"],
                        also["factor"],
                        item.get("skip", ""),
                    )
                )
    return tuple(found)


def channel_number(name: str) -> int:
    """Place of a channel in `CHANNELS`: what the long table holds instead of its name."""
    return next(place for place, channel in enumerate(CHANNELS) if channel.name == name)


def converted_sql(value: str, number: str, unit: str) -> tuple[str, str]:
    """Give SQL of a value in the channel's unit, and of whether it was met in another one.

    Parameters
    ----------
    value, number, unit
        SQL of the text as charted, of the same as a number (null where it is none) and of its unit, in small letters;
        the item's row of table `item` is `i`.
    """
    n, rule, channel = number, "i.rule", "i.name"
    part = "TRY_CAST(regexp_extract({v}, '^([0-9]+)/([0-9]+)$', {k}) AS DOUBLE)"
    scores = " ".join(
        f"WHEN {channel} = '{name}' AND {value} = '{text}' THEN {code}"
        for name, texts in _SCORES.items()
        for text, code in texts.items()
    )
    kilo = (
        f"CASE WHEN {rule} = 'ounce' OR contains({unit}, 'oz') THEN {n} / 16 * {POUND_KG} "
        f"WHEN {rule} = 'pound' OR contains({unit}, 'lb') THEN {n} * {POUND_KG} ELSE {n} END"
    )
    tall = f"CASE WHEN {rule} = 'inch' OR contains({unit}, 'in') THEN round_even({n} * {INCH_CM}, 0) ELSE {n} END"
    brisk = f"({value} = 'brisk' OR starts_with({value}, 'normal'))"
    slow = f"({value} = 'delayed' OR starts_with({value}, 'abnormal'))"
    reading = f"""CASE {rule}
        WHEN 'number' THEN CASE WHEN i.other_unit <> '' AND {unit} = i.other_unit THEN {n} * i.factor ELSE {n} END
        WHEN 'systolic' THEN coalesce({n}, {part.format(v=value, k=1)})
        WHEN 'diastolic' THEN coalesce({n}, {part.format(v=value, k=2)})
        WHEN 'fraction' THEN CASE WHEN {n} > 1 THEN {n} / 100 ELSE {n} END
        WHEN 'percent' THEN CASE WHEN {n} <= 1 THEN {n} * 100 ELSE {n} END
        WHEN 'celsius' THEN CASE WHEN {n} >= {FAHRENHEIT_FROM} THEN ({n} - 32) * 5 / 9 ELSE {n} END
        WHEN 'kilogram' THEN {kilo} WHEN 'pound' THEN {kilo} WHEN 'ounce' THEN {kilo}
        WHEN 'centimetre' THEN {tall} WHEN 'inch' THEN {tall}
        WHEN 'refill' THEN CASE WHEN {brisk} THEN 0 WHEN {slow} THEN 1 END
        WHEN 'score' THEN CASE {scores} ELSE {n} END END"""
    converted = f"""CASE {rule} WHEN 'number' THEN i.other_unit <> '' AND {unit} = i.other_unit
        WHEN 'fraction' THEN {n} > 1 WHEN 'percent' THEN {n} <= 1 WHEN 'celsius' THEN {n} >= {FAHRENHEIT_FROM}
        WHEN 'pound' THEN true WHEN 'ounce' THEN true WHEN 'inch' THEN true
        WHEN 'kilogram' THEN contains({unit}, 'oz') OR contains({unit}, 'lb')
        WHEN 'centimetre' THEN contains({unit}, 'in') ELSE false END"""
    return reading, converted
