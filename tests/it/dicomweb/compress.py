"""Compresses a DICOM file: compress.py IN OUT TRANSFER-SYNTAX-UID."""

import sys

import pydicom
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

source, target, syntax = sys.argv[1:]
dataset = pydicom.dcmread(source)
if syntax == JPEG2000Lossless:
    # pydicom reaches OpenJPEG only through one more package; the encoder itself is at hand.
    stream = encode_array(dataset.pixel_array, bits_stored=dataset.BitsStored, photometric_interpretation=2)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
else:
    dataset.compress(syntax, generate_instance_uid=False)
dataset.save_as(target)
