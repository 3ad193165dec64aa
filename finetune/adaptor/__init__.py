"""Entity compression: the adaptor of hybrid prompts (RecGPT-V2, arXiv 2512.14503, section 2).

* `config.py`  settings and presets
* `rows.py`    questions about the catalogue, answered from `[entity]` alone (self-perception)
* `prompts.py` the agents' own prompts about training histories (production alignment)
* `teacher.py` what the frozen model answers when it reads everything as text, cached
* `frozen.py`  the language model as student and as teacher: sequences, losses
* `start.py`   where training starts: sentence vector → mean of the token embeddings
* `loop.py`    steps, validation, stopping and going on
* `train.py`   a whole run: estimate, training, export
"""
