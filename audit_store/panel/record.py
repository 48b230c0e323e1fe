"""Criteria that only ask whether something is on record: evidence rows by name, admission diagnoses, and notes."""

from audit_store.panel.rules import AGAINST, NEUTRAL, SUPPORTS, Answer, Limits, named, recorded, refs_of, rule
from audit_store.panel.view import Mention, View

IMAGING = ("imaging", "procedure")
TRACINGS = ("ecg", "finding")
DONE = ("drug", "procedure", "finding", "imaging")
"""Kinds of evidence a criterion accepts, so that an admission diagnosis is counted once, under its own criterion."""

recorded("pressors_recorded", "pressors", ("vasopressors",), SUPPORTS, "vasopressor recorded")
recorded("inotropes_recorded", "pressors", ("inotropes",), NEUTRAL, "inotrope or mechanical support recorded")
recorded("ecg_ischaemia_recorded", "ecg", ("ecg_ischaemia",), SUPPORTS, "ischaemia on ECG", kinds=TRACINGS)
recorded("reperfusion_recorded", "catheterisation", ("reperfusion",), SUPPORTS, "reperfusion recorded")
recorded("ischaemia_treated", "antianginals", ("ischaemia_treatment",), NEUTRAL, "filed under ischaemia or infarction")
recorded("arrhythmia_on_ecg", "ecg", ("ecg_arrhythmia",), SUPPORTS, "rhythm named", kinds=TRACINGS)
recorded("irregular_on_exam", "ecg", ("ecg_irregular",), NEUTRAL, "rhythm on examination", kinds=TRACINGS)
recorded("sinus_on_ecg", "ecg", ("ecg_sinus",), NEUTRAL, "sinus rhythm recorded", kinds=TRACINGS)
recorded("antiarrhythmic_recorded", "antiarrhythmics", ("antiarrhythmics",), SUPPORTS, "antiarrhythmic recorded")
recorded("rhythm_procedure_recorded", "rhythm_procedures", ("rhythm_procedures",), SUPPORTS, "recorded")
recorded("block_on_ecg", "ecg", ("ecg_block",), SUPPORTS, "conduction disorder named", kinds=TRACINGS)
recorded("pacing_recorded", "pacing", ("pacing",), SUPPORTS, "pacemaker or pacing recorded")
recorded("revascularised", "revascularisation", ("revascularisation",), SUPPORTS, "revascularisation recorded")
recorded("congestion_on_imaging", "chest_imaging", ("heart_failure_imaging",), SUPPORTS, "imaging says", kinds=IMAGING)
recorded(
    "ejection_low", "echo", ("ejection_low", "heart_failure_imaging"), SUPPORTS, "echocardiogram says", kinds=IMAGING
)
recorded("hypertrophy_on_echo", "echo", ("ventricular_hypertrophy",), SUPPORTS, "echocardiogram says", kinds=IMAGING)
recorded("iv_vasodilator", "iv_vasodilators", ("iv_vasodilators",), NEUTRAL, "intravenous pressure-lowering drug")
recorded("ventilation_recorded", "ventilation", ("ventilation",), SUPPORTS, "ventilation recorded")
recorded("niv_recorded", "ventilation", ("niv",), SUPPORTS, "non-invasive support recorded")
recorded("antibiotics_recorded", "antibiotics", ("antibiotics",), SUPPORTS, "antibiotic recorded")
recorded("infiltrate_on_imaging", "chest_imaging", ("infiltrate",), SUPPORTS, "imaging says", kinds=IMAGING)
recorded("emphysema_on_imaging", "chest_imaging", ("emphysema_imaging",), SUPPORTS, "imaging says", kinds=IMAGING)
recorded("fibrosis_on_imaging", "chest_imaging", ("fibrosis_imaging",), SUPPORTS, "imaging says", kinds=IMAGING)
recorded("pleural_on_imaging", "chest_imaging", ("pleural_imaging",), SUPPORTS, "imaging says", kinds=IMAGING)
recorded("drainage_recorded", "chest_drain", ("chest_drain",), SUPPORTS, "drainage recorded")
recorded("bronchodilator_recorded", "bronchodilators", ("bronchodilators",), NEUTRAL, "bronchodilator recorded")
recorded("upper_airway_named", "airway", ("upper_airway_disease",), SUPPORTS, "recorded", kinds=DONE)
recorded("oral_hypoglycaemics", "oral_hypoglycaemics", ("oral_hypoglycaemics",), SUPPORTS, "oral diabetes drug")
recorded("insulin_recorded", "insulin", ("insulin",), NEUTRAL, "insulin recorded (alone it does not count)")
recorded("diabetic_damage_recorded", "diabetic_exam", ("diabetic_damage",), SUPPORTS, "examination says", kinds=DONE)
recorded("endoscopic_proof", "endoscopy", ("endoscopic_haemostasis",), SUPPORTS, "endoscopy", kinds=DONE)
recorded("blood_seen", "stool_emesis", ("stool_emesis",), SUPPORTS, "recorded", kinds=DONE)
recorded("ascites_recorded", "ascites", ("ascites",), SUPPORTS, "recorded", kinds=DONE)
recorded("liver_drug_recorded", "liver_drugs", ("liver_drugs",), SUPPORTS, "recorded")
recorded("stroke_on_imaging", "head_imaging", ("stroke_imaging",), SUPPORTS, "imaging says", kinds=IMAGING)
recorded("stroke_treated", "stroke_treatment", ("thrombolysis", "stroke_treatment"), SUPPORTS, "recorded", kinds=DONE)
recorded("harm_recorded", "harm", ("harm",), SUPPORTS, "recorded", kinds=DONE)
recorded("antihypertensive_recorded", "antihypertensives", ("antihypertensives",), NEUTRAL, "pressure drug recorded")


@rule("admission_names_it", "admission_diagnosis", "review_evidence.name")
def admission_names_it(view: View, limits: Limits) -> Answer:
    """Find an admission diagnosis that names the label."""
    hits = view.admission_terms()
    if not hits:
        return None
    span = hits[0][1]
    return f"the admission diagnosis names it: {span.text}", SUPPORTS, [reading.ref for reading, _ in hits]


def _counted(mentions: list[Mention]) -> str:
    here = sum(1 for m in mentions)
    words = list(dict.fromkeys(m.span.term for m in mentions))[:3]
    return f"{', '.join(words)} ({here} {'mention' if here == 1 else 'mentions'})"


def _own(view: View, *statuses: str) -> list[Mention]:
    return [m for m in view.mentions() if m.stay_id == view.stay_id and m.span.status in statuses]


@rule("named_in_notes", "history", "notes.text")
def named_in_notes(view: View, limits: Limits) -> Answer:
    """Find the label named in this stay's notes and not negated; of the past counts for what lasts or comes back."""
    statuses = ("affirmed",) if view.persistence == "acute" else ("affirmed", "historical")
    found = _own(view, *statuses)
    return (f"the record names it: {_counted(found)}", SUPPORTS, [m.ref for m in found]) if found else None


@rule("named_as_past", "history", "notes.text")
def named_as_past(view: View, limits: Limits) -> Answer:
    """Say that the notes name an acute condition as one of the past."""
    found = _own(view, "historical")
    if view.persistence != "acute" or not found:
        return None
    return f"named as a thing of the past: {_counted(found)}", NEUTRAL, [m.ref for m in found]


@rule("doubted_in_notes", "history", "notes.text")
def doubted_in_notes(view: View, limits: Limits) -> Answer:
    """Say that the notes name it as a possibility."""
    found = _own(view, "uncertain")
    return (f"named as a possibility: {_counted(found)}", NEUTRAL, [m.ref for m in found]) if found else None


@rule("denied_in_notes", "history", "notes.text")
def denied_in_notes(view: View, limits: Limits) -> Answer:
    """Say that the notes deny it."""
    found = _own(view, "negated")
    return (f"denied in the record: {_counted(found)}", AGAINST, [m.ref for m in found]) if found else None


@rule("named_elsewhere", "history", "notes.text")
def named_elsewhere(view: View, limits: Limits) -> Answer:
    """Say that another visit's notes name it; what lasts for life then speaks for this stay too."""
    found = [m for m in view.mentions() if m.stay_id != view.stay_id and m.span.status in ("affirmed", "historical")]
    if not found or view.persistence == "acute":
        return None
    titles = ", ".join(dict.fromkeys(m.visit_title for m in found))
    direction = SUPPORTS if view.persistence == "lifelong" else NEUTRAL
    return f"named in the record of {titles}", direction, [m.ref for m in found]


@rule("mate_named", "history", "notes.text")
def mate_named(view: View, limits: Limits) -> Answer:
    """Say that this stay's record names the label decided together with this one: the more specific one wins."""
    found = [
        m for m in view.mate_mentions() if m.stay_id == view.stay_id and m.span.status in ("affirmed", "historical")
    ]
    if not found:
        return None
    name = view.chart.label(view.mates[0]).name
    specific = "with complications" in name.lower()
    return (
        f"the record names the other answer ({name}): {_counted(found)}",
        AGAINST if specific else NEUTRAL,
        [m.ref for m in found],
    )


def _noted(key: str, item: str, lists: tuple[str, ...], direction: str, words: str) -> None:
    @rule(key, item, "notes.text")
    def ask(view: View, limits: Limits) -> Answer:
        hits = view.note_hits(*lists)
        return (f"{words}: {named(hits)}", direction, refs_of(hits)) if hits else None


_noted("rhythm_noted", "ecg", ("ecg_irregular",), NEUTRAL, "rhythm in the notes")
_noted("sinus_noted", "ecg", ("ecg_sinus",), NEUTRAL, "sinus rhythm in the notes")
_noted("pacing_noted", "pacing", ("pacing",), SUPPORTS, "pacing in the notes")
_noted("blood_noted", "stool_emesis", ("stool_emesis",), SUPPORTS, "in the notes")


@rule("ejection_measured", "echo", "review_evidence.value")
def ejection_measured(view: View, limits: Limits) -> Answer:
    """Find a charted ejection fraction of 40 % or less."""
    low = [r for r in view.rows("ejection_fraction") if r.value is not None and 0 < r.value <= limits.ejection]
    return (f"ejection fraction {low[0].value:.0f} % (≤ {limits.ejection:g})", SUPPORTS, refs_of(low)) if low else None
