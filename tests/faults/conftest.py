"""The suite itself is no test of pytest's; `test_faults_sample.py` runs a few seconds of it."""

collect_ignore_glob = ["[!t]*.py", "trials.py"]
