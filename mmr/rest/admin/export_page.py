"""The page on which an export can be downloaded and deleted. It needs no script."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from mmr.archives.index_page import readable_size, unix_date
from mmr.archives.writer import MANIFEST_PART
from mmr.http.pages import PageResponse
from mmr.storage.exports import Export, ExportPart
from mmr.storage.tasks import Task


def export_page(
    export: Export, withheld: set[ExportPart], task: Task | None, expires_ts: int
) -> PageResponse:
    """An export as it is now.

    Args:
        withheld: Parts that aren't given out.
        task: What makes it, if that is known.
        expires_ts: When it is deleted, ms; 0: not known, or never.
    """
    is_running = task is not None and not task.is_finished
    # MMR 1.2 had its manifest in the first part.
    is_whole = not export.task_id or any(
        part.file_name == MANIFEST_PART for part in export.parts
    )
    problem = task.error if task else ""
    return _page(
        entity=export.entity,
        progress=task.progress if task and is_running else None,
        problem=problem or ("" if is_whole or is_running else "it isn't whole"),
        expires=unix_date(expires_ts) if expires_ts else "",
        parts=[
            {
                "index": part.index,
                "name": part.file_name,
                "size": readable_size(part.size_bytes),
                "is_withheld": part in withheld,
            }
            for part in export.parts
        ],
    )


def deleted_page(export: Export) -> PageResponse:
    """What is left after the deletion."""
    return _page(entity=export.entity, is_deleted=True)


def _page(**values: Any) -> PageResponse:
    style = _style()
    # Ours, and without a tag in it: escaped, it wouldn't fit its hash.
    body = _environment().get_template("view_export.html")
    return PageResponse(body.render(style=Markup(style), **values), style)  # noqa: S704


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mmr.rest.admin"), autoescape=True, trim_blocks=True
    )


@cache
def _style() -> str:
    return (files("mmr.rest.admin") / "templates" / "export.css").read_text()
