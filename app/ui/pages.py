"""Pages of a PDF as HTML: the picture, a box on each line of the quote, and the text for those who need words."""

import base64
from collections.abc import Sequence

from app.ui.markup import escaped
from indexer.loaders.pdf_page import Box, PagePicture


def pages_html(pictures: Sequence[PagePicture], title: str, text: str) -> str:
    """The pages, then `text`: folded away where the words are boxed, in sight where they were not found."""
    leaves = "".join(_leaf_html(picture, title) for picture in pictures)
    if not any(picture.boxes for picture in pictures):
        return f'{leaves}<p class="fn-label">The words were not found in the picture. This is the text:</p>{text}'
    # The text's own mark must not draw the view away from the boxes.
    folded = text.replace(" data-fn-mark", "", 1)
    return f'{leaves}<details class="fn-words"><summary>The words as text</summary>{folded}</details>'


def _leaf_html(picture: PagePicture, title: str) -> str:
    boxes = "".join(_box_html(box) for box in picture.boxes)
    data = base64.b64encode(picture.png).decode()
    named = escaped(f"Page {picture.number} of {title} as it is printed")
    return (
        f'<figure class="fn-leaf"><img src="data:image/png;base64,{data}" width="{picture.width}" '
        f'height="{picture.height}" alt="{named}">{boxes}</figure>'
    )


def _box_html(box: Box) -> str:
    sides = {"left": box.left, "top": box.top, "width": box.width, "height": box.height}
    style = ";".join(f"{name}:{share:.3%}" for name, share in sides.items())
    return f'<span class="fn-box" data-fn-mark style="{style}"></span>'
