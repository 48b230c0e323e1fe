"""Cleaned labels: the policy, what it would change, the files."""

from html import escape
from pathlib import Path

import pandas as pd
import streamlit as st

from app import session
from audit_store.chart import masked
from audit_store.exports import export_labels, list_exports
from audit_store.labels import Policy, differences, summary
from audit_store.people import log_access

PREVIEW = 200
VALUES = {0: "absent", 1: "present"}
BASIS = {
    "observed": "as recorded",
    "kept": "kept by a reader",
    "relabelled": "relabelled by a reader",
    "adjudicated": "adjudicated",
    "auto_corrected": "by the model alone",
}
TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet", ".json": "application/json"}


def _policy(calibrated: bool) -> Policy:
    st.html("<h4>Policy</h4><p>A label changes only where people decided, unless you allow more here.</p>")
    low = st.toggle("Count single answers given as not sure", value=False, key="policy_low")
    auto = st.toggle("Let the model correct labels nobody read", value=False, key="policy_auto")
    threshold = None
    if auto:
        asked = "From this probability on that the label is wrong" if calibrated else "From this suspicion on"
        threshold = st.slider(asked, 0.5, 1.0, 0.95, 0.01, key="policy_threshold")
        st.html(
            '<p class="warn"><b>Caution.</b> These labels were read by nobody. The files name each one '
            "<i>auto_corrected</i>.</p>"
        )
    return Policy(auto_threshold=threshold, low_certainty=low)


def _summary(context: session.Context, policy: Policy) -> pd.DataFrame:
    table = summary(context.store, context.round_file, policy)
    words = {
        "name": "label",
        "pairs": "pairs",
        "kept": "kept",
        "relabelled": "relabelled",
        "adjudicated": "adjudicated",
        "auto_corrected": "model",
        "added": "now present",
        "removed": "now absent",
    }
    return table[list(words)].rename(columns=words)


def _changes(context: session.Context, policy: Policy) -> pd.DataFrame:
    rows = differences(context.store, context.round_file, policy)
    names = context.round_file.label_names
    return pd.DataFrame(
        {
            "stay": [masked(int(stay)) for stay in rows["stay_id"]],
            "label": [names.get(key, key) for key in rows["label"]],
            "recorded": [VALUES.get(v, "not stated") for v in rows["observed"]],
            "cleaned": [VALUES.get(v, "not stated") for v in rows["cleaned"]],
            "basis": [BASIS.get(v, v) for v in rows["basis"]],
        }
    )


@session.guarded
def _write(policy: Policy) -> None:
    context = session.context()
    folder = export_labels(context.store, context.round_file, context.person, policy)
    st.session_state["export_folder"] = str(folder)
    session.say("Written. The files and their manifest are below.")


@session.guarded
def _log_download() -> None:
    context = session.context()
    log_access(context.store, context.person, "export", round_id=context.round_file.info.round_id)


def _files(context: session.Context) -> None:
    made = list_exports(context.store)
    if made.empty:
        st.html('<p class="empty">No export yet. Write one; it stays in the workspace beside its manifest.</p>')
        return
    made = made[made["complete"]].sort_values("number", ascending=False)
    numbers = [int(n) for n in made["number"]]
    if not numbers:
        return
    number = st.selectbox("Export", numbers, format_func=lambda n: f"export {n}", key="export_number")
    row = made[made["number"] == number].iloc[0]
    st.html(
        f'<p class="soft">round {int(row["round_id"])}, {int(row["changed"]):,} labels changed, written by '
        f"{escape(str(row['actor']))}</p>"
    )
    if not context.may("export"):
        st.html('<p class="soft">Your role may look at exports, not download them.</p>')
        return
    folder = Path(str(row["folder"]))
    with st.container(horizontal=True, gap="small"):
        for path in sorted(folder.iterdir()):
            st.download_button(
                path.name,
                data=path.read_bytes,
                file_name=path.name,
                mime=TYPES.get(path.suffix, "application/octet-stream"),
                key=f"download_{number}_{path.name}",
                icon=":material/download:",
                on_click=_log_download,
            )


def render() -> None:
    """Choose a policy, see what it changes, write, download."""
    context = session.context()
    left, right = st.columns([3, 7], gap="medium")
    with left:
        policy = _policy(context.round_file.info.calibrated)
        if context.may("export"):
            st.button("Write the files", key="write", type="primary", on_click=_write, args=(policy,))
        else:
            st.html('<p class="soft">Writing an export needs the steward\'s role.</p>')
        st.html("<h4>Files</h4>")
        _files(context)
    with right:
        changes = _changes(context, policy)
        st.html(f"<h4>What changes against the record: {len(changes):,} labels</h4>")
        if changes.empty:
            st.html('<p class="empty">Nothing yet. Each label stays as recorded until someone decides otherwise.</p>')
        else:
            widths = dict(zip(changes.columns, (60, 230, 75, 75, 150), strict=True))
            st.dataframe(
                changes.head(PREVIEW),
                hide_index=True,
                alt="Labels that change",
                column_config={name: st.column_config.Column(width=width) for name, width in widths.items()},
            )
            if len(changes) > PREVIEW:
                st.html(f'<p class="soft">the first {PREVIEW} are shown; the files have all of them</p>')
        st.html("<h4>By label</h4>")
        by_label = _summary(context, policy)
        st.dataframe(
            by_label,
            hide_index=True,
            alt="Export by label",
            column_config={
                name: st.column_config.Column(width=180 if i == 0 else 68) for i, name in enumerate(by_label.columns)
            },
        )
