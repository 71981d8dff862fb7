"""A terminal operations dashboard: check, failure mode, switch or runbook, drill, proof."""

__version__ = "0.1.0"
