"""The reviewer's desk: the batch at hand, where they are in it, and what each page shown may still write.

Nothing here is kept for good: decisions live in the store. A page's token is made when the page is shown and goes with
the act; an act that carries another page's token is dropped, so a held key or a double click writes one decision, on
the pair that was on the screen.
"""

from dataclasses import dataclass, field, replace

from app.session import Context
from audit_store.batches import Batch, batch_items, batches_for, draw_batch, open_batch_of
from audit_store.decisions import Decision, Reading, current_answer, new_token
from audit_store.errors import DecisionError
from audit_store.protocol import current_protocol
from audit_store.queue import Item, QueueFilter, next_items
from audit_store.readers import readers_of
from audit_store.worklist import held_in

BATCH = 60  # pairs; a reviewer's sitting (review.md draws "batch 37 of 60")
HELD_SECONDS = 0.7  # the same key again within this is a held key, not a second thought
ACROSS = 1.7  # times as long where the key's last act was on another page: there a held key does most harm
DRAWINGS = 2.0  # or within this many times what the last page took to draw
MOVE_SECONDS = 0.2  # leaving a page writes nothing: three quick J are three pages on, a held J is one
SEEN_SECONDS = 0.5  # nobody reads a page in less; a press that comes sooner was meant for the page before
ACTIVE_CAP_SECONDS = 300.0  # longest stretch without a touch that still counts as reading
UNDO_REACH = 10


@dataclass
class Sheet:
    """One pair, or labels decided together, as this person has it before them.

    `seen`: this person has answered it before, and so seen the record; `others`: somebody else's answer stands too.
    """

    token: str
    answers: dict[str, Decision] = field(default_factory=dict)
    seen: bool = False
    others: bool = False
    seconds: float = 0.0
    certainty: str = "high"
    reason_code: str | None = None
    comment: str = ""
    opened: set[str] = field(default_factory=set)

    @property
    def answered(self) -> bool:
        """Whether an answer of this person stands."""
        return bool(self.answers)


@dataclass
class Desk:
    """A batch of items and the place in it; `batch` is None in the free queue."""

    round_id: int
    chosen: QueueFilter
    items: list[Item]
    at: int = 0
    pause: bool = True
    patient_mode: bool = False
    blind: bool = True
    batch: Batch | None = None
    gathered: int | None = None
    whole_notes: bool = False
    sheets: dict[str, Sheet] = field(default_factory=dict)
    pressed: dict[str, float] = field(default_factory=dict)
    alone: dict[str, bool] = field(default_factory=dict)
    counted: dict[str, str] = field(default_factory=dict)
    drawn: dict[str, float] = field(default_factory=dict)
    touched: float | None = None
    drawing: float = 0.0
    last_line: str = ""

    @property
    def item(self) -> Item | None:
        """The item on the screen, or None past the end of the batch."""
        return self.items[self.at] if 0 <= self.at < len(self.items) else None

    def sheet(self, context: Context) -> Sheet:
        """The sheet of the item on the screen; read from the store the first time."""
        item = self.item
        if item is None:
            raise LookupError("no item on the screen")
        if item.token not in self.sheets:
            self.sheets[item.token] = read_sheet(context, item)
        return self.sheets[item.token]

    def let_go(self, key: str, now: float, held: float | None = None) -> bool:
        """Whether a key was let go since its last press; `held` is the silence that tells [s]."""
        before = self.pressed.get(key)
        self.pressed[key] = now
        silence = HELD_SECONDS if held is None else held
        self.alone[key] = before is None or now - before >= silence
        return self.alone[key]

    def pressed_once(self, key: str) -> bool:
        """Whether the last press of a key came alone, not out of a held key."""
        return self.alone.get(key, True)

    def on_screen(self, page_token: str) -> bool:
        """Whether a page's token is that of the item shown."""
        item = self.item
        return item is not None and item.token in self.sheets and self.sheets[item.token].token == page_token

    def shown(self, page_token: str, now: float) -> None:
        """Note when a page was drawn to its end."""
        if page_token not in self.drawn:
            self.drawn[page_token] = now
            self.drawing = 0.0 if self.touched is None else max(now - self.touched, 0.0)

    def accepts(self, page_token: str, key: str, now: float, *, seen: bool = True) -> bool:
        """Whether a press counts: its key was let go, it belongs to the page shown, and that page could be seen.

        On a slow machine presses of a held key arrive late, one for each page drawn, with that page's token; so what
        writes (`seen`) counts only once its page has stood there for `SEEN_SECONDS` without such a press.
        """
        item = self.item
        if seen:
            # a busy machine takes up the presses of a held key as far apart as it draws pages
            across = ACROSS if self.counted.get(key, page_token) != page_token else 1.0
            free = self.let_go(key, now, max(across * HELD_SECONDS, DRAWINGS * self.drawing))
        else:
            free = self.let_go(key, now, min(MOVE_SECONDS, HELD_SECONDS))
        if item is None or item.token not in self.sheets or self.sheets[item.token].token != page_token:
            return False
        if not seen:
            return free
        since = self.drawn.get(page_token)
        counts = free and since is not None and now - since >= SEEN_SECONDS
        if counts:
            self.counted[key] = page_token
        else:
            self.drawn.pop(page_token, None)
        return counts

    def touch(self, now: float) -> None:
        """Count the time since the last touch to the item on the screen."""
        item = self.item
        if item is not None and item.token in self.sheets and self.touched is not None:
            self.sheets[item.token].seconds += min(max(now - self.touched, 0.0), ACTIVE_CAP_SECONDS)
        self.touched = now

    def move(self, steps: int) -> None:
        """Go on or back; the past-the-end place is the batch's closing page."""
        self.at = min(max(self.at + steps, 0), len(self.items))
        self.whole_notes = False

    def of_patient(self) -> list[Item]:
        """The items of the patient on the screen, in this desk's order."""
        item = self.item
        return [] if item is None else [other for other in self.items if other.patient_id == item.patient_id]

    def anchor(self) -> str:
        """What names the page's panes: the item's token, or in patient mode that of the patient's first item."""
        item = self.item
        if item is None:
            raise LookupError("no item on the screen")
        return self.of_patient()[0].token if self.patient_mode else item.token

    def gather(self, context: Context, *, free: bool = True) -> None:
        """Bring what is open of the patient on the screen together, after the item shown; once a patient.

        In a batch these are the batch's own items; in the `free` queue (no signed protocol) also the patient's other
        open items that the queue's filter lets through.
        """
        item = self.item
        if not self.patient_mode or item is None or self.gathered == item.patient_id:
            return
        self.gathered = item.patient_id
        known = {other.token for other in self.items}
        more: list[Item] = []
        if free:
            chosen = replace(self.chosen, patient_id=item.patient_id)
            found = next_items(context.store, context.round_file, context.person, chosen, limit=BATCH)
            more = [other for other in found if other.token not in known]
        ahead = self.items[self.at + 1 :]
        mine = [other for other in ahead if other.patient_id == item.patient_id]
        rest = [other for other in ahead if other.patient_id != item.patient_id]
        self.items = [*self.items[: self.at + 1], *mine, *more, *rest]
        for other in self.of_patient():
            if other.token not in self.sheets:
                self.sheets[other.token] = read_sheet(context, other)

    def withheld(self, item: Item) -> dict[str, frozenset[int]]:
        """By label: the patient's other stays about which this person is asked too and has not answered.

        What a reveal says of one must not give away the record of another that is still open.
        """
        found: dict[str, set[int]] = {}
        for other in self.items:
            sheet = self.sheets.get(other.token)
            if other.patient_id == item.patient_id and other.token != item.token and not (sheet and sheet.answered):
                for key in other.label_keys:
                    found.setdefault(key, set()).add(other.stay_id)
        return {key: frozenset(stays) for key, stays in found.items()}

    def bring(self, item: Item) -> None:
        """Show an item: where it already lies in the batch, or put in at this place."""
        for place, other in enumerate(self.items):
            if other.token == item.token:
                self.at = place
                return
        self.items.insert(self.at, item)


def read_sheet(context: Context, item: Item) -> Sheet:
    """What the store has of this person's reading of an item, with a fresh token for the page."""
    answers: dict[str, Decision] = {}
    readers = {key: readers_of(context.store, item.stay_id, key) for key in item.label_keys}
    name = context.person.name
    for key in item.label_keys:
        ever = name in readers[key].ever
        decision = current_answer(context.store, context.person, item.stay_id, key) if ever else None
        if decision is not None:
            answers[key] = decision
    seen = any(name in who.ever for who in readers.values())
    sheet = Sheet(new_token(), answers, seen, any(who.others(name) for who in readers.values()))
    for decision in answers.values():
        sheet.certainty = decision.certainty or "high"
        sheet.reason_code = decision.reason_code
    return sheet


def open_batch(context: Context, chosen: QueueFilter | None = None, *, fresh: bool = False) -> Desk:
    """The batch that this person reads: under a signed protocol the open one, else the next, drawn now.

    Without a protocol, and for those who only read along, the next items of the free queue.

    Parameters
    ----------
    context
        Who reads which round.
    chosen
        The labels to draw of; in the free queue also states and order.
    fresh
        Draw the next batch even where one is open, and go back to the open one only when nothing is left to draw.
    """
    chosen = chosen or QueueFilter()
    store, round_file, person = context.store, context.round_file, context.person
    signed = current_protocol(store)
    if signed is None or not context.may("decide"):
        items = next_items(store, round_file, person, chosen, limit=BATCH)
        return Desk(round_file.info.round_id, chosen, list(items), blind=signed is None or signed.terms.blind)
    batch = None if fresh else open_batch_of(store, round_file, person)
    if batch is None:
        batch = draw_batch(store, person, round_file, labels=chosen.labels)
    if batch is None and fresh:
        batch = open_batch_of(store, round_file, person)
    if batch is None:
        return Desk(round_file.info.round_id, chosen, [], blind=signed.terms.blind)
    return _desk_of(context, batch, chosen)


def open_named(context: Context, name: str) -> Desk:
    """One of the person's own batches of this round.

    Raises
    ------
    DecisionError
        When the person has none of that name.
    """
    for batch in batches_for(context.store, context.round_file, context.person):
        if batch.name == name and batch.person == context.person.name:
            return _desk_of(context, batch, QueueFilter())
    raise DecisionError("a batch of yours in this round", "another one", "open one from the queue")


def desk_for(context: Context, item: Item) -> Desk:
    """The desk on which to show one item: the person's batch that holds it, else the item alone; draws nothing."""
    held = held_in(context.store, context.round_file, context.person, item)
    if held is not None:
        desk = open_named(context, held)
        desk.bring(item)
        return desk
    signed = current_protocol(context.store)
    blind = signed is None or signed.terms.blind
    return Desk(context.round_file.info.round_id, QueueFilter(), [item], blind=blind)


def _desk_of(context: Context, batch: Batch, chosen: QueueFilter) -> Desk:
    """A batch laid out, at the first item without an answer of this person."""
    items = batch_items(context.store, context.round_file, context.person, batch)
    first = next((place for place, item in enumerate(items) if item.state == "open"), 0)
    return Desk(batch.round_id, chosen, items, first, blind=batch.blind, batch=batch)


def readings(context: Context, desk: Desk, item: Item, sheet: Sheet, answers: dict[str, str]) -> list[Reading]:
    """The rows an act writes: one for each label answered."""
    made = []
    for key, answer in answers.items():
        before = sheet.answers.get(key)
        made.append(
            Reading(
                round_id=desk.round_id,
                stay_id=item.stay_id,
                label_key=key,
                answer=answer,
                certainty=sheet.certainty,
                reason_code=sheet.reason_code,
                comment=sheet.comment.strip() or None,
                blinded=desk.blind and not sheet.seen,
                saw_suggestion=sheet.seen or not desk.blind,
                active_seconds=round(sheet.seconds, 1),
                evidence_opened=tuple(sorted(sheet.opened)),
                guideline_version=context.guidelines[key].version_id,
                batch=item.batch,
                position=desk.items.index(item) + 1 if item.position is None else item.position,
                supersedes=None if before is None else before.id,
            )
        )
    return made
