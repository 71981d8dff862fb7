"""opsdash.yaml: people and settings."""

from __future__ import annotations

import functools
import grp
import hashlib
import os
import re
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from opsdash.config import yaml
from opsdash.config.parts import Judged, Report, Spot, valid_parts, workspace_part
from opsdash.config.places import full_path
from opsdash.config.problems import Problem, did_you_mean
from opsdash.config.schema import LATER, WorkspaceModel
from opsdash.config.secrets import ReferenceProblem, References
from opsdash.kinds.transport import parse_url
from opsdash.model.operation import Absence, Person

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opsdash.config.files import Source
    from opsdash.config.listening import Address
    from opsdash.config.schema import AbsenceModel, PersonModel
    from opsdash.config.schema_engine import DeadManModel

UTC_NAME = "UTC"

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds for which single results and their summaries are kept."""

    samples: float
    minutes: float
    hours: float


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where the engine lives, and who reaches it.

    state: the state folder; None for the usual one. group: the name of a group that exists, and to which this process
    can give files. certificate, key: both or none; without them the address is not for TLS. tls_is_broken: they were
    meant, and cannot be used.
    """

    state: Path | None = None
    group: str | None = None
    listen: Address | None = None
    certificate: Path | None = None
    key: Path | None = None
    tls_is_broken: bool = False


@dataclass(frozen=True, slots=True)
class DeadMan:
    """Who expects a sign of life. every, timeout, grace: seconds.  signals: whether `/start` and `/fail` are known."""

    url: str = field(repr=False)
    every: float = 60.0
    timeout: float = 10.0
    grace: float = 30.0
    signals: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """What opsdash.yaml says about the engine and the operation as a whole. variables: `vars`, for `${NAME}`.

    sheets: the folder of emergency sheets; None for the usual one.
    """

    title: str
    timezone: str
    retention: Retention
    engine: EngineSettings = EngineSettings()
    sheets: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    dead_man: DeadMan | None = None


@dataclass(frozen=True, slots=True)
class ParsedWorkspace:
    """opsdash.yaml on its own. `lost`: it could not be used as a whole."""

    source: Source
    model: WorkspaceModel
    judged: Judged = field(default_factory=Judged)
    lost: bool = False


def parse_workspace(source: Source) -> ParsedWorkspace:
    """The valid parts of opsdash.yaml."""
    if source.refused:
        return _lost(source, source.refused, source.hint)
    tree = yaml.read(source.data)
    if tree.fatal:
        flaw = tree.flaws[0]
        return _lost(source, flaw.message, flaw.hint, flaw.line)
    if tree.value is not None and not isinstance(tree.value, dict):
        return _lost(source, "the file is no mapping of keys", "begin with a line such as title: …", 1)
    report = Report(source.name, source.data)
    value = _with_people(tree.value or {})
    later = LATER["workspace"]
    model = valid_parts(WorkspaceModel, value, report, workspace_part, flaws=tree.flaws, later=later)
    return ParsedWorkspace(source, model, report.judged)


def _with_people(value: dict[str, object]) -> dict[str, object]:
    """A person of whom nothing is said (`maria:`) is a person all the same."""
    people = value.get("people")
    if not isinstance(people, dict):
        return value
    return {**value, "people": {name: {} if person is None else person for name, person in people.items()}}


def _lost(source: Source, message: str, hint: str = "", line: int = 0) -> ParsedWorkspace:
    problem = Problem(source.name, line, (), message, hint)
    judged = Judged((problem,), hidden={"": f"{source.name}: {problem.reason}"})
    return ParsedWorkspace(source, WorkspaceModel(), judged, lost=True)


def variables(model: WorkspaceModel, references: References, report: Report) -> dict[str, str]:
    """`vars`, with references to the environment and to secrets replaced."""
    found: dict[str, str] = {}
    for name, value in model.vars.items():
        resolved = _resolved(value, references, Spot(report, ("vars", name), f"vars/{name}"))
        if resolved is not None:
            found[name] = resolved
    return found


def timezone(model: WorkspaceModel, report: Report) -> str:
    """The operation's time zone; UTC with a problem where there is none of that name."""
    name = model.timezone
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        hint = did_you_mean(name, all_timezones()) or "write it as Europe/Berlin"
        report.error(("timezone",), f"there is no time zone {name!r:.60}", hint, "timezone")
        return UTC_NAME
    return name


@functools.cache
def all_timezones() -> frozenset[str]:
    """All time zones; finding them takes a walk through a few hundred files."""
    return frozenset(available_timezones())


def settings(
    model: WorkspaceModel,
    zone: str,
    references: References,
    engine: EngineSettings,
    report: Report,
    *,
    sheets: Path | None,
) -> Settings:
    """What the engine needs to know."""
    kept = model.engine.retention
    return Settings(
        title=model.title,
        timezone=zone,
        retention=Retention(kept.samples, kept.minutes, kept.hours),
        engine=engine,
        sheets=sheets,
        variables=references.variables,
        dead_man=_dead_man(model.dead_man, references, Spot(report, ("dead_man",), "dead_man")),
    )


def _dead_man(model: DeadManModel | None, references: References, spot: Spot) -> DeadMan | None:
    """Whom to give signs of life, if it can be told. The address is masked wherever it came from."""
    url = None if model is None else _resolved(model.url, references, spot.at("url"))
    if model is None or url is None:
        return None
    try:
        references.masker.add(url, *filter(_may_be_secret, urlsplit(url).path.split("/")))
        parse_url(url)
    except ValueError as error:
        spot.at("url").error(references.masker.mask(str(error)), "write it as https://hc-ping.com/${CHECK_UUID}")
        return None
    return DeadMan(url, model.every, model.timeout, model.grace, model.signals)


def _may_be_secret(segment: str) -> bool:
    """Whether a part of a path is a key rather than a word."""
    return len(segment) >= 16 and any(character.isdigit() for character in segment)


def _resolved(value: str, references: References, spot: Spot) -> str | None:
    try:
        return str(references.resolve(value))
    except ReferenceProblem:
        for _, each in references.problems(value):
            spot.error(each.message, each.hint)
        return None


# --- the engine ---------------------------------------------------------------------------------------------

TLS_KEYS = ("tls_certificate", "tls_key")


def engine(parsed: ParsedWorkspace, workspace: Path, report: Report) -> EngineSettings:
    """Where the engine lives, and who reaches it; what cannot be used is reported, and off.

    An address whose TLS is broken is off, too: a token must not be sent in the clear because a key was misspelt.
    """
    model = parsed.model.engine
    owner = parsed.source.stamp.owner if parsed.source.stamp else None
    paths: dict[str, Path | None] = {}
    for key in ("state", *TLS_KEYS):
        text = getattr(model, key)
        try:
            paths[key] = None if text is None else full_path(workspace, text, owner)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            report.error(("engine", key), message, hint, f"engine/{key}")
            paths[key] = None
    settings = EngineSettings(state=paths["state"], group=_group(model.group, report))
    if not _tls_is_whole(paths, report):
        return replace(settings, tls_is_broken=True)
    certificate, key_file = (paths[key] for key in TLS_KEYS)
    if model.listen is not None and certificate is None and not model.listen.is_loopback:
        report.warning(("engine", "listen"), *in_the_clear(model.listen))
    return replace(settings, listen=model.listen, certificate=certificate, key=key_file)


def sheets_folder(parsed: ParsedWorkspace, workspace: Path, report: Report) -> Path | None:
    """Where emergency sheets are written; None for the usual place, also where another one was meant and is none."""
    text = parsed.model.sheets.folder
    if text is None:
        return None
    try:
        return full_path(workspace, text, parsed.source.stamp.owner if parsed.source.stamp else None)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        report.error(("sheets", "folder"), message, hint, "sheets/folder")
        return None


def in_the_clear(address: Address) -> tuple[str, str]:
    """What is wrong with an address on the network without TLS, and what would be right."""
    message = f"on {address} everybody along the way can read the token, and use it"
    return message, "name a certificate and its key (tls_certificate, tls_key), or listen on 127.0.0.1"


def _tls_is_whole(paths: Mapping[str, Path | None], report: Report) -> bool:
    """Whether certificate and key are both there, or neither was meant."""
    broken = {key for key in TLS_KEYS if f"engine/{key}" in report.off}
    missing = [key for key in TLS_KEYS if paths[key] is None]
    if not broken and len(missing) == 1:
        message = f"{missing[0]} is missing: a certificate and its key belong together"
        there = next(key for key in TLS_KEYS if key != missing[0])
        report.error(("engine", there), message, "name both, or neither", "engine/listen")
    if broken:
        path = ("engine", min(broken))
        report.error(path, "without its certificate and key nothing listens on TCP", "", "engine/listen")
    return not broken and len(missing) != 1


def _group(name: str | None, report: Report) -> str | None:
    """The group, if there is one of that name to which this process may give a file."""
    if name is None:
        return None
    path, part = ("engine", "group"), "engine/group"
    try:
        gid = grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        hint = did_you_mean(name, (each.gr_name for each in grp.getgrall()))
        report.error(path, f"there is no group {name!r:.60} on this machine", hint, part)
        return None
    if os.geteuid() != 0 and gid not in {os.getegid(), *os.getgroups()}:
        hint = "only a member can open it to the group; a login after joining makes the membership count"
        report.error(path, f"this account is no member of {name}, so the engine stays private", hint, part)
        return None
    return name


# --- people -------------------------------------------------------------------------------------------------


def people(model: WorkspaceModel, zone: str, references: References, report: Report) -> dict[str, Person]:
    """Everybody, with their absences as points in time."""
    clock = ZoneInfo(zone)
    return {
        name: _person(name, person, clock, references, Spot(report, ("people", name), f"people/{name}"))
        for name, person in model.people.items()
    }


def _person(name: str, model: PersonModel, clock: ZoneInfo, references: References, spot: Spot) -> Person:
    texts = {
        key: None if value is None else _resolved(value, references, spot.at(key))
        for key, value in (("name", model.name), ("login", model.login), ("contact", model.contact))
    }
    away = [
        _absence(absence, clock, spot.at("away", index))
        for index, absence in enumerate(model.away)
        if not spot.at("away", index).is_hole
    ]
    return Person(
        id=name,
        name=texts["name"] or name,
        login=texts["login"],
        contact=texts["contact"],
        away=tuple(absence for absence in away if absence is not None),
        left=None if model.left is None else moment(model.left, clock, spot.at("left")),
        alarms=model.alarms,
    )


def _absence(model: AbsenceModel, clock: ZoneInfo, spot: Spot) -> Absence | None:
    """From the beginning of its first day to the end of its last."""
    start = None if model.from_ is None else moment(model.from_, clock, spot.at("from"))
    end = None if model.until is None else moment(model.until, clock, spot.at("until"), after=1)
    if (start is None) != (model.from_ is None) or (end is None) != (model.until is None):
        return None
    if start is not None and end is not None and end <= start:
        spot.error(f"the absence ends ({model.until}) before it begins ({model.from_})", "exchange the dates")
        return None
    return Absence(start, end)


def moment(text: str, clock: ZoneInfo, spot: Spot, after: int = 0) -> float | None:
    """Seconds since 1970 UTC. A plain date is its first moment, or that of `after` days later."""
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=after)
            return datetime(day.year, day.month, day.day, tzinfo=clock).timestamp()
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=clock)).timestamp()
    except (ValueError, OverflowError):
        spot.error(f"{text!r:.40} is no date", "write it as 2026-12-24, or 2026-12-24T12:00")
        return None


def digest(sources: Mapping[str, str]) -> str:
    """One hash of all files: names and hashes."""
    lines = "".join(f"{sha256} {name}\n" for name, sha256 in sorted(sources.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
