"""Songs that trainers' requests are about."""

import numpy as np
import pytest
import soundfile

SR = 16000


@pytest.fixture(scope="package")
def songs(tmp_path_factory):
    """A folder with two tones, 200.flac and 300.flac."""
    folder = tmp_path_factory.mktemp("songs")
    for hertz in (200, 300):
        soundfile.write(folder / f"{hertz}.flac", 0.3 * np.sin(2 * np.pi * hertz * np.arange(SR) / SR), SR)
    return folder
