#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use proptest::prelude::*;

const TYPE: &str = "multipart/related; type=\"application/dicom\"; boundary=Xq9";

/// The parts that a body holds, fed in chunks of the given sizes (the last size repeats).
fn read(content_type: &str, body: &[u8], sizes: &[usize]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut reader = Reader::new(content_type, 8, 1000)?;
    let mut events = Vec::new();
    let mut rest = body;
    let mut next = 0;
    while !rest.is_empty() {
        let size = sizes[next.min(sizes.len() - 1)].clamp(1, rest.len());
        next += 1;
        reader.push(&rest[..size], &mut events)?;
        rest = &rest[size..];
    }
    reader.finish()?;
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut open = false;
    for event in events {
        match event {
            Event::Part { content_type } => {
                assert!(!open, "parts do not nest");
                open = true;
                parts.push((content_type, Vec::new()));
            }
            Event::Data(bytes) => {
                assert!(open && !bytes.is_empty());
                parts.last_mut().unwrap().1.extend_from_slice(&bytes);
            }
            Event::PartEnd => {
                assert!(open);
                open = false;
            }
        }
    }
    assert!(!open, "a finished body leaves no open part");
    Ok(parts)
}

fn write(parts: &[Vec<u8>], with_length: bool, preamble: &str) -> Vec<u8> {
    let mut body = preamble.as_bytes().to_vec();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 || !preamble.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--Xq9\r\nContent-Type: application/dicom\r\n");
        if with_length {
            body.extend_from_slice(format!("Content-Length: {}\r\n", part.len()).as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(part);
    }
    body.extend_from_slice(b"\r\n--Xq9--\r\n");
    body
}

/// Parts made of what looks like boundaries, so that near misses are common.
fn tricky_part() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r\n--Xq".to_vec()),
        Just(b"--Xq9".to_vec()),
        Just(b"\r".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()).prop_filter("holds a boundary", |part| {
        let mut around = part.clone();
        around.splice(0..0, *b"\r\n");
        memchr::memmem::find(&around, b"\r\n--Xq9").is_none()
    })
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_parts(
        parts in proptest::collection::vec(tricky_part(), 1..5),
        sizes in proptest::collection::vec(1usize..40, 1..30),
        with_length in any::<bool>(),
        preamble in prop_oneof![Just(""), Just("this is a preamble")],
    ) {
        let body = write(&parts, with_length, preamble);
        let read = read(TYPE, &body, &sizes).unwrap();
        let bytes: Vec<Vec<u8>> = read.into_iter().map(|(_, bytes)| bytes).collect();
        prop_assert_eq!(bytes, parts);
    }

    #[test]
    fn a_body_cut_anywhere_is_never_taken_as_whole(
        parts in proptest::collection::vec(tricky_part(), 1..4),
        with_length in any::<bool>(),
        share in 0.0f64..1.0,
    ) {
        let body = write(&parts, with_length, "");
        // Up to and without the final `--`.
        let cut = ((body.len() - 3) as f64 * share) as usize;
        prop_assert!(read(TYPE, &body[..cut], &[7]).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
        let _ = read(TYPE, &bytes, &[size]);
    }
}

#[test]
fn boundaries_are_read_quoted_and_bare() {
    assert_eq!(boundary("multipart/related; boundary=abc; type=\"application/dicom\"").as_deref(), Some("abc"));
    assert_eq!(boundary("Multipart/Related;type=\"a/b;c=d\"; Boundary=\"a b:c\"").as_deref(), Some("a b:c"));
    assert_eq!(boundary("multipart/related; type=\"application/dicom\""), None);
    assert_eq!(boundary("application/json; boundary=abc"), None);
    assert_eq!(boundary(&format!("multipart/related; boundary={}", "a".repeat(71))), None);
}

#[test]
fn a_wrong_boundary_is_told_apart_from_a_cut() {
    let body = write(&[b"data".to_vec()], false, "");
    let wrong = TYPE.replace("Xq9", "other");
    assert_eq!(read(&wrong, &body, &[5]), Err(Error::NoBoundary));
    assert_eq!(read(TYPE, &body[..body.len() - 8], &[5]), Err(Error::Cut));
}

#[test]
fn limits_hold() {
    let many = write(&vec![b"x".to_vec(); 9], false, "");
    assert_eq!(read(TYPE, &many, &[64]), Err(Error::TooManyParts));
    for with_length in [false, true] {
        let large = write(&[vec![7; 1001]], with_length, "");
        assert_eq!(read(TYPE, &large, &[64]), Err(Error::PartTooLarge));
        assert!(read(TYPE, &write(&[vec![7; 1000]], with_length, ""), &[64]).is_ok());
    }
    let headers = format!("--Xq9\r\nX-Long: {}\r\n\r\nx\r\n--Xq9--", "y".repeat(HEADERS_MAX));
    assert_eq!(read(TYPE, headers.as_bytes(), &[1000]), Err(Error::Headers));
    let preamble = write(&[b"x".to_vec()], false, &"p".repeat(PREAMBLE_MAX + 10));
    assert_eq!(read(TYPE, &preamble, &[1000]), Err(Error::NoBoundary));
}

#[test]
fn a_wrong_length_is_refused() {
    let body = b"--Xq9\r\nContent-Length: 3\r\n\r\nfour\r\n--Xq9--\r\n";
    assert_eq!(read(TYPE, body, &[100]), Err(Error::Length));
}

#[test]
fn headers_padding_and_epilogue_are_accepted() {
    let body = b"--Xq9 \t\r\nContent-Type: application/dicom; transfer-syntax=1.2\r\nX: y\r\n\r\nabc\r\n--Xq9\r\n\r\nd\r\n--Xq9--\r\nafter";
    let parts = read(TYPE, body, &[1]).unwrap();
    assert_eq!(
        parts,
        [("application/dicom; transfer-syntax=1.2".to_owned(), b"abc".to_vec()), (String::new(), b"d".to_vec())]
    );
}
