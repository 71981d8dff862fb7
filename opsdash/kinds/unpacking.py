"""The body of an answer as it comes in: unpacked with a limit, never whole.

48 KB of gzip can unpack to 50 MB. `zlib` is therefore told how much there is room for, and stops there;
what is beyond is cut off and flagged.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from opsdash.kinds.failures import ProtocolError

_GZIP: Final = frozenset({b"gzip", b"x-gzip"})
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_OR_ZLIB: Final = 47


class Unpacker:
    """Takes a body piece by piece, and holds at most `room` bytes of it, decoded.

    An exchange of `transport` is one, and sets these five itself, which saves a call for each check.
    """

    __slots__ = ("_decoder", "_encoding", "_parts", "_room", "_truncated")

    def __init__(self, room: int) -> None:
        self._decoder: Any = None
        self._encoding: str | None = None
        self._parts: list[bytes] = []
        self._room = room
        self._truncated = False

    @property
    def truncated(self) -> bool:
        """Whether there was more than there was room for."""
        return self._truncated

    @property
    def encoding(self) -> str | None:
        """A content encoding that is not understood; the body is then left as it came."""
        return self._encoding

    def cut(self) -> None:
        """Leave the rest where it is."""
        self._truncated = True

    def whole(self) -> bytes:
        """What there is. Raises ProtocolError when compressed data is incomplete."""
        if self._decoder is not None and self._parts and not self._truncated and not self._decoder.eof:
            raise ProtocolError("the gzip data of the body ends early")
        return b"".join(self._parts)

    def take(self, data: bytes) -> None:
        """One more piece. Raises ProtocolError when it cannot be unpacked."""
        if self._truncated:
            return
        if self._decoder is None:
            self._keep(data)
        else:
            self._decode(data)

    def choose_decoder(self, encoding: bytes) -> None:
        """`encoding` is the value of Content-Encoding, in lower case."""
        if encoding in _GZIP:
            self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif encoding not in {b"", b"identity"}:
            self._encoding = encoding.decode("latin-1")

    def _decode(self, data: bytes) -> None:
        try:
            while data and not self._truncated:
                # One byte more than there is room for shows whether there is more; 0 would mean "no limit".
                self._keep(self._decoder.decompress(data, self._room + 1))
                if not self._decoder.eof:
                    return
                data = self._decoder.unused_data
                if not data.startswith(_GZIP_MAGIC):
                    return
                self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
        except zlib.error as error:
            raise ProtocolError(f"the body is no valid gzip: {error}") from None

    def _keep(self, data: bytes) -> None:
        if len(data) > self._room:
            data = data[: self._room]
            self._truncated = True
        self._room -= len(data)
        self._parts.append(data)
