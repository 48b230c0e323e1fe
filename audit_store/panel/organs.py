"""Criteria of infection, lungs, metabolism, blood, gut and liver."""

from audit_store.panel.rules import (
    AGAINST,
    NEUTRAL,
    SUPPORTS,
    Answer,
    Limits,
    amount,
    at,
    beyond,
    named,
    refs_of,
    rule,
)
from audit_store.panel.view import Reading, View, number, within

ELECTROLYTES = ("sodium", "potassium", "calcium", "calcium_ionized", "magnesium", "phosphate")
ACID_BASE = ("ph", "bicarbonate")


def _value(reading: Reading) -> float:
    return reading.value if reading.value is not None else float("nan")


def _apart(a: Reading, b: Reading) -> float:
    return abs((a.hour or 0.0) - (b.hour or 0.0))


beyond("fever", "temperature", "temperature", True, "fever", "temperature up to")
beyond("leucocytosis", "wbc", "wbc", True, "wbc_high", "white cells up to")
beyond("leucopenia", "wbc", "wbc", False, "wbc_low", "white cells down to")
beyond("bands_high", "wbc", "bands", True, "bands", "band forms up to")
beyond("platelets_organ", "platelets", "platelets", False, "sofa_platelets", "platelets down to")
beyond("pao2_low", "oxygenation", "pao2", False, "pao2_low", "PaO₂ down to")


def _at_least(key: str, item: str, channel: str, limit: str, words: str, direction: str = SUPPORTS) -> None:
    @rule(key, item, f"observations.value[{channel}]")
    def ask(view: View, limits: Limits) -> Answer:
        bound = float(getattr(limits, limit))
        hits = [r for r in view.measured(channel) if _value(r) >= bound]
        if not hits:
            return None
        worst = max(hits, key=_value)
        return f"{words} {amount(worst)}{at(worst)} (≥ {bound:g})", direction, refs_of([worst, *hits])


_at_least("creatinine_organ", "creatinine", "creatinine", "sofa_creatinine", "creatinine")
_at_least("bilirubin_organ", "bilirubin", "bilirubin", "sofa_bilirubin", "bilirubin")
_at_least("hba1c_diabetic", "hba1c", "hba1c", "hba1c", "HbA1c")
_at_least("glucose_high", "glucose", "glucose", "glucose_diabetic", "glucose up to", NEUTRAL)


def _ratios(view: View, limits: Limits) -> list[tuple[float, Reading, Reading]]:
    """PaO₂ over the last FiO₂ measured at most four hours before it; without one there is no ratio."""
    fractions = view.readings("fio2")
    out = []
    for gas in view.readings("pao2"):
        before = [f for f in fractions if 0 <= (gas.hour or 0.0) - (f.hour or 0.0) <= limits.fio2_hours]
        if before and _value(before[-1]) > 0:
            out.append((_value(gas) / _value(before[-1]), gas, before[-1]))
    return out


@rule("pf_low", "oxygenation", "observations.value[pao2, fio2]")
def pf_low(view: View, limits: Limits) -> Answer:
    """Find the lowest PaO₂/FiO₂ under 300 mmHg (Berlin 2012)."""
    ratios = _ratios(view, limits)
    if not ratios or min(r for r, _, _ in ratios) >= limits.pf_ratio:
        return None
    ratio, gas, fraction = min(ratios, key=lambda r: r[0])
    made_of = f"{number(_value(gas))} on {_value(fraction):.2f}; < {limits.pf_ratio:.0f}"
    words = f"PaO₂/FiO₂ {ratio:.0f} mmHg{at(gas)} ({made_of})"
    return words, SUPPORTS, refs_of([gas, fraction])


@rule("pf_kept", "oxygenation", "observations.value[pao2, fio2]")
def pf_kept(view: View, limits: Limits) -> Answer:
    """Say that every PaO₂/FiO₂ that can be computed was 300 mmHg or more."""
    ratios = _ratios(view, limits)
    if not ratios or min(r for r, _, _ in ratios) < limits.pf_ratio:
        return None
    ratio, gas, fraction = min(ratios, key=lambda r: r[0])
    return f"lowest PaO₂/FiO₂ {ratio:.0f} mmHg (≥ {limits.pf_ratio:.0f})", AGAINST, refs_of([gas, fraction])


@rule("hypercapnia", "blood_gas", "observations.value[paco2, ph]")
def hypercapnia(view: View, limits: Limits) -> Answer:
    """Find PaCO₂ above 50 mmHg with pH under 7.35 in one sample."""
    for gas in sorted(view.readings("paco2"), key=_value, reverse=True):
        if _value(gas) <= limits.paco2_high:
            break
        acids = [p for p in view.readings("ph") if _apart(p, gas) <= limits.gas_hours and _value(p) < limits.ph_low]
        if acids:
            words = f"PaCO₂ {gas.words} with pH {number(_value(acids[0]))}{at(gas)}"
            return f"{words} (> {limits.paco2_high:g}, < {limits.ph_low:g})", SUPPORTS, refs_of([gas, acids[0]])
    return None


@rule("ketoacidosis", "glucose", "observations.value[glucose, ph, bicarbonate]")
def ketoacidosis(view: View, limits: Limits) -> Answer:
    """Find glucose above 250 mg/dL with pH ≤ 7.30 or bicarbonate ≤ 18 mmol/L within 24 h (ketones to be seen)."""
    sweet = [g for g in view.measured("glucose") if _value(g) > limits.dka_glucose]
    acid = [p for p in view.measured("ph") if _value(p) <= limits.dka_ph]
    acid += [b for b in view.readings("bicarbonate") if _value(b) <= limits.dka_bicarbonate]
    pairs = [(g, a) for g in sweet for a in acid if _apart(g, a) <= 24]
    if not pairs:
        return None
    glucose, sour = max(pairs, key=lambda p: _value(p[0]))
    title = view.chart.channel(sour.ref.name).title if sour.ref.table == "observations" else "pH"
    ketones = view.rows("ketones")
    seen = f"ketones recorded: {named(ketones)}" if ketones else "no record of ketones"
    words = f"glucose {amount(glucose)} with {title} {amount(sour)}; {seen}"
    return words, SUPPORTS if ketones else NEUTRAL, refs_of([glucose, sour, *ketones])


@rule("hyperosmolar", "osmolality", "review_evidence.value")
def hyperosmolar(view: View, limits: Limits) -> Answer:
    """Find glucose above 600 mg/dL with a measured osmolality above 320 mOsm/kg."""
    sweet = [g for g in view.readings("glucose") if _value(g) > limits.hhs_glucose]
    thick = [o for o in view.rows("osmolality") if o.value is not None and o.value > limits.hhs_osmolality]
    if not sweet or not thick:
        return None
    words = f"glucose {sweet[0].words} with osmolality {number(_value(thick[0]))}"
    return words, SUPPORTS, refs_of([sweet[0], thick[0]])


@rule("hba1c_normal", "hba1c", "observations.value[hba1c]")
def hba1c_normal(view: View, limits: Limits) -> Answer:
    """Say that HbA1c was normal."""
    own = view.readings("hba1c")
    if not own or max(map(_value, own)) >= limits.hba1c_normal:
        return None
    return f"HbA1c {own[-1].words} (< {limits.hba1c_normal:g})", AGAINST, refs_of(own)


@rule("haemoglobin_fall", "haemoglobin", "observations.value[hemoglobin]")
def haemoglobin_fall(view: View, limits: Limits) -> Answer:
    """Find a fall of haemoglobin by 2 g/dL within 48 h; with no bleeding or transfusion on record it can't tell."""
    pairs = within(view.readings("hemoglobin"), limits.haemoglobin_hours)
    if not pairs:
        return None
    before, after = max(pairs, key=lambda p: _value(p[0]) - _value(p[1]))
    fall = round(_value(before) - _value(after), 3)
    if fall < limits.haemoglobin_fall:
        return None
    course = f"{number(_value(before))} → {number(_value(after))} g/dL"
    words = f"haemoglobin fell {course} (−{number(fall)}, ≥ {limits.haemoglobin_fall:g})"
    with_it = view.rows("endoscopic_haemostasis", "stool_emesis", "transfusion")
    if with_it:
        return f"{words}, with {named(with_it)}", SUPPORTS, refs_of([before, after, *with_it])
    return f"{words}; alone it can't tell", NEUTRAL, refs_of([before, after])


def _outside(view: View) -> list[Reading]:
    out = []
    for name in (*ELECTROLYTES, *ACID_BASE):
        channel = view.chart.channel(name)
        for r in view.readings(name):
            if (channel.low is not None and _value(r) < channel.low) or (
                channel.high is not None and _value(r) > channel.high
            ):
                out.append(r)
    return out


def _furthest(view: View, readings: list[Reading]) -> list[Reading]:
    """One value per channel: the one furthest outside its range."""

    def distance(r: Reading) -> float:
        channel = view.chart.channel(r.ref.name)
        low = channel.low if channel.low is not None else _value(r)
        high = channel.high if channel.high is not None else _value(r)
        return max(low - _value(r), _value(r) - high) / max(high - low, 1e-9)

    names = dict.fromkeys(r.ref.name for r in readings)
    return [max((r for r in readings if r.ref.name == name), key=distance) for name in names]


@rule("electrolyte_acted_on", "electrolyte_correction", "observations.value[electrolytes], review_evidence.name")
def electrolyte_acted_on(view: View, limits: Limits) -> Answer:
    """Find an electrolyte, pH or bicarbonate outside its range, and whether a correction is on record."""
    worst = _furthest(view, _outside(view))
    if not worst:
        return None
    listed = ", ".join(f"{view.chart.channel(r.ref.name).title} {r.words}" for r in worst[:4])
    acts = view.rows("electrolyte_correction")
    if acts:
        return f"outside the range: {listed}; acted upon: {named(acts)}", SUPPORTS, refs_of([*worst, *acts])
    return f"outside the range: {listed}; no record of a correction", NEUTRAL, refs_of(worst)


@rule("electrolytes_in_range", "electrolytes", "observations.value[electrolytes]")
def electrolytes_in_range(view: View, limits: Limits) -> Answer:
    """Say that every measured electrolyte lay in its range."""
    own = [r for name in (*ELECTROLYTES, *ACID_BASE) for r in view.readings(name)]
    if not own or _outside(view):
        return None
    return f"all {len(own)} measured electrolytes, pH and bicarbonate in range", AGAINST, refs_of(own)


@rule("liver_failure_pattern", "liver_function", "observations.value[bilirubin, inr]")
def liver_failure_pattern(view: View, limits: Limits) -> Answer:
    """Find bilirubin ≥ 2 mg/dL together with INR ≥ 1.5; an anticoagulant on record makes the INR useless."""
    yellow = [r for r in view.readings("bilirubin") if _value(r) >= limits.liver_bilirubin]
    thin = [r for r in view.readings("inr") if _value(r) >= limits.liver_inr]
    if not yellow or not thin:
        return None
    words = f"bilirubin {max(yellow, key=_value).words} with INR {number(max(map(_value, thin)))}"
    blood = view.rows("anticoagulants")
    if blood:
        return f"{words}; {named(blood)} also recorded", NEUTRAL, refs_of([yellow[0], thin[0], *blood])
    return words, SUPPORTS, refs_of([yellow[0], thin[0]])


@rule("enzymes_alone", "liver_labs", "observations.value[alt, ast]")
def enzymes_alone(view: View, limits: Limits) -> Answer:
    """Say that enzymes are raised, which alone means absent."""
    high = [
        r
        for name in ("alt", "ast")
        for r in view.readings(name)
        if (top := view.chart.channel(name).high) is not None and _value(r) > top
    ]
    if not high:
        return None
    worst = max(high, key=_value)
    title = view.chart.channel(worst.ref.name).title
    return f"{title} up to {worst.words}: a raised enzyme alone is not a disease", NEUTRAL, refs_of(high)


@rule("ldl_high", "lipid_panel", "review_evidence.value")
def ldl_high(view: View, limits: Limits) -> Answer:
    """Find an LDL of 160 mg/dL or more in the lipid panel."""
    own = [r for r in view.rows("lipid_panel") if "ldl" in r.ref.name.lower() and r.value is not None]
    high = [r for r in own if _value(r) >= limits.ldl]
    return (f"LDL {number(_value(high[0]))} mg/dL (≥ {limits.ldl:g})", SUPPORTS, refs_of(high)) if high else None


@rule("spirometry_obstructed", "spirometry", "review_evidence.value")
def spirometry_obstructed(view: View, limits: Limits) -> Answer:
    """Find a measured FEV1/FVC under 0.70 (or 70 %)."""
    for r in view.rows("spirometry"):
        if r.value is None or "fvc" not in r.ref.name.lower() or "fev1" not in r.ref.name.lower():
            continue
        ratio = _value(r) / 100 if _value(r) > 1.5 else _value(r)
        if ratio < limits.fev1_fvc:
            return f"FEV1/FVC {ratio:.2f} (< {limits.fev1_fvc:g})", SUPPORTS, refs_of([r])
    return None


@rule("blood_culture_positive", "cultures", "review_evidence.text")
def blood_culture_positive(view: View, limits: Limits) -> Answer:
    """Find a blood culture whose row says that something grew."""
    rows = [r for r in view.rows("blood_culture") if _positive(r, view)]
    return (f"blood culture: {rows[0].text}{at(rows[0])}", SUPPORTS, refs_of(rows)) if rows else None


@rule("sputum_positive", "sputum", "review_evidence.text")
def sputum_positive(view: View, limits: Limits) -> Answer:
    """Find a respiratory culture whose row says that something grew."""
    rows = [r for r in view.rows("sputum_culture") if _positive(r, view)]
    return (f"respiratory culture: {rows[0].text}{at(rows[0])}", SUPPORTS, refs_of(rows)) if rows else None


def _positive(row: Reading, view: View) -> bool:
    return any(r.ref == row.ref and r.text == row.text for r in view.rows("positive_result"))


@rule("statin_alone", "statins", "review_evidence.name")
def statin_alone(view: View, limits: Limits) -> Answer:
    """Say that a statin is on record, which alone can't tell."""
    rows = view.rows("statins") + view.rows("statins", elsewhere=True)
    return (f"lipid drug recorded: {named(rows)}; alone it can't tell", NEUTRAL, refs_of(rows)) if rows else None


@rule("operative_ventilation", "ventilation", "review_evidence.name")
def operative_ventilation(view: View, limits: Limits) -> Answer:
    """Say that a ventilated patient came from an operation."""
    rows, theatre = view.rows("ventilation"), view.rows("head_of_admission")
    if not rows or not theatre:
        return None
    return (
        "ventilated and admitted after an operation: for the airway alone it does not count",
        NEUTRAL,
        refs_of(theatre),
    )
