"""Several processes make the round that one makes."""

import os
import subprocess
import sys
from pathlib import Path
from socket import socket

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from core.cohort.tensors import pack_cohort
from core.config import make_config
from core.distributed import Ranks, lonely, ranks_of, started_by_torchrun
from core.errors import ConfigError
from core.fit import fit
from core.locks import lay_on_pairs

from .tiny_cohort import learnable_cohort


def train(cohort: Path, run: Path, preset: str, world: int) -> None:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)} for rank in range(world)]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.core.together", str(cohort), str(run), preset],
            env=base | (place if world > 1 else {}), stderr=subprocess.PIPE, text=True,
        )
        for place in places
    ]  # fmt: skip
    for process in started:
        _, words = process.communicate(timeout=300)
        assert process.returncode == 0, words[-2000:]


@pytest.mark.parametrize("preset", ["calibrated", "miracl"])
def test_two_processes_make_the_round_that_one_makes(tmp_path: Path, preset: str) -> None:
    learnable_cohort(tmp_path / "cohort")
    train(tmp_path / "cohort", tmp_path / "one", preset, 1)
    train(tmp_path / "cohort", tmp_path / "two", preset, 2)
    one, two = (pq.read_table(tmp_path / name / "out" / "pair.parquet").to_pandas() for name in ("one", "two"))
    assert len(one) == len(two) == 80 * 5
    for name in one.columns:
        if one[name].dtype.kind == "f":
            np.testing.assert_allclose(two[name], one[name], rtol=0, atol=2e-4, err_msg=name)
    assert (one["partition"] == two["partition"]).mean() > 0.99
    epochs = [pq.read_table(tmp_path / name / "out" / "epoch.parquet").to_pandas() for name in ("one", "two")]
    losses = [name for name in epochs[0].columns if name.startswith("loss_")]
    np.testing.assert_allclose(epochs[1][losses], epochs[0][losses], rtol=0, atol=2e-5)


def test_shares_are_of_one_size_and_hold_every_stay() -> None:
    for count in range(1, 12):
        for world in (1, 2, 3, 4):
            shares = [Ranks(rank, world, torch.device("cpu")).share(count) for rank in range(world)]
            assert len({len(share) for share in shares}) == 1
            assert np.concatenate(shares)[:count].tolist() == list(range(count))


def test_a_process_by_itself_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not started_by_torchrun()
    with ranks_of(torch.device("cpu")) as ranks:
        assert ranks == lonely(torch.device("cpu"))
        assert ranks.first
        assert ranks.agree("same") == "same"


@pytest.mark.parametrize("name", ["m3care", "linc", "dfd"])
def test_a_method_whose_step_is_its_own_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    cohort = learnable_cohort(tmp_path / "cohort")
    config = make_config(name, "compact")
    packed = pack_cohort(cohort, config.tensors, tmp_path / "cache")
    with pytest.raises(ConfigError, match="several devices"):
        fit(packed, lay_on_pairs(packed, None), config, seed=0, place=torch.device("cpu"),
            ranks=Ranks(0, 2, torch.device("cpu")))  # fmt: skip
