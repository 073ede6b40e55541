"""What of an HTML mail its reader does not see: nobody said it, and nothing in it is a command.

Text is left out where most programs would not show it: it is not displayed, or far away, cut to nothing, too small,
or of the colour of its ground.

*Standards:* CSS 2.2 (§9 positions, §11 visibility), CSS Color 4 (by tinycss2), HTML Living Standard §15.3.
"""

import re
from dataclasses import dataclass

from lxml.html import HtmlElement
from tinycss2 import color4

from gateway.mail.sheet import Sheets, Style

_NEAR = 15 / 255  # how far a colour's parts may be from those of its ground, and it is the same to a reader
_FAINT = 0.1  # of 1: how opaque is not seen
_TINY_PX = 2.9  # sizes of letters
_CUT_PX = 2.0  # heights and widths
_FAR_PX = 100.0  # to the left, or above
_PULLED_PX = 500.0  # by a margin: what overlaps something is pulled, too
_OUT_PX = 1000.0  # to the right
_SIZE_PX = 16.0
_PERCENT_PX = 8.0  # of a page that is 800 wide
_UNITS = {
    "": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 3.78, "cm": 37.8, "q": 0.945, "in": 96.0, "ex": 8.0, "ch": 8.0,
    "vw": _PERCENT_PX, "vh": _PERCENT_PX, "rem": _SIZE_PX,
}  # fmt: skip
_LENGTH = re.compile(r"(-?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))(%|[a-z]{0,4})(?![\w.])")
_SIZES = {"xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": 16.0, "large": 18.0, "x-large": 24.0}
_UNSHOWN = frozenset(
    {"script", "style", "title", "head", "template", "noscript", "object", "svg", "math", "iframe", "canvas", "audio",
     "video", "datalist", "noframes"}
)  # fmt: skip
_GONE = {
    "mso-hide": re.compile("all"),  # Outlook shows it nobody, and most who write to us read with that
    "content-visibility": re.compile("hidden"),
    "opacity": re.compile(r"0?\.0\d*$|0+$|\d%$"),
    "filter": re.compile(r"opacity\(\s*(?:0?\.0\d*|0+|\d%)\s*\)"),
    "zoom": re.compile(r"0?\.[01]\d*$|0+$|\d%$"),
    "clip": re.compile(r"rect\(\s*[01](?:px)?\b"),
    "clip-path": re.compile(r"inset\(\s*(?:50|100)%|circle\(\s*0"),
    "transform": re.compile(r"(?:scale|scale[xy])\(\s*0\s*[,)]|translate[xy]?\(\s*-?\d{3,}"),
}
_PLACED = frozenset({"absolute", "fixed", "relative", "sticky"})
_CLIPS = ("overflow", "overflow-x", "overflow-y")
_CUTTING = ("hidden", "clip", "auto", "scroll")
_SIDES = ("left", "right", "top", "bottom")
_EXTENTS = {"height": "min-height", "max-height": "min-height", "width": "min-width", "max-width": "min-width"}
_INDENTS = ("text-indent", "margin-left", "padding-left")
WANTED = frozenset(
    {*_GONE, *_CLIPS, *_SIDES, *_EXTENTS, *_EXTENTS.values(), *_INDENTS, "display", "visibility", "position", "margin",
     "margin-top", "padding", "font", "font-size", "line-height", "color", "-webkit-text-fill-color", "text-shadow",
     "background", "background-color", "background-image"}
)  # fmt: skip
_PAGE = re.compile(r"<body\b[^<>]{0,2000}>", re.IGNORECASE)
_GROUNDS = frozenset({"background", "background-color", "background-image"})
_WORD = re.compile(r"[a-z-]{1,20}\([^()]{0,60}\)|[^\s/()]{1,60}")
_HEXADECIMAL = re.compile(r"[0-9a-f]{3}(?:[0-9a-f]{3})?")

Colour = tuple[float, float, float]
_WHITE: Colour = (1.0, 1.0, 1.0)
_BLACK: Colour = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an element takes from the one around it. `ground` is None for a picture, on which anything may be read."""

    size: float = _SIZE_PX
    colour: Colour | None = _BLACK  # None where it is transparent
    ground: Colour | None = _WHITE
    visible: bool = True
    shadow: bool = False

    @property
    def legible(self) -> bool:
        if not self.visible or self.size < _TINY_PX:
            return False
        if self.shadow or self.ground is None:
            return self.colour is not None or self.shadow
        return self.colour is not None and not _same(self.colour, self.ground)


def leave_out_unseen(tree: HtmlElement, page: HtmlElement | None) -> None:
    """Take out of a tree what its reader does not see; `page` is an element with the attributes of its body.

    Raises ValueError for style sheets that would take too long to apply.
    """
    sheets = Sheets(tree, WANTED)
    around: dict[HtmlElement | None, _Seen] = {None: _Seen()}
    if page is not None:
        around[None] = _within(page, sheets.of(page), around[None])
    gone: set[HtmlElement] = set()
    dropped: list[HtmlElement] = []
    for each in list(tree.iter()):  # what holds an element comes before it
        parent = each.getparent()
        if parent in gone:
            gone.add(each)
            continue
        seen = around[parent]
        if isinstance(each.tag, str):
            style = sheets.of(each)
            if parent is not None and _is_gone(each, style):
                gone.add(each)
                dropped.append(each)
            else:
                seen = around[each] = _within(each, style, seen)
                each.text = each.text if seen.legible else ""
        if parent is not None and not around[parent].legible:
            each.tail = ""
    for each in dropped:
        each.drop_tree()


def page_of(html: str) -> str:
    """Return the opening tag of the body that a page has, or ""."""
    found = _PAGE.search(html)
    return found[0] if found else ""


def _within(element: HtmlElement, style: Style, around: _Seen) -> _Seen:
    """Return how text is seen in an element."""
    said = style.get("-webkit-text-fill-color") or style.get("color") or element.get("color") or element.get("text", "")
    colour = _colour(said) if said else None
    known = around.colour if colour is None else None if colour[3] < _FAINT else colour[:3]
    shadow = style["text-shadow"] != "none" if "text-shadow" in style else around.shadow
    return _Seen(
        _size(style, around.size),
        known,
        _ground(element, style, around.ground),
        _visible(element, style, around),
        shadow,
    )


def _visible(element: HtmlElement, style: Style, around: _Seen) -> bool:
    if element.tag == "details" and "open" not in element.attrib:  # all but its summary is folded away
        return False
    said = style.get("visibility", "visible" if element.tag == "summary" else "inherit")
    return around.visible if said not in ("visible", "hidden", "collapse") else said == "visible"


def _size(style: Style, around: float) -> float:
    said = next((value for name, value in reversed(style.items()) if name in ("font", "font-size")), "")
    if "font" in style and said == style["font"]:  # the first length of it, before a slash
        said = next((each for each in said.partition("/")[0].split() if _LENGTH.fullmatch(each)), said)
    found = _LENGTH.match(said)
    if found is None:
        return _SIZES.get(said, around if said in ("", "inherit", "unset") else max(around, _SIZE_PX))
    relative = {"em": around, "%": around / 100}
    return float(found[1]) * relative.get(found[2], _UNITS.get(found[2], 1.0))


def _ground(element: HtmlElement, style: Style, around: Colour | None) -> Colour | None:
    """Return the ground of an element: what it has itself, or what shines through."""
    own = [value for name, value in style.items() if name in _GROUNDS]
    if element.get("background") or any("url(" in said or "gradient(" in said for said in own):
        return None
    for said in (*reversed(own), element.get("bgcolor", "")):
        for word in _WORD.findall(said)[:12]:
            colour = _colour(word)
            if colour is not None and colour[3] >= _FAINT:
                return colour[:3]
    return around


def _colour(said: str) -> tuple[float, float, float, float] | None:
    said = said.strip().lower()[:100]
    bare = f"#{said}" if _HEXADECIMAL.fullmatch(said) else said
    colour = color4.parse_color(bare)
    if colour is None or isinstance(colour, str):
        return None
    try:
        red, green, blue, alpha = colour.to("srgb")
    except NotImplementedError:
        return None
    return red or 0.0, green or 0.0, blue or 0.0, alpha


def _same(one: Colour, other: Colour) -> bool:
    return all(abs(a - b) <= _NEAR for a, b in zip(one, other, strict=True))


def _is_gone(element: HtmlElement, style: Style) -> bool:
    """Whether an element, with all in it, is not shown."""
    if element.tag in _UNSHOWN or (element.tag == "dialog" and "open" not in element.attrib):
        return True
    closed = element.getparent()
    if closed.tag == "details" and "open" not in closed.attrib and element.tag != "summary":
        return True
    hidden = "none" if "hidden" in element.attrib else ""
    if style.get("display", hidden) == "none" or any(n in style and p.match(style[n]) for n, p in _GONE.items()):
        return True
    return _is_away(style) or _is_cut(element, style)


def _is_away(style: Style) -> bool:
    """Whether an element stands where nobody looks."""
    if style.get("position") in _PLACED:
        for side in _SIDES:
            far = _px(style.get(side, ""))
            if far <= -_FAR_PX or (far >= _OUT_PX and side in ("left", "right")):
                return True
    margins = [_px(each) for each in style.get("margin", "").split()[:4]]
    lefts = [*margins[3:4], *([margins[1]] if 1 < len(margins) < 4 else []), *(margins if len(margins) == 1 else [])]
    tops = [_px(style["margin-top"])] if "margin-top" in style else margins[:1]
    left = _px(style["margin-left"]) if "margin-left" in style else next(iter(lefts), 0.0)
    pads = [_px(each) for each in style.get("padding", "").split()[:4]]
    pad = _px(style["padding-left"]) if "padding-left" in style else pads[-1] if len(pads) in (1, 4) else 0.0
    indent = _px(style.get("text-indent", ""))
    cut = any(style.get(each, "").startswith(_CUTTING) for each in _CLIPS)
    out = indent >= _OUT_PX or (cut and indent >= 100 * _PERCENT_PX)
    pulled = left <= -_PULLED_PX or any(top <= -_PULLED_PX for top in tops)
    return out or pulled or (indent < 0 and indent + left + pad <= -_FAR_PX)


def _is_cut(element: HtmlElement, style: Style) -> bool:
    """Whether what an element holds is cut off to nothing, or next to it."""
    if not any(style.get(each, "").startswith(_CUTTING) for each in _CLIPS):
        return False
    for extent, least in _EXTENTS.items():
        cell = element.tag in ("td", "th") and extent == "width"
        if extent in style and not cell and _LENGTH.match(style[extent]) and _px(style[extent]) <= _CUT_PX:
            return _px(style.get(least, "")) <= _CUT_PX
    flat = _LENGTH.match(style.get("line-height", ""))
    return flat is not None and "height" not in style and bool(flat[2]) and _px(flat[0]) <= _CUT_PX


def _px(said: str) -> float:
    """Return a length in pixels, as if letters were of the usual size; 0 for none."""
    found = _LENGTH.match(said)
    relative = {"em": _SIZE_PX, "%": _PERCENT_PX}
    return float(found[1]) * relative.get(found[2], _UNITS.get(found[2], 1.0)) if found else 0.0
