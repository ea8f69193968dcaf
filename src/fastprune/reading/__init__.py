"""What a worker does: folders, files and chunks of them, to shards.

It takes a task, and gives parts of listings, shards, sizes, marks or hashes. Tasks and results
are picklable, and nothing here needs numpy, so that a worker starts fast.

- `folders`: opens and lists folders, asks for sizes. `trash_folders`: opens those of the trash.
  `reader`: reads many small files.
- `identities`: what tells that a file was not written since it was read.
- `named_children`: reads one list again, for the children that are not cached.
- `chunks`: a chunk of manifest files to a shard. `shards`: the `ShardIndex`, flat columns.
  `shard_rows`: shards joined, and their whole URLs.
- `marks`: sizes of files, the mark that tells whether a file is still the same, and what may be
  odd about a blob. `blob_contents`: takes marks, and hashes blobs.
"""
