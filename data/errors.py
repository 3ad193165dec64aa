"""Errors named by the boundary they cross; the command line prints their one sentence.

An error's text says what was expected, what came and what to do. `exit_code` is what the
command ends with: 1 the work failed, 2 the call or its input was wrong.
"""

from __future__ import annotations

from pathlib import Path


class ForetasteError(Exception):
    """The work failed (exit code 1). Base of every error that a user is meant to read."""

    exit_code = 1


class InputError(ForetasteError):
    """The call or its input was wrong (exit code 2); nothing was changed."""

    exit_code = 2


class DataError(InputError):
    """A table, a row or a data set is not what it must be."""


class LeakageError(ForetasteError):
    """A split lets the future into the past, so no figure made from it would hold."""


class ModelError(InputError):
    """A model is missing, not the one that was asked for, or in a form that is refused."""


class EngineError(ForetasteError):
    """A language-model engine did not start, died or stopped answering.

    Args:
        message: the sentence for the user.
        log: where the engine's own log is kept, named in the sentence when given.
    """

    def __init__(self, message: str, log: Path | None = None) -> None:
        self.log = log
        super().__init__(f"{message} Its log: {log}" if log else message)


class EngineUnavailable(EngineError):
    """The engine is being started again; the same request can be answered soon.

    Args:
        message: the sentence for the user.
        retry_after: seconds after which asking again makes sense.
        log: as in `EngineError`.
    """

    def __init__(self, message: str, retry_after: float, log: Path | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, log)


class UnreadableAnswer(ForetasteError):
    """A model's answer does not fit the schema it was given. Its tokens were still spent.

    Args:
        message: what was wrong with the answer.
        text: the raw answer.
        usage: the tokens spent on it (`serving.chat.Usage`), or None when unknown.
    """

    def __init__(self, message: str, text: str = "", usage: object | None = None) -> None:
        self.text = text
        self.usage = usage
        super().__init__(message)


class IndexMismatch(ForetasteError):
    """A saved index belongs to another catalogue or another embedder."""
