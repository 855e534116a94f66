"""A viewer built on Cornerstone3D reads our SEG, and the check that says so finds a voxel or a gram that is off."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import check_cornerstone
import numpy as np

ROOT = check_cornerstone.ROOT
BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "debug" / "scargate"
LIBRARY = ROOT / os.environ.get("SCARGATE_TOOLS", ".scargate") / "onnxruntime" / "libonnxruntime.so"


def scargate(*arguments: object) -> None:
    """Runs the command under test."""
    assert BINARY.exists(), f"{BINARY} is not there; run scripts/test.sh build"
    environment = os.environ | {"SCARGATE_INFER__LIBRARY": str(LIBRARY)}
    subprocess.run([BINARY, *map(str, arguments)], check=True, capture_output=True, cwd=ROOT, env=environment)


class Adapters(unittest.TestCase):
    """Real SEGs, under Node."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def phantom(self, *options: str) -> pathlib.Path:
        scargate("phantom", "--out", self.folder, "--seed", 7, "--scar", "lad:0.8:50:mvo", *options)
        return self.folder / "7-0"

    def test_a_result_is_read_and_exported_with_the_same_measures(self):
        dicom, result = self.phantom() / "dicom", self.folder / "result"
        scargate("analyze", dicom, "--out", result)
        measures = json.loads((result / "measures.json").read_text())
        self.assertGreater(measures["scar_mass"]["value"], 0)
        self.assertEqual(check_cornerstone.findings(result / "seg.dcm", dicom, measures), [])

    def test_segments_of_a_multi_frame_source_are_read(self):
        study = self.phantom("--enhanced")
        truth = json.loads((study / "truth" / "truth.json").read_text())
        measures = {"lv_mass": {"value": truth["lv_mass_g"]}, "scar_mass": {"value": truth["scar_mass_g"]}, "burden": {"absent": "x"}}
        self.assertEqual(check_cornerstone.findings(study / "truth" / "truth-seg.dcm", study / "dicom", measures), [])


class Arithmetic(unittest.TestCase):
    """Two segments on three images; the second lies within the first."""

    def setUp(self):
        self.masks = np.zeros((2, 3, 4, 5), dtype=np.uint8)
        self.masks[0, :, 1:3, 1:4] = 1
        self.masks[1, 1, 2, 2] = 1
        self.layers = self.masks * np.array([1, 2], dtype=np.uint8)[:, None, None, None]
        positions = [[0, 0, 0], [0, 6, 8], [0, 12, 16]]
        self.about = {
            "segments": [{"number": 1}, {"number": 2}],
            "overlapping": True,
            "spacing_mm": [2, 1],
            "images": [{"position": position} for position in positions],
        }

    def test_passes_equal_voxels(self):
        self.assertEqual(check_cornerstone.voxel_findings(self.layers, self.about, self.masks), [])

    def test_finds_a_voxel_and_a_lost_overlap(self):
        self.layers[1, 1, 2, 2] = 0
        self.about["overlapping"] = False
        found = check_cornerstone.voxel_findings(self.layers, self.about, self.masks)
        self.assertEqual(found, ["layers: segment 2: 1 pixels differ", "overlapping segments: False, by the masks True"])

    def test_heights_are_half_the_distance_to_both_neighbours(self):
        positions = np.array([[0, 0, 0], [0, 0, 10], [0, 0, 30]], dtype=float)
        np.testing.assert_allclose(check_cornerstone.heights(positions), [10, 15, 20])

    def test_masses_come_from_positions_and_pixel_sizes(self):
        regions = {check_cornerstone.MYOCARDIUM: self.masks[0], check_cornerstone.SCAR: self.masks[1]}
        found = check_cornerstone.masses(regions, self.about)
        # 18 and 1 voxels of 2 x 1 x 10 mm at 1.05 g/mL.
        self.assertAlmostEqual(found["lv_mass"], 18 * 0.02 * 1.05)
        self.assertAlmostEqual(found["scar_mass"], 0.021)
        self.assertAlmostEqual(found["burden"], 100 / 18)

    def test_finds_a_mass_that_differs(self):
        theirs = {"lv_mass": 100.0, "scar_mass": 5.0}
        self.assertEqual(check_cornerstone.measure_findings({"lv_mass": {"value": 100.0}, "scar_mass": {"absent": "x"}}, theirs), [])
        self.assertEqual(len(check_cornerstone.measure_findings({"lv_mass": {"value": 100.001}, "scar_mass": {"value": 5.0}}, theirs)), 1)


if __name__ == "__main__":
    unittest.main()
