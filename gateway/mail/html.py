"""HTML from a mail as text: what a reader would see, in lines.

*Failure:* never raises; what is beyond the caps is left out. No address in it is ever fetched.
"""

import re

import lxml.html
from inscriptis import Inscriptis
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from lxml.etree import LxmlError

HTML_MAX = 200_000  # characters that are looked at
DEPTH_MAX = 200
# A line of its own where a client begins what it quotes; mail/quoting.py knows it.
QUOTE_BEGINS = "\u2063\u2063\u2063"
_CONFIG = ParserConfig(css=CSS_PROFILES["strict"], display_links=False, display_images=False)
_QUOTES = (
    '<blockquote type="cite"', '<div class="gmail_quote', '<div id="appendonsend"', '<div id="divRplyFwdMsg"',
    '<hr id="stopSpelling"',
)  # fmt: skip
# Elements that are never closed, or close by themselves, nest nothing.
_TAG = re.compile(
    r"<(/?)(?!(?:br|hr|img|p|li|td|th|tr|dt|dd|meta|link|input|option|tbody|thead|tfoot|col|wbr|area|base|source)\b)[a-z]",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<[^<>]*>")
_UNSHOWN = ("script", "style", "title", "head", "template", "noscript", "object", "svg", "math")
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|opacity\s*:\s*0(?![.\d])"
    r"|(?:font-size|max-height|line-height|height|width)\s*:\s*0(?:px|pt|em|%)?\s*(?:;|!|$)"
    r"|(?:left|top|text-indent|margin-left|margin-top)\s*:\s*-\d{3,}",
    re.IGNORECASE,
)


def html_to_text(html: str) -> str:
    """Return what a reader of `html` would see, as lines of text; elements that are not shown are left out."""
    html = html[:HTML_MAX].replace("\x00", "")
    if _depth(html) > DEPTH_MAX:  # laying it out takes time that grows with the square of the depth
        return _MARKUP.sub(" ", html).strip()
    for quote in _QUOTES:
        html = html.replace(quote, f"<p>{QUOTE_BEGINS}</p>{quote}", 1)
    try:
        tree = lxml.html.fromstring(f"<html><body>{html}</body></html>")
        for element in [each for each in tree.iter() if _is_hidden(each)]:
            element.drop_tree()
        text = Inscriptis(tree, _CONFIG).get_text()
    except (LxmlError, ValueError, RecursionError, AssertionError, AttributeError, TypeError):
        text = _MARKUP.sub(" ", html)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _is_hidden(element: lxml.html.HtmlElement) -> bool:
    if not isinstance(element.tag, str):  # a comment
        return False
    if element.getparent() is None or element.tag in ("html", "body"):
        return False
    return (
        element.tag in _UNSHOWN or "hidden" in element.attrib or bool(_HIDING.search(element.get("style", "")[:2000]))
    )


def _depth(html: str) -> int:
    """Return how deep elements may be nested, as far as a scan of the tags can tell."""
    depth = deepest = 0
    for tag in _TAG.finditer(html):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest
