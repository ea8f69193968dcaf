"""Which manifests a policy selects, and what keeps the others.

It takes an index and a policy, and gives a mask of manifests and the rule that keeps each. Pure.

- `selecting`: how the criteria and rules of a policy combine. `evaluating`: what they say of each
  name by which a manifest is known. `rules/`: one function per rule.
"""
