"""Exports that are there: what each holds, checking it, and taking its files away."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app import session
from app.components.export_forms import to_fill_in
from app.components.export_words import policy_words
from app.components.page import Column, table
from app.plain import escape
from audit_store.export_files import DOWNLOAD_LIMIT, check_export, read_for_download
from audit_store.exports import list_exports, read_manifest
from audit_store.labels import Policy

TYPES = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".cff": "text/plain",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".zip": "application/zip",
}
COLUMNS = (
    Column("export"),
    Column("written"),
    Column("by"),
    Column("round", True),
    Column("labels changed", True),
    Column("state"),
)
HEAD_DIGITS = 16


def show(context: session.Context) -> None:
    """The exports of the workspace, and one of them to look into."""
    st.html("<h2>Exports written</h2>")
    made = list_exports(context.store)
    if made.empty:
        st.html('<p class="empty">No export yet. Write one; it stays in the workspace beside its manifest.</p>')
        return
    st.html(table(COLUMNS, [_row(row) for row in made.to_dict("records")], "Exports, the latest first"))
    whole = [int(number) for number in made.loc[made["complete"], "number"]]
    if not whole:
        return
    number = st.selectbox("Export", whole, format_func=lambda n: f"export {n}", key="export_number", width=220)
    row = made[made["number"] == number].iloc[0]
    manifest = read_manifest(Path(str(row["folder"])))
    if manifest is None:
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.html(f"<h3>Export {number}: its manifest</h3>{manifest_html(manifest)}")
        st.button("Check the files", key=f"check_{number}", icon=":material/verified:", on_click=_check, args=(number,))
        found = st.session_state.get("export_checked")
        if found is not None and found[0] == number:
            st.html(_checked_html(found[1]))
    with right:
        st.html("<h3>Its files</h3>")
        if context.may("export"):
            _downloads(context, number, manifest)
        else:
            st.html('<p class="soft">Your role may look at exports, not download them.</p>')


def _row(row: dict[Any, Any]) -> list[object]:
    written = pd.Timestamp(row["created_at"]).strftime("%d %b %Y, %H:%M UTC")
    state = "complete" if row["complete"] else "files missing"
    return [
        f"export {row['number']}",
        written,
        _who(str(row["actor"])),
        int(row["round_id"]),
        f"{row['changed']:,}",
        state,
    ]


def _who(actor: str) -> str:
    """A person's name; whoever runs the commands is called that."""
    return "the command line" if actor.startswith("operator:") else actor


def manifest_html(manifest: dict[str, Any]) -> str:
    """The facts of a manifest that a person asks for; the file has all."""
    counts, decisions = manifest["counts"], manifest["decisions"]
    policy = Policy(**manifest["policy"])
    facts = [
        ("written", datetime.fromisoformat(str(manifest["created_at"])).strftime("%d %b %Y, %H:%M UTC")),
        ("round", str(manifest["round"])),
        ("cohort", str(manifest["cohort"]["name"] or "not named")),
        ("stays", f"{counts['stays']:,}"),
        ("labels", f"{counts['pairs']:,}"),
        ("become present", f"{counts['added']:,}"),
        ("become absent", f"{counts['removed']:,}"),
        ("decisions read", f"{decisions['count']:,}"),
        ("ledger's head", str(decisions["head"]["hash"])[:HEAD_DIGITS] or "empty"),
    ]
    if manifest.get("reads"):
        facts.append(("raw reads", f"{manifest['reads']['reads']:,} of {manifest['reads']['readers']:,} readers"))
    left = [
        f"{form}: {count:,} stays {why} have no row"
        for form, whys in manifest.get("left_out", {}).items()
        for why, count in whys.items()
        if count
    ]
    more = "".join(f'<p class="soft">{escape(line)}</p>' for line in (*left, to_fill_in(manifest)) if line)
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return (
        f'<p class="soft">{escape(policy_words(policy, calibrated=False).replace("suspicion", "value"))}</p>'
        f'<dl class="facts">{cells}</dl>{more}<p class="soft">{escape(str(manifest["note"]))}</p>'
    )


def _downloads(context: session.Context, number: int, manifest: dict[str, Any]) -> None:
    sizes = {str(item["name"]): int(item["bytes"]) for item in manifest["files"]}
    names = (*sizes, "manifest.json")
    if sum(sizes.values()) <= DOWNLOAD_LIMIT:
        _download(context, number, names, f"export-{number:04d}.zip", "All of them, as one ZIP")
    parts = _parts(names)
    with st.container(horizontal=True, gap="small"):
        for part, inside in parts.items():
            if sum(sizes.get(name, 0) for name in inside) <= DOWNLOAD_LIMIT:
                file = part if inside == (part,) else f"export-{number:04d}-{part}.zip"
                words = part if inside == (part,) else f"{part}, {len(inside)} files as a ZIP"
                _download(context, number, inside, file, words)
    large = [name for name, size in sizes.items() if size > DOWNLOAD_LIMIT]
    if large:
        st.html(
            f'<p class="soft">Too large for this page ({DOWNLOAD_LIMIT >> 20} MB at most): {escape(", ".join(large))}. '
            f"Copy from the workspace, exports/export-{number:04d}.</p>"
        )
    told = " · ".join(
        f"{part} {size_words(sum(sizes[name] for name in inside))}"
        for part, inside in parts.items()
        if set(inside) <= sizes.keys()
    )
    st.html(f'<p class="soft">{escape(told)}. Each download is noted in the trail.</p>')


def _parts(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Files by their first part: one that lies by itself, or all of a folder."""
    parts: dict[str, tuple[str, ...]] = {}
    for name in names:
        first = name.split("/")[0]
        parts[first] = (*parts.get(first, ()), name)
    return parts


def _download(context: session.Context, number: int, names: tuple[str, ...], file: str, words: str) -> None:
    st.download_button(
        words,
        data=_reader(context, number, names),
        file_name=file,
        mime=TYPES.get(Path(file).suffix, "application/octet-stream"),
        key=f"download_{number}_{file}",
        icon=":material/download:",
        on_click="ignore",
    )


def _reader(context: session.Context, number: int, names: tuple[str, ...]) -> Callable[[], bytes]:
    """Read the files when the button is pressed, not before: the store checks the role and notes it."""
    return lambda: read_for_download(context.store, context.person, number, names)


def size_words(size: int) -> str:
    """`1536` → ``2 kB``; `3000000` → ``3.0 MB``."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{max(round(size / 1e3), 1):,} kB"


@session.guarded
def _check(number: int) -> None:
    context = session.context()
    st.session_state["export_checked"] = (number, check_export(context.store, number))


def _checked_html(found: list[str]) -> str:
    if not found:
        return (
            '<p class="verdict-line good" role="status"><b>All as written.</b> Each file has the digest that the '
            "manifest gives, and the manifest is the one that the ledger noted.</p>"
        )
    lines = "".join(f"<li>{escape(line)}</li>" for line in found)
    return f'<div class="verdict-line bad" role="status"><b>Something changed.</b><ul>{lines}</ul></div>'
