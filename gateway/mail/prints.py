"""Find a text inside another, however it was quoted, wrapped or spaced: prints of its pieces.

A text is reduced to its letters and digits. Every piece of so many characters at a regular
distance leaves a print; whoever quotes enough of it quotes at least one piece whole. A print that is
found again is only a hint: `passages` then compares the texts themselves.

*Standards:* none; the idea is that of Manber's and of winnowing (Schleimer, Wilkerson, Aiken 2003).
"""

import hashlib
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

QUOTED_MIN = 40  # characters of the original, blanks and punctuation among them
PIECE = 12  # letters and digits of a piece
_KEPT_MAX = 200_000  # characters of which prints are kept
_BY_CHANCE = 3  # letters
_STEP = 50  # letters that are searched while one is compared


class TooMuch(Exception):
    """More would have to be compared than one mail is worth."""


@dataclass
class Effort:
    """How many letters are compared for one mail, at most."""

    left: int

    def spend(self, letters: int) -> None:
        """Take so many of what is left. Raises TooMuch."""
        self.left -= letters
        if self.left < 0:
            raise TooMuch


@dataclass(frozen=True, slots=True)
class Letters:
    """The letters and digits of a text, folded, and where each stood."""

    letters: str
    places: Sequence[int]


def read(text: str) -> Letters:
    """Return the letters of a text: what is compared, however it was quoted, wrapped or spaced."""
    if text.isascii():
        places = [place for place, char in enumerate(text) if char.isalnum()]
        return Letters("".join([text[place] for place in places]).lower(), places)
    letters: list[str] = []
    places = []
    for place, char in enumerate(unicodedata.normalize("NFC", text)):
        folded = char.lower() if char.isascii() else unicodedata.normalize("NFKC", char).casefold()
        for each in folded:
            if each.isalnum():
                letters.append(each)
                places.append(place)
    return Letters("".join(letters), places)


def prints(text: str) -> set[int]:
    """Return the prints of a text, few of them: to be kept."""
    letters = read(text[:_KEPT_MAX]).letters
    last = len(letters) - PIECE
    return {_print(letters[at : at + PIECE]) for at in (*range(0, last + 1, PIECE), *([last] if last > 0 else []))}


def every_print(letters: str) -> Iterator[int]:
    """Give the prints of a text, as its letters, at every place: to be looked for among those kept."""
    for at in range(len(letters) - PIECE + 1):
        yield _print(letters[at : at + PIECE])


def passages(inside: str, original: Letters, effort: Effort, *, ending: int = 0) -> Iterator[str]:
    """Give what a text, as its letters, holds of `original`, in runs of 40 characters or more, as letters.

    The last letters of the original are left out, so many as `ending`. Raises TooMuch.
    """
    letters, places = original.letters[: len(original.letters) - ending], original.places
    seen: dict[int, int] = {}  # how far runs go that were given, by how far apart the two places are
    for at in range(0, len(letters) - PIECE + 1, PIECE):
        effort.spend(1 + len(inside) // (PIECE * _STEP))
        found = inside.find(letters[at : at + PIECE])
        while found >= 0:
            effort.spend(1)
            if seen.get(found - at, 0) <= at:
                start, end = _run(letters, inside, at, found)
                effort.spend(end - start)
                seen[found - at] = end
                if places[end - 1] - places[start] + 1 >= QUOTED_MIN:
                    yield letters[start:end]
            found = inside.find(letters[at : at + PIECE], found + 1)


def common_ending(one: str, other: str) -> int:
    """Return how many letters two texts, as their letters, end with alike."""
    if not other.endswith(one[-PIECE:]):
        return 0
    return bisect_left(range(1, len(one) + 1), 1, key=lambda n: not other.endswith(one[-n:]))


def holds(letters: str, passage: str, effort: Effort) -> bool:
    """Whether a passage stands whole in a text, given as its letters; a few at its ends agree by chance, no number."""
    effort.spend(1 + len(letters) // _STEP)
    start = _by_chance(passage)
    return passage[start : len(passage) - _by_chance(passage[::-1])] in letters


def _by_chance(passage: str) -> int:
    """Return how many letters at the beginning of a run may agree by chance: some of an alphabet, or one sign."""
    if len(passage) < 2 * PIECE:
        return 0
    first = passage[:_BY_CHANCE]
    letters = next((at for at, char in enumerate(first) if not (char.isascii() and char.isalpha())), _BY_CHANCE)
    return letters or int(not first[0].isnumeric())


def _run(one: str, other: str, at: int, there: int) -> tuple[int, int]:
    """Return where in `one` the longest run begins and ends that stands in both around a common place."""
    start, left = at, there
    while start > 0 and left > 0 and one[start - 1] == other[left - 1]:
        start, left = start - 1, left - 1
    end, right = at, there
    while end < len(one) and right < len(other) and one[end] == other[right]:
        end, right = end + 1, right + 1
    return start, end


def _print(piece: str) -> int:
    return int.from_bytes(hashlib.blake2b(piece.encode("utf-8", "replace"), digest_size=8).digest(), signed=True)
