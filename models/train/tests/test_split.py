"""The split is honest: no case twice, the rule reproduces it, sizes as promised."""

from pathlib import Path

import pytest

from scargate_train import split
from scargate_train.common import config

FILE = Path(__file__).parents[1] / "split.toml"


def test_no_case_is_in_two_sets():
    sets = split.read(FILE)
    everything = sets["locked"] + [c for fold in sets["folds"] for c in fold]
    assert len(everything) == len(set(everything)) == 72
    assert len(sets["locked"]) == 12
    assert [len(f) for f in sets["folds"]] == [12] * 5


def test_a_case_in_two_sets_is_refused(tmp_path):
    bad = tmp_path / "split.toml"
    split.write({"locked": [1, 2], "folds": [[3], [2]]}, bad)
    with pytest.raises(ValueError, match="two sets"):
        split.read(bad)


def test_the_rule_needs_no_order_and_keeps_strata_apart():
    scar = {c: (None if c % 3 == 0 else c / 100) for c in range(1, 73)}
    made = split.make(scar)
    assert made == split.make(dict(reversed(scar.items())))
    assert sum(scar[c] is None for c in made["locked"]) == split.LOCKED["normal"]
    for fold in made["folds"]:
        assert 3 <= sum(scar[c] is None for c in fold) <= 5


def test_the_order_inside_a_stratum_is_a_hash():
    assert split.key(17) == split.key(17) != split.key(18)


def test_every_fold_is_in_one_cross_validation_group():
    assert sorted(f for group in config("myocardium")["groups"] for f in group) == list(range(split.FOLDS))
