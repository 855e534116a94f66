"""The gateway's inference order in plain NumPy and ONNX Runtime: the reference that the Rust code is compared with.

locate (whole slices -> one LV crop per stack) -> dense classes on the crop -> boxes -> one mask per box -> gate by the wall.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from .detector import decode
from .geometry import Region, back, crop, from_masks, heart, normalise, whole
from .onnx_file import session

RING = 3  # 1-px dilation: 3 x 3 square


@dataclass
class Result:
    """Labels [n, H, W] u8 with scar from the dense model and from the boxes; the crop; boxes per slice (crop frame)."""

    dense: np.ndarray
    prompted: np.ndarray
    region: Region | None
    boxes: list[np.ndarray] = field(default_factory=list)


class Model:
    """A manifest and its session."""

    def __init__(self, folder: Path, threads: int = 1):
        self.manifest = tomllib.loads((folder / "manifest.toml").read_text())
        self.session = session(folder / self.manifest["file"], threads)
        self.size, self.input = self.manifest["input"]["size"], self.manifest["input"]["name"]

    def prepare(self, image: np.ndarray, region: Region) -> np.ndarray:
        """[1, C, S, S] input of a region, as the manifest says."""
        how = self.manifest["input"]["intensity"]
        patch = normalise(*crop(image, region, self.size), how["lo"], how["hi"])
        return np.repeat(patch[None, None], self.manifest["input"]["channels"], 1)

    def run(self, x: np.ndarray) -> np.ndarray:
        """First output."""
        return self.session.run(None, {self.input: x})[0]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over axis 1."""
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class Pipeline:
    """The models of a models/ folder: all four, or the dense one alone."""

    def __init__(self, models: Path, threads: int = 1, prompted: bool = True):
        self.wall = Model(models / "myocardium", threads)
        self.prompted = prompted and (models / "scar-decoder" / "manifest.toml").exists()
        if not self.prompted:
            return
        self.detector = Model(models / "scar-detector", threads)
        self.encoder = Model(models / "scar-encoder", threads)
        self.decoder = Model(models / "scar-decoder", threads)

    def classes(self, images: np.ndarray, regions: list[Region]) -> np.ndarray:
        """Labels [n, H, W] of the dense model, each slice seen through its region, 0 outside it."""
        shape = images.shape[1:]
        out = np.zeros(images.shape, np.uint8)
        for i, (image, region) in enumerate(zip(images, regions, strict=True)):
            planes, inside = back(softmax(self.wall.run(self.wall.prepare(image, region)))[0], region, *shape)
            out[i] = planes.argmax(0) * inside
        return out

    def locate(self, images: np.ndarray) -> Region | None:
        """The LV crop of a stack."""
        seen = self.classes(images, [whole(*images.shape[1:])] * len(images))
        factor = self.wall.manifest["input"]["crop_factor"]
        return from_masks((seen >= 2) & heart(seen), factor)

    def lesions(self, image: np.ndarray, region: Region, wall: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mask [H, W], boxes [k, 5]) of one slice whose wall is known."""
        limits = self.detector.manifest["thresholds"] | {"size": self.detector.size}
        boxes = decode(self.detector.run(self.detector.prepare(image, region))[0], limits)
        if not len(boxes):
            return np.zeros(image.shape, bool), boxes
        embedding = self.encoder.run(self.encoder.prepare(image, region))
        frame = self.decoder.manifest["prompt"]["frame"]
        best = np.max([self.mask(embedding, b[:4] * frame / self.detector.size, frame) for b in boxes], 0)
        logits, inside = back(best, region, *image.shape)
        gate = ndimage.binary_dilation(wall, np.ones((RING, RING)))
        return (logits > self.decoder.manifest["thresholds"]["mask"]) & inside & gate, boxes

    def mask(self, embedding: np.ndarray, box: np.ndarray, frame: int) -> np.ndarray:
        """Logits [frame, frame] of one box."""
        feeds = {
            "image_embeddings": embedding,
            "point_coords": box.reshape(1, 2, 2).astype(np.float32),
            "point_labels": np.array([[2, 3]], np.float32),
            "mask_input": np.zeros((1, 1, frame, frame), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([frame, frame], np.float32),
        }
        return self.decoder.session.run(["masks"], feeds)[0][0, 0]

    def run(self, images: np.ndarray) -> Result:
        """One stack [n, H, W], signed or unsigned, base to apex or back."""
        images = np.asarray(images, np.float32)
        region = self.locate(images)
        if region is None:
            empty = np.zeros(images.shape, np.uint8)
            return Result(empty, empty, None, [np.zeros((0, 5), np.float32)] * len(images))
        dense = self.classes(images, [region] * len(images))
        dense = dense * heart(dense)
        prompted, boxes = dense.copy(), []
        for i, image in enumerate(images):
            wall = dense[i] >= 2
            found = (np.zeros(wall.shape, bool), np.zeros((0, 5), np.float32))
            if wall.any() and self.prompted:
                found = self.lesions(image, region, wall)
            prompted[i] = merge(dense[i], found[0]) if self.prompted else dense[i]
            boxes.append(found[1])
        return Result(dense, prompted, region, boxes)


def merge(dense: np.ndarray, scar: np.ndarray) -> np.ndarray:
    """Labels of one slice with scar from the boxes: wall from the dense model, no-reflow from it where boxes found scar."""
    out = np.where(dense >= 3, 2, dense).astype(np.uint8)
    out[scar] = 3
    if scar.any():
        out[dense == 4] = 4
    return out
