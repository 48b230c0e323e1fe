"""The runner: what is finished is not run again, a fault costs one job, a stop keeps what ended."""

import time
from pathlib import Path

import pytest

from scripts.benchmarks.rows import finished, read_rows
from scripts.benchmarks.runner import Job, Outcome, Place, run_jobs

from .benchmark_jobs import work


class Heard:
    """A watcher that remembers, and can say stop after so many ends."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.ends: list[tuple[str, str | None]] = []
        self.begun: tuple[int, int, int] | None = None
        self.stop_after = stop_after

    def start(self, jobs: int, already: int, workers: int) -> None:
        self.begun = (jobs, already, workers)

    def end(self, job: Job, seconds: float, error: str | None, left: float) -> None:
        assert seconds >= 0
        assert left >= 0
        self.ends.append((job.method, error))

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.ends) >= self.stop_after


def job(place: Path, method: str = "a", seed: int = 0) -> Job:
    return Job("robustness", "synthetic-60", method, "sym20", seed, "compact", 3, "1", Place(place))


def run(jobs: list[Job], rows: Path, heard: Heard, workers: int = 1, fresh: bool = False) -> Outcome:
    there = finished(rows, "robustness")
    return run_jobs(
        jobs, work, rows, finished=lambda job: job.key in there, workers=workers, watcher=heard,
        should_stop=heard.should_stop, fresh=fresh,
    )  # fmt: skip


def runs_of(place: Path, method: str, seed: int = 0) -> int:
    path = place / f"{method}-{seed}"
    return int(path.read_text(encoding="utf-8")) if path.exists() else 0


def test_finished_runs_are_not_run_again_and_new_ones_are(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    first, second = Heard(), Heard()
    told = run([job(tmp_path), job(tmp_path), job(tmp_path, seed=1)], rows, first)
    assert (told.done, told.already, told.stopped, told.failed) == (2, 0, False, [])
    assert first.begun == (2, 0, 1)
    told = run([job(tmp_path), job(tmp_path, seed=1), job(tmp_path, "b")], rows, second)
    assert (told.done, told.already) == (1, 2)
    assert [runs_of(tmp_path, "a", seed) for seed in (0, 1)] == [1, 1]
    assert {r["method"] for r in read_rows(rows, "robustness")} == {"a", "b"}


def test_nothing_to_do_starts_no_process(tmp_path: Path) -> None:
    heard = Heard()
    run([job(tmp_path)], tmp_path / "rows", heard)
    began = time.perf_counter()
    assert run([job(tmp_path)], tmp_path / "rows", heard).already == 1
    assert time.perf_counter() - began < 0.5


def test_a_job_that_raises_or_whose_process_dies_costs_itself_alone(tmp_path: Path) -> None:
    heard = Heard()
    told = run([job(tmp_path, "raises"), job(tmp_path, "dies"), job(tmp_path, "a")], tmp_path / "rows", heard)
    assert told.done == 1
    assert {j.method: why for j, why in told.failed} == {
        "raises": "ValueError: as it was told",
        "dies": "its process ended with status 7",
    }
    assert {r["method"] for r in read_rows(tmp_path / "rows", "robustness")} == {"a"}


def test_a_stop_keeps_what_ended_and_the_same_command_goes_on(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a"), job(tmp_path, "waits"), job(tmp_path, "b")]
    began = time.perf_counter()
    told = run(jobs, tmp_path / "rows", Heard(stop_after=1))
    assert told.stopped
    assert time.perf_counter() - began < 30
    assert {r["method"] for r in read_rows(tmp_path / "rows", "robustness")} == {"a"}
    told = run([jobs[0], jobs[2]], tmp_path / "rows", Heard())
    assert (told.already, told.done, told.stopped) == (1, 1, False)
    assert runs_of(tmp_path, "a") == 1


@pytest.mark.parametrize(("fresh", "processes"), [(False, 1), (True, 3)], ids=["shared", "fresh"])
def test_a_worker_takes_one_job_after_the_other_unless_each_gets_its_own(
    tmp_path: Path, fresh: bool, processes: int
) -> None:
    run([job(tmp_path, seed=seed) for seed in range(3)], tmp_path / "rows", Heard(), fresh=fresh)
    assert len({r["bootstrap"][0] for r in read_rows(tmp_path / "rows", "robustness")}) == processes
