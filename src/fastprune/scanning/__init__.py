"""From a path to an index, and what a scan leaves for the next one.

It takes the path of a cache and an executor, and gives a `CacheIndex`. What was read is kept in a
file outside of the cache, and the next scan reads only what changed since. docs/safety.md says why
that is safe; `fastprune.index.remembered` says what is in the file.

- `scanner`: lists the folders, hands out work, gives the index. `manifest_names`: lists the
  manifests. `pieces`: what is handed out, and what a worker does with it. `results`: what comes
  back. `measuring`: asks for the sizes of files.
- `memory`: what an earlier scan left for this one, and what this one leaves. `blob_memory`: the
  same of the blobs that `verify` has read; `content_since`: from when on that counts.
- `kept_file`: the file for either, about one cache, and if it is believed. `store`: whose such
  files are, written whole, checked, mapped; old ones are removed.
- `jobs`: how many workers a cache gets where nobody says how many.
- `seen_cache`: what workers elsewhere have to see, too.
"""
