"""The house's own rules: sizes, docstrings, maps that list everything, words in every language."""

import ast
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import babel.messages.pofile
import pytest
from jinja2 import Environment
from jinja2.ext import babel_extract
from pydantic import BaseModel

from gateway.config import Settings
from gateway.decide import authorise, command, execute, flood, inspect, offer, place, quoted, sale, thread
from gateway.notify import answer, buttons, context, notice
from gateway.people import _File as PeopleFile
from gateway.records.commands import COMMANDS
from gateway.records.kinds import BUILT_IN, Kinds
from gateway.rules import _File as RulesFile

ROOT = Path(__file__).parents[1]
GATEWAY = ROOT / "gateway"
TEMPLATES = ROOT / "templates"
MODULES = sorted(GATEWAY.rglob("*.py"))
LINES_MAX, FUNCTION_LINES_MAX = 400, 50
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base", "misc"}
FORMS = ("txt", "html")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def page(name: str) -> str:
    path = ROOT / name
    assert path.exists(), f"{name} is not written yet"
    return path.read_text("utf-8")


# ---- the code


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_has_at_most_400_lines(path):
    assert len(path.read_text("utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_has_at_most_50_lines(path):
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def undocumented(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            if not ast.get_docstring(child):
                yield child.name
            if isinstance(child, ast.ClassDef):
                yield from (f"{child.name}.{name}" for name in undocumented(child))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_and_everything_public_in_it_says_what_it_is(path):
    module = tree(path)
    assert ast.get_docstring(module)
    assert list(undocumented(module)) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_left_to_do(path):
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", path.read_text("utf-8")) == []


def test_there_is_never_a_third_level_of_folders():
    assert [name_of(path) for path in MODULES if len(path.relative_to(GATEWAY).parts) > 2] == []


def test_no_module_is_named_for_nothing():
    assert [name_of(path) for path in MODULES if path.stem in BANNED or path.parent.name in BANNED] == []


# ---- the maps


def cited(text: str) -> set[str]:
    return set(re.findall(r"\bRFC\s?(\d{3,5})\b(?!\.SIZE)", text))


def listed(text: str) -> set[str]:
    """Return the RFCs a list names: `RFC 2034, 3463 (codes) · RFC 3207 (STARTTLS), 7435` names four."""
    parts = re.findall(r"\bRFC\s\d{3,5}(?:\s*(?:\([^)]*\))?,\s*\d{3,5})*", text)
    return {number for part in parts for number in re.findall(r"\d{3,5}", re.sub(r"\([^)]*\)", "", part))}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_map_lists_every_file(path):
    if path.name == "__init__.py":
        pytest.skip("a room's door is listed as the room")
    text = page("gateway/README.md")
    assert re.search(rf"(?<![\w.]){re.escape(path.name)}\b", text), f"gateway/README.md does not list {name_of(path)}"
    if path.parent != GATEWAY:
        assert f"{path.parent.name}/" in text


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_rfc_that_is_cited_is_listed(path):
    found = cited(path.read_text("utf-8"))
    if found:
        assert found - listed(page("gateway/README.md")) == set()


def commands() -> list[str]:
    from gateway.cli.app import app

    def walk(of, prefix: str) -> Iterator[str]:
        for name in of:
            if name.startswith("-"):
                continue
            inner = [each for each in of[name] if not each.startswith("-")]
            if inner:
                yield from walk(of[name], f"{prefix}{name} ")
            else:
                yield f"{prefix}{name}"

    return sorted(walk(app, ""))


def test_there_are_commands():
    assert {"check", "record show", "held list", "dkim keygen"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_every_command_stands_in_the_readme(command):
    words = command.split()
    text = page("README.md")
    assert re.search(rf"\b{words[0]}\b", text)
    assert command in text or re.search(rf"\b{words[0]}\b[^\n]*\b{words[-1]}\b", text), (
        f"README.md does not tell of `{command}`"
    )


# ---- the settings


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models(inner)


def settings(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, info in model.model_fields.items():
        if info.exclude:
            continue
        here = (*path, info.alias or name)
        yield here
        for inner in models(info.annotation):
            yield from settings(inner, here)


def section(text: str, key: str) -> str:
    """Return the part of an example that belongs to a top-level key, commented out or not."""
    begin = re.search(rf"^(?:# ?)?{re.escape(key)}:", text, re.MULTILINE)
    if begin is None:
        return ""
    end = re.search(r"^(?:# ?)?[a-z_]+:(?:\s|$)", text[begin.end() :], re.MULTILINE)
    return text[begin.start() : begin.end() + end.start()] if end else text[begin.start() :]


@pytest.mark.parametrize(
    ("file", "path"),
    [
        (file, path)
        for file, model in (("gateway", Settings), ("people", PeopleFile), ("rules", RulesFile))
        for path in settings(model)
    ],
    ids=lambda each: each if isinstance(each, str) else ".".join(each),
)
def test_every_setting_stands_in_the_example_site(file, path):
    text = (TEMPLATES / "site" / f"{file}.yaml").read_text("utf-8")
    part = section(text, path[0])
    assert part, f"{path[0]} does not stand in {file}.yaml"
    for key in path[1:]:
        assert re.search(rf"(?<![\w-]){re.escape(key)}:", part), f"{'.'.join(path)} does not stand in {file}.yaml"


# ---- the templates


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("subtype", Kinds().subtypes)
def test_every_subtype_has_a_template_of_its_own(subtype, form):
    kind, _, own = subtype.rpartition(".")
    candidates = [TEMPLATES / kind / f"{own}.{form}.jinja"] if kind else []
    candidates.append(TEMPLATES / "default" / f"{own}.{form}.jinja")
    assert any(path.exists() for path in candidates), [name_of(path) for path in candidates]


@pytest.mark.parametrize("form", FORMS)
def test_a_further_kinds_subtypes_have_the_default_template(form):
    assert (TEMPLATES / "default" / f"event.{form}.jinja").exists()


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.jinja")), ids=name_of)
def test_every_template_can_be_read_and_has_both_forms(path):
    Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(path.read_text("utf-8"))
    other = path.name.replace(".txt.", ".html.") if ".txt." in path.name else path.name.replace(".html.", ".txt.")
    assert path.parent.name == "pdf" or (path.parent / other).exists()


@pytest.mark.parametrize("subtype", Kinds().subtypes.values(), ids=lambda each: each.name)
def test_every_subtype_and_kind_has_a_name_in_both_languages(subtype):
    assert set(subtype.names) == {"zh-TW", "en"}
    kind = Kinds().kind_of(subtype.name)
    assert kind is None or set(kind.names) == {"zh-TW", "en"}


def words_of_templates() -> Iterator[tuple[str, str]]:
    options = {
        "trimmed": "true",
        "trim_blocks": "true",
        "lstrip_blocks": "true",
        "newstyle_gettext": "true",
        "silent": "false",
    }
    for path in sorted(TEMPLATES.rglob("*.jinja")):
        found = babel_extract(io.BytesIO(path.read_bytes()), ("_", "gettext", "ngettext"), [], options)
        for _, _, said, _ in found:
            for each in [said] if isinstance(said, str) else said:
                if each:
                    yield name_of(path), each


def reasons_to_hold() -> set[str]:
    """Every reason a notice of held mail may give: `{}` for a number, and without what follows a colon."""
    yes_no = (False, True)
    roles = get_args(authorise.Role)
    questions = itertools.product(
        roles, yes_no, get_args(authorise.Tag), get_args(authorise.Wish), yes_no, yes_no, yes_no
    )
    decided = [authorise.authorise(authorise.Question(*each)) for each in questions]
    decided += [authorise.authorise_team(r, authenticated=a, released=b) for r in roles for a in yes_no for b in yes_no]
    told = {
        quoted.REASON, quoted.TOO_LONG, offer.NOT_PROVED, offer.LIKE_A_MACHINE, offer.TOO_LATE, offer.NO_DAY, offer.CHANGED, offer.NEVER_SENT, offer.BOTH, place.CHALLENGE, place.SHUNTED, thread.UNREADABLE,
        inspect.RUNS, inspect.INFECTED, "spam", *map(" ".join, itertools.product(["more than {} mails in {} minutes"], flood.FROM)),
        *(f"a {wish} must be readable in one way only, and the mail is not" for wish in ("note", "command")),
    }  # fmt: skip
    return told | {each.reason for each in decided if each.name == "hold"} | set(reasons_in_code())


def reasons_in_code() -> Iterator[str]:
    """Give what is given to `hold`, and what is called `reason`, where mails are decided."""
    for path in MODULES:
        if path.parent.name != "decide":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hold", "_nowhere"):
                said = node.args[-1]
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "reason":
                said = node.value
            else:
                continue
            match said:
                case ast.Constant(value=str(text)):
                    yield text.partition(": ")[0]
                case ast.JoinedStr() if not re.search(r"wish|more\[|twice", ast.unparse(said)):
                    parts = (each.value if isinstance(each, ast.Constant) else "{}" for each in said.values)
                    yield "".join(map(str, parts)).partition(": ")[0]


def words_of_code() -> Iterator[tuple[str, str]]:
    tables = (
        context._SHOWN_FIELDS,
        context._REASONS,
        context.WHYS,
        notice._SUBJECTS,
        buttons.LABELS,
        answer.TITLES,
        answer.DESCRIPTIONS,
        answer.HINTS,
        notice._CAUSES,
        notice._MENDS,
    )
    yield from (("tables", word) for table in tables for word in table.values())
    yield from (("why not", word) for word in context.WHY_NOTS)
    yield from (("what a command takes", each.takes) for each in COMMANDS if each.takes)
    yield from (("what a command needs", word) for word in ("WHO", "PERSON, WHO", "SUBTYPE"))
    yield from (
        ("answers", word)
        for word in (
            answer.COPIED,
            answer.STANDING,
            sale.NOTHING,
            sale.UNREACHED,
            sale.OVER,
            execute.UNHEARD,
            command.NOT_POSTED,
            execute._NOTE_TOLD,
            execute._MADE,
            "Follow",
            "Unfollow",
        )
    )
    yield from (("states", state.capitalize()) for kind in BUILT_IN if kind.prefix for state in kind.states)
    yield from (("withheld", why) for why in (inspect.RUNS, inspect.INFECTED, inspect.UNCHECKED))
    yield from (("reasons of held mail", reason) for reason in reasons_to_hold())
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"words", "renderer.words(language)"}:
                for constant in ast.walk(ast.Module([ast.Expr(each) for each in node.args], [])):
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str) and " " in constant.value:
                        yield name_of(path), constant.value
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Problem", "_known"} and says_problems(path):
                yield from (
                    (name_of(path), each.value)
                    for each in node.args
                    if isinstance(each, ast.Constant) and isinstance(each.value, str) and " " in each.value
                )


def says_problems(path: Path) -> bool:
    """Whether a module says what is wrong in words that are translated: it uses `lifecycle.Problem` by this name."""
    text = path.read_text()
    return path.name == "lifecycle.py" or bool(
        re.search(r"from gateway\.records\.lifecycle import .*\bProblem\b", text)
    )


def catalogue():
    return babel.messages.pofile.read_po(io.BytesIO((TEMPLATES / "zh-TW.po").read_bytes()))


@pytest.mark.parametrize(
    ("where", "word"), sorted({word: (where, word) for where, word in [*words_of_templates(), *words_of_code()]}.values())
)  # fmt: skip
def test_every_word_is_translated(where, word):
    found = catalogue().get(word)
    assert found is not None, f"{where}: {word!r} is not in zh-TW.po"
    assert found.string


def test_a_translation_has_the_places_of_what_it_translates():
    def places(text: str) -> set[str]:
        return set(re.findall(r"%\((\w+)\)s", text)) | {str(text.count("{}"))}

    assert [each.id for each in catalogue() if each.id and places(each.id) != places(each.string)] == []


def test_nothing_is_translated_that_nobody_says():
    said = {word for _, word in [*words_of_templates(), *words_of_code()]}
    assert sorted(each.id for each in catalogue() if each.id and each.id not in said) == []


def test_no_translation_is_left_vague():
    assert [each.id for each in catalogue() if each.id and each.fuzzy] == []
