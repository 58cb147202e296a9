"""The guarded client: for names and URLs that strangers can influence.

Everything that a URL, a host name, a redirect, a DNS answer or a response may do to us
is limited here (R8 to R20); callers choose a `Purpose` and read a `GuardedResponse`.
"""

from mmr.http.guard.addresses import AddressGuard, Verdict
from mmr.http.guard.budget import MEDIA_BOUNDS, PREVIEW_BOUNDS, Bound, Bounds, Budget
from mmr.http.guard.client import GuardedClient, proxy_warning
from mmr.http.guard.errors import FetchFailed, Step
from mmr.http.guard.limits import Purpose
from mmr.http.guard.request import GuardedRequest
from mmr.http.guard.resolver import Resolver, SrvTarget, SystemResolver
from mmr.http.guard.response import GuardedResponse
from mmr.http.guard.tls import TrustRoots
from mmr.http.guard.urls import GuardedUrl, parse_host, parse_url

__all__ = [
    "MEDIA_BOUNDS",
    "PREVIEW_BOUNDS",
    "AddressGuard",
    "Bound",
    "Bounds",
    "Budget",
    "FetchFailed",
    "GuardedClient",
    "GuardedRequest",
    "GuardedResponse",
    "GuardedUrl",
    "Purpose",
    "Resolver",
    "SrvTarget",
    "Step",
    "SystemResolver",
    "TrustRoots",
    "Verdict",
    "parse_host",
    "parse_url",
    "proxy_warning",
]
