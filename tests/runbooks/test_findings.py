"""What is wrong with one file: every rule by the shortest text that breaks it, with the line that is named."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from opsdash.config import runbook_markdown
from opsdash.config.runbook_rules import RULES
from opsdash.config.runbooks import parse, render_text
from opsdash.model.runbook import Finding, Role, Runbook, Severity

HEAD = "---\ntitle: x\n---\n## Steps\n### A\n"
"""Five lines; the first line of a case that follows is line 6."""

STEP_CASES = {
    # fences: what CommonMark takes silently
    "an open fence swallows the next step": ("```sh {run}\na\n\n### B\n```sh {run}\nb\n```\n", "swallowed-step", 9),
    "an open bare fence swallows it too": ("```\na\n### B\nx\n```\n", "swallowed-step", 8),
    "an open fence swallows another opener": ("```sh {run}\na\n```sh {check}\nb\n```\n", "swallowed-step", 8),
    "a fence open at the end of the file": ("```sh {run}\na\n", "open-fence", 6),
    "a fence open at the end, without line feed": ("```sh {run}\na", "open-fence", 6),
    "a fence open at the end of its list": ("- ```sh {run}\n  a\n\nx\n", "open-fence", 6),
    "an open fence swallows the next step, on Windows": (
        "```sh {run}\r\na\r\n\r\n### B\r\n```sh {run}\r\nb\r\n```\r\n", "swallowed-step", 9,
    ),
    "a fence open at the end, on Windows": ("```sh {run}\r\na\r\n", "open-fence", 6),
    "a fence open at the end of a list in a list": ("- x\n  - ```sh {run}\n    a\n\ny\n", "open-fence", 7),
    "a fence closed by too few marks": ("````sh {run}\na\n```\n", "open-fence", 6),
    "an open comment swallows the next step": ("<!-- note\n\n### B\nx\n", "swallowed-step", 6),
    "a backtick in the info string": ("```sh {run expect=`x`}\na\n```\n", "not-a-fence", 6),
    "a block in a quote": ("> ```sh {run}\n> a\n> ```\n", "block-in-quote", 6),
    "details without blank line": ("<details>\n```sh {run}\na\n```\n</details>\n", "block-in-html", 7),
    "a fence in pre": ("<pre>\n```sh {run}\na\n```\n</pre>\n", "block-in-html", 7),
    "a fence in a comment": ("<!--\n```sh {run}\na\n```\n-->\n", "block-in-html", 7),
    # not exactly one role
    "no space before the brace": ("```sh{run}\na\n```\n", "not-one-role", 6),
    "braces without language": ("```{.sh .run}\na\n```\n", "not-one-role", 6),
    "pandoc classes": ("```sh {.sh .run}\na\n```\n", "not-one-role", 6),
    "a role with a typo": ("```sh {runn}\na\n```\n", "not-one-role", 6),
    "a role with a typo in another language": ("```fish {chekc}\na\n```\n", "not-one-role", 6),
    "two roles": ("```sh {run check}\na\n```\n", "not-one-role", 6),
    "no role but attributes": ("```sh {timeout=5s}\na\n```\n", "not-one-role", 6),
    "empty braces": ("```sh {}\na\n```\n", "not-one-role", 6),
    "a role without braces": ("```sh run\na\n```\n", "bad-braces", 6),
    "braces left open": ("```sh {run\na\n```\n", "bad-braces", 6),
    "text behind the braces": ("```sh {run} now\na\n```\n", "bad-braces", 6),
    "a language that does not run": ("```console {run}\n$ a\n```\n", "bad-language", 6),
    # attributes
    "an unbalanced quote": ('```sh {run expect="x}\na\n```\n', "bad-attribute", 6),
    "an unknown attribute": ("```sh {run tiemout=5s}\na\n```\n", "bad-attribute", 6),
    "an attribute twice": ("```sh {check rc=1 rc=2}\na\n```\n", "bad-attribute", 6),
    "a flag with a value": ("```sh {run danger=yes}\na\n```\n", "bad-attribute", 6),
    "an attribute without value": ("```sh {run timeout}\na\n```\n", "bad-attribute", 6),
    "a timeout of nothing": ("```sh {run timeout=0}\na\n```\n", "bad-attribute", 6),
    "a timeout without unit": ("```sh {run timeout=60}\na\n```\n", "bad-attribute", 6),
    "a timeout of no end": (f"```sh {{run timeout={'9' * 30}d}}\na\n```\n", "bad-attribute", 6),
    "an exit status out of range": ("```sh {check rc=256}\na\n```\n", "bad-attribute", 6),
    "a broken regular expression": ("```sh {check expect='('}\na\n```\n", "bad-attribute", 6),
    "a class that Python does not know": ("```sh {check expect='[[:digit:]]'}\na\n```\n", "bad-attribute", 6),
    "an endless regular expression": (f"```sh {{check expect='{'a' * 1001}'}}\na\n```\n", "bad-attribute", 6),
    "a host that is an option": ("```sh {run host=-Fproxy.conf}\na\n```\n", "bad-attribute", 6),
    "a name that no variable can have": ("```sh {run as=1x}\na\n```\n", "bad-attribute", 6),
    "every without for": ("```sh {check every=5s}\na\n```\n", "bad-attribute", 6),
    "a run that repeats": ("```sh {run every=5s for=1m}\na\n```\n", "bad-attribute", 6),
    "a host for opsdash": ("```opsdash {run host=db2}\nfailover a\n```\n", "bad-attribute", 6),
    "broken JSON": ('```sh {"run": true,}\na\n```\n', "bad-attribute", 6),
    "a list in JSON": ('```sh {"run": true, "timeout": []}\na\n```\n', "bad-attribute", 6),
    "an invisible character in JSON": ('```sh {"run": true, "cwd": "a\\u202eb"}\na\n```\n', "bad-attribute", 6),
    "JSON without end": (f'```sh {{"run": {"[" * 99999}}}\na\n```\n', "bad-attribute", 6),
    # code
    "an empty block": ("```sh {run}\n\n```\n", "empty-block", 6),
    "a block of comments": ("```opsdash {run}\n# later\n```\n", "empty-block", 6),
    "a prompt in front": ("```sh {run}\n\n$ a\n```\n", "prompt-in-code", 8),
    "a space that is none": ("```sh {run}\na\nb\u00a0c\n```\n\n**Expect:** x\n", "odd-space", 8),
    "an unknown verb": ("```opsdash {run}\nfailover a\nfailower a\n```\n", "bad-command", 8),
    "the word opsdash": ("```opsdash {run}\nopsdash failover a\n```\n", "bad-command", 7),
    "too few words": ("```opsdash {run}\ndegrade a\n```\n", "bad-command", 7),
    "too many words": ("```opsdash {run}\nfailover a b\n```\n", "bad-command", 7),
    "an option that skips a question": ("```opsdash {run}\nfailover a --yes\n```\n", "bad-command", 7),
    "an option without value": ("```opsdash {run}\nfailover a --to\n```\n", "bad-command", 7),
    "an open quote in a command": ("```opsdash {run}\nfailover 'a\n```\n", "bad-command", 7),
    "a failover in a check": ("```opsdash {check}\nfailover a\n```\n", "bad-command", 7),
    "a check without component": ("```opsdash {check}\ncheck api\n```\n", "bad-command", 7),
    # labels, ticks, branches
    "a label in a paragraph": ("**Time:** 2 min\n**Who:** ken\n", "joined-label", 7),
    "a label behind a sentence": ("Do it. **Expect:** x\n", "joined-label", 6),
    "a label twice": ("**Expect:** x\n\n**Expect:** y\n", "repeated-label", 8),
    "a label that is nearly one": ("**If it fails:** x\n", "unknown-label", 6),
    "a time that is none": ("**Time:** not long\n", "unclear-duration", 6),
    "a tick without blank": ("- [ ]Banner\n", "not-a-tick", 6),
    "a tick without space": ("- [] Banner\n", "not-a-tick", 6),
    "a tick that is set": ("- [x] Banner\n", "ticked-in-file", 6),
    "a branch in words": ("x\n\n**If this fails:** call ken\n", "branch-without-link", 8),
    "a branch to nowhere": ("x\n\n**If this fails:** [B](#b)\n", "bad-branch", 8),
    "a branch to a heading that is no step": ("**If this fails:** [S](#steps)\n", "bad-branch", 6),
    "a branch to the web": ("**If this fails:** [S](https://a.example/)\n", "bad-branch", 6),
    "a way on to nowhere": ("**Then:** [B](#b)\n", "bad-branch", 6),
    "a way on to the web": ("**Then:** [S](https://a.example/)\n", "bad-branch", 6),
    "a way on to itself": ("**Then:** [A](#a)\n", "branch-to-itself", 6),
    "two ways on": ("**Then:** done\n\n**Then:** [A](#a)\n", "repeated-label", 8),
    "a way on inside a paragraph": ("**Time:** 2 min\n**Then:** done\n", "joined-label", 7),
    "ticks below a heading behind the steps": ("x\n\n## Later\n### B\n- [ ] y\n", "step-outside-steps", 9),
    "a label below a heading behind the steps": ("x\n\n## Later\n### B\n**Time:** 1 min\n", "step-outside-steps", 9),
    "a branch to itself": ("**If this fails:** [A](#a)\n", "branch-to-itself", 6),
    # headings
    "a heading in a list": ("- x\n\n  ### B\n", "nested-heading", 8),
    "a heading in a quote": ("> ### B\n", "nested-heading", 6),
    "a heading without space": ("x\n###B\n", "broken-heading", 7),
    "a heading as code": ("x\n\n    ### B\n", "broken-heading", 8),
    "an underlined heading": ("B\n===\n", "setext-heading", 6),
    "a step without name": ("x\n\n### …\nx\n", "step-without-name", 8),
    "steps twice": ("x\n\n## Steps\n### B\n", "steps-twice", 8),
    # characters
    "bidi": ("a \u202e b\n", "invisible-character", 6),
    "zero width in a block": ("```sh {run}\nrm\u200b x\n```\n\n**Expect:** x\n", "invisible-character", 7),
    "an escape sequence": ("\x1b]52;c;x\x07\n", "invisible-character", 6),
    "C1": ("\x9b2J\n", "invisible-character", 6),
    "a byte order mark in the middle": ("a\ufeffb\n", "invisible-character", 6),
    "half a character": ("\ud800\n", "invisible-character", 6),
    "an entity": ("a &#x202E; b\n", "invisible-character", 6),
    "a named entity": ("a &rlm; b\n", "invisible-character", 6),
    "a selector behind a letter": ("rm\ufe0f\n", "invisible-character", 6),
    "lists that are nested too deeply": (
        "".join("  " * deep + "- x\n" for deep in range(12)) + "\n### B\nx\n", "too-deep", 15,
    ),
    "quotes that are nested too deeply": (">" * 20 + "x\n", "too-deep", 6),
    "a paragraph without end": ("[" * 17_000 + "\n", "long-paragraph", 6),
}  # fmt: skip

FILE_CASES = {
    "front matter behind a blank line": ("\n---\ntitle: x\n---\n# T\n", "late-front-matter", 2),
    "front matter left open": ("---\ntitle: x\n", "open-front-matter", 1),
    "steps without front matter": ("# T\n## Steps\n### A\nx\n", "no-front-matter", 1),
    "front matter without steps": ("---\ntitle: x\n---\n# T\n", "no-steps", 1),
    "steps without a step": ("# T\n\n## Steps\nx\n", "no-steps", 3),
    "a block before the first step": ("# T\n## Steps\n```sh {run}\na\n```\n### A\n", "block-outside-step", 3),
    "YAML that ends early": ("---\ntitle: x\nparams:\n  a: {ask: [Why?}\n---\n", "bad-yaml", 4),
    "a brace in a flow mapping": ("---\ntitle: x\nowner: {a: {b}\n---\n", "bad-yaml", 4),
    "a list as front matter": ("---\n- x\n---\n", "bad-yaml", 2),
    "an alias": ("---\ntitle: &a x\nowner: *a\n---\n", "bad-yaml", 2),
    "a tag": ("---\nowner: x\ntitle: !!python/name:os.system x\n---\n", "bad-yaml", 3),
    "a mapping as key": ("---\n{a: b}: c\n---\n", "bad-yaml", 2),
    "brackets without end": ("---\na: " + "[" * 50_000 + "\n---\n", "bad-yaml", 2),
    "a second document": ("---\ntitle: x\n--- y\n---\n", "bad-yaml", 3),
    "an unknown key": ("---\ntitle: x\nreveiwed: 2026-01-01\n---\n", "unknown-key", 3),
    "a key twice": ("---\ntitle: x\ntitle: y\n---\n", "duplicate-key", 3),
    "a key without value": ("---\ntitle:\n---\n", "bad-value", 2),
    "a list as title": ("---\ntitle: [x]\n---\n", "bad-value", 2),
    "failure modes that are no list": ("---\nfailure_modes: x/y\n---\n", "bad-value", 2),
    "a date that is none": ("---\nreviewed: 2026-02-30\n---\n", "bad-value", 2),
    "a date in another order": ("---\nreviewed: 14.09.2026\n---\n", "bad-value", 2),
    "a duration without unit": ("---\nrto: 15\n---\n", "bad-value", 2),
    "a duration of nothing": ("---\nreview_every: 0\n---\n", "bad-value", 2),
    "parameters that are no mapping": ("---\nparams: [a]\n---\n", "bad-value", 2),
    "a parameter that is no mapping": ("---\nparams:\n  a: b\n---\n", "bad-value", 3),
    "a parameter with a bad name": ("---\nparams:\n  a-b: {ask: x}\n---\n", "bad-value", 3),
    "a parameter with an unknown key": ("---\nparams:\n  a: {aks: x}\n---\n", "unknown-key", 3),
    "an invisible character in YAML": ('---\ntitle: "a\\u202eb"\n---\n', "invisible-character", 2),
    "a parameter that is misspelt": (
        "---\nparams:\n  ab: {ask: x}\n---\n## Steps\n### A\n```sh {check}\nping $abc\n```\n", "params-not-used", 3,
    ),
    "a step before the steps": ("# T\n### B\n- [ ] x\n\n## Steps\n### A\nx\n", "step-outside-steps", 2),
    "a parameter that nothing uses": (
        "---\nparams:\n  a: {ask: x}\n---\n## Steps\n### A\nx\n", "params-not-used", 3,
    ),
    "output kept under the name of a parameter": (
        "---\nparams:\n  a: {ask: x}\n---\n## Steps\n### A\n```sh {check as=a}\necho $a\n```\n", "bad-parameter", 7,
    ),
    "output kept under a name by which programs are found": (
        "---\ntitle: x\n---\n## Steps\n### A\n```sh {check as=PATH}\necho\n```\n", "bad-attribute", 6,
    ),
    "a secret that comes from nowhere": ("---\nparams:\n  a: {secret: yes}\n---\n", "bad-parameter", 3),
    "a secret that is asked for": ("---\nparams:\n  a: {secret: env, ask: x}\n---\n", "bad-parameter", 3),
    "a pattern that is none": ("---\nparams:\n  a: {pattern: '('}\n---\n", "bad-parameter", 3),
    "a default that the pattern forbids": (
        "---\nparams:\n  a: {pattern: '[0-9]+', default: x}\n---\n", "bad-parameter", 3,
    ),
    "a parameter by which programs are found": ("---\nparams:\n  PATH: {ask: x}\n---\n", "bad-parameter", 3),
    "more steps than anybody follows": ("---\ntitle: b\n---\n## Steps\n" + "### A\n" * 501, "too-many-steps", 505),
    "too much": ("x\n" * 200_000, "too-large", 1),
}  # fmt: skip


def read(text: str | bytes) -> tuple[Runbook, tuple[Finding, ...]]:
    return parse("x", text, "runbooks/x.md")


@pytest.mark.parametrize(("text", "code", "line"), STEP_CASES.values(), ids=STEP_CASES)
def test_in_a_step_it_is_found_on_its_line(text: str, code: str, line: int) -> None:
    _expect(HEAD + text, code, line)


@pytest.mark.parametrize(("text", "code", "line"), FILE_CASES.values(), ids=FILE_CASES)
def test_in_a_file_it_is_found_on_its_line(text: str, code: str, line: int) -> None:
    _expect(text, code, line)


def _expect(text: str, code: str, line: int) -> None:
    runbook, findings = read(text)
    assert (code, line) in [(finding.code, finding.line) for finding in findings]
    is_error = RULES[code].severity is Severity.ERROR
    assert not (is_error and runbook.executable)
    others = {finding.code for finding in findings if finding.severity is Severity.ERROR} - {code}
    assert others <= {"no-steps", "open-fence"}, findings


def test_the_bare_text_of_the_cases_has_no_finding() -> None:
    runbook, findings = read(HEAD + "x\n")
    assert (runbook.executable, findings) == (True, ())


LINT_ONLY = {
    "unknown-component", "unknown-failure-mode", "unknown-check", "unknown-mode", "dead-link", "dead-branch",
    "link-outside", "danger-without-undo", "no-expectation", "no-time", "over-rto", "no-owner", "never-reviewed",
    "review-overdue", "reviewed-in-future", "unreachable-step", "refused",
}  # fmt: skip


def test_every_rule_of_a_file_has_a_case() -> None:
    shown = {code for _, code, _ in (*STEP_CASES.values(), *FILE_CASES.values())}
    assert RULES.keys() - LINT_ONLY == shown | {"not-utf8", "unreadable"}


def test_a_question_mark_in_a_flow_mapping_is_text() -> None:
    source = "---\nparams:\n  reason: {ask: Why?}\n---\n## Steps\n### A\n```sh {run}\necho $reason\n```\n"
    runbook, findings = read(source)
    assert findings == ()
    assert [(param.name, param.ask, param.line) for param in runbook.params] == [("reason", "Why?", 3)]


@pytest.mark.parametrize(
    ("text", "code", "columns"),
    [
        pytest.param("---\ntitle: x\n reveiwed: y\n---\n", "bad-yaml", (0, 0), id="YAML that cannot be read"),
        pytest.param("---\ntitle: x\nreveiwed: y\n---\n", "unknown-key", (1, 9), id="a key"),
        pytest.param("---\ntitle: x\nreviewed: soon\n---\n", "bad-value", (11, 15), id="a value"),
        pytest.param("---\nrto: [1m]\n---\n", "bad-value", (6, 0), id="the beginning of a list"),
        pytest.param(HEAD + "rm\u200b x\n", "invisible-character", (3, 4), id="a character"),
    ],
)
def test_a_finding_names_its_columns_where_they_are_known(text: str, code: str, columns: tuple[int, int]) -> None:
    _, findings = read(text)
    assert [(each.column, each.end_column) for each in findings if each.code == code] == [columns]


def test_a_rule_that_is_broken_everywhere_is_told_twenty_times_and_counted() -> None:
    _, findings = read(HEAD + "- [x] y\n" * 30)
    assert [finding.line for finding in findings] == [1, *range(6, 26)]
    assert "the same on 10 more lines" in findings[0].message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("- x\n\n  ```sh {run}\n  a\n  b\n  ```\n", id="in a list"),
        pytest.param("- x\n  - y\n\n    ```sh {run}\n    a\n    b\n    ```\n", id="in a list in a list"),
        pytest.param("- x\n\n\t```sh {run}\n\ta\n\tb\n\t```\n", id="in a list with tabs"),
        pytest.param("1. x\n```sh {run}\na\nb\n```\n", id="under-indented in a list"),
        pytest.param("<details>\n\n```sh {run}\na\nb\n```\n\n</details>\n", id="in details with a blank line"),
        pytest.param("~~~sh {run}\na\nb\n~~~\n", id="with tildes"),
        pytest.param("   ```sh {run}\n   a\n   b\n   ```\n", id="indented"),
        pytest.param("`````sh  { run }\na\nb\n`````\n", id="with many marks and blanks"),
        pytest.param("```sh {run expect='x{3}'}\na\nb\n``````\n", id="with braces in a value"),
    ],
)
def test_where_a_block_is_allowed_it_runs_with_its_indentation_stripped(text: str) -> None:
    source = HEAD + text
    runbook, findings = read(source)
    assert findings == ()
    (block,) = runbook.steps[0].blocks
    lines = source.split("\n")
    assert (block.role, block.code) == (Role.RUN, "a\nb")
    assert "{" in lines[block.line - 1]
    assert [line.strip() for line in lines[block.line : block.end_line - 1]] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x\n\n    ```sh {run}\n    a\n    ```\n", id="indented code"),
        pytest.param("````\n```sh {run}\na\n```\n````\n", id="four marks around three"),
        pytest.param("````markdown\n### Example\n```sh {run}\na\n```\n````\n", id="Markdown about Markdown"),
        pytest.param("```sh\na\n```\n", id="bare"),
        pytest.param("```js {1,3-5}\na\n```\n", id="line numbers of another language"),
        pytest.param('```sh {"name": "build", "interactive": "false"}\na\n```\n', id="a cell of runme"),
        pytest.param("```sh { name=build }\na\n```\n", id="a cell of runme, in words"),
    ],
)
def test_what_is_only_text_never_runs_and_is_no_finding(text: str) -> None:
    runbook, findings = read(HEAD + text)
    assert findings == ()
    assert runbook.steps[0].blocks == ()


def test_a_quoted_block_stays_text_and_the_rest_runs_on() -> None:
    runbook, _ = read(HEAD + "> ```sh {run}\n> a\n> ```\n\n```sh {check}\nb\n```\n")
    assert [block.code for block in runbook.steps[0].blocks] == ["b"]
    assert runbook.executable


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing() -> None:
    source = HEAD + "```sh {run timeout=5s}\na\nb\n```\n"
    plain, _ = read(source)
    for raw in (
        b"\xef\xbb\xbf" + source.encode(),
        source.replace("\n", "\r\n").encode(),
        source.replace("\n", "\r").encode(),
    ):
        runbook, findings = read(raw)
        assert findings == ()
        assert (runbook.title, runbook.steps, runbook.text) == (plain.title, plain.steps, plain.text)


def test_a_numbered_line_that_is_underlined_is_a_list_and_no_step() -> None:
    runbook, _ = read(HEAD + "x\n\n1. B\n====\n")
    assert [step.title for step in runbook.steps] == ["A"]


def test_bytes_that_are_no_utf8_are_reported_with_their_line_and_shown() -> None:
    runbook, findings = read(HEAD.encode() + b"x\ncaf\xe9\n")
    assert [(finding.code, finding.line) for finding in findings] == [("not-utf8", 7)]
    assert "caf\ufffd" in runbook.text
    assert not runbook.executable


def test_a_bug_in_the_markdown_library_costs_one_runbook_its_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_state: object) -> None:
        raise RuntimeError("a bug")

    broken = MarkdownIt("commonmark")
    broken.core.ruler.push("broken", fail)
    monkeypatch.setattr(runbook_markdown, "_markdown", lambda: broken)
    runbook, findings = read(HEAD + "x\n")
    assert [finding.code for finding in findings] == ["unreadable"]
    assert (runbook.text, runbook.executable) == (HEAD + "x\n", False)
    assert "### A" in render_text(runbook, 80)


def test_emoji_and_keycaps_are_no_invisible_characters() -> None:
    _, findings = read(HEAD + "⚠️ stop, 1️⃣ first, café, 障害\n")
    assert findings == ()


def test_invisible_characters_are_shown_by_name_everywhere() -> None:
    source = HEAD.replace("title: x", 'title: "a\\u202eb"') + "- [ ] x\u200by &#8238; &lrm;\n\n[l](%E2%80%AE.md)\n"
    runbook, _ = read(source)
    shown = [runbook.title, runbook.steps[0].ticks[0].text, runbook.links[0].target, render_text(runbook, 80)]
    assert shown[:3] == ["a⟨U+202E⟩b", "x⟨U+200B⟩y ⟨U+202E⟩ ⟨U+200E⟩", "⟨U+202E⟩.md"]
    assert not any(character in "".join(shown) for character in "\u202e\u200b\u200e")


def test_many_lines_with_invisible_characters_are_summed_up() -> None:
    _, findings = read("\u200b\n\n" * 5000)
    assert len(findings) == 21
    assert [finding.line for finding in findings if "4980 more lines" in finding.message] == [1]


def test_a_finding_says_where_what_and_what_to_do() -> None:
    _, findings = read(HEAD + "```opsdash {run}\nfailower a\n```\n")
    assert str(findings[0]) == (
        "runbooks/x.md:7: error: 'failower a': unknown verb 'failower'; did you mean 'failover'? "
        "[bad-command]; correct the line"
    )


def test_the_nearest_valid_name_is_offered() -> None:
    _, findings = read("---\ntitle: x\nreveiwed: 2026-01-01\n---\n")
    assert [finding.line for finding in findings if "did you mean 'reviewed'?" in finding.message] == [3]


def test_findings_come_in_the_order_of_the_lines() -> None:
    _, findings = read(HEAD + "**If this fails:** [B](#b)\n\n```sh {runn}\n```\n- [x] y\n")
    assert [finding.line for finding in findings] == [6, 8, 10]


def test_a_runbook_with_errors_still_shows_all_its_text() -> None:
    runbook, _ = read(HEAD + "Call ken.\n\n```sh {runn}\necho\n```\n")
    text = render_text(runbook, 80)
    assert "to read only" in text
    assert "Call ken." in text
    assert "echo" in text
