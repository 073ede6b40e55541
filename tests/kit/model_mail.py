"""What CONTRACT says becomes of a mail or an event, in the model: who may, what is done, what is answered."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from tests.kit.model import (
    ALL_SUBTYPES,
    CUSTOMER,
    NOTHING,
    STAGES,
    TRANSITIONS,
    Deed,
    Followers,
    Said,
    Site,
    Standing,
    Thing,
    assign,
    change_team,
    copied,
    covers,
    happen,
    subtypes_of,
)
from tests.kit.model_given import ASKS, EVENTS, FIELDS, FOLLOWING, NEEDS, OWN_COMMAND, Event, Mail


class Mistake(Exception):
    """A command that cannot be carried out."""


class Office:
    """Takes mails and events to one record, as CONTRACT says."""

    def __init__(self, site: Site, thing: Thing, standing: Standing) -> None:
        self.site, self.thing, self.standing = site, thing, standing

    # ---- who may

    def mail(self, mail: Mail) -> str:
        """Return what becomes of a mail: held, posted, done, mistake or duplicate."""
        who = self.site.person(mail.author)
        if mail.to == "gateway":
            return self._to_gateway(mail, who)
        return self._inside(mail, who) if who else self._outside(mail)

    def _own_tag(self, mail: Mail) -> bool:
        if not mail.tag:
            return False
        holder = mail.tag.removeprefix("person:")
        if holder in self.site.people:
            return mail.author in self.site.people[holder].emails
        return mail.author == holder or (holder in self.thing.customer and mail.author in self.thing.customer)

    def _again(self, mail: Mail, scope: str) -> bool:
        """Whether a mail was taken here before; from now on it was."""
        before = (scope, mail.number) in self.thing.taken
        self.thing.taken.add((scope, mail.number))
        return before

    def _outside(self, mail: Mail) -> str:
        thing, followers = self.thing, Followers(self.site, self.thing, self.standing)
        is_customer = mail.author in thing.customer
        who = followers.whole(mail.author)
        if not is_customer and not followers.follows(who):
            return "held"
        proved = mail.sure or self._own_tag(mail)
        offered = mail.to in ("accept", "decline")
        if offered and is_customer and thing.kind == "quotation" and (answer := self._offer(mail)):
            return answer
        is_note = mail.to == "note" or (bool(mail.commands) and mail.commands[0][0] == "note")
        if not proved or is_note or (mail.to not in ("", "unfollow") and not offered):
            return "held"
        if mail.to != "unfollow":
            return self._post(mail, mail.author, note=False)
        if self._again(mail, "unfollow"):
            return "duplicate"
        thing.bags[who] = thing.bags.get(who, NOTHING).with_given_up(("*",))
        return "done"

    def _offer(self, mail: Mail) -> str:
        """Take a customer's yes or no; "" where there is no open quotation any more."""
        if ("offer", mail.number) in self.thing.taken:
            return "duplicate"
        if self.thing.state not in ("draft", "sent"):
            if not mail.sure:
                return ""
            self._again(mail, "offer")
            return "" if mail.text else "done"
        sent = [
            each
            for each in self.thing.thread
            if each.subtype == "quotation.sent" and each.hears != {} and not each.taken_back
        ]
        changed = bool(sent) and sent[-1].terms not in (None, self.thing.terms)
        late = self.thing.fields.get("valid_until", "9") < "2026"
        never = not sent and self.thing.state == "draft"
        if not mail.sure or (mail.to == "accept" and (late or changed or never)):
            return "held"
        self._again(mail, "offer")
        happen(self.thing, f"quotation.{'confirmed' if mail.to == 'accept' else 'cancelled'}", mail.author)
        return "posted"

    def _inside(self, mail: Mail, who: str) -> str:
        by_address = bool(mail.to) and mail.to not in ("note", "accept", "decline")
        parent = self._parent(mail)
        note = not by_address and (mail.to == "note" or any(e[0] == "note" for e in mail.commands))
        note = note or (not by_address and parent is not None and parent.subtype == "note")
        if self._is_held(mail, who, note=note):
            return "held"
        empty = not (by_address or mail.text) and any(each[0] == "note" for each in mail.commands)
        if empty or any(each[0] == "?" for each in mail.commands):
            return "duplicate" if self._again(mail, "mistake") else self._answered(mail, "mistake")
        if self._again(mail, mail.to if by_address else ""):
            return "duplicate"
        if not mail.commands:
            return self._post(mail, who, note=note)
        followers = Followers(self.site, self.thing, self.standing)
        heard = followers.outside()
        adds = any(each[0] == "add" for each in mail.commands)
        try:
            spoken = self._carry_out(mail, who, by_address=by_address)
        except Mistake:
            return self._answered(mail, "mistake")
        if any(each[0] not in ASKS for each in mail.commands):
            self._answered(mail, "done")
        if any(each[0] in ASKS for each in mail.commands):
            self._answered(mail, "answer")
        if spoken and not note and not by_address:
            return "posted"
        new = Followers(self.site, self.thing, self.standing).outside() - heard
        more = {} if adds else {"inside": not heard, "unheard": new}
        return self._post(mail, who, note=note, **more) if mail.text and not by_address else "done"

    def _is_held(self, mail: Mail, who: str, *, note: bool) -> bool:
        free = not mail.to and all(each[0] in ("unfollow", "help") for each in mail.commands)
        needs_right = note or (bool(mail.commands) and mail.to != "unfollow" and not free)
        if not mail.sure or (needs_right and "sales" not in self.site.people[who].rights):
            return True
        return mail.hidden and any(each[0] != "note" for each in mail.commands)

    def _answered(self, mail: Mail, what: str) -> str:
        self.thing.answers[str(mail.number), what] += 1
        return what

    def _parent(self, mail: Mail) -> Said | None:
        thread = self.thing.thread
        return None if mail.answers is None else thread[max(-1 - mail.answers, -len(thread))]

    def _post(
        self, mail: Mail, author: str, *, note: bool, inside: bool = False, unheard: Collection[str] = ()
    ) -> str:  # fmt: skip
        """Put what a mail says in the thread; `inside` if only its commands let those outside follow who hear of it.

        `unheard` are those of them who follow by these, where others outside followed before.
        """
        thing, ours = self.thing, author in self.site.people
        if not ours and self._again(mail, ""):
            return "duplicate"
        parent = self._parent(mail)
        asked = "" if parent is None else parent.author if parent.outside else parent.asked
        answered = asked if ours and not note else ""
        inside = inside and not answered and all(self.site.person(each) for each in mail.cc)
        followers = Followers(self.site, thing, self.standing)
        for each in mail.cc if ours and not note and not mail.hidden else ():
            new = followers.whole(each)
            if self.site.person(each) or followers.follows(new):
                continue
            if not thing.bags.get(new, NOTHING).gives_up:
                thing.bags[new] = NOTHING.with_wanted(("discussion",))
        quiet = mail.hidden and ours
        apart = frozenset(unheard) - {followers.whole(each) for each in (*mail.cc, answered)}
        more = {"answered": answered, "addressed": mail.cc, "quiet": quiet, "inside": inside, "unheard": apart}
        thing.thread.append(Said("note" if note else "discussion", author, **more))
        return "posted"

    # ---- what is done

    def _carry_out(self, mail: Mail, who: str, *, by_address: bool) -> bool:
        """Carry out all commands of a mail or none; return whether one of them said the mail's text."""
        try:
            greets = mail.to == "send" and not any("@" in word for word in mail.commands[0][1:])
            return self._try((("send",),) if greets else mail.commands, who)
        except Mistake:
            listed = who in self.site.people and any(_is_subtype(each) for each in mail.commands[0][1:])
            if not by_address or mail.to not in ("follow", "unfollow") or listed:
                raise
            return self._try(((mail.to,),), who)  # a greeting there is no list of subtypes

    def _try(self, commands: Sequence[tuple[str, ...]], who: str) -> bool:
        work, standing = copied(self.thing), Standing(self.standing)
        trial = Office(self.site, work, standing)
        count, spoken = len(work.thread), False
        for name, *words in commands:
            spoken = trial._one(name, words, who) or spoken
        if any(name not in (*ASKS, "undo") for name, *_ in commands):
            final = any(name == "note" for name, *_ in commands)
            changed = _changes(self.thing, work) | _changed_standing(self.standing, standing)
            work.deeds.setdefault(who, []).append(Deed(changed, work.thread[count:], final))
        vars(self.thing).update(vars(work))
        self.standing.clear()
        self.standing.update(standing)
        return spoken

    def _one(self, name: str, words: list[str], who: str) -> bool:
        thing = self.thing
        if name in ASKS or name == "note":
            return False
        if (name in EVENTS and thing.kind not in EVENTS[name]) or len(words) < NEEDS.get(name, 0):
            raise Mistake
        if name in FOLLOWING:
            self._choose(name, words, who)
        elif name == "undo":
            self._undo(who)
        elif name in EVENTS:
            self._event(name, words, who)
        elif name == "set":
            self._set(FIELDS.get(words[0], words[0]), " ".join(words[1:]))
        elif name == "assign":
            person = self.site.person(words[0])
            if not person:
                raise Mistake
            assign(thing, person, who)
        elif words[0] not in self.site.leaders:
            raise Mistake
        else:
            change_team(thing, words[0])
        return name in ("send", "validate")

    def _event(self, name: str, words: list[str], who: str) -> None:
        thing, event = self.thing, EVENTS[name][self.thing.kind]
        origins, _ = TRANSITIONS[event]
        if name in ("send", "validate"):
            self._addresses(words, event)
        again = name == "send" and thing.state in ("posted", "paid")
        if thing.state not in origins and not again:
            raise Mistake
        if name == "stage":
            if words[0] not in STAGES or words[0] == thing.fields["stage"]:
                raise Mistake
            thing.fields["stage"] = words[0]
        if name == "lost":
            thing.fields["reason"] = " ".join(words)
        state = thing.state
        happen(thing, event, who)
        thing.state = state if again else thing.state

    def _addresses(self, words: list[str], event: str) -> None:
        """Take those a quotation is sent to beside the customer, or as the customer where there is none."""
        thing = self.thing
        if any("@" not in each or self.site.person(each) for each in words):
            raise Mistake
        if not thing.customer:
            if not words:
                raise Mistake
            thing.customer = (words.pop(0),)
            known = thing.bags.pop(thing.customer[0], NOTHING)
            thing.bags[CUSTOMER] = (
                thing.bags.get(CUSTOMER, known).with_given_up(known.gives_up).with_wanted(known.wants)
            )
        for each in words:
            if each not in thing.customer:
                thing.bags[each] = thing.bags.get(each, NOTHING).with_wanted(("discussion", event))

    def _set(self, name: str, value: str) -> None:
        if name in OWN_COMMAND:
            raise Mistake
        if name == "amount" and value != "-" and not value.replace(".", "").isdigit():
            raise Mistake
        if name == "title":
            self.thing.title = value
        else:
            self.thing.put(f"fields.{name}", None if value == "-" else value)

    # ---- following

    def _choose(self, name: str, words: list[str], giver: str) -> None:
        who = self._whom(words[0]) if name in ("add", "remove") else giver
        rest = words[1:] if name in ("add", "remove") else words
        teams = [each for each in rest if each.startswith(("team:", "團隊:"))]
        patterns = tuple(each for each in rest if each not in teams)
        known = ALL_SUBTYPES if teams else subtypes_of(self.thing.kind)
        if any(not any(covers(each, name) for name in known) for each in patterns):
            raise Mistake
        bags, key = self.thing.bags, who
        if teams:
            bags, key = self.standing, (who, self._team(name, teams, who, giver))  # type: ignore[assignment]
        bag = bags.get(key, NOTHING)
        more = name in ("follow", "add")
        bags[key] = bag.with_wanted(patterns or ("discussion",)) if more else bag.with_given_up(patterns or ("*",))

    def _team(self, name: str, teams: Sequence[str], who: str, giver: str) -> str:
        """Return for which team a standing choice is, which is for one's own people, and for others needs a right."""
        team = teams[0].partition(":")[2]
        rights = self.site.people[giver].rights
        allowed = "sales-admin" in rights or (who == giver and (name == "unfollow" or "sales" in rights))
        if len(teams) > 1 or team not in ("*", *self.site.leaders) or who not in self.site.people or not allowed:
            raise Mistake
        return "" if team == "*" else team

    def _whom(self, word: str) -> str:
        person = self.site.person(word)
        if person or word == CUSTOMER or (word.startswith("group:") and word[6:] in self.site.members):
            return person or word
        if "@" not in word:
            raise Mistake
        return Followers(self.site, self.thing, self.standing).whole(word)

    def _to_gateway(self, mail: Mail, who: str) -> str:
        """Take choices that need no record, and questions."""
        if not who or not mail.sure:
            return "held"
        if any(each[0] not in (*FOLLOWING, "list", "help", "prefs") for each in mail.commands):
            self._answered(mail, "mistake")
            return "done"
        given = [each for each in mail.commands if each[0] in FOLLOWING]
        asked = [each for each in mail.commands if each[0] in ASKS]
        if given and self._again(mail, "gateway"):
            return "duplicate"
        standing = Standing(self.standing)
        trial = Office(self.site, self.thing, standing)
        try:
            for name, *words in given:
                named = any(each.startswith(("team:", "團隊:")) for each in words)
                trial._choose(name, words if named else [*words, "team:*"], who)
            self.standing.clear()
            self.standing.update(standing)
            self._answered(mail, "done") if given else None
        except Mistake:
            self._answered(mail, "mistake")
            return "done"
        if asked:
            self._answered(mail, "answer")
        return "done"

    # ---- taken back

    def _undo(self, who: str) -> None:
        """Take back the last thing somebody did, unless it left the house or was changed since."""
        thing = self.thing
        deeds = thing.deeds.get(who, [])
        if not deeds or deeds[-1].final:
            raise Mistake
        deed = deeds[-1]
        if any("@" in each for said in deed.messages for each in said.hears or ()):
            raise Mistake
        now = thing.values() | {("bag", key): bag for key, bag in thing.bags.items()}
        now |= {("standing", *key): bag for key, bag in self.standing.items()}
        if any(now.get(name) != after for name, (_, after) in deed.changed.items()):
            raise Mistake
        deeds.pop()
        for name, (before, _) in deed.changed.items():
            self._put_back(name, before)
        for said in deed.messages:
            if said.hears:
                thing.thread.append(Said(said.subtype, who, taken_back=tuple(said.hears)))
            elif said.hears is None:
                said.hears = {}

    def _put_back(self, name: object, before: object) -> None:
        if isinstance(name, str):
            self.thing.put(name, before)
            return
        place, *key = name  # type: ignore[misc]
        bags = self.thing.bags if place == "bag" else self.standing
        where = key[0] if place == "bag" else tuple(key)
        if before is None:
            bags.pop(where, None)
        else:
            bags[where] = before

    # ---- events

    def event(self, event: Event) -> bool:
        """Let the record system tell of something; return whether it was taken."""
        thing = self.thing
        if event.name == "message":
            thing.thread.append(Said("discussion", event.actor))
            return True
        if event.name != "changed":
            if not event.name.startswith(thing.kind) or thing.state not in TRANSITIONS[event.name][0]:
                return False
            if event.name == "lead.stage" and event.fields["stage"] == thing.fields["stage"]:
                return False
        for name, value in event.fields.items():
            thing.put(f"fields.{name}", value)
        if event.team:
            change_team(thing, event.team)
        if event.name != "changed":
            happen(thing, event.name, event.actor, mailed=event.mailed)
        if event.salesperson:
            assign(thing, event.salesperson, event.actor)
        return True


def _changes(before: Thing, after: Thing) -> dict[object, tuple[object, object]]:
    old = before.values() | {("bag", key): bag for key, bag in before.bags.items()}
    new = after.values() | {("bag", key): bag for key, bag in after.bags.items()}
    return {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}


def _changed_standing(before: Standing, after: Standing) -> dict[object, tuple[object, object]]:
    keys = {**before, **after}
    return {("standing", *key): (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _is_subtype(word: str) -> bool:
    """Whether a word is one, a pattern of some, or mistyped: who writes it means a list of them."""
    return "*" in word or word.startswith(("team:", "團隊:")) or bool(get_close_matches(word, ALL_SUBTYPES, 1, 0.7))
