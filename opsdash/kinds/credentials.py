"""Option types for logging in. Passwords and tokens are `SecretStr`, which no `repr` shows.

That keeps them out of our own tracebacks and logs. Wherever text from outside could repeat them, they are
masked by value, which is the business of whoever resolved `${NAME}`, not of a kind.
"""

from __future__ import annotations

import base64

from pydantic import SecretStr, model_validator

from opsdash.kinds.base import StrictOptions


class Login(StrictOptions):
    """A name and a password."""

    user: str
    """Name of the account."""
    password: SecretStr
    """Its password; better a reference: `${NAME}`, `${file:PATH}` or `${cmd:ARGV}`."""


class Auth(StrictOptions):
    """Exactly one way to log in over HTTP."""

    basic: Login | None = None
    """User and password with every request (RFC 7617)."""
    bearer: SecretStr | None = None
    """A token (RFC 6750)."""
    digest: Login | None = None
    """User and password in answer to a challenge (RFC 7616). It costs a second request."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Auth:
        if sum(way is not None for way in (self.basic, self.bearer, self.digest)) != 1:
            raise ValueError("name exactly one of basic, bearer and digest")
        return self

    def header(self) -> str | None:
        """The value of `Authorization`; None for digest, which has none before the challenge."""
        if self.bearer is not None:
            return f"Bearer {self.bearer.get_secret_value()}"
        if self.basic is not None:
            pair = f"{self.basic.user}:{self.basic.password.get_secret_value()}".encode()
            return f"Basic {base64.b64encode(pair).decode('ascii')}"
        return None
