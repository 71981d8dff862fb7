"""One HTTP request over a new connection, judged by its status, and by the expectations that you name.

    api:
      kind: http
      url: https://api.example/status
      expect: [status == 200, json.healthy, 'latency < 0.5', 'certificate.days_left > 14.0']

Without an expectation that names `status`, 200 to 399 is ok; 401, 403 and 407 are down (`auth`), 429 is
degraded (`rate_limited`, and the check asks less often if the server says how long), other codes from 400
on are down (`status`). Redirects are not followed unless `redirects` says how many.

`json` is there when the body is JSON, and an expectation that names it is an error (`expectation_error`,
shown as unknown) when it is not. `latency` is in seconds. Name lookup, connect, TLS, first byte and body
are timed apart.

Each run sees what a new user would see. `connection: keep`, `proxy` and `http2` are for what cannot be asked
that way. When a proxy fails, the check is unknown, since nothing was learned of what is behind it; when the
proxy says that it cannot reach the target, the check is down.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from opsdash.kinds.base import CheckContext, CheckKind, Sample
from opsdash.kinds.failures import FAILURES, failed
from opsdash.kinds.fetching import (
    SAMPLE_VALUES,
    RequestOptions,
    cut_off,
    json_of,
    judge_status,
    obtain,
    response_values,
)
from opsdash.model.status import Status

if TYPE_CHECKING:
    from opsdash.kinds.transport import Response


class Options(RequestOptions):
    """Keys of `kind: http`."""


async def run(options: Options, context: CheckContext) -> Sample:
    """Fetch once; the verdict is on the status alone."""
    try:
        response = await obtain(options, context)
    except FAILURES as error:
        return failed(error, where=options.target.authority)
    sample = judge_status(response, options, context.wall)
    values = response_values(response, context.wall)
    sample.values = values
    if context.wants_json:
        if response.truncated and sample.status is Status.OK:
            return cut_off(options, sample)
        await _add_json(values, response)
    return sample


async def _add_json(values: dict[str, object], response: Response) -> None:
    try:
        values["json"] = await json_of(response)
    except ValueError as error:
        values["json_error"] = str(error)


KIND = CheckKind(
    name="http",
    summary="an HTTP request and what its answer must look like",
    options=Options,
    run=run,
    sample=MappingProxyType({**SAMPLE_VALUES, "json": {}}),
)
