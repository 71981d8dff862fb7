"""YAML 1.2 (core schema) to plain values, with line marks, in about 0.2 ms a file.

PyYAML speaks YAML 1.1, where `off`, `no` and `on` are booleans and `1:30` is ninety. So only its scanner,
parser and composer are used, in C where they were built, and what a scalar means is decided here, by section
10.3.2 of the YAML 1.2 specification. Whatever the bytes are, the answer is a tree or problems, never an
exception.

Refused on purpose: tags (they construct objects), several documents in a file, merge keys (`<<` is YAML 1.1),
keys that are collections, more than 1 MiB, more than 64 levels, and aliases that expand to more than 50,000
values ("billion laughs"). The limit on levels is held *while* composing: the composer in C recurses on the C
stack, and 200,000 brackets would crash it.

Marks are found on demand, by composing once more, so that sound files pay nothing for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
import yaml.reader
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

try:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _Base(CParser):
        """The composer in C."""

except ImportError:  # PyYAML was built without libyaml
    from yaml.composer import Composer
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class _Base(Reader, Scanner, Parser, Composer):  # type: ignore[no-redef]
        """The composer in Python: sixteen times slower, the same result."""

        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)


if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsdash.config.problems import KeyPath

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 50_000
MAX_DIGITS = 400

_PLAIN = "plain"
_TEXT = "text"
_COLLECTION = "collection"

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = {".nan", ".NaN", ".NAN"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the YAML itself: line from 1, and the keys that lead there as far as they are
    known.

    hides: what cannot be seen because of it, or not all of it: whatever seems to be missing there is no
    problem of its own.
    """

    line: int
    message: str
    hint: str = ""
    path: KeyPath = ()
    hides: KeyPath | None = None


@dataclass(slots=True)
class Tree:
    """A file's content. With `fatal` flaws there is no value; others concern a part, which is left out."""

    value: Any = None
    flaws: list[Flaw] = field(default_factory=list)
    fatal: bool = False


class _TooDeep(yaml.YAMLError):
    """More levels than a person writes."""


class _Loader(_Base):
    """Composes nodes, whose tag says no more than how a scalar was written."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: type[Node], _value: Any, implicit: Any) -> str:
        """Tag of a node that has no explicit one."""
        if kind is not ScalarNode:
            return _COLLECTION
        return _PLAIN if implicit[0] else _TEXT

    def descend_resolver(self, _parent: Any, _index: Any) -> None:
        """Called before each node, from inside the recursion: the place to end it."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _TooDeep

    def ascend_resolver(self) -> None:
        """Called after each node."""
        self._depth -= 1


def read(data: bytes) -> Tree:
    """The content of a file, or what is wrong with it."""
    if len(data) > MAX_BYTES:
        return _fatal(Flaw(0, f"the file has {len(data):,} bytes; at most {MAX_BYTES:,} are read"))
    try:
        node = _compose(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _fatal(Flaw(line, "this is no UTF-8 text", f"byte {error.start} cannot be read"))
    except _TooDeep:
        return _fatal(Flaw(0, f"more than {MAX_DEPTH} levels are nested in each other"))
    except yaml.YAMLError as error:
        return _fatal(_flaw(error, data))
    tree = Tree()
    if node is not None:
        construct = _Constructor(tree)
        try:
            tree.value = construct.value(node, ())
        except _TooLarge as error:
            return _fatal(Flaw(error.line, str(error)))
    return tree


def _compose(data: bytes) -> Node | None:
    text = data.decode("utf-8-sig")
    loader = _Loader(text)
    try:
        node: Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    return node


def _fatal(flaw: Flaw) -> Tree:
    return Tree(None, [flaw], fatal=True)


def _flaw(error: yaml.YAMLError, data: bytes) -> Flaw:
    """A complaint of the parser, in our words where its own mislead."""
    if isinstance(error, yaml.reader.ReaderError):
        line = data.count(b"\n", 0, error.position) + 1
        return Flaw(line, f"this is no YAML: {str(error).splitlines()[0][:120]}", "remove the character")
    if not isinstance(error, yaml.MarkedYAMLError):
        return Flaw(0, f"this is no YAML: {str(error)[:120]}")
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 0
    said = error.problem or error.context or "cannot be read"
    if "another document" in said or "single document" in f"{error.context}":
        return Flaw(line, "a second document begins here", "write one document a file, without `---` in between")
    if "cannot start any token" in said:
        return Flaw(line, f"this is no YAML: {said}", "indent with spaces, and quote a text that begins so")
    if "mapping values are not allowed" in said:
        return Flaw(line, f"this is no YAML: {said}", "quote a text that contains a colon and a space")
    if "expected ',' or" in said:
        return Flaw(line, f"this is no YAML: {said}", "quote a text that contains braces, brackets or commas")
    context = f" ({error.context})" if error.context and error.context != said else ""
    return Flaw(line, f"this is no YAML: {said}{context}")


class _TooLarge(Exception):  # noqa: N818 - never leaves this module
    """The tree has too many values, or contains itself."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Constructor:
    """Nodes to plain values. A collection that an alias repeats is built once, and counted each time."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._values = 0
        self._built: dict[int, tuple[Any, int]] = {}
        self._open: set[int] = set()

    def value(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, ScalarNode):
            self._count(1, node)
            return self._scalar(node, path)
        known = self._built.get(id(node))
        if known is not None:
            self._count(known[1], node)
            return known[0]
        if id(node) in self._open:
            raise _TooLarge(_line(node), "an alias (`*`) repeats what it is part of, without end")
        self._open.add(id(node))
        before = self._values
        self._count(1, node)
        self._refuse_tag(node, path)
        built = self._mapping(node, path) if isinstance(node, MappingNode) else self._sequence(node, path)
        self._open.discard(id(node))
        self._built[id(node)] = (built, self._values - before)
        return built

    def _sequence(self, node: Node, path: KeyPath) -> list[Any]:
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        built: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._flaw(
                    key_node,
                    path,
                    "a key cannot be a list or a mapping",
                    "quote a text that begins with { or [",
                    hides=path,
                )
                continue
            key = key_node.value
            if key in lines:
                said = f"the key is here twice; the first is in line {lines[key]}"
                hides = (*path, key) if isinstance(built.get(key), dict) else None
                self._flaw(key_node, (*path, key), said, "remove one of them", hides=hides)
                continue
            lines[key] = _line(key_node)
            if key == "<<" and key_node.tag == _PLAIN:
                said = "merge keys are no part of YAML 1.2"
                hint = "write the keys out, or use `defaults` and `each`"
                self._flaw(key_node, (*path, key), said, hint, hides=path)
                continue
            built[key] = self.value(value_node, (*path, key))
        return built

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        if node.tag == _PLAIN:
            return self._plain(node, text, path)
        self._refuse_tag(node, path)
        if not text.isascii() and not _is_text(text):
            self._flaw(node, path, "this text contains half a character (a lone surrogate)", hides=path)
            return None
        return text

    def _plain(self, node: ScalarNode, text: str, path: KeyPath) -> Any:
        """What an unquoted scalar means (YAML 1.2, 10.3.2)."""
        first = text[:1]
        if first in "ntfNTF~" or not first:
            if text in _NULL:
                return None
            return _BOOL.get(text, text)
        if first not in "0123456789.+-":
            return text
        if len(text) > MAX_DIGITS and _FLOAT.fullmatch(text):
            self._flaw(node, path, f"a number of {len(text)} digits is too long", hides=path)
            return None
        return _number(text)

    def _refuse_tag(self, node: Node, path: KeyPath) -> None:
        if node.tag not in {_PLAIN, _TEXT, _COLLECTION}:
            self._flaw(node, path, f"tags such as {node.tag!r:.60} are not allowed", "remove the word with the !", path)

    def _flaw(self, node: Node, path: KeyPath, message: str, hint: str = "", hides: KeyPath | None = None) -> None:
        self._tree.flaws.append(Flaw(_line(node), message, hint, path, hides))

    def _count(self, values: int, node: Node) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _TooLarge(_line(node), f"the file expands to more than {MAX_VALUES:,} values; are aliases nested?")


def _number(text: str) -> Any:
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    infinite = _INFINITE.fullmatch(text)
    if infinite is not None:
        return float(f"{infinite[1]}inf")
    return float("nan") if text in _NAN else text


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


# --- marks --------------------------------------------------------------------------------------------------


class Marks:
    """Lines of keys and values of one file, found when somebody asks."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._root: Node | None = None
        self._composed = False

    def line(self, path: KeyPath) -> int:
        """Line of the key (or list entry) at `path`, else of the nearest thing around it; 0 without any."""
        return self._mark(path)[0]

    def column(self, path: KeyPath) -> int:
        """Column, from 1, of the same."""
        return self._mark(path)[1]

    def _mark(self, path: KeyPath) -> tuple[int, int]:
        found = (0, 0)
        for node in self._along(path):
            found = (_line(node), int(node.start_mark.column) + 1)
        return found

    def _along(self, path: KeyPath) -> Iterator[Node]:
        """The nodes that lead to `path`: of a mapping entry the key, since that is where a person looks."""
        node = self._tree()
        if node is None:
            return
        yield node
        for key in path:
            if isinstance(node, MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == key), None)
                if pair is None:
                    return
                yield pair[0]
                node = pair[1]
            elif isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                yield node
            else:
                return

    def _tree(self) -> Node | None:
        if not self._composed:
            self._composed = True
            try:
                self._root = _compose(self._data)
            except (UnicodeDecodeError, yaml.YAMLError):
                self._root = None
        return self._root
