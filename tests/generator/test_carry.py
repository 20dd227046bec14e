"""Evidence of the turn before: it takes the place of what says less of the question, and no other."""

from collections.abc import Callable
from dataclasses import replace

from generator.carry import carry
from retriever.hit import Hit


def found(*hits: Hit) -> tuple[Hit, ...]:
    return tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1))


def test_it_takes_the_last_place_that_says_less(hit: Callable[..., Hit]) -> None:
    tower, tea, boat = hit("The lighthouse tower is tall.", 0), hit("Tea is green.", 50), hit("Boats float.", 90)
    keeper = hit("The keepers left the lighthouse in 1989.", 200)
    hits = carry(found(tower, tea, boat), [keeper], "When did the keepers leave the lighthouse?", 3)
    assert [h.chunk for h in hits] == [tower.chunk, tea.chunk, keeper.chunk]
    assert [h.rank for h in hits] == [1, 2, 3]
    assert hits[2].stage == "carried"
    assert hits[2].parts["carried"].score == hits[2].score > 0


def test_what_says_more_stays(hit: Callable[..., Hit]) -> None:
    hits = found(hit("The keepers left the lighthouse in 1989.", 0), hit("The keepers left.", 50))
    assert carry(hits, [hit("A lighthouse.", 90)], "When did the keepers leave the lighthouse?", 2) == hits


def test_a_free_place_is_taken_and_nothing_is_given_twice(hit: Callable[..., Hit]) -> None:
    tower = hit("The lighthouse tower is tall.", 0)
    keeper, noise = hit("The keepers left.", 50), hit("Tea is green.", 90)
    hits = carry(found(tower), [tower, noise, keeper], "Which keepers left the tower?", 3)
    assert [h.chunk for h in hits] == [tower.chunk, keeper.chunk]
    assert carry((), [], "Who?", 3) == ()
