"""What is damaged in a cache, and its repair: what `verify` finds and `--repair` moves.

`verifier` looks, `findings` says what it means, `repair_plan` what goes to the trash and why,
`repairing` moves it.
"""
