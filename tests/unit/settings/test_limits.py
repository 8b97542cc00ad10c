"""The limits on what comes in, as they stand in a configuration or the environment."""

from pathlib import Path

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.settings.load import load_settings


def test_limits_are_read_from_the_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text("max_head_bytes: 8KiB\nbody_timeout: 5s\nmin_upload_rate: 2KiB\nmax_headers: 20\n")
    settings = load_settings(file, {"FOREBAY_MAX_JSON_DEPTH": "40", "FOREBAY_HEAD_TIMEOUT": "3s"})
    assert (settings.max_head_bytes, settings.body_timeout_seconds) == (8192, 5.0)
    assert (settings.min_upload_rate_bytes, settings.max_headers) == (2048, 20)
    assert (settings.max_json_depth, settings.head_timeout_seconds) == (40, 3.0)
    assert settings.max_url_bytes == 16 * 1024


@pytest.mark.parametrize(
    "line",
    ["max_json_depth: 513", "max_headers: 0", "body_timeout: soon", "max_url_bytes: many", "graphql_max_cost: 1.5"],
)
def test_a_limit_that_makes_no_sense_is_refused_with_its_key(tmp_path: Path, line: str) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text(line + "\n")
    with pytest.raises(ConfigurationError, match=line.split(":")[0]):
        load_settings(file, {})
