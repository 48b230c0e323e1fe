"""Checkpoints are whole or refused."""

from pathlib import Path

import pytest
import torch

from core.checkpoint import NAME, PREVIOUS, load_checkpoint, save_checkpoint
from core.errors import RunError


def state(epoch: int) -> dict[str, object]:
    return {"epoch": epoch, "weights": torch.full((100,), float(epoch)), "rows": [{"epoch": epoch, "x": None}]}


def test_the_newest_checkpoint_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, state(epoch))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found["epoch"] == 3
    assert torch.equal(found["weights"], torch.full((100,), 3.0))
    assert found["rows"] == [{"epoch": 3, "x": None}]
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREVIOUS, NAME]


@pytest.mark.parametrize("kept", [0, 5, 40, 300, -1])
def test_a_checkpoint_cut_short_is_passed_over_for_the_one_before(tmp_path: Path, kept: int) -> None:
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2))
    body = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(body[:kept])
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found["epoch"] == 1


def test_an_altered_byte_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1))
    body = bytearray((tmp_path / NAME).read_bytes())
    body[len(body) // 2] ^= 1
    (tmp_path / NAME).write_bytes(body)
    with pytest.raises(RunError, match="cut short"):
        load_checkpoint(tmp_path)


def test_a_kill_between_both_renames_leaves_the_one_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1))
    (tmp_path / NAME).rename(tmp_path / PREVIOUS)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found["epoch"] == 1


def test_two_damaged_checkpoints_are_one_line(tmp_path: Path) -> None:
    for name in (NAME, PREVIOUS):
        (tmp_path / name).write_bytes(b"MIRACL01 and no more")
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)
