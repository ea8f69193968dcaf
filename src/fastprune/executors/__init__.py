"""Where pieces of work run; knows nothing of manifests.

It takes a function and items, and gives what the function yields, in any order.

- `executor`: what an executor is. `inline`: runs here. `processes`: runs in worker processes.
- `dask_cluster`: runs in the workers of a Dask cluster. `dask_address`: where that is.
  `dask_client`: what talks to it. `dask_worker`: what runs there. `dask_local`: workers of our own.
  `dask_logging`: what Dask logs.
- `worker`: the program of a worker. `wire`: its messages. `cgroup`: how many processors and
  how much memory we may use. `waiting`: how many workers there should be where they wait.
- `threads`: blocking work on threads. `ending_signals`: the signals that ask the program to end.
"""
