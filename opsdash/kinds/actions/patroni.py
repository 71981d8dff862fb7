"""A PostgreSQL cluster under Patroni: its leader steps down for the member that is named, by Patroni's REST API.

    read:   {kind: patroni, urls: ["https://10.0.0.11:8008", "https://10.0.0.12:8008"]}
    action:
      kind: patroni
      urls: ["https://10.0.0.11:8008", "https://10.0.0.12:8008"]
      auth: {basic: {user: opsdash, password: "${file:/etc/opsdash/patroni}"}}
      candidate: "{to.as}"

`as` of a provider is the member's name in Patroni. `read` says who holds the leader's lock, or `no leader`, when all
members that answer agree on it, and lists as serving who really accepts writes: every member is asked itself, so two
primaries are seen.

The action is a switchover from the leader that the plan was made for. Patroni compares that name when it is asked and
again when the leader steps down; when somebody else was faster nothing is changed. It is sent once. An answer that
leaves it open (503, no answer in time, one that nobody knows) is `unknown`: it may still come about, within two of
Patroni's loops and the life of a lock.

Without a leader Patroni promotes a member by itself, unless it is paused or all lag too much. With
`when_leader_is_gone: failover` the action then is a failover to the candidate: Patroni looks neither at its lag nor at
synchronous mode, and compares nothing. What the candidate had not received is lost. The preflight looks at the lag.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from opsdash.kinds.base import ActionContext, ActionKind, ActionResult, Applied, Preflight, Reading, StrictOptions
from opsdash.kinds.bodies import decode_text, load_json
from opsdash.kinds.credentials import Auth, Login
from opsdash.kinds.endpoints import MAX_ANSWER, EndpointOptions, authority, request_to, send_once
from opsdash.kinds.failures import FAILURES, ProtocolError, explain
from opsdash.kinds.fields import Duration, Size  # noqa: TC001 - pydantic reads them
from opsdash.kinds.patroni_rest import (
    Cluster,
    Member,
    Node,
    Serves,
    Settings,
    judge,
    parse_cluster,
    parse_node,
    parse_settings,
)
from opsdash.kinds.sending import EXCERPT, curl_tls, patience, told
from opsdash.kinds.shellwords import shell_command, shell_word
from opsdash.kinds.transport import Request, Response, fetch, parse_url
from opsdash.model.operation import Abilities

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from opsdash.kinds.resolver import Resolver

    T = TypeVar("T")

NO_LEADER: Final = "no leader"
"""What `read` says when nobody holds the lock: that is known, other than who leads when members disagree."""

LATE: Final = 1.0
"""Seconds that members are waited for once one of them has answered."""
SURVEY: Final = 4.0
"""Seconds that members are waited for where none answers."""
ASIDE: Final = 2.0
"""Seconds for a second round of questions."""

_MAY_TAKE_OVER: Final = frozenset({"running", "streaming"})
_FROM_ARCHIVE: Final = "in archive recovery"
_PROBE: Final = b"{}"
"""A body with which Patroni can do nothing: it looks at the login first (401, 403), and then says 400."""


# --- options -----------------------------------------------------------------------------------------------------


def _member_url(url: str) -> str:
    parse_url(url)
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{url!r} has a path; a member's REST API is https://host:port alone")
    return url.rstrip("/")


class BasicAuth(StrictOptions):
    """The login that Patroni's REST API knows."""

    basic: Login
    """User and password, as `restapi.authentication` has them in Patroni's configuration."""


class ReadOptions(EndpointOptions):
    endpoints: Annotated[
        tuple[Annotated[str, AfterValidator(_member_url)], ...], Field(alias="urls", min_length=1, max_length=16)
    ]
    """The REST API of every member, such as `https://10.0.0.11:8008`. All are asked; a change goes to the first that
    answers."""

    auth: BasicAuth | None = None
    """How to log in: `{basic: {user, password}}`. Patroni wants it for changes only. It is sent to `urls` alone."""


class Options(ReadOptions):
    candidate: str = Field(min_length=1)
    """Name of the member that is to lead: `{to.as}`."""

    when_leader_is_gone: Literal["refuse", "failover"] = "refuse"
    """What to do when nobody leads. `refuse`: nothing, since Patroni elects a leader by itself. `failover`: promote the
    candidate whatever it lacks, which loses data; then Patroni cannot compare, either."""

    max_lag: Size = 1024 * 1024
    """How far the candidate may lag behind, for the preflight. Patroni has a limit of its own for switchovers,
    `maximum_lag_on_failover`; the smaller one counts."""

    loop_wait: Duration = 10.0
    """Patroni's `loop_wait`. The effect is looked for over two of these and `ttl` before anybody says there is none."""

    ttl: Duration = 30.0
    """Patroni's `ttl`: so long a leader that has died keeps its lock, and only then the candidate takes it."""


# --- apply -------------------------------------------------------------------------------------------------------


async def apply(options: Options, context: ActionContext) -> ActionResult:
    """Look who leads, then send one request. What came of it is judged by table (`patroni_rest.judge`)."""
    context.stage = "survey"
    asking = _Asking(options, context, _now() + patience(context))
    survey = await asking.survey()
    cluster = survey.agreed
    if cluster is None:
        if not survey.clusters:
            return ActionResult(Applied.NOT_STARTED, f"{survey.problem}; nothing was sent")
        return ActionResult(Applied.REFUSED, f"{survey.problem}; nothing was sent")
    found = _name_of(cluster.leader)
    if found == options.candidate:
        return ActionResult(Applied.APPLIED, f"{found} leads already", found)
    if context.expected is not None and found != context.expected:
        detail = f"Patroni says {found}, where {context.expected} was expected; nothing was sent"
        return ActionResult(Applied.REFUSED, detail)
    if cluster.leader is None and options.when_leader_is_gone == "refuse":
        return ActionResult(Applied.REFUSED, f"{_WITHOUT_LEADER}; nothing was sent")
    return await _send(options, asking, survey, cluster)


async def _send(options: Options, asking: _Asking, survey: _Survey, cluster: Cluster) -> ActionResult:
    leader = cluster.leader
    action = "failover" if leader is None else "switchover"
    wanted = (
        {"candidate": options.candidate} if leader is None else {"leader": leader.name, "candidate": options.candidate}
    )
    body = json.dumps(wanted).encode()
    answered = await send_once(
        survey.in_order(options.endpoints), asking.until, asking.context, lambda url: asking.post(url, action, body)
    )
    if isinstance(answered, ActionResult):
        return replace(answered, prior=_name_of(leader))
    url, response = answered
    return _judged(options, cluster, f"POST {authority(url)}/{action}", response)


def _judged(options: Options, cluster: Cluster, asked: str, response: Response) -> ActionResult:
    text = decode_text(response.body, response.header("content-type"))
    answer = judge(response.status, text, options.candidate)
    parts = [f"{asked}: {told(response)}", answer.words]
    member = cluster.member(options.candidate)
    if response.status == HTTPStatus.PRECONDITION_FAILED and member is not None:
        # Patroni does not say which of its conditions the candidate fails.
        parts += _obstacles(options, cluster, member, Settings())
    return ActionResult(answer.applied, "; ".join(part for part in parts if part), _name_of(cluster.leader))


# --- read --------------------------------------------------------------------------------------------------------


async def read(options: ReadOptions, context: ActionContext) -> Reading:
    """Who holds the lock, as all say; and who accepts writes, as each says of itself."""
    context.stage = "read"
    asking = _Asking(options, context, _now() + patience(context))
    survey = await asking.survey(with_nodes=True)
    cluster = survey.agreed
    if cluster is None:
        return Reading(value=None, detail=survey.problem)
    nodes = await asking.nodes(cluster, survey)
    serving, doubts = _serving(cluster, nodes)
    timelines = [each.leader.timeline for each in survey.clusters.values() if each.leader and each.leader.timeline]
    remarks = [
        "in maintenance mode (paused)" if cluster.paused else "",
        "a standby cluster: none of its members accepts writes" if cluster.standby else "",
        *doubts,
    ]
    return Reading(
        value=_name_of(cluster.leader),
        version=str(max(timelines)) if timelines else None,
        detail="; ".join(remark for remark in remarks if remark),
        serving=None if doubts else serving,
    )


def _serving(cluster: Cluster, nodes: Mapping[str, Node | str]) -> tuple[tuple[str, ...], list[str]]:
    """Names of those that accept writes; and of whom nobody can tell. nodes: by name, or why there is no answer."""
    doubts = []
    for member in cluster.members:
        node = nodes.get(member.name, "its own state was not asked for")
        if isinstance(node, str):
            doubts.append(f"whether {member.name} accepts writes is not known: {node}")
        elif node.serves is Serves.UNCLEAR:
            doubts.append(f"whether {member.name} accepts writes is not known: it is {node.role}, and {node.state}")
    return tuple(_writing(nodes)), doubts


def _writing(nodes: Mapping[str, Node | str]) -> list[str]:
    """Names of those that accept writes, as each says of itself."""
    return sorted(name for name, node in nodes.items() if isinstance(node, Node) and node.serves is Serves.YES)


# --- preflight ---------------------------------------------------------------------------------------------------

_WITHOUT_LEADER: Final = (
    "the cluster has no leader to switch over from; Patroni elects one by itself, unless it is paused or all members "
    "lag too much (see `when_leader_is_gone`)"
)


@dataclass(slots=True)
class _Findings:
    """What speaks against it, what cannot be told, and what else is to be known."""

    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def preflight(self, *, credentials: bool | None) -> Preflight:
        passed = False if self.problems else None if self.doubts else True
        return Preflight(passed, "; ".join([*self.problems, *self.doubts, *self.remarks]), credentials)


async def preflight(options: Options, context: ActionContext) -> Preflight:
    """Everything that Patroni looks at, told with its reason; and the login, by a request that can do nothing."""
    context.stage = "preflight"
    asking = _Asking(options, context, _now() + patience(context))
    survey = await asking.survey(with_nodes=True)
    if not survey.clusters:
        return Preflight(passed=False, detail=survey.problem)
    first = survey.in_order(options.endpoints)[0]
    cluster = survey.agreed
    if cluster is None:
        admitted, words = await asking.probe(first)
        return Preflight(False, "; ".join(part for part in (survey.problem, words) if part), admitted)
    (admitted, words), settings, nodes = await asyncio.gather(
        asking.probe(first), asking.settings(first), asking.nodes(cluster, survey, only=options.candidate)
    )
    found = _look(options, cluster, nodes, settings)
    if words:
        (found.doubts if admitted is None else found.problems).insert(0, words)
    found.remarks += [f"{place}: {why}" for place, why in survey.silent.items()]
    return found.preflight(credentials=admitted)


def _look(options: Options, cluster: Cluster, nodes: Mapping[str, Node | str], settings: Settings) -> _Findings:
    found = _Findings()
    member = cluster.member(options.candidate)
    if cluster.paused:
        found.remarks.append("the cluster is in maintenance mode (paused): Patroni does nothing by itself afterwards")
    for key, real, said in (
        ("loop_wait", settings.loop_wait, options.loop_wait),
        ("ttl", settings.ttl, options.ttl),
    ):
        if real is not None and real > said:
            found.remarks.append(f"Patroni's {key} is {real:g} s, longer than `{key}` says")
    if member is None:
        there = ", ".join(each.name for each in cluster.members) or "none"
        cluster_name = cluster.scope or "the cluster"
        found.problems.append(f"{options.candidate} is no member of {cluster_name}; there are: {there}")
        return found
    if member.leads:
        found.remarks.insert(0, f"{member.name} leads already")
        return found
    _look_at_cluster(options, cluster, nodes, found)
    found.problems += _obstacles(options, cluster, member, settings)
    _look_at_member(cluster, member, nodes.get(member.name, "it was not asked"), found)
    if not found.problems and not found.doubts:
        behind = f", {_bytes(member.lag or 0)} behind {cluster.leader.name}" if cluster.leader is not None else ""
        found.remarks.insert(0, f"{member.name} is {member.state}{behind}")
    return found


def _look_at_cluster(options: Options, cluster: Cluster, nodes: Mapping[str, Node | str], found: _Findings) -> None:
    if cluster.leader is None and options.when_leader_is_gone == "refuse":
        found.problems.append(_WITHOUT_LEADER)
    elif cluster.leader is None:
        lost = "would be promoted as it is, and what it has not received is lost"
        found.remarks.append(f"the cluster has no leader: {options.candidate} {lost}")
    if cluster.scheduled:
        replaced = "is scheduled, which this one would replace; `patronictl flush` drops it"
        found.problems.append(f"a switchover {cluster.scheduled} {replaced}")
    leader = _name_of(cluster.leader)
    writing = [name for name in _writing(nodes) if name != leader]
    if writing:
        found.problems.append(f"{' and '.join(writing)} accepts writes, while Patroni says {leader}: two primaries")


def _obstacles(options: Options, cluster: Cluster, member: Member, settings: Settings) -> list[str]:
    """Which of Patroni's conditions, and of ours, a member fails by what `/cluster` says of it."""
    found = []
    if member.nofailover:
        found.append(f"{member.name} has the tag nofailover")
    if member.state not in _MAY_TAKE_OVER | {_FROM_ARCHIVE}:
        found.append(f"{member.name} is {member.state or 'in a state that is not told'}")
    limit = options.max_lag
    if cluster.leader is not None and settings.largest_lag is not None:
        limit = min(limit, settings.largest_lag)
    if member.lag is not None and member.lag > limit:
        found.append(f"{member.name} lags {_bytes(member.lag)} behind, {_bytes(limit)} is the limit")
    strict = settings.strictly_synchronous or bool(cluster.synchronous)
    if strict and member.name not in cluster.synchronous:
        who = ", ".join(cluster.synchronous) or "nobody"
        why = "may lack what was committed" if cluster.leader is None else "Patroni demands that it is"
        found.append(f"{member.name} is not the synchronous standby ({who} is); {why}")
    return found


def _look_at_member(cluster: Cluster, member: Member, node: Node | str, found: _Findings) -> None:
    """What it says of itself, and what cannot be told."""
    if isinstance(node, str):
        found.problems.append(f"{member.name} does not answer, so Patroni would not promote it ({node})")
    elif node.watchdog_failed:
        found.problems.append(f"{member.name} has no working watchdog, which Patroni demands of a leader")
    elif node.state == "unknown":
        found.doubts.append(f"Patroni on {member.name} could not ask its PostgreSQL")
    elif node.state != "running" and member.state in _MAY_TAKE_OVER:
        found.problems.append(f"{member.name} is {node.state or 'in a state that is not told'} by now")
    if member.lag is None:
        found.doubts.append(f"how far {member.name} lags behind is not known")
    if member.state == _FROM_ARCHIVE:
        found.doubts.append(f"{member.name} replays the archive, it does not stream")
    leading = cluster.leader.timeline if cluster.leader is not None else None
    if member.timeline is not None and leading is not None and member.timeline < leading:
        found.doubts.append(f"{member.name} is on timeline {member.timeline}, the leader on {leading}")


# --- asking ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Survey:
    """What the members behind `urls` said. silent: why one said nothing of use, by place. nodes: by URL."""

    clusters: dict[str, Cluster] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Node | str] = field(default_factory=dict)

    @property
    def agreed(self) -> Cluster | None:
        """What all say that answered; None where they contradict each other, or nobody answered."""
        return None if self.problem else next(iter(self.clusters.values()))

    @property
    def problem(self) -> str:
        """Why it cannot be told who leads; "" where it can."""
        if not self.clusters:
            return "no member answers: " + "; ".join(f"{place}: {why}" for place, why in self.silent.items())
        scopes = {cluster.scope for cluster in self.clusters.values()} - {""}
        if len(scopes) > 1:
            return "`urls` lead to different clusters: " + self._each(lambda cluster: cluster.scope)
        if len({_name_of(cluster.leader) for cluster in self.clusters.values()}) > 1:
            return "the members disagree on who leads: " + self._each(lambda cluster: _name_of(cluster.leader))
        return ""

    def _each(self, what: Callable[[Cluster], str]) -> str:
        return ", ".join(f"{authority(url)} says {what(cluster)}" for url, cluster in self.clusters.items())

    def in_order(self, urls: Iterable[str]) -> list[str]:
        """Those that answered, as the author has ordered them."""
        return [url for url in urls if url in self.clusters]


class _Round:
    """Questions that are asked at the same time. Once one is answered, the others have LATE seconds left."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._limits: set[asyncio.Timeout] = set()

    async def ask(self, question: Awaitable[T]) -> T:
        async with asyncio.timeout_at(self._until) as limit:
            self._limits.add(limit)
            try:
                return await question
            finally:
                self._limits.discard(limit)

    def answered(self) -> None:
        self._until = min(self._until, _now() + LATE)
        for limit in self._limits:
            when = limit.when()
            if not limit.expired() and when is not None and when > self._until:
                limit.reschedule(self._until)


class _Asking:
    """The questions of one action, read or preflight. until: of the loop's clock, for all of them."""

    def __init__(self, options: ReadOptions, context: ActionContext, until: float) -> None:
        self.context = context
        self.until = until
        self._options = options
        self._tls = options.tls(context.workspace)

    async def survey(self, *, with_nodes: bool = False) -> _Survey:
        """Ask all of `urls` for the cluster, and if wanted for themselves."""
        found = _Survey()
        window = _Round(min(self.until, _now() + SURVEY))

        async def cluster(url: str) -> None:
            try:
                response = await window.ask(self._get(url, "/cluster", ours=True))
                found.clusters[url] = parse_cluster(await _document(response, {HTTPStatus.OK}))
            except (*FAILURES, ValueError) as error:
                found.silent[authority(url)] = _why(error)
            else:
                window.answered()

        async def node(url: str) -> None:
            found.nodes[url] = await self._node(url, window, ours=True)

        questions = [cluster(url) for url in self._options.endpoints]
        questions += [node(url) for url in self._options.endpoints if with_nodes]
        await asyncio.gather(*questions)
        return found

    async def nodes(self, cluster: Cluster, survey: _Survey, *, only: str | None = None) -> dict[str, Node | str]:
        """What each member says of itself, by name; those that were not among `urls` are asked at their `api_url`.

        only: the member that matters.
        """
        found = _by_name(cluster, survey)
        missing = [member for member in cluster.members if member.name not in found and only in {None, member.name}]
        window = _Round(min(self.until, _now() + ASIDE))

        async def ask(member: Member) -> None:
            asked = survey.nodes.get(_origin(member.api_url))
            found[member.name] = asked if asked is not None else await self._member(member, window)

        await asyncio.gather(*map(ask, missing))
        return found

    async def _member(self, member: Member, window: _Round) -> Node | str:
        origin = _origin(member.api_url)
        if not origin:
            return f"its api_url {member.api_url[:EXCERPT]!r} is none"
        return await self._node(origin, window, ours=False)

    async def _node(self, url: str, window: _Round, *, ours: bool) -> Node | str:
        """What a member says of itself, or why it says nothing."""
        try:
            response = await window.ask(self._get(url, "/primary", ours=ours))
            return parse_node(
                response.status, await _document(response, {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE})
            )
        except (*FAILURES, ValueError) as error:
            return f"{authority(url)}: {_why(error)}"

    async def settings(self, url: str) -> Settings:
        """Patroni's configuration. What cannot be read is not known, and Patroni holds to it all the same."""
        window = _Round(min(self.until, _now() + ASIDE))
        try:
            response = await window.ask(self._get(url, "/config", ours=True))
            return parse_settings(await _document(response, {HTTPStatus.OK}))
        except (*FAILURES, ValueError):
            return Settings()

    async def probe(self, url: str) -> tuple[bool | None, str]:
        """Whether a change would be admitted; and why not, or why that cannot be told."""
        window = _Round(min(self.until, _now() + ASIDE))
        try:
            response = await window.ask(self._fetch(self.post(url, "switchover", _PROBE)))
        except FAILURES as error:
            return None, f"whether the login is accepted is not known: {authority(url)}: {_why(error)}"
        if response.status == HTTPStatus.BAD_REQUEST:
            return True, ""
        if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return False, f"{authority(url)} does not admit changes by this login: {told(response)}"
        return None, f"whether the login is accepted is not known: {authority(url)}: {told(response)}"

    def post(self, url: str, action: str, body: bytes) -> Request:
        headers = [("Content-Type", "application/json"), *self._login()]
        return request_to(url, f"/{action}", method="POST", tls=self._tls, headers=headers, body=body)

    async def _get(self, url: str, path: str, *, ours: bool) -> Response:
        """ours: a place that the author has named; what a member's `api_url` leads to never sees the password."""
        headers = self._login() if ours else ()
        return await self._fetch(request_to(url, path, method="GET", tls=self._tls, headers=headers))

    async def _fetch(self, request: Request) -> Response:
        return await fetch(request, _Aside(self.context.resolver))

    def _login(self) -> Sequence[tuple[str, str]]:
        auth = self._options.auth
        header = None if auth is None else Auth(basic=auth.basic).header()
        return () if header is None else (("Authorization", header),)


@dataclass(slots=True)
class _Aside:
    """Who asks one of several questions; the stage of each is no matter to anybody."""

    resolver: Resolver
    stage: str = ""


def _by_name(cluster: Cluster, survey: _Survey) -> dict[str, Node | str]:
    """The answers of `urls` by the members' names: what they call themselves, else whose `api_url` it is."""
    names = {_origin(member.api_url): member.name for member in cluster.members}
    found: dict[str, Node | str] = {}
    for url, node in survey.nodes.items():
        if isinstance(node, str):
            continue
        name = node.name or names.get(_origin(url))
        if name is not None and (name not in found or node.serves is Serves.YES):
            found[name] = node
    return found


async def _document(response: Response, statuses: set[HTTPStatus]) -> Any:
    """The JSON of an answer with one of these statuses. Raises ProtocolError."""
    if response.status not in statuses:
        raise ProtocolError(f"it answers {told(response)}")
    if response.truncated:
        raise ProtocolError(f"its answer is longer than {MAX_ANSWER // 1024} KiB")
    try:
        return await load_json(response.body)
    except ValueError as error:
        raise ProtocolError(f"its answer is no JSON: {error}") from error


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    return f"its answer {error}" if isinstance(error, ValueError) else explain(error)[2]


def _origin(url: str) -> str:
    """Scheme and authority of a URL; "" where it is none."""
    try:
        target = parse_url(url)
    except ValueError:
        return ""
    return f"{'https' if target.tls else 'http'}://{target.authority}"


def _name_of(leader: Member | None) -> str:
    return NO_LEADER if leader is None else leader.name


def _bytes(count: int) -> str:
    """A length of the write-ahead log, to two digits where it is large."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}".replace(".0 ", " ")
    return f"{count} bytes"


def _now() -> float:
    return asyncio.get_running_loop().time()


# --- for people --------------------------------------------------------------------------------------------------

_BODY: Final = (
    'import json, sys; said = json.load(sys.stdin); print(json.dumps({"candidate": sys.argv[1], "leader": next('
    'each["name"] for each in said["members"] if each["role"] in ("leader", "standby_leader"))}))'
)


def manual(raw: Mapping[str, Any]) -> str:
    """The same by curl, from whoever leads at that moment. (On a member: `patronictl switchover --candidate …`.)"""
    url, candidate = str(raw["urls"][0]).rstrip("/"), str(raw["candidate"])
    curl = ["curl", "-sS", *curl_tls(raw)]
    login = (raw.get("auth") or {}).get("basic")
    user = ["-u", f"{login['user']}:{login['password']}"] if login else []
    body = f"{shell_command([*curl, f'{url}/cluster'])} | {shell_command(['python3', '-c', _BODY, candidate])}"
    return f'{shell_command([*curl, *user])} -d "$({body})" {shell_word(f"{url}/switchover")}'


def undo(raw: Mapping[str, Any], prior: str) -> Mapping[str, Any]:
    return {**raw, "candidate": prior}


def refine(options: Options) -> Abilities:
    return Abilities(
        cas=options.when_leader_is_gone == "refuse",
        idempotent=True,
        read_back=True,
        restores=True,
        settle=2 * options.loop_wait + options.ttl,
    )


KIND = ActionKind(
    name="patroni",
    summary="a PostgreSQL cluster under Patroni: switchover, and failover where that was decided",
    options=Options,
    identity=("urls",),
    abilities=Abilities(cas=True, idempotent=True, read_back=True, restores=True, settle=50.0),
    apply=apply,
    preflight=preflight,
    manual=manual,
    read_options=ReadOptions,
    read=read,
    undo=undo,
    refine=refine,
)
