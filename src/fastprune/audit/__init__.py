"""The audit log: a line of JSON for each file that was removed.

It takes a plan, the entries of a journal and a report, and gives lines in a file.

- `audit_log`: the lines. `audit_file`: the file that they go to, as the journal of a run.
"""
