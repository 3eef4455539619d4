import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ExecuTorch warns of its own experimental parts when it is imported
    pytest.importorskip("executorch.runtime", reason="ExecuTorch is not installed: pip install -e '.[phone]'")


@pytest.fixture(scope="session")
def operators(tmp_path_factory):
    """The operators for this machine; one library a process, because operators can be registered only once."""
    from mmoe_embed.executorch.library import build_operators

    return build_operators(tmp_path_factory.mktemp("operators"))
