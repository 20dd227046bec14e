"""GET /v1/models: a model for each collection."""

from datetime import datetime

from fastapi import APIRouter

from app.api.access import Reader
from app.api.errors import described
from app.api.library import Library
from app.api.protocol import Model, ModelList
from app.api.service import Served

router = APIRouter(tags=["openai"])


@router.get("/v1/models", responses=described())
def list_models(caller: Reader, service: Served) -> ModelList:
    """List the collections that can be asked."""
    names = [name for name in service.library.names() if caller.may_use(name)]
    return ModelList(data=[_model(service.library, name) for name in names])


@router.get("/v1/models/{model}", responses=described(404, 409))
def get_model(model: str, caller: Reader, service: Served) -> Model:
    """Look one of them up."""
    caller.check(model)
    return _model(service.library, model)


def _model(library: Library, name: str) -> Model:
    manifest = library.collection(name).manifest
    return Model(id=name, created=int(datetime.fromisoformat(manifest.created_at).timestamp()) if manifest else 0)
