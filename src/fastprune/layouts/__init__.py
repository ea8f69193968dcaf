"""What one kind of cache looks like: the names of its folders, the bytes of its files.

It takes bytes of a manifest file, and gives a `ManifestRecord`. It can't delete anything. Pure.

- `layout`: the `ManifestRecord`, and what a layout is. `ociregistry`: the cache of ociregistry.
- `default`: the layout that is taken where none is given.
- `holders`: files that the server reads, though it no longer writes them so. `gojson`: JSON as Go
  reads it.
"""
