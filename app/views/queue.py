"""The queue: how much is left per label, what to read next, and the last ten acts."""

from html import escape

import pandas as pd
import streamlit as st

from app import desk as desks
from app import session
from audit_store.chart import masked
from audit_store.decisions import new_token, recent, undo
from audit_store.queue import QueueFilter, count, counts, find_item, page

SHOWN = 25
ORDERS = {"suspicion": "most suspect first", "patient": "patient by patient", "label": "label by label"}
STATES = {
    "open": "open",
    "answered": "answered by someone",
    "conflict": "readers disagree",
    "adjudicated": "adjudicated",
    "locked": "locked",
}
MINE = "answered by me"
ANSWERS = {"present": "present", "absent": "absent", "cannot_tell": "can't say", "retract": "taken back"}


@session.guarded
def _start(chosen: QueueFilter) -> None:
    context = session.context()
    desk = desks.open_batch(context, chosen)
    if "desk" in st.session_state:
        desk.pause = st.session_state["desk"].pause
    st.session_state["desk"] = desk
    st.session_state["go"] = "review"


@session.guarded
def _open(token: str) -> None:
    context = session.context()
    item = find_item(context.store, context.round_file, token)
    desk = st.session_state.get("desk") or desks.open_batch(context, QueueFilter())
    desk.bring(item)
    st.session_state["desk"] = desk
    st.session_state["go"] = "review"


@session.guarded
def _take_back(token: str, decision_id: int) -> None:
    context = session.context()
    undo(context.store, context.person, token, decision_id)
    st.session_state.pop("desk", None)
    session.say("Taken back. The record keeps both rows.")


def _counts_html(table: pd.DataFrame, chosen: tuple[str, ...]) -> str:
    rows = []
    for row in table.to_dict("records"):
        if chosen and row["label_key"] not in chosen:
            continue
        flagged, left = int(row["flagged"]), int(row["open"])
        done = 0 if flagged == 0 else round(100 * (flagged - left) / flagged)
        cells = "".join(
            f"<td>{int(row[name]):,}</td>" for name in ("flagged", "open", "answered", "conflict", "locked")
        )
        rows.append(
            f"<tr><th>{escape(str(row['name']))}</th>{cells}"
            f'<td><div class="track"><div style="width:{done}%"></div></div></td></tr>'
        )
    head = "".join(f"<th>{h}</th>" for h in ("to read", "open", "answered", "disagree", "locked", "done"))
    return f'<table class="counts"><thead><tr><th>label</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _waiting(context: session.Context, chosen: QueueFilter, mine: bool) -> None:
    frame = page(context.store, context.round_file, context.person, chosen, limit=SHOWN, mine=mine)
    if frame.empty:
        st.html('<p class="empty">Nothing here with these filters.</p>')
        return
    shown = pd.DataFrame(
        {
            "stay": [masked(int(stay)) for stay in frame["stay_id"]],
            "visit": frame["visit"].astype(int),
            "question": [
                names[0] if len(names) == 1 else context.guidelines.groups[group].name
                for names, group in zip(frame["label_names"], frame["label_group"], strict=True)
            ],
            "state": [STATES.get(state, state) for state in frame["state"]],
        }
    )
    if not mine:
        shown = shown.drop(columns="state")
    event = st.dataframe(
        shown,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="waiting",
        column_config={name: st.column_config.Column(width="small") for name in ("stay", "visit", "state")},
        alt="Pairs in the queue's order",
    )
    rows = event["selection"]["rows"]
    st.button(
        "Open the chosen row",
        key="open_row",
        disabled=not rows,
        on_click=_open,
        args=(frame["token"].iloc[rows[0]] if rows else "",),
    )


def _last_acts(context: session.Context) -> None:
    acts = recent(context.store, context.person, limit=desks.UNDO_REACH)
    if acts.empty:
        st.html('<p class="empty">Your last ten answers will stand here, each with a way to take it back.</p>')
        return
    names = context.round_file.label_names
    for act_id, rows in acts.groupby("act", sort=False):
        row = rows.iloc[0]
        said = " · ".join(
            f"<b>{escape(names.get(str(key), str(key)))}</b> {escape(ANSWERS.get(str(answer), str(answer)))}"
            for key, answer in zip(rows["label_key"], rows["answer"], strict=True)
        )
        taken = bool(rows["taken_back"].all())
        words, act = st.columns([5, 1], vertical_alignment="center")
        words.html(f'<p class="act">{masked(int(row["stay_id"]))} {said}{" · taken back" if taken else ""}</p>')
        if not taken:
            act.button(
                "Take back",
                key=f"take_back_{row['id']}",
                type="tertiary",
                on_click=_take_back,
                args=(st.session_state.setdefault(f"take_back_token_{act_id}", new_token()), int(row["id"])),
            )


def render() -> None:
    """Counts, filters that give nothing away, and the way in."""
    context = session.context()
    table = counts(context.store, context.round_file)
    table = table[table["flagged"] > 0]
    if table.empty:
        st.html(
            '<section class="empty-page"><h2>Nothing to read</h2><p>This round flagged no pair. Train the next round '
            "with a larger budget: <code>miracl train --budget N</code>.</p></section>"
        )
        return
    names = dict(zip(table["label_key"], table["name"], strict=True))
    left, right = st.columns([3, 2], gap="large")
    with left:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            labels = st.multiselect(
                "Labels", list(names), format_func=names.__getitem__, placeholder="all labels", key="filter_labels"
            )
            order = st.selectbox("Order", list(ORDERS), format_func=ORDERS.__getitem__, key="filter_order")
        chosen = QueueFilter(labels=tuple(labels), order=str(order))
        waiting = count(context.store, context.round_file, context.person, chosen)
        going_on = "desk" in st.session_state
        if waiting:
            st.button(
                f"{'Go on' if going_on else 'Start'} reviewing · {waiting:,} open",
                key="start",
                type="primary",
                on_click=_start,
                args=(chosen,),
            )
        else:
            st.html('<p class="empty">You have answered everything here. Choose other labels, or export.</p>')
        st.html(_counts_html(table, tuple(labels)))
    with right:
        view = st.segmented_control(
            "Show", ["open", MINE], default="open", required=True, key="filter_state", label_visibility="collapsed"
        )
        _waiting(context, chosen, view == MINE)
        st.html("<h4>Your last acts</h4>")
        _last_acts(context)
