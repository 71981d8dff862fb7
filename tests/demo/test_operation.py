"""The example operation's files agree with each other, with the services and with what was promised."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from opsdash.config.runbook_lint import lint
from opsdash.config.runbooks import parse
from opsdash.config.schema import ComponentModel, WorkspaceModel
from opsdash.demo.catalog import variables

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CHECKS = sorted((ROOT / "checks").glob("*.yaml"))
RUNBOOKS = sorted((ROOT / "runbooks").glob("*.md"))
DRILLS = sorted((ROOT / "drills").glob("*.yaml"))
VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")

PROMISED = {
    "email provider down": "email/provider-unreachable",
    "CRM unreachable": "crm/unreachable",
    "automation platform answers 429": "automation/rate-limited",
    "a key API changes its schema": "pricing-api/schema-changed",
    "the main data source delivers bad data": "market-data/bad-data",
    "lead-scoring model unavailable": "lead-scoring/model-unavailable",
    "reporting down": "reporting/no-full-report",
    "social media broken": "social/broken",
    "the one person who knows is away": "automation/expert-away",
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def components() -> dict[str, Any]:
    return {path.stem: load(path) for path in CHECKS}


def failures() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for component, content in components().items():
        for mode, failure in content["failures"].items():
            yield component, mode, failure


def front_matter(path: Path) -> dict[str, Any]:
    _, header, _ = path.read_text(encoding="utf-8").split("---\n", 2)
    content: dict[str, Any] = yaml.safe_load(header)
    return content


def slugs(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def minutes(text: str) -> int:
    number, unit = int(text[:-1]), text[-1]
    return number * {"m": 1, "h": 60}[unit]


@pytest.mark.parametrize("failure", PROMISED.values(), ids=PROMISED.keys())
def test_every_promised_failure_is_an_entry_of_the_register(failure: str) -> None:
    assert failure in {f"{component}/{mode}" for component, mode, _ in failures()}


def test_every_variable_is_one_that_the_services_set_and_has_a_default() -> None:
    used = {name for path in (*CHECKS, *DRILLS) for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    defaults = load(ROOT / "opsdash.yaml")["vars"]

    assert used == set(defaults)
    assert used <= set(variables())
    assert len(set(defaults.values())) == len(defaults)


def test_every_owner_is_a_person() -> None:
    people = load(ROOT / "opsdash.yaml")["people"]
    for component, content in components().items():
        assert set(content["owners"]) <= set(people), component
    for path in RUNBOOKS:
        assert front_matter(path)["owner"] in people, path.name


def test_only_the_gap_that_is_left_open_on_purpose_has_one_owner() -> None:
    assert [name for name, content in components().items() if len(content["owners"]) < 2] == ["automation"]


def test_every_response_names_what_its_component_can_do() -> None:
    for component, mode, failure in failures():
        content = components()[component]
        match failure["response"]:
            case "switch":
                assert content["switch"], mode
                assert len(content["providers"]) == 2
            case {"degrade": degraded}:
                assert degraded in content["modes"], mode
            case response:
                assert response == "runbook", mode


def test_every_failure_mode_has_a_runbook_that_names_it_and_fits_its_rto() -> None:
    named = {}
    for component, mode, failure in failures():
        runbook = failure.get("runbook", components()[component].get("runbook"))
        path = ROOT / "runbooks" / f"{runbook}.md"
        header = front_matter(path)
        assert f"{component}/{mode}" in header["failure_modes"], path.name
        assert header["component"] == component
        assert header["rto"] == failure["rto"], f"{component}/{mode}"
        named[path] = True
    assert set(named) == set(RUNBOOKS)


def test_every_reference_to_a_check_exists() -> None:
    for component, content in components().items():
        known = set(content["checks"])
        for provider, settings in content.get("providers", {}).items():
            for check in [*content.get("each", {}), *settings.get("checks", {})]:
                known |= {f"{provider}/{check}", f"active/{check}"}
        for feature in content["features"].values():
            assert set(feature["checks"]) <= known, component
        for failure in content["failures"].values():
            detected_by = failure["detected_by"]
            signals = detected_by if isinstance(detected_by, list) else detected_by.get("all", [])
            assert {signal.partition("#")[0] for signal in signals} <= known, component


def test_modes_keep_and_drop_features_that_exist() -> None:
    features = {
        f"{component}/{feature}": settings
        for component, content in components().items()
        for feature, settings in content["features"].items()
    }
    for component, content in components().items():
        for mode in content.get("modes", {}).values():
            kept = [name if "/" in name else f"{component}/{name}" for name in mode["keeps"]]
            dropped = [f"{component}/{name}" for name in mode["drops"]]
            assert all(features[name]["tier"] != "droppable" for name in kept)
            assert all(features[name]["tier"] == "droppable" for name in dropped)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_can_be_followed_at_night(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    steps = re.split(r"^### ", text.partition("## Steps\n")[2], flags=re.MULTILINE)[1:]

    assert len(steps) >= 3
    for step in steps:
        title = step.partition("\n")[0]
        assert len(re.findall(r"^\*\*Time:\*\* \d+ min$", step, re.MULTILINE)) == 1, title
        assert len(re.findall(r"^\*\*Expect:\*\* \S", step, re.MULTILINE)) == 1, title
        assert step.count("```") % 2 == 0, title
    planned = sum(int(number) for number in re.findall(r"\*\*Time:\*\* (\d+) min", text))
    assert planned <= minutes(front_matter(path)["rto"])


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_labels_of_a_runbook_are_paragraphs_of_their_own(path: Path) -> None:
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        assert not re.search(r".\n\*\*(Time|Expect|If this fails|Who|Wait):\*\*", block), block


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_every_link_of_a_runbook_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        linked = path.with_name(file) if file else path
        assert linked.is_file(), target
        assert not anchor or anchor in slugs(linked), target


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_commands_of_a_runbook_name_components_checks_and_modes_that_exist(path: Path) -> None:
    known = components()
    blocks = re.findall(
        r"^```opsdash \{(\w+)[^}]*\}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )

    assert {role for role, _ in blocks} <= {"run", "check", "undo", "show"}
    for command in (line for _, code in blocks for line in code.splitlines()):
        match command.split():
            case ["check", reference]:
                component, *provider, check = reference.split("/")
                content = known[component]
                providers = content.get("providers", {})
                own = providers[provider[0]].get("checks", {}) if provider else {}
                assert check in ({**content["each"], **own} if provider else content["checks"]), command
            case ["degrade", component, mode]:
                assert mode in known[component]["modes"], command
            case ["failover" | "failback", component]:
                assert "switch" in known[component], command
            case ["restore", component]:
                assert known[component]["modes"], command
            case other:
                raise AssertionError(f"{path.name}: {other}")


def test_opsdash_itself_finds_nothing_wrong_with_the_runbooks() -> None:
    known = components()
    checks = {f"{component}/{check}" for component, content in known.items() for check in content["checks"]}
    for component, content in known.items():
        for provider, settings in content.get("providers", {}).items():
            names = [*content.get("each", {}), *settings.get("checks", {})]
            checks |= {f"{component}/{provider}/{name}" for name in names}
    parsed = [parse(path.stem, path.read_bytes(), f"runbooks/{path.name}") for path in RUNBOOKS]
    across = lint(
        {runbook.id: runbook for runbook, _ in parsed},
        components=set(known),
        failure_modes={f"{component}/{mode}" for component, mode, _ in failures()},
        checks=checks,
        modes={f"{component}/{mode}" for component, content in known.items() for mode in content.get("modes", {})},
        today=max(date.fromisoformat(str(front_matter(path)["reviewed"])) for path in RUNBOOKS),
        root=ROOT,
    )

    assert [str(finding) for _, findings in parsed for finding in findings] == []
    assert [str(finding) for finding in across] == []


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_every_key_of_a_component_is_one_that_opsdash_knows(path: Path) -> None:
    ComponentModel.model_validate(load(path))


def test_every_key_of_the_workspace_is_one_that_opsdash_knows() -> None:
    WorkspaceModel.model_validate(load(ROOT / "opsdash.yaml"))
