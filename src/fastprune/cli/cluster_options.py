"""Where the work runs: the option and the environment to the address of a Dask cluster."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from fastprune.cli.headings import CLUSTER
from fastprune.cli.options import GlobalOptions, option
from fastprune.errors import UsageError

if TYPE_CHECKING:
    from fastprune.executors.dask_address import ClusterAddress
    from fastprune.executors.executor import Executor

DASK_VARIABLE = "FASTPRUNE_DASK"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Where a command that reads the cache has it read."""

    # Not typer's envvar: --jobs comes before the variable.
    dask: str | None = option(
        "--dask ADDRESS",
        CLUSTER,
        "Read with the workers of a Dask cluster: tcp://HOST:PORT or tls://HOST:PORT, the file of "
        f"a scheduler, or local:N for N processes here. Else ${DASK_VARIABLE}.",
    )


def cluster_address(cluster: ClusterOptions, options: GlobalOptions) -> ClusterAddress | None:
    """The address of the cluster that the option or the environment names; None for none.

    `--jobs` comes before the environment.

    Raises:
        UsageError: It can't be used, or beside it `--jobs` says otherwise.
    """
    address = cluster.dask
    if address is not None and options.jobs is not None:
        raise UsageError(
            "--jobs is about processes of this machine, and can't be combined with --dask: for "
            "these, give --dask local:N"
        )
    if address is None and options.jobs is None:
        address = os.environ.get(DASK_VARIABLE)
    if not address:
        return None
    from fastprune.executors.dask_address import parse_address

    try:
        return parse_address(address)
    except UsageError as error:
        named_by = f"${DASK_VARIABLE}" if cluster.dask is None else "--dask"
        raise UsageError(f"{named_by}: {error}") from None


@contextmanager
def opened_cluster(address: ClusterAddress) -> Iterator[Executor]:
    """Connects to a cluster, and ends the connection. Dask says nothing on stderr meanwhile."""
    from fastprune.executors.dask_cluster import open_dask
    from fastprune.executors.dask_logging import silenced

    in_detail = logging.getLogger("fastprune").isEnabledFor(logging.DEBUG)
    with nullcontext() if in_detail else silenced(), closing(open_dask(address)) as executor:
        yield executor
