"""Who wrote a mail, and whether that is sure.

Identity is the one well-formed From; a display name never is. It is sure by SMTP AUTH of that
person, by a trusted network, or by SPF or DKIM that speaks for the domain in From, found by
ourselves or, in `mode: trust`, written by the one server that is believed.

*Failure:* a DNS that cannot be asked leaves `away` set: the mail can wait, and be asked about again.

*Standards:* RFC 5322 §3.6.2 (From), RFC 8601 (results), RFC 7489 and 9989 (alignment), RFC 8617 (ARC).
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config import Authentication
from gateway.mail.authres import Result, read_arc_results, trusted_results
from gateway.mail.dmarc import evaluate
from gateway.mail.lookup import Lookup
from gateway.mail.parse import Mail
from gateway.mail.signature import verify_arc, verify_dkim
from gateway.mail.signature_field import leaves_out
from gateway.mail.spf import check_spf
from gateway.people import People, Person
from gateway.store.arrivals import FOLDER, IMAP, Arrival
from gateway.store.messages import OWN_FOLDER

_NAMING = ("to", "cc", "subject")  # the fields that tell which record is meant
_PROVES = frozenset({"spf", "dkim", "dmarc"})


@dataclass(frozen=True, slots=True)
class Proof:
    """What authentication found of a mail: whether it is sure who wrote it, by what, and every result.

    `away` tells that it may be sure once the DNS can be asked; `unproved` names the fields that may be
    another's although the mail is its author's.
    """

    sure: bool = False
    how: str = ""
    results: tuple[Result, ...] = ()
    away: bool = False
    unproved: frozenset[str] = frozenset()
    defects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """An author: their address in lower case ("" if there is not one), the name shown, the person.

    `authenticated` says whether it is sure that they wrote, `how` by what; `results` is what every
    method said, `away` whether it may be sure once the DNS can be asked. `unproved` are the fields that
    somebody who sends their signed mail on can write anew.
    """

    email: str
    name: str
    person: Person | None
    authenticated: bool
    how: str
    results: tuple[Result, ...] = ()
    away: bool = False
    unproved: frozenset[str] = frozenset()

    @property
    def entitled(self) -> bool:
        """Whether a person may write notes and give commands; an outsider never asks."""
        return self.person is None or self.person.entitled

    @property
    def disowned(self) -> bool:
        """Whether the author's domain asks that a mail like this be not believed (DMARC)."""
        asked = ("it asks: quarantine", "it asks: reject")
        return any(
            each.method == "dmarc" and each.verdict == "fail" and each.detail.endswith(asked) for each in self.results
        )


def in_folder(arrival: Arrival, people: People) -> Identity | None:
    """Return who dropped a mail into a folder of their own account, whoever wrote it; None for any other arrival."""
    person = people.by_key.get(arrival.auth_who) if arrival.door == FOLDER else None
    if person is None:
        return None
    results = (Result("folder", "pass", "", person.key),)
    return Identity(person.email[0], person.name, person, authenticated=True, how=OWN_FOLDER, results=results)


def identify(mail: Mail, people: People, proof: Proof) -> Identity:
    """Return who wrote `mail`, given what was proved of it."""
    if mail.author is None:
        return Identity("", "", None, authenticated=False, how="", results=proof.results)
    email = mail.author.address.key
    person = people.person(email)
    name = person.name if person else mail.author.name
    return Identity(email, name, person, proof.sure, proof.how, proof.results, proof.away, proof.unproved)


def asks_dns(arrival: Arrival, mail: Mail, settings: Authentication) -> bool:
    """Whether proving a mail takes questions to the DNS, which may take their time."""
    known = arrival.trusted or arrival.auth_who or mail.author is None
    return not known and settings.mode == "verify"


def prove(arrival: Arrival, mail: Mail, people: People, settings: Authentication, lookup: Lookup) -> Proof:
    """Return what can be proved of who wrote `mail`."""
    if mail.author is None:
        return Proof()
    if arrival.auth_who:
        return _by_login(arrival, people.person(mail.author.address.key))
    if arrival.trusted:
        how = f"trusted network ({arrival.peer})"
        return Proof(sure=True, how=how, results=(Result("network", "pass", "", arrival.peer),))
    domain = mail.author.address.domain
    if settings.mode == "trust":
        behind = 1 if arrival.door == IMAP else 0  # the host of the catch-all mailbox had it last
        found, defects = trusted_results(mail.header, settings.authserv_id, behind)
        speaks = _speaks_for(found, domain)
        return Proof(bool(speaks), _how(speaks), tuple(found), unproved=_unproved(mail, speaks), defects=tuple(defects))
    return _by_dns(arrival, mail, domain, settings.arc_sealers, lookup)


def _by_login(arrival: Arrival, author: Person | None) -> Proof:
    if author is not None and author.key == arrival.auth_who:
        return Proof(sure=True, how=f"SMTP AUTH ({author.key})", results=(Result("auth", "pass", "", author.key),))
    said = f"logged in as {arrival.auth_who}, whose address the From is not"
    return Proof(results=(Result("auth", "fail", "", said),))


def _by_dns(arrival: Arrival, mail: Mail, domain: str, sealers: Sequence[str], lookup: Lookup) -> Proof:
    proofs = [_spf(arrival, lookup), *verify_dkim(arrival.content, lookup)]
    dmarc = evaluate(domain, proofs, lookup)
    results = (*proofs, dmarc.result)
    if dmarc.aligned:
        return Proof(sure=True, how=_how(dmarc.aligned), results=results, unproved=_unproved(mail, dmarc.aligned))
    if sealers:
        chain = verify_arc(arrival.content, lookup)
        results = (*results, chain.result)
        speaks = _speaks_for(read_arc_results(chain.said), domain) if chain.result.verdict == "pass" else []
        if speaks and chain.sealers[0] in sealers:
            how = f"ARC sealed by {chain.sealers[0]}, {_how(speaks)}"
            return Proof(sure=True, how=how, results=results, unproved=_unproved(mail, speaks))
    return Proof(results=results, away=any(each.verdict == "temperror" for each in results))


def _spf(arrival: Arrival, lookup: Lookup) -> Result:
    """Ask whether the peer may send for the return path; by LMTP the peer is our own border MTA, not the sender."""
    if arrival.door != "smtp" or not _is_host(arrival.peer):
        return Result("spf", "none", "", "the host that sent it is not known here")
    return check_spf(arrival.peer, arrival.helo, arrival.return_path, lookup)


def _is_host(peer: str) -> bool:
    try:
        ipaddress.ip_address(peer)
    except ValueError:
        return False
    return True


def _speaks_for(results: Sequence[Result], domain: str) -> list[Result]:
    """Return what another server found that speaks for `domain` itself: it did the asking, we ask nobody.

    Who holds a domain holds what is below it, unless DMARC says otherwise; the other way round only the DNS could tell.
    """
    strict = any(each.method == "dmarc" and each.verdict == "fail" for each in results)

    def is_above(other: str) -> bool:
        return not strict and "." in other and domain.endswith(f".{other}")

    passed = [each for each in results if each.verdict == "pass" and each.method in _PROVES]
    return [each for each in passed if each.domain == domain or is_above(each.domain)]


def _unproved(mail: Mail, speaks: Sequence[Result]) -> frozenset[str]:
    """Return which fields are not proved by what speaks for the author: a signature proves those it covers.

    By SPF the author's own host sent the mail, all of it.
    """
    if any(each.method == "spf" for each in speaks):
        return frozenset()
    domains = {each.domain for each in speaks if each.method == "dkim"}
    return frozenset(name for name in _NAMING if leaves_out(mail.header, domains, name))


def _how(results: Sequence[Result]) -> str:
    return ", ".join(dict.fromkeys(f"{each.method.upper()} {each.domain}" for each in results))
