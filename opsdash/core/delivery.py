"""From an alarm to a message that was delivered: what comes in, and in which order it is dealt with.

`routing` says who is to be told, `grouping` when and of what, `wording` in which words, `outbox` sees to it that it
arrives. Here is what makes them go on: the end of an attempt, a timer, a start, new files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.core import alarms, grouping, outbox

if TYPE_CHECKING:
    from opsdash.core.draft import Draft
    from opsdash.model.inputs import SendDone
    from opsdash.model.operation import Operation


def sent(draft: Draft, event: SendDone) -> None:
    """An attempt to deliver a message has ended."""
    item = outbox.done(draft, event)
    if item is None:
        return
    if item.is_over:
        grouping.delivered(draft, item.message)
    alarms.refresh_channel(draft, item.message.channel)
    grouping.keep_looking(draft)


def look(draft: Draft) -> None:
    """Time has passed: reminders, escalations, channels that have been silent for long."""
    draft.set_live("told", grouping.LOOKING, None)
    outbox.drop_orphans(draft)
    for channel in grouping.all_channels(draft):
        alarms.refresh_channel(draft, channel)
    grouping.look(draft)


def recover(draft: Draft) -> None:
    """After a start: what was being sent is in doubt."""
    outbox.recover(draft)


def loaded(draft: Draft, before: Operation) -> None:
    """The files were read, or an engine has started: everything that is not delivered goes on."""
    outbox.loaded(draft, before)
    for channel in grouping.all_channels(draft):
        alarms.refresh_channel(draft, channel)
    grouping.look(draft)
