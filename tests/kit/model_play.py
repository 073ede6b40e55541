"""Play thousands of random sequences to a house and to the model, and print every difference in its smallest form."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.kit.model_given import Mail
from tests.kit.model_run import Stage
from tests.kit.model_words import SLOTS, Play, Words

STEPS_MAX = 10
ALONE = 0.03  # of the sequences are played alone, so that a choice for every team reaches nobody else
SHRUNK_MAX = 25  # differences are made small, the others only told


@dataclass
class Result:
    """What playing came to."""

    sequences: int = 0
    mails: int = 0
    events: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    cpu: float = 0.0

    def show(self) -> str:
        became = ", ".join(f"{count} {name}" for name, count in sorted(self.seen.items()))
        figures = (
            f"{self.sequences} sequences, {self.mails} mails, {self.events} events ({became}), {self.cpu:.0f} s of CPU"
        )
        return "\n\n".join([*self.differences, f"{figures}: {len(self.differences)} differ"])


def batches(count: int, seed: int) -> Iterator[list[Play]]:
    """Give `count` sequences, in lists that are played side by side; each list by a seed of its own."""
    made, number = 0, 0
    while made < count:
        number += 1
        rng = random.Random(f"{seed} {number}")
        alone = rng.random() < ALONE * SLOTS / 2
        fans = [rng.random() < 0.75 for _ in range(STEPS_MAX)]
        size = min(1 if alone else SLOTS, count - made)
        first = number * SLOTS * STEPS_MAX
        yield [Words(rng, slot, first + slot * STEPS_MAX, alone=alone).sequence(fans) for slot in range(size)]
        made += size


def run(folder: Path, count: int, seed: int) -> Result:
    """Play `count` sequences; return figures, and the differences in words."""
    began = time.process_time()
    result = Result()
    stage = Stage(folder / "site")
    wrong: list[tuple[Play, list[str]]] = []
    try:
        for batch in batches(count, seed):
            played = stage.play(batch)
            wrong += [(each.sequence, each.wrong) for each in played if each.wrong]
            result.sequences += len(batch)
        result.mails, result.events, result.seen = stage.mails, stage.events, dict(stage.seen)
    finally:
        stage.close()
    for number, (sequence, told) in enumerate(wrong):
        small = shrunk(folder / f"small{number}", sequence) if number < SHRUNK_MAX else None
        said = f"seed {seed}, smallest of a sequence that differs" if small else f"seed {seed}"
        result.differences.append(
            "\n".join([said, *described((small or (sequence,))[0]), *(small[1] if small else told)])
        )
    result.cpu = time.process_time() - began
    return result


def shrunk(folder: Path, sequence: Play) -> tuple[Play, list[str]] | None:
    """Return the sequence with as few steps and commands as still differ; None if it does not when played alone."""
    stage = Stage(folder)
    numbers = iter(range(10**9, 2 * 10**9, 1000))

    def played(steps: Sequence[object]) -> list[str]:
        first = next(numbers)  # a mail that was played is known: each trial has mails of its own
        fresh = [
            replace(s, what=replace(s.what, number=first + s.what.number % 1000)) if not isinstance(s.what, str) else s
            for s in steps
        ]  # type: ignore[attr-defined, type-var]
        (made,) = stage.play([replace(sequence, steps=tuple(fresh))]) if fresh else [None]
        return made.wrong if made else []

    steps = list(sequence.steps)
    try:
        if not (told := played(steps)):
            return None
        smaller = True
        while smaller:
            smaller = False
            for less in _less(steps):
                if found := played(less):
                    steps, told, smaller = less, found, True
                    break
    finally:
        stage.close()
    return replace(sequence, steps=tuple(steps)), told


def _less(steps: list) -> Iterator[list]:
    """Give every list of steps that is one step or one command smaller."""
    for n, step in enumerate(steps):
        yield [*steps[:n], *steps[n + 1 :]]
        mail = step.what
        if isinstance(mail, Mail) and len(mail.lines) > 1:
            for i in range(len(mail.lines)):
                commands = (*mail.commands[:i], *mail.commands[i + 1 :])
                less = replace(mail, commands=commands, lines=(*mail.lines[:i], *mail.lines[i + 1 :]))
                yield [*steps[:n], replace(step, what=less), *steps[n + 1 :]]


def described(sequence: Play) -> list[str]:
    """Return a sequence in lines."""
    begin = f"{sequence.kind} of {sequence.salesperson}, made by {sequence.actor or 'the record system'}, team {sequence.team}"
    lines = [f"{begin}, customer {', '.join(sequence.customer) or 'unknown'}, {sequence.fields}"]
    for number, step in enumerate(sequence.steps, 1):
        what = step.what
        if isinstance(what, Mail):
            to = f" to {what.to}" if what.to else ""
            more = f" tag={what.tag}" * bool(what.tag) + f" cc={what.cc}" * bool(what.cc) + " bcc" * what.hidden
            more += "" if what.answers is None else f" answers={what.answers}"
            said = f"mail {what.number} of {what.author}{' (not proved)' * (not what.sure)}{to}{more}: {' | '.join(what.lines)} {what.text}"
        else:
            said = str(what)
        lines.append(f"  {number}. {said}{'' if step.fan else '   (nobody is told yet)'}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/model", description=__doc__)
    parser.add_argument("--sequences", type=int, default=1_500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), given.sequences, given.seed)
    sys.stdout.write(result.show() + "\n")
    sys.exit(1 if result.differences else 0)


if __name__ == "__main__":
    main()
