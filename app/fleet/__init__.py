"""Many users, or many cases, at once: in this process, or spread over machines by Ray.

* `people.py`  whose turn it is, and the partition that each user belongs to
* `folder.py`  the folder of a run: Parquet partitions, each written once, and what is unfinished
* `worker.py`  one worker: tools loaded once, user after user
* `many.py`    the road of `recommend --all`
* `spread.py`  Ray Data: a pool of actors over blocks
"""
