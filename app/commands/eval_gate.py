"""What a run must reach for the command to succeed: floors, and a run that it must not fall behind."""

from collections.abc import Sequence
from dataclasses import dataclass

import typer

from app.display import note
from app.settings import Settings
from eval.compare import compare_runs
from eval.judgements import failures, first_failure
from eval.metrics import check_measures
from eval.retrieval import DEPTH
from eval.run import Run, load_run
from eval.summary import LOWER_IS_BETTER, METRIC_ORDER, summarise
from indexer.errors import ConfigError

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Floor:
    """The least mean of a metric; in every variant of the run, or in one."""

    variant: str | None
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Floors and a baseline. Without either, only failed cases fail a run."""

    floors: tuple[Floor, ...] = ()
    baseline: Run | None = None

    @staticmethod
    def read(settings: Settings, floors: Sequence[str], baseline: str | None) -> "Gate":
        """Read the options before anything is evaluated.

        Raises:
            DatasetError: there is no such run.
        """
        return Gate(tuple(map(_floor, floors)), load_run(settings.home, baseline) if baseline else None)

    def close(self, run: Run) -> list[str]:
        """Tell on stderr what does not hold, and give it."""
        broken = [*self._failed(run), *self._below(run), *self._worse(run)]
        for line in broken:
            note(line)
        return broken

    def _failed(self, run: Run) -> list[str]:
        return [*self._failed_cases(run), *self._failed_judgements(run)]

    def _failed_judgements(self, run: Run) -> list[str]:
        failed, first = failures(run.records), first_failure(run.records)
        if not first:
            return []
        told = ", ".join(f"{metric} on {sum(types.values())}" for metric, types in failed.items())
        what = f"The judge failed: {told}; the first, {first[0]}: {first[1]}"
        return [f"{what} The means are without them. The same command tries only these again."]

    def _failed_cases(self, run: Run) -> list[str]:
        errors = [record for record in run.records if record.error]
        if not errors:
            return []
        first = errors[0]
        what = f"{len(errors)} of {len(run.records)} cases failed; the first, {first.case_id}: {first.message}"
        return [f"{what} The means are without them. The same command tries only these again."]

    def _below(self, run: Run) -> list[str]:
        variants = summarise(run)["variants"]
        broken = []
        for floor in self.floors:
            for variant, metrics in variants.items():
                if floor.variant not in (None, variant):
                    continue
                mean = metrics[floor.metric]["mean"] if floor.metric in metrics else None
                name = f"{variant}.{floor.metric}" if variant else floor.metric
                if mean is None:
                    broken.append(f"{name} was to be at least {floor.value}, and no case of the run has it.")
                elif mean < floor.value:
                    broken.append(f"{name} is {mean:.4f}, below {floor.value}.")
            if floor.variant is not None and floor.variant not in variants:
                broken.append(f"{floor.variant}.{floor.metric} has a floor, and {floor.variant} was not evaluated.")
        return broken

    def _worse(self, run: Run) -> list[str]:
        if self.baseline is None:
            return []
        broken = []
        for comparison in compare_runs(self.baseline, run)["comparisons"]:
            if comparison["unlike"]:
                note(
                    f"Not compared with {self.baseline.id}: {', '.join(comparison['unlike'])}; judged otherwise there."
                )
            for metric, test in comparison["metrics"].items():
                worse_by = test["difference"] * (1 if metric in LOWER_IS_BETTER else -1)
                if worse_by > 0 and test["p_holm"] < LEVEL:
                    name = f"{comparison['variants'][1]}.{metric}".lstrip(".")
                    change = f"{test['mean_a']:.4f} -> {test['mean_b']:.4f}, p = {test['p_holm']:.4f}"
                    broken.append(f"{name} is worse than in {self.baseline.id}: {change} after Holm's correction.")
        return broken


def _floor(text: str) -> Floor:
    name, _, value = text.partition("=")
    variant, _, metric = name.strip().rpartition(".")
    try:
        floor = Floor(variant or None, metric, float(value))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not METRIC=VALUE", param_hint="--fail-below") from None
    if metric not in METRIC_ORDER:
        try:
            check_measures([metric], DEPTH)
        except ConfigError:
            said = f"{metric!r} is no measure and none of {', '.join(METRIC_ORDER)}"
            raise typer.BadParameter(said, param_hint="--fail-below") from None
    return floor
