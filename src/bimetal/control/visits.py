"""What clients are told of viewers, and of where these connect (QEMU's qapi/ui.json)."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from bimetal.backends.vnc.visit import Address, Visit
from bimetal.control.contract import Answer

__all__ = ["ClientInfo", "VisitData", "address_of", "client_info", "visit_data"]


class ClientInfo(Answer):
    """A viewer."""

    host: Annotated[str, "where the connection comes from"]
    service: Annotated[str, "its port there"]
    family: Annotated[str, "ipv4, ipv6 or unix"]
    websocket: Annotated[bool, "whether it is a page's"]


class ServerInfo(Answer):
    """Where a viewer is connected to."""

    host: Annotated[str, "the address"]
    service: Annotated[str, "the port, or the path of a socket"]
    family: Annotated[str, "ipv4, ipv6 or unix"]
    websocket: Annotated[bool, "whether pages connect there"]
    auth: Annotated[str | UnsetType, "none, vnc, or vencrypt+x509+ and one of these"] = UNSET


class VisitData(Answer):
    """A viewer has come, was let in, or has gone."""

    server: Annotated[ServerInfo, "where it is connected to"]
    client: Annotated[ClientInfo, "where it comes from"]


def address_of(address: Address) -> dict[str, str]:
    """Host, service and family of an address."""
    if isinstance(address, str):
        return {"host": "", "service": address, "family": "unix"}
    host, port = address
    return {"host": host, "service": str(port), "family": "ipv6" if ":" in host else "ipv4"}


def client_info(visit: Visit) -> ClientInfo:
    """What is told of a viewer alone."""
    return ClientInfo(**address_of(visit.client), websocket=visit.web_socket)


def visit_data(visit: Visit) -> VisitData:
    """What the events carry."""
    here = address_of(visit.server)
    server = ServerInfo(**here, websocket=visit.web_socket, auth=visit.way)
    return VisitData(server=server, client=client_info(visit))
