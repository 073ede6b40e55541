"""May this author do that here? Pure: every combination stands in one table of tests.

Who may write to a record: people, its followers, its customer, each authenticated. A tag whose
holder owns the From stands in for authentication to post a discussion, or to unfollow oneself;
never for a note or a command, and not for one of our own people whose domain disowns the mail. A
tag used by another grants what knowing the alias grants: nothing.
"""

from dataclasses import dataclass
from typing import Literal

from gateway.decide.disposition import ACCEPT, Disposition, hold

Role = Literal["person", "follower", "customer", "stranger", "unknown"]
Tag = Literal["own", "other", "none"]
Wish = Literal["discussion", "note", "command", "unfollow"]
Senders = Literal["people", "customers", "everyone"]
_INSIDE = frozenset({"person", "follower", "customer"})
NO_AUTHOR = hold("no author", "the mail has not exactly one well-formed From")


@dataclass(frozen=True, slots=True)
class Question:
    """What is known when a mail asks for something on a record.

    `disowned` tells that the author's own domain asks that a mail like this be not believed: DMARC
    fails, and its policy is to quarantine or reject. `entitled` tells that a person has the right `sales`.
    """

    role: Role
    authenticated: bool
    tag: Tag
    wish: Wish
    released: bool = False
    disowned: bool = False
    entitled: bool = True


def authorise(question: Question) -> Disposition:
    """Return whether a mail may do what it wishes on a record."""
    q = question
    if q.role == "unknown" and not (q.released and q.wish == "discussion"):
        return NO_AUTHOR
    sure = q.authenticated or q.released
    if q.wish in ("note", "command"):
        return _inside_only(q, sure=sure)
    if q.wish == "unfollow" and q.role == "person" and not sure:
        return hold("not authenticated", "a command needs its author to be authenticated")
    if q.released:
        return ACCEPT
    if q.role not in _INSIDE:
        return hold("stranger", "the author neither follows the record nor is its customer")
    if sure or (q.tag == "own" and not (q.disowned and q.role == "person")):
        return ACCEPT
    more = {"own": ", and their domain disowns it", "other": "; the reply address is another reader's", "none": ""}
    return hold("not authenticated", f"nothing proves that the author wrote it{more[q.tag]}")


def _inside_only(q: Question, *, sure: bool) -> Disposition:
    if q.role != "person":
        return hold("not a person", f"a {q.wish} needs one of your own people, and the author is outside")
    if not q.entitled:
        return hold("no right", f"a {q.wish} needs the right sales, and its author has it not")
    return ACCEPT if sure else hold("not authenticated", f"a {q.wish} needs its author to be authenticated")


def authorise_intake(senders: Senders, role: Role, *, authenticated: bool, released: bool) -> Disposition:
    """Return whether a mail may create a record; `role` is person, customer (a known one) or stranger."""
    if released:
        return ACCEPT
    if role == "unknown":
        return NO_AUTHOR
    welcome = senders == "everyone" or role == "person" or (senders == "customers" and role == "customer")
    if not welcome:
        whom = "your own people" if senders == "people" else "known customers"
        return Disposition("refuse", "not welcome", f"the address takes mail from {whom} only")
    if authenticated or (senders == "everyone" and role != "person"):
        return ACCEPT
    return hold("not authenticated", "nothing proves that the author wrote it")


def authorise_team(role: Role, *, authenticated: bool, released: bool) -> Disposition:
    """Return whether a mail may stand in a team's own thread: from people only."""
    if released:
        return ACCEPT
    if role == "unknown":
        return NO_AUTHOR
    if role != "person":
        return hold("stranger", "a team's thread is for your own people")
    if authenticated:
        return ACCEPT
    return hold("not authenticated", "nothing proves that the author wrote it")
