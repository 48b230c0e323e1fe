"""Evidence: gradients of hand-made models give the exact spans, offsets slice to the text, denials are found."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import core.evidence
from core.attribution import channel_runs
from core.cohort.discretise import SeriesConfig
from core.cohort.labelset import PHENOTYPES
from core.cohort.passages import PassageConfig
from core.cohort.sources.chexpert import FINDINGS
from core.cohort.store import Cohort, open_cohort
from core.cohort.tensors import PackedCohort, TensorConfig, pack_cohort
from core.cohort.terms import find_terms, load_terms
from core.errors import ConfigError, RunError
from core.evidence import EVIDENCE, EvidenceConfig, attribution_mode, explain, gradient_times_input

Make = Callable[..., Path]
CPU = torch.device("cpu")
KEYS = [label.key for label in PHENOTYPES]
HYPERTENSION, DIABETES = KEYS.index("essential_hypertension"), KEYS.index("diabetes_without_complication")
TEXT = "Known hypertension. Denies diabetes.\nAdmitted with chest pain."


def packed_cohort(folder: Path, step_hours: float = 1.0) -> tuple[Cohort, PackedCohort]:
    cohort = open_cohort(folder)
    texts = [TEXT] * cohort.notes.num_rows
    notes = cohort.notes.set_column(4, "text", pa.array(texts))
    notes = notes.set_column(6, "model_end", pa.array([len(TEXT)] * len(texts), pa.int32()))
    cohort = replace(cohort, notes=notes)
    return cohort, pack_cohort(cohort, TensorConfig(SeriesConfig(step_hours), PassageConfig(max_words=4)))


class Linear:
    """Logit of label l: (l+1) · (Σ series·weights + Σ notes·weights); its attribution is known by hand."""

    def __init__(self, packed: PackedCohort, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.series = torch.from_numpy(rng.normal(size=(600, packed.n_series_features)).astype(np.float32))
        self.notes = torch.from_numpy(rng.normal(size=packed.note_dim).astype(np.float32))
        self.scale = torch.arange(1, len(packed.label_keys) + 1, dtype=torch.float32)

    def __call__(self, series: Tensor, series_lengths: Tensor, notes: Tensor, note_lengths: Tensor) -> Tensor:
        of_series = (series * self.series[: series.shape[1]]).sum(dim=(1, 2))
        return (of_series + (notes * self.notes).sum(dim=(1, 2)))[:, None] * self.scale


def test_a_linear_models_evidence_is_weight_times_input_by_hand(cohort_folder: Make) -> None:
    cohort, packed = packed_cohort(cohort_folder(n_stays=6))
    model = Linear(packed)
    row, label = 2, DIABETES
    table = explain(cohort, packed, np.array([row]), np.array([label]), model, CPU, EvidenceConfig(floor=0.0))
    own = [
        r for r in table.to_pylist()
        if r["evidence_stay_id"] == packed.stay_ids[row] and r["method"] == "gradient"
    ]  # fmt: skip
    notes = packed.notes
    unit = slice(notes.offsets[row], notes.offsets[row + 1])
    by_hand = (notes.vectors[unit].astype(float) @ model.notes.numpy().astype(float)) * (label + 1)
    found = {(r["char_start"], r["char_end"]): r["weight"] for r in own if r["kind"] == "note"}
    spans = list(zip(notes.char_start[unit].tolist(), notes.char_end[unit].tolist(), strict=True))
    assert [TEXT[a:b] for a, b in spans] == ["Known hypertension. Denies diabetes.", "Admitted with chest pain."]
    assert found == {span: pytest.approx(w, rel=1e-3, abs=1e-4) for span, w in zip(spans, by_hand, strict=True)}

    steps = packed.series.values[packed.series.offsets[row] : packed.series.offsets[row + 1]]
    cells = steps * model.series.numpy()[: len(steps)] * (label + 1)
    for r in own:
        if r["kind"] == "series":
            columns = packed.series.feature_channel == packed.series.channels.index(r["channel"])
            hours = cells[:, columns].sum(axis=1)
            begin, end = int(r["hour_start"]), int(r["hour_end"])
            assert r["weight"] == pytest.approx(float(hours[begin:end].sum()), rel=1e-3, abs=1e-4)
            assert (np.sign(hours[begin:end]) == np.sign(r["weight"])).all()
            for beside in (begin - 1, end):
                assert not 0 <= beside < len(hours) or np.sign(hours[beside]) != np.sign(r["weight"])
    assert sum(r["kind"] == "series" for r in own) == 8


def test_every_visit_shows_its_own_attribution_and_no_gradient_crosses_stays(cohort_folder: Make) -> None:
    cohort, packed = packed_cohort(cohort_folder(n_stays=6))
    model = Linear(packed)
    pair = (np.array([2]), np.array([4]))
    table = explain(cohort, packed, *pair, model, CPU)
    twin = int(np.flatnonzero(packed.patient_ids == packed.patient_ids[2])[-1])
    assert twin != 2
    assert set(table["evidence_stay_id"].to_pylist()) == set(packed.stay_ids[[2, twin]].tolist())
    assert set(table["stay_id"].to_pylist()) == {packed.stay_ids[2]}
    alone = explain(cohort, packed, np.array([twin]), np.array([4]), model, CPU)

    def of_twin(rows: pa.Table) -> list[dict[str, object]]:
        return [
            {k: v for k, v in r.items() if k != "stay_id"}
            for r in rows.to_pylist()
            if r["evidence_stay_id"] == packed.stay_ids[twin]
        ]

    assert of_twin(table) == of_twin(alone)


def test_hours_count_from_admission_with_wide_bins_and_a_cut_head(cohort_folder: Make) -> None:
    cohort, _ = packed_cohort(cohort_folder(n_stays=2))
    packed = pack_cohort(cohort, TensorConfig(SeriesConfig(2.0, max_steps=3)))
    assert packed.series.first_bin.tolist() == [9, 9]
    place = packed.series.feature_names.index("measured:heart_rate")

    def middle(series: Tensor, a: Tensor, notes: Tensor, b: Tensor) -> Tensor:
        return series[:, 1, place, None].expand(-1, len(packed.label_keys))

    table = explain(cohort, packed, np.array([0]), np.array([0]), middle, CPU)
    rows = [r for r in table.to_pylist() if r["method"] == "gradient"]
    assert [(r["channel"], r["hour_start"], r["hour_end"], r["weight"]) for r in rows] == [
        ("heart_rate", 20.0, 22.0, 1.0)
    ] * len({r["evidence_stay_id"] for r in rows})
    assert rows


def test_offsets_slice_to_the_passage_and_to_the_term(cohort_folder: Make) -> None:
    cohort, packed = packed_cohort(cohort_folder(n_stays=4))
    pairs = (np.array([0, 0]), np.array([HYPERTENSION, DIABETES]))
    table = explain(cohort, packed, *pairs, Linear(packed), CPU)
    assert table.schema.equals(EVIDENCE)
    own = packed.stay_ids[0]
    terms = {
        (r["label_id"], TEXT[r["char_start"] : r["char_end"]], r["negated"])
        for r in table.to_pylist()
        if r["method"] == "term" and r["evidence_stay_id"] == own
    }
    assert terms == {(HYPERTENSION, "hypertension", False), (DIABETES, "diabetes", True)}
    for r in table.to_pylist():
        assert (r["kind"] == "note") == (r["note_id"] is not None) == (r["channel"] is None)
        assert (r["method"] == "term") == (r["negated"] is not None)


def test_terms_are_found_in_notes_that_only_readers_see(cohort_folder: Make) -> None:
    cohort, _ = packed_cohort(cohort_folder(n_stays=2))
    nothing = pa.nulls(cohort.notes.num_rows, pa.int32())
    notes = cohort.notes.set_column(5, "model_start", nothing).set_column(6, "model_end", nothing)
    cohort = replace(cohort, notes=notes)
    packed = pack_cohort(cohort)
    assert not packed.has_note.any()
    table = explain(cohort, packed, np.array([0]), np.array([HYPERTENSION]), Linear(packed), CPU)
    assert "term" in table["method"].to_pylist()
    assert not [r for r in table.to_pylist() if r["method"] == "gradient" and r["kind"] == "note"]
    words = explain(cohort, packed, np.array([0]), np.array([HYPERTENSION]), None, CPU)
    assert words.equals(table.filter(pc.equal(table["method"], "term"))), "without a network's gradients"
    assert words.num_rows


def test_explaining_is_deterministic_whatever_the_batches_and_stops_at_the_limit(cohort_folder: Make) -> None:
    cohort, packed = packed_cohort(cohort_folder(n_stays=12))
    rng = np.random.default_rng(1)
    pairs = (rng.integers(0, 12, 9), rng.integers(0, 25, 9))
    told: list[tuple[str, int, int]] = []
    model = Linear(packed)
    one = explain(cohort, packed, *pairs, model, CPU, progress=lambda *what: told.append(what))
    two = explain(cohort, packed, *pairs, model, CPU, EvidenceConfig(batch_steps=1))
    assert one.drop_columns(["weight"]).equals(two.drop_columns(["weight"]))
    np.testing.assert_allclose(one["weight"].to_numpy(), two["weight"].to_numpy(), rtol=1e-5)
    assert told[-1][1] == told[-1][2] == len(set(pairs[1].tolist()))
    few = explain(cohort, packed, *pairs, model, CPU, EvidenceConfig(max_pairs=2))
    assert set(few["stay_id"].to_pylist()) == set(packed.stay_ids[pairs[0][:2]].tolist())
    none = explain(cohort, packed, pairs[0][:0], pairs[1][:0], model, CPU)
    assert none.num_rows == 0
    assert none.schema.equals(EVIDENCE)


def test_captum_and_plain_autograd_agree_also_where_a_modality_is_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.LSTM(5, 7, batch_first=True)
    head = nn.Linear(7, 3)

    def forward(series: Tensor, a: Tensor, notes: Tensor, b: Tensor) -> Tensor:
        return head(layer(series)[0].mean(dim=1))

    series, notes = torch.randn(4, 6, 5, generator=generator), torch.randn(4, 2, 8, generator=generator)
    lengths = torch.full((4,), 6)
    found = gradient_times_input(forward, series, lengths, notes, lengths, 1)
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    plain = gradient_times_input(forward, series, lengths, notes, lengths, 1)
    x = series.clone().requires_grad_()
    by_hand = torch.autograd.grad(forward(x, lengths, notes, lengths)[:, 1].sum(), x)[0] * x.detach()
    for one, two in ((found[0], plain[0]), (found[0], by_hand)):
        torch.testing.assert_close(one, two)
    assert not found[1].any()
    assert not plain[1].any()
    assert not series.requires_grad


def test_gradients_that_are_not_finite_are_refused_in_one_line(cohort_folder: Make) -> None:
    cohort, packed = packed_cohort(cohort_folder(n_stays=2))

    def broken(series: Tensor, a: Tensor, notes: Tensor, b: Tensor) -> Tensor:
        return (series.sum(dim=(1, 2)) * torch.nan)[:, None].expand(-1, 25)

    with pytest.raises(RunError, match="finite") as caught:
        explain(cohort, packed, np.array([0]), np.array([0]), broken, CPU)
    assert "\n" not in str(caught.value)


def test_attribution_mode_puts_every_layers_mode_back_even_after_an_error() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    model[1].eval()
    with torch.no_grad(), attribution_mode(model):
        assert not model[0].training
        assert torch.is_grad_enabled()
    assert model[0].training

    def fails() -> None:
        with attribution_mode(model):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert model[0].training
    assert not model[1].training


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_lstm_on_cuda_has_gradients_in_evaluation_mode() -> None:
    model = nn.LSTM(3, 4, batch_first=True).cuda()

    def forward(series: Tensor, a: Tensor, notes: Tensor, b: Tensor) -> Tensor:
        return model(series)[0].mean(dim=1)

    series, notes = torch.randn(2, 5, 3).cuda(), torch.randn(2, 1, 1).cuda()
    with attribution_mode(model):
        assert gradient_times_input(forward, series, series, notes, notes, 0)[0].any()


def restated_runs(weights: np.ndarray, floor: float) -> dict[int, list[tuple[int, int, int, float]]]:
    """Runs of each stay, cell by cell."""
    out: dict[int, list[tuple[int, int, int, float]]] = {}
    for b, grid in enumerate(weights):
        largest = np.abs(grid).max(initial=0)
        for c in range(grid.shape[1]):
            t = 0
            while t < len(grid):
                if grid[t, c] == 0 or abs(grid[t, c]) < floor * largest:
                    t += 1
                    continue
                stop = t
                while (
                    stop < len(grid)
                    and grid[stop, c] * grid[t, c] > 0
                    and abs(grid[stop, c]) >= floor * largest
                ):  # fmt: skip
                    stop += 1
                out.setdefault(b, []).append((c, t, stop, float(grid[t:stop, c].sum())))
                t = stop
    return out


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 3)),
    seed=st.integers(0, 10_000),
    top=st.integers(0, 5),
    floor=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_channel_runs_equal_the_plain_restatement(
    shape: tuple[int, int, int], seed: int, top: int, floor: float
) -> None:
    weights = np.random.default_rng(seed).integers(-3, 4, shape).astype(float)
    runs, sums = channel_runs(weights, top, floor)
    expected = restated_runs(weights, floor)
    for b in range(shape[0]):
        found = [(int(c), int(t), int(e), float(w)) for (s, c, t, e), w in zip(runs, sums, strict=True) if s == b]
        allowed = expected.get(b, [])
        assert set(found) <= set(allowed)
        assert len(found) == min(top, len(allowed))
        strongest = sorted((abs(w) for *_, w in allowed), reverse=True)[:top]
        assert sorted((abs(w) for *_, w in found), reverse=True) == strongest


NEGATIONS = [
    ("diabetes_without_complication", "Known diabetes.", [False]),
    ("diabetes_without_complication", "Denies diabetes.", [True]),
    ("diabetes_without_complication", "No history of hypertension, diabetes or stroke.", [True]),
    ("diabetes_without_complication", "Denies any prior history of diabetes.", [True]),
    ("diabetes_without_complication", "No fever, history of diabetes.", [False]),
    ("diabetes_without_complication", "Denies chest pain but has diabetes.", [False]),
    ("diabetes_without_complication", "Never had diabetes.", [True]),
    ("diabetes_without_complication", "No fever. Diabetes.", [False]),
    ("diabetes_without_complication", "Diabetes: no.", [True]),
    ("diabetes_without_complication", "Diabetes: no insulin.", [False]),
    ("diabetes_without_complication", "Diabetes not well controlled.", [False]),
    ("diabetes_without_complication", "Not only diabetes.", [False]),
    ("diabetes_without_complication", "Family history: diabetes.", [True]),
    ("diabetes_without_complication", "Family history:\nDiabetes", [True]),
    ("diabetes_without_complication", "Mother with diabetes; patient has diabetes.", [True, False]),
    ("diabetes_without_complication", "Diabetes in his father.", [True]),
    ("diabetes_without_complication", "Diabetes insipidus.", []),
    ("diabetes_without_complication", "Non-diabetic.", []),
    ("diabetes_without_complication", "non-medication dependent", [False]),
    ("chronic_kidney_disease", "intake total 0; dialysis net 0; on dialysis.", [False]),
    ("septicemia", "Rule out sepsis.", [True]),
    ("septicemia", "R/O sepsis", [True]),
    ("septicemia", "Sepsis was ruled out.", [True]),
    ("septicemia", "Sepsis cannot be ruled out.", [False]),
    ("septicemia", "Gram negative sepsis.", [False]),
    ("septicemia", "Septic joint.", []),
    ("pneumonia", "No evidence of pneumonia.", [True]),
    ("pneumonia", "Pneumonia is unlikely.", [True]),
    ("pneumonia", "Pneumonia, not improving.", [False]),
    ("pneumonia", "Cannot rule out pneumonia.", [False]),
    ("pneumonia", "Without difficulty breathing, pneumonia.", [False]),
    ("pneumonia", "Pneumonia vaccine given.", []),
    ("copd", "COPD (-)", [True]),
    ("copd", "emphysema and COPD", [False, False]),
    ("essential_hypertension", "Pulmonary hypertension.", []),
    ("essential_hypertension", "No diabetes; hypertension.", [False]),
    ("shock", "not intubated and talking to the family, in shock", [False]),
    ("acute_myocardial_infarction", "mi casa. MI ruled out.", [True]),
    ("coronary_disease", "s/p CABG, no angina", [False, True]),
]


@pytest.mark.parametrize(("label", "text", "expected"), NEGATIONS)
def test_a_term_is_negated_as_a_reader_would_say(label: str, text: str, expected: list[bool]) -> None:
    assert [match.negated for match in find_terms(text, label)] == expected


def test_every_label_has_terms_and_a_term_of_its_own_is_found_whole() -> None:
    assert set(load_terms()) == {*KEYS, *(label.key for label in FINDINGS)}
    found = find_terms("Type 2 diabetes\nmellitus, on metformin.", "diabetes_without_complication")
    text = "Type 2 diabetes\nmellitus, on metformin."
    assert [text[m.start : m.end] for m in found] == ["Type 2 diabetes", "metformin"]
    assert find_terms("anything", "no_such_label") == []


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("no sepsis,.\n;: ruled out denies é😀()-"), max_size=80))
def test_terms_lie_in_order_apart_and_inside_any_text(text: str) -> None:
    text += " sepsis"
    found = find_terms(text, "septicemia")
    assert found[-1].end == len(text)
    for one, after in pairwise(found):
        assert 0 <= one.start < one.end <= after.start


def test_a_broken_file_of_terms_is_one_line(tmp_path: Path) -> None:
    for name, body in (("a.toml", "[shock\n"), ("b.toml", "[shock]\nwords = ['x']\n"), ("c.toml", "shock = 1\n")):
        (tmp_path / name).write_text(body)
        with pytest.raises(ConfigError) as caught:
            load_terms(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"floor": 2.0}, {"max_pairs": -1}, {"batch_steps": 0}])
def test_evidence_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        EvidenceConfig(**wrong)  # type: ignore[arg-type]


def test_captum_is_imported_nowhere_at_the_top_so_training_starts_without_it() -> None:
    assert not hasattr(core.evidence, "InputXGradient")
