"""What holds for all tests."""

import gc

# As hangdiag itself does (hangdiag/__main__.py): captures are trees of many small values without cycles.
gc.set_threshold(200_000, 50, 100)
