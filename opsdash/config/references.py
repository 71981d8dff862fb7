"""What a reference to a check means: `check`, `provider/check`, `component/check`, `component/provider/check`, and
`active/check`, which is that of the provider which serves.

Two things can be wrong with a reference. It *dangles*: nothing of that name exists anywhere, which is a problem, with
the nearest name. Or it names something that is there and switched off by a problem of its own: that problem is told
once, where it is, and what cannot do without it is switched off too, with the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.config.problems import did_you_mean
from opsdash.model.operation import ACTIVE, Signal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from opsdash.config.built import Built
    from opsdash.config.parts import Spot

_MAX_STEPS = 3


class Dangling(Exception):  # noqa: N818 - it becomes a Problem
    """A reference to nothing."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SwitchedOff(Exception):  # noqa: N818 - it becomes the reason of what depends on it
    """A reference to something that a problem has switched off."""


class CheckReferences:
    """Finds checks among what was built. lost: components whose files cannot be used at all, with the reason."""

    def __init__(self, built: Mapping[str, Built], lost: Mapping[str, str]) -> None:
        self._built = built
        self._lost = lost

    def several(self, built: Built, spot: Spot, texts: Sequence[str]) -> tuple[str, ...] | None:
        """Ids of checks by reference; None where one dangles or is off, with the part switched off."""
        found: list[str] = []
        for index, text in enumerate(texts):
            check = self.one(built, spot.at(index), text)
            if check is not None:
                found.append(check)
        return tuple(found) if len(found) == len(texts) else None

    def one(self, built: Built, spot: Spot, text: str) -> str | None:
        """The id of one check by reference; None where it dangles or is off, with the part switched off."""
        try:
            return str(self._fixed(built, text))
        except SwitchedOff as reason:
            spot.switch_off(str(reason))
        except Dangling as problem:
            spot.error(str(problem), problem.hint)
        return None

    def _fixed(self, built: Built, text: str) -> Signal:
        """What a reference means that has to mean the same before and after a switch."""
        signal = self.find(built, text)
        if signal.provider == ACTIVE:
            message = "active/… stands for another check after a switch"
            raise Dangling(message, "name a check of the component, or of a certain provider")
        return signal

    def find(self, built: Built, text: str) -> Signal:
        """What a reference means. Raises Dangling or SwitchedOff."""
        steps = text.split("/")
        if not all(steps) or len(steps) > _MAX_STEPS:
            hint = "write check, provider/check, component/check or component/provider/check"
            raise Dangling(f"{text!r} is no reference to a check", hint)
        component, provider = built.id, None
        if len(steps) == _MAX_STEPS:
            component, provider = steps[0], steps[1]
        elif len(steps) > 1 and steps[0] in {ACTIVE, *built.parsed.provider_order, *built.providers}:
            provider = steps[0]
        elif len(steps) > 1:
            component = steps[0]
        signal = Signal(component, provider, steps[-1])
        if component in self._lost:
            raise SwitchedOff(f"{component}: {self._lost[component]}")
        if not self.exists(signal):
            self._raise_missing(built, signal, text)
        return signal

    def exists(self, signal: Signal) -> bool:
        """Whether there is such a check; for `active/…`, of any provider."""
        found = self._built.get(signal.component)
        if found is None:
            return False
        if signal.provider == ACTIVE:
            providers = found.providers
            return any(f"{signal.component}/{each}/{signal.check}" in found.bindings for each in providers)
        return "/".join(filter(None, (signal.component, signal.provider, signal.check))) in found.bindings

    def meant(self, signal: Signal) -> Iterator[str]:
        """The checks of a reference that exists; `active/…` stands for one of each provider."""
        built = self._built[signal.component]
        providers = built.providers if signal.provider == ACTIVE else (signal.provider,)
        names = ("/".join(filter(None, (signal.component, each, signal.check))) for each in providers)
        return (name for name in names if name in built.bindings)

    def _raise_missing(self, built: Built, signal: Signal, text: str) -> None:
        for component, part in self._parts_of(built, signal, text):
            found = self._built.get(component)
            reason = found.missing(part) if found is not None else None
            if reason is not None:
                raise SwitchedOff(reason)
        if "/" not in text:
            with_it = [provider for provider in built.written if f"{built.id}/{provider}/{text}" in built.sketches]
            if with_it:
                hint = f'did you mean "active/{text}" or "{with_it[0]}/{text}"?'
                raise Dangling(f"there is no check {text!r} of the component itself", hint)
        raise Dangling(f"there is no check {text!r}", did_you_mean(text, self._references(built)))

    def _parts_of(self, built: Built, signal: Signal, text: str) -> Iterator[tuple[str, str]]:
        """The parts, with their component, by whose absence a check may be missing."""
        component, check = signal.component, signal.check
        first, _, rest = text.partition("/")
        if component != built.id and "/" not in rest and component not in self._built:
            yield built.id, f"providers/{first}"  # or did a provider of that name go missing?
        if signal.provider is None:
            yield component, f"checks/{check}"
            return
        yield component, f"each/{check}"
        if component not in self._built:
            return
        there = self._built[component]
        for provider in (*there.written, ACTIVE) if signal.provider == ACTIVE else (signal.provider,):
            yield component, f"checks/{provider}/{check}"
            written = there.written.get(provider)
            is_ambiguous = provider in self._built or provider in self._lost
            is_there = f"{component}/{provider}/{check}" in there.sketches
            if written is None or written.open or is_ambiguous or is_there:
                yield component, f"providers/{provider}"

    def _references(self, built: Built) -> Iterator[str]:
        """Every reference that means something in a file, the shortest first."""
        for check in built.sketches:
            own = check.partition("/")[2]
            yield own
            if "/" in own:
                yield f"{ACTIVE}/{own.partition('/')[2]}"
        for other in self._built.values():
            if other is not built:
                yield from other.sketches

    def is_check(self, check: str) -> bool:
        """Whether there is a check of that id."""
        found = self._built.get(check.partition("/")[0])
        return found is not None and check in found.bindings

    # --- witnesses ------------------------------------------------------------------------------------------

    def is_witness(self, check: str) -> bool:
        """Whether there is such a check, and each of its runs sees what is there now."""
        return self.is_check(check) and not self._keeps_connection(check)

    def _keeps_connection(self, check: str) -> bool:
        return self._built[check.partition("/")[0]].bindings[check].options.keeps_connection

    def witness(self, spot: Spot, check: str, why: str = "") -> bool:
        """Whether what `check` says counts after a switch; False with a problem reported."""
        if not self._keeps_connection(check):
            return True
        message = f"{check} keeps its connection and may go on talking to what was replaced{why}"
        spot.error(message, "give it connection: new, or name another check")
        return False


def runbook_named(spot: Spot, name: str | None, runbooks: Collection[str], unreadable: Mapping[str, str]) -> str | None:
    """The runbook of that name; None with a problem where there is no such file. unreadable: runbooks that are there
    and may not be read, with the reason.
    """
    if name is None or name in runbooks:
        return name
    if name in unreadable:
        spot.switch_off(unreadable[name])
        return None
    hint = did_you_mean(name, runbooks) or "write the file, or remove the key"
    if name.endswith(".md"):
        hint = "leave the .md away"
    spot.error(f"there is no runbooks/{name.removesuffix('.md')}.md", hint)
    return None
