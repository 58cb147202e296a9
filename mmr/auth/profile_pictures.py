"""Which media the users and rooms of a homeserver show as their picture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from mmr.auth.credentials import AuthRequest
from mmr.auth.homeserver import HomeserverClient, HomeserverClients
from mmr.errors import bad_request
from mmr.http.client import quote_segment
from mmr.types import Mxc

_USERS = "/_synapse/admin/v2/users?deactivated=true&guests=true&limit=500&from="
_ROOMS = "/_synapse/admin/v1/rooms?limit=500&from="


class ProfilePictures:
    """Asks the homeserver: only it knows what profiles and rooms refer to.

    Args:
        homeservers: Who answers.
    """

    def __init__(self, homeservers: HomeserverClients) -> None:
        self._homeservers = homeservers

    async def get_ids(self, request: AuthRequest) -> frozenset[str]:
        """The media ids of the host's own pictures.

        One call for 500 users, one for each room. A picture that a user shows in one
        room only isn't among them.

        Raises:
            MatrixError: 400 when this homeserver can't tell, or not to this caller;
                403 when the caller isn't its admin; 502 or 503 when it's unreachable.
        """
        homeserver, token = (
            self._homeservers.get(request.domain),
            request.requester.token,
        )
        if token is None or homeserver.domain.admin_api_kind != "synapse":
            raise bad_request(
                "Which media are profile pictures is known to the homeserver alone,"
                " and a Synapse tells only its own admins: use the access token of"
                " one, or say keep_profiles=false"
            )
        asker = _Asker(homeserver, token, request.client_address)
        ids = set()
        async for uri in asker.pictures():
            try:
                mxc = Mxc.parse(uri)
            except ValueError:
                continue
            if mxc.origin == request.domain.name:
                ids.add(mxc.media_id)
        return frozenset(ids)


class _Asker:
    def __init__(self, homeserver: HomeserverClient, token: str, address: str) -> None:
        self._homeserver = homeserver
        self._token = token
        self._address = address

    async def pictures(self) -> AsyncIterator[str]:
        async for user in self._items(_USERS, "users", "next_token"):
            yield str(user.get("avatar_url"))
        async for room in self._items(_ROOMS, "rooms", "next_batch"):
            path = f"/_synapse/admin/v1/rooms/{quote_segment(str(room.get('room_id')))}"
            yield str((await self._get(path)).get("avatar"))

    async def _items(
        self, path: str, key: str, next_key: str
    ) -> AsyncIterator[dict[str, Any]]:
        place = 0
        while True:
            page = await self._get(f"{path}{place}")
            items = page.get(key)
            for item in items if isinstance(items, list) else []:
                if isinstance(item, dict):
                    yield item
            following = str(page.get(next_key, ""))
            # Forwards only, whatever the answer says.
            if not following.isdecimal() or int(following) <= place:
                return
            place = int(following)

    async def _get(self, path: str) -> dict[str, Any]:
        return await self._homeserver.admin_get(path, self._token, self._address)
