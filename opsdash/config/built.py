"""A component as it is being built: its checks and providers, and what is known of those that are switched off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opsdash.model.templates import names_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.config.parse import Parsed
    from opsdash.config.parts import Report
    from opsdash.config.schema import ComponentModel
    from opsdash.kinds.base import CheckKind, CheckOptions
    from opsdash.kinds.expectations import Judge
    from opsdash.model.operation import CheckSpec, Provider


@dataclass(frozen=True, slots=True)
class Binding:
    """A check, ready to run: its kind, the kind's options with secrets filled in, and what judges the
    result.
    """

    check: CheckSpec
    kind: CheckKind
    options: CheckOptions
    judge: Judge

    def __repr__(self) -> str:
        return f"Binding({self.check.id})"


@dataclass(frozen=True, slots=True)
class Names:
    """What templates may name. unknown: names whose value could not be read; `open`: there may be any others too.
    What a template with such a name gives cannot be judged.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    open: bool = False

    def judged(self, value: Any) -> tuple[list[str], bool]:
        """The names in `value` that nothing can fill; and whether all that it names have a value."""
        used = names_in(value)
        if not used:
            return [], True
        lacking = [] if self.open else sorted(used - self.values.keys() - self.unknown)
        return lacking, used <= self.values.keys()


NO_NAMES = Names()


@dataclass(frozen=True, slots=True)
class Written:
    """A provider as it stands in the file, sound or not. unknown: keys that could not be read; `open`: none could."""

    provider: Provider
    unknown: frozenset[str] = frozenset()
    open: bool = False


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is known of a check, sound or not. kind: None where there is no such kind. unread: facts that could not be
    read; `open`: none could.
    """

    kind: CheckKind | None
    facts: Mapping[str, str]
    unread: frozenset[str] = frozenset()
    open: bool = False


@dataclass(slots=True)
class Built:
    """A component with its checks. `report` goes on collecting what linking finds.

    written, sketches: providers and checks as far as they could be read, also those that are switched off: what
    refers to them is judged by them.
    """

    id: str
    parsed: Parsed
    model: ComponentModel
    report: Report
    providers: dict[str, Provider] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)
    written: dict[str, Written] = field(default_factory=dict)
    sketches: dict[str, Sketch] = field(default_factory=dict)
    kept: dict[str, None] = field(default_factory=dict)

    def missing(self, part: str) -> str | None:
        """Why a part may not be there although nobody took it out, None where nothing speaks for that."""
        return None if part in self.kept else self.report.missing(part)

    def hides(self, section: str, name: str) -> bool:
        """Whether a part is missing only because of a problem: `failures` and a name, `checks` and `provider/check`."""
        parts = [f"{section}/{name}"]
        provider, slash, check = name.partition("/")
        if section == "checks" and slash:
            parts += [f"providers/{provider}", f"each/{check}"]
        return any(self.missing(part) is not None for part in parts)

    def keep(self, part: str) -> None:
        """A part stays in its last good version: it is not off."""
        self.kept[part] = None

    @property
    def off(self) -> dict[str, str]:
        """The parts that are off, with the reason."""
        return {part: reason for part, reason in self.report.off.items() if part not in self.kept}
