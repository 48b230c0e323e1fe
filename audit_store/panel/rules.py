"""The form of a criterion: a named function over stored columns, with thresholds from one frozen config.

A criterion answers with one `Finding`, which points to the stored rows it was computed from, or with None. It never
infers from what was not measured or not recorded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from audit_store.panel.view import Reading, RowRef, View, number

SUPPORTS, AGAINST, NEUTRAL = "supports", "against", "neutral"
_REFS_KEPT = 12


@dataclass(frozen=True)
class Limits:
    """Thresholds of the criteria, with unit and source.

    Parameters
    ----------
    creatinine_rise, creatinine_rise_hours, creatinine_ratio, creatinine_ratio_hours
        KDIGO 2012 AKI: ≥ 0.3 mg/dL within 48 h; ≥ 1.5 × baseline within 7 days (168 h).
    creatinine_steady_hours
        Shortest span over which "no rise" means something [h]; ours: a day.
    chronic_days
        KDIGO 2012 CKD: longer than 3 months [days].
    urine_ml_kg_h, urine_hours, urine_points
        KDIGO 2012 AKI: < 0.5 mL/kg/h for 6 h; at least 4 recorded volumes (ours).
    troponin_change
        Fourth universal definition of MI (2018): change > 20 % where raised [1].
    map_low, map_points
        Surviving Sepsis 2021: target MAP 65 mmHg; two measurements below it (ours).
    lactate
        Sepsis-3 (2016): > 2 mmol/L.
    sofa_creatinine, sofa_bilirubin, sofa_platelets
        Two SOFA points (Vincent 1996): ≥ 2.0 mg/dL, ≥ 2.0 mg/dL, < 100 · 10⁹/L.
    pf_ratio, fio2_hours
        Berlin 2012: PaO₂/FiO₂ < 300 mmHg; FiO₂ measured at most 4 h before the blood gas (ours), never assumed.
    pao2_low, paco2_high, ph_low, gas_hours
        guidelines.md: PaO₂ < 60 mmHg; PaCO₂ > 50 mmHg with pH < 7.35 in the same sample (within 1 h).
    fever, wbc_high, wbc_low, bands
        SIRS (1992): > 38.0 °C, > 12 or < 4 · 10⁹/L, > 10 % bands.
    hba1c, hba1c_normal, glucose_diabetic
        ADA 2024: ≥ 6.5 %; < 5.7 % normal; random glucose ≥ 200 mg/dL (of little worth in acute illness).
    dka_glucose, dka_ph, dka_bicarbonate, hhs_glucose, hhs_osmolality
        ADA 2009: > 250 mg/dL with pH ≤ 7.30 and bicarbonate ≤ 18 mmol/L; > 600 mg/dL with > 320 mOsm/kg.
    haemoglobin_fall, haemoglobin_hours
        ISTH major bleeding (2005): ≥ 2 g/dL; within 48 h (ours).
    bnp_low, bnp_high
        ESC 2021: < 100 pg/mL makes heart failure unlikely; > 400 pg/mL, likely (ESC 2008).
    ejection
        ESC 2021: ≤ 40 % is a reduced ejection fraction.
    ck_mb
        Upper limit of the usual range, 5 ng/mL.
    ldl
        NCEP ATP III (2002): high from 160 mg/dL.
    crisis_systolic, crisis_diastolic
        ACC/AHA 2017: > 180 / > 120 mmHg.
    liver_bilirubin, liver_inr
        Hepatic failure pattern: bilirubin ≥ 2 mg/dL with INR ≥ 1.5 (EASL 2017).
    fev1_fvc
        GOLD: < 0.70.
    """

    creatinine_rise: float = 0.3
    creatinine_rise_hours: float = 48.0
    creatinine_ratio: float = 1.5
    creatinine_ratio_hours: float = 168.0
    creatinine_steady_hours: float = 24.0
    chronic_days: float = 90.0
    urine_ml_kg_h: float = 0.5
    urine_hours: float = 6.0
    urine_points: int = 4
    troponin_change: float = 0.2
    map_low: float = 65.0
    map_points: int = 2
    lactate: float = 2.0
    sofa_creatinine: float = 2.0
    sofa_bilirubin: float = 2.0
    sofa_platelets: float = 100.0
    pf_ratio: float = 300.0
    fio2_hours: float = 4.0
    pao2_low: float = 60.0
    paco2_high: float = 50.0
    ph_low: float = 7.35
    gas_hours: float = 1.0
    fever: float = 38.0
    wbc_high: float = 12.0
    wbc_low: float = 4.0
    bands: float = 10.0
    hba1c: float = 6.5
    hba1c_normal: float = 5.7
    glucose_diabetic: float = 200.0
    dka_glucose: float = 250.0
    dka_ph: float = 7.30
    dka_bicarbonate: float = 18.0
    hhs_glucose: float = 600.0
    hhs_osmolality: float = 320.0
    haemoglobin_fall: float = 2.0
    haemoglobin_hours: float = 48.0
    bnp_low: float = 100.0
    bnp_high: float = 400.0
    ejection: float = 40.0
    ck_mb: float = 5.0
    ldl: float = 160.0
    crisis_systolic: float = 180.0
    crisis_diastolic: float = 120.0
    liver_bilirubin: float = 2.0
    liver_inr: float = 1.5
    fev1_fvc: float = 0.70


@dataclass(frozen=True)
class Finding:
    """What a criterion found: words, direction, the stored column, and the rows."""

    rule: str
    text: str
    direction: str
    column: str
    refs: tuple[RowRef, ...]


Answer = tuple[str, str, Sequence[RowRef]] | None
"""(words, direction, rows) or None."""


@dataclass(frozen=True)
class Rule:
    """A criterion: its key, the panel item it stands under, the stored column, and the function."""

    key: str
    item: str
    column: str
    ask: Callable[[View, Limits], Answer]

    def check(self, view: View, limits: Limits) -> Finding | None:
        """Ask it of one stay."""
        answer = self.ask(view, limits)
        if answer is None:
            return None
        text, direction, refs = answer
        return Finding(self.key, text, direction, self.column, tuple(refs)[:_REFS_KEPT])


RULES: dict[str, Rule] = {}


def rule(
    key: str, item: str, column: str
) -> Callable[[Callable[[View, Limits], Answer]], Callable[[View, Limits], Answer]]:
    """Register a criterion under a key."""

    def register(ask: Callable[[View, Limits], Answer]) -> Callable[[View, Limits], Answer]:
        RULES[key] = Rule(key, item, column, ask)
        return ask

    return register


def refs_of(readings: Sequence[Reading]) -> list[RowRef]:
    """Where the readings are stored."""
    return [reading.ref for reading in readings]


def at(reading: Reading) -> str:
    """Say when: "at 12 h", "before unit admission" or nothing."""
    if reading.hour is None:
        return ""
    return " before unit admission" if reading.hour < 0 else f" at {reading.hour:.0f} h"


def amount(reading: Reading) -> str:
    """Write a value with its unit, whatever table it stands in."""
    return f"{number(reading.value)} {reading.unit}".strip() if reading.value is not None else reading.words


def named(readings: Sequence[Reading], most: int = 3) -> str:
    """Name distinct rows in few words."""
    words = list(dict.fromkeys(reading.words for reading in readings))
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def recorded(
    key: str, item: str, lists: tuple[str, ...], direction: str, words: str, kinds: tuple[str, ...] = ()
) -> None:
    """Register a criterion that a row of one of the lists is recorded in this stay (of these kinds, where given)."""

    def ask(view: View, limits: Limits) -> Answer:
        rows = [row for row in view.rows(*lists) if not kinds or row.kind in kinds]
        return (f"{words}: {named(rows)}{at(rows[0])}", direction, refs_of(rows)) if rows else None

    RULES[key] = Rule(key, item, "review_evidence.name", ask)


def beyond(key: str, item: str, channel: str, above: bool, limit: str, words: str, direction: str = SUPPORTS) -> None:
    """Register a criterion that a channel of this stay went above (or below) a limit; the limit itself counts as in."""

    def ask(view: View, limits: Limits) -> Answer:
        bound = float(getattr(limits, limit))
        own = view.measured(channel)
        hits = [r for r in own if r.value is not None and (r.value > bound if above else r.value < bound)]
        if not hits:
            return None
        worst = (max if above else min)(hits, key=lambda r: r.value or 0.0)
        sign = ">" if above else "<"
        text = f"{words} {amount(worst)}{at(worst)} ({sign} {bound:g}), {len(hits)} of {len(own)} measured"
        return text, direction, refs_of([worst, *[h for h in hits if h is not worst]])

    RULES[key] = Rule(key, item, f"observations.value[{channel}]", ask)
