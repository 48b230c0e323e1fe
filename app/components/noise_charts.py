"""Charts of a round's findings: noise rates, what the correction is expected to do, whether the decisions helped."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from app import theme
from app.components.probability_chart import quiet
from audit_store.round_findings import Verdict

ROW, FRAME = 17, 70  # pixels: a label, and the axes and legend around them
LOST, ADDED = "has it, recorded absent", "has it not, recorded present"
BETTER, WORSE, ALONE = "expected to become right", "expected to become wrong", "left alone"


def _labels_axis(names: Sequence[str] | str) -> alt.Y:
    order: Any = list(names) if not isinstance(names, str) else names
    return alt.Y(
        "name:N",
        title=None,
        sort=order,
        axis=alt.Axis(labelLimit=190, labelOverlap=False, labelFlush=False, grid=True, ticks=False, domain=False),
    )


def rates_chart(labels: pd.DataFrame) -> Any:
    """Estimated noise rates (columns `name`, `rho_plus`, `rho_minus`), the noisiest label first."""
    long = labels[["name", "rho_plus", "rho_minus"]].rename(columns={"rho_plus": LOST, "rho_minus": ADDED})
    long = long.melt("name", var_name="kind", value_name="rate").dropna()
    order = long.groupby("name")["rate"].max().sort_values(ascending=False, kind="stable").index.tolist()
    chart = (
        alt.Chart(long)
        .mark_point(filled=True, size=55, opacity=1)
        .encode(
            x=alt.X(
                "rate:Q",
                title="estimated share of such stays",
                axis=alt.Axis(format="%", tickCount=6),
                scale=alt.Scale(zero=True),
            ),
            y=_labels_axis(order),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=[LOST, ADDED], range=[theme.TEAL, theme.OCHRE]),
                legend=alt.Legend(orient="top", columns=1),
            ),
            shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=[LOST, ADDED], range=["circle", "diamond"])),
            tooltip=[
                alt.Tooltip("name:N", title="label"),
                alt.Tooltip("kind:N", title="kind"),
                alt.Tooltip("rate:Q", format=".1%"),
            ],
        )
        .properties(height=FRAME + ROW * len(order))
    )
    return quiet(chart)


def harm_chart(rows: pd.DataFrame, order: Sequence[str]) -> Any:
    """One direction's expected effect by label: right of the line better, left of it worse; words where left alone.

    `rows` has name, expected_better, expected_worse, left_alone.
    """
    long = rows[["name", "expected_better", "expected_worse"]].rename(
        columns={"expected_better": BETTER, "expected_worse": WORSE}
    )
    long = long.melt("name", var_name="effect", value_name="labels")
    bars = (
        alt.Chart(long)
        .mark_bar(height=9)
        .encode(
            x=alt.X("signed:Q", title="labels", axis=alt.Axis(labelExpr="format(abs(datum.value), ',')", tickCount=6)),
            y=_labels_axis(order),
            color=alt.Color(
                "effect:N",
                title=None,
                scale=alt.Scale(domain=[WORSE, BETTER], range=[theme.BRICK, theme.TEAL]),
                legend=alt.Legend(orient="top", columns=1),
            ),
            tooltip=[
                alt.Tooltip("name:N", title="label"),
                alt.Tooltip("effect:N", title="effect"),
                alt.Tooltip("labels:Q", format=",.1f"),
            ],
        )
        .transform_calculate(signed=f"datum.effect === '{WORSE}' ? -datum.labels : datum.labels")
    )
    alone = (
        alt.Chart(rows[rows["left_alone"].astype(bool)][["name"]])
        .mark_text(text=ALONE, align="left", dx=5, color=theme.INK_SOFT, fontSize=10, fontStyle="italic")
        .encode(x=alt.datum(0), y=_labels_axis(order))
    )
    middle = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=theme.INK_SOFT).encode(x="zero:Q")
    return quiet(alt.layer(bars, middle, alone).properties(height=FRAME + ROW * len(order)))


def agreement_chart(shares: pd.DataFrame) -> Any:
    """Share of the flags in each detector's most suspect twentieth (columns `name`, `share`), and what chance gives."""
    order = shares["name"].tolist()
    bars = (
        alt.Chart(shares)
        .mark_bar(color=theme.TEAL, height=9)
        .encode(
            x=alt.X(
                "share:Q",
                title="share of the flags in its most suspect twentieth",
                axis=alt.Axis(format="%", tickCount=5),
                scale=alt.Scale(domain=[0, 1]),
            ),
            y=_labels_axis(order),
            tooltip=[alt.Tooltip("name:N", title="detector"), alt.Tooltip("share:Q", format=".0%")],
        )
    )
    chance = alt.Chart(pd.DataFrame({"chance": [0.05]})).mark_rule(color=theme.INK, strokeDash=[4, 3])
    return quiet(alt.layer(bars, chance.encode(x="chance:Q")).properties(height=FRAME + ROW * len(order)))


def difference_chart(verdicts: Sequence[Verdict]) -> Any:
    """Each metric's difference with its interval, about a line at no difference."""
    frame = pd.DataFrame(
        [{"metric": v.title, "difference": v.difference, "low": v.low, "high": v.high} for v in verdicts]
    )
    tips = [alt.Tooltip(name, format="+.4f") for name in ("difference:Q", "low:Q", "high:Q")]
    base = alt.Chart(frame).encode(
        y=alt.Y(
            "metric:N",
            title=None,
            sort=None,
            axis=alt.Axis(labelLimit=190, ticks=False, domain=False) if len(frame) > 1 else None,
        ),
        tooltip=["metric:N", *tips],
    )
    ends = [0.0, *frame["low"], *frame["high"]]
    room = 0.12 * (max(ends) - min(ends) or 1.0)
    x = alt.X(
        "low:Q",
        title="difference, with decisions less without",
        axis=alt.Axis(format="+.3f", tickCount=5),
        scale=alt.Scale(domain=[min(ends) - room, max(ends) + room], nice=False),
    )
    reach = base.mark_rule(color=theme.TEAL, strokeWidth=3).encode(x=x, x2="high")
    point = base.mark_point(color=theme.TEAL, filled=True, size=90, opacity=1).encode(x="difference:Q")
    zero = alt.Chart(pd.DataFrame({"none": [0]})).mark_rule(color=theme.INK, strokeDash=[4, 3]).encode(x="none:Q")
    return quiet(alt.layer(zero, reach, point).properties(height=FRAME + 50 + 30 * len(frame)))
