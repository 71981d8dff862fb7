r"""From a fence to a block: the info string, its attributes, and the commands of an `opsdash` block.

Execution is opt-in: a fence is text unless its info string is a language, a space, and braces with exactly one role.
The trap is the fence that looks executable and is not (`sh{run}`, `{runn}`): whatever comes near a role, or has
braces behind a language that opsdash runs, is judged strictly. Other braces (```` ```js {1,3} ````) are left alone.

Attributes are split like a shell's words, but nothing is unescaped, so that `expect="\d+"` means what it says. A
JSON object is accepted as well, and attributes that only matter to runme are passed over.
"""

from __future__ import annotations

import json
import re
import shlex
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from opsdash.config.runbook_front import is_reserved, positive_duration
from opsdash.config.runbook_rules import nearest
from opsdash.config.runbook_source import is_hostile, one_line
from opsdash.model.runbook import Block, Command, Language, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.config.runbook_rules import Findings

_INFO = re.compile(r"(?P<language>[^\s{}]*)(?P<gap>\s*)\{(?P<body>.*)\}(?P<rest>[^{}]*)")
_ROLES = {role.value: role for role in Role}
_LANGUAGES = {language.value: language for language in Language}
_FLAGS = {*_ROLES, "danger", "once"}
_RUNME_ONLY = {"name", "id", "category", "tag", "excludeFromRunAll", "mimeType", "terminalRows", "openTerminalOnError"}
_RUNME = _RUNME_ONLY | {"interactive", "background", "interpreter", "promptEnv", "cwd", "closeTerminalOnSuccess"}
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_QUOTED_VALUE = re.compile(r"""=\s*(?:"[^"]*"|'[^']*'|[^\s"'}]+)""")
_AMBIGUOUS_SET = re.compile(r"(?<!\\)\[(?:\^?\[|[^\]]*(?:--|&&|~~|\|\|))")
_LONGEST_PATTERN = 1000

_Attributes: TypeAlias = dict[str, str | None]


class Fence(NamedTuple):
    """A fence of a step, closed. `line` is its opening line, `end_line` its closing one."""

    info: str
    code: str
    line: int
    end_line: int


class _Info(NamedTuple):
    language: str
    body: str


def wants_to_run(info: str) -> bool:
    """Whether a fence with this info string means to be executed, rightly written or not."""
    opening, brace, body = info.partition("{")
    words = opening.split()
    if not brace:
        return len(words) == 2 and words[0] in _LANGUAGES and words[1] in _ROLES
    if _names_a_role(body):
        return True
    return bool(words) and words[0] in _LANGUAGES and not _is_for_runme(body)


def _names_a_role(body: str) -> bool:
    words = re.findall(r"[A-Za-z]+(?![\w]*\s*=)", _QUOTED_VALUE.sub("", body))
    return any(get_close_matches(word, _ROLES, n=1, cutoff=0.75) for word in words[:20])


def _is_for_runme(body: str) -> bool:
    names = re.findall(r"[\"']?([A-Za-z]\w*)[\"']?\s*[=:]", body)
    return bool(names) and all(name in _RUNME for name in names)


def read_block(fence: Fence, findings: Findings) -> Block | None:
    """The block that a fence is, None where it is text or cannot be understood; what is wrong goes to `findings`.

    A block with a wrong attribute or command is a block all the same, so that the rest of it and of its step can be
    judged. It is never executed: an error takes the execution from the whole runbook.
    """
    if not wants_to_run(fence.info):
        return None
    info = _split_info(fence, findings)
    attributes = None if info is None else _read_attributes(info.body, fence, findings)
    if info is None or attributes is None:
        return None
    roles = [role for name, role in _ROLES.items() if name in attributes]
    if len(roles) != 1:
        what = "no role" if not roles else " and ".join(role.value for role in roles)
        findings.add("not-one-role", fence.line, f"the block has {what}, so it would not run")
        return None
    language = _LANGUAGES.get(info.language)
    if language is None:
        findings.add("bad-language", fence.line, f"{one_line(info.language, 40)!r} is not executed by opsdash")
        return None
    return _build(roles[0], language, attributes, fence, findings)


def _split_info(fence: Fence, findings: Findings) -> _Info | None:
    match = _INFO.fullmatch(fence.info.strip())
    if match is None:
        findings.add("bad-braces", fence.line, f"cannot read {one_line(fence.info, 60)!r}, so the block would not run")
        return None
    if not match["language"]:
        findings.add("not-one-role", fence.line, "the braces come without a language, so the block would not run")
        return None
    if not match["gap"]:
        findings.add("not-one-role", fence.line, f"no space before the brace in {one_line(fence.info, 60)!r}")
        return None
    if match["rest"].strip():
        findings.add("bad-braces", fence.line, f"there is text behind the brace: {one_line(match['rest'], 40)!r}")
        return None
    return _Info(match["language"], match["body"])


def _read_attributes(body: str, fence: Fence, findings: Findings) -> _Attributes | None:
    try:
        pairs = _json_pairs(body) if body.lstrip().startswith('"') else _word_pairs(body)
    except ValueError as error:
        findings.add("bad-attribute", fence.line, f"cannot read the attributes: {one_line(str(error), 80)}")
        return None
    attributes: _Attributes = {}
    code = "bad-attribute" if any(name in _ROLES for name, _ in pairs) else "not-one-role"
    for name, value in pairs:
        problem = _attribute_problem(name, value, attributes)
        if problem:
            findings.add(code, fence.line, problem)
            if code == "not-one-role":
                return None
        elif name not in _RUNME_ONLY:
            attributes[name] = value
    return attributes


def _attribute_problem(name: str, value: str | None, seen: _Attributes) -> str | None:
    if name in seen:
        return f"attribute {name} stands there twice"
    if name in _FLAGS:
        return None if value is None else f"{name} takes no value"
    if name not in _VALUES and name not in _RUNME_ONLY:
        return f"unknown attribute {one_line(name, 40)!r}{nearest(name, [*_FLAGS, *_VALUES])}"
    if not value:
        return f"{name} has no value; write {name}=…"
    if is_hostile(value):
        return f"{name} contains an invisible character: {one_line(value, 40)!r}"
    return None


def _word_pairs(body: str) -> list[tuple[str, str | None]]:
    lexer = shlex.shlex(body, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    pairs: list[tuple[str, str | None]] = []
    for word in lexer:
        name, equals, value = word.partition("=")
        pairs.append((name, value if equals else None))
    return pairs


def _json_pairs(body: str) -> list[tuple[str, str | None]]:
    try:
        values = json.loads("{" + body + "}", object_pairs_hook=list)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    return [(name, _json_value(name, value)) for name, value in values if not (name in _FLAGS and value is False)]


def _json_value(name: str, value: object) -> str | None:
    if value is True and name in _FLAGS:
        return None
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{one_line(name, 40)!r} must be text, a number, true or false")


def _build(role: Role, language: Language, attributes: _Attributes, fence: Fence, findings: Findings) -> Block | None:
    problem = _combination_problem(role, language, attributes)
    if problem:
        findings.add("bad-attribute", fence.line, problem)
    values = _read_values(attributes, fence, findings)
    if not _check_code(language, fence, findings):
        return None
    commands = _read_commands(role, fence, findings) if language is Language.OPSDASH else ()
    return Block(role, language, fence.code, fence.line, fence.end_line, commands=commands, **values)


def _read_values(attributes: _Attributes, fence: Fence, findings: Findings) -> dict[str, Any]:
    """The attributes as fields of a block."""
    values: dict[str, Any] = {flag: True for flag in ("danger", "once") if flag in attributes}
    for name, text in attributes.items():
        if name in _VALUES and text is not None:
            try:
                values[_FIELDS.get(name, name)] = _VALUES[name](text)
            except ValueError as error:
                findings.add("bad-attribute", fence.line, f"{name}: {error}")
    return values


def _combination_problem(role: Role, language: Language, attributes: _Attributes) -> str | None:
    if "every" in attributes and "for" not in attributes:
        return "every= needs for=, the time after which it is given up"
    if "for" in attributes and role is not Role.CHECK:
        return f"for= repeats a {{check}}; a {{{role.value}}} block is executed once"
    if language is Language.OPSDASH:
        useless = sorted({"host", "as", "cwd", "rc", "expect"} & attributes.keys())
        if useless:
            return f"{', '.join(useless)} means nothing to a command of opsdash, which knows its own outcome"
    return None


def _pattern(text: str) -> str:
    if len(text) > _LONGEST_PATTERN:
        raise ValueError(f"the regular expression has more than {_LONGEST_PATTERN} characters")
    if _AMBIGUOUS_SET.search(text):
        raise ValueError(f"{one_line(text, 60)!r}: Python has no [[:class:]] and no set operations; write \\[ or \\d")
    try:
        re.compile(text, re.MULTILINE)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise ValueError(f"{one_line(text, 60)!r} is no regular expression: {error}") from None
    return text


def _exit_status(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,3}", text) and int(text) <= 255:
        return int(text)
    raise ValueError(f"{one_line(text, 40)!r} is no exit status; write a number from 0 to 255")


def _host(text: str) -> str:
    if _HOST.fullmatch(text):
        return text
    raise ValueError(f"{one_line(text, 60)!r} is no host; write a name, an address or user@name")


def _variable(text: str) -> str:
    if is_reserved(text):
        raise ValueError(f"programs are found and opsdash speaks by the variable {text}; choose another name")
    if _NAME.fullmatch(text):
        return text
    raise ValueError(f"{one_line(text, 60)!r} is no name; use letters, digits and _")


_VALUES: dict[str, Callable[[str], object]] = {
    "timeout": positive_duration,
    "for": positive_duration,
    "every": positive_duration,
    "expect": _pattern,
    "rc": _exit_status,
    "host": _host,
    "as": _variable,
    "cwd": str,
}
_FIELDS = {"for": "for_", "as": "as_"}
"""Where an attribute is a word that Python keeps for itself."""


def _check_code(language: Language, fence: Fence, findings: Findings) -> bool:
    lines = fence.code.split("\n")
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None:
        findings.add("empty-block", fence.line, "the block is empty, so it would succeed without doing anything")
        return False
    if language is not Language.PYTHON and lines[first].lstrip().startswith("$ "):
        findings.add("prompt-in-code", fence.line + 1 + first, "the first command begins with a prompt ($)")
        return False
    for index, line in enumerate(lines):
        if _ODD_SPACE.search(line):
            findings.add("odd-space", fence.line + 1 + index, "this line of a block contains a space that is none")
            break
    return True


class _Verb(NamedTuple):
    arguments: tuple[str, ...]
    options: tuple[str, ...]
    changes: bool


_VERBS = {
    "failover": _Verb(("COMPONENT",), ("--to", "--reason"), changes=True),
    "failback": _Verb(("COMPONENT",), ("--reason",), changes=True),
    "degrade": _Verb(("COMPONENT", "MODE"), ("--reason",), changes=True),
    "restore": _Verb(("COMPONENT",), ("--reason",), changes=True),
    "check": _Verb(("COMPONENT/CHECK",), (), changes=False),
}


def _read_commands(role: Role, fence: Fence, findings: Findings) -> tuple[Command, ...]:
    """The commands that have the right form; the others are reported."""
    commands: list[Command] = []
    is_empty = True
    for line, text in enumerate(fence.code.split("\n"), fence.line + 1):
        try:
            argv = tuple(shlex.split(text, comments=True))
        except ValueError as error:
            problem: str | None = str(error)
        else:
            if not argv:
                continue
            problem = _command_problem(role, argv)
        is_empty = False
        if problem:
            findings.add("bad-command", line, f"{one_line(text, 80)!r}: {problem}")
        else:
            commands.append(Command(argv, line))
    if is_empty:
        findings.add("empty-block", fence.line, "the block holds no command, only comments")
    return tuple(commands)


def _command_problem(role: Role, argv: tuple[str, ...]) -> str | None:
    if argv[0] == "opsdash":
        return "leave out the word opsdash; the block's language says it"
    verb = _VERBS.get(argv[0])
    if verb is None:
        return f"unknown verb {one_line(argv[0], 40)!r}{nearest(argv[0], _VERBS)}"
    if verb.changes and role not in {Role.RUN, Role.UNDO}:
        return f"{argv[0]} changes something, so it belongs into a {{run}} or {{undo}} block"
    positional, problem = _split_options(argv[0], argv[1:], verb)
    if problem:
        return problem
    usage = " ".join((argv[0], *verb.arguments, *(f"[{option} …]" for option in verb.options)))
    if len(positional) != len(verb.arguments) or not all(positional):
        return f"the form is: {usage}"
    if argv[0] == "check" and positional[0].count("/") not in {1, 2}:
        return "name the check as component/check or component/provider/check"
    return None


def _split_options(name: str, words: tuple[str, ...], verb: _Verb) -> tuple[list[str], str | None]:
    positional: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            positional.append(word)
            continue
        option, equals, value = word.partition("=")
        if option not in verb.options:
            return positional, f"{name} in a runbook has no option {one_line(option, 40)!r}"
        if not (value if equals else next(rest, "")):
            return positional, f"{option} needs a value"
    return positional, None
