"""Code that a model wrote runs only where the policy allows it, and there without network, secrets or end."""

import os
import sys
import time

import pytest

from checks.generated_code import CodeJudge, environment
from checks.isolation import Limits
from gate.errors import ConfigErrors
from gate.records import Response, TaskSpec, Trust

SPEC = TaskSpec("target", "mini_code")
linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


@pytest.fixture(scope="module")
def leaf():
    """The task that runs code, opened with trust; one child judges all documents of this file."""
    from checks import open_tasks
    from gate.records import Policy

    folder = os.path.join(os.path.dirname(__file__), "tasks")
    policy = Policy((), (SPEC,), include=(folder,), trust=Trust(generated_code=True))
    os.environ["FTGATE_TEST_TOKEN"] = "hf_secret"
    (opened,) = open_tasks((SPEC,), policy)
    leaf = opened.build(None).leaves[0]
    limits = Limits(seconds=2.0, memory_bytes=256 * 2**20)
    object.__setattr__(leaf, "judge", CodeJudge(SPEC, policy, None, leaf.name, leaf.choice, limits))
    yield leaf
    del os.environ["FTGATE_TEST_TOKEN"]


def value(leaf, code, position=0):
    return leaf.evaluate(position, [Response(text=code)]).values["pass@1,create_test"]


def test_refused_without_trust(opened):
    """The policy must say `generated_code: true`; the problem says so, and the task's code is not loaded."""
    sys.modules.pop(str(os.path.join(os.path.dirname(__file__), "tasks", "unsafe")), None)
    with pytest.raises(ConfigErrors) as caught:
        opened(SPEC)
    assert "generated_code: true" in caught.value.problems[0].hint
    assert not any(name.endswith("tasks/unsafe") for name in sys.modules)


def test_environment_is_an_allow_list():
    """No token of the parent's reaches the child."""
    kept = environment({"PATH": "/bin", "HF_TOKEN": "hf_x", "GITHUB_TOKEN": "y", "HF_HOME": "/h"})
    assert kept["PATH"] == "/bin"
    assert kept["HF_HOME"] == "/h"
    assert not {"HF_TOKEN", "GITHUB_TOKEN"} & kept.keys()


@linux
def test_right_and_wrong_code(leaf):
    """The task's own metric decides, per document."""
    assert value(leaf, "answer = 1") == 1.0
    assert value(leaf, "answer = 1", position=1) == 0.0
    assert value(leaf, "raise SystemError") == 0.0


@linux
@pytest.mark.parametrize(
    "harm",
    [
        "import socket; socket.create_connection(('127.0.0.1', PORT), 2).close()",
        "import os; os.environ['FTGATE_TEST_TOKEN']",
        "with open('/proc/PARENT/environ') as file: file.read()",
        "with open('WORK/escaped', 'w') as file: file.write('x')",
        "import os; os.kill(PARENT, 0)",
        "import os; assert os.listdir('/run')",
        "import ctypes; m = ctypes.CDLL(None).umount2(b'/dev/shm', 2); assert m == 0",
        "import ctypes, os; m = ctypes.CDLL(None).umount2(b'/run', 2); assert m == 0 and os.listdir('/run')",
    ],
    ids=[
        "network",
        "environment",
        "parent's environment",
        "disk",
        "processes",
        "services",
        "mounts",
        "hidden",
    ],
)
def test_harm_is_out_of_reach(leaf, harm, tmp_path):
    """What the code tries raises, so that `answer` is never set; without the harm it is."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        code = harm.replace("PORT", str(server.getsockname()[1])).replace("PARENT", str(os.getpid()))
        code = code.replace("WORK", str(tmp_path))
        scope = {}
        if "umount" not in harm and ("/run" not in harm or os.listdir("/run")):
            exec(code.replace("escaped", "here"), scope)  # the harm is real: here it succeeds
        assert value(leaf, f"{code}\nanswer = 1") == 0.0
    assert not (tmp_path / "escaped").exists()


@linux
@pytest.mark.parametrize(
    "bomb",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "x = 'x' * 2**33",
        "x = []\nwhile True: x.append('x' * 2**22)",
        "import os, time\nfor _ in range(5): os.fork()\ntime.sleep(1000)",
        "import os; os.kill(os.getpid(), 9); os._exit(0)",
        "open('big', 'wb').write(bytes(2**25)); raise SystemExit",
    ],
    ids=["loop", "sleep", "memory at once", "memory", "forks", "death", "disk"],
)
def test_bombs_end_and_count_as_wrong(leaf, bomb):
    """Within the limits, with everything that was started."""
    started = time.monotonic()
    assert value(leaf, f"{bomb}\nanswer = 1") == 0.0
    assert time.monotonic() - started < 30
    assert value(leaf, "answer = 1") == 1.0
