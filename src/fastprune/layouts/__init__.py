"""What one kind of cache looks like: the names of its folders, the bytes of its files.

It takes bytes of a manifest file, and gives a `ManifestRecord`. It can't delete anything. Pure.

- `layout`: the `ManifestRecord`, and what a layout is. `ociregistry`: the cache of ociregistry.
- `holders`: files as the server still reads them, but no longer writes them. `gojson`: JSON as Go
  reads it.
- `default`: the layout that is taken where none is given.
"""
