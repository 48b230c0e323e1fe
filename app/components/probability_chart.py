"""Charts of what a round did: the model's probability by epoch, training curves, the mixture of each group."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from app import theme

PARTITIONS = ("clean", "uncertain", "noisy", "locked")
PARTITION_COLOURS = ("#c6d9cf", "#d9a441", "#9c2f1f", "#4a5a63")
LINE_COLOURS = (theme.TEAL, theme.OCHRE, theme.PLUM, theme.BRICK, theme.INK_SOFT, "#3f6b2a", "#2f5597", "#8a6d3b")
LINE_DASHES = ([1, 0], [6, 2], [2, 2], [8, 3, 2, 3], [4, 4], [1, 2], [10, 2], [3, 1])


def quiet(chart: Any) -> Any:
    """Give a chart the page's colours and type."""
    framed = chart.configure_view(stroke=theme.LINE).configure(background=theme.PAPER, font=theme.FONT)
    framed = framed.configure_axis(
        labelColor=theme.INK_SOFT, titleColor=theme.INK_SOFT, gridColor=theme.WASH, titleFontWeight="normal"
    )
    return framed.configure_legend(labelColor=theme.INK, titleColor=theme.INK_SOFT, labelLimit=320)


def probability_chart(frame: pd.DataFrame) -> Any:
    """The fused probability at each epoch (columns `epoch`, `probability`)."""
    base = alt.Chart(frame).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, grid=False)),
        y=alt.Y("probability:Q", title="probability", scale=alt.Scale(domain=[0, 1])),
        tooltip=["epoch:Q", alt.Tooltip("probability:Q", format=".2f")],
    )
    both = base.mark_line(color=theme.TEAL, strokeWidth=1.5) + base.mark_point(color=theme.TEAL, filled=True, size=20)
    return quiet(both.properties(height=110))


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
                legend=alt.Legend(orient="bottom", columns=2, symbolType="stroke"),
            ),
            strokeDash=alt.StrokeDash(
                "curve:N", title=None, scale=alt.Scale(domain=names, range=list(LINE_DASHES[:n]))
            ),
            tooltip=["epoch:Q", "curve:N", alt.Tooltip("value:Q", format=".4g")],
        )
        .properties(height=230)
    )
    return quiet(chart)


def partition_chart(frame: pd.DataFrame) -> Any:
    """How many pairs fell in each part at each epoch (columns `epoch`, `n_clean` and so on)."""
    return curves_chart(
        frame, {f"n_{name}": name for name in ("uncertain", "noisy", "locked")}, "pairs (all others are clean)"
    )


def mixture_chart(histogram: pd.DataFrame, fit: Mapping[str, float] | None, recorded: str) -> Any:
    """One group's scores by part, with the two fitted bells (clean dashed, noisy solid) in counts per bar.

    `histogram` has low, high, partition, n; `fit` has n, both means, deviations and weights, or is None where the
    group was too small or too alike to fit.
    """
    names = [name for name in PARTITIONS if (histogram["partition"] == name).any()]
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
            y=alt.Y("n:Q", title="pairs", stack="zero", axis=alt.Axis(tickCount=4)),
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
        width = float((histogram["high"] - histogram["low"]).iloc[0])
        for name, dash in (("clean", [5, 3]), ("noisy", [1, 0])):
            scale = float(fit["n"]) * width * float(fit[f"weight_{name}"])
            bell = f"{scale:.8g} * densityNormal(datum.z, {fit[f'mean_{name}']:.8g}, {fit[f'sd_{name}']:.8g})"
            layers.append(
                alt.Chart(alt.sequence(0, 1.0001, 0.005, as_="z"))
                .mark_line(color=theme.INK, strokeDash=dash, strokeWidth=1.4, clip=True)
                .transform_calculate(pairs=bell)
                .encode(x="z:Q", y="pairs:Q")
            )
    return quiet(alt.layer(*layers).properties(height=210))
