"""The state of a training: taken up as it was saved, and refused when another version saved it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch

from foretaste.data.errors import ForetasteError
from foretaste.finetune.runs import Run
from foretaste.finetune.states import memory, named, remember, taken_up


@dataclass
class Course:
    step: int = 0
    best: float = 0.5


def test_a_course_is_taken_up_where_it_was(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert taken_up(run, True, Course()) == (Course(), {})
    run.save_state({"net.w": torch.ones(2)}, {"course": asdict(Course(7, 0.9))})
    course, tensors = taken_up(run, True, Course())
    assert course == Course(7, 0.9)
    assert named(tensors, "net.")["w"].tolist() == [1, 1]
    assert taken_up(run, False, Course()) == (Course(), {})


def test_the_state_of_another_version_is_one_sentence(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save_state({"net.w": torch.ones(1)}, {"course": {"batches": 3}})
    with pytest.raises(ForetasteError, match="another version"):
        taken_up(run, True, Course())


def test_an_optimizer_remembers_what_another_had_in_mind() -> None:
    ways = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    one, other = (torch.optim.AdamW([way], lr=0.1) for way in ways)
    ways[0].grad = torch.tensor([1.0, -1.0])
    one.step()
    remember(other, memory(one))
    assert memory(other).keys() == memory(one).keys()
    assert torch.equal(memory(other)["0.exp_avg"], memory(one)["0.exp_avg"])
