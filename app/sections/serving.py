"""The keys of the page, the API, their traces and an experiment on them. The docstrings are the reference."""

from typing import Any, Literal

from pydantic import Field, SecretStr

from app.sections.section import Section


class UiSection(Section):
    """The chat page."""

    host: str = "127.0.0.1"
    """Address the page listens on. On any other than this machine's own, readers have to sign in."""

    auth: Literal["auto", "keys"] = "auto"
    """keys asks every reader for an API key or a sign-in; auto does so where sign_in is set up, or others reach the
    page."""

    port: int = Field(default=8501, ge=1, le=65535)
    """Port of the page."""

    max_upload_mb: int = Field(default=64, ge=1)
    """Largest file that can be uploaded."""


class SignInSection(Section):
    """Signing in to the page by OpenID Connect."""

    metadata_url: str = ""
    """The provider's address that ends in /.well-known/openid-configuration; empty for no sign-in."""

    client_id: str = ""
    """The name under which the provider knows this page."""

    client_secret: SecretStr = SecretStr("")
    """What proves it; better given as FOOTNOTE_SIGN_IN__CLIENT_SECRET."""

    redirect_url: str = ""
    """The page's address for its readers, ending in /oauth2callback; empty for http://localhost:PORT/oauth2callback."""

    scopes: str = "openid profile email"
    """What the provider is asked for; some give groups only with a scope of their own."""

    groups_claim: str = "groups"
    """The claim of the ID token that lists a reader's groups; realm_access.roles looks for roles in realm_access."""

    ingest_group: str = ""
    """Members may add, re-sync and delete documents of the collections that they use."""

    admin_group: str = ""
    """Members may do everything, and read everything."""

    session_hours: float = Field(default=12, gt=0)
    """After how long a reader signs in anew, with the groups of then."""


class ServerSection(Section):
    """The HTTP API of `footnote serve`."""

    host: str = "127.0.0.1"
    """Address the API listens on. Any other than this machine's own needs keys: `footnote keys create`."""

    port: int = Field(default=8080, ge=1, le=65535)
    """Port of the API."""

    auth: Literal["auto", "keys"] = "auto"
    """keys asks every request for a key; auto does so as soon as the first key was made."""

    answers: int = Field(default=16, ge=1, le=1024)
    """How many answers are written at once; a model on a processor writes few."""

    searches: int = Field(default=8, ge=1, le=1024)
    """How many searches and embeddings are worked on at once, beside the answers."""

    queue: int = Field(default=64, ge=0)
    """How many more of each may wait for their turn; whoever comes then is told to try again later (503)."""

    wait_s: float = Field(default=60, gt=0)
    """Longest wait for that turn; whoever has waited so long is told to try again later (503)."""

    ingests: int = Field(default=16, ge=1)
    """How many uploads may wait to be indexed; the next is told to try again later (503)."""

    timeout_s: float = Field(default=300, gt=0)
    """Longest time for an answer, its waiting included."""

    shutdown_s: int = Field(default=30, ge=1)
    """How long running answers may go on when the server is told to stop."""

    max_body_mb: float = Field(default=1, gt=0)
    """Largest request that is no upload."""

    max_upload_mb: float = Field(default=256, gt=0)
    """Largest upload, all its files together; indexer.max_file_mb is the limit of one."""

    rate_per_minute: int = Field(default=120, ge=0)
    """How many requests a key may make in a minute; 0 sets no limit."""

    origins: tuple[str, ...] = ()
    """Web pages of other addresses that may call the API from a browser, as ["https://intranet.example.com"]."""


class TelemetrySection(Section):
    """Traces for OpenTelemetry. Without an endpoint nothing is imported, recorded or sent."""

    otlp_endpoint: str = ""
    """Address of an OTLP/HTTP collector, such as http://127.0.0.1:4318; needs `pip install footnote[telemetry]`."""

    content: bool = False
    """Whether spans also carry the text of questions, passages and answers."""


class ExperimentSection(Section):
    """Two settings served side by side, each to a share of the conversations; `footnote eval ab` compares them."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    """What it is called; empty runs none. Another name draws the conversations anew."""

    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the conversations that get the overrides (arm b); the others get the settings as they are (arm a)."""

    overrides: dict[str, Any] = Field(default={})
    """What arm b has otherwise: keys of retriever and generator (but api_key), as {retriever.dense_weight=0.4,
    generator.passages=8}, or one a line under [experiment.overrides]."""
