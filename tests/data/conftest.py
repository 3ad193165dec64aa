"""A tiny shop that the tests of this room import, and ways to write it down."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ITEMS = """item_id,title,description,category,price,brand
a,Red lipstick,Lasts all day,Makeup|Lips,$9.50,OPI
b,Blue mug,,Kitchen,4,
c,,,,,
"""
INTERACTIONS = """user_id,item_id,timestamp,event
u1,a,100,view
u1,b,200,purchase
u1,c,300,view
u1,a,400,cart
u2,b,150,view
u2,a,350,view
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a text to a file of the test's folder."""

    def write_text(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


@pytest.fixture
def shop(write: Write) -> Path:
    """A folder with items.csv and interactions.csv."""
    write("items.csv", ITEMS)
    return write("interactions.csv", INTERACTIONS).parent


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data sets, where there is one."""
    folder = os.environ.get("FORETASTE_SHARED_DATA")
    if not folder:
        pytest.skip("FORETASTE_SHARED_DATA is not set")
    return Path(folder)
