"""HTML from a mail as text: cleaned first, then laid out in lines.

*Failure:* never raises; what is beyond the cap is left out. No address in it is ever fetched.
"""

import re

import nh3
from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from lxml.etree import LxmlError

HTML_MAX = 200_000  # characters that are looked at
_TAGS = {
    "a", "b", "blockquote", "br", "center", "code", "dd", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4",
    "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "span", "strong", "table", "tbody", "td", "th", "thead",
    "tr", "u", "ul",
}  # fmt: skip
_CONFIG = ParserConfig(css=CSS_PROFILES["strict"], display_links=False, display_images=False)
# Where the big clients begin what they quote. As a line of its own it survives the layout, and
# mail/quoting.py knows it: see `QUOTE_BEGINS`.
_QUOTES = (
    '<blockquote type="cite"',
    '<div class="gmail_quote',
    '<div id="appendonsend"',
    '<div id="divRplyFwdMsg"',
    '<hr id="stopSpelling"',
)
DEPTH_MAX = 200
# Elements that are never closed, or close by themselves, nest nothing.
_TAG = re.compile(
    r"<(/?)(?!(?:br|hr|img|p|li|td|th|tr|dt|dd|meta|link|input|option|tbody|thead|tfoot|col|wbr|area|base|source)\b)[a-z]",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<[^<>]*>")
QUOTE_BEGINS = "\u2063\u2063\u2063"


def html_to_text(html: str) -> str:
    """Return what a reader of `html` would see, as lines of text; hidden elements are left out."""
    html = html[:HTML_MAX]
    if _depth(html) > DEPTH_MAX:  # cleaning and layout take time that grows with the square of the depth
        return _MARKUP.sub(" ", html).strip()
    for quote in _QUOTES:
        html = html.replace(quote, f"<p>{QUOTE_BEGINS}</p>{quote}", 1)
    cleaned = nh3.clean(
        html, tags=_TAGS, clean_content_tags={"script", "style", "title", "head"}, attributes={}, link_rel=None
    )
    try:
        text = get_text(f"<html><body>{cleaned}</body></html>", _CONFIG)
    except (LxmlError, ValueError, RecursionError):
        text = nh3.clean(html, tags=set(), clean_content_tags={"script", "style"}, attributes={})
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _depth(html: str) -> int:
    """Return how deep elements may be nested, as far as a scan of the tags can tell."""
    depth = deepest = 0
    for tag in _TAG.finditer(html):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest
