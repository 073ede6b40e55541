"""What happens to mail, told to an operator: one function per thing, a line each, and a count.

Lines are key=value on stderr. They hold no text of a mail, no tag and no secret; control
characters cannot break a line.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter

_REGISTRY = CollectorRegistry()
_MAILS = Counter("replygate_mails", "Things that happened to mails", ["what", "how"], registry=_REGISTRY)
_log: Any = structlog.get_logger()
_SAID_MAX = 300


def configure(*, level: str = "info") -> None:
    """Send log lines of at least `level` to stderr, ours and those of the libraries."""
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _plain,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True
    )
    # aiosmtpd logs every command, and so every tag, at INFO.
    logging.getLogger("mail.log").setLevel(logging.ERROR)


def _plain(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in line.items():
        if isinstance(value, str):
            line[key] = "".join(c if c.isprintable() else " " for c in value[:_SAID_MAX])
    return line


def _tell(what: str, how: str = "", **more: object) -> None:
    _MAILS.labels(what, how).inc()
    _log.info(what, **({"how": how} if how else {}), **more)


def registry() -> CollectorRegistry:
    """Return what was counted, for /metrics."""
    return _REGISTRY


def accepted(door: str, peer: str, octets: int, recipients: int) -> None:
    """A mail was kept and said yes to."""
    _tell("accepted", door, peer=peer, octets=octets, recipients=recipients)


def fetched(account: str, new: int, known: int) -> None:
    """Mails of an account were kept; `known` were fetched before."""
    _tell("fetched", account=account, new=new, known=known)


def rejected(door: str, peer: str, reply: str) -> None:
    """A peer was answered with 4xx or 5xx."""
    _tell("rejected", reply[:3], door=door, peer=peer, reply=reply)


def logged_in(peer: str, who: str) -> None:
    """Somebody tried to log in; `who` is the person, or ""."""
    _tell("login", "yes" if who else "no", peer=peer, who=who)


def decided(arrival: int, state: str, cause: str, record: str) -> None:
    """An arrival was decided for one recipient."""
    _tell("decided", state, arrival=arrival, cause=cause, record=record)


def shunted(what: str, row: int, reason: str) -> None:
    """Something was put aside after its last try."""
    _MAILS.labels("shunted", what).inc()
    _log.error("shunted", what=what, id=row, reason=reason)


def failed_once(what: str, row: int, fault: BaseException) -> None:
    """Handling something failed; it will be tried again."""
    _MAILS.labels("fault", what).inc()
    _log.warning("fault", what=what, id=row, fault=f"{type(fault).__name__}: {fault}")


def fanned_out(record: str, subtype: str, heard: int, not_heard: int) -> None:
    """A message was worded and queued for everybody who hears of it."""
    _tell("fanned-out", subtype, record=record, heard=heard, not_heard=not_heard)


def delivered(delivery: int, state: str, answer: str) -> None:
    """A delivery was handed over, deferred or given up."""
    _tell("delivery", state, delivery=delivery, answer=answer)


def no_pdf(reason: str) -> None:
    """No PDF can be made on this machine."""
    _log.warning("no-pdf", reason=reason)


def filed(filing: int, state: str, answer: str) -> None:
    """A message was filed into a folder, or not."""
    _tell("filing", state, filing=filing, answer=answer)


def reloaded(problems: int) -> None:
    """People and rules were read again; with problems, the old stay in force."""
    _tell("reloaded", "kept the old" if problems else "in force", problems=problems)


def away(what: str, fault: BaseException) -> None:
    """The store or the next hop cannot be reached."""
    _MAILS.labels("away", what).inc()
    _log.warning("away", what=what, fault=str(fault))


def fault(what: str, error: BaseException) -> None:
    """A loop or a door failed in a way it should not."""
    _MAILS.labels("fault", what).inc()
    where = error.__traceback__
    while where and where.tb_next:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}" if where else ""
    _log.error("fault", what=what, fault=f"{type(error).__name__}: {error}", place=place)
