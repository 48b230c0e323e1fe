"""What a criterion may look at: one patient's measured values, evidence rows and mentions, each with its place."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from audit_store.chart import Chart
from audit_store.terms import TermSpan, find_terms, list_match, load_terms, path_of, status_of

CHARTED = {
    "creatinine": "charted_creatinine",
    "wbc": "charted_wbc",
    "temperature": "charted_temperature",
    "bilirubin": "charted_bilirubin",
    "glucose": "charted_glucose",
    "ph": "charted_ph",
}
"""Lists of charted values that stand in for a channel that was not measured in a stay, in the channel's unit."""
WITHHELD_KINDS = ("diagnosis",)
_STANDS = ("affirmed", "historical")
_STOPS = (";", ".", "\n", ",", ":")
_PHRASE = 48
_SEE_ELSEWHERE = ("see ", "excluding", "for respiratory arrest")


@dataclass(frozen=True)
class RowRef:
    """Where a shown entry is stored: table, stay, hour and name (channel, evidence name or note category)."""

    table: str
    stay_id: int
    hour: float | None
    name: str


@dataclass(frozen=True)
class Reading:
    """One measured value, or one evidence row that belongs to a list; `words` is what the screen says."""

    stay_id: int
    visit_title: str
    hour: float | None
    value: float | None
    unit: str
    words: str
    after_cutoff: bool
    ref: RowRef
    kind: str = ""
    text: str = ""


@dataclass(frozen=True)
class Mention:
    """A term of the label in a note or a finding, with its status."""

    stay_id: int
    visit_title: str
    hour: float | None
    span: TermSpan
    after_cutoff: bool
    ref: RowRef


def number(value: float) -> str:
    """Three significant digits, whole numbers from 100 on, no trailing zeros."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass
class View:
    """One stay of one patient as the criteria see it; everything is computed once per panel.

    Parameters
    ----------
    chart
        The opened cohort.
    label_key
        The label that is asked about.
    stay_id
        The stay that is asked about.
    """

    chart: Chart
    label_key: str
    stay_id: int
    _rows: dict[tuple[str, bool], list[Reading]] = field(default_factory=dict)
    _mentions: list[Mention] | None = None

    def __post_init__(self) -> None:
        self.visits = self.chart.visits(self.stay_id)
        self.titles = {visit.stay_id: visit.title for visit in self.visits}
        self.order_known = self.chart.order_known(self.stay_id)
        label = self.chart.label(self.label_key)
        self.persistence = label.persistence
        self.mates = [
            key
            for key in self.chart.label_keys
            if key != label.key and label.group and self.chart.label(key).group == label.group
        ]
        stays = [visit.stay_id for visit in self.visits]
        self._evidence = self.chart.evidence(stays, blind=True).to_dict("records")

    @property
    def others(self) -> list[int]:
        """The patient's other stays, in order."""
        return [visit.stay_id for visit in self.visits if not visit.is_this]

    def readings(self, channel: str, stay_id: int | None = None) -> list[Reading]:
        """Return the measured values of a channel, hours ascending; of this stay unless another is named."""
        stay = self.stay_id if stay_id is None else stay_id
        track = self.chart.track(stay, channel)
        if track is None:
            return []
        unit = self.chart.channel(channel).unit
        cutoff = self.chart.cutoff_hours
        return [
            Reading(
                stay,
                self.titles[stay],
                float(hour),
                float(value),
                unit,
                f"{number(float(value))} {unit}".strip(),
                cutoff is not None and float(hour) >= cutoff,
                RowRef("observations", stay, float(hour), channel),
            )
            for hour, value in zip(track.hours, track.values, strict=True)
            if value == value
        ]

    def measured(self, channel: str) -> list[Reading]:
        """Return this stay's readings of a channel or, where it has none, the values charted instead (APACHE)."""
        own = self.readings(channel)
        if own or channel not in CHARTED:
            return own
        return [row for row in self.rows(CHARTED[channel]) if row.value is not None]

    def rows(self, *lists: str, elsewhere: bool = False) -> list[Reading]:
        """Return the evidence rows of this stay (or of the others) that belong to any of the lists."""
        found: list[Reading] = []
        for key in lists:
            if (key, elsewhere) not in self._rows:
                self._rows[key, elsewhere] = self._match(key, elsewhere)
            seen = {(reading.ref, reading.text) for reading in found}
            found += [r for r in self._rows[key, elsewhere] if (r.ref, r.text) not in seen]
        return found

    def of_kind(self, kind: str, elsewhere: bool = False) -> list[Reading]:
        """Return the evidence rows of a kind."""
        return [
            _reading(row, _own_words(row), self.titles)
            for row in self._evidence
            if row["kind"] == kind and (int(row["stay_id"]) != self.stay_id) == elsewhere
        ]

    def mentions(self) -> list[Mention]:
        """Return the label's terms in the notes and in charted findings of all the patient's stays."""
        if self._mentions is None:
            self._mentions = self._mentions_of(self.label_key, self.mates)
        return self._mentions

    def mate_mentions(self) -> list[Mention]:
        """Return, in the same places, terms of the labels that are decided together with this one."""
        return [mention for mate in self.mates for mention in self._mentions_of(mate, [self.label_key])]

    def note_hits(self, *lists: str) -> list[Reading]:
        """Return what this stay's notes affirm of the lists, each as the phrase that holds it."""
        terms = load_terms()
        found: list[Reading] = []
        for note in self.chart.notes([self.stay_id]):
            for key in lists:
                entry = terms.lists[key]
                barred = [(m.start(), m.end()) for m in entry.exceptions.finditer(note.text)]
                for match in entry.pattern.finditer(note.text):
                    if any(a < match.end() and match.start() < b for a, b in barred):
                        continue
                    if status_of(note.text, match.start(), match.end(), terms, note.category) not in _STANDS:
                        continue
                    ref = RowRef("notes", note.stay_id, note.hour, note.category)
                    words = _phrase_around(note.text, match.start(), match.end())
                    title = self.titles[note.stay_id]
                    found.append(Reading(note.stay_id, title, note.hour, None, "", words, note.after_cutoff, ref))
        return list({(r.ref, r.words): r for r in found}.values())

    def admission_terms(self) -> list[tuple[Reading, TermSpan]]:
        """Return this stay's admission diagnoses that name the label, with the term."""
        return [
            (reading, spans[0])
            for reading in self.of_kind("admission_diagnosis")
            if not _answered_no(reading)
            for spans in [self._terms(_without_asides(reading.words), "", self.label_key, self.mates)]
            if spans
        ]

    def _terms(self, text: str, category: str, label_key: str, mates: Sequence[str]) -> list[TermSpan]:
        """Terms that name the label, without those that lie within a longer term of a label decided with it."""
        spans = [span for span in find_terms(text, label_key, category=category) if span.kind != "drug"]
        longer = [span for mate in mates for span in find_terms(text, mate, category=category)] if spans else []
        return [
            span
            for span in spans
            if not any(m.start <= span.start and span.end <= m.end and len(m.text) > len(span.text) for m in longer)
        ]

    def _mentions_of(self, label_key: str, mates: Sequence[str]) -> list[Mention]:
        places = [
            (note.text, note.category, note.after_cutoff, RowRef("notes", note.stay_id, note.hour, note.category))
            for note in self.chart.notes([visit.stay_id for visit in self.visits])
        ] + [
            (reading.words, reading.ref.name, reading.after_cutoff, reading.ref)
            for elsewhere in (False, True)
            for reading in self.of_kind("finding", elsewhere)
        ]
        return [
            Mention(ref.stay_id, self.titles[ref.stay_id], ref.hour, span, late, ref)
            for text, category, late, ref in places
            for span in self._terms(text, category, label_key, mates)
        ]

    def source_has_list(self, key: str) -> bool:
        """Whether any evidence name in the whole cohort belongs to the list."""
        return self.chart.remembered(
            f"list:{key}",
            lambda: any(
                list_match(key, name, None) for kind, name in self.chart.evidence_names() if kind not in WITHHELD_KINDS
            ),
        )

    def source_has_kind(self, kind: str) -> bool:
        """Whether the cohort has any evidence of the kind."""
        return any(found == kind for found, _ in self.chart.evidence_names())

    def _match(self, key: str, elsewhere: bool) -> list[Reading]:
        out = []
        for row in self._evidence:
            if (int(row["stay_id"]) != self.stay_id) != elsewhere:
                continue
            words = list_match(key, str(row["name"]), _text(row["text"]))
            if words:
                out.append(_reading(row, words, self.titles))
        return out


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _reading(row: dict[object, object], words: str, titles: dict[int, str]) -> Reading:
    stay, hour, value = int(str(row["stay_id"])), _float(row["hour"]), _float(row["value"])
    name = str(row["name"])
    text = "" if path_of("", _text(row["text"])) else _text(row["text"])
    return Reading(
        stay,
        titles[stay],
        hour,
        value,
        _text(row["unit"]),
        words,
        bool(row["after_cutoff"]),
        RowRef("review_evidence", stay, hour, name),
        str(row["kind"]),
        text,
    )


def _float(value: object) -> float | None:
    number_ = float(str(value)) if value is not None else float("nan")
    return None if number_ != number_ else round(number_, 4)


def _own_words(row: dict[object, object]) -> str:
    name, text = str(row["name"]), _text(row["text"])
    if not text or text.lower() in name.lower() or path_of(name, text):
        return name
    return text if row["kind"] == "admission_diagnosis" and name.lower() == "admission diagnosis" else f"{name}: {text}"


def _answered_no(reading: Reading) -> bool:
    last = reading.ref.name.replace(":", "|").rsplit("|", 1)[-1].strip().lower()
    return last in ("no", "none", "unknown") or reading.text.strip().lower() in ("no", "none", "unknown")


def _phrase_around(text: str, start: int, end: int) -> str:
    """Return the words between the nearest stops on either side, at most `_PHRASE` of them beside the term."""
    left = max([text.rfind(stop, 0, start) + 1 for stop in _STOPS] + [start - _PHRASE])
    right = min([place for stop in _STOPS if (place := text.find(stop, end)) >= 0] + [end + _PHRASE, len(text)])
    return " ".join(text[left:right].split())


def _without_asides(words: str) -> str:
    """Drop "(for diabetic see Endocrine)" and its kin: they name what the entry is not."""
    out, depth_text, depth = [], "", 0
    for letter in words:
        if letter == "(":
            depth += 1
        if depth:
            depth_text += letter
        else:
            out.append(letter)
        if letter == ")" and depth:
            depth -= 1
            if not depth:
                if not any(mark in depth_text.lower() for mark in _SEE_ELSEWHERE):
                    out.append(depth_text)
                depth_text = ""
    return "".join(out)


def within(readings: Sequence[Reading], hours: float) -> list[tuple[Reading, Reading]]:
    """Return pairs (earlier, later) of timed values at most `hours` apart."""
    timed = [r for r in readings if r.hour is not None and r.value is not None]
    return [
        (a, b)
        for i, a in enumerate(timed)
        for b in timed[i + 1 :]
        if a.hour is not None and b.hour is not None and b.hour - a.hour <= hours
    ]
