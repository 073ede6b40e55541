"""Are the guards guarded? Each mutant takes one guard of notes, tags and authority away; a test must notice.

`script/mutants` copies the tree, applies one mutant at a time and runs what should catch it: the tests named
beside it, then the campaign of notes in its short form.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("gateway", "templates", "migrations", "tests", "pyproject.toml", "README.md", "script")
CAMPAIGN = ("-m", "tests.kit.notes_campaign", "--stop-at", "1", "--jobs", "1")
PYTEST = ("-m", "pytest", "-x", "-q", "-m", "not slow", "-k", "not postgresql", "-p", "no:cacheprovider")
OPERATIONS = 1_500
LEAST = 29 / 30  # of the mutants that must be caught
DEADLINE_S = 240


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard: where it stands, its text, what is put there instead, what it guards, and who should notice."""

    file: str
    old: str
    new: str
    guards: str
    tests: tuple[str, ...] = ()


FIFTH, SIXTH = "tests/decide/test_fifth_look.py", "tests/decide/test_sixth_look.py"
STAY, ROWS, RECEIVE, HELD = (
    f"tests/decide/test_{name}.py" for name in ("notes_stay", "authority_rows", "receive", "held_by_mail")
)
CHOSEN, COMPOSE, LOOPS, BACK = (
    "tests/notify/test_recipients.py", "tests/notify/test_compose.py", "tests/test_loops.py", "tests/decide/test_backscatter_rows.py",
)  # fmt: skip
ALLOWED, ALIAS, TAG, IDENTITY = (
    "tests/decide/test_authorise.py", "tests/test_alias.py", "tests/mail/test_tag.py", "tests/decide/test_identity_rows.py",
)  # fmt: skip

MUTANTS = (
    # ---- who hears
    Mutant("gateway/notify/recipients.py", "            follower.outsider and (subtype.internal or message.internal),", "            False,", "law 5 where recipients are chosen", (CHOSEN,)),
    Mutant("gateway/notify/recipients.py", "(follower.outsider and bool(said.inside), said.inside)", "(False, said.inside)", "a discussion that quotes a note stays inside", (STAY,)),
    Mutant("gateway/notify/recipients.py", "        (wrote, ", "        (False, ", "nobody hears their own message", (CHOSEN,)),
    Mutant("gateway/notify/recipients.py", "        if follower.who in seen:", "        if False:", "nobody hears twice", (CHOSEN,)),
    Mutant("gateway/notify/recipients.py", "(said.automatic, f", "(False, f", "automatic mail is passed on to nobody", (CHOSEN,)),
    Mutant("gateway/notify/recipients.py", "            any(each in message.addressed for each in follower.emails),", "            False,", "who stands in To or Cc gets no second copy", (CHOSEN,)),
    # ---- what a mail becomes
    Mutant("gateway/decide/thread.py", "    is_note = incoming.note or (inside", "    is_note = (inside", "the answer to a note is a note", (STAY,)),
    Mutant("gateway/decide/thread.py", "    checked = said if is_note and isinstance(checked, Text) else checked", "    checked = said", "a text that quotes a note is asked about", (STAY,)),
    Mutant("gateway/decide/thread.py", '    text = desk.addresses.untagged("\\n".join([*command.note_words(given), text]).strip("\\n"))', '    text = "\\n".join([*command.note_words(given), text]).strip("\\n")', "no reader's tag stands in a text", (RECEIVE,)),
    Mutant("gateway/decide/thread.py", "    adds = not (is_note or incoming.automatic or quiet)", "    adds = not (incoming.automatic or quiet)", "a note's Cc makes nobody a follower", (STAY,)),
    Mutant("gateway/decide/thread.py", "incoming.identity.person is None and asks_note(split_commands(reply.text)[0]):", "False:", "an outsider's /note is no discussion", (STAY,)),
    Mutant("gateway/decide/place.py", "        parent = None  # an outsider", "        pass  # an outsider", "an outsider cannot answer what no outsider was shown", (STAY,)),
    Mutant("gateway/decide/place.py", '    return "own" if identity.email in owned else "other"', '    return "own"', "a tag in another's hands grants nothing", (ROWS,)),
    Mutant("gateway/decide/place.py", "else desk.addresses.untagged(incoming.mail.text)[", "else incoming.mail.text[", "a notice shows no reader's tag", (STAY,)),
    Mutant("gateway/decide/serve.py", "    return asked or shown or messages.any_note(tx, (*mail.in_reply_to, *mail.references))", "    return asked or shown", "an answer to a note is a note in every thread", (STAY,)),
    Mutant("gateway/decide/serve.py", "    return asked or shown or ", "    return asked or ", "a note handed over once for each recipient is one everywhere", (STAY,)),
    Mutant("gateway/decide/serve.py", "    return bool(ours) or (mail.author is not None and desk.addresses.owns(mail.author.address))", "    return bool(ours)", "our own mail that comes back is dropped", (LOOPS,)),
    Mutant("gateway/decide/serve.py", '    if incoming.arrival.door != FOLDER and len(incoming.mail.header.all("received")) > HOPS_MAX:', "    if False:", "mail that goes round in circles is held", (LOOPS,)),
    Mutant("gateway/decide/quoted.py", "        return _inside(said, reason)\n", "        return said\n", "a quote posted where nobody outside hears never leaves later", (STAY,)),
    Mutant("gateway/decide/quoted.py", "bool(where.record.customer.emails) or any(follower.outsider", "any(follower.outsider", "a customer may come to hear", (STAY,)),
    Mutant("gateway/decide/quoted.py", "    texts = [*names, *(text for each in said.attachments for text in texts_in(each, mails))]", "    texts = names", "a note in an attachment is seen", (STAY,)),
    Mutant("gateway/decide/quoted.py", "    if incoming.recipient.released and incoming.recipient.cause == QUOTES_NOTE:", "    if incoming.recipient.released:", "who released for another cause did not decide about a note", (STAY,)),
    Mutant("gateway/decide/machine.py", "return replace(incoming, automatic=REPEATS) if", "return incoming if", "a machine without fields is recognised", (LOOPS,)),
    Mutant("gateway/decide/machine.py", "    if AMBIGUOUS in incoming.mail.defects and incoming.arrival.door != FOLDER:", "    if False:", "what can be read in two ways commands nothing", ("tests/decide/test_command_rows.py", "tests/decide/test_reply_rows.py", ROWS)),
    # ---- authority
    Mutant("gateway/decide/authorise.py", '    if q.role != "person":\n        return hold("not a person"', '    if False:\n        return hold("not a person"', "notes and commands are for people", (ALLOWED,)),
    Mutant("gateway/decide/authorise.py", '    return ACCEPT if sure else hold("not authenticated"', '    return ACCEPT if True else hold("not authenticated"', "a note needs proof of its author", (ALLOWED,)),
    Mutant("gateway/decide/authorise.py", "    if q.role not in _INSIDE:", "    if False:", "strangers are held", (ALLOWED,)),
    Mutant("gateway/decide/authorise.py", '    if sure or (q.tag == "own" and', '    if sure or (q.tag != "none" and', "only one's own tag stands in for proof", (ALLOWED,)),
    Mutant("gateway/decide/authorise.py", '    if authenticated or (senders == "everyone" and role != "person"):', "    if True:", "an intake asks for proof", (ALLOWED,)),
    Mutant("gateway/decide/authorise.py", '    if role != "person":', "    if False:", "a team's thread is for people", (ALLOWED,)),
    Mutant("gateway/decide/authenticate.py", "[each for each in passed if each.domain == domain or is_above(each.domain)]", "passed", "what is proved must speak for the From", ("tests/decide/test_proof.py", IDENTITY)),
    Mutant("gateway/decide/authenticate.py", "    if author is not None and author.key == arrival.auth_who:", "    if author is not None:", "a login proves its own person only", ("tests/decide/test_proof.py", IDENTITY)),
    Mutant("gateway/decide/authenticate.py", "if leaves_out(mail.header, domains, name))", "if False)", "a field that no signature covers names no record", ("tests/decide/test_proof.py",)),
    Mutant("gateway/decide/held.py", "    if person is None or not identity.authenticated:", "    if person is None:", "who decides about held mail has proved who they are", (HELD,)),
    Mutant("gateway/decide/held.py", "    if not may_decide(tx, person, found):", "    if False:", "who decides about held mail has the right", (HELD,)),
    Mutant("gateway/decide/quoted.py", "return found or messages.any_note(tx, mails)", "return found", "the mail of a short note is seen", (STAY,)),
    Mutant("gateway/decide/intake.py", "    if incoming.note or person is None:\n        return incoming.note", "    if person is None:\n        return False", "an answer to a note creates nothing", (STAY,)),
    Mutant("gateway/store/outside.py", "if found[each.id] or each.author.outsider or", "if True or", "what those inside alone discussed stays a secret of a note", (FIFTH,)),
    Mutant("gateway/decide/compare.py", "            if not among and not self._public.has(note, run):", "            if False:", "what is secret of a note is asked about though a signature is none", (FIFTH,)),
    Mutant("gateway/decide/thread.py", "and not released and sealed:", "and False:", "what cannot be read goes to nobody outside before somebody looked", (FIFTH,)),
    Mutant("gateway/decide/thread.py", "        (where.action == NOTE.name and not is_note, AT_NOTES),\n", "", "what came to the address of notes stays inside", (FIFTH,)),
    Mutant("gateway/store/prints.py", "<= _SHARED_MAX", "<= 1", "each of the notes that share a piece is looked at", (SIXTH,)),
    Mutant("gateway/store/outside.py", "sa.and_(delivery.c.outsider, delivery.c.state.not_in(_NOT_GOT))", "sa.and_(delivery.c.outsider)", "what bounced was read by nobody", (SIXTH,)),
    Mutant("gateway/decide/public.py", "return min(len(firms), len(mails)) > 1", "return len(mails) > 1", "what one customer was told twice is a secret to another", (SIXTH,)),
    Mutant("gateway/decide/offer.py", "    said = kept_inside(tx, desk, incoming, where, said)\n", "", "what goes along with a yes quotes no note outside", (SIXTH,)),
    Mutant("gateway/decide/announce.py", "    problems += _quoting(tx, desk, checked, public=public)\n", "", "the record system tells nobody a note", (SIXTH,)),
    Mutant("gateway/decide/held.py", ", proved=found.proved)", ")", "a block of what a forger wrote silences no customer", (SIXTH,)),
    Mutant("gateway/decide/intake.py", "asks_note(given) or bool(quoting", "bool(quoting", "what is written as a note creates nothing", (STAY,)),
    Mutant("gateway/decide/intake.py", "    if identity.authenticated:\n        subject =", "    if True:\n        subject =", "nobody unproved is answered with a refusal", (BACK,)),
    Mutant("gateway/decide/transcript.py", "    if identity.person is not None and identity.authenticated and not incoming.automatic:\n        told = ", "    if identity.person is not None:\n        told = ", "nobody unproved, and no machine, gets a transcript", (BACK,)),
    Mutant("gateway/decide/command.py", "may_mean_note(text):", "False:", "what looks like /note is asked about", (RECEIVE,)),
    Mutant("gateway/decide/bounce.py", "details=Details(automatic=incoming.automatic, defects=mail.defects)", "details=Details(defects=mail.defects)", "an out-of-office goes to nobody", (LOOPS, BACK)),
    Mutant("gateway/decide/post.py", "    if subtype is NOTE:\n", "    if False:\n", "what a note says is remembered", (STAY,)),
    Mutant("gateway/mail/prints.py", "QUOTED_MIN = 40 ", "QUOTED_MIN = 4000 ", "forty characters are a quote", (STAY,)),
    # ---- addresses and tags
    Mutant("gateway/alias.py", "        return _TAGGED_TEXT.sub(bare, text)", "        return text", "tags are taken out of texts", (RECEIVE,)),
    Mutant("gateway/alias.py", "_BASE64.sub(inside, text) if depth < _DEPTH_MAX else text", "text", "tags are taken out of base64", (STAY,)),
    Mutant("gateway/alias.py", "number if number is not None and str(number) == shown else None", "number", "an address has one form only", (ALIAS,)),
    Mutant("gateway/mail/tag.py", "    return number if same and secret else None", "    return number if secret else None", "only our keys make tags", (TAG,)),
    Mutant("gateway/mail/tag.py", '    signed = subject.lower().encode() + b"\\x00" + number.to_bytes(5)', "    signed = number.to_bytes(5)", "a tag is of one record", (TAG,)),
    # ---- what is worded, queued and sent
    Mutant("gateway/notify/context.py", '    return inside or change.name in ("amount", "valid_until")', "    return True", "outsiders are shown no inner field", ("tests/notify/test_render.py",)),
    Mutant("gateway/notify/fanout.py", "number if whose.reader else None", "number", "a body with a tag is one reader's", (STAY,)),
    Mutant("gateway/notify/compose.py", "    if rest or read.defects or len(set(names)) != len(names) or not _MEANT.issuperset(names):", "    if False:", "a header is what was meant", (BACK,)),
    Mutant("gateway/notify/fanout.py", '        reason = "" if heard.outsider else str(heard.reason)', "        reason = str(heard.reason)", "outsiders are told no rule", (STAY,)),
    Mutant("gateway/notify/fanout.py", "            octets = addresses.untagged_file(content.load(tx, each.digest))", "            octets = content.load(tx, each.digest)", "an attachment carries no tag", (STAY,)),
    Mutant("migrations/versions/0001_pre_create_walk.py", '        sa.CheckConstraint("NOT (internal AND outsider)", name=op.f("ck_delivery_note_stays_inside")),\n', "", "law 5 where a delivery is queued", ("tests/store/test_schema.py",)),
    Mutant("gateway/send/deliver.py", "(delivery.internal or not delivery.outsider) and self._people()", "False and self._people()", "law 5 where a delivery is handed over", ("tests/send/test_deliver.py",)),
)  # fmt: skip


def misplaced(root: Path = ROOT) -> list[str]:
    """Return the mutants whose text does not stand exactly once in its file."""
    found = []
    for mutant in MUTANTS:
        count = (root / mutant.file).read_text("utf-8").count(mutant.old)
        if count != 1:
            found.append(f"{mutant.file}: {mutant.guards}: its text stands there {count} times")
    return found


def copy(folder: Path) -> Path:
    """Copy what tests need of the tree; return where."""
    tree = folder / "tree"
    tree.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    return tree


def unwell(tree: Path, picked: Sequence[Mutant], operations: int = OPERATIONS) -> str:
    """Return what fails though nothing was changed, or ""."""
    tests = list(dict.fromkeys(each for mutant in picked for each in mutant.tests if (tree / each).exists()))
    if tests and not _holds(tree, (*PYTEST, *tests)):
        return "one of the tests"
    return "" if _holds(tree, (*CAMPAIGN, "--ops", str(operations), "--seed", "7")) else "the campaign"


def caught_by(tree: Path, mutant: Mutant, operations: int = OPERATIONS) -> str:
    """Apply a mutant in a copy, run what should notice, undo it; return what noticed, or ""."""
    file = tree / mutant.file
    text = file.read_text("utf-8")
    assert text.count(mutant.old) == 1, mutant
    file.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    try:
        there = [each for each in mutant.tests if (tree / each).exists()]
        if there and not _holds(tree, (*PYTEST, *there)):
            return "tests"
        return "" if _holds(tree, (*CAMPAIGN, "--ops", str(operations), "--seed", "7")) else "campaign"
    finally:
        file.write_text(text, "utf-8")


def _holds(tree: Path, command: Sequence[str]) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=tree, env=environment, capture_output=True, check=False, timeout=DEADLINE_S
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/mutants", description=__doc__)
    parser.add_argument("--ops", type=int, default=OPERATIONS, help="operations of the campaign")
    parser.add_argument("words", nargs="*", help="only mutants whose file or guard holds one of these")
    chosen = parser.parse_args()
    wrong = misplaced()
    if wrong:
        parser.exit(2, "\n".join(wrong) + "\n")
    picked = [m for m in MUTANTS if not chosen.words or any(w in m.file or w in m.guards for w in chosen.words)]
    folder = Path(tempfile.mkdtemp(prefix="replygate-mutants-"))
    began = time.monotonic()
    survived = []
    try:
        tree = copy(folder)
        if wrong := unwell(tree, picked, chosen.ops):
            parser.exit(2, f"without any mutant, {wrong} fails already\n")
        for number, mutant in enumerate(picked, 1):
            by = caught_by(tree, mutant, chosen.ops)
            survived += [] if by else [mutant]
            verdict = f"caught by the {by}" if by else "SURVIVED"
            sys.stdout.write(f"{number:3}/{len(picked)} {verdict:22} {mutant.file}: {mutant.guards}\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)
    caught = len(picked) - len(survived)
    sys.stdout.write(f"{caught} of {len(picked)} caught, {time.monotonic() - began:.0f} s\n")
    sys.exit(0 if caught >= LEAST * len(picked) else 1)


if __name__ == "__main__":
    main()
