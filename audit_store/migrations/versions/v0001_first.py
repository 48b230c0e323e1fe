"""The first schema: ledger, people, decisions, adjudications, assignments, exports, accesses, sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("person", sa.String(length=80), nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=True),
        sa.Column("stay_id", sa.BigInteger(), nullable=True),
        sa.Column("label_key", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access")),
    )
    op.create_index(op.f("ix_access_person_id"), "access", ["person", "id"], unique=False)
    op.create_table(
        "comment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comment")),
    )
    op.create_table(
        "event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_event")),
    )
    op.create_table(
        "export",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("manifest_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export")),
        sa.UniqueConstraint("number", name=op.f("uq_export_number")),
    )
    op.create_table(
        "head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_head_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_head")),
    )
    op.create_table(
        "person",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("display_name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("credential", sa.String(length=255), nullable=False),
        sa.Column("credential_digest", sa.String(length=64), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("demo", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("role IN ('reviewer', 'adjudicator', 'steward', 'auditor')", name=op.f("ck_person_role")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_person")),
    )
    op.create_table(
        "sign_in_failure",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sign_in_failure")),
    )
    op.create_table(
        "adjudication",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("adjudicator", sa.String(length=80), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("stay_id", sa.BigInteger(), nullable=False),
        sa.Column("label_key", sa.String(length=80), nullable=False),
        sa.Column("observed", sa.Integer(), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=False),
        sa.Column("comment_id", sa.BigInteger(), nullable=True),
        sa.Column("comment_digest", sa.String(length=64), nullable=True),
        sa.Column("token", sa.String(length=80), nullable=False),
        sa.CheckConstraint("answer IN ('present', 'absent', 'cannot_tell')", name=op.f("ck_adjudication_answer")),
        sa.ForeignKeyConstraint(["adjudicator"], ["person.name"], name=op.f("fk_adjudication_adjudicator")),
        sa.ForeignKeyConstraint(["comment_id"], ["comment.id"], name=op.f("fk_adjudication_comment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjudication")),
        sa.UniqueConstraint("token", name=op.f("uq_adjudication_token")),
    )
    op.create_index(op.f("ix_adjudication_stay_id_label_key"), "adjudication", ["stay_id", "label_key"], unique=False)
    op.create_table(
        "assignment",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("stay_id", sa.BigInteger(), nullable=False),
        sa.Column("label_key", sa.String(length=80), nullable=False),
        sa.Column("person", sa.String(length=80), nullable=True),
        sa.Column("batch", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("stratum", sa.String(length=80), nullable=True),
        sa.Column("inclusion_probability", sa.Float(), nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('flag', 'random_audit', 'double_review', 'control')", name=op.f("ck_assignment_purpose")
        ),
        sa.ForeignKeyConstraint(["person"], ["person.name"], name=op.f("fk_assignment_person")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
    )
    op.create_index(op.f("ix_assignment_batch_position"), "assignment", ["batch", "position"], unique=False)
    op.create_index(op.f("ix_assignment_person"), "assignment", ["person"], unique=False)
    op.create_table(
        "decision",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("reviewer", sa.String(length=80), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("stay_id", sa.BigInteger(), nullable=False),
        sa.Column("label_key", sa.String(length=80), nullable=False),
        sa.Column("observed", sa.Integer(), nullable=False),
        sa.Column("suggested", sa.Integer(), nullable=False),
        sa.Column("answer", sa.String(length=16), nullable=False),
        sa.Column("certainty", sa.String(length=8), nullable=False),
        sa.Column("reason_code", sa.String(length=80), nullable=True),
        sa.Column("codable", sa.String(length=8), nullable=True),
        sa.Column("comment_id", sa.BigInteger(), nullable=True),
        sa.Column("comment_digest", sa.String(length=64), nullable=True),
        sa.Column("guideline_version", sa.String(length=80), nullable=True),
        sa.Column("protocol_hash", sa.String(length=64), nullable=True),
        sa.Column("batch", sa.String(length=80), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("stratum", sa.String(length=80), nullable=True),
        sa.Column("inclusion_probability", sa.Float(), nullable=True),
        sa.Column("blinded", sa.Boolean(), nullable=False),
        sa.Column("saw_suggestion", sa.Boolean(), nullable=False),
        sa.Column("evidence_opened", sa.Text(), nullable=False),
        sa.Column("active_seconds", sa.Float(), nullable=True),
        sa.Column("supersedes", sa.BigInteger(), nullable=True),
        sa.Column("act", sa.String(length=80), nullable=False),
        sa.Column("token", sa.String(length=161), nullable=False),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "answer IN ('present', 'absent', 'cannot_tell', 'retract')", name=op.f("ck_decision_answer")
        ),
        sa.CheckConstraint("certainty IN ('high', 'low')", name=op.f("ck_decision_certainty")),
        sa.CheckConstraint(
            "purpose IN ('flag', 'random_audit', 'double_review', 'control')", name=op.f("ck_decision_purpose")
        ),
        sa.ForeignKeyConstraint(["comment_id"], ["comment.id"], name=op.f("fk_decision_comment_id")),
        sa.ForeignKeyConstraint(["reviewer"], ["person.name"], name=op.f("fk_decision_reviewer")),
        sa.ForeignKeyConstraint(["supersedes"], ["decision.id"], name=op.f("fk_decision_supersedes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.UniqueConstraint("token", name=op.f("uq_decision_token")),
    )
    op.create_index(op.f("ix_decision_act"), "decision", ["act"], unique=False)
    op.create_index(op.f("ix_decision_reviewer_id"), "decision", ["reviewer", "id"], unique=False)
    op.create_index(op.f("ix_decision_stay_id_label_key"), "decision", ["stay_id", "label_key"], unique=False)
    op.create_table(
        "session",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["person.name"], name=op.f("fk_session_person")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_session")),
    )
