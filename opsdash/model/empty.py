"""An empty mapping that cannot be changed, as the default of a frozen value's field."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def nothing() -> Mapping[str, Any]:
    """Always the same empty mapping, for `field(default_factory=nothing)`."""
    return _NOTHING
