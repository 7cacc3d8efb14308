from __future__ import annotations

import math

import pytest
import torch

from dife_lightning.losses.distillation import distillation_loss


def slow(student: torch.Tensor, teacher: torch.Tensor, valid: torch.Tensor, reduction: str) -> float:
    total, count = 0.0, 0
    for b in range(student.shape[0]):
        for y in range(student.shape[2]):
            for x in range(student.shape[3]):
                if valid[b, y, x]:
                    total += math.dist(student[b, :, y, x].tolist(), teacher[b, :, y, x].tolist())
                    count += 1
    return total / count if reduction == "mean" else total / student.shape[0]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_equals_the_loop_over_pixels(reduction: str) -> None:
    student, teacher = torch.randn(2, 3, 5, 4, 6, generator=torch.Generator().manual_seed(1))
    valid = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(2)) > 0.4
    got = distillation_loss(student, teacher, valid, reduction)  # type: ignore[arg-type]
    assert got.item() == pytest.approx(slow(student, teacher, valid, reduction), rel=1e-5)


def test_a_constant_offset_of_3_and_4_is_5() -> None:
    student = torch.zeros(1, 2, 3, 3)
    teacher = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert distillation_loss(student, teacher).item() == pytest.approx(5.0)
    assert distillation_loss(student, teacher, reduction="sum").item() == pytest.approx(45.0)


def test_masked_pixels_change_neither_value_nor_gradient() -> None:
    student = torch.randn(1, 4, 3, 3, requires_grad=True)
    teacher, valid = torch.randn(1, 4, 3, 3), torch.ones(1, 3, 3, dtype=torch.bool)
    valid[0, 1, 2] = False
    loss = distillation_loss(student, teacher, valid)
    loss.backward()
    assert student.grad is not None
    assert student.grad[0, :, 1, 2].abs().sum() == 0
    spoiled = teacher.clone()
    spoiled[0, :, 1, 2] = 1e6
    assert distillation_loss(student, spoiled, valid).item() == loss.item()


def test_gradient_is_finite_where_student_equals_teacher() -> None:
    student = torch.ones(1, 2, 2, 2, requires_grad=True)
    distillation_loss(student, torch.ones(1, 2, 2, 2)).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_the_teacher_gets_no_gradient() -> None:
    teacher = torch.randn(1, 2, 2, 2, requires_grad=True)
    distillation_loss(torch.zeros(1, 2, 2, 2, requires_grad=True), teacher).backward()
    assert teacher.grad is None


def test_an_empty_mask_gives_zero_and_not_nan() -> None:
    valid = torch.zeros(1, 2, 2, dtype=torch.bool)
    assert distillation_loss(torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2), valid).item() == 0


def test_loss_is_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = distillation_loss(torch.randn(1, 2, 2, 2).bfloat16(), torch.randn(1, 2, 2, 2).bfloat16())
    assert loss.dtype == torch.float32
