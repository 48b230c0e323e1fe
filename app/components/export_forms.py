"""Which files an export writes: forms of labels, their kinds, and what a publication needs beside them."""

from dataclasses import dataclass

import streamlit as st

from app import session
from app.plain import escape
from audit_store.export_citation import Citation, placeholders
from audit_store.export_forms import DEFAULT_FORMS, FORMATS, FORMS, unavailable

KINDS = {"CSV and Parquet": FORMATS, "CSV": ("csv",), "Parquet": ("parquet",)}
_FORMS, _KINDS, _READS = "export_forms", "export_kinds", "export_reads"
_TITLE, _AUTHORS, _DOI = "cite_title", "cite_authors", "cite_doi"


@dataclass(frozen=True)
class Asked:
    """What was chosen on the page: forms, formats, and whether every raw read is to be there."""

    forms: tuple[str, ...]
    formats: tuple[str, ...]
    reads: bool

    def citation(self) -> Citation | None:
        """How to cite, from the page's fields; None where no reads are asked for."""
        if not self.reads:
            return None
        said = st.session_state
        authors = tuple(line.strip() for line in str(said.get(_AUTHORS) or "").splitlines() if line.strip())
        return Citation(str(said.get(_TITLE) or "").strip() or None, authors, str(said.get(_DOI) or "").strip() or None)


def asked() -> Asked:
    """Read what stands in the page's fields."""
    said = st.session_state
    kinds = KINDS[str(said.get(_KINDS) or next(iter(KINDS)))]
    return Asked(tuple(said.get(_FORMS) or ()), kinds, bool(said.get(_READS)))


def choose(context: session.Context) -> bool:
    """Let a person choose, and say what each form is and which this cohort can't give; whether any was chosen."""
    missing = unavailable(context.store, context.round_file)
    forms = [form for form in FORMS if form not in missing]
    chosen = st.multiselect(
        "Forms of labels",
        forms,
        [form for form in DEFAULT_FORMS if form in forms],
        key=_FORMS,
        placeholder="Choose some",
    )
    lines = "<br>".join(f"<b>{escape(form)}</b>: {escape(FORMS[form])}" for form in chosen)
    st.html(f'<p class="soft">{lines or "Choose one form or more."}</p>')
    if missing:
        st.html(f'<p class="soft">This cohort can\'t give {escape(missing_words(missing))}.</p>')
    st.selectbox("Files as", list(KINDS), key=_KINDS)
    if st.toggle("For publication: every raw read, no names", value=False, key=_READS):
        _publication()
    return bool(chosen)


def missing_words(missing: dict[str, str]) -> str:
    """Say what forms lack: `a and b (needs x); c (needs y)`."""
    by_need: dict[str, list[str]] = {}
    for form, need in missing.items():
        by_need.setdefault(need, []).append(form)
    return "; ".join(
        f"{' and '.join(forms)} (need{'s' if len(forms) == 1 else ''} {need})" for need, forms in by_need.items()
    )


def _publication() -> None:
    """What is written beside the labels, and how they are cited."""
    st.html(
        '<p class="soft">Adds each answer with its reader as R1, R2, …, its terms and weight, the adjudications, and '
        "CITATION.cff. No file of this export names anybody or holds a comment. What is left empty here is marked in "
        "the file as to be filled in.</p>"
    )
    st.text_input("Title", key=_TITLE, max_chars=300)
    st.text_area("Authors, one a line: Family, Given", key=_AUTHORS, height=90)
    st.text_input("DOI", key=_DOI, placeholder="10.5281/zenodo.1003150")


def to_fill_in(manifest: dict[str, object]) -> str:
    """What a person has to fill in before an export is published, as a sentence; empty where it is none."""
    reads = manifest.get("reads")
    left = reads.get("to_fill_in", placeholders(Citation())) if isinstance(reads, dict) else []
    return f"To fill in in CITATION.cff before publishing: {'; '.join(left)}." if left else ""
