"""What a server has loaded is left alone by the garbage collector."""

import gc
import weakref

from app.resident import keep_loaded


class Ring:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_alive_is_left_alone_and_what_comes_later_is_freed() -> None:
    kept = Ring()
    try:
        keep_loaded()
        assert gc.get_freeze_count() > 0
        assert not any(found is kept for found in gc.get_objects())
        later = weakref.ref(Ring())
        gc.collect()
        assert later() is None
    finally:
        gc.unfreeze()
    assert any(found is kept for found in gc.get_objects())
