from waldo.datasets.storage.index_allocator import IndexAllocator


def allocator(highest: int, used: set[int]) -> IndexAllocator:
    return IndexAllocator(lambda: highest, used.__contains__)


def test_indices_follow_the_highest_one_ever_used() -> None:
    assert allocator(-1, set()).peek() == 0
    assert allocator(7, set()).peek() == 8


def test_index_of_a_discarded_episode_is_used_again() -> None:
    used: set[int] = set()
    indices = allocator(2, used)
    used.add(indices.peek())
    indices.confirm(3)
    assert indices.peek() == 4
    used.remove(3)
    assert (indices.peek(), indices.peek()) == (3, 3)


def test_only_the_last_index_is_freed() -> None:
    used = {0, 1}
    indices = allocator(-1, used)
    indices.confirm(0)
    indices.confirm(1)
    used.remove(0)
    assert indices.peek() == 2


def test_folder_is_listed_once() -> None:
    calls: list[int] = []

    def highest() -> int:
        calls.append(1)
        return 4

    indices = IndexAllocator(highest, lambda _: True)
    for index in range(5, 15):
        assert indices.peek() == index
        indices.confirm(index)
    assert len(calls) == 1


def test_reserved_indices_are_consecutive_and_not_freed() -> None:
    indices = allocator(-1, set())
    indices.confirm(indices.peek())
    indices.confirm(indices.peek() + 4)
    assert indices.reserve(3) == range(4, 7)
    assert indices.peek() == 7
