"""What an exception of the operating system, of TLS or of a parser means, as a table.

Every kind that talks over the network reports a failure by the same codes, and the same words, through
`failed`. The rule behind the table: `down` needs the other side. What went wrong on this side, before or
without the other one (no descriptors left, an unreadable certificate file, a proxy that does not answer),
is `unknown`, because it says nothing of the target.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING, Final

from opsdash.errors import OpsdashError
from opsdash.kinds.base import Sample
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Mapping


class ProtocolError(OpsdashError):
    """The other side answered, but not as its protocol demands."""


class TooLargeError(ProtocolError):
    """The other side sent more than the limit where a limit cannot be papered over."""


class RejectedError(OpsdashError):
    """The other side did not accept our credentials."""


class UnreachedError(OpsdashError):
    """A proxy could not connect to the other side."""


class UnansweredError(UnreachedError):
    """A proxy got no answer from the other side in time."""


class ProxyFailedError(OpsdashError):
    """The proxy on the way did not do its part, which says nothing of the other side. `__cause__` says why."""


class ProbeProblemError(OpsdashError):
    """This side cannot make the measurement: a file of ours is missing or unreadable."""


FAILURES: Final = (OSError, OpsdashError)
"""What `failed` understands; a kind catches these, and lets everything else fly as the bug that it is."""

_X509_EXPIRED: Final = 10
_BY_ERRNO: Final = {
    errno.EHOSTUNREACH: (Reason.REFUSED, "no route to the host"),
    errno.ENETUNREACH: (Reason.REFUSED, "the network is unreachable"),
    errno.EHOSTDOWN: (Reason.REFUSED, "the host is down"),
}
_BY_TYPE: Final[tuple[tuple[type[BaseException], Status, Reason, str], ...]] = (
    (ProbeProblemError, Status.UNKNOWN, Reason.CONFIG, "{error}"),
    (RejectedError, Status.DOWN, Reason.AUTH, "{error}"),
    (UnansweredError, Status.DOWN, Reason.TIMEOUT, "{error}"),
    (UnreachedError, Status.DOWN, Reason.REFUSED, "{error}"),
    (TooLargeError, Status.DOWN, Reason.TOO_LARGE, "{error}"),
    (ProtocolError, Status.DOWN, Reason.PROTOCOL, "{error}"),
    (socket.gaierror, Status.DOWN, Reason.DNS, "the name cannot be looked up: {error.strerror}"),
    (ssl.SSLEOFError, Status.DOWN, Reason.TLS, "closed the connection during the TLS handshake"),
    (ssl.SSLError, Status.DOWN, Reason.TLS, "TLS failed: {words}"),
    (ConnectionRefusedError, Status.DOWN, Reason.REFUSED, "connection refused"),
    (ConnectionResetError, Status.DOWN, Reason.RESET, "connection reset"),
    (ConnectionAbortedError, Status.DOWN, Reason.RESET, "connection aborted"),
    (BrokenPipeError, Status.DOWN, Reason.RESET, "connection closed while sending"),
    (TimeoutError, Status.DOWN, Reason.TIMEOUT, "the system gave up waiting for the other side"),
)


def failed(error: BaseException, *, where: str = "", phases: Mapping[str, float] | None = None) -> Sample:
    """The sample of a run that ended in `error`, one of `FAILURES`. `where` names the target."""
    status, reason, words = explain(error)
    detail = f"{where}: {words}" if where else words
    return Sample(status=status, reason=reason, detail=detail, phases=phases or {})


def explain(error: BaseException) -> tuple[Status, Reason, str]:
    """Status, reason code and words for `error`."""
    if isinstance(error, ProxyFailedError) and error.__cause__ is not None:
        _, reason, words = explain(error.__cause__)
        return Status.UNKNOWN, reason, f"{error}: {words}"
    if isinstance(error, ssl.SSLCertVerificationError):
        expired = error.verify_code == _X509_EXPIRED
        reason = Reason.EXPIRED if expired else Reason.TLS
        return Status.DOWN, reason, f"the certificate is not accepted: {error.verify_message}"
    for kind, status, reason, words in _BY_TYPE:
        if isinstance(error, kind):
            return status, reason, words.format(error=error, words=_tls_words(error))
    if isinstance(error, OSError):
        return _by_errno(error)
    return Status.UNKNOWN, Reason.PROBE_ERROR, str(error)


def _by_errno(error: OSError) -> tuple[Status, Reason, str]:
    if error.errno in _BY_ERRNO:
        reason, words = _BY_ERRNO[error.errno]
        return Status.DOWN, reason, words
    words = f"the check could not be made from here: {error.strerror or error}"
    return Status.UNKNOWN, Reason.PROBE_ERROR, words


def _tls_words(error: BaseException) -> str:
    if not isinstance(error, ssl.SSLError):
        return ""
    if error.reason == "WRONG_VERSION_NUMBER":
        return "what answers there does not speak TLS"
    return (error.reason or str(error)).replace("_", " ").lower()
