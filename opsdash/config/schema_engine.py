"""The keys of opsdash.yaml that are about opsdash itself: `engine`, `dead_man`, `sheets`. See `config.schema`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from opsdash.config.schema_fields import Listen, Place, Span, Strict, Text
from opsdash.kinds.fields import Duration


class RetentionModel(Strict):
    """How long history is kept."""

    samples: Span = 2 * 86400.0
    """Single results; at least 2h."""
    minutes: Span = 14 * 86400.0
    """Summaries by the minute; at least as long as `samples`."""
    hours: Span = 400 * 86400.0
    """Summaries by the hour; at least as long as `minutes`."""

    @model_validator(mode="after")
    def _is_ordered(self) -> RetentionModel:
        if not 2 * 3600.0 <= self.samples <= self.minutes <= self.hours:
            raise ValueError("keep samples for at least 2h, minutes as long as samples, hours as long as minutes")
        return self


class EngineModel(Strict):
    """Settings of the engine. They are read when it starts: `opsdash engine restart` applies a change."""

    state: Place | None = None
    """The state folder: journal, history, lock and socket. A relative path starts at the workspace, `~` is the home of
    the account that owns opsdash.yaml. Without it, `.opsdash`. What a former folder holds does not move by itself.
    """
    group: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """A Unix group whose members may use the engine: look, switch, and everything else. Only the owner starts it."""
    listen: Listen | None = None
    """An address for the same interface on TCP, such as `127.0.0.1:9180`, for heartbeats of jobs and for Prometheus.
    Whoever asks needs the bearer token in the state folder. `opsdash engine --listen` overrides it.
    """
    tls_certificate: Place | None = None
    """PEM file with the certificate for `listen`, and those that lead to its authority. Read again when it changes."""
    tls_key: Place | None = None
    """PEM file with its key, which is not encrypted."""
    retention: RetentionModel = RetentionModel()
    """How long results and their summaries are kept."""


class DeadManModel(Strict):
    """The dead man's switch: somebody elsewhere expects a sign of life, and alarms when it does not come.

    Any service with the URLs of healthchecks.io will do, and so will another opsdash (see docs/howto-dead-man.md).
    """

    url: Text
    """What is asked with POST while opsdash is at work. Whoever knows it can forge a sign of life: better `${NAME}`."""
    every: Annotated[Duration, Field(ge=1.0, le=86400.0)] = 60.0
    """How often. Tell the other side to wait for two of them."""
    timeout: Span = 10.0
    """How long one may take."""
    grace: Duration = 30.0
    """For how long opsdash may find itself unable to work before it says so (`/fail`). It is silent at once."""
    signals: bool = True
    """Whether the other side knows `/start` and `/fail` after the URL. Without it only the URL itself is asked."""


class SheetsModel(Strict):
    """Emergency sheets: a page for each component, written anew every day and after a change of the files."""

    folder: Place | None = None
    """Where they are written. A folder on another machine's share is there when this one is not. A relative path starts
    at the workspace, `~` is the home of the account that owns opsdash.yaml. Without it, `sheets` in the state folder.
    """
