"""HTML from a mail as text: what a reader would see, in lines.

*Failure:* never raises; what is beyond the caps is left out. No address in it is ever fetched.

*Standards:* RFC 3676 §4.5 (marks of quoted lines).
"""

import re
from itertools import islice

import lxml.html
from inscriptis import Inscriptis
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from lxml.etree import LxmlError

from gateway.mail.sheet import Endless
from gateway.mail.unseen import leave_out_unseen, page_of

HTML_MAX = 200_000  # characters that are looked at
DEPTH_MAX = 200
_LAID_OUT_MAX = 10_000_000  # cells of a table times its characters: as wide as its widest cell is every row
_LISTS_MAX = 8  # lists in lists that are indented
_ENDLESS_TAG = re.compile(r"<[^<>]{20000,}")  # no program writes one, and reading it takes the square of its length
_SPACING = re.compile(r"(?<![\w-])(?:margin|padding)[a-z-]*\s*:[^;]*;?", re.IGNORECASE)
# A line of its own where a client begins what it quotes without marking it; mail/quoting.py knows it.
QUOTE_BEGINS = "\u2063\u2063\u2063"
_CONFIG = ParserConfig(css=CSS_PROFILES["strict"], display_links=False, display_images=False)
# Between these, in lines of their own, stands what is marked as quoted; no text of a mail may hold their character.
_UNSEEN = "\u2063"
_OPENS, _CLOSES = f"{_UNSEEN}>{_UNSEEN}", f"{_UNSEEN}<{_UNSEEN}"
_MARKS_MAX = 9
# Classes of elements that hold what is quoted, or the attribution above it, and nothing of the author's.
_QUOTED = re.compile(r"(?:gmail_attr|moz-cite-prefix|yahoo_quoted|protonmail_quote|spark_quote)(?:\s|$)")
# Ids and classes of elements with which, or behind which, all is quoted.
_BEGIN = frozenset({"appendonsend", "divRplyFwdMsg", "stopSpelling", "moz-forward-container", "J-reply"})
_INDENTED = re.compile(r"(?<![\w-])border\s*:\s*none", re.IGNORECASE)  # what editors write when an author indents
# Elements that are never closed, or close by themselves, nest nothing.
_TAG = re.compile(
    r"<(/?)(?!(?:br|hr|img|p|li|td|th|tr|dt|dd|meta|link|input|option|tbody|thead|tfoot|col|wbr|area|base|source)\b)[a-z]",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<[^<>]*>")


def html_to_text(html: str) -> str:
    """Return what a reader of `html` would see, as lines of text; elements that are not shown are left out.

    What a client marks as quoted gets the mark of RFC 3676 §4.5, ">", before each of its lines.
    """
    html = _not_too_deep(_ENDLESS_TAG.sub("", html[:HTML_MAX].replace("\x00", "")))
    try:
        tree = lxml.html.fromstring(f"<html><body>{html}</body></html>")
        page = page_of(html)
        begins = _left_out(tree, lxml.html.fromstring(f"{page}</body>") if page else None)
        _mark_quotes(tree)
        _flatten(tree)
        text = begins + _with_marks(Inscriptis(tree, _CONFIG).get_text())
    except (LxmlError, ValueError, RecursionError, AssertionError, AttributeError, TypeError):
        # What nobody could lay out may hold anything, hidden or quoted, in any order: none of it is the author's.
        text = QUOTE_BEGINS + "\n" + _MARKUP.sub(" ", html)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _left_out(tree: lxml.html.HtmlElement, page: lxml.html.HtmlElement | None) -> str:
    """Take out what is not seen; where that cannot be told, return what says that nothing here is the author's."""
    try:
        leave_out_unseen(tree, page)
    except Endless:
        for each in list(tree.iter("style", "script")):
            each.drop_tree()
        return f"{QUOTE_BEGINS}\n"
    return ""


def _flatten(tree: lxml.html.HtmlElement) -> None:
    """Take away what would be laid out as millions of blanks: margins, and wide tables."""
    for each in tree.iter():
        if isinstance(each.tag, str) and "style" in each.attrib:
            each.set("style", _SPACING.sub("", each.get("style")[:2000]))
    for each in list(tree.iter("ul", "ol", "dl")):
        if sum(1 for _ in each.iterancestors("ul", "ol", "dl")) > _LISTS_MAX:
            each.tag = "div"
    laid_out = 0
    for table in list(tree.iter("table")):
        cells = sum(1 for _ in table.iter("td", "th"))
        laid_out += cells * sum(map(len, table.itertext()))
        if laid_out > _LAID_OUT_MAX:
            for part in list(table.iter("table", "thead", "tbody", "tfoot", "tr", "td", "th")):
                part.tag = "div"


def _mark_quotes(tree: lxml.html.HtmlElement) -> None:
    elements = [each for each in tree.iter() if isinstance(each.tag, str)]
    for each in elements:
        each.text, each.tail = ((text or "").replace(_UNSEEN, "") for text in (each.text, each.tail))
    for each in elements:
        if _is_quoted(each):
            first = _line(_OPENS)
            first.tail, each.text = each.text, ""
            each.insert(0, first)
            each.append(_line(_CLOSES))
        elif _begins_quote(each):
            each.addprevious(_line(QUOTE_BEGINS))


def _line(text: str) -> lxml.html.HtmlElement:
    line = lxml.html.Element("div")
    line.text = text
    return line


def _is_quoted(element: lxml.html.HtmlElement) -> bool:
    if element.tag == "blockquote":
        return not _INDENTED.search(element.get("style", "")[:2000]) or element.get("type") == "cite"
    return bool(_QUOTED.search(element.get("class", "")[:2000]))


def _begins_quote(element: lxml.html.HtmlElement) -> bool:
    classes = element.get("class", "")[:2000].split()
    if "gmail_quote" in classes:
        # Gmail holds an answer below or among what it quotes in the same element, and a forwarded mail unmarked.
        banner = "".join(islice(element.itertext(), 3)).lstrip().startswith("-----")
        return banner or not any(child.tag == "blockquote" for child in element)
    return element.get("id") in _BEGIN or not _BEGIN.isdisjoint(classes)


def _with_marks(text: str) -> str:
    lines: list[str] = []
    depth = 0
    for line in text.splitlines():
        opens, closes = line.count(_OPENS), line.count(_CLOSES)
        shown = line.replace(_OPENS, "").replace(_CLOSES, "") if opens or closes else line
        marks = ">" * min(depth + opens, _MARKS_MAX)
        depth = max(0, depth + opens - closes)
        if shown.strip() or not (opens or closes):
            lines.append(f"{marks} {shown}" if marks else shown)
        elif not depth:
            lines.append("")
    return "\n".join(lines)


def _not_too_deep(html: str) -> str:
    """Cut where elements nest too deep: laying that out takes time that grows with the square of the depth."""
    depth = 0
    for tag in _TAG.finditer(html):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        if depth > DEPTH_MAX:
            return html[: tag.start()]
    return html
