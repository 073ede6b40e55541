"""DMARC: whether what SPF and DKIM proved speaks for the domain in From.

The organizational domain is found by walking up the DNS tree, without any list of suffixes.

*Failure:* a DNS that cannot be asked is `temperror`, unless what is proved speaks for the author without it;
a record that cannot be read asks for nothing and lets nobody but the domain itself speak for it.

*Standards:* RFC 9989 (§4.7 records, §4.10 tree walk, §4.10.1 policy, §4.10.2 organizational domain,
§4.4 alignment, §5.3 results).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from gateway.mail.authres import Result
from gateway.mail.lookup import Lookup, RecordType, Unreachable, is_name, remembering, texts

Policy = Literal["none", "quarantine", "reject"]
_POLICIES: Mapping[str, Policy] = {policy: policy for policy in get_args(Policy)}
_MILDER: Mapping[Policy, Policy] = {"reject": "quarantine", "quarantine": "none", "none": "none"}
_ADDRESSES: tuple[RecordType, ...] = ("A", "AAAA", "MX")
_LABELS_MAX = 8
_RECORD_MAX = 4_096  # octets
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[^\s,!]+", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A published record, at `domain`. One that is not `valid` asks for nothing."""

    domain: str
    policy: Policy
    subdomains: Policy
    missing: Policy
    strict_dkim: bool
    strict_spf: bool
    testing: bool
    psd: Literal["y", "n", "u"]
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Dmarc:
    """The outcome: what DMARC says, what the domain asks for, and what of the proofs speaks for the author.

    `aligned` names the results that speak for the author's domain, whether a record is published or
    not. `policy` is what the domain asks for mail that fails, "" where it publishes nothing.
    """

    result: Result
    aligned: tuple[Result, ...]
    policy: str = ""


def evaluate(author: str, proofs: Sequence[Result], lookup: Lookup) -> Dmarc:
    """Return whether one of `proofs` (results of SPF and DKIM) speaks for the domain `author`.

    Domains are in lower case and A-label form.
    """
    exact = tuple(each for each in proofs if each.verdict == "pass" and each.domain == author)
    if not is_name(author):
        return Dmarc(Result("dmarc", "none", author, "is no domain"), ())
    lookup = remembering(lookup)
    walked: dict[str, list[DmarcRecord]] = {}
    try:
        record = _record(author, lookup) or _inherited(author, lookup, walked)
    except Unreachable as away:
        return Dmarc(Result("dmarc", "temperror", author, str(away)), exact)
    if record is None or not record.valid:
        detail = "publishes no record" if record is None else "publishes a record that cannot be read"
        return Dmarc(Result("dmarc", "none", author, detail), exact)
    aligned, unclear = _aligned(author, proofs, record, lookup, walked)
    try:
        wanted = _wanted(record, author, lookup)
    except Unreachable:
        wanted = record.subdomains
        unclear = True
    if aligned:
        return Dmarc(Result("dmarc", "pass", author), aligned, wanted)
    if unclear:
        return Dmarc(Result("dmarc", "temperror", author, "the DNS could not be asked for all of it"), (), wanted)
    return Dmarc(Result("dmarc", "fail", author, f"neither SPF nor DKIM speaks for it; it asks: {wanted}"), (), wanted)


def _aligned(
    author: str, proofs: Sequence[Result], record: DmarcRecord, lookup: Lookup, walked: dict[str, list[DmarcRecord]]
) -> tuple[tuple[Result, ...], bool]:
    """Return which of the proofs speak for the author, and whether another may, were the DNS to answer."""
    aligned: list[Result] = []
    unclear = False
    for each in proofs:
        if each.verdict not in {"pass", "temperror"} or not each.domain:
            continue
        strict = record.strict_dkim if each.method == "dkim" else record.strict_spf
        try:
            if each.domain != author and (strict or not _is_kin(each.domain, author, lookup, walked)):
                continue
        except Unreachable:
            unclear = True
            continue
        if each.verdict == "pass":
            aligned.append(each)
        else:
            unclear = True
    return tuple(aligned), unclear


def _is_kin(domain: str, author: str, lookup: Lookup, walked: dict[str, list[DmarcRecord]]) -> bool:
    """Whether the two have one organizational domain; asks nothing where their ends already differ."""
    if not is_name(domain) or domain.rpartition(".")[2] != author.rpartition(".")[2]:
        return False
    organization = organizational_domain(author, lookup, walked)
    within = domain == organization or domain.endswith("." + organization)
    return within and organizational_domain(domain, lookup, walked) == organization


def organizational_domain(domain: str, lookup: Lookup, walked: dict[str, list[DmarcRecord]] | None = None) -> str:
    """Return the organizational domain of `domain` (RFC 9989 §4.10.2); raise `Unreachable`."""
    found = _walk(domain, lookup, {} if walked is None else walked)
    for record in found:
        if record.psd == "n":
            return record.domain
        if record.psd == "y" and record.domain != domain:
            depth = record.domain.count(".") + 2
            return ".".join(domain.split(".")[-depth:])
    readable = [record.domain for record in found if record.valid]
    return readable[-1] if readable else domain


def _walk(domain: str, lookup: Lookup, walked: dict[str, list[DmarcRecord]]) -> list[DmarcRecord]:
    """Return the records from `domain` up, the longest name first, at most eight queries (RFC 9989 §4.10)."""
    if domain in walked:
        return walked[domain]
    found: list[DmarcRecord] = []
    labels = domain.split(".")
    while labels:
        record = _record(".".join(labels), lookup)
        if record is not None:
            found.append(record)
            if record.psd != "u":
                break
        labels = labels[-(_LABELS_MAX - 1) :] if len(labels) > _LABELS_MAX else labels[1:]
    walked[domain] = found
    return found


def _inherited(author: str, lookup: Lookup, walked: dict[str, list[DmarcRecord]]) -> DmarcRecord | None:
    """Return the record of the organizational domain of `author`, or of its public suffix."""
    by_domain = {record.domain: record for record in _walk(author, lookup, walked)}
    organization = organizational_domain(author, lookup, walked)
    suffixes = (record for record in by_domain.values() if record.psd == "y")
    return by_domain.get(organization) or next(suffixes, None)


def _wanted(record: DmarcRecord, author: str, lookup: Lookup) -> Policy:
    policy = record.policy
    if record.domain != author:
        policy = record.subdomains
        if record.missing != record.subdomains and not any(lookup(author, kind) for kind in _ADDRESSES):
            policy = record.missing
    return _MILDER[policy] if record.testing else policy


def _record(domain: str, lookup: Lookup) -> DmarcRecord | None:
    name = f"_dmarc.{domain}"
    if not is_name(name):
        return None
    read = [tags for text in texts(lookup, name) if (tags := read_tags(text)) is not None]
    return _as_record(domain, read[0]) if len(read) == 1 else None


def _as_record(domain: str, tags: Mapping[str, str]) -> DmarcRecord:
    given = {name: _POLICIES.get(tags[name].lower()) for name in ("p", "sp", "np") if name in tags}
    asked = {name: policy for name, policy in given.items() if policy is not None}
    sound = "p" in asked and len(asked) == len(given)
    if not sound:
        asked = {"p": "none"}
    policy = asked["p"]
    subdomains = asked.get("sp", policy)
    psd = tags.get("psd", "u").lower()
    return DmarcRecord(
        domain=domain,
        policy=policy,
        subdomains=subdomains,
        missing=asked.get("np", subdomains),
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        strict_spf=tags.get("aspf", "r").lower() == "s",
        testing=tags.get("t", "n").lower() == "y",
        psd="y" if psd == "y" else "n" if psd == "n" else "u",
        # One that asks for reports is one that asks for nothing else (RFC 9989 §4.10.1).
        valid=sound or any(_URI.fullmatch(uri.strip()) for uri in tags.get("rua", "").split(",")),
    )


def read_tags(octets: bytes) -> dict[str, str] | None:
    """Return the tags of a record that begins with `v=DMARC1`, or None if it is no such record."""
    parts = octets[:_RECORD_MAX].decode("utf-8", "replace").split(";")
    name, equals, value = parts[0].partition("=")
    if name.strip().lower() != "v" or not equals or value.strip() != "DMARC1":
        return None
    tags: dict[str, str] = {}
    for part in parts[1:]:
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags
