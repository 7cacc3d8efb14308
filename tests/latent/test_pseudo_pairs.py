from __future__ import annotations

import torch
from torch import Tensor

from dife_lightning.latent.pseudo_pairs import PairBank, PseudoPairs


def pairs_of(numbers: list[int]) -> PseudoPairs:
    """Pairs whose images and latents hold their number."""
    n = torch.tensor(numbers, dtype=torch.float32)
    image, w, cells = n.view(-1, 1, 1, 1).expand(-1, 3, 2, 2), n.view(-1, 1, 1), n.view(-1, 1, 1)
    return PseudoPairs(image, image, w, w, n.long(), n, n, n, cells, torch.zeros(len(n), 2, 1, 1))


def drawn(bank: PairBank, count: int, part: int) -> list[int]:
    kind = next(iter(bank.pairs))
    return bank.sample(kind, count, torch.Generator().manual_seed(4), part).index.tolist()


def test_parts_of_a_step_share_no_pair_while_the_bank_has_enough() -> None:
    bank = PairBank(12)
    bank.add(("human", "dog"), pairs_of(list(range(12))))
    parts = [drawn(bank, 3, part) for part in range(4)]
    assert sorted(number for part in parts for number in part) == list(range(12))
    assert drawn(bank, 3, 4) == parts[0]


def test_a_small_bank_is_drawn_equally_often() -> None:
    bank = PairBank(3)
    bank.add(("human", "dog"), pairs_of([0, 1, 2]))
    found = [number for part in range(3) for number in drawn(bank, 5, part)]
    assert [found.count(number) for number in range(3)] == [5, 5, 5]


def test_a_bank_comes_back_whatever_the_names_of_its_domains() -> None:
    kinds = [("a", "b+c"), ("a+b", "c"), ("red panda", "é%2B"), ("human", "human")]
    bank, again = PairBank(4), PairBank(4)
    for number, kind in enumerate(kinds):
        bank.add(kind, pairs_of([number]))

    def render(domain: str, w: Tensor) -> Tensor:
        return w[..., None].expand(-1, 3, 2, 2)

    again.restore(bank.state(), render)
    assert list(again.pairs) == kinds
    assert [int(pairs.index) for pairs in again.pairs.values()] == [0, 1, 2, 3]


def test_a_bank_of_version_0_1_comes_back() -> None:
    bank, again = PairBank(4), PairBank(4)
    bank.add(("human", "dog"), pairs_of([7]))
    (state,) = bank.state().values()
    again.restore(
        {"human+dog": state | {"residual": torch.zeros(1, 2, 2)}}, lambda domain, w: w[..., None].expand(-1, 3, 2, 2)
    )
    assert list(again.pairs) == [("human", "dog")]
