"""Which published eICU column, laboratory name or charted item is which channel, in which unit.

A `Measure` converts into the channel's unit by `scale`, and by an alternative scale where a value can only have been
given in the other unit (FiO₂ 40 is per cent, 0.4 a fraction; 99 degrees are Fahrenheit).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How a source's value becomes a channel's.

    Parameters
    ----------
    channel
        Name in `core.cohort.channels`.
    units
        Units accepted, lower case without blanks; empty: the column states none and is published in the first unit
        named in `states`.
    scale, shift
        value · scale + shift, in the channel's unit.
    other_from, other_below
        Values at or above `other_from` (below `other_below`) are in the other unit ...
    other_scale, other_shift
        ... and converted by these.
    """

    channel: str
    units: tuple[str, ...] = ()
    scale: float = 1.0
    shift: float = 0.0
    other_from: float = float("inf")
    other_below: float = float("-inf")
    other_scale: float = 1.0
    other_shift: float = 0.0


_FAHRENHEIT = {"other_from": 70.0, "other_scale": 5 / 9, "other_shift": -160 / 9}
"""°C = (°F − 32) · 5/9; nobody is at 70 °C."""
CALCIUM_MG_DL_PER_MMOL_L = 4.008
"""Molar mass of calcium 40.08 g/mol, in mg/dL per mmol/L."""
INCH_CM = 2.54
"""Centimetres per inch."""
HEIGHT_INCHES = (48.0, 84.0)
"""An adult's admission height in this closed range is in inches, not centimetres."""
MONITOR_STEP_MINUTES = 60
"""`vitalPeriodic` has a row each five minutes: the last measured value of each hour is kept, as in an hourly table."""


def _fio2() -> Measure:
    return Measure("fio2", ("%", "fraction"), other_from=1.0 + 1e-9, other_scale=0.01)


def _celsius() -> Measure:
    return Measure("temperature", (), **_FAHRENHEIT)


HOURLY: dict[str, Measure] = {
    "alb": Measure("albumin"),
    "alp": Measure("alp"),
    "alt": Measure("alt"),
    "ast": Measure("ast"),
    "be": Measure("base_excess"),
    "bicar": Measure("bicarbonate"),
    "bili": Measure("bilirubin"),
    "bili_dir": Measure("bilirubin_direct"),
    "bnd": Measure("bands"),
    "bun": Measure("bun"),
    "ca": Measure("calcium"),
    "cai": Measure("calcium_ionized"),
    "ck": Measure("ck"),
    "ckmb": Measure("ck_mb"),
    "cl": Measure("chloride"),
    "crea": Measure("creatinine"),
    "crp": Measure("crp"),
    "dbp": Measure("dbp"),
    "etco2": Measure("etco2"),
    "fgn": Measure("fibrinogen"),
    "fio2": _fio2(),
    "glu": Measure("glucose"),
    "hba1c": Measure("hba1c"),
    "hct": Measure("hematocrit"),
    "hgb": Measure("hemoglobin"),
    "hr": Measure("heart_rate"),
    "inr_pt": Measure("inr"),
    "k": Measure("potassium"),
    "lact": Measure("lactate"),
    "lymph": Measure("lymphocytes"),
    "map": Measure("map"),
    "mch": Measure("mch"),
    "mchc": Measure("mchc"),
    "mcv": Measure("mcv"),
    "methb": Measure("methemoglobin"),
    "mg": Measure("magnesium"),
    "na": Measure("sodium"),
    "neut": Measure("neutrophils"),
    "o2sat": Measure("spo2"),
    "pco2": Measure("paco2"),
    "ph": Measure("ph"),
    "phos": Measure("phosphate"),
    "plt": Measure("platelets"),
    "po2": Measure("pao2"),
    "pt": Measure("pt"),
    "ptt": Measure("ptt"),
    "rbc": Measure("rbc"),
    "rdw": Measure("rdw"),
    "resp": Measure("resp_rate"),
    "sbp": Measure("sbp"),
    "temp": _celsius(),
    "tnt": Measure("troponin_t"),
    "tri": Measure("troponin_i"),
    "urine": Measure("urine_output"),
    "wbc": Measure("wbc"),
}
"""ricu/YAIB column names, in ricu's units (FiO₂ in per cent, urine in mL charted within the hour)."""

MONITOR: dict[str, Measure] = {
    "temperature": _celsius(),
    "sao2": Measure("spo2"),
    "heartrate": Measure("heart_rate"),
    "respiration": Measure("resp_rate"),
    "etco2": Measure("etco2"),
    "systemicsystolic": Measure("sbp"),
    "systemicdiastolic": Measure("dbp"),
    "systemicmean": Measure("map"),
}
"""Columns of `vitalPeriodic`."""

CUFF: dict[str, Measure] = {
    "noninvasivesystolic": Measure("sbp"),
    "noninvasivediastolic": Measure("dbp"),
    "noninvasivemean": Measure("map"),
}
"""Columns of `vitalAperiodic`."""

_MASS = ("mg/dl",)
_SALT = ("mmol/l", "meq/l")
_SHARE = ("%",)
_ENZYME = ("units/l", "u/l", "iu/l")
_NANO = ("ng/ml",)
_CELLS = ("k/mcl", "k/ul", "10^3/ul", "10*3/ul", "x10^3/ul")
_GAS = ("mmhg", "torr")

LAB: dict[str, Measure] = {
    "albumin": Measure("albumin", ("g/dl",)),
    "alkaline phos.": Measure("alp", _ENZYME),
    "alt (sgpt)": Measure("alt", _ENZYME),
    "ast (sgot)": Measure("ast", _ENZYME),
    "base excess": Measure("base_excess", _SALT),
    "bicarbonate": Measure("bicarbonate", _SALT),
    "total bilirubin": Measure("bilirubin", _MASS),
    "direct bilirubin": Measure("bilirubin_direct", _MASS),
    "-bands": Measure("bands", _SHARE),
    "bun": Measure("bun", _MASS),
    "calcium": Measure("calcium", _MASS),
    "ionized calcium": Measure(
        "calcium_ionized", ("mg/dl", "mmol/l"), other_from=2.5, other_scale=1 / CALCIUM_MG_DL_PER_MMOL_L
    ),
    "cpk": Measure("ck", _ENZYME),
    "cpk-mb": Measure("ck_mb", _NANO),
    "chloride": Measure("chloride", _SALT),
    "creatinine": Measure("creatinine", _MASS),
    "crp": Measure("crp", _MASS, scale=10.0),
    "fibrinogen": Measure("fibrinogen", _MASS),
    "fio2": _fio2(),
    "glucose": Measure("glucose", _MASS),
    "bedside glucose": Measure("glucose", _MASS),
    "hct": Measure("hematocrit", _SHARE),
    "hgb": Measure("hemoglobin", ("g/dl",)),
    "pt - inr": Measure("inr", ("ratio",)),
    "potassium": Measure("potassium", _SALT),
    "lactate": Measure("lactate", _SALT),
    "-lymphs": Measure("lymphocytes", _SHARE),
    "magnesium": Measure("magnesium", _MASS),
    "mch": Measure("mch", ("pg",)),
    "mchc": Measure("mchc", ("g/dl",)),
    "mcv": Measure("mcv", ("fl",)),
    "methemoglobin": Measure("methemoglobin", _SHARE),
    "sodium": Measure("sodium", _SALT),
    "-polys": Measure("neutrophils", _SHARE),
    "paco2": Measure("paco2", _GAS),
    "ph": Measure("ph", ("units",)),
    "phosphate": Measure("phosphate", _MASS),
    "platelets x 1000": Measure("platelets", _CELLS),
    "pao2": Measure("pao2", _GAS),
    "pt": Measure("pt", ("sec", "s")),
    "ptt": Measure("ptt", ("sec", "s")),
    "rbc": Measure("rbc", ("m/mcl", "m/ul", "10^6/ul", "10*6/ul")),
    "rdw": Measure("rdw", _SHARE),
    "troponin - t": Measure("troponin_t", _NANO),
    "troponin - i": Measure("troponin_i", _NANO),
    "bnp": Measure("bnp", ("pg/ml",)),
    "wbc x 1000": Measure("wbc", _CELLS),
}
"""`lab.labname` (lower case) and the units of `labmeasurenamesystem`; an empty unit means the first one."""

NURSE: dict[tuple[str, str], Measure] = {
    ("heart rate", "heart rate"): Measure("heart_rate"),
    ("respiratory rate", "respiratory rate"): Measure("resp_rate"),
    ("o2 saturation", "o2 saturation"): Measure("spo2"),
    ("spo2", "value"): Measure("spo2"),
    ("non-invasive bp", "non-invasive bp systolic"): Measure("sbp"),
    ("non-invasive bp", "non-invasive bp diastolic"): Measure("dbp"),
    ("non-invasive bp", "non-invasive bp mean"): Measure("map"),
    ("invasive bp", "invasive bp systolic"): Measure("sbp"),
    ("invasive bp", "invasive bp diastolic"): Measure("dbp"),
    ("invasive bp", "invasive bp mean"): Measure("map"),
    ("map (mmhg)", "value"): Measure("map"),
    ("arterial line map (mmhg)", "value"): Measure("map"),
    ("temperature", "temperature (c)"): _celsius(),
    ("temperature", "temperature (f)"): Measure("temperature", (), 5 / 9, -160 / 9),
    ("bedside glucose", "bedside glucose"): Measure("glucose"),
    ("end tidal co2", "value"): Measure("etco2"),
    ("glasgow coma score", "gcs total"): Measure("gcs_total"),
    ("glasgow coma score", "eyes"): Measure("gcs_eye"),
    ("glasgow coma score", "motor"): Measure("gcs_motor"),
    ("glasgow coma score", "verbal"): Measure("gcs_verbal"),
    ("score (glasgow coma scale)", "value"): Measure("gcs_total"),
}
"""`nurseCharting`: (nursingchartcelltypevallabel, nursingchartcelltypevalname), lower case."""

RESPIRATORY: dict[str, Measure] = {
    "fio2": _fio2(),
    "fio2 (%)": _fio2(),
    "set fraction of inspired oxygen (fio2)": _fio2(),
}
"""`respiratoryCharting.respchartvaluelabel`, lower case."""
