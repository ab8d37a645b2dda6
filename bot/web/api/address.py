"""Where a request comes from, to count what no account is charged for."""

import ipaddress

from aiohttp import web

UNKNOWN = "unknown"


def client_address(request: web.Request, header: str | None) -> str:
    """The client's address; of IPv6 its /64, which is one client's to vary.

    Only the header that the operator named is believed, as whoever stands in front of us sets it; anybody can send others.
    """
    text = request.headers.get(header, "") if header else (request.remote or "")
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
