"""Words for options that a kind cannot use."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from opsdash.errors import OpsdashError

log = logging.getLogger(__name__)

RESOLVE_DEADLINE = 15.0
"""Seconds in which the secrets of some options have to be read."""


def unusable(kind: str, error: Exception) -> str:
    """Why the options of an action or a channel cannot be used. What pydantic quotes stays out of it: that may be half
    a secret.
    """
    if isinstance(error, ValidationError):
        told = (f"{'.'.join(map(str, each['loc'])) or 'options'}: {each['msg']}" for each in error.errors())
        return f"its options cannot be used: {'; '.join(told)}"
    if isinstance(error, TimeoutError):
        return f"its secrets could not be read within {RESOLVE_DEADLINE:.0f} s"
    if not isinstance(error, OpsdashError):
        log.error("the options of %s could not be used, for a reason that nobody foresaw", kind, exc_info=error)
    return f"its options cannot be used: {str(error) or type(error).__name__}"
