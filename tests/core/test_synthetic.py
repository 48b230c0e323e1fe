"""The synthetic cohort keeps its promises: prevalences, persistence, charting, determinism, noise, errors."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from core.cohort.channels import BY_NAME, MODEL_CHANNELS
from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import TABLES, TRAINING_TABLES
from core.cohort.sources.synthetic import NoiseSpec, SyntheticConfig, build_synthetic
from core.cohort.sources.synthetic.config import medicine, read_toml
from core.cohort.sources.synthetic.patients import Patients, draw_patients, targets
from core.cohort.store import Cohort, file_digest, open_cohort
from core.errors import ConfigError

KEYS = [label.key for label in PHENOTYPES]
STAYS = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("synthetic") / "cohort"
    build_synthetic(target, stays=STAYS, seed=3, noise=NoiseSpec("asymmetric", 0.3, 0.1), noise_seed=9)
    return target


@pytest.fixture(scope="module")
def cohort(folder: Path) -> Cohort:
    return open_cohort(folder)


@pytest.fixture(scope="module")
def many() -> Patients:
    return draw_patients(5_000, SyntheticConfig(), np.random.default_rng(0))


def truth_of(folder: Path) -> np.ndarray:
    table = pq.read_table(folder / "evaluation" / "truth.parquet")
    order = np.argsort(KEYS)
    return table["clean"].to_numpy().reshape(-1, len(KEYS))[:, np.argsort(order)].astype(bool)


def test_prevalences_are_the_published_ones_scaled_to_the_papers_positives_per_stay(many: Patients) -> None:
    wanted = targets(SyntheticConfig())
    assert wanted.sum() == pytest.approx(4.575)
    assert np.abs(many.truth.mean(0) - wanted).max() < 0.03
    assert many.truth.sum(1).mean() == pytest.approx(4.575, abs=0.25)
    assert {KEYS[i] for i in np.argsort(wanted)[:5]} == {
        "acute_cerebrovascular_disease",
        "acute_myocardial_infarction",
        "gastrointestinal_hemorrhage",
        "other_upper_respiratory_disease",
        "pleurisy_pneumothorax_collapse",
    }


def test_lifelong_phenotypes_never_leave_and_acute_ones_do(many: Patients) -> None:
    later = np.flatnonzero(many.visit > 1)
    before, after = many.truth[later - 1], many.truth[later]
    kept = {label.key: float(after[before[:, i], i].mean()) for i, label in enumerate(PHENOTYPES) if before[:, i].any()}
    persistence = {label.key: label.persistence for label in PHENOTYPES}
    assert all(share == 1.0 for key, share in kept.items() if persistence[key] == "lifelong")
    acute = np.mean([share for key, share in kept.items() if persistence[key] == "acute"])
    recurrent = np.mean([share for key, share in kept.items() if persistence[key] == "recurrent"])
    assert acute < 0.5
    assert acute < recurrent < 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("septicemia", "shock"),
        ("acute_renal_failure", "septicemia"),
        ("shock", "respiratory_failure"),
        ("coronary_disease", "acute_myocardial_infarction"),
        ("coronary_disease", "heart_failure"),
        ("heart_failure", "cardiac_dysrhythmias"),
        ("lipid_disorders", "coronary_disease"),
        ("chronic_kidney_disease", "hypertension_with_complications"),
        ("chronic_kidney_disease", "diabetes_with_complications"),
        ("copd", "pneumonia"),
        ("copd", "respiratory_failure"),
        ("other_liver_diseases", "gastrointestinal_hemorrhage"),
    ],
)
def test_known_comorbidities_go_together(many: Patients, one: str, other: str) -> None:
    a, b = many.truth[:, KEYS.index(one)], many.truth[:, KEYS.index(other)]
    assert b[a].mean() > 1.15 * b[~a].mean()


def test_grouped_phenotypes_mostly_exclude_one_another(many: Patients) -> None:
    for group in ("diabetes", "hypertension"):
        pair = many.truth[:, [i for i, label in enumerate(PHENOTYPES) if label.group == group]]
        assert 0 < pair.all(1).sum() < 0.05 * pair.any(1).sum()


def test_patients_have_one_to_five_visits_in_order_and_stays_last_as_in_intensive_care(many: Patients) -> None:
    assert set(np.unique(many.visit)) == {1, 2, 3, 4, 5}
    steps = np.diff(many.visit)
    same = np.diff(many.patient) == 0
    assert (steps[same] == 1).all()
    assert (many.visit[1:][~same] == 1).all()
    assert (np.diff(many.since)[same] > 0).all()
    assert 44 < np.median(many.los) < 56
    assert 72 < many.los.mean() < 98


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first = build_synthetic(tmp_path / "a", stays=60, seed=5)
    again = build_synthetic(tmp_path / "b", stays=60, seed=5)
    other = build_synthetic(tmp_path / "c", stays=60, seed=6)
    assert first["fingerprint"] == again["fingerprint"] != other["fingerprint"]
    for name in (*TABLES, "evaluation/truth"):
        assert file_digest(tmp_path / "a" / f"{name}.parquet") == file_digest(tmp_path / "b" / f"{name}.parquet")


def test_noise_changes_the_labels_alone(folder: Path, tmp_path: Path) -> None:
    clean = build_synthetic(tmp_path / "clean", stays=STAYS, seed=3)
    noisy = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    changed = {name for name in TABLES if clean["tables"][name] != noisy["tables"][name]}
    assert changed == {"labels"}
    assert clean["noise"] is None
    assert (truth_of(folder) == truth_of(tmp_path / "clean")).all()


def test_flips_have_the_stated_rates_in_training_stays_and_none_in_test_stays(folder: Path, cohort: Cohort) -> None:
    observed, stated = cohort.label_matrix()
    truth = truth_of(folder)
    test = np.array(cohort.stays["split"].to_pylist()) == "test"
    assert stated.all()
    assert (observed[test] == truth[test]).all()
    train_truth, train_seen = truth[~test], observed[~test].astype(bool)
    assert (~train_seen)[train_truth].mean() == pytest.approx(0.3, abs=0.04)
    assert train_seen[~train_truth].mean() == pytest.approx(0.1, abs=0.015)
    assert cohort.manifest["noise"] == {"kind": "asymmetric", "rho_plus": 0.3, "rho_minus": 0.1, "seed": 9}
    assert cohort.manifest["labels_against"] == "truth-known"


def test_balanced_noise_adds_as_many_labels_as_it_removes(tmp_path: Path) -> None:
    build_synthetic(tmp_path / "c", stays=800, seed=1, noise=NoiseSpec("balanced", 0.4))
    cohort = open_cohort(tmp_path / "c")
    observed, _ = cohort.label_matrix()
    truth = truth_of(tmp_path / "c")
    assert observed.sum() == pytest.approx(truth.sum(), rel=0.06)
    assert cohort.manifest["noise"]["rho_minus"] == pytest.approx(0.4 * 4.575 / (25 - 4.575), rel=0.15)


def planted(target: Path, spec: NoiseSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray, Cohort]:
    """Truth and recorded labels, which stays are trained on, and the cohort."""
    build_synthetic(target, stays=800, seed=1, noise=spec, noise_seed=4)
    cohort = open_cohort(target)
    observed = cohort.label_matrix()[0].astype(bool)
    truth = truth_of(target)
    train = np.array(cohort.stays["split"].to_pylist()) == "train"
    assert (observed[~train] == truth[~train]).all()
    return truth, observed, train, cohort


def test_a_label_taken_for_another_is_offered_too(tmp_path: Path) -> None:
    truth, observed, train, cohort = planted(tmp_path / "c", NoiseSpec("ccn", 0.2))
    noise = cohort.manifest["noise"]
    assert (noise["kind"], noise["rho_plus"], noise["seed"]) == ("ccn", 0.2, 4)
    assert (truth & ~observed)[train].sum() / truth[train].sum() == pytest.approx(0.2, abs=0.04)
    assert (observed & ~truth)[train].any()


@pytest.mark.parametrize("kind", ["stay", "label", "patient", "source"])
def test_noise_like_a_hospitals_is_planted_at_the_rates_the_manifest_names(tmp_path: Path, kind: str) -> None:
    truth, observed, train, cohort = planted(tmp_path / "c", NoiseSpec(kind, 0.4))
    noise = cohort.manifest["noise"]
    assert list(noise) == ["kind", "rho_plus", "rho_minus", "rate", "seed"]
    assert (noise["kind"], noise["rate"], noise["seed"]) == (kind, 0.4, 4)
    persistence = np.array([label.persistence for label in PHENOTYPES])
    share = {name: truth[train][:, persistence == name].sum() / truth[train].sum() for name in set(persistence)}
    patient = cohort.stays["patient_id"].to_numpy()[train]
    chronic = truth[train][:, persistence == "lifelong"]
    losable = sum(int((chronic[patient == one].sum(0) > 1).sum()) for one in np.unique(patient))
    told = {
        "stay": 0.4,  # by severity among all stays, of which training takes a part
        "label": 0.4 * (share["acute"] + share["recurrent"] / 3),
        "patient": 0.4 * losable / truth[train].sum(),
        "source": noise["rho_plus"],
    }
    assert noise["rho_plus"] == pytest.approx(told[kind], rel=0.05 if kind == "stay" else 1e-9)
    assert (noise["rho_minus"] > 0) == (kind == "source")
    positives = truth[train].sum()
    lost = (truth & ~observed)[train].sum() / positives
    assert lost == pytest.approx(noise["rho_plus"], abs=4 * np.sqrt(0.25 / positives))
    assert (observed & ~truth).any() == (kind == "source")


def test_mild_stays_are_missed_by_the_generators_severity_and_new_codes_come_late(tmp_path: Path) -> None:
    truth, observed, train, _ = planted(tmp_path / "stay", NoiseSpec("stay", 0.45))
    severity = draw_patients(
        800, SyntheticConfig(), np.random.default_rng(np.random.SeedSequence(1).spawn(4)[0])
    ).severity
    mild, sick = train & (severity < -0.5), train & (severity > 1.0)
    assert (~observed)[mild][truth[mild]].mean() > 0.5
    assert (~observed)[sick][truth[sick]].mean() < 0.3
    truth, observed, train, cohort = planted(tmp_path / "source", NoiseSpec("source", 0.4))
    began = cohort.stays["admitted_at"].to_numpy()
    changed = (truth != observed).any(1)
    assert began[changed].min() >= np.median(began.astype(np.int64)).astype("datetime64[us]")
    for group in ("diabetes", "hypertension"):
        pair = [i for i, label in enumerate(PHENOTYPES) if label.group == group]
        assert (observed[:, pair].sum(1) == truth[:, pair].sum(1)).all()


def test_no_training_table_holds_the_truth(folder: Path) -> None:
    for name, schema in TRAINING_TABLES.items():
        columns = pq.read_schema(folder / f"{name}.parquet").names
        assert columns == schema.names
        assert not any("truth" in column or "clean" in column for column in columns)
    assert [path.name for path in (folder / "evaluation").iterdir()] == ["truth.parquet"]


def test_every_value_is_plausible_and_every_hour_lies_within_the_stay(cohort: Cohort) -> None:
    table = cohort.observations
    los = dict(zip(cohort.stays["stay_id"].to_pylist(), cohort.stays["los_hours"].to_pylist(), strict=True))
    end = np.array([los[i] for i in table["stay_id"].to_pylist()])
    hour = table["hour"].to_numpy()
    assert (hour >= 0).all()
    assert (hour <= end + 0.02).all()
    for name in pc.unique(table["channel"]).to_pylist():
        value = table.filter(pc.equal(table["channel"], name))["value"].to_numpy()
        low, high = BY_NAME[name].plausible
        assert value.min() >= low, name
        assert value.max() <= high, name
        assert len(np.unique(value)) > 1, name
    assert {channel.name for channel in MODEL_CHANNELS} <= set(pc.unique(table["channel"]).to_pylist())


def test_categories_say_what_their_scores_say(cohort: Cohort) -> None:
    table = cohort.observations
    for channel in MODEL_CHANNELS:
        rows = table.filter(pc.equal(table["channel"], channel.name))
        if channel.categories is None:
            assert rows["category"].null_count == rows.num_rows
            continue
        score = dict(zip(channel.categories, channel.codes or (), strict=True))
        assert [score[c] for c in rows["category"].to_pylist()] == rows["value"].to_pylist()


def test_sampling_is_irregular_and_denser_in_the_sicker(cohort: Cohort, folder: Path) -> None:
    table = cohort.observations.filter(pc.equal(cohort.observations["channel"], "heart_rate"))
    table = table.filter(pc.less(table["hour"], 24.0))
    gaps = np.diff(table["hour"].to_numpy())[np.diff(table["stay_id"].to_numpy()) == 0]
    assert np.std(gaps) > 0.3
    assert np.mean(np.isclose(gaps, 1.0, atol=0.01)) < 0.1
    ids = cohort.stays["stay_id"].to_numpy()
    count = np.bincount(np.searchsorted(ids, table["stay_id"].to_numpy()), minlength=len(ids))
    long = (cohort.stays["los_hours"].to_numpy() > 24) & np.array(cohort.stays["has_series"].to_pylist())
    shock = truth_of(folder)[:, KEYS.index("shock")]
    assert count[long & shock].mean() > count[long & ~shock].mean()


def test_laboratory_tests_are_ordered_on_suspicion_and_move_with_the_phenotype(cohort: Cohort, folder: Path) -> None:
    ids, truth = cohort.stays["stay_id"].to_numpy(), truth_of(folder)
    table = cohort.observations

    def peak(channel: str) -> np.ndarray:
        rows = table.filter(pc.equal(table["channel"], channel))
        highest = np.full(len(ids), -np.inf)
        np.maximum.at(highest, np.searchsorted(ids, rows["stay_id"].to_numpy()), rows["value"].to_numpy())
        return highest

    for channel, key in (
        ("troponin_t", "acute_myocardial_infarction"),
        ("lactate", "shock"),
        ("bilirubin", "other_liver_diseases"),
        ("bnp", "heart_failure"),
    ):
        highest, present = peak(channel), truth[:, KEYS.index(key)]
        tested = np.isfinite(highest)
        assert tested[present].mean() > 1.2 * tested[~present].mean(), channel
        assert np.median(highest[tested & present]) > np.median(highest[tested & ~present]), channel
    creatinine, kidney = peak("creatinine"), truth[:, KEYS.index("acute_renal_failure")]
    assert np.median(creatinine[kidney]) > 1.4 * np.median(creatinine[~kidney])


def test_stays_lack_a_modality_at_the_stated_shares_and_never_both(tmp_path: Path) -> None:
    build_synthetic(tmp_path / "c", stays=3_000, seed=2)
    cohort = open_cohort(tmp_path / "c", verify=False)
    series = np.array(cohort.stays["has_series"].to_pylist())
    note = np.array(cohort.stays["has_note"].to_pylist())
    assert (series | note).all()
    assert 1 - note.mean() == pytest.approx(0.08, abs=0.02)
    assert 1 - series.mean() == pytest.approx(0.06, abs=0.02)
    ids = cohort.stays["stay_id"].to_numpy()
    readable = cohort.notes.filter(pc.is_valid(cohort.notes["model_start"]))
    assert set(readable["stay_id"].to_pylist()) == set(ids[note].tolist())
    model = pa.array([channel.name for channel in MODEL_CHANNELS])
    early = cohort.observations.filter(
        pc.and_(pc.is_in(cohort.observations["channel"], value_set=model), pc.less(cohort.observations["hour"], 48.0))
    )
    assert set(pc.unique(early["stay_id"]).to_pylist()) == set(ids[series].tolist())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stays": 49}, "at least 50 stays"),
        ({"stays": 60, "seed": -1}, "seed of 0 or more"),
        ({"stays": 60, "noise": NoiseSpec("gaussian", 0.1, 0.1)}, "a noise kind among"),
        ({"stays": 60, "noise": NoiseSpec("asymmetric", 1.0, 0.0)}, "rho_plus in [0, 1)"),
        ({"stays": 60, "noise": NoiseSpec("asymmetric", 0.2, -0.1)}, "rho_minus in [0, 1)"),
        ({"stays": 60, "noise": NoiseSpec("asymmetric", float("nan"), 0.0)}, "rho_plus in [0, 1)"),
        ({"stays": 60, "noise": NoiseSpec("symmetric", 0.2, 0.1)}, "equal rates"),
        ({"stays": 60, "noise": NoiseSpec("none", 0.2, 0.0)}, "no rates without noise"),
        ({"stays": 60, "noise": NoiseSpec("balanced", 0.2, 0.1)}, "by rho_plus alone"),
        ({"stays": 60, "noise": NoiseSpec("ccn", 0.2, 0.1)}, "ccn noise by rho_plus alone"),
        ({"stays": 60, "noise": NoiseSpec("patient", 0.2, 0.1)}, "patient noise by rho_plus alone"),
        ({"stays": 60, "noise": NoiseSpec("stay", 0.6)}, "at most 1"),
    ],
)
def test_bad_options_are_told_in_one_line_and_leave_nothing_behind(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_synthetic(tmp_path / "c", **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_tables_of_medicine_name_only_known_phenotypes_flags_and_channels() -> None:
    model = medicine()
    hidden = {"alertness", "perfusion"}
    assert set(model.channels) - hidden <= set(BY_NAME)
    known = set(KEYS) | set(model.flags)
    for term in model.terms:
        assert {factor.removeprefix("!") for factor in term.when} <= known
        assert set(term.effects) <= set(model.channels)
    for group in model.groups.values():
        assert set(group.suspected_by) <= known
    assert {channel.group for channel in model.channels.values()} == set(model.groups)
    for flag in model.flags.values():
        assert set(flag["given"]) <= set(KEYS)
    for item in read_toml("evidence.toml")["item"]:
        assert set(item["hit"]) <= set(KEYS)
    assert set(read_toml("evidence.toml")["admission"]["texts"]) <= set(KEYS)


def test_two_thousand_stays_take_a_fraction_of_the_budget(tmp_path: Path) -> None:
    import time

    begun = time.monotonic()
    told: list[str] = []
    build_synthetic(tmp_path / "c", stays=2_000, progress=told.append)
    assert time.monotonic() - begun < 15.0
    assert told[0] == "drawing 2000 stays"
