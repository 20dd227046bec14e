"""What a server has loaded stays until it ends."""

import gc


def keep_loaded() -> None:
    """Take everything that is alive now out of what the garbage collector looks through.

    Models and their libraries are a third of a million objects. A full collection takes .15 s over them, in which no
    thread runs, and Streamlit asks for one after every touch of a page.
    """
    gc.collect()
    gc.freeze()
