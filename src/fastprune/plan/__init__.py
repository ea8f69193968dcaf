"""What will go, and why: a value that can be shown, saved, checked and carried out.

It takes an index and a selection, and gives a `PrunePlan`.

- `prune_plan`: the plan, and what changes in it when something can't be removed.
- `saved_plan`: a plan from a file. `encoding`, `decoding`: to lines of JSON and back, strictly
  checked. `files`: the files. `identity`: what tells that a cache is the same.
- `replanning`: what of a saved plan still holds. `unseen_tags`: which of its manifests stay because
  of a tag that only a running server knows. `manifest_states`: what manifests say, as digests.
"""
