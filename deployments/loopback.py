"""Keeps Serve's gRPC servers on loopback where Ray itself is.

Every Serve replica opens a gRPC port for the other replicas and unpickles what it receives there, so whoever reaches
the port can run code. Ray 2.60 binds it to all interfaces, also where the whole cluster is on 127.0.0.1, and has no
setting for it. Replicas dial each other by their node's address, so a cluster on loopback loses nothing by the narrower
bind.

Imported by the modules that each replica imports before it opens the port.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.serve._private import replica

_LOOPBACK = "127.0.0.1"


def _narrowed(bind: Any) -> Any:
    """`bind`, but for a node on loopback with the address of loopback."""

    def bind_where_the_node_is(server: Any, address: str) -> Any:
        _, _, port = address.rpartition(":")
        on_loopback = ray.util.get_node_ip_address() == _LOOPBACK
        return bind(server, f"{_LOOPBACK}:{port}" if on_loopback else address)

    bind_where_the_node_is.narrowed = True  # type: ignore[attr-defined] # so that it is done once
    return bind_where_the_node_is


# An AttributeError here means that another version of Ray does this elsewhere: look there before going on.
if not hasattr(replica.add_port_to_grpc_server, "narrowed"):
    replica.add_port_to_grpc_server = _narrowed(replica.add_port_to_grpc_server)
