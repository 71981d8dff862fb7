"""Signatures of what opsdash posts, by the Standard Webhooks (https://www.standardwebhooks.com, version 1.0.0).

What is signed is `ID.TIMESTAMP.BODY`, with HMAC-SHA256. The id is that of the message, the same for every attempt; the
timestamp is that of the attempt, so that a receiver can refuse what somebody has recorded and sends again. The
libraries of that standard verify it as it is; docs/howto-alarms.md shows how to do so without any.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX: Final = "whsec_"
LEAST: Final = 24
"""Bytes of a secret (Standard Webhooks, signature scheme)."""

_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def signing_key(secret: str) -> bytes:
    """The key that `secret` stands for: the base64 after `whsec_`, else its own bytes. Raises ValueError."""
    hint = f'make one with: echo "{PREFIX}$(openssl rand -base64 32)"'
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what follows {PREFIX} is no base64; {hint}") from None
    else:
        key = secret.encode()
    if len(key) < LEAST:
        raise ValueError(f"a secret has at least {LEAST} bytes, this one {len(key)}; {hint}")
    return key


def webhook_id(key: str) -> str:
    """A message's key as an id that holds no full stop, which would shift what is signed."""
    return key if _PLAIN_ID.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()[:32]


def signed_headers(identity: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers that say who sent `body`. timestamp: of the attempt, in seconds since 1970 UTC.

    keys: one, or while a secret is being replaced two, either of which the receiver may know.
    """
    content = b".".join((identity.encode(), str(timestamp).encode(), body))
    digests = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
