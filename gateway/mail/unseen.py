"""What of an HTML mail its reader does not see: nobody said it, and nothing in it is a command.

Styles are looked at as they stand on elements and in the mail's own style sheets. What some screens hide
others show: only rules for every screen count.

*Standards:* CSS 2.2 (§6 properties, §11.2 visibility), CSS Color 4 (§5 and §7: hexadecimal, rgb and hsl).
"""

import re
from collections.abc import Iterator

from lxml.html import HtmlElement

_STYLE_MAX = 2_000  # characters of a style that are looked at
_SHEET_MAX = 200_000
_FAINT = 240  # of 255: a colour whose every part is as light as this is white to a reader
_LIGHT = 95  # per cent, of hsl
_UNSHOWN = ("script", "style", "title", "head", "template", "noscript", "object", "svg", "math")
_ALPHA_0 = (
    r"#[0-9a-f]{3}0$|#[0-9a-f]{6}00$|transparent"
    r"|(?:rgb|hsl)a?\((?:[^),]{1,20},){3}\s*0*(?:\.0*)?%?\s*\)|(?:rgb|hsl)a?\([^)/]{1,60}/\s*0*(?:\.0*)?%?\s*\)"
)
_TINY = r"(?:[0-2]?(?:\.\d{1,9})?(?:px|pt)|0*(?:\.[01]\d{0,9})?r?em|\d(?:\.\d{1,9})?%|0+(?:\.0*)?)"
_NOTHING = r"0*(?:\.0*)?(?:px|pt|r?em|%)?$"
_AWAY = r"-(?:\d{3,}|\d{2}(?:\.\d*)?(?:r?em|%|v[wh]))"
_HIDING = {
    "display": "none",
    "visibility": "hidden|collapse",
    "content-visibility": "hidden",
    "mso-hide": "all",
    "opacity": r"0?\.0\d*$|0+$|\d%$",
    "filter": r"opacity\(\s*(?:0?\.0\d*|0+|\d%)\s*\)",
    "zoom": r"0?\.[01]\d*$|0+$|\d%$",
    "font-size": rf"{_TINY}(?![\d.])",
    "font": rf"(?:[a-z0-9-]+\s+){{0,5}}{_TINY}(?:\s*/\s*\S+)?\s+\D",
    "clip": r"rect\(\s*[01](?:px)?\b",
    "clip-path": r"inset\(\s*(?:50|100)%|circle\(\s*0",
    "transform": r"(?:scale|scale[xy])\(\s*0\s*[,)]|translate[xy]?\(\s*-?\d{3,}",
    "text-indent": rf"{_AWAY}|\d{{4,}}|\d{{3,}}%",
    "color": _ALPHA_0,
    "-webkit-text-fill-color": _ALPHA_0,
    **dict.fromkeys(("height", "max-height", "line-height", "width", "max-width"), _NOTHING),
    "left": rf"{_AWAY}|\d{{4,}}",
    **dict.fromkeys(("right", "top", "bottom", "margin-left", "margin-top"), _AWAY),
}
_HIDES = {name: re.compile(pattern) for name, pattern in _HIDING.items()}
_TEXT_COLOURS = ("-webkit-text-fill-color", "color")
_GROUNDS = ("background", "background-color", "background-image")
_NO_GROUND = re.compile(r"(?:none|transparent|inherit|initial|unset)\b")
_HEXADECIMAL = re.compile(r"#([0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})\b")
_FUNCTION = re.compile(r"(rgb|hsl)a?\(\s*([\d.]+)(%?)[a-z]*[\s,]+([\d.]+)(%?)[\s,]+([\d.]+)(%?)")
_WHITES = frozenset(
    {"white", "snow", "ivory", "ghostwhite", "floralwhite", "whitesmoke", "azure", "mintcream", "honeydew", "aliceblue",
     "seashell"}
)  # fmt: skip
_QUERY = re.compile(r"@[^{};]*(?:;|\{(?:[^{}]|\{[^{}]*\})*\}?)|/\*.*?\*/", re.DOTALL)
_EVERY_SCREEN = re.compile(r"@media\s+(?:only\s+)?(?:screen|all)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", re.IGNORECASE)
_RULE = re.compile(r"(?P<names>[^{}]{1,4000})\{(?P<said>[^{}]*)\}")
_PAGE = re.compile(r"<body\b([^<>]{0,2000})", re.IGNORECASE)
_PAGE_GROUND = re.compile(
    r"""(?:bgcolor\s*=|background(?:-color|-image)?\s*[:=])\s*["']?\s*([^;"'>]+)""", re.IGNORECASE
)


def unseen(tree: HtmlElement, html: str) -> list[HtmlElement]:
    """Return the elements of a tree that a reader of `html` does not see: hidden, tiny, far away, like their ground."""
    sheet = _Sheet(tree)
    page = next(
        (found for body in _PAGE.findall(html) for found in _PAGE_GROUND.findall(body) if _is_ground(found)), ""
    )
    grounds: dict[HtmlElement, str] = {}
    found: list[HtmlElement] = []
    for each in tree.iter():  # what holds an element comes before it
        if not isinstance(each.tag, str):  # a comment
            continue
        names = _names(each)
        said = dict(_declarations(each.get("style", "")))
        attributes = [each.get("bgcolor", ""), each.get("background", "")]
        own = [*_of(said, _GROUNDS), *filter(None, attributes), *sheet.of(sheet.grounds, names)]
        around = "" if any(map(_is_faint, own)) else grounds.get(each.getparent(), page)
        ground = next(filter(_is_ground, own), around)
        grounds[each] = ground
        if each.getparent() is None or each.tag in ("html", "body"):
            continue
        colours = [*_of(said, _TEXT_COLOURS), *filter(None, [each.get("color", "")]), *sheet.of(sheet.colours, names)]
        if _is_hidden(each, said, names, sheet) or any(_is_lost(colour, ground) for colour in colours[:1]):
            found.append(each)
    return found


class _Sheet:
    """What the style sheets of a mail hide, colour and give a ground: classes `.x`, ids `#x`, elements `x`."""

    def __init__(self, tree: HtmlElement) -> None:
        self.hidden: set[str] = set()
        self.colours: dict[str, str] = {}
        self.grounds: dict[str, str] = {}
        text = " ".join(each.text or "" for each in tree.iter("style"))[:_SHEET_MAX]
        for rule in _RULE.finditer(_QUERY.sub("", _EVERY_SCREEN.sub(r"\1 ", text))):
            said = dict(_declarations(rule["said"]))
            names = [name.strip().rpartition(" ")[2].lower() for name in rule["names"][-_STYLE_MAX:].split(",")]
            if _hides(said):
                self.hidden.update(names)
            for table, properties in ((self.colours, _TEXT_COLOURS), (self.grounds, _GROUNDS)):
                table.update((name, value) for value in _of(said, properties) for name in names)

    @staticmethod
    def of(table: dict[str, str], names: list[str]) -> list[str]:
        """Return what a table says of an element with these names."""
        return [table[name] for name in names if name in table]


def _of(said: dict[str, str], properties: tuple[str, ...]) -> list[str]:
    return [said[name] for name in properties if name in said]


def _is_lost(colour: str, ground: str) -> bool:
    """Whether nobody can read a colour on its ground; "" is a page that is white."""
    return colour.strip().lower() == ground.strip().lower() if ground else _is_faint(colour)


def _is_hidden(element: HtmlElement, said: dict[str, str], names: list[str], sheet: _Sheet) -> bool:
    return element.tag in _UNSHOWN or "hidden" in element.attrib or _hides(said) or not sheet.hidden.isdisjoint(names)


def _hides(said: dict[str, str]) -> bool:
    return any(name in said and pattern.match(said[name]) for name, pattern in _HIDES.items())


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    for declaration in style[:_STYLE_MAX].lower().split(";"):
        name, colon, value = declaration.partition(":")
        if colon:
            yield name.strip(), value.partition("!")[0].strip()


def _is_ground(value: str) -> bool:
    """Whether a background is one that white can be read on."""
    return not _NO_GROUND.match(value.strip().lower()) and not _is_faint(value)


def _is_faint(colour: str) -> bool:
    """Whether a colour is white, or next to it."""
    colour = colour[:100].strip().lower()
    if match := _HEXADECIMAL.match(colour):
        digits = match[1] if len(match[1]) > 4 else "".join(2 * each for each in match[1])
        return all(int(digits[at : at + 2], 16) >= _FAINT for at in (0, 2, 4))
    if match := _FUNCTION.match(colour):
        kind, *parts = match.groups()
        numbers = [_number(part) for part in parts[::2]]
        if kind == "hsl":
            return numbers[2] >= _LIGHT
        return all(
            number * (2.55 if per_cent else 1) >= _FAINT for number, per_cent in zip(numbers, parts[1::2], strict=True)
        )
    return colour.partition(" ")[0] in _WHITES


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _names(element: HtmlElement) -> list[str]:
    """Return by what a style sheet may name an element: `x`, `.class`, `#id`, `[attribute]`, and these behind `x`."""
    tag = element.tag.lower()
    others = [f".{each.lower()}" for each in element.get("class", "")[:_STYLE_MAX].split()]
    others += [f"#{element.get('id', '').lower()}"] if element.get("id") else []
    others += [f"[{str(each).lower()}]" for each in element.attrib][:20]
    return [tag, *others, *(tag + each for each in others)]
