"""The charts of a page move together: what a mouse does to one is done to the others beside it.

Each column is a picture of its own, which zooms by itself alone. Wheel turned with Ctrl (or Shift: browsers then report
it as sideways), a press that begins a drag, and a double click are passed on to the same hours of the other columns.
A wheel without a key scrolls the pane, as everywhere.
"""

import streamlit as st

_SCRIPT = """
export default function ({ data }) {
  const charts = () => [...document.querySelectorAll(`.st-key-${data.pane} [data-testid="stVegaLiteChart"] svg.marks`)];
  const told = (type, event, chart, from) => {
    const place = chart.querySelector(".role-scope path.background");
    if (!place) return;
    const here = chart.getBoundingClientRect(), there = from.getBoundingClientRect();
    const inside = place.getBoundingClientRect();
    // a drag is measured on the window, for all charts from the same place; what turns or clicks is at the same hour
    const across = (event.clientX - there.left) * (here.width / there.width);
    const at = {
      bubbles: true, cancelable: true, view: window, button: 0, buttons: event.buttons, pointerId: event.pointerId,
      isPrimary: true, pointerType: "mouse", shiftKey: true, detail: event.detail,
      clientX: type === "pointerdown" ? event.clientX : here.left + across,
      clientY: inside.top + inside.height / 2,
    };
    const Pointer = window.PointerEvent;
    place.dispatchEvent(new Pointer("pointermove", { ...at, buttons: 0 }));
    if (type === "wheel") {
      const turned = event.deltaY || event.deltaX;
      place.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: turned, deltaMode: event.deltaMode }));
    } else if (type === "dblclick") {
      place.dispatchEvent(new MouseEvent("dblclick", at));
    } else {
      place.dispatchEvent(new Pointer("pointerdown", at));
    }
  };
  const pass = (event) => {
    if (!event.isTrusted) return;
    const from = event.target.closest?.("svg.marks");
    const every = charts();
    if (!from || !every.includes(from)) return;
    if (event.type === "wheel") {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      every.forEach((chart) => told("wheel", event, chart, from));
    } else if (event.button === 0) {
      every.filter((chart) => chart !== from).forEach((chart) => told(event.type, event, chart, from));
    }
  };
  const how = { capture: true, passive: false };
  ["wheel", "pointerdown", "dblclick"].forEach((type) => document.addEventListener(type, pass, how));
  return () => ["wheel", "pointerdown", "dblclick"].forEach((type) => document.removeEventListener(type, pass, how));
}
"""
_component = st.components.v2.component("miracl_linked_charts", js=_SCRIPT, isolate_styles=False)


def link(pane: str) -> None:
    """Let the charts of a container move together.

    Parameters
    ----------
    pane
        The container's key.
    """
    with st.container(key="linked_charts_box"):
        _component(key="linked_charts", data={"pane": pane})
