"""Rubrics: read from TOML, shipped ones by name and users' own by path."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from foretaste.data.errors import InputError
from foretaste.judge.objects import Rubric

SHIPPED = ("tag", "explanation", "item", "list", "page")


def load_rubric(name: str) -> Rubric:
    """A shipped rubric by its name, or the rubric of a TOML file.

    Args:
        name: one of `SHIPPED`, or a path that ends in `.toml`; `judge/rubrics/` shows the form.

    Raises:
        InputError: no such rubric, or a file that is none; the sentence says where.

    >>> load_rubric("tag").names
    ('relevance', 'consistency', 'specificity', 'validity')
    """
    if name in SHIPPED:
        text = files("foretaste.judge").joinpath("rubrics", f"{name}.toml").read_text("utf-8")
        return _read(text, name)
    if not name.endswith(".toml"):
        raise InputError(
            f"A rubric ({', '.join(SHIPPED)}) or the path of a .toml file was expected, not {name!r}."
        )
    try:
        return _read(Path(name).read_text("utf-8"), name)
    except OSError as error:
        raise InputError(f"The rubric {name} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The rubric {name} is not UTF-8 text.") from error


def _read(text: str, name: str) -> Rubric:
    try:
        return Rubric.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The rubric {name} is not valid TOML ({error}).") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(f"The rubric {name} does not hold: {where}: {first['msg']}.") from error
