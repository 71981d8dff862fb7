"""What an injection is: a kind that breaks something on purpose, takes it back, and can tell whether it is gone.

`kinds/injections/haproxy.py` implements `haproxy` of a drill's `inject`. Its module holds, in this order:

* a docstring: its help, shown by `opsdash kinds haproxy`;
* `class Options(StrictOptions)`: the keys of `inject: {haproxy: …}`, and of `undo: {haproxy: …}` where one is written;
* `preflight`, `inject`, `undo`, `verify_undone`;
* `KIND = InjectionKind(...)`: its registration.

`preflight` is asked by the guard process before anything is armed, and only then: it says whether the fault can be
made, and that it is not there already. A fault that was there before the drill is none of the drill's, so whoever finds
one refuses; what `undo` then takes back is certainly the drill's own. `inject` is called once by the engine. `undo` is
called by the guard, or by the engine where the guard died, and may be called again and again: it must do no harm where
nothing is left to be undone. Each of them is cut off at `context.deadline`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from opsdash.kinds.base import ActionContext, ActionResult, Preflight, StrictOptions
from opsdash.model.text import LONGEST_COMMAND, clean_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

Gone = tuple[bool | None, str]
"""Whether a fault is gone (None: that cannot be told), and what that rests on, for people."""


@dataclass(slots=True)
class InjectionContext(ActionContext):
    """What an injection may use besides its options; of an action's context, `action_id` is the id of the drill's run.

    limit: seconds after which the fault has to be gone. A fault that can end by itself is told so.
    folder: of the run, for what has to be remembered from `inject` to `undo`, and for files that are evidence; they may
        be called in different processes.
    """

    limit: float = 600.0
    folder: Path | None = None


class InjectionRun(Protocol):
    """`inject` and `undo` of an injection kind."""

    def __call__(self, options: Any, context: InjectionContext, /) -> Awaitable[ActionResult]: ...


class InjectionVerify(Protocol):
    """`verify_undone` of an injection kind."""

    def __call__(self, options: Any, context: InjectionContext, /) -> Awaitable[Gone]: ...


class InjectionFlaws(Protocol):
    """`flaws` of an injection kind."""

    def __call__(self, options: Any, context: InjectionContext, /) -> Awaitable[str]: ...


class InjectionPreflight(Protocol):
    """`preflight` of an injection kind."""

    def __call__(self, options: Any, context: InjectionContext, /) -> Awaitable[Preflight]: ...


@dataclass(frozen=True, slots=True)
class InjectionKind:
    """Registration of an injection kind.

    knows_way_back: whether the undo follows from the options of `inject`. Where it does not, a drill has to say it.
    expires_on_target: whether the fault can end by itself on the target, also when this host loses its power.
    self_undoing: whether nothing has to be undone, since nothing is touched.
    needs: what has to be installed or running besides opsdash, for people; "" for nothing.
    manual: given *raw* options of the undo (secrets still as references), the equivalent command for a person's shell.
    flaws: of a kind whose fault goes on happening after `inject`: what did not come about, asked once it was undone; ""
        where nothing is known to be missing.
    way_back: given raw options of `inject`, those of `undo`; read only where `knows_way_back`.
    extra: as of a check kind.
    """

    name: str
    summary: str
    options: type[StrictOptions]
    preflight: InjectionPreflight
    inject: InjectionRun
    undo: InjectionRun
    verify_undone: InjectionVerify
    manual: Callable[[Mapping[str, Any]], str]
    knows_way_back: bool = False
    expires_on_target: bool = False
    self_undoing: bool = False
    needs: str = ""
    way_back: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=lambda raw: raw)
    flaws: InjectionFlaws | None = None
    extra: str | None = None

    def undo_options(self, raw: Mapping[str, Any], undo: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The raw options that take the injection `raw` back; `undo`: as the drill's file has them.

        Raises ValueError where there are none and the kind knows no way back.
        """
        if undo is not None:
            return undo
        if not self.knows_way_back:
            raise ValueError(f"an injection of the kind {self.name} does not know its own way back; write `undo`")
        return self.way_back(raw)

    def manual_command(self, undo: Mapping[str, Any]) -> str:
        """The equivalent of an undo as it may be shown: without controls, cut when endless.

        Raises KeyError, TypeError or ValueError where the options are not what the kind expects.
        """
        return clean_lines(self.manual(undo), LONGEST_COMMAND)
