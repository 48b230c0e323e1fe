"""Malformed inputs, a full disk and a folder that can only be read, in the small; `miracl benchmark trust` in full."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError
from scripts.benchmarks import trust_inputs
from scripts.benchmarks.trust_base import MARKER, Base, make_base
from scripts.benchmarks.trust_cases import FAMILIES, Case, make_case
from scripts.benchmarks.trust_disk import ACTS, VIEWS, fill_up, small_disk, without_writing
from scripts.benchmarks.trust_frame import Size
from scripts.benchmarks.trust_inputs import judge, run_case, standing, summary, try_case

CASES = 40
SIZE = Size("quick", kills=0, tamperings=0, inputs=CASES, reviewers=0, decisions=0)
ACT = {act.name: act for act in (*ACTS, *VIEWS)}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base(tmp_path_factory.mktemp("trust"))


def test_malformed_inputs_are_refused_in_one_line_or_taken(base: Base, tmp_path: Path) -> None:
    numbers = range(len(FAMILIES), len(FAMILIES) + CASES)
    found = [try_case(number, 0, base, tmp_path / f"case-{number}", quick=True) for number in numbers]
    assert [outcome for outcome in found if outcome.trouble] == []
    assert sum(outcome.status == 2 for outcome in found) > CASES // 3
    assert len({outcome.reader for outcome in found}) > 10
    assert summary(found, SIZE).passed


def test_a_seed_makes_the_same_cases_and_another_seed_others(base: Base, tmp_path: Path) -> None:
    def told(seed: int, folder: str) -> list[str]:
        made = [make_case(number, seed, base, tmp_path / folder / str(number)) for number in (0, 1, 4, 8)]
        return [case.what for case in made]

    assert told(1, "a") == told(1, "b") != told(2, "c")


def test_a_changed_byte_in_any_block_of_a_round_file_is_one_line(base: Base, tmp_path: Path) -> None:
    body = (base.full / "rounds" / "round-0001.duckdb").read_bytes()
    refused = 0
    for number, place in enumerate(range(12_400, len(body), len(body) // 8)):
        folder = shutil.copytree(base.full, tmp_path / str(number))
        spoilt = bytes([body[place] ^ 0x40])
        (folder / "rounds" / "round-0001.duckdb").write_bytes(body[:place] + spoilt + body[place + 1 :])
        status, _, told, escaped = run_case(Case("export", "", folder, ("export", "--workspace", str(folder))))
        assert (status, escaped) in ((0, ""), (2, "")), told
        refused += status == 2
    assert refused > 0


def fails(error: BaseException) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


def prints(text: str) -> Callable[[], object]:
    return lambda: print(text)


def outcome_of(place: Path, call: Callable[[], object]) -> str:
    place.mkdir()
    (place / "kept").write_text("kept", encoding="utf-8")
    case = Case("reader", "what", place, call=call)
    before = standing(place)
    return judge(case, *run_case(case), before, standing(place))


def refuses_after(change: Callable[[], object]) -> Callable[[], object]:
    def call() -> object:
        change()
        raise ConfigError("a", "b", "c")

    return call


def test_each_way_to_break_the_promise_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "x"
    assert outcome_of(tmp_path / "fine", lambda: None) == ""
    assert outcome_of(tmp_path / "refused", fails(ConfigError("a", "b", "c"))) == ""
    assert "KeyError at test_trust_inputs.py" in outcome_of(tmp_path / "escaped", fails(KeyError("a")))
    assert "patient's text" in outcome_of(tmp_path / "said", prints(f"stay of {MARKER}"))
    assert "patient's text" in outcome_of(tmp_path / "told", fails(ConfigError("a", MARKER, "c")))
    assert outcome_of(tmp_path / "status", fails(SystemExit(3))) == "status 3"
    assert "left behind: x.part" in outcome_of(place, lambda: (place / "x.part").touch())
    other = tmp_path / "y"
    lost = outcome_of(other, refuses_after(lambda: (other / "kept").unlink()))
    assert lost == "changed although refused: kept"
    monkeypatch.setattr(trust_inputs, "SECONDS", 0.2)
    assert "not done in" in outcome_of(tmp_path / "slow", lambda: time.sleep(5))


@pytest.mark.parametrize("name", ["an answer", "an export", "a round"])
def test_a_full_disk_is_one_line_and_nothing_is_lost(base: Base, tmp_path: Path, name: str) -> None:
    with small_disk(tmp_path / "disk") as hindrance:
        refused, trouble = fill_up(ACT[name], base, tmp_path / "disk", SIZE, not hindrance)
    assert trouble == ""
    assert refused > 0


def test_the_stand_in_for_a_full_disk_refuses_as_well(base: Base, tmp_path: Path) -> None:
    refused, trouble = fill_up(ACT["an answer"], base, tmp_path, SIZE, mounted=False)
    assert trouble == ""
    assert refused > 0


@pytest.mark.parametrize("name", ["status", "the screens", "an answer", "an export", "a cohort"])
def test_a_folder_that_can_only_be_read_is_one_line(base: Base, tmp_path: Path, name: str) -> None:
    with small_disk(tmp_path / "disk") as hindrance:
        if hindrance:
            pytest.skip(f"{hindrance}; and what stands in for it needs a user who is not root")
        assert without_writing(ACT[name], base, tmp_path / "disk", mounted=True) == ""
