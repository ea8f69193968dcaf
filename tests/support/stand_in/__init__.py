"""A stand-in for the running server, with its defects: real HTTP, a real cache, no network.

It behaves as the server does when it is seen from outside, so that tests of what is asked of a
running server need none. Tests let things happen at named points of its work (`hooks`) and make
answers go wrong (`faults`).

- `server`: `StandIn`, in a thread of this process. `process`: the same as a process of its own.
- `references`: image URLs. `holders`: manifests. `storage`: the files. `memory`: what it knows,
  and how a prune goes. `pulling`: how a pull goes. `upstream`: the registry that it pulls from.
- `messages`, `http`: requests and answers. `answering`: which answer belongs to which path.
  `commands`: what administrators ask for. `criteria`: which manifests that is about.
  `listings`: the texts of lists.
- `client`: pulls as docker does.
"""

from .client import BROKEN, NO_ANSWER, Client, Pulled, Step
from .faults import Fault, Kind
from .hooks import Point
from .messages import Answer, Request
from .process import ServerProcess, server_process
from .server import Settings, StandIn
from .upstream import Upstream

__all__ = (
    "BROKEN",
    "NO_ANSWER",
    "Answer",
    "Client",
    "Fault",
    "Kind",
    "Point",
    "Pulled",
    "Request",
    "ServerProcess",
    "Settings",
    "StandIn",
    "Step",
    "Upstream",
    "server_process",
)
