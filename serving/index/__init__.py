"""Items found by vector or by word, with filters inside the search.

* `base` the seam: what an index is, and what a search gives back.
* `exact` every vector compared, on FAISS; `ivf` the nearest groups only, in two looks, for large ones;
  `lance` the same on disk or in an object store, by LanceDB, when they outgrow memory.
* `calibration` how many groups a search looks into, measured when an index is built.
* `text` BM25 over the items' words; `fusion` several rankings made into one.
* `live` items added, changed and removed while searches run; `journal` keeps those changes.
* `growing` rows of numbers that grow without being copied.
* `filters` which items may be found, as one mask.
* `saved` how an index is kept on disk: checksummed, tied to its catalogue and embedder.
* `opened` the calls that build an index when it is missing or stale and load it otherwise.
"""
