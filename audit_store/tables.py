"""Tables of the decisions store. One ledger of events; every other table is a projection of it, or is short-lived.

Columns are the same on SQLite and PostgreSQL. Times are UTC without a zone. Ids are the ledger's sequence numbers, so
they grow in the order in which things were committed.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

REVISION = "0005"

ANSWERS = ("present", "absent", "cannot_tell", "retract")
CERTAINTIES = ("high", "low")
CODABLE = ("yes", "no", "unclear")
PURPOSES = ("flag", "random_audit", "double_review", "control")
BATCH_KINDS = ("mixed", "second_reading", "random_audit", "controls", "flags")
ROLES = ("reviewer", "adjudicator", "steward", "auditor")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _among(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def _seq(name: str = "id") -> Column[int]:
    return Column(name, BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)


event = Table(
    "event",
    metadata,
    _seq("seq"),
    Column("created_at", DateTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("payload", Text, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("events", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("workspace_id", String(64)),
    Column("state", String(16), nullable=False, server_default="open"),
    Column("moved_to", Text),
    CheckConstraint("id = 1", name="single"),
)

person = Table(
    "person",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("credential", String(255), nullable=False),
    Column("credential_digest", String(64), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("demo", Boolean, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("temporary", Boolean, nullable=False, server_default=false()),
    Column("attestation", String(200)),
    Column("attestation_expires", String(10)),
    Column("issuer", String(200)),
    Column("subject_digest", String(64)),
    _among("role", ROLES),
    Index(None, "subject_digest", unique=True),
)

comment = Table(
    "comment",
    metadata,
    _seq(),
    Column("salt", String(32), nullable=False),
    Column("text", Text),
    Column("digest", String(64), nullable=False),
)

decision = Table(
    "decision",
    metadata,
    _seq(),
    Column("created_at", DateTime, nullable=False),
    Column("reviewer", String(80), ForeignKey("person.name"), nullable=False),
    Column("round_id", Integer, nullable=False),
    Column("stay_id", BigInteger, nullable=False),
    Column("label_key", String(80), nullable=False),
    Column("observed", Integer, nullable=False),
    Column("suggested", Integer, nullable=False),
    Column("answer", String(16), nullable=False),
    Column("certainty", String(8), nullable=False),
    Column("reason_code", String(80)),
    Column("codable", String(8)),
    Column("comment_id", BigInteger, ForeignKey("comment.id")),
    Column("comment_digest", String(64)),
    Column("guideline_version", String(80)),
    Column("protocol_hash", String(64)),
    Column("batch", String(80)),
    Column("position", Integer),
    Column("purpose", String(16), nullable=False),
    Column("stratum", String(80)),
    Column("inclusion_probability", Float),
    Column("blinded", Boolean, nullable=False),
    Column("saw_suggestion", Boolean, nullable=False),
    Column("evidence_opened", Text, nullable=False),
    Column("active_seconds", Float),
    Column("supersedes", BigInteger, ForeignKey("decision.id")),
    Column("act", String(80), nullable=False),
    Column("token", String(161), nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("token"),
    _among("answer", ANSWERS),
    _among("certainty", CERTAINTIES),
    _among("purpose", PURPOSES),
    Index(None, "stay_id", "label_key"),
    Index(None, "reviewer", "id"),
    Index(None, "act"),
)

adjudication = Table(
    "adjudication",
    metadata,
    _seq(),
    Column("created_at", DateTime, nullable=False),
    Column("adjudicator", String(80), ForeignKey("person.name"), nullable=False),
    Column("round_id", Integer, nullable=False),
    Column("stay_id", BigInteger, nullable=False),
    Column("label_key", String(80), nullable=False),
    Column("observed", Integer, nullable=False),
    Column("answer", String(16), nullable=False),
    Column("comment_id", BigInteger, ForeignKey("comment.id")),
    Column("comment_digest", String(64)),
    Column("token", String(80), nullable=False),
    UniqueConstraint("token"),
    _among("answer", ANSWERS[:3]),
    Index(None, "stay_id", "label_key"),
)

assignment = Table(
    "assignment",
    metadata,
    _seq(),
    Column("created_at", DateTime, nullable=False),
    Column("round_id", Integer, nullable=False),
    Column("stay_id", BigInteger, nullable=False),
    Column("label_key", String(80), nullable=False),
    Column("person", String(80), ForeignKey("person.name")),
    Column("batch", String(80), nullable=False),
    Column("position", Integer, nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("stratum", String(80)),
    Column("inclusion_probability", Float),
    Column("blind", Boolean, nullable=False),
    Column("kind", String(16)),
    Column("protocol_hash", String(64)),
    _among("purpose", PURPOSES),
    Index(None, "batch", "position"),
    Index(None, "person"),
    Index(None, "stay_id", "label_key"),
)

handover = Table(
    "handover",
    metadata,
    _seq(),
    Column("created_at", DateTime, nullable=False),
    Column("batch", String(80), nullable=False),
    Column("person", String(80), ForeignKey("person.name"), nullable=False),
    Column("given", Integer, nullable=False),
)

protocol = Table(
    "protocol",
    metadata,
    _seq(),
    Column("created_at", DateTime, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("budget", Integer),
    Column("blind", Boolean, nullable=False),
    Column("double_share", Float, nullable=False),
    Column("control_share", Float, nullable=False),
    Column("audit_share", Float, nullable=False),
    Column("guideline_versions", Text, nullable=False),
    Column("protocol_hash", String(64), nullable=False),
)

access_rule = Table(
    "access_rule",
    metadata,
    _seq(),
    Column("created_at", DateTime, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("require_attestation", Boolean, nullable=False),
)

export = Table(
    "export",
    metadata,
    _seq(),
    Column("number", Integer, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("round_id", Integer, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("manifest_digest", String(64), nullable=False),
    UniqueConstraint("number"),
)

access = Table(
    "access",
    metadata,
    _seq(),
    Column("created_at", DateTime, nullable=False),
    Column("person", String(80), nullable=False),
    Column("what", String(32), nullable=False),
    Column("round_id", Integer),
    Column("stay_id", BigInteger),
    Column("label_key", String(80)),
    Index(None, "person", "id"),
)

session = Table(
    "session",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("person", String(80), ForeignKey("person.name"), nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("seen_at", DateTime, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("expires_at", DateTime),
    Column("token_digest", String(64)),
    Index(None, "token_digest", unique=True),
)

sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", DateTime, nullable=False),
)

PROJECTIONS: dict[str, Table] = {
    "decision": decision,
    "adjudication": adjudication,
    "assignment": assignment,
    "handover": handover,
    "protocol": protocol,
    "export": export,
    "access": access,
    "access_rule": access_rule,
}
