"""Every error that opsdash raises on purpose.

    OpsdashError
    ├── ConfigError                   the workspace, or a secret it refers to, cannot be used
    │   └── ReferenceProblem          a `${…}` of a file leads nowhere; it becomes a problem of that file
    │       └── HiddenVariable        … to a variable that a problem of its own hides, which is told there
    ├── KindError                     a kind cannot be used
    │   ├── UnknownKindError          there is no kind of that name
    │   └── KindUnavailableError      its driver is not installed, or it is broken
    ├── ProtocolError                 the other side answered, but not as its protocol demands
    │   ├── EtcdError                 etcd answered with an error
    │   └── TooLargeError             it sent more than the limit
    ├── NobodyAnsweredError           none of several endpoints gave an answer that can be used
    ├── RefusedError                  a mail server answered a command with no
    ├── NotDoneError                  HAProxy says that it did not do it, or does not have it
    ├── RejectedError                 the other side did not accept our credentials
    ├── UnreachedError                a proxy could not connect to the other side
    │   └── UnansweredError           it got no answer from there in time
    ├── ProxyFailedError              the proxy itself did not do its part
    ├── ProbeProblemError             this side could not measure; the check is unknown, never down
    ├── FaultProxyError               a fault proxy cannot be started or reached
    ├── UnusableError                 an injection cannot be used as it is written
    ├── EngineError                   an engine cannot be started, reached or asked
    │   └── ArmingError               a drill's guard could not be armed; nothing was injected
    ├── DemoError                     the example operation cannot be copied, started or reached
    ├── UnknownFaultError             a service or fault of the example that does not exist
    ├── TourError                     something of the tour did not happen
    └── StorageError                  a file of the state folder could not be written or read
        ├── JournalError              the journal did not take an entry; nothing of it is on disk
        │   ├── JournalCorrupt        no entry of the journal can be read
        │   └── JournalTooNew         an entry was written by a newer version
        ├── DocumentsError            documents could not be written; they can be rebuilt from the journal
        ├── HistoryError              samples could not be written or read; charts suffer, operations do not
        └── SheetsError               emergency sheets could not be written; those of the day before are still there

Somebody else's exception is mapped into this tree where it enters. A message says what was wrong, where, and what to do
about it. What is refused by a rule is no error: see `opsdash.model.switch.Refused`.
"""

from __future__ import annotations


class OpsdashError(Exception):
    """The root. Whatever else escapes is a bug."""


class ConfigError(OpsdashError):
    """The workspace, or a secret it refers to, cannot be used."""


class KindError(OpsdashError):
    """A kind is not known, cannot do what is asked of it, or its driver is not installed."""


class EngineError(OpsdashError):
    """An engine cannot be started, reached or asked."""


class StorageError(OpsdashError):
    """A file of the state folder could not be written or read."""


class JournalError(StorageError):
    """The journal did not take an entry, or its files cannot be used. What was acknowledged before stands."""


class JournalCorrupt(JournalError):  # noqa: N818 - says what it is
    """There is a journal, and not one entry of it can be read."""


class JournalTooNew(JournalError):  # noqa: N818 - says what it is
    """An entry was written by a newer version of opsdash; reading on would misunderstand it."""


class DocumentsError(StorageError):
    """Documents could not be written. They are derived from the journal and can be rebuilt."""


class HistoryError(StorageError):
    """Samples could not be written or read."""


class SheetsError(StorageError):
    """Emergency sheets could not be written. Nothing depends on it but the day on which they are needed."""


class DemoError(OpsdashError):
    """The example operation could not be started or reached; the text says what to look at."""
