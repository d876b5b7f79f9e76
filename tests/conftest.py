"""What holds for all tests."""

import gc
import os
import sys

# As hangdiag itself does (hangdiag/__main__.py): captures are trees of many small values without cycles.
gc.set_threshold(200_000, 50, 100)

# What pytest makes of the assertions in tests and in hypothesis may be kept: to make it again takes each worker seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Other packages' strategies: trio's, which comes with selenium, takes long to import.
os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")
