"""A user with a real client library. Run by the Python of ``.venv-synapse``.

    nio_client.py URL USER PASSWORD PICTURE

Logs in, uploads the picture, downloads it and a thumbnail, asks for the upload limit,
logs out, and prints what it got as one JSON object.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path

from nio import AsyncClient, ResizingMethod


async def main(
    url: str, user: str, password: str, name: str, picture: bytes
) -> dict[str, object]:
    client = AsyncClient(url, user)
    try:
        login = await client.login(password)
        limits = await client.content_repository_config()
        upload, _ = await client.upload(
            lambda *_: picture,
            content_type="image/jpeg",
            filename=name,
            filesize=len(picture),
        )
        server_name, _, media_id = upload.content_uri.removeprefix("mxc://").partition(
            "/"
        )
        download = await client.download(upload.content_uri)
        thumbnail = await client.thumbnail(
            server_name, media_id, 320, 240, ResizingMethod.scale
        )
        logout = await client.logout()
        return {
            "user_id": login.user_id,
            "token": login.access_token,
            "upload_limit": limits.upload_size,
            "content_uri": upload.content_uri,
            "download_type": download.content_type,
            "download_name": download.filename,
            "download": base64.b64encode(download.body).decode(),
            "thumbnail_type": thumbnail.content_type,
            "thumbnail": base64.b64encode(thumbnail.body).decode(),
            "logout": type(logout).__name__,
        }
    finally:
        await client.close()


if __name__ == "__main__":
    url, user, password, picture = sys.argv[1:]
    file = Path(picture)
    report = asyncio.run(main(url, user, password, file.name, file.read_bytes()))
    print(json.dumps(report))
