"""What nobody uses goes away: nodes, constants, and optional outputs of recurrent nodes."""

from __future__ import annotations

from .._core.facts import remove_dead

__all__ = ["remove_dead"]
