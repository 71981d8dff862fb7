"""A workspace folder to an Operation, by difference.

`load` never fails: whatever is in the files, there is an operation, and a list of problems. Loading again
with the result of last time parses only files that have changed, keeps checks that are the same, and lets
what no longer loads go on in its last good version. It reads files and runs the programs of `${cmd:…}`, so
it belongs into a thread.
"""

from __future__ import annotations

import contextlib
import gc
import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from opsdash.config import files, runbooks, workspace
from opsdash.config.alarms import Ground, alarming
from opsdash.config.build import Builder, with_facts
from opsdash.config.built import Binding, Built
from opsdash.config.drills import Found as FoundDrills
from opsdash.config.drills import Ground as DrillGround
from opsdash.config.drills import ParsedDrill, drills, parse_drill
from opsdash.config.link import Linker
from opsdash.config.parse import Parsed, parse
from opsdash.config.parts import Report
from opsdash.config.problems import Problem, ordered
from opsdash.config.rotas import MADE_ANEW, ReadRota, RotaFiles, made_rotas, read_rota, rota_paths
from opsdash.config.secrets import Masker, References, fill_settings, resolve_secrets
from opsdash.config.windows import windows
from opsdash.config.workspace import EngineSettings, ParsedWorkspace, Retention, Settings, parse_workspace
from opsdash.core.index import index
from opsdash.core.practice import family_of
from opsdash.model.cover import Cover
from opsdash.model.operation import ANCHORS, Component, Operation
from opsdash.model.runbook import Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from opsdash.config.files import Source
    from opsdash.config.problems import KeyPath
    from opsdash.config.schema import RotaModel
    from opsdash.model.runbook import Finding, Runbook

__all__ = ["Binding", "EngineSettings", "Loaded", "Problem", "Retention", "Settings", "Severity", "load"]

KEPT = "the last good version stays in use"


@dataclass(frozen=True, slots=True)
class ReadRunbook:
    """A runbook with what is wrong in its file."""

    source: Source
    runbook: Runbook
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Cache:
    """What of the files need not be read again, by name: as they are now, and as they were last good. sound: the last
    version of each file, by its name, that had no error.
    """

    workspace: ParsedWorkspace
    good_workspace: ParsedWorkspace
    components: Mapping[str, Parsed]
    good_components: Mapping[str, Parsed]
    runbooks: Mapping[str, ReadRunbook]
    drills: Mapping[str, ParsedDrill]
    good_drills: Mapping[str, ParsedDrill]
    sound: Mapping[str, Source]
    stamps: Mapping[str, files.Stamp | None]
    rotas: RotaFiles = field(default_factory=RotaFiles)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A workspace as it was loaded. digest: one hash of all its files.

    made_until: when it has to be read again although no file has changed, in seconds since 1970 UTC: shifts are made
    for some time in advance.
    """

    workspace: Path
    operation: Operation
    problems: tuple[Problem, ...]
    bindings: Mapping[str, Binding]
    runbooks: Mapping[str, Runbook]
    settings: Settings
    secrets: Masker
    digest: str
    environment: Mapping[str, str] = field(repr=False)
    cache: Cache = field(repr=False)
    made_until: float = math.inf

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that switch something off."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    @property
    def findings(self) -> dict[str, tuple[Problem, ...]]:
        """What is wrong with each runbook, by its id; runbooks without a flaw are left out."""
        by_file: dict[str, list[Problem]] = {}
        for problem in self.problems:
            by_file.setdefault(problem.file, []).append(problem)
        found = {key: tuple(by_file.get(runbook.path, ())) for key, runbook in self.runbooks.items()}
        return {key: problems for key, problems in found.items() if problems}

    def changed(self) -> bool:
        """Whether a file has changed, come or gone since: one `stat` a file."""
        folder = files.Folder(self.workspace, self.environment)
        return folder.stamps() != self.cache.stamps or self.cache.rotas.changed(self.workspace)

    def problem(self, path: KeyPath, message: str, hint: str = "", severity: Severity = Severity.WARNING) -> Problem:
        """A problem of opsdash.yaml that only shows while an engine runs."""
        source = self.cache.good_workspace.source
        line = Report(source.name, source.data).line(path)
        return Problem(source.name, line, path, message, hint, severity)

    def noting(self, problems: Iterable[Problem]) -> Loaded:
        """The same with further problems."""
        return replace(self, problems=ordered((*self.problems, *problems)))

    def with_settings(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Options for people: with ports and the like filled in, and secrets as references."""
        filled: dict[str, Any] = fill_settings(raw, self.environment, self.settings.variables, self.secrets)
        return filled

    def resolve(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Options with their secrets filled in, for use at once. Raises ReferenceProblem. Not for an event
        loop.
        """
        return resolve_secrets(
            raw, self.environment, self.workspace, variables=self.settings.variables, masker=self.secrets
        )


def load(folder: Path, environment: Mapping[str, str], wall: float, previous: Loaded | None = None) -> Loaded:
    """Read every file of a workspace; `previous` is what it was, `wall` the time in seconds since 1970
    UTC.
    """
    folder = folder.absolute()
    return load_files(files.Folder(folder, environment), folder, environment, wall, previous)


def load_files(
    found: files.Files, folder: Path, environment: Mapping[str, str], wall: float, previous: Loaded | None = None
) -> Loaded:
    """The same with files that may be elsewhere; `folder` is the absolute path of the workspace."""
    with _no_collection():
        return _Load(found, folder, environment, wall, previous).load()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Loading makes many small values and no cycles; looking for cycles among them takes a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Load:
    """One run of `load`."""

    def __init__(
        self,
        found: files.Files,
        folder: Path,
        environment: Mapping[str, str],
        wall: float,
        previous: Loaded | None,
    ) -> None:
        self._files = found
        self._folder = folder
        self._environment = dict(environment)
        self._wall = wall
        self._before = previous
        self._cache = previous.cache if previous is not None else None
        self._problems: list[Problem] = []
        self._unreadable: dict[str, str] = {}
        self._masker = previous.secrets if previous is not None else Masker()

    def load(self) -> Loaded:
        stamps = self._files.stamps()  # before anything is read, so that a change in between is noticed next time
        current, good = self._read_workspace()
        report = Report(files.WORKSPACE_FILE, good.source.data, replace(good.judged, problems=()))
        names = workspace.variables(good.model, References(self._environment, self._folder, self._masker), report)
        references = References(
            self._environment, self._folder, self._masker, names, lambda name: report.missing(f"vars/{name}")
        )
        zone = workspace.timezone(good.model, report)
        people = workspace.people(good.model, zone, references, report)
        read_rotas = self._read_rotas(good.model.rota, zone, people, report)
        rotas, rota_problems = made_rotas(read_rotas, good.model.rota, people, self._wall)
        self._problems += rota_problems
        engine = workspace.engine(good, self._folder, report)
        sheets = workspace.sheets_folder(good, self._folder, report)
        settings = workspace.settings(good.model, zone, references, engine, report, sheets=sheets)
        kept_parts: set[str] = set()
        if self._before is not None and settings.dead_man is None and "dead_man" in report.off:
            settings = replace(settings, dead_man=self._before.settings.dead_man)
            kept_parts.add("dead_man")

        components, good_components = self._read_components()
        read_runbooks = self._read_runbooks()
        read_drills = self._read_drills()
        builder = Builder(references, good.model.defaults, self._wall, self._before.bindings if self._before else {})
        anchors = self._anchors(builder, good, report)
        built, lost = self._build(builder, components, good_components)
        reasons = {name: parsed.problem or "" for name, parsed in lost.items()}
        linker = Linker(
            builder,
            built,
            lost=reasons,
            people=people,
            rotas=rotas,
            workspace=report,
            runbooks=read_runbooks,
            unreadable=self._unreadable,
            previous=self._before.operation.components if self._before else {},
        )
        linked = linker.link()
        bindings = self._bindings(anchors, built, linker.wanted)
        found = linked | {name: _lost_component(parsed) for name, parsed in lost.items()}
        window_specs, kept = windows(
            good.model.windows,
            zone,
            report,
            components=sorted(found),
            tags={tag for each in found.values() for tag in each.tags},
            wall=self._wall,
            previous=self._before.operation.windows if self._before else {},
        )
        alarms = alarming(
            good.model.alarms,
            Ground(builder, report, found, {name: each.check for name, each in bindings.items()}),
            people=people,
            previous=self._before.operation.alarms if self._before else None,
        )
        kept |= alarms.kept
        found_drills = self._drills(
            read_drills,
            DrillGround(
                builder=builder,
                built=built,
                lost=reasons,
                components=found,
                people=people,
                runbooks=read_runbooks,
                unreadable=self._unreadable,
                windows=window_specs,
                workspace=report,
                zone=zone,
            ),
        )
        read = (components, read_runbooks, read_drills)
        sources = [current.source, *(each.source for files_ in read for each in files_.values()), *read_rotas.sources]
        digest = workspace.digest({each.name: each.sha256 for each in sources})
        operation = index(
            Operation(
                title=settings.title,
                timezone=zone,
                components={name: found[name] for name in sorted(found)},
                checks={name: binding.check for name, binding in bindings.items()},
                people=alarms.people,
                anchors=tuple(anchors),
                windows=window_specs,
                alarms=alarms.alarming,
                drills=found_drills.drills,
                rotas=rotas,
                cover=Cover(good.model.cover.warn_before, good.model.cover.rota_ahead),
                families={
                    name: family_of(step.id for step in each.runbook.steps) for name, each in read_runbooks.items()
                },
                sha256=digest,
            )
        )
        told = (*current.judged.problems, *report.problems)
        self._problems += [_kept(each) if each.part in kept or each.part in kept_parts else each for each in told]
        for each in built.values():
            self._problems += _told(each)
        self._runbook_problems(operation, read_runbooks, zone, built)
        problems = ordered(self._problems)
        return Loaded(
            workspace=self._folder,
            operation=operation,
            problems=problems,
            bindings=bindings,
            runbooks={name: each.runbook for name, each in read_runbooks.items()},
            settings=settings,
            secrets=self._masker,
            digest=digest,
            environment=self._environment,
            cache=Cache(
                current,
                good,
                components,
                good_components,
                read_runbooks,
                read_drills,
                found_drills.good,
                self._sound(sources, problems),
                stamps,
                read_rotas,
            ),
            made_until=self._wall + MADE_ANEW if rotas else math.inf,
        )

    def _sound(self, sources: Iterable[Source], problems: Iterable[Problem]) -> dict[str, Source]:
        """The last version of each file without an error."""
        before = self._cache.sound if self._cache is not None else {}
        wrong = {problem.file for problem in problems if problem.severity is Severity.ERROR}
        found = ((each, before.get(each.name)) for each in sources)
        kept = (old if each.name in wrong or each.refused else each for each, old in found)
        return {source.name: source for source in kept if source is not None}

    # --- reading --------------------------------------------------------------------------------------------

    def _read_workspace(self) -> tuple[ParsedWorkspace, ParsedWorkspace]:
        """opsdash.yaml as it is, and as it was last good."""
        known = self._cache.workspace if self._cache else None
        path = self._folder / files.WORKSPACE_FILE
        source = self._files.read(path, known.source if known else None)
        current = known if known is not None and known.source is source else parse_workspace(source)
        if not current.lost:
            return current, current
        if self._cache is None or self._cache.good_workspace.lost:
            return current, current
        kept = replace(current.judged, problems=tuple(_kept(problem) for problem in current.judged.problems))
        return replace(current, judged=kept), self._cache.good_workspace

    def _read_components(self) -> tuple[dict[str, Parsed], dict[str, Parsed]]:
        """Component files as they are, and as they were last good."""
        known = self._cache.components if self._cache else {}
        last_good = self._cache.good_components if self._cache else {}
        current: dict[str, Parsed] = {}
        good: dict[str, Parsed] = {}
        for path in self._files.components():
            name = path.stem
            if name in current:
                message = f"there is {current[name].source.name} too; a component has one file"
                relative = path.relative_to(self._folder).as_posix()
                self._problems.append(Problem(relative, 0, (), message, "remove one of them"))
                continue
            before = known.get(name)
            source = self._files.read(path, before.source if before else None)
            parsed = before if before is not None and before.source is source else parse(source)
            current[name] = parsed
            if parsed.model is not None:
                good[name] = parsed
            elif name in last_good:
                good[name] = last_good[name]
        if not current:
            hint = "write one file for each part that can fail on its own, such as checks/email.yaml"
            self._problems.append(Problem(files.CHECKS, 0, (), "there are no components", hint, Severity.WARNING))
        return current, good

    def _read_runbooks(self) -> dict[str, ReadRunbook]:
        known = self._cache.runbooks if self._cache else {}
        found: dict[str, ReadRunbook] = {}
        for path in self._files.runbooks():
            name = path.stem
            before = known.get(name)
            source = self._files.read(path, before.source if before else None)
            if before is not None and before.source is source:
                found[name] = before
            elif source.refused:
                problem = Problem(source.name, 0, (), source.refused, source.hint, code="refused")
                self._problems.append(_kept(problem) if before is not None else problem)
                if before is not None:
                    found[name] = before
                else:
                    self._unreadable[name] = f"{source.name}: {problem.reason}"
            else:
                found[name] = ReadRunbook(source, *runbooks.parse(name, source.data, source.name))
        return found

    def _read_rotas(
        self, models: Mapping[str, RotaModel], zone: str, people: Collection[str], report: Report
    ) -> RotaFiles:
        known = self._cache.rotas if self._cache else RotaFiles()
        paths = rota_paths(models, self._folder, people, report)
        stamps = {name: files.stamp_of(path) for name, path in paths.items()}
        read: dict[str, ReadRota] = {}
        for name, path in paths.items():
            before = known.read.get(name)
            source = self._files.read(path, before.source if before else None)
            same = before is not None and before.source is source and before.zone == zone
            read[name] = before if same and before is not None else read_rota(source, zone)
        return RotaFiles(read, known.still_good(read), stamps)

    def _read_drills(self) -> dict[str, ParsedDrill]:
        known = self._cache.drills if self._cache else {}
        found: dict[str, ParsedDrill] = {}
        for path in self._files.drills():
            name = path.stem
            if name in found:
                message = f"there is {found[name].source.name} too; a drill has one file"
                relative = path.relative_to(self._folder).as_posix()
                self._problems.append(Problem(relative, 0, (), message, "remove one of them"))
                continue
            before = known.get(name)
            source = self._files.read(path, before.source if before else None)
            found[name] = before if before is not None and before.source is source else parse_drill(source)
        return found

    # --- building -------------------------------------------------------------------------------------------

    def _anchors(self, builder: Builder, good: ParsedWorkspace, report: Report) -> dict[str, Binding]:
        anchors = builder.anchors(good.model.anchors, report)
        if self._before is not None:
            for part in report.off:
                check = f"{ANCHORS}/{part.removeprefix('anchors/')}"
                if part.startswith("anchors/") and check in self._before.bindings:
                    anchors[check] = self._before.bindings[check]
        return anchors

    def _build(
        self, builder: Builder, components: Mapping[str, Parsed], good: Mapping[str, Parsed]
    ) -> tuple[dict[str, Built], dict[str, Parsed]]:
        """Components that can be used, possibly in their last good version; and those of which there is
        nothing.
        """
        built: dict[str, Built] = {}
        lost: dict[str, Parsed] = {}
        for name, parsed in components.items():
            usable = good.get(name)
            if usable is None or usable.model is None:
                lost[name] = parsed
                self._problems += parsed.judged.problems
                continue
            before = self._before.operation.components.get(name) if self._before else None
            built[name] = builder.build(usable, usable.model, components, before.providers if before else ())
            if usable is not parsed:
                self._problems += [_kept(problem) for problem in parsed.judged.problems]
        return built, lost

    def _bindings(
        self, anchors: Mapping[str, Binding], built: Mapping[str, Built], wanted: Mapping[str, Iterable[str]]
    ) -> dict[str, Binding]:
        """All checks, with the paths that switches want from them."""
        found = dict(anchors)
        before = self._before.bindings if self._before else {}
        for component in built.values():
            for name, binding in component.bindings.items():
                full = with_facts(binding, wanted.get(name, ()))
                same = before.get(name)
                keep = same is not None and same.check == full.check and same.options == full.options
                found[name] = same if keep and same is not None else full
        return found

    def _drills(self, parsed: Mapping[str, ParsedDrill], ground: DrillGround) -> FoundDrills:
        """All drills; what is wrong with them is told among the other problems."""
        found = drills(parsed, self._cache.good_drills if self._cache else {}, ground)
        self._problems += [_kept(each) if each.file in found.kept else each for each in found.problems]
        return found

    def _runbook_problems(
        self, operation: Operation, read: Mapping[str, ReadRunbook], zone: str, built: Mapping[str, Built]
    ) -> None:
        def hidden(section: str, name: str) -> bool:
            component, _, rest = name.partition("/")
            if component in built:
                return built[component].hides(section, rest)
            return component in operation.components  # its file as a whole cannot be read

        def known(section: str, found: Iterable[tuple[str, Iterable[str]]]) -> set[str]:
            """Names in all files, also of what is switched off: that is told where it is."""
            names = {f"{component}/{name}" for component, names in found for name in names}
            for each in built.values():
                off = (part.partition("/") for part in each.off)
                names |= {f"{each.id}/{name}" for head, _, name in off if head == section and "/" not in name}
            return names

        components = operation.components.values()
        sketches = {check for each in built.values() for check in each.sketches}
        findings = [finding for each in read.values() for finding in each.findings]
        findings += runbooks.lint(
            {name: each.runbook for name, each in read.items()},
            components=operation.components.keys(),
            failure_modes=known("failures", ((each.id, each.failures) for each in components)),
            checks=operation.checks.keys() | sketches,
            modes=known("modes", ((each.id, each.modes) for each in components)),
            today=datetime.fromtimestamp(self._wall, UTC).astimezone(ZoneInfo(zone)).date(),
            root=self._folder,
            hidden=hidden,
        )
        lost = {name: _execution(name, components) for name, each in read.items() if not each.runbook.executable}
        for finding in findings:
            is_error = finding.severity is Severity.ERROR
            self._problems.append(_problem(finding, lost.pop(finding.runbook, None) if is_error else None))


def _problem(finding: Finding, part: str | None) -> Problem:
    """A finding among the other problems; `part`: what it takes away, told at the first error of a runbook."""
    return Problem(
        finding.path,
        finding.line,
        (),
        finding.message,
        finding.remedy,
        finding.severity,
        part,
        finding.code,
        finding.column,
        finding.end_column,
    )


def _execution(runbook: str, components: Iterable[Component]) -> str:
    """What a runbook that cannot be executed takes away, and from whom."""
    answered = [
        f"{each.id}/{failure.id}"
        for each in components
        for failure in each.failures.values()
        if failure.runbook == runbook
    ]
    which = f", which answers {', '.join(answered)}" if answered else ""
    return f"the execution of this runbook{which}; its text stays readable"


def _told(built: Built) -> list[Problem]:
    """A component's problems; where a part goes on in its last good version, that is said."""
    kept = {built.report.missing(part) for part in built.kept}
    return [_kept(each) if each.part in built.kept or each.reason in kept else each for each in built.report.problems]


def _kept(problem: Problem) -> Problem:
    return replace(problem, hint=f"{problem.hint}; {KEPT}" if problem.hint else KEPT)


def _lost_component(parsed: Parsed) -> Component:
    """Of a file that cannot be used at all there is at least the name, and the reason."""
    return Component(parsed.id, parsed.id, problem=parsed.problem, file=parsed.source.name)
