"""How many examples a property test tries: few in every run, many if asked for.

`FASTPRUNE_EXAMPLES=20 pytest tests/property` runs twenty times as many, with other examples each
time. Without it a test always tries the same ones, so that a commit that passed passes again.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

TIMES = int(os.environ.get("FASTPRUNE_EXAMPLES", "1"))
"""How many times as many examples are asked for."""


def examples(count: int) -> settings:
    """The settings of a property: a default number of examples, and no deadline.

    A deadline would measure the machine. pytest limits the time of each test. The fixture of
    a test sets up what all its examples share.
    """
    return settings(
        max_examples=count * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        # All phases except `explain`, which runs a failing example hundreds of times more.
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
