"""Cleaned labels: the policy, what it would change, the files."""

from datetime import datetime

import streamlit as st

from app import session
from app.components import export_files, export_forms
from app.components.export_charts import dumbbell_chart, threshold_chart
from app.components.export_words import (
    BASIS,
    LABEL_COLUMNS,
    basis_rows,
    dumbbell_words,
    expected_line,
    first_rows,
    label_rows,
    policy_words,
    threshold_words,
    waiting_line,
)
from app.components.page import Column, chart, heading, table
from app.plain import escape
from audit_store.export_preview import Preview, first_changes, preview, threshold_curve
from audit_store.exports import export_labels, read_manifest
from audit_store.labels import Policy

FIRST = 50
DEFAULT_THRESHOLD = 0.95
FIRST_COLUMNS = (Column("stay"), Column("label"), Column("recorded"), Column("exported"), Column("why"))


def _policy(context: session.Context) -> Policy:
    """What may change a label, in plain words; the threshold with what it would do."""
    st.html(
        "<h2>Which labels change</h2><p>What readers settled always does: a sure answer, two readers who agree, "
        "an adjudication. You may allow more:</p>"
    )
    low = st.toggle("Count single answers given as not sure", value=False, key="policy_low")
    auto = st.toggle("Let the model correct labels nobody read", value=False, key="policy_auto")
    if not auto:
        return Policy(low_certainty=low)
    calibrated = context.round_file.info.calibrated
    asked = "From this probability on that the record is wrong" if calibrated else "From this suspicion on"
    threshold = st.slider(asked, 0.5, 1.0, DEFAULT_THRESHOLD, 0.01, key="policy_threshold")
    st.html(
        '<p class="warn" role="note"><b>Caution.</b> Nobody read these labels. Some of them will be changed from right '
        "to wrong. The files name each one <i>auto_corrected</i>, so that they can be left out again.</p>"
    )
    curve = threshold_curve(context.store, context.round_file, low_certainty=low)
    chart(threshold_chart(curve, threshold), threshold_words(curve, threshold), key="threshold_curve")
    st.html(f'<p class="soft">{escape(threshold_words(curve, threshold))}</p>')
    return Policy(auto_threshold=threshold, low_certainty=low)


@session.guarded
def _write(policy: Policy) -> None:
    context, asked = session.context(), export_forms.asked()
    folder = export_labels(
        context.store, context.round_file, context.person, policy, asked.formats, asked.forms, reads=asked.citation()
    )
    manifest = read_manifest(folder)
    if manifest is not None:
        st.session_state["export_number"] = int(manifest["number"])
    session.say("Written. The files and their manifest are below.")


def _what_changes(counted: Preview) -> None:
    """Facts and the picture."""
    st.html(f"<h2>What would change: {counted.changed:,} of {counted.pairs:,} labels</h2>")
    if not counted.changed:
        st.html('<p class="empty">Nothing yet. Each label stays as recorded until someone decides otherwise.</p>')
    else:
        st.html(
            f'<p class="facts-line">◇ <b>{counted.added:,}</b> recorded absent become present · '
            f"◆ <b>{counted.removed:,}</b> recorded present become absent</p>"
        )
    lines = [expected_line(counted), waiting_line(counted)]
    st.html("".join(f'<p class="soft">{escape(line)}</p>' for line in lines if line))
    st.html("<h3>How common each label is, as recorded and as exported</h3>")
    chart(dumbbell_chart(counted.labels), dumbbell_words(counted), key="prevalence")


def _tables(context: session.Context, policy: Policy, counted: Preview) -> None:
    """What the picture shows as tables: by label, and the first rows that change."""
    with st.expander("By label, as a table"):
        calibrated = counted.wrong_before is not None
        columns = LABEL_COLUMNS if calibrated else LABEL_COLUMNS[:-2]
        st.html(table(columns, label_rows(counted), "What the export would hold by label"))
    if counted.changed:
        rows = first_changes(context.store, context.round_file, policy, limit=FIRST)
        word = "All of them" if counted.changed <= FIRST else f"The first {len(rows)}"
        with st.expander(f"{word}, stay by stay"):
            st.html(table(FIRST_COLUMNS, first_rows(rows, context.round_file.label_names), "Labels that change"))


def render() -> None:
    """Choose a policy, see what it changes, write, download."""
    context = session.context()
    info = context.round_file.info
    made = datetime.fromisoformat(str(info.created_at)).strftime("%d %b %Y")
    heading("Export", f"Cleaned labels of round {info.round_id}, made {made}. See what changes, then write the files.")
    left, right = st.columns([4, 7], gap="large")
    with left:
        with st.container(key="card_policy"):
            policy = _policy(context)
            st.html(f'<p class="note-line">{escape(policy_words(policy, calibrated=info.calibrated))}</p>')
            if context.may("export"):
                some = export_forms.choose(context)
                st.button(
                    "Write the files",
                    key="write",
                    type="primary",
                    icon=":material/save:",
                    disabled=not some,
                    on_click=_write,
                    args=(policy,),
                )
            else:
                st.html('<p class="soft">Writing an export needs the steward\'s role.</p>')
        counted = preview(context.store, context.round_file, policy)
        st.html("<h3>Where each exported label comes from</h3>")
        st.html(table((Column("basis"), Column("labels", True)), basis_rows(counted), "Labels by basis"))
        st.html(f'<p class="soft">The files call these {escape(", ".join(BASIS))}.</p>')
    with right:
        _what_changes(counted)
    _tables(context, policy, counted)
    export_files.show(context)
