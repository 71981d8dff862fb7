"""What-if in words, for the command line and the board alike: lines of label and text, each with a tone."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsdash.model.whatif_views import (
        WhatIfAlarm,
        WhatIfAnswer,
        WhatIfFate,
        WhatIfFeature,
        WhatIfLine,
        WhatIfPair,
        WhatIfView,
    )


class Tone(Enum):
    """How good or bad a line is; HEADING begins a part."""

    HEADING = "heading"
    PLAIN = "plain"
    DIM = "dim"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class Said(NamedTuple):
    """A line. label: a word before it, "" for none."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN


STATUS_TONES = {"ok": Tone.GOOD, "degraded": Tone.WARN, "down": Tone.BAD}
FEATURE_TONES = {"yes": Tone.GOOD, "dropped": Tone.WARN, "at risk": Tone.WARN}


def losses(line: WhatIfLine | WhatIfPair) -> Iterator[str]:
    """What is left undone by all that was decided, in words; nothing where nothing is."""
    if line["lost"]:
        yield "lost: " + ", ".join(f"{each['id']} ({each['tier']})" for each in line["lost"])
    if line["at_risk"]:
        yield "at risk: " + ", ".join(each["id"] for each in line["at_risk"])
    if line["stays_down"]:
        yield "for people to repair: " + ", ".join(line["stays_down"])
    if line["unanswered"]:
        more = f", and {len(line['unanswered']) - 1} more" if len(line["unanswered"]) > 1 else ""
        yield f"unanswered: {line['unanswered'][0]}{more}"


def in_short(line: WhatIfLine) -> str:
    """A loss of a ranking: what is left undone, else what answers it."""
    found = list(losses(line))
    if found:
        return "; ".join(found)
    answered = [f"answered: {', '.join(line['switched'])}"] if line["switched"] else []
    unsafe = [f"no backup left: {', '.join(line['redundancy_lost'])}"] if line["redundancy_lost"] else []
    return "; ".join((*answered, *unsafe)) or "nothing is lost"


def account(view: WhatIfView) -> Iterator[Said]:
    """All that comes of a loss, component by component."""
    for fate in view["fates"]:
        yield Said("", f"{fate['title']} ({fate['component']}, {fate['tier']})", Tone.HEADING)
        yield from _fate(fate)
    owned = {feature["id"] for fate in view["fates"] for feature in fate["features"]}
    at_risk = [feature for feature in view["features"] if feature["id"] not in owned]
    if at_risk:
        yield Said(
            "", "Depends on what is down; only checks of its own could tell whether it still works", Tone.HEADING
        )
        yield from (_feature(feature) for feature in at_risk)
    own = {f"{fate['component']}: {each}" for fate in view["fates"] for each in fate["unanswered"]}
    others = [each for each in view["unanswered"] if each not in own]
    if others:
        yield Said("", "Nobody answers", Tone.HEADING)
        yield from (Said("", each, Tone.BAD) for each in others)
    if not (view["fates"] or at_risk or others):
        yield Said("", "nothing changes", Tone.GOOD)


def _fate(fate: WhatIfFate) -> Iterator[Said]:
    status = fate["status"].upper() if fate["status"] != "ok" else "ok"
    why = f" ({fate['reason']}: {fate['cause']})" if fate["reason"] and fate["cause"] else ""
    yield Said("status", f"{status}{why}", STATUS_TONES.get(fate["status"], Tone.WARN))
    if fate["redundancy"]:
        yield Said("redundancy", fate["redundancy"], Tone.GOOD if fate["redundancy"] == "ready" else Tone.WARN)
    for failure in fate["failures"]:
        offered = "" if failure["offered"] else ", not offered first"
        tone = Tone.PLAIN if failure["offered"] else Tone.DIM
        yield Said("recognised", f"{failure['title']}: {failure['response']}{offered}", tone)
    if fate["answer"] is not None:
        yield from _answer(fate["answer"])
    if fate["after"] != fate["status"]:
        yield Said("afterwards", fate["after"], STATUS_TONES.get(fate["after"], Tone.WARN))
    yield from (_feature(feature) for feature in fate["features"])
    yield from (_alarm(alarm) for alarm in fate["alarms"])
    if fate["failures"] or fate["status"] in ("down", "unknown"):
        there = ", ".join(fate["present"]) or "nobody"
        runbook = f"runbook {fate['runbook']}" if fate["runbook"] else "no runbook"
        yield Said("people", f"{there}; {runbook}")
    yield from (Said("unanswered", each, Tone.BAD) for each in fate["unanswered"])


def _answer(answer: WhatIfAnswer) -> Iterator[Said]:
    if answer["kind"] == "runbook":
        yield Said(
            "response", f"people follow runbook {answer['target']}" if answer["target"] else "a runbook, of none"
        )
        return
    where = f"{answer['kind']} {answer['component']}" + (f" to {answer['target']}" if answer["target"] else "")
    by_itself = ", by itself" if answer["by_itself"] else ""
    if answer["refused"]:
        yield Said("response", f"{where}: not begun", Tone.BAD)
    else:
        tone = Tone.GOOD if answer["outcome"] == "committed" else Tone.BAD
        yield Said("response", f"{where}: {answer['outcome'] or 'unknown'}{by_itself}", tone)
    for guard in answer["guards"]:
        tone = Tone.BAD if guard["result"] == "fail" else Tone.DIM
        yield Said("", f"guard {guard['rule']}: {guard['evidence']}", tone)


def _feature(feature: WhatIfFeature) -> Said:
    before = "" if feature["before"] == feature["after"] else f"{feature['before']}, then "
    tone = FEATURE_TONES.get(feature["after"], Tone.BAD)
    return Said("users", f"{feature['title']} ({feature['tier']}): {before}{feature['after']}", tone)


def _alarm(alarm: WhatIfAlarm) -> Said:
    title = f"“{alarm['title']}”"
    if alarm["held"]:
        return Said("alarm", f"{title} held: {alarm['held']}", Tone.DIM)
    later = f", later {', '.join(alarm['later'])}" if alarm["later"] else ""
    silent = f"; nothing arrives over {', '.join(alarm['silent'])}" if alarm["silent"] else ""
    told = f"{title} to {', '.join(alarm['at_once']) or 'no channel'}{later}{silent}"
    return Said("alarm", told, Tone.BAD if silent or not alarm["at_once"] else Tone.PLAIN)
