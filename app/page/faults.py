"""Every error as a sentence in the page."""

from __future__ import annotations

from foretaste.app.api import errors
from foretaste.app.page import pieces


def shown(error: Exception) -> str:
    """HTML of the sentence that tells this error to a visitor."""
    return pieces.fault(str(errors.of(error).detail))
