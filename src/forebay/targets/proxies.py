"""Which proxy the environment names for an address: one rule for every HTTP client.

The libraries' own reading is switched off: they differ in it, and aiohttp's ``trust_env`` starts a thread per request
to look proxies up, and to read a netrc file whose keys are not ours to send.
"""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_of(url: str) -> str | None:
    """Returns the proxy's URL by ``http_proxy``, ``https_proxy`` or ``all_proxy``, unless ``no_proxy`` has the host.

    Raises: ValueError: ``url`` is not one.
    """
    address = urlsplit(url)
    if not address.hostname or address.scheme not in {"http", "https"} or address.port == 0:  # above 65535 it raises
        raise ValueError("a URL of http or https names a host, and a port if it is another than the scheme's")
    if proxy_bypass(address.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    return proxies.get(address.scheme) or proxies.get("all")
