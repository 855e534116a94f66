//! From encoded pixel data to rescaled values: every size is checked against the header before anything is decoded.

use super::header::{Frame, Lenient};
use super::read::{self, Extent, ReadError};
use crate::config::Limits;
use crate::domain::source::SourceObject;
use crate::failure::Code;
use dicom_core::value::{PrimitiveValue, Value};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::{Codec, TransferSyntaxIndex};
use dicom_object::DefaultDicomObject;
use dicom_pixeldata::PixelDecoder;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use ndarray::Array2;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why the pixels of a frame cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PixelError {
    /// The PACS should decode it for us.
    NeedsTranscoding,
    /// The object is at fault.
    Invalid(Code, &'static str),
}

/// Values of one frame.
#[derive(Debug)]
pub(super) struct Pixels {
    /// Rescaled values, [rows, columns].
    pub values: Array2<f32>,
    /// False where padded; `None` when nothing is.
    pub valid: Option<Array2<bool>>,
    /// LossyImageCompression is `01`, or the transfer syntax is lossy by nature.
    pub lossy: bool,
}

/// How stored bits become a number (PS3.3 C.7.6.3.1, PS3.5 8.1.1).
#[derive(Debug, Clone, Copy)]
struct Format {
    bytes: usize,
    stored: u32,
    high: u32,
    signed: bool,
}

impl Format {
    fn of(object: &DefaultDicomObject) -> Result<Self, PixelError> {
        let get = |tag| object.integer(tag).and_then(|n| u32::try_from(n).ok());
        let allocated = get(tags::BITS_ALLOCATED).ok_or_else(|| invalid("BitsAllocated is missing"))?;
        let stored = get(tags::BITS_STORED).unwrap_or(allocated);
        let high = get(tags::HIGH_BIT).unwrap_or(stored.saturating_sub(1));
        let signed = get(tags::PIXEL_REPRESENTATION) == Some(1);
        let consistent = matches!(allocated, 8 | 16) && (1..=allocated).contains(&stored);
        if !consistent || high >= allocated || high + 1 < stored {
            return Err(invalid("BitsAllocated, BitsStored and HighBit contradict one another"));
        }
        Ok(Self { bytes: allocated as usize / 8, stored, high, signed })
    }

    /// Value of a raw word: bits outside the stored ones (overlays, rubbish) are dropped, the sign is extended.
    fn value(self, raw: u16) -> i32 {
        let word = (u32::from(raw) >> (self.high + 1 - self.stored)) & ((1 << self.stored) - 1);
        let shift = 32 - self.stored;
        if self.signed { ((word << shift) as i32) >> shift } else { word as i32 }
    }
}

fn invalid(detail: &'static str) -> PixelError {
    PixelError::Invalid(Code::PixelDataInvalid, detail)
}

/// An object that was read whole, with what its frames have in common.
pub(super) struct Decoder {
    object: DefaultDicomObject,
    format: Format,
    rows: usize,
    columns: usize,
    frames: usize,
}

impl Decoder {
    /// Reads the object and checks its pixel data against its header.
    pub(super) fn open(source: &SourceObject, frame: &Frame, limits: &Limits) -> Result<Self, PixelError> {
        let object = read::read(source, Extent::Whole, limits.instance_bytes).map_err(|error| match error {
            ReadError::TooLarge => {
                PixelError::Invalid(Code::StudyTooLarge, "an object is above [limits] instance_bytes")
            }
            ReadError::UnknownSyntax { .. } => PixelError::NeedsTranscoding,
            ReadError::NotDicom { .. } => invalid("an object is cut or not readable to its end"),
        })?;
        let format = Format::of(&object)?;
        let frames = object.integer(tags::NUMBER_OF_FRAMES).and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1);
        Ok(Self { object, format, rows: frame.rows, columns: frame.columns, frames })
    }

    /// The object.
    pub(super) fn object(&self) -> &DefaultDicomObject {
        &self.object
    }

    /// Decodes one frame.
    pub(super) fn frame(&self, frame: &Frame) -> Result<Pixels, PixelError> {
        let index = frame.number.map_or(0, |number| number.saturating_sub(1)) as usize;
        let pixel_data = self.object.get(tags::PIXEL_DATA).ok_or_else(|| invalid("there is no pixel data"))?;
        let raw = match pixel_data.value() {
            Value::Primitive(value) => self.native(value, index)?,
            Value::PixelSequence(sequence) => {
                self.check_codestreams(sequence.fragments())?;
                self.encapsulated(index)?
            }
            Value::Sequence(_) => return Err(invalid("pixel data is a sequence")),
        };
        if raw.len() != self.rows * self.columns {
            return Err(invalid("pixel data is shorter than Rows x Columns"));
        }
        Ok(self.rescale(&raw, frame))
    }

    /// Raw words of an uncompressed frame.
    fn native(&self, value: &PrimitiveValue, index: usize) -> Result<Vec<u16>, PixelError> {
        let pixels = self.rows * self.columns;
        let (start, end) = (index * pixels, (index + 1) * pixels);
        let short = || invalid("pixel data is shorter than Rows x Columns x NumberOfFrames");
        match (value, self.format.bytes) {
            (PrimitiveValue::U16(words), 2) if words.len() >= self.frames * pixels => {
                words.get(start..end).map(<[u16]>::to_vec).ok_or_else(short)
            }
            (PrimitiveValue::U8(bytes), 1) if bytes.len() >= self.frames * pixels => {
                bytes.get(start..end).map(|bytes| bytes.iter().map(|b| u16::from(*b)).collect()).ok_or_else(short)
            }
            (PrimitiveValue::U8(_) | PrimitiveValue::U16(_), _) => {
                // OB with 16-bit words, or OW with 8-bit samples: by bytes, little endian.
                let bytes: Vec<u8> = match value {
                    PrimitiveValue::U16(words) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
                    other => other.to_bytes().into_owned(),
                };
                let size = self.format.bytes;
                if bytes.len() < self.frames * pixels * size {
                    return Err(short());
                }
                bytes
                    .get(start * size..end * size)
                    .map(|bytes| words(bytes, size, u16::from_le_bytes))
                    .ok_or_else(short)
            }
            _ => Err(invalid("pixel data has an unexpected value representation")),
        }
    }

    /// Raw words of a compressed frame.
    fn encapsulated(&self, index: usize) -> Result<Vec<u16>, PixelError> {
        let syntax = self.object.meta().transfer_syntax();
        let known = TransferSyntaxRegistry
            .get(syntax)
            .filter(|ts| !matches!(ts.codec(), Codec::EncapsulatedPixelData(None, _)));
        // The registry lists a decoder for JPEG extended, which then fails on 12-bit images.
        if known.is_none() || syntax == uids::JPEG_EXTENDED12_BIT {
            return Err(PixelError::NeedsTranscoding);
        }
        let index = u32::try_from(index).map_err(|_| invalid("too many frames"))?;
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            self.object.decode_pixel_data_frame(index).map(dicom_pixeldata::DecodedPixelData::into_data)
        }));
        match decoded {
            Ok(Ok(bytes)) => Ok(words(&bytes, self.format.bytes, u16::from_ne_bytes)),
            Ok(Err(_)) | Err(_) => Err(invalid("compressed pixel data is not readable")),
        }
    }

    /// Sizes inside the compressed streams must be those of the header: decoders allocate by the former.
    fn check_codestreams(&self, fragments: &[Vec<u8>]) -> Result<(), PixelError> {
        let wanted = (self.rows, self.columns);
        if fragments.iter().filter_map(|bytes| codestream_size(bytes)).any(|size| size != wanted) {
            return Err(invalid("a compressed image has another size than Rows x Columns"));
        }
        Ok(())
    }

    fn rescale(&self, raw: &[u16], frame: &Frame) -> Pixels {
        let inverted = self.object.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("MONOCHROME1");
        // What is displayed bright must be high, as the models were trained; negation keeps zero where it is.
        let sign = if inverted { -1.0 } else { 1.0 };
        let padding = self.padding();
        let stored: Vec<i32> = raw.iter().map(|raw| self.format.value(*raw)).collect();
        let is_valid = |stored: &i32| padding.is_none_or(|(low, high)| !(low..=high).contains(stored));
        let value = |stored: &i32| (sign * (f64::from(*stored) * frame.slope + frame.intercept)) as f32;
        let any_padded = stored.iter().any(|stored| !is_valid(stored));
        let lowest = stored.iter().filter(|stored| is_valid(stored)).map(value).fold(f32::INFINITY, f32::min);
        let fill = if lowest.is_finite() { lowest } else { 0.0 };
        let values = stored.iter().map(|s| if is_valid(s) { value(s) } else { fill }).collect();
        let shape = (self.rows, self.columns);
        Pixels {
            // The length was compared with rows x columns before.
            values: Array2::from_shape_vec(shape, values).unwrap_or_else(|_| Array2::zeros(shape)),
            valid: any_padded
                .then(|| Array2::from_shape_vec(shape, stored.iter().map(is_valid).collect()).ok())
                .flatten(),
            lossy: self.is_lossy(),
        }
    }

    /// PixelPaddingValue to PixelPaddingRangeLimit, as stored values in rising order.
    fn padding(&self) -> Option<(i32, i32)> {
        let stored = |tag| {
            let number = self.object.integer(tag)?;
            // Written as US or SS whatever the pixels are: the same 16 bits.
            let word = i32::try_from(number).ok()? as u16;
            Some(if self.format.signed { i32::from(word as i16) } else { i32::from(word) })
        };
        let value = stored(tags::PIXEL_PADDING_VALUE)?;
        let limit = stored(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(value);
        Some((value.min(limit), value.max(limit)))
    }

    fn is_lossy(&self) -> bool {
        const LOSSY: [&str; 4] =
            [uids::JPEG_BASELINE8_BIT, uids::JPEG_EXTENDED12_BIT, uids::JPEGLS_NEAR_LOSSLESS, uids::HTJ2K];
        LOSSY.contains(&self.object.meta().transfer_syntax())
            || self.object.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01")
    }
}

fn words(bytes: &[u8], size: usize, order: fn([u8; 2]) -> u16) -> Vec<u16> {
    match size {
        1 => bytes.iter().map(|b| u16::from(*b)).collect(),
        _ => bytes.as_chunks::<2>().0.iter().map(|pair| order(*pair)).collect(),
    }
}

/// (rows, columns) that a JPEG or JPEG 2000 stream states; `None` when the bytes do not start one.
fn codestream_size(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes {
        [0xFF, 0xD8, rest @ ..] => jpeg_size(rest),
        [0xFF, 0x4F, 0xFF, 0x51, siz @ ..] => jpeg2000_size(siz),
        [0, 0, 0, 12, b'j', b'P', ..] => {
            let start = memchr::memmem::find(bytes.get(..1024.min(bytes.len()))?, &[0xFF, 0x4F, 0xFF, 0x51])?;
            jpeg2000_size(bytes.get(start + 4..)?)
        }
        _ => None,
    }
}

/// Size in the frame header (ITU-T T.81 B.2.2), after the SOI marker.
fn jpeg_size(mut rest: &[u8]) -> Option<(usize, usize)> {
    loop {
        let [0xFF, marker, high, low, body @ ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
            let [_, a, b, c, d, ..] = body else { return None };
            return Some((u16::from_be_bytes([*a, *b]).into(), u16::from_be_bytes([*c, *d]).into()));
        }
        rest = body.get(length.checked_sub(2)?..)?;
    }
}

/// Size in the SIZ segment (ITU-T T.800 A.5.1), after its marker: image area less its offset.
fn jpeg2000_size(siz: &[u8]) -> Option<(usize, usize)> {
    let number = |at: usize| siz.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (width, height) = (number(4)?.checked_sub(number(12)?)?, number(8)?.checked_sub(number(16)?)?);
    Some((usize::try_from(height).ok()?, usize::try_from(width).ok()?))
}

#[cfg(test)]
#[path = "pixels_tests.rs"]
mod tests;
