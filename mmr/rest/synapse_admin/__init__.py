"""Synapse's media admin API, at Synapse's own paths (synapse-internals.md §3).

``synadm``, Synapse-Admin and moderation bots speak it; the proxy sends it here.
"""

from mmr.rest.synapse_admin.changes import ChangesServlet
from mmr.rest.synapse_admin.deletion import DeletionServlet
from mmr.rest.synapse_admin.listing import ListingServlet
from mmr.rest.synapse_admin.moderation import ModerationServlet

__all__ = ["ChangesServlet", "DeletionServlet", "ListingServlet", "ModerationServlet"]
