"""The arithmetic of the table of golden studies, and that a turned image is the same image in space."""

import pathlib
import tempfile
import unittest

import conformance
import golden
import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

TRUTH = {
    "lv_mass_g": 100.0, "scar_mass_g": 10.0, "burden_percent": 10.0, "pixel_mm": 1.4, "spacing_mm": 10.0,
    "base_to_apex": [0.6, 0.0, -0.8],
    "segments": [{"segment": 1, "transmurality_percent": 20.0}, {"segment": 2, "transmurality_percent": 0.0}, {"segment": 3, "transmurality_percent": 5.0}],
}


def measures(lv: float, scar: dict, means: list[float | None]) -> dict:
    """Measures with one segment per mean, absent for None."""
    values = [{"absent": "x"} if mean is None else {"value": {"mean": mean}} for mean in means]
    segments = [{"segment": n, "transmurality": value} for n, value in enumerate(values, 1)]
    directions = {"value": {"source": "found"}}
    return {
        "lv_mass": {"value": lv}, "scar_mass": scar, "burden": {"absent": "image-quality"},
        "segments": {"segments": segments, "directions": directions},
    }


class Figures(unittest.TestCase):
    def setUp(self):
        self.one = golden.figures(TRUTH, measures(96.0, {"value": 13.0}, [26.0, 1.0, None]))
        self.other = golden.figures(TRUTH, measures(101.0, {"absent": "missing-slice"}, [None, None, None]))

    def test_error_is_the_mean_over_segments_with_a_value(self):
        self.assertEqual((self.one["error"], self.one["segments"]), (3.5, 2))
        self.assertEqual((self.other["error"], self.other["segments"]), (None, 0))

    def test_absent_values_show_their_reason_and_no_number(self):
        self.assertEqual(golden.cells(self.other)[1:], ["100.0 → 101.0", "10.0 → missing-slice", "10.0 → image-quality", "none"])
        self.assertEqual(golden.cells(self.one)[0], "1.40 mm, planes 10.0 mm, tilt 37°")

    def test_summary_counts_who_was_measured(self):
        lines = golden.summary([self.one, self.other, None])
        self.assertEqual(lines[0], "- LV mass: off by 2.5 g on average, 4.0 in the worst phantom (2 of 3 phantoms)")
        self.assertEqual(lines[1], "- LGE mass: off by 3.0 g on average, 3.0 in the worst phantom (1 of 3 phantoms)")
        self.assertEqual(lines[2], "- transmurality by segment: off by 3.5 points on average, 3.5 in the worst phantom (1 of 3 phantoms)")

    def test_report_has_every_phantom(self):
        cases = [golden.Case("--seed 1"), golden.Case("--seed 2", "turned")]
        text = conformance.report(cases, [("measured", self.one, []), ("not drawn", None, ["no"])], 19)
        self.assertEqual(text.count("`--seed 1`"), 2)
        self.assertIn("| `--seed 2, turned` |  | not measured |", text)
        self.assertIn("| `--seed 2, turned` | not drawn | no |", text)


class Twins(unittest.TestCase):
    def test_finds_a_turned_study_that_measures_otherwise(self):
        cases = [golden.Case("--seed 1"), golden.Case("--seed 1", "turned"), golden.Case("--seed 1", "mirrored"), golden.Case("--seed 2", "turned")]
        masses = [96.0, 96.05, 96.2, 50.0]
        all_found = [golden.figures(TRUTH, measures(mass, {"absent": "x"}, [])) for mass in masses]
        found = golden.twin_findings(cases, all_found)
        self.assertEqual(found, [[], [], ["mirrored: lv_mass 96.2, as drawn 96.0"], []])
        all_found[1] = golden.figures(TRUTH, measures(96.0, {"value": 3.0}, []))
        self.assertEqual(golden.twin_findings(cases, all_found)[1], ["turned: scar_mass 3.0, as drawn None"])
        self.assertEqual(golden.twin_findings(cases, [None] * 4), [[], [], [], []])


class Plan(unittest.TestCase):
    def test_has_every_style_form_and_territory_and_no_study_twice(self):
        cases = golden.plan(2)
        self.assertEqual(len(cases), len(set(cases)))
        text = [str(case) for case in cases]
        for style in golden.STYLES:
            here = [line for line in text if f"--style {style}" in line]
            for word in ("lad", "lcx", "rca", "scar-free", "--enhanced"):
                self.assertTrue(any(word in line for line in here), f"{style} {word}")


class Turned(unittest.TestCase):
    """A pixel keeps its place in the patient."""

    def image(self, folder: pathlib.Path) -> pathlib.Path:
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3"
        ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        ds.Rows, ds.Columns, ds.PixelSpacing = 4, 6, [1.5, 1.25]
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [0.6, 0.8, 0, 0, 0, -1], [10, -20, 30.5]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.PixelData = np.arange(24, dtype=np.uint16).tobytes()
        path = folder / "a.dcm"
        ds.save_as(path, enforce_file_format=True)
        return path

    def places(self, path: pathlib.Path) -> dict[int, np.ndarray]:
        """Value of each pixel -> its centre in patient space."""
        ds = pydicom.dcmread(path)
        row, column = np.array(ds.ImageOrientationPatient[:3], float), np.array(ds.ImageOrientationPatient[3:], float)
        corner, (down, right) = np.array(ds.ImagePositionPatient, float), map(float, ds.PixelSpacing)
        pixels = ds.pixel_array
        return {int(pixels[r, c]): corner + r * down * column + c * right * row for r, c in np.ndindex(pixels.shape)}

    def test_every_pixel_stays_where_it_is(self):
        for how in ("mirrored", "turned"):
            with self.subTest(how), tempfile.TemporaryDirectory() as name:
                path = self.image(pathlib.Path(name))
                before = self.places(path)
                golden.turn(pathlib.Path(name), how)
                after = self.places(path)
                self.assertEqual(before.keys(), after.keys())
                for value, place in before.items():
                    np.testing.assert_allclose(after[value], place, atol=1e-9)
                self.assertNotEqual(pydicom.dcmread(path).pixel_array.ravel().tolist(), list(range(24)))


if __name__ == "__main__":
    unittest.main()
