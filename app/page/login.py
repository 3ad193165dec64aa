"""The page's optional login: one name and one password, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from foretaste.data.errors import InputError

_SHORTEST = 8


def login_of(auth: str | None) -> Callable[[str, str], bool] | None:
    """Whether a name and a password may come in; None where no login is wanted.

    Args:
        auth: `NAME:PASSWORD`.

    Raises:
        InputError: it is not of that form, or the password is too short.

    >>> login_of("ann:correct horse")("ann", "correct horse")
    True
    """
    if auth is None:
        return None
    name, colon, password = auth.partition(":")
    if not colon or not name or len(password) < _SHORTEST:
        raise InputError(
            f"--auth expects NAME:PASSWORD with a password of {_SHORTEST} characters or more."
        )

    def fits(given: str, said: str) -> bool:
        same_name = hmac.compare_digest(given.encode(), name.encode())
        return hmac.compare_digest(said.encode(), password.encode()) and same_name

    return fits
