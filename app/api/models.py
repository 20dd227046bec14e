"""GET /v1/models: a model for each collection."""

from datetime import datetime

from fastapi import APIRouter

from app.api.access import Reader
from app.api.errors import described
from app.api.protocol import Model, ModelList
from app.api.service import Served
from indexer.reading import Reading

router = APIRouter(tags=["openai"])


@router.get("/v1/models", responses=described())
def list_models(caller: Reader, service: Served) -> ModelList:
    """List the collections that can be asked."""
    names = service.library.names(caller)
    return ModelList(data=[_model(service.library.reading(caller, name)) for name in names])


@router.get("/v1/models/{model}", responses=described(404, 409))
def get_model(model: str, caller: Reader, service: Served) -> Model:
    """Look one of them up."""
    return _model(service.library.reading(caller, model))


def _model(reading: Reading) -> Model:
    manifest = reading.manifest
    return Model(
        id=reading.name, created=int(datetime.fromisoformat(manifest.created_at).timestamp()) if manifest else 0
    )
