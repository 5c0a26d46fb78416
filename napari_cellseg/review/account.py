"""The name of the user."""

from __future__ import annotations

import getpass

__all__ = ["account_name"]


def account_name() -> str:
    """Return the user name of the account, "unknown" if it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without a user entry; no pwd on Windows
        return "unknown"
