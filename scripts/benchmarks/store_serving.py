"""The other side of the store's benchmark: a process of its own that holds the store as the app does, and is timed.

    python -m scripts.benchmarks.store_serving WORKSPACE --repeats 8

prints one line of JSON: milliseconds of each query, and the memory held before, after and at most.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from audit_store.database import open_store
from audit_store.people import find_person
from audit_store.queue import QueueFilter, count, counts, page
from audit_store.queue_items import ORDERS
from audit_store.rounds import open_round
from audit_store.workspace import open_workspace
from scripts.benchmarks.store_site import READERS
from scripts.benchmarks.written import memory_mib, peak_mib

Call = Callable[[], Any]


def calls(folder: Path) -> Iterator[tuple[str, Call]]:
    """Give the queries that a screen asks, by the words of the table."""
    store = open_store(open_workspace(folder))
    round_file = open_round(store.workspace)
    person = find_person(store, READERS[0])
    assert person is not None
    for key in round_file.label_ids:
        yield "queue of one label", partial(page, store, round_file, person, QueueFilter(labels=(key,)))
    for order in ORDERS:
        yield "queue of all", partial(page, store, round_file, person, QueueFilter(order=order))
    yield "items of the queue counted", partial(count, store, round_file, person)
    yield "counts by label and state", partial(counts, store, round_file)


def measure(folder: Path, repeats: int) -> dict[str, Any]:
    """Ask each query `repeats` times in turn, after a first time that is kept apart.

    Parameters
    ----------
    folder
        The workspace.
    repeats
        Of the whole list of queries.

    Returns
    -------
    dict
        ``rows``: measure, number (0 is the first, caches cold), milliseconds, cpu_ms; ``held_mib``, ``peak_mib``,
        ``idle_mib`` before a store is opened.
    """
    idle = memory_mib()
    asked = list(calls(folder))
    rows = []
    for number in range(repeats + 1):
        for words, call in asked:
            begun, worked = time.perf_counter(), time.process_time()
            call()
            took, cpu = time.perf_counter() - begun, time.process_time() - worked
            rows.append({"measure": words, "number": number, "milliseconds": 1000 * took, "cpu_ms": 1000 * cpu})
    return {"rows": rows, "idle_mib": idle, "held_mib": memory_mib(), "peak_mib": peak_mib()}


def main() -> None:
    """Read the options, measure, and print the line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=8)
    given = parser.parse_args()
    print(json.dumps(measure(given.folder, given.repeats)))


if __name__ == "__main__":
    main()
