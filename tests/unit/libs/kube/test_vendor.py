"""What is imported of the vendor's client, in a process of its own."""

import subprocess
import sys

COUNT = """
import sys
import libs.kube.client
names = [it for it in sys.modules if it.startswith("kubernetes_asyncio")]
print(len([it for it in names if ".models." in it or ".api." in it]), len(names))
"""


def test_no_model_of_any_api_group_is_imported() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True
    ).stdout
    models, modules = map(int, answer.split())
    assert models == 0
    assert 5 < modules < 30
