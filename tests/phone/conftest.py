import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ExecuTorch warns of its own experimental parts when it is imported
    pytest.importorskip("executorch.runtime", reason="ExecuTorch is not installed: pip install -e '.[phone]'")
