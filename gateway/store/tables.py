"""The whole schema, on one page. Times are milliseconds since 1970, UTC.

What waits to be done carries the same five columns (`_work`); store/lease.py is the one place that claims.
"""

from collections.abc import Sequence

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)  # fmt: skip

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Id = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    """Number rows; never the same number twice, for ids stand in addresses that outlive their rows."""
    return Column("id", Id, primary_key=True)


def _at(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _ref(name: str, target: str, *, null: bool = False, index: bool = False) -> Column[int]:
    return Column(name, Id, ForeignKey(f"{target}.id"), nullable=null, index=index)


def in_state(table: Table, states: Sequence[str]) -> ColumnElement[bool]:
    """Whether a row is in one of `states`, written as literals: only so are partial indexes used."""
    literals: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return table.c.state == literals[0] if len(literals) == 1 else table.c.state.in_(literals)


def _work() -> list[Column[int]]:
    """What waits: due when, claimed until when (0: not), how often claimed, how often tried."""
    return [
        _at("due_at"),
        Column("lease_until", BigInteger, nullable=False, server_default="0"),
        Column("fence", Integer, nullable=False, server_default="0"),
        Column("attempts", Integer, nullable=False, server_default="0"),
    ]


# ---- content: octets by their SHA-256, once; above 64 KiB in chunks of 256 KiB

content = Table(
    "content", metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("data", LargeBinary),
)  # fmt: skip
content_chunk = Table(
    "content_chunk", metadata,
    Column("digest", LargeBinary(32), ForeignKey("content.digest"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)  # fmt: skip

# ---- arrive: what was taken in, and what became of it for each recipient

arrival = Table(
    "arrival", metadata,
    _id(), _at("received_at"),
    Column("door", String(16), nullable=False),
    Column("peer", String(64), nullable=False),
    Column("helo", String(255), nullable=False),
    Column("return_path", String(1000), nullable=False),
    Column("trusted", Boolean, nullable=False), Column("proved", Boolean, nullable=False, server_default=text("false")),
    Column("auth_who", String(100), nullable=False, server_default=""),  # the person of SMTP AUTH
    Column("results", JSON),  # [method, verdict, domain, detail]: what authentication found, once it was asked
    Column("content", LargeBinary(32), ForeignKey("content.digest"), nullable=False),
    Column("state", String(16), nullable=False),  # pending → handled
    *_work(),
    sqlite_autoincrement=True,
)  # fmt: skip
Index("ix_arrival_content", arrival.c.content)
_PENDING = text("state = 'pending'")
Index("ix_arrival_due", arrival.c.due_at, sqlite_where=_PENDING, postgresql_where=_PENDING)
arrival_recipient = Table(
    "arrival_recipient", metadata,
    _id(), _ref("arrival_id", "arrival", index=True),
    Column("address", String(1000), nullable=False),
    Column("state", String(16), nullable=False),  # pending → posted, done, held, refused, discarded, shunted
    Column("cause", String(40), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("author", Text, nullable=False, server_default=""),
    Column("subject", Text, nullable=False, server_default=""),
    Column("released", Boolean, nullable=False, server_default=text("false")),
    _ref("record_id", "record", null=True),
    _ref("message_id", "message", null=True),
    _at("settled_at", null=True),
    Column("decided_by", String(100), nullable=False, server_default=""),  # who released, routed or dropped it
    _at("decided_at", null=True),
    sqlite_autoincrement=True,
)  # fmt: skip
Index(
    "ix_arrival_recipient_kept", arrival_recipient.c.state,
    sqlite_where=text("state IN ('held', 'shunted')"), postgresql_where=text("state IN ('held', 'shunted')"),
)  # fmt: skip

# ---- records, and what was chosen on them

record = Table(
    "record", metadata,
    _id(),
    Column("ref", String(48), nullable=False, unique=True),
    Column("kind", String(48), nullable=False),
    Column("title", Text, nullable=False),
    Column("state", String(48), nullable=False),
    Column("team", String(64), nullable=False),
    Column("teams", JSON, nullable=False),
    Column("salesperson", String(100), nullable=False),
    Column("creator", String(100), nullable=False),
    Column("customer", JSON, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("lines", JSON, nullable=False),
    Column("origin", String(48), nullable=False),
    Column("tag_epoch", Integer, nullable=False, server_default="0"),  # grows when its tags are revoked
    _at("created_at"), _at("changed_at"),
    sqlite_autoincrement=True,
)  # fmt: skip
Index("ix_record_kind", record.c.kind, record.c.id)
counter = Table(
    "counter", metadata,
    Column("name", String(48), primary_key=True),
    Column("last", BigInteger, nullable=False),
)  # fmt: skip
choice = Table(
    "choice", metadata,
    _id(), _ref("record_id", "record"),
    Column("who", String(400), nullable=False),
    Column("subtypes", JSON, nullable=False), Column("without", JSON, nullable=False),
    Column("how", String(40), nullable=False),
    UniqueConstraint("record_id", "who"),
    sqlite_autoincrement=True,
)  # fmt: skip
# Choices that stand for the records of a team, or of every team.
standing = Table(
    "standing", metadata,
    _id(),
    Column("who", String(400), nullable=False),  # a person's key
    Column("team", String(64), nullable=False),  # "" for every record
    Column("subtypes", JSON, nullable=False), Column("without", JSON, nullable=False),
    UniqueConstraint("who", "team"),
    sqlite_autoincrement=True,
)  # fmt: skip
# What commands did, so that it can be taken back for a while.
carried_out = Table(
    "carried_out", metadata,
    _id(), _ref("record_id", "record"),
    Column("who", String(400), nullable=False),
    _at("at"),
    Column("said", Text, nullable=False),  # the commands, as people write them
    Column("final", Text, nullable=False),  # why it cannot be taken back, or ""
    Column("before", JSON, nullable=False), Column("after", JSON, nullable=False),  # the record
    Column("choices", JSON, nullable=False),  # [team or null, who, before, after]: those changed
    Column("messages", JSON, nullable=False),  # ids of what was posted
    Column("taken_back", Boolean, nullable=False, server_default=text("false")),
    sqlite_autoincrement=True,
)  # fmt: skip
Index("ix_carried_out_record", carried_out.c.record_id, carried_out.c.who, carried_out.c.id)
reader = Table(
    "reader", metadata,
    _id(),
    Column("who", String(400), nullable=False, unique=True),  # person:KEY or an address
    sqlite_autoincrement=True,
)  # fmt: skip

# ---- threads

message = Table(
    "message", metadata,
    _id(), _ref("record_id", "record"),
    Column("subtype", String(100), nullable=False),
    Column("internal", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("author_who", String(400), nullable=False),  # a person's key, or "" outside
    Column("author_name", Text, nullable=False),
    Column("author_email", String(400), nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("quoted", Text, nullable=False),
    Column("message_id", String(255), nullable=False, unique=True),  # ours
    Column("original_id", String(1000), nullable=False),  # the author's own
    Column("vouched", Boolean, nullable=False),  # the record system or an authenticated person wrote it
    _ref("parent_id", "message", null=True),
    Column("ancestors", JSON, nullable=False),  # root first, parent last: at most 20 ids
    Column("addressed", JSON, nullable=False),  # who stands in To and Cc of the incoming mail
    Column("changes", JSON, nullable=False),  # [name, old, new]
    Column("details", JSON, nullable=False),  # automatic, defects, added, mailed, reason, authenticated
    _ref("arrival_id", "arrival", null=True),
    Column("hears", JSON),  # [{who, email, reason, delivery}], once fanned out
    Column("not_hears", JSON),  # [{who, reason}]
    Column("state", String(16), nullable=False),  # pending → fanned out, shunted
    *_work(),
    UniqueConstraint("id", "internal"),
    sqlite_autoincrement=True,
)  # fmt: skip
Index("ix_message_record", message.c.record_id, message.c.id)
Index("ix_message_author", message.c.record_id, message.c.author_email, message.c.at)
Index("ix_message_original", message.c.original_id)
Index("ix_message_who", message.c.author_who, message.c.id)
Index("ix_message_due", message.c.due_at, sqlite_where=_PENDING, postgresql_where=_PENDING)
attachment = Table(
    "attachment", metadata,
    _id(), _ref("message_id", "message", index=True),
    Column("name", String(400), nullable=False),
    Column("media_type", String(127), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary(32), ForeignKey("content.digest"), nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip
# Law 2: one effect per mail. `scope` is a record and an action, or an intake.
effect = Table(
    "effect", metadata,
    Column("scope", String(80), primary_key=True),
    Column("original_id", String(1000), primary_key=True),
    Column("body_digest", LargeBinary(32), primary_key=True),
    _ref("record_id", "record", null=True),
)  # fmt: skip
# What notes say, as hashes of pieces: a text that quotes a note is found by them, in whatever thread.
note_print = Table(
    "note_print", metadata,
    Column("piece", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", Id, ForeignKey("message.id"), primary_key=True, autoincrement=False),
)  # fmt: skip
announced = Table(
    "announced", metadata,
    Column("id", String(200), primary_key=True),
    Column("answer", JSON, nullable=False),
    _at("at"),
)  # fmt: skip

# ---- the outbox

body = Table(
    "body", metadata,
    _id(),
    Column("content", LargeBinary(32), ForeignKey("content.digest"), nullable=False),
    Column("signed_hash", LargeBinary(32), nullable=False),  # SHA-256 as DKIM "simple" sees it
    sqlite_autoincrement=True,
)  # fmt: skip
delivery = Table(
    "delivery", metadata,
    _id(),
    Column("message_id", Id, nullable=True, index=True),
    Column("internal", Boolean, nullable=False),
    Column("outsider", Boolean, nullable=False),
    Column("who", String(400), nullable=False),
    Column("recipient", String(400), nullable=False),
    Column("return_path", Boolean, nullable=False),  # of its own, or the null one
    Column("header", LargeBinary, nullable=False),
    _ref("body_id", "body"),
    Column("state", String(16), nullable=False),  # queued → sent, deferred, failed, expired, suppressed
    Column("answer", Text, nullable=False, server_default=""),
    Column("told", Boolean, nullable=False, server_default=text("false")),  # the author, of a delay
    _at("created_at"), _at("settled_at", null=True),
    *_work(),
    ForeignKeyConstraint(["message_id", "internal"], ["message.id", "message.internal"], name="fk_delivery_message"),
    # Law 5: what is internal has no recipient outside.
    CheckConstraint("NOT (internal AND outsider)", name="note_stays_inside"),
    UniqueConstraint("message_id", "recipient"),  # nobody gets one message twice
    sqlite_autoincrement=True,
)  # fmt: skip
_WAITING = text("state IN ('queued', 'deferred')")
Index("ix_delivery_due", delivery.c.due_at, sqlite_where=_WAITING, postgresql_where=_WAITING)
attempt = Table(
    "attempt", metadata,
    _id(), _ref("delivery_id", "delivery", index=True), _at("at"),
    Column("answer", Text, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip
suppression = Table(
    "suppression", metadata,
    Column("email", String(400), primary_key=True), Column("reason", Text, nullable=False), _at("at"),
)  # fmt: skip
bounce = Table(
    "bounce", metadata,
    _id(),
    Column("email", String(400), nullable=False, index=True),
    _at("at"),
    Column("cause", String(16), nullable=False),  # address, full, blocked, size, temporary, other
    Column("answer", Text, nullable=False),
    _ref("delivery_id", "delivery", null=True),
    sqlite_autoincrement=True,
)  # fmt: skip
# Outsiders whose mail nobody wants to see: what they send is refused, quietly.
blocked = Table(
    "blocked", metadata,
    Column("email", String(400), primary_key=True),
    Column("by", String(100), nullable=False), Column("proved", Boolean, nullable=False), _at("at"),
)  # fmt: skip

# ---- mailboxes: how far an account was read, and what stands where in it
mailbox = Table(
    "mailbox", metadata,
    Column("name", String(400), primary_key=True),  # account and folder; of a filing account, the account
    Column("purpose", String(16), nullable=False),  # fetch, file, watch
    Column("uid_validity", BigInteger, nullable=False, server_default="0"),
    Column("uid", BigInteger, nullable=False, server_default="0"),  # the last that was taken in
    Column("bad", JSON, nullable=False, server_default="[]"),  # UIDs up to there that could not be
    Column("waiting", Integer, nullable=False, server_default="0"),  # mails there that were not, when last seen
    Column("quota_used", BigInteger), Column("quota_limit", BigInteger),  # KiB
    _at("ok_at"), Column("error", Text, nullable=False, server_default=""), _at("error_at", null=True),
    Column("told", Boolean, nullable=False, server_default=text("false")),  # that it stands still
)  # fmt: skip
# Messages on their way into folders: like deliveries, but one slow account must stand in nobody's way.
filing = Table(
    "filing", metadata,
    _id(), _ref("message_id", "message"),
    Column("account", String(300), nullable=False), Column("folder", String(300), nullable=False),
    Column("seen", Boolean, nullable=False),
    Column("header", LargeBinary, nullable=False), _ref("body_id", "body"),
    Column("state", String(16), nullable=False),  # queued → sent, deferred, expired
    Column("answer", Text, nullable=False, server_default=""),
    Column("uid", BigInteger),  # where the server told it
    _at("read_at", null=True),  # since when it was seen as read, and not starred
    _at("created_at"), _at("settled_at", null=True),
    *_work(),
    UniqueConstraint("message_id", "account", "folder"),  # every message once per folder
    sqlite_autoincrement=True,
)  # fmt: skip
Index("ix_filing_due", filing.c.account, filing.c.due_at, sqlite_where=_WAITING, postgresql_where=_WAITING)
# Folders in which people act: what is new in them was put there by somebody.
folder = Table(
    "folder", metadata,
    Column("account", String(300), primary_key=True),
    Column("name", String(300), primary_key=True),
    Column("uid_validity", BigInteger, nullable=False), Column("uid_next", BigInteger, nullable=False),
)  # fmt: skip
card = Table(
    "card", metadata,
    Column("account", String(300), primary_key=True),
    Column("record_id", Id, ForeignKey("record.id"), primary_key=True),
    Column("folder", String(300), nullable=False),  # where it belongs; "" nowhere
    Column("message_id", String(255), nullable=False),
    Column("octets", LargeBinary, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),  # of what it shows, and where
    Column("placed_folder", String(300), nullable=False, server_default=""),  # where it stands
    Column("placed_id", String(255), nullable=False, server_default=""),  # and as which mail
)  # fmt: skip

# ---- the audit log: appended to, never changed (triggers in the migration); each entry holds the hash of the last

audit = Table(
    "audit", metadata,
    _id(), _at("at"),
    Column("who", String(400), nullable=False),
    Column("what", String(40), nullable=False),
    Column("about", String(400), nullable=False),
    Column("data", Text, nullable=False),  # JSON in canonical form
    Column("previous", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    sqlite_autoincrement=True,
)  # fmt: skip

# ---- notices: a mail of ours to one person about their own doing, never in a thread

notice = Table(
    "notice", metadata,
    _id(),
    Column("kind", String(40), nullable=False),
    Column("who", String(400), nullable=False),
    Column("email", String(400), nullable=False),
    _ref("record_id", "record", null=True),
    Column("data", JSON, nullable=False),
    Column("day", Integer, nullable=True),  # set where one a day is the most: days since 1970
    _at("created_at"),
    Column("state", String(16), nullable=False),  # pending → fanned out, shunted
    *_work(),
    UniqueConstraint("kind", "email", "day"),
    sqlite_autoincrement=True,
)  # fmt: skip
Index("ix_notice_due", notice.c.due_at, sqlite_where=_PENDING, postgresql_where=_PENDING)
