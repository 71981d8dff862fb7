"""Our own code does not block the event loop: whoever calls what may block from there fails the test.

Libraries are looked at only where our code has called them. What a test itself does on its loop (it writes files, it
loads a workspace) is its own affair.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import blockbuster.blockbuster
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

MAY_BLOCK: Final = (
    # The log is written where it is spoken: a line to a file or a terminal of this machine.
    ("logging/__init__.py", {"emit"}),
    # The socket is bound before anybody can be served, and removed when nobody is any more.
    ("opsdash/service/server.py", {"_bind", "close"}),
    # The same holds for the door to the network: its token and certificate are read before anybody is let in.
    ("opsdash/service/network.py", {"__init__"}),
    # All kinds of a workspace are imported when it is loaded, in a thread; here a test is the first to use one.
    ("opsdash/kinds/registry.py", {"_load"}),
    # Only a check behind a proxy or over HTTP/2 needs httpx, which is imported when the first of them runs.
    ("opsdash/kinds/transport_httpx.py", {"<module>"}),
    # Authorities and client certificates: a `stat` of each file per run, read again when one has changed.
    ("opsdash/kinds/tls.py", {"client_context"}),
    # A fault proxy is a process of its own; its control socket is made and removed while it serves nobody.
    ("opsdash/kinds/faultproxy.py", {"serve", "_open_control", "_clear_place"}),
    # Files and stores are found and opened before an engine is at work.
    ("opsdash/service/places.py", {"places", "take", "make_state_folder"}),
    ("opsdash/storage/documents.py", {"__init__"}),
    ("opsdash/storage/history_file.py", {"__init__"}),
    # A test loads its workspace where it stands; an engine at work has a thread for it.
    ("tests/engine/support.py", {"loaded_from"}),
    ("tests/kinds/test_action_command.py", {"<lambda>"}),
)
"""File and functions from which on whatever they call may block, each with the reason."""


def _noting(seen: list[str]) -> type[blockbuster.BlockingError]:
    class Noted(blockbuster.BlockingError):
        def __init__(self, called: str) -> None:
            super().__init__(called)
            seen.append("".join(traceback.format_stack(limit=12)))

    return Noted


@contextmanager
def nothing_of_ours_blocks() -> Iterator[None]:
    """Blocking calls of opsdash on an event loop raise `blockbuster.BlockingError`, and fail the test in any case: an
    engine reports an exception and goes on.
    """
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch, blockbuster.blockbuster_ctx("opsdash") as watched:
        patch.setattr(blockbuster.blockbuster, "BlockingError", _noting(seen))
        for function in watched.functions.values():
            for file, names in MAY_BLOCK:
                function.can_block_in(file, names)
        yield
    assert not seen, f"the event loop was blocked:\n{seen[0]}"
