"""Items found by vector or by word, with filters inside the search.

* `base` the seam: what an index is, and what a search gives back.
* `exact` every vector compared, on FAISS.
* `saved` how an index is kept on disk: checksummed, tied to its catalogue and embedder.
* `opened` the one call that builds an index when it is missing or stale and loads it otherwise.
"""
