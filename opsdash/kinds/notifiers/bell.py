"""The bell of every board that is attached, and a notice on the desktop where its terminal can show one.

    {kind: bell}

Delivered when at least one board was there to ring. When none was, the message is refused: nobody sat there, and to
ring again every few seconds until somebody comes would wake nobody. So a bell is good beside another channel, never
alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsdash.kinds.base import NotifierContext, NotifierKind, StrictOptions, Told
from opsdash.model.message import Delivery
from opsdash.model.text import clean

if TYPE_CHECKING:
    from opsdash.model.message import Message

LONGEST = 200
"""Characters of a notice on a desktop."""


class Options(StrictOptions):
    """Keys of `kind: bell`."""


async def send(options: Options, message: Message, context: NotifierContext) -> Told:  # noqa: ARG001 - there are none
    """Ring, and count who was there."""
    boards = context.ring(clean(message.title, LONGEST))
    if not boards:
        return Told(Delivery.REFUSED, "no board is attached: nobody sat there")
    return Told(Delivery.DELIVERED, f"{boards} board{'s' if boards > 1 else ''} rang")


KIND = NotifierKind(
    name="bell",
    summary="rings the boards that are attached, and shows a notice on the desktop",
    options=Options,
    send=send,
)
