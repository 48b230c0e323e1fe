"""Charts of an export before it is written: prevalence before and after, and what each threshold would change."""

from textwrap import wrap
from typing import Any

import altair as alt
import pandas as pd

from app import theme
from app.components.probability_chart import quiet

ROW, TALL_ROW, FRAME = 19, 27, 70  # pixels: a label, one of two lines, and the axes around them
LABEL_WIDTH = 46
"""Characters of a line of a label's name; the longest of the published names takes two lines."""
_BREAK = "\n"
LABELS_AXIS = alt.Axis(
    labelExpr="split(datum.label, '\\n')",
    labelOffset={"condition": {"test": "indexof(datum.label, '\\n') >= 0", "value": -6}, "value": 0},
    labelLimit=270,
    labelOverlap=False,
    labelFlush=False,
    grid=True,
    ticks=False,
    domain=False,
)


def dumbbell_chart(labels: pd.DataFrame) -> Any:
    """Prevalence as recorded (hollow) and as exported (full) by label, with how many labels went each way.

    `labels` has name, prevalence_before, prevalence_after (0–1), added, removed.
    """
    frame = labels[["name", "prevalence_before", "prevalence_after", "added", "removed"]].copy()
    frame["words"] = [_went(int(a), int(r)) for a, r in zip(frame["added"], frame["removed"], strict=True)]
    frame["shown"] = [_BREAK.join(wrap(str(name), LABEL_WIDTH)) for name in frame["name"]]
    tall = frame["shown"].str.contains(_BREAK).any()
    frame["edge"] = frame[["prevalence_before", "prevalence_after"]].max(axis=1)
    base = alt.Chart(frame).encode(
        y=alt.Y("shown:N", title=None, sort=frame["shown"].tolist(), axis=LABELS_AXIS),
        tooltip=[
            alt.Tooltip("name:N", title="label"),
            alt.Tooltip("prevalence_before:Q", format=".1%", title="as recorded"),
            alt.Tooltip("prevalence_after:Q", format=".1%", title="as exported"),
            alt.Tooltip("added:Q", format=",", title="become present"),
            alt.Tooltip("removed:Q", format=",", title="become absent"),
        ],
    )
    x = alt.X(
        "prevalence_before:Q",
        title="share of stays with the label:  ○ as recorded   ● as exported",
        axis=alt.Axis(format="%", tickCount=7),
        scale=alt.Scale(domain=[0, 1.3 * float(frame["edge"].max() or 1.0)], nice=False),
    )
    line = base.mark_rule(color=theme.INK_SOFT, strokeWidth=2).encode(x=x, x2="prevalence_after")
    old = base.mark_point(size=60, fill=theme.PAPER, stroke=theme.INK_SOFT, strokeWidth=2, opacity=1).encode(x=x)
    new = base.mark_point(size=60, filled=True, color=theme.TEAL, opacity=1).encode(x="prevalence_after:Q")
    words = base.mark_text(align="left", dx=11, fontSize=11, color=theme.INK).encode(x="edge:Q", text="words:N")
    return quiet(alt.layer(line, old, new, words).properties(height=FRAME + (TALL_ROW if tall else ROW) * len(frame)))


def _went(added: int, removed: int) -> str:
    """`◇ +3  ◆ −4`: the marks of the two directions, as everywhere."""
    parts = [f"◇ +{added:,}"] if added else []
    return "  ".join([*parts, *([f"◆ −{removed:,}"] if removed else [])])


def threshold_chart(curve: pd.DataFrame, chosen: float) -> Any:
    """Labels the model would change by itself at each threshold, and the one chosen (columns of `threshold_curve`)."""
    total = curve.assign(labels=curve["added"] + curve["removed"])
    calibrated = bool(total["right"].notna().any())
    area = (
        alt.Chart(total)
        .mark_area(interpolate="step-before", color=theme.TEAL, opacity=0.35, line={"color": theme.TEAL})
        .encode(
            x=alt.X("threshold:Q", title="threshold", scale=alt.Scale(domain=[0.5, 1]), axis=alt.Axis(tickCount=6)),
            y=alt.Y("labels:Q", title="labels the model changes", axis=alt.Axis(tickCount=4)),
            tooltip=["threshold:Q", alt.Tooltip("labels:Q", format=",")],
        )
    )
    layers = [area]
    if calibrated:
        right = alt.Chart(total).mark_line(
            interpolate="step-before", color=theme.INK, strokeDash=[5, 3], strokeWidth=1.4
        )
        layers.append(right.encode(x="threshold:Q", y="right:Q"))
    mark = alt.Chart(pd.DataFrame({"chosen": [chosen]})).mark_rule(color=theme.OCHRE, strokeWidth=2)
    return quiet(alt.layer(*layers, mark.encode(x="chosen:Q")).properties(height=200))
