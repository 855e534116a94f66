//! The Native DICOM Model (PS3.19 A.1) as far as store responses need it: sequences, items and plain values.

use super::error::Error;
use super::json::Attributes;
use serde_json::{Value, json};

const MALFORMED: Error = Error::Protocol("a body is not the Native DICOM Model");

/// A tag with its attributes as written.
enum Token<'a> {
    Open { name: &'a str, attributes: &'a str, closed: bool },
    Close(&'a str),
    Text(&'a str),
}

/// What is being read.
enum Frame {
    Set(Attributes),
    Element {
        tag: String,
        values: Vec<Value>,
    },
    Value(String),
    /// Something that is passed over with all that is in it.
    Other,
}

/// Reads one data set of at most `depth` levels. Entities other than the five of XML and document types are refused, so
/// nothing expands.
pub(super) fn parse(bytes: &[u8], depth: usize) -> Result<Attributes, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| MALFORMED)?;
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut open: Vec<Frame> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut result = None;
    while let Some(token) = next(&mut rest)? {
        match token {
            Token::Text(text) => {
                if let Some(Frame::Value(value)) = open.last_mut() {
                    value.push_str(&unescape(text)?);
                }
            }
            Token::Open { name, attributes, closed } => {
                if open.len() >= depth {
                    return Err(Error::TooLarge("nesting of XML"));
                }
                open.push(frame(name, attributes));
                if closed {
                    close(&mut open, &mut result)?;
                } else {
                    names.push(name);
                }
            }
            Token::Close(name) if names.pop() == Some(name) => close(&mut open, &mut result)?,
            Token::Close(_) => return Err(MALFORMED),
        }
    }
    result.filter(|_| open.is_empty()).ok_or(MALFORMED)
}

fn frame(name: &str, attributes: &str) -> Frame {
    match name.rsplit(':').next().unwrap_or(name) {
        "NativeDicomModel" | "Item" => Frame::Set(Attributes::default()),
        "DicomAttribute" => {
            Frame::Element { tag: attribute(attributes, "tag").unwrap_or_default(), values: Vec::new() }
        }
        "Value" => Frame::Value(String::new()),
        _ => Frame::Other,
    }
}

/// Ends the innermost frame and puts it where it belongs.
fn close(open: &mut Vec<Frame>, result: &mut Option<Attributes>) -> Result<(), Error> {
    let ended = open.pop().ok_or(MALFORMED)?;
    match (ended, open.last_mut()) {
        (Frame::Set(set), None) => *result = Some(set),
        (Frame::Set(set), Some(Frame::Element { values, .. })) => values.push(set.into_value()),
        (Frame::Value(text), Some(Frame::Element { values, .. })) => values.push(Value::String(text.trim().to_owned())),
        (Frame::Element { tag, values }, Some(Frame::Set(set))) => set.insert(&tag, json!({ "Value": values })),
        (Frame::Other, _) | (_, Some(Frame::Other)) => {}
        _ => return Err(MALFORMED),
    }
    Ok(())
}

/// The next token; `None` at the end.
fn next<'a>(rest: &mut &'a str) -> Result<Option<Token<'a>>, Error> {
    loop {
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(markup) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            *rest = after;
            return Ok(Some(Token::Text(text)));
        };
        if let Some(comment) = markup.strip_prefix("!--") {
            *rest = comment.split_once("-->").ok_or(MALFORMED)?.1;
        } else if let Some(instruction) = markup.strip_prefix('?') {
            *rest = instruction.split_once("?>").ok_or(MALFORMED)?.1;
        } else if markup.starts_with('!') {
            return Err(MALFORMED);
        } else {
            let (tag, after) = markup.split_once('>').ok_or(MALFORMED)?;
            *rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                return Ok(Some(Token::Close(name.trim())));
            }
            let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
            return Ok(Some(Token::Open { name, attributes, closed }));
        }
    }
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, next) = after.get(1..)?.split_once(quote)?;
        if key.trim() == name {
            return Some(value.to_owned());
        }
        rest = next;
    }
}

fn unescape(text: &str) -> Result<String, Error> {
    if !text.contains('&') {
        return Ok(text.to_owned());
    }
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    let known = ["&lt;", "&gt;", "&quot;", "&apos;", "&amp;"].iter().map(|e| text.matches(e).count()).sum::<usize>();
    if text.matches('&').count() == known { Ok(plain.replace("&amp;", "&")) } else { Err(MALFORMED) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dicom_dictionary_std::tags;
    use proptest::prelude::*;

    const RESPONSE: &str = r#"<?xml version="1.0" encoding="UTF-8"?><!-- from a PACS -->
        <NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
          <DicomAttribute keyword="FailedSOPSequence" tag="00081198" vr="SQ"><Item number="1">
            <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>
            <DicomAttribute tag='00081197' vr="US"><Value number="1">42752</Value></DicomAttribute>
          </Item></DicomAttribute>
          <DicomAttribute tag="00100010" vr="PN"><PersonName number="1"><Alphabetic><FamilyName>A</FamilyName></Alphabetic></PersonName></DicomAttribute>
          <DicomAttribute tag="00081199" vr="SQ"/>
        </NativeDicomModel>"#;

    #[test]
    fn sequences_and_values_are_read() {
        let set = parse(RESPONSE.as_bytes(), 64).unwrap();
        let failed = set.items(tags::FAILED_SOP_SEQUENCE);
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].text(tags::REFERENCED_SOP_INSTANCE_UID).as_deref(), Some("1.2.3"));
        assert_eq!(failed[0].unsigned(tags::FAILURE_REASON), Some(0xA700));
        assert!(set.items(tags::REFERENCED_SOP_SEQUENCE).is_empty());
    }

    #[test]
    fn what_expands_or_does_not_close_is_refused() {
        for bad in [
            "",
            "<html></html>",
            "<NativeDicomModel>",
            "</NativeDicomModel>",
            "<NativeDicomModel></Item>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><NativeDicomModel/>",
            "<NativeDicomModel><DicomAttribute tag=\"1\"><Value>&b;</Value></DicomAttribute></NativeDicomModel>",
        ] {
            assert!(parse(bad.as_bytes(), 64).is_err(), "{bad}");
        }
        let deep = "<NativeDicomModel>".repeat(100);
        assert!(matches!(parse(deep.as_bytes(), 64), Err(Error::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[<>/&;!?a-zA-Z \"'=-]{0,80}", cut in 0usize..900) {
            let _ = parse(text.as_bytes(), 64);
            let _ = parse(&RESPONSE.as_bytes()[..cut.min(RESPONSE.len())], 64);
        }
    }
}
