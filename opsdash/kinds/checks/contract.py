"""Does an API still answer in the shape that we rely on? Its answer is held against a JSON Schema (2020-12).

    contract: {kind: contract, url: https://api.example/v1/orders, schema: schemas/orders.json}

`schema` is a file of the workspace, or the schema itself. A violation is down (`schema_changed`) and named by its
path in the answer; an answer that is no JSON is down (`garbage`), an empty one is down (`empty`). Fields that the
schema does not mention are no violation unless it says so, since adding one breaks nobody.

An announced end comes before the change: `Deprecation` (RFC 9745) and `Sunset` (RFC 8594) headers make the check
degraded (`warning`), with their dates. `$ref` works inside the schema; nothing is ever fetched for it.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
from pydantic import Field, PrivateAttr, field_validator

from opsdash.kinds.base import CheckContext, CheckKind, Sample
from opsdash.kinds.bodies import IN_LOOP, parse_json
from opsdash.kinds.failures import FAILURES, ProbeProblemError, failed
from opsdash.kinds.fetching import (
    SAMPLE_VALUES,
    RequestOptions,
    cut_off,
    http_date,
    json_of,
    judge_status,
    obtain,
    response_values,
)
from opsdash.kinds.offload import in_thread
from opsdash.kinds.paths import spell
from opsdash.kinds.structured import parse_list
from opsdash.model.now import timestamp
from opsdash.model.status import Reason, Status

if TYPE_CHECKING:
    from pathlib import Path

    from opsdash.kinds.transport import Response

MAX_SHOWN: Final = 5
MAX_COUNTED: Final = 100
MAX_MESSAGE: Final = 160
MAX_SCHEMA: Final = 1 << 20


class Options(RequestOptions):
    """Keys of `kind: contract`."""

    json_schema: str | bool | dict[str, Any] = Field(alias="schema")
    """The schema, or a file with it, relative to the workspace."""
    warn_deprecation: bool = True
    """Whether an announced end (Deprecation, Sunset) is degraded."""

    _compiled: tuple[object, Any] | None = PrivateAttr(None)

    @field_validator("json_schema")
    @classmethod
    def _schema_is_one(cls, schema: str | bool | dict[str, Any]) -> str | bool | dict[str, Any]:
        if not isinstance(schema, str):
            compile_schema(schema)
        return schema

    def validator(self, workspace: Path) -> Any:
        """The compiled schema; a file is read again when it has changed. Raises ProbeProblemError."""
        if not isinstance(self.json_schema, str):
            version: object = None
        else:
            version = _file_version(workspace / self.json_schema)
        if self._compiled is None or self._compiled[0] != version:
            self._compiled = (version, self._compile(workspace))
        return self._compiled[1]

    def _compile(self, workspace: Path) -> Any:
        if not isinstance(self.json_schema, str):
            return compile_schema(self.json_schema)
        path = workspace / self.json_schema
        try:
            return compile_schema(parse_json(path.read_bytes()))
        except ValueError as error:
            raise ProbeProblemError(f"{path}: {error}") from error
        except OSError as error:
            raise ProbeProblemError(f"{path}: {error.strerror}") from error


def _file_version(path: Path) -> tuple[str, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ProbeProblemError(f"{path}: {error.strerror}") from error
    if found.st_size > MAX_SCHEMA:
        raise ProbeProblemError(f"{path}: a schema of more than {MAX_SCHEMA} bytes")
    return str(path), found.st_mtime_ns


def compile_schema(schema: Any) -> Any:
    """Raises ValueError for what is no schema, or leads outside of itself."""
    try:
        # The linear engine: patterns meet whatever the other side sends.
        return jsonschema_rs.Draft202012Validator(
            schema, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
        )
    except jsonschema_rs.ValidationError as error:
        where = "/".join(str(part) for part in error.instance_path)
        raise ValueError(f"no valid JSON Schema (2020-12){f' at {where}' if where else ''}: {error.message}") from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is outside the schema, and schemas are not fetched; put it under $defs")


async def run(options: Options, context: CheckContext) -> Sample:
    """Fetch, and hold the answer against the schema."""
    try:
        validator = await _validator(options, context)
        response = await obtain(options, context)
    except FAILURES as error:
        return failed(error, where=options.target.authority)
    sample = judge_status(response, options, context.wall)
    sample.values = values = response_values(response, context.wall)
    if sample.status is not Status.OK:
        return sample
    sample.soft = False
    if response.truncated:
        return cut_off(options, sample)
    if not response.body.strip():
        sample.status, sample.reason, sample.detail = Status.DOWN, Reason.EMPTY, "the answer is empty"
        return sample
    try:
        document = await json_of(response)
    except ValueError as error:
        sample.status, sample.reason, sample.detail = Status.DOWN, Reason.GARBAGE, f"no JSON: {error}"
        return sample
    if context.wants_json:
        values["json"] = document
    if len(response.body) > IN_LOOP:
        violations = await asyncio.to_thread(find_violations, validator, document)
    else:
        violations = find_violations(validator, document)
    values["violations"] = violations
    _judge(sample, violations, announced_end(response) if options.warn_deprecation else "")
    return sample


async def _validator(options: Options, context: CheckContext) -> Any:
    """The compiled schema; a file is looked at in a thread, which a dead mount may hang."""
    if not isinstance(options.json_schema, str):
        return options.validator(context.workspace)
    path = context.workspace / options.json_schema
    return await in_thread(path, lambda: options.validator(context.workspace))


def find_violations(validator: Any, document: Any) -> list[str]:
    """What is wrong and where, as `json.data[0].id: 5 is not of type "string"`; at most `MAX_COUNTED`."""
    return [
        f"{spell(('json', *error.instance_path))}: {error.message}"[:MAX_MESSAGE]
        for error in islice(validator.iter_errors(document), MAX_COUNTED)
    ]


def _judge(sample: Sample, violations: list[str], end: str) -> None:
    if violations:
        sample.status, sample.reason = Status.DOWN, Reason.SCHEMA_CHANGED
        sample.detail = "; ".join(violations[:MAX_SHOWN])
        if len(violations) > MAX_SHOWN:
            at_least = "at least " if len(violations) == MAX_COUNTED else ""
            sample.detail += f"; and {at_least}{len(violations) - MAX_SHOWN} more"
    elif end:
        sample.status, sample.reason, sample.detail = Status.DEGRADED, Reason.WARNING, end
    else:
        sample.detail = "the answer fits the schema"


def announced_end(response: Response) -> str:
    """What the server announces about the end of this API, in words; empty where it says nothing."""
    said = []
    deprecation = response.header("deprecation")
    if deprecation is not None and deprecation.strip().lower() not in {"", "?0", "false"}:
        said.append(f"deprecated{_since(deprecation)}")
    sunset = response.header("sunset")
    moment = http_date(sunset) if sunset is not None else None
    if moment is not None:
        said.append(f"to be switched off on {timestamp(moment)[:10]}")
    return ", ".join(said)


def _since(deprecation: str) -> str:
    """RFC 9745 gives a structured date (`@1688169599`), its drafts an HTTP date or `true`."""
    moment = http_date(deprecation)
    if moment is None and deprecation.strip().startswith("@"):
        try:
            value = parse_list(deprecation)[0].value
        except ValueError:
            return ""
        moment = float(value) if isinstance(value, int) and abs(value) < 1e11 else None
    return f" since {timestamp(moment)[:10]}" if moment is not None else ""


KIND = CheckKind(
    name="contract",
    summary="an API's answer against a JSON Schema",
    options=Options,
    run=run,
    sample=MappingProxyType({**SAMPLE_VALUES, "json": {}, "violations": []}),
)
