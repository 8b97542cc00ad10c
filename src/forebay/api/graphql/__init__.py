"""``/graphql``: the jobs of ``/v1/jobs`` as a graph, over HTTP and ``graphql-transport-ws``."""

from forebay.api.graphql.http import ROUTES
from forebay.api.graphql.sockets import SOCKETS

__all__ = ["ROUTES", "SOCKETS"]
