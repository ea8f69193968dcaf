"""Where a scan keeps what it read for the next one: a file outside of the cache.

It takes the bytes of a file, and gives them back if they can be believed. docs/safety.md says why
that is safe; `fastprune.index.remembered` says what is in them.

- `memory`: what an earlier scan of a cache left, and what this one leaves.
- `store`: the files: whose they are, written whole, checked, mapped; old ones are removed.
- `trust`: on which file systems the times of a file tell every change.
"""
