"""Expectations: what the author of a check says must be true of an observation, in CEL.

CEL (Common Expression Language, https://cel.dev) is what Kubernetes and blackbox_exporter use: no loops, no
side effects, regular expressions in linear time. An expression is compiled once, at load, where its names
and functions are compared with what the kind offers, and it is run on the kind's sample, so that a
misspelling is found by `validate` and not at 3 a.m.

The verdict is three-valued, because a default in place of a missing value is how monitors turn green on
garbage: true passes, false fails, and anything else (a missing field, a comparison of unlike types, a
result that is no boolean) is `unknown` (`expectation_error`), never a pass. Only the author's own `has()`,
`||` or `&&` may decide without it.

One `cel.Context` is built per observation and shared by all its expressions, with only the names that they
use: the library converts every value in it, and a body of 1.1 MB costs 105 ms. Everything here may run in
another thread.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from opsdash.kinds.celcore import Context, compile_program
from opsdash.kinds.paths import lookup, parse_path
from opsdash.model.now import parse_moment
from opsdash.model.status import Reason, Status
from opsdash.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsdash.kinds.base import Sample

MAX_LENGTH = 2000
MAX_DETAIL = 300
MAX_VALUE = 60
FUTURE_TOLERANCE = 300.0
"""Seconds by which a time may lie ahead of our clock before `age` calls it wrong: clocks differ a little."""

JSON = "json"
JSON_ERROR = "json_error"
"""A value that a kind gives in place of `json`, saying why there is none."""

STATUS = "status"
NOW = "now"
LATENCY = "latency"

OWN_FUNCTIONS = frozenset({"age"})
FUNCTIONS = OWN_FUNCTIONS | {
    "all", "bool", "bytes", "contains", "double", "duration", "dyn", "endsWith", "exists", "exists_one",
    "filter", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours",
    "getMilliseconds", "getMinutes", "getMonth", "getSeconds", "has", "int", "map", "matches", "size",
    "startsWith", "string", "timestamp", "type", "uint",
}  # fmt: skip
"""What an expression may call."""

_TEXT = re.compile(r"""(?:[rR]?)(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_BOUND = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(\s*([A-Za-z_]\w*)\s*,")
_PATH = re.compile(
    r"""(?<![\w.])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*(?!\w|\s*\()|\[(?:\d+|"[^"\\]*"|'[^'\\]*')\])*(?!\w|\s*\()"""
)
_SYNTAX = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_OWN_ERROR = re.compile(r"Python function call failed: \w+: (.*?)\. Check function arguments", re.DOTALL)
_ADVICE = re.compile(r"\.? Check (?:that the variable|function arguments).*", re.DOTALL)
_WORDS = (
    (re.compile(r"(?<![=!<>])=(?!=)"), "compare with =="),
    (re.compile(r"==="), "compare with =="),
    (re.compile(r"\band\b"), "write && for and"),
    (re.compile(r"\bor\b"), "write || for or"),
    (re.compile(r"\bnot\b"), "write ! for not"),
    (re.compile(r"\b(?:None|True|False)\b"), "write null, true, false"),
)

# The library reports every exception of a function of ours to the log, with text that a monitored system
# chose.
logging.getLogger("cel").setLevel(logging.CRITICAL)


class ExpressionError(ValueError):
    """An expression that cannot be used, with what would be right and the names that could have been
    meant.
    """

    def __init__(self, message: str, hint: str = "", word: str = "", names: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.word = word
        self.names = tuple(names)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. `names` are the variables it reads, `paths` what a failure shows the values
    of.
    """

    source: str
    program: Any = field(compare=False, repr=False)
    names: frozenset[str]
    functions: frozenset[str]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reads:
    """What some expressions read, together."""

    names: frozenset[str]
    functions: frozenset[str]


@functools.lru_cache(maxsize=8192)
def _reads(*expressions: Expression) -> _Reads:
    """The same expressions, which many checks have, share one."""
    return _Reads(
        frozenset[str]().union(*(expression.names for expression in expressions)),
        frozenset[str]().union(*(expression.functions for expression in expressions)),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check's result is, after its author's expectations."""

    status: Status
    reason: Reason | None
    detail: str


@functools.lru_cache(maxsize=8192)
def compile_expression(source: str) -> Expression:
    """Compile `source`; the same text is compiled once. Raises ExpressionError."""
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(source)} characters; at most {MAX_LENGTH} are allowed")
    try:
        program = compile_program(source)
    except ValueError as error:
        raise _syntax_error(source, error) from None
    bare = _TEXT.sub('""', source)
    bound = set(_BOUND.findall(bare))
    names = frozenset(program.variables()) - bound
    functions = frozenset(name for name in program.functions() if name.isidentifier())
    paths = tuple(dict.fromkeys(path for path in _PATH.findall(source) if _root(path) in names))
    return Expression(source, program, names, functions, paths)


def _syntax_error(source: str, error: ValueError) -> ExpressionError:
    bare = _TEXT.sub('""', source)
    hint = next((advice for pattern, advice in _WORDS if pattern.search(bare)), "")
    found = _SYNTAX.search(str(error))
    if not source.strip():
        return ExpressionError("the expression is empty")
    if found is None:
        return ExpressionError(f"this is no CEL expression: {source:.120}", hint)
    said = re.sub(r" expecting .*", "", found[3]).removeprefix("Syntax error: ").replace("'<EOF>'", "the end")
    return ExpressionError(f"this is no CEL expression, at character {found[2]}: {said:.160}", hint)


def check_expression(expression: Expression, sample: Mapping[str, Any], wall: float) -> None:
    """Compare an expression with what a kind offers, and try it on the kind's sample. Raises
    ExpressionError.
    """
    for problem in misspellings(expression, sample):
        raise problem
    if JSON not in expression.names:
        _try(expression, sample, wall)


def misspellings(expression: Expression, sample: Mapping[str, Any] | None) -> Iterator[ExpressionError]:
    """What an expression names or calls and nothing offers. `sample` None: it is not known what is offered."""
    if sample is not None:
        offered = {*sample, NOW, LATENCY}
        for name in sorted(expression.names - offered):
            yield ExpressionError(f"there is no {name!r} here", word=name, names=sorted(offered))
    for name in sorted(expression.functions - FUNCTIONS):
        yield ExpressionError(f"there is no function {name!r}", word=name, names=sorted(FUNCTIONS))


def _try(expression: Expression, sample: Mapping[str, Any], wall: float) -> None:
    """Run on the sample. A value that is missing there may well come in reality, a type that is wrong will
    not.
    """
    values = {LATENCY: 0.1, **sample}
    try:
        result = expression.program.execute(_context(_reads(expression), values, wall))
    except (KeyError, IndexError):
        return
    except Exception as error:  # noqa: BLE001 - the library raises whatever fits
        raise ExpressionError(f"this cannot be computed: {_said(error)}", _types_hint(expression, values)) from None
    if not isinstance(result, bool):
        hint = f"compare it with something, as in `{expression.source:.60} == …`"
        raise ExpressionError(f"this gives {_shown(result)} and not true or false", hint)


def _types_hint(expression: Expression, values: Mapping[str, Any]) -> str:
    shown = _values(expression, values)
    return f"for example {shown}" if shown else ""


def compile_judge(
    expect: Sequence[str],
    degraded_when: Sequence[str],
    facts: Mapping[str, str],
    slow_after: float | None = None,
    max_latency: float | None = None,
) -> Judge:
    """A judge of expressions that are known to be sound. Raises ExpressionError for one that is not."""
    return Judge(
        expect=tuple(compile_expression(source) for source in expect),
        degraded_when=tuple(compile_expression(source) for source in degraded_when),
        facts=facts,
        slow_after=slow_after,
        max_latency=max_latency,
    )


@dataclass(frozen=True, slots=True)
class Judge:
    """Applies a check's expectations to what its kind found; `facts` are names and dotted paths."""

    expect: tuple[Expression, ...] = ()
    degraded_when: tuple[Expression, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    slow_after: float | None = None
    max_latency: float | None = None
    names: frozenset[str] = field(init=False, compare=False)
    """All names that expressions and facts read."""
    wants_json: bool = field(init=False, compare=False)
    """Whether anybody asks for `json`, so that a body is parsed only for those who do."""
    _reads: _Reads = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Asked at every run, and the same at every run.
        reads = _reads(*self.expect, *self.degraded_when)
        names = reads.names.union(_root(path) for path in self.facts.values()) if self.facts else reads.names
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "wants_json", JSON in names)
        object.__setattr__(self, "_reads", reads)

    def __call__(self, sample: Sample, now: float) -> Verdict:
        """The verdict on `sample`, with `now` in seconds since 1970 UTC. Never raises."""
        verdict = Verdict(sample.status, sample.reason, sample.detail)
        if not self._applies(sample):
            return verdict
        latency = sample.latency
        values = sample.values if latency is None or LATENCY in sample.values else {LATENCY: latency, **sample.values}
        expectations = _Run(self._reads, values, now)
        failed, error = self._expected(expectations)
        if failed is not None:
            return self._failed(sample, *failed)
        if self.max_latency is not None and latency is not None and latency > self.max_latency:
            limit = format_duration(self.max_latency)
            return Verdict(Status.DOWN, Reason.SLOW, f"took {format_duration(latency)}, more than {limit}")
        if error:
            return Verdict(Status.UNKNOWN, Reason.EXPECTATION_ERROR, error)
        return self._degraded(sample, expectations)

    def _expected(self, run: _Run) -> tuple[tuple[Expression, str] | None, str]:
        """The expectation that failed, one that names `status` first; and why another cannot be told."""
        failed: tuple[Expression, str] | None = None
        error = ""
        for expression in self.expect:
            result, said = run.run(expression)
            if result is False and (failed is None or STATUS in expression.names - failed[0].names):
                failed = (expression, said)
            elif result is None:
                error = error or said
        return failed, error

    def _failed(self, sample: Sample, expression: Expression, said: str) -> Verdict:
        """A false expectation. Where it is about a status that the kind has a name for (auth,
        rate_limited), that stands.
        """
        if sample.status is not Status.OK and sample.soft and STATUS in expression.names:
            return Verdict(sample.status, sample.reason, _capped(f"{sample.detail}; {said}" if sample.detail else said))
        return Verdict(Status.DOWN, Reason.EXPECTATION, said)

    def extract(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The facts that are there; one that is missing is left out."""
        found: dict[str, Any] = {}
        for name, path in self.facts.items():
            try:
                found[name] = lookup(values, path)
            except (KeyError, ValueError):
                continue
        return found

    def _applies(self, sample: Sample) -> bool:
        """Whether the author has a say: over a good answer, or a default verdict on a status that he names
        himself.

        Too Many Requests is no failure of the other side, and not for an expectation to turn into one.
        """
        if sample.status is Status.OK:
            return True
        if sample.soft:
            return any(STATUS in expression.names for expression in self.expect)
        return sample.status is Status.DEGRADED and sample.reason is not Reason.RATE_LIMITED

    def _degraded(self, sample: Sample, expectations: _Run) -> Verdict:
        """All expectations hold: what is left is ok or degraded."""
        if sample.status is Status.DEGRADED and not sample.soft:
            return Verdict(sample.status, sample.reason, sample.detail)
        for expression in self.degraded_when:
            result, said = expectations.run(expression)
            if result is True:
                shown = _values(expression, expectations.values)
                detail = _capped(f"{expression.source} ({shown})" if shown else expression.source)
                return Verdict(Status.DEGRADED, Reason.EXPECTATION, detail)
            if result is None:
                return Verdict(Status.UNKNOWN, Reason.EXPECTATION_ERROR, said)
        latency = sample.latency
        if self.slow_after is not None and latency is not None and latency > self.slow_after:
            detail = f"took {format_duration(latency)}, slow from {format_duration(self.slow_after)} on"
            return Verdict(Status.DEGRADED, Reason.SLOW, detail)
        return Verdict(Status.OK, None, sample.detail)


class _Run:
    """The expressions of one observation, over one context that is built when the first of them runs."""

    __slots__ = ("_context", "_now", "_reads", "values")

    def __init__(self, reads: _Reads, values: Mapping[str, Any], now: float) -> None:
        self.values = values
        self._reads = reads
        self._now = now
        self._context: Any = None

    def run(self, expression: Expression) -> tuple[bool | None, str]:
        """True, false, or None where it cannot be told; and why it is not true."""
        try:
            if self._context is None:
                self._context = _context(self._reads, self.values, self._now)
            result = expression.program.execute(self._context)
        except Exception as error:  # noqa: BLE001 - the library raises whatever fits
            return None, self._explain(expression, f"cannot be told: {self._said(expression, error)}")
        if result is True:
            return True, ""
        if result is False:
            return False, self._explain(expression, "is false")
        return None, self._explain(expression, f"gives {_shown(result)} and not true or false")

    def _said(self, expression: Expression, error: Exception) -> str:
        if JSON in expression.names and JSON not in self.values and JSON_ERROR in self.values:
            return f"the body is no JSON: {self.values[JSON_ERROR]}"
        return _said(error)

    def _explain(self, expression: Expression, what: str) -> str:
        shown = _values(expression, self.values)
        return _capped(f"{expression.source} {what} ({shown})" if shown else f"{expression.source} {what}")


def _context(reads: _Reads, values: Mapping[str, Any], now: float) -> Any:
    """Only what is named goes in, since everything that goes in is converted."""
    variables = {name: values[name] for name in reads.names if name in values}
    if NOW in reads.names and NOW not in values:
        variables[NOW] = datetime.fromtimestamp(now, UTC)
    own: dict[str, Callable[..., Any]] = {"age": functools.partial(age, now)} if "age" in reads.functions else {}
    return Context(variables=variables, functions=own)


def age(now: float, value: Any) -> timedelta:
    """How long ago `value` was: an RFC 3339 text with an offset, seconds (or milliseconds) since 1970, a
    timestamp.

    Raises ValueError for anything else, and for what lies ahead: a source that delivers the year 2099 is not
    fresh.
    """
    moment = parse_moment(value)
    if moment > now + FUTURE_TOLERANCE:
        raise ValueError(f"{_shown(value)} lies {format_duration(moment - now)} in the future")
    return timedelta(seconds=now - moment)


def check_fact(path: str, sample: Mapping[str, Any] | None) -> None:
    """Whether a dotted path can name a value of a kind; of any, where its sample is not known. Raises
    ExpressionError.
    """
    try:
        parse_path(path)
    except ValueError as error:
        raise ExpressionError(str(error)) from None
    root = _root(path)
    if sample is not None and root not in sample and root != LATENCY:
        raise ExpressionError(f"there is no {root!r} here", word=root, names=sorted({*sample, LATENCY}))


# --- words --------------------------------------------------------------------------------------------------


def _root(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def _said(error: Exception) -> str:
    """An error of the library in a few words."""
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}" if error.args else "a value is missing"
    text = str(error)
    own = _OWN_ERROR.search(text)
    if own is not None:
        return own[1][:160]
    if text.startswith("No such overload"):
        return "its values are of types that do not go together"
    undefined = re.match(r"Undefined variable or function: '(\w+)'", text)
    if undefined is not None:
        return f"there is no {undefined[1]!r}"
    return _ADVICE.sub("", text).splitlines()[0][:160] if text.strip() else type(error).__name__


def _values(expression: Expression, values: Mapping[str, Any]) -> str:
    """The value of each name in an expression: `json.queue.depth = 250`."""
    shown = []
    for path in expression.paths:
        try:
            shown.append(f"{path} = {_shown(lookup(values, path))}")
        except (KeyError, ValueError):
            shown.append(f"{path} is missing")
    return ", ".join(shown)


def _shown(value: Any) -> str:
    if isinstance(value, datetime | timedelta):
        return str(value)
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _capped(text: str) -> str:
    return text if len(text) <= MAX_DETAIL else f"{text[: MAX_DETAIL - 1]}…"
