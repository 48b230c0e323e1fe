"""One label across a patient's visits, and what its persistence lets a reader expect."""

from audit_store.chart.records import LabelInfo, Strip, StripCell, Visit

WITHHELD = "?"


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
) -> Strip:
    """Lay out the recorded label of each visit.

    Parameters
    ----------
    blind
        Withhold this stay's cell; the sentence then speaks of the other visits alone.
    """
    cells = []
    for visit in visits:
        observed, code = recorded.get((visit.stay_id, label.key), (None, None))
        hidden = blind and visit.is_this
        state = WITHHELD if hidden else state_of(observed, visit.stay_id in coded)
        cells.append(StripCell(visit.stay_id, visit.title, visit.is_this, state, None if hidden else code))
    return Strip(label.key, label.persistence, order_known, tuple(cells), _sentence(label, tuple(cells), blind))


def _sentence(label: LabelInfo, cells: tuple[StripCell, ...], blind: bool) -> str:
    counted = [cell for cell in cells if not (blind and cell.is_this)]
    stated = [cell for cell in counted if cell.state in ("present", "absent")]
    present = sum(cell.state == "present" for cell in stated)
    if not counted:
        return f"{label.persistence}: no other visit"
    if not stated:
        return f"{label.persistence}: no {'other ' if blind else ''}visit is coded"
    word = "other visit" if blind else "visit"
    text = f"{label.persistence}: recorded at {present} of {len(stated)} coded {word}{'s' if len(stated) > 1 else ''}"
    if label.persistence == "lifelong" and 0 < present < len(stated):
        text += ", missing at the rest"
    return text
