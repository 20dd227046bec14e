"""POST /v1/embeddings: the encoder behind OpenAI's protocol."""

import base64

from fastapi import APIRouter

from app.api.access import Reader
from app.api.errors import ApiError, described
from app.api.library import Library
from app.api.protocol import Embedding, EmbeddingList, EmbeddingRequest, EmbeddingUsage, extras
from app.api.service import Served
from app.caller import Caller
from indexer.encoder import Vectors

router = APIRouter(tags=["openai"])


@router.post("/v1/embeddings", responses=described(404, 409, 502, 503, 504))
async def embed(body: EmbeddingRequest, caller: Reader, service: Served) -> EmbeddingList:
    """Encode texts as a collection's passages were encoded."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(text.strip() for text in texts):
        raise ApiError(400, "A blank text has no vector.", param="input", code="invalid")
    return await service.searches.run(lambda: _embed(service.library, caller, body, texts), service.section.timeout_s)


def _embed(library: Library, caller: Caller, body: EmbeddingRequest, texts: list[str]) -> EmbeddingList:
    encoder = library.encoder_of(caller, body.model)
    wanted = extras(body).get("dimensions", encoder.dim)
    if wanted != encoder.dim:
        raise ApiError(
            400, f"The vectors have {encoder.dim} numbers (encoder.dim).", param="dimensions", code="unsupported"
        )
    vectors = encoder.encode(texts, body.instruction)
    tokens = sum(encoder.count_tokens(texts))
    data = [
        Embedding(index=index, embedding=_written(vector, body.encoding_format)) for index, vector in enumerate(vectors)
    ]
    return EmbeddingList(data=data, model=body.model, usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens))


def _written(vector: Vectors, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return [float(number) for number in vector]
