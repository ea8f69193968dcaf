"""Measures a machine and its file system, and recommends `--jobs` and `--concurrency`.

Stage: beside the flow of a prune. `measuring.tune` is the verb:

    list -> sample -> scan at several --jobs     -> recommend -> report
            scratch -> delete at several --concurrency ^
    [ cache, scanning, deleting, machine: I/O ][ figures, report: pure ]

The cache is only read. Only temporary files are deleted, in a folder of their own.
"""
