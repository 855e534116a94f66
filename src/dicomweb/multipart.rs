//! Streaming reader of `multipart/related` bodies (RFC 2046 section 5.1, RFC 2387): bytes in, events out, bounded.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// Bytes of preamble before the first boundary that are skipped at most.
const PREAMBLE_MAX: usize = 64 * 1024;
/// Bytes of one part's headers at most.
const HEADERS_MAX: usize = 16 * 1024;
/// Bytes of padding after a boundary at most.
const PADDING_MAX: usize = 256;

/// A malformed, cut or too large body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The Content-Type is not multipart or has no usable boundary.
    #[error("the answer is not multipart with a boundary")]
    NotMultipart,
    /// The stated boundary never came.
    #[error("the stated multipart boundary does not occur")]
    NoBoundary,
    /// The body ended before the closing boundary.
    #[error("the multipart body was cut")]
    Cut,
    /// Something else than a line end follows a boundary.
    #[error("malformed multipart boundary")]
    Boundary,
    /// Headers of a part are too long or not readable.
    #[error("malformed multipart headers")]
    Headers,
    /// A part's Content-Length does not match its bytes.
    #[error("a part's Content-Length is wrong")]
    Length,
    /// More parts than allowed.
    #[error("more parts than [limits] multipart_parts")]
    TooManyParts,
    /// A part is larger than allowed.
    #[error("a part is larger than [limits] instance_bytes")]
    PartTooLarge,
}

impl Error {
    /// True when the transfer stopped half-way: trying again may help.
    pub fn is_cut(self) -> bool {
        self == Self::Cut
    }

    /// True when a limit of ours was met.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::TooManyParts | Self::PartTooLarge)
    }
}

/// What the reader found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins; its Content-Type, empty when absent.
    Part {
        /// Value of the part's Content-Type.
        content_type: String,
    },
    /// Bytes of the part; never empty.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Delimiter,
    Headers,
    Body { left: Option<u64>, size: u64 },
    Epilogue,
}

/// The reader. Feed it every chunk with [`Reader::push`], then call [`Reader::finish`].
#[derive(Debug)]
pub struct Reader {
    /// CR LF `--` boundary; never searched for without the CR LF.
    delimiter: Vec<u8>,
    finder: Finder<'static>,
    buffer: BytesMut,
    state: State,
    parts: usize,
    max_parts: usize,
    max_part_bytes: u64,
}

impl Reader {
    /// A reader for a response with this Content-Type.
    ///
    /// # Errors
    /// When it is not `multipart/*` with a boundary of 1 to 70 characters.
    pub fn new(content_type: &str, max_parts: usize, max_part_bytes: u64) -> Result<Self, Error> {
        let boundary = boundary(content_type).ok_or(Error::NotMultipart)?;
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let finder = Finder::new(&delimiter).into_owned();
        // The first boundary has no CR LF before it when there is no preamble: we add one.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Self { delimiter, finder, buffer, state: State::Preamble, parts: 0, max_parts, max_part_bytes })
    }

    /// Reads a chunk of the body and appends what it completes to `events`.
    ///
    /// # Errors
    /// When the body is malformed or beyond a limit; the reader must not be used further.
    pub fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Error> {
        if self.state == State::Epilogue {
            return Ok(());
        }
        self.buffer.extend_from_slice(chunk);
        while self.step(events)? {}
        Ok(())
    }

    /// To be called at the end of the body.
    ///
    /// # Errors
    /// When the closing boundary did not come.
    pub fn finish(&self) -> Result<(), Error> {
        match self.state {
            State::Epilogue => Ok(()),
            State::Preamble => Err(Error::NoBoundary),
            _ => Err(Error::Cut),
        }
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        match self.state {
            State::Preamble => self.preamble(),
            State::Delimiter => self.after_delimiter(),
            State::Headers => self.headers(events),
            State::Body { left: Some(left), size } => self.body_of_length(left, size, events),
            State::Body { left: None, size } => self.body(size, events),
            State::Epilogue => {
                self.buffer.clear();
                Ok(false)
            }
        }
    }

    fn preamble(&mut self) -> Result<bool, Error> {
        match self.finder.find(&self.buffer) {
            Some(at) if at <= PREAMBLE_MAX => {
                let _ = self.buffer.split_to(at + self.delimiter.len());
                self.state = State::Delimiter;
                Ok(true)
            }
            None if self.buffer.len() <= PREAMBLE_MAX => Ok(false),
            _ => Err(Error::NoBoundary),
        }
    }

    /// After a boundary: `--` closes, padding and CR LF open a part.
    fn after_delimiter(&mut self) -> Result<bool, Error> {
        if self.buffer.starts_with(b"--") {
            self.state = State::Epilogue;
            return Ok(true);
        }
        let padding = self.buffer.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        if padding > PADDING_MAX {
            return Err(Error::Boundary);
        }
        match self.buffer.get(padding..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                let _ = self.buffer.split_to(padding + 2);
                self.state = State::Headers;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            [b'-'] if padding == 0 => Ok(false),
            _ => Err(Error::Boundary),
        }
    }

    fn headers(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        let (end, skip) = if self.buffer.starts_with(b"\r\n") {
            (0, 2)
        } else {
            match memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                Some(at) if at <= HEADERS_MAX => (at, 4),
                None if self.buffer.len() <= HEADERS_MAX => return Ok(false),
                _ => return Err(Error::Headers),
            }
        };
        self.parts += 1;
        if self.parts > self.max_parts {
            return Err(Error::TooManyParts);
        }
        let block = self.buffer.split_to(end + skip);
        let headers = PartHeaders::parse(block.get(..end).unwrap_or_default())?;
        if headers.length.is_some_and(|length| length > self.max_part_bytes) {
            return Err(Error::PartTooLarge);
        }
        events.push(Event::Part { content_type: headers.content_type });
        self.state = State::Body { left: headers.length, size: 0 };
        Ok(true)
    }

    /// A body whose length was stated: counted, not searched.
    fn body_of_length(&mut self, left: u64, size: u64, events: &mut Vec<Event>) -> Result<bool, Error> {
        if left == 0 {
            let seen = self.buffer.len().min(self.delimiter.len());
            if self.buffer.get(..seen) != self.delimiter.get(..seen) {
                return Err(Error::Length);
            }
            if seen < self.delimiter.len() {
                return Ok(false);
            }
            let _ = self.buffer.split_to(seen);
            return Ok(self.part_ends(events));
        }
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
        if take == 0 {
            return Ok(false);
        }
        events.push(Event::Data(self.buffer.split_to(take).freeze()));
        let taken = take as u64;
        self.state = State::Body { left: Some(left - taken), size: size + taken };
        Ok(true)
    }

    /// A body of unknown length: everything up to the next boundary.
    fn body(&mut self, size: u64, events: &mut Vec<Event>) -> Result<bool, Error> {
        let found = self.finder.find(&self.buffer);
        // Without a boundary the tail may be the start of one: it stays.
        let take = found.unwrap_or_else(|| self.buffer.len().saturating_sub(self.delimiter.len() - 1));
        let size = size + take as u64;
        if size > self.max_part_bytes {
            return Err(Error::PartTooLarge);
        }
        if take > 0 {
            events.push(Event::Data(self.buffer.split_to(take).freeze()));
        }
        self.state = State::Body { left: None, size };
        if found.is_some() {
            let _ = self.buffer.split_to(self.delimiter.len());
            return Ok(self.part_ends(events));
        }
        Ok(false)
    }

    fn part_ends(&mut self, events: &mut Vec<Event>) -> bool {
        events.push(Event::PartEnd);
        self.state = State::Delimiter;
        true
    }
}

struct PartHeaders {
    content_type: String,
    length: Option<u64>,
}

impl PartHeaders {
    fn parse(block: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(block).map_err(|_| Error::Headers)?;
        let mut headers = Self { content_type: String::new(), length: None };
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { return Err(Error::Headers) };
            match name.trim().to_ascii_lowercase().as_str() {
                "content-type" => headers.content_type = value.trim().to_owned(),
                "content-length" => headers.length = Some(value.trim().parse().map_err(|_| Error::Headers)?),
                _ => {}
            }
        }
        Ok(headers)
    }
}

/// Value of the `boundary` parameter of a multipart Content-Type.
fn boundary(content_type: &str) -> Option<String> {
    let is_multipart = content_type.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    let value = parameter(content_type, "boundary").filter(|_| is_multipart)?;
    ((1..=70).contains(&value.len()) && value.bytes().all(|b| (0x20..0x7f).contains(&b))).then_some(value)
}

/// Value of a parameter of a media type, quotes removed.
pub fn parameter(media_type: &str, name: &str) -> Option<String> {
    let mut rest = media_type.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, tail) = quoted.split_once('"')?;
                (value, tail.split_once(';').map_or("", |(_, next)| next))
            }
            None => after.split_once(';').map_or((after, ""), |(value, next)| (value, next)),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = next;
    }
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
