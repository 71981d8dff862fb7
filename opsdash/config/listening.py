"""An address to listen on, as people write it: `127.0.0.1:9180`, `localhost:9180`, `[::1]:9180`.

An address and a port, both of them. Names other than `localhost` are refused: where they lead is decided by somebody
else, and perhaps not yet while a machine starts. So is `:9180`, which elsewhere stands for every interface: whoever
opens an engine to the network says so, by `0.0.0.0:9180` or `[::]:9180`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FORM = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<four>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
_EXAMPLES = "write 127.0.0.1:9180, or [::1]:9180"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - only ever shown, as what to write instead
MOST_PORTS = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. host: an IP address. port: 0 lets the system choose a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says of it, which overrides the file. certificate and key: both or none."""

    listen: Address | None = None
    certificate: Path | None = None
    key: Path | None = None


def parse_address(text: str) -> Address:
    """The address that `text` says. Raises ValueError, whose text says after a semicolon what would be right."""
    found = _FORM.fullmatch(text)
    if found is None:
        if re.fullmatch(r":[0-9]+", text):
            hint = f"write 127.0.0.1{text} for this machine alone, or {_EVERYWHERE}{text} for everybody"
            raise ValueError(f"{text!r:.60} does not say on which address; {hint}")
        raise ValueError(f"{text!r:.60} is no address with a port; {_EXAMPLES}")
    port = int(found["port"])
    if port > MOST_PORTS:
        raise ValueError(f"{port} is no port; ports go from 1 to {MOST_PORTS}, and 0 is any free one")
    return Address(_host(found["six"], found["four"], text), port)


def _host(six: str | None, four: str | None, text: str) -> str:
    if four == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.IPv6Address(six) if six is not None else ipaddress.IPv4Address(four or ""))
    except ValueError:
        raise ValueError(f"{text!r:.60} holds no address of this machine; {_EXAMPLES}") from None
