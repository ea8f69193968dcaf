"""Carries out what was decided: the only stage that changes a cache.

It takes a plan, a repair or a run of the trash, and gives a report of what went.

- `held_cache`: the one way in. It refuses servers and takes the lock, and carries out what it has
  worked out itself. `locked_cache`: the same for programs with an event loop. `cache_reader`: what
  both work out of a cache.
- `deleter`: the only module that deletes or moves files of a cache. `checks`: what must still be
  true of a file when it goes.
- `pruning`, `repairing`, `trashing`: which files come in which order. `phases`: what these share:
  it works on the files of a folder, tells the journal, and keeps what came of it.
- `asking`: the same order beside a running server, which is asked. Its parts: `live_run` is what
  they share, `requests` asks for what the server knows, `unreached` moves what it does not know,
  `leftovers` empties the trash of earlier such runs. `looking`: what the manifests need that are
  there now. `aside`: files that are set aside and put back.
- `accounts`: what becomes of the files of a plan, as a report.
- `proving`: whether a server serves the cache, before it is asked to remove anything.
- `healing`: what a running server has in memory although it is damaged on disk.
- `batches`: pieces of work on threads. `pace`: how many threads, how fast, until when.
- `journal`: who is told of each file that goes.
"""
