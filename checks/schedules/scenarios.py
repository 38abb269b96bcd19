"""All scenarios, by name, in their order."""

from __future__ import annotations

from . import block_scenarios, closed_scenarios, other_scenarios, trial_scenarios
from .scenario import SCENARIOS, Scenario

__all__ = ["PARTS", "SCENARIOS", "Scenario"]

PARTS = (closed_scenarios, trial_scenarios, block_scenarios, other_scenarios)
"""Each notes its scenarios as it is imported."""
