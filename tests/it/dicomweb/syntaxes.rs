//! Transfer syntaxes: images that other programs compressed decode to the very values that were compressed.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use scargate::dicomweb::{StoreItem, StoreOutcome, Syntax};
use scargate::domain::source::SourceObject;
use scargate::domain::stack::{Contrast, Stack};
use scargate::domain::uid::Uid;
use scargate::failure::{Code, Failure};
use scargate::phantom::{Instance, Study, Variant, Vendor};
use scargate::study::{self, Error};

use super::{Bench, spec};
use crate::support::servers::root;

const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// Re-encodes files with another program: (in, out).
type Encoder<'a> = Box<dyn Fn(&Path, &Path) + 'a>;

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn dcmtk(program: &'static str, option: &'static str) -> Encoder<'static> {
    Box::new(move |from, to| run(Command::new(program).arg(option).arg(from).arg(to)))
}

fn pydicom<'a>(bench: &'a Bench, syntax: &'static str) -> Encoder<'a> {
    let script = root().join("tests/it/dicomweb/compress.py");
    Box::new(move |from, to| {
        run(Command::new(bench.servers.value("SCARGATE_PYTHON")).arg(&script).arg(from).arg(to).arg(syntax));
    })
}

/// The late-enhancement stack as PSIR with a sign in the stored values, re-encoded.
fn encode(bench: &Bench, study: &Study, encoder: &Encoder<'_>) -> Vec<(Uid, Vec<u8>)> {
    let stack = study.instances.iter().filter(|instance| instance.series == "lge-sax-psir");
    let encode_one = |instance: &Instance| {
        let (from, to) = (bench.folder().join("in.dcm"), bench.folder().join("out.dcm"));
        std::fs::write(&from, instance.to_bytes().unwrap()).unwrap();
        encoder(&from, &to);
        (Uid::parse(&instance.sop_instance_uid).unwrap(), std::fs::read(&to).unwrap())
    };
    stack.map(encode_one).collect()
}

fn select(bench: &Bench, objects: &[SourceObject]) -> Result<Stack, Error> {
    study::select(objects, &bench.config.study, &bench.config.limits, &[Contrast::Psir])
}

fn in_memory(files: &[(Uid, Vec<u8>)]) -> Vec<SourceObject> {
    files.iter().map(|(_, bytes)| SourceObject::Memory(Bytes::from(bytes.clone()))).collect()
}

fn assert_same(got: &Stack, wanted: &Stack, what: &str) {
    assert_eq!(got.slices.len(), wanted.slices.len(), "{what}");
    for (got, wanted) in got.slices.iter().zip(&wanted.slices) {
        assert_eq!(got.source, wanted.source, "{what}");
        assert_eq!(got.pixels, wanted.pixels, "{what}");
    }
    assert!(!got.lossy, "{what}");
}

#[test]
fn what_other_programs_encoded_decodes_to_the_same_values() {
    let bench = Bench::new();
    let copy: Encoder<'_> = Box::new(|from, to| {
        std::fs::copy(from, to).unwrap();
    });
    // Siemens stores 12 unsigned bits with a negative intercept, GE 16 signed ones.
    for vendor in [Vendor::Siemens, Vendor::Ge] {
        let study = Study::build(&spec().vendor(vendor)).unwrap();
        let plain = select(&bench, &in_memory(&encode(&bench, &study, &copy))).unwrap();
        let mut encoders = vec![
            ("implicit", dcmtk("dcmconv", "+ti")),
            ("big endian", dcmtk("dcmconv", "+tb")),
            ("deflated", dcmtk("dcmconv", "+td")),
            ("RLE by dcmtk", dcmtk("dcmcrle", "+un")),
            ("RLE by pydicom", pydicom(&bench, RLE)),
            ("JPEG lossless SV1", dcmtk("dcmcjpeg", "+e1")),
            ("JPEG lossless", dcmtk("dcmcjpeg", "+el")),
        ];
        if cfg!(feature = "openjp2") {
            encoders.push(("JPEG 2000", pydicom(&bench, JPEG_2000)));
        }
        for (name, encoder) in encoders {
            let files = encode(&bench, &study, &encoder);
            let stack =
                select(&bench, &in_memory(&files)).unwrap_or_else(|error| panic!("{vendor:?} {name}: {error:?}"));
            assert_same(&stack, &plain, &format!("{vendor:?} {name}"));
        }
    }
}

#[test]
fn cut_and_lying_compressed_images_are_refused() {
    let bench = Bench::new();
    let study = Study::build(&spec()).unwrap();
    for (name, encoder) in [("jpeg", dcmtk("dcmcjpeg", "+e1")), ("rle", dcmtk("dcmcrle", "+un"))] {
        let mut files = encode(&bench, &study, &encoder);
        let keep = files[0].1.len() - 600;
        files[0].1.truncate(keep);
        let failure: Failure = select(&bench, &in_memory(&files)).unwrap_err().into();
        assert_eq!(failure.code, Code::PixelDataInvalid, "{name}");
    }
    // A JPEG that claims 60000 rows inside an image of 48: decoders would allocate by the claim.
    let mut files = encode(&bench, &study, &dcmtk("dcmcjpeg", "+e1"));
    let frame_header = memchr::memmem::find(&files[0].1, &[0xFF, 0xC3]).unwrap();
    files[0].1[frame_header + 5..frame_header + 7].copy_from_slice(&60_000u16.to_be_bytes());
    let failure: Failure = select(&bench, &in_memory(&files)).unwrap_err().into();
    assert_eq!(failure.code, Code::PixelDataInvalid);
}

async fn store(bench: &Bench, study: &Uid, files: &[(Uid, Vec<u8>)]) {
    let item = |(sop_instance, bytes): &(Uid, Vec<u8>)| StoreItem {
        sop_instance: sop_instance.clone(),
        bytes: Bytes::from(bytes.clone()),
    };
    let items: Vec<_> = files.iter().map(item).collect();
    let outcomes = bench.client().store(study, &items).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, StoreOutcome::Stored { .. })), "{outcomes:?}");
}

#[tokio::test]
async fn compressed_studies_come_back_as_stored_and_what_we_cannot_decode_is_decoded_by_the_pacs() {
    let bench = Bench::new();
    let client = bench.client();
    let study = Study::build(&spec().variant(Variant::MissingSlice)).unwrap();
    let uid = Uid::parse(&study.uid).unwrap();
    let copy: Encoder<'_> = Box::new(|from, to| {
        std::fs::copy(from, to).unwrap();
    });
    let plain_files = encode(&bench, &study, &copy);
    let plain = select(&bench, &in_memory(&plain_files)).unwrap();

    for (name, encoder) in [
        ("RLE", pydicom(&bench, RLE)),
        ("JPEG lossless", dcmtk("dcmcjpeg", "+e1")),
        ("JPEG 2000", pydicom(&bench, JPEG_2000)),
    ] {
        let files = encode(&bench, &study, &encoder);
        store(&bench, &uid, &files).await;
        let objects = client.retrieve_study(&uid, Syntax::AsStored).await.unwrap();
        assert_same(&select(&bench, &objects).unwrap(), &plain, name);
        bench.delete(&uid).await;
    }

    // JPEG-LS needs a C++ codec that is off: the PACS decodes.
    store(&bench, &uid, &encode(&bench, &study, &pydicom(&bench, JPEG_LS))).await;
    let objects = client.retrieve_study(&uid, Syntax::AsStored).await.unwrap();
    if cfg!(feature = "charls") {
        assert_same(&select(&bench, &objects).unwrap(), &plain, "JPEG-LS");
    } else {
        assert!(matches!(select(&bench, &objects), Err(Error::NeedsTranscoding)));
    }
    let objects = client.retrieve_study(&uid, Syntax::ExplicitLittleEndian).await.unwrap();
    assert_same(&select(&bench, &objects).unwrap(), &plain, "JPEG-LS by the PACS");
    bench.delete(&uid).await;

    // This PACS cannot decode JPEG 2000; asked to, it answers 500, which is final here.
    store(&bench, &uid, &encode(&bench, &study, &pydicom(&bench, JPEG_2000))).await;
    let failure = client.retrieve_study(&uid, Syntax::ExplicitLittleEndian).await.unwrap_err();
    assert_eq!(failure.code, Code::TransferSyntaxNotSupported);
}
