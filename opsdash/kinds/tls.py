"""TLS as a client: settings, the contexts made from them, and what a certificate says.

A context costs 20 ms to build, because it reads the system's certificate authorities; so there is one for
each setting, built when first needed, and built again only when a file that it was made of has changed.

Certificates are read here from their DER form (X.509, RFC 5280): Python's own parser gives nothing for a
certificate that was not verified, which is exactly the one that somebody has to look at. Only what a check
needs is read: names and validity. Nothing here decides about trust; that is OpenSSL's part.
"""

from __future__ import annotations

import calendar
import ssl
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from opsdash.kinds.failures import ProbeProblemError, ProtocolError

DAY: Final = 86400.0
_ENCODING_DER: Final = 2


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to meet a TLS server. Paths are absolute.

    verify: whether its certificate must lead to a trusted authority, and carry its name.
    ca: file with the authorities to trust instead of the system's.
    certificate, key: our own, for servers that ask for one; the key may be in the same file.
    """

    verify: bool = True
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


VERIFIED: Final = TlsSettings()


def client_context(settings: TlsSettings = VERIFIED, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """The context for `settings`. Raises ProbeProblemError when one of its files cannot be used.

    alpn: the protocols to offer. A context that offers something is never the one that offers nothing, or
    a server would choose HTTP/2 for those who do not speak it.
    """
    files = tuple(path for path in (settings.ca, settings.certificate, settings.key) if path is not None)
    try:
        versions = tuple(Path(path).stat().st_mtime_ns for path in files)
        return _build(settings, versions, alpn)
    except ssl.SSLError as error:
        raise ProbeProblemError(f"{' or '.join(files)} holds no usable certificate or key: {error}") from error
    except OSError as error:
        raise ProbeProblemError(f"{error.filename or files}: {error.strerror}") from error


@lru_cache(maxsize=256)
def _build(settings: TlsSettings, _versions: tuple[int, ...], alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca or _bundled_authorities())
    # Python 3.13 turned this on. Browsers and curl accept what it refuses (a private authority without a key
    # identifier), and a check must not turn red because Python was upgraded.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.certificate is not None:
        # An encrypted key would otherwise ask for its password on the terminal.
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def _bundled_authorities() -> str | None:
    """The authorities that came with httpx, for systems (slim containers) that have none of their own."""
    system = ssl.get_default_verify_paths()
    if system.cafile or (system.capath and any(Path(system.capath).iterdir())):
        return None
    import certifi

    return certifi.where()


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself. Times are seconds since 1970 UTC."""

    subject: str
    issuer: str
    not_before: float
    not_after: float

    def days_left(self, wall: float) -> float:
        """Days until it expires; negative afterwards."""
        return (self.not_after - wall) / DAY


@lru_cache(maxsize=2048)
def parse_certificate(der: bytes) -> Certificate:
    """Read a DER certificate. Raises ProtocolError when it is none."""
    try:
        return _parse(der)
    except (ValueError, IndexError, OverflowError) as error:
        raise ProtocolError(f"the certificate cannot be read: {error}") from error


def peer_chain(tls: ssl.SSLSocket | ssl.SSLObject, *, verified: bool) -> list[bytes]:
    """Certificates (DER) from the server's own one upwards; at least that one, unless it sent none.

    verified: those that lead to the trusted authority, else those that were sent. They differ: servers send
    superfluous ones, which may expire without harm, and leave out the last.
    """
    own = tls.getpeercert(binary_form=True)
    if own is None:
        return []
    # Public from Python 3.13 on; before, the same methods exist one level deeper, where they give objects.
    source = tls if hasattr(tls, "get_verified_chain") else getattr(tls, "_sslobj", None)
    name = "get_verified_chain" if verified else "get_unverified_chain"
    chain: Any = getattr(source, name, list)() or ()
    return [item if isinstance(item, bytes) else item.public_bytes(_ENCODING_DER) for item in chain] or [own]


# --- DER (X.690): tag, length, value -----------------------------------------------------------------------------

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_EXPLICIT_0: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_BMP_STRING: Final = 0x1E
_ATTRIBUTES: Final = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}


def _parse(der: bytes) -> Certificate:
    whole = _children(der, _SEQUENCE)
    fields = _children(_value(whole, 0, _SEQUENCE))
    if fields and fields[0][0] == _EXPLICIT_0:  # the version, absent in version 1
        fields = fields[1:]
    issuer = _name(_value(fields, 2, _SEQUENCE))
    validity = _children(_value(fields, 3, _SEQUENCE))
    return Certificate(
        subject=_name(_value(fields, 4, _SEQUENCE)),
        issuer=issuer,
        not_before=_when(*validity[0]),
        not_after=_when(*validity[1]),
    )


def _children(data: bytes, wrapper: int | None = None) -> list[tuple[int, bytes]]:
    """The elements of `data`, or of the one element `wrapper` that it holds."""
    found = []
    at = 0
    while at < len(data):
        tag, start, end = _element(data, at)
        found.append((tag, data[start:end]))
        at = end
    if wrapper is None:
        return found
    return _children(_value(found, 0, wrapper))


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    tag, length = data[at], data[at + 1]
    start = at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("a length of its encoding is impossible")
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    end = start + length
    if end > len(data):
        raise ValueError("it ends early")
    return tag, start, end


def _value(elements: list[tuple[int, bytes]], index: int, expected: int) -> bytes:
    tag, value = elements[index]
    if tag != expected:
        raise ValueError(f"element {index} has tag {tag:#x} instead of {expected:#x}")
    return value


def _name(data: bytes) -> str:
    """`CN=…, O=…`, in the order of the certificate; empty when it names nothing of these."""
    parts = []
    for _, group in _children(data):
        for _, pair in _children(group):
            (_, oid), (tag, value) = _children(pair)[:2]
            if oid in _ATTRIBUTES:
                encoding = "utf-16-be" if tag == _BMP_STRING else "utf-8"
                parts.append(f"{_ATTRIBUTES[oid]}={value.decode(encoding, 'replace')}")
    return ", ".join(parts)


def _when(tag: int, value: bytes) -> float:
    if tag not in {_UTC_TIME, _GENERALIZED_TIME}:
        raise ValueError(f"a time has tag {tag:#x}")
    layout = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    moment = time.strptime(value.decode("ascii"), layout)
    # strptime reads two digits from 69 on as 19xx; X.509 does so from 50 on.
    century = 100 if tag == _UTC_TIME and 2050 <= moment.tm_year < 2069 else 0
    return float(calendar.timegm((moment.tm_year - century, *moment[1:])))
