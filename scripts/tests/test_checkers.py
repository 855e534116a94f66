"""The checkers find what is wrong and pass what is right: a checker that passes everything would prove nothing."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import check_fhir
import check_measures
import check_seg
import highdicom
import numpy as np
import pydicom
import pyrofile_validator
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

OBSERVATION = {
    "resourceType": "Observation",
    "status": "preliminary",
    "code": {"coding": [{"system": "http://loinc.org", "code": "10232-3"}]},
    "effectiveDateTime": "2026-01-02T03:04:05Z",
    "valueQuantity": {"value": 12.5, "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"},
}


def check_seg_findings(*arguments) -> list[str]:
    args = check_seg.arguments([str(argument) for argument in arguments])
    with contextlib.redirect_stdout(io.StringIO()):
        return check_seg.findings(args.files[0], args)


def source_slice(number: int, study: str, series: str, frame_of_reference: str) -> pydicom.Dataset:
    """A classic MR slice with what a SEG copies from it."""
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame_of_reference
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "P", "Phantom^A", "19600102", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260102", "030405", "1", "A"
    ds.ReferringPhysicianName, ds.PositionReferenceIndicator, ds.Modality = "", "", "MR"
    ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = 1, number + 1, "test"
    ds.Rows, ds.Columns, ds.PixelSpacing, ds.SliceThickness = 16, 20, [1.5, 1.5], 8
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 10.0 * number]
    return ds


def make_seg(folder: pathlib.Path) -> tuple[pathlib.Path, np.ndarray, list[pydicom.Dataset]]:
    """A known-good SEG by highdicom: 2 segments over 3 slices, the last one empty."""
    uids = [generate_uid() for _ in range(3)]
    sources = [source_slice(n, *uids) for n in range(3)]
    masks = np.zeros((3, 16, 20, 2), dtype=np.uint8)
    masks[0, 2:8, 3:9, 0] = 1
    masks[1, 4:6, 4:6, 1] = 1
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="test", version="1", family=pydicom.sr.coding.Code("123109", "DCM", "Manual Processing")
    )
    heart = pydicom.sr.coding.Code("91723000", "SCT", "Anatomical structure")
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=n,
            segment_label=f"s{n}",
            segmented_property_category=heart,
            segmented_property_type=heart,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for n in (1, 2)
    ]
    seg = highdicom.seg.Segmentation(
        source_images=sources, pixel_array=masks, segmentation_type="BINARY", segment_descriptions=segments,
        series_instance_uid=generate_uid(), series_number=9, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer="test", manufacturer_model_name="test", software_versions="1", device_serial_number="1",
        content_description="test", content_creator_name="Test^A",
    )
    path = folder / "seg.dcm"
    seg.save_as(path)
    return path, np.moveaxis(masks, -1, 0), sources


class CheckSeg(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.path, self.masks, self.sources = make_seg(self.folder)
        self.instances = self.folder / "instances.txt"
        self.instances.write_text("\n".join(source.SOPInstanceUID for source in self.sources))
        self.array = self.folder / "masks.npy"

    def check_masks(self, masks):
        np.save(self.array, masks)
        return check_seg_findings(self.path, "--masks", self.array, "--instances", self.instances)

    def test_passes_a_good_file_with_its_masks(self):
        self.assertEqual(self.check_masks(self.masks), [])

    def test_finds_one_pixel(self):
        self.masks[1, 2, 0, 0] = 1
        self.assertEqual(self.check_masks(self.masks), ["highdicom: segment 2: 1 pixels differ"])

    def test_finds_slices_in_another_order(self):
        self.assertTrue(self.check_masks(self.masks[:, ::-1]))

    def test_finds_what_dciodvfy_finds(self):
        dataset = pydicom.dcmread(self.path)
        del dataset.SegmentSequence[0].SegmentAlgorithmType
        dataset.save_as(self.path)
        found = "\n".join(check_seg_findings(self.path))
        self.assertIn("dciodvfy: Error", found)
        self.assertIn("highdicom: refuses it", found)

    def test_checks_the_sources(self):
        folder = self.folder / "sources"
        folder.mkdir()
        for number, source in enumerate(self.sources):
            source.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        self.assertEqual(check_seg_findings(self.path, "--sources", folder), [])
        (folder / "0.dcm").unlink()
        self.assertTrue(check_seg_findings(self.path, "--sources", folder))


class CheckMeasures(unittest.TestCase):
    """A tube of two slices: cavity 1, wall 2, and a scar 3 that is transmural in one quadrant."""

    def setUp(self):
        rows, columns = np.mgrid[:64, :64] - 31.5
        radius = np.hypot(rows, columns)
        wall = (radius >= 10) & (radius < 20)
        masks = {1: radius < 10, 2: wall, 3: wall & (rows < 0) & (columns < 0)}
        geometry = [np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([1.5, 1.5])]
        self.slices = [check_measures.Slice((0, 0, z), masks, geometry, 10) for z in (0, 10)]
        for index, plane in enumerate(self.slices):
            plane.index = index

    def measures(self, mean):
        directions = {"septum": [-1, 0, 0], "base_to_apex": [0, 0, 1], "anterior_insertion_deg": 60}
        segments = [{"segment": k, "transmurality": {"value": {"mean": m}}} for k, m in mean.items()]
        return {
            "slices": [{"index": k, "height_mm": 10} for k in (0, 1)],
            "segments": {
                "directions": {"value": directions},
                "segments": segments,
                "slices": [{"index": k, "role": {"ring": "mid"}} for k in (0, 1)],
            },
        }

    def check(self, mean):
        return self.check_all(self.measures(mean))

    def check_all(self, measures):
        found = []
        with contextlib.redirect_stdout(io.StringIO()):
            check_measures.transmurality(self.slices, measures, found)
        return found

    def test_knows_masses_and_sectors(self):
        self.assertAlmostEqual(self.slices[0].mass(self.slices[0].wall), np.pi * 300 * 2.25 * 10 * 1.05e-3, delta=0.2)
        # Septum at -x, axis +z: septum x axis = +y is anterior, so the quadrant (-x, -y) is from mid-septum away from
        # anterior: half of segment 9 (60 to 0 below mid-septum) and half of segment 10.
        self.assertEqual(self.check({7: 0, 8: 0, 9: 100, 10: 50, 11: 0, 12: 0}), [])

    def test_pairs_lesions_of_one_area_and_finds_one_that_differs(self):
        ours = np.array([[17.8, 0.625], [17.8 - 1e-9, 0.603], [40, 0.5]])
        theirs = np.array([[40, 0.5], [17.8, 0.603], [17.8, 0.625]])
        self.assertEqual(check_measures.lesion_findings(ours, theirs), [])
        ours[2] = [41, 0.5]
        self.assertEqual(check_measures.lesion_findings(ours, theirs), ["lesion: 41.0 mm2, 0.500 against 40.0, 0.500"])

    def test_finds_four_points(self):
        self.assertEqual(len(self.check({9: 96, 10: 54})), 2)

    def test_allows_more_beside_an_open_ring_of_the_same_level_only(self):
        for ring, found in [("mid", 0), ("basal", 2)]:
            measures = self.measures({9: 96, 10: 54})
            measures["segments"]["slices"].append({"index": 7, "role": {"ring": ring}, "coverage": 84.5})
            self.assertEqual(len(self.check_all(measures)), found)


class CheckFhir(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.validator = pyrofile_validator.Validator()

    def check(self, document):
        return check_fhir.findings(self.validator, document)

    def bundle(self, observation):
        entry = {"resource": observation, "request": {"method": "POST", "url": "Observation"}}
        return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}

    def test_passes_a_good_bundle(self):
        self.assertEqual(self.check(self.bundle(OBSERVATION)), [])

    def test_finds_errors_in_entries(self):
        broken = {
            "status outside the binding": OBSERVATION | {"status": "done"},
            "number as text": OBSERVATION | {"valueQuantity": {"value": "12.5"}},
            "two values": OBSERVATION | {"valueString": "x"},
            "bad date": OBSERVATION | {"effectiveDateTime": "01/02/2026"},
            "unknown field": OBSERVATION | {"mass": 1},
            "no code": {key: value for key, value in OBSERVATION.items() if key != "code"},
        }
        for name, observation in broken.items():
            with self.subTest(name):
                self.assertTrue(self.check(self.bundle(observation)))


if __name__ == "__main__":
    unittest.main()
