"""Which datastores there are, and which one new objects go to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import pytest

from twisted.internet.task import Clock as FakeReactor
from twisted.trial.unittest import TestCase

from mmr.config.datastores import DatastoreConfig
from mmr.datastores.base import DatastoreError, DatastoreFull
from mmr.datastores.registry import Datastores, HasDatastores, file_provider
from mmr.errors import StartupError
from mmr.types import Kind
from mmr.util.clock import Clock

from tests.datastores.fakes import Foreground, fresh_folder


@attrs.frozen
class Homeserver:
    datastores: tuple[DatastoreConfig, ...]


def entry(
    id: str | None, kinds: Iterable[str] = ("all",), path: str = "", **more: object
) -> DatastoreConfig:
    return DatastoreConfig.model_validate(
        {
            "type": "file",
            "id": id,
            "forKinds": list(kinds),
            "opts": {"path": path or f"/srv/{id}"},
            **more,
        }
    )


@attrs.define
class Totals:
    """The maintained totals, and how often they were read."""

    sizes: dict[str, int]
    reads: int = 0

    async def __call__(self) -> Mapping[str, int]:
        self.reads += 1
        return dict(self.sizes)


def registry(
    *entries: DatastoreConfig,
    sections: Iterable[HasDatastores] = (),
    totals: Totals | None = None,
    legacy_ids: Mapping[str, str] | None = None,
    reactor: FakeReactor | None = None,
    floor: int = 0,
) -> Datastores:
    clock = Clock(reactor or FakeReactor())
    return Datastores(
        [Homeserver(entries), *sections],
        {"file": file_provider(Foreground(), clock, lambda: floor)},
        totals or Totals({}),
        clock,
        legacy_ids or {},
    )


class ChoiceTests(TestCase):
    """D50: the smallest of those that take the kind."""

    async def test_the_smallest_is_chosen_wherever_it_is_in_the_list(self) -> None:
        stores = [entry("a"), entry("b"), entry("c")]
        for smallest in "abc":
            sizes = {"a": 50, "b": 50, "c": 50, smallest: 10}
            datastores = registry(*stores, totals=Totals(sizes))
            chosen = await datastores.choose(Kind.LOCAL_MEDIA, Homeserver((*stores,)))
            self.assertEqual(chosen.id, smallest)

    async def test_an_empty_datastore_has_no_total_yet(self) -> None:
        stores = (entry("a"), entry("new"))
        datastores = registry(*stores, totals=Totals({"a": 1}))
        chosen = await datastores.choose(Kind.LOCAL_MEDIA, Homeserver(stores))
        self.assertEqual(chosen.id, "new")

    async def test_only_the_homeservers_own_and_fitting_ones_count(self) -> None:
        ours = Homeserver(
            (entry("a", ["thumbnails"]), entry("b"), entry("cold", []), entry("d"))
        )
        theirs = Homeserver((entry("theirs"),))
        totals = Totals({"b": 9, "d": 8})
        datastores = registry(sections=[ours, theirs], totals=totals)
        self.assertEqual((await datastores.choose(Kind.LOCAL_MEDIA, ours)).id, "d")
        self.assertEqual((await datastores.choose(Kind.THUMBNAILS, ours)).id, "a")

    async def test_totals_are_read_only_for_a_choice_and_every_five_seconds(
        self,
    ) -> None:
        reactor, totals = FakeReactor(), Totals({})
        one, two = Homeserver((entry("a"),)), Homeserver((entry("a"), entry("b")))
        datastores = registry(sections=[one, two], totals=totals, reactor=reactor)
        await datastores.choose(Kind.ARCHIVES, one)
        self.assertEqual(totals.reads, 0)
        for reads in (1, 2):
            await datastores.choose(Kind.ARCHIVES, two)
            await datastores.choose(Kind.ARCHIVES, two)
            self.assertEqual(totals.reads, reads)
            reactor.advance(5)

    async def test_above_its_cap_a_datastore_takes_no_remote_media(self) -> None:
        """R82."""
        totals = Totals({"small": 99, "large": 150})
        section = Homeserver(
            (
                entry("small", remoteMediaCapBytes=99),
                entry("large", remoteMediaCapBytes=200),
            )
        )
        stores = registry(*section.datastores, totals=totals)
        chosen = await stores.choose(Kind.REMOTE_MEDIA, section)
        self.assertEqual(chosen.id, "large")
        chosen = await stores.choose(Kind.LOCAL_MEDIA, section)
        self.assertEqual(chosen.id, "small")

    async def test_when_all_are_above_their_caps_that_is_told(self) -> None:
        """R82: the file is passed through then."""
        section = Homeserver((entry("one", remoteMediaCapBytes=10),))
        stores = registry(*section.datastores, totals=Totals({"one": 10}))
        with self.assertRaises(DatastoreFull):
            await stores.choose(Kind.REMOTE_MEDIA, section)
        await stores.choose(Kind.LOCAL_MEDIA, section)

    async def test_no_datastore_for_a_kind_names_the_setting(self) -> None:
        ours = Homeserver((entry("a", ["thumbnails"]),))
        with self.assertRaisesRegex(DatastoreError, "archives.*forKinds"):
            await registry(sections=[ours]).choose(Kind.ARCHIVES, ours)


def test_one_object_an_id_over_all_homeservers_with_all_their_kinds() -> None:
    """Homeservers inherit the main list, or name the same store for other kinds."""
    datastores = registry(
        entry("a", ["local_media"]), sections=[Homeserver((entry("a", ["archives"]),))]
    )
    (only,) = datastores
    assert only.kinds == {Kind.LOCAL_MEDIA, Kind.ARCHIVES}
    assert datastores.get("a") is datastores.find("a") is only


def test_an_id_with_two_places_is_refused() -> None:
    other = Homeserver((entry("a", path="/elsewhere"),))
    with pytest.raises(StartupError, match="two different datastores have the id 'a'"):
        registry(entry("a"), sections=[other])


def test_a_type_without_provider_is_named() -> None:
    s3 = entry("a", type="s3", opts={"endpoint": "e", "bucketName": "b"})
    with pytest.raises(StartupError, match=r"'a'.*'s3' is not available.*file"):
        registry(s3)


def test_ids_in_use_must_be_configured() -> None:
    datastores = registry(entry("a"), entry("cold", []))
    datastores.check_ids_in_use(["a", "cold"])
    with pytest.raises(StartupError, match=r"'x', 'y'.*id: x.*forKinds: \[\]"):
        datastores.check_ids_in_use(["y", "a", "x"])


def test_an_unknown_id_in_a_record_names_the_fix() -> None:
    datastores = registry(entry("a"))
    assert datastores.find("gone") is None
    with pytest.raises(DatastoreError, match="id: gone"):
        datastores.get("gone")


def test_the_folders_of_very_old_rows_are_the_configured_ones() -> None:
    """R71."""
    assert registry(entry("a"), entry("b", path="/mnt/b")).file_folders() == {
        "/srv/a": "a",
        "/mnt/b": "b",
    }


def test_a_new_configuration_keeps_what_did_not_change() -> None:
    datastores = registry(entry("a"), entry("b"))
    kept, moved = datastores.get("a"), datastores.get("b")
    datastores.update([Homeserver((entry("a"), entry("b", path="/new"), entry("c")))])
    assert datastores.get("a") is kept
    assert datastores.get("b") is not moved
    assert [datastore.id for datastore in datastores] == ["a", "b", "c"]


def test_a_wrong_new_configuration_changes_nothing() -> None:
    datastores = registry(entry("a"))
    with pytest.raises(StartupError):
        datastores.update([Homeserver((entry("b"), entry(None, path="/unknown")))])
    assert [datastore.id for datastore in datastores] == ["a"]


@pytest.mark.parametrize(
    ("written", "configured"),
    [("/srv/media", "/srv/media"), ("/srv/media", "/srv/media/")],
)
def test_a_folder_of_1_2_gets_its_id_from_the_database(
    written: str, configured: str
) -> None:
    old = entry(None, path=configured)
    datastores = registry(old, legacy_ids={"/other": "0" * 40, written: "f" * 40})
    assert datastores.get("f" * 40).id == "f" * 40


def test_a_bucket_of_1_2_gets_its_id_from_the_database() -> None:
    opts = {"endpoint": "s3.example.org", "bucketName": "media", "region": "eu"}
    old = entry(None, type="s3", opts=opts)
    uri = "s3://s3.example.org/media?region=eu"
    with pytest.raises(StartupError, match="'s3' is not available"):
        registry(old, legacy_ids={uri: "f" * 40})
    with pytest.raises(StartupError, match="no id"):
        registry(old, legacy_ids={uri.removesuffix("eu"): "f" * 40})


def test_an_entry_without_any_id_names_the_fix() -> None:
    with pytest.raises(StartupError, match=r"/srv/media has no id.*`id: main`"):
        registry(entry(None, path="/srv/media"))


class OldConfigurationTests(TestCase):
    """1.2 configurations keep working."""

    async def test_an_entry_without_id_can_be_chosen(self) -> None:
        ours = Homeserver((entry(None, path="/srv/media"),))
        datastores = registry(sections=[ours], legacy_ids={"/srv/media": "f" * 40})
        chosen = await datastores.choose(Kind.LOCAL_MEDIA, ours)
        self.assertEqual(chosen.id, "f" * 40)


class CheckTests(TestCase):
    """What stops a start and what doesn't."""

    async def test_an_unusable_datastore_stops_the_start(self) -> None:
        folder = fresh_folder(self)
        cold = entry("cold", [], path=f"{folder}/missing")
        with self.assertRaisesRegex(StartupError, "'cold'"):
            await registry(entry("a", path=f"{folder}/a"), cold).check()

    async def test_a_full_datastore_does_not(self) -> None:
        """R97: reads go on."""
        full = entry("full", path=fresh_folder(self))
        datastores = registry(full, floor=1 << 60)
        with self.assertLogs("mmr.datastores", "WARNING"):
            await datastores.check()
