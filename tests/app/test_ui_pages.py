"""Printed pages beside the chat: the picture, its boxes, and the words for those who need words."""

import base64

from app.ui.pages import pages_html
from indexer.loaders.pdf_page import Box, PagePicture

TEXT = '<div class="fn-text"><mark class="fn-quote" data-fn-mark>high</mark></div>'


def test_a_page_has_a_box_for_each_line_and_folds_its_text() -> None:
    boxes = (Box(0.25, 0.5, 0.125, 0.02), Box(0.1, 0.52, 0.2, 0.02))
    html = pages_html([PagePicture(2, b"png", 1000, 1414, boxes)], 'The "light"', TEXT)
    assert f'src="data:image/png;base64,{base64.b64encode(b"png").decode()}"' in html
    assert 'alt="Page 2 of The &quot;light&quot; as it is printed"' in html
    assert 'style="left:25.000%;top:50.000%;width:12.500%;height:2.000%"' in html
    assert html.count("fn-box") == 2
    assert html.count("data-fn-mark") == 2, "the view goes to the boxes, not to the folded text"
    assert "<details" in html and '<mark class="fn-quote">high</mark>' in html


def test_words_that_are_not_in_the_picture_are_shown_as_text() -> None:
    html = pages_html([PagePicture(2, b"png", 1000, 1414, ())], "The light", TEXT)
    assert "were not found in the picture" in html and html.endswith(TEXT)
    assert "<details" not in html
