// Loads a SEG with @cornerstonejs/adapters, writes what a viewer would show, and exports it again as one label map.
//
// usage: node --import ./resolve.mjs seg.mjs SEG SOURCES OUT
// OUT gets layers.bin (u8 [layer, image, row, column]; a layer is a label map, overlapping segments stand in several),
// layers.json (images, shape, segments), flat.bin (u8 [image, row, column], the highest segment of each pixel) and
// flattened.dcm: flat.bin as the adapters export it.
//
// Of a multi-frame source, createFromDICOMSegBuffer of version 4.19.0 lays overlapping segments all on the last image: it
// finds an image by its instance alone. The older generateToolState of the same package knows frames and is asked there.
import fs from 'node:fs';
import path from 'node:path';
import { adaptersSEG } from '@cornerstonejs/adapters';
import { metaData } from '@cornerstonejs/core';
import dcmjs from 'dcmjs';
import { bytesOf, readDataset, register, sourcesOf } from './images.mjs';

const { createFromDICOMSegBuffer, generateSegmentation, generateToolState } = adaptersSEG.Cornerstone3D.Segmentation;

/** The highest segment number of each pixel over all layers: no-reflow over scar over myocardium. */
function flatten(layers, index) {
  const flat = new Uint8Array(layers[0][index].length);
  for (const layer of layers) layer[index].forEach((segment, pixel) => (flat[pixel] = Math.max(flat[pixel], segment)));
  return flat;
}

/** What the adapters make of the SEG: {layers: [layer][image] -> pixels, segments, overlapping}. */
async function load(images, buffer, size) {
  const imageIds = images.map((image) => image.imageId);
  if (images.some((image) => image.frame > 1)) {
    const state = await generateToolState(imageIds, buffer, metaData);
    const cut = (layer) => imageIds.map((_, index) => new Uint8Array(layer, index * size, size));
    return { layers: state.labelmapBufferArray.map(cut), segments: state.segMetadata.data, overlapping: state.labelmapBufferArray.length > 1 };
  }
  const loaded = await createFromDICOMSegBuffer(imageIds, buffer, { metadataProvider: metaData });
  const layers = loaded.labelMapImages.map((layer) => layer.map((image) => image.getPixelData()));
  return { layers, segments: loaded.segMetadata.data, overlapping: loaded.overlappingSegments };
}

/** The adapters' export of one label map without overlaps, as a DICOM file. */
function exported(images, flat, segments, [rows, columns]) {
  const labelmaps2D = flat.map((pixelData) => {
    const segmentsOnLabelmap = [...new Set(pixelData)].filter((segment) => segment !== 0).sort();
    return { segmentsOnLabelmap, pixelData, rows, columns };
  });
  const sources = images.map(({ imageId }) => ({ imageId, voxelManager: { getScalarData: () => new Uint16Array(rows * columns) } }));
  const { dataset } = generateSegmentation(sources, { labelmaps2D, metadata: segments }, metaData);
  return Buffer.from(dcmjs.data.datasetToDict(dataset).write());
}

const [file, folder, out] = process.argv.slice(2);
const seg = readDataset(file);
const shape = [seg.Rows, seg.Columns];
const images = register(sourcesOf(seg, folder));
const { layers, segments, overlapping } = await load(images, bytesOf(file), seg.Rows * seg.Columns);
const flat = images.map((_, index) => flatten(layers, index));
const write = (name, content) => fs.writeFileSync(path.join(out, name), content);
fs.mkdirSync(out, { recursive: true });
write('layers.bin', Buffer.concat(layers.flat().map((pixels) => Buffer.from(pixels))));
write('flat.bin', Buffer.concat(flat));
write('layers.json', JSON.stringify({
  shape: [layers.length, images.length, ...shape],
  images: images.map(({ instance, frame, position }) => ({ instance, frame, position })),
  spacing_mm: metaData.get('imagePlaneModule', images[0].imageId).pixelSpacing,
  segments: segments.slice(1).map(({ SegmentNumber, SegmentLabel }) => ({ number: SegmentNumber, label: SegmentLabel })),
  overlapping,
}));
write('flattened.dcm', exported(images, flat, segments, shape));
// Cornerstone leaves timers behind that would keep the process alive.
process.exit(0);
