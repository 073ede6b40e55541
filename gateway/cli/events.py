"""announce: events of a record system, from a file or stdin."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.cli.app import NO, REFUSED, Open, fail, opened, say
from gateway.decide.announce import Problem, Refused, parse_event, take
from gateway.decide.post import Desk
from gateway.worker import now_ms

_OCTETS_MAX = 64 * 1024 * 1024


def announce_events(file: Path | None = None, /) -> None:
    """Take one or more events, from FILE or stdin, and print one JSON line for each."""
    text = _read_events(file)
    folder = file.parent if file else Path()
    refused = False
    with opened() as site:
        for given in _events(text):
            answer = _announce_one(site, given, folder)
            refused |= "error" in answer
            sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
            sys.stdout.flush()
    if refused:
        sys.exit(REFUSED)


def _read_events(file: Path | None) -> str:
    try:
        octets = file.read_bytes() if file else sys.stdin.buffer.read(_OCTETS_MAX + 1)
        if len(octets) > _OCTETS_MAX:
            fail("more than 64 MiB of events; announce them in parts", REFUSED)
        return octets.decode("utf-8-sig")
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}", NO)
    except UnicodeDecodeError:
        fail("the events are not UTF-8", REFUSED)


def _events(text: str) -> Iterator[object]:
    """Give one event a line, or the one document (an object, or a list of them) that the text is."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield Refused((Problem(f"line {number}", line.strip()[:200], f"is no JSON: {error}"),))
        return
    yield from whole if isinstance(whole, list) else [whole]


def _announce_one(site: Open, given: object, folder: Path) -> dict[str, Any]:
    event = given if isinstance(given, Refused) else parse_event(given)
    answer = (
        event
        if isinstance(event, Refused)
        else take(site.store, Desk(site.site, site.addresses), event, folder, now_ms())
    )
    if not isinstance(answer, Refused):
        return answer
    for problem in answer.problems:
        say(f"{problem.field}: {problem.value!r}: {problem.problem}")
    return {"error": [{"field": p.field, "value": p.value, "problem": p.problem} for p in answer.problems]}
