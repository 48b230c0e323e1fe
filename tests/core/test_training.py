"""What a round promises: Algorithm 1's order, decisions locked in, and the same round after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cohort.store import Cohort, open_cohort, write_cohort
from core.cohort.tensors import pack_cohort
from core.config import ReviewConfig, TrainConfig, make_config
from core.detectors.registry import DETECTORS
from core.errors import ConfigError, RunError
from core.locks import lay_on_pairs, locks_digest
from core.methods.miracl import objective
from core.metrics.audit import detection
from core.models.losses import contrastive
from core.models.miracl import Batch, MiraclModel
from core.peer.regression import predict_logit
from core.progress import Silent
from core.round_tables import choose_flags
from core.training import choose_device, train_round

from .conftest import manifest_fields
from .tiny_cohort import learnable_cohort, learnable_tables

TABLES = ("label", "pair", "mixture", "epoch", "evidence", "detector_score", "harm")
QUICK = {
    "model.hidden": 16,
    "model.ffn": 32,
    "model.experts": 4,
    "optim.batch": 16,
    "optim.epochs": 5,
    "optim.warm_up": 2,
    "correction.leave_alone": False,  # whatever the peer makes of 80 stays
}


def quick(preset: str = "miracl", **overrides: Any) -> TrainConfig:
    return make_config(preset, "compact", **{**QUICK, **overrides})


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return learnable_cohort(tmp_path_factory.mktemp("made") / "cohort")


@pytest.fixture(scope="module")
def trained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = train_round(cohort, tmp_path_factory.mktemp("runs") / "round-0001", quick(), round_id=1, seed=3)
    assert out is not None
    return out


def tables(out: Path) -> dict[str, pa.Table]:
    found = {name: pq.read_table(out / f"{name}.parquet") for name in TABLES}
    found["epoch"] = found["epoch"].drop_columns(["seconds"])
    return found


def same_round(one: Path, other: Path) -> None:
    a, b = tables(one), tables(other)
    for name in TABLES:
        assert a[name].equals(b[name]), name
    weights, others = (torch.load(out / "model" / "weights.pt", weights_only=True) for out in (one, other))
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_loss_falls_and_the_test_split_is_told_apart(trained: Path) -> None:
    epochs = pq.read_table(trained / "epoch.parquet").to_pylist()
    assert len(epochs) == 5
    assert epochs[-1]["loss_bce"] < epochs[0]["loss_bce"]
    assert epochs[-1]["loss_ortho"] < epochs[0]["loss_ortho"]
    assert all(row["loss_contrast"] > 0 and row["seconds"] > 0 for row in epochs)
    assert [row["beta"] for row in epochs[:2]] == [0.0, 0.0]
    assert epochs[0]["n_uncertain"] == epochs[0]["n_noisy"] == 0
    assert all(row["n_clean"] + row["n_uncertain"] + row["n_noisy"] == epochs[0]["n_clean"] for row in epochs)
    assert 0 <= epochs[-1]["test_map"] <= 1


def test_corrected_labels_are_used_from_the_epoch_after_the_warm_up(trained: Path) -> None:
    epochs = pq.read_table(trained / "epoch.parquet").to_pylist()
    assert [row["loss_corrected"] == row["loss_bce"] for row in epochs] == [True, True, False, False, False]
    assert [row["n_noisy"] > 0 for row in epochs] == [False, True, True, True, True]  # first fitted at the end of t = 2
    assert [row["beta"] for row in epochs] == pytest.approx([0, 0, 1 - 0.5 * 3 / 6, 1 - 0.5 * 4 / 6, 1 - 0.5 * 5 / 6])


@pytest.mark.parametrize("preset", ["released", "paper", "miracl"])
def test_the_objective_is_the_weighted_sum_of_its_terms(preset: str) -> None:
    torch.manual_seed(0)
    config = quick(preset)
    model = MiraclModel(3, 6, 5, config.model).eval()
    lengths, notes = torch.tensor([3, 0, 2, 1]), torch.tensor([1, 2, 0, 2])
    b = Batch(torch.arange(4), torch.tensor([1, 1, 2, 3]), torch.randn(4, 3, 3), lengths, torch.randn(4, 2, 6), notes)
    output = model(b)
    base, corrected, stated = (torch.rand(4, 5) < 0.4).float(), torch.rand(4, 5), torch.rand(4, 5) < 0.9

    def mean_loss(logits: torch.Tensor, target: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        p, kept = logits.sigmoid()[rows], stated[rows]
        y = target[rows]
        return -(y * p.log() + (1 - y) * (1 - p).log())[kept].mean()

    everyone = torch.arange(4)
    expected = 0.7 * mean_loss(output.logits, corrected, everyone) + 0.3 * mean_loss(output.logits, base, everyone)
    expected = expected + 0.5 * output.ortho + 0.01 * output.balance
    contrast, _ = contrastive(output.h_series, output.h_note, lengths > 0, notes > 0, b.patient, 0.1)
    auxiliary = contrast
    if preset != "paper":
        auxiliary = auxiliary + mean_loss(output.logits_series, base, everyone[lengths > 0])
        auxiliary = auxiliary + mean_loss(output.logits_note, base, everyone[notes > 0])
    terms = objective(output, b, base, corrected, stated, 0.7, config)
    assert terms[0].item() == pytest.approx((expected + 0.1 * auxiliary).item(), rel=1e-5)
    warming = objective(output, b, base, corrected, stated, 0.0, config)
    assert warming[1].item() == warming[2].item() == pytest.approx(mean_loss(output.logits, base, everyone).item())


def test_the_tables_say_what_the_contract_says(trained: Path, cohort: Cohort) -> None:
    pair = pq.read_table(trained / "pair.parquet").to_pandas()
    observed, stated = cohort.label_matrix()
    assert len(pair) == stated.sum()
    rows = np.searchsorted(cohort.stays["stay_id"].to_numpy(), pair["stay_id"])
    assert (pair["observed"] == observed[rows, pair["label_id"]]).all()
    assert (pair["given"] == pair["observed"]).all()
    ordered = pair.sort_values(["label_id", "partition", "error_probability"], ascending=[True, True, False])
    assert (ordered["error_probability"].to_numpy() == pair["error_probability"].to_numpy()).all()
    assert (ordered["label_id"].to_numpy() == pair["label_id"].to_numpy()).all()
    assert np.allclose(pair["error_probability"], (pair["corrected"] - pair["observed"]).abs())
    assert (pair["suggested"] == (pair["corrected"] >= 0.5)).all()
    assert (pair["direction"] == np.where(pair["observed"] == 1, "false_positive", "false_negative")).all()
    assert pair["eligible"][pair["observed"] == 1].all()
    last = pair["history"].map(lambda h: h[-1] / 255)
    assert (pair["history"].map(len) == 5).all()
    assert np.allclose(last, pair["probability"], atol=1 / 400)  # half-precision logits, then one byte
    no_series = ~cohort.stays["has_series"].to_numpy(zero_copy_only=False)[rows]
    assert (pair["probability_series"].isna() == no_series).all()
    for _, ranks in pair.groupby("stay_id")["rank"]:
        assert sorted(ranks) == [1, 2, 3, 4, 5]
    clean = pair["partition"] == "clean"
    assert (pair["uncertainty"][clean] == 0).all()
    assert np.allclose(pair["corrected"][clean], pair["observed"][clean])
    assert pair["probability_peer"].between(0, 1).all()
    scores = pq.read_table(trained / "detector_score.parquet").to_pandas().set_index(["stay_id", "label_id"])
    assert list(scores) == list(DETECTORS)
    trained_on = pair[pair["split"] == "train"].set_index(["stay_id", "label_id"])
    assert scores.index.sort_values().equals(trained_on.index.sort_values())
    assert np.isfinite(scores).all(axis=None)
    assert (scores["miracl_score"] == trained_on["selection_score"].loc[scores.index]).all()


def test_test_stays_are_scored_but_never_corrected_or_flagged(trained: Path) -> None:
    pair = pq.read_table(trained / "pair.parquet").to_pandas()
    test = pair[pair["split"] == "test"]
    assert len(test)
    assert (test["corrected"] == test["observed"]).all()
    assert not test["flagged"].any()
    assert test["selection_score"].nunique() > 3
    assert set(test["partition"]) <= {"clean", "uncertain", "noisy"}


def test_the_flags_are_the_budget_s_most_suspect_training_pairs(trained: Path) -> None:
    pair = pq.read_table(trained / "pair.parquet").to_pandas()
    record = json.loads((trained / "round.json").read_text())
    assert record["budget"] == round(0.02 * len(pair)) == 8
    flagged = pair[pair["flagged"]].sort_values("suspicion_rank")
    assert flagged["suspicion_rank"].tolist() == list(range(1, len(flagged) + 1))
    assert flagged["label_id"].value_counts().max() == 1  # a tenth of eight, but one at least
    for _, side in flagged[flagged["error_probability"] >= 0.5].groupby("observed"):
        assert (side["error_probability"].diff().dropna() <= 1e-7).all()
    evidence = pq.read_table(trained / "evidence.parquet").to_pandas()
    known = set(zip(flagged["stay_id"], flagged["label_id"], strict=True))
    assert set(zip(evidence["stay_id"], evidence["label_id"], strict=True)) <= known
    assert len(evidence)


def test_changing_test_labels_changes_nothing_that_was_learned(trained: Path, cohort: Cohort, tmp_path: Path) -> None:
    parts = learnable_tables()
    stays = parts["stays"].to_pandas().set_index("stay_id")["split"]
    labels = parts["labels"].to_pandas()
    of_test = labels["stay_id"].map(stays).eq("test")
    labels.loc[of_test, "observed"] = 1 - labels.loc[of_test, "observed"]
    parts["labels"] = pa.Table.from_pandas(labels, schema=parts["labels"].schema, preserve_index=False)
    write_cohort(tmp_path / "cohort", parts, manifest_fields(5))
    out = train_round(open_cohort(tmp_path / "cohort"), tmp_path / "run", quick(), round_id=1, seed=3)
    assert out is not None
    weights, others = (torch.load(o / "model" / "weights.pt", weights_only=True) for o in (trained, out))
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    one, other = (pq.read_table(o / "pair.parquet").filter(pc.field("split") == "train") for o in (trained, out))
    assert one.equals(other)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from core.cohort.store import open_cohort
from core.config import TrainConfig
from core.peer.regression import predict_logit
from core.progress import Silent
from core.round_tables import choose_flags
from core.training import train_round

class Killer(Silent):
    epoch, batch = 0, 0
    def describe(self, epoch, *rest):
        self.epoch, self.batch = epoch, 0
        self.at(f"end of {epoch}")
    def advance(self, batches=1):
        self.batch += 1
        self.at(f"batch {self.batch} after {self.epoch}")
    def stage(self, text):
        self.at(text.split()[0])
    def at(self, moment):
        if moment == sys.argv[4]:
            os.kill(os.getpid(), signal.SIGKILL)

config = TrainConfig.from_json(Path(sys.argv[3]).read_text())
train_round(open_cohort(Path(sys.argv[1])), Path(sys.argv[2]), config, round_id=1, seed=3, progress=Killer())
"""


def test_a_run_killed_again_and_again_gives_the_same_round(trained: Path, cohort: Cohort, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "config.json").write_text(quick().to_json())
    root = Path(__file__).parents[2]
    for moment, epochs in (("batch 2 after 0", None), ("batch 3 after 0", None), ("end of 2", 2), ("evidence", 5)):
        command = [sys.executable, "-c", KILLED, str(cohort.folder), str(run), str(tmp_path / "config.json"), moment]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        ended = subprocess.run(command, cwd=root, capture_output=True, timeout=300, env=environment, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
        assert not (run / "out").exists()
        if epochs is None:
            assert not (run / "checkpoint.pt").exists()
        else:
            assert len((run / "log.jsonl").read_text().splitlines()) == epochs
    body = (run / "checkpoint.pt").read_bytes()  # and then the disk loses half of the newest checkpoint
    (run / "checkpoint.pt").write_bytes(body[: len(body) // 2])
    out = train_round(cohort, run, quick(), round_id=1, seed=3)
    assert out is not None
    same_round(trained, out)


def test_a_run_stopped_at_any_moment_goes_on_to_the_same_round(
    trained: Path, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, heard = tmp_path / "run", ["nothing"]

    class Listening(Silent):
        def start(self, epochs: int, batches: int, done: int) -> None:
            heard.append("training")

        def stage(self, text: str) -> None:
            heard.append(text)

        def advance(self, batches: int = 1) -> None:
            heard.append(heard[-1] + "+")

    def predicted(*given: np.ndarray) -> np.ndarray:
        heard.append("regression")
        return predict_logit(*given)

    monkeypatch.setattr("core.peer.regression.predict_logit", predicted)

    def go(last_words: str | None) -> Path | None:
        def told() -> bool:
            return last_words is not None and heard[-1].startswith(last_words)

        return train_round(cohort, run, quick(), round_id=1, seed=3, progress=Listening(), should_stop=told)

    for last_words in ("packing series", "regression", "training+++++++", "evidence"):
        assert go(last_words) is None
        assert heard[-1].startswith(last_words)
        assert not (run / "out").exists()
    out = go(None)
    assert out is not None
    same_round(trained, out)
    assert train_round(cohort, run, quick(), round_id=1, seed=3) == out  # and once more is no work


def test_training_leaves_torch_s_own_generator_where_it_was(cohort: Cohort, tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train_round(cohort, tmp_path / "run", quick(**{"optim.epochs": 2}), round_id=1)
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_another_round(trained: Path, cohort: Cohort, tmp_path: Path) -> None:
    out = train_round(cohort, tmp_path / "run", quick(), round_id=1, seed=4)
    assert out is not None
    assert not tables(out)["pair"]["probability"].equals(tables(trained)["pair"]["probability"])


def decided(rows: list[tuple[int, str, float, bool]]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table(
        {
            "stay_id": pa.array(columns[0], pa.int64()),
            "label_key": pa.array(columns[1], pa.string()),
            "value": pa.array(columns[2], pa.float32()),
            "locked": pa.array(columns[3], pa.bool_()),
        }
    )


@pytest.fixture(scope="module")
def locked_round(trained: Path, cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, Path]:
    """Every flag of `trained` decided against its recorded label, and a test pair; two more left half-way."""
    torch.set_num_threads(1)
    pair = pq.read_table(trained / "pair.parquet").to_pandas()
    keys = np.array(cohort.label_keys)
    chosen = [*pair[pair["flagged"]].itertuples(), next(pair[pair["split"] == "test"].itertuples())]
    rows = [(row.stay_id, keys[row.label_id], 1.0 - row.observed, True) for row in chosen]
    unsure = pair[(pair["split"] == "train") & ~pair["flagged"]].head(2)
    rows += [(row.stay_id, keys[row.label_id], 0.5, False) for row in unsure.itertuples()]
    locks = decided(rows)
    run = tmp_path_factory.mktemp("runs") / "round-0002"
    out = train_round(cohort, run, quick(), round_id=2, parent=1, decisions=(9, 12, "ab"), locks=locks, budget=200)
    assert out is not None
    return locks, out


def test_locked_pairs_are_given_as_decided_and_never_corrected_or_flagged(
    locked_round: tuple[pa.Table, Path], cohort: Cohort
) -> None:
    locks, out = locked_round
    pair = pq.read_table(out / "pair.parquet").to_pandas()
    pair["label_key"] = np.array(cohort.label_keys)[pair["label_id"]]
    both = pair.merge(locks.to_pandas(), on=["stay_id", "label_key"], how="left")
    locked, unsure = both["locked"].eq(True), both["locked"].eq(False)
    assert locked.sum() == locks["locked"].to_pylist().count(True)
    assert (both["given"][locked] == both["value"][locked]).all()
    assert (both["corrected"][locked] == both["value"][locked]).all()
    assert (both["partition"] == "locked").eq(locked).all()
    assert not both["flagged"][locked].any()
    assert (both["uncertainty"][locked] == 0).all()
    assert (both["observed"][locked] == 1 - both["value"][locked]).all()  # what was recorded stays on record
    assert both["eligible"][both["observed"] == 1].all()
    assert (both["given"][unsure] == 0.5).all()
    assert both["partition"][unsure].isin(["clean", "uncertain", "noisy"]).all()
    others = both["locked"].isna()
    assert (both["given"][others] == both["observed"][others]).all()


def test_locked_pairs_take_no_part_in_mixtures_and_are_counted(
    locked_round: tuple[pa.Table, Path], trained: Path
) -> None:
    locks, out = locked_round
    n_locked = locks["locked"].to_pylist().count(True)
    n = [sum(pq.read_table(o / "mixture.parquet")["n"].to_pylist()) for o in (trained, out)]
    assert n[0] - n[1] == n_locked - 1  # one of them is of the test split, which no mixture sees
    last = pq.read_table(out / "epoch.parquet").to_pylist()[-1]
    assert last["n_locked"] == n_locked


def test_the_round_records_what_it_read(locked_round: tuple[pa.Table, Path], cohort: Cohort) -> None:
    record = json.loads((locked_round[1] / "round.json").read_text())
    assert (record["round_id"], record["parent"], record["budget"]) == (2, 1, 200)
    assert (record["decisions_count"], record["decisions_last_id"], record["decisions_head"]) == (9, 12, "ab")
    assert record["cohort_fingerprint"] == cohort.fingerprint
    assert TrainConfig.from_dict(record["config"]) == quick()
    assert record["seconds"] > 0
    assert record["peak_memory_mb"] > 50
    assert record["device"] == "cpu"


def test_a_locked_label_pulls_the_model_towards_the_decision(
    locked_round: tuple[pa.Table, Path], trained: Path, cohort: Cohort
) -> None:
    locks, _ = locked_round
    packed = pack_cohort(cohort, quick().tensors)
    pairs = lay_on_pairs(packed, locks)
    row, label = np.argwhere(pairs.locked & pairs.training[:, None])[0]
    torch.manual_seed(0)
    model = MiraclModel(packed.n_series_features, packed.note_dim, 5, quick().model).eval()
    b = Batch(torch.tensor([row]), torch.tensor([0]), torch.randn(1, 2, packed.n_series_features), torch.tensor([2]),
              torch.randn(1, 1, packed.note_dim), torch.tensor([1]))  # fmt: skip
    output = model(b)
    base, stated = torch.from_numpy(pairs.base)[[row]], torch.from_numpy(pairs.stated)[[row]]
    terms = objective(output, b, base, base, stated, 0.9, quick())
    (grad,) = torch.autograd.grad(terms[1], output.logits)
    assert (grad[0, label] < 0) == (pairs.base[row, label] == 1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"config": quick(**{"optim.learning_rate": 2e-3})}, "config"),
        ({"seed": 4}, "seed"),
        ({"round_id": 2}, "round number"),
        ({"locks": "one"}, "decisions"),
        ({"cohort": "other"}, "cohort"),
    ],
)
def test_a_folder_with_another_run_is_refused_in_one_line(
    change: dict[str, Any], what: str, trained: Path, cohort: Cohort, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"config": quick(), "round_id": 1, "seed": 3, "cohort": cohort, **change}
    if "locks" in change:
        arguments["locks"] = decided([(int(cohort.stays["stay_id"][1].as_py()), cohort.label_keys[0], 1.0, True)])
    if "cohort" in change:
        arguments["cohort"] = learnable_cohort(tmp_path / "cohort", seed=9)
    with pytest.raises(RunError, match=what) as caught:
        train_round(arguments.pop("cohort"), trained.parent, arguments.pop("config"), **arguments)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_run_is_refused(trained: Path, cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(trained.parent / "checkpoint.pt", tmp_path / "run")
    with pytest.raises(RunError, match="another"):
        train_round(cohort, tmp_path / "run", quick(), round_id=1, seed=5)


def test_damaged_checkpoints_are_refused_in_one_line(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(RunError, match="cut short"):
        train_round(cohort, tmp_path, quick(), round_id=1)


class Nested(Silent):
    """Tries to train in the folder that is being trained in."""

    def __init__(self, again: Callable[[], object]) -> None:
        self.again = again

    def start(self, epochs: int, batches: int, done: int) -> None:
        with pytest.raises(RunError, match="another process"):
            self.again()


def test_two_trainers_do_not_share_a_folder(cohort: Cohort, tmp_path: Path) -> None:
    config = quick(**{"optim.epochs": 2})
    watcher = Nested(lambda: train_round(cohort, tmp_path, config, round_id=1))
    assert train_round(cohort, tmp_path, config, round_id=1, progress=watcher) is not None


def bad_locks(cohort: Cohort) -> dict[str, pa.Table]:
    stay, key = int(cohort.stays["stay_id"][1].as_py()), cohort.label_keys[0]
    return {
        "stranger stay": decided([(5, key, 1.0, True)]),
        "stranger label": decided([(stay, "gout", 1.0, True)]),
        "twice": decided([(stay, key, 1.0, True), (stay, key, 0.0, True)]),
        "out of range": decided([(stay, key, 2.0, False)]),
        "half locked": decided([(stay, key, 0.5, True)]),
        "not a number": decided([(stay, key, float("nan"), False)]),
        "no column": decided([(stay, key, 1.0, True)]).drop_columns(["locked"]),
        "empty cell": decided([(stay, key, 1.0, None)]),  # type: ignore[list-item]
    }


@pytest.mark.parametrize(
    "name",
    [
        "stranger stay",
        "stranger label",
        "twice",
        "out of range",
        "half locked",
        "not a number",
        "no column",
        "empty cell",
    ],
)
def test_decisions_that_fit_no_pair_are_refused_in_one_line(name: str, cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        train_round(cohort, tmp_path / "run", quick(), round_id=1, locks=bad_locks(cohort)[name])
    assert "\n" not in str(caught.value)


def test_the_digest_of_decisions_does_not_depend_on_their_order(cohort: Cohort) -> None:
    ids, key = cohort.stays["stay_id"].to_pylist(), cohort.label_keys[0]
    rows = [(ids[1], key, 1.0, True), (ids[2], key, 0.0, True)]
    assert locks_digest(decided(rows)) == locks_digest(decided(rows[::-1])) != locks_digest(decided(rows[:1]))
    assert locks_digest(None) == locks_digest(decided(rows).slice(0, 0)) == ""


_watching: list[str] = []
_hooked: list[bool] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _hooked and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _watching.append(os.fsdecode(arguments[0]))


def test_the_trainer_opens_neither_review_evidence_nor_truth(trained: Path, cohort: Cohort, tmp_path: Path) -> None:
    parts = learnable_tables()
    truth = parts["labels"].select(["stay_id", "label"]).append_column("clean", parts["labels"]["observed"])
    folder = tmp_path / "cohort"
    write_cohort(folder, parts, manifest_fields(5), truth)
    sys.addaudithook(_listen)
    _hooked.append(True)
    try:
        out = train_round(open_cohort(folder), tmp_path / "run", quick(), round_id=1, seed=3)
    finally:
        _hooked.clear()
    assert any(path.endswith("checkpoint.pt") or ".checkpoint.pt" in path for path in _watching)
    assert not [path for path in _watching if "review_evidence" in path or "evaluation" in path or "truth" in path]
    # Arrow's own reader raises no audit event: so take both away, and nothing is missed.
    (folder / "review_evidence.parquet").unlink()
    shutil.rmtree(folder / "evaluation")
    again = train_round(open_cohort(folder), tmp_path / "again", quick(), round_id=1, seed=3)
    assert out is not None
    assert again is not None
    same_round(out, again)


def test_a_cohort_without_coded_training_stays_is_refused(tmp_path: Path) -> None:
    parts = learnable_tables(20)
    parts["labels"] = parts["labels"].slice(0, 0)
    write_cohort(tmp_path / "cohort", parts, manifest_fields(5))
    with pytest.raises(RunError, match="training stays"):
        train_round(open_cohort(tmp_path / "cohort"), tmp_path / "run", quick(), round_id=1)


def test_uncoded_stays_are_in_no_table(tmp_path: Path) -> None:
    parts = learnable_tables(40)
    parts["labels"] = parts["labels"].slice(5 * 4)  # the first four stays are not coded
    write_cohort(tmp_path / "cohort", parts, manifest_fields(5))
    cohort = open_cohort(tmp_path / "cohort")
    out = train_round(cohort, tmp_path / "run", quick(), round_id=1)
    assert out is not None
    uncoded = set(cohort.stays["stay_id"].to_pylist()[:4])
    for name in ("pair", "detector_score"):
        assert not uncoded & set(pq.read_table(out / f"{name}.parquet")["stay_id"].to_pylist())


@pytest.mark.parametrize(
    "overrides",
    [
        {"optim.record": "eval"},
        {"optim.sampler": "patient_grouped", "loss.contrast": "visit"},
        {"loss.contrast": "off", "correction.cumulative": True, "selection.correct_threshold": "label_prevalence"},
        {"filter.place": "before_fit", "correction.uncertainty_source": "posterior", "selection.metric": "loss"},
        {"model.contrast_projection": True, "selection.alpha_final": 1.0, "optim.warm_up": 1},
    ],
)
def test_every_option_trains(overrides: dict[str, Any], cohort: Cohort, tmp_path: Path) -> None:
    config = quick(**{"optim.epochs": 3, **overrides})
    out = train_round(cohort, tmp_path / "run", config, round_id=1)
    assert out is not None
    last = pq.read_table(out / "epoch.parquet").to_pylist()[-1]
    assert np.isfinite(last["loss_total"])
    assert (last["loss_contrast"] == 0) == (config.loss.contrast == "off")


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_the_other_presets_train(preset: str, cohort: Cohort, tmp_path: Path) -> None:
    out = train_round(cohort, tmp_path / "run", quick(preset, **{"optim.epochs": 3}), round_id=1)
    assert out is not None
    last = pq.read_table(out / "epoch.parquet").to_pylist()[-1]
    assert (last["loss_series_head"] > 0) == (preset == "released")


def test_a_machine_without_captum_trains_and_says_that_there_is_no_evidence(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.round_output.find_spec", lambda _: None)
    out = train_round(cohort, tmp_path / "run", quick(**{"optim.epochs": 2}), round_id=1)
    assert out is not None
    assert pq.read_table(out / "evidence.parquet").num_rows == 0
    assert json.loads((out / "round.json").read_text())["evidence"] is False


def naive_flags(
    error: Any, score: Any, label: Any, observed: Any, candidate: Any, budget: int, review: Any
) -> list[int]:
    cap = max(1, int(review.label_share * budget + 1e-9))
    order = sorted((i for i in range(len(error)) if candidate[i]), key=lambda i: (-error[i], -score[i], i))
    if review.balance == "direction":
        queues: list[list[int]] = []
        for value in (1, 0):
            taken: dict[int, int] = {}
            queue = []
            for i in order:
                if observed[i] == value and error[i] >= 0.5 and taken.get(label[i], 0) < cap:
                    taken[label[i]] = taken.get(label[i], 0) + 1
                    queue.append(i)
            queues.append(queue)
        place = {i: position for position, i in enumerate(order)}
        turns = []
        for turn in range(max(map(len, queues), default=0)):
            turns += sorted((queue[turn] for queue in queues if turn < len(queue)), key=place.__getitem__)
        order = turns + [i for i in order if i not in set(turns)]
    taken, chosen = {}, []
    for i in order:
        if len(chosen) < budget and taken.get(label[i], 0) < cap:
            taken[label[i]] = taken.get(label[i], 0) + 1
            chosen.append(i)
    return [chosen.index(i) + 1 if i in chosen else 0 for i in range(len(error))]


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 60),
    st.integers(1, 40),
    st.sampled_from((0.0, 0.1, 0.5, 1.0)),
    st.sampled_from(("direction", "none")),
    st.integers(0, 10_000),
)
def test_flags_equal_a_walk_down_the_sorted_pairs(n: int, budget: int, share: float, balance: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    error, score = rng.integers(0, 4, (2, n)).astype(np.float32) / 4
    label, candidate, observed = rng.integers(0, 5, n), rng.random(n) < 0.7, rng.integers(0, 2, n).astype(np.uint8)
    review = ReviewConfig(label_share=share, balance=balance)
    found = choose_flags(error, score, label, observed, candidate, budget, review)
    assert found.tolist() == naive_flags(error, score, label, observed, candidate, budget, review)


def test_both_directions_are_flagged_although_one_has_the_higher_scores() -> None:
    error = np.array([0.99, 0.98, 0.97, 0.96, 0.6, 0.55, 0.3], np.float32)
    observed = np.array([1, 1, 1, 1, 0, 0, 0], np.uint8)
    label, every = np.arange(7), np.ones(7, bool)
    score = np.zeros(7, np.float32)
    ranks = choose_flags(error, score, label, observed, every, 4, ReviewConfig(label_share=1.0))
    assert ranks.tolist() == [1, 3, 0, 0, 2, 4, 0]
    alone = choose_flags(error, score, label, observed, every, 4, ReviewConfig(label_share=1.0, balance="none"))
    assert alone.tolist() == [1, 2, 3, 4, 0, 0, 0]
    more = choose_flags(error, score, label, observed, every, 7, ReviewConfig(label_share=1.0))
    assert more.tolist() == [1, 3, 5, 6, 2, 4, 7]


def test_devices_are_chosen_by_name() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(ConfigError):
            choose_device("cuda")


def test_a_loss_that_is_not_a_number_ends_in_one_line_and_leaves_the_last_good_epoch(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoiler(Silent):
        def describe(self, epoch: int, *rest: float) -> None:
            if epoch == 2:
                monkeypatch.setattr("core.methods.miracl.masked_bce", lambda z, *_: z.sum() * float("nan"))

    with pytest.raises(RunError, match="epoch 3") as caught:
        train_round(cohort, tmp_path / "run", quick(), round_id=1, progress=Spoiler())
    assert "\n" not in str(caught.value)
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2


def planted(folder: Path, noise: float = 0.2) -> tuple[Cohort, np.ndarray]:
    """Write a cohort of 400 stays with that share of labels flipped; also give the clean labels, in stay order."""
    parts = learnable_tables(400, 6, seed=1)
    clean = parts["labels"]["observed"].to_numpy().reshape(400, 6)
    flips = np.random.default_rng(0).random(clean.shape) < noise
    flips &= (parts["stays"]["split"].to_numpy(zero_copy_only=False) == "train")[:, None]
    noisy = np.where(flips, 1 - clean, clean).astype(np.uint8)
    index = parts["labels"].column_names.index("observed")
    parts["labels"] = parts["labels"].set_column(index, "observed", pa.array(noisy.ravel()))
    write_cohort(folder, parts, manifest_fields(6))
    cohort = open_cohort(folder)
    keys = [label["key"] for label in manifest_fields(6)["labels"]]
    return cohort, clean[:, [keys.index(key) for key in cohort.label_keys]]


def found_in(out: Path, cohort: Cohort, clean: np.ndarray) -> dict[str, float]:
    pair = pq.read_table(out / "pair.parquet").to_pandas()
    score = np.zeros(clean.shape, np.float32)
    rows = np.searchsorted(cohort.stays["stay_id"].to_numpy(), pair["stay_id"])
    score[rows, pair["label_id"]] = pair["selection_score"]
    observed, stated = cohort.label_matrix()
    member = stated & (cohort.stays["split"].to_numpy(zero_copy_only=False) == "train")[:, None]
    found = detection(score, observed, clean.astype(np.uint8), member, ks=(20,))
    return {name: found[name].auroc for name in ("positive", "negative")}


@pytest.mark.slow
def test_planted_noise_is_told_apart_in_both_classes_and_reversed_among_negatives_by_the_released_rank(
    tmp_path: Path,
) -> None:
    cohort, clean = planted(tmp_path / "cohort")
    changes = {
        "model.hidden": 32, "optim.epochs": 10, "optim.warm_up": 5, "optim.learning_rate": 3e-3,
        "optim.scheduler": "constant", "optim.batch": 32,
    }  # fmt: skip
    ours = train_round(cohort, tmp_path / "ours", quick(**changes), round_id=1)
    theirs = train_round(cohort, tmp_path / "theirs", quick("released", **changes), round_id=1)
    assert ours is not None
    assert theirs is not None
    found, reversed_ = found_in(ours, cohort, clean), found_in(theirs, cohort, clean)
    assert found["positive"] > 0.7
    assert found["negative"] > 0.7
    assert reversed_["positive"] > 0.6
    assert reversed_["negative"] < 0.4
