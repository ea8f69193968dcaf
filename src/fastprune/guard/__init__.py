"""Guards a cache while it is changed.

It takes the path of a cache or an index, and refuses to go on or says what changed.

- `exclusive`: how every change begins: refuses servers, takes the lock.
- `lock`: one fastprune at a time.
- `servers`: which servers run on the cache, and the refusal. `process_table`: the processes of this
  machine. `server_program`: which of them are servers. `server_findings`: what was found, in words.
  `server_yaml`: the server's own configuration file, read as the server reads it.
- `named_server`: the server of `--server`, told from the others. `listening`: where processes
  listen.
- `agreement`: whether that server serves this cache: its list, and what it writes.
- `drift`: what changed since the scan: new manifests, young and replaced blobs.
"""
