"""people.yaml: who is inside, and which customers are known; reloads by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.config import Language
from gateway.document import Document, Model, Problem, validate
from gateway.mail.address import parse_address
from gateway.records.record import Party

FILE = "people.yaml"
# What these words mean as a follower is not a person's key.
_NOT_KEYS = frozenset({"leader", "salesperson", "creator", "customer", "group", "archive"})
Right = Literal["sales", "sales-admin", "settings"]
Delivery = Literal["mail", "inbox", "digest", "none"]
# From the most immediate to none at all.
DELIVERIES: tuple[Delivery, ...] = ("mail", "inbox", "digest", "none")


def _email(value: str) -> str:
    address = parse_address(value)
    if address is None:
        message = f"{value!r} is no address; write one like name@example.com"
        raise ValueError(message)
    return address.key


def as_list(value: object) -> object:
    """Let one word stand for a list of one."""
    return [value] if isinstance(value, str) else value


Email = Annotated[str, AfterValidator(_email)]
Emails = Annotated[tuple[Email, ...], BeforeValidator(as_list), Field(min_length=1, strict=False)]


class Person(Model):
    """Somebody inside. Mail goes to the first address; every one of them is theirs."""

    key: str = Field(default="", exclude=True)
    name: Annotated[str, Field(min_length=1, max_length=100)]
    email: Emails
    rights: tuple[Right, ...] = Field(default=("sales",), strict=False)
    language: Language | None = None
    delivery: Delivery = "mail"

    @property
    def entitled(self) -> bool:
        """Whether they may note and use commands."""
        return bool({"sales", "sales-admin"} & set(self.rights))


class Customer(Model):
    """A customer's file."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    email: Emails
    salesperson: str = ""
    team: str = ""
    language: Language | None = None


class _File(Model):
    people: dict[str, Person]
    customers: dict[str, Customer] = Field(default_factory=dict)


@dataclass(frozen=True)
class People:
    """Everybody the site knows, by key and by address."""

    by_key: Mapping[str, Person] = field(default_factory=dict)
    customers: Mapping[str, Customer] = field(default_factory=dict)

    @cached_property
    def _by_email(self) -> dict[str, Person]:
        return {email: person for person in self.by_key.values() for email in person.email}

    @cached_property
    def _customer_keys(self) -> dict[str, str]:
        return {email: key for key, customer in self.customers.items() for email in customer.email}

    def person(self, email: str) -> Person | None:
        """Return the person whose address (lower case) this is."""
        return self._by_email.get(email)

    def customer(self, email: str) -> tuple[str, Customer] | None:
        """Return the key and file of the customer whose address (lower case) this is."""
        key = self._customer_keys.get(email)
        return (key, self.customers[key]) if key else None

    def party(self, email: str) -> Party | None:
        """Return a customer's file as the customer of a record."""
        found = self.customer(email)
        if found is None:
            return None
        key, customer = found
        return Party(customer.name, customer.email, customer.language or "", key)

    def with_right(self, right: Right) -> list[Person]:
        """Return the people who have `right`, in the order of the file."""
        return [person for person in self.by_key.values() if right in person.rights]


def load(document: Document) -> tuple[People, list[Problem]]:
    """Return everybody in people.yaml, and the problems of names. Raises `Bad` where it has no right shape.

    Teams are checked by the site.
    """
    read = validate(document, _File)
    problems = [*_doubled(document, read)]
    for key in read.people:
        if key in _NOT_KEYS:
            mend = "in rules.yaml it means somebody else; use another"
            problems.append(document.at_key(("people", key), f"{key!r} is no key for a person", mend))
        if not key.replace("-", "").replace("_", "").replace(".", "").isalnum():
            problems.append(
                document.at_key(("people", key), f"{key!r} is no key for a person", "use letters, digits, - and _")
            )
    for key, customer in read.customers.items():
        if customer.salesperson and customer.salesperson not in read.people:
            problems.append(
                document.problem(
                    ("customers", key, "salesperson"),
                    f"unknown person {customer.salesperson!r}",
                    "add them under people",
                )
            )
    people = {key: person.model_copy(update={"key": key}) for key, person in read.people.items()}
    return People(people, read.customers), problems


def _doubled(document: Document, read: _File) -> list[Problem]:
    owner: dict[str, str] = {}
    problems = []
    for section, entries in (("people", read.people), ("customers", read.customers)):
        for key, entry in entries.items():
            for email in entry.email:
                if owner.setdefault(email, key) != key:
                    where = (section, key, "email")
                    what = f"the address {email} is {owner[email]!r}'s already"
                    problems.append(document.problem(where, what, "one address is one person or customer"))
    return problems
