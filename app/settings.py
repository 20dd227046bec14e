"""Reading the settings: footnote.toml, then FOOTNOTE_* variables over it. Every mistake is named by its full key."""

import importlib.util
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from app.sections.generation import GeneratorSection
from app.sections.indexing import EncoderSection, IndexerSection, MilvusSection
from app.sections.retrieval import RetrieverSection
from app.sections.section import Section
from app.sections.serving import ExperimentSection, ServerSection, SignInSection, TelemetrySection, UiSection
from indexer.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
FILE_NAME = "footnote.toml"
PREFIX, NESTED = "FOOTNOTE_", "__"
# Variables that are no settings: this file's own, the launcher's, and what tests and benchmarks look at.
OTHER_VARIABLES = ("FOOTNOTE_CONFIG", "FOOTNOTE_PYTHON", "FOOTNOTE_BENCH", "FOOTNOTE_TEST_")
# Keys that hold a path, and the words that they may hold instead.
PATHS: dict[str, tuple[str, ...]] = {
    "home": (),
    "encoder.model": ("smollm2",),
    "encoder.adapter": ("default", "none"),
    "retriever.reranker": ("generator",),
    "generator.nli_model": (),
}
LISTS = ("encoder.adapter", "server.origins")  # keys that may hold several
HUB = dict.fromkeys(
    ("encoder.model", "encoder.adapter", "generator.nli_model", "retriever.reranker"),
    re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+"),
)
PACKAGES = ("encoder.model",)  # keys that may also name an installed package that carries a model
OVERRIDES = "experiment.overrides."  # before the name of a key that arm b has otherwise
REFERENCE = "docs/footnote.toml.example lists every key."


class Settings(Section):
    """Everything that can be set."""

    home: Path = ROOT / ".footnote"
    """Where collections, converted models and logs are kept. A relative path is meant from the file that sets it."""

    indexer: IndexerSection = IndexerSection()
    milvus: MilvusSection = MilvusSection()
    encoder: EncoderSection = EncoderSection()
    retriever: RetrieverSection = RetrieverSection()
    generator: GeneratorSection = GeneratorSection()
    ui: UiSection = UiSection()
    sign_in: SignInSection = SignInSection()
    server: ServerSection = ServerSection()
    telemetry: TelemetrySection = TelemetrySection()
    experiment: ExperimentSection = ExperimentSection()

    @property
    def models_dir(self) -> Path:
        """Cache of models that were converted from installed packages."""
        return self.home / "models"

    @property
    def uploads_dir(self) -> Path:
        """Where uploaded files are kept, in a folder for each collection; they are their documents' sources."""
        return self.home / "uploads"


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, and where."""

    key: str  # "retriever.dense_weight"
    value: Any
    where: str  # how a message names the place
    folder: Path  # what a relative path in it is relative to


def load_settings(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `config` (or the file that `find_file` finds) and from `environ` (or the process's own).

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, or a value is of the wrong kind.
    """
    environ = os.environ if environ is None else environ
    file = find_file(config, environ)
    given = {item.key: item for item in _from_file(file)} if file else {}
    given |= {item.key: item for item in _from_environment(environ)}
    tree: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    for item in given.values():
        if item.key.startswith(OVERRIDES):
            overrides[item.key.removeprefix(OVERRIDES)] = _located(item)
        else:
            _put(tree, item.key, _located(item))
    if overrides:
        _put(tree, OVERRIDES.rstrip("."), overrides)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise _wrong_value(error, given) from error
    _check_overrides(settings, given)
    return settings


def overridden(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with other values for some keys, by full key.

    Raises:
        ValidationError: a key is unknown, or a value is of the wrong kind.
    """
    tree = settings.model_dump(exclude_unset=True)
    for key, value in values.items():
        _put(tree, key, value)
    return Settings.model_validate(tree)


def _check_overrides(settings: Settings, given: Mapping[str, Given]) -> None:
    section = settings.experiment
    if section.overrides and not section.name:
        raise ConfigError("experiment.overrides are set, and experiment.name is not.", "Give the experiment a name.")
    try:
        overridden(settings, section.overrides)
    except ValidationError as error:
        own = {key.removeprefix(OVERRIDES): item for key, item in given.items() if key.startswith(OVERRIDES)}
        raise _wrong_value(error, own) from error


def find_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Find the settings file: `config`, $FOOTNOTE_CONFIG, ./footnote.toml, the one beside the program, or none."""
    if named := config or environ.get("FOOTNOTE_CONFIG"):
        file = Path(named).expanduser()
        if not file.is_file():
            raise ConfigError(f"There is no settings file {file}.", "Correct --config or FOOTNOTE_CONFIG.")
        return file.absolute()
    return next((folder / FILE_NAME for folder in (Path.cwd(), ROOT) if (folder / FILE_NAME).is_file()), None)


def known_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Walk every key by its full name, with what pydantic knows about it."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from known_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _settable() -> list[str]:
    """What a file or a variable may set: every key, and once more those that arm b of an experiment may have otherwise.

    What documents are made of stays alike in both arms, and a secret belongs into no table that is compared and shown.
    """
    keys = [key for key, _ in known_keys()]
    may_differ = [key for key in keys if key.startswith(("retriever.", "generator.")) and key != "generator.api_key"]
    return [*keys, *(OVERRIDES + key for key in may_differ)]


def variable(key: str) -> str:
    """Name of the environment variable of a key."""
    return PREFIX + key.replace(".", NESTED).upper()


def _from_file(file: Path) -> Iterator[Given]:
    try:
        with file.open("rb") as stream:
            tree = tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}", "Correct that line.") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", "Check its permissions.") from error
    keys = _settable()
    for key, value in _leaves(tree, keys):
        if key not in keys:
            raise ConfigError(f"{file}: there is no setting {key}.", _nearest(key, keys))
        yield Given(key, value, str(file), file.parent)


def _leaves(table: Mapping[str, Any], keys: list[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        is_section = any(key.startswith(f"{prefix}{name}.") for key in keys)
        if isinstance(value, dict) and (is_section or value):
            yield from _leaves(value, keys, f"{prefix}{name}.")
        elif not isinstance(value, dict) or not is_section:
            yield prefix + name, value


def _from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    keys = {variable(key): key for key in _settable()}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name.startswith(OTHER_VARIABLES):
            continue
        if name not in keys:
            raise ConfigError(f"There is no setting for the variable {name}.", _nearest(name, list(keys)))
        yield Given(keys[name], value, f"the variable {name}", Path.cwd())


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value


def _nearest(name: str, names: list[str]) -> str:
    if name.startswith(OVERRIDES) and name.removeprefix(OVERRIDES) in names:
        return f"An experiment may change what begins with retriever. or generator., but api_key. {REFERENCE}"
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    # A misspelt section hides a right key: compare the last part alone before giving up.
    near = near or [known for known in names if known.rpartition(".")[2] == name.rpartition(".")[2]]
    return f"Did you mean {near[0]}? {REFERENCE}" if near else REFERENCE


def _located(item: Given) -> Any:
    """Make the value absolute if it is a path, and every one of a list."""
    if item.key in LISTS:
        if isinstance(item.value, str) and item.value.lstrip().startswith("["):
            item = replace(item, value=_listed(item))
        if isinstance(item.value, list):
            return tuple(_located(replace(item, value=value)) for value in item.value)
    key = item.key.removeprefix(OVERRIDES)
    if key == "milvus.uri" and isinstance(item.value, str):
        return _located_file(item.value, item.folder)
    if not isinstance(item.value, str) or key not in PATHS or item.value in PATHS[key]:
        return item.value
    if not item.value:
        raise ConfigError(f"{item.key} in {item.where} is empty.", "Name a folder, or leave the setting out.")
    path = item.folder / Path(item.value).expanduser()
    if key in PACKAGES and not path.exists() and _is_package(item.value):
        return item.value
    # owner/name is on the hub unless it is here
    return item.value if is_on_hub(key, item.value) and not path.exists() else str(path)


def is_on_hub(key: str, value: str) -> bool:
    """Whether the value of a key is a name on the hub, and no folder, which is absolute once the settings are read."""
    return key in HUB and HUB[key].fullmatch(value) is not None


def _located_file(uri: str, folder: Path) -> str:
    """The address of a Milvus, where it is a file with its whole path."""
    scheme, _, path = uri.partition(":")
    is_file = scheme == "milvus" and path and not path.startswith("//")
    return f"milvus:{folder / Path(path).expanduser()}" if is_file else uri


def _is_package(name: str) -> bool:
    module = name.replace("-", "_")
    return module.isidentifier() and importlib.util.find_spec(module) is not None


def _listed(item: Given) -> Any:
    try:
        return tomllib.loads(f"list = {item.value}")["list"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{item.key} in {item.where} begins like a list and is none: {error}", 'Write ["first", "second"].'
        ) from error


def _wrong_value(error: ValidationError, given: Mapping[str, Given]) -> ConfigError:
    first = error.errors()[0]
    key = next((key for key in given if _names(first["loc"], key)), ".".join(str(part) for part in first["loc"]))
    if key not in given:
        return ConfigError(f"The setting {key} is not valid: {first['msg']}.", REFERENCE)
    value = "(hidden)" if key.endswith(("api_key", "secret", ".token")) else repr(given[key].value)
    return ConfigError(
        f"{given[key].key} = {value} in {given[key].where} is not valid.", f"{first['msg']}. {REFERENCE}"
    )


def _names(location: tuple[int | str, ...], key: str) -> bool:
    path = ".".join(str(part) for part in location)  # may go on below the key, into the alternatives of its type
    return path == key or path.startswith(key + ".")
