"""The JSON of every sample against the published schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from hangdiag.diagnosis import diagnose
from hangdiag.readers.files import read_paths
from hangdiag.report.json import as_data, as_json
from tests.traces import KNOWLEDGE, MATCHER

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads((ROOT / "docs" / "schema" / "hangdiag-1.schema.json").read_text())
VALIDATOR = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
SAMPLES = sorted(path for path in (ROOT / "samples").iterdir() if path.suffix in (".txt", ".tar"))


def test_the_schema_is_one():
    VALIDATOR.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample(path):
    diagnoses = [diagnose(capture, KNOWLEDGE, MATCHER) for capture in read_paths([str(path)], None)]
    data = as_data(diagnoses)
    VALIDATOR.validate(data)
    assert json.loads(as_json(diagnoses)) == data


def test_the_schema_rejects_what_is_wrong():
    diagnoses = [diagnose(capture, KNOWLEDGE, MATCHER) for capture in read_paths([str(SAMPLES[0])], None)]
    data = as_data(diagnoses)
    data["threads"][0]["wait"]["kind"] = "nonsense"
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(data)
