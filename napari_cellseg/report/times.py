"""Times as the reports write them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["time_text"]


def time_text(at: float) -> str:
    """Return a time, seconds since 1970, as "2026-11-27 14:05:00" (UTC); empty for 0."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""
