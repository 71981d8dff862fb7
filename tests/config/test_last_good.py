"""What of the files was last good, in the form that outlives the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.config.lastgood import LastGood, last_good, load_last_good
from opsdash.config.loader import KEPT, load
from tests.config.conftest import WALL, Workspace
from tests.config.test_problems import SOUND

if TYPE_CHECKING:
    from opsdash.config.loader import Loaded

EMAIL = "checks/email.yaml"


def kept_of(workspace: Workspace) -> LastGood:
    assert workspace.loaded is not None
    return last_good(workspace.loaded)


def started(workspace: Workspace, kept: LastGood) -> Loaded:
    """What the next process comes to."""
    before = load_last_good(kept, workspace.folder, workspace.environment, WALL)
    workspace.loaded = load(workspace.folder, workspace.environment, WALL, before)
    return workspace.loaded


def test_files_that_did_not_change_need_nothing_from_before(workspace: Workspace) -> None:
    path = workspace.component(SOUND)
    workspace.load()
    kept = kept_of(workspace)
    assert kept.sound.keys() == {"opsdash.yaml", EMAIL, "runbooks/email-down.md"}
    assert not kept.used
    assert kept.is_on_disk(workspace.folder, workspace.environment)
    workspace.component("checks: {}\n", "new")
    assert kept.is_on_disk(workspace.folder, workspace.environment), "nothing that was known is missing"
    path.unlink()
    assert not kept.is_on_disk(workspace.folder, workspace.environment)


def test_the_sound_version_is_kept_beside_the_one_in_use(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.load()
    broken = SOUND.replace("verify: [delivery]", "verify: [delivry]")
    workspace.component(broken)
    workspace.reload()
    kept = kept_of(workspace)
    assert kept.sound[EMAIL] == SOUND.encode()
    assert kept.used == {EMAIL: broken.encode()}
    assert not kept.is_on_disk(workspace.folder, workspace.environment)


def test_a_start_comes_to_what_a_reload_came_to(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.load()
    for text in (
        SOUND.replace("verify: [delivery]", "verify: [delivry]"),
        SOUND.replace("port: 25", "port: smtp").replace("title: Transactional email", "title: Mail"),
        SOUND.replace("\nswitch:", "\nswich:"),
        "title: [",
    ):
        workspace.component(text)
        reloaded = workspace.reload()
        again = started(workspace, kept_of(workspace))
        assert again.operation == reloaded.operation
        assert again.bindings.keys() == reloaded.bindings.keys()
        assert again.problems == reloaded.problems
        assert again.problems[0].hint.endswith(KEPT)
    workspace.component(SOUND)
    assert started(workspace, kept_of(workspace)).problems == ()


def test_a_file_that_was_never_sound_is_kept_as_it_is_in_use(workspace: Workspace) -> None:
    text = SOUND.replace("port: 25", "port: smtp")
    path = workspace.component(text)
    loaded = workspace.load()
    kept = kept_of(workspace)
    assert EMAIL not in kept.sound
    path.unlink()
    before = load_last_good(kept, workspace.folder, workspace.environment, WALL)
    assert before.operation.components["email"] == loaded.operation.components["email"]


def test_a_workspace_file_that_nobody_can_read_is_not_kept(workspace: Workspace) -> None:
    workspace.write("opsdash.yaml", "people: [\n")
    workspace.component(SOUND)
    workspace.load()
    assert "opsdash.yaml" not in {**kept_of(workspace).sound, **kept_of(workspace).used}


def test_a_file_that_everybody_may_write_goes_on_as_it_was_trusted(workspace: Workspace) -> None:
    path = workspace.component(SOUND)
    workspace.load()
    kept = kept_of(workspace)
    path.chmod(0o666)
    again = started(workspace, kept)
    assert again.operation.components["email"].switch is not None
    assert "everybody may write" in str(again.problems[0])
    assert kept_of(workspace).sound[EMAIL] == SOUND.encode()


def test_what_is_gone_and_still_needed_is_kept_on(workspace: Workspace) -> None:
    workspace.component(SOUND)
    workspace.load()
    before = kept_of(workspace)
    (workspace.folder / "runbooks" / "email-down.md").unlink()
    workspace.reload()
    assert "runbooks/email-down.md" not in kept_of(workspace).sound
    kept = kept_of(workspace).keeping(before, {"runbooks/email-down.md", "runbooks/never.md"})
    assert kept.sound["runbooks/email-down.md"] == before.sound["runbooks/email-down.md"]
    assert "runbooks/never.md" not in kept.sound


def test_a_drill_goes_on_in_its_last_good_version_over_a_start(workspace: Workspace) -> None:
    (workspace.folder / "drills").mkdir()
    path = workspace.write("drills/monthly.yaml", "component: email\nlevel: switch\nowner: maria\nhold: 2m\n")
    workspace.component(SOUND)
    good = workspace.load().operation.drills["monthly"]
    kept = kept_of(workspace)
    workspace.write("drills/monthly.yaml", "component: email\nlevel: switch\nowner: nobody\n")
    loaded = started(workspace, kept)
    assert loaded.operation.drills["monthly"] == good
    assert [problem.hint.endswith(KEPT) for problem in loaded.problems] == [True]
    kept = kept_of(workspace)
    path.unlink()
    assert started(workspace, kept).operation.drills == {}, "it was removed on purpose"
