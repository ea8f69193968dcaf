"""What is in a cache, as arrays.

It takes the shards that `reading` gives, and gives a `CacheIndex`.

- `cache_index`: the `CacheIndex`. `merging`: shards to a `MergedShard`, in a worker or here;
  `gathering`: collects small ones for that. `builder`: puts merged shards into the index;
  `listed_rows`: which row each name has; `blob_references` and `children` are what images and lists
  refer to. `records`: what manifests say, out of an index again.
- `digests`, `times`: tables of digests, times as numbers. `arrays`: growing arrays, and steps on
  arrays by name. `text_order`: orders rows by texts that are never there all at once.
- `remembered`: what a scan leaves for the next one, and the format of its file. `remembering`: what
  of an index that is. `recalled`: a remembered scan beside the names that are there now.
  `remembered_rows`: those of its rows that still hold. `verified_blobs`: the format of the file
  that says which blobs were found sound. `column_files`: what both formats share.
- `server_urls`: the `KnownUrls`: by which URLs a running server knows the manifests, and which of
  these are tags that only the server knows (`OtherTags`). `known_urls`: finds them.
- `attached`: tags that belong to an image, such as signatures.
- `refcounts`: the kernels: what lists take along, what they protect, which blobs are needed.
"""
