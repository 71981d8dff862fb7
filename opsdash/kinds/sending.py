"""A request that changes something, sent once: what its failure means, and what the answer is shown as.

From the moment in which the first byte may have left, nobody can tell a request that was lost from one that was
carried out. So that moment is noticed (`Sender`), and a failure is `not_started` before it and `unknown` after it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from opsdash.kinds.base import ActionResult, Applied
from opsdash.kinds.bodies import decode_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opsdash.kinds.resolver import Resolver
    from opsdash.kinds.transport import Response

EXCERPT: Final = 200
"""Characters of an answer that are shown."""


class Sending(Protocol):
    """The context of whatever is sent once: an action, a message."""

    stage: str

    @property
    def resolver(self) -> Resolver: ...

    @property
    def deadline(self) -> float: ...

    @property
    def on_sent(self) -> Callable[[], None]: ...


class Sender:
    """Stands between an exchange and the context, to notice the moment in which something is sent.

    before: called at that moment; what it raises stops the exchange before anything is sent.
    """

    def __init__(self, context: Sending, before: Callable[[], None] = lambda: None) -> None:
        self._context = context
        self._before = before
        self.sent = False

    @property
    def resolver(self) -> Resolver:
        return self._context.resolver

    @property
    def stage(self) -> str:
        return self._context.stage

    @stage.setter
    def stage(self, stage: str) -> None:
        if stage == "send" and not self.sent:
            self._before()
            self.sent = True
            self._context.on_sent()
        self._context.stage = stage

    def unanswered(self, where: str, words: str) -> ActionResult:
        """What is known of an action to which there was no answer, for the reason in `words`."""
        detail = self.in_words(where, words)
        return ActionResult(Applied.UNKNOWN if self.sent else Applied.NOT_STARTED, detail)

    def in_words(self, where: str, words: str) -> str:
        """A request to which there was no answer, as a sentence."""
        if self.sent:
            return f"{where}: {words} ({self.stage}), after the request had been sent"
        return f"{where}: {words} ({self.stage}); nothing was sent"


def patience(context: Sending) -> float:
    """A little less than the deadline: what was found out is worth more than being cut off."""
    return max(context.deadline - 0.5, context.deadline * 0.8)


def told(response: Response) -> str:
    """Status and beginning of an answer, on one line."""
    words = f"{response.status} {phrase(response.status)}".rstrip()
    said = excerpt(response)
    return f"{words}: {said}" if said else words


def excerpt(response: Response) -> str:
    """The beginning of an answer's body, on one line."""
    text = decode_text(response.body[: 4 * EXCERPT], response.header("content-type"))
    return " ".join(text.split())[:EXCERPT]


def phrase(status: int) -> str:
    """The words of a status; empty for one that nobody has heard of."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def curl_tls(raw: Mapping[str, Any]) -> list[str]:
    """How curl is told what raw options say of TLS."""
    words = ["--insecure"] if raw.get("verify_tls") is False else []
    for key, option in (("ca", "--cacert"), ("client_cert", "--cert"), ("client_key", "--key")):
        if raw.get(key) is not None:
            words += [option, str(raw[key])]
    return words
