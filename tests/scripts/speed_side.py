"""One side of the check of speed: does the same work each time it is told to, and says what processor time it took.

    python speed_side.py TREE select|store

`TREE` is the code to run; a number on stdin asks for so many units of work, and one line of JSON comes back.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Parts = dict[str, Callable[[], object]]
STAYS, LABELS, EPOCHS = 6_000, 25, 8
DRAWS = 12
STORE_STAYS, DECISIONS, PAGES = 1_600, 12, 12


def select_parts() -> Parts:
    """Dynamics, mixtures, partition and correction of an epoch, and noise, on pairs that are drawn once."""
    import numpy as np

    from core.correction.relabel import CorrectionConfig, corrected_labels, predicted_labels
    from core.noise.injection import NoiseConfig, inject
    from core.selection.difficulty import SelectionConfig
    from core.selection.dynamics import LearningDynamics, correct_predictions
    from core.selection.mixture import MixtureConfig
    from core.selection.partition import select

    rng = np.random.default_rng(0)
    observed = (rng.random((STAYS, LABELS)) < 0.18).astype(np.uint8)
    member, has = np.ones(observed.shape, np.bool_), np.ones(STAYS, np.bool_)
    epochs = [rng.random((3, STAYS, LABELS), np.float32) for _ in range(EPOCHS)]
    for p in epochs:
        p += 0.8 * observed
        np.clip(p, 0, 1, out=p)
    dynamics = LearningDynamics(observed.shape)
    for p in epochs:
        dynamics.update(correct_predictions(p[0], observed))

    def epoch() -> None:
        p, p_series, p_note = epochs[-1]
        state = LearningDynamics(observed.shape)
        state.load_state_dict(dynamics.state_dict())
        state.update(correct_predictions(p, observed))
        found = select(p, observed, member, state, SelectionConfig(), MixtureConfig())
        predicted = predicted_labels(p, p_series, p_note, has, has, CorrectionConfig())
        corrected_labels(
            observed.astype(np.float32), predicted, found.uncertainty, observed, member, member,
            config=CorrectionConfig(),
        )  # fmt: skip

    noise = NoiseConfig("symmetric", rate=0.2)

    def flips() -> None:
        for _ in range(DRAWS):
            inject(observed, member, noise, np.random.default_rng(1))

    return {"epoch": epoch, "noise": flips}


def store_parts(folder: Path) -> Parts:
    """A round written, pages of the queue and counts, on a workspace that is invented once."""
    from audit_store.people import find_person
    from audit_store.queue import QueueFilter, counts, page
    from audit_store.round_writer import write_round
    from audit_store.rounds import open_round
    from scripts.benchmarks.screen_tables import round_info
    from scripts.benchmarks.store_site import READERS, invented_site

    site = invented_site(folder / "workspace", STORE_STAYS, 1, DECISIONS, lambda words: None)
    store, workspace = site.store, site.workspace
    round_file, person = open_round(workspace), find_person(site.store, READERS[0])
    assert person is not None
    tables = {path.stem: path for path in (workspace.cache / "tables").glob("*.parquet")}
    import pyarrow.parquet as pq

    info = round_info(2, workspace.manifest(), {"pair": pq.read_table(tables["pair"])}, 30)

    def write() -> None:
        write_round(workspace, 2, info, tables)
        workspace.round_path(2).unlink()
        workspace.round_digest_path(2).unlink()

    def pages() -> None:
        for key in list(round_file.label_ids)[:PAGES]:
            page(store, round_file, person, QueueFilter(labels=(key,)))
            page(store, round_file, person, QueueFilter(order="patient"))

    def counted() -> None:
        for _ in range(PAGES):
            counts(store, round_file)

    return {"a round written": write, "pages of the queue": pages, "counts": counted}


def main() -> None:
    """Answer until stdin ends."""
    tree, what = Path(sys.argv[1]).resolve(), sys.argv[2]
    sys.path.insert(0, str(tree))
    import core

    assert Path(str(core.__file__)).is_relative_to(tree), core.__file__
    with tempfile.TemporaryDirectory() as folder:
        parts = select_parts() if what == "select" else store_parts(Path(folder))
        for call in parts.values():
            call()
        print("ready", flush=True)
        for line in sys.stdin:
            took = {}
            for name, call in parts.items():
                begun = time.process_time()
                for _ in range(int(line)):
                    call()
                took[name] = time.process_time() - begun
            print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
