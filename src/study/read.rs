//! Bounded reading of DICOM objects: no declared length is believed before the bytes are there, no parser's panic escapes.

use crate::domain::source::{ReadSeek, SourceObject};
use dicom_core::VR;
use dicom_core::header::{DataElementHeader, Length, SequenceItemHeader};
use dicom_core::value::PrimitiveValue;
use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::{DefaultDicomObject, FileMetaTable, InMemDicomObject};
use dicom_parser::stateful::decode::{DynStatefulDecoder, Result as DecodeResult};
use dicom_parser::{StatefulDecode, StatefulDecoder};
use dicom_transfer_syntax_registry::{TransferSyntaxRegistry, entries::EXPLICIT_VR_LITTLE_ENDIAN};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Group of the pixel data: nothing after it is a header.
const PIXEL_DATA_GROUP: u16 = 0x7FE0;
/// Bytes of the file meta group at most.
const META_MAX: u64 = 1 << 20;

/// Why an object cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// Not a DICOM Part 10 file, or its data set is not readable.
    #[error("not readable as DICOM")]
    NotDicom {
        /// MediaStorageSOPClassUID when at least the file meta group is readable.
        sop_class: Option<String>,
    },
    /// A transfer syntax that is not known to us; the SOP class as the file meta group states it.
    #[error("unknown transfer syntax")]
    UnknownSyntax {
        /// MediaStorageSOPClassUID.
        sop_class: String,
    },
    /// Larger than allowed.
    #[error("larger than [limits] instance_bytes")]
    TooLarge,
}

/// How much of an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Up to, and without, the pixel data.
    Header,
    /// Everything.
    Whole,
}

/// Reads an object of at most `max_bytes` (as stored and, when deflated, as inflated).
pub(super) fn read(object: &SourceObject, extent: Extent, max_bytes: u64) -> Result<DefaultDicomObject, ReadError> {
    let mut sop_class = None;
    let result = catch_unwind(AssertUnwindSafe(|| read_unguarded(object, extent, max_bytes, &mut sop_class)));
    match result {
        Ok(Ok(Some(object))) => Ok(object),
        Ok(Err(error)) => Err(error),
        // Unreadable in some way, or a parser panicked: the same to us.
        Ok(Ok(None)) | Err(_) => Err(ReadError::NotDicom { sop_class }),
    }
}

/// As [`read`]; `None` for what is not DICOM.
fn read_unguarded(
    object: &SourceObject,
    extent: Extent,
    max_bytes: u64,
    sop_class: &mut Option<String>,
) -> Result<Option<DefaultDicomObject>, ReadError> {
    let Ok((mut source, total)) = open(object) else { return Ok(None) };
    if total > max_bytes {
        return Err(ReadError::TooLarge);
    }
    let Ok(meta) = FileMetaTable::from_reader((&mut source).take(META_MAX)) else { return Ok(None) };
    *sop_class = Some(meta.media_storage_sop_class_uid().to_owned());
    let unknown = || ReadError::UnknownSyntax { sop_class: meta.media_storage_sop_class_uid().to_owned() };
    let syntax = TransferSyntaxRegistry.get(meta.transfer_syntax()).ok_or_else(unknown)?;
    let set = if meta.transfer_syntax() == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        let Some(inflated) = inflate(source, max_bytes)? else { return Ok(None) };
        let size = inflated.len() as u64;
        let decoder = StatefulDecoder::new_with_ts(Cursor::new(inflated), &EXPLICIT_VR_LITTLE_ENDIAN.erased(), 0);
        decoder.ok().and_then(|decoder| Guard::new(decoder, size, extent)?.object())
    } else {
        let Ok(position) = source.stream_position() else { return Ok(None) };
        let decoder = StatefulDecoder::new_with_ts(io::BufReader::new(source), syntax, 0).map_err(|_| unknown())?;
        Guard::new(decoder, total.saturating_sub(position), extent).and_then(Guard::object)
    };
    Ok(set.map(|set| set.with_exact_meta(meta)))
}

/// The object after its preamble, and its size in bytes.
fn open(object: &SourceObject) -> io::Result<(Box<dyn ReadSeek>, u64)> {
    let mut source = object.open()?;
    let total = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(128))?;
    Ok((source, total))
}

/// Inflates a data set (PS3.5 A.5: raw deflate, RFC 1951) of at most `max_bytes`; `None` when it is not deflated.
fn inflate(source: impl Read, max_bytes: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::DeflateDecoder::new(source).take(max_bytes + 1);
    if decoder.read_to_end(&mut inflated).is_err() {
        return Ok(None);
    }
    if inflated.len() as u64 > max_bytes { Err(ReadError::TooLarge) } else { Ok(Some(inflated)) }
}

/// A decoder that ends the data set at the first declared length beyond the end of the source, before anything is
/// allocated for it, and at the pixel data when only the header is wanted.
struct Guard<S> {
    inner: DynStatefulDecoder<S>,
    /// A source that has ended: its end-of-file is the one end that the parser takes as regular.
    end: DynStatefulDecoder<io::Empty>,
    total: u64,
    extent: Extent,
    /// End positions of the open sequences; `None` for undefined length.
    open: Vec<Option<u64>>,
    lied: bool,
}

impl<S: Read> Guard<S> {
    fn new(inner: DynStatefulDecoder<S>, total: u64, extent: Extent) -> Option<Self> {
        let end = StatefulDecoder::new_with_ts(io::empty(), &EXPLICIT_VR_LITTLE_ENDIAN.erased(), 0).ok()?;
        Some(Self { inner, end, total, extent, open: Vec::new(), lied: false })
    }

    /// The data set; `None` when it is not readable or a length in it was a lie.
    fn object(mut self) -> Option<InMemDicomObject> {
        let object = InMemDicomObject::read_dataset(&mut self).ok()?;
        (!self.lied).then_some(object)
    }

    fn fits(&mut self, length: Length) -> bool {
        let left = self.total.saturating_sub(self.inner.position());
        let fits = length.get().is_none_or(|length| u64::from(length) <= left);
        self.lied |= !fits;
        fits
    }
}

impl<S: Read> StatefulDecode for Guard<S> {
    type Reader = S;

    fn decode_header(&mut self) -> DecodeResult<DataElementHeader> {
        let position = self.inner.position();
        while self.open.last().is_some_and(|end| end.is_some_and(|end| end <= position)) {
            self.open.pop();
        }
        let header = self.inner.decode_header()?;
        let at_top = self.open.is_empty();
        if !self.fits(header.len) || (self.extent == Extent::Header && at_top && header.tag.group() >= PIXEL_DATA_GROUP)
        {
            return self.end.decode_header();
        }
        if header.vr == VR::SQ || header.len.is_undefined() {
            self.open.push(header.len.get().map(|length| self.inner.position() + u64::from(length)));
        }
        Ok(header)
    }

    fn decode_item_header(&mut self) -> DecodeResult<SequenceItemHeader> {
        let header = self.inner.decode_item_header()?;
        match header {
            SequenceItemHeader::SequenceDelimiter => {
                self.open.pop();
            }
            SequenceItemHeader::Item { len } if !self.fits(len) => return self.end.decode_item_header(),
            _ => {}
        }
        Ok(header)
    }

    fn read_value(&mut self, header: &DataElementHeader) -> DecodeResult<PrimitiveValue> {
        self.inner.read_value(header)
    }

    fn read_value_preserved(&mut self, header: &DataElementHeader) -> DecodeResult<PrimitiveValue> {
        self.inner.read_value_preserved(header)
    }

    fn read_value_bytes(&mut self, header: &DataElementHeader) -> DecodeResult<PrimitiveValue> {
        self.inner.read_value_bytes(header)
    }

    fn read_to_vec(&mut self, length: u32, vec: &mut Vec<u8>) -> DecodeResult<()> {
        self.inner.read_to_vec(length, vec)
    }

    fn read_u32_to_vec(&mut self, length: u32, vec: &mut Vec<u32>) -> DecodeResult<()> {
        self.inner.read_u32_to_vec(length, vec)
    }

    fn read_to<W: io::Write>(&mut self, length: u32, out: W) -> DecodeResult<()> {
        self.inner.read_to(length, out)
    }

    fn skip_bytes(&mut self, length: u32) -> DecodeResult<()> {
        self.inner.skip_bytes(length)
    }

    fn seek(&mut self, position: u64) -> DecodeResult<()>
    where
        Self::Reader: Seek,
    {
        self.inner.seek(position)
    }

    fn position(&self) -> u64 {
        self.inner.position()
    }
}
