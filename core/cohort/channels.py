"""The channels a cohort may hold: names, units, plausible ranges, normal ranges and imputation values.

The first seventeen are the benchmark's variables and the only ones a model reads (`model=True`); the rest are
vitals and laboratory values for readers' eyes. Plausible ranges and imputation values of the benchmark's variables
follow the mimic3-benchmarks resources (variable_ranges.csv, discretizer_config.json); normal ranges are the usual
adult reference ranges, for shading charts only.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Channel:
    """One variable of the time series.

    Parameters
    ----------
    name
        Slug, unique.
    title
        What a chart's axis says.
    unit
        Unit of `value`; a source converts into it or refuses.
    plausible
        Closed interval; a value outside is removed and counted.
    normal
        Normal adult range, or None where none is meaningful.
    impute
        Value assumed before the first measurement, in `unit` (model channels only).
    categories
        Ordered category names for a categorical channel, else None; `value` then holds `codes`.
    codes
        Numeric score of each category.
    model
        Whether a model may read it.
    """

    name: str
    title: str
    unit: str
    plausible: tuple[float, float]
    normal: tuple[float | None, float | None] | None
    impute: float | None = None
    categories: tuple[str, ...] | None = None
    codes: tuple[float, ...] | None = None
    model: bool = False


def _score(name: str, title: str, categories: tuple[str, ...], first: int, impute: float) -> Channel:
    codes = tuple(float(first + i) for i in range(len(categories)))
    normal = (codes[-1], codes[-1])
    return Channel(name, title, "points", (codes[0], codes[-1]), normal, impute, categories, codes, True)


CHANNELS: tuple[Channel, ...] = (
    Channel(
        "capillary_refill",
        "Capillary refill",
        "",
        (0, 1),
        (0, 0),
        0.0,
        ("brisk", "delayed"),
        (0.0, 1.0),
        True,
    ),
    Channel("dbp", "Diastolic blood pressure", "mmHg", (0, 375), (60, 90), 59.0, model=True),
    Channel("fio2", "Fraction of inspired oxygen", "fraction", (0.21, 1), (0.21, 0.21), 0.21, model=True),
    _score("gcs_eye", "GCS eye opening", ("none", "to pain", "to speech", "spontaneous"), 1, 4.0),
    _score(
        "gcs_motor",
        "GCS motor response",
        ("none", "extension", "abnormal flexion", "withdrawal", "localises pain", "obeys commands"),
        1,
        6.0,
    ),
    _score("gcs_total", "GCS total", tuple(str(i) for i in range(3, 16)), 3, 15.0),
    _score(
        "gcs_verbal",
        "GCS verbal response",
        ("none", "incomprehensible sounds", "inappropriate words", "confused", "oriented"),
        1,
        5.0,
    ),
    Channel("glucose", "Glucose", "mg/dL", (33, 2000), (70, 180), 128.0, model=True),
    Channel("heart_rate", "Heart rate", "/min", (0, 350), (60, 100), 86.0, model=True),
    Channel("height", "Height", "cm", (50, 240), None, 170.0, model=True),
    Channel("map", "Mean arterial pressure", "mmHg", (14, 330), (65, 105), 77.0, model=True),
    Channel("spo2", "Oxygen saturation", "%", (0, 100), (92, 100), 98.0, model=True),
    Channel("resp_rate", "Respiratory rate", "/min", (0, 300), (12, 20), 19.0, model=True),
    Channel("sbp", "Systolic blood pressure", "mmHg", (0, 375), (90, 140), 118.0, model=True),
    Channel("temperature", "Temperature", "°C", (26, 45), (36.0, 38.0), 36.6, model=True),
    Channel("weight", "Weight", "kg", (20, 400), None, 81.0, model=True),
    Channel("ph", "pH", "", (6.3, 8.4), (7.35, 7.45), 7.4, model=True),
    Channel("albumin", "Albumin", "g/dL", (0.6, 6), (3.5, 5.0)),
    Channel("alp", "Alkaline phosphatase", "U/L", (5, 3625), (40, 130)),
    Channel("alt", "ALT", "U/L", (2, 10000), (7, 56)),
    Channel("ast", "AST", "U/L", (2, 20000), (10, 40)),
    Channel("base_excess", "Base excess", "mmol/L", (-40, 40), (-2, 2)),
    Channel("bicarbonate", "Bicarbonate", "mmol/L", (2, 60), (22, 29)),
    Channel("bilirubin", "Bilirubin, total", "mg/dL", (0.1, 60), (0.1, 1.2)),
    Channel("bilirubin_direct", "Bilirubin, direct", "mg/dL", (0, 50), (0, 0.3)),
    Channel("bands", "Band forms", "%", (0, 100), (0, 10)),
    Channel("bun", "Urea nitrogen", "mg/dL", (1, 250), (7, 20)),
    Channel("calcium", "Calcium, total", "mg/dL", (3, 20), (8.5, 10.5)),
    Channel("calcium_ionized", "Calcium, ionised", "mmol/L", (0.3, 3), (1.1, 1.35)),
    Channel("ck", "Creatine kinase", "U/L", (5, 200000), (30, 200)),
    Channel("ck_mb", "CK-MB", "ng/mL", (0, 1000), (0, 5)),
    Channel("chloride", "Chloride", "mmol/L", (50, 175), (98, 107)),
    Channel("creatinine", "Creatinine", "mg/dL", (0.1, 60), (0.6, 1.2)),
    Channel("crp", "C-reactive protein", "mg/L", (0, 700), (0, 10)),
    Channel("etco2", "End-tidal CO₂", "mmHg", (5, 100), (35, 45)),
    Channel("fibrinogen", "Fibrinogen", "mg/dL", (20, 1500), (200, 400)),
    Channel("hba1c", "HbA1c", "%", (3, 20), (4, 5.7)),
    Channel("hematocrit", "Haematocrit", "%", (5, 75), (36, 50)),
    Channel("hemoglobin", "Haemoglobin", "g/dL", (2, 25), (12, 17)),
    Channel("inr", "INR", "ratio", (0.5, 20), (0.8, 1.2)),
    Channel("lactate", "Lactate", "mmol/L", (0.2, 30), (0.5, 2.0)),
    Channel("lymphocytes", "Lymphocytes", "%", (0, 100), (20, 40)),
    Channel("magnesium", "Magnesium", "mg/dL", (0.3, 20), (1.7, 2.4)),
    Channel("mch", "MCH", "pg", (10, 60), (27, 33)),
    Channel("mchc", "MCHC", "g/dL", (15, 50), (32, 36)),
    Channel("mcv", "MCV", "fL", (40, 150), (80, 100)),
    Channel("methemoglobin", "Methaemoglobin", "%", (0, 100), (0, 2)),
    Channel("neutrophils", "Neutrophils", "%", (0, 100), (40, 75)),
    Channel("paco2", "PaCO₂", "mmHg", (8, 200), (35, 45)),
    Channel("pao2", "PaO₂", "mmHg", (20, 770), (75, 100)),
    Channel("phosphate", "Phosphate", "mg/dL", (0.3, 20), (2.5, 4.5)),
    Channel("platelets", "Platelets", "10⁹/L", (1, 2200), (150, 400)),
    Channel("potassium", "Potassium", "mmol/L", (1, 12), (3.5, 5.0)),
    Channel("pt", "Prothrombin time", "s", (5, 150), (11, 14)),
    Channel("ptt", "Partial thromboplastin time", "s", (15, 200), (25, 40)),
    Channel("rbc", "Red blood cells", "10¹²/L", (0.5, 10), (4.0, 5.9)),
    Channel("rdw", "Red cell width", "%", (8, 50), (11.5, 14.5)),
    Channel("sodium", "Sodium", "mmol/L", (90, 200), (135, 145)),
    Channel("troponin_i", "Troponin I", "ng/mL", (0, 575), (0, 0.04)),
    Channel("troponin_t", "Troponin T", "ng/mL", (0, 24), (0, 0.014)),
    Channel("bnp", "BNP", "pg/mL", (0, 70000), (0, 100)),
    Channel("urine_output", "Urine output", "mL/h", (0, 2500), (30, None)),
    Channel("wbc", "White blood cells", "10⁹/L", (0.1, 500), (4, 11)),
)

BY_NAME: dict[str, Channel] = {c.name: c for c in CHANNELS}
MODEL_CHANNELS: tuple[Channel, ...] = tuple(c for c in CHANNELS if c.model)


def manifest_channels(channels: tuple[Channel, ...] = CHANNELS) -> list[dict[str, Any]]:
    """Every channel as an entry of a cohort manifest's ``channels``."""
    return [
        {
            "name": channel.name,
            "title": channel.title,
            "unit": channel.unit,
            "low": channel.normal[0] if channel.normal else None,
            "high": channel.normal[1] if channel.normal else None,
            "impute": channel.impute,
            "categories": list(channel.categories) if channel.categories else None,
            "codes": list(channel.codes) if channel.codes else None,
            "model": channel.model,
        }
        for channel in channels
    ]
