"""Feature flags in a flagd file (OpenFeature): several of them flipped at once, for a degraded mode or a provider.

    read:  {kind: flagd, file: /srv/shop/flags.json, mode: essentials, flags: {recommendations: none, search: exact}}
    enter:
      kind: flagd
      file: /srv/shop/flags.json
      mode: "{mode.as}"
      flags: {recommendations: none, search: exact}

Only the `defaultVariant` of these flags is changed, never their `state`: a disabled flag gives each application its own
default. The file's metadata says which mode is in force (`opsdash.mode`), with which variants (`opsdash.flags`), and
whose action that was (`opsdash.action`). It reaches applications as flag metadata, so that their health page can tell,
and a check verify, that the mode has arrived. All else in the file stays as it was, byte for byte.

A mode is in force when the metadata names it and each flag has its variant. Otherwise `read` gives what the flags say,
such as `recommendations=full, search=exact`: somebody who flips one by hand is seen, and what was there before can be
put back exactly. A flag that somebody else changed meanwhile is then left as it is, and named.

For a switch between providers, whose names are the variants of a flag:

    read:   {kind: flagd, file: /srv/shop/flags.json, flags: [mail-provider]}
    action: {kind: flagd, file: /srv/shop/flags.json, mode: "{to.as}", flags: {mail-provider: "{to.as}"}}

What applications would not take is never written, nor written over: they keep their last good flags, and would go on
doing so. Most of them look at the file twice a second.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opsdash.errors import KindError
from opsdash.kinds.atomic import Change, carry_out, check_place, content_of, trouble, write_like
from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading, StrictOptions
from opsdash.kinds.bodies import parse_json
from opsdash.kinds.edits import edit_json, remove_json, with_object
from opsdash.kinds.offload import in_thread
from opsdash.kinds.scalars import scalar_text
from opsdash.kinds.shellwords import shell_command
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

LONGEST: Final = 200
"""Characters of a value that the engine keeps; what was there before has to fit, or it could not be put back."""
ROOM: Final = 150
"""Characters that the variants of a mode may take, so that those of normal operation may be somewhat longer."""
SETTLE: Final = 2.0
"""Seconds until an application has surely seen it; its SDK asks for the file's time every 500 ms."""

_STATES: Final = ("ENABLED", "DISABLED")


def _name(value: Any) -> str:
    text = scalar_text(value)
    if any(character < " " for character in text):
        raise ValueError("a name contains no control characters")
    return text


Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""A flag's key or a variant's name; `true` and `10` may go without quotes."""


class _Place(StrictOptions):
    file: str = Field(min_length=1)
    """The flag file, JSON as flagd defines it; a relative path starts at the workspace."""

    prefix: str = Field(default="opsdash", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """What the metadata keys `….mode`, `….flags` and `….action` begin with. Where modes that may be in force at the
    same time use one file, each needs its own.
    """


class ReadOptions(_Place):
    flags: dict[Name, Name] | tuple[Name, ...] = Field(min_length=1)
    """The flags with the variants that they have while `mode` is in force; or, for a switch between providers, a list
    of flags: the variant that all of them have is then the name of who serves.
    """

    mode: Name | None = None
    """The name of the degraded mode, as its `as` has it."""

    @model_validator(mode="after")
    def _forms_are_not_mixed(self) -> Self:
        if isinstance(self.flags, dict) and self.mode is None:
            raise ValueError("flags with variants belong to a mode, so say which `mode`; or write a list of flags")
        if not isinstance(self.flags, dict) and self.mode is not None:
            raise ValueError("say which variant each of the `flags` has in this `mode`, as {flag: variant}")
        return self


class Options(_Place):
    flags: dict[Name, Name | None] = Field(min_length=1)
    """The flags to change, each with the variant that becomes its default; `null`: none, so that the default of each
    application counts.
    """

    mode: Name | None = None
    """What the metadata then says is in force, such as `{mode.as}` or `{to.as}`; without it, nothing."""

    only_where: dict[Name, Name] | None = None
    """Change a flag only where it still has this variant, and leave it alone where somebody else has changed it. That
    is how opsdash puts back what was there before.
    """

    @model_validator(mode="after")
    def _conditions_name_the_flags(self) -> Self:
        if self.only_where is not None and self.only_where.keys() != self.flags.keys():
            raise ValueError("`only_where` names other flags than `flags`")
        return self


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Compare and swap under a lock of the folder."""
    context.stage = "write"
    flip = _Flip(options, context.workspace / options.file, context.action_id, context.expected)
    return await carry_out(flip.carry_out, key=("flagd", flip.file), shown=options.file, context=context)


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    context.stage = "read"
    file = context.workspace / options.file

    def look() -> Reading:
        try:
            return _reading(options, FlagSet.of(content_of(file), options.prefix))
        except (ValueError, OSError) as error:
            return Reading(None, detail=trouble(options.file, error))

    return await in_thread(("flagd", file), look)


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Everything but the renaming: the folder can be written and locked, the new content can be made."""
    context.stage = "preflight"
    file = context.workspace / options.file

    def try_out() -> Preflight:
        try:
            return Preflight(passed=True, detail=_try_out(options, Path(os.path.realpath(file))))
        except (ValueError, OSError) as error:
            return Preflight(passed=False, detail=trouble(options.file, error))

    return await in_thread(("flagd", file), try_out)


def refine(options: Options) -> Abilities:
    """What was there before can be put back if its name fits into a value."""
    fits = len(_variants_text(options.flags.values())) <= ROOM
    return Abilities(cas=True, idempotent=True, read_back=True, restores=fits, marks=True, settle=SETTLE)


# --- what a file says --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlagSet:
    """A flag file that applications take as it is. Whoever makes one raises ValueError for any other."""

    content: str
    document: dict[str, Any]
    prefix: str

    @classmethod
    def of(cls, content: str, prefix: str) -> FlagSet:
        if not content:
            raise ValueError("does not exist, or is empty")
        try:
            document = parse_json(content)
        except ValueError as error:
            raise ValueError(f"is no JSON: {error}") from None
        _check_document(document)
        return cls(content, document, prefix)

    @property
    def mode(self) -> str | None:
        """The mode that the metadata says is in force."""
        return self._note("mode")

    @property
    def action(self) -> str | None:
        """The action that put it in force, as long as the flags are as it left them."""
        try:
            noted = _parsed(self._note("flags") or "")[1]
        except ValueError:
            return None
        as_it_was = noted and all(self._has(flag, variant) for flag, variant in noted.items())
        return self._note("action") if as_it_was else None

    def _note(self, key: str) -> str | None:
        value = self.document.get("metadata", {}).get(f"{self.prefix}.{key}")
        return None if value is None or value == "" else scalar_text(value)

    def _has(self, flag: str, variant: str | None) -> bool:
        return flag in self.document["flags"] and self.variant(flag) == variant

    def variant(self, flag: str) -> str | None:
        """The default variant of a flag; None where the application's own default counts."""
        found = self.document["flags"].get(flag)
        if found is None:
            raise ValueError(f"has no flag {flag!r}")
        default = found.get("defaultVariant")
        return None if default is None or default == "" else scalar_text(default)

    def variants(self, flags: Iterable[str]) -> dict[str, str | None]:
        """The default variants of these flags."""
        return {flag: self.variant(flag) for flag in flags}

    def check_flip(self, flags: Mapping[str, str | None]) -> None:
        """Raise ValueError where a flag could not get its variant, or nobody would notice."""
        for flag, variant in flags.items():
            self.variant(flag)
            found = self.document["flags"][flag]
            if found["state"] == "DISABLED":
                raise ValueError(f"has the flag {flag!r} disabled, so that none of its variants reaches anybody")
            if variant is not None and variant not in found["variants"]:
                known = ", ".join(found["variants"])
                raise ValueError(f"has no variant {variant!r} of the flag {flag!r}; it has: {known}")

    def flipped(self, flags: Mapping[str, str | None], notes: Mapping[str, str | None]) -> str:
        """The new content, with these variants and this metadata."""
        content = with_object(self.content, "metadata")
        wanted = copy.deepcopy(self.document)
        for flag, variant in flags.items():
            if self.variant(flag) != variant:
                content = _put(content, ["flags", flag, "defaultVariant"], variant)
                _put_plainly(wanted["flags"][flag], "defaultVariant", variant)
        metadata = wanted.setdefault("metadata", {})
        for key, value in notes.items():
            content = _put(content, ["metadata", f"{self.prefix}.{key}"], value)
            _put_plainly(metadata, f"{self.prefix}.{key}", value)
        if parse_json(content) != wanted:
            raise ValueError("could not be changed without changing something else in it as well")
        return content


def _put(content: str, path: list[str], value: str | None) -> str:
    return remove_json(content, path) if value is None else edit_json(content, path, value)


def _put_plainly(parent: dict[str, Any], key: str, value: str | None) -> None:
    if value is None:
        parent.pop(key, None)
    else:
        parent[key] = value


def _check_document(document: Any) -> None:
    """Raise ValueError for what makes applications keep the flags that they had before."""
    if not isinstance(document, dict) or not isinstance(document.get("flags"), dict):
        raise ValueError("is no flag file: it has no object `flags`")  # noqa: TRY004 - it is the content that is wrong
    for flag, found in document["flags"].items():
        wrong = _flaw(found)
        if wrong:
            raise ValueError(f"has a flag {flag!r} that applications do not take: {wrong}")
    wrong = _metadata_flaw(document.get("metadata", {}))
    if wrong:
        raise ValueError(f"has metadata that applications do not take: {wrong}")


def _flaw(flag: Any) -> str:
    if not isinstance(flag, dict):
        return "it is no object"
    if flag.get("state") not in _STATES:
        return "its `state` is neither ENABLED nor DISABLED"
    variants = flag.get("variants")
    if not isinstance(variants, dict) or not variants:
        return "it has no `variants`"
    default = flag.get("defaultVariant")
    if isinstance(default, bool):
        default = scalar_text(default)
    if default is not None and not isinstance(default, str):
        return "its `defaultVariant` is no name"
    if default and default not in variants:
        return f"its `defaultVariant` {default!r} is none of its variants"
    return _metadata_flaw(flag.get("metadata", {}))


def _metadata_flaw(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        return "`metadata` is no object"
    return next((f"{key!r} is no single value" for key, value in metadata.items() if not _is_single(value)), "")


def _is_single(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _reading(options: ReadOptions, found: FlagSet) -> Reading:
    present = found.variants(options.flags)
    if isinstance(options.flags, dict):
        differing = [flag for flag, variant in options.flags.items() if present[flag] != variant]
        if found.mode == options.mode and not differing:
            return Reading(options.mode, by=found.action)
        return Reading(_text(found.mode, present), detail=_why_not(options, found, differing), by=found.action)
    names = set(present.values())
    agreed = names.pop() if len(names) == 1 else None
    if agreed is not None:
        return Reading(agreed, by=found.action)
    return Reading(_text(None, present), detail=f"the flags of {options.file} name no single provider")


def _why_not(options: ReadOptions, found: FlagSet, differing: list[str]) -> str:
    if found.mode != options.mode:
        return f"{options.file} says of {found.mode or 'no mode'} that it is in force"
    wrong = ", ".join(f"{flag} is {found.variant(flag) or 'without a default'}" for flag in differing)
    return f"{options.file} says that {options.mode} is in force, but {wrong}"


# --- names for what a file says ----------------------------------------------------------------------------------
#
# `recommendations=full, search=exact`, behind the mode of the metadata where it names one: `normal: search=exact`. A
# flag without a default is `search=~`. Where that is too long, the variants alone, in the order of the flags' names;
# where that is too long as well, a hash.

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./@+-]+")
_WORD: Final = r'"(?:[^"\\]|\\.)*"|~|[A-Za-z0-9_./@+-]+'
_MARKED: Final = re.compile(rf"({_WORD}): (.*)")
_ITEM: Final = re.compile(rf"(?:({_WORD})=)?({_WORD})(?:, |$)")


def _text(mode: str | None, variants: Mapping[str, str | None]) -> str:
    front = "" if mode is None else f"{_word(mode)}: "
    named = front + _named(variants)
    for text in (named, front + _variants_text(variants[flag] for flag in sorted(variants))):
        if len(text) <= LONGEST:
            return text
    return f"{len(variants)} flags, {hashlib.sha256(named.encode()).hexdigest()[:16]}"


def _named(variants: Mapping[str, str | None]) -> str:
    return ", ".join(f"{_word(flag)}={_word(variants[flag])}" for flag in sorted(variants))


def _variants_text(variants: Iterable[str | None]) -> str:
    return ", ".join(map(_word, variants))


def _word(name: str | None) -> str:
    if name is None:
        return "~"
    return name if _PLAIN.fullmatch(name) else json.dumps(name)


def _parsed(text: str, flags: Iterable[str] = ()) -> tuple[str | None, dict[str, str | None]]:
    """The mode and the variants that `_text` put into words; `flags`: whose, where it may have said variants alone.

    Raises ValueError for what it cannot have said.
    """
    marked = _MARKED.fullmatch(text)
    mode, rest = (_unquoted(marked[1]), marked[2]) if marked else (None, text)
    items = list(_items(rest))
    if all(flag is not None for flag, _ in items):
        return mode, {str(flag): variant for flag, variant in items}
    keys = sorted(flags)
    if len(keys) != len(items) or any(flag is not None for flag, _ in items):
        raise _unclear(text)
    return mode, {flag: variant for flag, (_, variant) in zip(keys, items, strict=True)}


def _items(text: str) -> Iterable[tuple[str | None, str | None]]:
    place = 0
    while place < len(text):
        match = _ITEM.match(text, place)
        if match is None:
            raise _unclear(text)
        yield _unquoted(match[1]), _unquoted(match[2])
        place = match.end()


def _unclear(text: str) -> ValueError:
    return ValueError(f"{text!r} does not say which variants there were")


def _unquoted(word: str | None) -> str | None:
    if word is None or word == "~":
        return None
    return str(json.loads(word)) if word.startswith('"') else word


# --- in the thread -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Flip:
    """One compare-and-swap. It raises ValueError or OSError as long as nothing has changed."""

    options: Options
    file: Path
    action_id: str
    expected: str | None

    def carry_out(self, change: Change) -> ActionResult:
        file = Path(os.path.realpath(self.file))  # renaming over a link would replace the link
        with change.locked(file) as put:
            return self._swap(file, FlagSet.of(content_of(file), self.options.prefix), put)

    def _swap(self, file: Path, found: FlagSet, put: Callable[[Callable[[Path], None]], str]) -> ActionResult:
        options = self.options
        found.check_flip(options.flags)
        present = found.variants(options.flags)
        if present == options.flags and found.mode == options.mode:
            prior = self.expected if found.action == self.action_id else None
            return ActionResult(Applied.APPLIED, f"{options.file} says so already: {_told(options.flags)}", prior)
        self._compare(found, present)
        ours, others = self._ours(present)
        notes = {"mode": options.mode, "flags": _named(ours), "action": self.action_id}
        content = found.flipped(ours, notes)
        remark = put(lambda beside: write_like(file, beside, content))
        detail = f"{options.file} says {options.mode or 'of no mode'}: {_told(ours)}{remark}"
        if others:
            detail += f"; left alone, since somebody else has changed it: {_told(others)}"
        return ActionResult(Applied.APPLIED, detail, _text(found.mode, present))

    def _compare(self, found: FlagSet, present: Mapping[str, str | None]) -> None:
        """Raise ValueError when what is in force is not what was expected.

        It may be called by what its flags say, by the one variant that they have, or by the mode of the metadata: by
        that when flags are put back (each is then looked at by itself), or when they are as the mode has them.
        """
        names: set[str | None] = {_text(found.mode, present)}
        if len(set(present.values())) == 1:
            names |= set(present.values())
        if found.mode is not None and (self.options.only_where is not None or found.action is not None):
            names.add(found.mode)
        if self.expected is not None and self.expected not in names:
            raise ValueError(f"says {_text(found.mode, present)}, where {self.expected} was expected")

    def _ours(self, present: Mapping[str, str | None]) -> tuple[dict[str, str | None], dict[str, str | None]]:
        """The flags to change with their new variants, and those that somebody else has changed, as they are."""
        wanted, conditions = self.options.flags, self.options.only_where
        if conditions is None:
            return dict(wanted), {}
        ours = {flag: variant for flag, variant in wanted.items() if present[flag] in {conditions[flag], variant}}
        others = {flag: present[flag] for flag in wanted if flag not in ours}
        if not ours:
            raise ValueError(f"has none of these flags as they were put: {_told(others)}")
        return ours, others


def _told(flags: Mapping[str, str | None]) -> str:
    return ", ".join(f"{flag} is {variant or 'without a default'}" for flag, variant in flags.items())


def _try_out(options: Options, file: Path) -> str:
    check_place(file)
    found = FlagSet.of(content_of(file), options.prefix)
    found.check_flip(options.flags)
    found.flipped(options.flags, {"mode": options.mode, "flags": "preflight", "action": "preflight"})
    says = _text(found.mode, found.variants(options.flags))
    targeted = [flag for flag in options.flags if found.document["flags"][flag].get("targeting")]
    words = f"{options.file} can be written; it says {says}"
    if targeted:
        words += f"; rules come first, for whom they apply to, with {', '.join(targeted)} (`targeting`)"
    return words


# --- for people --------------------------------------------------------------------------------------------------

_PROGRAM: Final = (
    "import json, os, shutil, sys; file, change = sys.argv[1], json.loads(sys.argv[2]); top = json.load(open(file)); "
    '[top["flags"][flag].update(defaultVariant=variant) for flag, variant in change["flags"].items()]; '
    'top["metadata"] = top.get("metadata", {}) | change["metadata"]; '
    '[top["metadata"].pop(key) for key, value in change["metadata"].items() if value is None]; '
    'json.dump(top, open(file + ".new", "w"), indent=2); shutil.copymode(file, file + ".new"); '
    'os.replace(file + ".new", file)'
)


def manual(raw: Mapping[str, Any]) -> str:
    """The command, to be given in the workspace's folder."""
    prefix = raw.get("prefix", "opsdash")
    flags = {str(flag): _spelled(variant) for flag, variant in raw["flags"].items()}
    notes = {"mode": _spelled(raw.get("mode")), "flags": _named(flags), "action": "by hand"}
    change = {"flags": flags, "metadata": {f"{prefix}.{key}": value for key, value in notes.items()}}
    words = shell_command([str(raw["file"]), json.dumps(change, ensure_ascii=False)])
    return f"python3 -c {shlex.quote(_PROGRAM)} {words}"


def _spelled(value: Any) -> str | None:
    return None if value is None else scalar_text(value)


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    """The variants that were there, each to be put back where the flag is still as the mode has it."""
    try:
        mode, variants = _parsed(prior, (str(flag) for flag in raw["flags"]))
    except ValueError as error:
        raise KindError(f"{error}; put them back by hand") from None
    if variants.keys() != {str(flag) for flag in raw["flags"]}:
        raise KindError(f"{prior!r} is not about these flags; put them back by hand")
    kept = {key: value for key, value in raw.items() if key != "mode"}
    return {**kept, **({} if mode is None else {"mode": mode}), "flags": variants, "only_where": dict(raw["flags"])}


KIND = ActionKind(
    name="flagd",
    summary="flags of a flagd file (OpenFeature), flipped together",
    options=Options,
    identity=("file", "prefix"),
    abilities=Abilities(cas=True, idempotent=True, read_back=True, restores=True, marks=True, settle=SETTLE),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
)
