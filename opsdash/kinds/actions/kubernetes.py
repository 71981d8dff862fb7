"""Kubernetes, by kubectl: where a service sends its traffic, or which deployment runs.

A service whose selector tells two sets of pods apart (blue and green) is switched at once, by one patch:

    read:   {kind: kubernetes, namespace: shop, service: mail, key: version}
    action: {kind: kubernetes, namespace: shop, service: mail, key: version, value: "{to.as}"}

The patch begins with a `test` of the value that was expected, so the API server refuses it when somebody else was
faster. Of deployments the new one is scaled up first, its rollout waited for, and the old ones scaled down only then:

    read:   {kind: kubernetes, namespace: shop, deployments: [mail-blue, mail-green]}
    action:
      {kind: kubernetes, namespace: shop, deployment: "{to.as}", replicas: 3, out: [mail-blue, mail-green], timeout: 3m}

In force is the deployment that is to have pods; none, or several, are told as `none` and `a, b`, nobody's names. `out`
may be `"{from.as}"`, or all deployments of the component: the one that is scaled up is left out.

Whatever is changed bears the action's id in the annotation `opsdash/action`, and the new value in `opsdash/value`. What
applies manifests again (Argo CD, Flux, Helm) undoes a switch, unless it is told to leave that field alone.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading, StrictOptions
from opsdash.kinds.bodies import load_json
from opsdash.kinds.processes import Argv, Finished, Tool, ToolError
from opsdash.kinds.scalars import scalar_text
from opsdash.kinds.shellwords import shell_command
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

LARGEST: Final = 1024 * 1024
"""Bytes of an object: its annotations alone may have 256 KiB, and a copy of the whole is often one of them."""
NONE: Final = "none"
"""What is said to be in force where no deployment is to have pods."""
ACTION: Final = "opsdash/action"
VALUE: Final = "opsdash/value"
APPLIED_AGAIN: Final = "when the manifests are applied again (Argo CD, Flux, Helm), what they say is put back"

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY: Final = re.compile(rf"({_NAME.pattern}/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?")
_REFUSED: Final = re.compile(
    r"^(Error from server \((Forbidden|NotFound|Invalid|BadRequest|Conflict|Unauthorized|MethodNotAllowed|Gone)\)"
    r"|The (request|[A-Z]\w+ .*) is invalid"
    r"|error: You must be logged in to the server"
    r"|.*[Tt]esting .* failed)",
    re.MULTILINE,
)
"""Words of kubectl by which the API server has not changed anything."""
_NOT_SENT: Final = re.compile(r"^The connection to the server .* was refused|: dial tcp\b.*", re.MULTILINE)
"""Words by which there was no connection over which a patch could have been sent."""
_LOG: Final = re.compile(r"[IWEF]\d{4} ")
_READY: Final = 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
_RESERVE: Final = 5.0
"""Seconds that are kept for scaling the old side down after the new one has come up."""


def _checked(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    def check(value: Any) -> str:
        text = scalar_text(value) if value != "" else ""
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is no {what}")
        return text

    return BeforeValidator(check)


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, _checked(_NAME, "name of an object in Kubernetes"), WithJsonSchema({"type": "string"})]
LabelKey = Annotated[str, _checked(_LABEL_KEY, "key of a label"), WithJsonSchema({"type": "string"})]
LabelValue = Annotated[
    str, _checked(_LABEL, "value of a label"), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
"""One name, or several."""


class _Place(StrictOptions):
    context: str | None = None
    """The context of the kubeconfig; by default its current one."""

    namespace: Name | None = None
    """The namespace; by default that of the context."""

    kubeconfig: str | None = None
    """The kubeconfig, relative to the workspace; by default `~/.kube/config`."""

    program: Argv = ("kubectl",)
    """The program, with arguments that each call begins with."""

    env: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Environment variables besides PATH, HOME and the locale, for what the kubeconfig calls to log in."""

    service: Name | None = None
    """The service whose selector decides."""

    key: LabelKey | None = None
    """The label of its selector that tells the sides apart."""

    def tool(self, context: ActionContext) -> Tool:
        argv = _up_to_the_verb(self.model_dump(include={"program", *_FLAGS}))
        return Tool(argv, cwd=context.workspace, env=self.env, deadline=context.deadline)


_FLAGS: Final = ("kubeconfig", "context", "namespace")


def _up_to_the_verb(raw: Mapping[str, Any]) -> list[str]:
    flags = [word for key in _FLAGS if raw.get(key) is not None for word in (f"--{key}", str(raw[key]))]
    return [*map(str, raw.get("program", ["kubectl"])), *flags]


class ReadOptions(_Place):
    deployments: tuple[Name, ...] = ()
    """The deployments of which one is to run, as the providers' `as` names them."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        _check_form(self, "deployments", bool(self.deployments))
        return self


class Options(_Place):
    value: LabelValue | None = None
    """The value that the label gets, such as `{to.as}`."""

    deployment: Name | None = None
    """The deployment to scale up, such as `{to.as}`."""

    replicas: int = Field(default=1, ge=1)
    """How many pods it is to have at least."""

    out: Names = ()
    """The deployment to scale down to none, such as `{from.as}`, or all that might have to be."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        _check_form(self, "deployment", self.deployment is not None)
        if self.service is not None and self.value is None:
            raise ValueError("say which `value` the label gets, such as {to.as}")
        if self.service is None and self.value is not None:
            raise ValueError("`value` belongs to `service` and `key`")
        if self.service is not None and self.out:
            raise ValueError("`out` belongs to `deployment`")
        return self

    @property
    def old(self) -> tuple[str, ...]:
        """The deployments to scale down."""
        return tuple(name for name in self.out if name != self.deployment)


def _check_form(options: _Place, other: str, has_other: bool) -> None:
    if (options.service is not None) == has_other:
        raise ValueError(f"write either `service` with `key`, or `{other}`")
    if (options.service is None) != (options.key is None):
        raise ValueError("`service` and `key` belong together: the service, and the label of its selector")


# --- what is in force --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Object:
    """A service or a deployment, as far as it matters. value: the label's value, or the number of replicas."""

    kind: str
    name: str
    value: str
    version: str
    annotations: Mapping[str, str] | None
    selector: Mapping[str, str]
    available: int = 0

    @property
    def replicas(self) -> int:
        return int(self.value)

    @property
    def by(self) -> str | None:
        """The action that gave it its value, unless somebody else has given it another one since."""
        notes = self.annotations or {}
        return notes.get(ACTION) if notes.get(VALUE) == self.value else None

    def patch(self, path: str, value: str | int, action_id: str) -> str:
        """One patch, which the server refuses when the value is no longer what it is here."""
        present: str | int = self.value if isinstance(value, str) else self.replicas
        notes = {ACTION: action_id, VALUE: str(value)}
        operations: list[dict[str, Any]] = [{"op": "test", "path": path, "value": present}]
        if self.annotations is None:  # then there must still be none, or others' would be lost
            operations.append({"op": "test", "path": "/metadata/resourceVersion", "value": self.version})
            operations.append({"op": "add", "path": "/metadata/annotations", "value": notes})
        else:
            operations += [
                {"op": "add", "path": f"/metadata/annotations/{_escaped(key)}", "value": note}
                for key, note in notes.items()
            ]
        return json.dumps([*operations, {"op": "replace", "path": path, "value": value}])


def _escaped(key: str) -> str:
    """A key as a step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _evidence(tool: Tool, finished: Finished) -> str:
    """How kubectl ended, and its errors without the lines of its own log; it may have printed half an answer before."""
    lines = [line for line in finished.stderr.splitlines() if not _LOG.match(line)]
    return finished.evidence(tool.argv[0], " ".join(lines))


async def _get(tool: Tool, kind: str, names: Sequence[str], key: str | None) -> list[_Object]:
    """The objects of these names, in their order. Raises ToolError."""
    finished = await tool.run("get", kind, *names, "--output=json", limit=LARGEST)
    if finished.exit_code != 0:
        raise ToolError(_evidence(tool, finished))
    if finished.truncated:
        raise ToolError(f"{tool.argv[0]} printed more than 1 MiB")
    return await _objects(finished, kind, names, key)


async def _objects(finished: Finished, kind: str, names: Sequence[str], key: str | None) -> list[_Object]:
    try:
        said = await load_json(finished.stdout.encode())
    except ValueError as error:
        raise ToolError(f"what kubectl printed is no JSON: {error}") from None
    items = said.get("items") if isinstance(said, dict) and "items" in said else [said]
    found = {_at(item, "metadata", "name"): item for item in items} if isinstance(items, list) else {}
    try:
        return [_object(found.get(name), kind, name, key) for name in names]
    except ValueError as error:
        raise ToolError(str(error)) from None


def _object(item: Any, kind: str, name: str, key: str | None) -> _Object:
    version, annotations = _at(item, "metadata", "resourceVersion"), _at(item, "metadata", "annotations")
    if not isinstance(version, str) or not isinstance(annotations, dict | None):
        raise ValueError(f"kubectl did not tell of {kind} {name}")  # noqa: TRY004 - it is the content that is wrong
    if key is None:
        replicas = _at(item, "spec", "replicas")
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise ValueError(f"{kind} {name} does not say how many replicas it is to have")
        available = _at(item, "status", "availableReplicas")
        count = available if isinstance(available, int) else 0
        return _Object(kind, name, str(replicas), version, annotations, {}, count)
    selector = _at(item, "spec", "selector")
    value = _at(selector, key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{kind} {name} has no {key} in its selector")
    return _Object(kind, name, value, version, annotations, {str(label): str(each) for label, each in selector.items()})


def _at(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _running(deployments: Sequence[_Object]) -> list[str]:
    return [each.name for each in deployments if each.replicas > 0]


def _told(deployments: Sequence[_Object]) -> str:
    return ", ".join(f"{each.name} has {each.available} of {each.replicas} pods" for each in deployments)


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    context.stage = "run"
    tool = options.tool(context)
    try:
        if options.service is not None:
            [service] = await _get(tool, "service", [options.service], options.key)
            return Reading(service.value, service.version, by=service.by)
        deployments = await _get(tool, "deployment", options.deployments, None)
    except ToolError as error:
        return Reading(None, detail=str(error))
    running = _running(deployments)
    return Reading(
        ", ".join(running) or NONE,
        detail=_told(deployments),
        serving=tuple(each.name for each in deployments if each.available > 0),
        by=next((each.by for each in deployments if running == [each.name]), None),
    )


# --- acting ------------------------------------------------------------------------------------------------------


async def apply(options: Options, context: ActionContext) -> ActionResult:
    context.stage = "look"
    patches = _Patches(options.tool(context), context)
    try:
        if options.service is not None:
            return await _point(options, patches)
        return await _replace(options, patches)
    except ToolError as error:
        return ActionResult(Applied.NOT_STARTED, str(error))


async def _point(options: Options, patches: _Patches) -> ActionResult:
    """Have the service send to other pods."""
    key, value, expected = options.key or "", options.value or "", patches.context.expected
    [service] = await _get(patches.tool, "service", [options.service or ""], key)
    shown = f"service {service.name}"
    if service.value == value:
        prior = expected if service.by == patches.context.action_id else None
        return ActionResult(Applied.APPLIED, f"{shown} has {key}={value} already", prior, service.version)
    if expected is not None and service.value != expected:
        return ActionResult(Applied.REFUSED, f"{shown} has {key}={service.value}, where {expected} was expected")
    failed = await patches.send(service, f"/spec/selector/{_escaped(key)}", value, key)
    return failed or ActionResult(Applied.APPLIED, f"{shown} has {key}={value}", service.value)


async def _replace(options: Options, patches: _Patches) -> ActionResult:
    """Scale one deployment up, wait for its pods, scale the others down."""
    expected = patches.context.expected
    deployments = await _get(patches.tool, "deployment", [options.deployment or "", *options.old], None)
    new, *old = deployments
    running = _running(deployments)
    if running == [new.name] and new.replicas >= options.replicas and new.available >= options.replicas:
        return ActionResult(Applied.APPLIED, f"so it is already: {_told(deployments)}")
    if expected is not None and set(running or [NONE]) not in ({new.name}, set(expected.split(", "))):
        told = ", ".join(running) or NONE
        return ActionResult(Applied.REFUSED, f"in force is {told}, where {expected} was expected")
    replicas = max(options.replicas, new.replicas)
    failed = await patches.scale(new, replicas) or await patches.wait_for(new, replicas)
    for each in old if failed is None else ():
        failed = failed or (await patches.scale(each, 0) if each.replicas else None)
    return failed or ActionResult(Applied.APPLIED, "; ".join(patches.done))


class _Patches:
    """What an action has kubectl do. Once something may have been changed, what goes wrong leaves it unknown."""

    def __init__(self, tool: Tool, context: ActionContext) -> None:
        self.tool = tool
        self.context = context
        self.done: list[str] = []

    async def scale(self, deployment: _Object, replicas: int) -> ActionResult | None:
        """Have a deployment have so many pods; what to answer when that did not come about."""
        failed = await self.send(deployment, "/spec/replicas", replicas, None)
        if failed is None:
            self.done.append(f"{deployment.name} was scaled to {replicas}")
        return failed

    async def wait_for(self, deployment: _Object, replicas: int) -> ActionResult | None:
        """Wait for the pods of a deployment; the same."""
        self.context.stage = "wait for the rollout"
        seconds = max(1, int(self.tool.left - min(_RESERVE, self.tool.left / 4)))
        finished = await self.tool.run("rollout", "status", f"deployment/{deployment.name}", f"--timeout={seconds}s")
        if finished.exit_code == 0:
            self.done.append(f"its {replicas} pods are available")
            return None
        return self._unknown(f"its pods did not come up: {_evidence(self.tool, finished)}")

    async def send(self, target: _Object, path: str, value: str | int, key: str | None) -> ActionResult | None:
        """One patch of one object; what to answer when it was not accepted."""
        self.context.stage = "patch"
        if not self.done:
            self.context.on_sent()
        finished = await self.tool.run(
            "patch",
            target.kind,
            target.name,
            "--type=json",
            f"--patch={target.patch(path, value, self.context.action_id)}",
            "--output=json",
            limit=LARGEST,
        )
        if finished.exit_code == 0 and not finished.timed_out:
            return await self._confirm(finished, target, str(value), key)
        evidence = f"{target.kind} {target.name}: {_evidence(self.tool, finished)}"
        if self.done or finished.timed_out:
            return self._unknown(evidence)
        if not finished.started or _NOT_SENT.search(finished.stderr):
            return ActionResult(Applied.NOT_STARTED, evidence)
        if _REFUSED.search(finished.stderr) is None:
            return self._unknown(evidence)
        return await self._refused(target, str(value), key, evidence)

    async def _confirm(self, finished: Finished, target: _Object, value: str, key: str | None) -> ActionResult | None:
        """Whether kubectl shows the object as it was to become."""
        try:
            [found] = await _objects(finished, target.kind, [target.name], key)
        except ToolError as error:
            return self._unknown(f"{target.kind} {target.name} was patched, but {error}")
        if found.value == value and found.by == self.context.action_id:
            return None
        return self._unknown(f"{target.kind} {target.name} was patched, but it has {found.value} instead of {value}")

    async def _refused(self, target: _Object, value: str, key: str | None, evidence: str) -> ActionResult | None:
        """A patch that was refused: because it is not as it was expected, or because an earlier try of it, of which
        kubectl has heard nothing, has changed it.
        """
        try:
            [found] = await _get(self.tool, target.kind, [target.name], key)
        except ToolError as error:
            return self._unknown(f"{evidence}; then {error}")
        if found.value == value and found.by == self.context.action_id:
            return None
        now = "" if found.value == target.value else f"; by now it has {found.value} instead of {target.value}"
        return ActionResult(Applied.REFUSED, f"{evidence}{now}")

    def _unknown(self, words: str) -> ActionResult:
        return ActionResult(Applied.UNKNOWN, "; ".join([*self.done, words]))


# --- before ------------------------------------------------------------------------------------------------------


async def preflight(options: Options, context: ActionContext) -> Preflight:
    context.stage = "preflight"
    tool = options.tool(context)
    missing = await tool.why_missing()
    if missing:
        return Preflight(passed=False, detail=missing)
    try:
        if options.service is not None:
            [service] = await _get(tool, "service", [options.service], options.key)
            needed = [("patch", f"service/{service.name}")]
            words, usable = await _pods(tool, service, options)
        else:
            deployments = await _get(tool, "deployment", [options.deployment or "", *options.old], None)
            needed = [("patch", f"deployment.apps/{each.name}") for each in deployments]
            needed.append(("watch", "deployments.apps"))
            words, usable = _told(deployments), True
    except ToolError as error:
        return Preflight(passed=False, detail=str(error))
    answers = await asyncio.gather(*(_may(tool, verb, what) for verb, what in needed))
    if False in answers:
        verb, what = needed[answers.index(False)]
        return Preflight(passed=False, detail=f"{words}; we may not {verb} {what}", credentials=False)
    allowed = None if None in answers else True
    said = "we may" if allowed else "whether we may cannot be told"
    return Preflight(passed=usable, detail=f"{words}; {said}", credentials=allowed)


async def _pods(tool: Tool, service: _Object, options: Options) -> tuple[str, bool]:
    """How many pods the service would reach, and whether that is any."""
    selector = {**service.selector, options.key or "": options.value or ""}
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    now = f"service {service.name} has {options.key}={service.value}"
    finished = await tool.run("get", "pods", f"--selector={labels}", f"--output={_READY}", limit=LARGEST)
    if finished.exit_code != 0:
        return f"{now}; its pods cannot be seen: {_evidence(tool, finished)}", True
    ready = finished.stdout.split().count("True")
    if not ready:
        return f"{now}; no pod with {labels} is ready, so it would reach nobody", False
    return f"{now}; ready pods with {labels}: {ready}", True


async def _may(tool: Tool, verb: str, what: str) -> bool | None:
    finished = await tool.run("auth", "can-i", verb, what)
    return {"yes": True, "no": False}.get(finished.stdout.strip().partition(" ")[0])


# --- for people --------------------------------------------------------------------------------------------------


def manual(raw: Mapping[str, Any]) -> str:
    """The calls of kubectl, to be given in the workspace's folder."""
    variables = [f"{name}={value}" for name, value in raw.get("env", {}).items()]
    kubectl = [*(["env", *variables] if variables else []), *_up_to_the_verb(raw)]
    if raw.get("service") is not None:
        patch = [
            {"op": "replace", "path": f"/spec/selector/{_escaped(raw['key'])}", "value": scalar_text(raw["value"])}
        ]
        words = ["patch", "service", str(raw["service"]), "--type=json", f"--patch={json.dumps(patch)}"]
        return shell_command([*kubectl, *words])
    new = str(raw["deployment"])
    lines = [
        [*kubectl, "scale", f"deployment/{new}", f"--replicas={raw.get('replicas', 1)}"],
        [*kubectl, "rollout", "status", f"deployment/{new}", "--timeout=180s"],
    ]
    lines += [
        [*kubectl, "scale", f"deployment/{name}", "--replicas=0"] for name in _listed(raw.get("out", ())) if name != new
    ]
    return " && ".join(shell_command(line) for line in lines)


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    return {**raw, "value": prior}


def refine(options: Options) -> Abilities:
    """A service is one object, patched at once; two deployments are two."""
    single = options.service is not None
    return Abilities(
        cas=single,
        idempotent=True,
        read_back=True,
        restores=single,
        marks=True,
        self_reverts=APPLIED_AGAIN,
        settle=2.0 if single else 5.0,
    )


KIND = ActionKind(
    name="kubernetes",
    summary="the selector of a service, or which deployment has pods, by kubectl",
    options=Options,
    identity=("service", "key"),
    abilities=Abilities(idempotent=True, read_back=True, marks=True, self_reverts=APPLIED_AGAIN, settle=5.0),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
)
