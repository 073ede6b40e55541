"""A YAML file with the place of every key and value, and problems that name that place.

*Failure:* what cannot be read raises `Bad`, which carries every problem found, not the first.
"""

import difflib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

Where = tuple[str | int, ...]
_M = TypeVar("_M", bound="Model")
_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_OCTETS_MAX = 4 * 1024 * 1024
_DEPTH_MAX = 30
_NODES_MAX = 200_000  # aliases count each time they stand for something


class Model(BaseModel):
    """A mapping of a configuration file: strict types, no unknown keys, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong at a place of a file, and the mend. A `note` is no error."""

    file: str
    line: int
    column: int
    what: str
    mend: str = ""
    note: bool = False

    def __str__(self) -> str:
        kind = "note: " if self.note else ""
        return f"{self.file}:{self.line}:{self.column}: {kind}{self.what}" + (f"; {self.mend}" if self.mend else "")


class Bad(Exception):
    """A file that cannot be used, with everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Carry `problems`, at least one."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Document:
    """A file's data, and where in it each key and value stands (line, column, from 1)."""

    name: str
    data: Any = None
    values: dict[Where, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Where, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, *path: str | int) -> int:
        """Return the line on which the value at `path` begins."""
        return self.values.get(path, (1, 1))[0]

    def problem(self, path: Where, what: str, mend: str = "", *, note: bool = False) -> Problem:
        """Make a problem that stands at `path`, or at what of it there is."""
        at = tuple(path)
        while at and at not in self.values:
            at = at[:-1]
        return Problem(self.name, *self.values.get(at, (1, 1)), what, mend, note)

    def at_key(self, path: Where, what: str, mend: str = "") -> Problem:
        """Make a problem that stands at the key `path` ends in."""
        return Problem(self.name, *self.keys.get(tuple(path), self.values.get(tuple(path), (1, 1))), what, mend)


def read(path: Path) -> Document:
    """Read `path` and place everything in it. Raises `Bad`: not there, no YAML, a key twice."""
    document = Document(path.name)
    try:
        text = path.read_bytes()
        if len(text) > _OCTETS_MAX:
            raise Bad([Problem(path.name, 1, 1, "is larger than 4 MiB", "split it or look what went wrong")])
        node = yaml.compose(text.decode("utf-8"), Loader=_LOADER)
    except OSError as error:
        raise Bad(
            [Problem(path.name, 1, 1, f"cannot be read: {error.strerror}", "`replygate init DIR` writes an example")]
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Bad([Problem(path.name, line, 1, "is not UTF-8", "save the file as UTF-8")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = " ".join(filter(None, (error.problem, error.context)))
        raise Bad(
            [Problem(path.name, line, column, f"is no YAML: {what}", "look at the indentation and quotes before here")]
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise Bad([Problem(path.name, 1, 1, f"is no YAML: {' '.join(str(error).split())[:200]}")]) from None
    document.data = _construct(document, node, ()) if node is not None else {}
    if not isinstance(document.data, dict):
        document.problems.append(Problem(path.name, 1, 1, "must be a mapping of keys", "begin with `key: value` lines"))
    if document.problems:
        raise Bad(document.problems)
    return document


def _construct(document: Document, node: yaml.Node, path: Where) -> Any:  # noqa: ANN401 (YAML is any)
    mark = (node.start_mark.line + 1, node.start_mark.column + 1)
    if len(path) > _DEPTH_MAX or len(document.values) > _NODES_MAX:
        if not document.problems:
            document.problems.append(Problem(document.name, *mark, "is nested too deep, or repeats itself too often"))
        return None
    document.values[path] = mark
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            at = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                document.problems.append(Problem(document.name, *at, "a key must be a plain word"))
                continue
            key = str(key_node.value)
            if key in data:
                first = document.keys[(*path, key)][0]
                document.problems.append(
                    Problem(
                        document.name, *at, f"the key {key!r} stands twice", f"the first is on line {first}; keep one"
                    )
                )
                continue
            document.keys[(*path, key)] = at
            data[key] = _construct(document, value_node, (*path, key))
        return data
    if isinstance(node, yaml.SequenceNode):
        return [_construct(document, item, (*path, n)) for n, item in enumerate(node.value)]
    return _scalar(document, node)


def _scalar(document: Document, node: yaml.Node) -> Hashable:
    loader = _LOADER("")
    try:
        value: Hashable = loader.construct_object(node)
    except Exception as error:  # noqa: BLE001 (PyYAML's constructors raise whatever comes)
        mark = node.start_mark
        document.problems.append(
            Problem(
                document.name, mark.line + 1, mark.column + 1, f"cannot be read: {' '.join(str(error).split())[:100]}"
            )
        )
        return None
    finally:
        loader.dispose()
    # A date is text to us: what it looks like is what was meant.
    return value if value is None or isinstance(value, str | bool | int | float) else str(node.value)


def validate(document: Document, model: type[_M]) -> _M:
    """Make a `model` of the document's data. Raises `Bad` with every problem at its place."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise Bad([_problem(document, dict(each), model) for each in error.errors(include_url=False)]) from None


def _problem(document: Document, error: Mapping[str, Any], model: type[Model]) -> Problem:
    where: Where = tuple(error["loc"])
    kind, message = str(error["type"]), str(error["msg"])
    key = str(where[-1]) if where else ""
    given = error.get("input")
    match kind:
        case "extra_forbidden":
            near = difflib.get_close_matches(key, sorted(_names(model)), 1, 0.6)
            return document.at_key(
                where, f"unknown key {key!r}", f"did you mean {near[0]!r}?" if near else "take it out"
            )
        case "missing":
            return document.problem(where, f"the key {key!r} is missing", f"add `{key}: …` here")
        case "string_type" if isinstance(given, int | float | bool):
            return document.problem(where, f"{given!r} is not text", f"put it in quotes: '{str(given).lower()}'")
        case "literal_error" | "enum":
            return document.problem(
                where, f"{given!r} is not known here", f"use {error.get('ctx', {}).get('expected', '')}"
            )
        case "value_error":
            what, _, mend = message.removeprefix("Value error, ").partition("; ")
            return document.problem(where, what, mend)
        case _:
            said = message[:1].lower() + message[1:]
            shown = f"{key}: " if key and not key.isdigit() else ""
            return document.problem(where, f"{shown}{said.replace('input', 'the value')}", f"found {given!r:.60}")


def _names(model: type[BaseModel]) -> set[str]:
    """Return the keys of a model and of every model inside it."""
    found: set[str] = set()
    waiting: list[Any] = [model]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            for name, info in each.model_fields.items():
                found.add(info.alias or name)
                waiting.append(info.annotation)
        else:
            waiting.extend(get_args(each))
    return found
