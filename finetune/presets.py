"""Presets of the recipes, `finetune/<recipe>/configs/<preset>.toml`, and what is changed in them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, TypeVar

from pydantic import BaseModel

from foretaste.data.errors import InputError
from foretaste.data.settings import groups_known, override

Settings = TypeVar("Settings", bound=BaseModel)


def presets(recipe: str) -> list[str]:
    """Names of the presets that come with a recipe, which is named by its folder.

    >>> presets("sft")
    ['cpu', 'gpu-qwen3', 'smoke']
    """
    folder = files(f"foretaste.finetune.{recipe}").joinpath("configs")
    names = [path.name for path in folder.iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_preset(recipe: str, preset: str) -> dict[str, Any]:
    """What the file of a preset says.

    Raises:
        InputError: the recipe has no such preset.
    """
    known = presets(recipe)
    if preset not in known:
        raise InputError(f"There is no preset {preset!r}; choose from {', '.join(known)}.")
    path = files(f"foretaste.finetune.{recipe}").joinpath("configs", f"{preset}.toml")
    return tomllib.loads(path.read_text())


def configured(
    kind: type[Settings], recipe: str, group: str, preset: str, changes: Iterable[str]
) -> Settings:
    """The settings of a preset with every `group.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    start = kind.model_validate(read_preset(recipe, preset))
    groups_known(changes, (group,))
    return override(start, group, changes)
