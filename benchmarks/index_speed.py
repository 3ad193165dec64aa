"""The item index against bare FAISS, HNSW (FAISS, usearch where installed): recall, time, memory.

    python benchmarks/index_speed.py --dataset amazon-beauty --json index_speed.json

Vectors: the titles of a real catalogue under the real embedder; up to the wanted number, each is a
real title moved by 0.15 to 0.45 of the difference of two other titles, so that clusters and
correlations are those of real text. Queries are titles that were held out of that (`recall@100`), and
as many short questions, two to four words of those titles (`short_recall@100`); times are over both.
Questions from the other titles choose the number of groups. One client, one query at a time, k = 100.
Every kind runs in a fresh process that loads the index from disk: `memory_mb` is what the process
grew by. `cpu_p50_ms` and `cpu_p99_ms` are processor time, for machines that are shared.

Data sets and models are read from the user's home; what is made goes to a temporary one, or to that
of `--home`, which spares reading the titles again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil
from numpy.typing import NDArray

from foretaste.data.files import subfolder
from foretaste.data.progress import meter
from foretaste.data.store import load_dataset
from foretaste.data.text import item_titles
from foretaste.serving.embedder import load_embedder
from foretaste.serving.index.base import IndexInfo, ItemIndex, Kind
from foretaste.serving.index.calibration import questions
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.ivf import IvfIndex
from foretaste.serving.index.lance import LanceIndex
from foretaste.serving.index.opened import EXACT_UP_TO, load_index

K = 100
QUERIES = 800  # titles held out; a short question is made of each
_BLOCK = 50_000
Floats = NDArray[np.float32]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        for kept in ("datasets", "models"):
            (Path(name) / kept).symlink_to(subfolder(kept), target_is_directory=True)
        os.environ["FORETASTE_HOME"] = options.home or name
        _run(options)


def _run(options: argparse.Namespace) -> None:
    embedder = load_embedder()
    titles = sorted(set(item_titles(load_dataset(options.dataset).items)))
    order = np.random.default_rng(0).permutation(len(titles)).tolist()
    held, others = ([titles[row] for row in part] for part in (order[:QUERIES], order[QUERIES:]))
    parents, asked = embedder.encode(others), embedder.encode(questions(others), keep=False)
    short = questions(held)
    queries = embedder.encode([*held[: len(short)], *short])  # (2 s, d)
    rows = []
    for items in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            graphs = items <= options.graphs_up_to
            rows += _one_size(Path(folder), _grown(parents, items), queries, asked, graphs)
    print(json.dumps({"index": rows}), file=options.json, flush=True)


def _one_size(
    folder: Path, vectors: Floats, queries: Floats, asked: Floats, graphs: bool
) -> list[dict[str, Any]]:
    """Build every kind for these vectors, then measure each in a process of its own."""
    items = len(vectors)
    bare = faiss.IndexFlatIP(vectors.shape[1])
    bare.add(vectors)
    truth = bare.search(queries, K)[1]  # (2 s, K)
    np.save(folder / "truth.npy", truth)
    np.save(folder / "queries.npy", queries)
    faiss.write_index(bare, str(folder / "bare.faiss"))
    seconds = {"faiss_flat": 0.0, "exact": _build("exact", folder, vectors, asked)}
    if items > EXACT_UP_TO:
        seconds["ivf"] = _build("ivf", folder, vectors, asked)
        seconds["lance"] = _build("lance", folder, vectors, asked)
    if graphs:
        seconds["faiss_hnsw"] = _build_hnsw(folder, vectors)
    if graphs and find_spec("usearch"):
        seconds["usearch"] = _build_usearch(folder, vectors)
    spawn = multiprocessing.get_context("spawn")
    rows = []
    for kind, built in seconds.items():
        with spawn.Pool(1) as pool:
            row = pool.apply(_measure, (str(folder), kind))
        rows.append({"items": items, "kind": kind, **row, "build_s": round(built, 1)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _build(kind: Kind, folder: Path, x: Floats, asked: Floats) -> float:
    start = time.perf_counter()
    info = IndexInfo(
        kind=kind,
        items=len(x),
        dimension=x.shape[1],
        catalogue_fingerprint="bench",
        embedder_fingerprint="bench",
    )
    ids = [str(row) for row in range(len(x))]
    index: ItemIndex
    if kind == "exact":
        index = ExactIndex.build(info, ids, x)
    elif kind == "ivf":
        index = IvfIndex.build(info, ids, x, asked)
    else:
        blocks = (x[first : first + _BLOCK] for first in range(0, len(x), _BLOCK))
        index = LanceIndex.build(info, ids, blocks, asked, str(folder / "building"))
    print(f"{kind}: {index.info.probes} groups, {index.info.recall}", file=sys.stderr)
    index.save(folder / kind)
    return time.perf_counter() - start


def _build_hnsw(folder: Path, vectors: Floats) -> float:
    start = time.perf_counter()
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    with meter("FAISS HNSW", len(vectors), "items") as progress:
        for first in range(0, len(vectors), _BLOCK):
            block = vectors[first : first + _BLOCK]
            index.add(block)
            progress.advance(len(block))
    faiss.write_index(index, str(folder / "hnsw.faiss"))
    return time.perf_counter() - start


def _build_usearch(folder: Path, vectors: Floats) -> float:
    from usearch.index import Index

    start = time.perf_counter()
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=16)
    with meter("usearch", len(vectors), "items") as progress:
        for first in range(0, len(vectors), _BLOCK):
            block = vectors[first : first + _BLOCK]
            index.add(np.arange(first, first + len(block)), block)
            progress.advance(len(block))
    index.save(str(folder / "usearch"))
    return time.perf_counter() - start


def _measure(folder_name: str, kind: str) -> dict[str, Any]:
    """Load one kind and time each query alone; runs in a fresh process."""
    faiss.omp_set_num_threads(1)  # bare FAISS at its best for single queries
    folder = Path(folder_name)
    truth, queries = np.load(folder / "truth.npy"), np.load(folder / "queries.npy")
    before = psutil.Process().memory_info().rss
    search = _opened(folder, kind)
    search(queries[:1])
    grown = psutil.Process().memory_info().rss - before
    wall, cpu, recall = [], [], []
    for row in range(len(queries)):
        start, used = time.perf_counter(), time.process_time()
        found = search(queries[row : row + 1])
        wall.append(1000 * (time.perf_counter() - start))
        cpu.append(1000 * (time.process_time() - used))
        recall.append(np.isin(truth[row], found).mean())
    return {
        "recall@100": round(float(np.mean(recall[: len(recall) // 2])), 4),
        "short_recall@100": round(float(np.mean(recall[len(recall) // 2 :])), 4),
        "p50_ms": round(float(np.percentile(wall, 50)), 3),
        "p99_ms": round(float(np.percentile(wall, 99)), 3),
        "cpu_p50_ms": round(float(np.percentile(cpu, 50)), 3),
        "cpu_p99_ms": round(float(np.percentile(cpu, 99)), 3),
        "memory_mb": round(grown / 1e6),
    }


def _opened(folder: Path, kind: str) -> Any:
    """A function from one query (1, d) to its K rows."""
    if kind == "faiss_flat":
        bare = faiss.read_index(str(folder / "bare.faiss"))
        return lambda query: bare.search(query, K)[1]
    if kind == "faiss_hnsw":
        graph = faiss.read_index(str(folder / "hnsw.faiss"))
        graph.hnsw.efSearch = 300
        return lambda query: graph.search(query, K)[1]
    if kind == "usearch":
        from usearch.index import Index

        other = Index.restore(str(folder / "usearch"))
        other.expansion_search = 256
        return lambda query: other.search(query[0], K).keys
    ours = load_index(folder / kind, "bench", "bench")
    return lambda query: ours.search(query, K).rows


def _grown(parents: Floats, items: int) -> Floats:
    """(items, d) unit vectors around real ones, moved along differences of real ones."""
    random = np.random.default_rng(1)
    out = np.empty((items, parents.shape[1]), dtype=np.float32)
    for first in range(0, items, _BLOCK):
        count = min(_BLOCK, items - first)
        here, towards, away = (parents[random.integers(0, len(parents), count)] for _ in range(3))
        reach = random.uniform(0.15, 0.45, (count, 1)).astype(np.float32)
        moved = here + reach * (towards - away)
        out[first : first + count] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return out


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dataset", default="amazon-beauty")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--graphs-up-to", type=int, default=100_000, help="items; HNSW is slow")
    parser.add_argument("--home", help="home that keeps the vectors of the titles")
    parser.add_argument("--scratch", help="folder for the built indexes (4 GB at 1 M items)")
    parser.add_argument("--json", type=argparse.FileType("w"), default="-")
    return parser.parse_args()


if __name__ == "__main__":
    main()
