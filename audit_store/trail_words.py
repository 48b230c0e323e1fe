"""The ledger in sentences: one for each kind of event, and a plain one for kinds that this version does not know."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from audit_store.chart.records import masked
from audit_store.ledger import Event

KINDS: dict[str, str] = {
    "decision": "answer",
    "adjudication": "adjudication",
    "access": "opened",
    "sign_in": "sign-in",
    "sign_out": "sign-out",
    "person": "account",
    "protocol": "protocol",
    "batch": "batch",
    "handover": "batch",
    "round": "round",
    "round_start": "round",
    "round_stop": "round",
    "export": "export",
    "redact": "comment removed",
    "rebuild": "rebuilt",
    "restore": "restored",
    "access_rule": "access rule",
}
_ANSWERS = {"present": "present", "absent": "absent", "cannot_tell": "can't say"}
_OPENED = {
    "chart": "opened the chart of",
    "note": "opened the whole notes of",
    "evidence": "opened the evidence of",
    "export": "downloaded a file of an export",
    "trail": "opened the audit trail",
    "trail_download": "downloaded the audit trail",
    "comment": "downloaded the audit trail with the text of comments",
    "backup": "made a backup of the workspace",
}
_DIGEST_SHOWN = 12
_PLACE = ("stay_id", "label_key", "round_id", "patient_id")
_TELLING = ("observed", "suggested", "purpose", "stratum", "kind", "act", "token")
_HIDDEN = frozenset((*_PLACE, *_TELLING))
_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Names:
    """What sentences need besides the event.

    Parameters
    ----------
    labels
        Labels' names by key.
    before
        Each account's row before an event, by the event's number.
    open_pairs
        Stay and label of pairs that somebody still has to read: answers on them are not told to a reader.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[int, Mapping[str, Any] | None] = field(default_factory=dict)
    open_pairs: Set[tuple[int, str]] = frozenset()


def kind_title(kind: str) -> str:
    """Name a kind of event for people."""
    return KINDS.get(kind, kind.replace("_", " "))


def sentence(event: Event, names: Names | None = None) -> str:
    """Tell an event in one sentence: who did what to which pair, without the recorded value or the suggestion.

    Parameters
    ----------
    event
        An event of the ledger, of any kind.
    names
        Labels' names and what accounts were before.

    Returns
    -------
    str
        Plain text; a stay is told by its last four digits, a comment by its digest.
    """
    names = names or Names()
    tell = _TELLERS.get(event.kind)
    try:
        return f"{event.actor} {tell(event, names)}" if tell else _plainly(event, names)
    except (KeyError, TypeError, ValueError):
        return _plainly(event, names)


def _where(data: Mapping[str, Any], names: Names) -> str:
    parts = []
    if data.get("label_key") is not None:
        parts.append(names.labels.get(str(data["label_key"]), str(data["label_key"]).replace("_", " ")))
    if data.get("stay_id") is not None:
        parts.append(f"stay {masked(int(data['stay_id']))}")
    if data.get("round_id") is not None:
        parts.append(f"round {data['round_id']}")
    return ", ".join(parts)


def _still_open(data: Mapping[str, Any], names: Names) -> bool:
    return (data.get("stay_id"), data.get("label_key")) in names.open_pairs


def _comment(data: Mapping[str, Any]) -> str:
    digest = data.get("comment_digest")
    return f", with a comment (kept apart, digest {str(digest)[:_DIGEST_SHOWN]}…)" if digest else ""


def _decision(event: Event, names: Names) -> str:
    data = event.data
    where = _where(data, names)
    if _still_open(data, names):
        return f"wrote an answer on {where}; what it says is withheld while someone still has to read the pair"
    if data["answer"] == "retract":
        return f"took back their answer on {where} (event {data['supersedes']})"
    how = "blind" if data["blinded"] else "after seeing the record"
    text = f"answered '{_ANSWERS[data['answer']]}' ({data['certainty']} certainty) on {where}, {how}"
    if data.get("supersedes") is not None:
        text += f", in place of event {data['supersedes']}"
    if data.get("reason_code"):
        text += f", reason: {str(data['reason_code']).replace('_', ' ')}"
    return text + _comment(data)


def _adjudication(event: Event, names: Names) -> str:
    data = event.data
    if _still_open(data, names):
        return f"settled {_where(data, names)}; how is withheld while someone still has to read the pair"
    return f"settled {_where(data, names)} as '{_ANSWERS[data['answer']]}'{_comment(data)}"


def _access(event: Event, names: Names) -> str:
    what = str(event.data["what"])
    words = _OPENED.get(what, f"opened {what}")
    where = _where(event.data, names)
    joint = " " if words.endswith(" of") else ", "
    return f"{words}{joint}{where}" if where else words.removesuffix(" of")


def _sign_in(event: Event, _names: Names) -> str:
    provider = event.data.get("way") == "oidc"
    if event.data["result"] == "ok":
        return "signed in with the identity provider" if provider else "signed in"
    if provider:
        return "could not sign in with the identity provider: the account does not allow it"
    return f"could not sign in: a wrong password, {event.data['failures']} in a row"


def _sign_out(_event: Event, _names: Names) -> str:
    return "signed out"


def _person(event: Event, names: Names) -> str:
    data = event.data
    name = str(data["name"])
    if event.seq not in names.before:
        state = "" if data["active"] else ", closed"
        return f"added or changed the account '{name}' ({data['role']}{state})"
    before = names.before[event.seq]
    if before is None:
        return f"added the account '{name}' ({data['role']}){_agreement(data)}"
    changes = []
    if before["role"] != data["role"]:
        changes.append(f"changed the role of '{name}' from {before['role']} to {data['role']}")
    if before["active"] != data["active"]:
        changes.append(f"{'opened' if data['active'] else 'closed'} the account '{name}'")
    if before["credential_digest"] != data["credential_digest"]:
        own = "their own password" if event.actor == name else f"the password of '{name}'"
        changes.append(f"changed {own}{' (temporary)' if data.get('temporary') else ''}")
    if before["display_name"] != data["display_name"]:
        changes.append(f"renamed '{name}' from '{before['display_name']}' to '{data['display_name']}'")
    if any(before.get(key) != data.get(key) for key in ("attestation", "attestation_expires")):
        changes.append(f"changed the data-use attestation of '{name}'{_agreement(data) or ' to none'}")
    return ", and ".join(changes) or f"wrote the account '{name}' again, unchanged"


def _agreement(data: Mapping[str, Any]) -> str:
    if not data.get("attestation"):
        return ""
    return f": {data['attestation']}, until {data['attestation_expires']}"


def _round(event: Event, _names: Names) -> str:
    data = event.data
    first = "the first" if data.get("parent") is None else f"after round {data['parent']}"
    return f"published round {data['round_id']} ({first}, trained with {data['decisions_count']} answers)"


def _round_start(event: Event, _names: Names) -> str:
    data = event.data
    twice = ", and once more without the decisions" if data["did_it_help"] else ""
    return f"{'went on' if data['goes_on'] else 'began'} to train round {data['round_id']}{twice}: {data['command']}"


def _round_stop(event: Event, _names: Names) -> str:
    at_once = " at once" if event.data["at_once"] else ""
    return f"asked the training of round {event.data['round_id']} to stop{at_once}"


def _export(event: Event, _names: Names) -> str:
    data = event.data
    return f"wrote export {data['number']} of round {data['round_id']}: {int(data['changed']):,} labels changed"


def _redact(event: Event, _names: Names) -> str:
    why = str(event.data.get("why") or "no reason given")
    return f"removed the text of the comment of event {event.data['comment_id']}: {why}"


def _rebuild(event: Event, _names: Names) -> str:
    return f"rebuilt the tables from the ledger: {int(event.data['rows']):,} rows"


def _restore(event: Event, _names: Names) -> str:
    data = event.data
    at = str(data["backup_of"])[:19].replace("T", " ")
    return f"restored the workspace from the backup of {at} UTC, which ended at event {data['count']}"


def _access_rule(event: Event, _names: Names) -> str:
    asked = (
        "only those whose attestation holds may act" if event.data["require_attestation"] else "no attestation is asked"
    )
    return f"changed the rule of access: {asked}"


def _protocol(event: Event, _names: Names) -> str:
    data = event.data
    blind = "read blind" if data["blind"] else "not read blind"
    shares = (("double_share", "read twice"), ("control_share", "controls"), ("audit_share", "random audit"))
    told = ", ".join(f"{100 * float(data[key]):.0f} % {words}" for key, words in shares)
    digest = str(data["protocol_hash"])[:_DIGEST_SHOWN]
    return f"signed the protocol {digest}…: {int(data['batch_size'])} pairs a batch, {blind}, {told}"


def _batch(event: Event, _names: Names) -> str:
    data = event.data
    size = int(data["size"])
    whom = f"for {data['person']}" if data.get("person") else "for nobody yet"
    blind = "read blind" if data["blind"] else "not read blind"
    questions = "question" if size == 1 else "questions"
    return f"drew batch {data['batch']} {whom}: {size} {questions}, round {data['round_id']}, {blind}"


def _handover(event: Event, _names: Names) -> str:
    data = event.data
    given = len(data["rows"])
    pairs = f"{given} {'pair' if given == 1 else 'pairs'} of batch {data['batch']}"
    return f"took {pairs}" if data["person"] == event.actor else f"gave {pairs} to {data['person']}"


def _plainly(event: Event, names: Names) -> str:
    """Tell an event of a kind that nothing here knows: its kind and its values, ids masked."""
    where = _where(event.data, names)
    told = [where] if where else []
    for key, value in sorted(event.data.items()):
        if key in _HIDDEN or value is None or isinstance(value, Mapping | list):
            continue
        told.append(f"{key.replace('_', ' ')} {str(value)[:_LONGEST_VALUE]}")
    return f"{event.actor}: {kind_title(event.kind)}" + (f" · {' · '.join(told)}" if told else "")


_TELLERS: dict[str, Callable[[Event, Names], str]] = {
    "decision": _decision,
    "adjudication": _adjudication,
    "access": _access,
    "sign_in": _sign_in,
    "sign_out": _sign_out,
    "person": _person,
    "round": _round,
    "round_start": _round_start,
    "round_stop": _round_stop,
    "export": _export,
    "redact": _redact,
    "rebuild": _rebuild,
    "restore": _restore,
    "access_rule": _access_rule,
    "protocol": _protocol,
    "batch": _batch,
    "handover": _handover,
}
