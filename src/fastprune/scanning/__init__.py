"""From a path to an index, and what a scan leaves for the next one.

It takes the path of a cache and an executor, and gives a `CacheIndex`. What was read is kept in a
file outside of the cache, and the next scan reads only what changed since. docs/safety.md says why
that is safe; `fastprune.index.remembered` says what is in the file.

- `scanner`: lists the folders, hands out work, gives the index. `manifest_names`: lists the
  manifests. `pieces`: what is handed out, and what a worker does with it. `results`: what comes
  back. `measuring`: asks for the sizes of files.
- `memory`: what an earlier scan left for this one, and what this one leaves. `store`: the files for
  that: whose they are, written whole, checked, mapped; old ones are removed.
- `trust`: on which file systems the times of a file tell every change.
"""
