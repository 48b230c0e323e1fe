"""Criteria of kidneys, circulation, heart and vessels; each function's text says what was computed from what.

`organs` and `record` hold the rest; importing them fills `rules.RULES`.
"""

from audit_store.panel.rules import (
    AGAINST,
    NEUTRAL,
    SUPPORTS,
    Answer,
    Limits,
    at,
    beyond,
    named,
    refs_of,
    rule,
)
from audit_store.panel.view import Reading, View, number, within


def _value(reading: Reading) -> float:
    return reading.value if reading.value is not None else float("nan")


def _on_chronic_dialysis(view: View) -> bool:
    return bool(view.rows("dialysis_chronic") or view.note_hits("dialysis_chronic"))


@rule("kdigo_rise", "creatinine", "observations.value[creatinine]")
def kdigo_rise(view: View, limits: Limits) -> Answer:
    """Find the largest rise of creatinine within 48 h; KDIGO 2012 calls ≥ 0.3 mg/dL acute kidney injury."""
    pairs = within(view.readings("creatinine"), limits.creatinine_rise_hours)
    if not pairs:
        return None
    before, after = max(pairs, key=lambda p: _value(p[1]) - _value(p[0]))
    rise = round(_value(after) - _value(before), 3)
    if rise < limits.creatinine_rise:
        return None
    hours = (after.hour or 0.0) - (before.hour or 0.0)
    words = (
        f"creatinine rose {number(_value(before))} → {number(_value(after))} mg/dL in {hours:.0f} h "
        f"(+{number(rise)}; KDIGO ≥ {limits.creatinine_rise:g} in {limits.creatinine_rise_hours:.0f} h)"
    )
    if _on_chronic_dialysis(view):
        return f"{words}; on chronic dialysis, where a rise tells little", NEUTRAL, refs_of([before, after])
    return words, SUPPORTS, refs_of([before, after])


@rule("kdigo_ratio", "creatinine", "observations.value[creatinine]")
def kdigo_ratio(view: View, limits: Limits) -> Answer:
    """Compare the highest creatinine with the lowest within 7 days of it, or with an earlier visit's lowest."""
    own = view.readings("creatinine")
    if not own:
        return None
    peak = max(own, key=_value)
    near = [
        r for r in own if r is not peak and abs((r.hour or 0.0) - (peak.hour or 0.0)) <= limits.creatinine_ratio_hours
    ]
    number_of = next(v.number for v in view.visits if v.is_this)
    earlier = [v.stay_id for v in view.visits if view.order_known and v.number < number_of]
    before = [r for stay in earlier for r in view.readings("creatinine", stay)]
    base = min([*near, *before], key=_value, default=None)
    if base is None or _value(base) <= 0 or round(_value(peak) / _value(base), 3) < limits.creatinine_ratio:
        return None
    where = "of this stay" if base.stay_id == view.stay_id else f"of {base.visit_title}"
    ratio = _value(peak) / _value(base)
    words = (
        f"creatinine {number(_value(peak))} mg/dL{at(peak)} is {ratio:.1f} × the lowest {where} "
        f"({number(_value(base))}; KDIGO ≥ {limits.creatinine_ratio:g} ×)"
    )
    if _on_chronic_dialysis(view):
        return f"{words}; on chronic dialysis, where a ratio tells little", NEUTRAL, refs_of([base, peak])
    return words, SUPPORTS, refs_of([base, peak])


@rule("creatinine_steady", "creatinine", "observations.value[creatinine]")
def creatinine_steady(view: View, limits: Limits) -> Answer:
    """Say that creatinine, measured over a day or more, met neither KDIGO criterion.

    It speaks against only where no value was raised: one that was high from the first may have risen before.
    """
    own = view.readings("creatinine")
    if len(own) < 2 or (own[-1].hour or 0.0) - (own[0].hour or 0.0) < limits.creatinine_steady_hours:
        return None
    if kdigo_rise(view, limits) or kdigo_ratio(view, limits):
        return None
    low, high = min(map(_value, own)), max(map(_value, own))
    words = f"creatinine {number(low)}–{number(high)} mg/dL in {len(own)} measurements: no KDIGO rise"
    normal_high = view.chart.channel("creatinine").high
    if normal_high is not None and high > normal_high:
        return f"{words}, but raised within the stay and no lower baseline: can't tell by it", NEUTRAL, refs_of(own)
    return words, AGAINST, refs_of(own)


@rule("creatinine_no_baseline", "creatinine", "observations.value[creatinine]")
def creatinine_no_baseline(view: View, limits: Limits) -> Answer:
    """Say that one high value stands alone."""
    own, high = view.readings("creatinine"), view.chart.channel("creatinine").high
    if len(own) != 1 or high is None or _value(own[0]) <= high:
        return None
    if any(view.readings("creatinine", stay) for stay in view.others):
        return None
    return f"one high creatinine ({own[0].words}) and no baseline: can't tell by it", NEUTRAL, refs_of(own)


@rule("creatinine_across_visits", "creatinine", "observations.value[creatinine]")
def creatinine_across_visits(view: View, limits: Limits) -> Answer:
    """Find creatinine that never came down to normal in two stays; KDIGO 2012 asks for three months between them."""
    high = view.chart.channel("creatinine").high
    if high is None:
        return None
    lowest = []
    for visit in view.visits:
        readings = view.readings("creatinine", visit.stay_id)
        if readings:
            low = min(readings, key=_value)
            if _value(low) > high:
                lowest.append((visit, low))
    if len(lowest) < 2 or all(not visit.is_this for visit, _ in lowest):
        return None
    starts = [visit.axis_start for visit, _ in lowest]
    known = [start for start in starts if start is not None]
    days = (max(known) - min(known)) / 24 if len(known) == len(starts) else None
    listed = ", ".join(f"{visit.title} {number(_value(low))}" for visit, low in lowest)
    words = f"lowest creatinine above normal in {len(lowest)} stays ({listed} mg/dL)"
    if days is None:
        return f"{words}; interval not known", NEUTRAL, refs_of([low for _, low in lowest])
    direction = SUPPORTS if days >= limits.chronic_days else NEUTRAL
    return f"{words}, {days:.0f} days apart", direction, refs_of([low for _, low in lowest])


@rule("oliguria", "urine", "observations.value[urine_output]")
def oliguria(view: View, limits: Limits) -> Answer:
    """Find six hours of recorded urine under 0.5 mL/kg/h (KDIGO 2012); hours without a record are left out."""
    weights = view.readings("weight")
    urine = view.readings("urine_output")
    if not weights or _value(weights[-1]) <= 0:
        return None
    worst: tuple[float, list[Reading]] | None = None
    for first in urine:
        run = [r for r in urine if 0 <= (r.hour or 0.0) - (first.hour or 0.0) <= limits.urine_hours]
        if len(run) < limits.urine_points or (run[-1].hour or 0.0) - (run[0].hour or 0.0) < limits.urine_hours - 1:
            continue
        rate = sum(map(_value, run)) / len(run) / _value(weights[-1])
        if rate < limits.urine_ml_kg_h and (worst is None or rate < worst[0]):
            worst = (rate, run)
    if worst is None:
        return None
    rate, run = worst
    words = f"recorded urine averaged {rate:.2f} mL/kg/h over {limits.urine_hours:.0f} h{at(run[0])}"
    return f"{words} ({len(run)} volumes; < {limits.urine_ml_kg_h:g})", SUPPORTS, refs_of([*run, weights[-1]])


@rule("dialysis_recorded", "dialysis", "review_evidence.name")
def dialysis_recorded(view: View, limits: Limits) -> Answer:
    """Find dialysis in this stay, and whether the record files it as chronic."""
    acute, rows = view.rows("dialysis_acute"), view.rows("dialysis")
    chronic = view.rows("dialysis_chronic") + (view.note_hits("dialysis_chronic") if rows else [])
    if acute:
        return f"dialysis recorded as acute: {named(acute)}{at(acute[0])}", SUPPORTS, refs_of(acute)
    if chronic:
        return f"dialysis or its access recorded as chronic: {named(chronic)}", NEUTRAL, refs_of(chronic)
    if rows:
        return f"dialysis recorded{at(rows[0])}: {named(rows)}; for what is not said", SUPPORTS, refs_of(rows)
    return None


@rule("dialysis_chronic_recorded", "dialysis", "review_evidence.name")
def dialysis_chronic_recorded(view: View, limits: Limits) -> Answer:
    """Find chronic dialysis or its access at any visit."""
    rows = view.rows("dialysis_chronic") + view.rows("dialysis_chronic", elsewhere=True)
    return (f"chronic dialysis or its access recorded: {named(rows)}", SUPPORTS, refs_of(rows)) if rows else None


@rule("map_low", "map", "observations.value[map]")
def map_low(view: View, limits: Limits) -> Answer:
    """Count mean arterial pressures below 65 mmHg; two or more count."""
    own = view.readings("map")
    low = [r for r in own if _value(r) < limits.map_low]
    if len(low) < limits.map_points:
        return None
    worst = min(low, key=_value)
    words = f"MAP below {limits.map_low:.0f} in {len(low)} of {len(own)} measurements (lowest {worst.words}{at(worst)})"
    return words, SUPPORTS, refs_of([worst, *low])


@rule("map_kept", "map", "observations.value[map]")
def map_kept(view: View, limits: Limits) -> Answer:
    """Say that no measured MAP fell below 65 mmHg and no vasopressor is on record that could have held it up."""
    own = view.readings("map")
    if len(own) < limits.map_points or any(_value(r) < limits.map_low for r in own) or view.rows("vasopressors"):
        return None
    words = f"none of {len(own)} measured MAPs below {limits.map_low:.0f} (lowest {number(min(map(_value, own)))} mmHg)"
    return f"{words} and no record of a vasopressor", AGAINST, refs_of([min(own, key=_value)])


@rule("pressure_crisis", "blood_pressure", "observations.value[sbp, dbp]")
def pressure_crisis(view: View, limits: Limits) -> Answer:
    """Find pressures above 180 / 120 mmHg; a crisis needs organ damage too, so this alone decides nothing."""
    high = [r for r in view.readings("sbp") if _value(r) > limits.crisis_systolic]
    high += [r for r in view.readings("dbp") if _value(r) > limits.crisis_diastolic]
    if not high:
        return None
    words = (
        f"{len(high)} pressures above {limits.crisis_systolic:.0f} systolic or {limits.crisis_diastolic:.0f} diastolic"
    )
    return f"{words} (organ damage to be judged)", NEUTRAL, refs_of(high)


@rule("troponin_rise_fall", "troponin", "observations.value[troponin_i, troponin_t]")
def troponin_rise_fall(view: View, limits: Limits) -> Answer:
    """Find a raised troponin that changed by more than 20 % (fourth universal definition, 2018)."""
    for channel in ("troponin_i", "troponin_t"):
        own, upper = view.readings(channel), view.chart.channel(channel).high
        if len(own) < 2 or upper is None:
            continue
        peak, low = max(own, key=_value), min(own, key=_value)
        if _value(peak) <= upper or _value(peak) - _value(low) <= limits.troponin_change * max(_value(low), 1e-9):
            continue
        first, last = (low, peak) if (low.hour or 0) <= (peak.hour or 0) else (peak, low)
        how = "rose" if first is low else "fell"
        title = view.chart.channel(channel).title
        words = (
            f"{title} {how} {number(_value(first))} → {number(_value(last))} {peak.unit} "
            f"(over {limits.troponin_change:.0%} change, above {upper:g})"
        )
        return words, SUPPORTS, refs_of([first, last])
    return None


@rule("troponin_flat", "troponin", "observations.value[troponin_i, troponin_t]")
def troponin_flat(view: View, limits: Limits) -> Answer:
    """Say that troponin, measured twice or more, stayed normal or changed by no more than 20 %."""
    if troponin_rise_fall(view, limits):
        return None
    for channel in ("troponin_i", "troponin_t"):
        own, upper = view.readings(channel), view.chart.channel(channel).high
        if len(own) < 2 or upper is None:
            continue
        title, peak = view.chart.channel(channel).title, max(own, key=_value)
        if _value(peak) <= upper:
            return f"{title} normal in all {len(own)} measurements (≤ {upper:g})", AGAINST, refs_of(own)
        return f"{title} raised but without a change over {limits.troponin_change:.0%}", AGAINST, refs_of(own)
    return None


@rule("troponin_single", "troponin", "observations.value[troponin_i, troponin_t]")
def troponin_single(view: View, limits: Limits) -> Answer:
    """Say that one raised troponin can show neither rise nor fall."""
    for channel in ("troponin_i", "troponin_t"):
        own, upper = view.readings(channel), view.chart.channel(channel).high
        if len(own) == 1 and upper is not None and _value(own[0]) > upper:
            title = view.chart.channel(channel).title
            return f"one raised {title} ({own[0].words}): no rise or fall to see", NEUTRAL, refs_of(own)
    return None


beyond("ck_mb_high", "ck_mb", "ck_mb", True, "ck_mb", "CK-MB up to")
beyond("lactate_high", "lactate", "lactate", True, "lactate", "lactate up to")
beyond("bnp_high", "bnp", "bnp", True, "bnp_high", "BNP up to")


@rule("bnp_low", "bnp", "observations.value[bnp]")
def bnp_low(view: View, limits: Limits) -> Answer:
    """Say that every BNP lay under 100 pg/mL."""
    own = view.readings("bnp")
    if not own or max(map(_value, own)) >= limits.bnp_low:
        return None
    return f"BNP never above {number(max(map(_value, own)))} pg/mL (< {limits.bnp_low:g})", AGAINST, refs_of(own)
