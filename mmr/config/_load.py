"""From files to a `Config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
from pydantic import ValidationError

from mmr.config._base import Mark, Section, settings_of
from mmr.config._checks import check
from mmr.config._keys import Findings, KeyWalk, readable_by_others
from mmr.config._layers import DEFAULT_DATABASE, Layer, Layers, read_layers
from mmr.config._problems import error_at, errors_of, raise_all, warning_at
from mmr.config._yaml import KeyPath, Place
from mmr.config.root import Config, DomainConfig, SharedSections

S = TypeVar("S", bound=Section)


def load_config(paths: Sequence[Path], *, strict: bool = False) -> Config:
    """Read, check and build the configuration. Blocks: it reads files.

    Args:
        paths: Files, or folders of files, the later laid over the earlier.
        strict: Treat unknown keys as errors.

    Raises:
        ConfigError: telling every problem, a line each.
    """
    layers = read_layers(paths)
    findings = Findings(warnings=layers.warnings)
    entries = _homeservers(layers.main, findings)
    main = _clean(Config, layers.main, findings)
    config = _validate(Config, main, findings)
    domains = {
        name: _validate(DomainConfig, layer, findings)
        for name, layer in _domains(main, entries, layers, findings)
    }
    if strict:
        findings.errors += findings.unknown
    raise_all(findings.errors)
    return _finish(config, domains, layers, findings)


def _clean(model: type[Section], layer: Layer, findings: Findings) -> Layer:
    walk = KeyWalk(model, layer.places, findings)
    return Layer(walk.clean(layer.values), layer.places)


def _validate(model: type[S], layer: Layer, findings: Findings) -> S:
    """Build a section. After an error the result is not to be used."""
    try:
        return model.model_validate(layer.values)
    except ValidationError as error:
        findings.errors += errors_of(error, model, layer.places)
        return model.model_construct()


def _homeservers(main: Layer, findings: Findings) -> list[Layer]:
    """Take the entries of ``homeservers`` out of the main part."""
    values = dict(main.values)
    entries = values.pop("homeservers", None) or []
    main.values = values
    if not isinstance(entries, list):
        findings.errors.append(
            error_at(("homeservers",), main.places, "expected a list of homeservers")
        )
        return []
    return list(_entries(entries, main, findings))


def _entries(
    entries: Sequence[Any], main: Layer, findings: Findings
) -> Iterator[Layer]:
    for index, entry in enumerate(entries):
        at = ("homeservers", index)
        if not isinstance(entry, dict):
            text = "expected a section with name and csApi"
            findings.errors.append(error_at(at, main.places, text))
            continue
        places = {path[2:]: place for path, place in main.places.items()
                  if path[:2] == at}  # fmt: skip
        yield Layer(entry, places)


def _domains(
    main: Layer, entries: Sequence[Layer], layers: Layers, findings: Findings
) -> Iterator[tuple[str, Layer]]:
    """The layers of each domain: inherited, then its entry, then its own files."""
    shared = settings_of(SharedSections)
    inherited = attrs.evolve(
        main, values={k: v for k, v in main.values.items() if k in shared}
    )
    named: dict[str, Layer] = {}
    for entry in entries:
        name = str(entry.values.get("name") or "").lower()
        if name and name in named:
            text = "a homeserver of this name is listed already; remove one"
            findings.errors.append(error_at(("name",), entry.places, text))
            continue
        named[name] = entry
    for name in [*named, *(name for name in layers.domains if name not in named)]:
        domain = named.get(name, Layer())
        if name in layers.domains:
            domain = _own(layers.domains[name], findings).over(domain)
        yield name, _clean(DomainConfig, domain, findings).over(inherited)


def _own(layer: Layer, findings: Findings) -> Layer:
    """A domain's own files, in the shape of an entry of ``homeservers``."""
    values, places = dict(layer.values), dict(layer.places)
    if "name" in values:
        text = "has no effect; `homeserver` gives the name"
        findings.warnings.append(warning_at(("name",), places, text))
    _warn_of_reset_keys(values, places, findings)
    values["name"] = values.pop("homeserver")
    places[("name",)] = places[("homeserver",)]
    return Layer(values, places)


def _domain_keys(model: type[Section]) -> set[str]:
    settings = settings_of(model).values()
    return {setting.key for setting in settings if Mark.MAIN_ONLY not in setting.marks}


def _warn_of_reset_keys(
    values: Mapping[str, Any], places: Mapping[KeyPath, Place], findings: Findings
) -> None:
    """MMR empties every key that a section of a domain's file leaves out."""
    shared = settings_of(SharedSections)
    partial = [
        key
        for key, value in values.items()
        if key in shared and isinstance(value, dict)
        if not value.keys() >= _domain_keys(shared[key].model or Section)
    ]
    if partial:
        text = (
            f"keys that are left out of {', '.join(partial)} are inherited;"
            " matrix-media-repo would empty them"
        )
        findings.warnings.append(warning_at(("homeserver",), places, text))


def _finish(
    config: Config,
    domains: Mapping[str, DomainConfig],
    layers: Layers,
    findings: Findings,
) -> Config:
    config = config.model_copy(
        update={
            "homeservers": tuple(domains.values()),
            "domains": MappingProxyType(dict(domains)),
            "files": tuple(layers.files),
        }
    )
    raise_all(list(check(config, layers.main.places, findings.warnings)))
    if not config.database.postgres and not config.database.sqlite:
        path = layers.files[0].absolute().parent / DEFAULT_DATABASE
        database = config.database.model_copy(update={"sqlite": path})
        config = config.model_copy(update={"database": database})
    if config.feature_support.redis.enabled and not config.redis.enabled:
        config = config.model_copy(update={"redis": config.feature_support.redis})
    keys = {domain.signing_key_path for domain in domains.values()} - {""}
    findings.warnings += readable_by_others(
        findings.with_secrets | {Path(key) for key in keys}
    )
    texts = [*map(str, findings.unknown), *findings.warnings]
    return config.model_copy(update={"warnings": tuple(dict.fromkeys(texts))})
