"""The trash: where `prune --trash` puts files instead of deleting them.

It is a folder of the cache itself. So a move is a rename and needs no space:

    <cache>/.fastprune/trash/<run id>/{img,lts,blobs}/<64 hex>

A run looks like a cache of its own, and is read as one. There is no metadata beside it:
what a run holds is told by listing it, and when it was by its id.

It takes the path of a cache, and gives what its trash holds.

- `tree`: opens and lists the folders of the trash. `contents`: what a run holds, in the order in
  which it can be put back. `model`: runs as values. `run_ids`: ids of runs. `report`: shows them.
"""
