"""The trash: where `prune --trash` puts files instead of deleting them.

It is a folder of the cache itself. So a move is a rename and needs no space:

    <cache>/.fastprune/trash/<run id>/{img,lts,blobs}/<64 hex>

A run looks like a cache of its own, and is read as one. It has no metadata: listing a run tells
what it holds, and its id tells when it was. The id of a live run, which a prune beside a running
server makes, ends with `-live`.

It takes the path of a cache, and gives what its trash holds.

- `tree`: opens and lists the folders of the trash. `contents`: what a run holds, in the order in
  which it can be put back. `model`: runs as values. `run_ids`: ids of runs. `report`: shows them.
"""
