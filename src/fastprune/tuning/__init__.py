"""Measures a machine and its file system, and recommends `--jobs` and `--concurrency`.

It takes a cache, which is only read, and gives a report. What it deletes are files of its own, in a
folder of its own.

- `measuring`: the whole. `scanning`: scans a sample with several numbers of workers; `trials`:
  which are tried where they wait. `deleting`: deletes with several numbers of threads. `scratch`:
  the folder for that.
- `machine`: what the machine is. `figures`: what was measured, and what follows from it. `report`:
  shows it.
"""
