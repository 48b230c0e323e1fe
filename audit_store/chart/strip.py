"""One label across a patient's visits, and what its persistence lets a reader expect."""

from collections.abc import Iterable

from audit_store.chart.records import LabelInfo, Strip, StripCell, Visit

WITHHELD = "?"
TITLES_TOLD = 6


def state_of(observed: int | None, coded: bool) -> str:
    """``present``, ``absent``, or ``not coded`` where the source states nothing."""
    if observed is None or not coded:
        return "not coded"
    return "present" if observed else "absent"


def strip(
    label: LabelInfo,
    visits: tuple[Visit, ...],
    recorded: dict[tuple[int, str], tuple[int | None, str | None]],
    coded: frozenset[int],
    order_known: bool,
    blind: bool,
    withheld: frozenset[int] = frozenset(),
) -> Strip:
    """Lay out the recorded label of each visit.

    Parameters
    ----------
    blind
        Withhold this stay's cell; the sentence then speaks of the other visits alone.
    withheld
        Further stays whose cell is withheld: the reader is asked about them too, and has not answered.
    """
    cells = []
    for visit in visits:
        observed, code = recorded.get((visit.stay_id, label.key), (None, None))
        hidden = (blind and visit.is_this) or visit.stay_id in withheld
        state = WITHHELD if hidden else state_of(observed, visit.stay_id in coded)
        cells.append(StripCell(visit.stay_id, visit.title, visit.is_this, state, None if hidden else code))
    return Strip(label.key, label.persistence, order_known, tuple(cells), _sentence(label, tuple(cells), order_known))


def _sentence(label: LabelInfo, cells: tuple[StripCell, ...], order_known: bool) -> str:
    """Tell what the visits amount to, and what is odd for a condition of this persistence."""
    asked = any(cell.state == WITHHELD and cell.is_this for cell in cells)
    counted = [cell for cell in cells if cell.state != WITHHELD]
    stated = [cell for cell in counted if cell.state in ("present", "absent")]
    present = sum(cell.state == "present" for cell in stated)
    if not counted:
        return f"{label.persistence}: no other visit" + (" to compare with" if len(cells) > 1 else "")
    other = "other " if asked else ""
    if not stated:
        return f"{label.persistence}: no {other}visit is coded"
    many = "s" if len(stated) > 1 else ""
    text = f"{label.persistence}: recorded at {present} of {len(stated)} coded {other}visit{many}"
    if label.persistence == "lifelong" and 0 < present < len(stated):
        text += _odd(stated, order_known)
    return text


def _odd(stated: list[StripCell], order_known: bool) -> str:
    """Name the visits that lack a lifelong condition: those after one that has it, or any where no order is known."""
    if not order_known:
        return f"; missing at {_titles(cell for cell in stated if cell.state == 'absent')}, whose order is not known"
    first = next(place for place, cell in enumerate(stated) if cell.state == "present")
    gone = [cell for cell in stated[first:] if cell.state == "absent"]
    if not gone:
        return f", from {stated[first].title} on, as one expects of it"
    return f". Odd for a lifelong condition: {stated[first].title} has it, {_titles(gone)} after it not"


def _titles(cells: Iterable[StripCell]) -> str:
    names = [cell.title for cell in cells]
    more = f" and {len(names) - TITLES_TOLD} more" if len(names) > TITLES_TOLD else ""
    return ", ".join(names[:TITLES_TOLD]) + more
