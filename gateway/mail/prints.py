"""Find a text inside another, however it was quoted, wrapped or spaced: prints of its pieces.

A text is reduced to its letters and digits. Every piece of so many characters at a regular
distance leaves a print; whoever quotes enough of it quotes at least one piece whole. A print that is
found again is only a hint: `passages` then compares the texts themselves.

*Standards:* none; the idea is that of Manber's and of winnowing (Schleimer, Wilkerson, Aiken 2003).
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence

QUOTED_MIN = 40  # characters of the original, blanks and punctuation among them
PIECE = 12  # letters and digits of a piece
_TEXT_MAX = 200_000  # characters that are looked at
_LOOKED_MAX = 20_000  # places at which two texts are compared
_BY_CHANCE = 5  # letters


def prints(text: str) -> set[int]:
    """Return the prints of a text, few of them: to be kept."""
    letters, _ = _reduced(text)
    last = len(letters) - PIECE
    return {_print(letters[at : at + PIECE]) for at in range(0, last + 1, PIECE)}


def every_print(text: str) -> Iterator[int]:
    """Give the prints of a text at every place: to be looked for among those kept."""
    letters, _ = _reduced(text)
    for at in range(len(letters) - PIECE + 1):
        yield _print(letters[at : at + PIECE])


def passages(text: str, original: str, least: int = QUOTED_MIN) -> Iterator[str]:
    """Give what `text` holds of `original`, in runs of `least` characters or more, as letters."""
    inside, _ = _reduced(text)
    letters, places = _reduced(original)
    looked = 0
    seen: dict[int, int] = {}  # how far runs go that were given, by how far apart the two places are
    for at in range(0, len(letters) - PIECE + 1, PIECE):
        found = inside.find(letters[at : at + PIECE])
        while found >= 0:
            if seen.get(found - at, 0) <= at:
                start, end = _run(letters, inside, at, found)
                seen[found - at] = end
                looked += 1
                if looked > _LOOKED_MAX:
                    yield letters  # what repeats itself so often is not worth an hour of looking
                    return
                if places[end - 1] - places[start] + 1 >= least:
                    yield letters[start:end]
            found = inside.find(letters[at : at + PIECE], found + 1)


def letters_of(text: str) -> str:
    """Return what passages are looked for in: the letters and digits of a text."""
    return _reduced(text)[0]


def holds(letters: str, passage: str) -> bool:
    """Whether a passage stands whole in a text, given as its letters; a few at its ends agree by chance."""
    sure = passage[_BY_CHANCE:-_BY_CHANCE]
    return (sure if len(sure) >= PIECE else passage) in letters


def _run(one: str, other: str, at: int, there: int) -> tuple[int, int]:
    """Return where in `one` the longest run begins and ends that stands in both around a common place."""
    start, left = at, there
    while start > 0 and left > 0 and one[start - 1] == other[left - 1]:
        start, left = start - 1, left - 1
    end, right = at, there
    while end < len(one) and right < len(other) and one[end] == other[right]:
        end, right = end + 1, right + 1
    return start, end


def _reduced(text: str) -> tuple[str, Sequence[int]]:
    """Return the letters and digits of a text, folded, and where each stood."""
    text = text[:_TEXT_MAX]
    if text.isascii():
        places = [place for place, char in enumerate(text) if char.isalnum()]
        return "".join([text[place] for place in places]).lower(), places
    letters: list[str] = []
    places = []
    for place, char in enumerate(text):
        folded = char.lower() if char.isascii() else unicodedata.normalize("NFKC", char).casefold()
        for each in folded:
            if each.isalnum():
                letters.append(each)
                places.append(place)
    return "".join(letters), places


def _print(piece: str) -> int:
    return int.from_bytes(hashlib.blake2b(piece.encode("utf-8", "replace"), digest_size=8).digest(), signed=True)
