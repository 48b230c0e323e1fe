"""The 25 benchmark phenotypes: immutable keys, published names, persistence, and labels decided together.

A label's key names it in labels, pairs, decisions and exports for ever; `label_id` is only its 0-based place in the
set, names sorted as the published listfiles have them. The ICD-9 and ICD-10 codes stand in `phenotypes.json`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """One diagnosis label.

    Parameters
    ----------
    key
        Immutable slug.
    name
        Published name (CCS category, as in the phenotyping benchmark).
    persistence
        ``lifelong`` (once present, always), ``recurrent`` (comes and goes) or ``acute`` (this stay only).
    group
        Key of the group of labels that are decided together, or None.
    """

    key: str
    name: str
    persistence: str
    group: str | None = None


PHENOTYPES: tuple[Label, ...] = (
    Label("acute_renal_failure", "Acute and unspecified renal failure", "acute"),
    Label("acute_cerebrovascular_disease", "Acute cerebrovascular disease", "acute"),
    Label("acute_myocardial_infarction", "Acute myocardial infarction", "acute"),
    Label("cardiac_dysrhythmias", "Cardiac dysrhythmias", "recurrent"),
    Label("chronic_kidney_disease", "Chronic kidney disease", "lifelong"),
    Label("copd", "Chronic obstructive pulmonary disease and bronchiectasis", "lifelong"),
    Label("complications_of_care", "Complications of surgical procedures or medical care", "acute"),
    Label("conduction_disorders", "Conduction disorders", "recurrent"),
    Label("heart_failure", "Congestive heart failure; nonhypertensive", "lifelong"),
    Label("coronary_disease", "Coronary atherosclerosis and other heart disease", "lifelong"),
    Label("diabetes_with_complications", "Diabetes mellitus with complications", "lifelong", "diabetes"),
    Label("diabetes_without_complication", "Diabetes mellitus without complication", "lifelong", "diabetes"),
    Label("lipid_disorders", "Disorders of lipid metabolism", "lifelong"),
    Label("essential_hypertension", "Essential hypertension", "lifelong", "hypertension"),
    Label("fluid_electrolyte_disorders", "Fluid and electrolyte disorders", "acute"),
    Label("gastrointestinal_hemorrhage", "Gastrointestinal hemorrhage", "acute"),
    Label(
        "hypertension_with_complications",
        "Hypertension with complications and secondary hypertension",
        "lifelong",
        "hypertension",
    ),
    Label("other_liver_diseases", "Other liver diseases", "recurrent"),
    Label("other_lower_respiratory_disease", "Other lower respiratory disease", "recurrent"),
    Label("other_upper_respiratory_disease", "Other upper respiratory disease", "recurrent"),
    Label("pleurisy_pneumothorax_collapse", "Pleurisy; pneumothorax; pulmonary collapse", "acute"),
    Label(
        "pneumonia",
        "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
        "acute",
    ),
    Label("respiratory_failure", "Respiratory failure; insufficiency; arrest (adult)", "acute"),
    Label("septicemia", "Septicemia (except in labor)", "acute"),
    Label("shock", "Shock", "acute"),
)
