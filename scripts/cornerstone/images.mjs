// Source images as Cornerstone3D knows them: an image id per frame and the metadata modules behind it.
import fs from 'node:fs';
import path from 'node:path';
import { metaData } from '@cornerstonejs/core';
import dcmjs from 'dcmjs';

const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

/** The content of a file as the ArrayBuffer that dcmjs wants. */
export function bytesOf(file) {
  const bytes = fs.readFileSync(file);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
}

/** A DICOM file as an object with an attribute per keyword. */
export function readDataset(file) {
  const read = DicomMessage.readFile(bytesOf(file));
  const dataset = DicomMetaDictionary.naturalizeDataset(read.dict);
  dataset._meta = DicomMetaDictionary.namifyDataset(read.meta);
  return dataset;
}

const first = (sequence) => (Array.isArray(sequence) ? sequence[0] : sequence);

/** Position, orientation and spacing of a frame: of the image itself, or from the functional groups of a multi-frame object. */
function plane(dataset, frame) {
  if (!dataset.PerFrameFunctionalGroupsSequence) return dataset;
  const shared = first(dataset.SharedFunctionalGroupsSequence) ?? {};
  const own = dataset.PerFrameFunctionalGroupsSequence[frame - 1];
  const group = (name) => first(own[name]) ?? first(shared[name]) ?? {};
  return { ...group('PlanePositionSequence'), ...group('PlaneOrientationSequence'), ...group('PixelMeasuresSequence') };
}

function imagePlaneModule(dataset, frame) {
  const { ImageOrientationPatient, ImagePositionPatient, PixelSpacing, SliceThickness } = plane(dataset, frame);
  const orientation = ImageOrientationPatient.map(Number);
  const [rowPixelSpacing, columnPixelSpacing] = PixelSpacing.map(Number);
  return {
    frameOfReferenceUID: dataset.FrameOfReferenceUID,
    rows: dataset.Rows,
    columns: dataset.Columns,
    imageOrientationPatient: orientation,
    rowCosines: orientation.slice(0, 3),
    columnCosines: orientation.slice(3),
    imagePositionPatient: ImagePositionPatient.map(Number),
    pixelSpacing: [rowPixelSpacing, columnPixelSpacing],
    rowPixelSpacing,
    columnPixelSpacing,
    sliceThickness: SliceThickness,
  };
}

/** All plain attributes with the small first letter that Cornerstone's modules have; dcmjs's arrays with methods cannot be cloned. */
function attributes(dataset) {
  const plain = Object.entries(dataset).filter(([key, value]) => key !== 'PixelData' && !key.startsWith('_') && !key.endsWith('Sequence') && value !== undefined);
  return Object.fromEntries(plain.map(([key, value]) => [metaData.toLowerCamelTag(key), JSON.parse(JSON.stringify(value))]));
}

/** How far along the normal of its plane an image lies. */
function depth({ position, planeModule }) {
  const [a, b, c, d, e, f] = planeModule.imageOrientationPatient;
  return position[0] * (b * f - c * e) + position[1] * (c * d - a * f) + position[2] * (a * e - b * d);
}

/** Registers the frames of the files with Cornerstone; gives them farthest first, the order in which dcmjs exports them. */
export function register(datasets) {
  const known = new Map();
  const images = datasets.flatMap((dataset) =>
    Array.from({ length: Number(dataset.NumberOfFrames ?? 1) }, (_, index) => {
      const frame = index + 1;
      const imageId = dataset.NumberOfFrames ? `dicomfile:${dataset.SOPInstanceUID}?frame=${frame}` : `dicomfile:${dataset.SOPInstanceUID}`;
      const planeModule = imagePlaneModule(dataset, frame);
      known.set(imageId, { dataset, planeModule });
      return { imageId, instance: dataset.SOPInstanceUID, frame, position: planeModule.imagePositionPatient, planeModule };
    }),
  );
  metaData.addProvider((type, imageId) => {
    const image = known.get(imageId);
    if (!image) return undefined;
    if (type === 'instance') return image.dataset;
    if (type === 'imagePlaneModule') return image.planeModule;
    if (['generalStudyModule', 'patientModule', 'generalSeriesModule', 'generalImageModule', 'imagePixelModule', 'sopCommonModule'].includes(type)) return attributes(image.dataset);
    return undefined;
  }, 10000);
  return images.sort((one, other) => depth(other) - depth(one));
}

/** The files below a folder that the SEG names as its source, in the order in which it names them. */
export function sourcesOf(seg, folder) {
  const files = fs.readdirSync(folder, { recursive: true }).map((name) => path.join(folder, name));
  const wanted = [seg.ReferencedSeriesSequence].flat().flatMap((series) => [series.ReferencedInstanceSequence].flat()).map((item) => item.ReferencedSOPInstanceUID);
  const found = new Map();
  for (const file of files.filter((name) => fs.statSync(name).isFile())) {
    const dataset = readDataset(file);
    if (wanted.includes(dataset.SOPInstanceUID)) found.set(dataset.SOPInstanceUID, dataset);
  }
  const missing = wanted.filter((uid) => !found.has(uid));
  if (missing.length) throw new Error(`${missing.length} of ${wanted.length} images that the SEG names are not in the folder`);
  return wanted.map((uid) => found.get(uid));
}
