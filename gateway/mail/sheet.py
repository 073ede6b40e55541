"""The style sheets of an HTML mail: which declarations count for an element, and with which value in the end.

What some screens hide others show: of rules for some screens only none counts. Work is counted, and has an end.

*Failure:* raises `Endless` for sheets that would take too long to apply.

*Standards:* CSS Syntax 3 (by tinycss2), CSS Cascade 4 §6 (which declaration wins), Selectors 4 §4 to §6 and §14.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

import tinycss2
from lxml.html import HtmlElement
from tinycss2.ast import AtRule, Declaration, Node, QualifiedRule

_SHEET_MAX = 64_000  # characters
_STYLE_MAX = 2_000
_SELECTORS_MAX = 1_500  # of rules that say something of what is asked for
_SELECTOR_MAX = 60  # words and marks of one
_STEPS_MAX = 100_000  # times that a selector is compared with an element
_DEPTH_MAX = 4  # conditions in conditions
_SCREENS = frozenset({"", "all", "screen", "only screen", "only all"})
_EDGES = {"first-child": False, "last-child": True}
_COMBINATORS = frozenset(" >+~")

Rank = tuple[bool, bool, tuple[int, int, int], int]  # important, of the element's own style, specificity, place
Style = dict[str, str]  # by the name of the property, both in small letters


class Endless(ValueError):
    """A style sheet that would take too long to apply."""


@dataclass(frozen=True, slots=True)
class _Compound:
    """What one element must be: its tag, id, classes, attributes, and its place among others."""

    tag: str = ""
    ids: tuple[str, ...] = ()
    classes: frozenset[str] = frozenset()
    attributes: tuple[tuple[str, str, str], ...] = ()  # name, how its value is compared, with what
    edges: tuple[str, ...] = ()

    def fits(self, element: HtmlElement, classes: frozenset[str]) -> bool:
        if (self.tag and self.tag != element.tag) or not classes.issuperset(self.classes):
            return False
        return not (self.ids or self.attributes or self.edges) or (
            all(each == element.get("id", "").lower() for each in self.ids)
            and all(_has(element.get(name), how, value) for name, how, value in self.attributes)
            and all(next(element.itersiblings(preceding=not _EDGES[each]), None) is None for each in self.edges)
        )

    @property
    def weight(self) -> tuple[int, int, int]:
        return len(self.ids), len(self.classes) + len(self.attributes) + len(self.edges), int(bool(self.tag))


@dataclass(frozen=True, slots=True)
class _Rule:
    """Compounds from the element outwards, what stands before each, and what is declared."""

    compounds: tuple[_Compound, ...]
    combinators: tuple[str, ...]
    said: tuple[tuple[str, str, bool], ...]
    place: int

    @property
    def weight(self) -> tuple[int, int, int]:
        ids, others, tags = zip(*(each.weight for each in self.compounds), strict=True)
        return sum(ids), sum(others), sum(tags)


def _attribute(nodes: Sequence[Node]) -> tuple[str, str, str]:
    words = [each.value for each in nodes if each.type in ("ident", "string", "literal")]
    name, how, value = [*map(str.lower, words[:3]), "", ""][:3] if words else ("", "", "")
    return name, how, value


def _has(value: str | None, how: str, wanted: str) -> bool:
    """Whether an attribute stands there with such a value (Selectors 4 §6.1, §6.2)."""
    if value is None:
        return False
    value = value.lower()
    return {
        "": True, "=": value == wanted, "~=": wanted in value.split(), "*=": bool(wanted) and wanted in value,
        "^=": bool(wanted) and value.startswith(wanted), "$=": bool(wanted) and value.endswith(wanted),
        "|=": value == wanted or value.startswith(f"{wanted}-"),
    }.get(how, False)  # fmt: skip


class Sheets:
    """The style sheets of a tree. Of each element only what `wanted` names is looked at."""

    def __init__(self, tree: HtmlElement, wanted: frozenset[str]) -> None:
        self._rules: defaultdict[str, list[_Rule]] = defaultdict(list)  # by what the element itself must have
        self._steps = 0
        self._own = cache(lambda style: tuple(_declared(style[:_STYLE_MAX], wanted)))
        self._classes = cache(lambda text: frozenset(text.lower().split()))
        text = " ".join(each.text or "" for each in tree.iter("style") if _on_every_screen(each.get("media", "")))
        _at_most(_SHEET_MAX, len(text))
        rules = tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True) if text.strip() else []
        selectors = 0
        for place, (prelude, said) in enumerate(_flat(rules, wanted)):
            for compounds, combinators in _selectors(prelude):
                selectors += 1
                _at_most(_SELECTORS_MAX, selectors)
                last = compounds[0]
                key = next((f"{mark}{min(e)}" for mark, e in (("#", last.ids), (".", last.classes)) if e), last.tag)
                self._rules[key].append(_Rule(compounds, combinators, said, place))

    def of(self, element: HtmlElement) -> Style:
        """Return what counts for an element of what it, or a sheet, declares."""
        found: list[tuple[Rank, str, str]] = []
        keys = ["", element.tag, f"#{element.get('id', '').lower()}", *(f".{e}" for e in self._named(element))]
        for rule in (rule for key in keys for rule in self._rules.get(key, ())):
            if self._fits(rule, 0, element):
                found += [((important, False, rule.weight, rule.place), n, v) for n, v, important in rule.said]
        own = self._own(element.get("style", ""))
        found += [((important, True, (0, 0, 0), place), n, v) for place, (n, v, important) in enumerate(own)]
        style: Style = {}
        for _, name, value in sorted(found):
            style.pop(name, None)  # a later one stands later: of `background` and `background-color` it wins
            style[name] = value
        return style

    def _named(self, element: HtmlElement) -> frozenset[str]:
        return self._classes(element.get("class", "")[:_STYLE_MAX])

    def _fits(self, rule: _Rule, at: int, element: HtmlElement) -> bool:
        self._steps += 1
        _at_most(_STEPS_MAX, self._steps)
        if not rule.compounds[at].fits(element, self._named(element)):
            return False
        if at + 1 == len(rule.compounds):
            return True
        return any(self._fits(rule, at + 1, each) for each in _related(element, rule.combinators[at]))


def _at_most(most: int, count: int) -> None:
    if count > most:
        message = f"style sheets that take more than {most} of {count}"
        raise Endless(message)


def _related(element: HtmlElement, combinator: str) -> Iterator[HtmlElement]:
    if combinator == " ":
        yield from element.iterancestors()
    elif combinator == ">":
        yield from islice(element.iterancestors(), 1)
    else:
        before = (each for each in element.itersiblings(preceding=True) if isinstance(each.tag, str))
        yield from before if combinator == "~" else islice(before, 1)


def _flat(
    rules: Iterable[Node], wanted: frozenset[str], depth: int = 0
) -> Iterator[tuple[Sequence[Node], tuple[tuple[str, str, bool], ...]]]:  # fmt: skip
    """Give selectors, and what is declared for them, of all rules that count on every screen."""
    for rule in rules:
        if isinstance(rule, QualifiedRule):
            if said := tuple(_declared(rule.content, wanted)):
                yield rule.prelude, said
        elif isinstance(rule, AtRule) and rule.content is not None and depth < _DEPTH_MAX and _counts(rule):
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            yield from _flat(inner, wanted, depth + 1)


def _counts(rule: AtRule) -> bool:
    """Whether the rules in this one count on every screen: a program that shows mail does what they ask for."""
    if rule.lower_at_keyword != "media":
        return rule.lower_at_keyword in ("supports", "layer")
    return _on_every_screen(_serialized(rule.prelude))


def _on_every_screen(asked: str) -> bool:
    return any(" ".join(each.lower().split()) in _SCREENS for each in asked[:_STYLE_MAX].split(","))


def _declared(style: str | Sequence[Node], wanted: frozenset[str]) -> Iterator[tuple[str, str, bool]]:
    found: dict[tuple[str, bool], tuple[str, str, bool]] = {}
    for each in tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True):
        if isinstance(each, Declaration) and each.lower_name in wanted:
            found.pop((each.lower_name, each.important), None)
            said = _serialized(each.value).strip().lower()
            found[each.lower_name, each.important] = (each.lower_name, said, each.important)
    yield from found.values()


def _serialized(nodes: Sequence[Node]) -> str:
    return str(tinycss2.serialize([each for each in nodes if each.type != "comment"]))[:_STYLE_MAX]


def _selectors(prelude: Sequence[Node]) -> Iterator[tuple[tuple[_Compound, ...], tuple[str, ...]]]:
    """Give the selectors of a list, from the element outwards; those that never fit are left out."""
    piece: list[Node] = []
    for node in [*prelude, None]:
        if node is None or node == ",":
            _at_most(_SELECTOR_MAX, len(piece))
            if found := _selector(piece):
                yield found
            piece = []
        else:
            piece.append(node)


def _selector(nodes: Sequence[Node]) -> tuple[tuple[_Compound, ...], tuple[str, ...]] | None:
    compounds: list[_Compound | None] = []
    combinators: list[str] = []
    now: list[Node] = []
    between = ""
    for node in nodes:
        said = " " if node.type == "whitespace" else node.value if node.type == "literal" else ""
        if said in _COMBINATORS and said:
            between = said if between in ("", " ") else between
            continue
        if between and now:
            compounds.insert(0, _compound(now))
            combinators.insert(0, between)
            now = []
        between = ""
        now.append(node)
    made = [each for each in (_compound(now), *compounds) if each is not None]
    return (tuple(made), tuple(combinators)) if now and len(made) == len(compounds) + 1 else None


def _compound(nodes: Sequence[Node]) -> _Compound | None:
    """Return what an element must be; None for what none ever is. A condition we do not know counts as not met."""
    tag, ids, classes, edges = "", [], [], []
    attributes: list[tuple[str, str, str]] = []
    before = ""
    for node in nodes:
        if node.type == "function" or (node.type == "ident" and before.startswith(":")):
            if node.type == "function" or node.lower_value not in _EDGES or before != ":":
                return None
            edges.append(node.lower_value)
        elif node.type == "ident" and before == ".":
            classes.append(node.lower_value)
        elif node.type == "ident":
            tag = node.lower_value
        elif node.type == "hash":
            ids.append(node.value.lower())
        elif node.type == "[] block":
            attributes.append(_attribute(node.content))
        before = before + node.value if node.type == "literal" else ""
    return _Compound(tag, tuple(ids), frozenset(classes), tuple(attributes), tuple(edges))
