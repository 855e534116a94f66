"""What a site would write instead of a gateway: the least a script around the same model must do for one study.

List the MR instances of a study, retrieve them, stack the PSIR short-axis series, run the dense model twice (whole slices, LV
crop), write a SEG, store it, post one Observation. Prints its times as JSON. A yardstick for scargate's own work around
the model, not a second implementation: it measures no more than a mass and handles no exception.
"""

import argparse
import json
import pathlib
import resource
import time
import tomllib

STARTED = time.monotonic()

import highdicom  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import pydicom  # noqa: E402
from dicomweb_client.api import DICOMwebClient  # noqa: E402
from dicomweb_client.session_utils import create_session_from_user_pass  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom.sr.codedict import codes  # noqa: E402

import seed_ehr  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEGMENTS = ["Blood pool", "Myocardium", "Scar"]


class Model:
    """The dense model and the time spent in it."""

    def __init__(self):
        folder = ROOT / "models" / "myocardium"
        self.manifest = tomllib.loads((folder / "manifest.toml").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / self.manifest["file"], options, providers=["CPUExecutionProvider"])
        self.size, self.forward_ms = self.manifest["input"]["size"], 0.0

    def classes(self, images: np.ndarray, box: tuple[int, int, int]) -> np.ndarray:
        """Labels [n, H, W] of what is seen in a square (top, left, side)."""
        top, left, side = box
        patches = [self.patch(image[top : top + side, left : left + side]) for image in images]
        begun = time.monotonic()
        logits = self.session.run(None, {self.manifest["input"]["name"]: np.stack(patches)[:, None]})[0]
        self.forward_ms += 1000 * (time.monotonic() - begun)
        out = np.zeros(images.shape, np.uint8)
        for plane, label in zip(out, logits.argmax(1).astype(np.uint8), strict=True):
            part = plane[top : top + side, left : left + side]
            part[:] = np.asarray(Image.fromarray(label).resize(part.shape[::-1], Image.NEAREST))
        return out

    def patch(self, part: np.ndarray) -> np.ndarray:
        """The square as the model wants it."""
        low, high = np.percentile(part, [self.manifest["input"]["intensity"]["lo"], self.manifest["input"]["intensity"]["hi"]])
        scaled = np.clip((part - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
        return np.asarray(Image.fromarray(scaled).resize((self.size, self.size), Image.BILINEAR))


def stack(client: DICOMwebClient, study: str) -> list[pydicom.Dataset]:
    """The PSIR short-axis slices of a study, in order: the series by the name that this one site gives it."""
    late = []
    for series in client.search_for_series(study, fields=["SeriesDescription"], search_filters={"Modality": "MR"}):
        if series["0008103E"]["Value"][0].lower().endswith("sax_psir"):
            late += client.retrieve_series(study, series["0020000E"]["Value"][0])
    normal = np.cross(late[0].ImageOrientationPatient[:3], late[0].ImageOrientationPatient[3:])
    return sorted(late, key=lambda d: float(np.dot(normal, d.ImagePositionPatient)))


def segment(model: Model, images: np.ndarray) -> np.ndarray:
    """Labels [n, H, W]: once over whole slices, once over the square around what was found."""
    seen = model.classes(images, (0, 0, min(images.shape[1:])))
    rows, columns = np.nonzero((seen >= 2).any(0))
    side = int(1.5 * max(np.ptp(rows), np.ptp(columns)))
    top, left = int(rows.mean() - side / 2), int(columns.mean() - side / 2)
    side = min(side, images.shape[1] - max(top, 0), images.shape[2] - max(left, 0))
    return model.classes(images, (max(top, 0), max(left, 0), side))


def seg(sources: list[pydicom.Dataset], labels: np.ndarray) -> pydicom.Dataset:
    """A BINARY SEG by highdicom."""
    masks = np.stack([labels == 1, labels >= 2, labels >= 3], -1).astype(np.uint8)
    descriptions = [
        highdicom.seg.SegmentDescription(number, label, codes.SCT.Tissue, codes.SCT.Tissue, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL)
        for number, label in enumerate(SEGMENTS, 1)
    ]
    return highdicom.seg.Segmentation(
        sources, masks, highdicom.seg.SegmentationTypeValues.BINARY, descriptions, highdicom.UID(), 900, highdicom.UID(), 1,
        "script", "script", "1", "1", content_label="SCAR",
    )  # fmt: skip


def observation(patient: str, grams: float) -> dict:
    """LGE mass."""
    quantity = {"value": round(grams, 1), "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"}
    return {"resourceType": "Observation", "status": "preliminary", "code": {"text": "LGE mass"}, "subject": {"reference": patient}, "valueQuantity": quantity}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--patient", required=True, help="reference in the EHR")
    args = parser.parse_args()
    env = dict(line.split("=", 1) for line in (args.state / "env").read_text().splitlines())
    password = (args.state / "secrets" / "orthanc").read_text()
    session = create_session_from_user_pass("scargate", password)
    client = DICOMwebClient(f"http://127.0.0.1:{env['SCARGATE_PACS_PORT']}/dicom-web", session=session)
    model = Model()
    start_ms, cpu, begun = 1000 * (time.monotonic() - STARTED), time.process_time(), time.monotonic()

    sources = stack(client, args.study)
    images = np.stack([d.pixel_array * float(d.get("RescaleSlope", 1)) + float(d.get("RescaleIntercept", 0)) for d in sources])
    labels = segment(model, images)
    spacing, step = sources[0].PixelSpacing, np.linalg.norm(np.subtract(sources[1].ImagePositionPatient, sources[0].ImagePositionPatient))
    grams = float((labels >= 3).sum() * spacing[0] * spacing[1] * step * 1.05e-3)
    client.store_instances([seg(sources, labels)])
    seed_ehr.Ehr(args.state).call("POST", "Observation", observation(args.patient, grams))

    times = {"start_ms": start_ms, "wall_ms": 1000 * (time.monotonic() - begun), "cpu_ms": 1000 * (time.process_time() - cpu)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(times | {"forward_ms": model.forward_ms, "peak_mib": peak, "slices": len(sources)}))


if __name__ == "__main__":
    main()
