"""What is asked for, as a value: which manifests are selected, and which are kept.

It takes options or a policy file, and gives a `Policy` with absolute times.

- `policy`: the `Policy` and its rules. `criteria`: criteria as people write them. `criteria_io`:
  criteria that need I/O: lists of images in use, free space.
- `delete_limits`: how much a plan may remove.
- `file_loading`: a policy file to a policy. `file_reading`, `file_checking`, `file_entries`: TOML
  and YAML, key by key.
"""
