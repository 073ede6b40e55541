"""Cards: a mail for each lead a person follows, in the folder of its stage, that shows how the lead stands.

They are words about a record, not messages of its thread: each replaces the one before.
"""

import hashlib
import secrets
from dataclasses import dataclass

from gateway.alias import Addresses
from gateway.config import ARCHIVE
from gateway.folder import of_lead
from gateway.following import Follower, followers
from gateway.mail.address import parse_address
from gateway.notify import buttons, context
from gateway.notify.compose import Envelope, header, shared_body, shared_fields
from gateway.notify.render import Renderer, Value
from gateway.people import Person
from gateway.records.lifecycle import Change, shown_party
from gateway.records.record import Record
from gateway.site import Site
from gateway.store import cards, records
from gateway.store import followers as store_followers
from gateway.store.cards import Card
from gateway.store.session import Store
from gateway.worker import now_ms

BATCH = 50  # leads
AGAIN_MS = 5 * 60_000  # who follows, and the rules, may change without the lead
_NEVER = (0, 0)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What a lead's card shows a person, and in which folder: "" where they do not follow the lead."""

    lead: Record
    person: Person
    folder: str
    text: str
    html: str
    digest: bytes


class Cards:
    """Keeps the cards of all accounts as the leads are."""

    def __init__(self, store: Store, site: Site, addresses: Addresses, renderer: Renderer) -> None:
        """Begin with every lead there is."""
        self._store = store
        self._site = site
        self._addresses = addresses
        self._renderer = renderer
        self._after = _NEVER
        self._began = now_ms()

    def step(self) -> int:
        """Look at the leads that changed; return how many."""
        if not self._site.accounts - {ARCHIVE}:
            return 0
        if now_ms() - self._began > AGAIN_MS:
            self._after, self._began = _NEVER, now_ms()
        with self._store.read() as tx:
            changed = cards.changed_leads(tx, self._after, BATCH)
            if not changed:
                return 0
            ids = [record_id for _, record_id in changed]
            leads = records.load(tx, ids)
            choices = store_followers.choices(tx, ids)
            before = cards.digests(tx, ids)
        new = [
            drawn
            for record_id, lead in leads.items()
            for person, follows in _accounts(
                self._site, followers(lead, choices[record_id], self._site.people, self._site.rules)
            )
            if (drawn := self._drawn(lead, person, follows=follows)).digest != before.get((person.key, record_id), b"")
        ]
        if new:
            with self._store.write() as tx:
                numbers = store_followers.reader_ids(tx, [f"person:{each.person.key}" for each in new])
                for each in new:
                    cards.keep(tx, self._addressed(each, numbers[f"person:{each.person.key}"]))
        self._after = changed[-1]
        return len(changed)

    def _drawn(self, lead: Record, person: Person, *, follows: bool) -> _Drawn:
        folder = of_lead(lead) if follows else ""
        text, html = self._words(lead, person) if folder else ("", "")
        shown = "\n".join((folder, lead.title, str(lead.tag_epoch), text, html))
        return _Drawn(lead, person, folder, text, html, hashlib.sha256(shown.encode("utf-8", "replace")).digest())

    def _words(self, lead: Record, person: Person) -> tuple[str, str]:
        language = self._site.language(person.language)
        words = self._renderer.words(language)
        facts = [
            Change("state", "", lead.state), Change("salesperson", "", lead.salesperson), Change("team", "", lead.team),
            Change("customer", "", shown_party(lead.customer)), *(Change(n, "", v) for n, v in lead.fields.items()),
        ]  # fmt: skip
        kinds, stages = self._site.rules.kinds, self._site.rules.lead_stages
        shown = [context.shown_change(self._site, self._renderer, language, each) for each in facts if each.new]
        may = buttons.for_insiders(self._addresses, kinds, stages, lead, words) if person.entitled else []
        values: dict[str, Value] = {
            "site": self._site.settings.site.name, "ref": lead.ref, "title": lead.title, "changes": list(shown),
            "kind": kinds.by_name[lead.kind].label(language), "alias": str(self._addresses.alias(lead.ref)),
            "buttons": may,
        }  # fmt: skip
        return self._renderer.body(["lead/card"], language, values)

    def _addressed(self, drawn: _Drawn, number: int) -> Card:
        """Return a card with its octets: a mail to the person, answered into the lead's thread."""
        lead, person = drawn.lead, drawn.person
        to = parse_address(person.email[0])
        if not drawn.folder or to is None:
            return Card(person.key, lead.id, "", "", b"", drawn.digest)
        message_id = f"card.{secrets.token_hex(12)}@{self._addresses.domain}"
        body = shared_body(drawn.text, drawn.html, ())
        envelope = Envelope(
            author=self._site.settings.site.name, sender=self._addresses.alias(lead.ref), date=now_ms(),
            message_id=message_id, subject=context.subject_of(lead, answers=False), ancestors=(), list_id="",
            automatic="auto-generated", record=lead.ref, subtype="card",
        )  # fmt: skip
        reply_to = self._addresses.alias(lead.ref, "", number, lead.tag_epoch)
        block = header(shared_fields(envelope), body, person.name, to, reply_to, None, "")
        return Card(person.key, lead.id, drawn.folder, message_id, block + b"\r\n" + body.octets, drawn.digest)


def _accounts(site: Site, their: list[Follower]) -> list[tuple[Person, bool]]:
    """Return the people with an account of their own, and whether they follow."""
    following = {each.who for each in their if each.follows}
    return [(site.people.by_key[key], key in following) for key in site.accounts if key in site.people.by_key]
