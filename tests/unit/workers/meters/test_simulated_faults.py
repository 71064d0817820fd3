"""The file that states what is wrong with simulated devices: read as it is now, and refused where it makes no sense."""

from pathlib import Path

import pytest

from farm.domain import RequestError
from workers.meters.simulated.faults import FILE, Faults, of_device


def test_each_device_has_its_own(home: Path) -> None:
    assert of_device("a100", 0) == Faults()
    home.mkdir(exist_ok=True)
    (home / FILE).write_text('[a100-0]\ndriver = "580.1"\nenergy_factor = 2\n[a100-1]\nfails = "the fan is stuck"\n')
    assert of_device("a100", 0) == Faults(driver="580.1", energy_factor=2)
    assert of_device("a100", 1).fails == "the fan is stuck"
    assert of_device("h100", 0) == Faults()


@pytest.mark.parametrize(
    "text",
    [
        "[a100-0]\nenergy_factor = '1.1'\n",
        "[a100-0]\nfails = true\n",
        "[a100-0]\nspeed = 2\n",
        "a100-0 = 1\n",
        "[a100-0\n",
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_file(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / FILE).write_text(text)
    with pytest.raises(RequestError, match=f"{FILE}: .*driver, energy_factor, fails") as refused:
        of_device("a100", 0)
    assert "\n" not in str(refused.value)
