"""The rules of a policy, one pure function each: an index to a mask of its manifests.

- `ages`: by times of creation and pull. `tags`: by tags, and the newest of each repository.
- `defects`: dangling and broken images. `in_use`: images in use. `sizing`: size targets.
"""
