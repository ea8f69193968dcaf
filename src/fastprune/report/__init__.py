"""Shows what went or would go: values to text.

It takes plans, reports and indexes, and gives lines, documents and metrics. Pure.

- `run_report`: what the reports of all runs share. `prune_report`: the `PruneReport`.
  `prune_rendering`: it as lines and as a document. `asked_rendering`: its part about a server.
- `listing`: what `list` shows.
- `estimates`: how long the real run will take. `metrics`: a run as metrics for Prometheus.
"""
