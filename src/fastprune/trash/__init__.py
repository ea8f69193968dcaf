"""The trash: where `prune --trash` puts files instead of deleting them.

It is a folder of the cache itself, so that a move is a rename, and needs no more space:

    <cache>/.fastprune/trash/<run id>/{img,lts,blobs}/<64 hex>

A run looks like a cache of its own, and is read as one. There is no metadata beside it:
what a run holds is told by listing it, and when it was by its id (`fastprune.trash.run_ids`).
"""
