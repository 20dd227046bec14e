"""Judges by name: rules, a model server's models, and panels of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import typer

from app.resolved import server_settings
from app.settings import Settings
from app.wiring import build_encoder
from eval.geval import GEvalJudge, evaluation_steps
from eval.judge import PAIRWISE, POINTWISE, Grader, Judge, PairwiseJudge, PointwiseJudge, rule_judges
from eval.panel import PanelGrader, PanelJudge
from eval.prompting import DOMAINS, Rubric
from eval.repeat import RepeatedJudge
from generator.server import ServerModel
from generator.usage import Prices
from indexer.errors import ConfigError

RULES, MODELS = ("f1", "rouge_l", "encoder"), ("pairwise", "pointwise", "geval")
PANEL = "panel"
GRADING = ("pointwise", "geval")
GRADERS = (*GRADING, PANEL)
TEMPERATURE = 0.7  # of repeated judging
Asked = PairwiseJudge | PointwiseJudge | GEvalJudge


@dataclass(frozen=True, slots=True)
class Judging:
    """How judges are built: whose criteria, who sits on a panel, how often and how warm a verdict is asked again."""

    domain: str = ""
    panel: Sequence[str] = ()  # empty: every judge that is a model and can do what is wanted
    repeat: int = 0
    temperature: float = TEMPERATURE


def read_judging(
    judges: Sequence[str],
    domain: str | None,
    panel: str | None,
    repeat: int | None = None,
    temperature: float | None = None,
) -> Judging:
    """The options that say how `judges` are built.

    Raises:
        BadParameter: an option would have no effect.
    """
    if domain and not judges:
        raise typer.BadParameter("there is no judge to give criteria to", param_hint="--domain")
    if panel and PANEL not in judges:
        raise typer.BadParameter("no judge is called panel", param_hint="--panel")
    if temperature is not None and not repeat:
        raise typer.BadParameter("it is of repeated judging: give --repeat", param_hint="--temperature")
    members = tuple(name.strip() for name in (panel or "").split(",") if name.strip())
    return Judging(domain or "", members, repeat or 0, TEMPERATURE if temperature is None else temperature)


def read_prices(per_million_in: float | None, per_million_out: float | None) -> Prices | None:
    """Both prices, or none.

    Raises:
        BadParameter: there is only one.
    """
    if per_million_in is None and per_million_out is None:
        return None
    if per_million_in is None or per_million_out is None:
        raise typer.BadParameter("--price-in and --price-out go together", param_hint="--price-in")
    return Prices(per_million_in, per_million_out)


def build_judges(settings: Settings, names: Sequence[str], judging: Judging | None = None) -> list[Judge]:
    """Judges by name; NAME@MODEL asks another model of the same server. Repeats stand for the judge they repeat.

    Raises:
        ConfigError: a name or domain is unknown, one needs a model server and none is set, or none can be repeated.
        ModelError: the server failed to write G-Eval's steps.
    """
    judging = judging or Judging()
    for name in names:
        _check(name, (*RULES, *MODELS, PANEL))
    for name in judging.panel:
        _check(name, (*RULES, *MODELS))
    if judging.repeat:
        asked = [name for name in names if name not in RULES]
        if not asked:
            raise ConfigError("Rules always say the same: there is nothing to repeat.", "Name a judge that is a model.")
        seeds = range(1, judging.repeat + 1)
        return [_repeated(settings, name, judging, seed) for name in asked for seed in seeds]
    return [_build(settings, name, judging) for name in names]


def build_grader(settings: Settings, name: str, judging: Judging) -> Grader:
    """Who grades single answers: a model by one prompt, or a panel of those that grade.

    Raises:
        ConfigError, ModelError: as `build_judges` does.
    """
    _check(name, GRADERS)
    if name != PANEL:
        return _grader(settings, name, judging)
    members = judging.panel or GRADING
    for member in members:
        _check(member, GRADING)
    return PanelGrader([_grader(settings, member, judging) for member in members])


def judge_model(settings: Settings, model: str = "", temperature: float | None = None, seed: int = 0) -> ServerModel:
    """The model server as a judge: its configured model and temperature, or others.

    Raises:
        ConfigError: none is set.
    """
    return server_model(settings, "A language model as judge", model, temperature, seed)


def server_model(
    settings: Settings, purpose: str, model: str = "", temperature: float | None = None, seed: int = 0
) -> ServerModel:
    """The model server, whoever answers, for what the embedded reader cannot do.

    Raises:
        ConfigError: none is set.
    """
    if not settings.generator.base_url:
        raise ConfigError(f"{purpose} needs a model server.", "Set generator.base_url.")
    given = server_settings(settings)
    warm = given.temperature if temperature is None else temperature
    return ServerModel(replace(given, model=model or given.model, temperature=warm, seed=seed))


def sampling_of(settings: Settings, judges: Sequence[Judge | Grader]) -> dict[str, Any]:
    """What decides the verdicts of judges beside their names: the server's temperature, and generated steps."""
    steps = steps_of(judges)
    warm = {"temperature": settings.generator.temperature, "seed": 0} if settings.generator.base_url else None
    return {"sampling": warm, **({"steps": steps} if steps else {})}


def steps_of(judges: Sequence[Judge | Grader]) -> dict[str, tuple[str, ...]]:
    """The generated steps of those that have any, by the judge's name."""
    found: dict[str, tuple[str, ...]] = {}
    for judge in judges:
        if isinstance(judge, RepeatedJudge):
            judge = judge.judge
        if isinstance(judge, PanelJudge | PanelGrader):
            found |= steps_of(judge.members)
        elif isinstance(judge, GEvalJudge):
            found[judge.name] = judge.steps
    return found


def _check(name: str, known: Sequence[str]) -> None:
    kind, _, model = name.partition("@")
    if kind not in known or (model and kind not in MODELS):
        raise ConfigError(f"There is no judge {name}.", f"Choose from: {', '.join(known)}.")


def _repeated(settings: Settings, name: str, judging: Judging, seed: int) -> RepeatedJudge:
    warm = judging.temperature
    return RepeatedJudge(_build(settings, name, judging, warm, seed), warm, seed)


def _build(settings: Settings, name: str, judging: Judging, temperature: float | None = None, seed: int = 0) -> Judge:
    if name in RULES:
        encoder = build_encoder(settings) if name == "encoder" else None
        return next(judge for judge in rule_judges(encoder) if judge.name == name)
    if name == PANEL:
        return PanelJudge([_build(settings, member, judging, temperature, seed) for member in judging.panel or MODELS])
    return _asked(settings, name, judging, temperature, seed)


def _grader(settings: Settings, name: str, judging: Judging) -> Grader:
    judge = _asked(settings, name, judging)
    assert not isinstance(judge, PairwiseJudge)
    return judge


def _asked(settings: Settings, name: str, judging: Judging, temperature: float | None = None, seed: int = 0) -> Asked:
    kind, _, named = name.partition("@")
    model = judge_model(settings, named, temperature, seed)
    if kind == "geval":
        domain = judging.domain or DOMAINS[0]
        steps = evaluation_steps(judge_model(settings, named), domain, settings.home)
        return GEvalJudge(model, domain, steps)
    if kind == "pairwise":
        return PairwiseJudge(model, Rubric("pairwise-domain-1", judging.domain) if judging.domain else PAIRWISE)
    return PointwiseJudge(model, Rubric("pointwise-domain-1", judging.domain) if judging.domain else POINTWISE)
