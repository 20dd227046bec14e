"""`migrate`: moving a collection's index between files and a Milvus."""

from dataclasses import asdict

from app.display import count, note, progress, show
from app.door import emit
from app.settings import Settings
from app.wiring import open_collection
from indexer.migrate import migrate, parse_target


def run_migrate(settings: Settings, name: str, to: str, as_json: bool) -> None:
    """Move the index and say where it is now.

    Raises:
        ConfigError: the address is not valid, or the packages are missing.
        IndexError_: nobody answers there, or the server refuses.
    """
    target = parse_target(to)
    collection = open_collection(settings, name)
    with progress() as meter:

        def tell(done: int, total: int, left_s: float | None) -> None:
            meter("Writing chunks", done, total, left_s)

        moved = migrate(collection, target, tell, on_wait=note, timeout_s=settings.indexer.lock_wait_s)
    if as_json:
        return emit({"collection": name} | asdict(moved))
    if moved.resumed_after:
        show(f"A run that was cut off was continued behind chunk {moved.resumed_after:,}.")
    done = f"{count(moved.written, 'chunk')} written, nothing encoded" if moved.written else "nothing was to be written"
    return show(
        f"Collection '{name}' ({count(moved.chunks, 'chunk')}) now answers from {moved.place}: {done}", wrap=False
    )
