"""The rules of a policy, one pure function each: an index, or its names, to a mask of them.

- `names`: all URLs by which the manifests are known, those that only a server knows included.
- `ages`: by times of creation and pull. `tags`: by tags, and the newest of each repository.
- `defects`: dangling and broken images. `in_use`: images in use. `sizing`: size targets.
"""
