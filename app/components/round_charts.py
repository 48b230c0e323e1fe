"""Charts of a round: training curves, the mixture of each group with its cuts, and the way from round to round."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from app import theme
from app.components.probability_chart import quiet
from audit_store.round_scores import Cut
from audit_store.schema import PARTITIONS

ROW, FRAME = 19, 76  # pixels: a label, and the axes and legend around them
HEADROOM = 0.25  # of the highest bar, for the words at the cuts
FLAG_FATES = {
    "flags_left_decided": "settled by readers",
    "flags_left": "no longer suspect",
    "flags_stayed": "still flagged",
    "flags_came": "newly flagged",
}
PARTITION_COLOURS = ("#c6d9cf", "#d9a441", "#9c2f1f", "#4a5a63")
LINE_COLOURS = (theme.TEAL, theme.OCHRE, theme.PLUM, theme.BRICK, theme.INK_SOFT, "#3f6b2a", "#2f5597", "#8a6d3b")
LINE_DASHES = ([1, 0], [6, 2], [2, 2], [8, 3, 2, 3], [4, 4], [1, 2], [10, 2], [3, 1])
FATE_COLOURS = (theme.TEAL, "#8fb0ab", "#d9a441", theme.BRICK)
LABELS_AXIS = alt.Axis(labelLimit=210, labelOverlap=False, labelFlush=False, grid=True, ticks=False, domain=False)


def curves_chart(frame: pd.DataFrame, columns: Mapping[str, str], title: str) -> Any:
    """Several columns of the epoch table over the epochs; each line has its own dash as well as its own colour."""
    kept = [name for name in columns if name in frame and frame[name].notna().any()]
    long = frame[["epoch", *kept]].melt("epoch", var_name="column", value_name="value").dropna()
    long["curve"] = long["column"].map(dict(columns))
    names = [columns[name] for name in kept]
    n = len(names)
    chart = (
        alt.Chart(long)
        .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=14, filled=True))
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, grid=False)),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "curve:N",
                title=None,
                scale=alt.Scale(domain=names, range=list(LINE_COLOURS[:n])),
                legend=alt.Legend(orient="bottom", columns=1, symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "curve:N", title=None, scale=alt.Scale(domain=names, range=list(LINE_DASHES[:n]))
            ),
            tooltip=["epoch:Q", "curve:N", alt.Tooltip("value:Q", format=".4g")],
        )
        .properties(height=400)
    )
    return quiet(chart)


def partition_chart(frame: pd.DataFrame) -> Any:
    """How many pairs fell in each part at each epoch (columns `epoch`, `n_clean` and so on)."""
    return curves_chart(
        frame, {f"n_{name}": name for name in ("uncertain", "noisy", "locked")}, "pairs (all others are clean)"
    )


def mixture_chart(
    histogram: pd.DataFrame, fit: Mapping[str, float] | None, recorded: str, cuts: Sequence[Cut] = ()
) -> Any:
    """One group's scores by part, the two fitted bells in counts per bar (clean dashed, noisy solid), and the cuts.

    `histogram` has low, high, partition, n; `fit` has n, both means, deviations and weights, or is None where the
    group was too small or too alike to fit. Each cut is a line with the part above it named beside it.
    """
    names = [name for name in PARTITIONS if (histogram["partition"] == name).any()]
    top = float(histogram.groupby("low")["n"].sum().max()) * (1 + HEADROOM * bool(cuts))
    bars = (
        alt.Chart(histogram)
        .mark_bar(stroke=theme.CARD, strokeWidth=0.3)
        .encode(
            x=alt.X(
                "low:Q",
                bin="binned",
                title=f"selection score, recorded {recorded} (high: suspect)",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(grid=False, tickCount=6),
            ),
            x2="high",
            y=alt.Y("n:Q", title="pairs", stack="zero", axis=alt.Axis(tickCount=4), scale=alt.Scale(domain=[0, top])),
            color=alt.Color(
                "partition:N",
                title=None,
                sort=list(PARTITIONS),
                scale=alt.Scale(domain=list(PARTITIONS), range=list(PARTITION_COLOURS)),
                legend=alt.Legend(orient="bottom", values=names),
            ),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("low:Q", format=".2f", title="from"),
                alt.Tooltip("high:Q", format=".2f", title="to"),
                alt.Tooltip("partition:N", title="part"),
                alt.Tooltip("n:Q", title="pairs"),
            ],
        )
        .transform_calculate(rank=f"indexof({list(PARTITIONS)}, datum.partition)")
    )
    layers: list[alt.Chart] = [bars]
    if fit is not None and len(histogram):
        layers += _bells(histogram, fit)
    if cuts:
        layers += _cut_lines(cuts)
    return quiet(alt.layer(*layers).properties(height=290))


def _bells(histogram: pd.DataFrame, fit: Mapping[str, float]) -> list[alt.Chart]:
    width = float((histogram["high"] - histogram["low"]).iloc[0])
    made = []
    for name, dash in (("clean", [5, 3]), ("noisy", [1, 0])):
        scale = float(fit["n"]) * width * float(fit[f"weight_{name}"])
        bell = f"{scale:.8g} * densityNormal(datum.z, {fit[f'mean_{name}']:.8g}, {fit[f'sd_{name}']:.8g})"
        made.append(
            alt.Chart(alt.sequence(0, 1.0001, 0.005, as_="z"))
            .mark_line(color=theme.INK, strokeDash=dash, strokeWidth=1.4, clip=True)
            .transform_calculate(pairs=bell)
            .encode(x="z:Q", y="pairs:Q")
        )
    return made


def _cut_lines(cuts: Sequence[Cut]) -> list[alt.Chart]:
    made = []
    for place, cut in enumerate(cuts):
        frame = pd.DataFrame([{"at": cut.at, "words": f"{cut.above} from {cut.at:.2f}"}])
        base = alt.Chart(frame).encode(x="at:Q")
        made.append(base.mark_rule(color=theme.PLUM, strokeWidth=1.6))
        words = base.mark_text(align="left", baseline="top", dx=4, color=theme.PLUM, fontWeight=600, fontSize=12)
        made.append(words.encode(y=alt.value(2 + 15 * place), text="words:N"))
    return made


def transitions_chart(transitions: pd.DataFrame, before: int, after: int) -> Any:
    """Pairs by part before (rows) and after (columns); a cell's shade is its share of its row, its figure the pairs."""
    total = transitions.groupby("before")["n"].transform("sum")
    frame = transitions.assign(share=(transitions["n"] / total.where(total > 0)).fillna(0.0))
    base = alt.Chart(frame).encode(
        x=alt.X(
            "after:N",
            sort=list(PARTITIONS),
            title=f"in round {after}",
            axis=alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False),
        ),
        y=alt.Y(
            "before:N",
            sort=list(PARTITIONS),
            title=f"in round {before}",
            axis=alt.Axis(domain=False, ticks=False),
        ),
    )
    tips = ["before:N", "after:N", alt.Tooltip("n:Q", format=",", title="pairs"), alt.Tooltip("share:Q", format=".1%")]
    cells = base.mark_rect(stroke=theme.PAPER, strokeWidth=3).encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=[theme.WASH, theme.TEAL]), legend=None),
        tooltip=tips,
    )
    dark = alt.datum.share > 0.45
    numbers = base.mark_text(fontSize=14, dy=-6, fontWeight=600).encode(
        text=alt.Text("n:Q", format=","),
        color=alt.condition(dark, alt.value(theme.CARD), alt.value(theme.INK)),
    )
    shares = base.mark_text(fontSize=12, dy=11).encode(
        text=alt.Text("share:Q", format=".0%"),
        color=alt.condition(dark, alt.value(theme.CARD), alt.value(theme.INK)),
    )
    return quiet(alt.layer(cells, numbers, shares).properties(height=270))


def flags_chart(labels: pd.DataFrame) -> Any:
    """What became of the flags, label by label: left of the line those that went, right those that are flagged now.

    `labels` has name and the keys of `FLAG_FATES`.
    """
    long = labels[["name", *FLAG_FATES]].melt("name", var_name="fate", value_name="flags")
    long["signed"] = long["flags"].where(long["fate"].isin(["flags_stayed", "flags_came"]), -long["flags"])
    long["rank"] = long["fate"].map({"flags_left": 0, "flags_left_decided": 1, "flags_stayed": 2, "flags_came": 3})
    long["fate"] = long["fate"].map(FLAG_FATES)
    order = labels["name"].tolist()
    bars = (
        alt.Chart(long[long["flags"] > 0])
        .mark_bar(height=11, stroke=theme.INK_SOFT, strokeWidth=0.4)
        .encode(
            x=alt.X(
                "signed:Q",
                title="← flags that went · flags now →",
                axis=alt.Axis(labelExpr="format(abs(datum.value), ',')", tickCount=7),
            ),
            y=alt.Y("name:N", title=None, sort=order, axis=LABELS_AXIS),
            color=alt.Color(
                "fate:N",
                title=None,
                scale=alt.Scale(domain=list(FLAG_FATES.values()), range=list(FATE_COLOURS)),
                legend=alt.Legend(orient="top", columns=2),
            ),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("name:N", title="label"),
                alt.Tooltip("fate:N", title="flags"),
                alt.Tooltip("flags:Q", format=",", title="how many"),
            ],
        )
    )
    middle = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=theme.INK).encode(x="zero:Q")
    return quiet(alt.layer(bars, middle).properties(height=FRAME + ROW * len(order)))


def metrics_chart(metrics: pd.DataFrame, before: int, after: int) -> Any:
    """Held-out metrics of two rounds: a hollow dot for the earlier one, a full one for the later, a line between."""
    order = metrics["metric"].tolist()
    y = alt.Y("metric:N", title=None, sort=order, axis=LABELS_AXIS)
    scale = alt.Scale(zero=False, padding=14)
    base = alt.Chart(metrics).encode(
        y=y,
        tooltip=[
            "metric:N",
            alt.Tooltip("before:Q", format=".3f", title=f"round {before}"),
            alt.Tooltip("after:Q", format=".3f", title=f"round {after}"),
            alt.Tooltip("difference:Q", format="+.3f"),
        ],
    )
    line = base.mark_rule(color=theme.INK_SOFT, strokeWidth=1.5).encode(
        x=alt.X("before:Q", title=f"○ round {before}   ● round {after}", scale=scale, axis=alt.Axis(format=".2f")),
        x2="after",
    )
    old = base.mark_point(size=80, fill=theme.PAPER, stroke=theme.TEAL, strokeWidth=2, opacity=1).encode(x="before:Q")
    new = base.mark_point(size=80, filled=True, color=theme.TEAL, opacity=1).encode(x="after:Q")
    words = base.mark_text(dy=-11, fontSize=12, color=theme.INK).encode(
        x="after:Q", text=alt.Text("difference:Q", format="+.3f")
    )
    return quiet(alt.layer(line, old, new, words).properties(height=60 + 36 * len(order)))
