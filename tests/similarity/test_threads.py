"""How many threads numpy's products take: each more would spin after every product."""

import os
import subprocess
import sys

import pytest

PRODUCT = """
import {first}, os
import numpy as np
many = np.ones((2000, 384), np.float32)
many @ many.T
print(len(os.listdir("/proc/self/task")))
"""


def threads(first, **environ):
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | environ
    done = subprocess.run(
        [sys.executable, "-c", PRODUCT.format(first=first)], env=env, capture_output=True, check=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("package", ["bot.__main__", "bot.similarity.history"])
def test_products_of_the_service_take_one_thread(package):
    assert threads(package) == 1


def test_an_operator_may_want_more():
    assert threads("bot.core.scoring", OPENBLAS_NUM_THREADS="3") == threads("json", OPENBLAS_NUM_THREADS="3")
