"""Malformed inputs for every reader and every verb: which file is spoilt, and what then reads it.

A family makes one case from a seeded generator, in a folder of the case's own. What it runs goes through the entry of
the `miracl` command, so that errors become what a user would see.
"""

import random
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow as pa

from audit_store.fileio import file_digest
from scripts.benchmarks import trust_mutations as spoil
from scripts.benchmarks.trust_base import PASSWORD, READER, SETTINGS, Base
from scripts.benchmarks.trust_readers import (
    act_with,
    app_reads,
    config_from,
    find_link,
    pages_of,
    preprocessing_of,
    publish_spoilt,
    read_toml,
    round_status_of,
    trainer_reads,
)  # fmt: skip

Rng = random.Random
Command = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One malformed input.

    Parameters
    ----------
    reader
        What reads it.
    what
        What is wrong with it, in words.
    words
        Words of the `miracl` command; empty where `call` is run in their place.
    call
        A reader that no verb reaches alone.
    watched
        Folder in which nothing may be left half-written.
    stdin
        What is typed.
    whole
        Whether the store was sound before, and has to be after.
    """

    reader: str
    what: str
    watched: Path
    words: tuple[str, ...] = ()
    call: Command | None = None
    stdin: str = ""
    whole: bool = False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _source(rng: Rng, base: Base, place: Path) -> Case:
    raw, told = copytree(base.raw, place / "raw"), []
    for _ in range(rng.choice((1, 1, 1, 2))):
        path = rng.choice(_files(raw))
        change = spoil.spoil_parquet if path.suffix == ".parquet" else spoil.spoil_csv
        try:
            told.append(f"{path.name}: {change(rng, path)}")
        except (ValueError, IndexError, OSError, EOFError, zlib.error, pa.ArrowException):  # it was spoilt before
            told.append(f"{path.name}: {spoil.spoil_bytes(rng, path)}")
    words = ("build-cohort", "eicu", str(raw), "--workspace", str(place / "ws"))
    return Case("eICU source", "; ".join(told), place, words)


def _renew_manifest(cohort: Path) -> None:
    """Make the manifest name the files as they are now, so that readers look inside."""
    import json

    from core.cohort.store import fingerprint

    manifest = json.loads((cohort / "manifest.json").read_text(encoding="utf-8"))
    for name in manifest["tables"]:
        path = cohort / f"{name}.parquet"
        if path.is_file():
            manifest["tables"][name] = file_digest(path)
    manifest["fingerprint"] = fingerprint(manifest["tables"], manifest["labels"], manifest["channels"])
    (cohort / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _cohort(rng: Rng, base: Base, place: Path) -> Case:
    by_app = rng.random() < 0.5
    folder = copytree(base.full if by_app else base.plain, place / "ws")
    path = rng.choice([*_files(folder / "cohort"), folder / "cohort" / "manifest.json"])
    told = f"cohort/{path.name}: {spoil.spoil_any(rng, path)}"
    if path.suffix == ".parquet" and rng.random() < 0.7:
        _renew_manifest(folder / "cohort")
        told += ", manifest renewed"
    if rng.random() < 0.2:
        words = rng.choice((("status",), ("verify",), ("export",)))
        return Case("cohort", told, place, (*words, "--workspace", str(folder)))
    if by_app:
        return Case("cohort, by the app", told, place, call=lambda: app_reads(folder))
    return Case("cohort, by the trainer", told, place, call=lambda: trainer_reads(folder))


def _workspace(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.full, place / "ws")
    files = [path for path in _files(folder) if "cohort" not in path.parts and path.name != ".decisions.head.lock"]
    path = rng.choice(files)
    told = f"{path.relative_to(folder)}: {spoil.spoil_any(rng, path)}"
    verb = rng.choice(("status", "status", "verify", "export", "person list", "review", "app", "person add"))
    if verb == "app":
        return Case("workspace, by the app", told, place, call=lambda: app_reads(folder))
    words = verb.split()
    more = ["bo", "--password-stdin"] if words[-1] == "add" else []
    return Case(f"workspace, {verb}", told, place, (*words, *more, "--workspace", str(folder)), stdin="long-enough\n")


def _run(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.begun, place / "ws")
    path = rng.choice([*_files(folder / "runs"), *_files(folder / "runs"), *_files(folder / "cache")])
    told = f"{path.relative_to(folder)}: {spoil.spoil_any(rng, path)}"
    train = ("train", "--preset", "miracl", "--size", "compact", "--device", "cpu", *SETTINGS)
    words = ("status",) if rng.random() < 0.15 else train
    return Case("unfinished run", told, place, (*words, "--workspace", str(folder)))


def _settings(rng: Rng, base: Base, place: Path) -> Case:
    from core.config import make_config

    names = _option_names(make_config().to_dict())
    value = rng.choice(
        (*map(str, spoil.ODD_VALUES), "[1,2", '{"a":1}', "-0.0", "1e-300", "NaN", "[]", "true", "null", "1e9")
    )
    word = rng.choice((f"{rng.choice(names)}={value}", f"{rng.choice(names)}={value}", f"{_noise(rng)}={value}", value))
    word = word.replace("\x00", "")
    words = ("train", "--workspace", str(place / "none"), "--set", word)
    return Case("--set", word[:60], place, words)


def _option_names(config: dict[str, Any], before: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        found.append(before + key)
        if isinstance(value, dict):
            found += _option_names(value, f"{before}{key}.")
    return found


def _noise(rng: Rng) -> str:
    alphabet = string.printable + "é\u202e\u200f☃\U0001f600"
    return "".join(rng.choice(alphabet) for _ in range(rng.choice((0, 1, 5, 40, 400))))


def _toml(rng: Rng, base: Base, place: Path) -> Case:
    kind = rng.choice(("guidelines", "terms"))
    path, told = read_toml(kind, place, rng)
    return Case(f"{kind}.toml", told, place, call=path)


def _publish(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.plain, place / "ws")
    call, told = publish_spoilt(rng, folder, place)
    return Case("round tables", told, place, call=call)


def _config(rng: Rng, base: Base, place: Path) -> Case:
    call, told = config_from(rng)
    return Case("config.json", told, place, call=call)


_ODD_WORDS = (
    "",
    " ",
    "-1",
    "0",
    "1e9",
    "NaN",
    "inf",
    "x",
    "9" * 40,
    "é\u202e",
    "a\nb",
    "--",
    "-",
    "/",
    "..",
    "~nobody",
    "%",
    "\udcff",
)
_VERBS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("train", ("--preset", "--size", "--seed", "--device", "--epochs", "--budget", "--note-encoder", "--set")),
    ("export", ("--round", "--auto-threshold")),
    ("status", ()),
    ("verify", ()),
    ("review", ("--port",)),
    ("demo", ("--stays", "--epochs", "--port", "--seed")),
    ("build-cohort synthetic", ("--stays", "--seed", "--noise", "--rho-plus", "--rho-minus", "--noise-seed")),
    ("build-cohort eicu", ("--cutoff-hours",)),
    ("person add", ("--role", "--display-name")),
    ("person list", ()),
    ("person disable", ()),
    ("benchmark planted", ("--round",)),
    ("benchmark report", ("--rows", "--out")),
    ("benchmark robustness", ("--methods", "--noise", "--seeds", "--size", "--cohort", "--data")),
    ("benchmark portrait", ("--noise", "--method", "--stays", "--epochs", "--size")),
)


def _verbs(rng: Rng, base: Base, place: Path) -> Case:
    verb, options = rng.choice(_VERBS)
    words = verb.split()
    workspace = rng.choice(
        (str(place / "none"), str(place / "file"), "", str(place / ("x" * 300)), "/dev/null/ws", "\udcff")
    )
    (place / "file").write_text("a file", encoding="utf-8")
    if verb.startswith("benchmark"):
        words += ["--cache", str(place / "cache")] if verb not in ("benchmark planted", "benchmark report") else []
        words += ["--rows", str(place / "rows")] if verb == "benchmark robustness" else []
        workspace = ""
    if verb == "build-cohort eicu":
        words.append(rng.choice((str(place), str(place / "none"), str(place / "file"), "")))
    if verb.startswith("person") and verb != "person list":
        words.append(rng.choice(_ODD_WORDS))
    if options and (verb in ("demo", "build-cohort synthetic") or verb.startswith("benchmark") or rng.random() < 0.8):
        words += [rng.choice(options), rng.choice(_ODD_WORDS)]
    if workspace:
        words += ["--workspace", workspace]
    if rng.random() < 0.2:
        words.insert(rng.randrange(len(words) + 1), rng.choice(_ODD_WORDS))
    if verb in ("demo", "build-cohort synthetic") or verb.startswith("benchmark"):
        words += ["--no-such-option"]  # these would begin hours of work where the odd word happens to be a good one
    return Case(f"miracl {verb}", " ".join(words).replace(str(place), "…")[:200], place, tuple(words), stdin="short\n")


_TEXTS = (
    "", " ", "a\x00b", "\ud800", "é" * 5000, "x" * 1_000_000, "\u202eabc", "\u200f", "a\nb\r\n\tc",
    "\x1b[31mred", "<script>alert(1)</script>",
    "[bold]x[/bold]", "[/]", "'; DROP TABLE person; --", "%s %n",
    "{0}", "😀", "\ufdfa" * 100, "\x7f", "ADA", "ada ", "ａｄａ", "../ada",
)  # fmt: skip


def _forms(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.full, place / "ws")
    act = rng.choice(
        ("sign in", "add person", "comment", "attestation", "password", "reading", "redact", "token", "display")
    )
    text = rng.choice(_TEXTS)
    call: Command = lambda: act_with(folder, act, text)  # noqa: E731
    return Case(f"form: {act}", repr(text[:30]), place, call=call, whole=True)


def _people(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.full, place / "ws")
    name, text = rng.choice(("bo", READER, *_TEXTS)), rng.choice(_TEXTS)
    words = ["person", rng.choice(("add", "disable", "list"))]
    if words[1] != "list":
        words.append(name.replace("\x00", "")[:9000])
    if words[1] == "add":
        words += ["--password-stdin", "--display-name", text.replace("\x00", "")[:9000]]
    words += ["--workspace", str(folder)]
    return Case(
        "miracl person",
        repr(words[2:4])[:80],
        place,
        tuple(words),
        stdin=rng.choice(("", PASSWORD, text)) + "\n",
        whole=True,
    )


def _links(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.full, place / "ws")
    alphabet = string.ascii_letters + string.digits + "-_"
    token = rng.choice(
        ("".join(rng.choice(alphabet) for _ in range(rng.choice((22, 22, 22, 21, 23)))), *_TEXTS, _noise(rng))
    )
    return Case("link", repr(token[:30]), place, call=lambda: find_link(folder, token), whole=True)


def _pages(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.full, place / "ws")
    page, field, text = (
        rng.choice(("review", "adjudication", "queue")),
        rng.choice(("pair", "case", "x")),
        rng.choice([text for text in _TEXTS if text.isprintable() or text.isascii()]),  # an address is UTF-8
    )
    return Case(
        f"page {page}", f"?{field}={text[:30]!r}", place, call=lambda: pages_of(folder, page, {field: text}), whole=True
    )


def _next_round(rng: Rng, base: Base, place: Path) -> Case:
    folder = copytree(base.begun, place / "ws")
    runs = folder / "runs"
    (runs / ".next-round.json").write_text(
        '{"round_id": 1, "actor": "Ada", "started_at": "2026-11-21T10:00:00", "stop_asked": 0, "pid": 0}', "utf-8"
    )
    (runs / ".next-round.log").write_text(
        "packing series and notes\nepoch 1 of 3\nmiracl: expected x; got y; z\n", "utf-8"
    )
    run = runs / "round-0001"
    path = rng.choice(
        (
            runs / ".next-round.json",
            runs / ".next-round.log",
            run / "log.jsonl",
            run / "config.json",
            run / "start.json",
        )
    )
    told = f"{path.name}: {spoil.spoil_json(rng, path) if path.suffix == '.json' else spoil.spoil_bytes(rng, path)}"
    return Case("next round's status", told, place, call=lambda: round_status_of(folder))


def _model(rng: Rng, base: Base, place: Path) -> Case:
    call, path = preprocessing_of(base, place)
    return Case("model folder", f"{path(rng)}", place, call=call)


def _encoder(rng: Rng, base: Base, place: Path) -> Case:
    folder, ws = place / "encoder", copytree(base.plain, place / "ws")
    folder.mkdir()
    told = []
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"):
        if rng.random() < 0.7:
            body = rng.choice(
                (
                    '{"model_type": "bert"}',
                    "{}",
                    "[]",
                    "null",
                    "",
                    "x",
                    '{"model_type": 7}',
                    '{"architectures": ["BertModel"]}',
                )
            )
            (folder / name).write_text(body, encoding="utf-8")
            told.append(f"{name}: {body[:20]}")
            if rng.random() < 0.3:
                told.append(spoil.spoil_bytes(rng, folder / name))
    words = ("train", "--workspace", str(ws), "--size", "compact", "--note-encoder", str(folder), "--device", "cpu")
    return Case("note encoder's folder", "; ".join(told), place, words)


FAMILIES: tuple[tuple[Callable[[Rng, Base, Path], Case], int], ...] = (
    (_source, 30), (_cohort, 18), (_workspace, 18), (_run, 5), (_settings, 8), (_toml, 6), (_publish, 8), (_config, 4),
    (_verbs, 8), (_forms, 6), (_people, 3), (_links, 3), (_pages, 1), (_next_round, 4), (_model, 3), (_encoder, 1),
)  # fmt: skip
"""Family and how often it is drawn."""
SLOW = (_run, _encoder, _pages)
"""Families whose cases take seconds; the quick size draws one of each."""


def family_of(number: int, quick: bool) -> Callable[[Rng, Base, Path], Case]:
    """Give the family of the case of that number: every family comes once before the draw begins."""
    if number < len(FAMILIES):
        return FAMILIES[number][0]
    known = [(family, weight) for family, weight in FAMILIES if not (quick and family in SLOW)]
    names, weights = zip(*known, strict=True)
    chosen: Callable[[Rng, Base, Path], Case] = random.Random(f"family {number}").choices(names, weights)[0]
    return chosen


def make_case(number: int, seed: int, base: Base, place: Path, *, quick: bool = False) -> Case:
    """Make the case of that number in `place`, an empty folder; the same for the same seed."""
    place.mkdir(parents=True)
    return family_of(number, quick)(random.Random(f"{seed}/{number}"), base, place)
