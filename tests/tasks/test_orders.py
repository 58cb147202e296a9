"""Orders survive the way through the database."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.media.selection import Order, Reach, Selection
from mmr.storage.media_filter import MediaFilter
from mmr.storage.tasks import Progress, Task
from mmr.tasks import orders
from mmr.tasks.engine import TaskFailed
from mmr.types import Mxc

_NAMES = st.text(max_size=20)
_TIMES = st.none() | st.integers(0, 1 << 60)
_MEDIA = st.builds(Mxc, _NAMES, _NAMES)
_FILTERS = st.builds(
    MediaFilter,
    media=st.none() | st.lists(_MEDIA, max_size=5).map(tuple),
    user_id=st.none() | _NAMES,
    origin=st.none() | _NAMES,
    sha256_hash=st.none() | _NAMES,
    quarantined=st.none() | st.booleans(),
    created_before=_TIMES,
    unused_since=_TIMES,
    larger_than=_TIMES,
    foreign_to=st.none() | st.frozensets(_NAMES, max_size=3),
    has_object=st.none() | st.booleans(),
)
_ORDERS = st.builds(
    Order,
    st.builds(Selection, _FILTERS, _NAMES),
    st.builds(Reach, origin=st.none() | _NAMES),
    _NAMES,
    _NAMES,
    st.none() | st.integers(1, 1 << 40),
)


def task(order: Order, start_ts: int = 0) -> Task:
    params = json.loads(json.dumps(orders.params_of(order)))
    return Task(1, "purge_media", params, start_ts, 0, "", 0, Progress())


@given(_ORDERS)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    assert orders.from_memo(task(order), orders.to_memo(order)) == order


def test_every_condition_is_kept() -> None:
    """Who adds one to the filter adds it to the strategies above."""
    order = Order(Selection(MediaFilter(), ""), Reach(), "")
    assert set(attrs.fields_dict(MediaFilter)) == set(
        _FILTERS.wrapped_strategy.kwargs  # type: ignore[attr-defined]
    )
    assert json.loads(orders.to_memo(order))["filter"] == {}


@pytest.mark.parametrize(
    "memo", ["", "{", "[]", "{}", '{"filter": {"no": 1}, "origin": null}']
)
def test_what_cannot_be_read_is_a_failure_that_is_told(memo: str) -> None:
    order = Order(Selection(MediaFilter(), "x"), Reach(), "@a:b")
    with pytest.raises(TaskFailed):
        orders.from_memo(task(order), memo)


def test_going_on_takes_nothing_that_came_later() -> None:
    start = 1_700_000_000_000

    def limit(wanted: MediaFilter) -> int | None:
        order = Order(Selection(wanted, ""), Reach(), "")
        found = orders.resumed(order, task(order, start), ())
        return found.selection.filter.created_before

    assert limit(MediaFilter(user_id="@a:b")) == start + 60_000
    assert limit(MediaFilter(created_before=5)) == 5
    assert limit(MediaFilter(created_before=start * 2)) == start + 60_000
    assert limit(MediaFilter(media=(Mxc("a", "b"),))) is None


def test_a_homeserver_that_became_ours_is_foreign_no_more() -> None:
    wanted = MediaFilter(foreign_to=frozenset({"a"}), unused_since=1)
    order = Order(Selection(wanted, ""), Reach(), "")
    found = orders.resumed(order, task(order), {"a", "b"})
    assert found.selection.filter.foreign_to == {"a", "b"}
