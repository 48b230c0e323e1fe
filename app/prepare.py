"""What a pair's page shows before the answer, read ahead of time: the next item is prepared while this one is read.

Only what the cohort and the guidelines say, and which labels of the stay are flagged (to leave them out); nothing of
what the round says of the pair asked about, so that nothing of it can reach a page that is read blind.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from app.session import Context
from audit_store.chart import Chart, Header, LabelInfo, Note, Visit
from audit_store.guidelines import Group, Guideline, Guidelines
from audit_store.panel import PanelResult, panel
from audit_store.queue import Item
from audit_store.rounds import RoundFile
from audit_store.terms import Passage, passages

PASSAGES = 8
KEPT = 3  # items kept prepared for one session: the one before, this one, the next
_POOL = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare")


@dataclass
class Prepared:
    """One item's page, as far as it can be known before the answer; `drawn` keeps charts once they are laid out."""

    header: Header
    visits: tuple[Visit, ...]
    guidelines: list[Guideline]
    group: Group | None
    panels: list[PanelResult]
    others: list[LabelInfo]
    passages: list[Passage]
    drawn: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What was made under a key, or make it now."""
        if key not in self.drawn:
            self.drawn[key] = make()
        return self.drawn[key]


def best_passages(notes: tuple[Note, ...], item: Item, marks: tuple[Any, ...] = ()) -> list[Passage]:
    """The passages that matter first; those that two labels share stand once."""
    found = [p for key in item.label_keys for p in passages(notes, key, marks, limit=PASSAGES, this_stay=item.stay_id)]
    found = sorted(found, key=lambda p: -p.score)
    once = {(p.note_id, p.start): p for p in reversed(found)}
    return [p for p in found if once[(p.note_id, p.start)] is p][:PASSAGES]


def prepare(chart: Chart, round_file: RoundFile, guidelines: Guidelines, item: Item) -> Prepared:
    """Read what the page of an item needs."""
    visits = chart.visits(item.stay_id)
    # labels that the queue may ask about next are left out: their record would be given away
    flagged = round_file.flagged_labels(item.stay_id)
    others = [label for label in chart.other_labels(item.stay_id, item.label_keys[0]) if label.key not in flagged]
    return Prepared(
        chart.header(item.stay_id),
        visits,
        [guidelines[key] for key in item.label_keys],
        guidelines.group_of(item.label_keys[0]) if len(item.label_keys) > 1 else None,
        [panel(chart, key, item.stay_id, guidelines) for key in item.label_keys],
        others,
        best_passages(chart.notes([visit.stay_id for visit in visits]), item),
    )


class Shelf:
    """The last few items prepared for one session, and the one that is being prepared."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], Prepared] = OrderedDict()
        self._pending: dict[tuple[str, ...], Future[Prepared]] = {}
        self._lock = threading.Lock()

    @staticmethod
    def _key(context: Context, item: Item) -> tuple[str, ...]:
        return (context.chart.fingerprint, str(context.round_file.info.round_id), item.token)

    def get(self, context: Context, item: Item) -> Prepared:
        """The item's page: from the shelf, from the preparation under way, or read now."""
        key = self._key(context, item)
        with self._lock:
            kept, pending = self._kept.get(key), self._pending.pop(key, None)
        if kept is None and pending is not None and not pending.cancel():
            # what failed in the background is tried again here, where it can be told
            kept = pending.result() if pending.exception() is None else None
        if kept is None:
            kept = prepare(context.chart, context.round_file, context.guidelines, item)
        self._keep(key, kept)
        return kept

    def ahead(self, context: Context, item: Item, also: Callable[[Prepared], None] | None = None) -> None:
        """Prepare an item in the background; `also` may lay out what will be drawn."""
        key = self._key(context, item)
        chart, round_file, guidelines = context.chart, context.round_file, context.guidelines

        def work() -> Prepared:
            made = prepare(chart, round_file, guidelines, item)
            if also is not None:
                also(made)
            return made

        with self._lock:
            if key in self._kept or key in self._pending:
                return
            for other in [other for other, future in self._pending.items() if future.done() or future.cancel()]:
                done = self._pending.pop(other)
                if not done.cancelled() and done.exception() is None:
                    self._kept[other] = done.result()
            self._pending[key] = _POOL.submit(work)

    def _keep(self, key: tuple[str, ...], made: Prepared) -> None:
        with self._lock:
            self._kept[key] = made
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
