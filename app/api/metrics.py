"""What Prometheus reads: requests and their times by route, stages of answers, and how full the lines are."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The figures of one server. Labels are routes and stages, never names of collections or anybody's words."""

    def __init__(self, levels: Mapping[str, Callable[[], float]]) -> None:
        """`levels` are measured when they are read: name of a gauge to what gives its value."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "footnote_requests", "Requests.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "footnote_request_seconds",
            "Time to the end of the answer.",
            ("method", "route"),
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._stages = Histogram(
            "footnote_answer_stage_seconds",
            "Time of each stage of an answer.",
            ("stage",),
            registry=self._registry,
            buckets=_SECONDS,
        )
        for name, level in levels.items():
            Gauge(f"footnote_{name}", name.replace("_", " ").capitalize() + ".", registry=self._registry).set_function(
                level
            )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def answer(self, timings_ms: Mapping[str, float]) -> None:
        """Count the stages of an answer."""
        for stage, took in timings_ms.items():
            self._stages.labels(stage).observe(took / 1000)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
