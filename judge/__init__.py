"""How good an answer is. The room imports `data`, `serving` and `agents`.

* `objects.py`    rubric, case, verdict, judgement; the protocol of all judges
* `graph.py`      the agent judge: profile → evaluate × dimensions → review; `agent.py` runs it
* `pairwise.py`   two answers against each other, in both orders; `panel.py` several judges
* `rules.py`, `reward.py`  judges that need no language model
* `rubrics/`, `prompts/`   what is asked, `rubric.py` and `prompting.py` read them
* `batch/`        whole files, resumable
* `report/`       figures, comparisons, pages for people
* `people/`       whether a judge is right: agreement, calibration, the trained head
* `probes/`       planted defects, and the rules that find them
* `policies/`     what logged recommendations tell about other policies
* `intent/`       whether tags hit what people chose next
* `ranking/`      rankings of scorers over all items: metrics, intervals, segments
"""
