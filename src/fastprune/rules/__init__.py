"""The rules of a policy, one pure function each: an index to a mask of its manifests.

Stage: select. `fastprune.selection` says how they combine.
"""
