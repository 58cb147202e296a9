"""The server object: builds each collaborator once, on first use.

`Foundations` has the rooms of the lower rows, `Pipelines` the media on top of them,
`HttpSide` the routes and the site, `MediaRepoServer` starts and stops it all.
"""

from mmr.server.main import MediaRepoServer

__all__ = ["MediaRepoServer"]
