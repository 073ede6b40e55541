"""The words of a mail: Jinja templates in two languages, text and HTML, from plain strings only.

Text from outside is only ever a value in a context, never a template. The administrator's own
templates stand before ours, and all run in the sandbox.
"""

import gettext
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import babel.dates
import babel.messages.pofile
import babel.numbers
from jinja2 import BytecodeCache, FileSystemLoader, StrictUndefined, Template, TemplateNotFound
from jinja2.bccache import Bucket
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

LANGUAGES = ("zh-TW", "en")
_LOCALES = {"zh-TW": "zh_Hant_TW", "en": "en"}
Value = str | bool | int | Sequence["Value"] | Mapping[str, "Value"]


class _Words(gettext.NullTranslations):
    """A catalogue: what stands in English in the templates, in another language."""

    def __init__(self, words: Mapping[str, str]) -> None:
        super().__init__()
        self._words = words

    def gettext(self, message: str) -> str:
        return self._words.get(message, message)

    def ngettext(self, one: str, many: str, n: int) -> str:
        return self.gettext(one if n == 1 else many)


class _Compiled(BytecodeCache):
    """Every template as code, by its path and what stands in it: it is compiled once, whatever the language."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


class Renderer:
    """Renders templates; each is compiled once."""

    def __init__(self, folders: Sequence[Path], timezone: str) -> None:
        """Look templates up in `folders`, the first that has one wins; show times in `timezone`."""
        self._zone = ZoneInfo(timezone)
        self._words = {language: _catalogue(folders, language) for language in LANGUAGES}
        self._environments = {language: self._environment(folders, language) for language in LANGUAGES}
        self._find = cache(self._lookup)

    def body(self, names: Sequence[str], language: str, context: Mapping[str, Value]) -> tuple[str, str]:
        """Return the text and the HTML of a mail: of the first of `names` there is a template for."""
        values = {**context, "language": language}
        return (
            tidy(self._find(language, tuple(names), "txt").render(values)),
            self._find(language, tuple(names), "html").render(values),
        )

    def page(self, names: Sequence[str], language: str, context: Mapping[str, Value]) -> str:
        """Return the HTML of a page that is printed: of the first of `names` there is a template for."""
        return self._find(language, tuple(names), "html").render({**context, "language": language})

    def date(self, language: str, at: int) -> str:
        """Return the day of a time (ms since 1970) as people write it."""
        moment = datetime.fromtimestamp(at / 1000, self._zone)
        return babel.dates.format_date(moment, "long", locale=_LOCALES[language])

    def words(self, language: str) -> Callable[[str], str]:
        """Return what turns an English word into the language."""
        return self._words[language].gettext

    def time(self, language: str, at: int) -> str:
        """Return a time (ms since 1970) as people write it."""
        moment = datetime.fromtimestamp(at / 1000, UTC)
        return babel.dates.format_datetime(moment, "medium", tzinfo=self._zone, locale=_LOCALES[language])

    @staticmethod
    def money(language: str, amount: Decimal, currency: str) -> str:
        """Return an amount as people write it: with two decimals, or with none."""
        digits = "#,##0" if amount == amount.to_integral_value() else "#,##0.00##"
        if not currency:
            return babel.numbers.format_decimal(amount, digits, _LOCALES[language])
        try:
            shown = babel.numbers.format_currency(
                amount, currency, f"¤{digits}", _LOCALES[language], currency_digits=False
            )
            return shown.replace("$", "NT$", 1) if currency == "TWD" and "NT$" not in shown else shown
        except (babel.numbers.UnknownCurrencyError, ValueError):
            return f"{babel.numbers.format_decimal(amount, digits, _LOCALES[language])} {currency}"

    def _environment(self, folders: Sequence[Path], language: str) -> SandboxedEnvironment:
        environment = SandboxedEnvironment(
            loader=FileSystemLoader([str(folder) for folder in folders]),
            autoescape=lambda name: bool(name and name.endswith(".html.jinja")),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
            auto_reload=False,
            bytecode_cache=_COMPILED,
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.install_gettext_translations(self._words[language], newstyle=True)  # type: ignore[attr-defined]  # the extension's
        environment.filters["paragraphs"] = _paragraphs
        environment.filters["indented"] = _indented
        return environment

    def _lookup(self, language: str, names: tuple[str, ...], form: str) -> Template:
        for name in names:
            try:
                return self._environments[language].get_template(f"{name}.{form}.jinja")
            except TemplateNotFound as missing:
                if missing.name != f"{name}.{form}.jinja":
                    raise
        raise TemplateNotFound(", ".join(names))


def _catalogue(folders: Sequence[Path], language: str) -> _Words:
    words: dict[str, str] = {}
    for folder in reversed(folders):
        path = folder / f"{language}.po"
        if path.is_file():
            catalogue: Any = babel.messages.pofile.read_po(BytesIO(path.read_bytes()))
            words |= {message.id: message.string for message in catalogue if message.id and message.string}
    return _Words(words)


def _paragraphs(text: str) -> Markup:
    """Show text as paragraphs, its line breaks kept, everything in it escaped."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    shown = [
        '<p style="margin:0 0 12px">' + "<br>".join(escape(line) for line in block.strip("\n").split("\n")) + "</p>"
        for block in blocks
    ]
    return Markup("\n".join(shown))  # noqa: S704 (every line was escaped)


def _indented(text: str, by: str = "    ") -> str:
    return "\n".join(by + line if line.strip() else "" for line in text.split("\n"))


def tidy(text: str) -> str:
    """Return text without blanks at line ends and without more than one empty line at a time."""
    lines: list[str] = []
    # "-- " is what mail programs know a signature by (RFC 3676 §4.3): its blank stays.
    for line in (each if each == "-- " else each.rstrip() for each in text.strip().split("\n")):
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines) + "\n"
