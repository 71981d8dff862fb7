"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
"""A busy machine makes no example slower than it is: nothing here is judged by the clock."""
