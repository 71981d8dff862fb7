"""Run a program and judge it by its exit code: every Nagios plugin, or a script of your own.

`output: nagios` (the default) takes the plugin's word: 0 is ok, 1 degraded, 2 down, 3 unknown, and reads its
performance data. `output: plain` is for scripts: 0 is ok, anything else is down.

    disk: {kind: command, argv: [/usr/lib/nagios/plugins/check_disk, -w, 20%, -c, 10%, -p, /]}
    queue: {kind: command, argv: [bin/queue-length], output: plain, expect: [json.length < 1000]}

A program that cannot be started, is ended by a signal, or exits with a code that its contract does not know
says nothing of the service: such a result is `unknown` (`probe_error`), never `down`.

The program is given as a list and never sees a shell. It runs in the workspace's folder with a minimal
environment (PATH, HOME and a C locale); what else it needs is named under `env`. Its whole process group is
ended at the check's `timeout`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opsdash.kinds.base import CheckContext, CheckKind, CheckOptions, Sample
from opsdash.kinds.bodies import parse_json
from opsdash.kinds.nagios import PluginOutput, Range, parse, parse_range
from opsdash.kinds.processes import Argv, Finished, run_program
from opsdash.model.status import SEVERITY, Reason, Status

if TYPE_CHECKING:
    from typing import Self


class Output(StrEnum):
    """Whose contract the program keeps."""

    NAGIOS = "nagios"
    PLAIN = "plain"


def _range(value: Any) -> Range:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is no range; write one such as 10, 10:, ~:10, 10:20 or @10:20")  # noqa: TRY004 - pydantic reports ValueError alone
    return parse_range(str(value))


AlertRange = Annotated[
    Range,
    BeforeValidator(_range),
    WithJsonSchema({"type": ["string", "number"], "examples": ["10", "10:", "~:10", "10:20", "@10:20"]}),
]


class Options(CheckOptions):
    argv: Argv
    """The program and its arguments, as a list. A relative path with a slash is relative to `cwd`."""

    output: Output = Output.NAGIOS
    """`nagios`: exit codes 0 to 3 and performance data. `plain`: 0 is ok, anything else is down."""

    cwd: str = "."
    """Folder in which it runs, relative to the workspace."""

    env: Mapping[str, str] = Field(default_factory=dict)
    """Environment variables besides PATH, HOME and the locale."""

    warn: Mapping[str, AlertRange] = Field(default_factory=dict)
    """Label of performance data to the range (as plugins write it) outside which the check is degraded."""

    crit: Mapping[str, AlertRange] = Field(default_factory=dict)
    """Label of performance data to the range (as plugins write it) outside which the check is down."""

    @model_validator(mode="after")
    def _ranges_need_performance_data(self) -> Self:
        if self.output is Output.PLAIN and (self.warn or self.crit):
            raise ValueError("`warn` and `crit` judge performance data, which `output: plain` does not read")
        return self


_BY_EXIT_CODE: Final[Mapping[int, tuple[Status, Reason | None]]] = MappingProxyType(
    {
        0: (Status.OK, None),
        1: (Status.DEGRADED, Reason.WARNING),
        2: (Status.DOWN, Reason.EXIT),
        3: (Status.UNKNOWN, Reason.PROBE_ERROR),
    }
)
_EXPLAINED: Final = MappingProxyType(
    {
        126: "exited with 126: what it was to run is not executable",
        127: "exited with 127: what it was to run was not found",
    }
)


async def run(options: Options, context: CheckContext) -> Sample:
    """One run of the program. There is no time limit in here: whoever cancels this ends the process group."""
    context.stage = "run"
    finished = await run_program(options.argv, cwd=context.workspace / options.cwd, env=options.env)
    if finished.exit_code is None or finished.exit_code in _EXPLAINED:
        return _broken(options, finished)
    if options.output is Output.PLAIN:
        return _judge_plain(finished, context)
    return _judge_plugin(options, finished)


def _broken(options: Options, finished: Finished) -> Sample:
    ending = _EXPLAINED.get(finished.exit_code or 0, finished.ending)
    return Sample(
        status=Status.UNKNOWN,
        reason=Reason.PROBE_ERROR,
        detail=_joined(f"{options.argv[0]} {ending}", _first_line(finished.stderr)),
        latency=finished.duration if finished.started else None,
    )


def _judge_plain(finished: Finished, context: CheckContext) -> Sample:
    values: dict[str, Any] = {**_values(finished), "output": finished.stdout}
    if context.wants_json and not finished.truncated:
        _put_json(values, finished.stdout)
    good = finished.exit_code == 0
    said = _first_line(finished.stdout) or _first_line(finished.stderr)
    return Sample(
        status=Status.OK if good else Status.DOWN,
        reason=None if good else Reason.EXIT,
        detail=said if good else _joined(finished.ending, said),
        latency=finished.duration,
        values=values,
    )


def _judge_plugin(options: Options, finished: Finished) -> Sample:
    output = parse(finished.stdout)
    reason: Reason | None
    known = _BY_EXIT_CODE.get(finished.exit_code if finished.exit_code is not None else -1)
    if known is None:
        status, reason = Status.UNKNOWN, Reason.PROBE_ERROR
        detail = _joined(f"{finished.ending}, which no plugin may", output.text or _first_line(finished.stderr))
    else:
        status, reason = known
        detail = output.text or _first_line(finished.stderr) or finished.ending
    status, reason, detail = _apply_ranges(options, output, status, reason, detail)
    values = {
        **_values(finished),
        "output": output.text,
        "long_output": output.long_text,
        "perf": {item.label: item.value for item in output.performance if item.value is not None},
        "complaints": list(output.complaints),
    }
    return Sample(status=status, reason=reason, detail=detail, latency=finished.duration, values=values)


def _apply_ranges(
    options: Options, output: PluginOutput, status: Status, reason: Reason | None, detail: str
) -> tuple[Status, Reason | None, str]:
    """The worse of what the plugin says and of what the author's ranges say; never better than the plugin."""
    measured = {item.label: item.value for item in output.performance}
    for ranges, bad, why in (
        (options.crit, Status.DOWN, Reason.EXPECTATION),
        (options.warn, Status.DEGRADED, Reason.WARNING),
    ):
        for label, limits in ranges.items():
            value = measured.get(label)
            if value is None:
                verdict = (Status.UNKNOWN, Reason.EXPECTATION_ERROR, f"it reported no value for {label!r}")
            elif limits.alerts(value):
                verdict = (bad, why, f"{label} is {value:g}, {_words(limits)}")
            else:
                continue
            if SEVERITY[verdict[0]] > SEVERITY[status]:
                status, reason, detail = verdict[0], verdict[1], _joined(verdict[2], detail)
    return status, reason, detail


def _words(limits: Range) -> str:
    return f"which lies {'inside' if limits.inside else 'outside'} {limits.start:g} to {limits.end:g}"


def _values(finished: Finished) -> dict[str, Any]:
    return {
        "exit_code": finished.exit_code,
        "stderr": finished.stderr,
        "truncated": finished.truncated,
        "leftover": finished.leftover,
    }


def _put_json(values: dict[str, Any], text: str) -> None:
    """Without `json`, an expectation that names it is unknown, which is right for output that is none."""
    with contextlib.suppress(ValueError):
        values["json"] = parse_json(text)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


KIND = CheckKind(
    name="command",
    summary="a program's exit code and output; runs every Nagios plugin",
    options=Options,
    run=run,
    sample={
        "exit_code": 0,
        "output": "DISK OK - free space: / 3326 MB (56%)",
        "long_output": "",
        "perf": {"/": 2643.0},
        "stderr": "",
        "truncated": False,
        "leftover": False,
        "complaints": [],
    },
)
