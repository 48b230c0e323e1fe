"""The model's probability by epoch, and the page's colours for every chart."""

from typing import Any

import altair as alt
import pandas as pd

from app import theme


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
