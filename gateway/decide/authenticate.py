"""Who wrote a mail, and whether that is sure.

Identity is the one well-formed From; a display name never is. In this release only a trusted
network authenticates, and a person who released a held mail.

*Standards:* RFC 5322 §3.6.2 (From), RFC 8601 (results; "how" is their summary).
"""

from dataclasses import dataclass

from gateway.mail.parse import Mail
from gateway.people import People, Person
from gateway.store.arrivals import Arrival


@dataclass(frozen=True, slots=True)
class Identity:
    """An author: their address in lower case ("" if there is not one), the name shown, the person.

    `authenticated` says whether it is sure that they wrote, `how` by what.
    """

    email: str
    name: str
    person: Person | None
    authenticated: bool
    how: str


def identify(arrival: Arrival, mail: Mail, people: People) -> Identity:
    """Return who wrote `mail`."""
    if mail.author is None:
        return Identity("", "", None, authenticated=False, how="")
    email = mail.author.address.key
    person = people.person(email)
    name = person.name if person else mail.author.name
    how = f"trusted network ({arrival.peer})" if arrival.trusted else ""
    return Identity(email, name, person, authenticated=arrival.trusted, how=how)
