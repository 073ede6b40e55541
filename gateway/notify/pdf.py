"""The PDF of a quotation or an invoice that has none: made from its lines and totals, by a template like a mail's.

Needs the extra `[pdf]`, and fonts that show Chinese on the machine.

*Failure:* where the extra, or what it needs of the system, is missing, there is no PDF: the mail holds lines and
totals all the same, and `check` says what is missing. A record with very many lines gets none either.
"""

import ctypes.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from gateway import maillog
from gateway.notify.render import Renderer, Value

LINES_MAX = 300  # more would take seconds of a processor
MEDIA_TYPE = "application/pdf"


@cache
def _library() -> Any:  # noqa: ANN401 (a module, or None)
    """Return the library, or None; what it needs of the system (Pango) may be missing too."""
    try:
        with _by_their_names():
            import weasyprint  # noqa: PLC0415 (an extra, and a second of a processor to load)
    except (ImportError, OSError) as error:
        maillog.no_pdf(str(error).splitlines()[0])
        return None
    return weasyprint


@contextmanager
def _by_their_names() -> Iterator[None]:
    """Let libraries be found by their names alone: Linux needs no more, and looking further starts a compiler."""
    find = ctypes.util.find_library
    if sys.platform == "linux":
        ctypes.util.find_library = _not_found
    try:
        yield
    finally:
        ctypes.util.find_library = find


def _not_found(name: str) -> str | None:  # noqa: ARG001 (the name of a library)
    return None


def available() -> bool:
    """Whether PDFs can be made here."""
    return _library() is not None


def make(renderer: Renderer, language: str, kind: str, values: dict[str, Value]) -> bytes | None:
    """Return the PDF of a record of `kind`, in `language`, or None where none can be made."""
    library = _library()
    lines = values["lines"]
    if library is None or not isinstance(lines, list) or len(lines) > LINES_MAX:
        return None
    page = renderer.page([f"pdf/{kind}"], language, values)
    made: bytes = library.HTML(string=page, url_fetcher=_nothing).write_pdf()
    return made


def _nothing(url: str, *_arguments: object, **_options: object) -> dict[str, Any]:
    """Fetch nothing: what a page names, it does not get."""
    message = f"a page may fetch nothing, not {url[:80]}"
    raise ValueError(message)
